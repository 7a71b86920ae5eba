//! Providers, those of one's own among them, and models with their prices.

use akm_core::error::{Error, Result};
use akm_core::protocol::{
    ModelInfo, ModelList, PriceInfo, ProviderAdd, ProviderInfo, ProviderList, ProviderRemove,
    Record,
};
use maud::{Markup, html};
use serde_json::json;

use super::super::answer::{self, Http};
use super::super::form::{Form, query};
use super::super::routes::Ask;
use super::super::view::{Field, Section, badge, empty, heading, icon, monogram, select, tick};
use super::super::words::{Language, say};
use super::{Page, key};
use crate::cli::provider::{Simple, variable};

/// Models on one page; more are found by narrowing.
const MAX_MODELS: usize = 200;

fn tabs(page: &Page<'_>, current: &str) -> Markup {
    let words = page.words();
    let tabs = [
        ("providers", say!(words, "providers-title")),
        ("models", say!(words, "models-title")),
    ];
    html! {
        nav.tabs aria-label=(say!(words, "nav-providers")) {
            @for (path, name) in &tabs {
                a href=(page.path(path)) aria-current=[(*path == current).then_some("page")] { (name) }
            }
        }
    }
}

fn name_of<'p>(page: &Page<'_>, provider: &'p ProviderInfo) -> &'p str {
    match page.words().language() {
        Language::English => &provider.name,
        Language::Chinese => &provider.name_zh,
    }
}

pub(super) async fn providers(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let words = page.words();
    let known = page.ask(ProviderList {}).await?.providers;
    let text = ask.query.get("q").unwrap_or("");
    let wanted = text.to_lowercase();
    let holds = |text: &str| text.to_lowercase().contains(&wanted);
    let found: Vec<&ProviderInfo> = known
        .iter()
        .filter(|known| holds(&known.id) || holds(&known.name) || holds(&known.name_zh))
        .collect();
    let title = say!(words, "providers-title");
    let add = html! {
        a.button.primary href=(page.path("providers/new")) { (icon("plus")) (say!(words, "add-provider")) }
    };
    let body = html! {
        (heading(&title, &say!(words, "providers-count", count = known.len()), &add))
        (tabs(page, "providers"))
        form.toolbar method="get" action=(page.path("providers")) role="search" {
            label.field.search {
                span { (say!(words, "search")) }
                input type="search" name="q" value=(text) data-slash autocomplete="off" spellcheck="false";
            }
            div.toolbar-buttons { button type="submit" { (icon("search")) (say!(words, "filter")) } }
        }
        @if found.is_empty() {
            (empty("search", &say!(words, "no-match-title"), &say!(words, "no-match"), &html! {}))
        } @else {
            ul.cards { @for provider in found { (card(page, provider)) } }
        }
    };
    Ok(page.show(Section::Catalogue, &title, None, &body))
}

fn card(page: &Page<'_>, provider: &ProviderInfo) -> Markup {
    let words = page.words();
    let add = page.path(&format!("keys/new{}", query(&[("provider", &provider.id)])));
    let models = page.path(&format!("models{}", query(&[("provider", &provider.id)])));
    let address = provider
        .endpoints
        .first()
        .map(|first| first.base_url.as_str());
    html! {
        li.panel.card {
            div.card-head {
                (monogram(&provider.id))
                div { h2 { bdi { (name_of(page, provider)) } } code.faint { (provider.id) } }
                @if provider.own { (badge("good", &say!(words, "provider-own"))) }
                @else if provider.shared { (badge("good", &say!(words, "provider-shared"))) }
                @else if provider.status != "active" {
                    (badge("warn", &words.token("provider", &provider.status)))
                }
            }
            @if let Some(address) = address { p.faint.breaks { bdi { (address) } } }
            p.card-facts {
                code { (provider.env) }
                @if !provider.test.proves_key { " · " (say!(words, "unproven")) }
            }
            div.card-foot {
                a href=(add) { (say!(words, "add-key")) }
                @if provider.models > 0 { a href=(models) { (say!(words, "models-count", count = provider.models)) } }
                // Only addresses: a record of one's own may say anything.
                @if let Some(console) = provider.console_url.as_deref().filter(|url| url.starts_with("https://")) {
                    a href=(console) rel="noreferrer" target="_blank" { (say!(words, "console")) }
                }
                @if provider.own {
                    form method="post" action=(page.path("providers/remove")) {
                        input type="hidden" name="name" value=(provider.id);
                        button.link.bad-text type="submit" { (say!(words, "remove")) }
                    }
                }
            }
        }
    }
}

