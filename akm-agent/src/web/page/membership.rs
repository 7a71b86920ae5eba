//! Membership of a hosted account: where it stands, what there is to have, codes, orders.
//!
//! Nothing is paid here: a seller's page is linked to, and the link says whose the order is.

use akm_core::Secret;
use akm_core::billing::money;
use akm_core::error::{Error, Result};
use akm_core::protocol::{
    BillingOrderLink, BillingOrders, BillingRedeem, BillingStanding, BillingStatus, BillingTiers,
    OrderInfo, OrderLink, OrderState, TierInfo, TierState,
};
use maud::{Markup, html};

use super::super::answer::{self, Http};
use super::super::routes::Ask;
use super::super::view::{Field, Section, badge, end_time, heading, time};
use super::super::words::{Language, Words, say};
use super::{Page, reminders};

pub(super) async fn show(page: &Page<'_>, fault: Option<&Error>) -> Result<Http> {
    draw(page, fault, None).await
}

async fn draw(page: &Page<'_>, fault: Option<&Error>, link: Option<&OrderLink>) -> Result<Http> {
    let words = page.words();
    let standing = page.ask(BillingStatus {}).await?;
    let tiers = page.ask(BillingTiers {}).await?;
    let orders = page.ask(BillingOrders::default()).await?.orders;
    let (notices, contact) = (
        reminders::notices(page).await?,
        reminders::panel(page).await?,
    );
    let title = say!(words, "membership-title");
    let body = html! {
        (heading(&title, "", &html! {}))
        (notices)
        @if let Some(link) = link {
            section.panel {
                h2 { (say!(words, "order-ready")) }
                p { (say!(words, "order-price", price = money::shown(link.amount, &link.currency))) }
                // An address of a provider's, in our own words; it opens elsewhere.
                @if link.url.starts_with("https://") {
                    p.buttons { a.button.primary href=(link.url) rel="noreferrer" target="_blank" { (say!(words, "order-go")) } }
                }
            }
        }
        section.panel { h2 { (say!(words, "membership-standing")) } (stands(page, &standing, &tiers.tiers)) }
        @if !tiers.tiers.is_empty() {
            ul.cards.tiers { @for tier in &tiers.tiers { (card(page, tier, &standing)) } }
        }
        @if tiers.codes {
            section.panel {
                h2 { (say!(words, "redeem-title")) }
                form.inline method="post" action=(page.path("membership/redeem")) data-busy {
                    (Field { name: "code", label: say!(words, "redeem-code"), required: true, ..Field::default() }.show())
                    button.primary type="submit" { (say!(words, "redeem")) }
                }
            }
        }
        (contact)
        @if !standing.history.is_empty() { (history(page, &standing, &tiers.tiers)) }
        @if !orders.is_empty() {
            section.panel {
                h2 { (say!(words, "orders-title")) }
                div.scroll tabindex="0" role="region" aria-label=(say!(words, "orders-title")) {
                    table {
                        thead { tr {
                            th scope="col" { (say!(words, "col-time")) }
                            th scope="col" { (say!(words, "col-tier")) }
                            th.number scope="col" { (say!(words, "col-months")) }
                            th.number scope="col" { (say!(words, "col-price")) }
                            th scope="col" { (say!(words, "col-outcome")) }
                        } }
                        tbody { @for order in &orders { (order_row(page, order, &tiers.tiers)) } }
                    }
                }
            }
        }
    };
    Ok(page.show(Section::Membership, &title, fault, &body))
}

/// What people call a tier.
fn name<'t>(page: &Page<'_>, tier: &'t TierInfo) -> &'t str {
    match page.words().language() {
        Language::English => &tier.name,
        Language::Chinese => &tier.name_zh,
    }
}

/// What people call the tier of an id.
pub(super) fn called<'t>(page: &Page<'_>, id: &'t str, tiers: &'t [TierInfo]) -> &'t str {
    let tier = tiers.iter().find(|tier| tier.tier == id);
    tier.map_or(id, |tier| name(page, tier))
}

fn stands(page: &Page<'_>, standing: &BillingStanding, tiers: &[TierInfo]) -> Markup {
    let words = page.words();
    let tier = called(page, &standing.tier, tiers);
    html! {
        dl.facts {
            dt { (say!(words, "col-tier")) }
            dd {
                (tier) " "
                @match standing.state {
                    TierState::Paid => (badge("good", &say!(words, "tier-paid"))),
                    TierState::Grace => (badge("warn", &say!(words, "tier-grace"))),
                    TierState::None | TierState::Local => "",
                }
            }
            dt { (say!(words, "tier-until")) } dd { (end_time(words, standing.until.as_deref())) }
            dt { (say!(words, "keys-title")) }
            dd {
                @match standing.most_keys {
                    Some(most) => (say!(words, "keys-of", count = standing.keys, most = most)),
                    None => (standing.keys),
                }
            }
        }
    }
}

