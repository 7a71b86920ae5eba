//! Orders of everybody: those that wait for a human first, with a form to decide.

use akm_core::billing::money;
use akm_core::error::{Error, Result};
use akm_core::protocol::{
    AdminOrders, BillingOrderResolve, OrderInfo, OrderPage, OrderState, Resolution,
};
use maud::{Markup, html};

use super::super::super::answer::{self, Http};
use super::super::super::form::query;
use super::super::super::routes::Ask;
use super::super::super::view::{badge, empty, time};
use super::super::super::words::say;
use super::super::Page;
use super::super::membership::order_state;
use super::tabbed;

const ON_A_PAGE: u32 = 100;

pub(in super::super) async fn show(
    page: &Page<'_>,
    ask: &Ask,
    fault: Option<&Error>,
) -> Result<Http> {
    let words = page.words();
    let all = ask.query.get("state") == Some("all");
    let OrderPage { orders, next } = page
        .ask(AdminOrders {
            state: (!all).then_some(OrderState::Held),
            limit: Some(ON_A_PAGE),
            after: ask.query.text("after"),
        })
        .await?;
    let state = if all { "all" } else { "" };
    let body = html! {
        nav.choices aria-label=(say!(words, "admin-orders")) {
            a href=(page.path("admin/orders")) aria-current=[(!all).then_some("page")] { (say!(words, "admin-orders-held")) }
            a href=(page.path("admin/orders?state=all")) aria-current=[all.then_some("page")] { (say!(words, "all")) }
        }
        @if orders.is_empty() {
            (empty("check", &say!(words, "admin-orders-none"), &say!(words, "admin-orders-empty"), &html! {}))
        }
        @for order in &orders { (panel(page, order)) }
        @if let Some(next) = &next {
            p.pager { a.button href=(page.path(&format!("admin/orders{}", query(&[("state", state), ("after", next)])))) { (say!(words, "more")) } }
        }
    };
    Ok(tabbed(page, "admin/orders", fault, &body))
}

fn panel(page: &Page<'_>, order: &OrderInfo) -> Markup {
    let words = page.words();
    let (tone, state) = order_state(words, order.state);
    html! {
        section.panel {
            h2 { bdi.breaks { (order.provider) " " (order.number) } " " (badge(tone, &state)) }
            dl.facts {
                dt { (say!(words, "col-price")) } dd { (money::shown(order.amount, &order.currency)) }
                dt { (say!(words, "col-time")) } dd { (time(&order.paid_at)) }
                dt { (say!(words, "field-account")) } dd { bdi { (order.account.as_deref().unwrap_or("–")) } }
                dt { (say!(words, "col-tier")) } dd { (order.tier.as_deref().unwrap_or("–")) }
                dt { (say!(words, "col-months")) } dd { (order.months) }
                @if let Some(note) = &order.note {
                    dt { (say!(words, "admin-order-look")) } dd { (badge("warn", &words.token("order-note", note))) }
                }
            }
            @if order.state == OrderState::Held { (decide(page, order)) }
        }
    }
}

fn decide(page: &Page<'_>, order: &OrderInfo) -> Markup {
    let words = page.words();
    let id = |name: &str| format!("{name}-{}-{}", order.provider, order.number);
    let field = |name: &str, label: String, value: &str| {
        html! {
            div.field {
                label for=(id(name)) { (label) }
                input id=(id(name)) name=(name) value=(value) autocomplete="off" spellcheck="false";
            }
        }
    };
    let hidden = html! {
        input type="hidden" name="provider" value=(order.provider);
        input type="hidden" name="number" value=(order.number);
    };
    let months = order.months.to_string();
    html! {
        form.inline method="post" action=(page.path("admin/orders")) data-busy {
            (hidden)
            @if order.account.is_none() { (field("account", say!(words, "field-account"), "")) }
            (field("tier", say!(words, "field-tier"), order.tier.as_deref().unwrap_or("")))
            (field("months", say!(words, "col-months"), if order.months == 0 { "" } else { &months }))
            button.primary type="submit" name="resolution" value="grant" { (say!(words, "admin-order-grant")) }
        }
        div.buttons {
            form method="post" action=(page.path("admin/orders")) {
                (hidden)
                button type="submit" name="resolution" value="dismiss" { (say!(words, "admin-order-dismiss")) }
            }
            form method="post" action=(page.path("admin/orders")) {
                (hidden)
                button type="submit" name="resolution" value="refund" { (say!(words, "admin-order-refund")) }
            }
        }
    }
}

pub(in super::super) async fn resolve(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let form = &ask.form;
    let request = || {
        Ok(BillingOrderResolve {
            provider: form.text("provider").unwrap_or_default(),
            number: form.text("number").unwrap_or_default(),
            resolution: match form.get("resolution") {
                Some("grant") => Resolution::Grant,
                Some("dismiss") => Resolution::Dismiss,
                Some("refund") => Resolution::Refund,
                _ => return Err(Error::invalid("resolution", "a required field is missing")),
            },
            account: form.text("account"),
            tier: form.text("tier"),
            months: form.number("months")?,
        })
    };
    let done = match request() {
        Ok(request) => page.ask(request).await.map(drop),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => Ok(answer::see(&page.path("admin/orders?done=changed"))),
        Err(error) => show(page, ask, Some(&error)).await,
    }
}
