//! Planted mutants: known-wrong behaviours of group coordinators, one at a time, that the checkers
//! must catch before their silence about the real code is worth anything.
//!
//! Code asks `planted.is(Mutant::X)`. Without the feature `mutants` the answer is a constant `false`,
//! [`Planted`] has no size, and the wrong branch is not compiled in.

macro_rules! mutants {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A known-wrong behaviour.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Mutant {
            $($(#[$doc])* $variant,)*
        }

        impl Mutant {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name that tells it from the others.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

mutants! {
    /// Whoever is a member may commit, whatever generation it believes in.
    CommitAnyGeneration = "commit-any-generation",
    /// A commit is answered, and served to readers, before its record is committed.
    OffsetsBeforeDurable = "offsets-before-durable",
    /// Sessions end by the wall clock, which steps.
    ExpiryByWallClock = "expiry-by-wall-clock",
    /// A static member that was replaced goes on as before.
    StaticNotFenced = "static-not-fenced",
    /// A snapshot leaves out groups that have no members, and the log is trimmed to it.
    SnapshotForgetsEmpty = "snapshot-forgets-empty",
}

/// The mutant planted in this run, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted(#[cfg(feature = "mutants")] Option<Mutant>);

impl Planted {
    /// Plants `mutant`.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub const fn one(mutant: Mutant) -> Self {
        Self(Some(mutant))
    }

    /// Whether `mutant` is planted: always `false` without the feature.
    #[inline]
    #[must_use]
    pub fn is(self, mutant: Mutant) -> bool {
        #[cfg(feature = "mutants")]
        return self.0 == Some(mutant);
        #[cfg(not(feature = "mutants"))]
        {
            let _ = mutant;
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_planted_by_default() {
        assert!(!Mutant::ALL.iter().any(|mutant| Planted::default().is(*mutant)));
    }
}
