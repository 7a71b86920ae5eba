//! What a connection test makes of what providers answer, over real HTTP.

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
use provider_server::Reply;

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

/// Answers that fit no pattern, by hand from the documents named beside them.
#[test]
fn odd_answers_are_read_as_their_providers_mean_them() {
    use Outcome::*;
    for (id, path, status, body, expected) in [
        // community.openai.com/t/1374480: a missing scope comes with 401 as well.
        (
            "openai",
            "/v1",
            401,
            r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read.","type":"invalid_request_error","param":null,"code":null}}"#,
            ValidRestricted,
        ),
        // docs.claude.com/en/api/errors
        (
            "anthropic",
            "",
            402,
            r#"{"type":"error","error":{"type":"billing_error","message":"There is an issue with your billing or payment information."}}"#,
            OutOfCredit,
        ),
        // ai.google.dev/gemini-api/docs/troubleshooting: a malformed request is not a bad key.
        (
            "google",
            "/v1beta",
            400,
            r#"{"error":{"code":400,"message":"* ListModelsRequest.page_size: must be positive","status":"INVALID_ARGUMENT"}}"#,
            Unreachable,
        ),
        // docs.bigmodel.cn/cn/api/api-code
        (
            "zhipu",
            "",
            429,
            r#"{"error":{"code":"1308","message":"已达到 5 小时的使用上限"}}"#,
            RateLimited,
        ),
        (
            "zhipu",
            "",
            429,
            r#"{"error":{"code":"1309","message":"您的套餐已到期"}}"#,
            OutOfCredit,
        ),
        (
            "zhipu",
            "",
            400,
            r#"{"error":{"code":"1311","message":"当前订阅套餐暂未开放权限"}}"#,
            NoPermission,
        ),
        // help.aliyun.com/zh/model-studio/error-code
        (
            "alibaba",
            "",
            429,
            r#"{"error":{"message":"Allocated quota exceeded","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            RateLimited,
        ),
        // learn.microsoft.com/azure/ai-services/openai/reference
        (
            "azure-openai",
            "/openai/v1",
            401,
            r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}"#,
            Invalid,
        ),
        // docs.perplexity.ai: the page of a gateway, not JSON.
        (
            "perplexity",
            "",
            401,
            "<html><head><title>401 Authorization Required</title></head></html>",
            Invalid,
        ),
        // huggingface.co/docs/hub/security-tokens
        (
            "huggingface",
            "",
            401,
            r#"{"error":"User Access Token \"ci\" is expired"}"#,
            Invalid,
        ),
        // docs.tavily.com
        (
            "tavily",
            "",
            432,
            r#"{"detail":{"error":"This request exceeds your plan's set usage limit."}}"#,
            OutOfCredit,
        ),
        // A key that lives but may not do this.
        (
            "voyage",
            "/v1",
            403,
            r#"{"detail":"Forbidden"}"#,
            ValidRestricted,
        ),
        (
            "deepinfra",
            "",
            403,
            r#"{"detail":"Forbidden"}"#,
            ValidRestricted,
        ),
        // 403 for a bad key and for a missing permission alike.
        (
            "novita",
            "",
            403,
            r#"{"code":403,"reason":"FORBIDDEN"}"#,
            NoPermission,
        ),
        (
            "bedrock",
            "",
            403,
            r#"{"message":"Authentication failed: API Key is not valid"}"#,
            NoPermission,
        ),
        // Public lists prove nothing.
        (
            "modelscope",
            "/v1",
            200,
            r#"{"data":[{"id":"Qwen/Qwen3-8B"}]}"#,
            Unverifiable,
        ),
        (
            "lmstudio",
            "/v1",
            200,
            r#"{"data":[{"id":"local"}]}"#,
            Unverifiable,
        ),
        (
            "ollama",
            "/v1",
            200,
            r#"{"models":[{"name":"llama3.2"}]}"#,
            Unverifiable,
        ),
    ] {
        let server = start(move |_| Reply::json(status, body));
        let report = ask(known(id), &below(&server, path), "sk-canary");
        assert_eq!(report.outcome, expected, "{id} {status}: {}", report.detail);
        if id == "ollama" {
            let request = server.received().pop().unwrap();
            assert!(
                !format!("{request:?}").contains("canary"),
                "a local server needs no key"
            );
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
