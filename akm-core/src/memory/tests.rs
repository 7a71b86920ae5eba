//! Memory is looked at through `/proc/self/mem` and `/proc/self/smaps`, so that no test reads what Rust says is gone.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::*;

/// The allocator of all unit tests of this crate, counting per thread.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// Bytes this thread mapped.
    pub(super) static MAPPED: Cell<usize> = const { Cell::new(0) };
    /// Bytes in use in a [`WorkArea`] of this thread, before and after its wipe, if somebody watches.
    static WATCHED: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
    static FREED: RefCell<Vec<bool>> = const { RefCell::new(Vec::new()) };
}

// SAFETY: everything is passed on to `WipingAllocator`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { WipingAllocator.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { WipingAllocator.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { WipingAllocator.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { WipingAllocator.realloc(block, layout, new_size) }
    }
}

/// Allocations made and bytes mapped by this thread during `work`.
pub(crate) fn memory_taken<T>(work: impl FnOnce() -> T) -> (usize, usize, T) {
    let before = (ALLOCATIONS.get(), MAPPED.get());
    let done = work();
    (ALLOCATIONS.get() - before.0, MAPPED.get() - before.1, done)
}

/// Bytes that were not zero in the last [`WorkArea`] dropped during `work`, before and after its wipe.
pub(crate) fn watch_work_area(work: impl FnOnce()) -> Option<(usize, usize)> {
    WATCHED.set(Some((0, 0)));
    work();
    WATCHED.take()
}

pub(super) fn watch_before(pages: &Mapping) {
    if let Some((_, after)) = WATCHED.get() {
        WATCHED.set(Some((in_use(pages), after)));
    }
}

pub(super) fn watch_after(pages: &Mapping) {
    if let Some((before, _)) = WATCHED.get() {
        WATCHED.set(Some((before, in_use(pages))));
    }
}

fn in_use(pages: &Mapping) -> usize {
    let bytes = peek(pages.start.as_ptr().addr(), pages.len);
    bytes.iter().filter(|byte| **byte != 0).count()
}

/// What stands at an address of this process.
fn peek(address: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let memory = File::open("/proc/self/mem").unwrap();
    memory.read_exact_at(&mut bytes, address as u64).unwrap();
    bytes
}

fn address(key: &LockedKey) -> usize {
    key.expose().as_ptr().addr()
}

#[test]
fn a_key_moves_in_and_its_source_is_wiped() {
    let mut source = [7; 32];
    let key = LockedKey::from_bytes(&mut source);
    assert_eq!((source, key.expose()), ([0; 32], &[7; 32]));
    assert_eq!(format!("{key:?}"), "LockedKey(..)");
}

#[test]
fn a_failed_build_leaves_nothing() {
    let mut place = 0;
    let refused = LockedKey::build(|key| {
        key.fill(0xc5);
        place = key.as_ptr().addr();
        Err(crate::Error::internal("refused"))
    });
    assert!(refused.is_err());
    // Another thread may have taken the slot since; what it holds then is not what was built.
    assert_ne!(peek(place, 32), [0xc5; 32]);
}

#[test]
fn a_dropped_key_is_wiped() {
    let key = LockedKey::from_bytes(&mut [0xa7; 32]);
    let place = address(&key);
    assert_eq!(peek(place, 32), [0xa7; 32], "control: the key is there");
    drop(key);
    // Another thread may have taken the slot since; what it holds then is a key of its own.
    assert_ne!(peek(place, 32), [0xa7; 32]);
}

#[test]
fn keys_do_not_overlap_and_start_as_zeros() {
    let fill = |index: usize| {
        LockedKey::build(|key| {
            assert_eq!(*key, [0; 32]);
            key[..8].copy_from_slice(&index.to_ne_bytes());
            key[8..].fill(0xff);
            Ok(())
        })
        .unwrap()
    };
    // More than one chunk.
    let count = 2 * Arena::CHUNK / LockedKey::LEN;
    let mut keys: Vec<_> = (0..count).map(fill).collect();
    for index in (0..count).step_by(3) {
        keys[index] = fill(index);
    }
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(key.expose()[..8], index.to_ne_bytes());
    }
}

