//! A file that means to be in the age format. The passphrase is that of the kept corpus.

#![no_main]

use akm_core::Secret;
use akm_core::crypto::age;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The work factor is the one thing that may cost: two digits, and what costs more than the corpus is of no interest.
    let header = &data[..data.len().min(200)];
    if header.windows(2).any(|two| matches!(two, b" 1" | b" 2"))
        && !header.windows(4).any(|four| four == b" 10\n")
    {
        return;
    }
    if age::open(data, &Secret::new("password".to_owned())).is_ok() {
        assert!(age::is_age(data));
    }
});
