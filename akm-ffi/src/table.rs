//! The table of handles: numbers that are never reused, so that a stale one is told apart from a live one.
//!
//! A handle is `generation << 32 | slot`. Closing counts the slot's generation up; a slot whose generations are
//! used up stays empty. Generations start at 1, so no handle is 0.
//!
//! Locks: the table's lock is held for a look-up or a change of a slot, never while a call waits. A call holds a
//! read lock on its own handle; closing takes that lock for writing, which is how it waits for the calls under way.
//!
//! Fork: the child has one thread, and whatever lock another thread held is held for ever. The table's lock is
//! therefore taken around `fork` by `pthread_atfork`, so that the child finds the table whole; the locks of an
//! inherited handle are never touched. An inherited connected handle gets a new target with no connections, an
//! inherited embedded one answers `forked` and is never dropped, for its files and threads are the parent's.

use std::cell::UnsafeCell;
use std::mem;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use akm_core::{Error, Kind, Result};
use nix::libc;

use crate::target::{Origin, Target};

/// Most handles open at once; a program that passes this leaks them.
const MAX_HANDLES: usize = 65_536;

static TABLE: RwLock<Vec<Slot>> = RwLock::new(Vec::new());

struct Slot {
    generation: u32,
    entry: Option<Arc<Entry>>,
}

struct Entry {
    /// The process that made it.
    pid: u32,
    /// What a child needs, readable without a lock.
    origin: Origin,
    /// Empty once closed.
    target: RwLock<Option<Target>>,
}

impl Entry {
    fn new(target: Target) -> Arc<Self> {
        Arc::new(Entry {
            pid: process::id(),
            origin: target.origin(),
            target: RwLock::new(Some(target)),
        })
    }

    fn is_inherited(&self) -> bool {
        self.pid != process::id()
    }
}

/// Puts a target into the table.
pub(crate) fn insert(target: Target) -> Result<u64> {
    watch_forks();
    let entry = Entry::new(target);
    let mut table = write();
    let free = table
        .iter()
        .position(|slot| slot.entry.is_none() && slot.generation < u32::MAX);
    let index = match free {
        Some(index) => index,
        None if table.len() < MAX_HANDLES => {
            table.push(Slot {
                generation: 0,
                entry: None,
            });
            table.len() - 1
        }
        None => {
            // The target closes itself outside the lock.
            drop(table);
            return Err(Error::new(Kind::LimitReached, "too many handles are open"));
        }
    };
    let slot = &mut table[index];
    slot.generation += 1;
    slot.entry = Some(entry);
    Ok(u64::from(slot.generation) << 32 | index as u64)
}

/// Runs a call on a handle's target.
pub(crate) fn with<T>(handle: u64, call: impl FnOnce(&Target) -> Result<T>) -> Result<T> {
    let entry = find(handle)?;
    let target = entry.target.read().unwrap_or_else(PoisonError::into_inner);
    target.as_ref().map_or_else(|| Err(closed()), call)
}

/// Takes a handle out of the table, waits for its calls and drops its target. Unknown handles are fine.
pub(crate) fn close(handle: u64) {
    let Some(entry) = slot_mut(&mut write(), handle).and_then(|slot| slot.entry.take()) else {
        return;
    };
    if entry.is_inherited() {
        abandon(entry);
        return;
    }
    let target = entry
        .target
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    drop(target);
}

fn find(handle: u64) -> Result<Arc<Entry>> {
    let entry = {
        let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
        let (index, generation) = split(handle);
        table
            .get(index)
            .filter(|slot| slot.generation == generation)
            .and_then(|slot| slot.entry.clone())
            .ok_or_else(closed)?
    };
    if !entry.is_inherited() {
        return Ok(entry);
    }
    drop(entry);
    adopt(handle)
}

