//! `akm check`: whether everything that `akm.toml` asks for is there. Exit 1 if not.
//!
//! Invariant: no secret is asked for: what a key is can be seen from its record.

use std::path::PathBuf;

use akm_core::client::Client;
use akm_core::protocol::{KeyShow, KeyStatus};
use akm_core::{Error, Kind};
use clap::Args;
use serde::Serialize;

use super::super::connect;
use super::super::output::{self, Fail, Result};
use super::super::text::{of_token, text};
use super::wanted::{Gathering, Source};
use super::{env_file, project};

/// Checks what a project needs.
#[derive(Args)]
#[command(after_help = "Example:\n  akm check\n  akm check --profile staging --json")]
pub(crate) struct Check {
    /// The keys of this profile, too
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The keys of this file instead of those of akm.toml
    #[arg(long, value_name = "F", conflicts_with = "profile")]
    env_file: Option<PathBuf>,
}

/// Whether a key would be handed out.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Missing,
    Disabled,
    Expired,
    Burned,
    UseOnly,
}

#[derive(Serialize)]
struct Need {
    variable: String,
    key: String,
    state: State,
}

pub(crate) fn check(args: &Check, json: bool) -> Result<()> {
    let wanted = match &args.env_file {
        Some(path) => env_file::load(path)?,
        None => project::load(args.profile.as_deref())?.ok_or_else(project::none)?,
    };
    let mut client = connect()?;
    let mut needs = Vec::new();
    for one in &wanted {
        if let Source::Key(key) = &one.source {
            needs.push(Need {
                state: state(&mut client, key)?,
                variable: one.variable.clone(),
                key: key.clone(),
            });
        }
    }
    let complete = needs.iter().all(|need| need.state == State::Ok);
    let step = needs
        .iter()
        .find_map(|need| next_step(need.state, &need.key));
    if json {
        #[derive(Serialize)]
        struct Results {
            results: Vec<Need>,
        }
        output::json(&Results { results: needs })?;
    } else {
        let rows: Vec<Vec<String>> = needs
            .into_iter()
            .map(|need| vec![need.variable, need.key, text_of(need.state)])
            .collect();
        output::table(&["col-variable", "col-key", "col-state"], &rows)?;
        if let Some(step) = step {
            output::hint(&step);
        }
    }
    if !complete {
        return Err(Fail::Exit(1));
    }
    // All of it is there; whether it goes together is what akm run would find out next.
    let mut gathering = Gathering::new(&mut client);
    gathering.variables(wanted);
    gathering
        .plan(&|name| std::env::var_os(name))
        .map(|_planned| ())
}

fn state(client: &mut Client, name: &str) -> Result<State, Error> {
    let request = KeyShow {
        name: name.to_owned(),
    };
    let key = match client.call(&request) {
        Ok(shown) => shown.key,
        Err(error) if error.kind() == Kind::NotFound => return Ok(State::Missing),
        Err(error) => return Err(error),
    };
    Ok(match key.status {
        KeyStatus::Disabled => State::Disabled,
        KeyStatus::Expired => State::Expired,
        KeyStatus::Burned => State::Burned,
        KeyStatus::Active if key.use_only => State::UseOnly,
        KeyStatus::Active => State::Ok,
    })
}

fn text_of(state: State) -> String {
    match state {
        State::Ok => text!("need-ok"),
        State::Missing => text!("need-missing"),
        State::Disabled => of_token("status", KeyStatus::Disabled.token()),
        State::Expired => of_token("status", KeyStatus::Expired.token()),
        State::Burned => of_token("status", KeyStatus::Burned.token()),
        State::UseOnly => text!("use-only"),
    }
}

/// What to do about a key that would not be handed out.
fn next_step(state: State, key: &str) -> Option<String> {
    Some(match state {
        State::Ok => return None,
        State::Missing => text!("hint-add", name = key),
        State::Disabled => text!("hint-enable", name = key),
        State::Expired | State::Burned => text!("hint-rotate", name = key),
        State::UseOnly => text!("hint-no-use-only", name = key),
    })
}
