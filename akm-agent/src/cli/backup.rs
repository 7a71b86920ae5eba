//! `akm backup`: copies of the whole vault, sealed as it is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use akm_core::Kind;
use akm_core::client::Client;
use akm_core::protocol::{
    Backup as Made, BackupCreate, BackupList, BackupRestore, BackupSchedule, BackupVerify, Op,
    Operation, Request, Schedule, Verified,
};
use clap::{Args, Subcommand};

mod bring;

use super::agent::connect_or_start;
use super::connect;
use super::keyfile;
use super::output::{self, Result};
use super::progress::Progress;
use super::prompt::{Asker, PassphraseFlags, SecretFlags};
use super::text::text;
use bring::{Elsewhere, Guest};

/// A vault of a million keys takes minutes on a slow disk; this is only for an agent that is gone.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// How long one waits for another.
const TURN: Duration = Duration::from_secs(30);
/// How often the bar looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Backs the vault up.
#[derive(Args)]
#[command(after_help = "Example:\n  akm backup create\n  akm backup schedule --daily --keep 30")]
pub(crate) struct Backup {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Copy the whole vault into the backup directory, while it is in use
    #[command(after_help = "Example:\n  akm backup create\n  akm backup create --keep 14")]
    Create(Keep),
    /// List the backups
    #[command(after_help = "Example:\n  akm backup list --json")]
    List,
    /// Open a backup and check it; unlocked, keys in it are decrypted as well
    #[command(after_help = "Example:\n  akm backup verify vault-1a2b3c4d-20270115T080000Z.backup")]
    Verify {
        /// The backup, as akm backup list shows it
        name: String,
    },
    /// Put a backup in the vault's place; asks for the passphrase that belongs to it
    #[command(
        after_help = "Example:\n  akm backup restore vault-1a2b3c4d-20270115T080000Z.backup --replace\n  akm backup restore /media/usb/old.backup\n\nThe passphrase is that of the account when the backup was made. The vault as it is now is kept beside the new one."
    )]
    Restore(Restore),
    /// Let the agent make a backup every day
    #[command(
        after_help = "Example:\n  akm backup schedule --daily --keep 30\n  akm backup schedule --off"
    )]
    Schedule(When),
}

#[derive(Args)]
struct Keep {
    /// Keep this many backups of this vault, the newest
    #[arg(long, value_name = "N")]
    keep: Option<u32>,
    /// Remove backups older than this, never the newest
    #[arg(long, value_name = "DAYS")]
    max_age_days: Option<u32>,
}

#[derive(Args)]
struct Restore {
    /// The backup, as akm backup list shows it, or the path of one elsewhere
    name: String,
    /// An account in the backup
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The keyfile that the account needed then, where the agent does not keep it
    #[arg(long, value_name = "PATH")]
    keyfile: Option<PathBuf>,
    /// Take the place of a vault that has an account
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    passphrase: PassphraseFlags,
}

#[derive(Args)]
struct When {
    /// Once a day while the agent runs
    #[arg(long, required_unless_present = "off", conflicts_with = "off")]
    daily: bool,
    /// No more
    #[arg(long, conflicts_with_all = ["keep", "max_age_days"])]
    off: bool,
    #[command(flatten)]
    keep: Keep,
}

pub(crate) fn backup(args: Backup, json: bool) -> Result<()> {
    match args.command {
        Command::Create(keep) => create(&keep, json),
        Command::List => list(json),
        Command::Verify { name } => verify(name, json),
        Command::Restore(args) => restore(args, json),
        Command::Schedule(when) => schedule(&when, json),
    }
}

