//! Topic ids and directory ids.

use core::fmt;

use crate::message::{Decode, Encode};
use crate::reader::Reader;
use crate::{WireError, Writer};

/// 16 opaque bytes; all zero means none. Printed as Kafka does: URL-safe base64 without padding.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    pub const ZERO: Self = Self([0; 16]);
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = u128::from_be_bytes(self.0);
        for digit in 0..22 {
            let shift = 122 - 6 * digit;
            let six = if shift < 0 { bits << -shift } else { bits >> shift };
            f.write_char(DIGITS[six as usize & 63].into())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> Decode<'a> for Uuid {
    const MIN_BYTES: usize = 16;

    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        reader.array().map(Self)
    }
}

impl Encode for Uuid {
    type Kind = Self;

    #[inline]
    fn encode(self, writer: &mut Writer<'_>) {
        writer.raw(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_kafka_does() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        let counted = Uuid(core::array::from_fn(|index| index as u8));
        assert_eq!(counted.to_string(), "AAECAwQFBgcICQoLDA0ODw");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
    }
}
