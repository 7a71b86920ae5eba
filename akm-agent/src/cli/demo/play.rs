//! The steps of the demo, from an empty home to a stopped agent.
//!
//! A step announces itself with its number and the command a person would type, runs it, looks at what it
//! did and says so. The first that did not do what it says ends the play.

use std::time::{SystemTime, UNIX_EPOCH};

use totp_rs::Builder;

use super::super::output::{self, Fail};
use super::super::text::{of_token, text};
use super::provider::{Role, Server};
use super::stage::{self, Broken, Ran, Stage};

/// Typed by nobody and guarding nothing: the vault lives as long as the demo.
const PASSPHRASE: &str = "correct horse battery staple";
/// The key that every program fetches.
pub(super) const WANTED: &str = "openai/work";
/// Most lines of a listing that are shown.
const SHOWN: usize = 12;
/// Length of a step of an authenticator in seconds.
const TOTP_STEP: u64 = 30;

/// Why the play ended early.
pub(super) enum End {
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

/// The result of a step.
pub(super) type Played<T = ()> = std::result::Result<T, End>;

/// Ends the play.
pub(super) fn failed<T>(why: impl Into<String>) -> Played<T> {
    Err(End::Broken(Broken::Failed(why.into())))
}

/// A demo under way.
pub(super) struct Play {
    pub(super) stage: Stage,
    server: Server,
    pub(super) steps: usize,
    pub(super) skipped: usize,
}

impl Play {
    /// Makes the stage and opens the providers.
    pub(super) fn new(broken: Option<Role>) -> std::result::Result<Play, Broken> {
        let stage = Stage::new()?;
        let server = Server::start(broken)
            .map_err(|error| Broken::Failed(text!("demo-no-server", error = error.to_string())))?;
        Ok(Play {
            stage,
            server,
            steps: 0,
            skipped: 0,
        })
    }

    /// Every step.
    pub(super) fn all(&mut self) -> Played {
        output::line(&text!("demo-intro"))?;
        let fetchers = self.fetchers()?;
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
    pub(super) fn step(&mut self, title: &str, shown: &str) -> Played {
        self.stage.check()?;
        self.steps += 1;
        output::line(&format!("\n{:2}  {title}", self.steps))?;
        self.command(shown)
    }

    fn command(&self, shown: &str) -> Played {
        output::line(&format!("    $ {shown}"))?;
        Ok(())
    }

    /// Says what a step found.
    pub(super) fn result(&self, text: &str) -> Played {
        output::line(&format!("    {}", output::clean(text)))?;
        Ok(())
    }

    /// Says why a step cannot be done here.
    pub(super) fn skip(&mut self, why: &str) -> Played {
        self.skipped += 1;
        output::line(&format!("    {}", text!("demo-skipped", why = why)))?;
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
            self.result(&text!("demo-more", count = hidden - 1))?;
            for line in &lines[hidden..] {
                self.result(line)?;
            }
        } else {
            for line in &lines[..SHOWN] {
                self.result(line)?;
            }
            self.result(&text!("demo-more", count = hidden))?;
        }
        Ok(())
    }

