//! Attacks on the agent's memory: what of it is left after a lock, and who else can read it. Each is named after its
//! case in the attack programme and stands beside a positive control.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use akm_core::crypto::{self, Ad, Field, Kdf};
use akm_core::memory::LockedKey;
use akm_core::store::{SqliteStore, Store};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use support::search::{Search, Where};
use support::user::{User, lacks, needs_root};
use support::{Agent, Home, PASSPHRASE, eventually, launch, request, secret};

/// A user that owns nothing else.
const OWNER: u32 = 54_322;

const CANARIES: [&str; 4] = [
    "sk-canary-7Qx2mV9tLw4Zr8Yc3Nb6Kd1",
    "sk-canary-Ue5hB1sGf8Pj2Xa9Ty4Wn7",
    "sk-rotated-Hv3kS6dRq1Mz5Lc8Bo2Fi",
    "sk-import-Jp7nC4wTe9Vy1Kg6Du3Xs5",
];
/// Of the file that an export is sealed with.
const FILE_PASSPHRASE: &str = "zinnober-quarz-mondstein-4711";

/// Ends a process with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn d01_canary_after_lock() {
    if needs_root() {
        return;
    }
    let home = Home::new();
    let agent = home.start();
    agent.register();
    assert!(agent.stop().success());
    let (root, vault_key) = keys_of(&home);
    let agent = home.start();
    agent.unlock(None).unwrap();
    use_everything(&agent);
    // A client that stays connected after it got the secret.
    let mut idle = agent.client();
    idle.call_raw("key.get", br#"{"name":"openai"}"#).unwrap();

    // Controls: the search finds what is there. The vault key rests in locked pages while the account is open; a request
    // that is half sent lies in the agent's buffer.
    let pid = agent.child.id();
    let unlocked = Search::of(&[&vault_key]);
    assert!(unlocked.count(pid, Where::Everywhere) > 0);
    let half = half_sent(&agent, CANARIES[0]);
    let first = Search::of(&[CANARIES[0].as_bytes()]);
    eventually("the control", || first.count(pid, Where::Writable) > 0);
    drop(half);
    eventually("the end of the control", || {
        first.count(pid, Where::Writable) == 0
    });

    agent.lock();
    let secrets = everything(&root, &vault_key);
    assert_eq!(secrets.count(pid, Where::Everywhere), 0);
    // What was searched is the agent's memory, and it is alive.
    let alive = Search::of(&[b"AKM_HOME="]);
    assert!(alive.count(pid, Where::Everywhere) > 0);
    assert_eq!(
        agent.get("openai").unwrap_err().kind(),
        akm_core::Kind::Locked
    );
}

#[test]
#[ignore = "a thousand derivations of a key: minutes"]
fn d01_nothing_is_left_after_any_of_1000_lock_cycles() {
    if needs_root() {
        return;
    }
    let home = Home::new();
    let agent = home.start();
    agent.register();
    assert!(agent.stop().success());
    let (root, vault_key) = keys_of(&home);
    let agent = home.start();
    agent.unlock(None).unwrap();
    use_everything(&agent);
    let pid = agent.child.id();
    let open = Search::of(&[&vault_key]);
    let secrets = everything(&root, &vault_key);
    let descriptors = agent.descriptors();
    let mut resting = Vec::new();
    for cycle in 0..1000 {
        if cycle > 0 {
            agent.unlock(None).unwrap();
        }
        assert_eq!(agent.get("openai").unwrap(), CANARIES[0]);
        if cycle % 50 == 0 {
            assert!(open.count(pid, Where::Writable) > 0, "cycle {cycle}");
        }
        agent.lock();
        assert_eq!(secrets.count(pid, Where::Writable), 0, "cycle {cycle}");
        if cycle == 9 || cycle == 999 {
            resting.push(agent.memory_kib("VmRSS"));
        }
    }
    eprintln!("1000 cycles: resident {resting:?} KiB after the 10th and the last");
    assert!(resting[1] < resting[0] + 4 * 1024, "{resting:?}");
    eventually("the end of the connections", || {
        agent.descriptors() <= descriptors
    });
}

