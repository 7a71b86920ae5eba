//! FIDO Credential Exchange Format 1.0 (<https://fidoalliance.org/specs/cx/>): one item per key, with a credential of the type
//! `api-key`, and where there is something to put there a `note` and `custom-fields`.
//!
//! The title is the key's name. Reading takes any file of the format, passes over credentials of other types and fields it
//! does not know, as the format asks for, and leaves it to the import to say that a title is no name.

use data_encoding::BASE64URL_NOPAD;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::{Origin, Parsed, append, misread};
use crate::error::{Error, Kind, Result};
use crate::protocol::KeyRow;
use crate::secret::Secret;
use crate::store::Id;

pub(super) const END: &[u8] = b"\n]}]}\n";

/// The custom fields that hold what the format has no place for.
const MODEL: &str = "akm:model";
const ENV: &str = "akm:env";
const LOW_BALANCE: &str = "akm:low_balance";
const LIFETIME: &str = "akm:lifetime_s";
const TEAM: &str = "akm:team";
const USE_ONLY: &str = "akm:use_only";
const CONFIRM: &str = "akm:confirm";
const DISABLED: &str = "akm:disabled";
/// A date alone does not say at which second.
const EXPIRES_AT: &str = "akm:expires_at";

pub(super) fn begin(account: &Id, now_ms: i64, out: &mut Zeroizing<Vec<u8>>) {
    let id = BASE64URL_NOPAD.encode(account);
    let now = now_ms.div_euclid(1000);
    out.extend_from_slice(
        format!(
            r#"{{"version":{{"major":1,"minor":0}},"exporterRpId":"akm","exporterDisplayName":"akm","timestamp":{now},"accounts":[{{"id":"{id}","username":"","email":"","collections":[],"items":["#
        )
        .as_bytes(),
    );
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    id: String,
    creation_at: i64,
    modified_at: i64,
    title: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    credentials: Vec<Credential<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Credential<'a> {
    #[serde(rename_all = "camelCase")]
    ApiKey {
        key: Field<'a>,
        key_type: Field<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<Field<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expiry_date: Option<Field<'a>>,
    },
    Note {
        content: Field<'a>,
    },
    CustomFields {
        fields: Vec<Field<'a>>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Field<'a> {
    field_type: &'static str,
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'static str>,
}

const fn field<'a>(field_type: &'static str, value: &'a str) -> Field<'a> {
    Field {
        field_type,
        value,
        label: None,
    }
}

pub(super) fn row(row: &KeyRow, origin: &Origin, out: &mut Zeroizing<Vec<u8>>) -> Result<()> {
    let text = |value| field("string", value);
    let mut credentials = vec![Credential::ApiKey {
        key: field("concealed-string", row.secret.expose()),
        key_type: text(row.name.split('/').next().unwrap_or_default()),
        url: row.base_url.as_deref().map(text),
        // An RFC 3339 time begins with its date.
        expiry_date: row
            .expires_at
            .as_deref()
            .and_then(|time| time.get(..10))
            .map(|date| field("date", date)),
    }];
    if let Some(notes) = &row.notes {
        credentials.push(Credential::Note {
            content: text(notes),
        });
    }
    let lifetime = row.lifetime_s.map(|seconds| seconds.to_string());
    let own = [
        (LIFETIME, "number", lifetime.as_deref()),
        (MODEL, "string", row.model.as_deref()),
        (ENV, "string", row.env.as_deref()),
        (LOW_BALANCE, "string", row.low_balance.as_deref()),
        (TEAM, "string", row.team.as_deref()),
        (EXPIRES_AT, "string", row.expires_at.as_deref()),
        (
            USE_ONLY,
            "boolean",
            row.use_only.unwrap_or(false).then_some("true"),
        ),
        (
            CONFIRM,
            "boolean",
            row.confirm.unwrap_or(false).then_some("true"),
        ),
        (
            DISABLED,
            "boolean",
            row.disabled.unwrap_or(false).then_some("true"),
        ),
    ];
    let fields: Vec<_> = own
        .into_iter()
        .filter_map(|(label, field_type, value)| {
            Some(Field {
                field_type,
                value: value?,
                label: Some(label),
            })
        })
        .collect();
    if !fields.is_empty() {
        credentials.push(Credential::CustomFields { fields });
    }
    let item = Item {
        id: BASE64URL_NOPAD.encode(&origin.id),
        creation_at: origin.created_at.div_euclid(1000),
        modified_at: origin.updated_at.div_euclid(1000),
        title: &row.name,
        tags: &row.categories,
        credentials,
    };
    append(&item, out)
}

#[derive(Deserialize)]
struct FileRead {
    version: VersionRead,
    accounts: Vec<AccountRead>,
}

#[derive(Deserialize)]
struct VersionRead {
    major: u8,
}

#[derive(Deserialize)]
struct AccountRead {
    items: Vec<ItemRead>,
}

#[derive(Deserialize)]
struct ItemRead {
    title: String,
    #[serde(default)]
    tags: Vec<String>,
    credentials: Vec<CredentialRead>,
}

/// The fields of the three types that are read. Another type may have fields of the same names and another form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialRead {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    key: Lenient,
    #[serde(default)]
    url: Lenient,
    #[serde(default)]
    expiry_date: Lenient,
    #[serde(default)]
    content: Lenient,
    #[serde(default)]
    fields: LenientList,
}

/// A field of the format, or something else, which is passed over.
#[derive(Default)]
struct Lenient(Option<FieldRead>);

#[derive(Default)]
struct LenientList(Vec<FieldRead>);

struct FieldRead {
    value: Secret,
    label: Option<String>,
}

impl FieldRead {
    fn text(self) -> String {
        self.value.expose().to_owned()
    }
}

/// Takes anything; keeps what has the form of a field, or of a list of them.
struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Vec<FieldRead>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut value, mut label) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "value" => value = map.next_value::<Text>()?.0,
                "label" => label = map.next_value::<Text>()?.0,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let label = label.map(|label| label.expose().to_owned());
        Ok(value
            .map(|value| FieldRead { value, label })
            .into_iter()
            .collect())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = list.next_element::<Lenient>()? {
            fields.extend(field.0);
        }
        Ok(fields)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
}

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut fields = from.deserialize_any(Any)?;
        Ok(Lenient(match fields.len() {
            1 => fields.pop(),
            _ => None,
        }))
    }
}

