//! What the benchmarks share: an agent in a temporary home, a client loop, and figures as ratios.
//!
//! Everything that is measured is a process of its own, started from the same release profile. A figure is
//! only ever compared with one that was taken in turn with it in the same run.

#![allow(dead_code, unreachable_pub)] // Each benchmark uses its part.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The name, and the secret, that every benchmark asks for.
pub const NAME: &str = "openai/work";
/// As long as a provider's are.
pub const SECRET: &str = "sk-proj-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnop";
/// Of the one account.
pub const PASSPHRASE: &str = "correct horse battery staple";

/// Whether `cargo bench` runs this, and not a test run over all targets.
pub fn benching() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// A process that ends with its owner.
pub struct Server(Child);

impl Server {
    /// Starts a process and waits for the line of its output that `wanted` takes something from.
    pub fn start<T>(command: &mut Command, wanted: impl Fn(&str) -> Option<T>) -> (Server, T) {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let found = lines
            .map(|line| line.expect("text"))
            .find_map(|line| wanted(&line));
        (
            Server(child),
            found.expect("the server says that it is ready"),
        )
    }

    /// This program again, in the part of a server on `socket`.
    pub fn again(role: &str, socket: &Path, arguments: &[usize]) -> Server {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command
            .arg(role)
            .arg(socket)
            .args(arguments.iter().map(usize::to_string));
        Server::start(&mut command, |line| (line == "ready").then_some(())).0
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Processor time it has used.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .expect("fields")
            .split_whitespace()
            .collect();
        // utime and stime, in ticks of 10 ms.
        let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
        Duration::from_millis(10 * (ticks(11) + ticks(12)))
    }

    /// Waits until it has nothing to do any more.
    pub fn wait_until_idle(&self) {
        let deadline = Instant::now() + Duration::from_secs(600);
        let mut before = self.cpu();
        loop {
            std::thread::sleep(Duration::from_secs(2));
            let now = self.cpu();
            if now == before {
                return;
            }
            assert!(Instant::now() < deadline, "it goes on working");
            before = now;
        }
    }

    /// A figure of `/proc/PID/status` or `smaps_rollup` in KiB, where the system lets us see it.
    pub fn memory(&self, file: &str, field: &str) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.pid())).ok()?;
        let line = text
            .lines()
            .find(|line| line.split(':').next() == Some(field))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.pid() as i32), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// An agent in a home of its own.
pub struct Agent {
    /// The process.
    pub server: Server,
    /// Where it listens.
    pub socket: PathBuf,
}

impl Agent {
    /// Starts it; `home` is private and on a disk.
    pub fn start(home: &Path) -> Agent {
        let mut command = Command::new(env!("CARGO_BIN_EXE_akm-agent"));
        command.args(["-D", "-s"]).env_clear().env("AKM_HOME", home);
        let (server, socket) = Server::start(&mut command, |line| {
            let (_, rest) = line.split_once("AKM_AGENT_SOCK=")?;
            Some(PathBuf::from(rest.split(';').next()?))
        });
        Agent { server, socket }
    }

