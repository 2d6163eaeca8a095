//! What is measured, by whose numbers it is.

use engine::{EngineMetrics, Pressure};
use ring::ReactorCounters;
use shard::ShardMetrics;

/// A family of samples that are read from an `M`.
pub(super) struct Family<M: 'static> {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) help: &'static str,
    pub(super) value: fn(&M) -> u64,
}

const fn counter<M>(name: &'static str, help: &'static str, value: fn(&M) -> u64) -> Family<M> {
    Family { name, kind: "counter", help, value }
}

const fn gauge<M>(name: &'static str, help: &'static str, value: fn(&M) -> u64) -> Family<M> {
    Family { name, kind: "gauge", help, value }
}

/// Of each data core's ring.
pub(super) const CORE: &[Family<ReactorCounters>] = &[
    counter("chiplog_core_turns_total", "Turns of the loop that did something.", |c| c.turns.get()),
    counter("chiplog_core_spins_total", "Looks for work that found none.", |c| c.spins.get()),
    counter("chiplog_core_parks_total", "Times the core slept.", |c| c.parks.get()),
    counter("chiplog_core_enters_total", "System calls into the ring.", |c| c.enters.get()),
    counter("chiplog_core_submissions_total", "Operations begun.", |c| c.submissions.get()),
    counter("chiplog_core_completions_total", "Completions taken.", |c| c.completions.get()),
    counter("chiplog_core_strays_total", "Completions of no operation.", |c| c.strays.get()),
    counter(
        "chiplog_core_allocations_total",
        "Times that the core took memory from the heap.",
        |c| c.allocations.get(),
    ),
    counter("chiplog_core_punts_total", "Journal writes that the kernel put off.", |c| {
        c.punts.get()
    }),
    gauge("chiplog_journal_segments", "Files of the core's journals.", |c| c.segments.get()),
    gauge("chiplog_journal_segment_extents", "Pieces of the device that those lie in.", |c| {
        c.segment_extents.get()
    }),
    gauge("chiplog_core_workers", "Kernel threads that punted operations go to.", |c| {
        u64::from(ring::cpu::io_workers(c.thread.get()).unwrap_or(0))
    }),
    gauge("chiplog_connections", "Client connections now.", |c| c.connections.get()),
    counter("chiplog_connections_accepted_total", "Accepted.", |c| c.accepted.get()),
    counter("chiplog_connections_dialed_total", "To peers, that came to stand.", |c| {
        c.dialed.get()
    }),
    counter("chiplog_connections_refused_total", "Closed for the limit.", |c| c.refused.get()),
    counter("chiplog_received_bytes_total", "From clients.", |c| c.received_bytes.get()),
    counter("chiplog_receives_total", "Receives that brought bytes.", |c| c.receives.get()),
    counter("chiplog_receives_starved_total", "Found no buffer.", |c| c.starved.get()),
    counter("chiplog_sent_bytes_total", "To clients.", |c| c.sent_bytes.get()),
    counter("chiplog_sends_total", "Sends that ended well.", |c| c.sends.get()),
    gauge("chiplog_arenas_registered", "Journal memory that the kernel keeps at hand.", |c| {
        c.registered_arenas.get()
    }),
    counter("chiplog_disk_written_bytes_total", "To any file.", |c| c.written_bytes.get()),
    counter("chiplog_disk_writes_total", "Writes to any file.", |c| c.writes.get()),
    counter("chiplog_disk_read_bytes_total", "From any file.", |c| c.read_bytes.get()),
    counter("chiplog_disk_reads_total", "Reads of any file.", |c| c.reads.get()),
    counter("chiplog_disk_syncs_total", "Syncs of files.", |c| c.syncs.get()),
    counter("chiplog_files_created_total", "Segments and bins made.", |c| c.created.get()),
    counter("chiplog_mail_in_total", "Messages from other cores.", |c| c.mail_in.get()),
    counter("chiplog_mail_out_total", "Messages to other cores.", |c| c.mail_out.get()),
    counter("chiplog_mail_delayed_total", "Found their queue full.", |c| c.mail_delayed.get()),
    counter("chiplog_mail_nudges_total", "Other cores woken.", |c| c.nudges.get()),
];

