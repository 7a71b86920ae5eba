//! `akm import`: keys from a file, all or none.
//!
//! The file is read, opened and taken apart here, in a process that holds no other key; the agent gets keys, a page at a time,
//! says what becomes of each, and stores them when all of them fit.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use akm_core::crypto::age;
use akm_core::protocol::{
    ExportFormat, ImportOutcome, ImportReport, KeyRow, MAX_IMPORT_PAGE, MAX_REQUEST, VaultImport,
    encode,
};
use akm_core::regular::{self, Links};
use akm_core::transfer::{self, FileFormat, MAX_FILE, Parsed, manager};
use akm_core::{Error, Kind};
use clap::{Args, ValueEnum};
use serde::Serialize;
use zeroize::Zeroizing;

use super::connect;
use super::export::read_bounded;
use super::output::{self, Fail, Result};
use super::progress::Progress;
use super::prompt::{Asker, PassphraseFlags, SecretFlags};
use super::text::{self, text};

/// Largest file of settings.
const MAX_SETTINGS: usize = 64 * 1024;
/// How much of a request is left for what is not a key.
const FRAME: usize = 1024;

/// Imports.
#[derive(Args)]
#[command(
    after_help = "Nothing is stored unless every key of the file can be.\n\nExample:\n  akm import --dry-run keys.age\n  akm import keys.age\n  akm import app.db --settings .env --user alice"
)]
pub(crate) struct Import {
    /// The file; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What it is; told by its content if absent
    #[arg(long, value_enum, value_name = "F")]
    format: Option<Format>,
    /// The settings (.env) of the LLM API Manager that wrote a database: its ENCRYPTION_KEY and ENCRYPTION_SALT open the keys
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Whose keys of such a database, where several users have some
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Say what would become of each key and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave keys alone that exist with another secret, instead of refusing the file
    #[arg(long)]
    skip_existing: bool,
    #[command(flatten)]
    passphrase: PassphraseFlags,
}

/// The formats, as they are typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Sealed with a passphrase, by akm or age
    Age,
    /// akm's own
    Json,
    /// FIDO Credential Exchange Format
    Cxf,
    /// Lines of NAME=secret
    Env,
    /// A list of keys of LLM API Manager, or its SQLite database
    LlmApiManager,
}

impl Format {
    fn of_file(self) -> FileFormat {
        FileFormat::Plain(match self {
            Format::Age => return FileFormat::Age,
            Format::LlmApiManager => return FileFormat::Manager,
            Format::Json => ExportFormat::Json,
            Format::Cxf => ExportFormat::Cxf,
            Format::Env => ExportFormat::Env,
        })
    }
}

/// What became of one key, for people and programs.
#[derive(Serialize)]
struct Row {
    name: String,
    outcome: ImportOutcome,
    /// Where the key would be sent, where the file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Serialize)]
struct Report {
    stored: bool,
    added: u64,
    unchanged: u64,
    skipped: u64,
    refused: u64,
    /// Things in the file that are no keys.
    ignored: u64,
    rows: Vec<Row>,
}

pub(crate) fn import(args: &Import, json: bool) -> Result<()> {
    let (parsed, sealed) = read(args)?;
    let mut client = connect()?;
    let bar = Progress::of_many(parsed.keys.len() as u64, json);
    let mut rows = Vec::with_capacity(parsed.keys.len());
    let mut last = ImportReport {
        import: None,
        rows: Vec::new(),
        added: 0,
        unchanged: 0,
        skipped: 0,
        refused: 0,
    };
    let mut keys = parsed.keys.into_iter().peekable();
    while keys.peek().is_some() {
        let (about, page) = next_page(&mut keys)?;
        let first = last.import.is_none();
        let mut report = client.call(&VaultImport {
            import: last.import,
            keys: page,
            skip_existing: first.then_some(args.skip_existing),
            finish: None,
        })?;
        if report.rows.len() != about.len() {
            return Err(
                Error::new(Kind::Unavailable, "the answer is not one of an akm agent").into(),
            );
        }
        bar.advance(about.len() as u64);
        rows.extend(
            about
                .into_iter()
                .zip(report.rows.drain(..))
                .map(|((name, base_url), row)| Row {
                    name,
                    base_url,
                    outcome: row.outcome,
                    field: row.field,
                    message: row.message,
                }),
        );
        last = report;
    }
    drop(bar);
    let stored = !args.dry_run && last.refused == 0 && last.added > 0;
    if stored {
        let finish = VaultImport {
            import: last.import.take(),
            finish: Some(true),
            ..VaultImport::default()
        };
        last.added = client.call(&finish)?.added;
    }
    let report = Report {
        stored,
        added: last.added,
        unchanged: last.unchanged,
        skipped: last.skipped,
        refused: last.refused,
        ignored: parsed.ignored,
        rows,
    };
    match json {
        true => output::json(&report)?,
        false => show(&report, args, sealed)?,
    }
    match report.refused {
        0 => Ok(()),
        _ => Err(Fail::Exit(1)),
    }
}

fn show(report: &Report, args: &Import, sealed: bool) -> Result<()> {
    let rows: Vec<Vec<String>> = report
        .rows
        .iter()
        .map(|row| {
            vec![
                row.name.clone(),
                text::of_token("import", outcome_token(row.outcome)),
                match (&row.field, &row.message) {
                    (Some(field), Some(message)) => {
                        format!("{field}: {}", text::translated(message))
                    }
                    (_, Some(message)) => text::translated(message).into_owned(),
                    _ => row.base_url.clone().unwrap_or_default(),
                },
            ]
        })
        .collect();
    if !rows.is_empty() {
        output::table(
            &["col-name", "col-import-outcome", "col-import-detail"],
            &rows,
        )?;
    }
    if report.ignored > 0 {
        output::note(&text!("import-ignored", count = report.ignored));
    }
    if report.refused > 0 {
        output::note(&text!("import-refused", count = report.refused));
        output::hint(&text!("hint-import-refused"));
    } else if args.dry_run {
        output::note(&text!("import-would", count = report.added));
    } else {
        output::note(&text!("imported", count = report.added));
        if report.stored && !sealed && args.file != Path::new("-") {
            output::hint(&text!("hint-import-in-clear"));
        }
    }
    Ok(())
}

const fn outcome_token(outcome: ImportOutcome) -> &'static str {
    match outcome {
        ImportOutcome::Added => "added",
        ImportOutcome::Unchanged => "unchanged",
        ImportOutcome::Skipped => "skipped",
        ImportOutcome::Conflict => "conflict",
        ImportOutcome::Invalid => "invalid",
    }
}

