//! H08: a power cut at any point of a real workload, with torn sectors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::check::{self, Found};
use crate::child;
use crate::disk::{Chance, Cut, Disk};
use crate::steps::{self, State, Step};
use crate::trace::{self, Event};

/// A recorded workload.
pub(crate) struct Recorded {
    states: Vec<State>,
    events: Vec<Event>,
    /// The disk before every event that is a multiple of `STRIDE`, so that a point is not made from the beginning.
    saved: Vec<Disk>,
}

const STRIDE: usize = 64;

/// What many cuts came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) points: usize,
    pub(crate) lost: usize,
    pub(crate) ahead: usize,
    pub(crate) audit_whole: usize,
    /// A few of what was lost, to look at.
    pub(crate) samples: Vec<String>,
}

impl Recorded {
    pub(crate) fn new(script: &str, variables: &[(&str, &str)]) -> Recorded {
        let home = child::home();
        let events = trace::record(script, home.path(), variables);
        let steps: Vec<Step> = child::script(script);
        let acks = events
            .iter()
            .filter(|event| matches!(event, Event::Ack(_)))
            .count();
        assert_eq!(acks, steps.len(), "every step was acknowledged");
        let mut disk = Disk::default();
        let mut saved = Vec::new();
        for (index, event) in events.iter().enumerate() {
            if index % STRIDE == 0 {
                saved.push(disk.clone());
            }
            disk.apply(event);
        }
        Recorded {
            states: steps::states(&steps),
            events,
            saved,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn flushes(&self) -> usize {
        let flush = |event: &&Event| matches!(event, Event::Sync(_) | Event::SyncDir(_));
        self.events.iter().filter(flush).count()
    }

    /// The machine stopped after `count` events.
    pub(crate) fn try_cut(&self, count: usize, cut: Cut) -> Result<Found, String> {
        let start = (count / STRIDE).min(self.saved.len() - 1);
        let mut disk = self.saved[start].clone();
        for event in &self.events[start * STRIDE..count] {
            disk.apply(event);
        }
        let acknowledged = self.events[..count]
            .iter()
            .filter(|event| matches!(event, Event::Ack(_)))
            .count();
        let home = child::home();
        disk.lay_out(cut, home.path());
        check::check(
            home.path(),
            &self.states[acknowledged],
            self.states.get(acknowledged + 1),
        )
        .and_then(|found| match (cut, found.audit) {
            // What a kill leaves is what was written: there the log has no hole. Of a power cut it may have one.
            (Cut::Kill, false) => Err("the audit does not verify".to_owned()),
            _ => Ok(found),
        })
        .map_err(|lost| {
            format!(
                "after event {count} of {}, {acknowledged} acknowledged, {cut:?}: {lost}",
                self.events.len()
            )
        })
    }

    /// Many cuts, on two threads.
    pub(crate) fn try_cuts(
        &self,
        cuts: impl Fn(usize) -> (usize, Cut) + Sync,
        points: usize,
    ) -> Tally {
        let tally = Mutex::new(Tally::default());
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let point = next.fetch_add(1, Ordering::Relaxed);
                        if point >= points {
                            return;
                        }
                        let (count, cut) = cuts(point);
                        let found = self.try_cut(count, cut);
                        let mut tally = tally.lock().unwrap();
                        tally.points += 1;
                        match found {
                            Ok(found) => {
                                tally.ahead += usize::from(found.ahead);
                                tally.audit_whole += usize::from(found.audit);
                            }
                            Err(lost) => {
                                tally.lost += 1;
                                if tally.samples.len() < 5 {
                                    tally.samples.push(lost);
                                }
                            }
                        }
                    }
                });
            }
        });
        tally.into_inner().unwrap()
    }

    /// Cuts of the power, spread over the whole workload.
    pub(crate) fn power(&self, points: usize, seed: u64) -> Tally {
        let length = self.events.len();
        self.try_cuts(
            |point| {
                let mut chance = Chance::new(seed ^ (point as u64).wrapping_mul(0x9e37_79b9));
                // Every event in turn, so that each is cut after as often.
                (point % length + 1, Cut::Power(chance.next()))
            },
            points,
        )
    }
}

fn report(what: &str, recorded: &Recorded, tally: &Tally) {
    use std::io::Write as _;
    let _ = writeln!(
        std::io::stderr(),
        "{what}: {} events ({} flushes), {} cuts, {} lost something, {} had the next step, {} audits whole",
        recorded.len(),
        recorded.flushes(),
        tally.points,
        tally.lost,
        tally.ahead,
        tally.audit_whole
    );
}

fn loses_nothing(script: &str, points: usize) {
    let recorded = Recorded::new(script, &[]);
    let tally = recorded.power(points, 8);
    report(script, &recorded, &tally);
    assert_eq!(tally.lost, 0, "{:#?}", tally.samples);
    assert!(tally.ahead > 0, "control: some cuts come amid a step");
}

#[test]
fn h08_power_loss_loses_nothing_that_was_acknowledged() {
    if crate::can_trace() {
        loses_nothing("mixed-2", 1700);
        loses_nothing("restoring", 600);
    }
}

#[test]
fn h08_the_control_without_a_flush_at_each_commit_loses() {
    if !crate::can_trace() {
        return;
    }
    let points = 300;
    let kept = Recorded::new("adding-30", &[]);
    let tally = kept.power(points, 8);
    report("control, FULL", &kept, &tally);
    assert_eq!(tally.lost, 0, "{:#?}", tally.samples);
    let loses = Recorded::new("adding-30", &[("AKM_TEST_SYNCHRONOUS", "NORMAL")]);
    let tally = loses.power(points, 8);
    report("control, NORMAL", &loses, &tally);
    assert!(tally.lost > points / 4, "{} of {points}", tally.lost);
}

#[test]
#[ignore = "minutes in a release build: AKM_POINTS sets how many; whether it was run stands in SECURITY.md"]
fn h08_power_loss_100000_points() {
    let points = std::env::var("AKM_POINTS")
        .ok()
        .and_then(|points| points.parse().ok())
        .unwrap_or(100_000);
    if crate::can_trace() {
        loses_nothing("mixed-6", points * 4 / 5);
        loses_nothing("restoring", points / 5);
    }
}
