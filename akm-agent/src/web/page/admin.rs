//! Administration of a server: accounts with their counts, invitations, the system's log; in rooms of their own tiers,
//! orders, redeem codes, providers, limits, monitoring. Whoever has the role sees names
//! and numbers here, and nobody's keys: there is no operation that would show one.

mod codes;
mod limits;
mod monitoring;
mod orders;
mod providers;
mod tiers;

use akm_core::error::{Error, Kind, Result};
use akm_core::protocol::{
    AccountSummary, AdminAccount, AdminAccounts, AdminInvite, AdminLog, AdminRemove, AuditEvent,
    Invitation, Role,
};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::super::answer::{self, Http};
use super::super::routes::Ask;
use super::super::view::{Section, badge, heading, time};
use super::super::words::say;
use super::{Page, account};

/// Accounts and events on the page.
const MAX_ACCOUNTS: u32 = 1000;
const MAX_EVENTS: u32 = 200;

/// Everything below `admin`, for administrators alone: also what anybody may ask for is theirs to see here.
pub(super) async fn route(
    page: &Page<'_>,
    posts: bool,
    path: &str,
    ask: &Ask,
) -> Result<Option<Http>> {
    if page.role != Role::Admin {
        return Err(Error::new(Kind::Denied, "this is for an administrator"));
    }
    let http = match (posts, path) {
        (false, "") => show(page, None).await?,
        (true, "account") => change(page, ask).await?,
        (true, "remove") => remove(page, ask).await?,
        (true, "invite") => invite(page, ask).await?,
        (false, "tiers") => tiers::show(page, None).await?,
        (true, "tiers") => tiers::put(page, ask).await?,
        (false, "orders") => orders::show(page, ask, None).await?,
        (true, "orders") => orders::resolve(page, ask).await?,
        (false, "codes") => codes::show(page, ask, None).await?,
        (true, "codes") => codes::make(page, ask).await?,
        (true, "codes/revoke") => codes::revoke(page, ask).await?,
        (false, "providers") => providers::show(page, ask, None).await?,
        (true, "providers") => providers::put(page, ask).await?,
        (true, "providers/remove") => providers::remove(page, ask).await?,
        (false, "limits") => limits::show(page).await?,
        (false, "monitoring") => monitoring::show(page).await?,
        _ => return Ok(None),
    };
    Ok(Some(http))
}

/// A page of administration, under the names of all of them.
fn tabbed(page: &Page<'_>, current: &str, fault: Option<&Error>, body: &Markup) -> Http {
    let words = page.words();
    let title = say!(words, "admin-title");
    let tabs = [
        ("admin", say!(words, "admin-accounts")),
        ("admin/tiers", say!(words, "admin-tiers")),
        ("admin/orders", say!(words, "admin-orders")),
        ("admin/codes", say!(words, "admin-codes")),
        ("admin/providers", say!(words, "admin-providers")),
        ("admin/limits", say!(words, "admin-limits")),
        ("admin/monitoring", say!(words, "admin-monitoring")),
    ];
    let body = html! {
        (heading(&title, &say!(words, "admin-lead"), &html! {}))
        nav.choices aria-label=(title) {
            @for (path, name) in &tabs {
                a href=(page.path(path)) aria-current=[(*path == current).then_some("page")] { (name) }
            }
        }
        (body)
    };
    page.show(Section::Admin, &title, fault, &body)
}

async fn show(page: &Page<'_>, fault: Option<&Error>) -> Result<Http> {
    draw(page, fault, None).await
}

async fn draw(
    page: &Page<'_>,
    fault: Option<&Error>,
    invitation: Option<&Invitation>,
) -> Result<Http> {
    let words = page.words();
    let accounts = page
        .ask(AdminAccounts {
            limit: Some(MAX_ACCOUNTS),
            after: None,
        })
        .await?
        .accounts;
    let since = Timestamp::now() - SignedDuration::from_hours(7 * 24);
    // A server may keep its log for whoever is on the host.
    let events = page
        .ask(AdminLog {
            since: Some(since.to_string()),
            limit: Some(MAX_EVENTS),
            ..AdminLog::default()
        })
        .await
        .map(|found| found.events)
        .unwrap_or_default();
    let body = html! {
        section.panel {
            h2 { (say!(words, "admin-invite-title")) }
            @if let Some(made) = invitation {
                p { (say!(words, "admin-invited", time = made.expires_at.as_str())) }
                p { code.breaks { (made.invitation.expose()) } }
            }
            p.faint { (say!(words, "admin-invite-lead")) }
            form.inline method="post" action=(page.path("admin/invite")) data-busy {
                div.field {
                    label for="f-uses" { (say!(words, "admin-uses")) }
                    input id="f-uses" type="number" name="uses" value="1" min="1" max="1000";
                }
                div.field {
                    label for="f-days" { (say!(words, "admin-days")) }
                    input id="f-days" type="number" name="days" value="7" min="1" max="365";
                }
                button.primary type="submit" { (say!(words, "admin-invite")) }
            }
        }
        section.panel {
            h2 { (say!(words, "admin-accounts")) }
            div.scroll tabindex="0" role="region" aria-label=(say!(words, "admin-accounts")) {
                table {
                    thead { tr {
                        th scope="col" { (say!(words, "field-account")) }
                        th scope="col" { (say!(words, "col-role")) }
                        th scope="col" { (say!(words, "col-tier")) }
                        th.number scope="col" { (say!(words, "col-keys")) }
                        th.number scope="col" { (say!(words, "col-sessions")) }
                        th scope="col" { (say!(words, "col-totp")) }
                        th scope="col" { (say!(words, "field-created")) }
                        th scope="col" { (say!(words, "col-limit")) }
                    } }
                    tbody { @for account in &accounts { (row(page, account)) } }
                }
            }
        }
        @if !events.is_empty() {
            section.panel {
                h2 { (say!(words, "admin-log-title")) }
                div.scroll tabindex="0" role="region" aria-label=(say!(words, "admin-log-title")) {
                    table.log { tbody { @for event in events.iter().rev() { (happened(page, event)) } } }
                }
            }
        }
    };
    Ok(tabbed(page, "admin", fault, &body))
}