pub(super) fn new(page: &Page<'_>, ask: &Ask, fault: Option<&Error>) -> Http {
    let words = page.words();
    let title = say!(words, "provider-add-title");
    let body = html! {
        p.crumb { a href=(page.path("providers")) { (say!(words, "providers-title")) } (icon("next")) span { (title) } }
        (heading(&title, &say!(words, "provider-add-lead"), &html! {}))
        form.panel.form method="post" action=(page.path("providers/new")) data-busy {
            (fields(page, ask, fault))
            div.buttons {
                button.primary type="submit" { (say!(words, "add-provider")) }
                a.button.quiet href=(page.path("providers")) { (say!(words, "cancel")) }
            }
        }
    };
    page.show(Section::Catalogue, &title, fault, &body)
}

/// What is asked for of a new provider.
pub(super) fn fields(page: &Page<'_>, ask: &Ask, fault: Option<&Error>) -> Markup {
    let words = page.words();
    let value = |name| ask.form.get(name).unwrap_or("");
    let wrong = |name: &str| fault.and_then(Error::field) == Some(name);
    html! {
        (Field {
            name: "id", label: say!(words, "field-provider-id"), value: value("id"), hint: say!(words, "provider-id-hint"),
            required: true, autofocus: true, wrong: wrong("record"), ..Field::default()
        }.show())
        (Field {
            name: "base_url", label: say!(words, "field-base-url"), value: value("base_url"), hint: say!(words, "provider-url-hint"),
            required: true, wrong: wrong("base_url"), ..Field::default()
        }.show())
        (Field {
            name: "header", label: say!(words, "field-header"), value: value("header"), hint: say!(words, "header-hint"), ..Field::default()
        }.show())
        (Field {
            name: "env", label: say!(words, "field-env"), value: value("env"), hint: say!(words, "env-hint"), ..Field::default()
        }.show())
        (tick("proves_key", &say!(words, "proves-key"), &say!(words, "proves-key-hint"), ask.form.ticked("proves_key")))
    }
}

/// The record that such a form says.
pub(super) fn record(form: &Form) -> Result<Record> {
    let name = form.text("id").unwrap_or_default();
    let auth = match form.get("header") {
        None => json!({"style": "bearer"}),
        Some(header) => json!({"style": "header", "header": header.to_ascii_lowercase()}),
    };
    Simple {
        env: form.text("env").unwrap_or_else(|| variable(&name)),
        name,
        base_url: form.text("base_url").unwrap_or_default(),
        auth,
        test_path: None,
        proves_key: form.ticked("proves_key"),
    }
    .record()
}

pub(super) async fn add(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let added = match record(&ask.form) {
        Ok(record) => page.ask(ProviderAdd { record }).await,
        Err(error) => Err(error),
    };
    match added {
        Ok(_) => Ok(answer::see(&page.path("providers?done=provider-added"))),
        Err(error) => Ok(new(page, ask, Some(&error))),
    }
}

pub(super) async fn remove(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let name = key::name(&ask.form)?;
    page.ask(ProviderRemove { name }).await?;
    Ok(answer::see(&page.path("providers?done=provider-removed")))
}

