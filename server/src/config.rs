//! What an operator may set, from a TOML file, the environment and flags.
//!
//! ```text
//!  chiplog.toml ┐
//!  CHIPLOG_*    ├─▶ RawConfig ── resolve, once ──▶ Config ─▶ the rest of the program
//!  --flags      ┘   text + origin                  typed; holds no invalid value
//! ```

pub mod cluster;
pub mod docs;
pub mod raw;
pub mod table;
pub mod value;

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use ring::PollMode;
use ring::feature::FeatureSet;
use thiserror::Error;

pub use cluster::{ClusterSettings, NodeNumber, Peer};
pub use raw::{Origin, RawConfig};
pub use value::{AdvertisedHost, BinCount, ByteSize, Count, JournalWindow, ListenAddress, Millis};

/// The settings of one server.
#[derive(Debug)]
pub struct Config {
    pub data: PathBuf,
    pub pid_file: Option<PathBuf>,
    /// Operators may inject faults.
    pub enable_faults: bool,
    pub node_view: View,
    /// Shard 0; shard N is N ports further on.
    pub core_view: View,
    pub admin: Admin,
    pub cluster: ClusterSettings,
    /// Data cores; the number of shards limits them.
    pub cores: NonZeroU16,
    pub pin: bool,
    pub poll: PollMode,
    pub topics: TopicDefaults,
    /// How long an empty group waits for further members.
    pub initial_rebalance_delay: Duration,
    pub limits: Limits,
    /// Journal frames in flight, 1–4.
    pub journal_window: u8,
    pub bins_max: u32,
    pub ring_disabled: FeatureSet,
    pub format: FormatSettings,
}

/// What a topic has that is created without saying.
#[derive(Debug, Clone, Copy)]
pub struct TopicDefaults {
    pub partitions: u32,
    pub auto_create: bool,
}

/// What clients may ask of one data core.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections: u32,
    pub request_bytes: u32,
    pub fetch_bytes: u32,
}

/// Where clients come in, and where they are told to come.
#[derive(Debug, Clone)]
pub struct View {
    pub listen: SocketAddr,
    pub advertise: AdvertisedHost,
}

/// The HTTP port for operators.
#[derive(Debug)]
pub struct Admin {
    pub listen: SocketAddr,
    /// What a request must bear. Always there unless `listen` is a loopback address.
    pub token: Option<String>,
}

/// What is fixed when a data folder is formatted. Where given for a formatted folder it must agree.
#[derive(Debug, Clone, Copy)]
pub struct FormatSettings {
    pub shards: Option<NonZeroU16>,
    pub journal_bytes: Fixed<ByteSize>,
    pub bin_bytes: Fixed<ByteSize>,
}

/// A value that a formatted folder may overrule unless the operator gave it.
#[derive(Debug, Clone, Copy)]
pub struct Fixed<T> {
    pub value: T,
    pub given: bool,
}

/// Why settings are refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} line {line} is not valid TOML: {message}", path.display())]
    Syntax { path: PathBuf, line: usize, message: String },
    #[error("{origin} is not a setting{}", hint(nearest.as_deref()))]
    UnknownKey { origin: Origin, nearest: Option<String> },
    #[error("{origin} must be a string, a whole number or a boolean")]
    NotAScalar { origin: Origin },
    #[error("{origin} expects {expected}, not `{text}`")]
    Invalid { origin: Origin, text: String, expected: &'static str },
    #[error("{origin} must be {limits}, not {value}")]
    OutOfRange { origin: Origin, limits: &'static str, value: ByteSize },
    #[error("{origin} must be at least {least} with a journal of that size, not {value}")]
    BinsTooSmall { origin: Origin, least: ByteSize, value: ByteSize },
    #[error(
        "{origin} listens on every address of this machine ({address}), so clients must be told \
         which one to use: add --{flag} HOST"
    )]
    WildcardNotAdvertised { origin: Origin, address: SocketAddr, flag: &'static str },
    #[error(
        "{origin} would open the admin port to other machines ({address}) without a token: write \
         one to a file and name it with --admin-token-file, or use a loopback address"
    )]
    AdminOpenToAll { origin: Origin, address: SocketAddr },
    #[error("cannot read the admin token from {}: {source}", path.display())]
    TokenUnreadable { path: PathBuf, source: std::io::Error },
    #[error("the admin token in {} must be one line of at least 16 visible characters", path.display())]
    TokenWeak { path: PathBuf },
    #[error("{origin} does not name node {node}, this one: list it too, or set --node-id")]
    NotAmongPeers { origin: Origin, node: NodeNumber },
    #[error("{origin} has no use without peers: name the nodes of the cluster with --peers")]
    NoPeers { origin: Origin },
    #[error(
        "other machines could speak for a node of the cluster ({address}) without a secret: write \
         one to a file on each node and name it with --secret-file, or use loopback addresses"
    )]
    PeersOpenToAll { address: SocketAddr },
    #[error("cannot read the cluster's secret from {}: {source}", path.display())]
    SecretUnreadable { path: PathBuf, source: std::io::Error },
    #[error("the cluster's secret in {} must have at least 16 bytes", path.display())]
    SecretWeak { path: PathBuf },
}

fn hint(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean {name}?"),
        None => "; docs/config.md and `chiplog serve --help` list them all".to_owned(),
    }
}

