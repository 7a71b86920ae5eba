//! The C ABI of akm: seven functions, JSON in and out, declared and documented in `include/akm.h`.
//!
//! Invariants
//! * Every operation of [`akm_core::protocol`] is reachable through [`akm_call`] by its name; adding one
//!   changes nothing here.
//! * 0 is success, anything else the code of an [`akm_core::Kind`], and the buffer then holds the error
//!   object. Nothing is kept in thread-local state, so "the last error" does not exist.
//! * No argument is trusted: null with a length, a length past its limit, text that is not UTF-8 and a path
//!   with a NUL are `invalid_input`; an unusable out pointer is `invalid_input` with nothing written.
//! * No panic crosses: it becomes `internal`.
//! * A call holds no lock that another handle's call needs (see `table`), and after `fork` none at all.
//!
//! What is deliberately absent: callbacks, ownership passed from the caller to us, strings that end at a NUL,
//! one C function per operation.

#![allow(unsafe_code)]

use std::ffi::{OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use akm_core::protocol::MAX_REQUEST;
use akm_core::{Error, Kind, Result};

mod buffer;
mod embedded;
mod table;
mod target;

pub use buffer::AkmBuffer;
use target::Target;

/// Keys and requests pass through this library's memory: all of it is wiped when freed.
#[global_allocator]
static ALLOCATOR: akm_core::memory::WipingAllocator = akm_core::memory::WipingAllocator;

/// The version of this ABI. It changes only when a program built against the old header would break.
pub const ABI_VERSION: u32 = 1;

/// Longest path in bytes, as the kernel counts.
const MAX_PATH: usize = 4096;
/// Longest operation name in bytes.
const MAX_OP: usize = 64;
/// Longest key name in bytes that is looked at; the exact rule stands in `akm_core::name`.
const MAX_NAME: usize = 1024;

/// The one way in for a pointer with a length: a slice, or `invalid_input` naming the argument.
macro_rules! bytes_in {
    ($pointer:expr, $len:expr, $max:expr, $field:literal) => {
        match ($pointer, $len) {
            (_, 0) => Ok(&[][..]),
            (_, len) if len > $max => Err(Error::invalid($field, "the argument is too long")),
            (pointer, _) if pointer.is_null() => {
                Err(Error::invalid($field, "the argument is null but has a length"))
            }
            // SAFETY: not null, within `$max` and so within `isize::MAX`, and the header has the caller promise
            // that `len` bytes are readable and stay unchanged during the call. Bytes have no alignment.
            (pointer, len) => Ok(unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), len) }),
        }
    };
}

/// The one wall that no panic crosses: runs the body, puts its bytes or its error into the buffer, gives the code.
macro_rules! guarded {
    ($buffer:expr, $body:expr) => {{
        // SAFETY: the header has the caller promise that the pointer, if not null, is a buffer of its own.
        let Some(buffer) = (unsafe { buffer::claim($buffer) }) else {
            return Kind::InvalidInput.code();
        };
        let answer: Result<Option<Vec<u8>>> = catch_unwind(AssertUnwindSafe(|| $body))
            .unwrap_or_else(|_| Err(Error::internal("akm panicked")));
        match answer {
            Ok(bytes) => {
                buffer.put(bytes.unwrap_or_default());
                0
            }
            Err(error) => {
                buffer.put(buffer::error_object(&error));
                error.kind().code()
            }
        }
    }};
}

/// The version of the ABI this library speaks: [`ABI_VERSION`].
#[unsafe(no_mangle)]
pub extern "C" fn akm_abi_version() -> u32 {
    ABI_VERSION
}

/// Connects to the agent behind `socket`, or behind the default socket if it is null with length 0.
///
/// # Safety
/// `socket` points to `len` readable bytes or is null; `out` is null or writable; `err` is null or a buffer of the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn akm_connect(
    socket: *const c_char,
    len: usize,
    out: *mut u64,
    err: *mut AkmBuffer,
) -> i32 {
    guarded!(err, {
        // SAFETY: the caller's promise about `out`.
        let out = unsafe { handle_out(out) }?;
        let path = path_in(
            socket.is_null(),
            bytes_in!(socket, len, MAX_PATH, "socket")?,
            "socket",
        )?;
        *out = table::insert(Target::connect(path)?)?;
        Ok(None)
    })
}