/// Each way of a secret into and out of the agent, and a passphrase that is wrong.
fn use_everything(agent: &Agent) {
    let mut client = agent.client();
    let mut call = |op: &str, body: serde_json::Value| {
        let answer = client.call_raw(op, body.to_string().as_bytes());
        // The connection is closed after a credential.
        client = agent.client();
        answer
    };
    call("key.add", json!({"name": "openai", "secret": CANARIES[0]})).unwrap();
    call("key.add", json!({"name": "mistral", "secret": CANARIES[1]})).unwrap();
    call(
        "key.rotate",
        json!({"name": "mistral", "secret": CANARIES[2]}),
    )
    .unwrap();
    for _ in 0..20 {
        assert_eq!(agent.get("openai").unwrap(), CANARIES[0]);
        assert_eq!(agent.get("mistral").unwrap(), CANARIES[2]);
    }
    call("key.get", json!({"name": "mistral", "version": 1})).unwrap();
    call("key.list", json!({})).unwrap();
    call("key.update", json!({"name": "openai", "notes": "n"})).unwrap();
    call(
        "key.add",
        json!({"name": "groq", "secret": CANARIES[3], "unknown": 1}),
    )
    .unwrap_err();
    call(
        "agent.unlock",
        json!({"account": "default", "passphrase": format!("{FILE_PASSPHRASE}x")}),
    )
    .unwrap_err();
    call("backup.create", json!({})).unwrap();
    call("audit.verify", json!({})).unwrap();
}

/// The root key and the vault key of the account `default`, from the vault of an agent that has ended.
fn keys_of(home: &Home) -> ([u8; 32], [u8; 32]) {
    let host = akm_core::host::Host::real();
    let store =
        SqliteStore::open(&home.path().join("vault.db"), &*host.random, &*host.clock).unwrap();
    let account = store.account_by_name("default").unwrap().unwrap();
    let slots = store.slots(&account.id).unwrap();
    let slot = slots.iter().find(|slot| slot.slot == 0).unwrap();
    let kdf = Kdf::decode(&slot.kdf).unwrap();
    let stretched = crypto::stretch(&kdf, PASSPHRASE.as_bytes()).unwrap();
    let vault = store.vault_id();
    let (key, _) = crypto::slot_keys(&stretched, None, &vault, &account.id, 0, &kdf, 0).unwrap();
    let place = |field| Ad::new(field).vault(&vault).account(&account.id);
    let root: LockedKey =
        crypto::unwrap(&key, &place(Field::SlotRoot).slot(0), &slot.wrapped).unwrap();
    let keys = crypto::open(&root, &place(Field::AccountKeys), &account.keys).unwrap();
    let mut vault_key = [0; 32];
    vault_key.copy_from_slice(&keys[65..97]);
    (*root.expose(), vault_key)
}

/// Every secret, passphrase and key of the test.
fn everything(root: &[u8], vault_key: &[u8]) -> Search {
    let mut texts: Vec<&[u8]> = CANARIES.iter().map(|text| text.as_bytes()).collect();
    texts.extend([
        PASSPHRASE.as_bytes(),
        FILE_PASSPHRASE.as_bytes(),
        root,
        vault_key,
    ]);
    Search::of(&texts)
}

/// A request whose end does not come, with this text in it.
fn half_sent(agent: &Agent, text: &str) -> UnixStream {
    let mut half = UnixStream::connect(&agent.socket).unwrap();
    let head = "POST /v1/key.add HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
    half.write_all(format!("{head}{{\"secret\":\"{text}").as_bytes())
        .unwrap();
    half
}

