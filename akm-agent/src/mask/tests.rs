use super::*;

/// Two names where one secret is the beginning of the other, two that overlap, one with every awkward character.
const KEYS: &[(&str, &str)] = &[
    ("openai/work", "sk-proj-AbCd0123456789"),
    ("openai/long", "sk-proj-AbCd0123456789-and-more"),
    ("a/left", "left-0123456789-middle"),
    ("a/right", "0123456789-middle-right"),
    ("odd/all", "q\"uo'te\\ /+=?<&>~`$%#*!(x)"),
    ("short/eight", "12345abc"),
];

fn patterns(keys: &[(&str, &str)]) -> Arc<Patterns> {
    let secrets: Vec<(String, Secret)> = keys
        .iter()
        .map(|(name, secret)| ((*name).to_owned(), Secret::new((*secret).to_owned())))
        .collect();
    Arc::new(Patterns::new(&secrets))
}

fn masked_in(patterns: &Arc<Patterns>, pieces: &[&[u8]]) -> Vec<u8> {
    let mut mask = Mask::new(patterns.clone());
    let mut out = Vec::new();
    for piece in pieces {
        mask.push(piece, &mut out);
    }
    mask.finish(&mut out);
    out
}

fn masked(keys: &[(&str, &str)], text: impl AsRef<[u8]>) -> String {
    let out = masked_in(&patterns(keys), &[text.as_ref()]);
    String::from_utf8(out).unwrap()
}

/// Base64 as everybody else does it, a bit at a time, so that it shares nothing with `forms`.
fn base64(bytes: &[u8], alphabet: &str, pad: bool) -> String {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let mut text: String = bits
        .chunks(6)
        .map(|chunk| {
            let value = (0..6).fold(0, |value, at| value * 2 + chunk.get(at).unwrap_or(&0));
            char::from(alphabet.as_bytes()[usize::from(value)])
        })
        .collect();
    while pad && !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

const STANDARD: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Texts with a secret in them, each with what is shown of it. The encoders are written for the test.
fn cases(name: &str, secret: &str) -> Vec<(String, String)> {
    let label = format!("[akm:{name}]");
    let mut cases = vec![(format!("key={secret};"), format!("key={label};"))];
    for alphabet in [STANDARD, URL_SAFE] {
        for pad in [true, false] {
            // The whole of it is base64 and nothing else.
            let text = base64(secret.as_bytes(), alphabet, pad);
            cases.push((format!("<{text}>"), format!("<{label}>")));
            for before in ["u", "u:", "us:", "user"] {
                for after in ["", "\n", "@h", "@ho"] {
                    let text = base64(format!("{before}{secret}{after}").as_bytes(), alphabet, pad);
                    // What stands before, up to the character it shares with the secret, is shown as it is.
                    let shown = (8 * before.len()).div_ceil(6);
                    let bits = 8 * (before.len() + secret.len());
                    let mut end = bits.div_ceil(6);
                    if after.is_empty() {
                        end = text.len();
                    }
                    let expected = format!("{}{label}{}", &text[..shown], &text[end..]);
                    cases.push((text, expected));
                }
            }
        }
    }
    for upper in [true, false] {
        for kept in ["-_.~", "-_.~!'()*", "-_.~/", "-_.*", "-_.~!'()*;,/?:@&=+$#"] {
            let mut text = String::new();
            for c in secret.chars() {
                if c.is_ascii_alphanumeric() || kept.contains(c) {
                    text.push(c);
                } else if upper {
                    text += &format!("%{:02X}", u32::from(c));
                } else {
                    text += &format!("%{:02x}", u32::from(c));
                }
            }
            let plus = text.replace("%20", "+");
            cases.push((format!("?k={text}&x=1"), format!("?k={label}&x=1")));
            cases.push((format!("?k={plus}&x=1"), format!("?k={label}&x=1")));
        }
    }
    let json = secret.replace('\\', "\\\\").replace('"', "\\\"");
    let go = json
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026");
    // Gson, everything that is no letter or digit, and simply everything; in both cases of the digits.
    let marked = |kept: &dyn Fn(char) -> bool, upper: bool| -> String {
        let escape = |c: char| match (kept(c), upper) {
            (true, _) if c == '"' || c == '\\' => format!("\\{c}"),
            (true, _) => c.to_string(),
            (false, true) => format!("\\u{:04X}", u32::from(c)),
            (false, false) => format!("\\u{:04x}", u32::from(c)),
        };
        secret.chars().map(escape).collect()
    };
    let mut json_texts = vec![json.replace('/', "\\/"), json, go];
    for upper in [true, false] {
        json_texts.push(marked(&|c| !"<>&='".contains(c), upper));
        json_texts.push(marked(&|c| c.is_ascii_alphanumeric(), upper));
        json_texts.push(marked(&|_| false, upper));
    }
    json_texts.push(
        secret
            .bytes()
            .map(|byte| format!("\\x{byte:02x}"))
            .collect(),
    );
    for upper in [true, false] {
        let all = |byte: u8| match upper {
            true => format!("%{byte:02X}"),
            false => format!("%{byte:02x}"),
        };
        let text: String = secret.bytes().map(all).collect();
        cases.push((format!("%{text}%2"), format!("%{label}%2")));
    }
    // In base64 and then in an address, or in PHP's JSON.
    let both = base64(secret.as_bytes(), STANDARD, true);
    let escaped = both
        .replace('+', "%2B")
        .replace('/', "%2f")
        .replace('=', "%3D");
    cases.push((format!("<{escaped}>"), format!("<{label}>")));
    cases.push((
        format!("<{}>", both.replace('/', "\\/")),
        format!("<{label}>"),
    ));
    for text in json_texts {
        cases.push((
            format!("{{\"k\":\"{text}\"}}"),
            format!("{{\"k\":\"{label}\"}}"),
        ));
    }
    cases
}

#[test]
fn every_form_of_every_secret_is_masked_however_the_stream_is_cut() {
    for (name, secret) in KEYS {
        // Alone, so that a form of another cannot do its work.
        let patterns = patterns(&[(name, secret)]);
        for (text, expected) in cases(name, secret) {
            let bytes = text.as_bytes();
            let whole = masked_in(&patterns, &[bytes]);
            assert_eq!(String::from_utf8_lossy(&whole), expected, "{text}");
            // Every byte alone, every cut, and every pair of cuts.
            let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(masked_in(&patterns, &bytewise), whole, "{text}");
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    assert_eq!(
                        masked_in(&patterns, &pieces),
                        whole,
                        "{first} {second} {text}"
                    );
                }
            }
        }
    }
}

