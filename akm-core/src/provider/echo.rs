//! Whether a text of an answer repeats the key that was sent, as it is or written otherwise.
//!
//! A server may send back what it was sent, in whatever spelling. Looked for are the key itself, its base64 at each of the
//! three places it can begin within a group and in both alphabets, and its digits in hex; each of them in the text as it
//! stands and as a reader of addresses, of forms or of JSON would read it once more.
//!
//! Deliberately absent: streams, which the command line masks by itself, and other ciphers or orders of letters: a server
//! that has the key and means ill can always say it in a way that nobody looks for.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Shortest form but the key itself that is looked for: a shorter one stands in many texts by chance.
const SHORTEST: usize = 8;

/// A key in the forms it is looked for.
pub(super) struct Echo<'a> {
    key: &'a str,
    base64: Vec<Zeroizing<String>>,
    hex: Zeroizing<String>,
}

impl<'a> Echo<'a> {
    pub(super) fn of(secret: &'a Secret) -> Echo<'a> {
        let key = secret.expose();
        let mut base64 = Vec::new();
        for before in 0..3 {
            let mut group = Zeroizing::new(vec![0; before]);
            group.reserve_exact(key.len());
            group.extend_from_slice(key.as_bytes());
            // The characters that hold bits of the key alone.
            let (start, end) = ((8 * before).div_ceil(6), 8 * group.len() / 6);
            for alphabet in [BASE64_NOPAD, BASE64URL_NOPAD] {
                let whole = Zeroizing::new(alphabet.encode(&group));
                if let Some(form) = whole.get(start..end).filter(|form| form.len() >= SHORTEST) {
                    base64.push(Zeroizing::new(form.to_owned()));
                }
            }
        }
        let hex = Zeroizing::new(HEXLOWER.encode(key.as_bytes()));
        Echo { key, base64, hex }
    }

    /// Whether it stands in a text.
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.stands_in(text)
            || text.contains(['%', '+']) && self.stands_in(&address(text, false))
            || text.contains('+') && self.stands_in(&address(text, true))
            || text.contains('\\') && self.stands_in(&escapes(text))
    }

    fn stands_in(&self, text: &str) -> bool {
        let lower = || Zeroizing::new(text.to_ascii_lowercase());
        text.contains(self.key)
            || self.base64.iter().any(|form| text.contains(form.as_str()))
            || self.hex.len() >= SHORTEST && lower().contains(self.hex.as_str())
    }
}

/// What a text with `%2F` says; in a form a plus is a space.
fn address(text: &str, is_form: bool) -> Zeroizing<String> {
    read(text, |rest| match rest {
        [b'%', high, low, ..] => Some((hex(&[*high, *low])?, 3)),
        [b'+', ..] if is_form => Some((b' ', 1)),
        _ => None,
    })
}

/// What a text with `\u002f`, `\x2f` or `\/` says.
fn escapes(text: &str) -> Zeroizing<String> {
    read(text, |rest| match rest {
        [b'\\', b'u', b'0', b'0', high, low, ..] => Some((hex(&[*high, *low])?, 6)),
        [b'\\', b'x', high, low, ..] => Some((hex(&[*high, *low])?, 4)),
        [b'\\', plain @ (b'"' | b'\'' | b'\\' | b'/'), ..] => Some((*plain, 2)),
        _ => None,
    })
}

fn hex(digits: &[u8; 2]) -> Option<u8> {
    let digit = |at: usize| char::from(digits[at]).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

/// Reads a text with a reader of escapes: the byte that stands at the beginning of the rest, and how long it is there. Keys
/// are ASCII, so any other byte may become whatever it likes.
fn read(text: &str, escape: impl Fn(&[u8]) -> Option<(u8, usize)>) -> Zeroizing<String> {
    let mut rest = text.as_bytes();
    // Never longer than the text, so that it is not moved and leaves no copy behind.
    let mut out = Zeroizing::new(String::with_capacity(2 * text.len()));
    while let Some(first) = rest.first() {
        let (byte, length) = escape(rest).unwrap_or((*first, 1));
        out.push(char::from(byte));
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-+proj/A~\"b\\c 0123=";

    fn is_in(text: &str) -> bool {
        Echo::of(&Secret::new(KEY.to_owned())).is_in(text)
    }

    #[test]
    fn a_key_is_found_however_it_is_written() {
        assert!(is_in(&format!("model-{KEY}-x")));
        // Base64 at each place of a group, with and without padding, in both alphabets.
        for before in ["", "a", "ab", "Bearer ", "user:"] {
            for after in ["", "x", "xy"] {
                let text = format!("{before}{KEY}{after}");
                for alphabet in [data_encoding::BASE64, data_encoding::BASE64URL] {
                    let written = alphabet.encode(text.as_bytes());
                    assert!(is_in(&format!("m.{written}.n")), "{written}");
                    // And in an address besides.
                    let written = written.replace('+', "%2B").replace('=', "%3d");
                    assert!(is_in(&written.replace('/', "%2F")), "{written}");
                }
            }
        }
        let hex = HEXLOWER.encode(KEY.as_bytes());
        assert!(is_in(&hex) && is_in(&format!("A{}b", hex.to_uppercase())));
        let percent: String = KEY.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert!(is_in(&percent) && is_in(&percent.to_lowercase()));
        assert!(is_in("sk-%2Bproj%2FA~%22b%5Cc%200123%3D"));
        assert!(is_in("sk-%2Bproj/A~%22b%5Cc+0123="), "as forms write it");
        assert!(is_in(r#"sk-+proj\/A~\"b\\c 0123="#), "as JSON writes it");
        let unicode: String = KEY.bytes().map(|byte| format!("\\u00{byte:02x}")).collect();
        assert!(is_in(&unicode));
        let python: String = KEY.bytes().map(|byte| format!("\\x{byte:02X}")).collect();
        assert!(is_in(&python));
    }

    #[test]
    fn what_is_no_key_is_left_alone() {
        for id in [
            "gpt-5.6",
            "openai/gpt-oss-20b",
            "sk-",
            "%",
            "%2",
            "%zz",
            "\\",
            "\\u00",
            "\\u00zz",
            "+",
            "模型%E6",
            "c2stK3By",
        ] {
            assert!(!is_in(id), "{id}");
        }
        // A key so short that its forms stand everywhere is looked for as it is.
        let short = Secret::new("ab".to_owned());
        assert!(Echo::of(&short).is_in("cab"));
        assert!(!Echo::of(&short).is_in("6162 YWI"));
    }
}