#[test]
fn keys_are_taken_and_dropped_by_many_threads() {
    std::thread::scope(|scope| {
        for byte in 1..=8u8 {
            scope.spawn(move || {
                for _ in 0..500 {
                    let keys: Vec<_> = (0..7)
                        .map(|_| LockedKey::from_bytes(&mut [byte; 32]))
                        .collect();
                    assert!(keys.iter().all(|key| key.expose() == &[byte; 32]));
                }
            });
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn key_pages_are_locked_and_out_of_dumps_and_children() {
    fn flags(address: usize) -> Vec<String> {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let range = line.split(' ').next().unwrap_or_default();
            if let Some((start, end)) = range.split_once('-')
                && let (Ok(start), Ok(end)) = (
                    usize::from_str_radix(start, 16),
                    usize::from_str_radix(end, 16),
                )
            {
                inside = (start..end).contains(&address);
            } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
                return flags.split_whitespace().map(str::to_owned).collect();
            }
        }
        panic!("no mapping has the address");
    }
    let key = LockedKey::from_bytes(&mut [1; 32]);
    let locked = flags(address(&key));
    let plain = Box::new([1u8; 32]);
    let control = flags(plain.as_ptr().addr());
    for flag in ["dd", "wf"] {
        assert!(locked.iter().any(|f| f == flag), "{flag} in {locked:?}");
        assert!(!control.iter().any(|f| f == flag), "control: {flag}");
    }
    assert_eq!(locked.iter().any(|f| f == "lo"), !lock_refused());
}

#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_sees_zeros() {
    use nix::sys::wait::{WaitStatus, waitpid};
    let key = LockedKey::from_bytes(&mut [9; 32]);
    let plain = [9u8; 32];
    // SAFETY: the child does nothing but compare and leave: no allocation, no lock.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            let wiped = key.expose() == &[0; 32];
            let control = std::hint::black_box(&plain) == &[9; 32];
            let code = i32::from(!wiped) + 2 * i32::from(!control);
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { nix::libc::_exit(code) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
    }
    assert_eq!(key.expose(), &[9; 32]);
}

/// The same test is its own child process, under limits that `sh` sets.
#[cfg(target_os = "linux")]
#[test]
fn without_permission_to_lock_keys_still_work_and_it_is_said() {
    const CHILD: &str = "AKM_TEST_MEMLOCK_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let key = LockedKey::from_bytes(&mut [3; 32]);
        assert_eq!(key.expose(), &[3; 32]);
        std::process::exit(if lock_refused() { 41 } else { 40 });
    }
    let run = |limit: &str| {
        let name = "memory::tests::without_permission_to_lock_keys_still_work_and_it_is_said";
        let script = format!("{limit} exec \"$0\" --exact {name}");
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .env(CHILD, "1")
            .stdout(std::process::Stdio::null())
            .status();
        status.unwrap().code()
    };
    // CAP_IPC_LOCK, which root may have, is above the limit.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let above = u64::from_str_radix(line.unwrap().trim(), 16).unwrap() & (1 << 14) != 0;
    assert_eq!(run("ulimit -l 0;"), Some(if above { 40 } else { 41 }));
    if !lock_refused() {
        assert_eq!(
            run(""),
            Some(40),
            "control: without the limit they are locked"
        );
    }
    // The same without the operating system: a chunk that could not be locked has slots all the same.
    let mut arena = Arena::new();
    arena.grow(|_| true);
    assert!(!arena.refused, "control");
    arena.grow(|_| false);
    assert!(arena.refused);
    assert_eq!(arena.free.len(), 2 * Arena::CHUNK / LockedKey::LEN);
}

/// Looks at every block that is given back.
struct Inspecting;

// SAFETY: blocks come from and return to `System`.
unsafe impl GlobalAlloc for Inspecting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the tests below initialise whole blocks.
        let clean = unsafe { std::slice::from_raw_parts(block, layout.size()) }
            .iter()
            .all(|byte| *byte == 0);
        FREED.with_borrow_mut(|freed| freed.push(clean));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[test]