fn create(keep: &Keep, json: bool) -> Result<()> {
    let request = BackupCreate {
        keep: keep.keep,
        max_age_days: keep.max_age_days,
    };
    let created = with_bar(&connect()?, request, json)?;
    if json {
        return output::json(&created);
    }
    let size = size(created.backup.bytes);
    output::note(&match created.verified {
        Verified::Decrypted => {
            text!("backup-made", size = size, decrypted = created.decrypted)
        }
        Verified::Structure => text!("backup-made-structure", size = size),
    });
    for name in &created.removed {
        output::note(&text!("backup-removed", name = name.as_str()));
    }
    output::line(&output::clean(&created.backup.name))
}

fn list(json: bool) -> Result<()> {
    // What is left where the vault is gone: an agent that is not there yet is no reason to say less.
    let page = connect_or_start()?.call(&BackupList {})?;
    if json {
        return output::json(&page);
    }
    let rows: Vec<Vec<String>> = page.backups.iter().map(row).collect();
    output::table(&["col-name", "col-made", "col-size", "col-vault"], &rows)?;
    output::note(&text!("backup-directory", directory = page.directory));
    output::note(&described(page.schedule.as_ref()));
    if page.backups.is_empty() {
        output::hint(&text!("hint-backup-create"));
    } else if page.schedule.is_none() {
        output::hint(&text!("hint-backup-schedule"));
    }
    Ok(())
}

fn row(backup: &Made) -> Vec<String> {
    vec![
        backup.name.clone(),
        backup.created_at.clone(),
        size(backup.bytes),
        if backup.own {
            text!("vault-this")
        } else {
            text!("vault-other")
        },
    ]
}

fn verify(name: String, json: bool) -> Result<()> {
    let verified = with_bar(&connect_or_start()?, BackupVerify { name }, json)?;
    if json {
        return output::json(&verified);
    }
    output::note(&match verified.verified {
        Verified::Decrypted => text!(
            "backup-decrypted",
            decrypted = verified.decrypted,
            accounts = verified.accounts,
            keys = verified.keys
        ),
        Verified::Structure => text!(
            "backup-structure",
            accounts = verified.accounts,
            keys = verified.keys
        ),
    });
    if verified.verified == Verified::Structure {
        output::hint(&text!("hint-backup-unlock"));
    }
    Ok(())
}

fn restore(args: Restore, json: bool) -> Result<()> {
    let asker = Asker::new(&args.passphrase, &SecretFlags::default())?;
    asker.require_passphrase()?;
    let keyfile = args.keyfile.as_deref().map(keyfile::read).transpose()?;
    // Before a person types a passphrase for it.
    let elsewhere = match args.name.contains('/') {
        true => Some(Elsewhere::open(Path::new(&args.name))?),
        false => None,
    };
    let mut client = connect_or_start()?;
    let passphrase = asker.passphrase(&text!("ask-backup-passphrase"))?;
    let guest = elsewhere
        .map(|elsewhere| bring(&mut client, elsewhere, json))
        .transpose()?;
    let request = BackupRestore {
        name: guest
            .as_ref()
            .map_or(args.name, |guest| guest.name().to_owned()),
        account: args.account,
        passphrase,
        keyfile,
        replace: Some(args.replace),
    };
    let restored = with_bar(&client, request, json);
    drop(guest);
    let restored = restored?;
    if json {
        return output::json(&restored);
    }
    output::note(&text!(
        "backup-restored",
        accounts = restored.accounts,
        keys = restored.keys
    ));
    if let Some(kept) = restored.kept {
        output::note(&text!("backup-kept", name = kept));
    }
    output::hint(&text!("hint-after-restore"));
    Ok(())
}

/// Copies a file from elsewhere to where the agent finds it.
fn bring(client: &mut Client, elsewhere: Elsewhere, json: bool) -> Result<Guest> {
    let directory = PathBuf::from(client.call(&BackupList {})?.directory);
    let bar = Progress::percent(elsewhere.length(), json);
    elsewhere.bring(directory, &bar)
}