#[test]
fn with_all_of_them_at_once_nothing_of_any_is_left() {
    let all = patterns(KEYS);
    for (name, secret) in KEYS {
        for (text, _) in cases(name, secret) {
            let out = String::from_utf8(masked_in(&all, &[text.as_bytes()])).unwrap();
            assert!(
                out.contains("[akm:") && !out.contains(&secret[..8]),
                "{text}: {out}"
            );
        }
    }
}

#[test]
fn overlapping_secrets_are_covered_together_and_each_is_named() {
    let cases = [
        ("left-0123456789-middle-right", "[akm:a/left][akm:a/right]"),
        ("left-0123456789-middle", "[akm:a/left]"),
        ("x0123456789-middle-right", "x[akm:a/right]"),
        ("sk-proj-AbCd0123456789", "[akm:openai/work]"),
        (
            "sk-proj-AbCd0123456789-and-mor",
            "[akm:openai/work]-and-mor",
        ),
        ("sk-proj-AbCd0123456789-and-more", "[akm:openai/long]"),
        ("12345abc12345abc", "[akm:short/eight][akm:short/eight]"),
        ("12345ab12345abc", "12345ab[akm:short/eight]"),
        ("sk-proj-AbCd", "sk-proj-AbCd"),
        ("", ""),
    ];
    for (text, expected) in cases {
        let bytes = text.as_bytes();
        assert_eq!(masked(KEYS, text), expected);
        for cut in 0..=bytes.len() {
            let out = masked_in(&patterns(KEYS), &[&bytes[..cut], &bytes[cut..]]);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{cut}");
        }
    }
    // One that repeats itself.
    let periodic = [("p/p", "abababab")];
    assert_eq!(masked(&periodic, "xababababababy"), "x[akm:p/p]y");
    // One inside another, and the same twice.
    let nested = [
        ("n/out", "0123456789"),
        ("n/in", "12345678"),
        ("n/twin", "0123456789"),
    ];
    assert_eq!(
        masked(&nested, "a0123456789b12345678c"),
        "a[akm:n/out]b[akm:n/in]c"
    );
}

