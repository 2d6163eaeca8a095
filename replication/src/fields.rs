//! Fields of a cluster-log entry: little-endian integers, strings with a `u16` length, lists with a
//! `u32` count that must fit the bytes which remain.

use core::fmt;

/// What is wrong with bytes that should be a cluster-log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end inside a field.
    Truncated,
    /// Bytes behind the last field.
    Trailing { bytes: usize },
    /// A list claims more items than the remaining bytes could hold.
    Count { claimed: u32, bytes: usize },
    /// A partition's list of replicas is too long or names one twice.
    Replicas { count: u8 },
    /// A string is not UTF-8.
    NotText,
    /// A flag is neither 0 nor 1.
    Flag(u8),
    /// A kind of command that this version does not know.
    UnknownKind(u8),
    /// A newer layout of a kind that this version knows.
    UnknownVersion { kind: u8, version: u8 },
    /// More bytes than anyone sends.
    TooLong { bytes: usize },
    /// An offset or an end above `i64::MAX`.
    Offset,
    /// Epochs or their starts that do not rise.
    History,
    /// Too many voters, or not in their order.
    Voters,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the entry ends inside a field"),
            Self::Trailing { bytes } => write!(f, "{bytes} bytes behind the last field"),
            Self::Count { claimed, bytes } => {
                write!(f, "a list of {claimed} items cannot fit in {bytes} bytes")
            }
            Self::Replicas { count } => {
                write!(f, "a list of {count} replicas is too long or names one twice")
            }
            Self::NotText => write!(f, "a string is not UTF-8"),
            Self::Flag(value) => write!(f, "{value} is neither yes nor no"),
            Self::UnknownKind(kind) => write!(f, "unknown kind of command {kind}"),
            Self::UnknownVersion { kind, version } => {
                write!(f, "command kind {kind} has the unknown version {version}")
            }
            Self::TooLong { bytes } => write!(f, "{bytes} bytes are more than anyone sends"),
            Self::Offset => write!(f, "an offset is out of range"),
            Self::History => write!(f, "the epochs of a history do not rise"),
            Self::Voters => write!(f, "the voters are too many, or out of order"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Takes fields off the front of a slice.
#[derive(Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

macro_rules! integers {
    ($($name:ident $put:ident $int:ty),*) => {
        impl Fields<'_> {
            $(pub(crate) fn $name(&mut self) -> Result<$int, DecodeError> {
                Ok(<$int>::from_le_bytes(self.array()?))
            })*
        }
        $(pub(crate) fn $put(out: &mut Vec<u8>, value: $int) {
            out.extend_from_slice(&value.to_le_bytes());
        })*
    };
}

integers!(u8 put_u8 u8, u16 put_u16 u16, u32 put_u32 u32, u64 put_u64 u64);

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (own, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*own)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let len = usize::from(self.u16()?);
        let (own, rest) = self.0.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        core::str::from_utf8(own).map_err(|_| DecodeError::NotText)
    }

    /// Bytes behind a `u32` that counts them.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u32()? as usize;
        let (own, rest) = self.0.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(own)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::Flag(other)),
        }
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<&'a str>, DecodeError> {
        if self.flag()? { self.text().map(Some) } else { Ok(None) }
    }

    /// A list whose items take at least `item_bytes_min` bytes each.
    pub(crate) fn list<T>(
        &mut self,
        item_bytes_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let claimed = self.u32()?;
        let bytes = self.0.len();
        if bytes / item_bytes_min < claimed as usize {
            return Err(DecodeError::Count { claimed, bytes });
        }
        (0..claimed).map(|_| item(self)).collect()
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn end(self) -> Result<(), DecodeError> {
        match self.0.len() {
            0 => Ok(()),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, u32::try_from(bytes.len()).expect("entries of the cluster log are short"));
    out.extend_from_slice(bytes);
}

pub(crate) fn put_flag(out: &mut Vec<u8>, flag: bool) {
    put_u8(out, u8::from(flag));
}

/// Panics above 65,535 bytes: proposals are held to far less.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u16(out, u16::try_from(text.len()).expect("texts in the cluster log are short"));
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_optional_text(out: &mut Vec<u8>, text: Option<&str>) {
    put_flag(out, text.is_some());
    if let Some(text) = text {
        put_text(out, text);
    }
}

pub(crate) fn put_list<T>(out: &mut Vec<u8>, items: &[T], mut item: impl FnMut(&mut Vec<u8>, &T)) {
    put_u32(out, u32::try_from(items.len()).expect("lists in the cluster log are short"));
    for each in items {
        item(out, each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_beyond_the_bytes_is_refused_before_memory_is_taken() {
        let mut bytes = u32::MAX.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0; 8]);
        let refused = Fields::new(&bytes).list(4, Fields::u32);
        assert_eq!(refused, Err(DecodeError::Count { claimed: u32::MAX, bytes: 8 }));
    }

    #[test]
    fn texts_must_be_whole_and_utf8() {
        assert_eq!(Fields::new(&[2, 0, b'a']).text(), Err(DecodeError::Truncated));
        assert_eq!(Fields::new(&[1, 0, 0xff]).text(), Err(DecodeError::NotText));
        assert_eq!(Fields::new(&[2]).optional_text(), Err(DecodeError::Flag(2)));
    }
}
