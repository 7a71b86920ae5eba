//! Memory is looked at through `/proc/self/mem`, so that no test reads what Rust says is gone.

use std::cell::Cell;

thread_local! {
    /// Bytes that were not zero in the last dropped [`super::WorkArea`], before and after its wipe.
    pub(super) static WORK_AREA: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}
