//! Takes secrets out of a stream of output: each becomes `[akm:NAME]`.
//!
//! One automaton (Aho and Corasick, 1975) finds every form of every secret at once; `forms` says which
//! there are, and `escaped` reads the stream as decoders of URLs, JSON and wrapped base64 would. What is found may overlap: no byte that belongs to any form of any secret gets through, and every
//! secret that was there is named once. Everything else passes unchanged, also what is not UTF-8.
//!
//! A byte is held back only while it could be part of a form: the longest end of the stream that a form begins with.
//! It is let go when the next bytes decide, or at the end. There is no time limit: a program that prints a secret one
//! character a minute is masked too. At a terminal the price is that a typed character which begins a form is shown with
//! the next one.
//!
//! Invariants: the result does not depend on how the stream was cut into pieces; the time is linear in the stream
//! whatever the secrets are; the bytes of the automaton and what is held are secrets, and are wiped when dropped.
//!
//! Deliberately absent: secrets shorter than [`SHORTEST`], which would blot out ordinary text; encodings that neither
//! names (hex, encryption). This is a guard against accidents: a program that has a key can
//! always find a way to send it.

mod escaped;
mod forms;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use akm_core::Secret;
use zeroize::Zeroizing;

use escaped::{Kind, Lane};

/// Length in bytes of the shortest secret that is masked.
pub const SHORTEST: usize = 8;

/// The node every search begins at.
const ROOT: u32 = 0;
/// No node: the root is nobody's child.
const NONE: u32 = 0;

/// All forms of all secrets, as an automaton. Its nodes are the beginnings of forms.
pub struct Patterns {
    labels: Vec<Box<[u8]>>,
    /// The first children, by byte.
    first: Zeroizing<Vec<u32>>,
    /// Whether a byte begins a form or an escape: most of any output begins neither, and is passed over quickly.
    begins: Zeroizing<Vec<bool>>,
    /// Of each node, the byte that leads to it.
    byte: Zeroizing<Vec<u8>>,
    nodes: Vec<Node>,
    /// The ways to read a stream besides the plain one.
    kinds: Vec<Kind>,
}

/// A node without its byte; the shape alone says little of a secret.
#[derive(Clone, Copy)]
struct Node {
    child: u32,
    sibling: u32,
    /// The longest proper end of this beginning that is a beginning too.
    fail: u32,
    depth: u32,
    /// The longest form that ends here, as the node it ends at; [`NONE`] if no form does.
    found: u32,
    /// Of a node that a form ends at, whose it is.
    owner: u32,
}

