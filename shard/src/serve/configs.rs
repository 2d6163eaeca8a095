//! DescribeConfigs and IncrementalAlterConfigs.

use net::api::describe_configs::{
    self, ConfigEntry, ConfigSynonym, DescribeConfigsResourceView, DescribeConfigsResult,
};
use net::api::incremental_alter_configs::{self, AlterConfigsResourceView};
use net::{ErrorCode, each};
use replication::topic_config::{Kind, TOPIC_CONFIGS, TopicConfig};
use replication::{ConfigChange, Proposal, Topic};

use super::topics::{Wish, outcome};
use super::{Call, Served};
use crate::broker_config::{BrokerConfig, broker_configs};
use crate::core::Core;
use crate::job::Job;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from, as Kafka numbers it.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// One config as it is told.
#[derive(Debug)]
struct Row {
    name: &'static str,
    value: String,
    source: i8,
    read_only: bool,
    kind: i8,
    doc: &'static str,
    /// Name, value and source of what it falls back on, itself first.
    synonyms: Vec<(&'static str, String, i8)>,
}

impl Core {
    pub(super) fn describe_configs(
        &mut self,
        call: &Call<'_>,
        view: &describe_configs::RequestView<'_>,
    ) -> Served {
        let described: Vec<_> =
            view.resources.iter().map(|resource| (resource, self.rows(&resource))).collect();
        let results = each(described.iter().map(|(resource, rows)| {
            let found = rows.as_ref().map_or(&[][..], Vec::as_slice);
            let error_code = rows.as_ref().err().copied().unwrap_or(ErrorCode::None);
            DescribeConfigsResult {
                error_code,
                error_message: (!error_code.is_ok()).then_some("no such resource"),
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
                configs: each(found.iter().map(|row| entry(row, view))),
            }
        }));
        self.answer(call, describe_configs::Response { throttle_time_ms: 0, results })
    }

    fn rows(&self, resource: &DescribeConfigsResourceView<'_>) -> Result<Vec<Row>, ErrorCode> {
        let mut rows: Vec<Row> = match resource.resource_type {
            TOPIC => {
                let topic = self.state.topics().by_name(resource.resource_name);
                let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
                TOPIC_CONFIGS.iter().map(|config| topic_row(config, topic)).collect()
            }
            BROKER => {
                let named = resource.resource_name.parse().ok();
                named
                    .filter(|id| self.layout.is_own_broker(*id))
                    .ok_or(ErrorCode::InvalidRequest)?;
                let replication_factor = self.state.default_replication_factor();
                let configs = broker_configs(&self.settings, replication_factor, &self.notices);
                configs.into_iter().map(broker_row).collect()
            }
            _ => return Err(ErrorCode::InvalidRequest),
        };
        if let Some(keys) = resource.configuration_keys {
            rows.retain(|row| keys.iter().any(|key| key == row.name));
        }
        Ok(rows)
    }

    pub(super) fn alter_configs(
        &mut self,
        call: &Call<'_>,
        view: &incremental_alter_configs::RequestView<'_>,
    ) -> Served {
        let wishes = view.resources.iter().map(|resource| self.alteration(&resource)).collect();
        self.wish(call, wishes, view.validate_only)
    }

    fn alteration(&self, resource: &AlterConfigsResourceView<'_>) -> Wish {
        if resource.resource_type != TOPIC {
            // Brokers are configured by their file, flags and environment.
            return Err(ErrorCode::InvalidRequest);
        }
        let topic = self.state.topics().by_name(resource.resource_name);
        let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?.number;
        let change = |config: incremental_alter_configs::AlterableConfig<'_>| {
            let name = config.name.to_owned();
            let value = config.value.map(str::to_owned).ok_or(ErrorCode::InvalidConfig);
            Ok(match config.config_operation {
                0 => ConfigChange::Set { name, value: value? },
                1 => ConfigChange::Delete { name },
                2 => ConfigChange::Append { name, value: value? },
                3 => ConfigChange::Subtract { name, value: value? },
                _ => return Err(ErrorCode::InvalidRequest),
            })
        };
        let changes = resource.configs.iter().map(change).collect::<Result<_, ErrorCode>>()?;
        Ok(Proposal::ConfigureTopic { topic, changes })
    }

    pub(super) fn write_altered(
        &mut self,
        job: &Job,
        view: &incremental_alter_configs::RequestView<'_>,
    ) {
        let rows: Vec<_> = view
            .resources
            .iter()
            .zip(&job.parts)
            .map(|(resource, part)| (resource, outcome(job, part)))
            .collect();
        let responses = each(rows.iter().map(|(resource, (error_code, message))| {
            incremental_alter_configs::AlterConfigsResourceResponse {
                error_code: *error_code,
                error_message: message.as_deref(),
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
            }
        }));
        let response = incremental_alter_configs::Response { throttle_time_ms: 0, responses };
        self.out.respond(job.reply_to, response);
    }
}

fn entry<'r>(
    row: &'r Row,
    view: &describe_configs::RequestView<'_>,
) -> ConfigEntry<'r, impl net::List<ConfigSynonym<'static>> + use<'r>> {
    let synonyms = if view.include_synonyms { row.synonyms.as_slice() } else { &[] };
    ConfigEntry {
        name: row.name,
        value: Some(&row.value),
        read_only: row.read_only,
        config_source: row.source,
        is_sensitive: false,
        synonyms: each(synonyms.iter().map(|(name, value, source)| ConfigSynonym {
            name,
            value: Some(value),
            source: *source,
        })),
        config_type: row.kind,
        documentation: view.include_documentation.then_some(row.doc),
    }
}

fn topic_row(config: &'static TopicConfig, topic: &Topic) -> Row {
    let set = topic.configs.get(config.name);
    let default =
        (config.synonym.unwrap_or(config.name), config.default.to_owned(), SOURCE_DEFAULT);
    let own = set.map(|value| (config.name, value.clone(), SOURCE_TOPIC));
    Row {
        name: config.name,
        value: set.cloned().unwrap_or_else(|| config.default.to_owned()),
        source: if set.is_some() { SOURCE_TOPIC } else { SOURCE_DEFAULT },
        read_only: false,
        kind: kind_number(&config.kind),
        doc: config.doc,
        synonyms: own.into_iter().chain([default]).collect(),
    }
}

fn broker_row(config: BrokerConfig) -> Row {
    let source = if config.is_default { SOURCE_DEFAULT } else { SOURCE_STATIC_BROKER };
    Row {
        name: config.name,
        synonyms: vec![(config.name, config.value.clone(), source)],
        value: config.value,
        source,
        read_only: true,
        kind: kind_number(&config.kind),
        doc: config.doc,
    }
}

/// Kafka's `ConfigDef.Type` on the wire.
fn kind_number(kind: &Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::OneOf(_) => 2,
        Kind::Int { .. } => 3,
        Kind::Long { .. } => 5,
        Kind::Double { .. } => 6,
        Kind::ListOf(_) | Kind::List => 7,
    }
}