/// Makes an inherited handle this process's own, where that is possible.
fn adopt(handle: u64) -> Result<Arc<Entry>> {
    let mut table = write();
    let slot = slot_mut(&mut table, handle).ok_or_else(closed)?;
    let Some(entry) = &slot.entry else {
        return Err(closed());
    };
    if !entry.is_inherited() {
        return Ok(entry.clone());
    }
    let target = Target::reborn(&entry.origin).ok_or_else(|| {
        Error::new(Kind::Forked, "the vault was opened by the parent process")
            .with_hint("open it after fork, or connect to the agent")
    })?;
    let fresh = Entry::new(target);
    let inherited = slot.entry.replace(fresh.clone());
    drop(table);
    if let Some(inherited) = inherited {
        abandon(inherited);
    }
    Ok(fresh)
}

/// Lets go of what belongs to the parent process.
///
/// Connections are only descriptors: if no thread of the parent had a share at the time of the fork, dropping closes the
/// child's copies and nothing else. An embedded vault has locks, files and threads: it is left as it lies.
fn abandon(entry: Arc<Entry>) {
    match entry.origin {
        Origin::Socket(_) => drop(entry),
        Origin::Vault => mem::forget(entry),
    }
}

fn split(handle: u64) -> (usize, u32) {
    (
        (handle & u64::from(u32::MAX)) as usize,
        (handle >> 32) as u32,
    )
}

fn slot_mut(table: &mut [Slot], handle: u64) -> Option<&mut Slot> {
    let (index, generation) = split(handle);
    table
        .get_mut(index)
        .filter(|slot| slot.generation == generation && slot.entry.is_some())
}

fn write() -> RwLockWriteGuard<'static, Vec<Slot>> {
    // Nothing under this lock panics half-way through a change, so a poisoned table is a whole one.
    TABLE.write().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> Error {
    Error::new(Kind::Closed, "the handle is closed")
}

/// Holds the table's lock while the process is being copied.
struct Held(UnsafeCell<Option<RwLockWriteGuard<'static, Vec<Slot>>>>);

// SAFETY: only the fork handlers reach it, `before` after it took the lock and `after` before it gives it back, so the
// lock itself keeps any two threads apart.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new(None));

fn watch_forks() {
    // Not a `Once`: a child forked while another thread runs one would wait for that thread for ever.
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.swap(true, Ordering::AcqRel) {
        return;
    }
    // SAFETY: the three functions live as long as the library, which is linked never to be unloaded. A failure is lack of
    // memory for one list entry; then forking while another thread is inside the table is as safe as it was before.
    unsafe {
        libc::pthread_atfork(Some(before), Some(after), Some(after));
    }
}

extern "C" fn before() {
    let guard = write();
    // SAFETY: see `Held`; this thread holds the lock.
    unsafe { *HELD.0.get() = Some(guard) };
}

extern "C" fn after() {
    // SAFETY: see `Held`; this thread, or the child's copy of it, holds the lock.
    drop(unsafe { (*HELD.0.get()).take() });
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::thread;

    use super::*;

    fn nowhere() -> Target {
        Target::reborn(&Origin::Socket(PathBuf::from("/nonexistent"))).unwrap()
    }

    #[test]
    fn closing_waits_for_the_calls_under_way() {
        let handle = insert(nowhere()).unwrap();
        let entered = AtomicBool::new(false);
        let left = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                with(handle, |_| {
                    entered.store(true, Ordering::SeqCst);
                    // Until `close` took the handle out of the table; from there on it must wait for us.
                    while find(handle).is_ok() {
                        thread::yield_now();
                    }
                    for _ in 0..1000 {
                        thread::yield_now();
                    }
                    left.store(true, Ordering::SeqCst);
                    Ok(())
                })
                .unwrap();
            });
            while !entered.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            close(handle);
            assert!(left.load(Ordering::SeqCst), "closed under a call");
        });
        assert_eq!(with(handle, |_| Ok(())).unwrap_err().kind(), Kind::Closed);
    }

    #[test]
    fn a_slow_call_keeps_nobody_else_waiting() {
        let slow = insert(nowhere()).unwrap();
        let other = insert(nowhere()).unwrap();
        with(slow, |_| {
            // The same handle, another, a new one, and closing: all while a call is under way.
            with(slow, |_| Ok(()))?;
            with(other, |_| Ok(()))?;
            let third = insert(nowhere())?;
            close(third);
            close(other);
            Ok(())
        })
        .unwrap();
        close(slow);
    }
}
