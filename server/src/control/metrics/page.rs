//! Lines of Prometheus's text format.

use std::fmt::{Arguments, Display, Write};

use base::LatencyHistogram;

/// A page under construction.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) text: String,
}

impl Page {
    /// Begins a family: its samples must follow.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: u64) {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        if labels.is_empty() {
            self.line(format_args!("{name} {value}"));
        } else {
            self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
        }
    }

    /// Buckets in seconds.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        (label, value): (&str, &dyn Display),
        histogram: &LatencyHistogram,
    ) {
        let count = histogram.count();
        for (bound_ns, cumulative) in histogram.cumulative() {
            let bound = seconds(bound_ns);
            let labels = format_args!("{label}=\"{value}\",le=\"{bound}\"");
            self.line(format_args!("{name}_bucket{{{labels}}} {cumulative}"));
        }
        self.line(format_args!("{name}_bucket{{{label}=\"{value}\",le=\"+Inf\"}} {count}"));
        let sum = seconds(histogram.sum_ns());
        self.line(format_args!("{name}_sum{{{label}=\"{value}\"}} {sum}"));
        self.line(format_args!("{name}_count{{{label}=\"{value}\"}} {count}"));
    }

    fn line(&mut self, line: Arguments<'_>) {
        writeln!(self.text, "{line}").expect("writing to a string never fails");
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    fn a_histogram_is_cumulative_and_ends_with_all() {
        let mut histogram = LatencyHistogram::default();
        histogram.record(Duration::from_micros(2), 2);
        histogram.record(Duration::from_secs(100), 1);
        let mut page = Page::default();
        page.histogram("h", ("shard", &0), &histogram);
        let lines: Vec<_> = page.text.lines().collect();
        assert_eq!(lines[1], "h_bucket{shard=\"0\",le=\"0.0000015\"} 0");
        assert_eq!(lines[2], "h_bucket{shard=\"0\",le=\"0.000002\"} 2");
        let last = [
            "h_bucket{shard=\"0\",le=\"12.582912\"} 2",
            "h_bucket{shard=\"0\",le=\"+Inf\"} 3",
            "h_sum{shard=\"0\"} 100.000004",
            "h_count{shard=\"0\"} 3",
        ];
        assert_eq!(lines[lines.len() - 4..], last);
    }
}
