//! `akm demo`: the main job from an empty directory to a verified log, in a temporary home.
//!
//! Every step runs a real program (this one, curl, Python, Node, a Rust example) against a real agent and looks
//! at what it did; the demo ends with 0 only if each did what its line says. What cannot run here (no Node, not
//! in a checkout) is skipped with the reason and counted in the last line. Reading order: this file (the
//! steps), [`stage`] (home and processes), [`build`] (what is built first), [`provider`] (the providers it tests
//! against).
//!
//! Invariants: secrets are shown as previews only; nothing is left behind, also after Ctrl-C.

mod build;
mod provider;
mod stage;

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use akm_core::Error;
use clap::Args;
use totp_rs::Builder;

use super::output::{self, Fail, Result as CliResult};
use build::{Checkout, Found};
use provider::{Role, Server};
use stage::{Broken, Ran, Stage};

/// Typed by nobody and guarding nothing: the vault lives as long as the demo.
const PASSPHRASE: &str = "correct horse battery staple";
/// The key that every program fetches.
const WANTED: &str = "openai/work";
/// Most lines of a listing that are shown.
const SHOWN: usize = 12;
/// Length of a step of an authenticator in seconds.
const TOTP_STEP: u64 = 30;

/// Runs the whole job once.
#[derive(Args)]
#[command(after_help = "Example:\n  akm demo\n  cargo run --bin akm -- demo")]
pub(crate) struct Demo {
    /// Let one provider answer wrongly, to see that the demo notices
    #[arg(long = "break", value_name = "PROVIDER", hide = true)]
    broken: Option<Role>,
    /// Only play the providers, until standard input ends
    #[arg(long, hide = true)]
    serve: bool,
}

pub(crate) fn demo(args: &Demo) -> CliResult<()> {
    if args.serve {
        return serve(args.broken);
    }
    let mut play = match Play::new(args.broken) {
        Ok(play) => play,
        Err(broken) => return Err(told(broken)),
    };
    let played = play.all();
    let cleared = play.stage.clear();
    match (played, cleared) {
        (Ok(()), Ok(())) => output::line(&format!(
            "\n{} steps did what they say, {} skipped. The temporary home and its agent are gone.",
            play.steps - play.skipped,
            play.skipped
        )),
        (Ok(()), Err(stayed)) => Err(told(Broken::Failed(format!(
            "something is left behind: {stayed}"
        )))),
        (Err(End::Output(fail)), _) => Err(fail),
        (Err(End::Broken(broken)), cleared) => {
            let fail = told(broken);
            match cleared {
                Ok(()) => output::note("the temporary home and its agent are gone"),
                Err(stayed) => output::note(&format!("something is left behind: {stayed}")),
            }
            Err(fail)
        }
    }
}

fn told(broken: Broken) -> Fail {
    match broken {
        Broken::Interrupted(signal) => {
            output::note("\ninterrupted");
            Fail::Exit(u8::try_from(128 + signal).unwrap_or(1))
        }
        Broken::Failed(why) => {
            // Lines of other programs, each cleaned for the terminal.
            for (index, line) in why.lines().enumerate() {
                let head = if index == 0 { "FAILED: " } else { "        " };
                output::note(&format!("{head}{}", output::clean(line)));
            }
            Fail::Exit(1)
        }
    }
}

/// Plays the providers for programs of other languages: prints their addresses and keys, ends with stdin.
fn serve(broken: Option<Role>) -> CliResult<()> {
    let server = Server::start(broken).map_err(|error| Error::from_io(&error))?;
    let roles: Vec<serde_json::Value> = Role::ALL
        .into_iter()
        .map(|role| {
            serde_json::json!({
                "provider": role.id(),
                "base_url": server.base_url(role),
                "valid": role.valid_key(),
                "invalid": role.invalid_key(),
                "rate_limited": role.busy_key(),
            })
        })
        .collect();
    output::json(&roles)?;
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())
        .map_err(|error| Error::from_io(&error))?;
    Ok(())
}

/// Why the play ended early.
enum End {
    Broken(Broken),
    Output(Fail),
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        End::Broken(broken)
    }
}