#[test]
fn what_is_no_secret_passes_at_once_and_unchanged() {
    let patterns = patterns(KEYS);
    let mut mask = Mask::new(patterns.clone());
    let mut out = Vec::new();
    mask.push(b"plain s", &mut out);
    assert_eq!(
        out, b"plain ",
        "the s begins a form, and nothing else is held"
    );
    mask.push(b"k-pr", &mut out);
    assert_eq!(out, b"plain ");
    mask.push(b"!", &mut out);
    assert_eq!(out, b"plain sk-pr!", "decided");
    mask.push(b"\nsk-proj-AbCd012345678", &mut out);
    mask.finish(&mut out);
    assert_eq!(
        out, b"plain sk-pr!\nsk-proj-AbCd012345678",
        "the end decides"
    );
    // Every byte there is, and UTF-8 cut short.
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.extend_from_slice(b"\xe4\xb8sk-proj-AbCd0123456789\xe4\xb8\xad\xff\0");
    let expected = [
        &bytes[..258],
        b"[akm:openai/work]",
        &bytes[bytes.len() - 5..],
    ]
    .concat();
    assert_eq!(masked_in(&patterns, &[&bytes]), expected);
    let nothing = self::patterns(&[]);
    assert!(nothing.is_empty());
    assert_eq!(masked_in(&nothing, &[&bytes]), bytes);
}

#[test]
fn an_escape_is_held_only_while_it_could_lead_to_a_secret() {
    let mut mask = Mask::new(patterns(&[("k/k", "secret/0123")]));
    let mut out = Vec::new();
    let mut next = |piece: &[u8]| {
        out.clear();
        mask.push(piece, &mut out);
        String::from_utf8(out.clone()).unwrap()
    };
    assert_eq!(next(b"100%"), "100", "%73 would be its first letter");
    assert_eq!(next(b" "), "% ");
    assert_eq!(next(b"%2"), "%2", "nothing of the secret begins so");
    assert_eq!(next(b"F %7"), "F ");
    assert_eq!(next(b"4"), "%74", "a t begins nothing");
    assert_eq!(next(b"secret%"), "");
    assert_eq!(next(b"2"), "");
    assert_eq!(next(b"e"), "secret%2e");
    assert_eq!(next(b"%73ecret%2f01%32"), "");
    assert_eq!(next(b"3"), "");
    assert_eq!(next(b"\n"), "[akm:k/k]\n");
    assert_eq!(next(b"secret\\u00"), "");
    assert_eq!(next(b"s"), "secret\\u00", "no escape, and a new beginning");
    assert_eq!(next(b"ecret\\"), "");
    assert_eq!(next(b"n"), "secret\\n");
}

/// As `base64` of GNU and openssl write it.
fn wrapped(text: &str, width: usize, end: &str) -> (String, Vec<usize>) {
    let (mut lines, mut at) = (String::new(), Vec::new());
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % width == 0 {
            lines.push_str(end);
        }
        at.push(lines.len());
        lines.push(character);
    }
    (lines, at)
}

#[test]
fn base64_in_lines_is_masked_wherever_they_break() {
    // As long as those of Anthropic.
    let secret = format!("sk-ant-api03-{}-AA", "qW3e_R4t-Y5u8I9o".repeat(6));
    let patterns = patterns(&[("anthropic/real", &secret)]);
    let label = "[akm:anthropic/real]";
    for (width, end) in [(76, "\n"), (64, "\n"), (64, "\r\n"), (76, "\r\n")] {
        for before in 0..width {
            let user = "u".repeat(before);
            let text = base64(format!("{user}{secret}").as_bytes(), STANDARD, true);
            let (lines, at) = wrapped(&text, width, end);
            let start = at[(8 * before).div_ceil(6)];
            let lines = format!("{end}{lines}{end}");
            let expected = format!("{}{label}{end}", &lines[..end.len() + start]);
            let whole = masked_in(&patterns, &[lines.as_bytes()]);
            assert_eq!(
                String::from_utf8(whole).unwrap(),
                expected,
                "{width} {before}"
            );
            let bytes: Vec<&[u8]> = lines.as_bytes().chunks(1).collect();
            let by_byte = masked_in(&patterns, &bytes);
            assert_eq!(
                String::from_utf8(by_byte).unwrap(),
                expected,
                "{width} {before}"
            );
        }
    }
    // In lines of another width, what is before the break must be no accident.
    let text = base64(secret.as_bytes(), STANDARD, true);
    for width in 8..text.len() {
        let (lines, _) = wrapped(&text, width, "\n");
        let out = masked_in(&patterns, &[lines.as_bytes()]);
        assert_eq!(String::from_utf8(out).unwrap(), label, "{width}");
    }
}

#[test]
fn the_end_of_a_line_waits_for_nothing() {
    let patterns = patterns(&[("openai/work", "sk-proj-AbCd0123456789")]);
    let line = format!("{}s\n", "-".repeat(30));
    for line in ["files\n", "sk\r\n", "sk-proj\n", "c2st\n", line.as_str()] {
        let mut mask = Mask::new(patterns.clone());
        let mut out = Vec::new();
        mask.push(line.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), line);
    }
    // The control: where a tool breaks a line, it waits, and is let go with the next byte.
    let line = format!("{}s\n", "-".repeat(63));
    let mut mask = Mask::new(patterns);
    let mut out = Vec::new();
    mask.push(line.as_bytes(), &mut out);
    assert_eq!(out.len(), 63);
    mask.push(b".", &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), line + ".");
}