/// The keys of the file, and whether it was sealed.
fn read(args: &Import) -> Result<(Parsed, bool)> {
    let file = if args.file == Path::new("-") {
        if args.passphrase.passphrase_stdin {
            return Err(Fail::usage(
                text!("import-stdin-twice"),
                "akm import FILE --passphrase-stdin",
            ));
        }
        read_bounded(&mut io::stdin().lock(), MAX_FILE)?
    } else {
        // Not waiting for a pipe that nobody writes to.
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open(&args.file)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Error::invalid("file", "there is no such file"),
                _ => Error::from_io(&error),
            })?;
        let is_file = file.metadata().is_ok_and(|facts| facts.is_file());
        if !is_file {
            return Err(Error::invalid("file", "it is not a regular file").into());
        }
        read_bounded(&mut file, MAX_FILE)?
    };
    let format = match args.format {
        Some(format) => format.of_file(),
        None => transfer::detect(&file)?,
    };
    if manager::is_database(&file)
        && matches!(format, FileFormat::Manager | FileFormat::ManagerDatabase)
    {
        return Ok((database(args)?, false));
    }
    if matches!(format, FileFormat::Manager | FileFormat::ManagerDatabase) {
        return Ok((manager::parse(&file)?, false));
    }
    let FileFormat::Plain(format) = format else {
        let asker = Asker::new(&args.passphrase, &SecretFlags::default())?;
        let passphrase = asker.passphrase(&text!("ask-file-passphrase"))?;
        let plain = age::open(&file, &passphrase)?;
        return match transfer::detect(&plain)? {
            FileFormat::Plain(format) => Ok((transfer::parse(format, &plain)?, true)),
            FileFormat::Manager | FileFormat::ManagerDatabase => {
                Ok((manager::parse(&plain)?, true))
            }
            FileFormat::Age => Err(Error::invalid("file", "the file is sealed twice").into()),
        };
    };
    Ok((transfer::parse(format, &file)?, false))
}

/// The keys of a database, which is read where it is.
fn database(args: &Import) -> Result<Parsed> {
    if args.file == Path::new("-") {
        return Err(Error::invalid("file", "a database is given as a file").into());
    }
    let Some(settings) = &args.settings else {
        return Err(Fail::usage(
            text!("import-needs-settings"),
            "akm import DATABASE --settings .env",
        ));
    };
    // A pipe would be waited for.
    regular::open(&args.file, Links::Refuse).map_err(|error| error.with_field("file"))?;
    let mut file = std::fs::File::open(settings).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::invalid("settings", "there is no such file"),
        _ => Error::from_io(&error),
    })?;
    let text = read_bounded(&mut file, MAX_SETTINGS)?;
    let text = std::str::from_utf8(&text)
        .map_err(|_| Error::invalid("settings", "the file is not UTF-8 text"))?;
    let settings = manager::Settings::read(text)?;
    Ok(manager::read_database(
        &args.file,
        &settings,
        args.user.as_deref(),
    )?)
}

/// A key's name and base URL.
type About = (String, Option<String>);

/// As many keys as fit into one request, and the name and base URL of each.
fn next_page(
    keys: &mut std::iter::Peekable<std::vec::IntoIter<KeyRow>>,
) -> Result<(Vec<About>, Vec<KeyRow>)> {
    let (mut about, mut page, mut size) = (Vec::new(), Vec::new(), FRAME);
    while let Some(key) = keys.peek() {
        size += Zeroizing::new(encode(key)?).len() + 1;
        if !page.is_empty() && (size > MAX_REQUEST || page.len() == MAX_IMPORT_PAGE) {
            break;
        }
        let Some(key) = keys.next() else { break };
        about.push((key.name.clone(), key.base_url.clone()));
        page.push(key);
    }
    Ok((about, page))
}