impl From<Fail> for End {
    fn from(fail: Fail) -> Self {
        End::Output(fail)
    }
}

type Played<T = ()> = std::result::Result<T, End>;

fn failed<T>(why: impl Into<String>) -> Played<T> {
    Err(End::Broken(Broken::Failed(why.into())))
}

/// A program that fetches a key.
struct Fetcher {
    title: &'static str,
    shown: String,
    how: Found<How>,
    /// How it says that the account is locked.
    refusal: Refusal,
}

/// The program and its arguments, and what it needs to know beside the agent's socket.
struct How {
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(&'static str, PathBuf)>,
}

enum Refusal {
    /// Exit code 3.
    Exit,
    /// An HTTP answer with status 423.
    Http,
}

struct Play {
    stage: Stage,
    server: Server,
    steps: usize,
    skipped: usize,
}

impl Play {
    fn new(broken: Option<Role>) -> std::result::Result<Play, Broken> {
        let stage = Stage::new()?;
        let server = Server::start(broken)
            .map_err(|error| Broken::Failed(format!("no server on loopback: {error}")))?;
        Ok(Play {
            stage,
            server,
            steps: 0,
            skipped: 0,
        })
    }

    fn all(&mut self) -> Played {
        output::line(
            "akm demo: a key goes in, and programs get it. Everything happens in a temporary home.",
        )?;
        let fetchers = self.prepare()?;
        let totp_secret = self.init()?;
        self.add()?;
        self.list()?;
        self.test()?;
        for fetcher in &fetchers {
            self.fetch(fetcher)?;
        }
        self.lock()?;
        for fetcher in &fetchers {
            self.refuse(fetcher)?;
        }
        self.unlock(&totp_secret)?;
        let fetched = fetchers
            .iter()
            .filter(|fetcher| fetcher.how.is_ok())
            .count();
        self.log(fetched)?;
        self.verify()?;
        self.stop()
    }

    /// Begins a step.
    fn step(&mut self, title: &str, shown: &str) -> Played {
        self.stage.check()?;
        self.steps += 1;
        output::line(&format!("\n{:2}  {title}", self.steps))?;
        self.command(shown)
    }

    fn command(&self, shown: &str) -> Played {
        output::line(&format!("    $ {shown}"))?;
        Ok(())
    }

    fn result(&self, text: &str) -> Played {
        output::line(&format!("    {}", output::clean(text)))?;
        Ok(())
    }

    fn skip(&mut self, why: &str) -> Played {
        self.skipped += 1;
        output::line(&format!("    skipped: {}", output::clean(why)))?;
        Ok(())
    }

    fn listing(&self, text: &str, from_the_end: bool) -> Played {
        let lines: Vec<&str> = text.lines().collect();
        let hidden = lines.len().saturating_sub(SHOWN);
        if hidden == 0 {
            for line in lines {
                self.result(line)?;
            }
        } else if from_the_end {
            self.result(lines[0])?;
            self.result(&format!("… {} lines more", hidden - 1))?;
            for line in &lines[hidden..] {
                self.result(line)?;
            }
        } else {
            for line in &lines[..SHOWN] {
                self.result(line)?;
            }
            self.result(&format!("… {hidden} lines more"))?;
        }
        Ok(())
    }

