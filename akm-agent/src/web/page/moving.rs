//! Keys come in from a file, and go over to an account of another server.
//!
//! A file is read as `akm import` reads it: what it holds is told key by key, and nothing is stored unless all of it can be. It
//! comes as text in a form, because that is all the guard lets in; a script puts a chosen file there, and what is no text as base64.
//!
//! A hand-over is a file of `akm account send`: a title and a piece on each line. Somebody with a script sends the pieces one by
//! one, of any number; without one a whole file has to fit into a form. The sender's checksum begins in the name of the file it
//! saves, because a page that saves a file shows nothing beside it.
//!
//! Deliberately absent: databases of other programs, which `akm import` opens on a machine of one's own.

use akm_core::error::{Error, Kind, Result};
use akm_core::protocol::{
    HandoverCode, HandoverOffer, HandoverReceive, HandoverReport, HandoverSend, ImportOutcome,
    ImportReport, KeyRow, MAX_IMPORT_PAGE, VaultImport,
};
use akm_core::transfer::{self, FileFormat, Parsed, manager};
use data_encoding::BASE64;
use maud::{Markup, html};
use zeroize::Zeroizing;

use super::super::answer::{self, Http};
use super::super::routes::Ask;
use super::super::view::{Field, Section, badge, heading, notice, tick, time};
use super::super::words::say;
use super::Page;
use super::account::passphrase_field;
use crate::cli::handover::TITLE;

/// Largest hand-over that is made here; `akm account send` writes a larger one as it comes.
const MAX_FILE: usize = 64 * 1024 * 1024;
/// How much of a checksum stands in a file's name.
const SHOWN: usize = 16;

/// What happened just now, above the forms.
enum Now {
    Nothing,
    Offered(HandoverCode),
    Imported(Imported),
    Received(HandoverReport),
}

/// What became of a file.
struct Imported {
    names: Vec<String>,
    rows: Vec<akm_core::protocol::ImportRow>,
    report: ImportReport,
    stored: bool,
}

pub(super) async fn show(page: &Page<'_>, fault: Option<&Error>) -> Result<Http> {
    Ok(draw(page, fault, &Now::Nothing))
}

fn draw(page: &Page<'_>, fault: Option<&Error>, now: &Now) -> Http {
    let words = page.words();
    let title = say!(words, "move-title");
    let back = html! { a.button href=(page.path("account")) { (say!(words, "back-to-account")) } };
    let body = html! {
        (heading(&title, &say!(words, "move-lead"), &back))
        @match now {
            Now::Nothing => {},
            Now::Offered(code) => (offered(page, code)),
            Now::Imported(done) => (imported(page, done)),
            Now::Received(report) => (received(page, report)),
        }
        div.columns {
            div.stack {
                section.panel {
                    h2 { (say!(words, "import-title")) }
                    p { (say!(words, "import-lead")) }
                    form.form method="post" action=(page.path("move/import")) data-busy {
                        (file(page, "import-file"))
                        div.field {
                            label for="import-content" { (say!(words, "field-content")) }
                            textarea.mono id="import-content" name="content" rows="5" spellcheck="false" autocomplete="off" {}
                        }
                        input type="hidden" name="sealed" value="";
                        (Field {
                            name: "seal", label: say!(words, "field-seal"), hint: say!(words, "import-seal-hint"),
                            kind: "password", ..Field::default()
                        }.show())
                        (tick("skip", &say!(words, "import-skip"), "", false))
                        div.buttons {
                            button.primary type="submit" { (say!(words, "import")) }
                            button type="submit" name="dry" value="1" { (say!(words, "import-dry")) }
                        }
                    }
                }
            }
            div.stack {
                section.panel {
                    h2 { (say!(words, "receive-title")) }
                    p { (say!(words, "receive-lead")) }
                    form method="post" action=(page.path("move/offer")) {
                        button type="submit" { (say!(words, "receive-code")) }
                    }
                    form.form method="post" action=(page.path("move/receive")) data-pieces data-busy {
                        (file(page, "receive-file"))
                        div.field {
                            label for="receive-content" { (say!(words, "field-content")) }
                            textarea.mono id="receive-content" name="content" rows="3" spellcheck="false" autocomplete="off" {}
                        }
                        input type="hidden" name="handover" value="";
                        div.progress data-progress hidden { progress value="0" max="1" aria-label=(say!(words, "receive")) {} }
                        div.buttons { button.primary type="submit" { (say!(words, "receive")) } }
                    }
                }
                section.panel {
                    h2 { (say!(words, "send-title")) }
                    p { (say!(words, "send-lead")) }
                    form.form method="post" action=(page.path("move/send")) {
                        (Field {
                            name: "code", label: say!(words, "send-code"), required: true, ..Field::default()
                        }.show())
                        (passphrase_field(words, "send-passphrase"))
                        div.buttons { button.primary type="submit" { (say!(words, "send")) } }
                    }
                }
            }
        }
    };
    page.show(Section::Account, &title, fault, &body)
}

