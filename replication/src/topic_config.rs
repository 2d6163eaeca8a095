//! The configs that a topic knows: Kafka's, and `durability`.
//!
//! Every config that Kafka 4.3 lists is listed, since tools read them; those that have no meaning
//! here are accepted, kept and shown, and say so in their documentation.

use core::fmt;
use std::collections::BTreeMap;

/// A config: its name, what it may be set to, what it is when not set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopicConfig {
    pub name: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    /// The broker-wide config that Kafka names as its fallback.
    pub synonym: Option<&'static str>,
    /// Whether it changes anything here.
    pub effect: Effect,
    /// One sentence for people.
    pub doc: &'static str,
}

/// What a value must look like. Bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Boolean,
    Int {
        min: i32,
        max: i32,
    },
    Long {
        min: i64,
        max: i64,
    },
    Double {
        min: f64,
        max: f64,
    },
    OneOf(&'static [&'static str]),
    /// Comma-separated, from a set.
    ListOf(&'static [&'static str]),
    /// Comma-separated, anything.
    List,
}

/// Whether a config changes anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Acts,
    /// Accepted, kept and shown; nothing follows from it.
    ShownOnly,
}

/// Why a config was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No config has this name.
    Unknown { name: String },
    /// The value is not of the config's kind or out of its bounds.
    Value { config: &'static str, value: String, wanted: String },
    /// The same name twice in one request.
    Repeated { name: String },
    /// Only lists can be appended to or subtracted from.
    NotAList { config: &'static str },
    /// Longer than [`VALUE_BYTES_MAX`].
    TooLong { config: &'static str, bytes: usize },
}

/// The longest value that is kept.
pub const VALUE_BYTES_MAX: usize = 1024;

const ANY_LONG: Kind = Kind::Long { min: 0, max: i64::MAX };
const UNLIMITED_LONG: Kind = Kind::Long { min: -1, max: i64::MAX };
const DAY_MS: &str = "86400000";
const WEEK_MS: &str = "604800000";
const LONG_MAX: &str = "9223372036854775807";

const fn acts(name: &'static str, kind: Kind, default: &'static str) -> TopicConfig {
    TopicConfig { name, kind, default, synonym: None, effect: Effect::Acts, doc: "" }
}

const fn shown(name: &'static str, kind: Kind, default: &'static str) -> TopicConfig {
    TopicConfig { name, kind, default, synonym: None, effect: Effect::ShownOnly, doc: "" }
}

impl TopicConfig {
    const fn like(self, synonym: &'static str) -> Self {
        Self { synonym: Some(synonym), ..self }
    }

    const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// Whether `value` may be set.
    pub fn check(&self, value: &str) -> Result<(), ConfigError> {
        if VALUE_BYTES_MAX < value.len() {
            return Err(ConfigError::TooLong { config: self.name, bytes: value.len() });
        }
        if self.kind.admits(value) {
            return Ok(());
        }
        let wanted = self.kind.to_string();
        Err(ConfigError::Value { config: self.name, value: value.to_owned(), wanted })
    }

    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List | Kind::ListOf(_))
    }
}

