//! The `akm` command: one file per noun, each a set of flags and a function that builds a request.
//!
//! Reading order: this file (the table of commands), `output` (the only room that prints), `text` (in which
//! language), `prompt` (where secrets come from), then the nouns. A new command is a variant of `Command`, a function, and a
//! session in `tests/cli_sessions/`.
//!
//! Invariants: data on stdout, everything else on stderr; exit 0 done, 1 failed, 2 no agent, 3 locked,
//! 64 usage; `akm run` exits as its command does and with 125 to 127 for itself. Only `init` and `unlock`
//! (and `agent start`, and the demo in a home of its own) start an agent.
//!
//! Deliberately absent: any opinion about keys. The agent decides; the CLI asks and shows.

mod account;
mod admin;
mod agent;
mod backup;
mod balance;
mod billing;
mod catalogue;
mod check;
mod complete;
mod copy;
mod demo;
mod doctor;
mod env;
mod export;
mod fresh_file;
mod grant;
pub(crate) mod handover;
mod import;
mod init;
mod inject;
mod key;
mod keyfile;
mod list;
mod log;
mod man;
mod many;
mod often;
mod output;
mod progress;
mod prompt;
pub(crate) mod provider;
mod reference;
mod run;
mod server;
mod session;
pub(crate) mod text;
mod totp;
mod ui;
mod usage;
mod vault;

use std::ffi::OsString;

use akm_core::Error;
use akm_core::client::Client;
use akm_core::protocol::{AgentStatus, KeyGet};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use output::Result;
pub(crate) use output::clean;

/// Keys for language models and other services, in one encrypted vault; programs get them from an agent
#[derive(Parser)]
#[command(
    name = "akm",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Example:\n  akm init\n  akm add openai\n  akm run -- python app.py"
)]
struct Cli {
    /// Print the result as JSON, and a failure as a JSON object on stderr
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create the vault and its first account, and leave it unlocked
    Init(init::Init),
    /// Unlock an account; starts the agent if none is running
    Unlock(session::Unlock),
    /// Lock: the agent forgets every key it holds
    #[command(after_help = "Example:\n  akm lock")]
    Lock,
    /// Show whether the agent is unlocked, for whom and for how long
    #[command(after_help = "Example:\n  akm status --json")]
    Status,
    /// Store a new key; its secret is asked for, never an argument
    Add(key::Add),
    /// Print the secret of a key
    Get(key::Get),
    /// Copy the secret of a key to the clipboard, which is cleared after a while
    Copy(copy::Copy),
    /// List keys, without their secrets
    #[command(visible_alias = "list")]
    Ls(list::Ls),
    /// Show what is known of a key, without its secret
    Show(key::Show),
    /// Change what is known of a key
    Edit(key::Edit),
    /// Rename a key
    Mv(key::Mv),
    /// Remove a key and its history
    Rm(key::Rm),
    /// Switch a key off: it is kept and not handed out
    Disable(key::Disable),
    /// Switch a key on again
    Enable(key::Enable),
    /// Replace the secret of a key; the old one is kept, sealed
    Rotate(key::Rotate),
    /// List the versions of a key
    History(key::History),
    /// Test keys against their providers; exit 1 if any fails
    Test(check::Test),
    /// Ask providers what is left; exit 1 if it is below a key's threshold
    Balance(balance::Ask),
    /// List the providers that akm knows
    #[command(after_help = "Example:\n  akm providers\n  akm providers --json")]
    Providers,
    /// Providers of your own
    Provider(provider::Provider),
    /// List models with their windows and prices, or replace the list
    Models(catalogue::Models),
    /// Run a command with keys in its environment
    Run(run::Run),
    /// Say which keys of akm.toml are missing; exit 1 if any is
    Check(run::needs::Check),
    /// Print the secret that a reference names
    Read(reference::Read),
    /// Fill in a template: {{ akm://NAME }} becomes the secret
    Inject(inject::Inject),
    /// Print keys as variables of a shell
    Env(env::Env),
    /// Show who asked for what, or verify that nothing was changed
    Log(log::Log),
    /// Write all keys to a file, sealed with a passphrase or in clear
    Export(export::Export),
    /// Store the keys of a file, all or none
    Import(import::Import),
    /// Copies of the whole vault: make, list, check, restore, schedule
    Backup(backup::Backup),
    /// New keys for the account, under which everything is sealed again
    Vault(vault::Vault),
    /// Which program may have which key
    Grant(grant::Grant),
    /// What holds for programs that no grant covers
    Policy(grant::PolicyArgs),
    /// Tiers, orders and reminders of an account on a server
    Billing(billing::Billing),
    /// Two-factor codes for unlocking
    Totp(totp::Totp),
    /// Open the dashboard in a browser
    Ui(ui::Ui),
    /// Accounts in this vault
    Account(account::Account),
    /// Accounts of a server: roles, limits, invitations, its own log
    Admin(admin::Admin),
    /// Start or stop the agent
    Agent(agent::Agent),
    /// Measure where things are and whether they work
    Doctor(doctor::Doctor),
    /// Run the whole job once, in a temporary home that is removed again
    Demo(demo::Demo),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  akm completions bash > ~/.local/share/bash-completion/completions/akm"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages
    Man(man::Pages),
}

