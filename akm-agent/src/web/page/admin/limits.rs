//! Limits: what holds on this server, for each tier, and for single accounts.

use akm_core::error::Result;
use akm_core::protocol::{AdminAccounts, AdminStatus, BillingTiers};
use maud::html;

use super::super::super::answer::Http;
use super::super::super::words::say;
use super::super::Page;
use super::{MAX_ACCOUNTS, tabbed};

pub(in super::super) async fn show(page: &Page<'_>) -> Result<Http> {
    let words = page.words();
    let status = page.ask(AdminStatus {}).await?;
    let tiers = page.ask(BillingTiers {}).await?.tiers;
    let accounts = page
        .ask(AdminAccounts {
            limit: Some(MAX_ACCOUNTS),
            after: None,
        })
        .await?
        .accounts;
    let limited: Vec<_> = accounts
        .iter()
        .filter_map(|account| Some((account, account.key_limit?)))
        .collect();
    let most = |limit: Option<u64>| {
        limit.map_or_else(|| say!(words, "admin-no-limit"), |most| most.to_string())
    };
    let body = html! {
        @if let Some(rules) = &status.rules {
            section.panel {
                h2 { (say!(words, "admin-limits-server")) }
                dl.facts {
                    dt { (say!(words, "admin-registration")) } dd { (words.token("registration", &rules.registration)) }
                    dt { (say!(words, "col-totp")) } dd { @if rules.totp_required { (say!(words, "yes")) } @else { (say!(words, "no")) } }
                    dt { (say!(words, "admin-session-idle")) } dd { (say!(words, "admin-minutes", count = rules.idle_s / 60)) }
                    dt { (say!(words, "admin-session-longest")) } dd { (say!(words, "admin-minutes", count = rules.absolute_s / 60)) }
                    dt { (say!(words, "admin-limit")) } dd { (most(rules.keys_per_account)) }
                }
                p.hint { (say!(words, "admin-limits-where")) }
            }
        }
        section.panel {
            h2 { (say!(words, "admin-tiers")) }
            @if tiers.is_empty() { p.faint { (say!(words, "admin-tiers-off")) } }
            @else {
                div.scroll tabindex="0" role="region" aria-label=(say!(words, "admin-tiers")) {
                    table {
                        thead { tr {
                            th scope="col" { (say!(words, "col-tier")) }
                            th.number scope="col" { (say!(words, "admin-limit")) }
                            th.number scope="col" { (say!(words, "admin-most-providers")) }
                            th.number scope="col" { (say!(words, "admin-most-requests")) }
                        } }
                        tbody { @for tier in &tiers { tr {
                            th scope="row" { (tier.tier) }
                            td.number { (most(tier.keys)) }
                            td.number { (most(tier.providers.map(u64::from))) }
                            td.number { (most(tier.requests_per_minute.map(u64::from))) }
                        } } }
                    }
                }
                p.hint { a href=(page.path("admin/tiers")) { (say!(words, "admin-limits-change")) } }
            }
        }
        section.panel {
            h2 { (say!(words, "admin-limits-accounts")) }
            @if limited.is_empty() { p.faint { (say!(words, "admin-limits-none")) } }
            ul.versions { @for (account, limit) in &limited { li { bdi { (account.account) } span { (limit) } } } }
            p.hint { a href=(page.path("admin")) { (say!(words, "admin-limits-change")) } }
        }
    };
    Ok(tabbed(page, "admin/limits", None, &body))
}
