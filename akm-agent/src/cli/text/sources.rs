//! What the sources say, read as tokens: uses of `text!`, and the sentences that stand in the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Makers of errors and hints: whatever is a literal inside their brackets may be shown.
const MAKERS: &[&str] = &["new", "invalid", "corrupt", "internal", "with_hint"];

/// Where a sentence was found.
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    /// Inside the brackets of an error or a hint.
    pub(crate) in_error: bool,
}

/// Everything found below a directory.
#[derive(Default)]
pub(crate) struct Sources {
    /// `text!` with its file, id and variables.
    pub(crate) used: Vec<(PathBuf, String, BTreeSet<String>)>,
    /// `say!` of the dashboard, the same way.
    pub(crate) said: Vec<(PathBuf, String, BTreeSet<String>)>,
    /// Every literal.
    pub(crate) literals: BTreeSet<String>,
    /// Literals that read as a sentence, `{}` where something is filled in.
    pub(crate) sentences: BTreeMap<String, Place>,
}

impl Sources {
    /// The sources of some directories, without what is compiled for tests alone.
    pub(crate) fn read(dirs: &[&str]) -> Sources {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut sources = Sources::default();
        for dir in dirs {
            for file in rust_files(&root.join(dir)) {
                let source = std::fs::read_to_string(&file).unwrap();
                sources.scan(&file, source.parse().expect("the source is Rust"), false);
            }
        }
        sources
    }

    pub(crate) fn scan(&mut self, file: &Path, tokens: TokenStream, in_error: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let text = |index: Option<usize>| index.map_or(String::new(), |at| tokens[at].to_string());
        for (index, tree) in tokens.iter().enumerate() {
            let before = |back: usize| text(index.checked_sub(back));
            match tree {
                // `#[doc = "…"]` and `mod tests { … }` say nothing to anybody.
                TokenTree::Group(group)
                    if is_attribute(group, &before(1), &before(2))
                        || group.delimiter() == Delimiter::Brace
                            && before(2) == "mod"
                            && before(1).starts_with("test") => {}
                TokenTree::Group(group) => {
                    if before(1) == "!" && ["text", "say"].contains(&before(2).as_str()) {
                        let used = used_here(file, group.stream());
                        match before(2) == "text" {
                            true => self.used.extend(used),
                            false => self.said.extend(used),
                        }
                    }
                    let makes_error = group.delimiter() == Delimiter::Parenthesis
                        && MAKERS.contains(&before(1).as_str())
                        && (before(4) == "Error" || before(1) == "with_hint");
                    self.scan(file, group.stream(), in_error || makes_error);
                }
                TokenTree::Literal(literal) => {
                    let Some(text) = literal_text(&literal.to_string()) else {
                        continue;
                    };
                    if let Some(sentence) = sentence(&text, in_error) {
                        let place = self.sentences.entry(sentence).or_insert_with(|| Place {
                            file: file.to_owned(),
                            in_error,
                        });
                        place.in_error |= in_error;
                    }
                    self.literals.insert(text);
                }
                _ => {}
            }
        }
    }
}

/// `"id", name = value, …`, before it in the dashboard the language; nothing of the macro's own definition.
fn used_here(file: &Path, arguments: TokenStream) -> Option<(PathBuf, String, BTreeSet<String>)> {
    let tokens: Vec<String> = arguments.into_iter().map(|tree| tree.to_string()).collect();
    let id = tokens.iter().find_map(|token| literal_text(token))?;
    let variables = tokens
        .windows(3)
        .filter(|three| three[0] == "," && three[2] == "=")
        .map(|three| three[1].clone())
        .collect();
    Some((file.to_owned(), id, variables))
}

/// `#[…]` or `#![…]`, and not `vec![…]`.
fn is_attribute(group: &Group, before: &str, further: &str) -> bool {
    let is_hash = before == "#" || before == "!" && further == "#";
    group.delimiter() == Delimiter::Bracket && is_hash
}

fn literal_text(source: &str) -> Option<String> {
    syn::parse_str::<syn::LitStr>(source)
        .ok()
        .map(|literal| literal.value())
}

/// A literal that reads as a sentence of several words; in an error one word, or a capital, is one as well.
/// `{name}` becomes `{}`.
fn sentence(text: &str, in_error: bool) -> Option<String> {
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || in_error);
    if !begins || !text.trim().contains(' ') || text.contains('\n') {
        return None;
    }
    // Of templates: the braces are meant.
    if text.contains("{{") {
        return Some(text.to_owned());
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once('{') {
        out.push_str(head);
        out.push_str("{}");
        rest = tail.split_once('}')?.1;
    }
    out.push_str(rest);
    Some(out)
}

/// The files of a directory that are not tests alone; or the one that is named.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    const TESTS: &[&str] = &[
        "tests",
        "tests.rs",
        "attacks.rs",
        "formulas.rs",
        "vectors.rs",
        "sources.rs",
    ];
    if dir.is_file() {
        return vec![dir.to_owned()];
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if TESTS.contains(&name) {
            continue;
        }
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