/// Opens a vault inside this process, locked; the default vault if `vault` is null with length 0.
///
/// # Safety
/// As [`akm_connect`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn akm_open(
    vault: *const c_char,
    len: usize,
    out: *mut u64,
    err: *mut AkmBuffer,
) -> i32 {
    guarded!(err, {
        // SAFETY: the caller's promise about `out`.
        let out = unsafe { handle_out(out) }?;
        let path = path_in(
            vault.is_null(),
            bytes_in!(vault, len, MAX_PATH, "vault")?,
            "vault",
        )?;
        *out = table::insert(Target::open(path)?)?;
        Ok(None)
    })
}

/// Calls an operation with a JSON object; an empty request means `{}`. On 0 the buffer holds the result.
///
/// # Safety
/// Both texts point to as many readable bytes as their lengths say, or are null; `out` is null or a buffer of the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn akm_call(
    client: u64,
    op: *const c_char,
    op_len: usize,
    json: *const c_char,
    json_len: usize,
    out: *mut AkmBuffer,
) -> i32 {
    guarded!(out, {
        let op = text_in(bytes_in!(op, op_len, MAX_OP, "op")?, "op")?;
        let json = bytes_in!(json, json_len, MAX_REQUEST, "json")?;
        text_in(json, "json")?;
        table::with(client, |target| target.call(op, json)).map(Some)
    })
}

/// Fetches a key. On 0 the buffer holds the secret's bytes and nothing else.
///
/// # Safety
/// As [`akm_call`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn akm_get(
    client: u64,
    name: *const c_char,
    len: usize,
    out: *mut AkmBuffer,
) -> i32 {
    guarded!(out, {
        let name = text_in(bytes_in!(name, len, MAX_NAME, "name")?, "name")?;
        table::with(client, |target| target.get(name)).map(Some)
    })
}

/// Wipes what a buffer holds, frees it, and leaves the buffer zeroed. Null and zeroed buffers are fine.
///
/// # Safety
/// `buffer` is null, zeroed, or as one of these functions filled it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn akm_buffer_free(buffer: *mut AkmBuffer) {
    // SAFETY: the caller's promise.
    unsafe { buffer::free(buffer) }
}

/// Closes a handle after the calls under way on it; 0 and a handle closed before are fine.
#[unsafe(no_mangle)]
pub extern "C" fn akm_close(client: u64) {
    // A panic while closing has nowhere to be told and must not cross; the handle is invalid either way.
    let _ = catch_unwind(AssertUnwindSafe(|| table::close(client)));
}

/// Where a new handle goes: set to 0 at once, so that a failure leaves no stale value behind.
///
/// # Safety
/// `out` is null or points to memory for a handle that nothing else uses during the call.
unsafe fn handle_out<'a>(out: *mut u64) -> Result<&'a mut u64> {
    if out.is_null() || !out.is_aligned() {
        return Err(Error::invalid(
            "out",
            "the pointer for the handle is unusable",
        ));
    }
    // SAFETY: not null, aligned, and writable by the caller's promise.
    let out = unsafe {
        out.write(0);
        &mut *out
    };
    Ok(out)
}

/// A path: `None` for null, refused if empty (an unset variable is not the default place) or with a NUL inside.
fn path_in<'a>(null: bool, bytes: &'a [u8], field: &'static str) -> Result<Option<&'a Path>> {
    if null {
        return Ok(None);
    }
    if bytes.is_empty() {
        return Err(Error::invalid(field, "the path is empty"));
    }
    if bytes.contains(&0) {
        return Err(Error::invalid(field, "the path has a NUL"));
    }
    text_in(bytes, field)?;
    Ok(Some(Path::new(OsStr::from_bytes(bytes))))
}

fn text_in<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| Error::invalid(field, "the argument is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(body: impl FnOnce() -> Result<Option<Vec<u8>>>) -> (i32, Vec<u8>) {
        let mut buffer = AkmBuffer::zeroed();
        let pointer: *mut AkmBuffer = &mut buffer;
        let code = (|| guarded!(pointer, body()))();
        let bytes = match buffer.data.is_null() {
            true => Vec::new(),
            // SAFETY: the macro filled the buffer.
            false => unsafe { std::slice::from_raw_parts(buffer.data, buffer.len) }.to_vec(),
        };
        // SAFETY: the buffer is as the macro left it.
        unsafe { buffer::free(&mut buffer) };
        (code, bytes)
    }

    #[test]
    fn a_panic_becomes_internal() {
        assert_eq!(run(|| Ok(Some(b"fine".to_vec()))), (0, b"fine".to_vec()));
        let (code, bytes) = run(|| panic!("canary"));
        assert_eq!(code, Kind::Internal.code());
        assert_eq!(bytes, br#"{"kind":"internal","message":"akm panicked"}"#);
    }
}
