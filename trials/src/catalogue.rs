//! The trials by name.

mod bad_input;
mod clients;
mod cluster_deaths;
mod cluster_disks;
mod cluster_links;
mod disks;
mod full_disk;
mod full_disk_start;
mod kcat;
mod kill_nine;
mod poor_host;
mod power_cut;
mod rest;
mod rot;

use crate::{Context, Outcome};

/// One trial: a promise that the real kernel, disks and clients put to the test.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    pub name: &'static str,
    /// The promise, in one sentence.
    pub promise: &'static str,
    /// The runner ends the trial after so many seconds.
    pub limit_s: u64,
    /// The file of a setting of the whole machine that it changes; the runner puts it back.
    pub changes: Option<&'static str>,
    /// It runs in a network of its own, where it may do as it likes.
    pub has_network: bool,
    pub run: fn(&Context) -> Outcome,
}

const fn trial(
    name: &'static str,
    promise: &'static str,
    limit_s: u64,
    run: fn(&Context) -> Outcome,
) -> Trial {
    Trial { name, promise, limit_s, changes: None, has_network: false, run }
}

const fn of_cluster(
    name: &'static str,
    promise: &'static str,
    run: fn(&Context) -> Outcome,
) -> Trial {
    Trial { has_network: true, ..trial(name, promise, 120, run) }
}

