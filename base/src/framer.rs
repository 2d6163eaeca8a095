//! Cuts a byte stream into frames.
//!
//! ```text
//!  received │ len │ frame │ len │ frame │ len │ fra     whole frames are lent as they lie
//!                                         └────────┐
//!  kept                                   │ len │ fra…  a frame in parts is assembled here
//! ```
//! A length is four bytes, big-endian, and does not count itself: Kafka's framing, and that of peers.
//! Memory grows with the bytes that really came, never with what a length claims.

use core::fmt;

/// What Kafka allows by default (`socket.request.max.bytes`).
pub const DEFAULT_FRAME_BYTES_MAX: u32 = 100 << 20;

/// Bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;

/// See the module's description. One per connection and direction.
#[derive(Debug)]
pub struct Framer {
    kept: Vec<u8>,
    /// Bytes of `kept` that were frames already lent.
    consumed: usize,
    /// Bytes of `kept` that the frame lent last takes; 0 if it lay in what was received.
    lent: usize,
    frame_bytes_max: u32,
}

/// A length that no frame has. The stream cannot be understood any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    Negative(i32),
    /// Above the configured limit.
    TooLarge {
        claimed: u32,
        max: u32,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Negative(length) => write!(f, "{length} is not a possible length"),
            Self::TooLarge { claimed, max } => {
                write!(f, "a frame of {claimed} bytes exceeds the limit of {max}")
            }
        }
    }
}

impl core::error::Error for FrameError {}

impl Framer {
    /// A framer that refuses frames above `frame_bytes_max` bytes.
    #[must_use]
    pub fn new(frame_bytes_max: u32) -> Self {
        Self { kept: Vec::new(), consumed: 0, lent: 0, frame_bytes_max }
    }

    /// The next whole frame, without its length; `received` advances past what was taken. `None`
    /// once `received` is used up. After an error the stream cannot be understood any further.
    #[inline]
    pub fn next<'f, 'r: 'f>(
        &'f mut self,
        received: &mut &'r [u8],
    ) -> Result<Option<&'f [u8]>, FrameError> {
        if self.kept.len() == self.consumed {
            self.kept.clear();
            (self.consumed, self.lent) = (0, 0);
            if let Some(frame) = whole_frame(received, self.frame_bytes_max)? {
                *received = &received[LENGTH_BYTES + frame.len()..];
                return Ok(Some(frame));
            }
            if received.is_empty() {
                return Ok(None);
            }
        }
        self.assemble(received)
    }

    /// Changes the limit, for frames whose length has not been read.
    pub fn set_frame_bytes_max(&mut self, frame_bytes_max: u32) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// Takes the frame back that was lent last: [`Framer::next`] lends it again. `before` is what
    /// `received` was when it was lent.
    pub fn take_back<'r>(&mut self, received: &mut &'r [u8], before: &'r [u8]) {
        if self.lent == 0 {
            *received = before;
        }
        self.consumed -= core::mem::take(&mut self.lent);
    }

    /// Stores bytes that must wait because the requests before them do. They come out of
    /// [`Framer::next`] before whatever is received later.
    pub fn keep(&mut self, received: &[u8]) {
        self.drop_consumed();
        self.kept.extend_from_slice(received);
    }

    /// Bytes kept for a frame that is not whole yet or not asked for.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.kept.len() - self.consumed
    }

    /// Memory held, for a budget over connections.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.kept.capacity()
    }

    /// Gives memory back that no byte needs; for connections that have become quiet.
    pub fn shrink(&mut self) {
        self.drop_consumed();
        self.kept.shrink_to_fit();
    }

    /// Takes from `received` what the first kept frame lacks, and lends it if it is whole then.
    fn assemble<'f>(&'f mut self, received: &mut &[u8]) -> Result<Option<&'f [u8]>, FrameError> {
        if !self.fill(LENGTH_BYTES, received) {
            return Ok(None);
        }
        let frame_bytes = frame_bytes(&self.kept[self.consumed..], self.frame_bytes_max)?;
        let frame_bytes = frame_bytes.expect("the length is there");
        if !self.fill(LENGTH_BYTES + frame_bytes, received) {
            return Ok(None);
        }
        let start = self.consumed + LENGTH_BYTES;
        self.lent = LENGTH_BYTES + frame_bytes;
        self.consumed += self.lent;
        Ok(Some(&self.kept[start..self.consumed]))
    }

    /// Whether `wanted` bytes are kept, after taking the missing ones from `received`.
    fn fill(&mut self, wanted: usize, received: &mut &[u8]) -> bool {
        let missing = wanted.saturating_sub(self.kept_bytes());
        if missing == 0 {
            return true;
        }
        let (taken, rest) = received.split_at(missing.min(received.len()));
        *received = rest;
        self.drop_consumed();
        self.reserve(taken.len(), wanted);
        self.kept.extend_from_slice(taken);
        taken.len() == missing
    }

    /// Room for `more` bytes: doubling, but not beyond the `wanted` bytes of the whole frame.
    fn reserve(&mut self, more: usize, wanted: usize) {
        let needed = self.kept.len() + more;
        if self.kept.capacity() < needed {
            let target = needed.max(wanted.min(2 * self.kept.capacity()));
            self.kept.reserve_exact(target - self.kept.len());
        }
    }

    fn drop_consumed(&mut self) {
        if 0 < self.consumed {
            self.kept.drain(..self.consumed);
            (self.consumed, self.lent) = (0, 0);
        }
    }
}

