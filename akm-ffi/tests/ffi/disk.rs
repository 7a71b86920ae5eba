//! What a case does to a vault's files while nobody has it open.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::pattern::Known;

/// Where a database file says of which version it is, in SQLite's header: akm counts it up with its own.
const VERSION: std::ops::Range<usize> = 60..64;
/// One page of it. The first holds the header and says what tables there are.
const PAGE: usize = 4096;

/// A file that somebody puts there, and what opening the vault says then.
pub(crate) struct Change {
    file: String,
    /// What is copied; the file itself is changed where none is named.
    from: Option<String>,
    made: Made,
    expected: Result<Value, Value>,
}

enum Made {
    Same,
    Damaged,
    Newer,
}

impl Change {
    pub(crate) fn read(name: &str, fields: &Map<String, Value>) -> Change {
        let known = ["file", "from", "made", "error"];
        assert!(
            fields.keys().all(|field| known.contains(&field.as_str())),
            "{name}: a change of a file has an unknown field: {fields:?}"
        );
        let text = |field: &str| {
            let text = fields.get(field)?.as_str();
            Some(text.expect("a file and what is made of it are texts"))
        };
        Change {
            file: text("file").expect("a change has a file").to_owned(),
            from: text("from").map(str::to_owned),
            made: match text("made") {
                None => Made::Same,
                Some("damaged") => Made::Damaged,
                Some("newer") => Made::Newer,
                Some(other) => panic!("{name}: nobody knows how to make a file {other}"),
            },
            expected: match fields.get("error") {
                None => Ok(Value::Null),
                Some(error) => Err(error.clone()),
            },
        }
    }

    /// What a session that begins afterwards is answered.
    pub(crate) fn expected(&self) -> &Result<Value, Value> {
        &self.expected
    }

    /// Writes the file, as somebody does who has the disk.
    pub(crate) fn make(&self, home: &Path, known: &Known) {
        let place = |name: &str| home.join(known.fill_text(name));
        let file = place(&self.file);
        let mut bytes = fs::read(self.from.as_deref().map_or(file.clone(), place))
            .expect("what is copied is there");
        assert!(bytes.len() > PAGE, "it is a vault's file");
        match self.made {
            Made::Same => {}
            Made::Damaged => bytes[PAGE..].fill(0xaa),
            Made::Newer => {
                let version = &mut bytes[VERSION];
                version[3] = version[3].checked_add(1).expect("versions are few");
            }
        }
        let log = PathBuf::from(format!("{}-wal", file.display()));
        assert!(!log.exists(), "the vault was closed");
        fs::write(&file, bytes).expect("the home can be written");
        // Whatever the umask: akm believes no file that others may write.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))
            .expect("an own file can be tightened");
    }
}
