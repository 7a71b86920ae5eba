//! Reads what providers answer from `fixtures/answers`, where it was written by hand; see the README there.

#![allow(dead_code, reason = "each user needs its part")]
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

/// One provider: what must be asked, and what it may answer.
pub(crate) struct Script {
    /// The provider's id.
    pub(crate) id: String,
    /// The address an owner gives, where the provider has none of its own.
    pub(crate) base: Option<String>,
    pub(crate) method: String,
    pub(crate) path: String,
    /// Header lines that must arrive; `KEY` stands for the key.
    pub(crate) headers: Vec<(String, String)>,
    /// The body that must arrive.
    pub(crate) body: Option<String>,
    pub(crate) answers: Vec<Answer>,
}

/// One answer, and how it must be read.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) title: String,
    pub(crate) outcome: String,
    /// Parts of the sentence.
    pub(crate) says: Vec<String>,
    /// Whether every provider may give it.
    pub(crate) common: bool,
    /// Providers that do not mean it so.
    pub(crate) except: Vec<String>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// Whether it was read as it must be.
    pub(crate) fn fits(&self, outcome: &str, detail: &str) -> bool {
        assert!(!self.says.is_empty(), "{}: no says", self.title);
        outcome == self.outcome && self.says.iter().all(|part| detail.contains(part))
    }
}

impl Script {
    /// The header of a name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Every provider, with the answers that all may give behind its own.
pub(crate) fn all() -> Vec<Script> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/answers");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "http")
        })
        .collect();
    files.sort();
    let mut scripts: Vec<Script> = files
        .iter()
        .map(|path| {
            let id = path.file_stem().unwrap().to_str().unwrap();
            parse(id, &std::fs::read_to_string(path).unwrap())
        })
        .collect();
    let common = scripts
        .iter()
        .position(|script| script.id == "_common")
        .unwrap();
    let common = scripts.remove(common).answers;
    for script in &mut scripts {
        let id = script.id.clone();
        let played = |answer: &&Answer| !answer.except.contains(&id);
        script.answers.extend(common.iter().filter(played).cloned());
    }
    scripts
}

fn parse(id: &str, text: &str) -> Script {
    let (head, rest) = text.split_once("\n=== ").expect(id);
    let asked: Vec<&str> = head
        .lines()
        .filter_map(|line| line.strip_prefix("> "))
        .collect();
    let mut headers = Vec::new();
    let mut body = None;
    for line in &asked[1..] {
        match line.starts_with('{') {
            true => body = Some((*line).to_owned()),
            false => headers.push(pair(line)),
        }
    }
    let (method, path) = asked[0].split_once(' ').expect(id);
    let base = head.lines().find_map(|line| line.strip_prefix("base: "));
    Script {
        id: id.to_owned(),
        base: base.map(str::to_owned),
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
        body,
        answers: rest
            .split("\n=== ")
            .map(|answer| parse_answer(id, answer))
            .collect(),
    }
}

fn parse_answer(id: &str, text: &str) -> Answer {
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let mut lines = head.lines();
    let title = lines.next().unwrap().to_owned();
    let mut said: Vec<(String, String)> = Vec::new();
    let mut status = 0;
    for line in lines.by_ref() {
        match line.strip_prefix("HTTP ") {
            Some(code) => {
                status = code.parse().expect(id);
                break;
            }
            None => said.push(pair(line)),
        }
    }
    let word = |name: &str| {
        let found = said.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.clone())
    };
    let must = |name: &str| word(name).unwrap_or_else(|| panic!("{id}: {title}: no {name}"));
    assert!(!must("source").is_empty(), "{id}: {title}");
    Answer {
        outcome: must("outcome"),
        common: id == "_common",
        says: said
            .iter()
            .filter(|(given, _)| given == "says")
            .map(|(_, value)| value.clone())
            .collect(),
        except: word("except")
            .unwrap_or_default()
            .split(' ')
            .map(str::to_owned)
            .collect(),
        headers: lines.map(pair).collect(),
        body: body.trim_end().to_owned(),
        status,
        title,
    }
}

fn pair(line: &str) -> (String, String) {
    let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
    (name.to_owned(), value.to_owned())
}
