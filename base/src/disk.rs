//! The disk boundary: what a state machine asks of storage, and what storage answers.
//!
//! A write lends arena memory: the [`Pin`] travels with the operation and comes back in its
//! completion, so the bytes cannot be reused while the device may still read them. A read moves its
//! buffer out and back in the same way.

use core::fmt;

use crate::{Page, Pin, ShardId, Span};

/// A file of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    pub shard: ShardId,
    pub kind: FileKind,
}

/// Which file of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A journal segment: `journal/NNN.segment`.
    Segment(u16),
    /// A bin of extents: `bins/NNNNN.bin`.
    Bin(u32),
}

/// Names an operation to the one who asked for it. The ring adds slot, generation and incarnation
/// of its own, so that a late completion of another process or slot never carries a live token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoError {
    /// The kernel's `errno`.
    Errno(i32),
    /// Fewer bytes than asked were written or read.
    Short { wanted: u32, got: u32 },
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(code) => write!(f, "errno {code}"),
            Self::Short { wanted, got } => write!(f, "only {got} of {wanted} bytes"),
        }
    }
}

impl std::error::Error for IoError {}

/// A request to storage. Positions and lengths are multiples of 4096.
#[derive(Debug)]
#[must_use]
pub enum Op {
    /// Writes `span` of the shard's arena at byte `pos`. With `sync` the completion means stable
    /// storage (RWF_DSYNC).
    Write { tok: Token, file: FileId, pos: u64, span: Span, pin: Pin, sync: bool },
    /// Writes pages that are not in the arena (extents, footers) at byte `pos`.
    WritePages { tok: Token, file: FileId, pos: u64, pages: Box<[Page]>, sync: bool },
    /// Fills `into` from byte `pos`.
    Read { tok: Token, file: FileId, pos: u64, into: Box<[Page]> },
    /// Makes every completed write of the file stable (fdatasync). Covers no write in flight.
    Sync { tok: Token, file: FileId },
    /// Creates the file with `bytes` zeroed, written and synced bytes, its directory entry too.
    /// Done in the background, never on the caller's thread. A file half made is made anew.
    Create { tok: Token, file: FileId, bytes: u64 },
}

/// The completion of an [`Op`]. Buffers and pins always come back.
#[derive(Debug)]
#[must_use]
pub enum Done {
    Wrote { tok: Token, pin: Pin, res: Result<(), IoError> },
    WrotePages { tok: Token, pages: Box<[Page]>, res: Result<(), IoError> },
    Filled { tok: Token, buf: Box<[Page]>, res: Result<(), IoError> },
    Synced { tok: Token, res: Result<(), IoError> },
    Created { tok: Token, res: Result<(), IoError> },
}

macro_rules! token_of {
    ($type:ident: $($variant:ident),*) => {
        impl $type {
            /// The name under which it was asked for.
            #[must_use]
            pub fn token(&self) -> Token {
                match self {
                    $(Self::$variant { tok, .. })|* => *tok,
                }
            }

            /// For whoever passes it on under a name of its own.
            pub fn token_mut(&mut self) -> &mut Token {
                match self {
                    $(Self::$variant { tok, .. })|* => tok,
                }
            }
        }
    };
}

impl Op {
    /// The file that it is about.
    #[must_use]
    pub fn file(&self) -> FileId {
        match self {
            Self::Write { file, .. }
            | Self::WritePages { file, .. }
            | Self::Read { file, .. }
            | Self::Sync { file, .. }
            | Self::Create { file, .. } => *file,
        }
    }

    /// Its completion, by whoever did it or refuses to.
    pub fn answer(self, res: Result<(), IoError>) -> Done {
        match self {
            Self::Write { tok, pin, .. } => Done::Wrote { tok, pin, res },
            Self::WritePages { tok, pages, .. } => Done::WrotePages { tok, pages, res },
            Self::Read { tok, into, .. } => Done::Filled { tok, buf: into, res },
            Self::Sync { tok, .. } => Done::Synced { tok, res },
            Self::Create { tok, .. } => Done::Created { tok, res },
        }
    }
}

token_of!(Op: Write, WritePages, Read, Sync, Create);
token_of!(Done: Wrote, WrotePages, Filled, Synced, Created);
