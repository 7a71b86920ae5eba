//! The type that every secret text has on its way through akm.
//!
//! Invariants: wiped when dropped; `Debug` prints `Secret(..)`; no `Display`, `Clone`, `PartialEq`, or
//! `Serialize`: plaintext goes onto a wire in [`crate::protocol`] alone. Key bytes live in
//! [`crate::memory::LockedKey`], not here.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text: an API key, a passphrase, a code. Wiped when dropped.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of the text; the caller keeps no copy.
    pub fn new(text: String) -> Self {
        Secret(Zeroizing::new(text))
    }

    /// Takes bytes that must be UTF-8; wipes them if they are not.
    pub fn from_utf8(bytes: Vec<u8>) -> Option<Self> {
        match String::from_utf8(bytes) {
            Ok(text) => Some(Secret::new(text)),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                None
            }
        }
    }

    /// The plaintext, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy, asked for by name because every copy is one more thing to wipe.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Secret(Zeroizing::new(self.0.as_str().to_owned()))
    }

    /// Constant-time comparison; only the lengths leak.
    pub fn matches(&self, other: &Secret) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("canary".into())), "Secret(..)");
    }

    #[test]
    fn comparison_sees_content() {
        let a = Secret::new("one".into());
        assert!(a.matches(&a.duplicate()));
        assert!(!a.matches(&Secret::new("two".into())));
        assert!(!a.matches(&Secret::new("onee".into())));
    }
}
