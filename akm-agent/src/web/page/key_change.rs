//! Keys are added, edited, rotated, switched off, removed.

use akm_core::error::{Error, Result};
use akm_core::protocol::{
    Key, KeyAdd, KeyRemove, KeyRotate, KeyShow, KeyStatus, KeyUpdate, ProviderList, ProviderTest,
};
use maud::{Markup, html};

use super::super::answer::{self, Http};
use super::super::form::{Form, list};
use super::super::routes::Ask;
use super::super::view::{Field, Section, heading, icon, tick};
use super::super::words::{Language, say};
use super::{Page, key};

/// The form for a new key; a provider may be given.
pub(super) async fn new(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    Ok(add_page(page, &ask.query, &providers(page).await?, None))
}

/// Ids and names of the providers that may be meant.
async fn providers(page: &Page<'_>) -> Result<Vec<(String, String)>> {
    let known = page.ask(ProviderList {}).await?.providers;
    let named = known.into_iter().map(|known| {
        let name = match page.words().language() {
            Language::English => known.name,
            Language::Chinese => known.name_zh,
        };
        (known.id, name)
    });
    Ok(named.collect())
}

pub(super) async fn add(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let form = &ask.form;
    let added = match request(form) {
        Ok(request) => page.ask(request).await,
        Err(error) => Err(error),
    };
    let key = match added {
        Ok(added) => added.key,
        Err(error) => {
            let names = providers(page).await?;
            return Ok(add_page(page, form, &names, Some(&error)));
        }
    };
    if form.ticked("test") {
        // The page says what came of it; that it could not be tried is no reason to hide that the key is stored.
        let name = key.name.clone();
        let _ = page.ask(ProviderTest { name }).await;
    }
    Ok(answer::see(&key::path(page, &key.name, "added")))
}

fn request(form: &Form) -> Result<KeyAdd> {
    let provider = form
        .get("provider")
        .ok_or_else(|| Error::invalid("provider", "a required field is missing"))?;
    Ok(KeyAdd {
        name: match form.get("label") {
            Some(label) => format!("{provider}/{label}"),
            None => provider.to_owned(),
        },
        secret: form.needed("secret")?,
        model: form.text("model"),
        categories: list(form.get("categories").unwrap_or("")),
        notes: form.lines("notes"),
        expires_at: form.text("expires_at"),
        env: form.text("env"),
        low_balance: form.text("low_balance"),
        lifetime_s: None,
        team: form.text("team"),
        use_only: form.ticked("use_only").then_some(true),
        confirm: None,
        base_url: form.text("base_url"),
    })
}

fn add_page(
    page: &Page<'_>,
    form: &Form,
    providers: &[(String, String)],
    fault: Option<&Error>,
) -> Http {
    let words = page.words();
    let title = say!(words, "add-title");
    let wrong = |name: &str| fault.and_then(Error::field) == Some(name);
    let value = |name| form.get(name).unwrap_or("");
    let extra = ["env", "base_url", "low_balance", "team", "use_only"];
    let more = extra.iter().any(|name| form.get(name).is_some());
    let body = html! {
        p.crumb { a href=(page.path("")) { (say!(words, "keys-title")) } (icon("next")) span { (title) } }
        (heading(&title, &say!(words, "add-lead"), &html! {}))
        form.panel.form method="post" action=(page.path("keys/new")) data-busy {
            div.pair {
                (Field {
                    name: "provider", label: say!(words, "field-provider"), value: value("provider"),
                    hint: say!(words, "provider-hint"), required: true, list: Some("known-providers"),
                    wrong: wrong("name") || wrong("provider"), autofocus: value("provider").is_empty(), ..Field::default()
                }.show())
                (Field {
                    name: "label", label: say!(words, "field-label"), value: value("label"),
                    hint: say!(words, "label-hint"), wrong: wrong("name"), ..Field::default()
                }.show())
            }
            datalist id="known-providers" {
                @for (id, name) in providers { option value=(id) { (name) } }
            }
            (Field {
                name: "secret", label: say!(words, "field-secret"), kind: "password",
                hint: say!(words, "secret-hint"), required: true, autocomplete: "new-password",
                wrong: wrong("secret"), autofocus: !value("provider").is_empty(), ..Field::default()
            }.show())
            div.pair {
                (Field {
                    name: "model", label: say!(words, "field-model"), value: value("model"),
                    wrong: wrong("model"), ..Field::default()
                }.show())
                (Field {
                    name: "categories", label: say!(words, "field-category"), value: value("categories"),
                    hint: say!(words, "categories-hint"), wrong: wrong("categories"), ..Field::default()
                }.show())
            }
            (Field {
                name: "expires_at", label: say!(words, "field-expires"), kind: "date",
                value: value("expires_at"), wrong: wrong("expires_at"), ..Field::default()
            }.show())
            (notes(page, value("notes")))
            details.more open[more] {
                summary { (say!(words, "more-options")) }
                (advanced(page, &|name| form.get(name).unwrap_or("").to_owned(), fault))
                (tick("use_only", &say!(words, "field-use-only"), &say!(words, "use-only-hint"), form.ticked("use_only")))
            }
            (tick("test", &say!(words, "test-at-once"), "", true))
            div.buttons {
                button.primary type="submit" { (say!(words, "add-key")) }
                a.button.quiet href=(page.path("")) { (say!(words, "cancel")) }
            }
        }
    };
    page.show(Section::Keys, &title, fault, &body)
}

