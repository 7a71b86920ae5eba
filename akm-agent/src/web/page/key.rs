//! One key: what is known of it, its secret for a moment, its test.

use akm_core::error::{Error, Result};
use akm_core::protocol::{History, Key, KeyGet, KeyHistory, KeyShow, KeyStatus, ProviderTest};
use maud::{Markup, html};
use serde::Serialize;

use super::super::answer::{self, Http};
use super::super::form::{Form, query};
use super::super::routes::Ask;
use super::super::view::{self, Section, end_time, heading, icon, maybe_time, monogram, time};
use super::super::words::say;
use super::{Page, key_change, keys};

/// The name in a query or a form.
pub(super) fn name(form: &Form) -> Result<String> {
    form.text("name")
        .ok_or_else(|| Error::invalid("name", "a required field is missing"))
}

/// The page of a key.
pub(super) fn path(page: &Page<'_>, name: &str, done: &str) -> String {
    page.path(&format!(
        "keys/show{}",
        query(&[("name", name), ("done", done)])
    ))
}

/// The page of a key, above it what a form was refused with.
pub(super) async fn show(page: &Page<'_>, name: &str, fault: Option<&Error>) -> Result<Http> {
    let words = page.words();
    let request = KeyShow {
        name: name.to_owned(),
    };
    let key = page.ask(request).await?.key;
    let history = page
        .ask(KeyHistory {
            name: key.name.clone(),
        })
        .await?;
    let plain = |what: String| what;
    let body = html! {
        p.crumb { a href=(page.path("")) { (say!(words, "keys-title")) } (icon("next")) span { (key.provider) } }
        (heading(&key.name, "", &html! {}))
        section.panel.key-panel data-key=(key.name) {
            (monogram(&key.provider))
            code.key-preview.big data-secret=(key.preview) { (key.preview) }
            div.key-state {
                (view::status(words, key.status))
                span data-outcome {
                    @if let Some(test) = &key.last_test { (view::outcome(words, test.outcome)) }
                }
            }
            div.key-actions { (keys::actions(page, &key, &plain)) }
            p.test-detail data-detail {}
        }
        div.columns {
            div.stack {
                section.panel { h2 { (say!(words, "facts-title")) } (facts(page, &key)) }
                section.panel { h2 { (say!(words, "rotate-title")) } (key_change::rotate_form(page, &key)) (versions(page, &history)) }
            }
            div.stack {
                section.panel { h2 { (say!(words, "edit-title")) } (key_change::edit_form(page, &key, fault)) }
                section.panel.danger { h2 { (say!(words, "danger-title")) } (key_change::danger(page, &key)) }
            }
        }
    };
    Ok(page.show(Section::Keys, &key.name, fault, &body))
}

fn facts(page: &Page<'_>, key: &Key) -> Markup {
    let words = page.words();
    let texts = [
        ("field-model", key.model.as_deref()),
        ("field-env", key.env.as_deref()),
        ("field-base-url", key.base_url.as_deref()),
        ("field-header", key.header.as_deref()),
        ("field-team", key.team.as_deref()),
        ("field-low-balance", key.low_balance.as_deref()),
    ];
    html! {
        dl.facts {
            @for (id, value) in texts {
                @if let Some(value) = value {
                    dt { (words.say(id, &[])) }
                    dd { bdi.breaks { (value) } }
                }
            }
            @if !key.categories.is_empty() {
                dt { (say!(words, "field-category")) }
                dd.chips { @for category in &key.categories { span.chip { bdi { (category) } } } }
            }
            @if !key.hosts.is_empty() {
                dt { (say!(words, "field-hosts")) }
                dd { @for host in &key.hosts { bdi.breaks { (host) } " " } }
            }
            @if key.use_only { dt { (say!(words, "field-use-only")) } dd { (say!(words, "use-only-hint")) } }
            dt { (say!(words, "field-created")) } dd { (time(&key.created_at)) }
            dt { (say!(words, "field-updated")) } dd { (time(&key.updated_at)) }
            dt { (say!(words, "field-last-used")) } dd { (maybe_time(words, key.last_used_at.as_deref())) }
            dt { (say!(words, "field-expires")) } dd { (end_time(words, key.expires_at.as_deref())) }
            @if let Some(test) = &key.last_test {
                dt { (say!(words, "field-last-test")) }
                dd { (view::outcome(words, test.outcome)) " " (time(&test.time)) }
            }
        }
        @if let Some(notes) = &key.notes { h3 { (say!(words, "field-notes")) } p.notes { bdi { (notes) } } }
    }
}

fn versions(page: &Page<'_>, history: &History) -> Markup {
    let words = page.words();
    html! {
        h3 { (say!(words, "history-title")) }
        ol.versions {
            @for version in &history.versions {
                li {
                    b { (say!(words, "version", number = version.version)) }
                    code { (version.preview) }
                    (time(&version.created_at))
                }
            }
        }
    }
}

/// The secret of the one key that a form names.
pub(super) async fn secret(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    // To a script alone: a form that another page submits would leave it in a window.
    if !ask.script {
        return Err(Error::invalid(
            "accept",
            "a secret is shown to the dashboard's own script",
        ));
    }
    let got = page
        .ask(KeyGet {
            name: name(&ask.form)?,
            version: None,
        })
        .await?;
    Ok(answer::json(&got))
}

/// Tests a key: for a script what came of it, for a form the key's page.
pub(super) async fn test(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    #[derive(Serialize)]
    struct Tested {
        tone: &'static str,
        text: String,
        detail: String,
    }
    let words = page.words();
    let tested = page
        .ask(ProviderTest {
            name: name(&ask.form)?,
        })
        .await?;
    if !ask.script {
        return Ok(answer::see(&path(page, &tested.name, "tested")));
    }
    Ok(answer::json(&Tested {
        tone: view::outcome_tone(tested.outcome),
        text: words.token("outcome", tested.outcome.token()),
        detail: say!(
            words,
            "test-detail",
            detail = words.sentence(&tested.detail).into_owned(),
            ms = tested.latency_ms
        ),
    }))
}

/// Whether the owner may switch it on or off.
pub(super) fn can_switch(key: &Key) -> Option<KeyStatus> {
    match key.status {
        KeyStatus::Active => Some(KeyStatus::Disabled),
        KeyStatus::Disabled => Some(KeyStatus::Active),
        KeyStatus::Expired | KeyStatus::Burned => None,
    }
}
