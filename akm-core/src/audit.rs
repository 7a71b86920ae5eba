//! Skeleton.

/// The process that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Process id.
    pub pid: i32,
    /// Path of the executable, as far as it could be read.
    pub exe: String,
}
