//! `akm grant`: which program may have which key; `akm policy`: what holds for all others.
//!
//! Paths are made whole and links are followed here, because a grant is compared with what the kernel says of the caller;
//! the executable's hash goes along, so that a replaced one is not covered.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use akm_core::name::KeyName;
use akm_core::paths::Places;
use akm_core::protocol::{
    GrantAdd, GrantInfo, GrantList, GrantRemove, Policy, PolicySet, PolicyShow, PolicyState,
};
use akm_core::regular::{self, Links};
use akm_core::{Error, Kind};
use clap::{Args, Subcommand, ValueEnum};
use data_encoding::HEXLOWER;

use super::output::{self, Result};
use super::prompt::{Asker, PassphraseFlags, SecretFlags};
use super::text::{of_token, text};
use super::{agent, connect};
use crate::caller;
use crate::config::Config;

/// Largest executable whose hash is taken: as the agent.
const MAX_EXE: u64 = 1024 * 1024 * 1024;

/// Lets programs have keys.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Every condition has to fit. Grants count under the policies ask and granted: see akm policy.\n\nExample:\n  akm grant openai/work --exe /usr/bin/python3 --script ./app.py --under ~/proj --for 8h\n  akm grant openai/work --learn --for 8h\n  akm grant list"
)]
pub(crate) struct Grant {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    add: Add,
}

#[derive(Subcommand)]
enum Command {
    /// List what programs may do
    #[command(after_help = "Example:\n  akm grant list")]
    List,
    /// Take a grant back
    #[command(after_help = "Example:\n  akm grant rm 5f2c")]
    Rm {
        /// Its id, or a beginning of it that no other has
        id: String,
    },
}

#[derive(Args)]
struct Add {
    /// provider/label; a provider alone is its default key
    #[arg(required_unless_present_any = ["all", "learn"], conflicts_with = "all")]
    name: Option<String>,
    /// Every key of the account; what --learn alone is about
    #[arg(long)]
    all: bool,
    /// The program that may have it: a path, or a name to be found in PATH
    #[arg(long, value_name = "PROGRAM", required_unless_present_any = ["under", "via", "learn"])]
    exe: Option<PathBuf>,
    /// The script that the program runs
    #[arg(long, value_name = "FILE", requires = "exe")]
    script: Option<PathBuf>,
    /// Only where the program works in this directory or below it
    #[arg(long, value_name = "DIR")]
    under: Option<PathBuf>,
    /// Only below this coding agent or sandbox: claude, docker
    #[arg(long, value_name = "NAME")]
    via: Option<String>,
    /// For how long: 8h, 1d; until it is removed if absent
    #[arg(long = "for", value_name = "LIFE", value_parser = agent::parse_lifetime)]
    lifetime_s: Option<u64>,
    /// Only use the key, as akm test does; never hand it out
    #[arg(long)]
    use_only: bool,
    /// Also a program of the same path that was replaced
    #[arg(long, requires = "exe")]
    any_version: bool,
    /// Also where PYTHONPATH, LD_PRELOAD and the like load code into the program
    #[arg(long)]
    any_env: bool,
    /// Ask at the first use of the key, and grant it to the program that was allowed
    #[arg(long, conflicts_with_all = ["exe", "via", "any_env"])]
    learn: bool,
    #[command(flatten)]
    passphrase: PassphraseFlags,
}

pub(crate) fn grant(args: Grant, json: bool) -> Result<()> {
    match args.command {
        Some(Command::List) => list(json),
        Some(Command::Rm { id }) => rm(&id, json),
        None => add(args.add, json),
    }
}

fn add(args: Add, json: bool) -> Result<()> {
    if let Some(name) = &args.name {
        KeyName::parse(name, "name")?;
    }
    let exe = args.exe.as_deref().map(program).transpose()?;
    let exe_sha256 = match &exe {
        // Taken also where it does not count: what cannot be a program is refused.
        Some(path) => Some(digest(path)?).filter(|_| !args.any_version),
        None => None,
    };
    let script = args
        .script
        .as_deref()
        .map(|path| whole(path, "script"))
        .transpose()?;
    let under = args
        .under
        .as_deref()
        .map(|path| whole(path, "under"))
        .transpose()?;
    if let Some(exe) = &exe {
        can_ask(exe, script.is_some())?;
    }
    if let Some(via) = &args.via {
        can_be_seen(via)?;
    }
    let asker = Asker::new(&args.passphrase, &SecretFlags::default())?;
    asker.require_passphrase()?;
    let mut client = connect()?;
    let for_all_scripts = exe.is_some() && script.is_none();
    let added = client.call(&GrantAdd {
        name: args.name,
        exe,
        exe_sha256,
        script,
        under,
        via: args.via,
        use_only: args.use_only.then_some(true),
        any_env: args.any_env.then_some(true),
        learn: args.learn.then_some(true),
        lifetime_s: args.lifetime_s,
        passphrase: asker.passphrase(&text!("ask-passphrase"))?,
    })?;
    if json {
        return output::json(&added);
    }
    output::note(&text!(
        "granted",
        what = what(&added.grant),
        who = who(&added.grant)
    ));
    let is_interpreter = added
        .grant
        .exe
        .as_deref()
        .is_some_and(caller::is_interpreter);
    if for_all_scripts && is_interpreter {
        output::hint(&text!("hint-grant-any-script"));
    }
    let state = client.call(&PolicyShow {})?;
    if state.policy == Policy::Open && state.agents.is_none() && state.sandboxes.is_none() {
        output::hint(&text!("hint-grant-open"));
    }
    Ok(())
}

