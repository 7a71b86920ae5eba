//! The audit: who asked for what, when, and how it ended, in chains that show every change made to them.
//!
//! Invariants:
//! * No event can hold a value: its type has no field for one ([`Event`]).
//! * [`Audit::append`] returns `Ok` only after the whole event was handed to the kernel with one `write`, so it
//!   survives the death of this process at any moment after. The caller releases nothing before.
//! * If an event cannot be written, the journal is as it was before, or refuses everything from then on.
//! * Every event is under a MAC together with the one before it; positions in a chain have no gaps. There is
//!   one chain per account, keyed by that account's audit key, and one for the system, keyed by the host key.
//! * Names and paths rest sealed; chain, position, time, operation, outcome and record id rest in clear.
//! * Events reach the store in batches ([`Audit::fold`]), each exactly once, and leave the journal only then.
//!
//! * A read of the log holds nothing for long: it goes in slices, and its caller looks between them whether it may go on.
//!
//! Deliberately absent: an anchor on this machine. A tail that is cut off while this process runs is found, because the
//! process knows where each of its chains ends; cut off between two runs it leaves a shorter chain that is whole, which only a
//! checkpoint shows that was kept elsewhere ([`Audit::checkpoint`]). Nor is an event durable against power loss until it is
//! folded: what power loss takes from the end of the journal is reported as an unclean shutdown, not as tampering.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::memory::LockedKey;
use crate::name::KeyName;
use crate::regular::{self, Links};
use crate::store::{Id, Store};

mod chain;
mod checkpoint;
mod event;
mod journal;
mod list;
mod noted;
mod record;
mod segment;
#[cfg(test)]
mod tests;
mod verify;

pub use chain::SYSTEM;
pub use event::{Caller, Event, MAX_EXE, NETWORK_UID, Outcome, TokenDigest, Via};
pub use list::Filter;
pub use noted::{Noted, actions};
pub use verify::Verifying;

use chain::{ChainKeys, Entry, Head};
use journal::{Folded, Paths};
use segment::Segment;

/// The audit of one vault. One process has it at a time: the one that owns the vault.
pub struct Audit {
    store: Arc<dyn Store>,
    host: Host,
    vault: Id,
    system: ChainKeys,
    paths: Paths,
    /// Held while an event is written, and for the moment in which a fold exchanges the segments.
    state: Mutex<State>,
    /// Held while a segment is folded, and by whoever reads the store as of a moment. Taken before `state`.
    folder: Mutex<Folder>,
    /// Events written and not yet folded.
    pending: AtomicUsize,
}

/// The chain of an account that is unlocked.
#[derive(Debug)]
pub struct AccountChain {
    keys: ChainKeys,
    /// Signs checkpoints.
    signer: LockedKey,
}

struct State {
    live: Segment,
    heads: HashMap<Id, Head>,
    /// Events in `live`.
    events: usize,
    /// A failed write could not be taken back.
    poisoned: bool,
    plain: Vec<u8>,
    record: Vec<u8>,
}

#[derive(Default)]
struct Folder {
    left: Option<Rotated>,
}

/// A segment that nothing is written to any more and that is not folded yet.
struct Rotated {
    segment: Segment,
    events: usize,
    /// Whether the files have the names that belong to them now.
    renamed: bool,
}

/// Which vault the journal at `path` was begun for, if it says so.
pub fn vault_of(path: &Path) -> Option<Id> {
    let file = regular::open(path, Links::Refuse).ok()??;
    let mut header = [0; record::HEADER];
    file.read_exact_at(&mut header, 0).ok()?;
    Some(record::decode_header(&header).ok()??.1)
}

/// Whether a vault can take up the journal at `path`: `conflict` where there are another one's events.
pub fn check_vault(path: &Path, vault: Id) -> Result<()> {
    Paths::new(path, vault).check_vault()
}

