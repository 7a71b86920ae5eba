//! Programs that are known for running what a model wrote, or for shutting others in: `data/callers.toml`, and what
//! `config.toml` adds. All of it is only good for being stricter.

use std::collections::HashSet;
use std::sync::OnceLock;

use akm_core::caller::{Class, Known};
use akm_core::error::{Error, Result};
use serde::Deserialize;

use super::script::Family;

const DATA: &str = include_str!("../../data/callers.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    known: Vec<Entry>,
    loaders: Loaders,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    class: ClassName,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    scripts: Vec<String>,
    #[serde(default)]
    variables: Vec<String>,
    #[serde(default)]
    cgroups: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClassName {
    Agent,
    Sandbox,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Loaders {
    all: Vec<String>,
    python: Vec<String>,
    node: Vec<String>,
    shell: Vec<String>,
    perl: Vec<String>,
    ruby: Vec<String>,
}

/// What a person adds in `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// Names of programs that run what a model wrote.
    pub agents: Vec<String>,
    /// Names of programs that shut others in.
    pub sandboxes: Vec<String>,
    /// Ids of the built-in list that do not count.
    pub ignore: Vec<String>,
}

/// The list of this process.
pub(super) struct List {
    data: Data,
    /// Every variable that says something, here or in [`Loaders`].
    telling: HashSet<Vec<u8>>,
}

static LIST: OnceLock<List> = OnceLock::new();

/// Takes in what the configuration adds. Comes before the first request.
///
/// Errors: `internal` if the data of this program is broken.
pub fn configure(extra: &Extra) -> Result<()> {
    let _ = LIST.set(List::read(extra)?);
    Ok(())
}

/// The list; without [`configure`], the built-in one. None only where the data of this program is broken.
pub(super) fn list() -> Option<&'static List> {
    if LIST.get().is_none() {
        let _ = LIST.set(List::read(&Extra::default()).ok()?);
    }
    LIST.get()
}

/// The ids of the list.
pub fn known_ids() -> Vec<String> {
    let known = list().map(|list| list.data.known.as_slice());
    let ids = known.unwrap_or_default().iter();
    ids.map(|entry| entry.id.clone()).collect()
}

/// What a process shows of itself.
pub(super) struct Shown<'a> {
    pub(super) program: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) words: &'a [Vec<u8>],
}

impl List {
    fn read(extra: &Extra) -> Result<List> {
        let mut data: Data = toml::from_str(DATA)
            .map_err(|_| Error::internal("the list of known callers is not readable"))?;
        data.known.retain(|entry| !extra.ignore.contains(&entry.id));
        let own = |names: &[String], class| {
            names
                .iter()
                .map(move |name| Entry {
                    id: name.clone(),
                    class,
                    names: vec![name.clone()],
                    scripts: Vec::new(),
                    variables: Vec::new(),
                    cgroups: Vec::new(),
                })
                .collect::<Vec<_>>()
        };
        data.known.extend(own(&extra.agents, ClassName::Agent));
        data.known.extend(own(&extra.sandboxes, ClassName::Sandbox));
        let loaders = &data.loaders;
        let own = data.known.iter().map(|entry| &entry.variables);
        let telling = own
            .chain([&loaders.all, &loaders.python, &loaders.node])
            .chain([&loaders.shell, &loaders.perl, &loaders.ruby])
            .flatten()
            .map(|name| name.clone().into_bytes())
            .collect();
        Ok(List { data, telling })
    }

    /// Of an environment, the variables that say something. One that is set to nothing loads nothing.
    pub(super) fn telling(&self, environment: &[u8]) -> Vec<String> {
        environment
            .split(|byte| *byte == 0)
            .filter_map(|entry| {
                let end = entry.iter().position(|byte| *byte == b'=')?;
                let name = &entry[..end];
                (end + 1 < entry.len() && self.telling.contains(name))
                    .then(|| String::from_utf8_lossy(name).into_owned())
            })
            .collect()
    }

    /// Adds what a process is known as.
    pub(super) fn of_process(&self, shown: &Shown<'_>, found: &mut Vec<Known>) {
        let file_name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let first = shown
            .words
            .first()
            .map(|word| String::from_utf8_lossy(word));
        let names = [
            shown.program.map(file_name),
            Some(shown.name.to_owned()),
            first.map(|word| file_name(word.split(' ').next().unwrap_or_default())),
        ];
        // A launcher, its options and the script: no list of a million words is searched.
        let paths: Vec<_> = shown
            .words
            .iter()
            .take(8)
            .map(|word| String::from_utf8_lossy(word))
            .collect();
        self.add(found, |entry| {
            names
                .iter()
                .flatten()
                .any(|name| entry.names.contains(name))
                || entry.scripts.iter().any(|part| {
                    shown.program.is_some_and(|program| program.contains(part))
                        || paths.iter().any(|path| path.contains(part))
                })
        });
    }

    /// Adds what variables of its environment tell.
    pub(super) fn of_variables(&self, variables: &[String], found: &mut Vec<Known>) {
        self.add(found, |entry| {
            entry.variables.iter().any(|name| variables.contains(name))
        });
    }

