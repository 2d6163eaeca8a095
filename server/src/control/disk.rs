//! Performs the control shard's operations on glommio's direct files.
//!
//! Segments and bins are opened with O_DIRECT and O_DSYNC: every write's completion means stable
//! storage, asked for or not. Frames are copied once into glommio's own aligned buffers; the control
//! log is far from the data path, and that keeps this file free of `unsafe`.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use base::{Arena, Done, FileId, IoError, Op, Page, Span};
use glommio::io::{Directory, DmaFile, OpenOptions};
use glommio::{GlommioError, allocate_dma_buffer};
use ring::ShardFolder;
use ring::folder::relative_path;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::bell::Bell;
use crate::faults::{DiskFate, Gate};

/// Ends the name of a file that is still being made; the next start removes it.
const UNFINISHED: &str = ".new";

/// Files are zeroed in pieces of this size.
const ZERO_BYTES: u64 = 1 << 20;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    /// Keeps the files that were there at the start locked.
    _locks: ShardFolder,
    files: RefCell<BTreeMap<FileId, Rc<DmaFile>>>,
    completions: RefCell<VecDeque<Done>>,
    bell: Rc<Bell>,
    /// Faults of the disk, where they may be injected.
    gate: Option<Gate>,
}

impl Disk {
    /// Opens the files of the shard's folder at `path`. `bell` rings at completions.
    pub(crate) async fn open(
        path: PathBuf,
        folder: ShardFolder,
        bell: Rc<Bell>,
        gate: Option<Gate>,
    ) -> Result<Rc<Self>, GlommioError<()>> {
        let mut opened = BTreeMap::new();
        for (file, _) in folder.existing() {
            let path = path.join(relative_path(file.kind));
            opened.insert(file, Rc::new(open_synced(&path).await?));
        }
        let (files, completions) = (RefCell::new(opened), RefCell::default());
        Ok(Rc::new(Self { path, _locks: folder, files, completions, bell, gate }))
    }

    /// Starts `op`; its completion comes by [`Disk::completed`].
    pub(crate) fn start(self: &Rc<Self>, op: Op, arena: &Arena) {
        let frame = match &op {
            Op::Write { span, .. } => copy_of(arena, *span),
            _ => Vec::new(),
        };
        let disk = Rc::clone(self);
        let task = glommio::spawn_local(async move {
            let done = disk.perform(op, &frame).await;
            disk.completions.borrow_mut().push_back(done);
            disk.bell.ring();
        });
        task.detach();
    }

    /// The next completion.
    pub(crate) fn completed(&self) -> Option<Done> {
        self.completions.borrow_mut().pop_front()
    }

    async fn perform(&self, op: Op, frame: &[u8]) -> Done {
        let fate = match &self.gate {
            None => None,
            Some(gate) => gate.disk(&op).await,
        };
        match fate {
            None | Some(DiskFate::Later(_) | DiskFate::Frozen(_)) => {
                self.carry_out(op, frame).await
            }
            Some(DiskFate::Forgotten) => op.answer(Ok(())),
            Some(DiskFate::Fails(errno)) => op.answer(Err(IoError::Errno(errno))),
            Some(DiskFate::Torn) => {
                if let Op::Write { file, pos, .. } = &op {
                    // Whether the half arrives does not matter: the whole fails.
                    let half = frame.len() / 2 / size_of::<Page>() * size_of::<Page>();
                    let _ = self.write(*file, *pos, &frame[..half]).await;
                }
                op.answer(Err(IoError::Errno(Errno::IO.raw_os_error())))
            }
        }
    }

