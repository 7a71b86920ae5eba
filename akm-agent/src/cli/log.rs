//! `akm log`: who asked for what, and whether the record of it is whole.

use std::path::{Path, PathBuf};
use std::time::Duration;

use akm_core::Error;
use akm_core::client::Client;
use akm_core::protocol::{
    AuditCheckpoint, AuditEvent, AuditList, AuditVerify, Checkpoint, CheckpointVerdict, EventPage,
    MAX_PAGE,
};
use akm_core::regular::{self, Links};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::output::{self, Fail, Result};
use super::text::{of_token, text};
use super::{agent, connect};

/// How long `--follow` waits before it looks again. A look costs the agent less than a get, and holds nothing open.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// Longest checkpoint that is read: they have about 600 bytes.
const MAX_CHECKPOINT: u64 = 16 * 1024;

/// Shows the audit.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  akm log --since 1d --action key.get --key openai/work\n  akm log --follow\n  akm log verify"
)]
pub(crate) struct Log {
    /// Only events since this RFC 3339 time or date (UTC), or this long ago: 30m, 8h, 7d
    #[arg(long, value_name = "T", value_parser = parse_since)]
    since: Option<String>,
    /// Only this operation
    #[arg(long, value_name = "A")]
    action: Option<String>,
    /// Only this key
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// At most this many, from the oldest on, and where the next page begins
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
    /// Only the newest this many
    #[arg(short = 'n', long, value_name = "N", conflicts_with_all = ["after", "limit"], value_parser = clap::value_parser!(u32).range(1..=1000))]
    last: Option<u32>,
    /// The page behind this one: what the page before named
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Go on: wait for new events and show each; with --json one object to a line
    #[arg(short, long, conflicts_with = "limit")]
    follow: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Check that no event was changed, moved or taken out; exit 1 if one was
    #[command(
        after_help = "Example:\n  akm log verify\n  ssh backup cat akm.checkpoint | akm log verify --checkpoint /dev/stdin"
    )]
    Verify {
        /// Compare with this checkpoint: finds events that were cut off at the end
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    /// Print where the log stands now, signed; keep it on another machine
    #[command(after_help = "Example:\n  akm log checkpoint | ssh backup 'cat > akm.checkpoint'")]
    Checkpoint,
}

pub(crate) fn log(args: Log, json: bool) -> Result<()> {
    let mut client = connect()?;
    match args.command {
        Some(Command::Verify { checkpoint }) => {
            return verify(&mut client, checkpoint.as_deref(), json);
        }
        Some(Command::Checkpoint) => return output::json(&client.call(&AuditCheckpoint {})?),
        None => {}
    }
    let request = AuditList {
        since: args.since,
        action: args.action,
        key: args.key,
        limit: Some(args.limit.unwrap_or(MAX_PAGE)),
        after: args.after,
        last: args.last,
    };
    if args.follow {
        return follow(&mut client, request, json);
    }
    let page = match (args.last, args.limit) {
        (Some(last), _) => newest(&mut client, &request, last)?,
        (None, Some(limit)) => page(&mut client, request, limit as usize)?,
        (None, None) => page(&mut client, request, usize::MAX)?,
    };
    if json {
        return output::json(&page);
    }
    table(&page)?;
    if let Some(next) = page.next {
        output::hint(&text!("hint-log-more", cursor = next));
    }
    Ok(())
}

