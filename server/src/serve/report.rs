//! The start-up report, on standard output: what was found, and a line that starts with `ready`.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::time::Instant;

use engine::journal::RecoveryReport;
use ring::{DeviceReport, Features, Registered, StartReport};
use shard::Loss;

use super::cores::Assignment;
use super::engines::Plans;
use super::sockets::Sockets;
use super::watched::Recovered;
use crate::config::{ByteSize, Config};
use crate::data_folder::{DataFolder, shard_name};
use crate::output;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Report {
    started: Instant,
}

impl Report {
    /// Prints what is known before anything runs.
    pub(super) fn start(
        started: Instant,
        config: &Config,
        folder: &DataFolder,
        assignment: &Assignment,
        sockets: &Sockets,
        features: &Features,
    ) -> Self {
        print(format_args!("chiplog {}", env!("CARGO_PKG_VERSION")));
        let formatted = if folder.formatted_now() { ", formatted now" } else { "" };
        let cluster = folder.meta().cluster();
        let path = folder.path().display();
        print(format_args!("data      {path}{formatted}; cluster {cluster}"));
        print(format_args!("cores     {}; poll {}", cores(assignment), config.poll));
        let (node, core) = (&config.node_view, &config.core_view);
        print(format_args!(
            "clients   {} port {} (node view), {} port{} (core view)",
            node.advertise.0,
            sockets.node_port(),
            core.advertise.0,
            ports(sockets.core_port(), assignment.shards()),
        ));
        print(format_args!("admin     http://{}/", sockets.admin));
        print(format_args!("ring      {features}"));
        Self { started }
    }

    pub(super) fn device(&self, device: &DeviceReport) {
        print(format_args!("device    {device}"));
        for warning in device.warnings() {
            output::note(format_args!("{warning}"));
        }
    }

    /// A full disk still serves what it holds.
    pub(super) fn full_device(&self) {
        print(format_args!("device    not measured: the disk is full"));
    }

    /// What is taken at the start and kept, and what comes on top.
    pub(super) fn memory(&self, config: &Config, plans: &Plans) {
        let mebibytes = |bytes: u64| ByteSize(bytes.next_multiple_of(1 << 20));
        print(format_args!(
            "memory    {} mirror the journals, {} receive, {} buffer bins; a connection adds what it \
             has sent of a request, at most {}",
            mebibytes(plans.arena_bytes()),
            mebibytes(plans.receive_bytes()),
            mebibytes(plans.bin_buffer_bytes()),
            ByteSize(config.limits.request_bytes.into()),
        ));
    }

    /// Says what a core's start lacked.
    pub(super) fn core(&self, start: &StartReport) {
        for (shard, registered) in &start.arenas {
            if let Registered::No { .. } = registered {
                output::note(format_args!("the journal memory of shard {shard} is {registered}"));
            }
        }
        let (segments, extents) = (start.segments, start.segment_extents);
        if segments < extents {
            output::note(format_args!(
                "{segments} journal segments lie in {extents} pieces of the device: a frame across \
                 two of them waits for a lock of the file system; format a folder on a disk with \
                 more contiguous space if tails matter"
            ));
        }
    }

    pub(super) fn recovered(&self, recovered: &Recovered) {
        let name = shard_name(recovered.shard);
        print(format_args!("recovery  {name}: {}", Found(&recovered.report)));
    }

    pub(super) fn lost(&self, loss: &Loss) {
        output::note(format_args!("{loss}"));
    }

    pub(super) fn ready(&self) {
        print(format_args!("ready in {:.2} s", self.started.elapsed().as_secs_f64()));
    }

    pub(super) fn stopped(&self, cleanly: bool) {
        if cleanly {
            print(format_args!("stopped; the log is sealed"));
        } else {
            output::note(format_args!(
                "stopped before everything was finished; nothing acked is lost"
            ));
        }
    }
}

fn cores(assignment: &Assignment) -> String {
    let mut text = format!(
        "{}, {}",
        many(assignment.cores(), "data core"),
        many(assignment.shards(), "shard")
    );
    let cpus: Vec<_> = assignment.cpus().iter().map(usize::to_string).collect();
    if !cpus.is_empty() {
        let plural = if cpus.len() == 1 { "" } else { "s" };
        write!(text, ", on CPU{plural} {}", cpus.join(", ")).expect("a string takes all");
    }
    text
}

fn many(count: u16, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn ports(first: u16, count: u16) -> String {
    match count {
        1 => format!(" {first}"),
        _ => format!("s {first}–{}", first + count - 1),
    }
}

/// One sentence on a journal's recovery.
struct Found<'a>(&'a RecoveryReport);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        write!(f, "{}", report.verdict)?;
        if 0 < report.frames_accepted {
            let mebibytes = report.bytes_read as f64 / f64::from(1 << 20);
            write!(f, "; {} frames replayed, {mebibytes:.0} MiB read", report.frames_accepted)?;
            f.write_str(if report.sealed { "; sealed" } else { "; not sealed" })?;
        }
        if !report.misdirected.is_empty() {
            write!(f, "; {} frames in places not theirs", report.misdirected.len())?;
        }
        Ok(())
    }
}

/// A report nobody reads is no reason to stop serving.
fn print(line: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
