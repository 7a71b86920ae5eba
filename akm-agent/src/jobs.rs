//! The one scheduler: work that the agent does by itself, at its time.
//!
//! A job has a name, a period (or none while it is switched off) and a function. When each is due next stands in
//! `jobs.json` in the state directory and survives a restart; it is wall time, so that a day spent switched off or
//! suspended counts. A job that was never run, or was missed however often, is due at once and runs once.
//!
//! Invariants: one job at a time, on a thread for slow work, never on the one that answers; the time of the next
//! run is written down before the job runs, so that one that kills the agent is not tried again at each start;
//! what fails is tried again within the hour, or after its period if that is shorter; a clock that was set back
//! makes nobody wait longer than a period. Without a job that is switched on there are no wake-ups.
//!
//! Deliberately absent: cron expressions, jitter, and jobs that need an open account: nobody's keys are used
//! while nobody asks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use akm_core::backup::schedule::replace;
use akm_core::error::{Error, Result};
use akm_core::host::Clock;
use akm_core::regular::{self, Links};
use serde::{Deserialize, Serialize};

const FILE: &str = "jobs.json";
const VERSION: u32 = 1;
/// Largest file that is read.
const MAX_FILE: u64 = 64 * 1024;
/// When a job that failed is tried again, unless its period is shorter.
const RETRY: Duration = Duration::from_secs(60 * 60);

/// Work that is done by itself.
pub trait Job: Send + Sync {
    /// Its name, for the file and for people. Never changes.
    fn name(&self) -> &'static str;
    /// From one run to the next; `None` while it is switched off. Asked often: must not block.
    fn every(&self) -> Option<Duration>;
    /// Does it. May take long.
    fn run(&self) -> Result<()>;
}

/// What is known of a job between two runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Unix milliseconds.
    due: i64,
    /// When it ran last, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ran: Option<i64>,
    /// `ok`, or the kind of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    jobs: BTreeMap<String, Entry>,
}

/// The scheduler. Who drives it asks [`Scheduler::wait`], sleeps, and calls [`Scheduler::run_due`].
pub struct Scheduler {
    jobs: Vec<Box<dyn Job>>,
    clock: Arc<dyn Clock>,
    state: PathBuf,
    entries: BTreeMap<String, Entry>,
}

impl Scheduler {
    /// A scheduler of these jobs that keeps its times in the directory `state`. A file that cannot be read is as
    /// none: the jobs are due, and running one once too often does no harm.
    pub fn new(jobs: Vec<Box<dyn Job>>, clock: Arc<dyn Clock>, state: PathBuf) -> Scheduler {
        let read = regular::read(&state.join(FILE), Links::Refuse, MAX_FILE);
        let text = read.ok().flatten().unwrap_or_default();
        let entries = match serde_json::from_slice::<Stored>(&text) {
            Ok(stored) if stored.version == VERSION => stored.jobs,
            _ => BTreeMap::new(),
        };
        Scheduler {
            jobs,
            clock,
            state,
            entries,
        }
    }

    /// How long until the next job is due; `None` while none is switched on.
    pub fn wait(&self) -> Option<Duration> {
        let now = self.now();
        self.jobs
            .iter()
            .filter_map(|job| Some(self.left(job.name(), job.every()?, now)))
            .min()
    }

