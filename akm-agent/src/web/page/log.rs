//! The audit log: who asked for what, newest first, and whether anything in it was changed.

use akm_core::error::Result;
use akm_core::protocol::{AuditEvent, AuditList, AuditVerify, Op};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::super::answer::Http;
use super::super::form::query;
use super::super::routes::Ask;
use super::super::view::{Section, badge, empty, heading, icon, notice, select, time};
use super::super::words::say;
use super::Page;

/// Events on one page.
const PER_PAGE: usize = 100;
/// Most events that are gone through for a page.
const MAX_EVENTS: usize = 20_000;

/// Events since a number of days, oldest first, and whether there were more than are gone through.
pub(super) async fn since(
    page: &Page<'_>,
    days: u32,
    action: Option<&str>,
    key: Option<&str>,
) -> Result<(Vec<AuditEvent>, bool)> {
    let since = Timestamp::now() - SignedDuration::from_hours(24 * i64::from(days));
    let mut events = Vec::new();
    let mut after = None;
    loop {
        let answer = page
            .ask(AuditList {
                since: Some(since.to_string()),
                action: action.map(str::to_owned),
                key: key.map(str::to_owned),
                limit: Some(akm_core::protocol::MAX_PAGE),
                last: None,
                after,
            })
            .await?;
        events.extend(answer.events);
        after = answer.next;
        if after.is_none() || events.len() >= MAX_EVENTS {
            return Ok((events, after.is_some()));
        }
    }
}

/// What stands before an address, in the place of a program, where somebody asked over the network.
pub(super) const NETWORK: &str = "network ";

/// The days that a filter offers, the first if nobody says.
fn days(ask: &Ask) -> u32 {
    let asked = ask.query.get("days").and_then(|days| days.parse().ok());
    asked
        .filter(|days| [1, 7, 30, 365].contains(days))
        .unwrap_or(7)
}

pub(super) async fn show(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let words = page.words();
    let title = say!(words, "log-title");
    let days = days(ask);
    let (action, key) = (ask.query.get("action"), ask.query.get("key"));
    let verify = html! {
        form method="post" action=(page.path("log/verify")) data-busy {
            button type="submit" { (icon("shield")) (say!(words, "verify")) }
        }
    };
    let found = since(page, days, action, key).await;
    let (events, more, fault) = match found {
        Ok((events, more)) => (events, more, None),
        Err(error) => (Vec::new(), false, Some(error)),
    };
    let pages = events.len().div_ceil(PER_PAGE).max(1);
    let number = ask.query.get("page").and_then(|text| text.parse().ok());
    let number: usize = number.unwrap_or(1).clamp(1, pages);
    let shown = events
        .iter()
        .rev()
        .skip((number - 1) * PER_PAGE)
        .take(PER_PAGE);
    let body = html! {
        (heading(&title, &say!(words, "log-lead"), &verify))
        (toolbar(page, days, action, key))
        @if more { (notice("bad", &say!(words, "log-too-many", count = MAX_EVENTS))) }
        @if events.is_empty() {
            (empty("list", &say!(words, "log-none-title"), &say!(words, "log-none"), &html! {}))
        } @else {
            div.scroll tabindex="0" role="region" aria-label=(title) {
                table.log {
                    thead { tr {
                        th scope="col" { (say!(words, "col-time")) }
                        th scope="col" { (say!(words, "col-action")) }
                        th scope="col" { (say!(words, "col-key")) }
                        th scope="col" { (say!(words, "col-outcome")) }
                        th scope="col" { (say!(words, "col-caller")) }
                    } }
                    tbody { @for event in shown { (row(page, event)) } }
                }
            }
            @if pages > 1 { (pager(page, ask, days, number, pages)) }
        }
    };
    Ok(page.show(Section::Log, &title, fault.as_ref(), &body))
}