impl Patterns {
    /// The forms of these secrets, each with the name it is shown by. Those shorter than [`SHORTEST`] are left out.
    pub fn new(secrets: &[(String, Secret)]) -> Self {
        let mut labels = Vec::with_capacity(secrets.len());
        let mut all = Vec::new();
        let mut kinds = Vec::new();
        for (name, secret) in secrets
            .iter()
            .filter(|(_, secret)| secret.len() >= SHORTEST)
        {
            let owner = labels.len() as u32;
            let spaced = secret.expose().contains(' ');
            for (kind, wanted) in [
                (Kind::Url, true),
                (Kind::Form, spaced),
                (Kind::Backslash, true),
                (Kind::Lines, true),
            ] {
                if wanted && !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
            labels.push(format!("[akm:{name}]").into_bytes().into_boxed_slice());
            all.extend(forms::of(secret).into_iter().map(|form| (owner, form)));
        }
        let most = 1 + all.iter().map(|(_, form)| form.len()).sum::<usize>();
        let mut patterns = Patterns {
            labels,
            first: Zeroizing::new(vec![NONE; 256]),
            begins: Zeroizing::new(vec![false; 256]),
            // Room for all of it, so that the bytes never move and leave a copy behind.
            byte: Zeroizing::new(Vec::with_capacity(most)),
            nodes: Vec::with_capacity(most),
            kinds,
        };
        patterns.add_node(0, 0);
        for (owner, form) in &all {
            patterns.add(*owner, form);
        }
        patterns.link();
        for byte in 0..=u8::MAX {
            patterns.begins[usize::from(byte)] = patterns.first[usize::from(byte)] != NONE
                || (patterns.kinds.iter()).any(|kind| *kind != Kind::Lines && kind.begins(byte));
        }
        patterns
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    fn add_node(&mut self, byte: u8, depth: u32) -> u32 {
        let index = self.nodes.len() as u32;
        self.byte.push(byte);
        self.nodes.push(Node {
            child: NONE,
            sibling: NONE,
            fail: ROOT,
            depth,
            found: NONE,
            owner: 0,
        });
        index
    }

    fn add(&mut self, owner: u32, form: &[u8]) {
        let mut at = ROOT;
        for (index, byte) in form.iter().enumerate() {
            at = match self.child(at, *byte) {
                NONE => {
                    let new = self.add_node(*byte, index as u32 + 1);
                    if at == ROOT {
                        self.first[usize::from(*byte)] = new;
                    } else {
                        self.nodes[new as usize].sibling = self.nodes[at as usize].child;
                        self.nodes[at as usize].child = new;
                    }
                    new
                }
                child => child,
            };
        }
        let node = &mut self.nodes[at as usize];
        // Two names of one secret: the first is shown.
        if at != ROOT && node.found == NONE {
            node.found = at;
            node.owner = owner;
        }
    }

    /// Sets `fail` and `found`, nearest the root first.
    fn link(&mut self) {
        let mut queue: VecDeque<u32> = self.first.iter().copied().filter(|n| *n != NONE).collect();
        while let Some(at) = queue.pop_front() {
            let mut child = self.nodes[at as usize].child;
            while child != NONE {
                let byte = self.byte[child as usize];
                let mut from = self.nodes[at as usize].fail;
                let fail = loop {
                    match self.child(from, byte) {
                        NONE if from == ROOT => break ROOT,
                        NONE => from = self.nodes[from as usize].fail,
                        node => break node,
                    }
                };
                let inherited = self.nodes[fail as usize].found;
                let node = &mut self.nodes[child as usize];
                node.fail = fail;
                if node.found == NONE {
                    node.found = inherited;
                }
                queue.push_back(child);
                child = node.sibling;
            }
        }
    }

    /// Where a byte leads, and in how many steps.
    fn step(&self, mut at: u32, byte: u8) -> (u32, usize) {
        let mut steps = 1;
        loop {
            match self.child(at, byte) {
                NONE if at == ROOT => return (ROOT, steps),
                NONE => at = self.nodes[at as usize].fail,
                next => return (next, steps),
            }
            steps += 1;
        }
    }

    fn child(&self, at: u32, byte: u8) -> u32 {
        if at == ROOT {
            return self.first[usize::from(byte)];
        }
        let mut child = self.nodes[at as usize].child;
        while child != NONE && self.byte[child as usize] != byte {
            child = self.nodes[child as usize].sibling;
        }
        child
    }
}

/// A stretch of the buffer that is not let through.
#[derive(Clone, Copy)]
struct Covered {
    start: usize,
    end: usize,
    owner: u32,
    /// Its label has been written: the stretch began before what is still held.
    named: bool,
}

/// One stream on its way through.
pub struct Mask {
    patterns: Arc<Patterns>,
    state: u32,
    lanes: Vec<Lane>,
    /// What is held, and during [`Mask::push`] what has just come.
    buffer: Zeroizing<Vec<u8>>,
    /// How many bytes of the line that the buffer begins in came before it.
    column: usize,
    /// In order, apart from each other.
    covered: VecDeque<Covered>,
    /// Steps of the automaton, to prove that they are linear.
    #[cfg(test)]
    work: usize,
}

impl Mask {
    /// At the beginning of a stream.
    pub fn new(patterns: Arc<Patterns>) -> Self {
        let lanes = patterns.kinds.iter().copied().map(Lane::new).collect();
        Mask {
            patterns,
            state: ROOT,
            lanes,
            buffer: Zeroizing::new(Vec::new()),
            column: 0,
            covered: VecDeque::new(),
            #[cfg(test)]
            work: 0,
        }
    }

    /// The next piece of the stream; what is decided is appended to `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut at = self.buffer.len();
        self.hold(piece);
        while at < self.buffer.len() {
            if self.state == ROOT && self.lanes.iter().all(Lane::sleeps) {
                // Nothing is under way: on to the next byte that begins a form, or an escape.
                let begins = |byte: &u8| self.patterns.begins[usize::from(*byte)];
                match self.buffer[at..].iter().position(begins) {
                    Some(skipped) => at += skipped,
                    None => break,
                }
            }
            let (byte, plain) = (self.buffer[at], self.state);
            let column = match byte {
                b'\n' | b'\r' if plain != ROOT || !self.lanes.iter().all(Lane::sleeps) => {
                    self.column_at(at)
                }
                _ => 0,
            };
            self.step(byte);
            at += 1;
            let found = self.patterns.nodes[self.state as usize].found;
            if found != NONE {
                let node = self.patterns.nodes[found as usize];
                self.cover(at - node.depth as usize, at, node.owner);
            }
            for lane in 0..self.lanes.len() {
                if let Some((length, owner)) =
                    self.lanes[lane].push(&self.patterns, plain, byte, column)
                {
                    self.cover(at - length, at, owner);
                }
            }
        }
        let plain = self.patterns.nodes[self.state as usize].depth as usize;
        let undecided = self
            .lanes
            .iter()
            .map(|lane| lane.undecided(&self.patterns))
            .fold(plain, usize::max);
        self.let_go(self.buffer.len() - undecided, out);
    }

    /// The end of the stream: what is held is no secret, or masked already.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.state = ROOT;
        self.lanes.iter_mut().for_each(Lane::reset);
        self.let_go(self.buffer.len(), out);
    }

