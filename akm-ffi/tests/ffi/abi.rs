//! The rules of the C ABI that a careful C program never meets: bad pointers, lengths, texts and handles.

#![allow(unsafe_code)]

use std::ffi::c_char;
use std::ptr;
use std::thread;

use akm::{AkmBuffer, akm_close};
use akm_core::Kind;
use serde_json::Value;

use crate::agent::{Agent, SECRET};

/// The functions under test, as C sees them. Every bad argument below is one that they promise to look at first.
mod c {
    use super::*;

    pub(super) fn connect(
        path: *const c_char,
        len: usize,
        out: *mut u64,
        err: *mut AkmBuffer,
    ) -> i32 {
        // SAFETY: what is passed is good, or bad in a way that is refused before it is used.
        unsafe { akm::akm_connect(path, len, out, err) }
    }

    pub(super) fn open(path: *const c_char, len: usize, out: *mut u64, err: *mut AkmBuffer) -> i32 {
        // SAFETY: as above.
        unsafe { akm::akm_open(path, len, out, err) }
    }

    pub(super) fn call(
        client: u64,
        op: *const c_char,
        op_len: usize,
        json: *const c_char,
        json_len: usize,
        out: *mut AkmBuffer,
    ) -> i32 {
        // SAFETY: as above.
        unsafe { akm::akm_call(client, op, op_len, json, json_len, out) }
    }

    pub(super) fn get(client: u64, name: *const c_char, len: usize, out: *mut AkmBuffer) -> i32 {
        // SAFETY: as above.
        unsafe { akm::akm_get(client, name, len, out) }
    }

    pub(super) fn free(buffer: *mut AkmBuffer) {
        // SAFETY: as above.
        unsafe { akm::akm_buffer_free(buffer) }
    }
}

const INVALID: i32 = Kind::InvalidInput as i32;

/// What a call answered: the code, and what was in the buffer.
fn answer(call: impl FnOnce(*mut AkmBuffer) -> i32) -> (i32, Vec<u8>) {
    let mut buffer = AkmBuffer::zeroed();
    let code = call(&mut buffer);
    let bytes = match buffer.data.is_null() {
        true => Vec::new(),
        // SAFETY: the library filled the buffer.
        false => unsafe { std::slice::from_raw_parts(buffer.data, buffer.len) }.to_vec(),
    };
    c::free(&mut buffer);
    assert!(buffer.data.is_null() && buffer.len == 0 && buffer.cap == 0);
    (code, bytes)
}

/// The field that a refusal names.
fn refused(call: impl FnOnce(*mut AkmBuffer) -> i32) -> String {
    let (code, bytes) = answer(call);
    assert_eq!(code, INVALID, "{}", String::from_utf8_lossy(&bytes));
    let error: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(error["kind"], "invalid_input");
    error["field"].as_str().unwrap_or_default().to_owned()
}

fn pointer(bytes: &[u8]) -> *const c_char {
    bytes.as_ptr().cast()
}

fn connect(path: &[u8]) -> u64 {
    let mut handle = 0;
    let (code, _) = answer(|err| c::connect(pointer(path), path.len(), &mut handle, err));
    assert_eq!(code, 0);
    handle
}

fn get(handle: u64, name: &[u8]) -> (i32, Vec<u8>) {
    answer(|out| c::get(handle, pointer(name), name.len(), out))
}

#[test]
fn an_unusable_out_pointer_is_refused_and_nothing_is_written() {
    let mut handle = 7_u64;
    let path = b"/nonexistent";
    assert_eq!(
        c::connect(pointer(path), path.len(), &mut handle, ptr::null_mut()),
        INVALID
    );
    assert_eq!(
        c::open(pointer(path), path.len(), &mut handle, ptr::null_mut()),
        INVALID
    );
    assert_eq!(
        c::call(1, pointer(b"op"), 2, ptr::null(), 0, ptr::null_mut()),
        INVALID
    );
    assert_eq!(c::get(1, pointer(b"n"), 1, ptr::null_mut()), INVALID);
    let odd = (&raw mut handle)
        .cast::<u8>()
        .wrapping_add(1)
        .cast::<AkmBuffer>();
    assert_eq!(c::get(1, pointer(b"n"), 1, odd), INVALID);
    c::free(odd);
    c::free(ptr::null_mut());
    assert_eq!(handle, 7);
    // A null handle pointer leaves room for the reason.
    assert_eq!(
        refused(|err| c::connect(pointer(path), path.len(), ptr::null_mut(), err)),
        "out"
    );
    assert_eq!(
        refused(|err| c::open(pointer(path), path.len(), ptr::null_mut(), err)),
        "out"
    );
}

