//! Pages that need no open account: creating one, unlocking (on a server: signing in), recovering, locking.

use akm_core::error::{Error, Result};
use akm_core::protocol::{
    AccountRecover, AccountRegister, AgentLock, AgentUnlock, Status, TotpConfirm,
};
use akm_core::service::Registration;
use akm_core::{Kind, Secret};
use hyper::StatusCode;
use hyper::header::{HeaderValue, SET_COOKIE};
use maud::{Markup, html};

use super::super::Visit;
use super::super::answer::{self, Http};
use super::super::routes::Ask;
use super::super::view::qr::qr;
use super::super::view::{Field, notice, tick};
use super::super::words::{Words, say};
use super::{explained, frame, next_step};

/// Paths that somebody gets to who has to set up TOTP before anything else.
pub(crate) const SETTING_UP: &[&str] = &["setup", "account/totp", "account/totp/confirm"];

/// The paths of [`route`].
pub(crate) const PATHS: &[&str] = &["lock", "unlock", "register", "register/confirm", "recover"];

/// One of these pages, by its path.
pub(crate) async fn route(
    visit: &Visit<'_>,
    posts: bool,
    path: &str,
    ask: &Ask,
    status: &Status,
) -> Result<Option<Http>> {
    // On a machine of one's own, accounts beside the first are made on the command line; a server has its rules.
    let may_register = visit.is_hosted() || !status.initialized;
    let http = match (posts, path) {
        (true, "lock") => {
            if visit.is_hosted() {
                let forgets = visit.visitor.leave().await?;
                with_cookie(answer::see(&visit.path("unlock")), Some(forgets))
            } else {
                visit.ask(AgentLock {}).await?;
                answer::see(&visit.path("unlock"))
            }
        }
        // Whoever is in already need not come in again.
        (false, "unlock" | "register" | "recover") if !status.locked => {
            answer::see(&visit.path(""))
        }
        (false, "unlock") if !status.initialized => answer::see(&visit.path("register")),
        (false, "unlock") => unlock_page(visit, ask, status, None),
        (true, "unlock") => unlock(visit, ask, status).await,
        (false, "register") if !may_register => answer::see(&visit.path("unlock")),
        (false, "register") => register_page(visit, ask, None),
        (true, "register") if may_register => register(visit, ask).await,
        (false, "recover") => recover_page(visit, ask, None),
        (true, "recover") => recover(visit, ask).await,
        (true, "register/confirm") => confirm(visit, ask).await,
        _ => return Ok(None),
    };
    Ok(Some(http))
}

async fn unlock(visit: &Visit<'_>, ask: &Ask, status: &Status) -> Http {
    let request = ask.form.needed("passphrase").map(|passphrase| AgentUnlock {
        account: ask.form.text("account"),
        passphrase,
        totp: ask.form.text("totp").map(Secret::new),
        keyfile: None,
        lifetime_s: ask
            .form
            .get("lifetime")
            .and_then(|life| life.parse().ok())
            .filter(|_| !visit.is_hosted()),
        accept_rollback: None,
    });
    let unlocked = match request {
        Ok(request) => visit.enter(request).await,
        Err(error) => Err(error),
    };
    match unlocked {
        Ok((_, cookie)) => with_cookie(answer::see(&visit.path("")), cookie),
        Err(error) => unlock_page(visit, ask, status, Some(&error)),
    }
}