    /// Builds what the programs need.
    fn prepare(&mut self) -> Played<Vec<Fetcher>> {
        let checkout = Checkout::find();
        let need = |tool: Found<PathBuf>| -> Found<(&Checkout, PathBuf)> {
            Ok((checkout.as_ref().map_err(Clone::clone)?, tool?))
        };

        self.step("The C library is built", "cargo build -p akm-ffi")?;
        let library = match need(build::cargo()) {
            Ok((checkout, cargo)) => {
                let path =
                    checkout.build(&self.stage, &cargo, &["-p", "akm-ffi", "--lib"], |file| {
                        file.ends_with("libakm.so") || file.ends_with("libakm.dylib")
                    })?;
                self.result(&path.display().to_string())?;
                Ok(path)
            }
            Err(why) => {
                self.skip(&why)?;
                Err(why)
            }
        };

        self.step(
            "The Rust example is built",
            "cargo build -p akm-core --features client --example get",
        )?;
        let rust = match need(build::cargo()).and_then(|(checkout, cargo)| {
            checkout.file(RUST_EXAMPLE)?;
            Ok((checkout, cargo))
        }) {
            Ok((checkout, cargo)) => {
                let path = checkout.build(&self.stage, &cargo, RUST_BUILD, |file| {
                    file.ends_with("/get")
                })?;
                self.result(&path.display().to_string())?;
                Ok(path)
            }
            Err(why) => {
                self.skip(&why)?;
                Err(why)
            }
        };

        self.step("Node gets koffi, which calls C libraries", "npm ci")?;
        let node = match need(build::tool("node").and_then(|_| build::tool("npm"))) {
            Ok((checkout, npm)) => {
                let what = checkout.npm(&self.stage, &npm)?;
                self.result(what)?;
                build::tool("node")
            }
            Err(why) => {
                self.skip(&why)?;
                Err(why)
            }
        };

        let script =
            |program: Found<PathBuf>, path: &str, variables: Vec<(&'static str, PathBuf)>| {
                let checkout = checkout.as_ref().map_err(Clone::clone)?;
                Ok(How {
                    program: program?,
                    arguments: vec![
                        checkout.file(path)?.display().to_string(),
                        WANTED.to_owned(),
                    ],
                    variables: [
                        variables,
                        vec![(
                            "AKM_LIBRARY",
                            library.as_ref().map_err(Clone::clone)?.clone(),
                        )],
                    ]
                    .concat(),
                })
            };
        let python_path = match &checkout {
            Ok(checkout) => checkout.dir("bindings/python/src"),
            Err(_) => PathBuf::new(),
        };
        Ok(vec![
            Fetcher {
                title: "the command line",
                shown: format!("akm get {WANTED}"),
                how: std::env::current_exe()
                    .map_err(|error| error.to_string())
                    .map(|program| How {
                        program,
                        arguments: vec!["get".to_owned(), WANTED.to_owned()],
                        variables: Vec::new(),
                    }),
                refusal: Refusal::Exit,
            },
            Fetcher {
                title: "curl",
                shown: format!(
                    "curl --unix-socket $AKM_AGENT_SOCK -d '{{\"name\":\"{WANTED}\"}}' http://akm/v1/key.get"
                ),
                how: build::tool("curl").map(|program| How {
                    program,
                    arguments: [
                        "--silent",
                        "--show-error",
                        "--max-time",
                        "20",
                        "--unix-socket",
                        &self.stage.socket().display().to_string(),
                        "--write-out",
                        "\n%{http_code}",
                        "--data",
                        &format!("{{\"name\":\"{WANTED}\"}}"),
                        "http://akm/v1/key.get",
                    ]
                    .map(str::to_owned)
                    .to_vec(),
                    variables: Vec::new(),
                }),
                refusal: Refusal::Http,
            },
            Fetcher {
                title: "a Rust program",
                shown: format!("{RUST_EXAMPLE} {WANTED}"),
                how: rust.map(|program| How {
                    program,
                    arguments: vec![WANTED.to_owned()],
                    variables: Vec::new(),
                }),
                refusal: Refusal::Exit,
            },
            Fetcher {
                title: "a Python program",
                shown: format!("python3 {PYTHON_EXAMPLE} {WANTED}"),
                how: script(
                    build::tool("python3"),
                    PYTHON_EXAMPLE,
                    vec![
                        ("PYTHONPATH", python_path),
                        ("PYTHONDONTWRITEBYTECODE", PathBuf::from("1")),
                    ],
                ),
                refusal: Refusal::Exit,
            },
            Fetcher {
                title: "a Node program",
                shown: format!("node {NODE_EXAMPLE} {WANTED}"),
                how: script(node, NODE_EXAMPLE, Vec::new()),
                refusal: Refusal::Exit,
            },
        ])
    }

