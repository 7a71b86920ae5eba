//! Reading the answer of a connection test: status and body in, verdict out.
//!
//! Invariants: a verdict never claims more than the answer proves (a success must be JSON of the
//! expected shape, a status nobody described is `unreachable`, a public endpoint is `unverifiable`); the
//! sentence is ours and holds nothing of the body. Pure: no network, no clock.

use serde_json::Value;

use super::catalogue::Catalogue;
use super::plan::{lists_models, regions};
use super::rules::{BodyIs, Match, Means, Rule};
use super::schema::{ModelsList, Provider};
use crate::protocol::Outcome;

/// Most model ids that are handed on.
const MAX_MODELS: usize = 2000;
/// Longest model id in bytes.
const MAX_MODEL_ID: usize = 200;

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) models: Option<Vec<String>>,
    pub(super) detail: String,
}

/// Judges an answer. `elsewhere` is the address of another region, where one may be worth naming: see [`other_region`].
///
/// [`other_region`]: super::plan::other_region
pub(super) fn judge(
    record: &Provider,
    elsewhere: Option<&str>,
    status: u16,
    body: &[u8],
) -> Verdict {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let rule = record
        .test
        .rules
        .iter()
        .find(|rule| rule.status.fits(status) && body_fits(rule, body.as_ref()));
    let Some(rule) = rule else {
        return not_described(status);
    };
    let success = (200..=299).contains(&status);
    let accepted = matches!(rule.means, Means::Valid | Means::ValidButRestricted);
    if accepted && success && body.as_ref().is_some_and(fails_inside) {
        return unreachable(meaning(Means::FailedInBand).1, status);
    }
    if accepted && success && !has_expected_shape(record, body.as_ref()) {
        return unreachable(
            "the answer does not have the shape of this provider's",
            status,
        );
    }
    let (outcome, sentence) = meaning(rule.means);
    if accepted && !record.test.proves_key {
        return Verdict {
            outcome: Outcome::Unverifiable,
            models: models(record, body.as_ref()),
            detail: says(
                match Catalogue::builtin().provider(&record.id) {
                    Some(_) => {
                        "the provider answers, but anybody gets this answer: it proves no key"
                    }
                    None => {
                        "the provider answers; whether it looks at the key is not known: it proves no key"
                    }
                },
                status,
            ),
        };
    }
    let mut detail = says(sentence, status);
    if outcome == Outcome::Invalid && record.test.region_bound {
        match elsewhere {
            Some(elsewhere) => {
                detail.push_str(
                    "; keys are bound to a region: if this one is of the other, set its base_url to ",
                );
                detail.push_str(elsewhere);
            }
            // At somebody else's address nobody knows which region was asked.
            None => {
                detail.push_str(
                    "; keys are bound to a region, and this address may be for another: the provider has ",
                );
                detail.push_str(&regions(record).join(", "));
            }
        }
    }
    Verdict {
        outcome,
        models: accepted.then(|| models(record, body.as_ref())).flatten(),
        detail,
    }
}

fn meaning(means: Means) -> (Outcome, &'static str) {
    match means {
        Means::Valid => (Outcome::Valid, "the provider accepts the key"),
        Means::ValidButRestricted => (
            Outcome::ValidRestricted,
            "the provider knows the key, which may not do what the test asks",
        ),
        Means::InvalidKey => (Outcome::Invalid, "the provider refuses the key"),
        Means::ExpiredKey => (Outcome::Invalid, "the provider says the key has expired"),
        Means::InvalidKeyOrWrongEndpoint => (
            Outcome::Invalid,
            "the provider refuses the key, or the key does not belong to this address",
        ),
        Means::InvalidKeyOrNoPermission => (
            Outcome::NoPermission,
            "the provider refuses, and does not say whether the key is bad or lacks the permission",
        ),
        Means::Disabled => (
            Outcome::NoPermission,
            "the key is switched off at the provider",
        ),
        Means::Blocked => (Outcome::NoPermission, "the provider has blocked the key"),
        Means::NoPermission => (
            Outcome::NoPermission,
            "the provider does not allow this; the key itself may be fine",
        ),
        Means::QuotaExhausted => (Outcome::OutOfCredit, "there is nothing left to spend"),
        Means::PlanExpired => (Outcome::OutOfCredit, "the subscription is over"),
        Means::PlanOrDailyLimit => (
            Outcome::RateLimited,
            "the plan's allowance for now is used up and comes back by itself",
        ),
        Means::RateLimited => (
            Outcome::RateLimited,
            "too many requests for now; nothing is known about the key",
        ),
        Means::RateLimitedOrQuota => (
            Outcome::RateLimited,
            "too many requests or nothing left to spend; the provider does not say which",
        ),
        Means::FailedInBand => (
            Outcome::Unreachable,
            "the provider says inside its answer that the test failed",
        ),
    }
}