fn unlock_page(visit: &Visit<'_>, ask: &Ask, status: &Status, fault: Option<&Error>) -> Http {
    let words = visit.words;
    let account = ask.form.get("account").unwrap_or("");
    let lives = [
        ("", say!(words, "life-none")),
        ("3600", say!(words, "life-hour")),
        ("28800", say!(words, "life-day")),
    ];
    let hosted = visit.is_hosted();
    let account = html! {
        (Field {
            name: "account", label: say!(words, "field-account"), value: account,
            hint: if hosted { String::new() } else { say!(words, "account-hint") },
            autocomplete: "username", required: hosted, autofocus: hosted, ..Field::default()
        }.show())
    };
    let totp_hint = match (hosted, status.totp_required) {
        (false, true) => String::new(),
        _ => say!(words, "totp-if-any"),
    };
    let title = match hosted {
        true => say!(words, "sign-in-title"),
        false => say!(words, "unlock-title"),
    };
    let body = html! {
        (fault_line(visit, fault))
        @if !hosted { p.lead { (say!(words, "unlock-lead")) } }
        form method="post" action=(visit.path("unlock")) data-busy {
            @if hosted { (account) }
            (Field {
                name: "passphrase", label: say!(words, "field-passphrase"), kind: "password",
                autocomplete: "current-password", required: true, autofocus: !hosted, ..Field::default()
            }.show())
            (Field {
                name: "totp", label: say!(words, "field-totp"), hint: totp_hint,
                autocomplete: "one-time-code", numeric: true,
                required: status.totp_required && !hosted, ..Field::default()
            }.show())
            @if !hosted {
                details.more open[ask.form.get("account").is_some()] {
                    summary { (say!(words, "more-options")) }
                    (account)
                    label.field {
                        span { (say!(words, "field-lifetime")) }
                        select name="lifetime" {
                            @for (seconds, text) in &lives { option value=(seconds) { (text) } }
                        }
                    }
                }
            }
            button.primary.wide type="submit" {
                @if hosted { (say!(words, "sign-in")) } @else { (say!(words, "unlock")) }
            }
        }
        p.aside {
            a href=(visit.path("recover")) { (say!(words, "lost-passphrase")) }
            @if hosted && registration(visit) != Registration::Closed {
                " · " a href=(visit.path("register")) { (say!(words, "no-account")) }
            }
        }
    };
    sheet(visit, ask, &title, fault, &body)
}

async fn register(visit: &Visit<'_>, ask: &Ask) -> Http {
    let form = &ask.form;
    let request = new_passphrase(ask).map(|passphrase| AccountRegister {
        account: form.text("account").unwrap_or_else(|| "default".to_owned()),
        passphrase,
        totp: Some(form.ticked("with_totp")),
        invitation: form
            .get("invitation")
            .map(|text| Secret::new(text.to_owned())),
    });
    let registered = match request {
        Ok(request) => visit.enter(request).await,
        Err(error) => Err(error),
    };
    match registered {
        Ok((made, cookie)) => welcome(
            visit,
            ask,
            made.totp_secret.as_ref().zip(made.totp_uri.as_ref()),
            &made.recovery_codes,
            cookie,
            may_wait(visit),
        ),
        Err(error) => register_page(visit, ask, Some(&error)),
    }
}

/// The new passphrase, which stands in two fields because nobody sees what they type.
pub(super) fn new_passphrase(ask: &Ask) -> Result<Secret> {
    let new = ask.form.needed("new_passphrase")?;
    if !new.matches(&ask.form.needed("again")?) {
        return Err(Error::invalid(
            "again",
            "the two new passphrases are not the same",
        ));
    }
    Ok(new)
}

/// The two fields of [`new_passphrase`].
pub(super) fn new_passphrase_fields(visit: &Visit<'_>, fault: Option<&Error>) -> Markup {
    let words = visit.words;
    let hint = match visit.is_hosted() {
        true => say!(words, "passphrase-hint-hosted"),
        false => say!(words, "passphrase-hint"),
    };
    let wrong = |name| fault.and_then(Error::field) == Some(name);
    html! {
        (Field {
            name: "new_passphrase", label: say!(words, "field-new-passphrase"), kind: "password",
            hint, autocomplete: "new-password", required: true,
            wrong: wrong("passphrase") || wrong("new_passphrase"), ..Field::default()
        }.show())
        (Field {
            name: "again", label: say!(words, "field-again"), kind: "password",
            autocomplete: "new-password", required: true, wrong: wrong("again"), ..Field::default()
        }.show())
    }
}