fn row(page: &Page<'_>, of: &AccountSummary) -> Markup {
    let words = page.words();
    let limit = of.key_limit.map(|limit| limit.to_string());
    // Nobody disables the own account: it could not be undone here.
    let own = page.status.account.as_deref() == Some(of.account.as_str());
    html! {
        tr {
            th scope="row" {
                bdi { (of.account) }
                @if of.disabled { " " (badge("bad", &say!(words, "disabled"))) }
            }
            td { (words.token("role", of.role.token())) }
            td { (of.tier) }
            td.number { (of.keys) }
            td.number { (of.sessions) }
            td { @if of.totp { (say!(words, "yes")) } @else { (say!(words, "no")) } }
            td { (time(&of.created_at)) }
            td {
                form.inline method="post" action=(page.path("admin/account")) {
                    input type="hidden" name="account" value=(of.account);
                    input type="number" name="key_limit" min="0" value=(limit.unwrap_or_default())
                        placeholder=(say!(words, "admin-no-limit"))
                        aria-label=(format!("{}: {}", say!(words, "admin-limit"), of.account));
                    button type="submit" { (say!(words, "save")) }
                }
                @if !own {
                    form method="post" action=(page.path("admin/account")) {
                        input type="hidden" name="account" value=(of.account);
                        input type="hidden" name="disabled" value=(!of.disabled);
                        button.link type="submit" {
                            @if of.disabled { (say!(words, "admin-enable")) } @else { (say!(words, "admin-disable")) }
                        }
                    }
                }
                @if of.role == Role::User {
                    details.more {
                        summary { (say!(words, "admin-remove")) }
                        form.form method="post" action=(page.path("admin/remove")) data-busy {
                            input type="hidden" name="account" value=(of.account);
                            (account::passphrase_field(words, &format!("remove-{}", of.account)))
                            button.bad type="submit" { (say!(words, "admin-remove")) }
                        }
                    }
                }
            }
        }
    }
}

fn happened(page: &Page<'_>, event: &AuditEvent) -> Markup {
    let words = page.words();
    let (tone, outcome) = match event.outcome.as_str() {
        "ok" => ("good", say!(words, "outcome-ok")),
        kind => ("bad", words.token("kind", kind)),
    };
    html! {
        tr {
            td { (time(&event.time)) }
            td { code { (event.action) } }
            td { (badge(tone, &outcome)) }
            td { bdi { (event.caller.exe) } }
        }
    }
}

/// Switches an account on or off, or says how many keys it may have; an empty limit is none.
async fn change(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let form = &ask.form;
    let account = form
        .text("account")
        .ok_or_else(|| Error::invalid("account", "a required field is missing"))?;
    let request = match form.get("disabled") {
        Some(disabled) => AdminAccount {
            account,
            disabled: Some(disabled == "true"),
            key_limit: None,
            no_key_limit: None,
        },
        None => {
            let limit = form.number("key_limit")?;
            AdminAccount {
                account,
                disabled: None,
                no_key_limit: limit.is_none().then_some(true),
                key_limit: limit,
            }
        }
    };
    match page.ask(request).await {
        Ok(_) => Ok(answer::see(&page.path("admin?done=account-changed"))),
        Err(error) => show(page, Some(&error)).await,
    }
}

/// Removes an account; the administrator's own passphrase stands for that it is meant.
async fn remove(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let request = AdminRemove {
        account: ask.form.text("account").unwrap_or_default(),
        passphrase: ask.form.secret("passphrase"),
    };
    match page.ask(request).await {
        Ok(_) => Ok(answer::see(&page.path("admin?done=account-removed"))),
        Err(error) => show(page, Some(&error)).await,
    }
}

async fn invite(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let request = || {
        Ok(AdminInvite {
            uses: ask.form.number("uses")?,
            days: ask.form.number("days")?,
        })
    };
    let made = match request() {
        Ok(request) => page.ask(request).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(made) => draw(page, None, Some(&made)).await,
        Err(error) => show(page, Some(&error)).await,
    }
}
