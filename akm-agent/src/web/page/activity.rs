//! What the keys were used for: bars of days out of the audit, and which keys are asked for most.

use std::collections::BTreeMap;

use akm_core::error::Result;
use akm_core::protocol::AuditEvent;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::super::answer::Http;
use super::super::form::query;
use super::super::routes::Ask;
use super::super::view::chart::{Day, bars};
use super::super::view::{Section, empty, heading, monogram, notice};
use super::super::words::say;
use super::{Page, log};

/// Keys in the list of those that are asked for most.
const MOST_USED: usize = 8;
/// What a bar is made of.
const SERIES: usize = 4;

/// Which piece of a bar an event belongs to: handed out, tested, changed, refused.
fn series(event: &AuditEvent) -> usize {
    match (event.outcome.as_str(), event.action.as_str()) {
        ("ok", "key.get" | "key.copy") => 0,
        ("ok", "provider.test" | "provider.balance") => 1,
        ("ok", _) => 2,
        _ => 3,
    }
}

pub(super) fn tabs(page: &Page<'_>, current: &str) -> Markup {
    let words = page.words();
    let tabs = [
        ("activity", say!(words, "activity-title")),
        ("balance", say!(words, "balance-title")),
    ];
    html! {
        nav.tabs aria-label=(say!(words, "nav-activity")) {
            @for (path, name) in &tabs {
                a href=(page.path(path)) aria-current=[(*path == current).then_some("page")] { (name) }
            }
        }
    }
}

pub(super) async fn show(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let words = page.words();
    let asked = ask.query.get("days").and_then(|days| days.parse().ok());
    let days: u32 = asked
        .filter(|days| [7, 30, 90].contains(days))
        .unwrap_or(30);
    let (events, more) = log::since(page, days, None, None).await?;
    let (bars_of, used) = counted(&events, days);
    let title = say!(words, "activity-title");
    let names = [
        say!(words, "series-handed-out"),
        say!(words, "series-tested"),
        say!(words, "series-changed"),
        say!(words, "series-refused"),
    ];
    let sum = |which: usize| bars_of.iter().map(|day| day.counts[which]).sum::<u64>();
    let body = html! {
        (heading(&title, &say!(words, "activity-lead"), &html! {}))
        (tabs(page, "activity"))
        @if more { (notice("bad", &say!(words, "log-too-many", count = events.len()))) }
        nav.choices aria-label=(say!(words, "since")) {
            @for each in [7, 30, 90] {
                a href=(page.path(&format!("activity?days={each}"))) aria-current=[(each == days).then_some("true")] {
                    (say!(words, "last-days", count = each))
                }
            }
        }
        ul.numbers {
            @for (which, name) in names.iter().enumerate() {
                li.panel { span class={ "dot" " series-" (which) } {} b { (sum(which)) } span { (name) } }
            }
        }
        section.panel {
            h2 { (say!(words, "chart-title")) }
            (bars(&say!(words, "chart-title"), &names, &bars_of))
            (numbers(page, &names, &bars_of))
        }
        section.panel {
            h2 { (say!(words, "most-used-title")) }
            @if used.is_empty() {
                (empty("chart", &say!(words, "most-used-none-title"), &say!(words, "most-used-none"), &html! {}))
            } @else {
                ol.ranking {
                    @for (name, count) in &used {
                        li {
                            (monogram(name.split('/').next().unwrap_or("")))
                            a href=(page.path(&format!("log{}", query(&[("key", name)])))) { bdi { (name) } }
                            b { (count) }
                        }
                    }
                }
            }
        }
    };
    Ok(page.show(Section::Activity, &title, None, &body))
}

/// Days with their counts, and the keys that were handed out most.
fn counted(events: &[AuditEvent], days: u32) -> (Vec<Day>, Vec<(String, u64)>) {
    let now = Timestamp::now();
    let mut counts: BTreeMap<String, Vec<u64>> = (0..i64::from(days))
        .map(|back| {
            let day = now - SignedDuration::from_hours(24 * back);
            (date(&day.to_string()), vec![0; SERIES])
        })
        .collect();
    let mut used: BTreeMap<&str, u64> = BTreeMap::new();
    for event in events {
        let which = series(event);
        if let Some(day) = counts.get_mut(&date(&event.time)) {
            day[which] += 1;
        }
        if let (0, Some(key)) = (which, &event.key) {
            *used.entry(key).or_default() += 1;
        }
    }
    let days = counts
        .into_iter()
        .map(|(date, counts)| Day { date, counts })
        .collect();
    let mut used: Vec<_> = used
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect();
    used.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    used.truncate(MOST_USED);
    (days, used)
}

fn date(time: &str) -> String {
    time.get(..10).unwrap_or(time).to_owned()
}

/// The same as a table: days on which something happened.
fn numbers(page: &Page<'_>, names: &[String], days: &[Day]) -> Markup {
    let words = page.words();
    html! {
        details.more {
            summary { (say!(words, "as-table")) }
            div.scroll tabindex="0" role="region" aria-label=(say!(words, "as-table")) {
                table {
                    thead { tr {
                        th scope="col" { (say!(words, "col-day")) }
                        @for name in names { th.number scope="col" { (name) } }
                    } }
                    tbody {
                        @for day in days.iter().rev().filter(|day| day.counts.iter().any(|count| *count > 0)) {
                            tr { th scope="row" { (day.date) } @for count in &day.counts { td.number { (count) } } }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use akm_core::protocol::CallerInfo;

    #[test]
    fn events_are_counted_on_their_day_and_in_their_series() {
        let today = Timestamp::now().to_string();
        let event = |action: &str, outcome: &str, time: &str| AuditEvent {
            chain: "account".into(),
            seq: 1,
            time: time.to_owned(),
            action: action.to_owned(),
            account: None,
            key: Some("openai/work".into()),
            caller: CallerInfo {
                uid: 0,
                pid: 0,
                exe: String::new(),
            },
            outcome: outcome.to_owned(),
        };
        let events = [
            event("key.get", "ok", &today),
            event("key.get", "denied", &today),
            event("provider.test", "ok", &today),
            event("key.add", "ok", &today),
            event("key.get", "ok", "2001-01-01T00:00:00Z"),
        ];
        let (days, used) = counted(&events, 7);
        assert_eq!(days.len(), 7);
        assert_eq!(days.last().unwrap().counts, [1, 1, 1, 1]);
        assert!(days[..6].iter().all(|day| day.counts == [0, 0, 0, 0]));
        assert_eq!(used, [("openai/work".to_owned(), 2)]);
    }
}
