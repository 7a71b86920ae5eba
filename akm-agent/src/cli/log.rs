//! `akm log`: who asked for what, and whether the record of it is whole.

use akm_core::client::Client;
use akm_core::protocol::{AuditEvent, AuditList, AuditVerify, EventPage, MAX_PAGE};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::output::{self, Fail, Result};
use super::text::{of_token, text};
use super::{agent, connect};

/// Shows the audit.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  akm log --since 1d --action key.get --key openai/work\n  akm log verify"
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
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Check that no event was changed, moved or taken out; exit 1 if one was
    #[command(after_help = "Example:\n  akm log verify")]
    Verify,
}

pub(crate) fn log(args: Log, json: bool) -> Result<()> {
    let mut client = connect()?;
    if let Some(Command::Verify) = args.command {
        return verify(&mut client, json);
    }
    let events = all(
        &mut client,
        AuditList {
            since: args.since,
            action: args.action,
            key: args.key,
            ..AuditList::default()
        },
    )?;
    if json {
        return output::json(&EventPage { events, next: None });
    }
    let rows: Vec<Vec<String>> = events.iter().map(row).collect();
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

fn verify(client: &mut Client, json: bool) -> Result<()> {
    let found = client.call(&AuditVerify {})?;
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
    if found.ok {
        return Ok(());
    }
    if !json {
        output::hint(&text!("hint-log-bad"));
    }
    Err(Fail::Exit(1))
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
        text!(
            "caller",
            exe = event.caller.exe.as_str(),
            pid = event.caller.pid,
            uid = event.caller.uid,
        ),
    ]
}

fn all(client: &mut Client, mut request: AuditList) -> Result<Vec<AuditEvent>> {
    let mut events = Vec::new();
    request.limit = Some(MAX_PAGE);
    loop {
        let page = client.call(&request)?;
        events.extend(page.events);
        match page.next {
            Some(next) if request.after.as_ref() != Some(&next) => request.after = Some(next),
            _ => return Ok(events),
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
