//! The pieces of one send as the kernel wants them: a vector of addresses and a message header.
//!
//! Kept in a box and used again, so that a send in steady state allocates nothing.

use core::mem::MaybeUninit;

use base::{Page, Piece, ShardId, Span};

use crate::memory::Lasting;

/// The kernel's limit on the vector of one call; what lies behind is sent by the next.
const MOST_PARTS: usize = 1024;

/// What is left to send. Filled from pieces, it names their memory: it must not be used after them.
#[derive(Debug)]
pub(crate) struct Gather {
    parts: Vec<libc::iovec>,
    /// The first part with bytes left.
    next: usize,
    left: usize,
    header: MaybeUninit<libc::msghdr>,
}

/// What to hand to the kernel.
pub(crate) enum Parts {
    /// One contiguous piece: SEND.
    One(libc::iovec),
    /// Several: SENDMSG.
    Several(*const libc::msghdr),
}

impl Gather {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self {
            parts: Vec::with_capacity(16),
            next: 0,
            left: 0,
            header: MaybeUninit::zeroed(),
        })
    }

    /// Starts over with `pieces`; `tail` finds the bytes of a pinned span.
    pub(crate) fn fill(&mut self, pieces: &[Piece], tail: impl Fn(ShardId, Span) -> Lasting) {
        self.parts.clear();
        (self.next, self.left) = (0, 0);
        for piece in pieces {
            let (address, len) = match piece {
                Piece::Bytes { bytes, from } => (bytes[*from..].as_ptr(), bytes.len() - from),
                Piece::Tail { shard, span, .. } => {
                    let bytes = tail(*shard, *span);
                    (bytes.address(), bytes.bytes() as usize)
                }
                Piece::Pages { pages, from, len } => {
                    (Page::bytes(pages)[*from..*from + *len].as_ptr(), *len)
                }
            };
            if len != 0 {
                self.parts.push(libc::iovec { iov_base: address.cast_mut().cast(), iov_len: len });
                self.left += len;
            }
        }
    }

    /// Bytes still to be sent.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Notes that `sent` bytes went out. Panics if there were not that many.
    pub(crate) fn advance(&mut self, mut sent: usize) {
        self.left = self.left.checked_sub(sent).expect("no more is sent than was asked");
        while let Some(part) = self.parts.get_mut(self.next) {
            if sent < part.iov_len {
                part.iov_base = part.iov_base.wrapping_byte_add(sent);
                part.iov_len -= sent;
                return;
            }
            sent -= part.iov_len;
            self.next += 1;
        }
    }

    /// What to send now. The pointers are good until the next call to a method that changes `self`.
    pub(crate) fn parts(&mut self) -> Parts {
        let parts = &mut self.parts[self.next..];
        if let [one] = parts {
            return Parts::One(*one);
        }
        let header = self.header.as_mut_ptr();
        // SAFETY: an all-zero `msghdr` is a valid one, and the box owns it.
        let header = unsafe { &mut *header };
        header.msg_iov = parts.as_mut_ptr();
        header.msg_iovlen = parts.len().min(MOST_PARTS);
        Parts::Several(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_tail(_: ShardId, _: Span) -> Lasting {
        unreachable!("no piece lies in an arena")
    }

    fn gather(pieces: &[Piece]) -> Box<Gather> {
        let mut gather = Gather::new();
        gather.fill(pieces, no_tail);
        gather
    }

    #[test]
    fn a_partial_send_resumes_at_the_next_byte() {
        let pieces = [
            Piece::Bytes { bytes: b"xabc".to_vec(), from: 1 },
            Piece::Bytes { bytes: Vec::new(), from: 0 },
            Piece::Pages { pages: Page::boxed(2), from: 4000, len: 200 },
        ];
        let mut gather = gather(&pieces);
        assert_eq!(gather.left(), 203);
        assert!(matches!(gather.parts(), Parts::Several(_)));
        gather.advance(4);
        assert_eq!(gather.left(), 199);
        let Parts::One(part) = gather.parts() else { panic!("one piece is left") };
        let Piece::Pages { pages, .. } = &pieces[2] else { unreachable!() };
        assert_eq!(part.iov_base.addr(), pages.as_ptr().addr() + 4001);
        assert_eq!(part.iov_len, 199);
        gather.advance(199);
        assert_eq!(gather.left(), 0);
    }

    #[test]
    #[should_panic(expected = "no more is sent than was asked")]
    fn sending_more_than_asked_is_a_broken_invariant() {
        gather(&[Piece::Bytes { bytes: vec![1], from: 0 }]).advance(2);
    }
}
