//! The tree over an account's records, from which a get learns that a row is the newest there was.
//!
//! ```text
//! leaf    = 0 ‖ (record id (16) ‖ mark of metadata (16) ‖ mark of secret (16))*   rising ids, 20 at most
//! inner   = 1 ‖ child hash (32) × 16                                             zeros for no child
//! hash    = SHA-256(len "tree" ‖ number ‖ node)                                   see crypto::hash
//! number  : the root is 1, child k of node n is 16 n + k: the path is the id's nibbles
//! ```
//!
//! A leaf that grows past its limit becomes an inner node with leaves below it, so depth follows the number of records:
//! ids are random, nobody can choose one. A change rewrites one path, log₁₆ n nodes. A node is believed when its hash is
//! the one its parent has, and the root when its hash is in the manifest, which is under a MAC (`manifest`). So the tree
//! needs no key of its own and nodes may be cached: they say nothing that the rows do not say in clear.
//!
//! Deliberately absent: joining leaves again. A tree that once was large stays deep; empty leaves cost a row each.

use std::collections::{BTreeSet, HashMap};

use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::store::{Id, KeyRow, Tag};

/// Number of a node.
pub(super) type Number = i64;

const ROOT: Number = 1;
const LEAF: u8 = 0;
const INNER: u8 = 1;
const HASH: usize = 32;
const ENTRY: usize = 48;
/// A node of so many entries still fits a cell of SQLite's without overflow.
const LEAF_MAX: usize = 20;
/// Nibbles that a number has room for. Random ids never share as many.
const MAX_DEPTH: u32 = 15;
/// What the cache may hold, in bytes: every node of 40,000 keys.
const CACHE: usize = 4 * 1024 * 1024;
/// What a cached node costs beside its content.
const CACHED: usize = 64;

/// No record at all.
pub(super) const EMPTY: Tag = [0; HASH];

/// A row and what stands in the tree do not fit.
pub(super) const STALE: Error = Error::new(
    Kind::RolledBack,
    "the vault's record of its keys is not the newest",
);

/// What tells a row from every other version of it, of this history or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) meta: [u8; 16],
    pub(super) secret: [u8; 16],
}

impl Marks {
    pub(super) fn of(row: &KeyRow) -> Result<Marks> {
        Ok(Marks {
            meta: crypto::mark(&row.head.meta)?,
            secret: crypto::mark(&row.secret)?,
        })
    }
}

/// A record as the tree knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: Id,
    pub(super) marks: Marks,
}

/// Reads a node from the store.
pub(super) type Load<'a> = &'a dyn Fn(Number) -> Result<Option<Vec<u8>>>;

/// Nodes that were verified up to the root, and the root's hash.
#[derive(Default)]
pub(super) struct Nodes {
    root: Tag,
    cached: HashMap<Number, Box<[u8]>>,
    bytes: usize,
}

impl Nodes {
    pub(super) fn new(root: Tag) -> Self {
        Nodes {
            root,
            ..Nodes::default()
        }
    }

    /// What the tree says of a record. Reads what is not cached of one path.
    pub(super) fn find(&mut self, id: &Id, load: Load<'_>) -> Result<Option<Marks>> {
        let (mut number, mut hash) = (ROOT, self.root);
        for depth in 0..=MAX_DEPTH {
            if hash == EMPTY {
                return Ok(None);
            }
            let node = self.node(number, &hash, load)?;
            match node.split_first() {
                Some((&LEAF, entries)) => {
                    let (entries, _) = entries.as_chunks::<ENTRY>();
                    let found = entries.binary_search_by(|entry| entry[..16].cmp(id));
                    return Ok(found.ok().map(|at| entry(&entries[at]).marks));
                }
                Some((&INNER, hashes)) => {
                    let child = nibble(id, depth);
                    hash = child_hash(hashes, child)?;
                    number = below(number, child);
                }
                _ => return Err(STALE),
            }
        }
        Err(STALE)
    }