/// The first frame of `bytes`, if it is whole.
#[inline]
fn whole_frame(bytes: &[u8], max: u32) -> Result<Option<&[u8]>, FrameError> {
    let Some(frame_bytes) = frame_bytes(bytes, max)? else { return Ok(None) };
    Ok(bytes[LENGTH_BYTES..].get(..frame_bytes))
}

/// What the length at the start of `bytes` says, once it is there.
#[inline]
fn frame_bytes(bytes: &[u8], max: u32) -> Result<Option<usize>, FrameError> {
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    let claimed = u32::try_from(length).map_err(|_| FrameError::Negative(length))?;
    if max < claimed {
        return Err(FrameError::TooLarge { claimed, max });
    }
    Ok(Some(claimed as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    fn drain(framer: &mut Framer, mut received: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(frame) = framer.next(&mut received).unwrap() {
            frames.push(frame.to_vec());
        }
        frames
    }

    #[test]
    fn whole_frames_are_lent_without_a_copy() {
        let stream = [frame(b"one"), frame(b""), frame(b"three")].concat();
        let mut framer = Framer::new(100);
        assert_eq!(drain(&mut framer, &stream), [&b"one"[..], b"", b"three"]);
        assert_eq!(framer.memory_bytes(), 0);
    }

    #[test]
    fn any_way_of_cutting_the_stream_gives_the_same_frames() {
        let stream = [frame(b"one"), frame(b""), frame(b"three")].concat();
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let mut framer = Framer::new(100);
                let parts = [&stream[..first], &stream[first..second], &stream[second..]];
                let frames: Vec<_> = parts.iter().flat_map(|p| drain(&mut framer, p)).collect();
                assert_eq!(frames, [&b"one"[..], b"", b"three"], "cut at {first} and {second}");
                assert_eq!(framer.kept_bytes(), 0);
            }
        }
    }

    #[test]
    fn kept_bytes_come_first() {
        let stream = [frame(b"one"), frame(b"two"), frame(b"three")].concat();
        let mut framer = Framer::new(100);
        let mut received = &stream[..15];
        assert_eq!(framer.next(&mut received).unwrap(), Some(&b"one"[..]));
        framer.keep(received);
        assert_eq!(drain(&mut framer, &stream[15..]), [&b"two"[..], b"three"]);
    }

    #[test]
    fn a_frame_taken_back_is_lent_again() {
        let stream = [frame(b"one"), frame(b"two"), frame(b"three")].concat();
        for cut in 0..stream.len() {
            let mut framer = Framer::new(100);
            let mut frames = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                let mut received = part;
                let mut is_second = false;
                loop {
                    let before = received;
                    let Some(frame) = framer.next(&mut received).unwrap() else { break };
                    if is_second {
                        frames.push(frame.to_vec());
                    } else {
                        framer.take_back(&mut received, before);
                        if cut % 2 == 0 {
                            framer.keep(received);
                            received = &[];
                        }
                    }
                    is_second = !is_second;
                }
            }
            assert_eq!(frames, [&b"one"[..], b"two", b"three"], "cut at {cut}");
            assert_eq!(framer.kept_bytes(), 0);
        }
    }

    #[test]
    fn a_claim_above_the_limit_is_refused_before_memory_is_taken() {
        let mut framer = Framer::new(1000);
        let claim = 1001_u32.to_be_bytes();
        let refused = Err(FrameError::TooLarge { claimed: 1001, max: 1000 });
        assert_eq!(framer.next(&mut &claim[..]), refused);
        assert_eq!(framer.next(&mut &claim[..2]), Ok(None));
        assert_eq!(framer.next(&mut &claim[2..]), refused);
        assert!(framer.memory_bytes() <= 8);
        let mut framer = Framer::new(u32::MAX);
        assert_eq!(framer.next(&mut &[0xff; 4][..]), Err(FrameError::Negative(-1)));
    }

    #[test]
    fn memory_follows_the_bytes_received_not_the_claim() {
        let mut framer = Framer::new(DEFAULT_FRAME_BYTES_MAX);
        let start = [&DEFAULT_FRAME_BYTES_MAX.to_be_bytes()[..], &[7; 1000]].concat();
        for byte in &start {
            assert_eq!(framer.next(&mut core::slice::from_ref(byte)), Ok(None));
        }
        assert!(framer.memory_bytes() <= 2 * start.len(), "{}", framer.memory_bytes());
    }

    #[test]
    fn a_quiet_connection_holds_nothing() {
        let mut framer = Framer::new(DEFAULT_FRAME_BYTES_MAX);
        let stream = frame(&[7; 1000]);
        assert!(drain(&mut framer, &stream[..500]).is_empty());
        assert_eq!(drain(&mut framer, &stream[500..]).len(), 1);
        framer.shrink();
        assert_eq!(framer.memory_bytes(), 0);
    }
}
