//! One key: `add get show edit mv rm disable enable rotate history`.

use akm_core::Kind;
use akm_core::name::KeyName;
use akm_core::protocol::{
    Key, KeyAdd, KeyGet, KeyHistory, KeyRemove, KeyResult, KeyRotate, KeyShow, KeyStatus,
    KeyUpdate, ProviderTest, TestResult,
};
use clap::{ArgGroup, Args, ValueEnum};
use serde::Serialize;

use super::output::{self, Fail, Result};
use super::prompt::{self, Asker, PassphraseFlags, SecretFlags};
use super::run::about;
use super::text::{message, of_token, text};
use super::{agent, check, connect, connect_unlocked, list};

/// Stores a key.
#[derive(Args)]
#[command(
    after_help = "Example:\n  akm add openai\n  akm add openai/work --category work --expires 2027-01-31 --test\n  pass show openai | akm add openai/ci --secret-stdin"
)]
pub(crate) struct Add {
    /// provider/label; a provider alone is its default key
    name: String,
    /// The model the key is meant for
    #[arg(long, value_name = "M")]
    model: Option<String>,
    /// A category of your own; may be repeated
    #[arg(long = "category", value_name = "C")]
    categories: Vec<String>,
    /// Free text, at most 4 KiB
    #[arg(long, value_name = "T")]
    notes: Option<String>,
    /// A date or RFC 3339 time after which the key is not handed out
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
    /// The variable that akm run sets, if not the provider's standard one
    #[arg(long, value_name = "VAR")]
    env: Option<String>,
    /// Mark the key in akm balance below this: 5, or '5 CNY'
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    low_balance: Option<String>,
    /// The id of your team or account at the provider, where its balance needs one
    #[arg(long, value_name = "ID")]
    team: Option<String>,
    /// Stop handing the key out this long after it was stored or the account unlocked, until the next unlock: 600, 8h, 1d
    #[arg(short = 't', long = "lifetime", value_name = "LIFE", value_parser = agent::parse_lifetime)]
    lifetime_s: Option<u64>,
    /// Never hand the secret out; only use it
    #[arg(long)]
    use_only: bool,
    /// Ask a person each time before the secret is handed out
    #[arg(long)]
    confirm: bool,
    /// Where the provider is reached, if not at its standard address
    #[arg(long, value_name = "U")]
    base_url: Option<String>,
    /// Test the key against its provider right away; exit 1 if it fails
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    secret: SecretFlags,
}

pub(crate) fn add(args: Add, json: bool) -> Result<()> {
    // Before the secret is asked for: nobody should paste one twice because of a typo in the name.
    let name = KeyName::parse(&args.name, "name")?;
    let asker = Asker::new(&PassphraseFlags::default(), &args.secret)?;
    asker.require_secret()?;
    let mut client = connect_unlocked()?;
    let added = client.call(&KeyAdd {
        name: args.name,
        secret: asker.secret(&text!("ask-secret-of", name = name.to_string()))?,
        model: args.model,
        categories: args.categories,
        notes: args.notes,
        expires_at: args.expires,
        env: args.env,
        low_balance: args.low_balance,
        team: args.team,
        lifetime_s: args.lifetime_s,
        use_only: args.use_only.then_some(true),
        confirm: args.confirm.then_some(true),
        base_url: args.base_url,
    })?;
    if !args.test {
        return changed(&added, "changed-stored", json);
    }
    if !json {
        changed(&added, "changed-stored", false)?;
    }
    let test = client.call(&ProviderTest {
        name: added.key.name.clone(),
    })?;
    let passed = check::passes(test.outcome);
    if json {
        #[derive(Serialize)]
        struct AddedAndTested {
            key: Key,
            test: TestResult,
        }
        let key = added.key;
        output::json(&AddedAndTested { key, test })?;
    } else {
        check::show(&[check::Tested::Done(test)])?;
    }
    if passed { Ok(()) } else { Err(Fail::Exit(1)) }
}

/// Prints a secret.
#[derive(Args)]
#[cfg_attr(test, derive(Debug))]
#[command(after_help = "Example:\n  export OPENAI_API_KEY=\"$(akm get openai)\"")]
pub(crate) struct Get {
    /// provider/label; a provider alone is its default key
    name: String,
    /// An older version, as akm history counts them
    #[arg(long, value_name = "N")]
    version: Option<u64>,
}

