//! The pages: one file for each noun. A page asks the service, and shows what it said.
//!
//! A form that was refused comes back with what was typed, but for secrets, and with the reason; one that was accepted leads to
//! another page, so that nobody sends it twice by reloading.

mod account;
mod activity;
mod admin;
mod balance;
mod catalogue;
mod export;
mod key;
mod key_change;
mod keys;
mod log;
mod membership;
mod moving;
mod reminders;
pub(super) mod session;

use akm_core::error::{Error, Kind, Result};
use akm_core::protocol::{Operation, Request, Role, Status};
use hyper::StatusCode;
use maud::{Markup, html};

use super::Visit;
use super::answer::{self, Http};
use super::routes::Ask;
use super::theme::Site;
use super::view::{Frame, Section, icon, notice};
use super::words::{Words, say};

/// A page of an open account.
pub(super) struct Page<'a> {
    visit: &'a Visit<'a>,
    status: &'a Status,
    role: Role,
    here: &'a str,
    done: Option<&'a str>,
}

/// What a page says of itself that a form sent it to.
const DONE: &[&str] = &[
    "added",
    "changed",
    "rotated",
    "disabled",
    "enabled",
    "removed",
    "tested",
    "passphrase",
    "totp-on",
    "totp-off",
    "session-ended",
    "account-changed",
    "account-removed",
    "redeemed",
    "reminders",
    "provider-added",
    "provider-removed",
];

impl<'a> Page<'a> {
    pub(super) fn new(
        visit: &'a Visit<'a>,
        ask: &'a Ask,
        status: &'a Status,
        role: Role,
    ) -> Page<'a> {
        Page {
            visit,
            status,
            role,
            here: &ask.here,
            done: ask.query.get("done").filter(|done| DONE.contains(done)),
        }
    }

    fn words(&self) -> Words<'a> {
        self.visit.words
    }

    fn path(&self, path: &str) -> String {
        self.visit.path(path)
    }

    /// The parts of the dashboard that are this account's to see.
    fn rooms(&self) -> Vec<Section> {
        let mut rooms = Section::EVERYBODY.to_vec();
        if self.visit.is_hosted() {
            rooms.push(Section::Membership);
        }
        if self.role == Role::Admin {
            rooms.push(Section::Admin);
        }
        rooms
    }

    async fn ask<O: Operation + Into<Request>>(&self, request: O) -> Result<O::Result> {
        self.visit.ask(request).await
    }

    /// How the first keys come in: the command line is for a machine of one's own.
    fn no_keys(&self) -> String {
        match self.visit.is_hosted() {
            true => say!(self.words(), "keys-none-hosted"),
            false => say!(self.words(), "keys-none"),
        }
    }

    /// What is said of a vault that was changed behind akm's back, to whom it is of use.
    fn damage(&self) -> String {
        match self.visit.is_hosted() {
            true => say!(self.words(), "damaged-hosted"),
            false => say!(self.words(), "damaged"),
        }
    }

    /// The page, with what was just done and what went wrong above it.
    fn show(&self, section: Section, title: &str, fault: Option<&Error>, body: &Markup) -> Http {
        let words = self.words();
        let body = html! {
            @if let Some(fault) = fault {
                (notice("bad", &explained(words, fault)))
            } @else if let Some(done) = self.done {
                (notice("good", &words.token("done", done)))
            }
            @if self.status.damaged == Some(true) { (notice("bad", &self.damage())) }
            (body)
        };
        let status = fault.map_or(StatusCode::OK, answer::status);
        let account = self.status.account.as_deref();
        let frame = frame(self.visit, self.here);
        answer::html(
            status,
            frame.page(section, title, account, &self.rooms(), &body),
        )
    }
}

fn frame<'a>(visit: &'a Visit<'a>, here: &'a str) -> Frame<'a> {
    Frame {
        site: visit.site,
        base: visit.base,
        words: visit.words,
        here,
        hosted: visit.is_hosted(),
    }
}

/// What went wrong, in which field, and how long to wait.
fn explained(words: Words<'_>, error: &Error) -> String {
    let sentence = words.error(error);
    let sentence = match error.field() {
        Some(field) => say!(
            words,
            "error-of-field",
            field = words.token("field", field),
            message = sentence
        ),
        None => sentence,
    };
    match error.retry_after_s() {
        Some(seconds) => say!(words, "error-wait", message = sentence, seconds = seconds),
        None => sentence,
    }
}

