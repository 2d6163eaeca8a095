//! What a crate declares its planted mutants with: known-wrong behaviours, one at a time, that the
//! checkers must catch before their silence about the real code is worth anything.

/// Declares `Mutant`, and `Planted`, which holds the one of this run.
///
/// Code asks `planted.is(Mutant::X)`. Unless the *declaring* crate's feature `mutants` is on the
/// answer is a constant `false`, `Planted` has no size, and the wrong branch is not compiled in.
#[macro_export]
macro_rules! mutants {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A known-wrong behaviour.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Mutant {
            $($(#[$doc])* $variant,)*
        }

        impl Mutant {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name that `--mutant` takes.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        /// The mutant planted in this run, if any.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Planted(#[cfg(feature = "mutants")] Option<Mutant>);

        impl Planted {
            /// The mutant that `--mutant` names, or `None` if no mutant of this crate has that name.
            #[cfg(feature = "mutants")]
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Mutant::ALL.iter().find(|mutant| mutant.name() == name).copied().map(Self::one)
            }

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

            #[test]
            fn names_are_unique() {
                let mut names: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), Mutant::ALL.len());
            }

            #[cfg(feature = "mutants")]
            #[test]
            fn a_name_plants_its_mutant_and_no_other() {
                for wanted in Mutant::ALL {
                    let planted = Planted::named(wanted.name()).expect("it was declared");
                    let found: Vec<_> = Mutant::ALL.iter().filter(|one| planted.is(**one)).collect();
                    assert_eq!(found, [wanted]);
                }
                assert_eq!(Planted::named("no such"), None);
            }
        }
    };
}
