//! `akm export`: all keys as a file, sealed unless plaintext is asked for.
//!
//! The agent makes the file and seals it; this command asks for the passphrases and puts the pieces where they belong. A file
//! appears under its name only when it is whole and on the disk, readable by its owner alone; one that does not get there leaves
//! nothing.

use std::io::Read;
use std::path::{Path, PathBuf};

use akm_core::client::Client;
use akm_core::protocol::{ExportFormat, KeyShow, KeyStatus, Policy, PolicyShow, VaultExport};
use akm_core::{Error, Kind};
use clap::{Args, ValueEnum};
use data_encoding::BASE64;
use serde::Serialize;
use zeroize::Zeroizing;

use super::connect;
use super::fresh_file::FreshFile;
use super::output::{self, Fail, Result};
use super::progress::Progress;
use super::prompt::{Asker, PassphraseFlags, SecretFlags};
use super::text::text;

/// Exports.
#[derive(Args)]
#[command(
    after_help = "Sealed files are in the age format: age -d opens them too. With --use-only, and under a policy that is not open, the account's passphrase is asked for first, then the one of the file.\n\nExample:\n  akm export -o keys.age\n  akm export --format env --plaintext -o .env"
)]
pub(crate) struct Export {
    /// What it looks like inside
    #[arg(long, value_enum, value_name = "F", default_value = "json")]
    format: Format,
    /// In clear: asks for the account's passphrase
    #[arg(long)]
    plaintext: bool,
    /// Use-only keys too: sealed only, and asks for the account's passphrase
    #[arg(long, conflicts_with = "plaintext")]
    use_only: bool,
    /// Pass over keys that do not open, and say which
    #[arg(long)]
    skip_unreadable: bool,
    /// The file, instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if there is one
    #[arg(long, requires = "output")]
    force: bool,
    #[command(flatten)]
    passphrase: PassphraseFlags,
}

/// The formats, as they are typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// akm's own, with everything that is known of a key
    Json,
    /// FIDO Credential Exchange Format
    Cxf,
    /// Lines of NAME='secret'; holds names, secrets and base URLs only
    Env,
}

/// What `--json` tells of a file that was written.
#[derive(Serialize)]
struct Written {
    file: PathBuf,
    sealed: bool,
    keys: u64,
    left_out: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
}

pub(crate) fn export(args: &Export, json: bool) -> Result<()> {
    if args.output.is_none() {
        if json {
            return Err(Fail::usage(
                text!("export-json-needs-file"),
                "akm export --json -o FILE",
            ));
        }
        if !args.plaintext && output::stdout_is_terminal() {
            return Err(Fail::usage(
                text!("export-not-to-terminal"),
                "akm export -o keys.age",
            ));
        }
    }
    let asker = Asker::new(&args.passphrase, &SecretFlags::default())?;
    asker.require_passphrase()?;
    let mut target = match &args.output {
        Some(path) => Target::file(path, args.force)?,
        None => Target::Stdout,
    };
    let mut client = connect()?;
    // Known before anything is read: the account's passphrase is the first line of what is piped in.
    let by_policy = !args.plaintext && !args.use_only && !is_open_to_us(&mut client)?;
    if by_policy && !json {
        output::note(&text!("export-policy-asks"));
    }
    let passphrase = match args.plaintext || args.use_only || by_policy {
        true => Some(asker.passphrase(&text!("ask-passphrase"))?),
        false => None,
    };
    let seal = match args.plaintext {
        true => None,
        false => Some(asker.new_passphrase(&text!("ask-file-passphrase"))?),
    };
    let mut request = VaultExport {
        format: Some(match args.format {
            Format::Json => ExportFormat::Json,
            Format::Cxf => ExportFormat::Cxf,
            Format::Env => ExportFormat::Env,
        }),
        seal,
        passphrase,
        use_only: args.use_only.then_some(true),
        skip_unreadable: args.skip_unreadable.then_some(true),
        after: None,
    };
    let sealed = request.seal.is_some();
    let (mut left_out, mut unreadable) = (Vec::new(), Vec::new());
    let mut bar = None;
    let keys = loop {
        let page = client.call(&request)?;
        let bar = bar.get_or_insert_with(|| Progress::of_many(page.total, json));
        target.write(page.content.expose().as_bytes(), sealed)?;
        bar.at(page.keys, page.total);
        left_out.extend(page.left_out);
        unreadable.extend(page.unreadable);
        match page.next {
            Some(next) => {
                request = VaultExport {
                    after: Some(next),
                    ..VaultExport::default()
                };
            }
            None => break page.keys,
        }
    };
    drop(bar);
    target.finish()?;
    if json && let Some(file) = &args.output {
        return output::json(&Written {
            file: file.clone(),
            sealed,
            keys,
            left_out,
            unreadable,
        });
    }
    output::note(&match sealed {
        true => text!("exported-sealed", count = keys),
        false => text!("exported-in-clear", count = keys),
    });
    if !unreadable.is_empty() {
        output::note(&text!("export-unreadable", names = unreadable.join(", ")));
    }
    if !left_out.is_empty() {
        left_out.sort();
        say_left_out(&mut client, left_out);
    }
    Ok(())
}