/// Runs the command line of this process and says how it ended.
pub fn main() -> u8 {
    let core_limit = no_core();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // This program again, between `akm run` and a command at a terminal.
    if let [_, first, rest @ ..] = arguments.as_slice()
        && first == run::LEADER
    {
        return finish(run::lead(rest, core_limit), false);
    }
    // The path that programs take, thousands of times: no parser is built for it.
    if let [_, get, name] = arguments.as_slice()
        && get == "get"
        && let Some(name) = name.to_str()
        && !name.starts_with('-')
    {
        return finish(
            connect().and_then(|mut client| get_secret(&mut client, name)),
            false,
        );
    }
    if complete::completed(&arguments) {
        return 0;
    }
    let arguments = help_asked(arguments);
    let as_json = arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json");
    if as_json {
        text::speak_english();
    }
    let is_run = arguments
        .iter()
        .skip(1)
        .find(|argument| !argument.as_encoded_bytes().starts_with(b"-"))
        .is_some_and(|argument| argument == "run");
    if let Some(cli) = often::parse(&arguments) {
        return finish(dispatch(cli, core_limit), as_json);
    }
    match Cli::command()
        .try_get_matches_from(&arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches))
    {
        Ok(cli) => finish(dispatch(cli, core_limit), as_json),
        Err(error) => match usage::explain(&in_own_language(error, &arguments), &arguments) {
            // The command's own codes begin below 125, so those of a usage error would be taken for its.
            Err(fail) if is_run => {
                output::report(&fail, as_json);
                run::OWN_FAILURE
            }
            result => finish(result, as_json),
        },
    }
}

/// The tree of commands with its help in the language of this process.
fn command() -> clap::Command {
    match text::language() {
        text::Language::English => Cli::command(),
        text::Language::Chinese => text::help::in_chinese(Cli::command()),
    }
}

/// `akm help backup create` as `akm backup create --help`: one text, whichever way it is asked for.
fn help_asked(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|first| first == "help") {
        arguments.remove(1);
        arguments.push("--help".into());
    }
    arguments
}

/// Help that was asked for, asked for again of a tree in the right language; any other error as it is.
fn in_own_language(error: clap::Error, arguments: &[OsString]) -> clap::Error {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            if text::language() != text::Language::English =>
        {
            let again = command().try_get_matches_from(arguments);
            again.err().unwrap_or(error)
        }
        _ => error,
    }
}

/// The limit on core files that this process was started with: soft and hard.
type CoreLimit = (u64, u64);

/// No core file of a process that holds a secret. One byte, not none: where cores go to a program, the kernel
/// ignores the limit but for this one value. The process stays readable for its own user otherwise: what is
/// not dumpable cannot be looked at by the agent either, and the audit would not know who asks.
fn no_core() -> Option<CoreLimit> {
    let before = getrlimit(Resource::RLIMIT_CORE).ok()?;
    setrlimit(Resource::RLIMIT_CORE, before.1.min(1), before.1).ok()?;
    Some(before)
}