/// The events as a table.
pub(super) fn table(page: &EventPage) -> Result<()> {
    if page.events.is_empty() {
        output::note(&text!("no-events"));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = page.events.iter().map(row).collect();
    output::table(
        &[
            "col-chain",
            "col-seq",
            "col-time",
            "col-action",
            "col-account",
            "col-key",
            "col-outcome",
            "col-caller",
        ],
        &rows,
    )
}

/// Shows what there is and then what comes, until somebody ends it or the account is locked.
fn follow(client: &mut Client, mut request: AuditList, json: bool) -> Result<()> {
    let mut first = match request.last.take() {
        Some(last) => Some(newest(client, &request, last)?),
        None => None,
    };
    loop {
        let page = match first.take() {
            Some(page) => page,
            None => client.call(&request)?,
        };
        for event in &page.events {
            match json {
                true => output::json(event)?,
                false => output::line(&output::clean(&row(event).join("  ")))?,
            }
        }
        // An agent that gives no end cannot be followed: it would tell the same again.
        request.after = Some(page.end.ok_or(Error::new(
            akm_core::Kind::Unavailable,
            "the agent is too old to be followed",
        ))?);
        if page.next.is_none() {
            std::thread::sleep(FOLLOW_EVERY);
        }
    }
}

fn verify(client: &mut Client, checkpoint: Option<&Path>, json: bool) -> Result<()> {
    let checkpoint = checkpoint.map(read_checkpoint).transpose()?;
    let time = checkpoint
        .as_ref()
        .map(|checkpoint| checkpoint.time.clone());
    let found = client.call(&AuditVerify { checkpoint })?;
    if json {
        output::json(&found)?;
    } else if found.ok {
        output::line(&text!("log-whole", events = found.entries))?;
    } else {
        let chain = of_token("chain", found.chain.as_deref().unwrap_or("account"));
        output::line(&match found.first_bad {
            Some(first) => text!("log-bad-event", event = first, chain = chain),
            None => text!("log-bad-chain", chain = chain),
        })?;
    }
    if let (false, Some(time)) = (json, time) {
        output::line(&match found.checkpoint {
            Some(CheckpointVerdict::Holds) => text!("checkpoint-holds", time = time),
            Some(CheckpointVerdict::Truncated) => text!("checkpoint-truncated", time = time),
            Some(CheckpointVerdict::Forked) => text!("checkpoint-forked", time = time),
            None => text!("checkpoint-unknown", time = time),
        })?;
    }
    if found.ok {
        return Ok(());
    }
    if !json {
        output::hint(&text!("hint-log-bad"));
    }
    Err(Fail::Exit(1))
}

fn read_checkpoint(path: &Path) -> Result<Checkpoint> {
    let text = regular::read(path, Links::Follow, MAX_CHECKPOINT)
        .map_err(|error| error.with_field("checkpoint"))?
        .ok_or_else(|| Error::invalid("checkpoint", "there is no such file"))?;
    Ok(serde_json::from_slice(&text)
        .map_err(|_| Error::invalid("checkpoint", "the file is not a checkpoint"))?)
}

fn row(event: &AuditEvent) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        // As `log verify` names an event.
        of_token("chain", &event.chain),
        event.seq.to_string(),
        event.time.clone(),
        event.action.clone(),
        or_dash(&event.account),
        or_dash(&event.key),
        event.outcome.clone(),
        caller(event),
    ]
}

/// Who asked: a process, or an address, which has no numbers.
fn caller(event: &AuditEvent) -> String {
    let caller = &event.caller;
    if caller.exe.starts_with("network ") {
        return caller.exe.clone();
    }
    text!(
        "caller",
        exe = caller.exe.as_str(),
        pid = caller.pid,
        uid = caller.uid,
    )
}

/// The newest `last` of the events that are asked for. The agent counts positions in each of its two chains, before
/// any filter; who types `-n 3` counts lines.
fn newest(client: &mut Client, request: &AuditList, last: u32) -> Result<EventPage> {
    let is_filtered = request.since.is_some() || request.action.is_some() || request.key.is_some();
    let mut request = AuditList {
        last: (!is_filtered).then_some(last),
        limit: Some(MAX_PAGE),
        ..request.clone()
    };
    let mut events = Vec::new();
    loop {
        let page = client.call(&request)?;
        events.extend(page.events);
        // A long log is not held whole to show its end.
        events.drain(..events.len().saturating_sub(last as usize));
        match page.next {
            Some(next) if request.after.as_ref() != Some(&next) => {
                request.after = Some(next);
                // The cursor is past what `last` leaves out, and both at once are refused.
                request.last = None;
            }
            _ => {
                return Ok(EventPage {
                    events,
                    next: None,
                    end: page.end,
                });
            }
        }
    }
}

/// Up to this many events; a page of the agent may be short.
fn page(client: &mut Client, mut request: AuditList, most: usize) -> Result<EventPage> {
    let mut events = Vec::new();
    loop {
        let left = most - events.len();
        request.limit = Some(u32::try_from(left).map_or(MAX_PAGE, |left| left.min(MAX_PAGE)));
        let page = client.call(&request)?;
        events.extend(page.events);
        match page.next {
            Some(next) if request.after.as_ref() != Some(&next) && events.len() < most => {
                request.after = Some(next);
            }
            next => {
                return Ok(EventPage {
                    events,
                    next: next.filter(|_| most != usize::MAX),
                    end: page.end,
                });
            }
        }
    }
}

/// A time, a date, or how long ago, as RFC 3339.
fn parse_since(text: &str) -> Result<String, String> {
    since(text, Timestamp::now()).ok_or_else(|| text!("since-forms"))
}

fn since(text: &str, now: Timestamp) -> Option<String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.to_string());
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let seconds = i64::try_from(agent::parse_lifetime(text).ok()?).ok()?;
    let time = now.checked_sub(SignedDuration::from_secs(seconds)).ok()?;
    Some(time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_times_dates_and_spans() {
        let now: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        let case = |text| since(text, now);
        assert_eq!(case("2026-01-31").unwrap(), "2026-01-31T00:00:00Z");
        assert_eq!(
            case("2026-01-31T08:00:00+08:00").unwrap(),
            "2026-01-31T00:00:00Z"
        );
        assert_eq!(case("1d").unwrap(), "2026-03-01T12:00:00Z");
        assert_eq!(case("30m").unwrap(), "2026-03-02T11:30:00Z");
        for bad in ["", "yesterday", "-1d", "2026-13-01", "99999999999d"] {
            assert_eq!(case(bad), None, "{bad}");
        }
    }
}