    /// Creates the vault with TOTP, as a person with an authenticator would. Returns the TOTP secret.
    fn init(&mut self) -> Played<String> {
        self.step(
            "The vault is created, its agent started, and an authenticator set up",
            "akm init",
        )?;
        let mut command = self.stage.akm(&["init", "--passphrase-stdin"]);
        let mut running = self.stage.start(&mut command)?;
        running.write(&format!("{PASSPHRASE}\n"));
        let printed = running.read_until(&self.stage, |text| {
            let (_, after) = text.split_once("TOTP secret: ")?;
            let (secret, _) = after.split_once('\n')?;
            Some(secret.trim().to_owned())
        })?;
        let Some(secret) = printed else {
            let ran = running.finish(&self.stage, stage::PATIENCE)?;
            return failed(format!("akm init printed no TOTP secret\n{}", ran.stderr));
        };
        let code = code(&secret, 0)?;
        running.write(&format!("{code}\n"));
        running.end_input();
        let ran = running.finish(&self.stage, stage::PATIENCE)?;
        expect_code(&ran, 0, "akm init")?;
        let codes = ran
            .stdout
            .lines()
            .filter(|line| line.starts_with("  "))
            .count();
        if codes == 0 {
            return failed("akm init printed no recovery codes");
        }
        self.result(&format!(
            "{codes} recovery codes, TOTP secret {}, confirmed with the code {code} computed from it",
            preview(&secret)
        ))?;
        let status = self.stage.run(&mut self.stage.akm(&["status"]), "")?;
        expect_code(&status, 0, "akm status")?;
        self.listing(&status.stdout, false)?;
        Ok(secret)
    }

    /// Three keys of three providers, and for each provider two that it will not like.
    fn add(&mut self) -> Played {
        for role in Role::ALL {
            let name = match role {
                Role::Openai => WANTED.to_owned(),
                Role::Anthropic | Role::Google => role.id().to_owned(),
            };
            self.step_add(&name, role, "A key is added")?;
            self.add_one(role, &name, role.valid_key())?;
        }
        for role in Role::ALL {
            let id = role.id();
            let revoked = format!("{id}/revoked");
            self.step_add(
                &revoked,
                role,
                "One that the provider refuses, and one that asks too often",
            )?;
            self.add_one(role, &revoked, role.invalid_key())?;
            let busy = format!("{id}/busy");
            self.command(&self.add_shown(&busy, role))?;
            self.add_one(role, &busy, role.busy_key())?;
        }
        Ok(())
    }

    fn step_add(&mut self, name: &str, role: Role, title: &str) -> Played {
        let shown = self.add_shown(name, role);
        self.step(title, &shown)
    }

    fn add_shown(&self, name: &str, role: Role) -> String {
        let url = self.server.base_url(role);
        format!("akm add {name} --base-url {url} --secret-stdin")
    }

    fn add_one(&self, role: Role, name: &str, secret: &str) -> Played {
        let url = self.server.base_url(role);
        let mut command = self
            .stage
            .akm(&["add", name, "--base-url", &url, "--secret-stdin"]);
        let ran = self.stage.run(&mut command, &format!("{secret}\n"))?;
        expect_code(&ran, 0, "akm add")?;
        if ran.stdout.contains(secret) || ran.stderr.contains(secret) {
            return failed("akm add printed the secret");
        }
        self.result(ran.stderr.trim_end())
    }

    fn list(&mut self) -> Played {
        self.step("What is in the vault", "akm ls")?;
        let ran = self.stage.run(&mut self.stage.akm(&["ls"]), "")?;
        expect_code(&ran, 0, "akm ls")?;
        for role in Role::ALL {
            for secret in [role.valid_key(), role.busy_key(), role.invalid_key()] {
                if ran.stdout.contains(secret) {
                    return failed("akm ls printed a secret");
                }
            }
        }
        let keys = ran.stdout.lines().count().saturating_sub(1);
        if keys != Role::ALL.len() * 3 {
            return failed(format!("akm ls shows {keys} keys"));
        }
        self.listing(&ran.stdout, false)
    }

