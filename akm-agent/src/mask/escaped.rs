//! Secrets in text that writes some of its characters otherwise: `%2F` in addresses, `\u0026` and `\/` in JSON; and in
//! lines, as `base64` writes what is long.
//!
//! Encoders differ in which characters they write so, and in the case of the digits, so no list of forms is complete.
//! A [`Lane`] reads the stream as its decoder would and walks the same automaton: whatever was escaped, all of it or a
//! single character, leads to the same place. It sleeps until a character that begins an escape arrives, takes over where
//! the plain reading stands, and sleeps again when nothing escaped is left in what it has under way.
//!
//! A break of a line counts as one within a secret only where a tool would have put it, or after [`ENOUGH`] of the secret:
//! else the end of many a line would wait for the next one.
//!
//! Invariants: a lane takes a fixed number of steps for each byte; what it has under way is exactly what must be held.
//!
//! Deliberately absent: escapes within escapes, and those of markup (`&amp;`).

use std::collections::VecDeque;

use zeroize::Zeroizing;

use super::{NONE, Patterns, ROOT};

/// Longest escape in bytes: `\u0026`.
const LONGEST: usize = 6;

/// As many characters of a form before the end of a line are no accident.
const ENOUGH: u32 = 8;
/// Where tools break lines: PEM and openssl, MIME and GNU.
const WIDTHS: [usize; 2] = [64, 76];

/// Who would read the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A reader of addresses (RFC 3986).
    Url,
    /// A reader of forms, to whom a plus is a space, unless only a plus can be meant.
    Form,
    /// A reader of JSON, JavaScript or Python.
    Backslash,
    /// A reader of base64, to whom a break of a line is nothing: it goes with the character behind it.
    Lines,
}

/// What an escape, or its beginning, stands for.
enum Escape {
    Byte(u8),
    Unfinished,
    None,
}

impl Kind {
    /// Whether an escape begins with this.
    pub(super) fn begins(self, byte: u8) -> bool {
        match self {
            Kind::Url => byte == b'%',
            Kind::Form => byte == b'%' || byte == b'+',
            Kind::Backslash => byte == b'\\',
            Kind::Lines => byte == b'\n' || byte == b'\r',
        }
    }