fn finish(result: Result<()>, as_json: bool) -> u8 {
    match result {
        Ok(()) => 0,
        Err(fail) => {
            output::report(&fail, as_json);
            fail.code()
        }
    }
}

fn dispatch(cli: Cli, core_limit: Option<CoreLimit>) -> Result<()> {
    let json = cli.json;
    match cli.command {
        Command::Init(args) => init::init(&args, json),
        Command::Unlock(args) => session::unlock(&args, json),
        Command::Lock => session::lock(json),
        Command::Status => session::status(json),
        Command::Add(args) => key::add(args, json),
        Command::Get(args) => key::get(args, json),
        Command::Copy(args) => copy::copy(args, json),
        Command::Ls(args) => list::ls(args, json),
        Command::Show(args) => key::show(args, json),
        Command::Edit(args) => key::edit(args, json),
        Command::Mv(args) => key::mv(args, json),
        Command::Rm(args) => key::rm(args, json),
        Command::Disable(args) => key::disable(args, json),
        Command::Enable(args) => key::enable(args, json),
        Command::Rotate(args) => key::rotate(args, json),
        Command::History(args) => key::history(args, json),
        Command::Test(args) => check::test(args, json),
        Command::Balance(args) => balance::balance(args, json),
        Command::Providers => catalogue::providers(json),
        Command::Provider(args) => provider::provider(args, json),
        Command::Models(args) => catalogue::models(args, json),
        Command::Run(args) => run::run(args, core_limit, json),
        Command::Check(args) => run::needs::check(&args, json),
        Command::Read(args) => reference::read(&args, json),
        Command::Inject(args) => inject::inject(&args, json),
        Command::Env(args) => env::env(&args, json),
        Command::Log(args) => log::log(args, json),
        Command::Export(args) => export::export(&args, json),
        Command::Import(args) => import::import(&args, json),
        Command::Backup(args) => backup::backup(args, json),
        Command::Vault(args) => vault::vault(args, json),
        Command::Grant(args) => grant::grant(args, json),
        Command::Policy(args) => grant::policy(args, json),
        Command::Billing(args) => billing::billing(args, json),
        Command::Totp(args) => totp::totp(args, json),
        Command::Ui(args) => ui::ui(&args, json),
        Command::Account(args) => account::account(args, json),
        Command::Admin(args) => admin::admin(args, json),
        Command::Agent(args) => agent::agent(args, json),
        Command::Doctor(args) => doctor::doctor(&args, json),
        Command::Demo(args) => demo::demo(&args),
        Command::Completions { shell } => complete::script(shell),
        Command::Man(args) => man::man(&args),
    }
}

/// The agent of this environment.
fn connect() -> Result<Client> {
    Client::connect(None).map_err(|error| agent::where_to_begin(error).into())
}

/// The same where an account is open: asked before a person types a secret that would be refused.
fn connect_unlocked() -> Result<Client> {
    let mut client = connect()?;
    let status = client.call(&AgentStatus {})?;
    if session::is_unopened(&status) {
        // Unlocking would not help.
        return Err(Error::corrupt("the vault file is damaged and cannot be opened").into());
    }
    match (status.locked, status.initialized) {
        (false, _) => Ok(client),
        (true, true) => Err(Error::locked().into()),
        (true, false) => Err(Error::locked().with_hint("run akm init").into()),
    }
}

