//! Looks for texts in the memory of a process, in every form that programs give them.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes read at a time.
const CHUNK: usize = 4 << 20;

/// Which mappings are looked through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// Those that the process can write: what it keeps.
    Writable,
    /// All that can be read.
    Everywhere,
}

/// What is looked for.
pub struct Search {
    forms: Vec<Vec<u8>>,
    starts: [bool; 256],
}

impl Search {
    /// Each of these: raw, reversed, UTF-16 of either order, hex in either case, base64 at its three alignments.
    pub fn of(texts: &[&[u8]]) -> Search {
        Search::exactly(texts.iter().flat_map(|raw| forms(raw)).collect())
    }

    /// Only the bytes themselves.
    pub fn exactly(forms: Vec<Vec<u8>>) -> Search {
        let mut starts = [false; 256];
        for form in &forms {
            starts[usize::from(form[0])] = true;
        }
        Search { forms, starts }
    }

    /// How often any of it stands in a process's memory.
    pub fn count(&self, pid: u32, place: Where) -> usize {
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let mut count = 0;
        let mut looked_at = 0;
        for line in maps.lines() {
            let mut parts = line.split_whitespace();
            let (range, rights) = (parts.next().unwrap(), parts.next().unwrap());
            let wanted = match place {
                Where::Writable => rights.starts_with("rw"),
                Where::Everywhere => rights.starts_with('r'),
            };
            if !wanted {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let start = u64::from_str_radix(start, 16).unwrap();
            let end = u64::from_str_radix(end, 16).unwrap();
            looked_at += self.mapping(&memory, start, end, &mut count);
        }
        assert!(looked_at > 0, "nothing of the process could be read");
        count
    }

    fn mapping(&self, memory: &File, start: u64, end: u64, count: &mut usize) -> usize {
        let longest = self.forms.iter().map(Vec::len).max().unwrap();
        let mut bytes = Vec::new();
        let mut at = start;
        let mut read = 0;
        while at < end {
            let wanted = CHUNK.min(usize::try_from(end - at).unwrap());
            let kept = bytes.len();
            bytes.resize(kept + wanted, 0);
            if memory.read_exact_at(&mut bytes[kept..], at).is_err() {
                break; // The kernel's own page, or gone meanwhile.
            }
            at += wanted as u64;
            read += wanted;
            let last = if at < end {
                bytes.len().saturating_sub(longest - 1)
            } else {
                bytes.len()
            };
            *count += self.within(&bytes, last);
            bytes.drain(..last);
        }
        read
    }

    /// One pass by hand over the places before `last`: it must be quick without optimisation, too.
    fn within(&self, bytes: &[u8], last: usize) -> usize {
        let mut count = 0;
        for (at, byte) in bytes[..last].iter().enumerate() {
            if self.starts[usize::from(*byte)] {
                let here = &bytes[at..];
                count += self
                    .forms
                    .iter()
                    .filter(|form| here.starts_with(form))
                    .count();
            }
        }
        count
    }
}

/// Every form of a text.
fn forms(raw: &[u8]) -> Vec<Vec<u8>> {
    let hex = |upper: bool| {
        raw.iter()
            .flat_map(|byte| match upper {
                true => format!("{byte:02X}").into_bytes(),
                false => format!("{byte:02x}").into_bytes(),
            })
            .collect()
    };
    let mut all: Vec<Vec<u8>> = vec![
        raw.to_vec(),
        raw.iter().rev().copied().collect(),
        raw.iter().flat_map(|byte| [*byte, 0]).collect(),
        raw.iter().flat_map(|byte| [0, *byte]).collect(),
        hex(false),
        hex(true),
    ];
    all.extend((0..3).map(|shift| base64_inside(raw, shift)));
    all
}

/// The characters of the base64 of `raw`, `shift` bytes into a longer text, that do not depend on its neighbours.
fn base64_inside(raw: &[u8], shift: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let skip = (3 - shift) % 3;
    raw[skip..]
        .chunks_exact(3)
        .flat_map(|three| {
            let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
            [18, 12, 6, 0].map(|right| ALPHABET[(bits >> right & 63) as usize])
        })
        .collect()
}

#[test]
fn base64_of_the_search_is_base64() {
    assert_eq!(base64_inside(b"Man is", 0), b"TWFuIGlz");
    assert_eq!(base64_inside(b"xxMan", 1), b"TWFu");
    assert_eq!(base64_inside(b"xMan", 2), b"TWFu");
}
