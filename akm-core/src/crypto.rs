//! Skeleton.

/// What trying one passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfCost;

impl KdfCost {
    /// The standard.
    pub const fn standard() -> Self {
        KdfCost
    }
}
