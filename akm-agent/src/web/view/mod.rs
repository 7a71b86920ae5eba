//! What pages are made of: the frame around them, and the pieces that stand in several.
//!
//! A piece takes plain values and gives markup; none asks the service for anything. Every text of a user is text here
//! too: maud escapes whatever is spliced, in elements and attributes alike.

pub(super) mod chart;
mod icon;
pub(super) mod qr;

use akm_core::protocol::{KeyStatus, Outcome};
use maud::{DOCTYPE, Markup, html};

pub(super) use icon::icon;

use super::theme::Site;
use super::words::{Language, Words, say};

/// What the frame around a page says.
pub(super) struct Frame<'a> {
    pub(super) site: &'a Site,
    pub(super) base: &'a str,
    pub(super) words: Words<'a>,
    /// Path and query of the page, to come back to in another language.
    pub(super) here: &'a str,
    /// Whether there are accounts to sign in to and out of.
    pub(super) hosted: bool,
}

/// A part of the dashboard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Keys,
    Catalogue,
    Activity,
    Log,
    Account,
    Membership,
    Admin,
}

impl Section {
    /// What every account sees.
    pub(super) const EVERYBODY: [Section; 5] = [
        Section::Keys,
        Section::Catalogue,
        Section::Activity,
        Section::Log,
        Section::Account,
    ];

    /// Path, icon and name.
    fn parts(self, words: Words<'_>) -> (&'static str, &'static str, String) {
        match self {
            Section::Keys => ("", "key", say!(words, "nav-keys")),
            Section::Catalogue => ("providers", "layers", say!(words, "nav-providers")),
            Section::Activity => ("activity", "chart", say!(words, "nav-activity")),
            Section::Log => ("log", "list", say!(words, "nav-log")),
            Section::Account => ("account", "user", say!(words, "nav-account")),
            Section::Membership => ("membership", "coin", say!(words, "nav-membership")),
            Section::Admin => ("admin", "shield", say!(words, "nav-admin")),
        }
    }
}

