//! `akm demo`: the main job from an empty directory to a verified log, in a temporary home.
//!
//! Every step runs a real program (this one, curl, Python, Node, a Rust example) against a real agent and looks
//! at what it did; the demo ends with 0 only if each did what its line says. What cannot run here (no Node, not
//! in a checkout) is skipped with the reason and counted in the last line. Reading order: this file (the
//! command), [`play`] (the steps), [`fetch`] (the programs that fetch a key), [`stage`] (home and processes),
//! [`build`] (what is built first), [`provider`] (the providers it tests against).
//!
//! Invariants: secrets are shown as previews only; nothing is left behind, also after Ctrl-C.

mod build;
mod fetch;
mod play;
mod provider;
mod stage;

use clap::Args;

use super::output::{self, Fail, Result as CliResult};
use super::text::text;
use play::{End, Play};
use provider::Role;
use stage::Broken;

/// Runs the whole job once.
#[derive(Args)]
#[command(after_help = "Example:\n  akm demo\n  cargo run --bin akm -- demo")]
pub(crate) struct Demo {
    /// Let one provider answer wrongly, to see that the demo notices
    #[arg(long = "break", value_name = "PROVIDER", hide = true)]
    broken: Option<Role>,
}

pub(crate) fn demo(args: &Demo) -> CliResult<()> {
    let mut play = match Play::new(args.broken) {
        Ok(play) => play,
        Err(broken) => return Err(told(broken)),
    };
    let played = play.all();
    let cleared = play.stage.clear();
    match (played, cleared) {
        (Ok(()), Ok(())) => output::line(&format!(
            "\n{}",
            text!(
                "demo-done",
                steps = play.steps - play.skipped,
                skipped = play.skipped
            )
        )),
        (Ok(()), Err(stayed)) => Err(told(Broken::Failed(text!(
            "demo-left-behind",
            what = stayed
        )))),
        (Err(End::Output(fail)), _) => Err(fail),
        (Err(End::Broken(broken)), cleared) => {
            let fail = told(broken);
            match cleared {
                Ok(()) => output::note(&text!("demo-gone")),
                Err(stayed) => output::note(&text!("demo-left-behind", what = stayed)),
            }
            Err(fail)
        }
    }
}

fn told(broken: Broken) -> Fail {
    match broken {
        Broken::Interrupted(signal) => {
            output::note(&format!("\n{}", text!("demo-interrupted")));
            Fail::Exit(u8::try_from(128 + signal).unwrap_or(1))
        }
        Broken::Failed(why) => {
            // Lines of other programs, each cleaned for the terminal.
            for (index, line) in why.lines().enumerate() {
                output::note(&match index {
                    0 => text!("demo-failed", why = line),
                    _ => format!("        {}", output::clean(line)),
                });
            }
            Fail::Exit(1)
        }
    }
}
