//! A newer build that wrote to the journal and was taken back: the present one must not touch what it
//! does not understand, and goes on once it is gone.

use base::crc::{crc32c, crc32c_append};
use base::{FileId, PAGE_BYTES};
use engine::journal::{Head, Probe};

use super::frames::SentFrame;
use crate::host::Host;

const NEWER: u16 = 2;

/// A frame of the newer build, and what stood in its place before.
#[derive(Debug)]
pub(super) struct Downgrade {
    file: FileId,
    at: usize,
    before: Vec<u8>,
}

impl Downgrade {
    /// Puts a frame of the newer build behind `last`, a frame of `journal`; `None` if none fits
    /// there, or if `last` is damaged.
    pub(super) fn behind(
        host: &mut Host,
        journal: u64,
        last: &SentFrame,
        segment_bytes: usize,
    ) -> Option<Self> {
        let at = last.at + last.len;
        if segment_bytes < at + PAGE_BYTES {
            return None;
        }
        let known = host.disk.peek(last.file, last.at..last.at + PAGE_BYTES);
        let Probe::Head(_) = Head::probe(known, journal) else { return None };
        let mut page = vec![0; PAGE_BYTES];
        page[..96].copy_from_slice(&known[..96]);
        page[48..56].copy_from_slice(&(at as u64).to_le_bytes());
        page[78..80].copy_from_slice(&NEWER.to_le_bytes());
        let seed = [&page[8..16], &page[76..78], &page[48..56]].concat();
        let crc = crc32c_append(crc32c(&seed), &page[..92]);
        page[92..96].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Head::probe(&page, journal), Probe::Version(NEWER));
        host.say("a newer build wrote", format_args!("{:?} at {at}", last.file));
        let before = host.disk.overwrite(last.file, at, &page);
        Some(Self { file: last.file, at, before })
    }

    /// The newer build comes back, and leaves again what this one understands.
    pub(super) fn undo(self, host: &mut Host) {
        host.disk.overwrite(self.file, self.at, &self.before);
    }
}
