//! Wire types of export and import: a vault's keys leave and come in as many pages as they need.

use serde::{Deserialize, Serialize};

use super::plain::{one, option};
use super::{wire, word};
use crate::secret::Secret;

/// Most keys in one page of an import; a page also has to fit [`super::MAX_REQUEST`].
pub const MAX_IMPORT_PAGE: usize = 1000;

/// What an export looks like inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// akm's own: everything that is known of a key.
    #[default]
    Json,
    /// FIDO Credential Exchange Format, with credentials of the type `api-key`.
    Cxf,
    /// Lines of `NAME="secret"`.
    Env,
}

wire! {
    /// Asks for the keys of the account, or for the next page of an export that began.
    #[derive(Default)]
    request VaultExport {
        /// What it looks like inside; `json` if absent.
        #[serde(default, deserialize_with = "word::option", skip_serializing_if = "Option::is_none")]
        format: Option<ExportFormat>,
        /// The passphrase to seal it with, in the age format. Absent, it is plaintext, and `passphrase` is needed.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        seal: Option<Secret>,
        /// The account's passphrase, for plaintext and for `use_only`.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        passphrase: Option<Secret>,
        /// Whether use-only keys are among them: sealed only, and with the account's passphrase.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        use_only: Option<bool>,
        /// Whether a key that does not open is passed over; it fails the export otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skip_unreadable: Option<bool>,
        /// `next` of the page before; then nothing else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    }
}

wire! {
    /// A piece of an export. All pieces one behind the other are the file.
    result ExportPage {
        /// The piece: as it is in plaintext, in base64 where it is sealed.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        content: Secret,
        /// How many keys are in the export up to here.
        keys: u64,
        /// How many keys the account has.
        total: u64,
        /// Keys of this page that were left out: use-only ones; without the passphrase, those that are confirmed; burned ones always.
        left_out: Vec<String>,
        /// Keys of this page that were passed over because they do not open: the name where that can be read, or the record's id.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unreadable: Vec<String>,
        /// What to ask for the next piece with; absent with the last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    }
}

wire! {
    /// A key on its way between vaults.
    request KeyRow {
        /// `provider/label`.
        name: String,
        /// The plaintext.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        secret: Secret,
        /// The model the key is meant for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// The owner's categories.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        categories: Vec<String>,
        /// Free text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notes: Option<String>,
        /// A date or an RFC 3339 time after which the key is not handed out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
        /// The key's own environment variable.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        env: Option<String>,
        /// A balance below which the key is low.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        low_balance: Option<String>,
        /// The id of the owner's team or account at the provider.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        team: Option<String>,
        /// Seconds after which a session does not hand the key out any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lifetime_s: Option<u64>,
        /// Whether it is only ever used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        use_only: Option<bool>,
        /// Whether a person is asked each time before it is handed out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<bool>,
        /// Where the provider is reached, if not at its standard address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_url: Option<String>,
        /// Whether it is switched off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disabled: Option<bool>,
    }
}

wire! {
    /// Brings keys in: any number of pages that are only looked at, then one with `finish`, which stores all or none.
    #[derive(Default)]
    request VaultImport {
        /// `import` of the page before; absent with the first, which ends any import that was under way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        import: Option<String>,
        /// Keys, at most 1000 in a page.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<KeyRow>,
        /// Leave a key alone that exists with another secret, instead of refusing the import.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skip_existing: Option<bool>,
        /// Store what came so far.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        finish: Option<bool>,
    }
}

wire! {
    /// What becomes of the keys of a page.
    result ImportReport {
        /// What to name the import with; absent once it is finished.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        import: Option<String>,
        /// One for each key of the page, in its order.
        rows: Vec<ImportRow>,
        /// How many keys are new up to here; with `finish`, how many were stored and read back.
        added: u64,
        /// How many exist already as they are.
        unchanged: u64,
        /// How many exist with another secret and are left alone.
        skipped: u64,
        /// How many cannot be imported. While there is one, nothing is stored.
        refused: u64,
    }
}

/// What becomes of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ImportOutcome {
    /// It is new.
    Added,
    /// It exists with this secret; nothing of it is changed.
    Unchanged,
    /// It exists with another secret and stays as it is, as was asked for.
    Skipped,
    /// It exists with another secret, or stands twice in the import.
    Conflict,
    /// It is not a key; `field` and `message` say why.
    Invalid,
}

wire! {
    /// What becomes of one key of a page.
    result ImportRow {
        /// What becomes of it.
        outcome: ImportOutcome,
        /// The field at fault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        field: Option<String>,
        /// What is wrong with it; never its content.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    }
}
