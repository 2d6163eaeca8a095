//! Plans that failed once, or that reach far corners: one a line, `#` begins a comment.

use crate::plan::Plan;

/// The plans of a corpus file.
pub fn parse(text: &str) -> Result<Vec<Plan>, String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::parse).collect()
}