#[test]
fn a_buffer_that_is_not_zeroed_is_refused_and_left_alone() {
    let mut bytes = *b"secret";
    for (data, len, cap) in [
        (bytes.as_mut_ptr(), 6, 6),
        (ptr::null_mut(), 6, 0),
        (ptr::null_mut(), 0, 6),
    ] {
        let mut buffer = AkmBuffer { data, len, cap };
        assert_eq!(c::get(1, pointer(b"n"), 1, &mut buffer), INVALID);
        assert_eq!((buffer.data, buffer.len, buffer.cap), (data, len, cap));
    }
    assert_eq!(&bytes, b"secret");
}

#[test]
fn bad_texts_name_the_argument() {
    let agent = Agent::with_key();
    let socket = agent.socket.to_str().unwrap().as_bytes();
    let handle = connect(socket);
    let mut other = 7_u64;
    let huge = usize::MAX;
    let long = vec![b'a'; 300 * 1024];
    assert_eq!(
        refused(|b| c::connect(ptr::null(), 3, &mut other, b)),
        "socket"
    );
    assert_eq!(
        refused(|b| c::connect(pointer(socket), huge, &mut other, b)),
        "socket"
    );
    assert_eq!(
        refused(|b| c::connect(pointer(b""), 0, &mut other, b)),
        "socket"
    );
    assert_eq!(
        refused(|b| c::connect(pointer(b"/tmp/a\0b"), 8, &mut other, b)),
        "socket"
    );
    assert_eq!(
        refused(|b| c::connect(pointer(b"/tmp/\xff"), 6, &mut other, b)),
        "socket"
    );
    assert_eq!(refused(|b| c::open(ptr::null(), 3, &mut other, b)), "vault");
    assert_eq!(
        refused(|b| c::open(pointer(b"/tmp/a\0b"), 8, &mut other, b)),
        "vault"
    );
    assert_eq!(
        refused(|b| c::open(pointer(b"/tmp/\xff"), 6, &mut other, b)),
        "vault"
    );
    assert_eq!(
        refused(|b| c::open(pointer(&long), long.len(), &mut other, b)),
        "vault"
    );
    assert_eq!(other, 0);
    assert_eq!(
        refused(|b| c::call(handle, ptr::null(), 3, ptr::null(), 0, b)),
        "op"
    );
    assert_eq!(
        refused(|b| c::call(handle, pointer(b"\xff"), 1, ptr::null(), 0, b)),
        "op"
    );
    assert_eq!(
        refused(|b| c::call(handle, pointer(&long), 65, ptr::null(), 0, b)),
        "op"
    );
    assert_eq!(
        refused(|b| c::call(handle, pointer(b"key.list"), 8, ptr::null(), 3, b)),
        "json"
    );
    assert_eq!(
        refused(|b| c::call(handle, pointer(b"key.list"), 8, pointer(b"{\"\xff"), 3, b)),
        "json"
    );
    assert_eq!(
        refused(|b| c::call(
            handle,
            pointer(b"key.list"),
            8,
            pointer(&long),
            long.len(),
            b
        )),
        "json"
    );
    assert_eq!(refused(|b| c::get(handle, ptr::null(), 3, b)), "name");
    assert_eq!(refused(|b| c::get(handle, pointer(b"\xff"), 1, b)), "name");
    assert_eq!(
        refused(|b| c::get(handle, pointer(&long), long.len(), b)),
        "name"
    );
    assert_eq!(refused(|b| c::get(handle, ptr::null(), 0, b)), "name");
    // The control: the same calls with good arguments.
    assert_eq!(
        answer(|b| c::call(handle, pointer(b"key.list"), 8, ptr::null(), 0, b)).0,
        0
    );
    assert_eq!(get(handle, b"openai/work"), (0, SECRET.as_bytes().to_vec()));
    akm_close(handle);
}