pub(super) async fn models(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let words = page.words();
    let all = page.ask(ModelList::default()).await?;
    let title = say!(words, "models-title");
    let mut providers: Vec<_> = all.models.iter().map(|model| &model.provider).collect();
    providers.sort();
    providers.dedup();
    let providers: Vec<_> = providers
        .into_iter()
        .map(|id| (id.clone(), id.clone()))
        .collect();
    let categories: Vec<_> = akm_core::provider::models::Category::ALL
        .iter()
        .map(|category| {
            let token = category.token();
            (token.to_owned(), words.token("category", token))
        })
        .collect();
    let (provider, category) = (ask.query.get("provider"), ask.query.get("category"));
    let text = ask.query.get("q").unwrap_or("");
    let wanted = text.to_lowercase();
    let holds = |text: &str| text.to_lowercase().contains(&wanted);
    let found: Vec<&ModelInfo> = all
        .models
        .iter()
        .filter(|model| provider.is_none_or(|wanted| model.provider == wanted))
        .filter(|model| category.is_none_or(|wanted| model.category == wanted))
        .filter(|model| holds(&model.id) || holds(&model.name))
        .collect();
    let every = say!(words, "all");
    let about = say!(
        words,
        "models-about",
        count = all.models.len(),
        day = all.compiled.as_str()
    );
    let body = html! {
        (heading(&title, &about, &html! {}))
        (tabs(page, "models"))
        form.toolbar method="get" action=(page.path("models")) role="search" {
            label.field.search {
                span { (say!(words, "search")) }
                input type="search" name="q" value=(text) data-slash autocomplete="off" spellcheck="false";
            }
            (select("provider", &say!(words, "field-provider"), &every, &providers, provider))
            (select("category", &say!(words, "field-purpose"), &every, &categories, category))
            div.toolbar-buttons { button type="submit" { (icon("search")) (say!(words, "filter")) } }
        }
        @if found.is_empty() {
            (empty("search", &say!(words, "no-match-title"), &say!(words, "no-match"), &html! {}))
        } @else {
            @if found.len() > MAX_MODELS { p.hint { (say!(words, "models-first", shown = MAX_MODELS, count = found.len())) } }
            div.scroll tabindex="0" role="region" aria-label=(title) {
                table {
                    thead { tr {
                        th scope="col" { (say!(words, "field-model")) }
                        th scope="col" { (say!(words, "field-provider")) }
                        th scope="col" { (say!(words, "field-purpose")) }
                        th.number scope="col" { (say!(words, "col-context")) }
                        th.number scope="col" { (say!(words, "col-input")) }
                        th.number scope="col" { (say!(words, "col-output")) }
                    } }
                    tbody { @for model in found.iter().take(MAX_MODELS) { (model_row(page, model)) } }
                }
            }
            p.hint { (say!(words, "price-per-million")) }
        }
    };
    Ok(page.show(Section::Catalogue, &title, None, &body))
}

fn model_row(page: &Page<'_>, model: &ModelInfo) -> Markup {
    let words = page.words();
    let price = |of: fn(&PriceInfo) -> Option<f64>| {
        let known = model.price.as_ref();
        known
            .and_then(|price| Some((of(price)?, &price.currency)))
            .map_or("–".to_owned(), |(amount, currency)| {
                format!("{amount} {currency}")
            })
    };
    html! {
        tr {
            th scope="row" { bdi { (model.name) } code.faint.under { (model.id) } }
            td { (model.provider) }
            td { (words.token("category", &model.category)) }
            td.number { @match model.context { Some(tokens) => (thousands(tokens)), None => "–" } }
            td.number { (price(|price| price.input)) }
            td.number { (price(|price| price.output)) }
        }
    }
}

/// `128K`, `1M`: how people name windows.
fn thousands(tokens: u64) -> String {
    match tokens {
        0..1000 => tokens.to_string(),
        1000..1_000_000 => format!("{}K", tokens / 1000),
        _ => format!("{:.1}M", tokens as f64 / 1e6).replace(".0M", "M"),
    }
}
