//! What a kernel's io_uring may or may not offer, by name.

use core::fmt;
use core::str::FromStr;

macro_rules! features {
    ($($(#[$doc:meta])* $variant:ident = $name:literal since $kernel:literal,)*) => {
        /// Something that makes the ring cheaper and that it can do without.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Feature {
            $($(#[$doc])* $variant,)*
        }

        impl Feature {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in reports and debug options.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The first kernel that has it.
            #[must_use]
            pub const fn kernel(self) -> &'static str {
                match self { $(Self::$variant => $kernel),* }
            }
        }
    };
}

features! {
    /// One thread submits: the kernel skips its locks.
    SingleIssuer = "single-issuer" since "6.0",
    /// Completions are made when the owner enters, never by interrupting it. Needs `SingleIssuer`.
    DeferTaskrun = "defer-taskrun" since "6.1",
    /// The poorer relative of `DeferTaskrun`, used only without it.
    CoopTaskrun = "coop-taskrun" since "5.19",
    /// A flag in shared memory says whether entering is worth it.
    TaskrunFlag = "taskrun-flag" since "5.19",
    /// A bad entry does not stop the entries behind it.
    SubmitAll = "submit-all" since "5.18",
    /// No indirection between the submission queue and its entries.
    NoSqarray = "no-sqarray" since "6.6",
    /// A completion queue larger than twice the submission queue.
    CqSize = "cq-size" since "5.6",
    /// Entering skips the file table.
    RegisteredRing = "registered-ring" since "5.18",
    /// Operations skip the file table.
    RegisteredFiles = "registered-files" since "5.19",
    /// Writes from an arena skip pinning its pages.
    RegisteredBuffers = "registered-buffers" since "5.19",
    /// One request receives for ever, into a shared pool of buffers.
    MultishotRecv = "multishot-recv" since "6.0",
    /// An idle core does not look like one that waits for a disk.
    NoIowait = "no-iowait" since "6.15",
    /// A parked core is woken by its peer's ring instead of an eventfd.
    MsgRing = "msg-ring" since "5.18",
}

/// A set of features.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct FeatureSet(u16);

impl FeatureSet {
    pub const EMPTY: Self = Self(0);

    #[must_use]
    pub const fn contains(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u16 != 0
    }

    #[must_use]
    pub const fn with(self, feature: Feature) -> Self {
        Self(self.0 | 1 << feature as u16)
    }

    #[must_use]
    pub const fn without(self, feature: Feature) -> Self {
        Self(self.0 & !(1 << feature as u16))
    }

    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.iter().copied().filter(move |feature| self.contains(*feature))
    }
}

impl FromIterator<Feature> for FeatureSet {
    fn from_iter<I: IntoIterator<Item = Feature>>(features: I) -> Self {
        features.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Display for FeatureSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, feature) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", feature.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for FeatureSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// A name that no feature has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFeature(pub String);

impl fmt::Display for UnknownFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: FeatureSet = Feature::ALL.iter().copied().collect();
        write!(f, "no ring feature is called {:?}; there are {all}", self.0)
    }
}

impl std::error::Error for UnknownFeature {}

impl FromStr for Feature {
    type Err = UnknownFeature;

    fn from_str(name: &str) -> Result<Self, UnknownFeature> {
        let named = Self::ALL.iter().copied().find(|feature| feature.name() == name);
        named.ok_or_else(|| UnknownFeature(name.to_owned()))
    }
}

/// What one ring uses and what it has to do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    pub found: FeatureSet,
    /// Neither found nor switched off.
    pub missing: FeatureSet,
    /// Switched off by the operator.
    pub disabled: FeatureSet,
}

impl Features {
    #[must_use]
    pub fn new(found: FeatureSet, disabled: FeatureSet) -> Self {
        let counts = |feature: &Feature| {
            let replaced =
                *feature == Feature::CoopTaskrun && found.contains(Feature::DeferTaskrun);
            !found.contains(*feature) && !disabled.contains(*feature) && !replaced
        };
        let missing = Feature::ALL.iter().copied().filter(counts).collect();
        Self { found, missing, disabled }
    }

    #[must_use]
    pub const fn has(&self, feature: Feature) -> bool {
        self.found.contains(feature)
    }
}

/// `found …; missing … (kernel 6.15); switched off …`: a line of the start-up report.
impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.found)?;
        if self.missing != FeatureSet::EMPTY {
            write!(f, "; missing")?;
            for (index, feature) in self.missing.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                write!(f, "{comma} {} (kernel {})", feature.name(), feature.kernel())?;
            }
        }
        if self.disabled != FeatureSet::EMPTY {
            write!(f, "; switched off {}", self.disabled)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_parsed_back() {
        for feature in Feature::ALL {
            assert_eq!(feature.name().parse(), Ok(*feature));
        }
        let error = "sqpoll".parse::<Feature>().unwrap_err().to_string();
        assert!(error.contains("\"sqpoll\"") && error.contains("msg-ring"), "{error}");
    }

    #[test]
    fn the_report_names_what_is_missing_and_what_was_switched_off() {
        let found: FeatureSet = Feature::ALL.iter().copied().collect();
        let disabled = FeatureSet::EMPTY.with(Feature::MsgRing);
        let found = found
            .without(Feature::CoopTaskrun)
            .without(Feature::NoIowait)
            .without(Feature::MsgRing);
        let features = Features::new(found, disabled);
        assert_eq!(features.missing, FeatureSet::EMPTY.with(Feature::NoIowait));
        let line = features.to_string();
        assert!(line.ends_with("missing no-iowait (kernel 6.15); switched off msg-ring"), "{line}");
    }
}
