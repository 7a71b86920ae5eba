//! Wire types of the dashboard.

use serde::{Deserialize, Serialize};

use super::plain::one;
use super::wire;
use crate::secret::Secret;

wire! {
    /// Asks for a link to the dashboard.
    #[derive(Default)]
    request UiOpen {}
}

wire! {
    /// A link to the dashboard.
    result UiLink {
        /// The address, good for one browser and one use: whoever opens it first acts for its owner.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        url: Secret,
        /// Seconds until it is void.
        expires_s: u64,
    }
}
