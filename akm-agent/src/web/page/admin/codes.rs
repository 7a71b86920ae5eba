//! Redeem codes: made and shown once, listed without themselves, taken back.

use akm_core::error::{Error, Result};
use akm_core::protocol::{
    AdminCodeRevoke, AdminCodes, BillingCodesCreate, BillingTiers, CodeInfo, CodePage, CodeState,
    RedeemCodes,
};
use maud::{Markup, html};

use super::super::super::answer::{self, Http};
use super::super::super::form::query;
use super::super::super::routes::Ask;
use super::super::super::view::{badge, empty, end_time, time};
use super::super::super::words::say;
use super::super::Page;
use super::tabbed;

const ON_A_PAGE: u32 = 100;

pub(in super::super) async fn show(
    page: &Page<'_>,
    ask: &Ask,
    fault: Option<&Error>,
) -> Result<Http> {
    draw(page, ask, fault, None).await
}

async fn draw(
    page: &Page<'_>,
    ask: &Ask,
    fault: Option<&Error>,
    made: Option<&RedeemCodes>,
) -> Result<Http> {
    let words = page.words();
    let tiers = page.ask(BillingTiers {}).await?;
    if !tiers.codes {
        let body = html! { p.faint { (say!(words, "admin-codes-off")) } };
        return Ok(tabbed(page, "admin/codes", fault, &body));
    }
    let CodePage { codes, next } = page
        .ask(AdminCodes {
            limit: Some(ON_A_PAGE),
            after: ask.query.text("after"),
        })
        .await?;
    let body = html! {
        @if let Some(made) = made {
            section.panel {
                h2 { (say!(words, "admin-codes-made")) }
                p.faint { (say!(words, "admin-codes-once")) }
                ul.versions { @for code in &made.codes { li { code.breaks { (code.expose()) } } } }
            }
        }
        section.panel {
            h2 { (say!(words, "admin-codes-make")) }
            form.inline method="post" action=(page.path("admin/codes")) data-busy {
                label.field {
                    span { (say!(words, "field-tier")) }
                    select name="tier" { @for tier in tiers.tiers.iter().skip(1) { option value=(tier.tier) { (tier.tier) } } }
                }
                label.field { span { (say!(words, "col-months")) } input type="number" name="months" value="1" min="1" max="120"; }
                label.field { span { (say!(words, "admin-codes-count")) } input type="number" name="count" value="1" min="1" max="1000"; }
                label.field { span { (say!(words, "admin-codes-until")) } input type="date" name="expires_at"; }
                button.primary type="submit" { (say!(words, "admin-codes-make")) }
            }
        }
        @if codes.is_empty() {
            (empty("check", &say!(words, "admin-codes-none"), &say!(words, "admin-codes-empty"), &html! {}))
        }
        @else {
            div.scroll tabindex="0" role="region" aria-label=(say!(words, "admin-codes")) {
                table {
                    thead { tr {
                        th scope="col" { (say!(words, "admin-code")) }
                        th scope="col" { (say!(words, "col-tier")) }
                        th.number scope="col" { (say!(words, "col-months")) }
                        th scope="col" { (say!(words, "col-outcome")) }
                        th scope="col" { (say!(words, "field-created")) }
                        th scope="col" { (say!(words, "admin-codes-until")) }
                        th scope="col" { }
                    } }
                    tbody { @for code in &codes { (row(page, code)) } }
                }
            }
        }
        @if let Some(next) = &next {
            p.pager { a.button href=(page.path(&format!("admin/codes{}", query(&[("after", next)])))) { (say!(words, "more")) } }
        }
    };
    Ok(tabbed(page, "admin/codes", fault, &body))
}

fn row(page: &Page<'_>, code: &CodeInfo) -> Markup {
    let words = page.words();
    let tone = match code.state {
        CodeState::Open => "good",
        CodeState::Used | CodeState::Expired => "plain",
    };
    html! {
        tr {
            th scope="row" { code { (code.id.get(..12).unwrap_or(&code.id)) } }
            td { (code.tier) }
            td.number { (code.months) }
            td { (badge(tone, &words.token("code", code.state.token()))) }
            td { (time(&code.created_at)) }
            td { (end_time(words, code.expires_at.as_deref())) }
            td {
                @if code.state != CodeState::Used {
                    form method="post" action=(page.path("admin/codes/revoke")) {
                        input type="hidden" name="id" value=(code.id);
                        button.link.bad-text type="submit" { (say!(words, "admin-code-revoke")) }
                    }
                }
            }
        }
    }
}

pub(in super::super) async fn make(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let form = &ask.form;
    let request = || {
        Ok(BillingCodesCreate {
            tier: form.text("tier").unwrap_or_default(),
            months: form.number("months")?.unwrap_or(1),
            count: form.number("count")?,
            expires_at: form.text("expires_at"),
        })
    };
    let made = match request() {
        Ok(request) => page.ask(request).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(made) => draw(page, ask, None, Some(&made)).await,
        Err(error) => show(page, ask, Some(&error)).await,
    }
}

pub(in super::super) async fn revoke(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let id = ask.form.text("id").unwrap_or_default();
    match page.ask(AdminCodeRevoke { id }).await {
        Ok(_) => Ok(answer::see(&page.path("admin/codes?done=removed"))),
        Err(error) => show(page, ask, Some(&error)).await,
    }
}