/// A file for the text area beside it; nothing without a script.
fn file(page: &Page<'_>, id: &str) -> Markup {
    html! {
        div.field hidden data-file-field {
            label for=(id) { (say!(page.words(), "field-file")) }
            input id=(id) type="file" data-file;
        }
    }
}

fn offered(page: &Page<'_>, code: &HandoverCode) -> Markup {
    let words = page.words();
    html! {
        section.panel {
            h2 { (say!(words, "receive-code-title")) }
            p { (say!(words, "receive-code-lead")) " " (time(&code.expires_at)) }
            p { code.breaks data-handover-code { (code.code) } }
        }
    }
}

fn imported(page: &Page<'_>, done: &Imported) -> Markup {
    let words = page.words();
    let report = &done.report;
    let (tone, line) = match (done.stored, report.refused) {
        (true, _) => ("good", say!(words, "import-stored", count = report.added)),
        (false, 0) => ("good", say!(words, "import-would", count = report.added)),
        (false, refused) => ("bad", say!(words, "import-nothing", count = refused)),
    };
    html! {
        (notice(tone, &line))
        section.panel {
            div.scroll tabindex="0" role="region" aria-label=(say!(words, "import-title")) {
                table {
                    thead { tr {
                        th scope="col" { (say!(words, "field-name")) }
                        th scope="col" { (say!(words, "col-outcome")) }
                        th scope="col" { (say!(words, "import-why")) }
                    } }
                    tbody { @for (name, row) in done.names.iter().zip(&done.rows) {
                        tr {
                            th scope="row" { bdi { (name) } }
                            td { (outcome(page, row.outcome)) }
                            td {
                                @if let Some(field) = &row.field { (words.token("field", field)) ": " }
                                @if let Some(message) = &row.message { (words.sentence(message)) }
                            }
                        }
                    } }
                }
            }
        }
    }
}

fn outcome(page: &Page<'_>, outcome: ImportOutcome) -> Markup {
    let words = page.words();
    match outcome {
        ImportOutcome::Added => badge("good", &say!(words, "import-added")),
        ImportOutcome::Unchanged => badge("plain", &say!(words, "import-unchanged")),
        ImportOutcome::Skipped => badge("warn", &say!(words, "import-skipped")),
        ImportOutcome::Conflict => badge("bad", &say!(words, "import-conflict")),
        ImportOutcome::Invalid => badge("bad", &say!(words, "import-invalid")),
    }
}

fn received(page: &Page<'_>, report: &HandoverReport) -> Markup {
    let words = page.words();
    if !report.refused.is_empty() {
        let count = report.refused.len() as u64;
        return html! {
            (notice("bad", &say!(words, "import-nothing", count = count)))
            section.panel { ul.versions { @for refused in &report.refused {
                li {
                    bdi { (refused.name) } ": "
                    @if let Some(field) = &refused.field { (words.token("field", field)) ": " }
                    (words.sentence(&refused.message))
                }
            } } }
        };
    }
    let checksum = report.checksum.as_deref().unwrap_or_default();
    let line = say!(
        words,
        "received",
        count = report.added,
        unchanged = report.unchanged
    );
    html! {
        (notice("good", &line))
        section.panel {
            dl.facts {
                dt { (say!(words, "keys-title")) } dd { (report.keys) }
                dt { (say!(words, "field-checksum")) } dd { code.breaks { (checksum) } }
            }
            p { (say!(words, "receive-compare")) }
            @if !report.differing.is_empty() {
                p { (say!(words, "receive-differing", names = report.differing.join(", "))) }
            }
        }
    }
}

pub(super) async fn import(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    match imports(page, ask).await {
        Ok(done) => Ok(draw(page, None, &Now::Imported(done))),
        Err(error) => show(page, Some(&error)).await,
    }
}

async fn imports(page: &Page<'_>, ask: &Ask) -> Result<Imported> {
    let parsed = parse(page, ask).await?;
    let names = parsed.keys.iter().map(|key| key.name.clone()).collect();
    let mut rows = Vec::with_capacity(parsed.keys.len());
    let mut last: Option<ImportReport> = None;
    let mut keys = parsed.keys.into_iter();
    loop {
        let some: Vec<KeyRow> = keys.by_ref().take(MAX_IMPORT_PAGE).collect();
        if some.is_empty() && last.is_some() {
            break;
        }
        let first = last.is_none();
        let mut report = page
            .ask(VaultImport {
                import: last.and_then(|report| report.import),
                keys: some,
                skip_existing: first.then_some(ask.form.ticked("skip")),
                finish: None,
            })
            .await?;
        rows.append(&mut report.rows);
        last = Some(report);
    }
    let mut report = last.ok_or(Error::internal("an import without an answer"))?;
    let stored = report.refused == 0 && report.added > 0 && ask.form.get("dry").is_none();
    if stored {
        let finish = VaultImport {
            import: report.import.take(),
            finish: Some(true),
            ..VaultImport::default()
        };
        report = page.ask(finish).await?;
    }
    Ok(Imported {
        names,
        rows,
        report,
        stored,
    })
}

