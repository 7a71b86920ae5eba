//! How far long work is, for somebody who looks: one line on stderr, drawn again as it goes on and gone at the end.
//!
//! Invariants: nothing is drawn where nobody looks (`--json`, a file, a pipe, a dumb terminal); a line is never wider than
//! the terminal; whatever ends the work takes the line away.
//!
//! Our own, because a library for it estimates the time that is left with `powf`, and with that every `akm get` would load libm.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use unicode_width::UnicodeWidthStr;

use super::output;

/// How often the line is drawn at most.
const EVERY: Duration = Duration::from_millis(50);
/// Columns of the bar where there is room for it, and where there is not enough for any.
const BAR: usize = 30;
const SMALLEST: usize = 5;
/// Fewer are done before a bar could be read.
const MANY: u64 = 200;

/// What the number beside the bar says.
#[derive(Clone, Copy)]
enum Unit {
    Count,
    Percent,
}

/// Where some work stands; may be told by several threads.
pub(crate) struct Progress {
    shown: bool,
    label: String,
    unit: Unit,
    state: Mutex<State>,
}

struct State {
    done: u64,
    total: u64,
    drawn: Option<Instant>,
}

impl Progress {
    /// Of things that are counted. Nothing is drawn for the asking: see the invariants.
    pub(crate) fn of(total: u64, json: bool) -> Self {
        Self::new(total, Unit::Count, !json && output::stderr_redraws())
    }

    /// Of things of which only many take long.
    pub(crate) fn of_many(total: u64, json: bool) -> Self {
        Self::of(total, json || total < MANY)
    }

    /// Of something too large to be counted out.
    pub(crate) fn percent(total: u64, json: bool) -> Self {
        Self::new(total, Unit::Percent, !json && output::stderr_redraws())
    }

    /// For work that nobody has to wait for.
    #[cfg(test)]
    pub(crate) fn hidden() -> Self {
        Self::new(0, Unit::Count, false)
    }

    /// With what is being done before the bar.
    pub(crate) fn labelled(mut self, label: String) -> Self {
        self.label = label;
        self
    }

    fn new(total: u64, unit: Unit, shown: bool) -> Self {
        Self {
            shown,
            label: String::new(),
            unit,
            state: Mutex::new(State {
                done: 0,
                total,
                drawn: None,
            }),
        }
    }

    pub(crate) fn is_hidden(&self) -> bool {
        !self.shown
    }

    /// So many more are done.
    pub(crate) fn advance(&self, by: u64) {
        let mut state = self.state();
        state.done = state.done.saturating_add(by);
        self.draw(&mut state);
    }

    /// So many of so many are done.
    pub(crate) fn at(&self, done: u64, total: u64) {
        let mut state = self.state();
        (state.done, state.total) = (done, total);
        self.draw(&mut state);
    }

    #[cfg(test)]
    pub(crate) fn done(&self) -> u64 {
        self.state().done
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn draw(&self, state: &mut State) {
        let now = Instant::now();
        let soon = state.drawn.is_some_and(|drawn| now - drawn < EVERY);
        if !self.shown || soon {
            return;
        }
        state.drawn = Some(now);
        let columns = rustix::termios::tcgetwinsize(std::io::stderr())
            .map(|size| usize::from(size.ws_col))
            .ok()
            .filter(|columns| *columns > 0)
            .unwrap_or(80);
        let line = line(&self.label, self.unit, state.done, state.total, columns);
        output::redraw(&line);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.state().drawn.is_some() {
            output::redraw("");
        }
    }
}

/// The line, and never its last column, in which some terminals wrap.
fn line(label: &str, unit: Unit, done: u64, total: u64, columns: usize) -> String {
    let done = done.min(total);
    let number = match unit {
        Unit::Count => format!("{done}/{total}"),
        Unit::Percent => format!("{}%", share(done, total, 100)),
    };
    let room = columns.saturating_sub(1);
    let words: Vec<&str> = [label, &number]
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect();
    let taken: usize = words.iter().map(|word| word.width() + 1).sum();
    let bar = room.saturating_sub(taken).min(BAR);
    if bar < SMALLEST {
        return match number.len() <= room {
            true => number,
            false => String::new(),
        };
    }
    let full = share(done, total, bar as u64) as usize;
    let drawn = format!("{}{}", "█".repeat(full), "░".repeat(bar - full));
    match label {
        "" => format!("{drawn} {number}"),
        label => format!("{label} {drawn} {number}"),
    }
}

/// `done` of `total`, as a part of `whole`; all of nothing.
fn share(done: u64, total: u64, whole: u64) -> u64 {
    match total {
        0 => 0,
        _ => (u128::from(done) * u128::from(whole) / u128::from(total)) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_and_fits_into_the_terminal() {
        let bar = |full: usize, empty: usize| "█".repeat(full) + &"░".repeat(empty);
        assert_eq!(
            line("", Unit::Count, 50, 200, 80),
            format!("{} 50/200", bar(7, 23))
        );
        assert_eq!(
            line("testing", Unit::Count, 0, 46, 80),
            format!("testing {} 0/46", bar(0, 30))
        );
        assert_eq!(
            line("", Unit::Percent, u64::MAX, u64::MAX, 80),
            format!("{} 100%", bar(30, 0))
        );
        // More than all is all, and nothing of nothing is known yet.
        assert_eq!(
            line("", Unit::Count, 9, 3, 80),
            format!("{} 3/3", bar(30, 0))
        );
        assert_eq!(
            line("", Unit::Percent, 0, 0, 80),
            format!("{} 0%", bar(0, 30))
        );
        for label in ["", "testing", "正在测试"] {
            for columns in 0..100 {
                let line = line(label, Unit::Count, 123, 4567, columns);
                assert!(line.width() < columns.max(1), "{columns}: {line}");
                assert_eq!(line.contains("123/4567"), columns > 8, "{columns}");
            }
        }
    }

    #[test]
    fn it_counts_where_nobody_looks() {
        let progress = Progress::hidden();
        assert!(progress.is_hidden());
        progress.at(3, 10);
        progress.advance(2);
        progress.advance(u64::MAX);
        assert_eq!(progress.done(), u64::MAX);
        assert!(progress.state().drawn.is_none());
    }
}
