//! 128-bit ids in the form Kafka prints them.

use core::fmt;

/// The id of a topic or a cluster. Whoever proposes it draws the bits; this crate has no randomness.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// "No topic" on the wire.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether Kafka keeps the id for itself: 0 means none, 1 the metadata topic.
    #[must_use]
    pub fn is_reserved(self) -> bool {
        u128::from_be_bytes(self.0) <= 1
    }
}

impl fmt::Display for Uuid {
    /// URL-safe base64 without padding, 22 characters: what Kafka's tools print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for three in self.0.chunks(3) {
            let mut group = [0; 3];
            group[..three.len()].copy_from_slice(three);
            let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
            for place in 0..=three.len() {
                let digit = bits >> (18 - 6 * place) & 0x3f;
                write!(f, "{}", ALPHABET[digit as usize] as char)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_url_safe_base64() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        let counting = Uuid(core::array::from_fn(|at| 0xf0 | at as u8));
        assert_eq!(counting.to_string(), "8PHy8_T19vf4-fr7_P3-_w");
    }

    #[test]
    fn the_two_smallest_are_reserved() {
        let mut one = [0; 16];
        one[15] = 1;
        assert!(Uuid::ZERO.is_reserved() && Uuid(one).is_reserved());
        one[15] = 2;
        assert!(!Uuid(one).is_reserved());
    }
}
