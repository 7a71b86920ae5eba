//! Every rule of the catalogue is changed in every way there is, and each time some answer of `tests/fixtures/answers`
//! must be read differently: a rule that no answer tells from its absence claims what nobody checked.
//!
//! The same answers are played over HTTP and TLS in `tests/provider_answers.rs`; here they only meet the judge. What a
//! change makes the check of the catalogue refuse does not pass the build, and counts as noticed.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::address::BaseUrl;
use super::judge::judge;
use super::plan::{other_region, plan};
use super::rules::{BodyIs, Match, Means, Method, Rule, StatusIs};
use super::schema::{Auth, Provider, Records};

#[path = "../../tests/support/answers.rs"]
mod answers;
use answers::{Script, all};

const MEANINGS: &[Means] = &[
    Means::Valid,
    Means::ValidButRestricted,
    Means::InvalidKey,
    Means::ExpiredKey,
    Means::InvalidKeyOrWrongEndpoint,
    Means::InvalidKeyOrNoPermission,
    Means::Disabled,
    Means::Blocked,
    Means::NoPermission,
    Means::QuotaExhausted,
    Means::PlanExpired,
    Means::PlanOrDailyLimit,
    Means::RateLimited,
    Means::RateLimitedOrQuota,
    Means::FailedInBand,
];

fn catalogue() -> Records {
    let records: Records =
        serde_json::from_str(include_str!("../../catalog/providers.json")).unwrap();
    records.complete().unwrap()
}

/// What is wrong with the reading of a provider's answers, or with what is asked; none if all is well.
fn wrong(record: &Provider, script: &Script) -> Option<String> {
    if let Err(problem) = record.check() {
        return Some(format!("the build refuses {}", problem.field));
    }
    let base = script
        .base
        .as_deref()
        .map(|base| BaseUrl::read(base).unwrap());
    let Ok(plan) = plan(record, base.as_ref()) else {
        return Some("nothing can be asked".to_owned());
    };
    let host = script.header("host").unwrap();
    let method = match plan.method {
        Method::Get => "GET",
        Method::Post => "POST",
    };
    if plan.url() != format!("https://{host}{}", script.path) || method != script.method {
        return Some("something else is asked".to_owned());
    }
    let carried = |name: &str| script.header(name);
    let key = record
        .test
        .sends_key
        .then(|| format!("{}KEY", record.auth.prefix()));
    if carried(&plan.header) != key.as_deref() {
        return Some("the key is carried elsewhere".to_owned());
    }
    let extra = script.headers.len() - 1 - usize::from(key.is_some());
    let fits = |(name, value): (&String, &String)| carried(name) == Some(value);
    if extra != record.extra_headers.len() || !record.extra_headers.iter().all(fits) {
        return Some("other headers are sent".to_owned());
    }
    let body = record
        .test
        .body
        .as_ref()
        .map(|body| json!(body).to_string());
    if body != script.body {
        return Some("another body is sent".to_owned());
    }
    let elsewhere = other_region(record, base.as_ref());
    script.answers.iter().find_map(|answer| {
        let verdict = judge(record, elsewhere, answer.status, answer.body.as_bytes());
        let right = answer.fits(verdict.outcome.token(), &verdict.detail);
        (!right).then(|| format!("{}: {:?} {}", answer.title, verdict.outcome, verdict.detail))
    })
}

/// Every way to change a rule, by name; none stands for its absence.
fn changed(rule: &Rule) -> Vec<(String, Option<Rule>)> {
    let mut ways = vec![("dropped".to_owned(), None)];
    let mut way = |name: String, change: &dyn Fn(&mut Rule)| {
        let mut rule = rule.clone();
        change(&mut rule);
        ways.push((name, Some(rule)));
    };
    way("another status".to_owned(), &|rule| {
        rule.status = StatusIs::Code(418)
    });
    for means in MEANINGS.iter().filter(|means| **means != rule.means) {
        way(format!("means {means:?}"), &|rule| rule.means = *means);
    }
    let Some(BodyIs { is, .. }) = &rule.body else {
        return ways;
    };
    way("whatever the body".to_owned(), &|rule| rule.body = None);
    way("another place".to_owned(), &|rule| {
        rule.body.as_mut().unwrap().at = serde_json::from_value(json!("/elsewhere")).unwrap();
    });
    let other: Vec<Match> = match is {
        Match::Text(text) => vec![Match::Text(format!("{text}x"))],
        Match::OtherThan(text) => vec![Match::OtherThan(format!("{text}x"))],
        Match::Contains(text) => vec![Match::Contains(format!("{text}x"))],
        Match::Bool(value) => vec![Match::Bool(!value)],
        Match::OneOf(texts) => (0..texts.len())
            .map(|index| {
                let mut texts = texts.clone();
                texts[index].push('x');
                Match::OneOf(texts)
            })
            .collect(),
    };
    for (index, is) in other.into_iter().enumerate() {
        way(format!("another value {index}"), &|rule| {
            rule.body.as_mut().unwrap().is = is.clone();
        });
    }
    ways
}