impl Audit {
    /// Folds what earlier processes left in the journal at `path` and starts a new segment there.
    pub fn open(
        path: &Path,
        store: Arc<dyn Store>,
        host: Host,
        host_key: &LockedKey,
        vault: Id,
    ) -> Result<Audit> {
        let system = ChainKeys::new(host_key, SYSTEM, vault);
        let paths = Paths::new(path, vault);
        let (live, found) = paths.recover(store.as_ref())?;
        let head = system.stored_head(store.as_ref())?;
        let audit = Audit {
            state: Mutex::new(State {
                live,
                heads: HashMap::from([(SYSTEM, head)]),
                events: 0,
                poisoned: false,
                plain: Vec::new(),
                record: Vec::new(),
            }),
            folder: Mutex::default(),
            pending: AtomicUsize::new(0),
            store,
            host,
            vault,
            system,
            paths,
        };
        audit.report(&found)?;
        Ok(audit)
    }

    /// Takes up an account's chain where it ends. The same account may be opened any number of times.
    pub fn open_account(&self, account: Id, audit_key: &LockedKey) -> Result<AccountChain> {
        let keys = ChainKeys::new(audit_key, account, self.vault);
        if account == SYSTEM {
            return Err(Error::internal("an account has the system's id"));
        }
        if !self.state()?.heads.contains_key(&account) {
            // This process wrote nothing to the chain yet, and what earlier ones wrote is folded.
            let head = keys.stored_head(self.store.as_ref())?;
            self.state()?.heads.entry(account).or_insert(head);
        }
        Ok(AccountChain {
            keys,
            signer: crypto::derive(audit_key, "audit/checkpoint"),
        })
    }

    /// Writes an event to an account's chain. Returns after the kernel has it, or fails and has written nothing.
    pub fn append(&self, chain: &AccountChain, event: &Event<'_>) -> Result<()> {
        self.write_event(&chain.keys, event)
    }

    /// Writes an event to the system's chain: what no unlocked account stands behind.
    pub fn append_system(&self, event: &Event<'_>) -> Result<()> {
        self.write_event(&self.system, event)
    }

    /// Writes to an account's chain what akm itself noticed.
    pub fn note(
        &self,
        chain: &AccountChain,
        noted: Noted,
        outcome: Outcome,
        caller: &Caller,
    ) -> Result<()> {
        self.write(&chain.keys, noted.action(), outcome, None, None, caller)
    }

    /// As [`Audit::note`], in the system's chain.
    pub fn note_system(&self, noted: Noted, outcome: Outcome, caller: &Caller) -> Result<()> {
        self.write(&self.system, noted.action(), outcome, None, None, caller)
    }

    /// How many events wait to be folded.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Brings the journal's events into the store; says how many. Appends go on meanwhile. If it fails, the events
    /// stay where they are and the next fold takes them.
    pub fn fold(&self) -> Result<usize> {
        let mut folder = self.folder()?;
        self.fold_held(&mut folder, &[]).map(|(events, _)| events)
    }

    fn write_event(&self, keys: &ChainKeys, event: &Event<'_>) -> Result<()> {
        self.write(
            keys,
            event.op.name(),
            event.outcome,
            event.record,
            event.key,
            event.caller,
        )
    }

