//! What was seen to go to the disk: where each frame lies, what it testifies, and whether something
//! has struck it since.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use base::{FileId, PAGE_BYTES, Seq};

use crate::disk::Strike;

/// A frame on its way to the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentFrame {
    pub(super) seq: Seq,
    /// D: every frame up to here was durable when it was sealed.
    pub(super) durable: Seq,
    pub(super) file: FileId,
    pub(super) at: usize,
    pub(super) len: usize,
}

/// See the module's description. Of frames that were cut off nothing is remembered.
#[derive(Debug, Default)]
pub(super) struct Frames {
    sent: BTreeMap<Seq, SentFrame>,
    /// Whatever was sent to a page, older laps included.
    pages: BTreeMap<(FileId, usize), BTreeSet<Seq>>,
    struck: BTreeSet<Seq>,
}

impl Frames {
    /// Whether the frame is the first of a new lap on its segment.
    pub(super) fn wraps(&self, frame: &SentFrame) -> bool {
        frame.at == 0 && self.pages.contains_key(&(frame.file, 0))
    }

    pub(super) fn sent(&mut self, frame: SentFrame) {
        self.sent.insert(frame.seq, frame);
        for page in pages_of(frame.at..frame.at + frame.len) {
            self.pages.entry((frame.file, page)).or_default().insert(frame.seq);
        }
    }

    pub(super) fn strike(&mut self, strike: &Strike) {
        for page in pages_of(strike.bytes.clone()) {
            self.struck.extend(self.pages.get(&(strike.file, page)).into_iter().flatten());
        }
    }

    /// What stands at `cut` and behind it is no part of the log any more.
    pub(super) fn cut(&mut self, cut: Seq) {
        self.sent.split_off(&cut);
        self.struck.split_off(&cut);
        for frames in self.pages.values_mut() {
            frames.split_off(&cut);
        }
    }

    pub(super) fn get(&self, seq: Seq) -> Option<SentFrame> {
        self.sent.get(&seq).copied()
    }

    pub(super) fn is_struck(&self, seq: Seq) -> bool {
        self.struck.contains(&seq)
    }

    /// Whether a write of an earlier process that lands on `bytes` must come out: a whole durable
    /// frame behind all that it strikes knows them. What strikes nothing harms nothing.
    pub(super) fn would_notice(&self, file: FileId, bytes: &Range<usize>, durable: Seq) -> bool {
        let is_struck = |frame: &&SentFrame| {
            frame.file == file && frame.at < bytes.end && bytes.start < frame.at + frame.len
        };
        let newest = self.sent.values().filter(is_struck).map(|frame| frame.seq).max();
        newest.is_none_or(|newest| self.testify(newest, durable))
    }

    /// Frames from `first` on that were struck.
    pub(super) fn struck_since(&self, first: Seq) -> usize {
        self.struck.range(first..).count()
    }

    /// Whether a whole frame behind `seq`, and no later than `durable`, says that `seq` was durable.
    pub(super) fn testify(&self, seq: Seq, durable: Seq) -> bool {
        let behind = self.sent.range(seq.next()..=durable.max(seq.next()));
        let witnesses = behind.filter(|(witness, _)| **witness <= durable);
        witnesses
            .into_iter()
            .any(|(witness, frame)| seq <= frame.durable && !self.struck.contains(witness))
    }
}

fn pages_of(bytes: Range<usize>) -> Range<usize> {
    bytes.start / PAGE_BYTES..bytes.end.div_ceil(PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use base::{FileKind, ShardId};

    use super::*;

    const FILE: FileId = FileId { shard: ShardId(0), kind: FileKind::Segment(0) };

    fn frame(seq: u64, durable: u64, page: usize) -> SentFrame {
        let (at, len) = (page * PAGE_BYTES, PAGE_BYTES);
        SentFrame { seq: Seq(seq), durable: Seq(durable), file: FILE, at, len }
    }

    #[test]
    fn only_a_whole_durable_frame_testifies() {
        let mut frames = Frames::default();
        (1..=4).for_each(|seq| frames.sent(frame(seq, seq.saturating_sub(2), seq as usize)));
        assert!(frames.testify(Seq(1), Seq(3)) && frames.testify(Seq(2), Seq(4)));
        assert!(!frames.testify(Seq(1), Seq(2)), "frame 3 is not known to be there");
        assert!(!frames.testify(Seq(3), Seq(4)) && !frames.testify(Seq(4), Seq(4)));
        frames.strike(&Strike { file: FILE, bytes: 3 * PAGE_BYTES + 7..3 * PAGE_BYTES + 8 });
        assert!(frames.is_struck(Seq(3)) && frames.struck_since(Seq(4)) == 0);
        assert!(!frames.testify(Seq(1), Seq(3)) && frames.testify(Seq(1), Seq(4)));
    }

    #[test]
    fn a_late_write_comes_out_if_a_frame_behind_it_knows_what_it_strikes() {
        let mut frames = Frames::default();
        (1..=4).for_each(|seq| frames.sent(frame(seq, seq.saturating_sub(1), seq as usize)));
        let page = |first: usize, end: usize| first * PAGE_BYTES..end * PAGE_BYTES;
        assert!(frames.would_notice(FILE, &page(2, 4), Seq(4)));
        assert!(!frames.would_notice(FILE, &page(2, 4), Seq(3)), "4 may not be there");
        assert!(!frames.would_notice(FILE, &page(4, 5), Seq(4)), "nobody knows 4");
        assert!(frames.would_notice(FILE, &page(5, 6), Seq(4)), "nothing stands there");
    }

    #[test]
    fn what_was_cut_off_is_forgotten() {
        let mut frames = Frames::default();
        frames.sent(frame(1, 0, 1));
        frames.sent(frame(2, 0, 2));
        frames.strike(&Strike { file: FILE, bytes: 0..4 * PAGE_BYTES });
        frames.cut(Seq(2));
        frames.sent(frame(2, 1, 3));
        assert_eq!((frames.struck_since(Seq(1)), frames.is_struck(Seq(2))), (1, false));
    }
}
