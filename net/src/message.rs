//! What every part of a message can do, and the parts that no schema describes: integers, strings, bytes.

use crate::reader::{LengthWidth, Reader};
use crate::{ApiKey, Array, WireError, Writer};

/// A value that can be read from a message.
pub trait Decode<'a>: Sized {
    /// A lower bound, over all versions, on the bytes that one takes.
    const MIN_BYTES: usize;

    /// Reads one value, in the version that the reader carries.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError>;

    /// Fails where decoding would, and steps over as many bytes.
    #[inline]
    fn check(reader: &mut Reader<'a>) -> Result<(), WireError> {
        Self::decode(reader).map(drop)
    }
}

/// A value that can be written into a message.
pub trait Encode: Sized {
    /// What it is, apart from what it borrows and how its arrays are given.
    type Kind: ?Sized;

    /// Writes the value in the version that the writer carries. Fields that this version lacks are
    /// left out; null where it lacks null becomes empty.
    fn encode(self, writer: &mut Writer<'_>);
}

/// The body of a request.
pub trait RequestBody: Encode {
    const API: ApiKey;
    /// What answers it.
    type Response<'r>: Decode<'r>;
}

/// The body of a response.
pub trait ResponseBody: Encode {
    const API: ApiKey;
}

macro_rules! integer {
    ($($int:ty),*) => {$(
        impl<'a> Decode<'a> for $int {
            const MIN_BYTES: usize = size_of::<$int>();

            #[inline]
            fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
                reader.array().map(Self::from_be_bytes)
            }
        }

        impl Encode for $int {
            type Kind = Self;

            #[inline]
            fn encode(self, writer: &mut Writer<'_>) {
                writer.raw(&self.to_be_bytes());
            }
        }
    )*};
}

integer!(i8, i16, i32, i64);

impl<'a> Decode<'a> for bool {
    const MIN_BYTES: usize = 1;

    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        reader.array().map(|[byte]| byte != 0)
    }
}

impl Encode for bool {
    type Kind = Self;

    #[inline]
    fn encode(self, writer: &mut Writer<'_>) {
        writer.raw(&[self.into()]);
    }
}

impl<'a> Decode<'a> for Option<&'a str> {
    const MIN_BYTES: usize = 1;

    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let Some(bytes) = reader.sized(LengthWidth::Two)? else { return Ok(None) };
        str::from_utf8(bytes).map(Some).or(Err(WireError::Utf8))
    }

    #[inline]
    fn check(reader: &mut Reader<'a>) -> Result<(), WireError> {
        reader.check_text().map(|_| ())
    }
}

impl Encode for Option<&str> {
    type Kind = Option<&'static str>;

    #[inline]
    fn encode(self, writer: &mut Writer<'_>) {
        writer.length(self.map(str::len), LengthWidth::Two);
        writer.raw(self.unwrap_or_default().as_bytes());
    }
}

impl<'a> Decode<'a> for &'a str {
    const MIN_BYTES: usize = 1;

    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        reader.take::<Option<Self>>()?.ok_or(WireError::Null)
    }

    #[inline]
    fn check(reader: &mut Reader<'a>) -> Result<(), WireError> {
        reader.check_text()?.ok_or(WireError::Null)
    }
}

impl Encode for &str {
    type Kind = str;

    #[inline]
    fn encode(self, writer: &mut Writer<'_>) {
        Some(self).encode(writer);
    }
}

impl<'a> Decode<'a> for &'a [u8] {
    const MIN_BYTES: usize = 1;

    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        reader.sized(LengthWidth::Four)?.ok_or(WireError::Null)
    }
}

impl Encode for &[u8] {
    type Kind = [u8];

    #[inline]
    fn encode(self, writer: &mut Writer<'_>) {
        writer.length(Some(self.len()), LengthWidth::Four);
        writer.raw(self);
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for Option<Array<'a, T>> {
    const MIN_BYTES: usize = 1;

    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        reader.elements()
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for Array<'a, T> {
    const MIN_BYTES: usize = 1;

    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        reader.elements()?.ok_or(WireError::Null)
    }
}
