//! The broker configs that tools read, as facts about this build and its settings.

use replication::topic_config::{Kind, TOPIC_CONFIGS};

use crate::core::CoreSettings;
use crate::groups::OFFSETS_PARTITIONS;
use crate::groups::settings::GroupSettings;
use crate::notices::Notices;

/// A config as DescribeConfigs tells it. None can be changed over the wire.
#[derive(Clone, Debug)]
pub(crate) struct BrokerConfig {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) kind: Kind,
    pub(crate) is_default: bool,
    pub(crate) doc: &'static str,
}

/// Name, value, kind and documentation of one config.
type Row = (&'static str, String, Kind, &'static str);

const COUNT: Kind = Kind::Int { min: 1, max: i32::MAX };

/// What the broker is, plus the defaults that topics fall back on.
pub(crate) fn broker_configs(
    settings: &CoreSettings,
    replication_factor: u16,
    notices: &Notices,
) -> Vec<BrokerConfig> {
    let own = [
        (
            "auto.create.topics.enable",
            settings.auto_create_topics.to_string(),
            Kind::Boolean,
            "Whether asking for an unknown topic creates it.",
        ),
        (
            "default.replication.factor",
            replication_factor.to_string(),
            COUNT,
            "Replicas of a topic that names no number.",
        ),
        ("delete.topic.enable", "true".to_owned(), Kind::Boolean, "Whether topics can be deleted."),
        (
            "inter.broker.protocol.version",
            "4.3".to_owned(),
            Kind::OneOf(&["4.3"]),
            "The Kafka release whose protocol is served; for tools that read it.",
        ),
        (
            "num.partitions",
            settings.default_partitions.to_string(),
            COUNT,
            "Partitions of a topic that names no number.",
        ),
        (
            "socket.request.max.bytes",
            settings.request_bytes_max.to_string(),
            COUNT,
            "The largest request, in bytes.",
        ),
        (
            "fetch.max.bytes",
            settings.fetch_bytes_max.to_string(),
            COUNT,
            "The most bytes in one answer to a fetch.",
        ),
    ];
    let own = own.into_iter().chain(group_configs(&settings.groups)).chain(noticed(notices));
    let own = own.map(|(name, value, kind, doc)| BrokerConfig {
        name,
        value,
        kind,
        is_default: false,
        doc,
    });
    let fallbacks = TOPIC_CONFIGS.iter().filter_map(|config| {
        let name = config.synonym?;
        let value = config.default.to_owned();
        Some(BrokerConfig { name, value, kind: config.kind, is_default: true, doc: config.doc })
    });
    own.chain(fallbacks).collect()
}

/// What is so now and no setting: how `chiplog cluster status` hears of it.
fn noticed(notices: &Notices) -> [Row; 2] {
    [
        (
            "chiplog.health",
            notices.health_text(),
            Kind::List,
            "How each shard of the cluster is; ask the controller.",
        ),
        (
            "chiplog.faults",
            notices.faults_text(),
            Kind::List,
            "Faults that were injected into this node and hold now.",
        ),
    ]
}

/// What holds for groups.
fn group_configs(settings: &GroupSettings) -> [Row; 7] {
    let ms = |time: core::time::Duration| time.as_millis().to_string();
    let minutes = (settings.offset_retention.as_secs() / 60).to_string();
    [
        (
            "group.initial.rebalance.delay.ms",
            ms(settings.initial_rebalance_delay),
            Kind::Int { min: 0, max: i32::MAX },
            "How long an empty group waits for further members.",
        ),
        (
            "group.min.session.timeout.ms",
            ms(settings.session_timeout_min),
            COUNT,
            "The shortest session of a member.",
        ),
        (
            "group.max.session.timeout.ms",
            ms(settings.session_timeout_max),
            COUNT,
            "The longest session of a member.",
        ),
        ("group.max.size", settings.members_max.to_string(), COUNT, "Members of one group."),
        (
            "offset.metadata.max.bytes",
            settings.offset_metadata_bytes_max.to_string(),
            COUNT,
            "Bytes of metadata that may stand beside a committed offset.",
        ),
        (
            "offsets.retention.minutes",
            minutes,
            COUNT,
            "How long the offsets of a group without members are kept.",
        ),
        (
            "offsets.topic.num.partitions",
            OFFSETS_PARTITIONS.to_string(),
            COUNT,
            "Partitions of the topic that groups are kept in.",
        ),
    ]
}
