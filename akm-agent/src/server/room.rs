//! Seats for connections, as many as the descriptors last for: one for its socket, and another once it speaks.
//!
//! Invariants: whoever connects and does not ask keeps nobody out. When no descriptor is left, the connection that has waited
//! longest for its client (for a request, the rest of one, or for an answer to be read) gives its seat up. A request that is here as
//! a whole is answered before. And a connection that speaks gets its second descriptor: a seat never takes the last one, so
//! when there is none, some connection has two, and gives them back once it was answered and is asked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Descriptors of one connection that speaks.
pub(super) const FOR_ONE: usize = 2;

/// All descriptors that there are for connections.
pub(super) struct Room {
    descriptors: Arc<Semaphore>,
    size: usize,
    waiting: Mutex<Waiting>,
    /// Tells whoever looks for a descriptor that there is one more, or one more connection that could be asked for its own.
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
    _descriptor: Descriptor,
}

/// Leave to have one descriptor, until it is dropped.
pub(super) struct Descriptor {
    permit: Option<OwnedSemaphorePermit>,
    room: Arc<Room>,
}

/// While it lives, its connection is not asked to go.
pub(super) struct Answering<'a>(&'a Seat);

impl Room {
    pub(super) fn new(size: usize) -> Arc<Room> {
        Arc::new(Room {
            descriptors: Arc::new(Semaphore::new(size)),
            size,
            waiting: Mutex::default(),
            more: Notify::new(),
        })
    }

    /// A seat, which waits for its client from now. Once all are taken and all answer, as soon as one of them has.
    pub(super) async fn seat(self: &Arc<Room>) -> Seat {
        let descriptor = loop {
            // Made before it looks, so that nothing is missed in between.
            let more = self.more.notified();
            let free = Arc::clone(&self.descriptors).try_acquire_many_owned(FOR_ONE as u32);
            if let Some(one) = free.ok().and_then(|mut free| free.split(1)) {
                break self.leave(one);
            }
            self.ask_the_longest();
            more.await;
        };
        let seat = Seat {
            room: Arc::clone(self),
            turn: AtomicU64::new(0),
            asked: Arc::new(Notify::new()),
            _descriptor: descriptor,
        };
        seat.wait();
        seat
    }

    /// Returns once every seat is free.
    pub(super) async fn emptied(&self) {
        let _all = self.descriptors.acquire_many(self.size as u32).await;
    }

    fn leave(self: &Arc<Room>, permit: OwnedSemaphorePermit) -> Descriptor {
        Descriptor {
            permit: Some(permit),
            room: Arc::clone(self),
        }
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

    /// Leave for the second descriptor, once the client has begun to speak. Until then nobody asks this connection to go.
    pub(super) async fn second(&self) -> Descriptor {
        let _speaking = self.answering();
        let room = &self.room;
        loop {
            let more = room.more.notified();
            if let Ok(permit) = Arc::clone(&room.descriptors).try_acquire_owned() {
                return room.leave(permit);
            }
            room.ask_the_longest();
            tokio::select! {
                biased;
                Ok(permit) = Arc::clone(&room.descriptors).acquire_owned() => return room.leave(permit),
                () = more => {}
            }
        }
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

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.permit = None;
        self.room.more.notify_waiters();
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
        // One more than three silent connections take.
        let room = Room::new(4);
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
        let room = Room::new(FOR_ONE);
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
        let room = Room::new(FOR_ONE);
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

    #[tokio::test]
    async fn a_silent_connection_takes_one_descriptor_and_one_that_speaks_two() {
        let room = Room::new(4);
        let free = || room.descriptors.available_permits();
        let first = room.seat().await;
        assert_eq!(free(), 3);
        let second = first.second().await;
        assert_eq!(free(), 2);
        let silent = room.seat().await;
        assert_eq!(free(), 1, "the last one is for who speaks");
        drop((first, second));
        assert_eq!(free(), 3);
        drop(silent);
        assert!(ends(room.emptied()).await);
    }

    #[tokio::test]
    async fn who_speaks_waits_for_a_descriptor_and_is_not_sent_away() {
        let room = Room::new(3);
        let busy = room.seat().await;
        let speaks = room.seat().await;
        let second = busy.second().await;
        let answering = busy.answering();
        assert_eq!(room.descriptors.available_permits(), 0, "control");
        let mut wanted = pin!(speaks.second());
        tokio::select! {
            biased;
            _ = &mut wanted => panic!("a fourth descriptor of three"),
            () = speaks.asked_to_go() => panic!("it has asked"),
            () = busy.asked_to_go() => panic!("it is answered"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        // Once that is answered and waits, it makes room.
        drop(answering);
        tokio::select! {
            biased;
            _ = &mut wanted => panic!("a fourth descriptor of three"),
            () = speaks.asked_to_go() => panic!("it has asked"),
            () = busy.asked_to_go() => {}
        }
        drop((busy, second));
        wanted.await;
    }

    #[tokio::test]
    async fn all_that_speak_at_once_are_served_one_after_the_other() {
        let room = Room::new(40);
        let mut silent = Vec::new();
        for _ in 0..39 {
            silent.push(room.seat().await);
        }
        assert_eq!(room.descriptors.available_permits(), 1, "control");
        let mut served = tokio::task::JoinSet::new();
        for seat in silent {
            served.spawn(async move {
                let _second = seat.second().await;
                drop(seat.answering());
                // Then it waits, and leaves when it is asked to; the last ones are not.
                let _ = tokio::time::timeout(Duration::from_millis(500), seat.asked_to_go()).await;
            });
        }
        let mut next = pin!(room.seat());
        let seat = tokio::time::timeout(Duration::from_secs(60), &mut next).await;
        assert!(seat.is_ok(), "another waits for ever");
        served.join_all().await;
        drop(seat);
        assert!(ends(room.emptied()).await);
    }
}