    /// Creates the vault with TOTP, as a person with an authenticator would. Returns the TOTP secret.
    fn init(&mut self) -> Played<String> {
        self.step(&text!("demo-init"), "akm init")?;
        let mut command = self.stage.akm(&["init", "--passphrase-stdin"]);
        let mut running = self.stage.start(&mut command)?;
        running.write(&format!("{PASSPHRASE}\n"));
        let printed = running.read_until(&self.stage, |text| {
            // Of the URI, which is the same in every language.
            let (_, after) = text.split_once("otpauth://")?;
            let (uri, _) = after.split_once('\n')?;
            let (_, after) = uri.split_once("secret=")?;
            after.split('&').next().map(str::to_owned)
        })?;
        let Some(secret) = printed else {
            let ran = running.finish(&self.stage, stage::PATIENCE)?;
            return failed(format!("{}\n{}", text!("demo-no-totp"), ran.stderr));
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
            return failed(text!("demo-no-codes"));
        }
        self.result(&text!(
            "demo-init-done",
            codes = codes,
            secret = preview(&secret),
            code = code
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
            self.step_add(&name, role, &text!("demo-add"))?;
            self.add_one(role, &name, role.valid_key())?;
        }
        for role in Role::ALL {
            let id = role.id();
            let revoked = format!("{id}/revoked");
            self.step_add(&revoked, role, &text!("demo-add-others"))?;
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
            return failed(text!("demo-printed", command = "akm add"));
        }
        self.result(ran.stderr.trim_end())
    }

    fn list(&mut self) -> Played {
        self.step(&text!("demo-list"), "akm ls")?;
        let ran = self.stage.run(&mut self.stage.akm(&["ls"]), "")?;
        expect_code(&ran, 0, "akm ls")?;
        for role in Role::ALL {
            for secret in [role.valid_key(), role.busy_key(), role.invalid_key()] {
                if ran.stdout.contains(secret) {
                    return failed(text!("demo-printed", command = "akm ls"));
                }
            }
        }
        let keys = ran.stdout.lines().count().saturating_sub(1);
        if keys != Role::ALL.len() * 3 {
            return failed(text!("demo-list-wrong", keys = keys));
        }
        self.listing(&ran.stdout, false)
    }

    /// Tests every key and compares each verdict with what the server knows.
    fn test(&mut self) -> Played {
        self.step(&text!("demo-test"), "akm test --all")?;
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
                (first, of_token("outcome", "valid")),
                (format!("{id}/revoked"), of_token("outcome", "invalid")),
                (format!("{id}/busy"), of_token("outcome", "rate_limited")),
            ] {
                let row = ran.stdout.lines().find_map(|line| {
                    let (key, rest) = line.split_once(' ')?;
                    (key == name).then(|| rest.trim_start())
                });
                // Two blanks end a cell, so "valid" is not found in "valid restricted".
                if !row.is_some_and(|row| row.starts_with(&format!("{verdict}  "))) {
                    return failed(text!("demo-verdict", name = name, verdict = verdict));
                }
            }
        }
        let answered = self.server.answered();
        if answered < Role::ALL.len() * 3 {
            return failed(text!("demo-few-requests", count = answered));
        }
        self.result(&text!("demo-tested", count = answered))
    }

    fn lock(&mut self) -> Played {
        self.step(&text!("demo-lock"), "akm lock")?;
        let ran = self.stage.run(&mut self.stage.akm(&["lock"]), "")?;
        expect_code(&ran, 0, "akm lock")?;
        self.result(ran.stderr.trim_end())
    }

    /// The code that confirmed is used up, so this takes the authenticator's next one, which the agent accepts
    /// from a clock that is a little ahead.
    fn unlock(&mut self, totp_secret: &str) -> Played {
        self.step(&text!("demo-unlock"), "akm unlock --totp CODE")?;
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
        self.step(&text!("demo-log"), "akm log")?;
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
            return failed(text!("demo-log-gets", fetched = fetched, known = gets));
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
                return failed(text!("demo-log-lacks", action = action));
            }
        }
        self.result(&text!("demo-log-done", count = fetched))
    }

    fn verify(&mut self) -> Played {
        self.step(&text!("demo-verify"), "akm log verify")?;
        let ran = self
            .stage
            .run(&mut self.stage.akm(&["log", "verify"]), "")?;
        expect_code(&ran, 0, "akm log verify")?;
        self.result(ran.stdout.trim_end())
    }

    fn stop(&mut self) -> Played {
        self.step(&text!("demo-stop"), "akm agent stop")?;
        let ran = self
            .stage
            .run(&mut self.stage.akm(&["agent", "stop"]), "")?;
        expect_code(&ran, 0, "akm agent stop")?;
        let after = self.stage.run(&mut self.stage.akm(&["status"]), "")?;
        expect_code(&after, 2, "akm status")?;
        self.result(ran.stderr.trim_end())
    }
}

/// Fails unless a program ended as it should.
pub(super) fn expect_code(ran: &Ran, wanted: i32, what: &str) -> Played {
    if ran.code == wanted {
        return Ok(());
    }
    let said = ran.stderr.trim_end();
    let ended = text!("demo-ended", what = what, code = ran.code, wanted = wanted);
    failed(format!("{ended}\n{said}"))
}

/// The code of an authenticator that knows this secret, `ahead` seconds from now.
fn code(secret: &str, ahead: u64) -> Played<String> {
    let wrong = || End::Broken(Broken::Failed(text!("demo-bad-totp")));
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
pub(super) fn preview(secret: &str) -> String {
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
