//! `/metrics`, in Prometheus's text format.

mod families;
mod page;

use std::fmt::Display;
use std::sync::Arc;

use base::ShardId;
use engine::{Engine, EngineMetrics};
use ring::ReactorCounters;
use shard::{ControlShard, CoreMetrics, LedMetrics, ShardMetrics};

use super::notifier::health;
use families::{CORE, ENGINE, QUEUES};
use page::Page;

/// The whole page: what the control core knows itself, and the newest numbers of the others.
pub(crate) fn page(
    control: &ControlShard,
    cores: &[Arc<ReactorCounters>],
    faults: &[String],
) -> String {
    let mut page = Page::default();
    node(&mut page, control);
    page.family("chiplog_injected_fault", "gauge", "Always 1; a fault that holds on this node.");
    for fault in faults {
        page.sample("chiplog_injected_fault", &[("fault", fault)], 1);
    }
    for family in CORE {
        page.family(family.name, family.kind, family.help);
        for (core, counters) in cores.iter().enumerate() {
            page.sample(family.name, &[("core", &core)], (family.value)(counters));
        }
    }
    let measured: Vec<&CoreMetrics> = control.measured().collect();
    page.family(
        "chiplog_waiting_requests",
        "gauge",
        "Requests that wait for others or for records.",
    );
    for core in &measured {
        page.sample("chiplog_waiting_requests", &[("core", &core.core)], core.jobs as u64);
    }
    page.family("chiplog_stalled_connections", "gauge", "Held back: no room in a journal.");
    for core in &measured {
        page.sample("chiplog_stalled_connections", &[("core", &core.core)], core.stalled as u64);
    }
    let shards: Vec<&ShardMetrics> = measured.iter().flat_map(|core| &core.shards).collect();
    for family in QUEUES {
        page.family(family.name, family.kind, family.help);
        for shard in &shards {
            page.sample(family.name, &[("shard", &shard.shard)], (family.value)(shard));
        }
    }
    replicas(&mut page, control, &shards);
    let name = "chiplog_ack_seconds";
    page.family(name, "histogram", "From the append of a batch to stable storage.");
    for shard in &shards {
        page.histogram(name, ("shard", &shard.shard), &shard.ack_times);
    }
    let engines = shards.iter().map(|shard| (shard_label(shard.shard), shard.engine));
    let own = (shard_label(ShardId::CONTROL), Engine::metrics(control.engine()));
    self::engines(&mut page, &engines.chain([own]).collect::<Vec<_>>());
    page.text
}

fn node(page: &mut Page, control: &ControlShard) {
    let version = env!("CARGO_PKG_VERSION");
    page.family("chiplog_build_info", "gauge", "Always 1; the label is the version.");
    page.sample("chiplog_build_info", &[("version", &version)], 1);
    page.family("chiplog_ready", "gauge", "Whether every shard serves.");
    page.sample("chiplog_ready", &[], u64::from(control.readiness().is_ok()));
    let state = control.state();
    page.family("chiplog_cluster_log_index", "gauge", "The last committed entry.");
    page.sample("chiplog_cluster_log_index", &[], state.version().0);
    page.family("chiplog_topics", "gauge", "Topics that exist.");
    page.sample("chiplog_topics", &[], state.topics().len() as u64);
}

/// How shards of the cluster are, as far as this node knows, and how far the followers of what it
/// leads.
fn replicas(page: &mut Page, control: &ControlShard, shards: &[&ShardMetrics]) {
    let state = control.state();
    let name = "chiplog_shard_health";
    page.family(name, "gauge", "Always 1; the label says how the shard is. Ask who leads the log.");
    for (at, health) in health(control, &state) {
        page.sample(name, &[("node", &at.node), ("shard", &at.shard), ("health", &health)], 1);
    }
    let leads = "chiplog_cluster_log_leads";
    page.family(leads, "gauge", "Whether this node leads the cluster log.");
    page.sample(leads, &[], u64::from(control.leads()));
    let led = || shards.iter().flat_map(|shard| &shard.led);
    let topics = state.topics();
    let topic = |led: &LedMetrics| {
        let topic = topics.by_number(led.partition.topic);
        topic.map_or_else(String::new, |topic| topic.name.to_string())
    };
    let mut each = |name: &str, help: &str, value: &dyn Fn(&LedMetrics) -> u64| {
        page.family(name, "gauge", help);
        for led in led() {
            let labels: [(&str, &dyn Display); 2] =
                [("topic", &topic(led)), ("partition", &led.partition.index)];
            page.sample(name, &labels, value(led));
        }
    };
    each("chiplog_partition_epoch", "Of a replicated partition led here.", &|led| {
        u64::from(led.epoch.0)
    });
    each("chiplog_partition_committed", "The end of what a quorum holds.", &|led| led.committed.0);
    let name = "chiplog_replica_lag_records";
    page.family(name, "gauge", "Records that a follower does not hold on stable storage yet.");
    for led in led() {
        for (follower, lag, counts) in &led.followers {
            let labels: [(&str, &dyn Display); 4] = [
                ("topic", &topic(led)),
                ("partition", &led.partition.index),
                ("node", &follower.node),
                ("counts", counts),
            ];
            page.sample(name, &labels, *lag);
        }
    }
}

fn engines(page: &mut Page, engines: &[(String, EngineMetrics)]) {
    for family in ENGINE {
        page.family(family.name, family.kind, family.help);
        for (shard, metrics) in engines {
            page.sample(family.name, &[("shard", shard)], (family.value)(metrics));
        }
    }
    let name = "chiplog_journal_write_seconds";
    page.family(name, "histogram", "From the submission of a journal frame to stable storage.");
    for (shard, metrics) in engines {
        page.histogram(name, ("shard", shard), &metrics.journal_write_times);
    }
    let name = "chiplog_frame_wait_seconds";
    page.family(name, "histogram", "From a frame's first entry to its submission.");
    for (shard, metrics) in engines {
        page.histogram(name, ("shard", shard), &metrics.journal_frame_waits);
    }
    let name = "chiplog_bin_read_seconds";
    page.family(name, "histogram", "Reads of bins, on the device.");
    for (shard, metrics) in engines {
        page.histogram(name, ("shard", shard), &metrics.disk_read_times);
    }
}

fn shard_label(shard: ShardId) -> String {
    if shard == ShardId::CONTROL { "control".to_owned() } else { shard.to_string() }
}
