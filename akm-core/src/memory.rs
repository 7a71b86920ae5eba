//! Where key bytes rest, and how memory that held them is left.
//!
//! Invariants: a [`LockedKey`] lives in pages of akm's own that are kept out of swap, core dumps and
//! forked children, and is wiped before its place is used again; [`WipingAllocator`] gives no block back
//! with its content; [`scrub_stack`] overwrites what finished calls left on the stack.
//!
//! This room, akm-agent's `harden.rs` and akm-ffi are the only ones with `unsafe`.
//!
//! Deliberately absent: `mlockall` (the usual limit is 8 MB), copies of a key, and any claim about memory
//! that C code takes from `malloc` itself (SQLite sees sealed bytes only). A forked child must not go on
//! using akm: it sees zero keys, its pages are no longer locked, and a lock that another thread held at
//! the fork stays held.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::fmt;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::mman::{
    MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap_anonymous, mprotect, munmap,
};

use crate::error::Result;

/// 32 bytes of key in locked memory. Wiped when dropped; no `Clone`, and `Debug` shows nothing.
pub struct LockedKey(NonNull<[u8; LockedKey::LEN]>);

// SAFETY: the pointer is to a slot that this value alone owns, from `Arena::take` to `Arena::give_back`;
// the pages of the arena are never unmapped.
unsafe impl Send for LockedKey {}
// SAFETY: as above; through a shared reference the slot is only read.
unsafe impl Sync for LockedKey {}

impl LockedKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// A new random key.
    #[cfg(feature = "vault")]
    pub fn generate(random: &dyn crate::host::Random) -> Self {
        let mut key = Self::zeroed();
        random.fill(key.bytes());
        key
    }

    /// Moves a key in and wipes where it was.
    pub fn from_bytes(source: &mut [u8; Self::LEN]) -> Self {
        let mut key = Self::zeroed();
        key.bytes().copy_from_slice(source);
        zeroize::Zeroize::zeroize(source);
        key
    }

    /// Lets `fill` write a key in place, so that it is never anywhere else. It starts as zeros.
    pub fn build(fill: impl FnOnce(&mut [u8; Self::LEN]) -> Result<()>) -> Result<Self> {
        let mut key = Self::zeroed();
        fill(key.bytes())?;
        Ok(key)
    }

    /// The bytes, for the one place that needs them.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        // SAFETY: the slot is mapped, initialised and owned by `self`; see `Arena`.
        unsafe { self.0.as_ref() }
    }

    fn zeroed() -> Self {
        LockedKey(arena().take())
    }

    fn bytes(&mut self) -> &mut [u8; Self::LEN] {
        // SAFETY: as in `expose`, and `&mut self` makes the access exclusive.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for LockedKey {
    fn drop(&mut self) {
        // SAFETY: the slot is owned by `self` until the next line.
        unsafe { wipe(self.0.as_ptr().cast(), Self::LEN) };
        arena().give_back(self.0);
    }
}

impl fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockedKey(..)")
    }
}

/// Whether the system refused to lock key pages (`ulimit -l`), so that keys could reach swap. Known once the first
/// key exists.
pub fn lock_refused() -> bool {
    arena().refused
}

static ARENA: Mutex<Arena> = Mutex::new(Arena::new());

fn arena() -> MutexGuard<'static, Arena> {
    // A panic cannot leave the list half changed, so a poisoned lock is as good as any.
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Slots of 32 bytes in pages that are mapped once and kept for good. The list of free slots lives
/// outside those pages: a forked child, which sees them zeroed, still has a sound list.
struct Arena {
    free: Vec<NonNull<[u8; LockedKey::LEN]>>,
    /// All slots there are, free or taken.
    slots: usize,
    /// Whether pages could not be locked, ever.
    refused: bool,
}

// SAFETY: the list owns its slots, and they may be written from any thread.
unsafe impl Send for Arena {}

impl Arena {
    /// Bytes mapped and locked at a time: 2048 keys.
    const CHUNK: usize = PAGE;

    const fn new() -> Self {
        Arena {
            free: Vec::new(),
            slots: 0,
            refused: false,
        }
    }

