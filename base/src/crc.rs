//! CRC-32C (Castagnoli): Kafka's record checksum and ours.

/// The checksum of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The checksum of what `crc` covers followed by `bytes`.
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

/// The checksum of bytes that had the checksum `crc` before the first of them, `before`, became
/// `after`; `behind` more follow unchanged and are not looked at. Panics if the two differ in length.
#[must_use]
pub fn crc32c_changed(crc: u32, before: &[u8], after: &[u8], behind: usize) -> u32 {
    assert_eq!(before.len(), after.len(), "bytes are changed in place");
    // A checksum is linear but for a constant, which two of equal length cancel.
    let difference = crc32c(before) ^ crc32c(after);
    crc ^ crc32c::crc32c_combine(difference, 0, behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_as_if_all_were_looked_at_again() {
        let mut bytes: Vec<u8> = (0..100_000_u32).map(|n| ((n * 31) >> 3) as u8).collect();
        for (changed, len) in [(0, 10), (1, 1), (22, 43), (40, 100_000), (40, 40)] {
            let whole = &mut bytes[..len];
            let (crc, before) = (crc32c(whole), whole[..changed].to_vec());
            whole[..changed].iter_mut().for_each(|byte| *byte = byte.wrapping_mul(7) ^ 0x5a);
            let (after, behind) = whole.split_at(changed);
            assert_eq!(crc32c_changed(crc, &before, after, behind.len()), crc32c(whole), "{len}");
        }
    }

    #[test]
    fn agrees_with_the_check_value_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c_append(crc32c(b"12345"), b"6789"), 0xe306_9283);
    }
}
