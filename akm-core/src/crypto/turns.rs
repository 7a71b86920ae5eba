//! Whose turn it is to derive a key: as many at once as the machine has cores, so that a burst of sign-ins waits instead of
//! taking all the memory.
//!
//! Invariants: whoever goes first ([`go_first`]) waits for a derivation to end and for others who go first, never for the queue of
//! the rest, so a flood of strangers does not keep the owner out; nobody waits while there is a place and nobody goes before them.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(super) static CORES: Gate = Gate::new(cores);

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

thread_local! {
    static GOES_FIRST: Cell<bool> = const { Cell::new(false) };
}

/// Until it is dropped, what this thread derives comes before what others wait for.
pub struct First {
    before: bool,
}

/// Lets this thread go first, where it does what the owner of the process asked for.
pub fn go_first(is_owner: bool) -> First {
    First {
        before: GOES_FIRST.replace(is_owner),
    }
}

impl Drop for First {
    fn drop(&mut self) {
        GOES_FIRST.set(self.before);
    }
}

pub(super) fn goes_first() -> bool {
    GOES_FIRST.get()
}

pub(super) struct Gate {
    all: fn() -> usize,
    places: Mutex<Places>,
    for_first: Condvar,
    for_others: Condvar,
}

struct Places {
    taken: usize,
    /// How many wait who go first.
    first: usize,
}

impl Gate {
    const fn new(all: fn() -> usize) -> Self {
        Gate {
            all,
            places: Mutex::new(Places { taken: 0, first: 0 }),
            for_first: Condvar::new(),
            for_others: Condvar::new(),
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, goes_first: bool) -> Place<'_> {
        let all = (self.all)();
        let mut places = self.places();
        if goes_first {
            places.first += 1;
            let full = |places: &mut Places| places.taken >= all;
            let waited = self.for_first.wait_while(places, full);
            places = waited.unwrap_or_else(PoisonError::into_inner);
            places.first -= 1;
        } else {
            let full = |places: &mut Places| places.taken >= all || places.first > 0;
            let waited = self.for_others.wait_while(places, full);
            places = waited.unwrap_or_else(PoisonError::into_inner);
        }
        places.taken += 1;
        self.call_next(&places);
        Place(self)
    }

    /// Wakes whoever has a place now, if there is one.
    fn call_next(&self, places: &Places) {
        if places.taken >= (self.all)() {
            return;
        }
        match places.first {
            0 => self.for_others.notify_one(),
            _ => self.for_first.notify_one(),
        }
    }
}

pub(super) struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.0.places();
        places.taken -= 1;
        self.0.call_next(&places);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_derive_at_once_than_there_are_cores() {
        let gate = Gate::new(cores);
        let places = cores();
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // All places are used: this many threads can meet inside, and the barrier would hang otherwise.
        let meeting = Barrier::new(places);
        std::thread::scope(|scope| {
            for _ in 0..places {
                scope.spawn(|| {
                    let _place = gate.enter(false);
                    meeting.wait();
                });
            }
        });
        // And no more than all: each thread stays long enough for the others to follow if they could.
        std::thread::scope(|scope| {
            for _ in 0..places + 6 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _place = gate.enter(false);
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        for _ in 0..50 {
                            std::thread::yield_now();
                        }
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=places).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(gate.places().taken, 0, "everybody left");
    }

    #[test]
    fn who_goes_first_passes_everybody_that_waits() {
        let gate = Gate::new(|| 1);
        let (coming, order) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let held = gate.enter(false);
        std::thread::scope(|scope| {
            let enter = |goes_first: bool| {
                coming.fetch_add(1, Ordering::SeqCst);
                let _place = gate.enter(goes_first);
                order.lock().unwrap().push(goes_first);
            };
            for _ in 0..8 {
                scope.spawn(move || enter(false));
            }
            while coming.load(Ordering::SeqCst) < 8 {
                std::thread::yield_now();
            }
            for _ in 0..2 {
                scope.spawn(move || enter(true));
            }
            while gate.places().first < 2 {
                std::thread::yield_now();
            }
            drop(held);
        });
        let order = order.into_inner().unwrap();
        assert_eq!(order.len(), 10, "nobody was forgotten");
        assert_eq!(order[..2], [true, true], "{order:?}");
    }

    #[test]
    fn it_is_a_thread_that_goes_first_and_only_as_long_as_it_says() {
        assert!(!goes_first());
        let owner = go_first(true);
        let other = go_first(false);
        assert!(!goes_first());
        drop(other);
        assert!(goes_first());
        assert!(!std::thread::spawn(goes_first).join().unwrap());
        drop(owner);
        assert!(!goes_first());
    }
}
