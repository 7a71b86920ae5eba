//! The account: passphrase, codes, recovery, export.

use akm_core::Secret;
use akm_core::error::{Error, Result};
use akm_core::protocol::{
    AccountPassphrase, AccountRemove, SessionInfo, SessionList, SessionRevoke, TotpCodes,
    TotpConfirm, TotpDisable, TotpEnable,
};
use maud::{Markup, html};

use super::super::answer::{self, Http};
use super::super::routes::Ask;
use super::super::view::{Field, Section, heading, icon};
use super::super::words::{Words, say};
use super::session::{codes_sheet, new_passphrase, new_passphrase_fields, totp_sheet};
use super::{Page, export, log};

pub(super) async fn show(page: &Page<'_>, fault: Option<&Error>) -> Result<Http> {
    let words = page.words();
    let title = say!(words, "account-title");
    let account = page.status.account.as_deref().unwrap_or("");
    let sessions = page.ask(SessionList {}).await?.sessions;
    let body = html! {
        (heading(&title, "", &html! {}))
        div.columns {
            div.stack {
            section.panel {
                h2 { (say!(words, "session-title")) }
                dl.facts {
                    dt { (say!(words, "field-account")) } dd { bdi { (account) } }
                    dt { (say!(words, "session-until")) }
                    dd {
                        @match &page.status.expires_at {
                            Some(at) => (super::super::view::time(at)),
                            None => (say!(words, "until-locked")),
                        }
                    }
                    dt { (say!(words, "field-version")) } dd { "akm " (page.status.version) }
                }
                @if page.visit.is_hosted() {
                    form method="post" action=(page.path("lock")) {
                        button type="submit" { (icon("lock")) (say!(words, "sign-out")) }
                    }
                } @else {
                    p.hint { (say!(words, "session-hint")) }
                    div.buttons {
                        form method="post" action=(page.path("leave")) {
                            button type="submit" { (say!(words, "leave")) }
                        }
                        form method="post" action=(page.path("lock")) {
                            button type="submit" { (icon("lock")) (say!(words, "lock")) }
                        }
                    }
                }
            }
            section.panel {
                h2 { (say!(words, "totp-title")) }
                p { (say!(words, "totp-lead")) }
                (stepped_up(page, "account/totp", "totp-passphrase", &say!(words, "totp-enable")))
                details.more {
                    summary { (say!(words, "totp-off-title")) }
                    p { (say!(words, "totp-off-lead")) }
                    (stepped_up(page, "account/totp/off", "off-passphrase", &say!(words, "totp-off")))
                }
            }
            section.panel { h2 { (say!(words, "export-title")) } (export::form(page)) }
            section.panel {
                h2 { (say!(words, "move-title")) }
                p { (say!(words, "move-lead")) }
                div.buttons { a.button href=(page.path("move")) { (say!(words, "move-go")) } }
            }
            }
            div.stack {
            section.panel {
                h2 { (say!(words, "passphrase-title")) }
                form.form method="post" action=(page.path("account/passphrase")) data-busy {
                    (passphrase_field(words, "passphrase"))
                    (new_passphrase_fields(page.visit, fault))
                    div.buttons { button.primary type="submit" { (say!(words, "passphrase-change")) } }
                }
            }
            section.panel {
                h2 { (say!(words, "codes-title")) }
                p { (say!(words, "codes-lead")) }
                (stepped_up(page, "account/codes", "codes-passphrase", &say!(words, "codes-new")))
            }
            section.panel.danger {
                h2 { (say!(words, "account-remove-title")) }
                p { (say!(words, "account-remove-lead")) }
                form.form method="post" action=(page.path("account/remove")) data-busy {
                    (passphrase_field(words, "remove-passphrase"))
                    div.buttons { button.bad type="submit" { (say!(words, "account-remove")) } }
                }
            }
            section.panel {
                h2 { (say!(words, "sessions-title")) }
                ul.versions { @for session in &sessions { (one_session(page, session)) } }
                @if sessions.len() > 1 {
                    form method="post" action=(page.path("account/sessions")) {
                        button type="submit" { (say!(words, "sessions-end-others")) }
                    }
                }
            }
            }
        }
    };
    Ok(page.show(Section::Account, &title, fault, &body))
}

/// The passphrase again; `id` because a page asks for it more than once.
pub(super) fn passphrase_field(words: Words<'_>, id: &str) -> Markup {
    html! {
        div.field {
            label for=(id) { (say!(words, "field-current-passphrase")) }
            input.mono id=(id) type="password" name="passphrase" autocomplete="current-password" required;
        }
    }
}

fn stepped_up(page: &Page<'_>, path: &str, id: &str, action: &str) -> Markup {
    html! {
        form.form method="post" action=(page.path(path)) data-busy {
            (passphrase_field(page.words(), id))
            div.buttons { button type="submit" { (action) } }
        }
    }
}

