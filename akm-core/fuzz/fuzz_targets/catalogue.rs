//! A catalogue of providers that somebody wrote.

#![no_main]

use akm_core::provider::{BaseUrl, Catalogue, Destinations};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(catalogue) = Catalogue::from_json(text) {
        for provider in catalogue.providers() {
            assert!(catalogue.provider(&provider.id).is_some());
            let encoded = Destinations::of(Some(provider), None).encode();
            assert!(Destinations::decode(&encoded).is_ok());
        }
    }
    let _ = Destinations::decode(data);
    if let Ok(url) = BaseUrl::parse(text, "base_url") {
        assert!(BaseUrl::parse(&url.to_string(), "base_url").is_ok());
    }
});
