//! `/metrics`, in Prometheus's text format.

mod families;
mod page;

use std::sync::Arc;

use base::ShardId;
use engine::{Engine, EngineMetrics};
use ring::ReactorCounters;
use shard::{ControlShard, CoreMetrics, ShardMetrics};

use families::{CORE, ENGINE, QUEUES};
use page::Page;

/// The whole page: what the control core knows itself, and the newest numbers of the others.
pub(crate) fn page(control: &ControlShard, cores: &[Arc<ReactorCounters>]) -> String {
    let mut page = Page::default();
    node(&mut page, control);
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
