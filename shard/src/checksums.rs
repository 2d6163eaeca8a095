//! The checksums of a produce request, verified a bounded number of bytes per connection and turn.
//!
//! ```text
//!   turn 1        turn 2        turn 3           request: three batches
//!  ├─ 64 KiB ────┼─ 64 KiB ────┼─ 20 KiB ─┤
//!  │ batch 0 │ batch 1              │ b. 2 │      then it is served
//! ```
//! A pass over 1 MiB takes 140 µs, which everybody else on the core would wait for. A request that is
//! not through stays where it is, and those behind it on its connection wait.

use base::Batch;
use base::crc::crc32c_append;

/// What a connection may have verified in one turn.
pub(crate) const BYTES_PER_TURN: usize = 64 << 10;

/// How far a connection's request is verified.
#[derive(Debug, Default)]
pub(crate) struct Checksums {
    /// The turn in which `spent` bytes were verified.
    turn: u64,
    spent: usize,
    /// Batches of the request that are done with.
    done: usize,
    /// Of the next: bytes done with, and their checksum.
    at: usize,
    crc: u32,
    /// Which of the batches that are done with are damaged, ascending.
    damaged: Vec<usize>,
}

impl Checksums {
    /// Whether `bytes` may still be verified in `turn`; they then count as verified.
    pub(crate) fn spend(&mut self, turn: u64, bytes: usize) -> bool {
        let fits = self.done == 0 && self.at == 0 && bytes <= self.left(turn);
        if fits {
            self.spent += bytes;
        }
        fits
    }

    /// Goes on with the request's batches, the same at each call (`None`: no batch at all). Which of
    /// them are damaged, once all are verified; the next call begins with another request.
    pub(crate) fn advance<'a>(
        &mut self,
        turn: u64,
        batches: impl Iterator<Item = Option<Batch<'a>>>,
    ) -> Option<Vec<usize>> {
        for batch in batches.skip(self.done) {
            if let Some(batch) = batch
                && !self.verify(turn, batch)
            {
                return None;
            }
            self.done += 1;
        }
        self.done = 0;
        Some(core::mem::take(&mut self.damaged))
    }

    /// Goes on with the first batch that is not done with; `false` if it is not done with then.
    fn verify(&mut self, turn: u64, batch: Batch<'_>) -> bool {
        let rest = &batch.covered()[self.at..];
        let bytes = rest.len().min(self.left(turn));
        self.crc = crc32c_append(self.crc, &rest[..bytes]);
        self.at += bytes;
        self.spent += bytes;
        if bytes < rest.len() {
            return false;
        }
        if self.crc != batch.crc() {
            self.damaged.push(self.done);
        }
        (self.at, self.crc) = (0, 0);
        true
    }

    fn left(&mut self, turn: u64) -> usize {
        if self.turn != turn {
            (self.turn, self.spent) = (turn, 0);
        }
        BYTES_PER_TURN - self.spent
    }
}

#[cfg(test)]
mod tests {
    use base::batch::BatchBuilder;

    use super::*;

    fn batch(bytes: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(0);
        builder.push(0, None, Some(&vec![7; bytes]), &[]);
        builder.build()
    }

    fn parsed(batches: &[Vec<u8>]) -> impl Iterator<Item = Option<Batch<'_>>> {
        batches.iter().map(|bytes| Batch::parse(bytes).ok())
    }

    #[test]
    fn a_large_request_takes_as_many_turns_as_it_must_and_no_more() {
        let mut batches = [100_000, 10, 1 << 20, 300_000].map(batch);
        let last = batches[3].len() - 1;
        batches[3][last] ^= 1;
        batches[1][30] ^= 1;
        let covered: usize = parsed(&batches).flatten().map(|batch| batch.covered().len()).sum();
        let mut checksums = Checksums::default();
        for turn in 1..covered.div_ceil(BYTES_PER_TURN) as u64 {
            assert_eq!(checksums.advance(turn, parsed(&batches)), None, "turn {turn}");
            assert_eq!(checksums.advance(turn, parsed(&batches)), None, "no more in turn {turn}");
            assert!(!checksums.spend(turn, 1));
        }
        let last = covered.div_ceil(BYTES_PER_TURN) as u64;
        assert_eq!(checksums.advance(last, parsed(&batches)), Some(vec![1, 3]));
        assert_eq!(checksums.advance(last + 1, parsed(&batches[1..2])), Some(vec![0]));
    }

    #[test]
    fn what_is_no_batch_takes_nothing() {
        let batches = [vec![0; 100], batch(10), Vec::new()];
        assert_eq!(Checksums::default().advance(1, parsed(&batches)), Some(Vec::new()));
    }

    #[test]
    fn small_requests_share_a_turn() {
        let mut checksums = Checksums::default();
        let spent = (0..100).take_while(|_| checksums.spend(1, 10_000)).count();
        assert_eq!(spent, BYTES_PER_TURN / 10_000);
        assert!(checksums.spend(2, 10_000));
    }
}
