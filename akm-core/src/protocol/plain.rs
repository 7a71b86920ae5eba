//! Plaintext onto and off the wire: the only place of akm where a secret is serialized.

use serde::{Deserialize, Deserializer, Serializer};

use crate::secret::Secret;

/// Plaintext on the wire, one secret.
pub(super) mod one {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.expose())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(Secret::new)
    }
}

/// Plaintext on the wire, maybe one.
pub(super) mod option {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        secret: &Option<Secret>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match secret {
            Some(secret) => to.serialize_some(secret.expose()),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Secret>, D::Error> {
        Option::<String>::deserialize(from).map(|text| text.map(Secret::new))
    }
}

/// Plaintext on the wire, several.
pub(super) mod list {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(secrets: &[Secret], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(secrets.iter().map(Secret::expose))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Secret>, D::Error> {
        Vec::<String>::deserialize(from).map(|texts| texts.into_iter().map(Secret::new).collect())
    }
}