impl<'de> Deserialize<'de> for LenientList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any).map(LenientList)
    }
}

/// A text, or something else, which is passed over.
struct Text(Option<Secret>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AnyText;
        impl<'de> Visitor<'de> for AnyText {
            type Value = Text;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("anything")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Some(Secret::new(text.to_owned()))))
            }

            fn visit_string<E>(self, text: String) -> Result<Text, E> {
                Ok(Text(Some(Secret::new(text))))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_unit<E>(self) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }
        }
        from.deserialize_any(AnyText)
    }
}

pub(super) fn parse(text: &str) -> Result<Parsed> {
    let file: FileRead = serde_json::from_str(text)
        .map_err(|error| misread(&error, "the file is not in Credential Exchange Format"))?;
    if file.version.major != 1 {
        return Err(Error::new(
            Kind::UnsupportedVersion,
            "the file has a version of Credential Exchange Format that this program does not know",
        )
        .with_field("file")
        .with_hint("read it with a newer akm"));
    }
    let mut parsed = Parsed::default();
    for item in file.accounts.into_iter().flat_map(|account| account.items) {
        match key(item) {
            Some(key) => parsed.keys.push(key),
            None => parsed.ignored += 1,
        }
    }
    Ok(parsed)
}

/// The API key of an item, if it has one.
fn key(item: ItemRead) -> Option<KeyRow> {
    let mut row: Option<KeyRow> = None;
    let mut notes = None;
    let mut own = Vec::new();
    for credential in item.credentials {
        match (credential.kind.as_str(), credential.key.0) {
            ("api-key", Some(key)) if row.is_none() => {
                row = Some(KeyRow {
                    name: item.title.clone(),
                    secret: key.value,
                    model: None,
                    categories: item.tags.clone(),
                    notes: None,
                    expires_at: credential.expiry_date.0.map(FieldRead::text),
                    env: None,
                    low_balance: None,
                    team: None,
                    lifetime_s: None,
                    use_only: None,
                    confirm: None,
                    base_url: credential.url.0.map(FieldRead::text),
                    disabled: None,
                });
            }
            ("note", _) => notes = credential.content.0.map(FieldRead::text),
            ("custom-fields", _) => own.extend(credential.fields.0),
            _ => {}
        }
    }
    let mut row = row?;
    row.notes = notes;
    for field in own {
        match field.label.as_deref() {
            Some(MODEL) => row.model = Some(field.text()),
            Some(ENV) => row.env = Some(field.text()),
            Some(LOW_BALANCE) => row.low_balance = Some(field.text()),
            // What is no number is refused as a lifetime, not left out: a key must not live longer for it.
            Some(LIFETIME) => row.lifetime_s = Some(field.text().parse().unwrap_or(0)),
            Some(TEAM) => row.team = Some(field.text()),
            Some(EXPIRES_AT) => row.expires_at = Some(field.text()),
            Some(USE_ONLY) => row.use_only = Some(field.value.expose() == "true"),
            Some(CONFIRM) => row.confirm = Some(field.value.expose() == "true"),
            Some(DISABLED) => row.disabled = Some(field.value.expose() == "true"),
            _ => {}
        }
    }
    Some(row)
}
