//! Seats for connections, as many as the descriptors last for.
//!
//! Invariant: whoever connects and does not ask keeps nobody out. When no seat is left, the connection that has waited longest for
//! its client (for a request, the rest of one, or for an answer to be read) gives its seat to the next one. A request that is here as
//! a whole is answered before.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// All seats.
pub(super) struct Room {
    seats: Arc<Semaphore>,
    size: usize,
    waiting: Mutex<Waiting>,
    /// Tells whoever looks for a seat that one more connection could be asked for its own.
    more: Notify,
}

/// The connections that wait for their clients, the longest first.
#[derive(Default)]
struct Waiting {
    last: u64,
    turns: BTreeMap<u64, Arc<Notify>>,
}

/// A connection's seat, free again when dropped.
pub(super) struct Seat {
    room: Arc<Room>,
    /// Its turn among those that wait; 0 while it answers.
    turn: AtomicU64,
    asked: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

/// While it lives, its connection is not asked to go.
pub(super) struct Answering<'a>(&'a Seat);

impl Room {
    pub(super) fn new(size: usize) -> Arc<Room> {
        Arc::new(Room {
            seats: Arc::new(Semaphore::new(size)),
            size,
            waiting: Mutex::default(),
            more: Notify::new(),
        })
    }

    /// A seat, which waits for its client from now. Once all are taken and all answer, as soon as one of them has.
    pub(super) async fn seat(self: &Arc<Room>) -> Seat {
        let permit = loop {
            // Made before it looks, so that nothing is missed in between.
            let more = self.more.notified();
            if let Ok(permit) = Arc::clone(&self.seats).try_acquire_owned() {
                break permit;
            }
            self.ask_the_longest();
            tokio::select! {
                biased;
                Ok(permit) = Arc::clone(&self.seats).acquire_owned() => break permit,
                () = more => {}
            }
        };
        let seat = Seat {
            room: Arc::clone(self),
            turn: AtomicU64::new(0),
            asked: Arc::new(Notify::new()),
            _permit: permit,
        };
        seat.wait();
        seat
    }

    /// Returns once every seat is free.
    pub(super) async fn emptied(&self) {
        let _all = self.seats.acquire_many(self.size as u32).await;
    }

    fn ask_the_longest(&self) {
        if let Some((_, asked)) = self.waiting().turns.pop_first() {
            asked.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Says that a request is here as a whole; it waits again when that is dropped.
    pub(super) fn answering(&self) -> Answering<'_> {
        if !self.leave_queue() {
            // Asked to go, and does not: another may.
            self.room.more.notify_waiters();
        }
        Answering(self)
    }

    /// Returns when another is to have the seat, and what the client sent until then was no whole request.
    pub(super) async fn asked_to_go(&self) {
        loop {
            self.asked.notified().await;
            let turn = self.turn.load(Ordering::Relaxed);
            // The connection reads what has come by now.
            tokio::task::yield_now().await;
            if turn == 0 || turn != self.turn.load(Ordering::Relaxed) {
                continue;
            }
            // The note may be one of a turn before.
            if !self.room.waiting().turns.contains_key(&turn) {
                return;
            }
        }
    }

    /// Puts it behind all others that wait.
    pub(super) fn wait(&self) {
        self.leave_queue();
        let mut waiting = self.room.waiting();
        waiting.last += 1;
        let turn = waiting.last;
        waiting.turns.insert(turn, Arc::clone(&self.asked));
        self.turn.store(turn, Ordering::Relaxed);
        drop(waiting);
        self.room.more.notify_waiters();
    }

    /// Whether it was in there.
    fn leave_queue(&self) -> bool {
        let turn = self.turn.swap(0, Ordering::Relaxed);
        self.room.waiting().turns.remove(&turn).is_some()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave_queue();
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use super::*;

    /// Whether it is over when everything that can go on has.
    async fn ends(work: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::from_millis(50), work)
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn the_connection_that_waits_longest_gives_its_seat_up() {
        let room = Room::new(3);
        let (first, second, third) = (room.seat().await, room.seat().await, room.seat().await);
        // The control: nobody is asked for a seat that nobody needs.
        assert!(!ends(first.asked_to_go()).await);
        // The first has asked since, so the second has waited longest.
        drop(first.answering());
        let mut next = pin!(room.seat());
        tokio::select! {
            biased;
            _ = &mut next => panic!("a fourth seat of three"),
            () = first.asked_to_go() => panic!("the first"),
            () = third.asked_to_go() => panic!("the third"),
            () = second.asked_to_go() => {}
        }
        drop(second);
        next.await;
    }

    #[tokio::test]
    async fn who_is_answered_keeps_the_seat_until_then() {
        let room = Room::new(1);
        let only = room.seat().await;
        let answering = only.answering();
        let mut next = pin!(room.seat());
        assert!(!ends(async { drop(next.as_mut().await) }).await);
        assert!(!ends(only.asked_to_go()).await);
        drop(answering);
        tokio::select! {
            biased;
            _ = &mut next => panic!("a second seat of one"),
            () = only.asked_to_go() => {}
        }
        drop(only);
        next.await;
    }

    #[tokio::test]
    async fn a_request_that_comes_when_it_is_asked_to_go_is_answered() {
        let room = Room::new(1);
        let only = room.seat().await;
        let mut next = pin!(room.seat());
        assert!(!ends(async { drop(next.as_mut().await) }).await);
        drop(only.answering());
        assert!(!ends(only.asked_to_go()).await, "an old note");
        // Until it is asked anew.
        tokio::select! {
            biased;
            _ = &mut next => panic!("a second seat of one"),
            () = only.asked_to_go() => {}
        }
    }
}