/// The paths of [`route`]. One that is missing here is not reached on a server.
pub(super) const PATHS: &[&str] = &[
    "",
    "keys/new",
    "keys/show",
    "keys/edit",
    "keys/rotate",
    "keys/status",
    "keys/remove",
    "keys/secret",
    "keys/test",
    "providers",
    "providers/new",
    "providers/remove",
    "models",
    "activity",
    "balance",
    "log",
    "log/verify",
    "account",
    "move",
    "move/import",
    "move/offer",
    "move/piece",
    "move/receive",
    "move/send",
    "setup",
    "account/passphrase",
    "account/totp",
    "account/totp/confirm",
    "account/totp/off",
    "account/sessions",
    "membership",
    "membership/order",
    "membership/redeem",
    "membership/contact",
    "account/remove",
    "admin",
    "account/codes",
    "account/export",
    "admin/account",
    "admin/remove",
    "admin/invite",
    "admin/tiers",
    "admin/orders",
    "admin/codes",
    "admin/codes/revoke",
    "admin/providers",
    "admin/providers/remove",
    "admin/limits",
    "admin/monitoring",
];

/// What an error says to do, to whom it is of use.
fn next_step(visit: &Visit<'_>, error: &Error) -> Markup {
    let elsewhere = visit.is_hosted().then(|| error.clone().without_command());
    let hint = elsewhere.as_ref().unwrap_or(error).hint();
    html! { @if let Some(hint) = hint { p.hint { (visit.words.sentence(hint)) } } }
}

/// A page of an open account, by its path.
pub(super) async fn route(
    page: &Page<'_>,
    posts: bool,
    path: &str,
    ask: &Ask,
) -> Result<Option<Http>> {
    let http = match (posts, path) {
        (false, "") => keys::list(page, ask).await?,
        (false, "keys/new") => key_change::new(page, ask).await?,
        (true, "keys/new") => key_change::add(page, ask).await?,
        (false, "keys/show") => key::show(page, &key::name(&ask.query)?, None).await?,
        (true, "keys/edit") => key_change::edit(page, ask).await?,
        (true, "keys/rotate") => key_change::rotate(page, ask).await?,
        (true, "keys/status") => key_change::status(page, ask).await?,
        (true, "keys/remove") => key_change::remove(page, ask).await?,
        (true, "keys/secret") => key::secret(page, ask).await?,
        (true, "keys/test") => key::test(page, ask).await?,
        (false, "providers") => catalogue::providers(page, ask).await?,
        (false, "providers/new") => catalogue::new(page, ask, None),
        (true, "providers/new") => catalogue::add(page, ask).await?,
        (true, "providers/remove") => catalogue::remove(page, ask).await?,
        (false, "models") => catalogue::models(page, ask).await?,
        (false, "activity") => activity::show(page, ask).await?,
        (false, "balance") => balance::show(page).await?,
        (true, "balance") => balance::ask(page, ask).await?,
        (false, "log") => log::show(page, ask).await?,
        (true, "log/verify") => log::verify(page).await?,
        (false, "account") => account::show(page, None).await?,
        (false, "move") => moving::show(page, None).await?,
        (true, "move/import") => moving::import(page, ask).await?,
        (true, "move/offer") => moving::offer(page).await?,
        (true, "move/piece") => moving::piece(page, ask).await?,
        (true, "move/receive") => moving::receive(page, ask).await?,
        (true, "move/send") => moving::send(page, ask).await?,
        (false, "setup") => account::setup(page),
        (true, "account/passphrase") => account::passphrase(page, ask).await?,
        (true, "account/totp") => account::totp(page, ask).await?,
        (true, "account/totp/confirm") => account::confirm(page, ask).await?,
        (true, "account/totp/off") => account::totp_off(page, ask).await?,
        (true, "account/sessions") => account::end_sessions(page, ask).await?,
        (false, "membership") => membership::show(page, None).await?,
        (true, "membership/order") => membership::order(page, ask).await?,
        (true, "membership/redeem") => membership::redeem(page, ask).await?,
        (true, "membership/contact") => reminders::save(page, ask).await?,
        (true, "account/remove") => account::remove(page, ask).await?,
        (posts, "admin") => return admin::route(page, posts, "", ask).await,
        (posts, path) if path.starts_with("admin/") => {
            return admin::route(page, posts, &path["admin/".len()..], ask).await;
        }
        (true, "account/codes") => account::codes(page, ask).await?,
        (true, "account/export") => export::export(page, ask).await?,
        _ => return Ok(None),
    };
    Ok(Some(http))
}

