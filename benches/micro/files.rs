//! Files in memory that take everything at once.

use std::collections::BTreeMap;

use base::{Arena, Done, FileId, Op, Page};

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<FileId, Vec<u8>>);

impl Files {
    pub(crate) fn listing(&self) -> Vec<(FileId, u64)> {
        self.0.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect()
    }

    pub(crate) fn perform(&mut self, op: Op, arena: &Arena) -> Done {
        match op {
            Op::Write { tok, file, pos, span, pin, .. } => {
                self.write(file, pos, arena.get(span).expect("a pinned span stays"));
                Done::Wrote { tok, pin, res: Ok(()) }
            }
            Op::WritePages { tok, file, pos, pages, .. } => {
                self.write(file, pos, Page::bytes(&pages));
                Done::WrotePages { tok, pages, res: Ok(()) }
            }
            Op::Read { tok, file, pos, mut into } => {
                let len = into.len() * base::PAGE_BYTES;
                let bytes = &self.0[&file][pos as usize..pos as usize + len];
                Page::bytes_mut(&mut into).copy_from_slice(bytes);
                Done::Filled { tok, buf: into, res: Ok(()) }
            }
            Op::Sync { tok, .. } => Done::Synced { tok, res: Ok(()) },
            Op::Create { tok, file, bytes } => {
                self.0.insert(file, vec![0; bytes as usize]);
                Done::Created { tok, res: Ok(()) }
            }
        }
    }

    fn write(&mut self, file: FileId, pos: u64, bytes: &[u8]) {
        let into = self.0.get_mut(&file).expect("files are made before they are written");
        into[pos as usize..pos as usize + bytes.len()].copy_from_slice(bytes);
    }
}