#[test]
fn every_provider_has_answers_and_all_are_read_as_written() {
    let records = catalogue();
    let scripts = all();
    let ids = |records: &Records| {
        records
            .providers
            .iter()
            .map(|p| p.id.clone())
            .collect::<Vec<_>>()
    };
    let (mut known, played) = (
        ids(&records),
        scripts.iter().map(|s| s.id.clone()).collect::<Vec<_>>(),
    );
    known.sort();
    assert_eq!(played, known);
    for script in &scripts {
        let record = records
            .providers
            .iter()
            .find(|p| p.id == script.id)
            .unwrap();
        assert_eq!(wrong(record, script), None, "{}", script.id);
    }
}

#[test]
fn a_change_of_any_rule_is_noticed() {
    let mut records = catalogue();
    let (mut changes, mut unnoticed) = (0, Vec::new());
    for script in &all() {
        let record = records
            .providers
            .iter_mut()
            .find(|p| p.id == script.id)
            .unwrap();
        for index in 0..record.test.rules.len() {
            let rule = record.test.rules[index].clone();
            for (way, change) in changed(&rule) {
                match change {
                    Some(change) => record.test.rules[index] = change,
                    None => drop(record.test.rules.remove(index)),
                }
                changes += 1;
                if wrong(record, script).is_none() {
                    unnoticed.push(format!("{}: rule {index} {rule:?}: {way}", script.id));
                }
                match way.as_str() {
                    "dropped" => record.test.rules.insert(index, rule.clone()),
                    _ => record.test.rules[index] = rule.clone(),
                }
            }
        }
        // The control: put back, it is what it was.
        assert_eq!(wrong(record, script), None, "{}", script.id);
    }
    assert!(changes > 3500, "{changes}");
    assert!(
        unnoticed.is_empty(),
        "{} of {changes}:\n{}",
        unnoticed.len(),
        unnoticed.join("\n")
    );
}

#[test]
fn a_change_of_what_is_asked_is_noticed() {
    let mut records = catalogue();
    let mut unnoticed = Vec::new();
    for script in &all() {
        let record = records
            .providers
            .iter_mut()
            .find(|p| p.id == script.id)
            .unwrap();
        let mut notice = |record: &Provider, way: &str| {
            if wrong(record, script).is_none() {
                unnoticed.push(format!("{}: {way}", script.id));
            }
        };
        let url = record.test.url.clone();
        record.test.url = url.replacen("/v", "/w", 1) + "x";
        notice(record, "url");
        record.test.url = url;
        let method = record.test.method;
        record.test.method = match method {
            Method::Get => Method::Post,
            Method::Post => Method::Get,
        };
        notice(record, "method");
        record.test.method = method;
        let auth = std::mem::replace(
            &mut record.auth,
            Auth::Header {
                header: "x-other".to_owned(),
                prefix: String::new(),
            },
        );
        if record.test.sends_key {
            notice(record, "header of the key");
        }
        record.auth = auth;
        record.test.sends_key ^= true;
        notice(record, "whether the key is sent");
        record.test.sends_key ^= true;
        record.test.proves_key ^= true;
        notice(record, "whether it proves the key");
        record.test.proves_key ^= true;
        let expects = record.test.expects.take();
        if expects.is_some() {
            notice(record, "no shape");
            record.test.expects = Some(serde_json::from_value(json!("/elsewhere")).unwrap());
            notice(record, "another shape");
        }
        record.test.expects = expects;
        if record.test.region_bound {
            record.test.region_bound = false;
            notice(record, "region");
            record.test.region_bound = true;
        }
        let extra = std::mem::take(&mut record.extra_headers);
        if !extra.is_empty() {
            notice(record, "extra headers");
        }
        record.extra_headers = extra;
        if let Some(body) = record.test.body.take() {
            notice(record, "body");
            record.test.body = Some(body);
        }
        assert_eq!(wrong(record, script), None, "{}", script.id);
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}
