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
    unknown: Vec<String>,
    python: Vec<String>,
    node: Vec<String>,
    shell: Vec<String>,
    perl: Vec<String>,
    ruby: Vec<String>,
    other: Vec<String>,
    programs: Vec<Program>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    names: Vec<String>,
    variables: Vec<String>,
}

impl Loaders {
    /// Those of every interpreter.
    fn of_interpreters(&self) -> [&Vec<String>; 7] {
        [
            &self.unknown,
            &self.python,
            &self.node,
            &self.shell,
            &self.perl,
            &self.ruby,
            &self.other,
        ]
    }
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
    /// Beginnings of such names.
    beginnings: Vec<Vec<u8>>,
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

/// Whether an id stands in the list, as a configuration makes it.
pub(super) fn has(id: &str, extra: &Extra) -> Result<bool> {
    let list = List::read(extra)?;
    Ok(list.data.known.iter().any(|entry| entry.id == id))
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
        let programs = loaders.programs.iter().map(|program| &program.variables);
        let (mut telling, mut beginnings) = (HashSet::new(), Vec::new());
        for name in own
            .chain([&loaders.all])
            .chain(loaders.of_interpreters())
            .chain(programs)
            .flatten()
        {
            match name.strip_suffix('*') {
                Some(beginning) => beginnings.push(beginning.as_bytes().to_vec()),
                None => {
                    telling.insert(name.clone().into_bytes());
                }
            }
        }
        Ok(List {
            data,
            telling,
            beginnings,
        })
    }

    /// Of an environment, the variables that say something. One that is set to nothing loads nothing.
    pub(super) fn telling(&self, environment: &[u8]) -> Vec<String> {
        environment
            .split(|byte| *byte == 0)
            .filter_map(|entry| {
                let end = entry.iter().position(|byte| *byte == b'=')?;
                let name = &entry[..end];
                let tells = end + 1 < entry.len()
                    && (self.telling.contains(name)
                        || self.beginnings.iter().any(|part| name.starts_with(part)));
                tells.then(|| String::from_utf8_lossy(name).into_owned())
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

    /// Whether one of these variables loads code into this program; into any, if none is named.
    pub(super) fn loads_code(&self, program: Option<&str>, variables: &[String]) -> bool {
        let loaders = &self.data.loaders;
        let mut lists = vec![&loaders.all];
        if let Some(program) = program {
            match Family::of(program) {
                Some(Family::Python) => lists.push(&loaders.python),
                Some(Family::Node) => lists.push(&loaders.node),
                Some(Family::Shell | Family::Zsh) => lists.push(&loaders.shell),
                Some(Family::Perl) => lists.push(&loaders.perl),
                Some(Family::Ruby) => lists.push(&loaders.ruby),
                Some(Family::Other) => lists.extend(loaders.of_interpreters()),
                None => lists.push(&loaders.unknown),
            }
            let name = program.rsplit('/').next().unwrap_or_default();
            let bare = name.split(['.', '-']).next().unwrap_or_default();
            let own = |program: &&Program| program.names.iter().any(|name| name == bare);
            lists.extend(
                loaders
                    .programs
                    .iter()
                    .filter(own)
                    .map(|own| &own.variables),
            );
        }
        let fits = |pattern: &String, name: &String| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => pattern == name,
        };
        variables
            .iter()
            .any(|name| lists.iter().copied().flatten().any(|own| fits(own, name)))
    }
}

/// Whether a variable names another home directory than the one of this user, whose start files a shell would read.
pub(super) fn has_foreign_home(environment: &[u8]) -> bool {
    static OWN: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok()??;
        Some(user.dir.into_os_string().into_encoded_bytes())
    });
    environment
        .split(|byte| *byte == 0)
        .filter_map(|entry| entry.strip_prefix(b"HOME="))
        .any(|home| own.as_deref() != Some(home))
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
        let loaders = &list.data.loaders;
        for names in loaders.of_interpreters().into_iter().chain([&loaders.all]) {
            assert!(!names.is_empty());
            for name in names {
                let name = name.replace('*', "X%%");
                let environment = format!("A=1\0{name}=x");
                let told = list.telling(environment.as_bytes());
                assert_eq!(told, [name]);
            }
        }
        assert!(list.telling(b"").is_empty());
    }

    #[test]
    fn variables_that_load_code_depend_on_who_reads_them() {
        let list = List::read(&Extra::default()).unwrap();
        let loads = |program: &str, name: &str| {
            let program = Some(program).filter(|program| !program.is_empty());
            let bare = program.map(|program| format!("/usr/bin/{program}"));
            list.loads_code(bare.as_deref(), &[name.to_owned()])
        };
        for program in [
            "",
            "curl",
            "python3.13",
            "node",
            "bash",
            "perl",
            "ruby",
            "php",
        ] {
            for name in [
                "LD_PRELOAD",
                "GCONV_PATH",
                "OPENSSL_CONF",
                "OPENSSL_MODULES",
            ] {
                assert!(loads(program, name), "{program} {name}");
            }
            for name in ["PATH", "LANG", "TERM", "BASH_VERSION", "PYTHONUNBUFFERED"] {
                assert!(!loads(program, name), "{program} {name}");
            }
        }
        for (program, name, without) in [
            ("python3", "PYTHONPATH", "node"),
            ("python3", "PYTHONPYCACHEPREFIX", "curl"),
            ("python3-dbg", "PYTHONPATH", "perl"),
            ("node", "NODE_OPTIONS", "python3"),
            ("node", "NODE_COMPILE_CACHE", "curl"),
            ("electron-app", "NODE_OPTIONS", "ruby"),
            ("some-app", "ELECTRON_RUN_AS_NODE", "python3"),
            ("bash", "BASH_FUNC_ls%%", "python3"),
            ("dash", "PS4", "python3"),
            ("zsh", "FPATH", "python3"),
            ("perl5.40", "PERL_USE_UNSAFE_INC", "python3"),
            ("ruby3.3", "RUBYGEMS_GEMDEPS", "python3"),
            ("php8.4", "PHPRC", "python3"),
            ("lua5.4", "LUA_INIT_5_4", "python3"),
            ("java", "JDK_JAVA_OPTIONS", "python3"),
            ("bun", "BUN_INSPECT_PRELOAD", "python3"),
            ("Rscript", "R_PROFILE_USER", "python3"),
            ("git", "GIT_CONFIG_COUNT", "python3"),
        ] {
            assert!(loads(program, name), "{program} {name}");
            assert!(!loads(without, name), "{without} {name}");
        }
    }

    #[test]
    fn a_home_of_somebody_else_is_noticed() {
        let own = nix::unistd::User::from_uid(nix::unistd::geteuid());
        let own = own.unwrap().unwrap().dir;
        let own = format!("A=1\0HOME={}\0", own.to_str().unwrap());
        assert!(!has_foreign_home(own.as_bytes()));
        assert!(!has_foreign_home(b"XHOME=/tmp\0A=HOME=/tmp"));
        assert!(has_foreign_home(b"HOME=/tmp/evil") && has_foreign_home(b"HOME="));
        assert!(has_foreign_home(format!("{own}HOME=/tmp").as_bytes()));
    }
}
