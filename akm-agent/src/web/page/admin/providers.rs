//! Providers that every account has.

use akm_core::error::{Error, Result};
use akm_core::protocol::{AdminProviderPut, AdminProviderRemove, ProviderInfo, ProviderList};
use maud::{Markup, html};

use super::super::super::answer::{self, Http};
use super::super::super::routes::Ask;
use super::super::super::view::monogram;
use super::super::super::words::say;
use super::super::{Page, catalogue};
use super::tabbed;

pub(in super::super) async fn show(
    page: &Page<'_>,
    ask: &Ask,
    fault: Option<&Error>,
) -> Result<Http> {
    let words = page.words();
    let shared = page.ask(ProviderList {}).await?.providers;
    let shared: Vec<ProviderInfo> = shared.into_iter().filter(|known| known.shared).collect();
    let body = html! {
        p.faint { (say!(words, "admin-providers-lead")) }
        @if !shared.is_empty() { ul.cards { @for provider in &shared { (card(page, provider)) } } }
        section.panel {
            h2 { (say!(words, "admin-provider-put")) }
            form.form method="post" action=(page.path("admin/providers")) data-busy {
                (catalogue::fields(page, ask, fault))
                div.buttons { button.primary type="submit" { (say!(words, "save")) } }
            }
        }
    };
    Ok(tabbed(page, "admin/providers", fault, &body))
}

fn card(page: &Page<'_>, provider: &ProviderInfo) -> Markup {
    let words = page.words();
    let address = provider.endpoints.first();
    html! {
        li.panel.card {
            div.card-head {
                (monogram(&provider.id))
                div { h2 { bdi { (provider.name) } } code.faint { (provider.id) } }
            }
            @if let Some(address) = address { p.faint.breaks { bdi { (address.base_url) } } }
            div.card-foot {
                form method="post" action=(page.path("admin/providers/remove")) {
                    input type="hidden" name="name" value=(provider.id);
                    button.link.bad-text type="submit" { (say!(words, "remove")) }
                }
            }
        }
    }
}

pub(in super::super) async fn put(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let put = match catalogue::record(&ask.form) {
        Ok(record) => page.ask(AdminProviderPut { record }).await.map(drop),
        Err(error) => Err(error),
    };
    match put {
        Ok(()) => Ok(answer::see(
            &page.path("admin/providers?done=provider-added"),
        )),
        Err(error) => show(page, ask, Some(&error)).await,
    }
}

pub(in super::super) async fn remove(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let name = ask.form.text("name").unwrap_or_default();
    match page.ask(AdminProviderRemove { name }).await {
        Ok(_) => Ok(answer::see(
            &page.path("admin/providers?done=provider-removed"),
        )),
        Err(error) => show(page, ask, Some(&error)).await,
    }
}
