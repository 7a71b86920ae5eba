//! What a connection test makes of the providers that the demo plays, over real HTTP. All 46 and all that they answer are in
//! `provider_answers.rs`.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

#[path = "support/ask.rs"]
mod ask;
#[path = "support/provider_fixtures.rs"]
mod provider_fixtures;
#[path = "support/provider_server.rs"]
mod provider_server;

use akm_core::Secret;
use akm_core::protocol::Outcome;
use akm_core::provider::{self, Destinations, Outbound};
use ask::{ask, below, known, start};
use provider_fixtures::play;

#[test]
fn every_provider_and_outcome_is_told_apart() {
    use Outcome::*;
    let server = start(play);
    for (id, path, outcomes) in [
        (
            "openai",
            "/openai/v1",
            &[
                ("valid", Valid),
                ("invalid", Invalid),
                ("restricted", ValidRestricted),
                ("forbidden", NoPermission),
                ("nocredit", OutOfCredit),
                ("ratelimited", RateLimited),
                ("broken", Unreachable),
            ][..],
        ),
        (
            "anthropic",
            "/anthropic",
            &[
                ("valid", Valid),
                ("invalid", Invalid),
                ("restricted", NoPermission),
                ("nocredit", OutOfCredit),
                ("ratelimited", RateLimited),
                ("broken", Unreachable),
            ],
        ),
        (
            "google",
            "/gemini/v1beta",
            &[
                ("valid", Valid),
                ("invalid", Invalid),
                ("restricted", NoPermission),
                ("forbidden", NoPermission),
                ("nocredit", OutOfCredit),
                ("ratelimited", RateLimited),
                ("broken", Unreachable),
            ],
        ),
        (
            "deepseek",
            "/deepseek",
            &[
                ("valid", Valid),
                ("invalid", Invalid),
                ("forbidden", NoPermission),
                ("nocredit", OutOfCredit),
                ("ratelimited", RateLimited),
                ("broken", Unreachable),
            ],
        ),
        // Out of credit comes as 429 with code 1113; a failure may come as 200.
        (
            "zhipu",
            "/zhipu/api/paas/v4",
            &[
                ("valid", Valid),
                ("invalid", Invalid),
                ("forbidden", NoPermission),
                ("nocredit", OutOfCredit),
                ("ratelimited", RateLimited),
                ("broken", Unreachable),
            ],
        ),
        // Everything comes as 200.
        (
            "minimax",
            "/minimax/v1",
            &[
                ("valid", Valid),
                ("invalid", Invalid),
                ("forbidden", NoPermission),
                ("nocredit", OutOfCredit),
                ("ratelimited", RateLimited),
                ("broken", Unreachable),
            ],
        ),
        // Out of credit comes as 400 Arrearage.
        (
            "alibaba",
            "/alibaba/compatible-mode/v1",
            &[
                ("valid", Valid),
                ("invalid", Invalid),
                ("forbidden", NoPermission),
                ("nocredit", OutOfCredit),
                ("ratelimited", RateLimited),
                ("broken", Unreachable),
            ],
        ),
        // Out of credit comes as 429; a failure may come as 200 with status false.
        (
            "moonshot",
            "/moonshot/v1",
            &[
                ("valid", Valid),
                ("invalid", Invalid),
                ("forbidden", NoPermission),
                ("nocredit", OutOfCredit),
                ("ratelimited", RateLimited),
                ("broken", Unreachable),
            ],
        ),
        // A restricted key is refused with 401.
        (
            "elevenlabs",
            "/elevenlabs/v1",
            &[
                ("valid", Valid),
                ("invalid", Invalid),
                ("restricted", ValidRestricted),
                ("ratelimited", RateLimited),
            ],
        ),
        // A bad key is 400; a blocked one is 200.
        (
            "xai",
            "/xai/v1",
            &[
                ("valid", Valid),
                ("invalid", Invalid),
                ("forbidden", NoPermission),
            ],
        ),
        // A POST, with the verdict inside a 200.
        (
            "cohere",
            "/v2",
            &[
                ("valid", Valid),
                ("restricted", Invalid),
                ("invalid", Invalid),
            ],
        ),
    ] {
        for (mood, expected) in outcomes {
            let report = ask(known(id), &below(&server, path), &format!("key-{mood}"));
            assert_eq!(report.outcome, *expected, "{id} {mood}: {}", report.detail);
            assert!(!report.detail.is_empty());
        }
    }
}

#[test]
fn the_models_are_listed_where_the_answer_is_the_list() {
    let server = start(play);
    let report = ask(known("openai"), &below(&server, "/openai/v1"), "k-valid");
    assert_eq!(
        report.models,
        Some(vec!["gpt-4o".to_owned(), "gpt-4o-mini".to_owned()])
    );
    // The first of many is not the list.
    let report = ask(known("anthropic"), &below(&server, "/anthropic"), "k-valid");
    assert_eq!(report.models, None);
    let report = ask(known("openai"), &below(&server, "/openai/v1"), "k-invalid");
    assert_eq!(report.models, None);
}

#[test]
fn a_provider_nobody_listed_is_asked_at_its_base_url_and_proves_nothing() {
    let server = start(play);
    let report = ask(None, &below(&server, "/gateway/v1"), "k-valid");
    assert_eq!(report.outcome, Outcome::Unverifiable, "{}", report.detail);
    assert_eq!(report.models.map(|models| models.len()), Some(2));
    let received = server.received();
    assert_eq!(received[0].path, "/gateway/v1/models");
    assert_eq!(received[0].header("authorization"), Some("Bearer k-valid"));
    // A refusal does prove something.
    let report = ask(None, &below(&server, "/openai/v1"), "k-invalid");
    assert_eq!(report.outcome, Outcome::Invalid);
    // Without a base_url there is nobody to ask.
    let secret = Secret::new("k-valid".into());
    let nowhere = Destinations::of(None, None);
    let report = provider::test(&Outbound::default(), None, &nowhere, None, &secret);
    assert_eq!(report.outcome, Outcome::Unverifiable);
    assert_eq!(server.received().len(), 2);
}

#[test]
fn a_key_whose_host_only_its_owner_knows_is_unverifiable() {
    for id in ["azure-openai", "bedrock"] {
        let there = Destinations::of(known(id), None);
        let secret = Secret::new("k-valid".into());
        let report = provider::test(&Outbound::default(), known(id), &there, None, &secret);
        assert_eq!(report.outcome, Outcome::Unverifiable);
        assert!(report.detail.contains("base_url"), "{}", report.detail);
    }
}