impl Frame<'_> {
    fn path(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    fn asset(&self, name: &str) -> String {
        format!("{}/assets/{name}?v={}", self.base, self.site.version())
    }

    fn head(&self, title: &str, script: &str) -> Markup {
        html! {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " · " (say!(self.words, "brand")) }
                link rel="icon" type="image/svg+xml" href=(self.asset("logo.svg"));
                link rel="stylesheet" href=(self.asset("app.css"));
                @if self.site.style().is_some() {
                    link rel="stylesheet" href=(self.asset("theme.css"));
                }
                script src=(self.asset(script)) defer {}
            }
        }
    }

    fn brand(&self) -> Markup {
        html! {
            a.brand href=(self.path("")) {
                img src=(self.asset("logo.svg")) alt="" width="28" height="28";
                span { (say!(self.words, "brand")) }
            }
        }
    }

    /// The switch to the other language, in that language.
    fn language(&self) -> Markup {
        let (to, tag, name) = match self.words.language() {
            Language::English => ("zh", "zh-CN", "中文"),
            Language::Chinese => ("en", "en", "English"),
        };
        html! {
            form.language method="post" action=(self.path("language")) {
                input type="hidden" name="to" value=(to);
                input type="hidden" name="back" value=(self.here);
                button.quiet type="submit" lang=(tag) { (name) }
            }
        }
    }

    /// A page outside the dashboard: one card in the middle. `switch` where there is a cookie already.
    pub(super) fn card(&self, title: &str, script: &str, switch: bool, body: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang=(self.words.tag()) {
                (self.head(title, script))
                body.alone data-base=(self.base) {
                    header.alone-head { (self.brand()) @if switch { (self.language()) } }
                    main.alone-main { (body) }
                    (self.said())
                }
            }
        }
    }

    /// A page of the dashboard.
    pub(super) fn page(
        &self,
        section: Section,
        title: &str,
        account: Option<&str>,
        rooms: &[Section],
        body: &Markup,
    ) -> Markup {
        let words = self.words;
        html! {
            (DOCTYPE)
            html lang=(words.tag()) {
                (self.head(title, "app.js"))
                body data-base=(self.base) {
                    a.skip href="#main" { (say!(words, "skip-to-content")) }
                    header.side {
                        (self.brand())
                        nav aria-label=(say!(words, "nav-label")) {
                            ul {
                                @for each in rooms.iter().copied() {
                                    @let (path, picture, name) = each.parts(words);
                                    li {
                                        a href=(self.path(path)) aria-current=[(each == section).then_some("page")] {
                                            (icon(picture)) span { (name) }
                                        }
                                    }
                                }
                            }
                        }
                        div.side-foot {
                            @if let Some(account) = account {
                                p.who { (icon("user")) bdi { (account) } }
                            }
                            div.side-tools {
                                (self.language())
                                form method="post" action=(self.path("lock")) {
                                    button.quiet type="submit" { (icon("lock")) @if self.hosted { (say!(words, "sign-out")) } @else { (say!(words, "lock")) } }
                                }
                            }
                        }
                    }
                    main #main tabindex="-1" { (body) }
                    (self.said())
                }
            }
        }
    }

    /// Where scripts say what they did, and the sentences they say it with.
    fn said(&self) -> Markup {
        let words = self.words;
        html! {
            div #said role="status" aria-live="polite" {}
            template #sentences
                data-copied=(say!(words, "js-copied"))
                data-cleared=(say!(words, "js-cleared"))
                data-no-clipboard=(say!(words, "js-no-clipboard"))
                data-failed=(say!(words, "js-failed"))
                data-locked=(say!(words, "js-locked"))
                data-hide=(say!(words, "hide"))
                data-show=(say!(words, "reveal"))
                data-tested=(say!(words, "js-tested"))
                data-too-large=(say!(words, "js-too-large"))
                data-no-handover=(say!(words, "js-no-handover"))
                data-refused=(say!(words, "js-refused"))
                data-testing=(say!(words, "js-testing")) {}
        }
    }
}

/// The head of a page: its title, what it is about, and what one does first.
pub(super) fn heading(title: &str, about: &str, action: &Markup) -> Markup {
    html! {
        div.heading {
            div {
                h1 { (title) }
                @if !about.is_empty() { p.lead { (about) } }
            }
            div.heading-action { (action) }
        }
    }
}

/// Something happened that is worth a line.
pub(super) fn notice(tone: &str, text: &str) -> Markup {
    let picture = match tone {
        "bad" => "alert",
        _ => "check",
    };
    html! {
        p class={ "notice" " tone-" (tone) } role=(if tone == "bad" { "alert" } else { "status" }) {
            (icon(picture)) span { (text) }
        }
    }
}

/// Nothing is here yet, and this is how to change that.
pub(super) fn empty(picture: &str, title: &str, text: &str, action: &Markup) -> Markup {
    html! {
        div.empty {
            div.empty-picture { (icon(picture)) }
            h2 { (title) }
            p { (text) }
            (action)
        }
    }
}

/// A word with a colour.
pub(super) fn badge(tone: &str, text: &str) -> Markup {
    html! { span class={ "badge" " tone-" (tone) } { (text) } }
}

/// Whether a key may be handed out.
pub(super) fn status(words: Words<'_>, status: KeyStatus) -> Markup {
    badge(
        match status {
            KeyStatus::Active => "good",
            KeyStatus::Disabled => "plain",
            KeyStatus::Expired => "warn",
            KeyStatus::Burned => "bad",
        },
        &words.token("status", status.token()),
    )
}

