//! Amounts, months and states, against models of their own.

use std::collections::BTreeMap;

use super::order::{Bought, Note};
use super::*;

/// A small generator of our own, so that ten million cases need no strategy each.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// An amount read by the definition, in 128 bits.
fn model(text: &str, decimals: u32) -> Option<i128> {
    let parts: Vec<&str> = text.split('.').collect();
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let (whole, part) = match parts.as_slice() {
        [whole] => (*whole, ""),
        [whole, part] if digits(part) => (*whole, *part),
        _ => return None,
    };
    if !digits(whole) || part.len() > decimals as usize || whole.len() > 30 {
        return None;
    }
    let mut value: i128 = whole.parse().ok()?;
    for place in 0..decimals as usize {
        let digit = part.as_bytes().get(place).map_or(0, |digit| digit - b'0');
        value = value * 10 + i128::from(digit);
    }
    (value <= i128::from(i64::MAX)).then_some(value)
}

/// Days since 1970-01-01 and back (Howard Hinnant's algorithms), to know months without the library.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, doy - (153 * mp + 2) / 5 + 1)
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let yoe = year.rem_euclid(400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

fn months_later(at: i64, months: i64) -> Option<i64> {
    const DAY: i64 = 86_400_000;
    if !(1..=120).contains(&months) {
        return None;
    }
    let (year, month, day) = civil(at.div_euclid(DAY));
    let total = year * 12 + month - 1 + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    let next = if month == 12 {
        (year + 1, 1)
    } else {
        (year, month + 1)
    };
    let last = days(next.0, next.1, 1) - days(year, month, 1);
    Some(days(year, month, day.min(last)) * DAY + at.rem_euclid(DAY))
}

fn amounts_and_months(cases: u64) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let pieces = [
        "0",
        "1",
        "9",
        "00",
        "5.00",
        "0.1",
        "0.2",
        ".",
        "-",
        "+",
        "e3",
        "E",
        " ",
        "NaN",
        "Infinity",
        "9223372036854775807",
        "92233720368547758.07",
        "92233720368547758.08",
        "\u{ff11}",
        "",
    ];
    let (mut taken, mut refused, mut dates) = (0_u64, 0_u64, 0_u64);
    for case in 0..cases {
        if case % 2 == 0 {
            let decimals = [0, 2, 3][random.below(3) as usize];
            let mut text = String::new();
            match random.below(4) {
                0 => {
                    for _ in 0..=random.below(3) {
                        text += pieces[random.below(pieces.len() as u64) as usize];
                    }
                }
                1 => {
                    text = format!(
                        "{}.{:02}",
                        random.next() >> random.below(64),
                        random.below(100)
                    )
                }
                2 => text = (random.next() >> random.below(64)).to_string(),
                _ => text = format!("{}.{}", random.below(1000), random.below(2000)),
            }
            let read = money::minor(&text, decimals).ok().map(i128::from);
            assert_eq!(read, model(&text, decimals), "{text:?} {decimals}");
            if read.is_some() {
                taken += 1
            } else {
                refused += 1
            }
        } else {
            // 1970 to 2100, and months from below zero to absurd.
            let at = random.below(4_102_444_800_000) as i64;
            let months = [random.below(130) as i64, random.next() as i64]
                [random.below(8).min(1) as usize % 2];
            let months = u32::try_from(months).unwrap_or(u32::MAX);
            assert_eq!(
                term::add_months(at, months),
                months_later(at, i64::from(months)),
                "{at} {months}"
            );
            dates += 1;
        }
    }
    assert!(
        taken > cases / 10 && refused > cases / 50 && dates > cases / 3,
        "control"
    );
}

#[test]
fn g04_amounts_and_months_agree_with_a_model_of_their_own() {
    amounts_and_months(300_000);
}

/// `cargo test -p akm-core --lib billing -- --ignored`: a few minutes without optimisation.
#[test]
#[ignore = "ten million cases take minutes without optimisation"]
fn g04_ten_million_amounts_and_months_agree_with_a_model() {
    amounts_and_months(10_000_000);
}

