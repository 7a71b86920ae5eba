//! The tree against a map, against hands in the store, and how little it reads and writes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::*;

/// A store of nodes that counts what is read and written.
#[derive(Default)]
struct Rows {
    rows: RefCell<HashMap<Number, Vec<u8>>>,
    reads: Cell<usize>,
}

impl Rows {
    fn load(&self, number: Number) -> Result<Option<Vec<u8>>> {
        self.reads.set(self.reads.get() + 1);
        Ok(self.rows.borrow().get(&number).cloned())
    }

    /// Makes the changes in one draft; says how many nodes were written.
    fn change(&self, base: &mut Nodes, edits: &[(Id, Option<Marks>, Option<Marks>)]) -> usize {
        let mut draft = Draft::new();
        for (id, before, after) in edits {
            let load = |number| self.load(number);
            assert!(draft.put(base, &load, id, *before, *after).unwrap());
        }
        let (root, nodes) = draft.finish(base);
        let written = nodes.len();
        self.rows.borrow_mut().extend(nodes.iter().cloned());
        base.apply(root, false, nodes);
        written
    }
}

fn id(number: u64) -> Id {
    let hash = crypto::hash(&[&number.to_le_bytes()]);
    *hash.first_chunk().unwrap()
}

fn marks(number: u64) -> Marks {
    Marks {
        meta: id(number ^ 1 << 40),
        secret: id(number ^ 1 << 41),
    }
}

#[test]
fn it_holds_what_a_map_holds_through_every_change() {
    let (rows, mut nodes) = (Rows::default(), Nodes::new(EMPTY));
    let mut model = BTreeMap::new();
    let mut dice = 7u64;
    for round in 0..3000u64 {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let id = id((dice >> 33) % 800);
        let after = (!dice.is_multiple_of(3)).then(|| marks(round));
        let before = model.get(&id).copied();
        rows.change(&mut nodes, &[(id, before, after)]);
        match after {
            Some(marks) => _ = model.insert(id, marks),
            None => _ = model.remove(&id),
        }
    }
    assert!(model.len() > 300, "control: there is something to find");
    // With nothing cached: what is believed is what the hashes lead to.
    let mut cold = Nodes::new(nodes.root);
    let load = |number| rows.load(number);
    for number in 0..800 {
        let id = id(number);
        assert_eq!(cold.find(&id, &load).unwrap(), model.get(&id).copied());
    }
    let all = cold.range(None, None, usize::MAX, &load).unwrap();
    let expected: Vec<Entry> = model
        .iter()
        .map(|(id, marks)| Entry {
            id: *id,
            marks: *marks,
        })
        .collect();
    assert_eq!(all, expected);
    let (low, high) = (all[10].id, all[200].id);
    let part = cold.range(Some(&low), Some(&high), 1000, &load).unwrap();
    assert_eq!(part, expected[11..=200]);
    let few = cold.range(Some(&low), None, 5, &load).unwrap();
    assert_eq!(few, expected[11..16]);
}

#[test]
fn a_change_of_something_else_than_what_is_there_is_refused() {
    let (rows, mut nodes) = (Rows::default(), Nodes::new(EMPTY));
    rows.change(&mut nodes, &[(id(1), None, Some(marks(1)))]);
    let load = |number| rows.load(number);
    for (before, after) in [
        (None, Some(marks(2))),
        (Some(marks(3)), Some(marks(2))),
        (Some(marks(3)), None),
    ] {
        let mut draft = Draft::new();
        let put = draft.put(&mut nodes, &load, &id(1), before, after);
        assert!(!put.unwrap());
        assert!(draft.finish(&nodes).1.is_empty());
    }
}

#[test]
fn a_changed_missing_or_older_node_is_noticed_by_whoever_reads_through_it() {
    let (rows, mut nodes) = (Rows::default(), Nodes::new(EMPTY));
    let all: Vec<_> = (0..400).map(|n| (id(n), None, Some(marks(n)))).collect();
    rows.change(&mut nodes, &all);
    let old = rows.rows.borrow().clone();
    rows.change(&mut nodes, &[(id(5), Some(marks(5)), Some(marks(1005)))]);
    let new = rows.rows.borrow().clone();
    let changed: Vec<Number> = new
        .iter()
        .filter(|(number, node)| old.get(number) != Some(node))
        .map(|(number, _)| *number)
        .collect();
    assert!(changed.len() >= 3, "root, inner, leaf");
    let find = |number| {
        let load = |number| rows.load(number);
        Nodes::new(nodes.root).find(&id(number), &load)
    };
    for number in changed {
        rows.rows.borrow_mut().insert(number, old[&number].clone());
        assert_eq!(find(5).unwrap_err().kind(), Kind::RolledBack);
        rows.rows.borrow_mut().remove(&number);
        assert_eq!(find(5).unwrap_err().kind(), Kind::RolledBack);
        rows.rows.borrow_mut().insert(number, new[&number].clone());
    }
    assert_eq!(find(5).unwrap(), Some(marks(1005)), "control");
}

