//! A cursor over the bytes of one message.
//!
//! It knows the message's version and whether lengths are compact:
//!
//! ```text
//!               string "ab"        null        array of 2
//! classic       00 02 61 62        ff ff       00 00 00 02 …
//! compact       03 61 62           00          03 …            (varint of length + 1)
//! ```
//! Compact messages also end every struct with tagged fields: count, then tag, size, bytes of each.
//! What is forced inline is a handful of instructions, less than the call and the result in memory.

use crate::message::Decode;
use crate::{Array, WireError};

/// See the module's description.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    version: i16,
    flexible: bool,
    /// Whether these bytes were checked before, and are now looked at.
    checked: bool,
}

/// The tagged section of a struct.
#[derive(Debug)]
pub(crate) struct Tags {
    left: u32,
}

/// How wide a classic length is.
#[derive(Clone, Copy)]
pub(crate) enum LengthWidth {
    Two,
    Four,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], version: i16, flexible: bool) -> Self {
        Self { bytes, version, flexible, checked: false }
    }

    /// A reader over the same bytes, every one of which was checked.
    fn checked(self) -> Self {
        Self { checked: true, ..self }
    }

    #[inline]
    pub(crate) fn version(&self) -> i16 {
        self.version
    }

    /// The bytes not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline(always)]
    pub(crate) fn take<T: Decode<'a>>(&mut self) -> Result<T, WireError> {
        T::decode(self)
    }

    #[inline(always)]
    pub(crate) fn check<T: Decode<'a>>(&mut self) -> Result<(), WireError> {
        T::check(self)
    }

    #[inline(always)]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or(WireError::Truncated)?;
        self.bytes = rest;
        Ok(*head)
    }

    /// Bytes behind a length of its own; `None` for null.
    #[inline(always)]
    pub(crate) fn sized(&mut self, width: LengthWidth) -> Result<Option<&'a [u8]>, WireError> {
        match self.length(width)? {
            None => Ok(None),
            Some(length) => self.slice(length).map(Some),
        }
    }

    /// Steps over text, and makes sure that it is text.
    #[inline(always)]
    pub(crate) fn check_text(&mut self) -> Result<Option<()>, WireError> {
        let Some(bytes) = self.sized(LengthWidth::Two)? else { return Ok(None) };
        let is_text = self.checked || bytes.is_ascii() || str::from_utf8(bytes).is_ok();
        if is_text { Ok(Some(())) } else { Err(WireError::Utf8) }
    }

    /// Checks every element once, so that iterating over them later cannot fail.
    #[inline]
    pub(crate) fn elements<T: Decode<'a>>(&mut self) -> Result<Option<Array<'a, T>>, WireError> {
        const { assert!(0 < T::MIN_BYTES, "every element takes a byte") };
        let Some(count) = self.length(LengthWidth::Four)? else { return Ok(None) };
        let room = self.bytes.len();
        if room / T::MIN_BYTES < count {
            let room = u32::try_from(room).unwrap_or(u32::MAX);
            return Err(WireError::Count { claimed: count as u32, room });
        }
        let first = *self;
        for _ in 0..count {
            T::check(self)?;
        }
        Ok(Some(Array::new(first.checked(), count as u32)))
    }

    #[inline]
    pub(crate) fn tags(&mut self) -> Result<Tags, WireError> {
        let left = if self.flexible { self.varint()? } else { 0 };
        Ok(Tags { left })
    }

    #[inline(always)]
    pub(crate) fn skip_tags(&mut self) -> Result<(), WireError> {
        let tags = self.tags()?;
        if tags.left == 0 { Ok(()) } else { self.skip(tags) }
    }

    #[cold]
    fn skip(&mut self, mut tags: Tags) -> Result<(), WireError> {
        while tags.next(self)?.is_some() {}
        Ok(())
    }

    /// A length or count below 2³¹; `None` for null.
    #[inline(always)]
    fn length(&mut self, width: LengthWidth) -> Result<Option<usize>, WireError> {
        if self.flexible {
            return match self.varint()? {
                0 => Ok(None),
                plus_one if plus_one <= 1 << 31 => Ok(Some(plus_one as usize - 1)),
                plus_one => Err(WireError::Length(i64::from(plus_one) - 1)),
            };
        }
        let length = match width {
            LengthWidth::Two => i32::from(i16::from_be_bytes(self.array()?)),
            LengthWidth::Four => i32::from_be_bytes(self.array()?),
        };
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).map_err(|_| WireError::Length(length.into())),
        }
    }

    #[inline(always)]
    fn slice(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.bytes.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.bytes = rest;
        Ok(head)
    }

    /// Seven bits a byte, least significant first, as protocol buffers have them.
    #[inline(always)]
    fn varint(&mut self) -> Result<u32, WireError> {
        let [first] = self.array()?;
        if first < 0x80 { Ok(first.into()) } else { self.long_varint(first) }
    }

    fn long_varint(&mut self, first: u8) -> Result<u32, WireError> {
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        match self.array()? {
            [last @ 0..=0x0f] => Ok(value | u32::from(last) << 28),
            _ => Err(WireError::Varint),
        }
    }
}

impl Tags {
    /// The next tag and its bytes. `reader` is the one that the section was begun on.
    #[inline]
    pub(crate) fn next<'a>(
        &mut self,
        reader: &mut Reader<'a>,
    ) -> Result<Option<(u32, Reader<'a>)>, WireError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let tag = reader.varint()?;
        let size = reader.varint()?;
        let bytes = reader.slice(size as usize)?;
        Ok(Some((tag, Reader { bytes, ..*reader })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(bytes: &[u8]) -> Reader<'_> {
        Reader::new(bytes, 9, true)
    }

    #[test]
    fn varints_hold_32_bits_and_no_more() {
        assert_eq!(compact(&[0xac, 0x02]).varint(), Ok(300));
        assert_eq!(compact(&[0xff, 0xff, 0xff, 0xff, 0x0f]).varint(), Ok(u32::MAX));
        assert_eq!(compact(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint(), Err(WireError::Varint));
        assert_eq!(compact(&[0x80; 6]).varint(), Err(WireError::Varint));
        assert_eq!(compact(&[0x80]).varint(), Err(WireError::Truncated));
    }

    #[test]
    fn an_absurd_count_fails_before_any_element_is_looked_at() {
        let bytes = 0x7fff_ffff_i32.to_be_bytes();
        let mut reader = Reader::new(&bytes, 0, false);
        let array = reader.elements::<i32>();
        assert_eq!(array.err(), Some(WireError::Count { claimed: 0x7fff_ffff, room: 0 }));
    }

    #[test]
    fn lengths_below_null_are_refused() {
        let mut reader = Reader::new(&[0xff, 0xfe], 0, false);
        assert_eq!(reader.take::<&str>(), Err(WireError::Length(-2)));
    }

    #[test]
    fn unknown_tags_are_skipped() {
        let mut reader = compact(&[2, 5, 1, 0xaa, 9, 0, 7]);
        reader.skip_tags().unwrap();
        assert_eq!(reader.rest(), [7]);
    }
}