fn list(json: bool) -> Result<()> {
    let grants = connect()?.call(&GrantList {})?;
    if json {
        return output::json(&grants);
    }
    if grants.grants.is_empty() {
        output::note(&text!("no-grants"));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = grants
        .grants
        .iter()
        .map(|grant| {
            vec![
                grant.id.chars().take(8).collect(),
                what(grant),
                who(grant),
                grant.expires_at.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    output::table(&["col-id", "col-key", "col-caller", "col-expires"], &rows)
}

fn rm(id: &str, json: bool) -> Result<()> {
    let mut client = connect()?;
    let grants = client.call(&GrantList {})?.grants;
    let mut fitting = grants
        .into_iter()
        .filter(|grant| !id.is_empty() && grant.id.starts_with(id));
    let found = match (fitting.next(), fitting.next()) {
        (Some(grant), None) => grant,
        (Some(_), Some(_)) => {
            return Err(Error::invalid("id", "more than one grant begins like this").into());
        }
        (None, _) => {
            return Err(Error::new(Kind::NotFound, "there is no grant with this id")
                .with_field("id")
                .with_hint("run akm grant list")
                .into());
        }
    };
    let removed = client.call(&GrantRemove { id: found.id })?;
    if json {
        return output::json(&removed);
    }
    let grant = removed.grant;
    output::note(&text!(
        "grant-removed",
        what = what(&grant),
        who = who(&grant)
    ));
    Ok(())
}

/// A grant on one line.
pub(super) fn described(grant: &GrantInfo) -> String {
    let line = format!("{} · {}", what(grant), who(grant));
    match &grant.expires_at {
        Some(time) => text!("grant-until", grant = line, time = time.as_str()),
        None => line,
    }
}

/// The key of a grant, in words.
fn what(grant: &GrantInfo) -> String {
    let key = grant.name.clone().unwrap_or_else(|| text!("every-key"));
    match grant.use_only {
        true => format!("{key} ({})", text!("use-only")),
        false => key,
    }
}

/// The callers of a grant, in words.
fn who(grant: &GrantInfo) -> String {
    let mut parts = Vec::new();
    if grant.learn {
        parts.push(text!("grant-learns"));
    }
    parts.extend(grant.exe.clone());
    parts.extend(grant.script.clone());
    if let Some(under) = &grant.under {
        parts.push(text!("grant-under", directory = under.as_str()));
    }
    if let Some(via) = &grant.via {
        parts.push(text!("grant-via", name = via.as_str()));
    }
    parts.join(" ")
}

/// Finds a program as a shell does.
fn program(named: &Path) -> Result<String> {
    if named.components().count() == 1 && !named.is_absolute() {
        let found = std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path)
                .map(|directory| directory.join(named))
                .find(|candidate| candidate.is_file())
        });
        if let Some(found) = found {
            return whole(&found, "exe");
        }
    }
    whole(named, "exe")
}

/// Refuses a program that no grant can fit.
fn can_ask(exe: &str, has_script: bool) -> Result<()> {
    if caller::is_akm(Path::new(exe)) {
        return Err(Error::invalid(
            "exe",
            "akm asks for whoever starts it: it has no grant of its own",
        )
        .with_hint("name the program that starts akm: --exe /usr/bin/bash --script FILE")
        .into());
    }
    if has_script && !caller::tells_scripts_apart(exe) {
        return Err(
            Error::invalid("script", "which script this program runs cannot be told")
                .with_hint("that is told of python, node, perl, ruby and shells; leave --script out, and the grant is for all that this program runs")
                .into(),
        );
    }
    Ok(())
}

/// Refuses what nobody can be seen to come from.
fn can_be_seen(via: &str) -> Result<()> {
    let config = Config::load(&Places::from_env()?.config)?;
    if caller::is_known(via, &config.callers)? {
        return Ok(());
    }
    Err(
        Error::invalid("via", "no coding agent or sandbox of this name is known")
            .with_hint("callers.agents and callers.sandboxes in config.toml add names")
            .into(),
    )
}

/// A path as the kernel names it.
fn whole(path: &Path, field: &'static str) -> Result<String> {
    let path = path
        .canonicalize()
        .map_err(|_| Error::invalid(field, "there is no such file or directory"))?;
    path.into_os_string()
        .into_string()
        .map_err(|_| Error::invalid(field, "the path is not UTF-8").into())
}

fn digest(path: &str) -> Result<String> {
    let unreadable = || Error::invalid("exe", "the program cannot be read");
    let mut file = match regular::open(Path::new(path), Links::Follow) {
        Ok(Some(file)) => file,
        _ => return Err(unreadable().into()),
    };
    let mut start = [0; 2];
    if file.read_exact(&mut start).is_ok() && start == *b"#!" {
        // A launcher: what runs in the end is another file, and that is what the kernel names.
        return Err(Error::invalid(
            "exe",
            "this is a script: name its interpreter, and the script beside it",
        )
        .with_hint("give --exe INTERPRETER --script FILE; behind a launcher of pyenv the interpreter is what python3 -c 'import sys; print(sys.executable)' says")
        .into());
    }
    file.rewind().map_err(|_| unreadable())?;
    let digest = akm_core::crypto::digest_of(&mut file, MAX_EXE).map_err(|_| unreadable())?;
    Ok(HEXLOWER.encode(&digest.ok_or_else(unreadable)?))
}

/// What holds for programs without a grant.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "open: any program of yours, as with ssh-agent. ask: a person is asked. granted: none.\n\nExample:\n  akm policy\n  akm policy set ask\n  akm policy set --agents granted"
)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    command: Option<PolicyCommand>,
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// Show it, as akm policy alone does
    #[command(after_help = "Example:\n  akm policy show --json")]
    Show,
    /// Change it; a looser one asks for the passphrase
    #[command(
        after_help = "Example:\n  akm policy set granted\n  akm policy set --agents ask --sandboxes ask"
    )]
    Set {
        /// For every program that no grant covers
        #[arg(required_unless_present_any = ["agents", "sandboxes"])]
        policy: Option<Level>,
        /// The same for what coding agents run, if that is stricter
        #[arg(long, value_name = "POLICY")]
        agents: Option<Level>,
        /// The same for what sandboxes and containers run, if that is stricter
        #[arg(long, value_name = "POLICY")]
        sandboxes: Option<Level>,
        #[command(flatten)]
        passphrase: PassphraseFlags,
    },
}

