//! What rests in the file: any bytes as a sealed blob. None but a blob that was sealed opens, and that one whole.

#![no_main]

use std::sync::LazyLock;

use akm_core::crypto::{Ad, Field, Kdf, open, open_padded, seal_padded, unwrap};
use akm_core::host::Random;
use akm_core::memory::LockedKey;
use libfuzzer_sys::fuzz_target;

struct Fixed;

impl Random for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

static KEY: LazyLock<LockedKey> = LazyLock::new(|| LockedKey::from_bytes(&mut [9; 32]));
const PLAIN: &[u8] = b"a plaintext of some length";
static SEALED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    seal_padded(&Fixed, &KEY, &Ad::new(Field::Meta), PLAIN, 64).expect("it seals")
});

fuzz_target!(|data: &[u8]| {
    let ad = Ad::new(Field::Meta);
    let _ = Kdf::decode(data);
    assert!(unwrap(&KEY, &ad, data).is_err());
    assert_eq!(open(&KEY, &ad, data).is_ok(), data == *SEALED);
    // The input as a change of a blob that does open.
    let mut changed = SEALED.clone();
    for (byte, change) in changed.iter_mut().zip(data) {
        *byte ^= change;
    }
    match open_padded(&KEY, &ad, &changed) {
        Ok(plain) => {
            assert!(changed == *SEALED);
            assert_eq!(&plain[..], PLAIN);
        }
        Err(_) => assert!(changed != *SEALED),
    }
});
