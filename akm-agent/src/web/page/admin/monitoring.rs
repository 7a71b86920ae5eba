//! Monitoring: what was answered and failed, sizes, the last backup, the disk, the certificate, and alerts.

use akm_core::error::Result;
use akm_core::protocol::{AdminStatus, Observed, OperationCount, ServerStatus};
use maud::{Markup, html};

use super::super::super::answer::Http;
use super::super::super::view::chart::{self, Day};
use super::super::super::view::{badge, maybe_time, notice, time};
use super::super::super::words::say;
use super::super::Page;
use super::tabbed;

pub(in super::super) async fn show(page: &Page<'_>) -> Result<Http> {
    let words = page.words();
    let status = page.ask(AdminStatus {}).await?;
    let body = html! {
        @if let Some(observed) = &status.observed {
            @if observed.alerts.is_empty() { (notice("good", &say!(words, "monitor-fine"))) }
            @for alert in &observed.alerts {
                (notice("bad", &say!(words, "monitor-alert",
                    what = words.token("alert", &alert.alert), time = alert.since.as_str())))
            }
        }
        section.panel { h2 { (say!(words, "monitor-now")) } (facts(page, &status)) }
        @if let Some(observed) = &status.observed {
            section.panel { h2 { (say!(words, "monitor-hours")) } (hours(page, observed)) }
            section.panel {
                h2 { (say!(words, "monitor-operations")) }
                div.scroll tabindex="0" role="region" aria-label=(say!(words, "monitor-operations")) {
                    table {
                        thead { tr {
                            th scope="col" { (say!(words, "monitor-operation")) }
                            th.number scope="col" { (say!(words, "monitor-answered")) }
                            th.number scope="col" { (say!(words, "monitor-failed")) }
                            th.number scope="col" { (say!(words, "monitor-faults")) }
                        } }
                        tbody { @for count in &observed.operations { (row(count)) } }
                    }
                }
                p.hint { (say!(words, "monitor-since")) " " (time(&observed.since)) }
            }
        }
    };
    Ok(tabbed(page, "admin/monitoring", None, &body))
}

fn facts(page: &Page<'_>, status: &ServerStatus) -> Markup {
    let words = page.words();
    let observed = status.observed.as_ref();
    html! {
        dl.facts {
            dt { (say!(words, "admin-accounts")) } dd { (status.accounts) }
            dt { (say!(words, "col-sessions")) } dd { (status.sessions) }
            dt { (say!(words, "monitor-vault")) } dd { (size(status.vault_bytes)) }
            dt { (say!(words, "monitor-backup")) } dd { (maybe_time(words, status.last_backup.as_deref())) }
            @if let Some(copy) = observed.and_then(|observed| observed.offsite.as_ref()) {
                dt { (say!(words, "monitor-offsite")) }
                dd { (time(&copy.at)) " " (badge(if copy.outcome == "ok" { "good" } else { "bad" }, &words.token("offsite", &copy.outcome))) }
            }
            @if let Some(disk) = observed.and_then(|observed| observed.disk.as_ref()) {
                @let parts = disk.free_bytes.saturating_mul(1000).checked_div(disk.total_bytes).unwrap_or(0);
                @let label = say!(words, "monitor-disk-free", free = size(disk.free_bytes), total = size(disk.total_bytes));
                dt { (say!(words, "monitor-disk")) }
                dd { (label) (chart::gauge(&label, parts, parts < 100)) }
            }
            @if let Some(ends) = observed.and_then(|observed| observed.certificate_ends.as_deref()) {
                dt { (say!(words, "monitor-certificate")) } dd { (time(ends)) }
            }
        }
    }
}

fn hours(page: &Page<'_>, observed: &Observed) -> Markup {
    let words = page.words();
    let series = [
        say!(words, "monitor-fine-answers"),
        say!(words, "monitor-refused"),
        say!(words, "monitor-faults"),
    ];
    let days: Vec<Day> = observed
        .hours
        .iter()
        .map(|hour| Day {
            // `2026-11-23 14:00`; the axis shows what is behind the year.
            date: hour.hour.get(..16).unwrap_or_default().replace('T', " "),
            counts: vec![
                hour.answered.saturating_sub(hour.failed),
                hour.failed.saturating_sub(hour.faults),
                hour.faults,
            ],
        })
        .collect();
    html! {
        (chart::bars(&say!(words, "monitor-hours"), &series, &days))
        details.more {
            summary { (say!(words, "as-table")) }
            div.scroll tabindex="0" role="region" aria-label=(say!(words, "as-table")) {
                table {
                    thead { tr {
                        th scope="col" { (say!(words, "col-time")) }
                        @for name in &series { th.number scope="col" { (name) } }
                    } }
                    tbody { @for day in days.iter().rev() {
                        tr { th scope="row" { (day.date) } @for count in &day.counts { td.number { (count) } } }
                    } }
                }
            }
        }
    }
}

fn row(count: &OperationCount) -> Markup {
    html! {
        tr {
            th scope="row" { code { (count.operation) } }
            td.number { (count.answered) }
            td.number { (count.failed) }
            td.number { (count.faults) }
        }
    }
}

/// `12.5 MiB`.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
