//! `akm ls`: all keys, without their secrets.

use akm_core::client::Client;
use akm_core::protocol::{Key, KeyList, KeyPage, KeyStatus, MAX_PAGE};
use clap::{Args, ValueEnum};

use super::connect;
use super::output::{self, Result};
use super::text::{of_token, text};

/// A status to look for.
#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Active,
    Disabled,
    Expired,
    Burned,
}

impl From<Status> for KeyStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => KeyStatus::Active,
            Status::Disabled => KeyStatus::Disabled,
            Status::Expired => KeyStatus::Expired,
            Status::Burned => KeyStatus::Burned,
        }
    }
}

/// Lists keys.
#[derive(Args)]
#[command(after_help = "Example:\n  akm ls --provider openai\n  akm ls --status expired --json")]
pub(crate) struct Ls {
    /// Only keys of this provider
    #[arg(long, value_name = "P")]
    provider: Option<String>,
    /// Only keys with this category
    #[arg(long, value_name = "C")]
    category: Option<String>,
    /// Only keys with this status
    #[arg(long, value_name = "S")]
    status: Option<Status>,
    /// Pass over keys that do not open, and say which
    #[arg(long)]
    skip_unreadable: bool,
}

pub(crate) fn ls(args: Ls, json: bool) -> Result<()> {
    let found = all(
        &mut connect()?,
        KeyList {
            provider: args.provider,
            category: args.category,
            status: args.status.map(KeyStatus::from),
            skip_unreadable: args.skip_unreadable.then_some(true),
            ..KeyList::default()
        },
    )?;
    if json {
        return output::json(&found);
    }
    let KeyPage {
        keys, unreadable, ..
    } = found;
    if !unreadable.is_empty() {
        output::note(&text!(
            "list-unreadable",
            count = unreadable.len(),
            ids = unreadable.join(", ")
        ));
    }
    if keys.is_empty() {
        output::note(&text!("no-keys"));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    output::table(
        &[
            "col-name",
            "col-secret",
            "col-status",
            "col-model",
            "col-categories",
            "col-expires",
            "col-last-used",
            "col-tested",
        ],
        &rows,
    )
}

fn row(key: &Key) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let status = match (key.status, key.use_only) {
        (KeyStatus::Active, true) => text!("use-only"),
        (status, _) => of_token("status", status.token()),
    };
    vec![
        key.name.clone(),
        key.preview.clone(),
        status,
        or_dash(&key.model),
        match key.categories.as_slice() {
            [] => "-".to_owned(),
            categories => categories.join(", "),
        },
        or_dash(&key.expires_at),
        or_dash(&key.last_used_at),
        tested(key),
    ]
}

/// What the last connection test showed, and when.
pub(super) fn tested(key: &Key) -> String {
    match &key.last_test {
        None => "-".to_owned(),
        Some(test) => format!(
            "{} {}",
            of_token("outcome", test.outcome.token()),
            test.time
        ),
    }
}

/// Every page of a list as one, sorted by name.
pub(crate) fn all(client: &mut Client, mut request: KeyList) -> Result<KeyPage> {
    let (mut keys, mut unreadable) = (Vec::new(), Vec::new());
    request.limit = Some(MAX_PAGE);
    loop {
        let page = client.call(&request)?;
        keys.extend(page.keys);
        unreadable.extend(page.unreadable);
        match page.next {
            // An agent that answers the same cursor for ever must not keep us for ever.
            Some(next) if request.after.as_ref() != Some(&next) => request.after = Some(next),
            _ => break,
        }
    }
    keys.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(KeyPage {
        keys,
        unreadable,
        next: None,
    })
}
