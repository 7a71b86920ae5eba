//! Who watches a server: what it answered in the last hours, its disk, its certificate, its backups, and what of that
//! somebody should look at.
//!
//! Invariants: an alert is raised when its fact passes its threshold and over when it does not any more; both are logged
//! once. Since when one is raised stands in `alerts.json` in the state directory and survives a restart, so that nobody is
//! told twice of one occurrence. What cannot be found out raises nothing but is absent from the picture as well.
//!
//! Who is told is decided in `selling`; nothing here sends anything.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use akm_core::backup::schedule::replace;
use akm_core::host::Clock;
use akm_core::monitor::Monitor;
use akm_core::protocol::{AlertInfo, DiskInfo, HourCount, Observed, OffsiteInfo, OperationCount};
use akm_core::regular::{self, Links};
use akm_core::service::Figures;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Shared;
use crate::config::Thresholds;
use crate::log::{self, Entry};
use crate::offsite::Offsite;

const FILE: &str = "alerts.json";
const VERSION: u32 = 1;
const MAX_FILE: u64 = 16 * 1024;
/// Hours that are kept.
const HOURS: usize = 24;
const HOUR_MS: i64 = 60 * 60 * 1000;
/// Fewer answers than these say nothing about a rate.
const FEW: u64 = 20;

/// Everything that can be raised.
pub const ALERTS: [&str; 5] = ["backup", "offsite", "errors", "disk", "certificate"];

/// Answers, those with an error, those because of the server.
type Totals = (u64, u64, u64);

/// Whoever watches.
pub struct Watch {
    thresholds: Thresholds,
    /// Whose disk is looked at.
    directory: PathBuf,
    state: PathBuf,
    clock: Arc<dyn Clock>,
    began: i64,
    offsite: Option<Arc<Offsite>>,
    server: OnceLock<Weak<Shared>>,
    hours: Mutex<Hours>,
    raised: Mutex<BTreeMap<String, i64>>,
}

#[derive(Default)]
struct Hours {
    /// When each began, and what was answered in it.
    kept: VecDeque<(i64, Totals)>,
    before: Totals,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    raised: BTreeMap<String, i64>,
}

/// What an alert is judged by.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    now: i64,
    began: i64,
    last_backup: Option<i64>,
    copied: Option<bool>,
    answered: u64,
    faults: u64,
    disk: Option<(u64, u64)>,
    certificate_ends: Option<i64>,
}

impl Watch {
    /// A watch over the vault in `directory`. An unreadable file of alerts is as none.
    pub fn new(
        thresholds: Thresholds,
        directory: PathBuf,
        state: PathBuf,
        clock: Arc<dyn Clock>,
        offsite: Option<Arc<Offsite>>,
    ) -> Watch {
        let read = regular::read(&state.join(FILE), Links::Refuse, MAX_FILE);
        let text = read.ok().flatten().unwrap_or_default();
        let raised = match serde_json::from_slice::<Stored>(&text) {
            Ok(stored) if stored.version == VERSION => stored.raised,
            _ => BTreeMap::new(),
        };
        Watch {
            began: clock.now().as_millisecond(),
            thresholds,
            directory,
            state,
            clock,
            offsite,
            server: OnceLock::new(),
            hours: Mutex::default(),
            raised: Mutex::new(raised),
        }
    }

    /// What copies backups elsewhere, where that is configured.
    pub fn offsite(&self) -> Option<Arc<Offsite>> {
        self.offsite.clone()
    }

    pub(super) fn attach(&self, server: &Arc<Shared>) {
        // Said once, while the server is put together.
        let _ = self.server.set(Arc::downgrade(server));
    }

    /// Looks, and returns what is raised and since when, Unix milliseconds.
    pub fn look(&self, figures: &Figures) -> Vec<(String, i64)> {
        let now = self.clock.now().as_millisecond();
        let (answered, faults) = self.count(&self.operations(), now);
        let facts = Facts {
            now,
            began: self.began,
            last_backup: figures.last_backup_s.map(|s| s.saturating_mul(1000)),
            copied: self
                .offsite
                .as_ref()
                .and_then(|offsite| offsite.succeeded()),
            answered,
            faults,
            disk: self.disk(),
            certificate_ends: self.certificate_ends().map(|s| s.saturating_mul(1000)),
        };
        let wanted = judge(&self.thresholds, &facts);
        let mut raised = hold(&self.raised);
        let before = raised.clone();
        raised.retain(|alert, _| wanted.contains(&alert.as_str()));
        for alert in &wanted {
            raised.entry((*alert).to_owned()).or_insert(now);
        }
        for alert in ALERTS {
            let (was, is) = (before.contains_key(alert), raised.contains_key(alert));
            if was != is {
                log::write(&Entry::Alert { alert, raised: is });
            }
        }
        if *raised != before {
            let stored = Stored {
                version: VERSION,
                raised: raised.clone(),
            };
            let text = serde_json::to_vec(&stored).unwrap_or_default();
            if let Err(error) = replace(&self.state, FILE, &text) {
                log::failed("alerts", &error);
            }
        }
        raised
            .iter()
            .map(|(alert, since)| (alert.clone(), *since))
            .collect()
    }