/// The keys of what was sent.
async fn parse(page: &Page<'_>, ask: &Ask) -> Result<Parsed> {
    let file = match ask.form.get("sealed") {
        Some(base64) => {
            let decoded = BASE64.decode(base64.as_bytes());
            Zeroizing::new(decoded.map_err(|_| Error::invalid("file", "the file is damaged"))?)
        }
        None => {
            let text = ask.form.lines("content").map(Zeroizing::new);
            let text = text.ok_or(Error::invalid("content", "a required field is missing"))?;
            Zeroizing::new(text.as_bytes().to_vec())
        }
    };
    match transfer::detect(&file)? {
        FileFormat::Age => {
            let seal = ask.form.needed("seal")?;
            let plain = page.visit.visitor.open_sealed(file.to_vec(), seal).await?;
            in_clear(&plain)
        }
        _ => in_clear(&file),
    }
}

fn in_clear(file: &[u8]) -> Result<Parsed> {
    match transfer::detect(file)? {
        FileFormat::Plain(format) => transfer::parse(format, file),
        FileFormat::Manager => manager::parse(file),
        FileFormat::ManagerDatabase => Err(Error::invalid(
            "file",
            "a database is not read in a browser",
        )
        .with_hint("run akm import on it, on a machine of your own")),
        FileFormat::Age => Err(Error::invalid("file", "the file is sealed twice")),
    }
}

pub(super) async fn offer(page: &Page<'_>) -> Result<Http> {
    match page.ask(HandoverOffer {}).await {
        Ok(code) => Ok(draw(page, None, &Now::Offered(code))),
        Err(error) => show(page, Some(&error)).await,
    }
}

/// One piece, for a script: how to name the hand-over from then on, and which keys cannot be taken.
pub(super) async fn piece(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let report = page
        .ask(HandoverReceive {
            handover: ask.form.text("handover"),
            content: ask.form.text("content"),
            finish: None,
        })
        .await?;
    Ok(answer::json(&serde_json::json!({
        "handover": report.handover,
        "refused": report.refused.iter().map(|refused| &refused.name).collect::<Vec<_>>(),
    })))
}

pub(super) async fn receive(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    match receives(page, ask).await {
        Ok(report) => Ok(draw(page, None, &Now::Received(report))),
        Err(error) => show(page, Some(&error)).await,
    }
}

/// Takes in what a script sent before, or what stands in the form; then stores it, if all of it can be.
async fn receives(page: &Page<'_>, ask: &Ask) -> Result<HandoverReport> {
    let mut handover = ask.form.text("handover");
    if handover.is_none() {
        let text = ask.form.lines("content");
        let text = text.ok_or(Error::invalid("content", "a required field is missing"))?;
        let pieces = text.strip_prefix(TITLE).ok_or(Error::invalid(
            "content",
            "the file is not a hand-over of akm",
        ))?;
        for line in pieces
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let report = page
                .ask(HandoverReceive {
                    handover,
                    content: Some(line.to_owned()),
                    finish: None,
                })
                .await?;
            if report.complete && !report.refused.is_empty() {
                return Ok(report);
            }
            handover = report.handover;
        }
    }
    page.ask(HandoverReceive {
        handover,
        content: None,
        finish: Some(true),
    })
    .await
}

pub(super) async fn send(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    match sends(page, ask).await {
        Ok(http) => Ok(http),
        Err(error) => show(page, Some(&error)).await,
    }
}

async fn sends(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let mut content = format!("{TITLE}\n").into_bytes();
    let mut request = HandoverSend {
        code: ask.form.text("code"),
        passphrase: Some(ask.form.needed("passphrase")?),
        after: None,
    };
    loop {
        let piece = page.ask(request).await?;
        content.extend_from_slice(piece.content.as_bytes());
        content.push(b'\n');
        if content.len() > MAX_FILE {
            return Err(Error::new(
                Kind::LimitReached,
                "the hand-over is too large for a browser",
            )
            .with_hint("run akm account send"));
        }
        match (piece.next, piece.checksum) {
            (Some(next), _) => {
                request = HandoverSend {
                    after: Some(next),
                    ..HandoverSend::default()
                };
            }
            (None, checksum) => {
                let checksum = checksum.unwrap_or_default();
                let shown = checksum.get(..SHOWN).unwrap_or(&checksum);
                let name = format!("akm-{}-keys-{shown}.handover", piece.keys);
                return Ok(answer::download(&name, "application/octet-stream", content));
            }
        }
    }
}
