//! Which partition of the offsets topic a group belongs to: as in Kafka, by Java's hash of its name.

/// The partition, of `count`.
#[must_use]
pub(crate) fn partition_of(group: &str, count: u32) -> u32 {
    let hash = group
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Java's `abs` of the smallest number is that number; Kafka takes 0.
    hash.checked_abs().unwrap_or(0).cast_unsigned() % count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        // "hello".hashCode() = 99162322; "polygenelubricants".hashCode() = Integer.MIN_VALUE.
        assert_eq!(partition_of("hello", 50), 99_162_322 % 50);
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        assert_eq!(partition_of("", 50), 0);
        // "é".hashCode() = 233, a single UTF-16 unit.
        assert_eq!(partition_of("é", 50), 233 % 50);
    }
}
