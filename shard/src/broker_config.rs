//! The broker configs that tools read, as facts about this build and its settings.

use replication::topic_config::{Kind, TOPIC_CONFIGS};

use crate::core::CoreSettings;

/// A config as DescribeConfigs tells it. None can be changed over the wire.
#[derive(Clone, Debug)]
pub(crate) struct BrokerConfig {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) kind: Kind,
    pub(crate) is_default: bool,
    pub(crate) doc: &'static str,
}

const COUNT: Kind = Kind::Int { min: 1, max: i32::MAX };

/// What the broker is, plus the defaults that topics fall back on.
pub(crate) fn broker_configs(
    settings: &CoreSettings,
    replication_factor: u16,
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
    let own = own.into_iter().map(|(name, value, kind, doc)| BrokerConfig {
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