/// A status without a rule.
fn not_described(status: u16) -> Verdict {
    let sentence = match status {
        300..=399 => "the answer is a redirect, which is never followed",
        404 | 405 | 410 => "the address does not answer as this provider's",
        407 => "a proxy asks for a password",
        500..=599 => "the provider has trouble of its own",
        _ => "the answer was not understood",
    };
    unreachable(sentence, status)
}

fn unreachable(sentence: &str, status: u16) -> Verdict {
    Verdict {
        outcome: Outcome::Unreachable,
        models: None,
        detail: says(sentence, status),
    }
}

fn says(sentence: &str, status: u16) -> String {
    format!("{sentence} (HTTP {status})")
}

/// Whether a success says in so many words that it is none, whoever sent it. Gateways answer 200 to everything and put
/// the failure beside an empty list; a record's own rules, which know more, were asked before.
fn fails_inside(body: &Value) -> bool {
    let says_something = |name: &&str| match body.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
    };
    let denies = |name: &&str| body.get(name).is_some_and(|value| is_bool(value, false));
    ["error", "errors"].iter().any(says_something) || ["success", "ok"].iter().any(denies)
}

fn has_expected_shape(record: &Provider, body: Option<&Value>) -> bool {
    let Some(body @ (Value::Object(_) | Value::Array(_))) = body else {
        return false;
    };
    record.test.expects.as_ref().is_none_or(|pointer| {
        let is_list = lists_models(record)
            && record
                .models_list
                .as_ref()
                .is_some_and(|list| list.array == *pointer);
        body.pointer(pointer.as_str())
            .is_some_and(|found| match is_list {
                true => found.is_array(),
                false => !found.is_null(),
            })
    })
}

fn body_fits(rule: &Rule, body: Option<&Value>) -> bool {
    rule.body
        .as_ref()
        .is_none_or(|wanted| body_is(wanted, body))
}

/// Whether a body has what a condition asks for.
pub(super) fn body_is(BodyIs { at, is }: &BodyIs, body: Option<&Value>) -> bool {
    let mut found = Vec::new();
    if let Some(body) = body {
        collect(body, at.as_str(), &mut found);
    }
    found.into_iter().any(|value| value_is(is, value))
}

/// What stands at a place; `*` in it is every element of an array.
fn collect<'a>(value: &'a Value, at: &str, found: &mut Vec<&'a Value>) {
    let Some((before, after)) = at.split_once("/*") else {
        found.extend(value.pointer(at));
        return;
    };
    for element in value
        .pointer(before)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        collect(element, after, found);
    }
}