    fn operations(&self) -> Vec<OperationCount> {
        let server = self.server.get().and_then(Weak::upgrade);
        server.map_or_else(Vec::new, |server| server.metrics.counts())
    }

    fn certificate_ends(&self) -> Option<i64> {
        let server = self.server.get()?.upgrade()?;
        server.network.get()?.certificate_ends()
    }

    fn disk(&self) -> Option<(u64, u64)> {
        let found = nix::sys::statvfs::statvfs(&self.directory).ok()?;
        let unit = found.fragment_size();
        Some((
            unit.saturating_mul(found.blocks_available()),
            unit.saturating_mul(found.blocks()),
        ))
    }

    /// Notes what was answered since the last look in the hour that it is now; what this hour and the one before come to.
    fn count(&self, operations: &[OperationCount], now: i64) -> (u64, u64) {
        let totals = operations.iter().fold((0, 0, 0), |sum: Totals, count| {
            (
                sum.0 + count.answered,
                sum.1 + count.failed,
                sum.2 + count.faults,
            )
        });
        let hour = now.div_euclid(HOUR_MS).saturating_mul(HOUR_MS);
        let mut hours = hold(&self.hours);
        let before = std::mem::replace(&mut hours.before, totals);
        let news = (
            totals.0.saturating_sub(before.0),
            totals.1.saturating_sub(before.1),
            totals.2.saturating_sub(before.2),
        );
        match hours.kept.back_mut() {
            Some((began, kept)) if *began >= hour => {
                *kept = (kept.0 + news.0, kept.1 + news.1, kept.2 + news.2);
            }
            _ => hours.kept.push_back((hour, news)),
        }
        while hours.kept.len() > HOURS {
            hours.kept.pop_front();
        }
        let lately = hours
            .kept
            .iter()
            .filter(|(began, _)| *began >= hour - HOUR_MS);
        lately.fold((0, 0), |sum, (_, kept)| (sum.0 + kept.0, sum.1 + kept.2))
    }

    /// The last hours without a gap, oldest first.
    fn hours(&self) -> Vec<HourCount> {
        let hours = hold(&self.hours);
        let Some((newest, _)) = hours.kept.back() else {
            return Vec::new();
        };
        let newest = *newest;
        (0..HOURS as i64)
            .rev()
            .map(|back| {
                let began = newest - back * HOUR_MS;
                let found = hours.kept.iter().find(|(at, _)| *at == began);
                let (answered, failed, faults) = found.map_or((0, 0, 0), |(_, kept)| *kept);
                HourCount {
                    hour: time(began),
                    answered,
                    failed,
                    faults,
                }
            })
            .collect()
    }
}

impl Monitor for Watch {
    fn observe(&self, figures: &Figures) -> Observed {
        let raised = self.look(figures);
        Observed {
            since: time(self.began),
            operations: self.operations(),
            hours: self.hours(),
            disk: self.disk().map(|(free_bytes, total_bytes)| DiskInfo {
                free_bytes,
                total_bytes,
            }),
            certificate_ends: self
                .certificate_ends()
                .map(|s| time(s.saturating_mul(1000))),
            offsite: self
                .offsite
                .as_ref()
                .and_then(|offsite| offsite.last())
                .map(|copy| OffsiteInfo {
                    backup: copy.backup,
                    at: time(copy.at),
                    outcome: copy.outcome,
                }),
            alerts: raised
                .into_iter()
                .map(|(alert, since)| AlertInfo {
                    alert,
                    since: time(since),
                })
                .collect(),
        }
    }
}

