//! The forms in which a secret appears in output.
//!
//! As it is, and in base64 at each of the three places it can begin within a group, in both alphabets, with and
//! without padding. Either may be escaped besides, in addresses and in JSON: `escaped` sees to that. Secrets are printable
//! ASCII.
//!
//! In base64 the first and the last character of a secret may share their bits with a neighbour. The last is masked
//! whatever its neighbour is; the first is not, which shows at most 4 bits of the secret's first character.

use akm_core::Secret;
use zeroize::Zeroizing;

type Form = Zeroizing<Vec<u8>>;

/// Every form, each once.
pub(super) fn of(secret: &Secret) -> Vec<Form> {
    let text = secret.expose().as_bytes();
    let mut forms = Vec::new();
    add(&mut forms, Zeroizing::new(text.to_vec()));
    for alphabet in [STANDARD, URL_SAFE] {
        for before in 0..3 {
            base64(&mut forms, text, before, alphabet);
        }
    }
    forms
}

fn add(forms: &mut Vec<Form>, form: Form) {
    if !forms.contains(&form) {
        forms.push(form);
    }
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A secret in base64 with `before` bytes in front of it in its group of three (RFC 4648).
fn base64(forms: &mut Vec<Form>, text: &[u8], before: usize, alphabet: &[u8; 64]) {
    let bits = 8 * (before + text.len());
    // Bit `at` of the group's bytes; what is before and after the secret counts as zero.
    let bit = |at: usize| {
        let byte = (at / 8).checked_sub(before).and_then(|at| text.get(at));
        byte.map_or(0, |byte| usize::from(byte >> (7 - at % 8) & 1))
    };
    let sextet = |index: usize| (0..6).fold(0, |value, n| value << 1 | bit(6 * index + n));
    // The characters that hold bits of the secret alone.
    let (first, end) = ((8 * before).div_ceil(6), bits / 6);
    let mut form = Zeroizing::new(Vec::with_capacity(end - first + 3));
    form.extend((first..end).map(|index| alphabet[sextet(index)]));
    add(forms, copy(&form, 0));
    let unknown = match bits % 6 {
        0 => return,
        known => 6 - known,
    };
    // The last one holds bits of whatever comes next, too.
    for neighbour in 0..1 << unknown {
        let mut longer = copy(&form, 3);
        longer.push(alphabet[sextet(end) | neighbour]);
        if neighbour == 0 {
            // Nothing comes next: a third of a group is padded twice, two thirds once.
            for _ in 0..unknown / 2 {
                longer.push(b'=');
                add(forms, copy(&longer, 0));
            }
            longer.truncate(form.len() + 1);
        }
        add(forms, longer);
    }
}

fn copy(form: &Form, room: usize) -> Form {
    let mut copy = Zeroizing::new(Vec::with_capacity(form.len() + room));
    copy.extend_from_slice(form);
    copy
}
