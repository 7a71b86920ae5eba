//! Skeleton.

/// How providers are reached.
#[derive(Clone, Debug, Default)]
pub struct Outbound {}
