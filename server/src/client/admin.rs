//! Changes of topics, and what they are set to.

use net::api::{
    create_partitions, create_topics, delete_topics, describe_configs, incremental_alter_configs,
};
use net::{Empty, Null, each};

use super::{ClientError, Cluster};

/// Kafka's number for topics among things that have settings.
const TOPIC: i8 = 2;

/// A setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSetting {
    pub name: String,
    /// `None` if the server keeps it to itself.
    pub value: Option<String>,
    /// Whether it was set for this topic; otherwise it is a default.
    pub is_own: bool,
}

/// A change of a topic's setting: the new value, or back to the default.
pub type SettingChange = (String, Option<String>);

/// Creates a topic. Without `partitions` or `replicas` the server's defaults decide.
pub fn create_topic(
    cluster: &mut Cluster,
    name: &str,
    partitions: Option<i32>,
    replicas: Option<i16>,
    settings: &[(String, String)],
) -> Result<(), ClientError> {
    let request = create_topics::Request {
        topics: [create_topics::CreatableTopic {
            name,
            num_partitions: partitions.unwrap_or(-1),
            replication_factor: replicas.unwrap_or(-1),
            assignments: Empty,
            configs: each(settings.iter().map(|(name, value)| create_topics::TopicConfig {
                name: name.as_str(),
                value: Some(value.as_str()),
            })),
        }],
        timeout_ms: timeout_ms(cluster),
        validate_only: false,
    };
    let subject = || format!("topic {name}");
    cluster.controller()?.call(request, |response| {
        response.topics.iter().try_for_each(|topic| {
            ClientError::check(subject, topic.error_code, topic.error_message)
        })
    })?
}

/// Deletes a topic and all of its records.
pub fn delete_topic(cluster: &mut Cluster, name: &str) -> Result<(), ClientError> {
    let request = delete_topics::Request {
        topics: [delete_topics::TopicToDelete { name: Some(name), topic_id: net::Uuid::ZERO }],
        topic_names: [name],
        timeout_ms: timeout_ms(cluster),
    };
    let missing = net::ErrorCode::UnknownTopicOrPartition;
    cluster.controller()?.call(request, |response| {
        response.responses.iter().try_for_each(|topic| {
            if topic.error_code == missing {
                return Err(ClientError::NoTopic(name.to_owned()));
            }
            ClientError::check(|| format!("topic {name}"), topic.error_code, topic.error_message)
        })
    })?
}

/// Grows a topic to `total` partitions.
pub fn add_partitions(cluster: &mut Cluster, name: &str, total: i32) -> Result<(), ClientError> {
    let request = create_partitions::Request {
        topics: [create_partitions::CreatePartitionsTopic {
            name,
            count: total,
            assignments: Null,
        }],
        timeout_ms: timeout_ms(cluster),
        validate_only: false,
    };
    cluster.controller()?.call(request, |response| {
        response.results.iter().try_for_each(|topic| {
            ClientError::check(|| format!("topic {name}"), topic.error_code, topic.error_message)
        })
    })?
}

/// Changes settings of a topic, all or none.
pub fn alter_settings(
    cluster: &mut Cluster,
    name: &str,
    changes: &[SettingChange],
) -> Result<(), ClientError> {
    let request = incremental_alter_configs::Request {
        resources: [incremental_alter_configs::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: name,
            configs: each(changes.iter().map(|(name, value)| {
                incremental_alter_configs::AlterableConfig {
                    name: name.as_str(),
                    config_operation: if value.is_some() { 0 } else { 1 },
                    value: value.as_deref(),
                }
            })),
        }],
        validate_only: false,
    };
    cluster.controller()?.call(request, |response| {
        response.responses.iter().try_for_each(|topic| {
            ClientError::check(|| format!("topic {name}"), topic.error_code, topic.error_message)
        })
    })?
}

/// What a topic is set to, by name.
pub fn settings(cluster: &mut Cluster, name: &str) -> Result<Vec<TopicSetting>, ClientError> {
    let request = describe_configs::Request {
        resources: [describe_configs::DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: name,
            configuration_keys: Null,
        }],
        include_synonyms: false,
        include_documentation: false,
    };
    cluster.controller()?.call(request, |response| {
        let mut settings = Vec::new();
        for topic in response.results {
            let subject = || format!("settings of topic {name}");
            ClientError::check(subject, topic.error_code, topic.error_message)?;
            settings.extend(topic.configs.iter().map(|config| TopicSetting {
                name: config.name.to_owned(),
                value: config.value.map(str::to_owned),
                is_own: config.config_source == 1,
            }));
        }
        settings.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(settings)
    })?
}

fn timeout_ms(cluster: &Cluster) -> i32 {
    cluster.patience().as_millis().try_into().unwrap_or(i32::MAX)
}