#[test]
fn a_write_touches_a_path_and_a_read_with_a_warm_cache_nothing() {
    let mut written = Vec::new();
    for size in [10u64, 1_000, 100_000] {
        let (rows, mut nodes) = (Rows::default(), Nodes::new(EMPTY));
        let all: Vec<_> = (0..size).map(|n| (id(n), None, Some(marks(n)))).collect();
        rows.change(&mut nodes, &all);
        let most = (0..50).map(|n| {
            let n = n % size;
            rows.change(&mut nodes, &[(id(n), Some(marks(n)), Some(marks(n)))])
        });
        written.push(most.max().unwrap());
        let load = |number| rows.load(number);
        nodes.find(&id(1), &load).unwrap();
        rows.reads.set(0);
        assert_eq!(nodes.find(&id(1), &load).unwrap(), Some(marks(1)));
        assert_eq!(rows.reads.get(), 0);
        let mut cold = Nodes::new(nodes.root);
        cold.find(&id(1), &load).unwrap();
        assert!(rows.reads.get() <= 6);
    }
    assert_eq!(written[0], 1);
    assert!(written[1] <= 4 && written[2] <= 6, "{written:?}");
}

#[test]
fn the_cache_is_bounded_and_keeps_what_stands_above_the_leaves() {
    let (rows, mut nodes) = (Rows::default(), Nodes::new(EMPTY));
    let all: Vec<_> = (0..120_000)
        .map(|n| (id(n), None, Some(marks(n))))
        .collect();
    rows.change(&mut nodes, &all);
    let load = |number| rows.load(number);
    for n in 0..120_000 {
        assert!(nodes.find(&id(n), &load).unwrap().is_some());
        assert!(nodes.bytes <= CACHE);
    }
    rows.reads.set(0);
    nodes.find(&id(0), &load).unwrap();
    assert!(rows.reads.get() <= 2, "{}", rows.reads.get());
}

#[test]
fn bounds_are_those_of_the_path() {
    assert_eq!(bounds(ROOT, 0), ([0; 16], [0xff; 16]));
    let (first, last) = bounds(0x1ab, 2);
    assert_eq!((first[0], first[15]), (0xab, 0));
    assert_eq!((last[0], last[15]), (0xab, 0xff));
}

#[test]
fn a_node_that_is_none_is_refused_though_its_hash_is_right() {
    let entry = [7; ENTRY];
    let inner = |children: usize| [&[INNER][..], &vec![7; children * HASH]].concat();
    for (what, content, good) in [
        ("a leaf", [&[LEAF][..], &entry].concat(), true),
        ("nothing", vec![], false),
        ("a kind that is none", vec![2], false),
        ("fewer children than sixteen", inner(3), false),
    ] {
        let load = |_: Number| Ok(Some(content.clone()));
        let nodes = || Nodes::new(hash_of(ROOT, &content));
        let id = [0x70; 16];
        let found = nodes().find(&id, &load).map(|found| found.is_none());
        let range = nodes().range(None, None, 9, &load).map(|all| all.len());
        let mut draft = Draft::new();
        let put = draft.put(&mut nodes(), &load, &id, None, Some(marks(1)));
        match good {
            true => assert_eq!((found, range, put), (Ok(true), Ok(1), Ok(true)), "{what}"),
            false => assert_eq!(
                (found, range, put),
                (Err(STALE), Err(STALE), Err(STALE)),
                "{what}"
            ),
        }
    }
}

#[test]
fn a_path_that_is_deeper_than_any_ends() {
    // Every node an inner one with one child, down to where a number has no room any more.
    let id = [0; 16];
    let mut rows = HashMap::new();
    let mut hash = [9; HASH];
    for depth in (0..=MAX_DEPTH).rev() {
        let number = 1 << (4 * depth);
        let mut hashes = [EMPTY; 16];
        hashes[0] = hash;
        let content = encode(&Node::Inner(Box::new(hashes)));
        hash = hash_of(number, &content);
        rows.insert(number, content);
    }
    let load = |number: Number| Ok(rows.get(&number).cloned());
    let mut nodes = Nodes::new(hash);
    assert_eq!(nodes.find(&id, &load), Err(STALE));
    assert_eq!(nodes.range(None, None, 9, &load), Ok(Vec::new()));
    let mut draft = Draft::new();
    let put = draft.put(&mut nodes, &load, &id, None, Some(marks(1)));
    assert_eq!(put, Err(STALE));
    assert!(draft.finish(&nodes).1.is_empty());
    // Control: beside the path the tree is empty, and takes what is put there.
    let beside = [0xf0; 16];
    assert_eq!(nodes.find(&beside, &load), Ok(None));
    let put = Draft::new().put(&mut nodes, &load, &beside, None, Some(marks(1)));
    assert_eq!(put, Ok(true));
}

#[test]
fn the_cache_is_bounded_even_by_nodes_that_stand_above_others() {
    let mut nodes = Nodes::new(EMPTY);
    let inner = [&[INNER][..], &[7; 16 * HASH]].concat();
    let each = inner.len() + CACHED;
    let most = (CACHE / each) as Number;
    for number in 1..=most {
        nodes.apply(EMPTY, false, vec![(number, inner.clone())]);
    }
    assert_eq!(
        (nodes.cached.len() as Number, nodes.bytes),
        (most, most as usize * each)
    );
    // The same one again takes no room.
    nodes.apply(EMPTY, false, vec![(most, inner.clone())]);
    assert_eq!(nodes.bytes, most as usize * each);
    nodes.apply(EMPTY, false, vec![(most + 1, inner.clone())]);
    assert_eq!((nodes.cached.len(), nodes.bytes), (1, each));
    assert!(nodes.cached.contains_key(&(most + 1)));
    nodes.apply(EMPTY, true, vec![(3, inner)]);
    assert_eq!((nodes.cached.len(), nodes.bytes), (1, each));
}