fn schedule(when: &When, json: bool) -> Result<()> {
    let scheduled = connect()?.call(&BackupSchedule {
        daily: when.daily,
        keep: when.keep.keep,
        max_age_days: when.keep.max_age_days,
    })?;
    if json {
        return output::json(&scheduled);
    }
    output::note(&described(scheduled.schedule.as_ref()));
    Ok(())
}

fn described(schedule: Option<&Schedule>) -> String {
    match schedule {
        None => text!("backup-no-schedule"),
        Some(Schedule {
            keep,
            max_age_days: Some(days),
            ..
        }) => text!("backup-schedule-days", keep = *keep, days = *days),
        Some(Schedule { keep, .. }) => text!("backup-schedule", keep = *keep),
    }
}

/// Carries out something long and shows how far it is: the list of backups says so, to anybody who asks meanwhile.
fn with_bar<T>(agent: &Client, request: T, json: bool) -> Result<T::Result>
where
    T: Operation + Into<Request> + Send,
    T::Result: Send,
{
    let socket = agent.socket().to_owned();
    let bar = Progress::percent(0, json);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (socket, done) = (&socket, &done);
        let work = scope.spawn(move || {
            let answer = Client::connect_with_timeout(Some(socket), PATIENCE)
                .and_then(|mut client| in_turn(&mut client, &request));
            done.store(true, Ordering::Release);
            answer
        });
        if !bar.is_hidden()
            && let Ok(mut client) = Client::connect(Some(socket))
        {
            while !done.load(Ordering::Acquire) {
                // A look that fails shows nothing; the work says what is wrong.
                if let Ok(page) = client.call(&BackupList {})
                    && let Some(running) = page.running
                {
                    bar.at(running.done, running.total);
                }
                std::thread::sleep(LOOK_EVERY);
            }
        }
        match work.join() {
            Ok(answer) => Ok(answer?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// The agent makes or checks one backup at a time and says so to a second one, which waits here for a while: a schedule
/// that was just made begins with one. A restore is never asked for twice.
fn in_turn<T: Operation>(client: &mut Client, request: &T) -> akm_core::Result<T::Result> {
    let end = Instant::now() + TURN;
    loop {
        match client.call(request) {
            Err(error)
                if error.kind() == Kind::Unavailable
                    && T::OP != Op::BackupRestore
                    && Instant::now() < end =>
            {
                std::thread::sleep(LOOK_EVERY);
            }
            answer => return answer,
        }
    }
}

pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What a request ends with, and how often it was asked, of an agent that is busy once.
    fn asked_of_a_busy_agent<T: Operation>(request: &T) -> (Kind, usize) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let agent = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut seen = Vec::new();
            let mut asked = 0;
            let mut piece = [0; 1024];
            loop {
                match stream.read(&mut piece).unwrap() {
                    0 => return asked,
                    count => seen.extend_from_slice(&piece[..count]),
                }
                if !seen.ends_with(b"}") {
                    continue;
                }
                seen.clear();
                asked += 1;
                let (status, kind) = match asked {
                    1 => ("503 Service Unavailable", "unavailable"),
                    _ => ("403 Forbidden", "denied"),
                };
                let body =
                    format!(r#"{{"ok":false,"error":{{"kind":"{kind}","message":"of a test"}}}}"#);
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        let mut client = Client::connect(Some(&path)).unwrap();
        let Err(error) = in_turn(&mut client, request) else {
            panic!("nothing succeeds there");
        };
        drop(client);
        (error.kind(), agent.join().unwrap())
    }

    #[test]
    fn a_backup_waits_for_another_and_a_restore_is_asked_for_once() {
        let made = asked_of_a_busy_agent(&BackupCreate::default());
        assert_eq!(made, (Kind::Denied, 2));
        let restored = asked_of_a_busy_agent(&BackupRestore {
            name: "a".to_owned(),
            account: None,
            passphrase: akm_core::Secret::new("a passphrase".to_owned()),
            keyfile: None,
            replace: None,
        });
        assert_eq!(restored, (Kind::Unavailable, 1));
    }
}