    /// Appends to the buffer without ever leaving a copy of it behind.
    fn hold(&mut self, piece: &[u8]) {
        let length = self.buffer.len() + piece.len();
        if length > self.buffer.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(length.next_power_of_two()));
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
        self.buffer.extend_from_slice(piece);
    }

    /// How many bytes of its line there are before a place in the buffer.
    fn column_at(&self, at: usize) -> usize {
        let mut before = self.buffer[..at].iter().rev();
        match before.position(|byte| *byte == b'\n') {
            Some(count) => count,
            None => self.column + at,
        }
    }

    fn step(&mut self, byte: u8) {
        let (next, _steps) = self.patterns.step(self.state, byte);
        self.state = next;
        #[cfg(test)]
        {
            self.work += _steps;
        }
    }

    /// Marks a stretch that ends after all others. What lies within it goes up in it.
    fn cover(&mut self, start: usize, end: usize, owner: u32) {
        while self
            .covered
            .back()
            .is_some_and(|last| last.start >= start && !last.named)
        {
            self.covered.pop_back();
        }
        if let Some(last) = self.covered.back_mut()
            && last.end > start
        {
            if last.owner == owner {
                last.end = end;
                return;
            }
            last.end = start;
        }
        let named = false;
        self.covered.push_back(Covered {
            start,
            end,
            owner,
            named,
        });
    }

    /// Writes the first `count` bytes of the buffer, with labels for what is covered, and forgets them.
    fn let_go(&mut self, count: usize, out: &mut Vec<u8>) {
        let mut at = 0;
        while let Some(next) = self.covered.front_mut()
            && next.start < count
        {
            out.extend_from_slice(&self.buffer[at..next.start]);
            if !next.named {
                out.extend_from_slice(&self.patterns.labels[next.owner as usize]);
                next.named = true;
            }
            at = next.end.min(count);
            if next.end > count {
                break;
            }
            self.covered.pop_front();
        }
        out.extend_from_slice(&self.buffer[at..count]);
        self.column = self.column_at(count);
        let held = self.buffer.len() - count;
        self.buffer.copy_within(count.., 0);
        self.buffer.truncate(held);
        for stretch in &mut self.covered {
            stretch.start = stretch.start.saturating_sub(count);
            stretch.end -= count;
        }
    }
}
