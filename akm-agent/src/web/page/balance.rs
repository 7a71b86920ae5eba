//! What is left on accounts at providers. Nothing of it is kept: it is asked for, and shown.

use akm_core::error::Result;
use akm_core::protocol::{Balance, BalanceOutcome, BalanceResult, Key, KeyStatus, ProviderBalance};
use maud::{Markup, html};

use super::super::answer::Http;
use super::super::routes::Ask;
use super::super::view::chart::gauge;
use super::super::view::{Section, badge, empty, heading, icon, monogram, time};
use super::super::words::say;
use super::{Page, activity, keys};

/// Keys asked at a time, and at most for one page: a provider may take half a minute.
const AT_ONCE: usize = 8;
const MAX_ASKED: usize = 100;

pub(super) async fn show(page: &Page<'_>) -> Result<Http> {
    draw(page, None).await
}

/// Asks for the key that the form names, or for all.
pub(super) async fn ask(page: &Page<'_>, ask: &Ask) -> Result<Http> {
    let one = ask.form.text("name");
    let names: Vec<String> = match one {
        Some(name) => vec![name],
        None => {
            let keys = keys::all(page).await?.keys;
            let usable = keys.into_iter().filter(is_usable);
            usable.map(|key| key.name).take(MAX_ASKED).collect()
        }
    };
    let mut results = Vec::new();
    for some in names.chunks(AT_ONCE) {
        let asked = some
            .iter()
            .map(|name| page.ask(ProviderBalance { name: name.clone() }));
        results.extend(join(asked).await.into_iter().zip(some));
    }
    draw(page, Some(results)).await
}

fn is_usable(key: &Key) -> bool {
    key.status == KeyStatus::Active
}

/// Waits for all of them, each going on while another waits.
async fn join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut ready = true;
        for (future, output) in &mut waiting {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(done) => *output = Some(done),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        match ready {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    waiting
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}

type Asked<'n> = (Result<BalanceResult>, &'n String);

async fn draw(page: &Page<'_>, results: Option<Vec<Asked<'_>>>) -> Result<Http> {
    let words = page.words();
    let title = say!(words, "balance-title");
    let keys::All {
        keys, unreadable, ..
    } = keys::all(page).await?;
    let any = keys.iter().any(is_usable);
    let action = html! {
        @if any {
            form method="post" action=(page.path("balance")) data-busy {
                button.primary type="submit" { (icon("coin")) (say!(words, "balance-ask-all")) }
            }
        }
    };
    let body = html! {
        (heading(&title, &say!(words, "balance-lead"), &action))
        (activity::tabs(page, "balance"))
        (keys::lost(page, unreadable))
        @match &results {
            None if any => (empty("coin", &say!(words, "balance-none-title"), &say!(words, "balance-none"), &html! {})),
            None => (empty("key", &say!(words, "keys-none-title"), &page.no_keys(), &html! {
                a.button.primary href=(page.path("keys/new")) { (icon("plus")) (say!(words, "add-key")) }
            })),
            Some(results) => {
                ul.cards { @for (result, name) in results { (card(page, name, result)) } }
            }
        }
    };
    Ok(page.show(Section::Activity, &title, None, &body))
}

fn card(page: &Page<'_>, name: &str, result: &Result<BalanceResult>) -> Markup {
    let words = page.words();
    html! {
        li.panel.card {
            div.card-head {
                (monogram(name.split('/').next().unwrap_or("")))
                div { h2 { bdi { (name) } } }
                @if let Ok(BalanceResult { low: Some(true), .. }) = result { (badge("bad", &say!(words, "balance-low"))) }
            }
            @match result {
                Ok(known) => {
                    @for balance in &known.balances { (amounts(page, balance)) }
                    @if known.outcome != BalanceOutcome::Known { p.faint { (words.sentence(&known.detail)) } }
                    @else if let (Some(threshold), Some(why)) = (&known.low_balance, &known.low_unknown) {
                        p.bad-text { (say!(words, "balance-uncompared", threshold = threshold, why = words.sentence(why))) }
                    }
                    p.faint { (time(&known.checked_at)) }
                }
                Err(error) => p.faint { (words.error(error)) },
            }
        }
    }
}

fn amounts(page: &Page<'_>, balance: &Balance) -> Markup {
    let words = page.words();
    let low = balance.low == Some(true);
    let unit = balance.currency.as_deref().unwrap_or("");
    html! {
        div.balance {
            p.amount {
                @if balance.unlimited { (say!(words, "balance-unlimited")) }
                @else if let Some(left) = &balance.available { b { (left) } " " (unit) }
                @else if let Some(used) = &balance.used { b { (used) } " " (unit) " " (say!(words, "balance-used")) }
                span.faint {
                    " " (words.token("balance-kind", balance.kind.token()))
                    " · " (words.token("balance-of", balance.of.token()))
                }
            }
            @if let Some(parts) = left_of(balance) {
                (gauge(&say!(words, "balance-gauge", percent = parts / 10), parts, low))
                @if let Some(total) = &balance.total { p.faint { (say!(words, "balance-total", total = format!("{total} {unit}"))) } }
            }
            @if let Some(owed) = &balance.owed { p.bad-text { (say!(words, "balance-owed", amount = format!("{owed} {unit}"))) } }
        }
    }
}

/// What is left, in parts of 1000 of all there was. For a picture: the numbers beside it are exact.
fn left_of(balance: &Balance) -> Option<u64> {
    let number = |text: &Option<String>| text.as_ref()?.parse::<f64>().ok();
    let total = number(&balance.total)
        .or_else(|| Some(number(&balance.available)? + number(&balance.used)?))?;
    let left = number(&balance.available).or_else(|| Some(total - number(&balance.used)?))?;
    (total > 0.0).then(|| (left / total * 1000.0).clamp(0.0, 1000.0).round() as u64)
}
