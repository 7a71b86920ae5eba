//! The list of keys: searched, filtered, a page at a time, tested together.

use akm_core::error::Result;
use akm_core::protocol::{Key, KeyList, KeyStatus};
use maud::{Markup, html};

use super::super::answer::Http;
use super::super::form::query;
use super::super::routes::Ask;
use super::super::view::{self, Section, empty, heading, icon, monogram, select};
use super::super::words::say;
use super::{Page, reminders};

/// Keys on one page.
const PER_PAGE: usize = 50;
/// Most keys that are looked through; a larger account is told so.
const MAX_KEYS: usize = 20_000;

/// Every key of the account that opens, by name.
pub(super) struct All {
    pub(super) keys: Vec<Key>,
    /// Whether there are more than are looked through.
    pub(super) more: bool,
    /// How many do not open.
    pub(super) unreadable: usize,
}

pub(super) async fn all(page: &Page<'_>) -> Result<All> {
    let mut keys = Vec::new();
    let mut unreadable = 0;
    let mut after = None;
    loop {
        let answer = page
            .ask(KeyList {
                limit: Some(akm_core::protocol::MAX_PAGE),
                after,
                skip_unreadable: Some(true),
                ..KeyList::default()
            })
            .await?;
        keys.extend(answer.keys);
        unreadable += answer.unreadable.len();
        after = answer.next;
        if after.is_none() || keys.len() >= MAX_KEYS {
            keys.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok(All {
                more: after.is_some(),
                keys,
                unreadable,
            });
        }
    }
}

/// How many keys are not shown: beside the banner of the check, which may not have come that far.
pub(super) fn lost(page: &Page<'_>, unreadable: usize) -> Markup {
    html! {
        @if unreadable > 0 {
            (view::notice("bad", &say!(page.words(), "keys-unreadable", count = unreadable)))
        }
    }
}

/// What the list is narrowed to.
struct Filter<'a> {
    text: String,
    provider: Option<&'a str>,
    category: Option<&'a str>,
    status: Option<&'a str>,
}

impl Filter<'_> {
    fn is_empty(&self) -> bool {
        self.text.is_empty()
            && self.provider.is_none()
            && self.category.is_none()
            && self.status.is_none()
    }

    fn keeps(&self, key: &Key) -> bool {
        let is = |wanted: Option<&str>, value: &str| wanted.is_none_or(|wanted| wanted == value);
        let holds = |text: &str| text.to_lowercase().contains(&self.text);
        is(self.provider, &key.provider)
            && is(self.status, key.status.token())
            && self
                .category
                .is_none_or(|wanted| key.categories.iter().any(|category| category == wanted))
            && (holds(&key.name)
                || key.model.as_deref().is_some_and(holds)
                || key.notes.as_deref().is_some_and(holds)
                || key.categories.iter().any(|category| holds(category)))
    }
}

pub(super) async fn list(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let words = page.words();
    let All {
        keys,
        more,
        unreadable,
    } = all(page).await?;
    let lost = lost(page, unreadable);
    let filter = Filter {
        text: ask.query.get("q").unwrap_or("").to_lowercase(),
        provider: ask.query.get("provider"),
        category: ask.query.get("category"),
        status: ask.query.get("status"),
    };
    let add = html! {
        a.button.primary href=(page.path("keys/new")) { (icon("plus")) (say!(words, "add-key")) }
    };
    let title = say!(words, "keys-title");
    if keys.is_empty() {
        let body = html! {
            (heading(&title, "", &html! {}))
            (lost)
            (empty("key", &say!(words, "keys-none-title"), &page.no_keys(), &add))
        };
        return Ok(page.show(Section::Keys, &title, None, &body));
    }
    let found: Vec<&Key> = keys.iter().filter(|key| filter.keeps(key)).collect();
    let pages = found.len().div_ceil(PER_PAGE).max(1);
    let number = ask.query.get("page").and_then(|text| text.parse().ok());
    let number: usize = number.unwrap_or(1).clamp(1, pages);
    let shown = found.iter().skip((number - 1) * PER_PAGE).take(PER_PAGE);
    let notices = reminders::notices(page).await?;
    let body = html! {
        (heading(&title, &say!(words, "keys-count", count = keys.len()), &add))
        (notices)
        (lost)
        @if more { (view::notice("bad", &say!(words, "keys-too-many", count = MAX_KEYS))) }
        (toolbar(page, ask, &keys, &filter))
        @if found.is_empty() {
            (empty("search", &say!(words, "keys-no-match-title"), &say!(words, "keys-no-match"), &html! {
                a.button href=(page.path("")) { (say!(words, "clear-filters")) }
            }))
        } @else {
            div.progress #progress hidden {
                p.progress-text {}
                progress aria-label=(say!(words, "test-progress")) max="1" value="0" {}
            }
            ul.keys {
                @for key in shown { (row(page, key)) }
            }
            @if pages > 1 { (pager(page, ask, number, pages)) }
        }
    };
    Ok(page.show(Section::Keys, &title, None, &body))
}

