//! Wire types of accounts: registering, passphrases, recovery, TOTP.

use serde::{Deserialize, Serialize};

use super::plain::{list, one, option};
use super::wire;
use crate::secret::Secret;

wire! {
    /// Creates an account.
    request AccountRegister {
        /// Account name.
        account: String,
        /// The passphrase.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
        /// Whether to create a TOTP secret; true if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        totp: Option<bool>,
        /// An invitation, where a server asks for one.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        invitation: Option<Secret>,
    }
}

wire! {
    /// A new account and what its owner must keep.
    result Registered {
        /// The account.
        account: String,
        /// The TOTP secret in base32; pending until `totp.confirm`.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        totp_secret: Option<Secret>,
        /// The same as an `otpauth://` URI.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        totp_uri: Option<Secret>,
        /// Recovery codes, each good for one use.
        #[serde(with = "list")]
        #[cfg_attr(feature = "openapi", schemars(with = "Vec<String>"))]
        recovery_codes: Vec<Secret>,
        /// Over the network: what this session is known by from now on.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        token: Option<Secret>,
    }
}

wire! {
    /// Replaces the passphrase of the unlocked account.
    request AccountPassphrase {
        /// The current passphrase.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
        /// The new one.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        new_passphrase: Secret,
    }
}

wire! {
    /// Replaces a lost passphrase.
    request AccountRecover {
        /// Account name; `default` if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// One of the recovery codes; it is used up.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        code: Secret,
        /// The new passphrase.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        new_passphrase: Secret,
    }
}

wire! {
    /// A recovered account: unlocked, with a new TOTP secret if it had one.
    result Recovered {
        /// The account.
        account: String,
        /// The new TOTP secret in base32; pending until `totp.confirm`.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        totp_secret: Option<Secret>,
        /// The same as an `otpauth://` URI.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        totp_uri: Option<Secret>,
        /// How many recovery codes are left.
        codes_left: u32,
        /// Over the network: what this session is known by from now on.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        token: Option<Secret>,
    }
}

wire! {
    /// Creates a TOTP secret for the unlocked account.
    request TotpEnable {
        /// The passphrase.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
    }
}

wire! {
    /// A TOTP secret, pending until `totp.confirm`.
    result TotpSecret {
        /// Base32.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        totp_secret: Secret,
        /// The same as an `otpauth://` URI.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        totp_uri: Secret,
    }
}

wire! {
    /// Confirms the pending TOTP secret.
    request TotpConfirm {
        /// A current code, six digits.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        code: Secret,
    }
}

wire! {
    /// Removes TOTP.
    request TotpDisable {
        /// The passphrase.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
    }
}

wire! {
    /// Replaces all recovery codes.
    request TotpCodes {
        /// The passphrase.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
    }
}

wire! {
    /// New recovery codes; the old ones are void.
    result RecoveryCodes {
        /// Each good for one use.
        #[serde(with = "list")]
        #[cfg_attr(feature = "openapi", schemars(with = "Vec<String>"))]
        recovery_codes: Vec<Secret>,
    }
}
