//! What a person reads on standard error. Colours appear only on a terminal.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default();

/// Says why the command failed.
pub fn error(error: &dyn fmt::Display) {
    anstream::eprintln!("{ERROR}error:{ERROR:#} {error}");
}

/// Says what an operator should know although the command goes on.
pub fn note(text: fmt::Arguments<'_>) {
    anstream::eprintln!("{NOTE}note:{NOTE:#} {text}");
}

/// Prints a line of a result on standard output.
pub fn line(text: fmt::Arguments<'_>) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        // Whoever read has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(Failure::Output),
    }
}

/// Prints rows under a heading, in columns as wide as they need.
pub fn table<const N: usize>(
    heading: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Result<(), Failure> {
    let rows: Vec<_> = std::iter::once(heading.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    rows.iter().try_for_each(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        line(format_args!("{}", cells.collect::<Vec<_>>().join("  ").trim_end()))
    })
}

/// Says what was done, where somebody looks: scripts read exit codes.
pub fn summary(text: fmt::Arguments<'_>) {
    if std::io::stderr().is_terminal() {
        eprintln!("{text}");
    }
}

/// One line on a terminal that says how far long work is. Elsewhere it says nothing.
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
