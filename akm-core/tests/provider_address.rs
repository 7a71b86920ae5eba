//! An address that is accepted has one reading: the client's own parser agrees about every part.

use akm_core::provider::BaseUrl;
use akm_core::provider::address::Host;
use akm_core::provider::network::is_public;
use proptest::prelude::*;

/// Pieces that parsers have disagreed about, in any order, and text of any kind.
fn address() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z0-9.-]{1,12}",
        "[ -~]{1,4}",
        "\\PC{1,2}",
        prop::sample::select(vec![
            "@",
            ":",
            "\\",
            "/",
            "//",
            "?",
            "#",
            "%",
            "%2e",
            "..",
            ".",
            "[",
            "]",
            "[::1]",
            "::ffff:",
            "0x7f",
            "0177",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "8.8.8.8",
            "localhost",
            "api.openai.com",
            ":443",
            ":0443",
            ":80",
            ":8443",
            "evil.test",
            "xn--",
            "①",
            "。",
            "\t",
            "\n",
            "\r\n",
            " ",
            "v1",
        ])
        .prop_map(str::to_owned),
    ];
    let scheme = prop::sample::select(vec![
        "https://", "http://", "HTTPS://", "https:/", "https:", "",
    ]);
    (scheme, prop::collection::vec(piece, 0..6))
        .prop_map(|(scheme, pieces)| format!("{scheme}{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_is_accepted_is_read_alike_by_the_client(text in address()) {
        if let Ok(ours) = BaseUrl::read(&text) {
            for spelling in [text, ours.to_string()] {
                let theirs = reqwest::Url::parse(&spelling).expect("the client reads it too");
                let host = ours.host_text();
                prop_assert_eq!(theirs.host_str(), Some(host.as_str()));
                prop_assert_eq!(theirs.port_or_known_default(), Some(ours.port()));
                prop_assert_eq!(theirs.scheme() == "https", ours.is_secure());
                prop_assert_eq!(theirs.path().trim_end_matches('/'), ours.path());
                prop_assert_eq!(theirs.username(), "");
                prop_assert!(theirs.password().is_none() && theirs.query().is_none());
            }
            // And what it says is where it goes.
            match ours.host() {
                Host::Address(ip) => prop_assert!(is_public(*ip) || !ours.is_secure()),
                Host::Name(name) => prop_assert!(ours.is_secure() && name.contains('.')),
            }
            prop_assert_eq!(BaseUrl::read(&ours.to_string()), Ok(ours));
        }
    }

    #[test]
    fn plain_names_and_paths_are_accepted(
        host in "[a-z]([a-z0-9-]{0,10}[a-z0-9])?\\.(com|ai|test)",
        path in "(/[a-z0-9.-]{0,8}[a-z0-9]){0,3}",
        port in 1u16..,
    ) {
        // The control: the property above does not hold for want of anything accepted.
        let text = format!("https://{host}:{port}{path}");
        prop_assert_eq!(BaseUrl::read(&text).map(|url| url.origin()), Ok(format!("https://{host}:{port}")));
    }
}