    /// Adds what its control group tells; whether that is one of a container.
    pub(super) fn of_cgroup(&self, cgroup: &str, found: &mut Vec<Known>) -> bool {
        let mut is_container = false;
        self.add(found, |entry| {
            let is = entry.cgroups.iter().any(|part| cgroup.contains(part));
            is_container |= is;
            is
        });
        is_container
    }

    fn add(&self, found: &mut Vec<Known>, mut is: impl FnMut(&Entry) -> bool) {
        for entry in &self.data.known {
            if is(entry) && found.iter().all(|known| known.id != entry.id) {
                found.push(Known {
                    id: entry.id.clone(),
                    class: match entry.class {
                        ClassName::Agent => Class::Agent,
                        ClassName::Sandbox => Class::Sandbox,
                    },
                });
            }
        }
    }

    /// Whether one of these variables loads code into a program of this kind.
    pub(super) fn loads_code(&self, family: Option<Family>, variables: &[String]) -> bool {
        let loaders = &self.data.loaders;
        let own: &[String] = match family {
            Some(Family::Python) => &loaders.python,
            Some(Family::Node) => &loaders.node,
            Some(Family::Shell) => &loaders.shell,
            Some(Family::Perl) => &loaders.perl,
            Some(Family::Ruby) => &loaders.ruby,
            Some(Family::Other) | None => &[],
        };
        variables
            .iter()
            .any(|name| loaders.all.contains(name) || own.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(list: &List, program: &str, line: &str) -> Vec<String> {
        let words: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        let mut found = Vec::new();
        let shown = Shown {
            program: Some(program),
            name: "x",
            words: &words,
        };
        list.of_process(&shown, &mut found);
        found.into_iter().map(|known| known.id).collect()
    }

    #[test]
    fn known_programs_are_recognised_and_others_are_not() {
        let list = List::read(&Extra::default()).unwrap();
        assert_eq!(
            seen(&list, "/home/me/.local/bin/claude", "claude"),
            ["claude"]
        );
        assert_eq!(
            seen(
                &list,
                "/usr/bin/node",
                "node /usr/lib/node_modules/@anthropic-ai/claude-code/cli.js"
            ),
            ["claude"]
        );
        assert_eq!(seen(&list, "/usr/bin/node", "claude -p x"), ["claude"]);
        assert_eq!(
            seen(
                &list,
                "/usr/bin/python3",
                "python3 /home/me/.local/bin/aider"
            ),
            ["aider"]
        );
        assert_eq!(
            seen(&list, "/usr/bin/bwrap", "bwrap --ro-bind / / sh"),
            ["bubblewrap"]
        );
        assert!(seen(&list, "/usr/bin/bash", "bash").is_empty());
        assert!(seen(&list, "/usr/bin/vim", "vim claude.md").is_empty());
        let mut found = Vec::new();
        list.of_variables(&["HOME".into(), "CLAUDECODE".into()], &mut found);
        assert_eq!(found[0].class, Class::Agent);
        assert!(list.of_cgroup("0::/system.slice/docker-abc.scope", &mut found));
        assert_eq!(found[1].class, Class::Sandbox);
        assert!(!list.of_cgroup("0::/user.slice/user-1000.slice", &mut found));
    }

    #[test]
    fn a_configuration_adds_names_and_takes_ids_away() {
        let extra = Extra {
            agents: vec!["my-bot".into()],
            sandboxes: vec!["jail".into()],
            ignore: vec!["claude".into()],
        };
        let list = List::read(&extra).unwrap();
        assert_eq!(seen(&list, "/opt/my-bot", "my-bot"), ["my-bot"]);
        assert_eq!(seen(&list, "/opt/jail", "jail"), ["jail"]);
        assert!(seen(&list, "/usr/bin/claude", "claude").is_empty());
    }

    #[test]
    fn of_an_environment_only_what_tells_something_is_kept() {
        let list = List::read(&Extra::default()).unwrap();
        let environment = b"HOME=/root\0LD_PRELOAD=/x.so\0CLAUDECODE=1\0PYTHONPATH=\0NODE_OPTIONS\0\0=LD_AUDIT\0PATH=LD_AUDIT=1\0";
        assert_eq!(list.telling(environment), ["LD_PRELOAD", "CLAUDECODE"]);
        for loaders in [&list.data.loaders.all, &list.data.loaders.ruby] {
            assert!(!loaders.is_empty());
            for name in loaders {
                let environment = format!("A=1\0{name}=x");
                let told = list.telling(environment.as_bytes());
                assert_eq!(told, std::slice::from_ref(name));
            }
        }
        assert!(list.telling(b"").is_empty());
    }

    #[test]
    fn variables_that_load_code_depend_on_who_reads_them() {
        let list = List::read(&Extra::default()).unwrap();
        let loads = |family, name: &str| list.loads_code(family, &[name.to_owned()]);
        assert!(loads(None, "LD_PRELOAD") && loads(Some(Family::Python), "LD_PRELOAD"));
        assert!(loads(Some(Family::Python), "PYTHONPATH"));
        assert!(!loads(Some(Family::Node), "PYTHONPATH") && !loads(None, "PYTHONPATH"));
        assert!(loads(Some(Family::Node), "NODE_OPTIONS"));
        assert!(!loads(Some(Family::Python), "PATH"));
    }
}
