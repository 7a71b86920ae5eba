//! Skeleton.
/// SQLite.
pub struct SqliteStore;
