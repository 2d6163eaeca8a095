//! A core's files by id, and disk operations from request to completion.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use base::{Done, FileId, FileKind, IoError, Machine, Op, ShardId};

use crate::extents;
use crate::flight::Flight;
use crate::folder::ShardFolder;
use crate::io::Io;
use crate::maker::{Made, Maker};
use crate::uring::Target;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Files {
    shards: Vec<ShardFiles>,
    maker: Maker,
    /// Operations on files that do not exist, answered with the next completions.
    refused: Vec<Done>,
    /// Operations that the kernel or the maker has.
    under_way: usize,
    /// Held open as long as the ring.
    held: Option<OpenFile>,
    /// Arena writes fail if they cannot begin at once, so that punts are counted.
    writes_at_once: bool,
}

/// The files of one shard, by kind and number.
#[derive(Debug)]
struct ShardFiles {
    shard: ShardId,
    path: PathBuf,
    segments: Vec<Option<OpenFile>>,
    bins: Vec<Option<OpenFile>>,
    /// Replaced by files of their names. An operation that is queued may still name the descriptor,
    /// whose number must not be given to another file.
    replaced: Vec<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    target: Target,
    /// Keeps the descriptor and the lock.
    _file: OwnedFd,
}

impl Files {
    pub(crate) fn new(
        io: &mut Io,
        folders: Vec<ShardFolder>,
        maker: Maker,
        hold: Option<OwnedFd>,
    ) -> Self {
        let mut shards = Vec::with_capacity(folders.len());
        for folder in folders {
            let mut files = ShardFiles {
                shard: folder.shard(),
                path: folder.path().to_owned(),
                segments: Vec::new(),
                bins: Vec::new(),
                replaced: Vec::new(),
            };
            io.counters.count_extents(folder.segment_extents());
            for file in folder.into_files() {
                files.insert(io, file.id.kind, file.file);
            }
            shards.push(files);
        }
        let held = hold.map(|file| OpenFile { target: io.uring.adopt(file.as_fd()), _file: file });
        let writes_at_once = true;
        Self { shards, maker, refused: Vec::new(), under_way: 0, held, writes_at_once }
    }

    /// Starts `op`.
    pub(crate) fn start<M: Machine>(&mut self, io: &mut Io, machine: &M, op: Op) {
        if let Op::Create { tok, file, bytes } = op {
            self.under_way += 1;
            self.maker.ask(tok, file, &self.shard(file.shard).path, bytes);
            return;
        }
        let Some(target) = self.target(op.file()) else {
            self.refused.push(op.answer(Err(IoError::Errno(libc::ENOENT))));
            return;
        };
        self.under_way += 1;
        match op {
            Op::Write { tok, file, pos, span, pin, sync } => {
                let sync = sync && !io.forgets_dsync;
                let arena = io.arena(file.shard);
                let bytes = arena.lasting(machine.arena(file.shard).get(span), span);
                let buffer = arena.buffer;
                let flight = Flight::Write {
                    tok,
                    pin,
                    bytes,
                    buffer,
                    pos,
                    sync,
                    target,
                    at_once: self.writes_at_once,
                };
                io.launch(target, flight);
            }
            Op::WritePages { tok, pos, pages, sync, .. } => {
                io.launch(target, Flight::WritePages { tok, pages, pos, sync });
            }
            Op::Read { tok, pos, into, .. } => {
                io.launch(target, Flight::Read { tok, pages: into, pos });
            }
            Op::Sync { tok, .. } => {
                io.launch(target, Flight::Sync { tok });
            }
            Op::Create { .. } => unreachable!("handed to the maker above"),
        }
    }

    /// The completion of a disk operation that landed with `result`; `None` if it flies again.
    pub(crate) fn end(&mut self, io: &mut Io, flight: Flight, result: i32) -> Option<Done> {
        let flight = self.punt(io, flight, result)?;
        self.under_way -= 1;
        let counters = &io.counters;
        Some(match flight {
            Flight::Write { tok, pin, bytes, .. } => {
                let res = moved(result, bytes.bytes());
                counters.writes.add(1);
                counters.written_bytes.add(result.max(0).unsigned_abs().into());
                Done::Wrote { tok, pin, res }
            }
            Flight::WritePages { tok, pages, .. } => {
                let res = moved(result, size_of_val(&*pages) as u32);
                counters.writes.add(1);
                counters.written_bytes.add(result.max(0).unsigned_abs().into());
                Done::WrotePages { tok, pages, res }
            }
            Flight::Read { tok, pages, .. } => {
                let res = moved(result, size_of_val(&*pages) as u32);
                counters.reads.add(1);
                counters.read_bytes.add(result.max(0).unsigned_abs().into());
                Done::Filled { tok, buf: pages, res }
            }
            Flight::Sync { tok } => {
                counters.syncs.add(1);
                Done::Synced { tok, res: moved(result, 0) }
            }
            other => unreachable!("not a disk operation: {other:?}"),
        })
    }