fn register_page(visit: &Visit<'_>, ask: &Ask, fault: Option<&Error>) -> Http {
    let words = visit.words;
    let wrong = |name| fault.and_then(Error::field) == Some(name);
    let title = match visit.is_hosted() {
        true => say!(words, "join-title"),
        false => say!(words, "register-title"),
    };
    if registration(visit) == Registration::Closed {
        let body = html! {
            (fault_line(visit, fault))
            p.lead { (say!(words, "join-closed")) }
            p.aside { a href=(visit.path("unlock")) { (say!(words, "have-account")) } }
        };
        return sheet(visit, ask, &title, fault, &body);
    }
    let body = html! {
        (fault_line(visit, fault))
        p.lead { @if visit.is_hosted() { (say!(words, "join-lead")) } @else { (say!(words, "register-lead")) } }
        form method="post" action=(visit.path("register")) data-busy {
            (Field {
                name: "account", label: say!(words, "field-account"),
                value: ask.form.get("account").unwrap_or(if visit.is_hosted() { "" } else { "default" }), autocomplete: "username",
                required: true, ..Field::default()
            }.show())
            (new_passphrase_fields(visit, fault))
            @if may_wait(visit) {
                (tick("with_totp", &say!(words, "with-totp"), &say!(words, "with-totp-hint"), true))
            } @else {
                input type="hidden" name="with_totp" value="1";
            }
            @if registration(visit) == Registration::Invitation {
                (Field {
                    name: "invitation", label: say!(words, "field-invitation"), hint: say!(words, "invitation-hint"),
                    value: ask.form.get("invitation").unwrap_or(""), required: true, wrong: wrong("invitation"),
                    ..Field::default()
                }.show())
            }
            button.primary.wide type="submit" { (say!(words, "register")) }
        }
        @if visit.is_hosted() { p.aside { a href=(visit.path("unlock")) { (say!(words, "have-account")) } } }
    };
    sheet(visit, ask, &title, fault, &body)
}

/// Whether an account may do anything before it has TOTP.
fn may_wait(visit: &Visit<'_>) -> bool {
    visit.rules.is_none_or(|rules| !rules.totp_required)
}

/// Who may register here; on one's own machine whoever is there.
fn registration(visit: &Visit<'_>) -> Registration {
    visit
        .rules
        .map_or(Registration::Open, |rules| rules.registration)
}

/// What the owner of a new way in has to keep. It is shown once: the service does not say it again.
fn welcome(
    visit: &Visit<'_>,
    ask: &Ask,
    totp: Option<(&Secret, &Secret)>,
    codes: &[Secret],
    cookie: Option<HeaderValue>,
    later: bool,
) -> Http {
    let words = visit.words;
    let body = html! {
        @if !codes.is_empty() { (codes_sheet(words, codes)) }
        @match totp {
            Some((secret, uri)) => {
                (totp_sheet(visit, secret, uri, &visit.path("register/confirm"), None))
                @if later { p.aside { a href=(visit.path("")) { (say!(words, "totp-later")) } } }
            }
            None => p { a.button.primary.wide href=(visit.path("")) { (say!(words, "go-on")) } },
        }
    };
    let page = sheet(visit, ask, &say!(words, "welcome-title"), None, &body);
    with_cookie(page, cookie)
}

/// The answer with the cookie of a session that began or ended, where sessions have one.
fn with_cookie(mut http: Http, cookie: Option<HeaderValue>) -> Http {
    if let Some(cookie) = cookie {
        http.headers_mut().append(SET_COOKIE, cookie);
    }
    http
}

/// Recovery codes, to be written down.
pub(super) fn codes_sheet(words: Words<'_>, codes: &[Secret]) -> Markup {
    html! {
        section.step {
            h2 { (say!(words, "codes-title")) }
            p { (say!(words, "codes-keep")) }
            ol.codes { @for code in codes { li { code { (code.expose()) } } } }
        }
    }
}

/// A TOTP secret, to be scanned and confirmed.
pub(super) fn totp_sheet(
    visit: &Visit<'_>,
    secret: &Secret,
    uri: &Secret,
    action: &str,
    fault: Option<&Error>,
) -> Markup {
    let words = visit.words;
    html! {
        section.step {
            h2 { (say!(words, "totp-title")) }
            p { (say!(words, "totp-scan")) }
            div.qr-frame { (qr(uri, &say!(words, "qr-label"))) }
            p.hint { (say!(words, "totp-by-hand")) " " code.breaks { (secret.expose()) } }
            (fault_line(visit, fault))
            form.inline method="post" action=(action) data-busy {
                (Field {
                    name: "code", label: say!(words, "field-code"), autocomplete: "one-time-code",
                    numeric: true, required: true, ..Field::default()
                }.show())
                button.primary type="submit" { (say!(words, "totp-confirm")) }
            }
        }
    }
}