    /// Tests every key and compares each verdict with what the server knows.
    fn test(&mut self) -> Played {
        self.step("Every key is tested against its provider", "akm test --all")?;
        let ran = self
            .stage
            .run(&mut self.stage.akm(&["test", "--all"]), "")?;
        self.listing(&ran.stdout, false)?;
        // Six of nine keys fail, as they should, and the exit code says so.
        expect_code(&ran, 1, "akm test --all")?;
        for role in Role::ALL {
            let id = role.id();
            let first = match role {
                Role::Openai => WANTED.to_owned(),
                Role::Anthropic | Role::Google => format!("{id}/default"),
            };
            for (name, verdict) in [
                (first, "valid"),
                (format!("{id}/revoked"), "invalid"),
                (format!("{id}/busy"), "rate limited"),
            ] {
                let row = ran.stdout.lines().find_map(|line| {
                    let (key, rest) = line.split_once(' ')?;
                    (key == name).then(|| rest.trim_start())
                });
                // Two blanks end a cell, so "valid" is not found in "valid restricted".
                if !row.is_some_and(|row| row.starts_with(&format!("{verdict}  "))) {
                    return failed(format!("{name} should be {verdict}"));
                }
            }
        }
        let answered = self.server.answered();
        if answered < Role::ALL.len() * 3 {
            return failed(format!("the server saw {answered} requests only"));
        }
        self.result(&format!(
            "as it should be; the providers answered {answered} requests"
        ))
    }

    fn fetch(&mut self, fetcher: &Fetcher) -> Played {
        self.step(
            &format!("The key is fetched by {}", fetcher.title),
            &fetcher.shown,
        )?;
        let how = match &fetcher.how {
            Ok(how) => how,
            Err(why) => return self.skip(why),
        };
        let ran = self.stage.run(&mut how.command(&self.stage), "")?;
        expect_code(&ran, 0, fetcher.title)?;
        let got = match fetcher.refusal {
            Refusal::Exit => ran.stdout.trim_end_matches('\n').to_owned(),
            Refusal::Http => {
                let (body, status) = ran.stdout.rsplit_once('\n').unwrap_or_default();
                if status != "200" {
                    return failed(format!("the agent answered HTTP {status}"));
                }
                let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
                answer["result"]["secret"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            }
        };
        if got != Role::Openai.valid_key() {
            return failed("what came is not the key that was added");
        }
        self.result(&format!("{}, the key that was added", preview(&got)))
    }

    fn lock(&mut self) -> Played {
        self.step("The agent is locked and forgets its keys", "akm lock")?;
        let ran = self.stage.run(&mut self.stage.akm(&["lock"]), "")?;
        expect_code(&ran, 0, "akm lock")?;
        self.result(ran.stderr.trim_end())
    }

    fn refuse(&mut self, fetcher: &Fetcher) -> Played {
        self.step(&format!("Now {} is refused", fetcher.title), &fetcher.shown)?;
        let how = match &fetcher.how {
            Ok(how) => how,
            Err(why) => return self.skip(why),
        };
        let ran = self.stage.run(&mut how.command(&self.stage), "")?;
        let printed = [ran.stdout.as_str(), ran.stderr.as_str()].concat();
        if printed.contains(Role::Openai.valid_key()) {
            return failed("the key came out of a locked agent");
        }
        match fetcher.refusal {
            Refusal::Exit => {
                expect_code(&ran, 3, fetcher.title)?;
                if !ran.stdout.is_empty() {
                    return failed("something came on stdout");
                }
                let said = ran.stderr.lines().next().unwrap_or_default();
                self.result(&format!("exit code 3: {said}"))
            }
            Refusal::Http => {
                expect_code(&ran, 0, fetcher.title)?;
                let (body, status) = ran.stdout.rsplit_once('\n').unwrap_or_default();
                if status != "423" {
                    return failed(format!("the agent answered HTTP {status}"));
                }
                self.result(&format!("HTTP 423: {body}"))
            }
        }
    }

    /// The code that confirmed is used up, so this takes the authenticator's next one, which the agent accepts
    /// from a clock that is a little ahead.
    fn unlock(&mut self, totp_secret: &str) -> Played {
        self.step(
            "Unlocked again, with passphrase and code, to read the log",
            "akm unlock --totp CODE",
        )?;
        let code = code(totp_secret, TOTP_STEP)?;
        let mut command = self
            .stage
            .akm(&["unlock", "--passphrase-stdin", "--totp", &code]);
        let ran = self.stage.run(&mut command, &format!("{PASSPHRASE}\n"))?;
        expect_code(&ran, 0, "akm unlock")?;
        self.result(ran.stderr.trim_end())
    }

    /// The log must know of every fetch, by whom it was.
    fn log(&mut self, fetched: usize) -> Played {
        self.step("Who asked for what", "akm log")?;
        let ran = self.stage.run(&mut self.stage.akm(&["log"]), "")?;
        expect_code(&ran, 0, "akm log")?;
        self.listing(&ran.stdout, true)?;
        let gets = ran
            .stdout
            .lines()
            .filter(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.contains(&"key.get") && words.contains(&WANTED) && words.contains(&"ok")
            })
            .count();
        if gets != fetched {
            return failed(format!(
                "{fetched} programs got the key and the log knows of {gets}"
            ));
        }
        for action in [
            "account.register",
            "totp.confirm",
            "key.add",
            "provider.test",
            "agent.lock",
            "agent.unlock",
        ] {
            if !ran.stdout.contains(action) {
                return failed(format!("the log knows of no {action}"));
            }
        }
        self.result(&format!("every one of the {fetched} fetches is there"))
    }

