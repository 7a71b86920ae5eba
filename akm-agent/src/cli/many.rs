//! One question about many keys: asked side by side, answered in the order of the keys.
//!
//! An agent that is locked or gone is one failure of the command, not one for each key.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use akm_core::client::Client;
use akm_core::protocol::{Key, KeyList, KeyStatus, Operation};
use akm_core::{Error, Kind};
use serde::Serialize;

use super::list;
use super::output::Result;
use super::progress::Progress;
use super::text::text;

/// Questions under way at a time: as many as the agent takes on. They wait for providers, so that all together take
/// about as long as the slowest.
const THREADS: usize = 64;
/// A provider gets its own time-outs from the agent; this is only for an agent that is gone.
const PATIENCE: Duration = Duration::from_secs(180);

/// What became of one question.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Asked<T> {
    /// The agent has an answer.
    Done(T),
    /// It has none.
    Failed {
        /// The key as it was typed.
        name: String,
        /// Why.
        error: Error,
    },
}

/// Every key that is switched on.
pub(super) fn active(client: &mut Client) -> Result<Vec<Key>> {
    let active = KeyList {
        status: Some(KeyStatus::Active),
        ..KeyList::default()
    };
    Ok(list::all(client, active)?.keys)
}

/// Asks about every name, with a progress bar where somebody looks.
pub(super) fn ask<Q: Operation>(
    client: Client,
    names: &[String],
    json: bool,
    question: impl Fn(String) -> Q + Sync,
) -> Result<Vec<Asked<Q::Result>>>
where
    Q::Result: Send,
{
    let socket = client.socket().to_owned();
    drop(client);
    let count = names.len() as u64;
    let bar = Progress::of(count, json || count < 2).labelled(text!("testing"));
    let mut results = each(names, |name| {
        let asked = Client::connect_with_timeout(Some(&socket), PATIENCE)
            .and_then(|mut client| client.call(&question(name.to_owned())));
        bar.advance(1);
        match asked {
            Ok(result) => Asked::Done(result),
            Err(error) => Asked::Failed {
                name: name.to_owned(),
                error,
            },
        }
    });
    drop(bar);
    let broken = results.iter().position(|asked| {
        matches!(asked, Asked::Failed { error, .. }
            if matches!(error.kind(), Kind::Locked | Kind::NoAgent))
    });
    if let Some(index) = broken
        && let Asked::Failed { error, .. } = results.swap_remove(index)
    {
        return Err(error.into());
    }
    Ok(results)
}

/// Runs a function on every name, a few at a time, and keeps their order.
fn each<T: Send>(names: &[String], work: impl Fn(&str) -> T + Sync) -> Vec<T> {
    let queue: Mutex<VecDeque<(usize, &String)>> = Mutex::new(names.iter().enumerate().collect());
    let done = Mutex::new(Vec::with_capacity(names.len()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(names.len()) {
            scope.spawn(|| {
                loop {
                    let next = lock(&queue).pop_front();
                    let Some((index, name)) = next else { break };
                    let result = work(name);
                    lock(&done).push((index, result));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_worked_on_once_and_order_is_kept() {
        let names: Vec<String> = (0..100).map(|n| format!("p/{n}")).collect();
        assert_eq!(each(&names, str::to_owned), names);
        assert!(each(&[], str::to_owned).is_empty());
    }

    #[test]
    fn so_many_questions_are_under_way_at_once() {
        // Each waits for all the others: with fewer threads this would never end.
        let names: Vec<String> = (0..THREADS).map(|n| n.to_string()).collect();
        let gate = std::sync::Barrier::new(THREADS);
        let leaders = each(&names, |_| gate.wait().is_leader());
        assert_eq!(leaders.iter().filter(|leader| **leader).count(), 1);
    }
}