    fn read(self, escape: &[u8]) -> Escape {
        let digits = match (self, escape) {
            (Kind::Lines, [b'\r'] | [b'\n'] | [b'\r', b'\n']) => return Escape::Unfinished,
            (Kind::Lines, [b'\n', byte @ b'!'..=b'~'] | [_, b'\n', byte @ b'!'..=b'~']) => {
                return Escape::Byte(*byte);
            }
            (Kind::Lines, _) => return Escape::None,
            (Kind::Form, [b'+']) => return Escape::Byte(b' '),
            (Kind::Url | Kind::Form, [_, digits @ ..]) => digits,
            (Kind::Backslash, [_, byte @ (b'"' | b'\'' | b'\\' | b'/')]) => {
                return Escape::Byte(*byte);
            }
            (Kind::Backslash, [_] | [_, b'u'] | [_, b'u', b'0']) => return Escape::Unfinished,
            (Kind::Backslash, [_, b'u', b'0', b'0', digits @ ..] | [_, b'x', digits @ ..]) => {
                digits
            }
            _ => return Escape::None,
        };
        match digits {
            [] => Escape::Unfinished,
            [high] if nibble(*high).is_some() => Escape::Unfinished,
            [high, low] => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => Escape::Byte(high << 4 | low),
                _ => Escape::None,
            },
            _ => Escape::None,
        }
    }

    /// Whether the beginning of an escape may turn out to stand for this.
    fn may_become(self, beginning: &[u8], byte: u8) -> bool {
        let digit = match (self, beginning) {
            (Kind::Url | Kind::Form, [_, high])
            | (Kind::Backslash, [_, b'u', _, _, high] | [_, b'x', high]) => *high,
            _ => return true,
        };
        nibble(digit) == Some(byte >> 4)
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// One way to read the stream.
pub(super) struct Lane {
    kind: Kind,
    state: u32,
    /// Characters since it woke.
    read: usize,
    /// Which of them were escaped, of those that `state` stands for, each with how many bytes more than characters there
    /// were up to it.
    escaped: VecDeque<(usize, usize)>,
    /// The same up to before the first of them.
    before: usize,
    /// The beginning of an escape.
    pending: Zeroizing<Vec<u8>>,
}

impl Lane {
    /// Asleep.
    pub(super) fn new(kind: Kind) -> Lane {
        Lane {
            kind,
            state: ROOT,
            read: 0,
            escaped: VecDeque::new(),
            before: 0,
            pending: Zeroizing::new(Vec::with_capacity(LONGEST)),
        }
    }

    /// Whether nothing escaped is under way.
    pub(super) fn sleeps(&self) -> bool {
        self.escaped.is_empty() && self.pending.is_empty()
    }

    /// At the end of a stream.
    pub(super) fn reset(&mut self) {
        self.escaped.clear();
        self.pending.clear();
    }

    /// The next byte. `plain` is where the plain reading stood before it, `column` how many bytes of its line there were, where
    /// a line ends with it. What is found ends with this byte: its length in
    /// bytes of the stream, and whose it is.
    pub(super) fn push(
        &mut self,
        patterns: &Patterns,
        plain: u32,
        byte: u8,
        column: usize,
    ) -> Option<(usize, u32)> {
        if self.sleeps() {
            if !self.kind.begins(byte) {
                return None;
            }
            (self.state, self.read, self.before) = (plain, 0, 0);
            if self.is_end_of_a_line(patterns, column) {
                return None;
            }
        }
        let begins = self.kind.begins(byte) && !self.is_end_of_a_line(patterns, column);
        if self.pending.is_empty() && !begins {
            return self.character(patterns, byte, None);
        }
        self.pending.push(byte);
        match self.kind.read(&self.pending) {
            Escape::Unfinished => None,
            Escape::Byte(read) => {
                let more = self.pending.len() - 1;
                self.pending.clear();
                let meant = |byte| patterns.child(self.state, byte) != NONE;
                if byte == b'+' && self.kind == Kind::Form && !meant(b' ') && meant(b'+') {
                    return self.character(patterns, b'+', None);
                }
                self.character(patterns, read, Some(more))
            }
            // It was none. No encoder leaves a character alone that its decoder takes for an escape, so whatever was under
            // way is over; this byte may begin another one.
            Escape::None => {
                self.reset();
                self.push(patterns, plain, byte, column)
            }
        }
    }

    /// Whether a break here is no more than that.
    fn is_end_of_a_line(&self, patterns: &Patterns, column: usize) -> bool {
        let depth = patterns.nodes[self.state as usize].depth;
        self.kind == Kind::Lines && depth < ENOUGH && (depth == 0 || !WIDTHS.contains(&column))
    }

    fn character(
        &mut self,
        patterns: &Patterns,
        byte: u8,
        escaped: Option<usize>,
    ) -> Option<(usize, u32)> {
        self.state = patterns.step(self.state, byte).0;
        self.read += 1;
        if let Some(more) = escaped {
            let before = self.escaped.back().map_or(self.before, |last| last.1);
            self.escaped.push_back((self.read, before + more));
        }
        let node = patterns.nodes[self.state as usize];
        while let Some((at, more)) = self.escaped.front().copied()
            && self.is_outside(at, node.depth as usize)
        {
            self.before = more;
            self.escaped.pop_front();
        }
        if node.found == NONE || self.escaped.is_empty() {
            return None;
        }
        let found = patterns.nodes[node.found as usize];
        Some((self.length(found.depth as usize), found.owner))
    }

    /// Whether what was escaped at a character is no part of the last ones. A break before the first is none.
    fn is_outside(&self, at: usize, characters: usize) -> bool {
        at + characters <= self.read + usize::from(self.kind == Kind::Lines)
    }

    /// How many bytes the last characters took.
    fn length(&self, characters: usize) -> usize {
        let outside = self
            .escaped
            .partition_point(|(at, _)| self.is_outside(*at, characters));
        let until = |index: usize| match index.checked_sub(1) {
            Some(last) => self.escaped[last].1,
            None => self.before,
        };
        characters + until(self.escaped.len()) - until(outside)
    }

    /// How many bytes at the end of the stream may be the beginning of a form.
    pub(super) fn undecided(&self, patterns: &Patterns) -> usize {
        let depth = |state: u32| patterns.nodes[state as usize].depth as usize;
        if self.sleeps() {
            return 0;
        }
        if self.pending.is_empty() {
            return self.length(depth(self.state));
        }
        let with = |byte| match depth(patterns.step(self.state, byte).0) {
            0 => 0,
            depth => self.pending.len() + self.length(depth - 1),
        };
        (b' '..=b'~')
            .filter(|byte| self.kind.may_become(&self.pending, *byte))
            .map(with)
            .max()
            .unwrap_or(0)
    }
}