    /// Runs what is due, one after the other; returns what each came to.
    pub fn run_due(&mut self) -> Vec<(&'static str, Result<()>)> {
        let mut ran = Vec::new();
        for index in 0..self.jobs.len() {
            let (name, every) = (self.jobs[index].name(), self.jobs[index].every());
            let Some(every) = every else {
                // Switched on again, it is due at once.
                self.entries.remove(name);
                continue;
            };
            let now = self.now();
            if self.left(name, every, now) > Duration::ZERO {
                continue;
            }
            let entry = Entry {
                due: later(now, every),
                ran: Some(now),
                outcome: None,
            };
            self.entries.insert(name.to_owned(), entry.clone());
            // Without a note of it, a job that ends the agent would be run again at each start.
            let done = self.save().and_then(|()| self.jobs[index].run());
            let outcome = match &done {
                Ok(()) => "ok",
                Err(error) => error.kind().token(),
            };
            let due = match &done {
                Ok(()) => entry.due,
                Err(_) => later(now, every.min(RETRY)),
            };
            let entry = Entry {
                due,
                outcome: Some(outcome.to_owned()),
                ..entry
            };
            self.entries.insert(name.to_owned(), entry);
            // Only the outcome is lost if this fails.
            let _ = self.save();
            ran.push((name, done));
        }
        ran
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    fn left(&self, name: &str, every: Duration, now: i64) -> Duration {
        let Some(entry) = self.entries.get(name) else {
            return Duration::ZERO;
        };
        let left = u64::try_from(entry.due.saturating_sub(now)).unwrap_or(0);
        // A clock that was ahead when it was written down.
        Duration::from_millis(left).min(every)
    }

    fn save(&self) -> Result<()> {
        let stored = Stored {
            version: VERSION,
            jobs: self.entries.clone(),
        };
        let text = serde_json::to_vec(&stored)
            .map_err(|_| Error::internal("the times of jobs cannot be written as JSON"))?;
        replace(&self.state, FILE, &text)
    }
}

fn later(now: i64, by: Duration) -> i64 {
    now.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use akm_core::Kind;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    struct Hand(Mutex<i64>);

    impl Hand {
        fn advance(&self, by: Duration) {
            *self.0.lock().unwrap() += i64::try_from(by.as_millis()).unwrap();
        }
    }

    impl Clock for Hand {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::from_millisecond(*self.0.lock().unwrap()).unwrap()
        }

        fn boot(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[derive(Default)]
    struct Told {
        on: AtomicBool,
        fails: AtomicBool,
        runs: AtomicU32,
    }

    struct Daily(Arc<Told>);

    impl Job for Daily {
        fn name(&self) -> &'static str {
            "daily"
        }

        fn every(&self) -> Option<Duration> {
            self.0.on.load(Ordering::Relaxed).then_some(DAY)
        }

        fn run(&self) -> Result<()> {
            self.0.runs.fetch_add(1, Ordering::Relaxed);
            match self.0.fails.load(Ordering::Relaxed) {
                true => Err(Error::new(Kind::Io, "no")),
                false => Ok(()),
            }
        }
    }

    struct Bench {
        dir: tempfile::TempDir,
        clock: Arc<Hand>,
        told: Arc<Told>,
    }

    impl Bench {
        fn new(on: bool) -> Bench {
            let told = Arc::new(Told::default());
            told.on.store(on, Ordering::Relaxed);
            Bench {
                dir: tempfile::tempdir().unwrap(),
                clock: Arc::new(Hand(Mutex::new(1_800_000_000_000))),
                told,
            }
        }

        /// As after a start of the agent.
        fn scheduler(&self) -> Scheduler {
            let jobs: Vec<Box<dyn Job>> = vec![Box::new(Daily(Arc::clone(&self.told)))];
            Scheduler::new(jobs, self.clock.clone(), self.dir.path().to_owned())
        }

        fn runs(&self) -> u32 {
            self.told.runs.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn due_times_survive_a_restart_and_what_was_missed_runs_once() {
        let bench = Bench::new(true);
        let mut scheduler = bench.scheduler();
        assert_eq!(scheduler.wait(), Some(Duration::ZERO), "never run: due");
        assert_eq!(scheduler.run_due().len(), 1);
        assert_eq!(scheduler.wait(), Some(DAY));
        assert_eq!(scheduler.run_due().len(), 0, "not twice");
        bench.clock.advance(HOUR);
        let mut scheduler = bench.scheduler();
        assert_eq!(scheduler.wait(), Some(DAY - HOUR));
        bench.clock.advance(5 * DAY);
        assert_eq!(scheduler.run_due().len(), 1, "five were missed");
        assert_eq!(scheduler.wait(), Some(DAY));
        assert_eq!(bench.runs(), 2);
    }

    #[test]
    fn a_failure_is_tried_again_within_the_hour_and_its_kind_is_kept() {
        let bench = Bench::new(true);
        bench.told.fails.store(true, Ordering::Relaxed);
        let mut scheduler = bench.scheduler();
        assert!(scheduler.run_due()[0].1.is_err());
        assert_eq!(scheduler.wait(), Some(HOUR));
        let text = std::fs::read_to_string(bench.dir.path().join(FILE)).unwrap();
        assert!(text.contains(r#""outcome":"io""#), "{text}");
        bench.told.fails.store(false, Ordering::Relaxed);
        bench.clock.advance(HOUR);
        assert!(scheduler.run_due()[0].1.is_ok());
        assert_eq!(scheduler.wait(), Some(DAY));
    }

    #[test]
    fn switched_off_nothing_wakes_and_switched_on_it_is_due() {
        let bench = Bench::new(false);
        let mut scheduler = bench.scheduler();
        assert_eq!(scheduler.wait(), None);
        assert_eq!(scheduler.run_due().len(), 0);
        bench.told.on.store(true, Ordering::Relaxed);
        assert_eq!(scheduler.wait(), Some(Duration::ZERO));
        assert_eq!(scheduler.run_due().len(), 1);
        bench.told.on.store(false, Ordering::Relaxed);
        assert_eq!((scheduler.wait(), scheduler.run_due().len()), (None, 0));
        bench.told.on.store(true, Ordering::Relaxed);
        assert_eq!(scheduler.run_due().len(), 1);
    }

    #[test]
    fn a_clock_set_back_or_a_strange_file_makes_nobody_wait_longer() {
        let bench = Bench::new(true);
        bench.clock.advance(400 * DAY);
        bench.scheduler().run_due();
        *bench.clock.0.lock().unwrap() -= i64::try_from((400 * DAY).as_millis()).unwrap();
        assert_eq!(bench.scheduler().wait(), Some(DAY));
        std::fs::write(bench.dir.path().join(FILE), "{").unwrap();
        assert_eq!(bench.scheduler().wait(), Some(Duration::ZERO));
    }

    #[test]
    fn a_job_that_cannot_be_noted_is_not_run() {
        let bench = Bench::new(true);
        let jobs: Vec<Box<dyn Job>> = vec![Box::new(Daily(Arc::clone(&bench.told)))];
        let nowhere = bench.dir.path().join("gone");
        let mut scheduler = Scheduler::new(jobs, bench.clock.clone(), nowhere);
        assert!(scheduler.run_due()[0].1.is_err());
        assert_eq!(bench.runs(), 0);
    }
}