    /// Records after `after` up to and with `upto`, by id, `limit` at most.
    pub(super) fn range(
        &mut self,
        after: Option<&Id>,
        upto: Option<&Id>,
        limit: usize,
        load: Load<'_>,
    ) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut left = vec![(ROOT, self.root, 0)];
        while let Some((number, hash, depth)) = left.pop() {
            if hash == EMPTY || depth > MAX_DEPTH {
                continue;
            }
            let (first, last) = bounds(number, depth);
            if after.is_some_and(|after| last <= *after) || upto.is_some_and(|upto| first > *upto) {
                continue;
            }
            match self.node(number, &hash, load)?.split_first() {
                Some((&LEAF, entries)) => {
                    let wanted = entries
                        .as_chunks::<ENTRY>()
                        .0
                        .iter()
                        .map(entry)
                        .filter(|e| {
                            after.is_none_or(|after| e.id > *after)
                                && upto.is_none_or(|upto| e.id <= *upto)
                        });
                    found.extend(wanted);
                    if found.len() >= limit {
                        found.truncate(limit);
                        return Ok(found);
                    }
                }
                Some((&INNER, hashes)) => {
                    for child in (0..16).rev() {
                        left.push((below(number, child), child_hash(hashes, child)?, depth + 1));
                    }
                }
                _ => return Err(STALE),
            }
        }
        Ok(found)
    }

    /// Takes over what a change wrote.
    pub(super) fn apply(&mut self, root: Tag, anew: bool, nodes: Vec<(Number, Vec<u8>)>) {
        if anew {
            *self = Nodes::default();
        }
        self.root = root;
        for (number, content) in nodes {
            self.keep(number, content);
        }
    }

    fn node(&mut self, number: Number, hash: &Tag, load: Load<'_>) -> Result<&[u8]> {
        if !self.cached.contains_key(&number) {
            let content = load(number)?.ok_or(STALE)?;
            if hash_of(number, &content) != *hash {
                return Err(STALE);
            }
            self.keep(number, content);
        }
        self.cached.get(&number).map(|node| &node[..]).ok_or(STALE)
    }

    fn keep(&mut self, number: Number, content: Vec<u8>) {
        self.bytes += content.len() + CACHED;
        if let Some(before) = self.cached.insert(number, content.into_boxed_slice()) {
            self.bytes -= before.len() + CACHED;
        }
        if self.bytes > CACHE {
            // Leaves are the many; the nodes above them serve every get.
            self.cached
                .retain(|kept, node| *kept == number || node.first() == Some(&INNER));
            self.count();
            if self.bytes > CACHE {
                self.cached.retain(|kept, _| *kept == number);
                self.count();
            }
        }
    }

    fn count(&mut self) {
        self.bytes = self.cached.values().map(|node| node.len() + CACHED).sum();
    }
}

/// A change of the tree that is being put together.
pub(super) struct Draft {
    nodes: HashMap<Number, Node>,
    dirty: BTreeSet<Number>,
}

enum Node {
    Leaf(Vec<Entry>),
    Inner(Box<[Tag; 16]>),
}

