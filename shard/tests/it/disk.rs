//! Files in memory: every operation succeeds, in order, as soon as it is performed.

use std::collections::BTreeMap;

use base::{Arena, Done, FileId, Op, Page};

#[derive(Clone, Default)]
pub(crate) struct Disk {
    files: BTreeMap<FileId, Vec<u8>>,
}

impl Disk {
    pub(crate) fn existing(&self) -> Vec<(FileId, u64)> {
        self.files.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect()
    }

    pub(crate) fn perform(&mut self, op: Op, arena: &Arena) -> Done {
        match op {
            Op::Write { tok, file, pos, span, pin, .. } => {
                self.write(file, pos, arena.get(span).expect("a pinned span is held"));
                Done::Wrote { tok, pin, res: Ok(()) }
            }
            Op::WritePages { tok, file, pos, pages, .. } => {
                self.write(file, pos, Page::bytes(&pages));
                Done::WrotePages { tok, pages, res: Ok(()) }
            }
            Op::Read { tok, file, pos, mut into } => {
                let bytes = Page::bytes_mut(&mut into);
                let from = pos as usize;
                bytes.copy_from_slice(&self.files[&file][from..from + bytes.len()]);
                Done::Filled { tok, buf: into, res: Ok(()) }
            }
            Op::Sync { tok, .. } => Done::Synced { tok, res: Ok(()) },
            Op::Create { tok, file, bytes } => {
                self.files.insert(file, vec![0; bytes as usize]);
                Done::Created { tok, res: Ok(()) }
            }
        }
    }

    /// Changes a byte wherever `value` stands in any file: true if it does.
    pub(crate) fn damage(&mut self, value: &[u8]) -> bool {
        let mut found = false;
        for bytes in self.files.values_mut() {
            let stands = |at: &usize| bytes[*at..].starts_with(value);
            let first =
                |from: usize| (from..bytes.len()).find(|at| bytes[*at] == value[0] && stands(at));
            let places: Vec<usize> = core::iter::successors(first(0), |at| first(at + 1)).collect();
            found |= !places.is_empty();
            places.into_iter().for_each(|at| bytes[at] ^= 1);
        }
        found
    }

    fn write(&mut self, file: FileId, pos: u64, bytes: &[u8]) {
        let from = pos as usize;
        let file = self.files.get_mut(&file).expect("only files that exist are written");
        file[from..from + bytes.len()].copy_from_slice(bytes);
    }
}
