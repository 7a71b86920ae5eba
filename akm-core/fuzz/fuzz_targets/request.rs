//! What a client sends: any bytes as the body of any operation. The first line says which, by name or by its first byte.

#![no_main]

use akm_core::protocol::{Op, Request, open_envelope};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (name, body) = (&data[..end], &data[end + 1..]);
    let named = std::str::from_utf8(name).ok().and_then(Op::from_name);
    let by_number = || {
        name.first()
            .map(|first| Op::ALL[usize::from(*first) % Op::ALL.len()])
    };
    let Some(op) = named.or_else(by_number) else {
        return;
    };
    match Request::decode(op, body) {
        Ok(request) => {
            assert_eq!(request.op(), op);
            let _ = format!("{request:?}");
        }
        // An error names its field by a literal of ours: nothing that was sent comes back.
        Err(error) => assert!(error.message().len() < 200 && error.message().is_ascii()),
    }
    let _ = open_envelope(body);
});
