//! Who asks, beyond a process id: what a transport that sees the process can say of it, and how a person is asked.
//!
//! Invariants: every fact is read when it is asked for and not before, because most requests need none and a
//! get is measured in microseconds; what cannot be read is absent, and whoever decides takes absence for a no.
//! The texts here come from other processes: they are shown escaped and never trusted to be short.
//!
//! What it does not do: read `/proc` (the agent does), decide (`service::access` does). A program that holds the vault
//! itself has no [`Process`] to offer: it has the keys in its own memory, so nothing here could stop it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::Caller;
use crate::protocol::Op;

/// What a transport can say of the process that asks. Facts are those of one request: each is read at most once.
///
/// Where the caller is the `akm` command, the facts are those of the process that started it: `akm get` is only
/// the hand of whoever runs it.
pub trait Process: Send + Sync {
    /// Path of the executable, as the kernel names it.
    fn program(&self) -> Option<&str>;
    /// SHA-256 of the executable, if it is known already. Never waits for a disk.
    fn known_digest(&self) -> Option<[u8; 32]>;
    /// SHA-256 of the executable; may read all of it.
    fn digest(&self) -> Option<[u8; 32]>;
    /// The script that an interpreter runs.
    fn script(&self) -> &Script;
    /// The working directory.
    fn directory(&self) -> Option<&str>;
    /// The processes that it comes from.
    fn company(&self) -> &Company;
    /// What makes the facts above worth little.
    fn hindrance(&self) -> Option<Hindrance>;
    /// Whether it still runs the executable of which the facts were read.
    fn is_unchanged(&self) -> bool;
    /// The terminal that it belongs to.
    fn terminal(&self) -> Option<PathBuf>;
}

/// A process, as [`Caller`] carries it; it takes no part in comparisons.
#[derive(Clone, Default)]
pub struct Witness(pub Option<Arc<dyn Process>>);

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "seen" } else { "unseen" })
    }
}

impl PartialEq for Witness {
    fn eq(&self, _: &Witness) -> bool {
        true
    }
}

impl Eq for Witness {}

/// What an interpreter runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Script {
    /// The program is no interpreter that is known.
    NotOne,
    /// The file, with every link resolved.
    File(String),
    /// Code that is in no file: `-c`, a module, standard input, a prompt.
    Inline,
    /// It cannot be said.
    #[default]
    Unclear,
}

/// The processes that a caller comes from.
#[derive(Clone, Debug, Default)]
pub struct Company {
    /// The nearest first.
    pub ancestors: Vec<Ancestor>,
    /// Whether that is all of them, up to the first process.
    pub complete: bool,
    /// Programs among them, or marks that they leave, that are known for running what a model wrote, or for shutting in.
    pub known: Vec<Known>,
    /// The control group that a container put it into.
    pub container: Option<String>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Ancestor {
    /// Process id.
    pub pid: i32,
    /// The executable's path where it could be read, else the name that it gives itself.
    pub name: String,
}

/// A program of the list of known ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its id there.
    pub id: String,
    /// What it is.
    pub class: Class,
}

/// What a known program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Runs commands that a language model chose.
    Agent,
    /// Shuts programs in.
    Sandbox,
}

/// What makes facts about a process worth little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It lives in a user namespace of its own making.
    ForeignNamespace,
    /// A debugger holds it.
    Traced,
    /// A variable of its environment loads code into it.
    Environment,
    /// Its state cannot be read.
    Unreadable,
}

/// What a person is asked.
pub struct Question<'a> {
    /// The key's name.
    pub key: &'a str,
    /// What is to be done with it.
    pub op: Op,
    /// Why a person is asked.
    pub why: Why,
    /// Who asks.
    pub caller: &'a Caller,
    /// Whether an answer still matters: no more once the session that it is for has ended. Asked now and then while the
    /// question stands.
    pub is_wanted: &'a (dyn Fn() -> bool + Sync),
}

/// Why a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The key's owner wants to be asked at each use.
    Confirm,
    /// No grant fits, and the policy is to ask.
    Policy,
    /// No grant fits yet, and what is allowed now becomes one.
    Learning,
}

/// What a person said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes, this once.
    Yes,
    /// Yes, and the same for so long.
    YesFor(Duration),
    /// No, or nothing that is clearly a yes.
    No,
    /// Nothing, in time.
    Nothing,
    /// There is nobody to ask.
    Nobody,
}

/// Asks a person.
pub trait Confirm: Send + Sync {
    /// Waits for an answer, or for as long as a person may take.
    fn ask(&self, question: &Question<'_>) -> Answer;
}