#[test]
fn d02_not_even_the_beginning_of_a_passphrase_stays_in_the_agent() {
    if needs_root() {
        return;
    }
    // Characters that nothing else in the agent begins with.
    let passphrase = "☂☯⚛♞ and some more words";
    let home = Home::new();
    let agent = home.start();
    let body = json!({"account": "default", "passphrase": passphrase, "totp": false});
    agent
        .client()
        .call_raw("account.register", body.to_string().as_bytes())
        .unwrap();
    agent.lock();
    let unlock = |typed: &str| {
        let body = json!({"account": "default", "passphrase": typed});
        agent
            .client()
            .call_raw("agent.unlock", body.to_string().as_bytes())
            .map(drop)
    };
    let pid = agent.child.id();
    // Its first four characters, as they are and as UTF-16.
    let start: String = passphrase.chars().take(4).collect();
    let wide = start.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let beginning = Search::exactly(vec![start.clone().into_bytes(), wide]);

    let half = half_sent(&agent, &start);
    eventually("the control", || beginning.count(pid, Where::Writable) > 0);
    drop(half);
    eventually("the end of the control", || {
        beginning.count(pid, Where::Writable) == 0
    });
    // Typed wrongly in its middle, rightly, and again; while the account is open it is not needed any more.
    unlock(&passphrase.replace("some", "none")).unwrap_err();
    unlock(passphrase).unwrap();
    eventually("the end of what unlocking needed", || {
        beginning.count(pid, Where::Writable) == 0
    });
    agent.lock();
    assert_eq!(beginning.count(pid, Where::Everywhere), 0);
}

/// A process that anybody of its user may look into.
fn plain_process(user: &User) -> Ended {
    let mut command = user.command(Path::new("sleep"));
    Ended(command.arg("1000").spawn().unwrap())
}

#[test]
fn d03_ptrace_by_the_same_user_is_refused() {
    if needs_root() || lacks("gdb") {
        return;
    }
    let user = User::new(OWNER);
    let agent = user.start();
    let attach = |pid: u32| {
        let mut command = user.command(Path::new("gdb"));
        command.args(["-nx", "-batch", "-p", &pid.to_string(), "-ex", "info proc"]);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    };
    let said = attach(agent.child.id());
    assert!(said.contains("Operation not permitted"), "{said}");
    assert!(!said.contains("exe = "), "{said}");
    let control = plain_process(&user);
    let said = attach(control.0.id());
    assert!(
        !said.contains("not permitted") && said.contains("exe = "),
        "{said}"
    );
}

#[test]
fn d04_proc_of_the_agent_is_closed_to_the_same_user() {
    if needs_root() {
        return;
    }
    let user = User::new(OWNER);
    let agent = user.start();
    let control = plain_process(&user);
    for name in [
        "environ", "mem", "maps", "smaps", "auxv", "fd", "exe", "cwd",
    ] {
        let look = |pid: u32| {
            let path = format!("/proc/{pid}/{name}");
            let shell = match name {
                "fd" => format!("ls {path}"),
                "exe" | "cwd" => format!("readlink {path}"),
                // Reading at 0 fails for everybody; opening is what is refused.
                "mem" => format!(": < {path}"),
                _ => format!("cat {path} > /dev/null"),
            };
            let mut command = user.command(Path::new("sh"));
            command.args(["-c", &shell]).stderr(Stdio::null());
            command.stdout(Stdio::null()).status().unwrap().success()
        };
        assert!(!look(agent.child.id()), "{name} of the agent can be read");
        assert!(look(control.0.id()), "the control: {name}");
    }
}

#[test]
fn d05_an_abort_leaves_no_core() {
    if needs_root() {
        return;
    }
    let user = User::new(OWNER);
    let cores = user.dir.path().join("cores");
    user.own(&cores);
    let shell = format!("cd {} && ulimit -c unlimited && ", cores.display());
    // The limit of this process may be lower than what a shell can raise; root raises it for its children.
    let unlimited = |command: &mut Command| {
        let _ = nix::sys::resource::setrlimit(
            nix::sys::resource::Resource::RLIMIT_CORE,
            nix::libc::RLIM_INFINITY,
            nix::libc::RLIM_INFINITY,
        );
        command.spawn().unwrap()
    };
    let mut control = user.command(Path::new("sh"));
    control.args(["-c", &format!("{shell}echo; exec sleep 1000")]);
    let mut control = unlimited(control.stdout(Stdio::piped()));
    // The line comes before the program is another one, and the signal does the same to either.
    let mut line = [0; 1];
    control
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut line)
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(control.id()).unwrap());
    kill(pid, Signal::SIGABRT).unwrap();
    assert!(control.wait().unwrap().core_dumped(), "the control");
    for entry in std::fs::read_dir(&cores).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }

    let mut agent = user.start_after(&shell);
    user.register(&agent);
    agent.signal(Signal::SIGABRT);
    let status = agent.child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32));
    assert!(!status.core_dumped());
    assert_eq!(std::fs::read_dir(&cores).unwrap().count(), 0);
}

