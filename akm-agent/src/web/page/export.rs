//! All keys as a file: sealed with a passphrase of its own, or in clear with the account's.

use akm_core::error::{Error, Kind, Result};
use akm_core::protocol::{ExportFormat, VaultExport};
use data_encoding::BASE64;
use maud::{Markup, html};

use super::super::answer::{self, Http};
use super::super::routes::Ask;
use super::super::view::tick;
use super::super::words::say;
use super::{Page, account};

/// Largest file that is made here; a larger vault is exported by `akm export`, which writes as it reads.
const MAX_FILE: usize = 64 * 1024 * 1024;

pub(super) fn form(page: &Page<'_>) -> Markup {
    let words = page.words();
    html! {
        p { (say!(words, "export-lead")) }
        form.form method="post" action=(page.path("account/export")) {
            label.field {
                span { (say!(words, "field-format")) }
                select name="format" {
                    option value="json" { (say!(words, "format-json")) }
                    option value="cxf" { (say!(words, "format-cxf")) }
                    option value="env" { (say!(words, "format-env")) }
                }
            }
            div.field {
                label for="f-seal" { (say!(words, "field-seal")) }
                input.mono id="f-seal" type="password" name="seal" autocomplete="new-password"
                    aria-describedby="hint-seal";
                p.hint id="hint-seal" { (say!(words, "seal-hint")) }
            }
            @if page.status.damaged == Some(true) {
                (tick("skip_unreadable", &say!(words, "export-skip"), "", false))
            }
            details.more {
                summary { (say!(words, "export-plain-title")) }
                p { (say!(words, "export-plain-lead")) }
                (tick("plaintext", &say!(words, "export-plain"), "", false))
                div.field {
                    label for="export-passphrase" { (say!(words, "field-current-passphrase")) }
                    input.mono id="export-passphrase" type="password" name="passphrase" autocomplete="current-password";
                }
            }
            div.buttons { button type="submit" { (say!(words, "export")) } }
        }
    }
}

pub(super) async fn export(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    match file(page, ask).await {
        Ok(http) => Ok(http),
        Err(error) => account::show(page, Some(&error)).await,
    }
}

async fn file(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let form = &ask.form;
    let (format, end) = match form.get("format") {
        Some("cxf") => (ExportFormat::Cxf, "cxf.json"),
        Some("env") => (ExportFormat::Env, "env"),
        _ => (ExportFormat::Json, "json"),
    };
    let plaintext = form.ticked("plaintext");
    let mut request = VaultExport {
        format: Some(format),
        seal: match plaintext {
            true => None,
            false => Some(form.needed("seal")?),
        },
        passphrase: match plaintext {
            true => Some(form.needed("passphrase")?),
            false => None,
        },
        use_only: None,
        skip_unreadable: form.ticked("skip_unreadable").then_some(true),
        after: None,
    };
    let mut content = Vec::new();
    loop {
        let part = page.ask(request).await?;
        let piece = part.content.expose().as_bytes();
        match plaintext {
            true => content.extend_from_slice(piece),
            false => content.extend(
                BASE64
                    .decode(piece)
                    .map_err(|_| Error::internal("a sealed piece is not base64"))?,
            ),
        }
        if content.len() > MAX_FILE {
            return Err(
                Error::new(Kind::LimitReached, "the export is too large for a browser")
                    .with_hint("run akm export"),
            );
        }
        match part.next {
            Some(next) => {
                request = VaultExport {
                    after: Some(next),
                    ..VaultExport::default()
                };
            }
            None => break,
        }
    }
    let name = match plaintext {
        true => format!("akm-keys.{end}"),
        false => format!("akm-keys.{end}.age"),
    };
    Ok(answer::download(&name, "application/octet-stream", content))
}
