//! Record batches inside a message, or beside it.

use crate::message::{Decode, Encode};
use crate::reader::{LengthWidth, Reader};
use crate::{WireError, Writer};

/// The record batches of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records<'a> {
    /// In the message's own bytes. What a decoder yields is always this.
    Bytes(&'a [u8]),
    /// So many bytes that the sender gathers from elsewhere: the message counts them, and leaves a
    /// [`Hole`](crate::Hole) for them. At most `i32::MAX − 1`.
    Hole(u32),
}

impl<'a> Records<'a> {
    pub const EMPTY: Self = Self::Bytes(&[]);

    /// The batches. Panics on a hole: whoever left it has the bytes.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Hole(len) => panic!("a hole of {len} bytes has no bytes of its own"),
        }
    }
}

impl Default for Records<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a> Decode<'a> for Option<Records<'a>> {
    const MIN_BYTES: usize = 1;

    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(reader.sized(LengthWidth::Four)?.map(Records::Bytes))
    }
}

impl<'a> Decode<'a> for Records<'a> {
    const MIN_BYTES: usize = 1;

    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        reader.take::<Option<Self>>()?.ok_or(WireError::Null)
    }
}

impl Encode for Option<Records<'_>> {
    type Kind = Option<Records<'static>>;

    #[inline]
    fn encode(self, writer: &mut Writer<'_>) {
        match self {
            None => writer.length(None, LengthWidth::Four),
            Some(Records::Bytes(bytes)) => {
                writer.length(Some(bytes.len()), LengthWidth::Four);
                writer.raw(bytes);
            }
            Some(Records::Hole(len)) => {
                writer.length(Some(len as usize), LengthWidth::Four);
                writer.hole(len);
            }
        }
    }
}
