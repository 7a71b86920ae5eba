//! Tiers: what there is to have, and a form for each and for a new one.

use akm_core::billing::money;
use akm_core::error::{Error, Result};
use akm_core::protocol::{AdminTier, BillingTiers, TierInfo};
use maud::{Markup, html};

use super::super::super::answer::{self, Http};
use super::super::super::form::Form;
use super::super::super::routes::Ask;
use super::super::super::words::say;
use super::super::Page;
use super::tabbed;

pub(in super::super) async fn show(page: &Page<'_>, fault: Option<&Error>) -> Result<Http> {
    let words = page.words();
    let tiers = page.ask(BillingTiers {}).await?.tiers;
    if tiers.is_empty() {
        let body = html! { p.faint { (say!(words, "admin-tiers-off")) } };
        return Ok(tabbed(page, "admin/tiers", fault, &body));
    }
    let body = html! {
        p.faint { (say!(words, "admin-tiers-lead")) }
        @for (index, tier) in tiers.iter().enumerate() {
            section.panel { h2 { bdi { (tier.name) } " " code.faint { (tier.tier) } } (form(page, index, Some(tier))) }
        }
        section.panel { h2 { (say!(words, "admin-tier-new")) } (form(page, tiers.len(), None)) }
    };
    Ok(tabbed(page, "admin/tiers", fault, &body))
}

fn form(page: &Page<'_>, index: usize, tier: Option<&TierInfo>) -> Markup {
    let words = page.words();
    let price = |fen: i64| format!("{}.{:02}", fen / 100, fen % 100);
    let text = |limit: Option<u64>| limit.map(|most| most.to_string()).unwrap_or_default();
    let field = |name: &str, label: String, kind: &str, value: String, required: bool| {
        html! {
            div.field {
                label for=(format!("{name}-{index}")) { (label) }
                input id=(format!("{name}-{index}")) type=(kind) name=(name) value=(value) required[required]
                    autocomplete="off" min=[(kind == "number").then_some("0")]
                    placeholder=[(kind == "number").then(|| say!(words, "admin-no-limit"))];
            }
        }
    };
    html! {
        form.form method="post" action=(page.path("admin/tiers")) data-busy {
            div.pair {
                @match tier {
                    Some(tier) => input type="hidden" name="tier" value=(tier.tier);,
                    None => (field("tier", say!(words, "field-tier"), "text", String::new(), true)),
                }
                (field("name", say!(words, "admin-tier-name"), "text", tier.map(|tier| tier.name.clone()).unwrap_or_default(), true))
                (field("name_zh", say!(words, "admin-tier-name-zh"), "text", tier.map(|tier| tier.name_zh.clone()).unwrap_or_default(), true))
                (field("price", say!(words, "admin-tier-price"), "text", tier.map(|tier| price(tier.price_fen)).unwrap_or_default(), true))
                (field("keys", say!(words, "admin-limit"), "number", tier.map(|tier| text(tier.keys)).unwrap_or_default(), false))
                (field("providers", say!(words, "admin-most-providers"), "number", tier.map(|tier| text(tier.providers.map(u64::from))).unwrap_or_default(), false))
                (field("requests_per_minute", say!(words, "admin-most-requests"), "number", tier.map(|tier| text(tier.requests_per_minute.map(u64::from))).unwrap_or_default(), false))
            }
            div.buttons { button.primary type="submit" { (say!(words, "save")) } }
        }
    }
}

fn request(form: &Form) -> Result<AdminTier> {
    let needed = |name: &'static str| {
        form.text(name)
            .ok_or_else(|| Error::invalid(name, "a required field is missing"))
    };
    Ok(AdminTier {
        tier: needed("tier")?,
        name: needed("name")?,
        name_zh: needed("name_zh")?,
        price_fen: money::minor(&needed("price")?, 2).map_err(|error| error.with_field("price"))?,
        keys: form.number("keys")?,
        providers: form.number("providers")?,
        requests_per_minute: form.number("requests_per_minute")?,
    })
}

pub(in super::super) async fn put(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let put = match request(&ask.form) {
        Ok(request) => page.ask(request).await.map(drop),
        Err(error) => Err(error),
    };
    match put {
        Ok(()) => Ok(answer::see(&page.path("admin/tiers?done=changed"))),
        Err(error) => show(page, Some(&error)).await,
    }
}
