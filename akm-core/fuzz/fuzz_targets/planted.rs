//! The control: a bug behind a few comparisons. A fuzzer that does not find this one finds none.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let [b'a', b'k', b'm', rest @ ..] = data
        && rest.first() == Some(&b'!')
        && rest.len() > 8
    {
        panic!("the planted bug");
    }
});