fn value_is(is: &Match, found: &Value) -> bool {
    let written = match found {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match is {
        Match::Bool(wanted) => is_bool(found, *wanted),
        Match::Text(wanted) => written.as_deref() == Some(wanted),
        Match::OtherThan(wanted) => written.is_some_and(|text| text != *wanted),
        Match::OneOf(wanted) => written.is_some_and(|text| wanted.contains(&text)),
        Match::Contains(part) => found.as_str().is_some_and(|text| {
            text.to_ascii_lowercase()
                .contains(&part.to_ascii_lowercase())
        }),
    }
}

/// True or false, also where it is written as a text.
fn is_bool(found: &Value, wanted: bool) -> bool {
    match found {
        Value::Bool(value) => *value == wanted,
        Value::String(text) => text.eq_ignore_ascii_case(if wanted { "true" } else { "false" }),
        _ => false,
    }
}

/// The ids in an answer that is the models list.
fn models(record: &Provider, body: Option<&Value>) -> Option<Vec<String>> {
    let list: &ModelsList = record.models_list.as_ref()?;
    if !lists_models(record) {
        return None;
    }
    let rows = body?.pointer(list.array.as_str())?.as_array()?;
    let prefix = list.strip_prefix.as_deref().unwrap_or_default();
    let ids = rows
        .iter()
        .filter_map(|row| row.get(&list.id_field)?.as_str())
        .map(|id| id.strip_prefix(prefix).unwrap_or(id))
        .filter(|id| {
            (1..=MAX_MODEL_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
        })
        .take(MAX_MODELS)
        .map(str::to_owned)
        .collect();
    Some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::plan::other_region;

    /// A record of our own, with a rule of every kind.
    fn record() -> Provider {
        serde_json::from_str(
            r#"{"id": "ours", "display_name": "Ours", "display_name_zh": "Ours", "status": "active",
                "kind": "gateway", "auth": {"style": "bearer"}, "env": {"primary": "OURS"}, "verified": false,
                "test": {"method": "GET", "url": "https://ours.example/models", "proves_key": true,
                    "cost": "none", "verified": false, "expects": "/data", "rules": [
                        {"status": "any", "body": {"at": "/code", "is": {"text": "700"}}, "means": "plan_expired"},
                        {"status": 400, "body": {"at": "/code", "is": {"text": "10"}}, "means": "invalid_key"},
                        {"status": 400, "body": {"at": "/code", "is": {"one_of": ["a", "b"]}}, "means": "disabled"},
                        {"status": 400, "body": {"at": "/why", "is": {"contains": "scope"}}, "means": "valid_but_restricted"},
                        {"status": 400, "body": {"at": "/each/*/why", "is": {"text": "gone"}}, "means": "expired_key"},
                        {"status": 200, "body": {"at": "/ok", "is": {"bool": false}}, "means": "failed_in_band"},
                        {"status": 200, "body": {"at": "/state", "is": {"other_than": "0"}}, "means": "failed_in_band"},
                        {"status": 200, "means": "valid"},
                        {"status": 422, "means": "valid"},
                        {"status": 401, "means": "invalid_key"}]},
                "models_list": {"url": "https://ours.example/models", "array": "/data", "id_field": "id",
                    "strip_prefix": "models/", "public": false, "verified": false}}"#,
        )
        .unwrap()
    }

    #[test]
    fn of_an_unlisted_provider_nobody_says_that_it_answers_anybody() {
        let says = |record: &Provider| judge(record, None, 200, br#"{"data": []}"#);
        let mut own = record();
        own.test.proves_key = false;
        for unknown in [Catalogue::builtin().unlisted(), &own] {
            let verdict = says(unknown);
            assert_eq!(verdict.outcome, Outcome::Unverifiable);
            assert!(
                verdict.detail.contains("is not known"),
                "{}",
                verdict.detail
            );
            assert!(!verdict.detail.contains("anybody"), "{}", verdict.detail);
        }
        // Of a listed one it is known.
        let listed = Catalogue::builtin().providers().iter();
        let mut verdicts = listed.filter(|listed| !listed.test.proves_key).map(says);
        assert!(verdicts.any(|verdict| verdict.detail.contains("anybody")));
    }

    #[test]
    fn every_kind_of_match_decides_and_the_first_rule_wins() {
        let record = record();
        let outcome = |status, body: &str| judge(&record, None, status, body.as_bytes()).outcome;
        for (status, body, expected) in [
            (200, r#"{"data": []}"#, Outcome::Valid),
            (200, r#"{"data": [], "ok": true}"#, Outcome::Valid),
            (200, r#"{"data": [], "ok": false}"#, Outcome::Unreachable),
            (200, r#"{"data": [], "ok": "False"}"#, Outcome::Unreachable),
            (200, r#"{"data": [], "ok": "no"}"#, Outcome::Valid),
            (200, r#"{"data": [], "code": 700}"#, Outcome::OutOfCredit),
            (200, r#"{"data": [], "code": "700"}"#, Outcome::OutOfCredit),
            (503, r#"{"code": "700"}"#, Outcome::OutOfCredit),
            (503, r#"{"code": "7000"}"#, Outcome::Unreachable),
            (400, r#"{"code": 9}"#, Outcome::Unreachable),
            (400, r#"{"code": 10}"#, Outcome::Invalid),
            (400, r#"{"code": "10"}"#, Outcome::Invalid),
            (400, r#"{"code": -10}"#, Outcome::Unreachable),
            (400, r#"{"code": 10.5}"#, Outcome::Unreachable),
            (400, r#"{"code": ""}"#, Outcome::Unreachable),
            (400, r#"{"code": "a"}"#, Outcome::NoPermission),
            (400, r#"{"code": "b"}"#, Outcome::NoPermission),
            (400, r#"{"code": "a|b"}"#, Outcome::Unreachable),
            (
                400,
                r#"{"why": "a scope is missing"}"#,
                Outcome::ValidRestricted,
            ),
            (
                400,
                r#"{"why": "A SCOPE is missing"}"#,
                Outcome::ValidRestricted,
            ),
            (400, r#"{"why": ["scope"]}"#, Outcome::Unreachable),
            (400, r#"{"each": []}"#, Outcome::Unreachable),
            (400, r#"{"each": {"why": "gone"}}"#, Outcome::Unreachable),
            (
                400,
                r#"{"each": [1, {"why": "x"}, {"why": "gone"}]}"#,
                Outcome::Invalid,
            ),
            (200, r#"{"data": [], "state": 0}"#, Outcome::Valid),
            (200, r#"{"data": [], "state": "0"}"#, Outcome::Valid),
            (200, r#"{"data": [], "state": null}"#, Outcome::Valid),
            (200, r#"{"data": [], "state": 1}"#, Outcome::Unreachable),
            (422, "{}", Outcome::Valid),
            (401, "", Outcome::Invalid),
            (401, "<html>", Outcome::Invalid),
        ] {
            assert_eq!(outcome(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_success_of_another_shape_is_none() {
        let record = record();
        for body in [
            "",
            "OK",
            "<html>welcome</html>",
            "{}",
            "[]",
            "null",
            "true",
            r#"{"data": null}"#,
            r#"{"data": "unauthorized"}"#,
            r#"{"data": {}}"#,
            r#"{"data": false}"#,
        ] {
            let verdict = judge(&record, None, 200, body.as_bytes());
            assert_eq!(verdict.outcome, Outcome::Unreachable, "{body}");
        }
        let deep = format!("{{\"data\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(
            judge(&record, None, 200, deep.as_bytes()).outcome,
            Outcome::Unreachable
        );
    }

    #[test]
    fn a_success_that_says_it_is_none_is_none() {
        let mut record = record();
        for proves in [true, false] {
            record.test.proves_key = proves;
            let sound = if proves {
                Outcome::Valid
            } else {
                Outcome::Unverifiable
            };
            for (beside, expected) in [
                (r#""error": null"#, sound),
                (r#""error": """#, sound),
                (r#""error": {}"#, sound),
                (r#""errors": []"#, sound),
                (r#""error": false, "success": true"#, sound),
                (r#""error": 0"#, sound),
                (
                    r#""error": {"code": "invalid_api_key"}"#,
                    Outcome::Unreachable,
                ),
                (r#""error": "Unauthorized""#, Outcome::Unreachable),
                (r#""error": true"#, Outcome::Unreachable),
                (r#""error": 401"#, Outcome::Unreachable),
                (r#""errors": ["no"]"#, Outcome::Unreachable),
                (r#""success": false"#, Outcome::Unreachable),
                (r#""success": "false""#, Outcome::Unreachable),
            ] {
                let body = format!(r#"{{"data": [], {beside}}}"#);
                let verdict = judge(&record, None, 200, body.as_bytes());
                assert_eq!(verdict.outcome, expected, "{body}");
                assert_eq!(verdict.models.is_some(), expected == sound, "{body}");
            }
        }
    }

    #[test]
    fn what_nobody_described_is_unreachable() {
        let record = record();
        for status in [
            100, 204, 206, 301, 302, 307, 308, 402, 404, 405, 407, 410, 418, 500, 502, 503, 529,
        ] {
            let verdict = judge(&record, None, status, br#"{"data": []}"#);
            assert_eq!(verdict.outcome, Outcome::Unreachable, "{status}");
            assert!(verdict.detail.ends_with(&format!("(HTTP {status})")));
        }
    }

    #[test]
    fn a_refusal_may_be_about_the_region() {
        let alibaba = Catalogue::builtin().provider("alibaba").unwrap();
        let home = judge(alibaba, other_region(alibaba, None), 401, b"{}");
        assert_eq!(home.outcome, Outcome::Invalid);
        assert!(home.detail.contains("https://dashscope-intl.aliyuncs.com/"));
        let gateway = judge(alibaba, None, 401, b"{}").detail;
        assert!(
            gateway.ends_with(
                "the provider has https://dashscope.aliyuncs.com/compatible-mode/v1, \
                 https://dashscope-intl.aliyuncs.com/compatible-mode/v1"
            ),
            "{gateway}"
        );
        assert!(!gateway.contains("base_url"), "and which is not guessed");
        let openai = Catalogue::builtin().provider("openai").unwrap();
        assert!(
            !judge(openai, Some("https://x.example"), 401, b"{}")
                .detail
                .contains("region")
        );
    }

    #[test]
    fn a_public_endpoint_proves_nothing() {
        let mut record = record();
        record.test.proves_key = false;
        let verdict = judge(&record, None, 200, br#"{"data": [{"id": "m"}]}"#);
        assert_eq!(verdict.outcome, Outcome::Unverifiable);
        assert_eq!(verdict.models.as_deref(), Some(&["m".to_owned()][..]));
        assert_eq!(judge(&record, None, 401, b"").outcome, Outcome::Invalid);
    }

    #[test]
    fn model_ids_are_read_and_bounded() {
        let record = record();
        let models = |body: &str| judge(&record, None, 200, body.as_bytes()).models;
        assert_eq!(
            models(
                r#"{"data": [{"id": "models/a"}, {"id": "b"}, {"id": 7}, {"name": "c"}, "d", {"id": ""}]}"#
            ),
            Some(vec!["a".to_owned(), "b".to_owned()])
        );
        let long = "x".repeat(MAX_MODEL_ID + 1);
        assert_eq!(
            models(&format!(
                r#"{{"data": [{{"id": "{long}"}}, {{"id": "e\u001b[2J"}}, {{"id": "f"}}]}}"#
            )),
            Some(vec!["f".to_owned()])
        );
        let many = vec![r#"{"id": "m"}"#; MAX_MODELS + 5].join(",");
        assert_eq!(
            models(&format!(r#"{{"data": [{many}]}}"#)).unwrap().len(),
            MAX_MODELS
        );
        assert_eq!(models(r#"{"data": {}}"#), None);
        // A refusal lists nothing, whatever it carries.
        assert_eq!(
            judge(&record, None, 401, br#"{"data": [{"id": "a"}]}"#).models,
            None
        );
    }

    #[test]
    fn no_sentence_holds_anything_of_the_answer() {
        let body = r#"{"error": {"message": "canary", "code": "canary", "type": "canary"}, "canary": "canary"}"#;
        for record in Catalogue::builtin().providers() {
            for status in [200, 302, 400, 401, 402, 403, 404, 422, 429, 432, 500, 529] {
                let verdict = judge(record, None, status, body.as_bytes());
                assert!(!verdict.detail.contains("canary"), "{}", record.id);
            }
        }
    }
}
