//! Wire types of keyfiles: the device secret that opens an account together with its passphrase.

use serde::{Deserialize, Serialize};

use super::plain::{one, option};
use super::wire;
use crate::secret::Secret;

wire! {
    /// Makes the passphrase open the account only together with a keyfile.
    request KeyfileEnable {
        /// The passphrase.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
        /// The 32 bytes of a keyfile that the caller keeps, in hex; absent: the agent keeps one in its state directory.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        keyfile: Option<Secret>,
    }
}

wire! {
    /// The account needs its keyfile from now on.
    result KeyfileEnabled {
        /// Where the agent keeps it; absent where the caller does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    }
}

wire! {
    /// Does without the keyfile again.
    request KeyfileDisable {
        /// The passphrase.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
    }
}

wire! {
    /// Asks about the keyfile of the unlocked account.
    #[derive(Default)]
    request KeyfileShow {}
}

wire! {
    /// Whether there is a keyfile.
    result KeyfileState {
        /// Whether the passphrase opens the account only together with one.
        enabled: bool,
        /// Where the agent keeps it; absent where somebody else does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    }
}