    async fn carry_out(&self, op: Op, frame: &[u8]) -> Done {
        match op {
            Op::Write { tok, file, pos, pin, .. } => {
                let res = self.write(file, pos, frame).await;
                Done::Wrote { tok, pin, res }
            }
            Op::WritePages { tok, file, pos, pages, .. } => {
                let res = self.write(file, pos, Page::bytes(&pages)).await;
                Done::WrotePages { tok, pages, res }
            }
            Op::Read { tok, file, pos, mut into } => {
                let res = self.read(file, pos, Page::bytes_mut(&mut into)).await;
                Done::Filled { tok, buf: into, res }
            }
            Op::Sync { tok, file } => Done::Synced { tok, res: self.sync(file).await },
            Op::Create { tok, file, bytes } => {
                Done::Created { tok, res: self.create(file, bytes).await }
            }
        }
    }

    fn file(&self, file: FileId) -> Rc<DmaFile> {
        let files = self.files.borrow();
        Rc::clone(files.get(&file).expect("an operation names a file that exists"))
    }

    async fn write(&self, file: FileId, pos: u64, bytes: &[u8]) -> Result<(), IoError> {
        let file = self.file(file);
        let mut buffer = file.alloc_dma_buffer(bytes.len());
        buffer.as_bytes_mut().copy_from_slice(bytes);
        let got = file.write_at(buffer, pos).await.map_err(errno)?;
        whole(bytes.len(), got)
    }

    async fn read(&self, file: FileId, pos: u64, into: &mut [u8]) -> Result<(), IoError> {
        let read = self.file(file).read_at_aligned(pos, into.len()).await.map_err(errno)?;
        whole(into.len(), read.len())?;
        into.copy_from_slice(&read);
        Ok(())
    }

    async fn sync(&self, file: FileId) -> Result<(), IoError> {
        self.file(file).fdatasync().await.map_err(errno)
    }

    /// Zeroes the file under another name and gives it its own only when all of it is stable.
    async fn create(&self, id: FileId, bytes: u64) -> Result<(), IoError> {
        let path = self.path.join(relative_path(id.kind));
        let mut unfinished: OsString = path.clone().into();
        unfinished.push(UNFINISHED);
        zeroed(Path::new(&unfinished), bytes).await.map_err(errno)?;
        std::fs::rename(&unfinished, &path).map_err(|error| errno(error.into()))?;
        let folder = path.parent().expect("a file of a shard lies in a folder");
        sync_folder(folder).await.map_err(errno)?;
        let file = open_synced(&path).await.map_err(errno)?;
        self.files.borrow_mut().insert(id, Rc::new(file));
        Ok(())
    }
}

fn copy_of(arena: &Arena, span: Span) -> Vec<u8> {
    arena.get(span).expect("a pinned span is still held").to_vec()
}

async fn open_synced(path: &Path) -> Result<DmaFile, GlommioError<()>> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::DSYNC.bits().cast_signed())
        .dma_open(path)
        .await
}

async fn zeroed(path: &Path, bytes: u64) -> Result<(), GlommioError<()>> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).dma_open(path).await?;
    file.pre_allocate(bytes, false).await?;
    for pos in (0..bytes).step_by(ZERO_BYTES as usize) {
        let len = ZERO_BYTES.min(bytes - pos) as usize;
        let mut buffer = allocate_dma_buffer(len);
        buffer.as_bytes_mut().fill(0);
        let written = file.write_at(buffer, pos).await?;
        if written != len {
            return Err(io::Error::from(Errno::NOSPC).into());
        }
    }
    file.fdatasync().await?;
    file.close().await
}

async fn sync_folder(path: &Path) -> Result<(), GlommioError<()>> {
    let folder = Directory::open(path).await?;
    folder.sync().await?;
    folder.close().await
}

fn whole(wanted: usize, got: usize) -> Result<(), IoError> {
    if got == wanted {
        Ok(())
    } else {
        Err(IoError::Short { wanted: wanted as u32, got: got as u32 })
    }
}

/// The kernel's number for what went wrong. Glommio's own errors have none: EIO stands for them.
fn errno(error: GlommioError<()>) -> IoError {
    IoError::Errno(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
}

#[cfg(test)]
mod tests;