fn notes(page: &Page<'_>, text: &str) -> Markup {
    html! {
        div.field {
            label for="f-notes" { (say!(page.words(), "field-notes")) }
            // The first line break of an area is the browser's.
            textarea id="f-notes" name="notes" rows="3" { "\n" (text) }
        }
    }
}

fn advanced(page: &Page<'_>, value: &dyn Fn(&str) -> String, fault: Option<&Error>) -> Markup {
    let words = page.words();
    let fields = [
        ("env", say!(words, "field-env"), say!(words, "env-hint")),
        (
            "base_url",
            say!(words, "field-base-url"),
            say!(words, "base-url-hint"),
        ),
        (
            "low_balance",
            say!(words, "field-low-balance"),
            say!(words, "low-balance-hint"),
        ),
        ("team", say!(words, "field-team"), say!(words, "team-hint")),
    ];
    html! {
        @for (name, label, hint) in fields {
            (Field {
                name, label, hint, value: &value(name),
                wrong: fault.and_then(Error::field) == Some(name), ..Field::default()
            }.show())
        }
    }
}

pub(super) fn edit_form(page: &Page<'_>, key: &Key, fault: Option<&Error>) -> Markup {
    let words = page.words();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let known = |name: &str| match name {
        "env" => text(&key.env),
        "base_url" => text(&key.base_url),
        "low_balance" => text(&key.low_balance),
        _ => text(&key.team),
    };
    let wrong = |name: &str| fault.and_then(Error::field) == Some(name);
    let (model, categories) = (text(&key.model), key.categories.join(", "));
    let expires = text(&key.expires_at);
    html! {
        form.form method="post" action=(page.path("keys/edit")) data-busy {
            input type="hidden" name="name" value=(key.name);
            (Field {
                name: "new_name", label: say!(words, "field-name"), value: &key.name, required: true,
                wrong: wrong("new_name"), ..Field::default()
            }.show())
            (Field { name: "model", label: say!(words, "field-model"), value: &model, wrong: wrong("model"), ..Field::default() }.show())
            (Field {
                name: "categories", label: say!(words, "field-category"), value: &categories,
                hint: say!(words, "categories-hint"), wrong: wrong("categories"), ..Field::default()
            }.show())
            (Field {
                name: "expires_at", label: say!(words, "field-expires"), kind: "date",
                value: expires.get(..10).unwrap_or(""), wrong: wrong("expires_at"), ..Field::default()
            }.show())
            (notes(page, key.notes.as_deref().unwrap_or("")))
            details.more open[fault.is_some()] {
                summary { (say!(words, "more-options")) }
                (advanced(page, &known, fault))
                (tick("use_only", &say!(words, "field-use-only"), &say!(words, "use-only-hint"), key.use_only))
                (Field {
                    name: "secret", label: say!(words, "field-secret-again"), kind: "password",
                    hint: say!(words, "secret-again-hint"), autocomplete: "new-password", wrong: wrong("secret"), ..Field::default()
                }.show())
                (Field {
                    name: "passphrase", label: say!(words, "field-passphrase"), kind: "password",
                    hint: say!(words, "passphrase-for-use-only"), autocomplete: "current-password", wrong: wrong("passphrase"), ..Field::default()
                }.show())
            }
            div.buttons { button.primary type="submit" { (say!(words, "save")) } }
        }
    }
}

