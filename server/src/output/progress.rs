//! One line on a terminal that says how far long work is. Elsewhere it says nothing.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// See the module's description. Drawn by whoever works, whenever it says something.
#[derive(Debug)]
pub struct Progress {
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    started: Instant,
    next: Instant,
    is_drawn: bool,
}

/// Work shorter than this shows nothing.
const QUIET: Duration = Duration::from_millis(500);
const REDRAW: Duration = Duration::from_millis(100);
const CLEAR_LINE: &str = "\r\u{1b}[K";

impl Progress {
    #[must_use]
    pub fn start() -> Self {
        let started = Instant::now();
        let shown = Shown { started, next: started + QUIET, is_drawn: false };
        Self { shown: std::io::stderr().is_terminal().then_some(shown) }
    }

    /// Draws `text` and the time passed, if it is time to.
    pub fn say(&mut self, text: fmt::Arguments<'_>) {
        let Some(shown) = &mut self.shown else { return };
        let now = Instant::now();
        if shown.next <= now {
            let mut stderr = std::io::stderr().lock();
            // A terminal that went away must not end the work.
            let _ = write!(stderr, "{CLEAR_LINE}{text}, {} s", shown.started.elapsed().as_secs());
            let _ = stderr.flush();
            shown.next = now + REDRAW;
            shown.is_drawn = true;
        }
    }

    /// Removes the line.
    pub fn finish(&mut self) {
        if self.shown.take().is_some_and(|shown| shown.is_drawn) {
            eprint!("{CLEAR_LINE}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
