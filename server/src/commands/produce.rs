//! `chiplog produce`: lines in, records out.
//!
//! ```text
//!  stdin or files ─ reader thread ─▶ lines ─▶ drafts, one batch per partition ─▶ leaders
//! ```
//! A batch holds whatever came while the one before it was on its way, so a line typed by hand
//! leaves at once and a file leaves in large batches, without a timer.

mod delivery;
mod input;
mod pacer;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use base::batch::BatchBuilder;
use clap::{Args, ValueEnum};

use super::server_args::ServerArgs;
use crate::client::compression::Codec;
use crate::client::partitioner;
use crate::config::ByteSize;
use crate::config::value::Value;
use crate::failure::Failure;
use crate::output::{self, Progress};
use delivery::Delivery;
use pacer::Pacer;

pub const EXAMPLES: &str = "\
Examples:
  echo hello | chiplog produce greetings
  chiplog produce orders -k : < orders.txt           each line is KEY:VALUE
  chiplog produce events -H source=test --rate 1000 events.log
  chiplog produce images --whole cat.jpg dog.jpg     each file is one record";

#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// The topic to write to.
    topic: String,
    /// Files to read lines from, instead of standard input.
    files: Vec<PathBuf>,
    /// Split each line at the first SEPARATOR into key and value; a line without has no key.
    #[arg(short, long, value_name = "SEPARATOR", value_parser = not_empty)]
    key_separator: Option<String>,
    /// A header of every record; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Write to this partition only. Otherwise the key decides, as in Kafka's own clients; records
    /// without one take turns, batch by batch.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Make each file one record, as it is.
    #[arg(long, requires = "files", conflicts_with = "key_separator")]
    whole: bool,
    /// Make an empty value null: what deletes a key in a compacted topic.
    #[arg(long)]
    empty_is_null: bool,
    /// When the server answers.
    #[arg(long, value_enum, default_value = "all")]
    acks: Acks,
    /// How batches are compressed.
    #[arg(long, value_enum, default_value = "none")]
    compression: Codec,
    /// Records in one batch at most.
    #[arg(long, value_name = "N", default_value = "10000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    batch_records: u32,
    /// Bytes in one batch at most, before compression; a larger record goes alone.
    #[arg(long, value_name = "SIZE", default_value = "900KiB", value_parser = size)]
    batch_bytes: ByteSize,
    /// Records per second, evenly spaced.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    #[command(flatten)]
    server: ServerArgs,
}

/// What must hold before the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Acks {
    /// Durable at a quorum.
    All,
    /// Durable at the leader.
    #[value(name = "1")]
    Leader,
    /// It does not answer at all.
    #[value(name = "0")]
    None,
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("expects at least one letter".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expects NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn size(text: &str) -> Result<ByteSize, String> {
    ByteSize::parse(text).ok_or_else(|| format!("expects {}", ByteSize::EXPECTED))
}

/// Writes records until the input ends.
pub fn run(args: &ProduceArgs) -> Result<(), Failure> {
    let delivery = Delivery::start(args)?;
    let started = Instant::now();
    let mut producer = Producer {
        args,
        drafts: (0..delivery.partition_count()).map(|_| None).collect(),
        delivery,
        drafted: Drafted::default(),
        turn: 0,
        pacer: args.rate.map(Pacer::new),
        progress: Progress::start(),
        records: 0,
    };
    producer.drain(&input::open(&args.files, args.whole))?;
    producer.progress.finish();
    let (records, took) = (producer.records, started.elapsed());
    output::summary(format_args!("{records} records to {} in {}", args.topic, seconds(took)));
    Ok(())
}

fn seconds(took: Duration) -> String {
    format!("{:.3} s", took.as_secs_f64())
}

struct Producer<'a> {
    args: &'a ProduceArgs,
    /// What the next batch of each partition holds.
    drafts: Vec<Option<BatchBuilder>>,
    delivery: Delivery,
    drafted: Drafted,
    /// The partition for records without a key.
    turn: u32,
    pacer: Option<Pacer>,
    progress: Progress,
    records: u64,
}

#[derive(Default)]
struct Drafted {
    records: u32,
    bytes: u64,
}

impl Producer<'_> {
    fn drain(&mut self, lines: &Receiver<input::Item>) -> Result<(), Failure> {
        loop {
            let line = match lines.try_recv() {
                Ok(line) => line?,
                Err(TryRecvError::Disconnected) => return self.deliver(),
                Err(TryRecvError::Empty) => {
                    self.deliver()?;
                    let Ok(line) = lines.recv() else { return Ok(()) };
                    line?
                }
            };
            self.await_turn()?;
            self.take(&line)?;
        }
    }

    fn await_turn(&mut self) -> Result<(), Failure> {
        let Some(wait) = self.pacer.as_mut().and_then(Pacer::next) else { return Ok(()) };
        self.deliver()?;
        std::thread::sleep(wait);
        Ok(())
    }

    fn take(&mut self, line: &[u8]) -> Result<(), Failure> {
        let (key, value) = self.split(line);
        let bytes = line.len() as u64 + 64;
        let is_full = self.args.batch_records <= self.drafted.records
            || (0 < self.drafted.records && self.args.batch_bytes.0 < self.drafted.bytes + bytes);
        if is_full {
            self.deliver()?;
        }
        let partition = self.partition_of(key);
        let value = (!value.is_empty() || !self.args.empty_is_null).then_some(value);
        let headers = self.args.headers.iter();
        let headers: Vec<_> =
            headers.map(|(name, value)| (name.as_str(), Some(value.as_bytes()))).collect();
        let now = now_ms();
        let draft = self.drafts[partition as usize].get_or_insert_with(|| BatchBuilder::new(now));
        draft.push(now, key, value, &headers);
        self.drafted.records += 1;
        self.drafted.bytes += bytes;
        Ok(())
    }

    fn split<'l>(&self, line: &'l [u8]) -> (Option<&'l [u8]>, &'l [u8]) {
        let Some(separator) = self.args.key_separator.as_deref().map(str::as_bytes) else {
            return (None, line);
        };
        let found = line.windows(separator.len()).position(|window| window == separator);
        match found {
            Some(at) => (Some(&line[..at]), &line[at + separator.len()..]),
            None => (None, line),
        }
    }

    fn partition_of(&self, key: Option<&[u8]>) -> u32 {
        match (self.args.partition, key) {
            (Some(partition), _) => partition.cast_unsigned(),
            (None, Some(key)) => partitioner::of_key(key, self.drafts.len() as u32),
            (None, None) => self.turn,
        }
    }

    fn deliver(&mut self) -> Result<(), Failure> {
        if self.drafted.records == 0 {
            return Ok(());
        }
        let drafts = self.drafts.iter_mut().enumerate();
        let batches = drafts.filter_map(|(partition, draft)| {
            let batch = draft.take()?.build();
            Some(self.args.compression.compress_batch(batch).map(|b| (partition as i32, b)))
        });
        let batches = batches.collect::<Result<_, _>>().map_err(Failure::Compress)?;
        self.delivery.deliver(batches)?;
        self.records += u64::from(self.drafted.records);
        self.drafted = Drafted::default();
        self.turn = (self.turn + 1) % self.drafts.len() as u32;
        self.progress.say(format_args!("{} records", self.records));
        Ok(())
    }
}

fn now_ms() -> i64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_1970.map_or(0, |since| since.as_millis() as i64)
}
