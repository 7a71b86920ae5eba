//! `akm account send` and `akm account receive`: the keys of an account move to an account of another server.
//!
//! The account that receives shows a code, the one that sends seals a file for it, and nobody between the two can read the file. It is
//! text: a line that says what it is, then a piece on each line. Both ends say how many keys there are and the same checksum.

use std::io::Read;
use std::path::{Path, PathBuf};

use akm_core::client::Client;
use akm_core::protocol::{HandoverOffer, HandoverReceive, HandoverReport, HandoverSend};
use akm_core::regular::{self, Links};
use akm_core::{Error, Kind};
use clap::Args;
use serde::Serialize;

use super::connect;
use super::export::Target;
use super::output::{self, Fail, Result};
use super::progress::Progress;
use super::prompt::{Asker, PassphraseFlags, SecretFlags};
use super::text::{text, translated};

/// The first line of a file.
pub(crate) const TITLE: &str = "akm-handover-1";
/// Longest file that is read: 20,000 keys are far below.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Sends.
#[derive(Args)]
pub(crate) struct Send {
    /// What akm account receive showed on the other server
    #[arg(value_name = "CODE")]
    code: String,
    /// The file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    passphrase: PassphraseFlags,
}

/// Receives.
#[derive(Args)]
pub(crate) struct Receive {
    /// The file from the other server; absent, a code to send it for is shown
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What `--json` tells of a file that was written.
#[derive(Serialize)]
struct Sent {
    file: PathBuf,
    keys: u64,
    left_out: Vec<String>,
    checksum: String,
}

pub(crate) fn send(args: &Send, json: bool) -> Result<()> {
    let asker = Asker::new(&args.passphrase, &SecretFlags::default())?;
    asker.require_passphrase()?;
    let mut target = Target::file(&args.output, args.force)?;
    let mut client = connect()?;
    let mut request = HandoverSend {
        code: Some(args.code.clone()),
        passphrase: Some(asker.passphrase(&text!("ask-passphrase"))?),
        after: None,
    };
    let mut left_out = Vec::new();
    let mut bar = None;
    target.write(TITLE.as_bytes(), false)?;
    target.write(b"\n", false)?;
    let (keys, checksum) = loop {
        let piece = client.call(&request)?;
        let bar = bar.get_or_insert_with(|| Progress::of_many(piece.total, json));
        target.write(piece.content.as_bytes(), false)?;
        target.write(b"\n", false)?;
        bar.at(piece.keys, piece.total);
        left_out.extend(piece.left_out);
        match (piece.next, piece.checksum) {
            (Some(next), _) => {
                request = HandoverSend {
                    after: Some(next),
                    ..HandoverSend::default()
                };
            }
            (None, Some(checksum)) => break (piece.keys, checksum),
            (None, None) => return Err(no_answer()),
        }
    };
    drop(bar);
    target.finish()?;
    if json {
        return output::json(&Sent {
            file: args.output.clone(),
            keys,
            left_out,
            checksum,
        });
    }
    output::fields(&[
        ("field-keys", keys.to_string()),
        ("field-checksum", checksum),
    ])?;
    if !left_out.is_empty() {
        left_out.sort();
        output::note(&text!("handover-left-out", names = left_out.join(", ")));
    }
    output::hint(&text!("hint-handover-sent"));
    Ok(())
}

pub(crate) fn receive(args: &Receive, json: bool) -> Result<()> {
    let Some(file) = &args.file else {
        let offer = connect()?.call(&HandoverOffer {})?;
        if json {
            return output::json(&offer);
        }
        output::line(&offer.code)?;
        output::note(&text!("handover-code", date = offer.expires_at.as_str()));
        output::hint(&text!("hint-handover-code"));
        return Ok(());
    };
    let pieces = read(file)?;
    let mut client = connect()?;
    let report = take_in(&mut client, &pieces, json)?;
    let refused = !report.refused.is_empty();
    if json {
        output::json(&report)?;
    } else {
        show(&report)?;
    }
    match refused {
        true => Err(Fail::Exit(1)),
        false => Ok(()),
    }
}

/// The pieces in their order; stored where all keys can be.
fn take_in(client: &mut Client, pieces: &str, json: bool) -> Result<HandoverReport> {
    let count = pieces.lines().count() as u64;
    let bar = Progress::of_many(count, json);
    let mut last: Option<HandoverReport> = None;
    for piece in pieces.lines() {
        last = Some(client.call(&HandoverReceive {
            handover: last.and_then(|report| report.handover),
            content: Some(piece.to_owned()),
            finish: None,
        })?);
        bar.advance(1);
    }
    drop(bar);
    let last = last.ok_or_else(foreign)?;
    if !last.complete {
        return Err(
            Error::invalid("file", "the file ends before the hand-over does")
                .with_hint("nothing is stored: fetch the whole file and receive it again")
                .into(),
        );
    }
    if !last.refused.is_empty() {
        return Ok(last);
    }
    Ok(client.call(&HandoverReceive {
        handover: last.handover,
        content: None,
        finish: Some(true),
    })?)
}

fn show(report: &HandoverReport) -> Result<()> {
    if !report.refused.is_empty() {
        let rows: Vec<Vec<String>> = report
            .refused
            .iter()
            .map(|refused| {
                vec![
                    refused.name.clone(),
                    translated(&refused.message).into_owned(),
                ]
            })
            .collect();
        output::table(&["col-name", "col-import-detail"], &rows)?;
        output::note(&text!(
            "import-refused",
            count = report.refused.len() as u64
        ));
        output::hint(&text!("hint-handover-refused"));
        return Ok(());
    }
    output::fields(&[
        ("field-keys", report.keys.to_string()),
        (
            "field-checksum",
            report.checksum.clone().unwrap_or_default(),
        ),
    ])?;
    output::note(&text!(
        "handover-received",
        count = report.added,
        unchanged = report.unchanged
    ));
    if report.differing.is_empty() {
        output::hint(&text!("hint-handover-compare"));
    } else {
        output::note(&text!(
            "handover-differing",
            names = report.differing.join(", ")
        ));
    }
    Ok(())
}

/// The lines behind the title.
fn read(path: &Path) -> Result<String> {
    let file = regular::open(path, Links::Follow)
        .map_err(|error| error.with_field("file"))?
        .ok_or_else(|| Error::invalid("file", "there is no such file"))?;
    let mut text = String::new();
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .map_err(|_| foreign())?;
    let pieces = text
        .strip_prefix(TITLE)
        .and_then(|text| text.strip_prefix('\n'));
    Ok(pieces.ok_or_else(foreign)?.to_owned())
}

fn foreign() -> Error {
    Error::invalid("file", "the file is not a hand-over of akm")
}

fn no_answer() -> Fail {
    Error::new(Kind::Unavailable, "the answer is not one of an akm agent").into()
}