    /// A slot of zeros.
    fn take(&mut self) -> NonNull<[u8; LockedKey::LEN]> {
        loop {
            if let Some(slot) = self.free.pop() {
                return slot;
            }
            self.grow(Mapping::lock);
        }
    }

    /// Takes a wiped slot back.
    fn give_back(&mut self, slot: NonNull<[u8; LockedKey::LEN]>) {
        self.free.push(slot);
    }

    /// Maps one more chunk, and goes on without the lock if it is refused.
    fn grow(&mut self, lock: impl FnOnce(&Mapping) -> bool) {
        // As for every other allocation: without memory there is no way on.
        let pages = Mapping::new(Self::CHUNK, Guard::Yes)
            .unwrap_or_else(|| std::alloc::handle_alloc_error(Layout::new::<[u8; Self::CHUNK]>()));
        self.refused |= !lock(&pages);
        let start = pages.start.cast::<[u8; LockedKey::LEN]>();
        let slots = Self::CHUNK / LockedKey::LEN;
        self.slots += slots;
        // Room for every slot there is, so that giving one back never allocates.
        self.free.reserve_exact(self.slots - self.free.len());
        for index in (0..slots).rev() {
            // SAFETY: `index` slots of 32 bytes lie within the chunk.
            self.free.push(unsafe { start.add(index) });
        }
        std::mem::forget(pages);
    }
}

enum Guard {
    /// An unreadable page on either side, so that running over a neighbouring mapping faults.
    Yes,
    #[cfg_attr(not(feature = "vault"), allow(dead_code))]
    No,
}

/// Anonymous private pages, out of core dumps and of forked children.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
    margin: usize,
}

impl Mapping {
    /// `None` when the system has no memory to give.
    fn new(len: usize, guard: Guard) -> Option<Self> {
        let len = len.checked_next_multiple_of(PAGE)?;
        let margin = match guard {
            Guard::Yes => PAGE,
            Guard::No => 0,
        };
        #[cfg(test)]
        tests::MAPPED.set(tests::MAPPED.get() + len);
        let whole = NonZeroUsize::new(len.checked_add(2 * margin)?)?;
        // SAFETY: a new anonymous mapping at a place of the kernel's choice touches nobody's memory.
        let base =
            unsafe { mmap_anonymous(None, whole, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE) };
        // SAFETY: `margin` is within the mapping.
        let start = unsafe { base.ok()?.cast::<u8>().add(margin) };
        let mapping = Mapping { start, len, margin };
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the range is the mapping made above, which nothing refers to yet.
        unsafe { mprotect(mapping.address(), len, access) }.ok()?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        for advice in [MmapAdvise::MADV_DONTDUMP, MmapAdvise::MADV_WIPEONFORK] {
            // SAFETY: as above. Kernels since 4.14 know both; an older one is no reason to stop.
            let _ = unsafe { madvise(mapping.address(), len, advice) };
        }
        Some(mapping)
    }

    fn address(&self) -> NonNull<c_void> {
        self.start.cast()
    }

    /// Whether the pages could be kept out of swap.
    fn lock(&self) -> bool {
        // SAFETY: the range is this mapping.
        unsafe { mlock(self.address(), self.len) }.is_ok()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range with its margins is the whole mapping, and its owner is gone.
        let _ = unsafe {
            munmap(
                self.start.sub(self.margin).cast(),
                self.len + 2 * self.margin,
            )
        };
    }
}

/// The largest page size of any system akm runs on; every smaller one divides it.
const PAGE: usize = 64 * 1024;

/// A large work area of its own pages, wiped and unmapped when dropped.
#[cfg(feature = "vault")]
pub(crate) struct WorkArea<T: Copy> {
    pages: Mapping,
    count: usize,
    kind: std::marker::PhantomData<T>,
}

#[cfg(feature = "vault")]
impl<T: Copy> WorkArea<T> {
    /// `count` times `value`; `None` when the system has no memory to give.
    pub(crate) fn filled(count: usize, value: T) -> Option<Self> {
        assert!(align_of::<T>() <= 4096, "pages are aligned enough");
        let bytes = count.checked_mul(size_of::<T>())?.max(1);
        let pages = Mapping::new(bytes, Guard::No)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // SAFETY: the range is the mapping. Fewer, larger page faults; a refusal costs time only.
        let _ = unsafe { madvise(pages.address(), pages.len, MmapAdvise::MADV_HUGEPAGE) };
        let start = pages.start.cast::<T>();
        for index in 0..count {
            // SAFETY: `count` values fit into the mapping, which is aligned for them.
            unsafe { start.add(index).write(value) };
        }
        Some(WorkArea {
            pages,
            count,
            kind: std::marker::PhantomData,
        })
    }