fn toolbar(page: &Page<'_>, days: u32, action: Option<&str>, key: Option<&str>) -> Markup {
    let words = page.words();
    let actions: Vec<_> = Op::ALL
        .iter()
        .filter(|op| op.audit() == akm_core::protocol::Audit::Audited)
        .map(|op| (op.name().to_owned(), op.name().to_owned()))
        .collect();
    html! {
        form.toolbar method="get" action=(page.path("log")) role="search" {
            label.field {
                span { (say!(words, "since")) }
                select name="days" data-auto {
                    @for each in [1, 7, 30, 365] {
                        option value=(each) selected[each == days] { (say!(words, "last-days", count = each)) }
                    }
                }
            }
            (select("action", &say!(words, "col-action"), &say!(words, "all"), &actions, action))
            label.field.search {
                span { (say!(words, "col-key")) }
                input type="search" name="key" value=(key.unwrap_or("")) placeholder="openai/work" data-slash
                    autocomplete="off" spellcheck="false";
            }
            div.toolbar-buttons {
                button type="submit" { (icon("search")) (say!(words, "filter")) }
                @if action.is_some() || key.is_some() {
                    a.button.quiet href=(page.path("log")) { (say!(words, "clear-filters")) }
                }
            }
        }
    }
}

/// A name that may go on in the next line behind its first part.
fn breaking(name: &str, mark: char) -> Markup {
    html! {
        @match name.split_once(mark) {
            Some((first, rest)) => { (first) (mark) wbr; (rest) },
            None => (name),
        }
    }
}

fn row(page: &Page<'_>, event: &AuditEvent) -> Markup {
    let words = page.words();
    let (tone, outcome) = match event.outcome.as_str() {
        "ok" => ("good", say!(words, "outcome-ok")),
        kind => ("bad", words.token("kind", kind)),
    };
    let caller = &event.caller;
    let program = caller.exe.rsplit('/').next().unwrap_or_default();
    html! {
        tr {
            td { (time(&event.time)) }
            td { code { (breaking(&event.action, '.')) } @if event.chain == "system" { " " (badge("plain", &say!(words, "chain-system"))) } }
            td {
                @match &event.key {
                    Some(key) => a href=(page.path(&format!("log{}", query(&[("key", key)])))) { bdi { (breaking(key, '/')) } },
                    None => span.faint { "–" },
                }
            }
            td { (badge(tone, &outcome)) }
            @match caller.exe.strip_prefix(NETWORK) {
                Some(address) => td { (say!(words, "from-network", address = address)) },
                None => td title=(caller.exe) { bdi { (program) } span.faint { " " (caller.pid) } },
            }
        }
    }
}

fn pager(page: &Page<'_>, ask: &Ask, days: u32, number: usize, pages: usize) -> Markup {
    let words = page.words();
    let days = days.to_string();
    let to = |number: usize| {
        let text = number.to_string();
        let kept = |name| ask.query.get(name).unwrap_or("");
        let fields = [
            ("days", days.as_str()),
            ("action", kept("action")),
            ("key", kept("key")),
            ("page", text.as_str()),
        ];
        page.path(&format!("log{}", query(&fields)))
    };
    html! {
        nav.pager aria-label=(say!(words, "pager")) {
            @if number > 1 { a.button href=(to(number - 1)) rel="prev" { (say!(words, "newer")) } }
            span { (say!(words, "page-of", page = number, pages = pages)) }
            @if number < pages { a.button href=(to(number + 1)) rel="next" { (say!(words, "older")) } }
        }
    }
}

pub(super) async fn verify(page: &Page<'_>) -> Result<Http> {
    let words = page.words();
    let checked = page.ask(AuditVerify::default()).await?;
    let title = say!(words, "verify-title");
    let body = html! {
        (heading(&title, "", &html! {}))
        @if checked.ok {
            (notice("good", &say!(words, "verify-ok", count = checked.entries)))
        } @else {
            (notice("bad", &say!(words, "verify-bad", count = checked.first_bad.unwrap_or(0))))
        }
        p { a.button href=(page.path("log")) { (say!(words, "back-to-log")) } }
    };
    Ok(page.show(Section::Log, &title, None, &body))
}
