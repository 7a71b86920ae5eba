//! The buffer that carries an answer out: memory of this library, lent to the caller until it is freed.
//!
//! Invariants: bytes are written only into a buffer that came in zeroed, because a filled one may hold a secret
//! that would be lost unwiped, and one with garbage cannot be told from it; freeing wipes the whole
//! capacity and zeroes the struct, so freeing twice is harmless.

use std::ptr;

use akm_core::Error;
use zeroize::Zeroize;

/// `akm_buffer` of the header.
#[repr(C)]
#[derive(Debug)]
pub struct AkmBuffer {
    /// The bytes, or null.
    pub data: *mut u8,
    /// How many there are.
    pub len: usize,
    /// How many there is room for; the caller leaves it alone.
    pub cap: usize,
}

impl AkmBuffer {
    /// An empty buffer, as a caller starts with.
    pub const fn zeroed() -> Self {
        AkmBuffer {
            data: ptr::null_mut(),
            len: 0,
            cap: 0,
        }
    }

    /// Hands the bytes to the caller.
    pub(crate) fn put(&mut self, mut bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        (self.data, self.len, self.cap) = (bytes.as_mut_ptr(), bytes.len(), bytes.capacity());
        std::mem::forget(bytes);
    }
}

/// A caller's buffer, if it can be written to: not null, aligned, zeroed.
///
/// # Safety
/// `buffer` is null or points to a buffer that nothing else uses during the call.
pub(crate) unsafe fn claim<'a>(buffer: *mut AkmBuffer) -> Option<&'a mut AkmBuffer> {
    if buffer.is_null() || !buffer.is_aligned() {
        return None;
    }
    // SAFETY: not null, aligned, and the caller's own by its promise.
    let buffer = unsafe { &mut *buffer };
    (buffer.data.is_null() && buffer.len == 0 && buffer.cap == 0).then_some(buffer)
}

/// Wipes, frees and zeroes.
///
/// # Safety
/// `buffer` is null, zeroed, or as [`AkmBuffer::put`] left it.
pub(crate) unsafe fn free(buffer: *mut AkmBuffer) {
    if buffer.is_null() || !buffer.is_aligned() {
        return;
    }
    // SAFETY: not null, aligned, and the caller's own by its promise.
    let taken = unsafe { std::mem::replace(&mut *buffer, AkmBuffer::zeroed()) };
    if taken.data.is_null() {
        return;
    }
    // SAFETY: the three values are those of the vector that `put` forgot.
    let mut bytes = unsafe { Vec::from_raw_parts(taken.data, taken.len, taken.cap) };
    bytes.zeroize();
}

/// The error object of an answer, as bytes.
pub(crate) fn error_object(error: &Error) -> Vec<u8> {
    akm_core::protocol::encode(error).unwrap_or_else(|_| {
        br#"{"kind":"internal","message":"the error could not be written"}"#.to_vec()
    })
}
