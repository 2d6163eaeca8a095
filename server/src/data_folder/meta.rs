//! `meta.toml`: what a folder was formatted with. Written whole, before anything else.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use base::{NodeId, ShardId};
use replication::Uuid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FolderError, NoRoom, sync_folder};
use crate::config::{ClusterSettings, Config};

pub const NAME: &str = "meta.toml";
pub const DRAFT: &str = "meta.toml.new";

/// The newest folder format this program reads, and the one it writes.
pub const FORMAT: i64 = 1;

const HEADING: &str = "# Identity and geometry of a Chiplog data folder. Do not edit.\n";

/// The identity and geometry of a data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    format: i64,
    cluster: ClusterId,
    node: u16,
    /// Per data shard.
    pub journal_bytes: u64,
    pub control_journal_bytes: u64,
    pub bin_bytes: u64,
    control: Journal,
    /// One per data shard, in the order of their ids.
    shard: Vec<Journal>,
}

/// What is known of a shard's journal before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Journal {
    id: JournalId,
    /// It has held a durable frame: if it is empty at a later start, it was lost.
    activated: bool,
}

/// 128 random bits as hex digits; shown to clients as Kafka writes ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct ClusterId(u128);

impl TryFrom<String> for ClusterId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        u128::from_str_radix(&text, 16)
            .map(Self)
            .map_err(|_| format!("`{text}` is not a cluster id"))
    }
}

impl From<ClusterId> for String {
    fn from(id: ClusterId) -> Self {
        format!("{:032x}", id.0)
    }
}

/// A journal's random id: seeds the checksum of its frames, so that no frame of another journal
/// is ever taken for one of its own. TOML has no unsigned 64-bit number, hence the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct JournalId(u64);

impl TryFrom<String> for JournalId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        u64::from_str_radix(&text, 16)
            .map(Self)
            .map_err(|_| format!("`{text}` is not a journal id"))
    }
}

impl From<JournalId> for String {
    fn from(id: JournalId) -> Self {
        format!("{:016x}", id.0)
    }
}

const CONTROL_JOURNAL_BYTES: u64 = 16 << 20;

impl Meta {
    /// The meta of `folder`, or `None` if it has none yet.
    pub fn read(folder: &Path) -> Result<Option<Self>, FolderError> {
        let path = folder.join(NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(FolderError::Damaged { path, reason: "it is not text".to_owned() });
            }
            Err(source) => return Err(FolderError::Io { action: "read", path, source }),
        };
        let damaged = |reason: String| FolderError::Damaged { path: path.clone(), reason };
        let table: toml::Table =
            text.parse().map_err(|e: toml::de::Error| damaged(e.message().to_owned()))?;
        let format = table.get("format").and_then(toml::Value::as_integer);
        match format {
            None => return Err(damaged("it names no format".to_owned())),
            Some(found) if FORMAT < found => {
                return Err(FolderError::NewerFormat { path: folder.to_owned(), found });
            }
            Some(_) => {}
        }
        let meta: Self =
            table.try_into().map_err(|e: toml::de::Error| damaged(e.message().to_owned()))?;
        if meta.shard.is_empty() {
            return Err(damaged("it names no shards".to_owned()));
        }
        Ok(Some(meta))
    }

    /// Formats `folder`: makes its folders, then the meta, by a rename.
    pub fn format(folder: &Path, config: &Config) -> Result<Self, FolderError> {
        let shards = config.format.shards.unwrap_or(config.cores).get();
        let meta = Self {
            format: FORMAT,
            cluster: ClusterId(cluster_id(&config.cluster)),
            node: config.cluster.node.value.0,
            journal_bytes: config.format.journal_bytes.value.0,
            control_journal_bytes: CONTROL_JOURNAL_BYTES,
            bin_bytes: config.format.bin_bytes.value.0,
            control: Journal::new(),
            shard: (0..shards).map(|_| Journal::new()).collect(),
        };
        NoRoom::check(folder, meta.first_bytes()).map_err(FolderError::NoRoom)?;
        meta.write(folder)?;
        Ok(meta)
    }

    fn write(&self, folder: &Path) -> Result<(), FolderError> {
        let draft = folder.join(DRAFT);
        let body = toml::to_string(self).expect("plain fields always serialise");
        let io = |source| FolderError::Io { action: "write", path: draft.clone(), source };
        let mut file = File::create(&draft).map_err(io)?;
        file.write_all(HEADING.as_bytes()).map_err(io)?;
        file.write_all(body.as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)?;
        std::fs::rename(&draft, folder.join(NAME)).map_err(io)?;
        sync_folder(folder)?;
        match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
            _ => sync_folder(Path::new(".")),
        }
    }

    #[must_use]
    pub fn cluster(&self) -> Uuid {
        Uuid(self.cluster.0.to_be_bytes())
    }

    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(self.node)
    }

    /// Data shards.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.shard.len()).expect("at most 512 shards are formatted")
    }

    /// The random id of a shard's journal. Panics if there is no such shard.
    #[must_use]
    pub fn journal_id(&self, shard: ShardId) -> u64 {
        self.journal(shard).id.0
    }

    /// Whether the shard's journal has held a durable frame. Panics if there is no such shard.
    #[must_use]
    pub fn is_activated(&self, shard: ShardId) -> bool {
        self.journal(shard).activated
    }

    /// Remembers that the shard's journal holds a durable frame.
    pub fn activate(&mut self, folder: &Path, shard: ShardId) -> Result<(), FolderError> {
        let journal = match shard {
            ShardId::CONTROL => &mut self.control,
            ShardId(number) => &mut self.shard[usize::from(number)],
        };
        if !journal.activated {
            journal.activated = true;
            self.write(folder)?;
        }
        Ok(())
    }

    fn journal(&self, shard: ShardId) -> &Journal {
        match shard {
            ShardId::CONTROL => &self.control,
            ShardId(number) => &self.shard[usize::from(number)],
        }
    }
}

impl Journal {
    fn new() -> Self {
        Self { id: JournalId(random()), activated: false }
    }
}

/// Nodes with one list of peers are one cluster: they find the same id without asking each other, and
/// a node of another cluster is refused at the first word.
fn cluster_id(cluster: &ClusterSettings) -> u128 {
    if cluster.peers.is_empty() {
        return u128::from(random()) << 64 | u128::from(random());
    }
    let mut hash = Sha256::new_with_prefix(b"chiplog cluster");
    for peer in &cluster.peers {
        hash.update(format!(",{}@{}:{}", peer.node, peer.host, peer.address.port()));
    }
    let first = hash.finalize().first_chunk().copied().expect("32 bytes");
    // Version 8, variant 1: an id of the application's own making.
    u128::from_be_bytes(first) & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62
}

fn random() -> u64 {
    getrandom::u64().expect("the kernel has randomness once it runs programs")
}