#[test]
fn d06_the_agent_its_helper_and_what_it_starts_again_cannot_be_dumped() {
    if needs_root() {
        return;
    }
    let user = User::new(OWNER);
    // In /proc, what may not be dumped belongs to root, whoever runs it.
    let owner = |pid: u32| {
        std::fs::metadata(format!("/proc/{pid}/environ"))
            .unwrap()
            .uid()
    };
    let control = plain_process(&user);
    eventually("the control", || owner(control.0.id()) == OWNER);

    let agent = user.start();
    assert_eq!(owner(agent.child.id()), 0);
    assert!(agent.stop().success());

    // In the background: the program run again by itself.
    let output = user.command(&user.program).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let pid = akm_agent::daemon::running(&user.home().join("agent.sock"));
    // Nobody's socket but the user's own is believed, and this process is root: so from what the agent printed.
    assert_eq!(pid, None);
    let said = String::from_utf8(output.stdout).unwrap();
    let pid: u32 = said
        .split("AKM_AGENT_PID=")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(owner(pid), 0);
    let mut helper = user.command(&user.program);
    helper.arg("__clipboard").stdin(Stdio::piped());
    let helper = Ended(helper.spawn().unwrap());
    // It waits for its order.
    eventually("the helper", || owner(helper.0.id()) == 0);
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGTERM).unwrap();
    eventually("the end of the agent", || {
        !Path::new(&format!("/proc/{pid}")).exists()
    });
}

#[test]
fn d08_without_locked_memory_it_works_and_warns_once() {
    if needs_root() {
        return;
    }
    let user = User::new(OWNER);
    let mut agent = user.start_after("ulimit -l 0 && ");
    user.register(&agent);
    let key = json!({"name": "openai", "secret": CANARIES[0]});
    assert!(user.ask(&agent, "key.add", &key).contains("\"ok\":true"));
    let got = user.ask(&agent, "key.get", &json!({"name": "openai"}));
    assert!(got.contains(CANARIES[0]), "{got}");
    assert_eq!(agent.memory_kib("VmLck"), 0);
    let mut stderr = agent.child.stderr.take().unwrap();
    assert!(agent.stop().success());
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("memory_not_locked").count(), 1, "{said}");

    // The control: with the limit of most systems.
    let mut agent = user.start_after("ulimit -l 8192 && ");
    let unlock = json!({"account": "default", "passphrase": PASSPHRASE});
    assert!(
        user.ask(&agent, "agent.unlock", &unlock)
            .contains("\"ok\":true")
    );
    assert!(agent.memory_kib("VmLck") > 0);
    let mut stderr = agent.child.stderr.take().unwrap();
    assert!(agent.stop().success());
    said.clear();
    stderr.read_to_string(&mut said).unwrap();
    assert!(!said.contains("memory_not_locked"), "{said}");
}

#[test]
fn d10_a_panic_with_a_secret_in_scope_shows_nothing() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            "panics_with_a_secret",
        ])
        .env("RUST_BACKTRACE", "full")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // The control: it did panic, and over the secret.
    assert!(
        said.contains("panicked at") && said.contains("Secret("),
        "{said}"
    );
    for form in CANARIES {
        assert!(!said.contains(form), "{said}");
    }
    assert!(!said.contains("7Qx2mV9t"), "{said}");
}

#[test]
#[ignore = "a child process of another test"]
fn panics_with_a_secret() {
    let mut bytes = *b"sk-canary-7Qx2mV9tLw4Zr8Yc3Nb6Kd";
    let key = LockedKey::from_bytes(&mut bytes);
    let held: Result<(), _> = std::hint::black_box(Err((secret(CANARIES[0]), key)));
    held.unwrap();
}

/// Takes the swap file away again.
struct Swap(std::path::PathBuf);

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = Command::new("swapoff").arg(&self.0).status();
    }
}