#[test]
fn secrets_under_eight_bytes_are_left_alone() {
    assert_eq!(masked(&[("s/7", "1234567")], "12345678"), "12345678");
    assert_eq!(masked(&[("s/8", "12345678")], "12345678"), "[akm:s/8]");
    assert!(patterns(&[("s/7", "1234567")]).is_empty());
}

#[test]
fn the_work_is_linear_whatever_the_secret_is() {
    let tail = "a".repeat(8191) + "b";
    let mut mask = Mask::new(patterns(&[("a/a", &tail), ("a/b", &"a".repeat(4000))]));
    let mut out = Vec::new();
    let piece = "a".repeat(1000);
    for _ in 0..200 {
        mask.push(piece.as_bytes(), &mut out);
    }
    // Forward once for each byte, and back at most as often as forward.
    assert!((200_000..=400_000).contains(&mask.work), "{}", mask.work);
    assert!(mask.covered.len() <= 1 && mask.buffer.len() <= 8192);
    mask.finish(&mut out);
    assert_eq!(out, b"[akm:a/b]");
}

/// Finds everything by looking everywhere, and lets through what is in nothing that was found.
fn uncovered(forms: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let mut covered = vec![false; text.len()];
    for form in forms {
        for start in 0..text.len() {
            if text[start..].starts_with(form) {
                covered[start..start + form.len()].fill(true);
            }
        }
    }
    let pairs = text.iter().zip(covered);
    pairs
        .filter(|(_, covered)| !covered)
        .map(|(byte, _)| *byte)
        .collect()
}

proptest::proptest! {
    #[test]
    fn random_streams_are_masked_as_a_search_everywhere_would(
        secrets in proptest::collection::vec("[ab]{8,12}", 1..4),
        text in "[abc]{0,120}",
        cuts in proptest::collection::vec(0usize..120, 0..6),
    ) {
        // Names without a letter of the text, so that the labels can be taken out again.
        let named: Vec<(String, Secret)> = secrets
            .iter()
            .enumerate()
            .map(|(index, secret)| (index.to_string(), Secret::new(secret.clone())))
            .collect();
        let patterns = Arc::new(Patterns::new(&named));
        let all: Vec<Vec<u8>> = named
            .iter()
            .flat_map(|(_, secret)| forms::of(secret))
            .map(|form| form.to_vec())
            .collect();
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let out = masked_in(&patterns, &pieces);
        proptest::prop_assert_eq!(&out, &masked_in(&patterns, &[bytes]));
        let mut shown = String::from_utf8(out).unwrap();
        for (name, _) in &named {
            shown = shown.replace(&format!("[akm:{name}]"), "");
        }
        proptest::prop_assert_eq!(shown.as_bytes(), uncovered(&all, bytes));
    }

    /// Whatever part of a secret an encoder writes otherwise, and in whichever case, it is found where it is and nowhere
    /// else, however the stream is cut.
    #[test]
    fn a_secret_escaped_at_random_is_masked(
        secret in "[ab%+/ \\\\\"=2F]{8,14}",
        ways in proptest::collection::vec(0usize..4, 14),
        before in "[abu%+\\\\2 ]{0,8}",
        after in "[abu%+\\\\2 ]{0,8}",
        in_json in proptest::bool::ANY,
        cuts in proptest::collection::vec(0usize..140, 0..6),
    ) {
        let mut text = String::new();
        for (c, way) in secret.chars().zip(ways) {
            let value = u32::from(c);
            let must = if in_json { "\\\"".contains(c) } else { "%+ ".contains(c) };
            match (in_json, way) {
                (_, 0 | 1) if !must => text.push(c),
                (true, 0) => text += &format!("\\{c}"),
                (true, 1 | 2) => text += &format!("\\u{value:04x}"),
                (true, _) => text += &format!("\\u{value:04X}"),
                (false, 0 | 2) => text += &format!("%{value:02x}"),
                (false, _) => text += &format!("%{value:02X}"),
            }
        }
        // A stop on both sides, so that what stands there is no part of an escape.
        let stream = format!("{before}!{text}!{after}");
        let patterns = patterns(&[("K", &secret)]);
        let bytes = stream.as_bytes();
        let whole = masked_in(&patterns, &[bytes]);
        proptest::prop_assert_eq!(
            String::from_utf8_lossy(&whole),
            format!("{before}![akm:K]!{after}")
        );
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        proptest::prop_assert_eq!(masked_in(&patterns, &pieces), whole);
    }
}
