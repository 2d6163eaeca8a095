//! `/metrics`, in Prometheus's text format.

use std::fmt::{Display, Write};
use std::sync::Arc;

use ring::ReactorCounters;
use ring::counters::Counter;
use shard::ControlShard;

/// The whole page.
pub(crate) fn page(control: &ControlShard, cores: &[Arc<ReactorCounters>]) -> String {
    let mut page = Page::default();
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
    for (name, kind, help, counter) in CORE_FAMILIES {
        page.family(name, kind, help);
        for (core, counters) in cores.iter().enumerate() {
            page.sample(name, &[("core", &core)], counter(counters).get());
        }
    }
    page.text
}

type Family = (&'static str, &'static str, &'static str, fn(&ReactorCounters) -> &Counter);

/// What each data core counts.
const CORE_FAMILIES: &[Family] = &[
    ("chiplog_core_turns_total", "counter", "Turns of the loop that did something.", |c| &c.turns),
    ("chiplog_core_spins_total", "counter", "Looks for work that found none.", |c| &c.spins),
    ("chiplog_core_parks_total", "counter", "Times the core slept.", |c| &c.parks),
    ("chiplog_core_enters_total", "counter", "System calls into the ring.", |c| &c.enters),
    ("chiplog_core_submissions_total", "counter", "Operations begun.", |c| &c.submissions),
    ("chiplog_core_completions_total", "counter", "Completions taken.", |c| &c.completions),
    ("chiplog_core_strays_total", "counter", "Completions of no operation.", |c| &c.strays),
    ("chiplog_connections", "gauge", "Client connections now.", |c| &c.connections),
    ("chiplog_connections_accepted_total", "counter", "Connections accepted.", |c| &c.accepted),
    ("chiplog_connections_refused_total", "counter", "Closed for the limit.", |c| &c.refused),
    ("chiplog_received_bytes_total", "counter", "From clients.", |c| &c.received_bytes),
    ("chiplog_receives_total", "counter", "Receives that brought bytes.", |c| &c.receives),
    ("chiplog_sent_bytes_total", "counter", "To clients.", |c| &c.sent_bytes),
    ("chiplog_sends_total", "counter", "Sends that ended well.", |c| &c.sends),
    ("chiplog_disk_written_bytes_total", "counter", "Journal and bins.", |c| &c.written_bytes),
    ("chiplog_disk_writes_total", "counter", "Writes to journal and bins.", |c| &c.writes),
    ("chiplog_disk_read_bytes_total", "counter", "Journal and bins.", |c| &c.read_bytes),
    ("chiplog_disk_reads_total", "counter", "Reads of journal and bins.", |c| &c.reads),
    ("chiplog_disk_syncs_total", "counter", "Syncs of files.", |c| &c.syncs),
    ("chiplog_files_created_total", "counter", "Segments and bins made.", |c| &c.created),
    ("chiplog_mail_in_total", "counter", "Messages from other cores.", |c| &c.mail_in),
    ("chiplog_mail_out_total", "counter", "Messages to other cores.", |c| &c.mail_out),
    ("chiplog_mail_delayed_total", "counter", "Messages that waited.", |c| &c.mail_delayed),
];

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: u64) {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        if labels.is_empty() {
            self.line(format_args!("{name} {value}"));
        } else {
            self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("writing to a string never fails");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_in_prometheus_text_format() {
        let mut page = Page::default();
        page.family("chiplog_reads_total", "counter", "Reads.");
        page.sample("chiplog_reads_total", &[("core", &1), ("kind", &"bin")], 7);
        page.sample("chiplog_up", &[], 1);
        assert_eq!(
            page.text,
            "# HELP chiplog_reads_total Reads.\n# TYPE chiplog_reads_total counter\n\
             chiplog_reads_total{core=\"1\",kind=\"bin\"} 7\nchiplog_up 1\n"
        );
    }

    #[test]
    fn counters_are_named_as_counters() {
        for (name, kind, _, _) in CORE_FAMILIES {
            assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
        }
    }
}
