//! A file that somebody else wrote, read in every format there is. What is read can be written again.

#![no_main]

use akm_core::protocol::{ExportFormat, encode};
use akm_core::transfer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = transfer::detect(data);
    for format in [ExportFormat::Json, ExportFormat::Cxf, ExportFormat::Env] {
        match transfer::parse(format, data) {
            Ok(parsed) => {
                for key in &parsed.keys {
                    encode(key).expect("what was read can be written");
                }
            }
            Err(error) => {
                assert!(error.message().is_ascii());
                assert!(error.hint().is_none_or(|hint| hint.len() < 80));
            }
        }
    }
});
