//! Gathers extents into direct writes of up to 1 MiB, page after page.

use std::collections::VecDeque;

use base::{FileId, Op, PAGE_BYTES, Page, Token};

use crate::page_pool::PagePool;

/// Pages of a full write.
pub(crate) const WRITE_PAGES: usize = 256;

/// A stream of bytes into one bin. Full buffers become writes at once.
#[derive(Debug)]
pub(crate) struct BinWriter {
    file: FileId,
    token: Token,
    /// The page of the bin that the buffer starts at.
    page: u32,
    buffer: Option<Box<[Page]>>,
    /// Bytes in the buffer.
    used: usize,
    pub(crate) in_flight: u32,
}

impl BinWriter {
    /// Writes to `file` from `page` on; every write carries `token`.
    pub(crate) fn new(file: FileId, token: Token, page: u32) -> Self {
        Self { file, token, page, buffer: None, used: 0, in_flight: 0 }
    }

    pub(crate) fn put(&mut self, mut bytes: &[u8], pool: &mut PagePool, ops: &mut VecDeque<Op>) {
        while !bytes.is_empty() {
            let buffer = self.buffer.get_or_insert_with(|| pool.take(WRITE_PAGES));
            let room = &mut Page::bytes_mut(buffer)[self.used..];
            let len = room.len().min(bytes.len());
            room[..len].copy_from_slice(&bytes[..len]);
            self.used += len;
            bytes = &bytes[len..];
            if self.used == WRITE_PAGES * PAGE_BYTES {
                self.flush(pool, ops);
            }
        }
    }

    /// Fills up the page with zeros.
    pub(crate) fn pad(&mut self, pool: &mut PagePool, ops: &mut VecDeque<Op>) {
        let rest = self.used.next_multiple_of(PAGE_BYTES) - self.used;
        self.put(&[0; PAGE_BYTES][..rest], pool, ops);
    }

    /// Writes what the buffer holds: whole pages.
    pub(crate) fn flush(&mut self, pool: &mut PagePool, ops: &mut VecDeque<Op>) {
        let Some(buffer) = self.buffer.take() else { return };
        assert!(
            self.used != 0 && self.used.is_multiple_of(PAGE_BYTES),
            "{} bytes are no whole pages",
            self.used
        );
        let pages = self.used / PAGE_BYTES;
        if pages == buffer.len() {
            self.write(buffer, ops);
        } else {
            // A write has the size of its buffer.
            let mut part = pool.take(pages);
            part.clone_from_slice(&buffer[..pages]);
            pool.give(buffer);
            self.write(part, ops);
        }
        self.used = 0;
    }

    fn write(&mut self, pages: Box<[Page]>, ops: &mut VecDeque<Op>) {
        let pos = u64::from(self.page) * PAGE_BYTES as u64;
        self.page += pages.len() as u32;
        self.in_flight += 1;
        ops.push_back(Op::WritePages { tok: self.token, file: self.file, pos, pages, sync: false });
    }

    /// A write ended; its buffer goes back.
    pub(crate) fn wrote(&mut self, pages: Box<[Page]>, pool: &mut PagePool) {
        self.in_flight -= 1;
        pool.give(pages);
    }
}

#[cfg(test)]
mod tests {
    use base::{FileKind, ShardId};

    use super::*;

    /// The bytes that the operations leave in the file.
    fn content(ops: VecDeque<Op>, bytes: usize) -> Vec<u8> {
        let mut file = vec![0xee; bytes];
        for op in ops {
            let Op::WritePages { pos, pages, .. } = op else { panic!("{op:?}") };
            let pages = Page::bytes(&pages);
            file[pos as usize..pos as usize + pages.len()].copy_from_slice(pages);
        }
        file
    }

    #[test]
    fn what_is_put_stands_in_the_file_in_order() {
        let file = FileId { shard: ShardId(0), kind: FileKind::Bin(0) };
        let mut pool = PagePool::new(4 << 20);
        let mut ops = VecDeque::new();
        let mut writer = BinWriter::new(file, Token(1), 2);
        let mut expected = vec![0xee; 2 * PAGE_BYTES];
        for (value, len) in [(1, 5000), (2, 96), (3, 1 << 20), (4, 4096 * 3)] {
            let bytes = vec![value; len];
            writer.put(&bytes, &mut pool, &mut ops);
            writer.pad(&mut pool, &mut ops);
            expected.extend_from_slice(&bytes);
            expected.resize(expected.len().next_multiple_of(PAGE_BYTES), 0);
        }
        writer.flush(&mut pool, &mut ops);
        assert_eq!(writer.in_flight as usize, ops.len());
        let end = expected.len();
        expected.resize(end + PAGE_BYTES, 0xee);
        assert!(content(ops, expected.len()) == expected, "nothing beyond, nothing amiss");
    }
}
