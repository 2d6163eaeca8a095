//! What happened, in order: a hash that two runs of one seed share, how often each thing happened,
//! and, on request, the text.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use base::{Instant, NodeId};

/// See the module's description.
#[derive(Debug, Default)]
pub struct Trace {
    hash: Fnv,
    counts: BTreeMap<&'static str, u64>,
    print: bool,
    /// The node that everything happens on until another one is named.
    node: Option<NodeId>,
}

/// FNV-1a, fed through `write!`.
#[derive(Clone, Copy, Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

impl Trace {
    /// A trace that also prints itself if `print`.
    #[must_use]
    pub fn new(print: bool) -> Self {
        Self { print, ..Self::default() }
    }

    /// What happens from now on happens on `node`.
    pub fn turn_to(&mut self, node: Option<NodeId>) {
        self.node = node;
    }

    /// Records that `what` happened. `what` is counted, the details are not.
    pub fn say(&mut self, now: Instant, what: &'static str, details: fmt::Arguments<'_>) {
        *self.counts.entry(what).or_default() += 1;
        write!(self.hash, "{}{what}{details}{:?}", now.0, self.node)
            .expect("a hash takes everything");
        if self.print {
            let Instant(ns) = now;
            let (ms, rest) = (ns / 1_000_000, ns % 1_000_000);
            // A reader that has seen enough is no reason to stop the world.
            let node = self.node.map_or_else(String::new, |node| {
                format!("{:indent$}node {node}: ", "", indent = 2 * usize::from(node.0))
            });
            let _ = writeln!(io::stdout(), "{ms:>9}.{rest:06} ms  {node}{what} {details}");
        }
    }

    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// How often each thing happened, by name.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_knows_time_order_and_details() {
        let hash = |events: &[(u64, &'static str, u64)]| {
            let mut trace = Trace::default();
            for (now, what, detail) in events {
                trace.say(Instant(*now), what, format_args!("{detail}"));
            }
            trace.hash()
        };
        let reference = hash(&[(1, "a", 1), (2, "b", 2)]);
        assert_eq!(reference, hash(&[(1, "a", 1), (2, "b", 2)]));
        let others =
            [hash(&[(2, "b", 2), (1, "a", 1)]), hash(&[(1, "a", 1), (2, "b", 3)]), hash(&[])];
        assert!(!others.contains(&reference));
    }
}