pub(crate) fn get(args: Get, json: bool) -> Result<()> {
    let request = KeyGet {
        name: args.name,
        version: args.version,
    };
    let answer = connect()?
        .call(&request)
        .map_err(|error| about(error, &request.name))?;
    if json {
        output::json(&answer)
    } else {
        output::secret(&answer.secret)
    }
}

/// Describes a key.
#[derive(Args)]
#[command(after_help = "Example:\n  akm show openai/work")]
pub(crate) struct Show {
    /// provider/label; a provider alone is its default key
    name: String,
}

pub(crate) fn show(args: Show, json: bool) -> Result<()> {
    let shown = connect()?.call(&KeyShow { name: args.name })?;
    if json {
        return output::json(&shown);
    }
    let key = shown.key;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let tested = list::tested(&key);
    let mut fields = vec![
        ("field-name", key.name),
        ("field-status", of_token("status", key.status.token())),
        ("field-secret", key.preview),
        ("field-version", key.version.to_string()),
        ("field-model", or_dash(key.model)),
        (
            "field-categories",
            or_dash((!key.categories.is_empty()).then(|| key.categories.join(", "))),
        ),
        ("field-variable", or_dash(key.env)),
        ("field-use-only", output::yes_or_no(key.use_only)),
        ("field-address", or_dash(key.base_url)),
        ("field-hosts", hosts(&key.hosts, key.header.as_deref())),
        ("field-created", key.created_at),
        ("field-changed", key.updated_at),
        ("field-last-used", or_dash(key.last_used_at)),
        ("field-tested", tested),
        ("field-expires", or_dash(key.expires_at)),
    ];
    if key.confirm {
        fields.push(("field-confirm", output::yes_or_no(true)));
    }
    if key.low_balance.is_some() {
        fields.push(("field-low-balance", or_dash(key.low_balance)));
    }
    if key.team.is_some() {
        fields.push(("field-team", or_dash(key.team)));
    }
    if let Some(seconds) = key.lifetime_s {
        fields.push(("field-lifetime", output::duration(seconds)));
    }
    if let Some(notes) = key.notes {
        // A note may have lines of its own; each is cleaned and stands under the first.
        for (index, line) in notes.lines().enumerate() {
            fields.push((if index == 0 { "field-notes" } else { "" }, line.to_owned()));
        }
    }
    output::fields(&fields)
}

/// Where a key may be sent, and in which header: nowhere is a dash.
fn hosts(hosts: &[String], header: Option<&str>) -> String {
    match (hosts, header) {
        ([], _) => "-".to_owned(),
        (hosts, Some(header)) => format!("{} ({header})", hosts.join(", ")),
        (hosts, None) => hosts.join(", "),
    }
}

/// A status that can be set.
#[derive(Clone, Copy, ValueEnum)]
enum Settable {
    Active,
    Disabled,
    Burned,
}

impl From<Settable> for KeyStatus {
    fn from(status: Settable) -> Self {
        match status {
            Settable::Active => KeyStatus::Active,
            Settable::Disabled => KeyStatus::Disabled,
            Settable::Burned => KeyStatus::Burned,
        }
    }
}