fn toolbar(page: &Page<'_>, ask: &Ask, keys: &[Key], filter: &Filter<'_>) -> Markup {
    let words = page.words();
    let plain = |value: &str| (value.to_owned(), value.to_owned());
    let mut providers: Vec<_> = keys.iter().map(|key| plain(&key.provider)).collect();
    providers.dedup();
    let mut categories: Vec<_> = keys
        .iter()
        .flat_map(|key| &key.categories)
        .map(|category| plain(category))
        .collect();
    categories.sort();
    categories.dedup();
    let statuses = [
        KeyStatus::Active,
        KeyStatus::Disabled,
        KeyStatus::Expired,
        KeyStatus::Burned,
    ];
    let statuses: Vec<_> = statuses
        .into_iter()
        .map(|status| {
            let token = status.token();
            (token.to_owned(), words.token("status", token))
        })
        .collect();
    let all = say!(words, "all");
    html! {
        form.toolbar method="get" action=(page.path("")) role="search" {
            label.field.search {
                span { (say!(words, "search")) }
                input type="search" name="q" value=(ask.query.get("q").unwrap_or("")) data-slash
                    placeholder=(say!(words, "search-keys")) autocomplete="off" spellcheck="false";
            }
            (select("provider", &say!(words, "field-provider"), &all, &providers, filter.provider))
            @if !categories.is_empty() {
                (select("category", &say!(words, "field-category"), &all, &categories, filter.category))
            }
            (select("status", &say!(words, "field-status"), &all, &statuses, filter.status))
            div.toolbar-buttons {
                button type="submit" { (icon("search")) (say!(words, "filter")) }
                @if !filter.is_empty() { a.button.quiet href=(page.path("")) { (say!(words, "clear-filters")) } }
                button type="button" data-test-all hidden { (icon("bolt")) (say!(words, "test-all")) }
            }
        }
    }
}

fn row(page: &Page<'_>, key: &Key) -> Markup {
    let words = page.words();
    let shown = page.path(&format!("keys/show{}", query(&[("name", &key.name)])));
    let label = |what: String| format!("{what}: {}", key.name);
    html! {
        li.key data-key=(key.name) {
            (monogram(&key.provider))
            div.key-name {
                a href=(shown) { span.faint { (key.provider) "/" } bdi { (key.label) } }
                div.chips {
                    @if let Some(model) = &key.model { span.chip.chip-model { bdi { (model) } } }
                    @for category in &key.categories { span.chip { bdi { (category) } } }
                }
            }
            code.key-preview data-secret=(key.preview) { (key.preview) }
            div.key-state {
                (view::status(words, key.status))
                span data-outcome {
                    @if let Some(test) = &key.last_test { (view::outcome(words, test.outcome)) }
                }
            }
            div.key-actions { (actions(page, key, &label)) }
        }
    }
}

/// What is done with a key in one click.
pub(super) fn actions(page: &Page<'_>, key: &Key, label: &dyn Fn(String) -> String) -> Markup {
    let words = page.words();
    let handed_out = key.status == KeyStatus::Active && !key.use_only;
    html! {
        @if handed_out {
            button.icon-button type="button" data-copy hidden title=(say!(words, "copy")) aria-label=(label(say!(words, "copy"))) {
                (icon("copy"))
            }
            button.icon-button type="button" data-reveal hidden aria-pressed="false" title=(say!(words, "reveal")) aria-label=(label(say!(words, "reveal"))) {
                (icon("eye"))
            }
        }
        @if key.status == KeyStatus::Active {
            form method="post" action=(page.path("keys/test")) data-test {
                input type="hidden" name="name" value=(key.name);
                button.icon-button type="submit" title=(say!(words, "test")) aria-label=(label(say!(words, "test"))) {
                    (icon("bolt"))
                }
            }
        }
    }
}

fn pager(page: &Page<'_>, ask: &Ask, number: usize, pages: usize) -> Markup {
    let words = page.words();
    let to = |number: usize| {
        let text = number.to_string();
        let kept = |name| ask.query.get(name).unwrap_or("");
        let fields = [
            ("q", kept("q")),
            ("provider", kept("provider")),
            ("category", kept("category")),
            ("status", kept("status")),
            ("page", text.as_str()),
        ];
        page.path(&query(&fields))
    };
    html! {
        nav.pager aria-label=(say!(words, "pager")) {
            @if number > 1 { a.button href=(to(number - 1)) rel="prev" { (say!(words, "previous")) } }
            span { (say!(words, "page-of", page = number, pages = pages)) }
            @if number < pages { a.button href=(to(number + 1)) rel="next" { (say!(words, "next")) } }
        }
    }
}
