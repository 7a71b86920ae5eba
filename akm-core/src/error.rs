//! The one error of akm, by what the caller can do about it.
//!
//! [`Kind`] is stable: the same token stands in HTTP answers, in C, Python, Node and `--json`, and its
//! number is the return code of the C ABI. A message is a literal of this program or a literal that
//! came from the agent; it never holds a secret and never echoes a request. The single dynamic text is
//! the hint, which may name keys that exist.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// `std::result::Result` with akm's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $token:literal, $http:literal;)*) => {
        /// What went wrong, by what the caller can do. Tokens and codes are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
        #[repr(i32)]
        pub enum Kind { $($(#[$doc])* $variant = $code,)* }

        impl Kind {
            /// Every kind, in the order of its code.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)*];

            /// The stable token, as in `--json` and HTTP answers.
            pub const fn token(self) -> &'static str {
                match self { $(Kind::$variant => $token,)* }
            }

            /// The HTTP status an answer of this kind has; `0` for kinds that only a client raises.
            pub const fn http_status(self) -> u16 {
                match self { $(Kind::$variant => $http,)* }
            }

            /// The return code in the C ABI.
            pub const fn code(self) -> i32 {
                self as i32
            }

            /// The kind of a token, if it is one.
            pub fn from_token(token: &str) -> Option<Kind> {
                match token { $($token => Some(Kind::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// The account is locked: unlock it.
    Locked = 1, "locked", 423;
    /// Passphrase, code or account do not fit together.
    WrongCredentials = 2, "wrong_credentials", 401;
    /// No such key, provider or account.
    NotFound = 3, "not_found", 404;
    /// It exists already, or somebody else holds it.
    Conflict = 4, "conflict", 409;
    /// Known and not allowed: disabled, expired, use-only, or no grant.
    Denied = 5, "denied", 403;
    /// A limit on the account is reached.
    LimitReached = 6, "limit_reached", 403;
    /// Too many attempts: wait.
    RateLimited = 7, "rate_limited", 429;
    /// The request is malformed; `field` names the part.
    InvalidInput = 8, "invalid_input", 400;
    /// Stored data fails its authentication.
    Corrupt = 9, "corrupt", 500;
    /// Stored data is older than what this machine has seen.
    RolledBack = 10, "rolled_back", 500;
    /// Stored data has a version or algorithm that this program does not know.
    UnsupportedVersion = 11, "unsupported_version", 500;
    /// The agent is stopping or overloaded: try again.
    Unavailable = 12, "unavailable", 503;
    /// The provider or the way to it failed.
    Provider = 13, "provider", 502;
    /// The operating system refused a read or a write.
    Io = 14, "io", 500;
    /// A defect in akm.
    Internal = 15, "internal", 500;
    /// Client side: nothing listens on the socket.
    NoAgent = 16, "no_agent", 0;
    /// Client side: no answer in time.
    Timeout = 17, "timeout", 0;
    /// Client side: the handle is closed.
    Closed = 18, "closed", 0;
    /// Client side: an embedded handle used in a forked child.
    Forked = 19, "forked", 0;
}

/// akm's error. See [`Kind`] for what a caller can do about each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    message: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<Cow<'static, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<Cow<'static, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
}

impl Error {
    /// An error with a literal message: lowercase, no full stop, nothing of the request.
    pub const fn new(kind: Kind, message: &'static str) -> Self {
        Error {
            kind,
            message: Cow::Borrowed(message),
            field: None,
            hint: None,
            retry_after_s: None,
        }
    }

    /// `invalid_input` that names the field at fault.
    pub const fn invalid(field: &'static str, message: &'static str) -> Self {
        Error {
            kind: Kind::InvalidInput,
            message: Cow::Borrowed(message),
            field: Some(Cow::Borrowed(field)),
            hint: None,
            retry_after_s: None,
        }
    }

    /// The account is locked.
    pub fn locked() -> Self {
        Error::new(Kind::Locked, "the account is locked").with_hint("run akm unlock")
    }

    /// The one answer to a wrong passphrase, a wrong code and an unknown account.
    pub const fn wrong_credentials() -> Self {
        Error::new(Kind::WrongCredentials, "wrong account, passphrase or code")
    }

    /// There is no account of a name, which is nobody's secret to whoever may see the accounts.
    pub(crate) fn no_account() -> Self {
        Error::new(Kind::NotFound, "there is no such account").with_hint("run akm admin accounts")
    }

    /// There is no redeem code of a number.
    pub(crate) fn no_code() -> Self {
        Error::new(Kind::NotFound, "there is no such code").with_hint("run akm admin code list")
    }

    /// Stored data fails its authentication; `what` says which part.
    pub const fn corrupt(what: &'static str) -> Self {
        Error::new(Kind::Corrupt, what)
    }

    /// A defect in akm; `what` says which invariant broke.
    pub const fn internal(what: &'static str) -> Self {
        Error::new(Kind::Internal, what)
    }

    /// Names the field at fault.
    #[must_use]
    pub fn with_field(mut self, field: &'static str) -> Self {
        self.field = Some(Cow::Borrowed(field));
        self
    }

    /// Adds the next step; may name keys that exist, never what was typed.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same for somebody whom the command line does not serve: a hint that names a command of akm's is left out.
    #[must_use]
    pub fn without_command(mut self) -> Self {
        // No key's name has a blank, so what is behind one is a command.
        self.hint = self.hint.filter(|hint| !hint.contains("akm "));
        self
    }

    /// Says how long to wait, in seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// What the caller can do about it.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence, lowercase and without a full stop.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What went wrong, if the message is a literal of this program and did not come from another one.
    pub fn literal(&self) -> Option<&'static str> {
        match &self.message {
            Cow::Borrowed(literal) => Some(literal),
            Cow::Owned(_) => None,
        }
    }

    /// The request field at fault.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The next step.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// How long to wait, in seconds.
    pub const fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_s
    }

    /// The error of an operating system's refusal; paths are left out.
    pub fn from_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        let message = match error.kind() {
            E::NotFound => "a file or directory does not exist",
            E::PermissionDenied => "the operating system denied access to a file",
            E::StorageFull | E::QuotaExceeded => "no space is left on the device",
            E::ReadOnlyFilesystem => "the file system is read-only",
            E::TimedOut | E::WouldBlock => return Error::new(Kind::Timeout, "no answer in time"),
            _ => "reading or writing failed",
        };
        Error::new(Kind::Io, message)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::from_io(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_that_names_a_command_is_left_out_and_any_other_stays() {
        for (hint, left) in [
            ("run akm unlock", None),
            ("make one: akm account receive", None),
            ("did you mean openai? akm providers lists all", None),
            ("there is akm/work", Some("there is akm/work")),
            (
                "give your own passphrase once more",
                Some("give your own passphrase once more"),
            ),
        ] {
            let error = Error::new(Kind::NotFound, "no").with_hint(hint);
            assert_eq!(error.without_command().hint(), left, "{hint}");
        }
    }

    #[test]
    fn tokens_and_codes_are_unique_and_stable() {
        for (index, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(kind.code(), index as i32 + 1);
            assert_eq!(Kind::from_token(kind.token()), Some(*kind));
            let json = serde_json::to_string(kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.token()));
        }
        assert_eq!(Kind::ALL.len(), 19);
        assert_eq!(Kind::from_token("nonsense"), None);
    }
}