/// Changes a key.
#[derive(Args)]
#[command(
    group(ArgGroup::new("change").required(true).multiple(true).args([
        "model", "categories", "notes", "expires", "env", "low_balance", "team", "lifetime_s", "use_only", "no_use_only",
        "confirm", "no_confirm",
        "base_url", "status",
    ])),
    after_help = "An empty text removes: --notes ''. Another address asks for the secret again; --no-use-only, --no-confirm and a longer lifetime ask for the passphrase.\n\nExample:\n  akm edit openai/work --model gpt-5 --category work --category shared"
)]
pub(crate) struct Edit {
    /// provider/label; a provider alone is its default key
    name: String,
    /// The model the key is meant for
    #[arg(long, value_name = "M")]
    model: Option<String>,
    /// All categories, replacing the old ones; may be repeated
    #[arg(long = "category", value_name = "C")]
    categories: Option<Vec<String>>,
    /// Free text, at most 4 KiB
    #[arg(long, value_name = "T")]
    notes: Option<String>,
    /// A date or RFC 3339 time after which the key is not handed out
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
    /// The variable that akm run sets
    #[arg(long, value_name = "VAR")]
    env: Option<String>,
    /// Mark the key in akm balance below this: 5, or '5 CNY'
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    low_balance: Option<String>,
    /// The id of your team or account at the provider, where its balance needs one
    #[arg(long, value_name = "ID")]
    team: Option<String>,
    /// Stop handing the key out this long after an unlock, until the next one; 0 removes
    #[arg(short = 't', long = "lifetime", value_name = "LIFE", value_parser = agent::parse_lifetime_or_none)]
    lifetime_s: Option<u64>,
    /// Never hand the secret out; only use it
    #[arg(long, conflicts_with = "no_use_only")]
    use_only: bool,
    /// Hand the secret out again; asks for the passphrase
    #[arg(long)]
    no_use_only: bool,
    /// Ask a person each time before the secret is handed out
    #[arg(long, conflicts_with = "no_confirm")]
    confirm: bool,
    /// Hand the secret out without asking; asks for the passphrase once
    #[arg(long)]
    no_confirm: bool,
    /// Where the provider is reached; asks for the secret again
    #[arg(long, value_name = "U")]
    base_url: Option<String>,
    /// Whether the key may be handed out; burned: it was found in the open
    #[arg(long, value_name = "S")]
    status: Option<Settable>,
    #[command(flatten)]
    passphrase: PassphraseFlags,
    #[command(flatten)]
    secret: SecretFlags,
}

pub(crate) fn edit(args: Edit, json: bool) -> Result<()> {
    let asker = Asker::new(&args.passphrase, &args.secret)?;
    let needs_secret = args.base_url.is_some();
    let was_given = args.passphrase.passphrase_stdin || args.passphrase.passphrase_fd.is_some();
    let needs_passphrase = args.no_use_only || args.no_confirm;
    if needs_passphrase {
        asker.require_passphrase()?;
    }
    if needs_secret {
        asker.require_secret()?;
    }
    let mut client = connect_unlocked()?;
    let passphrase = match needs_passphrase {
        true => Some(asker.passphrase(&text!("ask-passphrase"))?),
        false => None,
    };
    let secret = match needs_secret {
        true => Some(asker.secret(&text!("ask-secret"))?),
        false => None,
    };
    let switched = |on: bool, off: bool| match (on, off) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let use_only = switched(args.use_only, args.no_use_only);
    let confirm = switched(args.confirm, args.no_confirm);
    let mut request = KeyUpdate {
        name: args.name,
        new_name: None,
        model: args.model,
        // `--category ''` alone leaves none.
        categories: args
            .categories
            .map(|all| all.into_iter().filter(|one| !one.is_empty()).collect()),
        notes: args.notes,
        expires_at: args.expires,
        env: args.env,
        low_balance: args.low_balance,
        team: args.team,
        lifetime_s: args.lifetime_s,
        use_only,
        confirm,
        base_url: args.base_url,
        status: args.status.map(KeyStatus::from),
        passphrase,
        secret,
    };
    let edited = match client.call(&request) {
        // Whether a lifetime is a longer one, and whether this program may change keys, only the agent knows.
        Err(error)
            if error.kind() == Kind::Denied
                && error.field() == Some("passphrase")
                && (args.lifetime_s.is_some() || was_given || asker.is_person())
                && request.passphrase.is_none() =>
        {
            asker.require_passphrase()?;
            request.passphrase = Some(asker.passphrase(&text!("ask-passphrase"))?);
            client.call(&request)?
        }
        answered => answered?,
    };
    changed(&edited, "changed-edited", json)
}

/// Renames a key.
#[derive(Args)]
#[command(
    after_help = "A key that moves to another provider goes to other hosts, so its secret is asked for again.\n\nExample:\n  akm mv openai openai/personal"
)]
pub(crate) struct Mv {
    /// The key
    old: String,
    /// Its new name
    new: String,
    #[command(flatten)]
    secret: SecretFlags,
}