impl Draft {
    pub(super) fn new() -> Self {
        Draft {
            nodes: HashMap::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// Puts `marks` (or nothing) where the tree of `base`, as changed so far, has `before`. Answers false, and has
    /// changed nothing, where it has something else.
    pub(super) fn put(
        &mut self,
        base: &mut Nodes,
        load: Load<'_>,
        id: &Id,
        before: Option<Marks>,
        marks: Option<Marks>,
    ) -> Result<bool> {
        let (mut number, mut hash, mut depth) = (ROOT, base.root, 0);
        let mut path = Vec::with_capacity(8);
        let entries = loop {
            path.push(number);
            let node = match self.nodes.entry(number) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) if hash == EMPTY => {
                    new.insert(Node::Leaf(Vec::new()))
                }
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(decode(base.node(number, &hash, load)?)?)
                }
            };
            match node {
                Node::Leaf(entries) => break entries,
                Node::Inner(_) if depth == MAX_DEPTH => return Err(STALE),
                Node::Inner(hashes) => {
                    let child = nibble(id, depth);
                    hash = hashes[child];
                    number = below(number, child);
                    depth += 1;
                }
            }
        };
        let place = entries.binary_search_by(|entry| entry.id.cmp(id));
        if place.ok().map(|at| entries[at].marks) != before {
            return Ok(false);
        }
        match (place, marks) {
            (Ok(at), Some(marks)) => entries[at].marks = marks,
            (Ok(at), None) => _ = entries.remove(at),
            (Err(at), Some(marks)) => entries.insert(at, Entry { id: *id, marks }),
            (Err(_), None) => {}
        }
        self.dirty.extend(path);
        self.split(number, depth);
        Ok(true)
    }

    fn split(&mut self, number: Number, depth: u32) {
        let mut left = vec![(number, depth)];
        while let Some((number, depth)) = left.pop() {
            let full = match self.nodes.get_mut(&number) {
                Some(Node::Leaf(entries)) if entries.len() > LEAF_MAX && depth < MAX_DEPTH => {
                    std::mem::take(entries)
                }
                _ => continue,
            };
            let mut parts: [Vec<Entry>; 16] = Default::default();
            for entry in full {
                parts[nibble(&entry.id, depth)].push(entry);
            }
            self.nodes
                .insert(number, Node::Inner(Box::new([EMPTY; 16])));
            for (child, part) in parts.into_iter().enumerate() {
                if !part.is_empty() {
                    let child = below(number, child);
                    self.nodes.insert(child, Node::Leaf(part));
                    self.dirty.insert(child);
                    left.push((child, depth + 1));
                }
            }
        }
    }

    /// The new root hash and the nodes to be written.
    pub(super) fn finish(mut self, base: &Nodes) -> (Tag, Vec<(Number, Vec<u8>)>) {
        let mut root = base.root;
        let mut written = Vec::with_capacity(self.dirty.len());
        // A child's number is greater than its parent's.
        for number in std::mem::take(&mut self.dirty).into_iter().rev() {
            let Some(node) = self.nodes.get(&number) else {
                continue;
            };
            let content = encode(node);
            let hash = hash_of(number, &content);
            written.push((number, content));
            match self.nodes.get_mut(&(number >> 4)) {
                Some(Node::Inner(hashes)) => hashes[(number & 15) as usize] = hash,
                _ => root = hash,
            }
        }
        (root, written)
    }
}

fn hash_of(number: Number, content: &[u8]) -> Tag {
    crypto::hash(&[b"tree", &number.to_be_bytes(), content])
}

fn nibble(id: &Id, depth: u32) -> usize {
    let byte = id[(depth / 2) as usize];
    usize::from(if depth.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 15
    })
}

fn below(number: Number, child: usize) -> Number {
    number << 4 | child as Number
}

/// The least and the greatest id that a node can hold.
fn bounds(number: Number, depth: u32) -> (Id, Id) {
    let bits = 4 * depth;
    let path = (number as u128) ^ (1 << bits);
    let first = if bits == 0 { 0 } else { path << (128 - bits) };
    let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
    (first.to_be_bytes(), (first | rest).to_be_bytes())
}

fn child_hash(hashes: &[u8], child: usize) -> Result<Tag> {
    let (hashes, _) = hashes.as_chunks::<HASH>();
    hashes.get(child).copied().ok_or(STALE)
}

fn entry(bytes: &[u8; ENTRY]) -> Entry {
    let mut entry = Entry {
        id: [0; 16],
        marks: Marks {
            meta: [0; 16],
            secret: [0; 16],
        },
    };
    entry.id.copy_from_slice(&bytes[..16]);
    entry.marks.meta.copy_from_slice(&bytes[16..32]);
    entry.marks.secret.copy_from_slice(&bytes[32..]);
    entry
}

fn encode(node: &Node) -> Vec<u8> {
    match node {
        Node::Leaf(entries) => {
            let mut content = Vec::with_capacity(1 + entries.len() * ENTRY);
            content.push(LEAF);
            for Entry { id, marks } in entries {
                content.extend_from_slice(id);
                content.extend_from_slice(&marks.meta);
                content.extend_from_slice(&marks.secret);
            }
            content
        }
        Node::Inner(hashes) => {
            let mut content = Vec::with_capacity(1 + hashes.len() * HASH);
            content.push(INNER);
            content.extend_from_slice(hashes.as_flattened());
            content
        }
    }
}

/// Of a node whose hash is right: akm wrote it.
fn decode(content: &[u8]) -> Result<Node> {
    match content.split_first() {
        Some((&LEAF, entries)) => Ok(Node::Leaf(
            entries.as_chunks::<ENTRY>().0.iter().map(entry).collect(),
        )),
        Some((&INNER, hashes)) => hashes
            .as_chunks::<HASH>()
            .0
            .try_into()
            .map(|hashes| Node::Inner(Box::new(hashes)))
            .map_err(|_| STALE),
        _ => Err(STALE),
    }
}

#[cfg(test)]
mod tests;
