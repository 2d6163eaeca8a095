//! Plans that failed once, or that reach far corners: one a line, `#` begins a comment.

use crate::plan::Plan;

/// The plans of a corpus file.
pub fn parse(text: &str) -> Result<Vec<Plan>, String> {
    lines(text).map(str::parse).collect()
}

/// The lines of a file that say something, without comments.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty())
}
