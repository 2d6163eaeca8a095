//! Who leads what: metadata, and a connection to each broker that was needed.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use net::api::metadata;
use net::{ErrorCode, each};

use super::{ClientError, Connection};

/// Between two looks at metadata that did not help.
const RETRY: Duration = Duration::from_millis(100);

/// See the module's description.
#[derive(Debug)]
pub struct Cluster {
    patience: Duration,
    /// By broker id.
    addresses: BTreeMap<i32, String>,
    connections: BTreeMap<i32, Connection>,
    /// The connection that the first metadata came by.
    bootstrap: Connection,
    controller: Option<i32>,
    id: Option<String>,
}

/// A topic as the cluster's metadata has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub is_internal: bool,
    /// In order of their numbers.
    pub partitions: Vec<Partition>,
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub index: i32,
    /// `None` while nobody leads it.
    pub leader: Option<i32>,
    pub epoch: i32,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
}

/// Topics to ask for.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    All,
    Named(&'a [String]),
}

impl Cluster {
    /// Connects to the first broker of the comma-separated `bootstrap` that answers.
    pub fn connect(bootstrap: &str, patience: Duration) -> Result<Self, ClientError> {
        let mut failure = ClientError::Address(bootstrap.to_owned());
        for address in bootstrap.split(',').map(str::trim) {
            let has_port = address.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
            if !has_port {
                return Err(ClientError::Address(address.to_owned()));
            }
            match Connection::open(address, patience) {
                Ok(bootstrap) => {
                    let mut cluster = Self {
                        patience,
                        addresses: BTreeMap::new(),
                        connections: BTreeMap::new(),
                        bootstrap,
                        controller: None,
                        id: None,
                    };
                    cluster.topics(Wanted::Named(&[]), false)?;
                    return Ok(cluster);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// How long the whole of an operation may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The cluster's id, if the broker says one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The broker that leads the cluster, by the last metadata.
    #[must_use]
    pub fn controller_id(&self) -> Option<i32> {
        self.controller
    }

    /// Broker ids and where they are reached.
    pub fn brokers(&self) -> impl Iterator<Item = (i32, &str)> {
        self.addresses.iter().map(|(id, address)| (*id, address.as_str()))
    }

    /// Fresh metadata: each topic, or why it is not to be had.
    pub fn topics(
        &mut self,
        wanted: Wanted<'_>,
        create: bool,
    ) -> Result<Vec<Result<Topic, ClientError>>, ClientError> {
        let topics = match wanted {
            Wanted::All => None,
            Wanted::Named(names) => Some(each(names.iter().map(|name| by_name(name)))),
        };
        let request = metadata::Request {
            topics,
            allow_auto_topic_creation: create,
            include_cluster_authorized_operations: false,
            include_topic_authorized_operations: false,
        };
        let answer = self.bootstrap.call(request, Answer::of)?;
        self.addresses = answer.addresses;
        self.controller = answer.controller;
        self.id = answer.id;
        Ok(answer.topics)
    }

    /// The topic, once every partition of it has a leader. With `create`, a topic that does not
    /// exist comes into being if the server does that.
    pub fn topic(&mut self, name: &str, create: bool) -> Result<Topic, ClientError> {
        let names = [name.to_owned()];
        let give_up_at = Instant::now() + self.patience;
        loop {
            let found = self.topics(Wanted::Named(&names), create)?.pop();
            let missing = match found {
                Some(Ok(topic)) if topic.partitions.iter().all(|p| p.leader.is_some()) => {
                    return Ok(topic);
                }
                Some(Ok(_)) => "a partition has no leader".to_owned(),
                Some(Err(error @ ClientError::NoTopic(_))) if !create => return Err(error),
                Some(Err(error)) if !error.is_passing() && !is_missing(&error) => {
                    return Err(error);
                }
                Some(Err(error)) => error.to_string(),
                None => "the server says nothing of it".to_owned(),
            };
            if give_up_at < Instant::now() {
                let subject = format!("looking for topic {name}");
                return Err(ClientError::TimedOut {
                    subject,
                    after: self.patience,
                    reason: missing,
                });
            }
            std::thread::sleep(RETRY);
        }
    }

    /// A connection to the broker.
    pub fn broker(&mut self, id: i32) -> Result<&mut Connection, ClientError> {
        if !self.connections.contains_key(&id) {
            let address = self.addresses.get(&id).ok_or_else(|| ClientError::Refused {
                subject: format!("broker {id}"),
                code: ErrorCode::BrokerNotAvailable,
                message: None,
            })?;
            let connection = Connection::open(address, self.patience)?;
            self.connections.insert(id, connection);
        }
        Ok(self.connections.get_mut(&id).expect("opened above"))
    }

    /// The socket to a broker that was talked to.
    #[must_use]
    pub fn connected(&self, id: i32) -> Option<BorrowedFd<'_>> {
        self.connections.get(&id).map(AsFd::as_fd)
    }

    /// A connection to whoever takes changes of topics: any broker of a cluster of ours does, so the
    /// one at hand if the controller is just gone.
    pub fn controller(&mut self) -> Result<&mut Connection, ClientError> {
        let controller = self.controller;
        let id = controller.filter(|id| self.broker(*id).is_ok());
        match id {
            Some(id) => self.broker(id),
            None => Ok(&mut self.bootstrap),
        }
    }
}

fn by_name(name: &str) -> metadata::MetadataRequestTopic<'_> {
    metadata::MetadataRequestTopic { name: Some(name), ..Default::default() }
}

fn is_missing(error: &ClientError) -> bool {
    matches!(error, ClientError::NoTopic(_))
}

struct Answer {
    addresses: BTreeMap<i32, String>,
    controller: Option<i32>,
    id: Option<String>,
    topics: Vec<Result<Topic, ClientError>>,
}

impl Answer {
    fn of(response: metadata::ResponseView<'_>) -> Self {
        let address = |broker: metadata::Broker<'_>| {
            let host = broker.host;
            let is_six = host.contains(':');
            let host = if is_six { format!("[{host}]") } else { host.to_owned() };
            (broker.node_id, format!("{host}:{}", broker.port))
        };
        Self {
            addresses: response.brokers.iter().map(address).collect(),
            controller: Some(response.controller_id).filter(|id| 0 <= *id),
            id: response.cluster_id.map(str::to_owned),
            topics: response.topics.iter().map(|topic| topic_of(&topic)).collect(),
        }
    }
}

fn topic_of(topic: &metadata::TopicView<'_>) -> Result<Topic, ClientError> {
    let name = topic.name.unwrap_or_default().to_owned();
    if topic.error_code == ErrorCode::UnknownTopicOrPartition {
        return Err(ClientError::NoTopic(name));
    }
    ClientError::check(|| format!("topic {name}"), topic.error_code, None)?;
    let partition = |partition: metadata::PartitionView<'_>| Partition {
        index: partition.partition_index,
        leader: Some(partition.leader_id).filter(|id| 0 <= *id),
        epoch: partition.leader_epoch,
        replicas: partition.replica_nodes.iter().collect(),
        in_sync: partition.isr_nodes.iter().collect(),
    };
    let mut partitions: Vec<_> = topic.partitions.iter().map(partition).collect();
    partitions.sort_unstable_by_key(|partition| partition.index);
    Ok(Topic { name, is_internal: topic.is_internal, partitions })
}