/// What the colour of a test's verdict is.
pub(super) const fn outcome_tone(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Valid => "good",
        Outcome::ValidRestricted | Outcome::RateLimited => "warn",
        Outcome::Invalid | Outcome::NoPermission | Outcome::OutOfCredit | Outcome::Unreachable => {
            "bad"
        }
        Outcome::Unverifiable => "plain",
    }
}

/// What a test showed.
pub(super) fn outcome(words: Words<'_>, outcome: Outcome) -> Markup {
    badge(
        outcome_tone(outcome),
        &words.token("outcome", outcome.token()),
    )
}

/// A time: to the minute, in UTC; a script turns it into the reader's own.
pub(super) fn time(text: &str) -> Markup {
    let minute = text.get(..16).unwrap_or(text).replace('T', " ");
    html! { time datetime=(text) { (minute) " UTC" } }
}

/// A time that may never have been.
pub(super) fn maybe_time(words: Words<'_>, text: Option<&str>) -> Markup {
    match text {
        Some(text) => time(text),
        None => html! { span.faint { (say!(words, "never")) } },
    }
}

/// When something ends, if it does.
pub(super) fn end_time(words: Words<'_>, text: Option<&str>) -> Markup {
    match text {
        Some(text) => time(text),
        None => html! { span.faint { (say!(words, "no-end")) } },
    }
}

/// The two letters and the colour that stand for a provider.
pub(super) fn monogram(provider: &str) -> Markup {
    let colour = provider
        .bytes()
        .fold(7u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(byte))
        % 8;
    let letters: String = provider.chars().filter(|c| *c != '-').take(2).collect();
    html! { span class={ "monogram" " hue-" (colour) } aria-hidden="true" { (letters) } }
}

/// One choice of many, `all` first.
pub(super) fn select(
    name: &str,
    label: &str,
    all: &str,
    options: &[(String, String)],
    chosen: Option<&str>,
) -> Markup {
    html! {
        label.field {
            span { (label) }
            select name=(name) data-auto {
                option value="" { (all) }
                @for (value, text) in options {
                    option value=(value) selected[chosen == Some(value.as_str())] { (text) }
                }
            }
        }
    }
}

/// How a field is asked for.
#[derive(Default)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) label: String,
    pub(super) hint: String,
    pub(super) value: &'a str,
    /// `text` if empty.
    pub(super) kind: &'a str,
    pub(super) autocomplete: &'a str,
    pub(super) required: bool,
    pub(super) autofocus: bool,
    pub(super) list: Option<&'a str>,
    pub(super) numeric: bool,
    /// Marked as the one that is wrong.
    pub(super) wrong: bool,
}

impl Field<'_> {
    /// The field with its label and hint.
    pub(super) fn show(&self) -> Markup {
        let hint_id = format!("hint-{}", self.name);
        let kind = if self.kind.is_empty() {
            "text"
        } else {
            self.kind
        };
        let off = if self.autocomplete.is_empty() {
            "off"
        } else {
            self.autocomplete
        };
        let is_secret = kind == "password";
        html! {
            div.field {
                label for=(format!("f-{}", self.name)) { (self.label) }
                input id=(format!("f-{}", self.name)) type=(kind) name=(self.name) value=(self.value)
                    autocomplete=(off) autocapitalize="off" spellcheck="false"
                    required[self.required] autofocus[self.autofocus] list=[self.list]
                    inputmode=[self.numeric.then_some("numeric")]
                    aria-invalid=[self.wrong.then_some("true")]
                    aria-describedby=[(!self.hint.is_empty()).then_some(&hint_id)]
                    .mono[is_secret];
                @if !self.hint.is_empty() { p.hint id=(hint_id) { (self.hint) } }
            }
        }
    }
}

/// A box to tick.
pub(super) fn tick(name: &str, label: &str, hint: &str, ticked: bool) -> Markup {
    html! {
        label.tick {
            input type="checkbox" name=(name) value="1" checked[ticked];
            span { (label) @if !hint.is_empty() { small { (hint) } } }
        }
    }
}
