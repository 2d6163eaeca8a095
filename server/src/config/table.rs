//! Every setting of `chiplog serve`, in the order that help and documentation show them.
//!
//! This one table makes the flags, the names of environment variables, the keys of the TOML file,
//! the nearest-name hints and `docs/config.md`; what a value may be is said by its type in
//! [`crate::config::value`].

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// As in the file: `section.name`.
    pub key: &'static str,
    /// What stands for the value in help.
    pub value: &'static str,
    /// The value if none is given; empty if there is none or it depends on the machine.
    pub default: &'static str,
    /// One or two sentences for help and documentation, without a final full stop.
    pub help: &'static str,
}

impl Setting {
    /// The flag's name without its dashes: `journal.bytes` is `journal-bytes`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// The environment variable: `journal.bytes` is `CHIPLOG_JOURNAL_BYTES`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("CHIPLOG_{}", self.key.replace('.', "_").to_uppercase())
    }
}

/// The table. A new line here is read in [`crate::config::Config::resolve`], or a test fails.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "data",
        value: "DIR",
        default: "./chiplog-data",
        help: "The data folder; formatted at the first start",
    },
    Setting {
        key: "pid_file",
        value: "FILE",
        default: "",
        help: "Where the number of the server's process is written once the data folder is its",
    },
    Setting {
        key: "listen",
        value: "HOST:PORT",
        default: "127.0.0.1:9092",
        help: "The node view: one broker per machine, what ordinary clients bootstrap from",
    },
    Setting {
        key: "core_listen",
        value: "HOST:PORT",
        default: "127.0.0.1:9100",
        help: "The core view: one broker per shard, shard N at PORT + N; the low-latency path",
    },
    Setting {
        key: "advertise",
        value: "HOST",
        default: "",
        help: "The host that clients of the node view are told; by default the one of `listen`",
    },
    Setting {
        key: "core_advertise",
        value: "HOST",
        default: "",
        help: "The host that clients of the core view are told; by default `advertise` if that is \
               given, else the one of `core_listen`",
    },
    Setting {
        key: "admin",
        value: "HOST:PORT",
        default: "127.0.0.1:9644",
        help: "HTTP for operators: /healthz, /readyz, /metrics",
    },
    Setting {
        key: "admin_token_file",
        value: "FILE",
        default: "",
        help: "A file with the token that admin requests must bear; required unless `admin` is \
               a loopback address",
    },
    Setting {
        key: "node_id",
        value: "N",
        default: "",
        help: "The node's number in its cluster, 0 to 999; fixed when the data folder is formatted, \
               by default 0",
    },
    Setting {
        key: "peers",
        value: "N@HOST:PORT,...",
        default: "",
        help: "The nodes that form the cluster, 1, 3 or 5, this one among them, the same list on \
               each: number and peer address. PORT is the control core's, shard N answers at \
               PORT + 1 + N",
    },
    Setting {
        key: "peer_listen",
        value: "HOST:PORT",
        default: "",
        help: "Where other nodes come in; by default this node's address in `peers`",
    },
    Setting {
        key: "secret_file",
        value: "FILE",
        default: "",
        help: "A file with the secret that the nodes of the cluster share; required unless \
               `peer_listen` is a loopback address",
    },
    Setting {
        key: "rack",
        value: "NAME",
        default: "",
        help: "Where the node stands: replicas of a partition are spread over racks",
    },
    Setting {
        key: "cores",
        value: "N",
        default: "",
        help: "Data cores: pinned threads, each with one ring; by default one less than the \
               machine's CPUs, at least 1, at most one per shard",
    },
    Setting {
        key: "shards",
        value: "N",
        default: "",
        help: "Shards, each with a journal of its own; fixed when the data folder is formatted, \
               by default one per data core",
    },
    Setting {
        key: "poll",
        value: "MODE",
        default: "adaptive",
        help: "How a data core waits: `spin` (lowest latency, a whole CPU), `adaptive` (spins \
               while there is work) or `park` (sleeps at once)",
    },
    Setting {
        key: "pin",
        value: "BOOL",
        default: "true",
        help: "Whether each data core keeps to a CPU of its own, if there are enough; `false` where \
               several servers share a machine",
    },
    Setting {
        key: "topics.partitions",
        value: "N",
        default: "1",
        help: "Partitions of a topic that is created without a number of its own",
    },
    Setting {
        key: "topics.auto_create",
        value: "BOOL",
        default: "true",
        help: "Whether a client that asks for an unknown topic creates it",
    },
    Setting {
        key: "groups.initial_rebalance_delay",
        value: "MS",
        default: "",
        help: "How long, in milliseconds, an empty group waits for further members before its first \
               rebalance; by default 0 on a node without peers, else 3000",
    },
    Setting {
        key: "limits.connections",
        value: "N",
        default: "10000",
        help: "Client connections of each data core; more are closed at once",
    },
    Setting {
        key: "limits.request_bytes",
        value: "SIZE",
        default: "100MiB",
        help: "The largest request; the connection of a larger one is closed",
    },
    Setting {
        key: "limits.fetch_bytes",
        value: "SIZE",
        default: "55MiB",
        help: "Record bytes in one answer to a consumer; a single larger batch is sent all the same",
    },
    Setting {
        key: "journal.bytes",
        value: "SIZE",
        default: "512MiB",
        help: "The journal of each shard, in 16 segments, mirrored in memory with an eighth more; \
               fixed when the data folder is formatted",
    },
    Setting {
        key: "journal.window",
        value: "N",
        default: "2",
        help: "Journal writes in flight at one time: 1 to 4",
    },
    Setting {
        key: "bins.bytes",
        value: "SIZE",
        default: "256MiB",
        help: "One bin: a large file that data moves to from the journal; fixed when the data \
               folder is formatted",
    },
    Setting { key: "bins.max", value: "N", default: "4096", help: "Bins that each shard may have" },
    Setting {
        key: "enable_faults",
        value: "BOOL",
        default: "false",
        help: "Whether `chiplog fault` may inject faults into this server: for tests and game days",
    },
    Setting {
        key: "ring.disable",
        value: "FEATURE,...",
        default: "",
        help: "Features of io_uring to do without, for finding a kernel's fault",
    },
];

