//! What a person reads on standard error. Colours appear only on a terminal.

mod progress;
mod ticker;

use std::fmt;
use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;
pub use progress::Progress;
pub use ticker::Ticker;

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
