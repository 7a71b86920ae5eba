//! Wire types of a hand-over: the keys of an account, on their way to an account of another vault.

use serde::{Deserialize, Serialize};

use super::plain::option;
use super::wire;
use crate::secret::Secret;

wire! {
    /// Asks for a code to receive a hand-over with.
    #[derive(Default)]
    request HandoverOffer {}
}

wire! {
    /// What the account that sends seals for.
    result HandoverCode {
        /// A public key that nobody else knows. The private one is in the session, and ends with it.
        code: String,
        /// Until when it is good, if the session lasts so long.
        expires_at: String,
    }
}

wire! {
    /// Asks for the account's keys, sealed for whoever made the code, or for the next piece.
    #[derive(Default)]
    request HandoverSend {
        /// The code of the account that receives; with the first piece.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// The account's passphrase; with the first piece.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        passphrase: Option<Secret>,
        /// `next` of the piece before; then nothing else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    }
}

wire! {
    /// A piece of a hand-over.
    result HandoverPiece {
        /// The piece, sealed, in base64.
        content: String,
        /// How many keys are in the hand-over up to here.
        keys: u64,
        /// How many keys the account has.
        total: u64,
        /// Keys of this piece that were left out: burned ones.
        left_out: Vec<String>,
        /// With the last: a checksum over every key. Whoever receives is told the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checksum: Option<String>,
        /// What to ask for the next piece with; absent with the last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    }
}

wire! {
    /// Takes a hand-over in: its pieces in their order, then `finish`, which stores all keys or none.
    #[derive(Default)]
    request HandoverReceive {
        /// `handover` of the answer before; absent with the first piece, which ends any that was on its way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        handover: Option<String>,
        /// A piece, as it was sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<String>,
        /// Store what came, which uses the code up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        finish: Option<bool>,
    }
}

wire! {
    /// How far a hand-over came in.
    result HandoverReport {
        /// What to name it with; absent once it is finished.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        handover: Option<String>,
        /// How many keys came.
        keys: u64,
        /// How many of them are new; with `finish`, how many were stored.
        added: u64,
        /// How many exist already with this secret; nothing of them is changed.
        unchanged: u64,
        /// Keys that cannot be taken in. While there is one, nothing is stored.
        refused: Vec<HandoverRefused>,
        /// Whether the last piece came.
        complete: bool,
        /// With `finish`: the checksum over every key as it is stored now. It is that of the sender, or `differing` says why not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checksum: Option<String>,
        /// With `finish`: keys that are not stored as they were sent, because they existed with other properties.
        differing: Vec<String>,
    }
}

wire! {
    /// A key of a hand-over that cannot be taken in.
    result HandoverRefused {
        /// Its name.
        name: String,
        /// The field at fault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        field: Option<String>,
        /// What is wrong with it.
        message: String,
    }
}