    fn write(
        &self,
        keys: &ChainKeys,
        action: &'static str,
        outcome: Outcome,
        record: Option<Id>,
        key: Option<&KeyName>,
        caller: &Caller,
    ) -> Result<()> {
        const POISONED: Error = Error::new(Kind::Io, "the audit journal failed: restart the agent");
        let time = self.host.clock.now().as_millisecond();
        let mut state = self.state()?;
        let State {
            live,
            heads,
            events,
            poisoned,
            plain,
            record: bytes,
        } = &mut *state;
        if *poisoned {
            return Err(POISONED);
        }
        let head = heads
            .get_mut(keys.id())
            .ok_or(Error::internal("an audit chain was not opened here"))?;
        let seq = head.seq + 1;
        if !record::SEQS.contains(&seq) {
            return Err(Error::internal("an audit chain has no further number"));
        }
        event::encode_detail(key, caller, plain);
        let sealed = keys.seal(self.host.random.as_ref(), seq, plain);
        // Names and paths do not stay in memory until the next event.
        zeroize::Zeroize::zeroize(plain);
        let sealed = sealed?;
        let entry = Entry {
            chain: keys.id(),
            seq,
            time,
            action,
            outcome: outcome.token(),
            record: record.as_ref(),
            sealed: &sealed,
        };
        let mac = keys.mac(&entry, &head.mac);
        record::encode(&entry, &mac, bytes)?;
        if let Err(failed) = live.append(bytes) {
            *poisoned = !failed.restored;
            return Err(failed.error);
        }
        *head = Head { seq, mac };
        *events += 1;
        self.pending.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Folds what there is, and says where the given chains ended at the moment up to which it was folded.
    fn fold_held(&self, folder: &mut Folder, chains: &[&ChainKeys]) -> Result<(usize, Vec<Head>)> {
        let mut events = self.fold_left(folder)?;
        let heads = self.rotate(folder, chains)?;
        events += self.fold_left(folder)?;
        Ok((events, heads))
    }

    /// Starts a new live segment, unless the present one is empty. The files get their names afterwards, so that no
    /// append waits for the file system.
    fn rotate(&self, folder: &mut Folder, chains: &[&ChainKeys]) -> Result<Vec<Head>> {
        let heads = |state: &State| {
            let head = |keys: &&ChainKeys| state.heads.get(keys.id()).copied();
            let heads: Option<Vec<Head>> = chains.iter().map(head).collect();
            heads.ok_or(Error::internal("an audit chain was not opened here"))
        };
        let number = {
            let state = self.state()?;
            if state.live.is_empty() {
                return heads(&state);
            }
            state.live.number()
        };
        crash_point("before the new segment");
        let fresh = self.paths.prepare(number.wrapping_add(1))?;
        crash_point("before the exchange");
        let mut state = self.state()?;
        let heads = heads(&state)?;
        folder.left = Some(Rotated {
            segment: std::mem::replace(&mut state.live, fresh),
            events: std::mem::take(&mut state.events),
            renamed: false,
        });
        Ok(heads)
    }

    /// Folds the segment that was rotated, if there is one.
    fn fold_left(&self, folder: &mut Folder) -> Result<usize> {
        let Some(left) = &mut folder.left else {
            return Ok(0);
        };
        crash_point("before the renames");
        if !left.renamed {
            self.paths.rotate()?;
            left.renamed = true;
        }
        crash_point("after the renames");
        let folded = self
            .paths
            .fold_rotated(&left.segment, self.store.as_ref())?;
        crash_point("after the removal");
        self.pending.fetch_sub(left.events, Ordering::Relaxed);
        folder.left = None;
        self.report(&folded)?;
        Ok(folded.events)
    }

    /// Puts what reading the journal showed into the system's chain, so that the log tells of it.
    fn report(&self, folded: &Folded) -> Result<()> {
        let myself = Caller {
            uid: nix::unistd::geteuid().as_raw(),
            pid: nix::unistd::getpid().as_raw(),
            exe: String::new(),
            via: Via::Host,
            process: Default::default(),
        };
        if folded.torn {
            self.note_system(Noted::UncleanShutdown, Outcome::Ok, &myself)?;
        }
        if !folded.findings.is_empty() {
            let damaged = Outcome::Failed(Kind::Corrupt);
            self.note_system(Noted::JournalDamaged, damaged, &myself)?;
        }
        Ok(())
    }

    /// A thread that panicked while it wrote an event may have left half of one behind: nothing is written after it.
    fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.state
            .lock()
            .map_err(|_| Error::internal("a thread failed while it wrote the audit"))
    }

    fn folder(&self) -> Result<MutexGuard<'_, Folder>> {
        self.folder
            .lock()
            .map_err(|_| Error::internal("a thread failed while it folded the audit"))
    }
}

/// Where a test lets the process die; nothing otherwise.
#[cfg(not(test))]
fn crash_point(_: &'static str) {}
#[cfg(test)]
use tests::crash_point;