#[test]
#[ignore = "switches a swap file on for the whole machine"]
fn d07_nothing_of_a_key_reaches_the_swap_file() {
    if needs_root() {
        return;
    }
    let group = Path::new("/sys/fs/cgroup/memory/akm-d07");
    if std::fs::create_dir_all(group).is_err() || !group.join("memory.limit_in_bytes").exists() {
        eprintln!("skipped: no memory controller of version 1");
        return;
    }
    // On a disk: a file in memory cannot be swapped to.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = dir.path().join("swap");
    let made = Command::new("dd")
        .args(["if=/dev/zero", "bs=1M", "count=256", "status=none"])
        .arg(format!("of={}", file.display()))
        .status();
    assert!(made.unwrap().success());
    let done = |program: &str| {
        let status = Command::new(program)
            .arg(&file)
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{program}");
    };
    done("mkswap");
    done("swapon");
    let _swap = Swap(file.clone());
    let inside = format!("echo $$ > {}/cgroup.procs && ", group.display());

    let home = Home::new();
    let mut command = support::clean(Path::new("sh"));
    command
        .args([
            "-c",
            &format!("{inside}exec {} -D", env!("CARGO_BIN_EXE_akm-agent")),
        ])
        .env("AKM_HOME", home.path());
    let agent = Agent {
        child: launch(command).unwrap(),
        socket: home.socket(),
    };
    agent.register();
    use_everything(&agent);
    // The control: a process in the same group that keeps its secret in ordinary memory.
    let control = "canary-of-the-control-Zk5Vb8";
    let script = format!(
        "import sys,time\nx=['%s%d' % ('{}'[::-1], i) for i in range(200000)]\nprint('r', flush=True)\ntime.sleep(1000)",
        control.chars().rev().collect::<String>()
    );
    let mut ordinary = Command::new("sh");
    ordinary.args(["-c", &format!("{inside}exec python3 -c \"$0\""), &script]);
    let mut ordinary = Ended(ordinary.stdout(Stdio::piped()).spawn().unwrap());
    ordinary
        .0
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut [0; 1])
        .unwrap();
    assert!(agent.memory_kib("VmLck") > 0);

    for limit in ["16M", "8M", "4M"] {
        // Less than what cannot be given back is refused; what could be, is.
        let _ = std::fs::write(group.join("memory.limit_in_bytes"), limit);
    }
    for _ in 0..50 {
        let _ = agent.get("openai");
    }
    let swapped = agent.memory_kib("VmSwap");
    let _ = Command::new("sync").status();
    let hits = |text: &str| {
        // Past the page cache, which knows nothing of what was swapped.
        let shell = "dd if=\"$0\" bs=1M iflag=direct status=none | grep -a -c -F \"$1\"";
        let output = Command::new("sh")
            .args(["-c", shell])
            .arg(&file)
            .arg(text)
            .output();
        String::from_utf8(output.unwrap().stdout)
            .unwrap()
            .trim()
            .parse::<u32>()
            .unwrap()
    };
    let of_control = hits(control);
    let of_agent: u32 = CANARIES
        .iter()
        .chain([&PASSPHRASE])
        .map(|text| hits(text))
        .sum();
    eprintln!(
        "swapped of the agent: {swapped} KiB; lines with the control: {of_control}, with its secrets: {of_agent}"
    );
    let _ = std::fs::write(group.join("memory.limit_in_bytes"), "-1");
    assert!(of_control > 0, "the control");
    assert!(swapped > 0, "nothing of the agent was swapped");
    assert_eq!(of_agent, 0);
    drop(agent);
    drop(ordinary);
    let _ = std::fs::remove_dir(group);
}

#[test]
fn the_control_of_a_search_is_not_the_search() {
    // A request that was answered leaves nothing: else the controls above would find it for the wrong reason.
    if needs_root() {
        return;
    }
    let home = Home::new();
    let agent = home.start();
    let text = "sk-never-stored-Rw4Gx9Qm2";
    let answer = agent.http(&request("key.get", &json!({ "name": text }).to_string()));
    assert!(answer.contains("locked"), "{answer}");
    let search = Search::of(&[text.as_bytes()]);
    eventually("the end of the request", || {
        search.count(agent.child.id(), Where::Writable) == 0
    });
}