    /// Launches an arena write anew that the kernel did not begin at once: nothing of it was written,
    /// and a worker thread may wait for what it needs. Any other flight comes back.
    fn punt(&mut self, io: &mut Io, flight: Flight, result: i32) -> Option<Flight> {
        match (flight, -result) {
            (
                Flight::Write { tok, pin, bytes, buffer, pos, sync, target, at_once: true },
                error @ (libc::EAGAIN | libc::EOPNOTSUPP),
            ) => {
                // A file system that knows no such writes: all go as the kernel likes.
                self.writes_at_once &= error == libc::EAGAIN;
                io.counters.punts.add(1);
                let at_once = false;
                let flight = Flight::Write { tok, pin, bytes, buffer, pos, sync, target, at_once };
                io.launch(target, flight);
                None
            }
            (flight, _) => Some(flight),
        }
    }

    /// The next completion that does not come from the ring: files made, operations refused.
    pub(crate) fn next_done(&mut self, io: &mut Io) -> Option<Done> {
        if let Some(done) = self.refused.pop() {
            return Some(done);
        }
        let Made { tok, file, result } = self.maker.take()?;
        self.under_way -= 1;
        let res = result.map(|made| {
            io.counters.created.add(1);
            if let FileKind::Segment(_) = file.kind {
                io.counters.count_extents(extents::of(&made).into_iter());
            }
            self.shard_mut(file.shard).insert(io, file.kind, made);
        });
        Some(Done::Created { tok, res })
    }

    /// Whether [`Files::next_done`] has something.
    pub(crate) fn has_done(&self) -> bool {
        !self.refused.is_empty() || self.maker.has_made()
    }

    /// Operations that the machine has not been told the end of.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way + self.refused.len()
    }

    /// Takes the files out of the ring's table, which would keep them locked as long as the ring.
    pub(crate) fn close(&mut self, io: &mut Io) {
        if let Some(file) = self.held.take() {
            io.uring.disown(file.target);
        }
        for shard in &mut self.shards {
            let named = shard.segments.drain(..).chain(shard.bins.drain(..)).flatten();
            for file in named.chain(shard.replaced.drain(..)) {
                io.uring.disown(file.target);
            }
        }
    }

    fn target(&self, file: FileId) -> Option<Target> {
        let shard = self.shard(file.shard);
        let slot = match file.kind {
            FileKind::Segment(number) => shard.segments.get(usize::from(number)),
            FileKind::Bin(number) => shard.bins.get(number as usize),
        };
        Some(slot?.as_ref()?.target)
    }

    fn shard(&self, shard: ShardId) -> &ShardFiles {
        let found = self.shards.iter().find(|files| files.shard == shard);
        found.unwrap_or_else(|| panic!("shard {shard} is not on this core"))
    }

    fn shard_mut(&mut self, shard: ShardId) -> &mut ShardFiles {
        let found = self.shards.iter_mut().find(|files| files.shard == shard);
        found.unwrap_or_else(|| panic!("shard {shard} is not on this core"))
    }
}

impl ShardFiles {
    /// Puts a file in its place; one that was there is replaced by the new one of its name.
    fn insert(&mut self, io: &mut Io, kind: FileKind, file: OwnedFd) {
        let (files, number) = match kind {
            FileKind::Segment(number) => (&mut self.segments, usize::from(number)),
            FileKind::Bin(number) => (&mut self.bins, number as usize),
        };
        if files.len() <= number {
            files.resize_with(number + 1, || None);
        }
        let target = io.uring.adopt(file.as_fd());
        self.replaced.extend(files[number].replace(OpenFile { target, _file: file }));
    }
}

/// What the kernel's result means if `wanted` bytes were to be moved.
fn moved(result: i32, wanted: u32) -> Result<(), IoError> {
    match u32::try_from(result) {
        Ok(got) if got == wanted => Ok(()),
        Ok(got) => Err(IoError::Short { wanted, got }),
        Err(_) => Err(IoError::Errno(-result)),
    }
}