/// The page that a link opens: a script takes the token from behind the `#` and sends it.
pub(super) fn open(site: &Site, base: &str, words: Words<'_>) -> Http {
    let body = html! {
        section.sheet data-open {
            h1 { (say!(words, "open-title")) }
            p data-when="opening" { (say!(words, "open-wait")) }
            p data-when="failed" hidden role="alert" { (say!(words, "open-failed")) }
            p data-when="failed" hidden { code { "akm ui" } }
            noscript { p { (say!(words, "open-script")) } }
        }
    };
    outside(
        site,
        base,
        words,
        StatusCode::OK,
        &say!(words, "open-title"),
        "open.js",
        &body,
    )
}

/// Somebody without a cookie.
pub(super) fn no_entry(site: &Site, base: &str, words: Words<'_>) -> Http {
    let title = say!(words, "no-entry-title");
    let body = html! {
        section.sheet {
            h1 { (title) }
            p { (say!(words, "no-entry")) }
            p { code { "akm ui" } }
        }
    };
    outside(
        site,
        base,
        words,
        StatusCode::UNAUTHORIZED,
        &title,
        "app.js",
        &body,
    )
}

/// Somebody who left.
pub(super) fn left(site: &Site, base: &str, words: Words<'_>) -> Http {
    let title = say!(words, "left-title");
    let body = html! {
        section.sheet {
            h1 { (title) }
            p { (say!(words, "left")) }
            p { code { "akm ui" } }
        }
    };
    outside(site, base, words, StatusCode::OK, &title, "app.js", &body)
}

fn outside(
    site: &Site,
    base: &str,
    words: Words<'_>,
    status: StatusCode,
    title: &str,
    script: &str,
    body: &Markup,
) -> Http {
    let frame = Frame {
        site,
        base,
        words,
        here: "",
        hosted: false,
    };
    answer::html(status, frame.card(title, script, false, body))
}

/// Something that has no page of its own went wrong.
pub(super) fn failed(visit: &Visit<'_>, ask: &Ask, error: &Error) -> Http {
    let words = visit.words;
    let title = match error.kind() {
        Kind::NotFound => say!(words, "not-found-title"),
        Kind::Denied | Kind::LimitReached => say!(words, "denied-title"),
        _ => say!(words, "failed-title"),
    };
    let body = html! {
        section.sheet {
            div.empty-picture { (icon("alert")) }
            h1 { (title) }
            p role="alert" { (explained(words, error)) }
            (next_step(visit, error))
            p { a.button href=(visit.path("")) { (say!(words, "back-to-keys")) } }
        }
    };
    let page = frame(visit, &ask.here).card(&title, "app.js", true, &body);
    answer::html(answer::status(error), page)
}

#[cfg(test)]
mod tests {
    use super::{PATHS, session};

    /// The second half of the arms of a table of paths.
    fn arms(source: &str) -> Vec<&str> {
        let arms = source.lines().map(str::trim_start).filter_map(|line| {
            let arm = line.strip_prefix("(true, \"");
            let arm = arm.or_else(|| line.strip_prefix("(false, \""));
            let arm = arm.or_else(|| line.strip_prefix("(posts, \""))?;
            arm.split_once('"').map(|(path, _)| path)
        });
        arms.collect()
    }

    #[test]
    fn every_path_of_the_tables_is_known() {
        let pages = arms(include_str!("mod.rs"));
        assert!(pages.len() > 30, "{pages:?}");
        for path in pages {
            assert!(PATHS.contains(&path), "{path}");
        }
        let rooms = arms(include_str!("admin.rs"));
        assert!(rooms.len() > 10, "{rooms:?}");
        for path in rooms.into_iter().filter(|path| !path.is_empty()) {
            assert!(PATHS.contains(&format!("admin/{path}").as_str()), "{path}");
        }
        for path in arms(include_str!("session.rs")) {
            assert!(session::PATHS.contains(&path), "{path}");
        }
    }
}
