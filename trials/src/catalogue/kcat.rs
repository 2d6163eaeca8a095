//! kcat: what a person does first, and a second reader of what other clients wrote.

use std::path::Path;

use crate::command::{need, run};
use crate::{Context, Launch, Outcome, ensure, topics};

const RECORDS: usize = 2000;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Lines in, lines out, once per codec and view.
pub(super) fn round_trip(context: &Context) -> Outcome {
    need(&["kcat"])?;
    let launch = Launch::new(context.server()?, &context.folder().join("data"), 2)?;
    let server = launch.start()?;
    let lines: String =
        (0..RECORDS).map(|number| format!("key {number}:value {number}\n")).collect();
    let file = context.folder().join("lines");
    std::fs::write(&file, &lines)?;
    for (view, address) in [("node", launch.node_view()), ("core", launch.core_view())] {
        for codec in CODECS {
            let topic = format!("kcat-{view}-{codec}");
            topics::create(&address, &topic, 1)?;
            write(&address, &topic, codec, &file)?;
            let read = read(&address, &topic, &["-K:"])?;
            ensure!(
                read == lines,
                "kcat read {} bytes of {} from {topic}",
                read.len(),
                lines.len()
            );
        }
    }
    server.stop()?;
    Ok(format!("{RECORDS} lines with each of {} through both views", CODECS.join(", ")))
}

/// Holds a topic of two partitions against what the programs in `clients/` write: `count` records,
/// turn and turn about, each naming its number in key, value and header.
pub(super) fn check_numbered(address: &str, topic: &str, count: usize) -> Outcome<()> {
    let read = read(address, topic, &["-f", "%p %o %k %s %h\\n"])?;
    let mut found: Vec<&str> = read.lines().collect();
    found.sort_unstable();
    let mut sent: Vec<String> =
        (0..count).map(|n| format!("{} {} key {n} value {n} number={n}", n % 2, n / 2)).collect();
    sent.sort_unstable();
    let differs = sent.iter().zip(&found).find(|(sent, found)| sent != *found);
    ensure!(differs.is_none(), "kcat finds other records in {topic}: {differs:?}");
    ensure!(sent.len() == found.len(), "kcat finds {} of {count} in {topic}", found.len());
    Ok(())
}

fn write(address: &str, topic: &str, codec: &str, lines: &Path) -> Outcome<()> {
    let lines = lines.display().to_string();
    let what = ["-P", "-z", codec, "-K:", "-l", &lines];
    run("timeout", &[&["60", "kcat", "-q", "-b", address, "-t", topic], &what[..]].concat())
        .map(drop)
}

/// The whole topic as kcat prints it.
fn read(address: &str, topic: &str, format: &[&str]) -> Outcome {
    let what = ["60", "kcat", "-q", "-b", address, "-t", topic, "-C", "-e", "-o", "beginning"];
    run("timeout", &[&what[..], format].concat())
}
