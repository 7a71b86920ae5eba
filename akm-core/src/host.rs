//! What the vault takes from the machine it runs on, injected so that tests decide it: time, chance, cost.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::crypto::KdfCost;

/// Two clocks: one that people read, one that only runs forward.
pub trait Clock: Send + Sync {
    /// Wall time, UTC.
    fn now(&self) -> Timestamp;
    /// Time since boot; suspended time counts. Lifetimes are measured with this.
    fn boot(&self) -> Duration;
}

/// A source of unpredictable bytes.
pub trait Random: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// Everything taken from the machine.
#[derive(Clone)]
pub struct Host {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// What a new passphrase slot costs to try.
    pub kdf_cost: KdfCost,
}

impl Host {
    /// The real machine: its clocks, its kernel's random source, and the standard cost of Argon2id.
    pub fn real() -> Self {
        Host {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            kdf_cost: KdfCost::standard(),
        }
    }
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn boot(&self) -> Duration {
        // A kernel without CLOCK_BOOTTIME gets the end of time: every lifetime is over, fail closed.
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
            .map_or(Duration::MAX, Duration::from)
    }
}

struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        // There is no way on without randomness, and no secret in this message.
        getrandom::fill(buffer).expect("the kernel's random source answers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set, the test only says what the clock shows.
    const ASKED: &str = "AKM_TEST_ASKS_BOOT_TIME";

    #[test]
    fn the_clock_of_lifetimes_is_the_one_that_runs_while_the_machine_sleeps() {
        const AHEAD: u64 = 10_000_000;
        let boot = Host::real().clock.boot().as_secs();
        if std::env::var_os(ASKED).is_some() {
            std::process::exit(i32::from(boot < AHEAD));
        }
        assert!(
            boot < AHEAD,
            "control: this machine runs for less than 115 days"
        );
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "CI skips nothing");
            eprintln!("skipped: a time namespace needs root");
            return;
        }
        // No test can put a machine to sleep. A time namespace moves this one clock and leaves the one that stops.
        let asks = |offset: &str| {
            std::process::Command::new("unshare")
                .args(["--time", offset, &AHEAD.to_string(), "--fork"])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", "host::tests::the_clock_of_lifetimes_is_the_one_that_runs_while_the_machine_sleeps"])
                .env(ASKED, "1")
                .status()
                .unwrap()
        };
        assert_eq!(asks("--boottime").code(), Some(0));
        assert_eq!(
            asks("--monotonic").code(),
            Some(1),
            "control: another clock"
        );
    }
}