/// Only what differs from the record is sent: what a page did not show (a variable of the provider's own) stays.
pub(super) async fn edit(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let form = &ask.form;
    let name = key::name(form)?;
    let key = page.ask(KeyShow { name: name.clone() }).await?.key;
    let new = |field: &str, old: &Option<String>| {
        let typed = form.lines(field).unwrap_or_default();
        (typed != old.as_deref().unwrap_or("")).then_some(typed)
    };
    let categories = list(form.get("categories").unwrap_or(""));
    let day = key.expires_at.as_ref().and_then(|time| time.get(..10));
    let day = day.map(str::to_owned);
    let use_only = form.ticked("use_only");
    let request = KeyUpdate {
        new_name: form.text("new_name").filter(|new| *new != key.name),
        model: new("model", &key.model),
        categories: (categories != key.categories).then_some(categories),
        notes: new("notes", &key.notes),
        expires_at: new("expires_at", &day),
        env: new("env", &key.env),
        low_balance: new("low_balance", &key.low_balance),
        lifetime_s: None,
        team: new("team", &key.team),
        confirm: None,
        use_only: (use_only != key.use_only).then_some(use_only),
        base_url: new("base_url", &key.base_url),
        status: None,
        passphrase: form.secret("passphrase"),
        secret: form.secret("secret"),
        name: key.name,
    };
    match page.ask(request).await {
        Ok(changed) => Ok(answer::see(&key::path(page, &changed.key.name, "changed"))),
        Err(error) => key::show(page, &name, Some(&error)).await,
    }
}

pub(super) fn rotate_form(page: &Page<'_>, key: &Key) -> Markup {
    let words = page.words();
    html! {
        p { (say!(words, "rotate-lead")) }
        form.form method="post" action=(page.path("keys/rotate")) data-busy {
            input type="hidden" name="name" value=(key.name);
            div.field {
                label for="f-rotate" { (say!(words, "field-new-secret")) }
                input.mono id="f-rotate" type="password" name="secret" autocomplete="new-password" required;
            }
            div.buttons { button type="submit" { (say!(words, "rotate")) } }
        }
    }
}

pub(super) async fn rotate(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let name = key::name(&ask.form)?;
    let rotated = match ask.form.needed("secret") {
        Ok(secret) => {
            let name = name.clone();
            page.ask(KeyRotate { name, secret }).await
        }
        Err(error) => Err(error),
    };
    match rotated {
        Ok(rotated) => Ok(answer::see(&key::path(page, &rotated.key.name, "rotated"))),
        Err(error) => key::show(page, &name, Some(&error)).await,
    }
}

pub(super) fn danger(page: &Page<'_>, key: &Key) -> Markup {
    let words = page.words();
    html! {
        @if let Some(to) = key::can_switch(key) {
            p {
                @match to {
                    KeyStatus::Disabled => (say!(words, "disable-lead")),
                    _ => (say!(words, "enable-lead")),
                }
            }
            form method="post" action=(page.path("keys/status")) {
                input type="hidden" name="name" value=(key.name);
                input type="hidden" name="to" value=(to.token());
                button type="submit" {
                    @match to {
                        KeyStatus::Disabled => (say!(words, "disable")),
                        _ => (say!(words, "enable")),
                    }
                }
            }
        }
        details.more {
            summary { (say!(words, "remove-title")) }
            p { (say!(words, "remove-lead")) }
            form method="post" action=(page.path("keys/remove")) {
                input type="hidden" name="name" value=(key.name);
                button.bad type="submit" { (say!(words, "remove-for-good")) }
            }
        }
    }
}

pub(super) async fn status(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let (to, done) = match ask.form.get("to") {
        Some("active") => (KeyStatus::Active, "enabled"),
        Some("disabled") => (KeyStatus::Disabled, "disabled"),
        _ => return Err(Error::invalid("status", "a field has the wrong type")),
    };
    let request = KeyUpdate {
        name: key::name(&ask.form)?,
        status: Some(to),
        ..KeyUpdate::default()
    };
    let changed = page.ask(request).await?;
    Ok(answer::see(&key::path(page, &changed.key.name, done)))
}

pub(super) async fn remove(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let name = key::name(&ask.form)?;
    page.ask(KeyRemove { name }).await?;
    Ok(answer::see(&page.path("?done=removed")))
}