fn get_secret(client: &mut Client, name: &str) -> Result<()> {
    let request = KeyGet {
        name: name.to_owned(),
        version: None,
    };
    let answer = client
        .call(&request)
        .map_err(|error| run::about(error, name))?;
    output::secret(&answer.secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_get_looks_up_no_message_and_so_parses_no_file() {
        use std::io::{Read, Write};
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("agent.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let agent = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut seen = Vec::new();
            let mut piece = [0; 1024];
            while !seen.ends_with(b"}") {
                let count = stream.read(&mut piece).unwrap();
                seen.extend_from_slice(&piece[..count]);
            }
            let body = r#"{"ok":true,"result":{"name":"openai/default","secret":"sk-of-a-test"}}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + body).as_bytes()).unwrap();
        });
        let mut client = Client::connect(Some(&path)).unwrap();
        get_secret(&mut client, "openai").unwrap();
        agent.join().unwrap();
        assert_eq!(text::tests::LOOKED_UP.get(), 0);
        // Control: the count sees a message.
        let _ = text::text!("locked");
        assert_eq!(text::tests::LOOKED_UP.get(), 1);
    }

    #[test]
    fn every_command_has_an_example() {
        fn walk(command: &clap::Command, path: &str) {
            let help = command.get_after_help().map(ToString::to_string);
            assert!(
                help.is_some_and(|text| text.contains("Example") && text.contains(path)),
                "{path} has no example"
            );
            for child in command.get_subcommands() {
                walk(child, &format!("{path} {}", child.get_name()));
            }
        }
        walk(&Cli::command(), "akm");
    }

    #[test]
    fn help_of_a_command_is_its_help_flag() {
        let line = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        for (typed, meant) in [
            (&["akm", "help"][..], &["akm", "--help"][..]),
            (&["akm", "help", "add"], &["akm", "add", "--help"]),
            (
                &["akm", "help", "backup", "create"],
                &["akm", "backup", "create", "--help"],
            ),
            (&["akm", "get", "help"], &["akm", "get", "help"]),
            (&["akm"], &["akm"]),
        ] {
            assert_eq!(help_asked(line(typed)), line(meant), "{typed:?}");
        }
        let error = Cli::command()
            .try_get_matches_from(help_asked(line(&["akm", "help", "run"])))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DisplayHelp);
    }

    #[test]
    fn no_command_takes_a_passphrase_or_a_secret_as_an_argument() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                let takes_text = argument.get_action().takes_values() && name != "passphrase_fd";
                assert!(
                    !(takes_text && (name.contains("passphrase") || name.contains("secret"))),
                    "{} {name}",
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }

    #[test]
    fn what_was_typed_does_not_come_back() {
        for line in [
            &["akm", "add", "openai", "sk-canary"][..],
            &["akm", "add", "openai", "--secret=sk-canary"],
            &["akm", "sk-canary"],
            &["akm", "ls", "--status", "sk-canary"],
            &["akm", "unlock", "-t", "sk-canary"],
            &["akm", "add", "openai", "-sk-canary"],
            &["akm", "unlock", "--passphrase-fd", "sk-canary"],
            &["akm", "unlock", "--passphrase-stdin=sk-canary"],
        ] {
            let Err(error) = Cli::command()
                .try_get_matches_from(line)
                .and_then(|matches| Cli::from_arg_matches(&matches))
            else {
                panic!("{line:?} was accepted");
            };
            let line: Vec<OsString> = line.iter().map(OsString::from).collect();
            let fail = usage::explain(&error, &line).unwrap_err();
            assert_eq!(fail.code(), 64);
            assert!(!format!("{fail:?}").contains("canary"), "{fail:?}");
        }
    }

    #[test]
    fn the_argument_that_is_not_text_is_named() {
        use std::os::unix::ffi::OsStringExt;
        let bad = || OsString::from_vec(b"p/\xffcanary".to_vec());
        let words = |line: &[&str]| line.iter().map(OsString::from).collect::<Vec<_>>();
        for (before, after, field) in [
            (&["akm", "get"][..], &["--json"][..], "name"),
            (&["akm", "mv", "openai"], &[], "new"),
            (&["akm", "add", "openai", "--notes"], &[], "notes"),
        ] {
            let line = [words(before), vec![bad()], words(after)].concat();
            let error = Cli::command().try_get_matches_from(&line).unwrap_err();
            let fail = usage::explain(&error, &line).unwrap_err();
            assert_eq!(fail.code(), 64);
            let shown = format!("{fail:?}");
            assert!(shown.contains(&format!("field: \"{field}\"")), "{shown}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