    /// The area.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: `filled` initialised `count` values, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pages.start.cast().as_ptr(), self.count) }
    }
}

#[cfg(feature = "vault")]
impl<T: Copy> Drop for WorkArea<T> {
    fn drop(&mut self) {
        #[cfg(test)]
        tests::watch_before(&self.pages);
        // SAFETY: the mapping is owned by `self`; `T: Copy` has no drop to run.
        unsafe { wipe(self.pages.start.as_ptr(), self.pages.len) };
        #[cfg(test)]
        tests::watch_after(&self.pages);
    }
}

/// An allocator that wipes every block before giving it back. For `#[global_allocator]` in programs
/// that see plaintext: freed strings, buffers and request bodies do not linger in the heap.
#[derive(Clone, Copy, Debug, Default)]
pub struct WipingAllocator;

// SAFETY: every block comes from and returns to `System` with the layout it was asked for.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { wipe_and_free(&System, block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { move_block(&System, block, layout, new_size) }
    }
}

/// # Safety
/// As [`GlobalAlloc::dealloc`] of `inner`.
#[inline]
unsafe fn wipe_and_free(inner: &impl GlobalAlloc, block: *mut u8, layout: Layout) {
    // SAFETY: the block has `layout.size()` bytes and nobody else uses it any more.
    unsafe {
        wipe(block, layout.size());
        inner.dealloc(block, layout);
    }
}

/// `realloc` of the system leaves the old block behind as it was, so this one moves by hand.
///
/// # Safety
/// As [`GlobalAlloc::realloc`] of `inner`.
#[inline]
unsafe fn move_block(
    inner: &impl GlobalAlloc,
    block: *mut u8,
    layout: Layout,
    new_size: usize,
) -> *mut u8 {
    // SAFETY: the caller promises that `new_size`, rounded up to the alignment, is a valid size; both
    // blocks have at least the smaller number of bytes and do not overlap.
    unsafe {
        let new_layout = Layout::from_size_align_unchecked(new_size, layout.align());
        let new_block = inner.alloc(new_layout);
        if !new_block.is_null() {
            std::ptr::copy_nonoverlapping(block, new_block, layout.size().min(new_size));
            wipe_and_free(inner, block, layout);
        }
        new_block
    }
}

/// How much unused stack [`scrub_stack`] overwrites, in bytes.
pub const SCRUBBED: usize = 160 * 1024;

/// Overwrites the unused stack below the caller and clears the vector registers, where finished calls
/// left pieces of keys. Call it at the top of a thread's work, after the calls that touched keys; it needs
/// [`SCRUBBED`] bytes of free stack and a little more.
#[inline(never)]
pub fn scrub_stack() {
    let mut area = MaybeUninit::<[u8; SCRUBBED]>::uninit();
    // SAFETY: the area is this frame's own.
    unsafe { wipe(area.as_mut_ptr().cast(), SCRUBBED) };
    clear_vectors();
}

#[cfg(target_arch = "x86_64")]
fn clear_vectors() {
    #[target_feature(enable = "avx")]
    fn zero_all() {
        std::arch::x86_64::_mm256_zeroall();
    }
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX.
        unsafe { zero_all() };
    }
}

/// Other processors have no one instruction for it.
#[cfg(not(target_arch = "x86_64"))]
fn clear_vectors() {}

/// Overwrites memory with zeros in a way that the compiler must not leave out although nobody reads them.
///
/// # Safety
/// `start` is valid for writes of `len` bytes.
#[inline]
unsafe fn wipe(start: *mut u8, len: usize) {
    if len > 0 {
        // SAFETY: the caller's promise; after the write the first byte is initialised.
        unsafe {
            std::ptr::write_bytes(start, 0, len);
            zeroize::optimization_barrier(&*start);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