pub(crate) fn mv(args: Mv, json: bool) -> Result<()> {
    let old = KeyName::parse(&args.old, "name")?;
    let new = KeyName::parse(&args.new, "new_name")?;
    let mut client = connect_unlocked()?;
    let secret = if old.provider() == new.provider() {
        None
    } else {
        // Nobody is asked for the secret of a key that is not there. What else is wrong, the change itself says.
        let shown = client.call(&KeyShow {
            name: args.old.clone(),
        });
        if let Err(error) = shown
            && error.kind() == Kind::NotFound
        {
            return Err(error.into());
        }
        let asker = Asker::new(&PassphraseFlags::default(), &args.secret)?;
        asker.require_secret()?;
        Some(asker.secret(&text!("ask-secret"))?)
    };
    let moved = client.call(&KeyUpdate {
        name: args.old,
        new_name: Some(args.new),
        secret,
        ..KeyUpdate::default()
    })?;
    changed(&moved, "changed-renamed", json)
}

/// Removes a key.
#[derive(Args)]
#[command(after_help = "Example:\n  akm rm openai/old")]
pub(crate) struct Rm {
    /// provider/label; a provider alone is its default key
    name: String,
    /// Do not ask on the terminal
    #[arg(short, long)]
    yes: bool,
}

pub(crate) fn rm(args: Rm, json: bool) -> Result<()> {
    let name = KeyName::parse(&args.name, "name")?.to_string();
    let mut client = connect()?;
    let question = text!("ask-remove", name = name);
    if !args.yes && !prompt::confirm(&question)? {
        output::note(&text!("nothing-removed"));
        return Err(Fail::Exit(1));
    }
    let removed = client.call(&KeyRemove { name: args.name })?;
    changed(&removed, "changed-removed", json)
}

/// Switches a key off.
#[derive(Args)]
#[command(after_help = "Example:\n  akm disable openai/work")]
pub(crate) struct Disable {
    /// provider/label; a provider alone is its default key
    name: String,
}

pub(crate) fn disable(args: Disable, json: bool) -> Result<()> {
    set_status(args.name, KeyStatus::Disabled, "changed-disabled", json)
}

/// Switches a key on.
#[derive(Args)]
#[command(after_help = "Example:\n  akm enable openai/work")]
pub(crate) struct Enable {
    /// provider/label; a provider alone is its default key
    name: String,
}

pub(crate) fn enable(args: Enable, json: bool) -> Result<()> {
    set_status(args.name, KeyStatus::Active, "changed-enabled", json)
}

fn set_status(name: String, status: KeyStatus, said: &'static str, json: bool) -> Result<()> {
    let request = KeyUpdate {
        name,
        status: Some(status),
        ..KeyUpdate::default()
    };
    let result = connect()?
        .call(&request)
        .map_err(|error| about(error, &request.name))?;
    changed(&result, said, json)
}

/// Replaces a secret.
#[derive(Args)]
#[command(after_help = "Example:\n  akm rotate openai/work\n  akm get openai/work --version 1")]
pub(crate) struct Rotate {
    /// provider/label; a provider alone is its default key
    name: String,
    #[command(flatten)]
    secret: SecretFlags,
}

pub(crate) fn rotate(args: Rotate, json: bool) -> Result<()> {
    let asker = Asker::new(&PassphraseFlags::default(), &args.secret)?;
    asker.require_secret()?;
    let mut client = connect_unlocked()?;
    let rotated = client.call(&KeyRotate {
        name: args.name,
        secret: asker.secret(&text!("ask-new-secret"))?,
    })?;
    changed(&rotated, "changed-rotated", json)
}

/// Lists versions.
#[derive(Args)]
#[command(after_help = "Example:\n  akm history openai/work")]
pub(crate) struct History {
    /// provider/label; a provider alone is its default key
    name: String,
}

pub(crate) fn history(args: History, json: bool) -> Result<()> {
    let history = connect()?.call(&KeyHistory { name: args.name })?;
    if json {
        return output::json(&history);
    }
    let rows: Vec<Vec<String>> = history
        .versions
        .into_iter()
        .map(|version| {
            vec![
                version.version.to_string(),
                version.preview,
                version.created_at,
                version.replaced_at.unwrap_or_else(|| text!("current")),
            ]
        })
        .collect();
    output::table(
        &["col-version", "col-secret", "col-stored", "col-replaced"],
        &rows,
    )
}

/// Says what became of a key: the record with `--json`, else the message `changed-…` on stderr.
fn changed(result: &KeyResult, said: &'static str, json: bool) -> Result<()> {
    if json {
        return output::json(result);
    }
    let key = &result.key;
    output::note(&message(
        said,
        &[
            ("name", key.name.as_str().into()),
            ("preview", key.preview.as_str().into()),
        ],
    ));
    Ok(())
}