    /// Starts it over an empty home, with an account and a key in it, unlocked.
    pub fn with_a_key(home: &Path) -> Agent {
        let agent = Agent::start(home);
        agent.call(
            "account.register",
            &format!(r#"{{"account":"default","passphrase":"{PASSPHRASE}","totp":false}}"#),
        );
        agent.call(
            "key.add",
            &format!(r#"{{"name":"{NAME}","secret":"{SECRET}"}}"#),
        );
        agent
    }

    /// Sets a policy, with a grant that covers this process: `granted`, or `agents`, which looks at the ancestors too.
    pub fn restrict(&self, policy: &str) {
        let me = std::env::current_exe().expect("a path");
        let here = std::env::current_dir().expect("a path");
        let digest = akm_core::crypto::digest_of(
            &mut std::fs::File::open(&me).expect("it is there"),
            u64::MAX,
        );
        let digest = digest.expect("it is read").expect("it is not too large");
        let grant = serde_json::json!({
            "name": NAME, "exe": me, "exe_sha256": data_encoding::HEXLOWER.encode(&digest), "under": here,
            // What cargo puts into the environment.
            "any_env": true, "passphrase": PASSPHRASE,
        });
        self.call("grant.add", &grant.to_string());
        self.call("policy.set", r#"{"policy":"granted"}"#);
        if policy == "agents" {
            self.call("policy.set", r#"{"agents":"granted"}"#);
        }
    }

    /// Unlocks the account that [`Agent::with_a_key`] made.
    pub fn unlock(&self) {
        self.call(
            "agent.unlock",
            &format!(r#"{{"account":"default","passphrase":"{PASSPHRASE}"}}"#),
        );
    }

    pub fn call(&self, operation: &str, body: &str) {
        let answer = probe(&self.socket, &request(operation, body));
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
}

/// An ssh-agent on `socket`, where one is installed.
pub fn ssh_agent(socket: &Path) -> Option<Server> {
    let path = std::env::var_os("PATH")?;
    let program = std::env::split_paths(&path)
        .map(|dir| dir.join("ssh-agent"))
        .find(|program| program.is_file())?;
    let mut command = Command::new(program);
    command.arg("-D").arg("-a").arg(socket);
    let ready = |line: &str| line.contains("SSH_AUTH_SOCK").then_some(());
    Some(Server::start(&mut command, ready).0)
}

/// Waits until an agent has taken the events of its journal into its store.
pub fn wait_until_folded(home: &Path) {
    let journal = home.join("audit.journal");
    let folding = home.join("audit.journal.folding");
    let small = |path: &Path| std::fs::metadata(path).is_ok_and(|facts| facts.len() < 64);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !small(&journal) || folding.exists() {
        assert!(Instant::now() < deadline, "the journal is not folded");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An HTTP request, ready to be written.
pub fn request(operation: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST /v1/{operation} HTTP/1.1\r\nhost: akm\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// One HTTP exchange: the whole answer.
pub fn probe(socket: &Path, request: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    stream.write_all(request).expect("it reads");
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let got = stream.read(&mut piece).expect("it answers");
        assert!(got > 0, "the server closed the connection");
        answer.extend_from_slice(&piece[..got]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len()
                >= length
                    .and_then(|length| length.parse().ok())
                    .expect("a length")
            {
                return answer;
            }
        }
    }
}

/// What one server was asked in one slice of time, by all clients.
#[derive(Default)]
pub struct Sample {
    /// Nanoseconds of each exchange.
    pub nanos: Vec<u32>,
    /// Time the slices took.
    pub elapsed: Duration,
    /// Processor time the server took, work it did afterwards included.
    pub cpu: Duration,
}

impl Sample {
    /// The median, in microseconds.
    pub fn p50(&mut self) -> f64 {
        f64::from(median(&mut self.nanos)) / 1000.0
    }

    /// Exchanges per second.
    pub fn rate(&self) -> f64 {
        self.nanos.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Blocking clients, each writing one request and reading one answer, over and over. Every answer is compared with
/// the first one, so that a refusal is never counted.
pub fn ask(
    socket: &Path,
    request: &[u8],
    answer: &[u8],
    clients: usize,
    time: Duration,
    sample: &mut Sample,
) {
    let barrier = Barrier::new(clients + 1);
    let run = || {
        let mut stream = UnixStream::connect(socket).expect("it listens");
        let mut nanos = Vec::with_capacity(1 << 17);
        let mut got = vec![0; answer.len()];
        barrier.wait();
        let start = Instant::now();
        let mut last = start;
        while last - start < time {
            stream.write_all(request).expect("it reads");
            stream.read_exact(&mut got).expect("it answers");
            assert!(got == answer, "another answer than the first");
            let now = Instant::now();
            nanos.push(u32::try_from((now - last).as_nanos()).unwrap_or(u32::MAX));
            last = now;
        }
        nanos
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(run)).collect();
        barrier.wait();
        let start = Instant::now();
        for thread in threads {
            sample.nanos.extend(thread.join().expect("a client"));
        }
        sample.elapsed += start.elapsed();
    });
}

/// The middle one; 0 of none.
pub fn median<T: Copy + Ord + Default>(values: &mut [T]) -> T {
    let middle = values.len() / 2;
    match values.is_empty() {
        true => T::default(),
        false => *values.select_nth_unstable(middle).1,
    }
}

/// Pins this process, and what it starts from now on, to one core; or lets it go again.
pub struct Cores(CpuSet);

impl Cores {
    /// Those that this process may use.
    pub fn all() -> Cores {
        Cores(sched_getaffinity(Pid::this()).expect("a set of cores"))
    }

    /// To the last one of them, which gets fewer interrupts than the first.
    pub fn pin(&self) {
        let last = (0..CpuSet::count()).rfind(|core| self.0.is_set(*core) == Ok(true));
        let mut one = CpuSet::new();
        one.set(last.expect("a core")).expect("within the set");
        sched_setaffinity(Pid::this(), &one).expect("it may be pinned");
    }

    /// To all of them.
    pub fn free(&self) {
        sched_setaffinity(Pid::this(), &self.0).expect("it may be freed");
    }
}

/// A number given in the environment.
pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A private home on the disk that the build is on.
pub fn home() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// A blocking echo server: a thread per connection; reads `arguments[0]` bytes, answers `arguments[1]`.
pub fn serve_echo(socket: &Path, reads: usize, writes: usize) {
    let listener = std::os::unix::net::UnixListener::bind(socket).expect("a socket");
    say_ready();
    for stream in listener.incoming() {
        let mut stream = stream.expect("a client");
        std::thread::spawn(move || {
            let mut request = vec![0; reads];
            let answer = vec![b'.'; writes];
            while stream
                .read_exact(&mut request)
                .and_then(|()| stream.write_all(&answer))
                .is_ok()
            {}
        });
    }
}

/// Tells whoever started this process that clients may come.
pub fn say_ready() {
    let mut out = std::io::stdout();
    out.write_all(b"ready\n")
        .and_then(|()| out.flush())
        .expect("a pipe");
}