/// What should be looked at.
fn judge(thresholds: &Thresholds, facts: &Facts) -> Vec<&'static str> {
    let mut found = Vec::new();
    // A server that never made a backup has the age of the newest one from its start.
    let age = facts.now - facts.last_backup.unwrap_or(facts.began).min(facts.now);
    if let Some(hours) = thresholds.backup_hours
        && age > i64::from(hours) * HOUR_MS
    {
        found.push("backup");
    }
    if facts.copied == Some(false) {
        found.push("offsite");
    }
    if let Some(percent) = thresholds.error_percent
        && facts.answered >= FEW
        && facts.faults.saturating_mul(100) >= facts.answered.saturating_mul(u64::from(percent))
    {
        found.push("errors");
    }
    if let (Some(percent), Some((free, total))) = (thresholds.disk_percent, facts.disk)
        && u128::from(free) * 100 < u128::from(total) * u128::from(percent)
    {
        found.push("disk");
    }
    if let (Some(days), Some(ends)) = (thresholds.certificate_days, facts.certificate_ends)
        && ends - facts.now < i64::from(days) * 24 * HOUR_MS
    {
        found.push("certificate");
    }
    found
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |at| at.to_string())
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const DAY_MS: i64 = 24 * HOUR_MS;

    fn fine() -> Facts {
        Facts {
            now: NOW,
            began: NOW - 90 * DAY_MS,
            last_backup: Some(NOW - HOUR_MS),
            copied: Some(true),
            answered: 1000,
            faults: 1,
            disk: Some((50, 100)),
            certificate_ends: Some(NOW + 60 * DAY_MS),
        }
    }

    #[test]
    fn each_fact_raises_its_alert_and_a_threshold_that_is_off_none() {
        let on = Thresholds::default();
        assert!(judge(&on, &fine()).is_empty(), "control");
        let off = Thresholds {
            backup_hours: None,
            error_percent: None,
            disk_percent: None,
            certificate_days: None,
        };
        for (alert, facts) in [
            (
                "backup",
                Facts {
                    last_backup: Some(NOW - 3 * DAY_MS),
                    ..fine()
                },
            ),
            (
                "backup",
                Facts {
                    last_backup: None,
                    ..fine()
                },
            ),
            (
                "errors",
                Facts {
                    faults: 50,
                    ..fine()
                },
            ),
            (
                "disk",
                Facts {
                    disk: Some((9, 100)),
                    ..fine()
                },
            ),
            (
                "certificate",
                Facts {
                    certificate_ends: Some(NOW + DAY_MS),
                    ..fine()
                },
            ),
        ] {
            assert_eq!(judge(&on, &facts), [alert]);
            assert!(judge(&off, &facts).is_empty(), "{alert}");
        }
        let failed = Facts {
            copied: Some(false),
            ..fine()
        };
        assert_eq!(judge(&on, &failed), ["offsite"]);
        // A server that has just begun has no backup yet, and a handful of answers is no rate.
        let young = Facts {
            began: NOW - HOUR_MS,
            last_backup: None,
            ..fine()
        };
        assert!(judge(&on, &young).is_empty());
        let few = Facts {
            answered: 3,
            faults: 3,
            ..fine()
        };
        assert!(judge(&on, &few).is_empty());
    }

    struct Hand(Mutex<i64>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_millisecond(*hold(&self.0)).unwrap()
        }

        fn boot(&self) -> std::time::Duration {
            std::time::Duration::ZERO
        }
    }

    #[test]
    fn an_alert_keeps_its_beginning_over_a_restart_and_goes_with_its_fact() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hand(Mutex::new(NOW)));
        let watch = || {
            Watch::new(
                Thresholds {
                    disk_percent: None,
                    ..Thresholds::default()
                },
                dir.path().to_owned(),
                dir.path().to_owned(),
                clock.clone(),
                None,
            )
        };
        let old = Figures {
            last_backup_s: Some((NOW - 3 * DAY_MS) / 1000),
            ..Figures::default()
        };
        let raised = vec![("backup".to_owned(), NOW)];
        assert_eq!(watch().look(&old), raised);
        *hold(&clock.0) += HOUR_MS;
        let again = watch();
        assert_eq!(
            again.look(&old),
            raised,
            "since then, not since the restart"
        );
        let new = Figures {
            last_backup_s: Some(NOW / 1000),
            ..Figures::default()
        };
        assert!(again.look(&new).is_empty());
        assert!(watch().look(&new).is_empty());
        *hold(&clock.0) += 3 * DAY_MS;
        let later = NOW + HOUR_MS + 3 * DAY_MS;
        assert_eq!(watch().look(&new), [("backup".to_owned(), later)], "anew");
    }

    #[test]
    fn hours_follow_one_another_without_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let watch = Watch::new(
            Thresholds::default(),
            dir.path().to_owned(),
            dir.path().to_owned(),
            Arc::new(Hand(Mutex::new(NOW))),
            None,
        );
        let count = |answered, faults| {
            [OperationCount {
                operation: "key.get".to_owned(),
                answered,
                failed: faults,
                faults,
            }]
        };
        assert_eq!(watch.count(&count(10, 1), NOW), (10, 1));
        assert_eq!(watch.count(&count(15, 1), NOW), (15, 1));
        assert_eq!(watch.count(&count(16, 2), NOW + 5 * HOUR_MS), (1, 1));
        let hours = watch.hours();
        assert_eq!(hours.len(), HOURS);
        let answered: Vec<u64> = hours.iter().map(|hour| hour.answered).collect();
        assert_eq!(answered[HOURS - 6..], [15, 0, 0, 0, 0, 1]);
    }
}