async fn confirm(visit: &Visit<'_>, ask: &Ask) -> Http {
    let request = ask.form.get("code").map(|code| TotpConfirm {
        code: Secret::new(code.to_owned()),
    });
    let confirmed = match request {
        Some(request) => visit.ask(request).await,
        None => Err(Error::invalid("code", "a required field is missing")),
    };
    match confirmed {
        Ok(_) => answer::see(&visit.path("account?done=totp-on")),
        Err(error) => {
            let words = visit.words;
            let later = may_wait(visit);
            // The secret was shown once and is not shown again: only the code can be typed again.
            let body = html! {
                (fault_line(visit, Some(&error)))
                form.inline method="post" action=(visit.path("register/confirm")) data-busy {
                    (Field {
                        name: "code", label: say!(words, "field-code"), autocomplete: "one-time-code",
                        numeric: true, required: true, autofocus: true, ..Field::default()
                    }.show())
                    button.primary type="submit" { (say!(words, "totp-confirm")) }
                }
                @if later { p.aside { a href=(visit.path("account")) { (say!(words, "totp-later")) } } }
            };
            sheet(visit, ask, &say!(words, "totp-title"), Some(&error), &body)
        }
    }
}

async fn recover(visit: &Visit<'_>, ask: &Ask) -> Http {
    let request = new_passphrase(ask).and_then(|new_passphrase| {
        Ok(AccountRecover {
            account: ask.form.text("account"),
            code: ask
                .form
                .get("code")
                .map(|code| Secret::new(code.to_owned()))
                .ok_or_else(|| Error::invalid("code", "a required field is missing"))?,
            new_passphrase,
        })
    });
    let recovered = match request {
        Ok(request) => visit.enter(request).await,
        Err(error) => Err(error),
    };
    match recovered {
        Ok((made, cookie)) => welcome(
            visit,
            ask,
            made.totp_secret.as_ref().zip(made.totp_uri.as_ref()),
            &[],
            cookie,
            may_wait(visit),
        ),
        Err(error) => recover_page(visit, ask, Some(&error)),
    }
}

fn recover_page(visit: &Visit<'_>, ask: &Ask, fault: Option<&Error>) -> Http {
    let words = visit.words;
    let hosted = visit.is_hosted();
    let body = html! {
        (fault_line(visit, fault))
        p.lead { (say!(words, "recover-lead")) }
        form method="post" action=(visit.path("recover")) data-busy {
            (Field {
                name: "account", label: say!(words, "field-account"),
                value: ask.form.get("account").unwrap_or(""),
                hint: if hosted { String::new() } else { say!(words, "account-hint") },
                autocomplete: "username", required: hosted, ..Field::default()
            }.show())
            (Field {
                name: "code", label: say!(words, "field-recovery-code"), required: true,
                ..Field::default()
            }.show())
            (new_passphrase_fields(visit, fault))
            button.primary.wide type="submit" { (say!(words, "recover")) }
        }
        p.aside { a href=(visit.path("unlock")) { (say!(words, "back-to-unlock")) } }
    };
    sheet(visit, ask, &say!(words, "recover-title"), fault, &body)
}

fn fault_line(visit: &Visit<'_>, fault: Option<&Error>) -> Markup {
    html! {
        @if let Some(fault) = fault {
            (notice("bad", &explained(visit.words, fault)))
            @if fault.kind() == Kind::RolledBack { (next_step(visit, fault)) }
        }
    }
}

fn sheet(visit: &Visit<'_>, ask: &Ask, title: &str, fault: Option<&Error>, body: &Markup) -> Http {
    let body = html! { section.sheet { h1 { (title) } (body) } };
    let status = fault.map_or(StatusCode::OK, answer::status);
    // A form that was refused has no page to come back to but its own.
    let page = frame(visit, &ask.here).card(title, "app.js", true, &body);
    answer::html(status, page)
}