    fn verify(&mut self) -> Played {
        self.step(
            "Nothing in the log was changed, moved or taken out",
            "akm log verify",
        )?;
        let ran = self
            .stage
            .run(&mut self.stage.akm(&["log", "verify"]), "")?;
        expect_code(&ran, 0, "akm log verify")?;
        self.result(ran.stdout.trim_end())
    }

    fn stop(&mut self) -> Played {
        self.step("The agent is stopped", "akm agent stop")?;
        let ran = self
            .stage
            .run(&mut self.stage.akm(&["agent", "stop"]), "")?;
        expect_code(&ran, 0, "akm agent stop")?;
        let after = self.stage.run(&mut self.stage.akm(&["status"]), "")?;
        expect_code(&after, 2, "akm status without an agent")?;
        self.result(ran.stderr.trim_end())
    }
}

/// Where the example programs are, and how the one in Rust is built.
const RUST_EXAMPLE: &str = "examples/rust/get.rs";
const RUST_BUILD: &[&str] = &["-p", "akm-core", "--features", "client", "--example", "get"];
const PYTHON_EXAMPLE: &str = "examples/python/get.py";
const NODE_EXAMPLE: &str = "examples/node/get.mjs";

impl How {
    fn command(&self, stage: &Stage) -> Command {
        let mut command = stage.program(&self.program);
        command.args(&self.arguments);
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }
}

fn expect_code(ran: &Ran, wanted: i32, what: &str) -> Played {
    if ran.code == wanted {
        return Ok(());
    }
    let said = ran.stderr.trim_end();
    failed(format!(
        "{what} ended with {} and not with {wanted}\n{said}",
        ran.code
    ))
}

/// The code of an authenticator that knows this secret, `ahead` seconds from now.
fn code(secret: &str, ahead: u64) -> Played<String> {
    let wrong = || End::Broken(Broken::Failed("the TOTP secret is not one".to_owned()));
    let secret = totp_rs::Secret::try_from_base32(secret).map_err(|_| wrong())?;
    let totp = Builder::new()
        .with_secret(secret)
        .build()
        .map_err(|_| wrong())?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| wrong())?
        .as_secs();
    Ok(totp.generate(now + ahead).to_string())
}

/// First and last characters of what is otherwise kept to itself.
fn preview(secret: &str) -> String {
    let chars: Vec<char> = secret.chars().collect();
    match chars.len() {
        0..12 => "…".to_owned(),
        count => format!(
            "{}…{}",
            chars[..4].iter().collect::<String>(),
            chars[count - 4..].iter().collect::<String>()
        ),
    }
}