/// Of each shard's waiting work.
pub(super) const QUEUES: &[Family<ShardMetrics>] = &[
    gauge("chiplog_waiting_acks", "Answers that wait for a frame.", |s| s.gated as u64),
    gauge("chiplog_waiting_appends", "Wait for room in the journal.", |s| s.held as u64),
    gauge("chiplog_waiting_reads", "Fetches that wait for the disk.", |s| s.reading as u64),
    gauge("chiplog_waiting_fetches", "Wait for records to come.", |s| s.watches as u64),
];

/// Of each shard's engine, the control shard's included.
pub(super) const ENGINE: &[Family<EngineMetrics>] = &[
    gauge("chiplog_partitions", "Partitions of the shard.", |e| e.partitions),
    gauge("chiplog_partitions_halted", "Read-only after damage.", |e| e.halted_partitions),
    gauge("chiplog_producers", "Idempotent producers remembered.", |e| e.producers),
    gauge("chiplog_journal_used_bytes", "That may not be recycled yet.", |e| e.journal.used_bytes),
    gauge("chiplog_journal_bytes", "What data may fill.", |e| e.journal.total_bytes),
    gauge("chiplog_journal_pressure", "0 calm to 3 full.", |e| pressure(e.pressure)),
    gauge("chiplog_journal_frames_needed", "Recovery would read them.", |e| e.frames_needed),
    gauge("chiplog_journal_in_flight", "Frames in flight now.", |e| {
        u64::from(e.journal_counters.in_flight)
    }),
    gauge("chiplog_journal_window", "Frames that may be in flight (K).", |e| {
        u64::from(e.journal_window)
    }),
    counter("chiplog_journal_frames_total", "Frames written.", |e| e.journal_counters.frames),
    counter("chiplog_journal_idle_seals_total", "Empty frames.", |e| e.journal_counters.idle_seals),
    counter("chiplog_journal_entries_total", "Entries written.", |e| e.journal_counters.entries),
    counter("chiplog_journal_written_bytes_total", "Of frames.", |e| e.journal_counters.bytes),
    gauge("chiplog_arena_used_bytes", "Memory that mirrors the journal.", |e| e.arena_used_bytes),
    gauge("chiplog_arena_bytes", "Memory for that.", |e| e.arena_bytes),
    counter("chiplog_destaged_bytes_total", "Batches moved to bins.", |e| e.destaged_bytes),
    counter("chiplog_destage_failures_total", "Moves that failed.", |e| e.destage_failures),
    counter("chiplog_carried_bytes_total", "Appended again to recycle.", |e| e.carried_bytes),
    counter("chiplog_extents_total", "Extents written.", |e| e.extents),
    counter("chiplog_extents_moved_total", "Out of sparse bins.", |e| e.extents_moved),
    gauge("chiplog_bins_free", "Bins ready to be filled.", |e| u64::from(e.bins_free)),
    gauge("chiplog_bins_used", "Bins that hold something.", |e| u64::from(e.bins_used)),
    gauge("chiplog_disk_full", "1: no bin is free and none can be made.", |e| {
        u64::from(e.disk_full)
    }),
    gauge("chiplog_bin_reads_waiting", "Reads of bins that wait for others.", |e| {
        e.disk_reads_waiting
    }),
    counter("chiplog_bin_reads_total", "Reads of bins for consumers.", |e| e.disk_reads),
    counter("chiplog_bin_read_bytes_total", "Bytes of those.", |e| e.disk_read_bytes),
];

fn pressure(pressure: Pressure) -> u64 {
    pressure as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<M>(families: &[Family<M>]) {
        for family in families {
            assert_eq!(
                family.name.ends_with("_total"),
                family.kind == "counter",
                "{}",
                family.name
            );
            assert!(family.help.ends_with('.') && !family.help.contains('\n'), "{}", family.name);
        }
    }

    #[test]
    fn counters_are_named_as_counters() {
        check(CORE);
        check(QUEUES);
        check(ENGINE);
    }

    #[test]
    fn no_two_families_share_a_name() {
        let names = CORE.iter().map(|f| f.name).chain(QUEUES.iter().map(|f| f.name));
        let mut names: Vec<_> = names.chain(ENGINE.iter().map(|f| f.name)).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