/// A policy that can be set.
#[derive(Clone, Copy, ValueEnum)]
enum Level {
    Open,
    Ask,
    Granted,
}

impl From<Level> for Policy {
    fn from(level: Level) -> Self {
        match level {
            Level::Open => Policy::Open,
            Level::Ask => Policy::Ask,
            Level::Granted => Policy::Granted,
        }
    }
}

pub(crate) fn policy(args: PolicyArgs, json: bool) -> Result<()> {
    let Some(PolicyCommand::Set {
        policy,
        agents,
        sandboxes,
        passphrase,
    }) = args.command
    else {
        let state = connect()?.call(&PolicyShow {})?;
        return show(&state, json);
    };
    let asker = Asker::new(&passphrase, &SecretFlags::default())?;
    let mut client = connect()?;
    let request = |passphrase| PolicySet {
        policy: policy.map(Policy::from),
        agents: agents.map(Policy::from),
        sandboxes: sandboxes.map(Policy::from),
        passphrase,
    };
    let was_given = passphrase.passphrase_stdin || passphrase.passphrase_fd.is_some();
    let first = match was_given {
        true => Some(asker.passphrase(&text!("ask-passphrase"))?),
        false => None,
    };
    let state = match client.call(&request(first)) {
        // The agent knows what is looser; a stricter one is not worth a passphrase.
        Err(error)
            if error.kind() == Kind::Denied
                && error.field() == Some("passphrase")
                && !was_given =>
        {
            asker.require_passphrase()?;
            client.call(&request(Some(asker.passphrase(&text!("ask-passphrase"))?)))?
        }
        answer => answer?,
    };
    show(&state, json)
}

fn show(state: &PolicyState, json: bool) -> Result<()> {
    if json {
        return output::json(state);
    }
    let of = |policy: Option<Policy>| {
        of_token(
            "policy",
            policy.unwrap_or(state.policy).max(state.policy).token(),
        )
    };
    output::fields(&[
        ("field-policy", of(None)),
        ("field-policy-agents", of(state.agents)),
        ("field-policy-sandboxes", of(state.sandboxes)),
    ])
}
