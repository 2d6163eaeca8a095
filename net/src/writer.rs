//! Appends the parts of one message to an [`Outgoing`]. The mirror of the reader.

use crate::message::Encode;
use crate::reader::LengthWidth;
use crate::{Hole, List, Outgoing};

/// See the module's description.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Outgoing,
    version: i16,
    flexible: bool,
}

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut Outgoing, version: i16, flexible: bool) -> Self {
        Self { out, version, flexible }
    }

    #[inline]
    pub(crate) fn version(&self) -> i16 {
        self.version
    }

    #[inline]
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.bytes.extend_from_slice(bytes);
    }

    #[inline]
    pub(crate) fn put<T: Encode>(&mut self, value: T) {
        value.encode(self);
    }

    /// Writes null as the default where this version has no null.
    #[inline]
    pub(crate) fn put_nullable<T>(&mut self, value: Option<T>, may_be_null: bool)
    where
        T: Default,
        Option<T>: Encode,
    {
        self.put(if may_be_null { value } else { Some(value.unwrap_or_default()) });
    }

    #[inline]
    pub(crate) fn list<K: ?Sized, L: List<K>>(&mut self, list: L, may_be_null: bool) {
        let count = list.count();
        self.length(if may_be_null { count } else { Some(count.unwrap_or(0)) }, LengthWidth::Four);
        list.write(self);
    }

    /// Writes a length or count, `None` for null. Panics if the protocol cannot express it.
    #[inline]
    pub(crate) fn length(&mut self, length: Option<usize>, width: LengthWidth) {
        let length = length.map(|length| i32::try_from(length).expect("lengths fit 31 bits"));
        match (self.flexible, width) {
            (true, _) => self.varint(length.map_or(0, |length| length as u32 + 1)),
            (false, LengthWidth::Four) => self.put(length.unwrap_or(-1)),
            (false, LengthWidth::Two) => {
                let short = i16::try_from(length.unwrap_or(-1));
                self.put(short.expect("strings are shorter than 32 KiB"));
            }
        }
    }

    /// Leaves a place for `len` bytes that the sender gathers from elsewhere.
    pub(crate) fn hole(&mut self, len: u32) {
        self.out.holes.push(Hole { at: self.out.bytes.len(), len });
    }

    #[inline]
    pub(crate) fn no_tags(&mut self) {
        self.tag_count(0);
    }

    /// Begins a tagged section, if this version has one.
    #[inline]
    pub(crate) fn tag_count(&mut self, count: u32) {
        if self.flexible {
            self.varint(count);
        }
    }

    /// Writes one tagged field. Its size stands before it: the body is moved if that takes more
    /// than a byte.
    pub(crate) fn tagged(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        self.varint(tag);
        self.raw(&[0]);
        let start = self.out.bytes.len();
        write(self);
        let size = self.out.bytes.len() - start;
        let (prefix, len) = varint_bytes(u32::try_from(size).expect("a tagged field is small"));
        self.out.bytes.splice(start - 1..start, prefix[..len].iter().copied());
    }

    #[inline]
    fn varint(&mut self, value: u32) {
        if value < 0x80 {
            return self.raw(&[value as u8]);
        }
        let (bytes, len) = varint_bytes(value);
        self.raw(&bytes[..len]);
    }
}

fn varint_bytes(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut len = 0;
    while 0x80 <= value {
        bytes[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    (bytes, len + 1)
}