impl Config {
    /// Believes the given settings, or says which one cannot be.
    pub fn resolve(raw: &RawConfig) -> Result<Self, ConfigError> {
        let advertise: Option<AdvertisedHost> = raw.optional("advertise")?;
        let core_advertise = raw.optional("core_advertise")?.or_else(|| advertise.clone());
        let cluster = ClusterSettings::resolve(raw)?;
        Ok(Self {
            data: raw.required("data")?,
            pid_file: raw.optional("pid_file")?,
            enable_faults: raw.required("enable_faults")?,
            node_view: view(raw, "listen", advertise, "advertise")?,
            core_view: view(raw, "core_listen", core_advertise, "core-advertise")?,
            admin: admin(raw)?,
            initial_rebalance_delay: initial_rebalance_delay(raw, &cluster)?,
            cluster,
            cores: raw.optional("cores")?.unwrap_or_else(default_cores),
            pin: raw.required("pin")?,
            poll: raw.required("poll")?,
            topics: TopicDefaults {
                partitions: raw.required::<Count>("topics.partitions")?.0,
                auto_create: raw.required("topics.auto_create")?,
            },
            limits: Limits::resolve(raw)?,
            journal_window: raw.required::<JournalWindow>("journal.window")?.0,
            bins_max: raw.required::<BinCount>("bins.max")?.0,
            ring_disabled: raw.optional("ring.disable")?.unwrap_or(FeatureSet::EMPTY),
            format: FormatSettings::resolve(raw)?,
        })
    }
}

/// A node alone is for development, where waiting is a nuisance.
fn initial_rebalance_delay(
    raw: &RawConfig,
    cluster: &ClusterSettings,
) -> Result<Duration, ConfigError> {
    let given: Option<Millis> = raw.optional("groups.initial_rebalance_delay")?;
    let default_ms = if cluster.peers.is_empty() { 0 } else { 3000 };
    Ok(given.map_or_else(|| Duration::from_millis(default_ms), |given| given.0))
}

impl Limits {
    fn resolve(raw: &RawConfig) -> Result<Self, ConfigError> {
        let bytes = |key| {
            let size = sized(raw, key, "from 1MiB to 1GiB", |b| (1 << 20..=1 << 30).contains(&b))?;
            Ok(u32::try_from(size.0).expect("at most 1 GiB"))
        };
        Ok(Self {
            connections: raw.required::<Count>("limits.connections")?.0,
            request_bytes: bytes("limits.request_bytes")?,
            fetch_bytes: bytes("limits.fetch_bytes")?,
        })
    }
}

fn sized(
    raw: &RawConfig,
    key: &'static str,
    limits: &'static str,
    fits: fn(u64) -> bool,
) -> Result<ByteSize, ConfigError> {
    let value: ByteSize = raw.required(key)?;
    if fits(value.0) {
        return Ok(value);
    }
    Err(ConfigError::OutOfRange { origin: raw.origin(key), limits, value })
}

/// A bin holds four of the largest journal frames, each of which is a quarter of a segment and 8 MiB
/// at most.
const BIN_BYTES_LEAST_MAX: u64 = 32 << 20;

impl FormatSettings {
    fn resolve(raw: &RawConfig) -> Result<Self, ConfigError> {
        let sized = |key, limits, fits: fn(u64) -> bool| {
            let given = raw.optional::<ByteSize>(key)?.is_some();
            Ok(Fixed { value: sized(raw, key, limits, fits)?, given })
        };
        let resolved = Self {
            shards: raw.optional("shards")?,
            journal_bytes: sized(
                "journal.bytes",
                "a multiple of 1MiB from 16MiB to 768MiB",
                |bytes| (16 << 20..=768 << 20).contains(&bytes) && bytes.is_multiple_of(1 << 20),
            )?,
            bin_bytes: sized("bins.bytes", "a multiple of 1MiB from 4MiB to 4GiB", |bytes| {
                (4 << 20..=4 << 30).contains(&bytes) && bytes.is_multiple_of(1 << 20)
            })?,
        };
        let least = ByteSize(BIN_BYTES_LEAST_MAX.min(resolved.journal_bytes.value.0 / 16));
        if resolved.bin_bytes.value < least {
            let origin = raw.origin("bins.bytes");
            return Err(ConfigError::BinsTooSmall {
                origin,
                least,
                value: resolved.bin_bytes.value,
            });
        }
        Ok(resolved)
    }
}

fn view(
    raw: &RawConfig,
    key: &'static str,
    advertise: Option<AdvertisedHost>,
    flag: &'static str,
) -> Result<View, ConfigError> {
    let listen: ListenAddress = raw.required(key)?;
    let address = listen.socket;
    let advertise = match advertise {
        Some(host) => host,
        None if address.ip().is_unspecified() => {
            let origin = raw.origin(key);
            return Err(ConfigError::WildcardNotAdvertised { origin, address, flag });
        }
        None => AdvertisedHost(listen.host),
    };
    Ok(View { listen: address, advertise })
}

fn admin(raw: &RawConfig) -> Result<Admin, ConfigError> {
    let listen: ListenAddress = raw.required("admin")?;
    let token = raw.optional("admin_token_file")?.map(read_token).transpose()?;
    let address = listen.socket;
    if token.is_none() && !address.ip().is_loopback() {
        return Err(ConfigError::AdminOpenToAll { origin: raw.origin("admin"), address });
    }
    Ok(Admin { listen: address, token })
}

fn read_token(path: PathBuf) -> Result<String, ConfigError> {
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(ConfigError::TokenUnreadable { path, source }),
    };
    let token = text.trim_end_matches(['\r', '\n']);
    if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConfigError::TokenWeak { path });
    }
    Ok(token.to_owned())
}

/// One CPU is left to the control core and the kernel.
fn default_cores() -> NonZeroU16 {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let cores = u16::try_from(cpus.saturating_sub(1)).unwrap_or(512).clamp(1, 512);
    NonZeroU16::new(cores).expect("clamped to at least 1")
}

#[cfg(test)]
mod tests;