/// Whether the policy lets this program have keys without a grant, and so a sealed export without the passphrase.
fn is_open_to_us(client: &mut Client) -> Result<bool> {
    let state = client.call(&PolicyShow {})?;
    Ok(!state.enforced || state.caller.unwrap_or(state.policy) == Policy::Open)
}

/// Says why keys are not in the file, and how they get into one.
fn say_left_out(client: &mut Client, names: Vec<String>) {
    let [mut burned, mut use_only, mut confirmed, mut unknown] = [const { Vec::new() }; 4];
    for name in names {
        let shown = client.call(&KeyShow { name: name.clone() });
        match shown.map(|shown| shown.key) {
            Ok(key) if key.status == KeyStatus::Burned => burned.push(name),
            Ok(key) if key.use_only => use_only.push(name),
            Ok(key) if key.confirm => confirmed.push(name),
            // It became another one meanwhile, or is gone.
            _ => unknown.push(name),
        }
    }
    let leave_with_flag = !use_only.is_empty() || !confirmed.is_empty();
    if !use_only.is_empty() {
        output::note(&text!("export-left-use-only", names = use_only.join(", ")));
    }
    if !confirmed.is_empty() {
        output::note(&text!("export-left-confirm", names = confirmed.join(", ")));
    }
    if !burned.is_empty() {
        output::note(&text!("export-left-burned", names = burned.join(", ")));
    }
    if !unknown.is_empty() {
        output::note(&text!("export-left-out", names = unknown.join(", ")));
    }
    if leave_with_flag {
        output::hint(&text!("hint-left-out"));
    }
}

/// Where an export goes.
pub(crate) enum Target {
    Stdout,
    File { file: FreshFile, force: bool },
}

impl Target {
    pub(crate) fn file(path: &Path, force: bool) -> Result<Target> {
        if !force && path.symlink_metadata().is_ok() {
            return Err(exists());
        }
        let file = FreshFile::at(path).map_err(|error| Error::from_io(&error))?;
        Ok(Target::File { file, force })
    }

    pub(crate) fn write(&mut self, content: &[u8], sealed: bool) -> Result<()> {
        let decoded;
        let bytes = if sealed {
            decoded = BASE64.decode(content).map_err(|_| {
                Error::new(Kind::Unavailable, "the answer is not one of an akm agent")
            })?;
            &decoded[..]
        } else {
            content
        };
        match self {
            Target::Stdout => output::raw(bytes),
            Target::File { file, .. } => {
                Ok(file.write(bytes).map_err(|error| Error::from_io(&error))?)
            }
        }
    }

    /// Gives the file its name, after its content is on the disk, and sees that the name is.
    pub(crate) fn finish(self) -> Result<()> {
        let Target::File { file, force } = self else {
            return Ok(());
        };
        file.finish(force).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(),
            _ => Error::from_io(&error).into(),
        })
    }
}

fn exists() -> Fail {
    Error::new(Kind::Conflict, "the file exists")
        .with_hint("give --force to replace it")
        .into()
}

/// Bytes of a file, wiped when dropped, at most `max` of them.
pub(crate) fn read_bounded(from: &mut impl Read, max: usize) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    from.take(max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::from_io(&error))?;
    if bytes.len() > max {
        return Err(Error::invalid("file", "the file is longer than 64 MiB").into());
    }
    Ok(bytes)
}
