//! Files in memory with a volatile cache, delays and torn writes, all drawn from a seed.

use std::collections::{BTreeMap, VecDeque};

use base::{Arena, Done, FileId, FileKind, IoError, Op, PAGE_BYTES, Page};

/// Writes are torn at this granularity.
const SECTOR: usize = 512;
const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Disk {
    /// Everything written, as the running process reads it.
    files: BTreeMap<FileId, Vec<u8>>,
    /// What a power cut leaves for sure.
    stable: BTreeMap<FileId, Vec<u8>>,
    /// Written and not synced, oldest first.
    cached: Vec<(FileId, u64, Vec<u8>)>,
    queue: VecDeque<Op>,
    rng: u64,
    /// Whether completions are delayed and reordered.
    pub delays: bool,
    /// Whether a write to a bin fails now and then.
    pub flaky_bins: bool,
    /// Bytes that all files together may have.
    pub capacity: u64,
    pub writes: u64,
    pub syncs: u64,
}

impl Disk {
    pub fn new(seed: u64) -> Self {
        Self {
            files: BTreeMap::new(),
            stable: BTreeMap::new(),
            cached: Vec::new(),
            queue: VecDeque::new(),
            rng: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            delays: false,
            flaky_bins: false,
            capacity: u64::MAX,
            writes: 0,
            syncs: 0,
        }
    }

    pub fn listing(&self) -> Vec<(FileId, u64)> {
        self.files.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect()
    }

    pub fn file_mut(&mut self, file: FileId) -> &mut Vec<u8> {
        self.files.get_mut(&file).expect("the file exists")
    }

    /// Flips a byte on stable storage.
    pub fn corrupt(&mut self, file: FileId, at: usize) {
        for files in [&mut self.files, &mut self.stable] {
            if let Some(byte) = files.get_mut(&file).and_then(|bytes| bytes.get_mut(at)) {
                *byte ^= 0x55;
            }
        }
    }

    /// Where `needle` stands for the first time in the files of a kind.
    pub fn find(&self, needle: &[u8], of: impl Fn(FileKind) -> bool) -> Option<(FileId, usize)> {
        self.files.iter().filter(|(file, _)| of(file.kind)).find_map(|(file, bytes)| {
            let at = bytes.windows(needle.len()).position(|window| window == needle)?;
            Some((*file, at))
        })
    }

