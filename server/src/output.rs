//! What a person reads on standard error. Colours appear only on a terminal.

use std::fmt;

use anstyle::{AnsiColor, Style};

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
