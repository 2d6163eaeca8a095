//! `chiplog consume`: records out.
//!
//! One fetch is always under way at every leader; whichever answers first is printed first.
//! Partitions without `--follow` end where the log ended when the command began.

mod format;
pub(super) mod position;
mod reader;

use std::io::{self, BufWriter};
use std::num::NonZeroU64;
use std::ops::ControlFlow;

use clap::Args;

use super::server_args::ServerArgs;
use crate::failure::Failure;
use format::{Format, Printer};
use position::Position;
use reader::Reader;

pub const EXAMPLES: &str = "\
Examples:
  chiplog consume greetings                            all there is, then stop
  chiplog consume orders --from end --follow           what comes from now on
  chiplog consume orders --from -10                    the last ten of each partition
  chiplog consume orders --from 15m --format json      since a quarter of an hour
  chiplog consume orders --from 2026-11-22T10:00:00Z -n 1
  chiplog consume orders --partition 3 --from 1200 -k :";

#[derive(Debug, Args)]
pub struct ConsumeArgs {
    /// The topic to read.
    topic: String,
    /// Where to begin: `beginning`, `end`, an offset, -N for the last N of each partition, a time
    /// (2026-11-22T10:00:00Z), or a duration ago (15m, 2h, 3days).
    #[arg(long, value_name = "WHERE", default_value = "beginning", allow_hyphen_values = true)]
    #[arg(value_parser = position::parse)]
    from: Position,
    /// Go on at the end: print records as they come, until interrupted.
    #[arg(short, long)]
    follow: bool,
    /// Stop after N records.
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// Read only this partition; may be given several times.
    #[arg(short, long = "partition", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,
    /// How a record is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Print the key and SEPARATOR before the value (text format).
    #[arg(short, long, value_name = "SEPARATOR")]
    key_separator: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Reads until every partition has ended, enough is printed, or nobody reads any more.
pub fn run(args: &ConsumeArgs) -> Result<(), Failure> {
    let cluster = args.server.connect()?;
    let mut reader = Reader::start(cluster, &args.topic, &args.partitions, args.from, args.follow)?;
    let separator = args.key_separator.clone();
    let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut printer = Printer::new(args.format, separator, &args.topic, out);
    let mut left = args.count.map_or(u64::MAX, NonZeroU64::get);
    let mut printed = Ok(());
    while reader.is_reading() && 0 < left && printed.is_ok() {
        reader.advance(|record| {
            printed = printer.print(&record);
            left -= 1;
            if 0 < left && printed.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        printed = printed.and_then(|()| printer.flush());
    }
    match printed {
        // Whoever read has seen enough: `chiplog consume … | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(Failure::Output),
    }
}