    /// The same files, with nothing in flight.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { files: self.files.clone(), stable: self.files.clone(), ..Self::new(1) }
    }

    /// Puts the files of a kind from another disk in the place of this one's.
    pub fn take_from(&mut self, other: &Self, of: impl Fn(FileKind) -> bool) {
        self.remove(&of);
        for (file, bytes) in other.files.iter().filter(|(file, _)| of(file.kind)) {
            self.files.insert(*file, bytes.clone());
            self.stable.insert(*file, bytes.clone());
        }
    }

    pub fn remove(&mut self, of: impl Fn(FileKind) -> bool) {
        self.files.retain(|file, _| !of(file.kind));
        self.stable.retain(|file, _| !of(file.kind));
    }

    pub fn submit(&mut self, op: Op, _arena: &Arena) {
        self.queue.push_back(op);
    }

    /// The next completion, if one is ready.
    pub fn complete(&mut self, arena: &Arena) -> Option<Done> {
        if self.queue.is_empty() || (self.delays && self.below(3) == 0) {
            return None;
        }
        let limit = if self.delays { self.queue.len() as u64 } else { 1 };
        let index = self.below(limit) as usize;
        let op = self.queue.remove(index).expect("within the queue");
        Some(self.perform(op, arena))
    }

    /// The process dies: what it had written stays, of what was in flight any part may still land.
    pub fn kill(&mut self, arena: &Arena) {
        for (file, pos, bytes) in self.in_flight(arena) {
            let fate = self.below(3);
            for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                if fate == 1 || (fate == 2 && self.below(2) == 0) {
                    self.cached.push((file, pos + (index * SECTOR) as u64, sector.to_vec()));
                    if let Some(bytes) = self.files.get_mut(&file) {
                        let at = pos as usize + index * SECTOR;
                        bytes[at..at + sector.len()].copy_from_slice(sector);
                    }
                }
            }
        }
    }

    /// The writes that wait.
    fn in_flight(&mut self, arena: &Arena) -> Vec<(FileId, u64, Vec<u8>)> {
        let mut writes = Vec::new();
        for op in core::mem::take(&mut self.queue) {
            match op {
                Op::Write { file, pos, span, .. } => {
                    writes.push((file, pos, arena.get(span).expect("pinned").to_vec()));
                }
                Op::WritePages { file, pos, pages, .. } => {
                    writes.push((file, pos, Page::bytes(&pages).to_vec()));
                }
                _ => {}
            }
        }
        writes
    }

    /// Power fails: of what was not synced, and of what was in flight, any part may survive.
    pub fn power_cut(&mut self, arena: &Arena) {
        let mut uncertain = core::mem::take(&mut self.cached);
        uncertain.extend(self.in_flight(arena));
        for (file, pos, bytes) in uncertain {
            let fate = self.below(4);
            for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                let survives = match fate {
                    0 => false,
                    1 => true,
                    _ => self.below(2) == 0,
                };
                if survives && let Some(stable) = self.stable.get_mut(&file) {
                    let at = pos as usize + index * SECTOR;
                    stable[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        self.files = self.stable.clone();
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        self.rng.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit.max(1)
    }

    fn perform(&mut self, op: Op, arena: &Arena) -> Done {
        match op {
            Op::Write { tok, file, pos, span, pin, sync } => {
                let bytes = arena.get(span).expect("a pinned span stays").to_vec();
                Done::Wrote { tok, pin, res: self.write(file, pos, bytes, sync) }
            }
            Op::WritePages { tok, file, pos, pages, sync } => {
                let bytes = Page::bytes(&pages).to_vec();
                Done::WrotePages { tok, res: self.write(file, pos, bytes, sync), pages }
            }
            Op::Read { tok, file, pos, mut into } => {
                let res = self.read(file, pos, Page::bytes_mut(&mut into));
                Done::Filled { tok, buf: into, res }
            }
            Op::Sync { tok, file } => {
                self.sync(file);
                Done::Synced { tok, res: Ok(()) }
            }
            Op::Create { tok, file, bytes } => Done::Created { tok, res: self.create(file, bytes) },
        }
    }

    fn write(&mut self, file: FileId, pos: u64, data: Vec<u8>, sync: bool) -> Result<(), IoError> {
        self.writes += 1;
        if matches!(file.kind, FileKind::Bin(_)) && self.flaky_bins && self.below(200) == 0 {
            return Err(IoError::Errno(EIO));
        }
        let bytes = self.files.get_mut(&file).ok_or(IoError::Errno(2))?;
        let at = pos as usize;
        assert!(at + data.len() <= bytes.len(), "{file:?}: a write beyond the end, at {pos}");
        assert!(at.is_multiple_of(PAGE_BYTES) && data.len().is_multiple_of(PAGE_BYTES));
        bytes[at..at + data.len()].copy_from_slice(&data);
        if sync {
            let stable = self.stable.get_mut(&file).expect("created");
            stable[at..at + data.len()].copy_from_slice(&data);
        } else {
            self.cached.push((file, pos, data));
        }
        Ok(())
    }

    fn read(&mut self, file: FileId, pos: u64, into: &mut [u8]) -> Result<(), IoError> {
        let bytes = self.files.get(&file).ok_or(IoError::Errno(2))?;
        let at = pos as usize;
        let Some(found) = bytes.get(at..at + into.len()) else {
            let got = bytes.len().saturating_sub(at) as u32;
            return Err(IoError::Short { wanted: into.len() as u32, got });
        };
        into.copy_from_slice(found);
        Ok(())
    }

    fn sync(&mut self, file: FileId) {
        self.syncs += 1;
        let (of_file, others) =
            core::mem::take(&mut self.cached).into_iter().partition(|(of, _, _)| *of == file);
        self.cached = others;
        let of_file: Vec<(FileId, u64, Vec<u8>)> = of_file;
        for (_, pos, data) in of_file {
            let stable = self.stable.get_mut(&file).expect("created");
            stable[pos as usize..pos as usize + data.len()].copy_from_slice(&data);
        }
    }

    fn create(&mut self, file: FileId, bytes: u64) -> Result<(), IoError> {
        let used: u64 = self.files.values().map(|bytes| bytes.len() as u64).sum();
        if self.capacity < used + bytes {
            return Err(IoError::Errno(ENOSPC));
        }
        self.files.insert(file, vec![0; bytes as usize]);
        self.stable.insert(file, vec![0; bytes as usize]);
        Ok(())
    }
}