/// What became of the membership, newest first.
fn history(page: &Page<'_>, standing: &BillingStanding, tiers: &[TierInfo]) -> Markup {
    let words = page.words();
    let title = say!(words, "membership-history");
    html! {
        section.panel {
            h2 { (title) }
            div.scroll tabindex="0" role="region" aria-label=(title) {
                table {
                    thead { tr {
                        th scope="col" { (say!(words, "col-time")) }
                        th scope="col" { (say!(words, "col-tier")) }
                        th scope="col" { (say!(words, "tier-until")) }
                        th scope="col" { (say!(words, "col-outcome")) }
                    } }
                    tbody { @for change in &standing.history {
                        tr {
                            td { (time(&change.time)) }
                            td { (called(page, &change.tier, tiers)) }
                            td { (end_time(words, change.until.as_deref())) }
                            td { (words.token("change", &change.reason)) }
                        }
                    } }
                }
            }
        }
    }
}

fn card(page: &Page<'_>, tier: &TierInfo, standing: &BillingStanding) -> Markup {
    let words = page.words();
    html! {
        li.panel.card {
            div.card-head {
                div { h2 { (name(page, tier)) } }
                @if tier.tier == standing.tier { (badge("good", &say!(words, "tier-yours"))) }
            }
            p.amount { b { (money::shown(tier.price_fen, "CNY")) } span.faint { " " (say!(words, "tier-month")) } }
            p {
                @match tier.keys {
                    Some(keys) => (say!(words, "tier-keys", count = keys)),
                    None => (say!(words, "tier-keys-any")),
                }
            }
            @if let Some(most) = tier.providers { p { (say!(words, "tier-providers", count = most)) } }
            @if let Some(most) = tier.requests_per_minute { p { (say!(words, "tier-requests", count = most)) } }
            @if !tier.sold_by.is_empty() {
                form.inline method="post" action=(page.path("membership/order")) data-busy {
                    input type="hidden" name="tier" value=(tier.tier);
                    label.field {
                        span { (say!(words, "col-months")) }
                        input type="number" name="months" value="1" min="1" max="36";
                    }
                    button type="submit" { (say!(words, "tier-order")) }
                }
            }
        }
    }
}

/// What became of an order, and its colour.
pub(super) fn order_state(words: Words<'_>, state: OrderState) -> (&'static str, String) {
    match state {
        OrderState::Held => ("warn", say!(words, "order-held")),
        OrderState::Paid => ("good", say!(words, "order-paid")),
        OrderState::Refunded => ("plain", say!(words, "order-refunded")),
        OrderState::Dismissed => ("plain", say!(words, "order-dismissed")),
    }
}

fn order_row(page: &Page<'_>, order: &OrderInfo, tiers: &[TierInfo]) -> Markup {
    let words = page.words();
    let tier = order.tier.as_deref().map(|id| called(page, id, tiers));
    let (tone, state) = order_state(words, order.state);
    html! {
        tr {
            td { (time(&order.paid_at)) }
            td { (tier.unwrap_or("–")) }
            td.number { (order.months) }
            td.number { (money::shown(order.amount, &order.currency)) }
            td { (badge(tone, &state)) }
        }
    }
}

pub(super) async fn order(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let request = || {
        Ok(BillingOrderLink {
            tier: ask.form.text("tier").unwrap_or_default(),
            months: ask.form.number("months")?,
            provider: None,
        })
    };
    let link = match request() {
        Ok(request) => page.ask(request).await,
        Err(error) => Err(error),
    };
    match link {
        Ok(link) => draw(page, None, Some(&link)).await,
        Err(error) => show(page, Some(&error)).await,
    }
}

pub(super) async fn redeem(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let code = ask.form.get("code").map(str::to_owned);
    let redeemed = match code {
        Some(code) => {
            let code = Secret::new(code);
            page.ask(BillingRedeem { code }).await.map(drop)
        }
        None => Err(Error::invalid("code", "a required field is missing")),
    };
    match redeemed {
        Ok(()) => Ok(answer::see(&page.path("membership?done=redeemed"))),
        Err(error) => show(page, Some(&error)).await,
    }
}
