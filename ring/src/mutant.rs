//! A planted mutant: a wrong ring, by which a test of the real kernel shows that it would notice.

/// A known-wrong behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Durable writes are submitted without RWF_DSYNC.
    ForgetDsync,
}

impl Mutant {
    pub const ALL: &'static [Self] = &[Self::ForgetDsync];

    /// The name that `--mutant` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForgetDsync => "forget-dsync",
        }
    }
}

/// The mutant planted in this run, if any: without the feature `mutants` there is none, and its
/// branch is not compiled in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted(#[cfg(feature = "mutants")] Option<Mutant>);

impl Planted {
    /// The mutant that `--mutant` names, or `None` if no mutant of the ring has that name.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mutant = Mutant::ALL.iter().find(|mutant| mutant.name() == name)?;
        Some(Self(Some(*mutant)))
    }

    /// Whether `mutant` is planted.
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
        assert!(!Planted::default().is(Mutant::ForgetDsync));
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn a_name_plants_its_mutant() {
        assert!(Planted::named("forget-dsync").unwrap().is(Mutant::ForgetDsync));
        assert_eq!(Planted::named("no such"), None);
    }
}