/// The setting named `key`.
#[must_use]
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The sections of the file that settings stand in.
pub fn sections() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter_map(|setting| Some(setting.key.rsplit_once('.')?.0))
}

/// The name in `names` that someone who typed `typed` most likely meant: at most a third of its
/// letters differ, or it is one part of a dotted name.
pub fn nearest<N: AsRef<str>>(typed: &str, names: impl Iterator<Item = N>) -> Option<N> {
    let limit = (typed.len() / 3).max(1);
    names
        .map(|name| (distance(typed, name.as_ref()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn distance(typed: &str, name: &str) -> usize {
    let last = name.rsplit('.').next().unwrap_or(name);
    let whole = strsim::damerau_levenshtein(typed, name);
    if last == name { whole } else { whole.min(1 + strsim::damerau_levenshtein(typed, last)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_across_sections_and_typos() {
        let keys = || SETTINGS.iter().map(|setting| setting.key);
        assert_eq!(nearest("lisen", keys()), Some("listen"));
        assert_eq!(nearest("journal.byte", keys()), Some("journal.bytes"));
        assert_eq!(nearest("core-listen", keys()), Some("core_listen"));
        assert_eq!(nearest("colour_of_the_sea", keys()), None);
    }

    #[test]
    fn names_follow_from_the_key() {
        let setting = find("journal.bytes").expect("a key of the table");
        assert_eq!(setting.flag(), "journal-bytes");
        assert_eq!(setting.variable(), "CHIPLOG_JOURNAL_BYTES");
    }
}