#[test]
fn g04_the_sum_of_the_months_is_the_amount() {
    assert_eq!(money::split(1000, 3).unwrap(), [334, 333, 333]);
    let mut random = Random(7);
    for _ in 0..20_000 {
        let (total, parts) = (random.below(1 << 62) as i64, 1 + random.below(120) as u32);
        let shares = money::split(total, parts).unwrap();
        assert_eq!(shares.iter().sum::<i64>(), total);
        let (least, most) = (shares.iter().min(), shares.iter().max());
        assert!(most.unwrap() - least.unwrap() <= 1);
    }
    for (total, parts) in [(-1, 3), (1, 0), (1, 121), (i64::MIN, 1)] {
        assert!(money::split(total, parts).is_err());
    }
}

fn at(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

#[test]
fn amounts_are_shown_in_their_own_units() {
    for (amount, currency, shown) in [
        (0, "CNY", "0.00 CNY"),
        (5, "CNY", "0.05 CNY"),
        (1500, "CNY", "15.00 CNY"),
        (-5, "CNY", "-0.05 CNY"),
        (500, "JPY", "500 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (i64::MIN, "JPY", "-9223372036854775808 JPY"),
    ] {
        assert_eq!(money::shown(amount, currency), shown);
    }
}

#[test]
fn a_lower_tier_waits_while_a_higher_one_holds() {
    let bought = [
        Purchase {
            at: at("2026-01-10T00:00:00Z"),
            rank: 1,
            months: 2,
        },
        Purchase {
            at: at("2026-01-20T00:00:00Z"),
            rank: 2,
            months: 1,
        },
    ];
    let standing = |when| term::standing(&bought, at(when), 7);
    let basic = standing("2026-01-15T00:00:00Z");
    assert_eq!((basic.rank, basic.phase), (1, Phase::Paid));
    let pro = standing("2026-02-01T00:00:00Z");
    assert_eq!((pro.rank, pro.until), (2, Some(at("2026-02-20T00:00:00Z"))));
    let grace = standing("2026-02-25T00:00:00Z");
    assert_eq!((grace.rank, grace.phase), (2, Phase::Grace));
    // Two months from 10 January, and the 31 days for which pro held.
    let again = standing("2026-03-05T00:00:00Z");
    assert_eq!(
        (again.rank, again.phase, again.until),
        (1, Phase::Paid, Some(at("2026-04-10T00:00:00Z")))
    );
    let over = standing("2026-04-18T00:00:00Z");
    assert_eq!(
        (over.rank, over.phase, over.until),
        (0, Phase::None, Some(at("2026-04-10T00:00:00Z")))
    );
    assert_eq!(term::standing(&[], 0, 7).until, None);
}

#[test]
fn a_standing_depends_on_the_set_of_purchases_and_not_on_their_order() {
    let mut random = Random(11);
    for _ in 0..2000 {
        let mut bought: Vec<Purchase> = (0..1 + random.below(6))
            .map(|_| Purchase {
                at: at("2026-01-01T00:00:00Z") + random.below(200) as i64 * 86_400_000,
                rank: 1 + random.below(3) as usize,
                months: 1 + random.below(4) as u32,
            })
            .collect();
        let now = at("2026-01-01T00:00:00Z") + random.below(500) as i64 * 86_400_000;
        let before = term::standing(&bought, now, 7);
        for index in (1..bought.len()).rev() {
            bought.swap(index, random.below(index as u64 + 1) as usize);
        }
        assert_eq!(term::standing(&bought, now, 7), before);
    }
}

#[test]
fn the_compiled_in_tiers_are_what_they_should_be_and_contradictions_are_refused() {
    let tiers = tier::builtin().unwrap();
    let limits: BTreeMap<&str, Option<u64>> = tiers
        .iter()
        .map(|tier| (tier.id.as_str(), tier.keys))
        .collect();
    assert_eq!(
        limits,
        BTreeMap::from([("basic", Some(50)), ("free", Some(10)), ("pro", None)])
    );
    let broken: [fn(&mut Vec<Tier>); 7] = [
        |tiers| tiers.clear(),
        |tiers| tiers[0].price_fen = 1,
        |tiers| tiers[1].price_fen = -5,
        |tiers| tiers.swap(1, 2),
        |tiers| tiers[1].keys = Some(9),
        |tiers| tiers[1].id = "free".to_owned(),
        |tiers| tiers[1].id = "local".to_owned(),
    ];
    for change in broken {
        let mut tiers = tiers.clone();
        change(&mut tiers);
        assert_eq!(tier::check(&tiers).unwrap_err().kind(), Kind::InvalidInput);
    }
}

#[test]
fn g05_states_only_move_to_the_right() {
    let order = |state, note| Order {
        provider: "p".to_owned(),
        number: "1".to_owned(),
        account: None,
        state,
        paid_at: 1,
        seen_at: 2,
        bought: Bought {
            tier: None,
            months: 1,
            amount: 1,
            currency: "CNY".to_owned(),
            products: Vec::new(),
            note,
        },
    };
    use State::{Dismissed, Held, Paid, Refunded};
    for (stored, event, after) in [
        (Held, Paid, Some(Paid)),
        (Held, Refunded, Some(Refunded)),
        (Paid, Paid, None),
        (Paid, Held, None),
        (Paid, Refunded, Some(Refunded)),
        (Refunded, Paid, None),
        (Refunded, Refunded, None),
        (Dismissed, Paid, None),
        (Dismissed, Refunded, None),
    ] {
        let became = Order::after(Some(order(stored, None)), order(event, None));
        assert_eq!(
            became.map(|order| order.state),
            after,
            "{stored:?} {event:?}"
        );
    }
    let unsure = Order::after(Some(order(Paid, None)), order(Held, Some(Note::Unpaid))).unwrap();
    assert_eq!(
        (unsure.state, unsure.bought.note),
        (Paid, Some(Note::Unpaid))
    );
}

#[test]
fn contacts_are_plain_and_hooks_are_where_hooks_are() {
    for good in ["a@b.cn", "first.last+tag@sub.example.com"] {
        contact::check_email(good).unwrap();
    }
    let long = format!("{}@b.cn", "a".repeat(65));
    for bad in [
        "",
        "a",
        "@b.cn",
        "a@b",
        "a b@c.cn",
        "a@b.cn\r\nBcc: x@y.z",
        "a@b.cn,c@d.cn",
        "<a@b.cn>",
        "a@@b.cn",
        "a@-b.cn",
        "a..b@c.cn",
        "\u{e4}@b.cn",
        "a@b..cn",
        long.as_str(),
    ] {
        assert!(contact::check_email(bad).is_err(), "{bad}");
    }
    let known = contact::known_hooks();
    let check = |kind, url: &str| {
        contact::check_hook(
            &Hook {
                kind,
                url: url.to_owned(),
            },
            &known,
        )
        .is_ok()
    };
    assert!(check(
        HookKind::Slack,
        "https://hooks.slack.com/services/T/B/x"
    ));
    assert!(check(
        HookKind::Dingtalk,
        "https://oapi.dingtalk.com/robot/send?access_token=x"
    ));
    for bad in [
        "https://hooks.slack.com.evil.example/services/x",
        "http://hooks.slack.com/services/x",
        "https://hooks.slack.com@evil.example/services/x",
        "http://169.254.169.254/latest",
        "https://hooks.slack.com/services/x\r\nHost: y",
        "https://oapi.dingtalk.com/robot/send?access_token=x",
    ] {
        assert!(!check(HookKind::Slack, bad), "{bad}");
    }
    for (kind, took, refused) in [
        (HookKind::Feishu, r#"{"code":0}"#, r#"{"code":19001}"#),
        (
            HookKind::Dingtalk,
            r#"{"errcode":0}"#,
            r#"{"errcode":310000}"#,
        ),
        (HookKind::Wecom, r#"{"errcode":0}"#, r#"{"errcode":93000}"#),
        (HookKind::Slack, "ok", "no_text"),
    ] {
        assert!(kind.took(took.as_bytes()) && !kind.took(refused.as_bytes()));
        let body: serde_json::Value = serde_json::from_slice(&kind.body("\"a\u{4e2d}")).unwrap();
        assert!(body.to_string().contains("\u{4e2d}"));
    }
}
