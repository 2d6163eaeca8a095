//! The files of one shard, as an engine without a ring reads and writes them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use base::{Arena, Done, FileId, IoError, Op, PAGE_BYTES, Page};
use engine::journal::MissingSegment;
use ring::ShardFolder;
use rustix::io::Errno;

use crate::data_folder::NoRoom;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Image {
    path: PathBuf,
    files: BTreeMap<FileId, ImageFile>,
    /// Writes go to the files.
    is_real: bool,
}

#[derive(Debug)]
struct ImageFile {
    /// `None`: made in memory, zeros where nothing was written.
    file: Option<File>,
    bytes: u64,
    /// Pages that were written in memory, by number.
    written: BTreeMap<u64, Box<[u8]>>,
}

impl Image {
    /// An image that leaves the files of `folder` as they are.
    pub(crate) fn of_files(folder: ShardFolder) -> Self {
        Self::new(folder, false)
    }

    /// An image whose writes go to the files of `folder`, opened for writing.
    pub(crate) fn on_disk(folder: ShardFolder) -> Self {
        Self::new(folder, true)
    }

    fn new(folder: ShardFolder, is_real: bool) -> Self {
        let path = folder.path().to_owned();
        let sizes: BTreeMap<_, _> = folder.existing().into_iter().collect();
        let file = |(id, file)| (id, ImageFile::new(Some(file), sizes[&id]));
        Self { path, files: folder.into_handles().map(file).collect(), is_real }
    }

    /// Every file and its size in bytes.
    pub(crate) fn existing(&self) -> Vec<(FileId, u64)> {
        self.files.iter().map(|(id, file)| (*id, file.bytes)).collect()
    }

    /// Why a segment could not be made.
    pub(crate) fn no_room(&self, missing: MissingSegment) -> NoRoom {
        NoRoom::of_segment(&self.path, missing)
    }

    /// Performs `op` and waits for its end.
    pub(crate) fn perform(&mut self, op: Op, arena: &Arena) -> Done {
        match op {
            Op::Write { tok, file, pos, span, pin, sync } => {
                let bytes = arena.get(span).expect("a pinned span is still held");
                Done::Wrote { tok, pin, res: self.write(file, pos, bytes, sync).map_err(errno) }
            }
            Op::WritePages { tok, file, pos, pages, sync } => {
                let res = self.write(file, pos, Page::bytes(&pages), sync).map_err(errno);
                Done::WrotePages { tok, pages, res }
            }
            Op::Read { tok, file, pos, mut into } => {
                let res = self.read(file, pos, Page::bytes_mut(&mut into)).map_err(errno);
                Done::Filled { tok, buf: into, res }
            }
            Op::Sync { tok, file } => Done::Synced { tok, res: self.sync(file).map_err(errno) },
            Op::Create { tok, file, bytes } => {
                Done::Created { tok, res: self.create(file, bytes).map_err(errno) }
            }
        }
    }

    fn read(&self, file: FileId, pos: u64, into: &mut [u8]) -> io::Result<()> {
        let image = self.files.get(&file).ok_or(Errno::NOENT)?;
        match &image.file {
            Some(file) => file.read_exact_at(into, pos)?,
            None => into.fill(0),
        }
        let first = pos / PAGE_BYTES as u64;
        for (page, into) in (first..).zip(into.chunks_mut(PAGE_BYTES)) {
            if let Some(written) = image.written.get(&page) {
                into.copy_from_slice(written);
            }
        }
        Ok(())
    }

    fn write(&mut self, file: FileId, pos: u64, bytes: &[u8], sync: bool) -> io::Result<()> {
        let image = self.files.get_mut(&file).ok_or(Errno::NOENT)?;
        match &image.file {
            Some(file) if self.is_real => {
                file.write_all_at(bytes, pos)?;
                if sync { file.sync_data() } else { Ok(()) }
            }
            _ => {
                let first = pos / PAGE_BYTES as u64;
                let pages = bytes.chunks(PAGE_BYTES).map(Box::from);
                image.written.extend((first..).zip(pages));
                Ok(())
            }
        }
    }

    fn sync(&self, file: FileId) -> io::Result<()> {
        match &self.files.get(&file).ok_or(Errno::NOENT)?.file {
            Some(file) if self.is_real => file.sync_data(),
            _ => Ok(()),
        }
    }

    fn create(&mut self, id: FileId, bytes: u64) -> io::Result<()> {
        let file = if self.is_real {
            Some(ring::make_file(&self.path, id.kind, bytes, &mut |_| Ok(()))?)
        } else {
            None
        };
        self.files.insert(id, ImageFile::new(file, bytes));
        Ok(())
    }
}

impl ImageFile {
    fn new(file: Option<File>, bytes: u64) -> Self {
        Self { file, bytes, written: BTreeMap::new() }
    }
}

/// The kernel's number for what went wrong; EIO for what has none.
fn errno(error: io::Error) -> IoError {
    IoError::Errno(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base::{FileKind, PageMemory, ShardId, Token};

    use super::*;

    const FILE: FileId = FileId { shard: ShardId(0), kind: FileKind::Segment(0) };

    fn write(image: &mut Image, arena: &Arena, page: u64, byte: u8) {
        let mut pages = Page::boxed(1);
        Page::bytes_mut(&mut pages).fill(byte);
        let pos = page * PAGE_BYTES as u64;
        let op = Op::WritePages { tok: Token(1), file: FILE, pos, pages, sync: true };
        let done = image.perform(op, arena);
        assert!(matches!(done, Done::WrotePages { res: Ok(()), .. }), "{done:?}");
    }

    fn read(image: &mut Image, arena: &Arena) -> Vec<u8> {
        let op = Op::Read { tok: Token(2), file: FILE, pos: 0, into: Page::boxed(3) };
        let Done::Filled { buf, res: Ok(()), .. } = image.perform(op, arena) else {
            panic!("unreadable");
        };
        Page::bytes(&buf).chunks(PAGE_BYTES).map(|page| page[17]).collect()
    }

    #[test]
    fn writes_in_memory_are_read_and_change_no_file() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let path = home.path().join("journal");
        std::fs::create_dir(&path).expect("writable");
        let path = path.join("000.segment");
        std::fs::write(&path, vec![1; 3 * PAGE_BYTES]).expect("writable");
        let look = || {
            let folder = ShardFolder::look(home.path(), ShardId(0), Duration::ZERO);
            Image::of_files(folder.expect("readable"))
        };
        let arena = Arena::new(PageMemory::Heap(Page::boxed(1)));
        let (mut image, mut other) = (look(), look());
        write(&mut image, &arena, 1, 9);
        assert_eq!(read(&mut image, &arena), [1, 9, 1]);
        assert_eq!(read(&mut other, &arena), [1, 1, 1], "each has its own");
        let made = FileId { kind: FileKind::Bin(4), ..FILE };
        let done = image.perform(Op::Create { tok: Token(3), file: made, bytes: 8192 }, &arena);
        assert!(matches!(done, Done::Created { res: Ok(()), .. }), "{done:?}");
        assert_eq!(image.existing(), [(FILE, 3 * PAGE_BYTES as u64), (made, 8192)]);
        assert_eq!(std::fs::read(&path).expect("readable"), vec![1; 3 * PAGE_BYTES]);
        assert!(!home.path().join("bins").exists());
    }
}
