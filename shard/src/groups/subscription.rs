//! The topics that a member of a group of type `consumer` has subscribed to, from the metadata of its
//! protocol: version i16, topics [string], and more that does not matter here. Source: Kafka's
//! `ConsumerProtocolSubscription`.

/// The protocol type of consumers.
pub(super) const CONSUMER: &str = "consumer";

/// The topics; `None` if the bytes are no subscription.
pub(super) fn topics(metadata: &[u8]) -> Option<Vec<&str>> {
    let rest = metadata.get(2..)?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let (len, behind) = rest.split_first_chunk::<2>()?;
        let len = usize::try_from(i16::from_be_bytes(*len)).ok()?;
        let (name, behind) = behind.split_at_checked(len)?;
        topics.push(str::from_utf8(name).ok()?);
        rest = behind;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_damage_is_noticed() {
        let metadata = [&[0, 3, 0, 0, 0, 2, 0, 1][..], b"a", &[0, 2], b"bc", &[0, 0, 0, 0]];
        let bytes = metadata.concat();
        assert_eq!(topics(&bytes), Some(vec!["a", "bc"]));
        for end in 0..12 {
            assert_eq!(topics(&bytes[..end]), None, "{end}");
        }
        assert_eq!(topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
        assert_eq!(topics(&[0, 0, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