fn one_session(page: &Page<'_>, session: &SessionInfo) -> Markup {
    let words = page.words();
    html! {
        li {
            @match &session.from {
                Some(from) => bdi {
                    (say!(words, "from-network", address = from.strip_prefix(log::NETWORK).unwrap_or(from)))
                },
                None => (say!(words, "session-host")),
            }
            @if let Some(at) = &session.created_at { (super::super::view::time(at)) }
            @if session.current { (super::super::view::badge("good", &say!(words, "session-this"))) }
            @else {
                form method="post" action=(page.path("account/sessions")) {
                    input type="hidden" name="id" value=(session.id);
                    button.link type="submit" { (say!(words, "session-end")) }
                }
            }
        }
    }
}

/// Ends the session that the form names, or all others.
pub(super) async fn end_sessions(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let id = ask.form.text("id");
    let ended = page.ask(SessionRevoke { id }).await.map(drop);
    done(page, ended, "session-ended").await
}

/// Removes the account; whoever comes back has none.
pub(super) async fn remove(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let removed = match ask.form.needed("passphrase") {
        Ok(passphrase) => page.ask(AccountRemove { passphrase }).await.map(drop),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => Ok(answer::see(&page.path("unlock"))),
        Err(error) => show(page, Some(&error)).await,
    }
}

/// What somebody sees first whose server asks for TOTP.
pub(super) fn setup(page: &Page<'_>) -> Http {
    let words = page.words();
    let title = say!(words, "totp-title");
    let body = html! {
        (heading(&title, &say!(words, "setup-lead"), &html! {}))
        section.panel { (stepped_up(page, "account/totp", "totp-passphrase", &say!(words, "totp-enable"))) }
    };
    page.show(Section::Account, &title, None, &body)
}

pub(super) async fn passphrase(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let request = new_passphrase(ask).and_then(|new_passphrase| {
        Ok(AccountPassphrase {
            passphrase: ask.form.needed("passphrase")?,
            new_passphrase,
        })
    });
    let changed = match request {
        Ok(request) => page.ask(request).await.map(drop),
        Err(error) => Err(error),
    };
    done(page, changed, "passphrase").await
}

async fn done(page: &Page<'_>, changed: Result<()>, what: &str) -> Result<Http> {
    match changed {
        Ok(()) => Ok(answer::see(&page.path(&format!("account?done={what}")))),
        Err(error) => show(page, Some(&error)).await,
    }
}

pub(super) async fn totp(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let made = match ask.form.needed("passphrase") {
        Ok(passphrase) => page.ask(TotpEnable { passphrase }).await,
        Err(error) => Err(error),
    };
    let made = match made {
        Ok(made) => made,
        Err(error) => return show(page, Some(&error)).await,
    };
    let action = page.path("account/totp/confirm");
    Ok(step(
        page,
        &totp_sheet(page.visit, &made.totp_secret, &made.totp_uri, &action, None),
    ))
}

/// Something that is shown once.
fn step(page: &Page<'_>, body: &Markup) -> Http {
    let words = page.words();
    let title = say!(words, "account-title");
    let body = html! {
        p.crumb { a href=(page.path("account")) { (title) } }
        div.panel { (body) }
        p { a.button href=(page.path("account")) { (say!(words, "back-to-account")) } }
    };
    page.show(Section::Account, &title, None, &body)
}

pub(super) async fn confirm(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let confirmed = match ask.form.get("code") {
        Some(code) => {
            let code = Secret::new(code.to_owned());
            page.ask(TotpConfirm { code }).await.map(drop)
        }
        None => Err(Error::invalid("code", "a required field is missing")),
    };
    match confirmed {
        Ok(()) => Ok(answer::see(&page.path("account?done=totp-on"))),
        Err(error) => Ok(confirm_again(page, &error)),
    }
}

/// The secret was shown once: what can be typed again is the code.
fn confirm_again(page: &Page<'_>, error: &Error) -> Http {
    let words = page.words();
    let title = say!(words, "totp-title");
    let body = html! {
        (heading(&title, "", &html! {}))
        form.panel.inline method="post" action=(page.path("account/totp/confirm")) data-busy {
            (Field {
                name: "code", label: say!(words, "field-code"), autocomplete: "one-time-code",
                numeric: true, required: true, autofocus: true, ..Field::default()
            }.show())
            button.primary type="submit" { (say!(words, "totp-confirm")) }
        }
        p { a.button href=(page.path("account")) { (say!(words, "back-to-account")) } }
    };
    page.show(Section::Account, &title, Some(error), &body)
}

pub(super) async fn totp_off(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let off = match ask.form.needed("passphrase") {
        Ok(passphrase) => page.ask(TotpDisable { passphrase }).await.map(drop),
        Err(error) => Err(error),
    };
    done(page, off, "totp-off").await
}

pub(super) async fn codes(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let made = match ask.form.needed("passphrase") {
        Ok(passphrase) => page.ask(TotpCodes { passphrase }).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(made) => Ok(step(page, &codes_sheet(page.words(), &made.recovery_codes))),
        Err(error) => show(page, Some(&error)).await,
    }
}