#[test]
fn a_handle_is_never_mistaken_for_another() {
    let agent = Agent::with_key();
    let socket = agent.socket.to_str().unwrap().as_bytes();
    let closed = Kind::Closed.code();
    let first = connect(socket);
    assert_eq!(get(first, b"openai/work").0, 0);
    akm_close(first);
    akm_close(first);
    assert_eq!(get(first, b"openai/work").0, closed);
    let mut seen = vec![0, first];
    for _ in 0..50 {
        let next = connect(socket);
        assert!(!seen.contains(&next));
        assert_eq!(get(first, b"openai/work").0, closed);
        assert_eq!(get(next, b"openai/work").0, 0);
        akm_close(next);
        seen.push(next);
    }
    for wrong in [0, 1, u64::MAX, first + 1, first + (1 << 32)] {
        assert_eq!(get(wrong, b"openai/work").0, closed, "{wrong:x}");
        akm_close(wrong);
    }
}

#[test]
fn one_handle_serves_many_threads_without_mixing_answers() {
    let agent = Agent::with_key();
    for index in 0..4 {
        let request = serde_json::json!({"name": format!("openai/k{index}"), "secret": format!("sk-{index}")});
        agent.call("key.add", request);
    }
    let handle = connect(agent.socket.to_str().unwrap().as_bytes());
    thread::scope(|scope| {
        for index in 0..8 {
            scope.spawn(move || {
                let (name, secret) = (
                    format!("openai/k{}", index % 4),
                    format!("sk-{}", index % 4),
                );
                for _ in 0..100 {
                    assert_eq!(
                        get(handle, name.as_bytes()),
                        (0, secret.clone().into_bytes())
                    );
                }
            });
        }
    });
    akm_close(handle);
}

/// Opens a vault and closes it again; gives the code and the kind of the error.
fn open(path: &std::path::Path) -> (i32, Option<String>) {
    let path = path.to_str().unwrap().as_bytes();
    let mut handle = 0;
    let (code, bytes) = answer(|err| c::open(pointer(path), path.len(), &mut handle, err));
    assert_eq!(code == 0, handle != 0);
    akm_close(handle);
    let error: Option<Value> = serde_json::from_slice(&bytes).ok();
    (
        code,
        error.and_then(|error| error["kind"].as_str().map(str::to_owned)),
    )
}

#[test]
fn opening_a_vault_that_is_none_says_why() {
    let home = crate::agent::home();
    let vault = home.path().join("vault.db");
    assert_eq!(open(&vault), (0, None));
    let good = std::fs::read(&vault).unwrap();
    let refused = |kind: Kind, bytes: &[u8]| {
        std::fs::write(&vault, bytes).unwrap();
        assert_eq!(open(&vault), (kind.code(), Some(kind.token().to_owned())));
    };
    // The version of the schema stands at byte 60 of an SQLite file.
    let mut newer = good.clone();
    newer[60..64].copy_from_slice(&1_000_000_u32.to_be_bytes());
    refused(Kind::UnsupportedVersion, &newer);
    let mut broken = good.clone();
    broken[100..].fill(0x5a);
    refused(Kind::Corrupt, &broken);
    std::fs::write(&vault, &good).unwrap();
    assert_eq!(open(&vault), (0, None), "the control");

    // A file where the directory should be.
    assert_eq!(open(&vault.join("below")).0, Kind::Io.code());
}

#[test]
fn a_directory_is_no_vault_and_nothing_is_made_beside_it() {
    let home = crate::agent::home();
    let directory = home.path().join("directory");
    std::fs::create_dir(&directory).unwrap();
    let path = directory.to_str().unwrap().as_bytes();
    let mut handle = 7;
    let field = refused(|err| c::open(pointer(path), path.len(), &mut handle, err));
    assert_eq!((field.as_str(), handle), ("vault", 0));
    let names = || -> Vec<_> {
        let entries = std::fs::read_dir(home.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(names(), ["directory"]);
    // The control: beside a vault something is made.
    assert_eq!(open(&home.path().join("vault.db")), (0, None));
    assert!(names().contains(&"state".into()));
}

#[test]
fn a_file_that_is_no_vault_is_left_as_it_was_with_nothing_beside_it() {
    let home = crate::agent::home();
    let notes = home.path().join("notes.txt");
    std::fs::write(&notes, "what to buy").unwrap();
    assert_eq!(open(&notes).0, Kind::Corrupt.code());
    let names: Vec<_> = std::fs::read_dir(home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["notes.txt"]);
    assert_eq!(std::fs::read(&notes).unwrap(), b"what to buy");
}