fn freed_and_moved_blocks_are_wiped() {
    FREED.take();
    for size in [1, 31, 4096, 300_000] {
        let layout = Layout::from_size_align(size, 16).unwrap();
        // SAFETY: each block is used within its size and given back once, with its layout.
        unsafe {
            let block = Inspecting.alloc(layout);
            block.write_bytes(0xee, size);
            Inspecting.dealloc(block, layout);
            assert_eq!(FREED.take(), [false], "control: it was not clean before");

            let block = Inspecting.alloc(layout);
            block.write_bytes(0xee, size);
            wipe_and_free(&Inspecting, block, layout);
            assert_eq!(FREED.take(), [true]);

            for new_size in [size + 1, size * 3, size.div_ceil(2)] {
                let block = Inspecting.alloc(layout);
                block.write_bytes(0xee, size);
                let moved = move_block(&Inspecting, block, layout, new_size);
                assert_eq!(FREED.take(), [true]);
                let kept = std::slice::from_raw_parts(moved, size.min(new_size));
                assert!(kept.iter().all(|byte| *byte == 0xee));
                System.dealloc(moved, Layout::from_size_align(new_size, 16).unwrap());
            }
        }
    }
}

#[test]
fn growing_collections_keep_their_content() {
    // `Counting` passes on to `WipingAllocator`, so ordinary collections run on it here.
    let mut text = String::new();
    for index in 0..5000 {
        text.push_str(&index.to_string());
    }
    text.shrink_to_fit();
    let expected: String = (0..5000).map(|index| index.to_string()).collect();
    assert_eq!(text, expected);
}

#[test]
fn scrubbing_overwrites_what_calls_left_on_the_stack() {
    const CANARY: [u8; 16] = *b"stack canary 16b";
    const TIMES: usize = 4096;

    #[inline(never)]
    fn leave() -> usize {
        let mut area = [[0u8; 16]; TIMES];
        area.fill(std::hint::black_box(CANARY));
        std::hint::black_box(&area).as_ptr().addr()
    }
    fn left(address: usize) -> usize {
        let bytes = peek(address, TIMES * 16);
        bytes.chunks(16).filter(|chunk| *chunk == CANARY).count()
    }

    let place = leave();
    assert!(
        left(place) > TIMES / 2,
        "control: calls leave their data behind"
    );
    scrub_stack();
    assert_eq!(left(place), 0);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn scrubbing_clears_vector_registers() {
    extern "C" fn nothing() {}
    extern "C" fn clear() {
        clear_vectors();
    }
    if !std::arch::is_x86_feature_detected!("avx") {
        return;
    }
    let canary = [0x5au8; 32];
    let mut after = [[0u8; 32]; 2];
    // SAFETY: loads, calls and stores within the buffers named; every register a C function may change is declared.
    unsafe {
        std::arch::asm!(
            "vmovdqu ymm7, [r12]", "call {f}", "vmovdqu [r13], ymm7",
            f = sym nothing, in("r12") canary.as_ptr(), in("r13") after[0].as_mut_ptr(),
            clobber_abi("C"),
        );
        std::arch::asm!(
            "vmovdqu ymm7, [r12]", "call {f}", "vmovdqu [r13], ymm7",
            f = sym clear, in("r12") canary.as_ptr(), in("r13") after[1].as_mut_ptr(),
            clobber_abi("C"),
        );
    }
    assert_eq!(after[0], canary, "control: the register keeps its content");
    assert_eq!(after[1], [0; 32]);
}

#[cfg(feature = "vault")]
#[test]
fn a_work_area_is_wiped_before_it_is_unmapped() {
    let seen = watch_work_area(|| {
        let mut area = WorkArea::filled(1000, 0u64).unwrap();
        area.as_mut_slice().fill(u64::MAX);
    });
    assert_eq!(seen, Some((8000, 0)));
}

#[cfg(feature = "vault")]
#[test]
fn an_impossible_work_area_is_refused() {
    assert!(WorkArea::filled(usize::MAX / 16, 0u64).is_none());
    assert!(WorkArea::filled(usize::MAX, 0u64).is_none());
    assert!(WorkArea::filled(1, 0u64).is_some());
}