/// Every trial, in the order in which they run.
pub const TRIALS: &[Trial] = &[
    trial(
        "disks-lose-what-was-not-flushed",
        "the trials' own disks keep what was synced and lose the rest",
        120,
        disks::lose_what_was_not_flushed,
    ),
    trial(
        "clients-kcat",
        "kcat writes and reads lines with every codec through both views",
        120,
        kcat::round_trip,
    ),
    trial(
        "clients-python",
        "confluent-kafka and kafka-python write and read through both views, idempotent, with every codec, and list offsets by time",
        480,
        clients::python,
    ),
    trial(
        "groups-python",
        "consumer groups of confluent-kafka share partitions, take over, commit and come back, in both views and two lives",
        480,
        clients::python_groups,
    ),
    trial(
        "clients-javascript",
        "kafkajs writes and kcat reads through both views, idempotent, with every codec, and list offsets by time",
        480,
        clients::javascript,
    ),
    trial(
        "clients-go",
        "franz-go and sarama write and read through both views, idempotent, with every codec, and list offsets by time",
        480,
        clients::go,
    ),
    trial(
        "clients-java",
        "kafka-clients write and read through both views, idempotent, with every codec, and list offsets by time",
        480,
        clients::java,
    ),
    trial(
        "kill-nine-keeps-every-ack",
        "100 x kill -9 under load: nothing acked is lost, altered, doubled or reordered",
        600,
        kill_nine::keep_every_ack,
    ),
    trial(
        "pause-keeps-every-ack",
        "SIGSTOP for 5 s under load: clients go on as if nothing had been",
        120,
        kill_nine::survive_a_pause,
    ),
    trial(
        "stop-seals-the-log",
        "SIGTERM under load: a quick end in success, and the next start finds a sealed log",
        120,
        rest::seal_when_asked_to_stop,
    ),
    trial(
        "idle-costs-nothing",
        "an adaptive server without work uses less than 1 % of a core (printed; 5 % fails)",
        60,
        rest::cost_nothing,
    ),
    trial(
        "power-cut-keeps-every-ack-xfs",
        "20 power cuts below XFS: nothing acked is lost",
        300,
        power_cut::keep_every_ack_on_xfs,
    ),
    trial(
        "power-cut-keeps-every-ack-ext4",
        "20 power cuts below ext4: nothing acked is lost",
        300,
        power_cut::keep_every_ack_on_ext4,
    ),
    trial(
        "dropped-cache-keeps-every-ack",
        "20 power cuts each below XFS and ext4 on a disk that drops unflushed writes: nothing acked is lost",
        400,
        power_cut::keep_every_ack_without_the_disk_cache,
    ),
    trial(
        "dropped-cache-catches-forgotten-dsync",
        "the same cut under a ring that forgets RWF_DSYNC does lose acked records",
        120,
        power_cut::lose_acks_when_dsync_is_forgotten,
    ),
    trial(
        "full-disk-refuses-and-recovers",
        "a full disk delays producers, serves readers and deletes, and recovers once it has room",
        400,
        full_disk::refuse_and_recover,
    ),
    trial(
        "full-disk-start-says-what-is-missing",
        "a start on a disk without room for a journal file serves, or says how much room it needs; it never waits",
        300,
        full_disk_start::serve_or_say_what_is_missing,
    ),
    trial(
        "rot-in-the-journal-halts-one-partition",
        "a damaged byte in the journal halts the partition it lies in, by name, and no other",
        120,
        rot::in_the_journal,
    ),
    trial(
        "rot-in-a-bin-halts-one-partition",
        "a damaged byte in a bin halts the partition it lies in, by name, and no other",
        180,
        rot::in_a_bin,
    ),
    trial(
        "rot-in-the-control-journal-is-named",
        "a damaged byte in the control journal is never taken for an absent topic",
        120,
        rot::in_the_control_journal,
    ),
    trial(
        "bad-input-harms-nobody-else",
        "noise, mutated frames, claimed gigabytes and stalled senders: bounded memory, others served",
        300,
        bad_input::harm_nobody_else,
    ),
    trial(
        "idle-connections-cost-little",
        "2,000 idle connections: bounded memory, others served",
        120,
        bad_input::idle_connections,
    ),
    trial(
        "small-memlock-serves-without-root",
        "an ordinary user with 8 MiB of lockable memory is served",
        60,
        poor_host::serve_with_little_lockable_memory,
    ),
    trial(
        "one-core-hosts-two-shards",
        "a folder of two shards is served by one core, and by two again",
        60,
        poor_host::serve_two_shards_on_one_core,
    ),
    trial(
        "every-ring-feature-can-be-missing",
        "without any one feature of io_uring, and without all, the server serves",
        180,
        poor_host::serve_without_each_ring_feature,
    ),
    trial(
        "refused-starts-say-what-to-do",
        "a start that cannot be is one clear sentence and a failure",
        120,
        poor_host::refuse_clearly,
    ),
    of_cluster(
        "cluster-kill-keeps-every-ack",
        "kill -9 of leaders under load: the others lead at once, and every ack is kept",
        cluster_deaths::killed_leaders,
    ),
    of_cluster(
        "cluster-pause-keeps-every-ack",
        "SIGSTOP of a leader for 5 s: the others go on, and it returns as a follower",
        cluster_deaths::paused_leader,
    ),
    of_cluster(
        "cluster-restarts-keep-every-ack",
        "all nodes down and up again in every order: every ack is kept",
        cluster_deaths::restarts_in_every_order,
    ),
    of_cluster(
        "cluster-wiped-disk-keeps-every-ack",
        "a node comes back with an empty disk under its old number: it is rebuilt, and counts then",
        cluster_deaths::wiped_disk,
    ),
    of_cluster(
        "cluster-isolation-keeps-every-ack",
        "the cable of a leader is pulled, and plugged in again",
        cluster_links::isolation,
    ),
    of_cluster(
        "cluster-one-way-loss-keeps-every-ack",
        "frames get lost in one direction between two nodes, each direction in turn",
        cluster_links::one_way_loss,
    ),
    of_cluster(
        "cluster-bridge-keeps-every-ack",
        "two nodes hear a third and not each other: nothing stops, nothing flaps",
        cluster_links::bridge,
    ),
    of_cluster(
        "cluster-loss-keeps-every-ack",
        "lost and late pieces on every link of a node, by the product's own fault commands",
        cluster_links::loss_and_jitter,
    ),
    of_cluster(
        "cluster-frozen-disk-keeps-every-ack",
        "the disk of a leader stands still, then is slow: the others commit, and health says so",
        cluster_disks::frozen,
    ),
    of_cluster(
        "cluster-full-disk-keeps-every-ack",
        "the disk of one node is full: the others commit, and it catches up once there is room",
        cluster_disks::full,
    ),
    Trial {
        changes: Some(poor_host::IO_URING_DISABLED),
        ..trial(
            "no-io-uring-is-one-sentence",
            "where io_uring is disabled the server says how to enable it",
            30,
            poor_host::refuse_without_io_uring,
        )
    },
];