impl Kind {
    fn admits(self, value: &str) -> bool {
        match self {
            Self::Boolean => matches!(value, "true" | "false"),
            Self::Int { min, max } => value.parse().is_ok_and(|v| (min..=max).contains(&v)),
            Self::Long { min, max } => value.parse().is_ok_and(|v| (min..=max).contains(&v)),
            Self::Double { min, max } => value.parse().is_ok_and(|v| (min..=max).contains(&v)),
            Self::OneOf(values) => values.contains(&value),
            Self::ListOf(values) => value.split(',').all(|item| values.contains(&item.trim())),
            Self::List => true,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => write!(f, "true or false"),
            Self::Int { min, max } => write!(f, "an integer from {min} to {max}"),
            Self::Long { min, max } => write!(f, "an integer from {min} to {max}"),
            Self::Double { min, max } => write!(f, "a number from {min} to {max}"),
            Self::OneOf([only]) | Self::ListOf([only]) => write!(f, "{only}"),
            Self::OneOf(values) => write!(f, "one of {}", values.join(", ")),
            Self::ListOf(values) => write!(f, "a list of {}", values.join(", ")),
            Self::List => write!(f, "a list"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(f, "no topic config is called {name:?}"),
            Self::Value { config, value, wanted } => {
                write!(f, "{config} cannot be {value:?}: it takes {wanted}")
            }
            Self::Repeated { name } => write!(f, "{name} is given twice"),
            Self::NotAList { config } => {
                write!(f, "{config} is not a list: it can be set or deleted")
            }
            Self::TooLong { config, bytes } => {
                write!(f, "{config} takes at most {VALUE_BYTES_MAX} bytes, not {bytes}")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

/// Every topic config, in the order of their names.
pub const TOPIC_CONFIGS: &[TopicConfig] = &[
    acts("cleanup.policy", Kind::ListOf(&["delete"]), "delete")
        .like("log.cleanup.policy")
        .doc("What happens to old data. Compaction is not served."),
    shown("compression.gzip.level", Kind::Int { min: -1, max: 9 }, "-1")
        .like("compression.gzip.level")
        .doc("Batches are never compressed anew."),
    shown("compression.lz4.level", Kind::Int { min: 1, max: 17 }, "9")
        .like("compression.lz4.level")
        .doc("Batches are never compressed anew."),
    acts("compression.type", Kind::OneOf(&["producer"]), "producer")
        .like("compression.type")
        .doc("Batches are kept as their producer compressed them."),
    shown("compression.zstd.level", Kind::Int { min: -131_072, max: 22 }, "3")
        .like("compression.zstd.level")
        .doc("Batches are never compressed anew."),
    shown("delete.retention.ms", ANY_LONG, DAY_MS)
        .like("log.cleaner.delete.retention.ms")
        .doc("Matters to compacted topics only."),
    acts("durability", Kind::OneOf(&["quorum"]), "quorum")
        .doc("When acks=all is answered: once the batch is on stable storage of a quorum."),
    shown("file.delete.delay.ms", ANY_LONG, "60000")
        .like("log.segment.delete.delay.ms")
        .doc("Topics have no files of their own."),
    shown("flush.messages", Kind::Long { min: 1, max: i64::MAX }, LONG_MAX)
        .like("log.flush.interval.messages")
        .doc("Every acknowledged batch has been flushed, whatever this says."),
    shown("flush.ms", ANY_LONG, LONG_MAX)
        .like("log.flush.interval.ms")
        .doc("Every acknowledged batch has been flushed, whatever this says."),
    shown("follower.replication.throttled.replicas", Kind::List, "")
        .doc("Replication is not throttled by topic."),
    shown("index.interval.bytes", Kind::Int { min: 0, max: i32::MAX }, "4096")
        .like("log.index.interval.bytes")
        .doc("Indexes are per extent."),
    shown("leader.replication.throttled.replicas", Kind::List, "")
        .doc("Replication is not throttled by topic."),
    shown("max.compaction.lag.ms", Kind::Long { min: 1, max: i64::MAX }, LONG_MAX)
        .like("log.cleaner.max.compaction.lag.ms")
        .doc("Matters to compacted topics only."),
    acts("max.message.bytes", Kind::Int { min: 0, max: i32::MAX }, "1048588")
        .like("message.max.bytes")
        .doc("The largest record batch that is accepted, in bytes."),
    acts("message.timestamp.after.max.ms", ANY_LONG, "3600000")
        .like("log.message.timestamp.after.max.ms")
        .doc("How far a record's timestamp may lie ahead of the broker's clock."),
    acts("message.timestamp.before.max.ms", ANY_LONG, LONG_MAX)
        .like("log.message.timestamp.before.max.ms")
        .doc("How far a record's timestamp may lie behind the broker's clock."),
    acts("message.timestamp.type", Kind::OneOf(&["CreateTime", "LogAppendTime"]), "CreateTime")
        .like("log.message.timestamp.type")
        .doc("Whose clock a record's timestamp is of."),
    shown("min.cleanable.dirty.ratio", Kind::Double { min: 0.0, max: 1.0 }, "0.5")
        .like("log.cleaner.min.cleanable.ratio")
        .doc("Matters to compacted topics only."),
    shown("min.compaction.lag.ms", ANY_LONG, "0")
        .like("log.cleaner.min.compaction.lag.ms")
        .doc("Matters to compacted topics only."),
    acts("min.insync.replicas", Kind::Int { min: 1, max: 32_767 }, "1")
        .like("min.insync.replicas")
        .doc("A floor for the quorum of acks=all; a majority is needed in any case."),
    shown("preallocate", Kind::Boolean, "false")
        .like("log.preallocate")
        .doc("All space is preallocated."),
    acts("retention.bytes", UNLIMITED_LONG, "-1")
        .like("log.retention.bytes")
        .doc("How many bytes a partition keeps at least; -1 for no limit."),
    acts("retention.ms", UNLIMITED_LONG, WEEK_MS)
        .like("log.retention.ms")
        .doc("How long a record is kept at least, in milliseconds; -1 for ever."),
    shown("segment.bytes", Kind::Int { min: 14, max: i32::MAX }, "1073741824")
        .like("log.segment.bytes")
        .doc("Partitions share the segments of their shard."),
    shown("segment.index.bytes", Kind::Int { min: 4, max: i32::MAX }, "10485760")
        .like("log.index.size.max.bytes")
        .doc("Partitions share the segments of their shard."),
    shown("segment.jitter.ms", ANY_LONG, "0")
        .like("log.roll.jitter.ms")
        .doc("Partitions share the segments of their shard."),
    shown("segment.ms", Kind::Long { min: 1, max: i64::MAX }, WEEK_MS)
        .like("log.roll.ms")
        .doc("Partitions share the segments of their shard."),
    shown("unclean.leader.election.enable", Kind::OneOf(&["false"]), "false")
        .like("unclean.leader.election.enable")
        .doc("No leader is ever elected uncleanly unless an operator forces it."),
];

/// The config called `name`.
pub fn find(name: &str) -> Result<&'static TopicConfig, ConfigError> {
    TOPIC_CONFIGS
        .binary_search_by(|config| config.name.cmp(name))
        .map(|at| &TOPIC_CONFIGS[at])
        .map_err(|_| ConfigError::Unknown { name: name.to_owned() })
}

/// What the configs of a topic amount to, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// `None` is for ever.
    pub retention_ms: Option<u64>,
    /// `None` is no limit.
    pub retention_bytes: Option<u64>,
    pub max_message_bytes: u32,
    /// Records carry the broker's time instead of the producer's.
    pub append_time: bool,
    pub timestamp_before_max_ms: u64,
    pub timestamp_after_max_ms: u64,
    pub min_insync_replicas: u16,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self::of(&BTreeMap::new())
    }
}

impl TopicSettings {
    /// The settings of a topic with these overrides. Panics if one would not pass
    /// [`TopicConfig::check`].
    #[must_use]
    pub fn of(overrides: &BTreeMap<String, String>) -> Self {
        let value = |name: &str| {
            let config = find(name).expect("settings read known configs");
            overrides.get(name).map_or(config.default, String::as_str)
        };
        let long = |name| value(name).parse::<i64>().expect("kept values were checked");
        Self {
            retention_ms: u64::try_from(long("retention.ms")).ok(),
            retention_bytes: u64::try_from(long("retention.bytes")).ok(),
            max_message_bytes: long("max.message.bytes") as u32,
            append_time: value("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: long("message.timestamp.before.max.ms") as u64,
            timestamp_after_max_ms: long("message.timestamp.after.max.ms") as u64,
            min_insync_replicas: long("min.insync.replicas") as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_documented_and_its_defaults_are_valid() {
        assert!(TOPIC_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
        for config in TOPIC_CONFIGS {
            assert!(config.doc.ends_with('.'), "{}", config.name);
            config.check(config.default).unwrap();
        }
    }

    #[test]
    fn defaults_are_kafkas() {
        let expected = TopicSettings {
            retention_ms: Some(7 * 24 * 3600 * 1000),
            retention_bytes: None,
            max_message_bytes: 1_048_588,
            append_time: false,
            timestamp_before_max_ms: i64::MAX as u64,
            timestamp_after_max_ms: 3_600_000,
            min_insync_replicas: 1,
        };
        assert_eq!(TopicSettings::default(), expected);
    }

    #[test]
    fn overrides_win() {
        let set = [("retention.ms", "-1"), ("message.timestamp.type", "LogAppendTime")];
        let overrides = set.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let settings = TopicSettings::of(&overrides);
        assert_eq!((settings.retention_ms, settings.append_time), (None, true));
    }

    #[test]
    fn values_out_of_kind_are_refused_in_one_sentence() {
        let refusal = |name, value| find(name).unwrap().check(value).unwrap_err().to_string();
        assert_eq!(
            refusal("cleanup.policy", "compact"),
            "cleanup.policy cannot be \"compact\": it takes delete"
        );
        assert_eq!(
            refusal("min.insync.replicas", "0"),
            "min.insync.replicas cannot be \"0\": it takes an integer from 1 to 32767"
        );
        assert!(find("retention.ms").unwrap().check("-2").is_err());
        assert!(find("min.cleanable.dirty.ratio").unwrap().check("NaN").is_err());
        assert_eq!(
            find("retention").unwrap_err().to_string(),
            "no topic config is called \"retention\""
        );
    }
}
