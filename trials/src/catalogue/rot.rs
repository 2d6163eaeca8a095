//! A damaged byte: what it touched stops, by name; nothing is ever served altered.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::ledger::{Ack, Found, Ledger};
use crate::scene::Scene;
use crate::{Context, Outcome, Trouble, ensure, reader, topics};

/// A record whose bytes are on disk, and where.
struct Place {
    ack: Ack,
    file: PathBuf,
    pos: u64,
}

pub(super) fn in_the_journal(context: &Context) -> Outcome {
    let (scene, ledger) = written(context, 3000)?;
    damage_and_restart(&scene, &ledger, "journal")
}

pub(super) fn in_a_bin(context: &Context) -> Outcome {
    let (scene, ledger) = written(context, 40_000)?;
    damage_and_restart(&scene, &ledger, "bins")
}

/// Kills the server once `records` are acked, so that the newest of them are in the journal only.
fn written(context: &Context, records: usize) -> Outcome<(Scene, Ledger)> {
    let mut scene = Scene::new(context, context.server()?, &context.folder().join("data"))?;
    if 10_000 < records {
        (scene.load.body_bytes_max, scene.load.records_per_s) = (8000, 5000);
    }
    let (server, producers) = scene.begin()?;
    producers.await_acks(records, std::time::Duration::from_secs(60))?;
    let ledger = producers.finish()?;
    server.kill()?;
    Ok((scene, ledger))
}

/// Damages a record that lies in the part of the data folder named `part`; the partition it belongs
/// to must be named and must not serve it, the others must be whole and take more.
fn damage_and_restart(scene: &Scene, ledger: &Ledger, part: &str) -> Outcome {
    let place = find_in(scene, ledger, part)?;
    flip(&place.file, place.pos)?;
    let mut server = scene.launch.start()?;
    let hurt = place.ack.partition;

    let whole = |ack: &&Ack| ack.partition != hurt;
    let others =
        Ledger { acks: ledger.acks.iter().filter(whole).copied().collect(), ..Ledger::default() };
    let healthy: Vec<i32> = (0..scene.load.partitions).filter(|p| *p != hurt).collect();
    let verdict = reader::audit_partitions(&scene.load, &others, &healthy)?;
    ensure!(verdict.is_clean(), "the partitions that were not touched: {verdict}");

    let prefix = reader::read_until_error(&scene.load, hurt)?;
    check_prefix(ledger, &place.ack, &prefix)?;
    let name = format!("{}-{hurt}", scene.load.topic);
    server.await_word(&format!("{name} of shard"))?;
    let lost_from = lost_from(&server.said(), &name)?;
    ensure!(
        prefix.len() as i64 == lost_from && lost_from <= place.ack.offset,
        "{} records of {name} are served, and it is lost from {lost_from} on; damaged is {}",
        prefix.len(),
        place.ack.offset
    );
    server.stop()?;
    Ok(format!(
        "{name} halted at offset {} of {}, {} records of it served; the others: {verdict}",
        place.ack.offset,
        place.file.display(),
        prefix.len()
    ))
}

/// The first lost offset, as the server says: `… offsets FROM to …` or `… offsets from FROM on …`.
fn lost_from(said: &str, name: &str) -> Outcome<i64> {
    let line = said.lines().find(|line| line.contains(name)).unwrap_or_default();
    let (_, behind) = line.split_once("offsets ").unwrap_or_default();
    let number = behind.trim_start_matches("from ").split(' ').next().unwrap_or_default();
    number.parse().map_err(|_| Trouble::failed(format!("no first lost offset in: {line}")))
}

/// What the damaged partition still serves are the records before the damage, as they were acked.
fn check_prefix(ledger: &Ledger, damaged: &Ack, prefix: &[Found]) -> Outcome<()> {
    let acked: HashMap<i64, u64> = ledger
        .acks
        .iter()
        .filter(|ack| ack.partition == damaged.partition)
        .map(|ack| (ack.offset, ack.digest))
        .collect();
    for found in prefix {
        ensure!(found.offset != damaged.offset, "the damaged record was served");
        let kept = acked.get(&found.offset).is_none_or(|digest| *digest == found.digest);
        ensure!(kept, "offset {} was served altered", found.offset);
    }
    Ok(())
}

/// A damaged topic record must not make the server take the topic for absent: it may refuse to
/// start, or serve and name what is damaged.
pub(super) fn in_the_control_journal(context: &Context) -> Outcome {
    let (scene, ledger) = written(context, 500)?;
    let control = scene.launch.data().join("control");
    let (file, pos) = find_bytes(&control, scene.load.topic.as_bytes())?
        .ok_or_else(|| Trouble::failed("the topic's name is nowhere in the control journal"))?;
    flip(&file, pos)?;
    match scene.launch.start() {
        Err(trouble) => {
            let said = trouble.to_string();
            ensure!(said.contains("control"), "the control journal is not named in: {said}");
            Ok("the server refuses to start and names the control journal".into())
        }
        Ok(mut server) => {
            let said = server.said();
            ensure!(said.contains("control"), "the control journal is not named in:\n{said}");
            let created = topics::create(&scene.load.bootstrap, &scene.load.topic, 1);
            ensure!(created.is_err(), "a topic with acked records was taken for absent");
            let verdict = reader::audit(&scene.load, &ledger)?;
            ensure!(verdict.is_clean(), "{verdict}");
            server.stop()?;
            Ok(format!("served, and said so; {verdict}"))
        }
    }
}

/// The place of an acked record in a file under `part` of a shard, about the middle of those found.
fn find_in(scene: &Scene, ledger: &Ledger, part: &str) -> Outcome<Place> {
    let mut acks = ledger.acks.clone();
    acks.sort_by_key(|ack| (ack.offset, ack.partition));
    let shards = std::fs::read_dir(scene.launch.data())?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join(part))
        .filter(|folder| folder.is_dir() && folder.to_string_lossy().contains("shard-"));
    let shards: Vec<PathBuf> = shards.collect();
    let middle_first = acks[acks.len() / 2..].iter().chain(&acks[..acks.len() / 2]);
    for ack in middle_first.step_by(97) {
        let value = ack.stamp.record(scene.load.run, scene.load.body_bytes_max).value;
        for folder in &shards {
            if let Some((file, pos)) = find_bytes(folder, &value)? {
                return Ok(Place { ack: *ack, file, pos: pos + value.len() as u64 / 2 });
            }
        }
    }
    Err(Trouble::failed(format!("no acked record lies under {part}")))
}

/// The first place of `wanted` in the files of `folder` and the folders in it.
fn find_bytes(folder: &Path, wanted: &[u8]) -> Outcome<Option<(PathBuf, u64)>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(place) = find_bytes(&path, wanted)? {
                return Ok(Some(place));
            }
        } else if let Some(pos) = memchr::memmem::find(&std::fs::read(&path)?, wanted) {
            return Ok(Some((path, pos as u64)));
        }
    }
    Ok(None)
}

fn flip(file: &Path, pos: u64) -> Outcome<()> {
    let file = File::options().read(true).write(true).open(file)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, pos)?;
    file.write_all_at(&[byte[0] ^ 0x10], pos)?;
    file.sync_all()?;
    Ok(())
}
