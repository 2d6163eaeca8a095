//! The records of `__consumer_offsets`, as Kafka's own tools read them.
//!
//! ```text
//!  key of an offset      1 i16, group string, topic string, partition i32
//!  value                 3 i16, offset i64, leader epoch i32, metadata string, commit time i64
//!                        1 i16, offset i64, metadata string, commit time i64, expiry time i64
//!  key of a group        2 i16, group string
//!  value                 3 i16, protocol type string, generation i32, protocol string?,
//!                        leader string?, time of the state i64, members [member]
//!  member                id string, instance string?, client id string, client host string,
//!                        rebalance timeout i32, session timeout i32, subscription bytes,
//!                        assignment bytes
//! ```
//! A record without a value deletes. Source: `OffsetCommitKey/Value`, `GroupMetadataKey/Value` of
//! Kafka's group coordinator. Integers are big-endian, strings have an i16 length.

use std::sync::Arc;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    Offset { group: &'a str, topic: &'a str, partition: i32 },
    Group(&'a str),
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OffsetValue {
    pub offset: i64,
    /// −1: not known.
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
    /// Ms since 1970.
    pub committed_ms: i64,
    /// Ms since 1970, if the client said how long it is to be kept.
    pub expires_ms: Option<i64>,
}

/// A group as it was when its leader had assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupValue {
    pub protocol_type: String,
    pub generation: i32,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    /// Ms since 1970.
    pub since_ms: i64,
    pub members: Vec<MemberValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberValue {
    pub id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Vec<u8>,
    pub assignment: Vec<u8>,
}

/// The longest string that a record can hold, bytes.
pub(super) const STRING_BYTES_MAX: usize = i16::MAX as usize;

impl Key<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Offset { group, topic, partition } => {
                out.extend(1_i16.to_be_bytes());
                put_string(&mut out, group);
                put_string(&mut out, topic);
                out.extend(partition.to_be_bytes());
            }
            Self::Group(group) => {
                out.extend(2_i16.to_be_bytes());
                put_string(&mut out, group);
            }
        }
        out
    }
}

impl<'a> Key<'a> {
    /// `None` for a key of another kind, which some other version may have written.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Fields(bytes);
        match rest.i16()? {
            0 | 1 => {
                let (group, topic) = (rest.string()?, rest.string()?);
                Some(Self::Offset { group, topic, partition: rest.i32()? })
            }
            2 => rest.string().map(Self::Group),
            _ => None,
        }
    }
}

impl OffsetValue {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let version: i16 = if self.expires_ms.is_some() { 1 } else { 3 };
        out.extend(version.to_be_bytes());
        out.extend(self.offset.to_be_bytes());
        if version == 3 {
            out.extend(self.leader_epoch.to_be_bytes());
        }
        put_string(&mut out, &self.metadata);
        out.extend(self.committed_ms.to_be_bytes());
        out.extend(self.expires_ms.map(i64::to_be_bytes).into_iter().flatten());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Fields(bytes);
        let version = rest.i16().filter(|version| (0..=3).contains(version))?;
        let offset = rest.i64()?;
        let leader_epoch = if version == 3 { rest.i32()? } else { -1 };
        let metadata = rest.string()?.into();
        let committed_ms = rest.i64()?;
        let expires_ms = if version == 1 { Some(rest.i64()?) } else { None };
        Some(Self { offset, leader_epoch, metadata, committed_ms, expires_ms })
    }
}

impl GroupValue {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(3_i16.to_be_bytes());
        put_string(&mut out, &self.protocol_type);
        out.extend(self.generation.to_be_bytes());
        put_nullable(&mut out, self.protocol.as_deref());
        put_nullable(&mut out, self.leader.as_deref());
        out.extend(self.since_ms.to_be_bytes());
        out.extend((self.members.len() as i32).to_be_bytes());
        for member in &self.members {
            put_string(&mut out, &member.id);
            put_nullable(&mut out, member.instance.as_deref());
            put_string(&mut out, &member.client_id);
            put_string(&mut out, &member.client_host);
            out.extend(member.rebalance_timeout_ms.to_be_bytes());
            out.extend(member.session_timeout_ms.to_be_bytes());
            for bytes in [&member.subscription, &member.assignment] {
                out.extend((bytes.len() as i32).to_be_bytes());
                out.extend(bytes);
            }
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Fields(bytes);
        let version = rest.i16().filter(|version| (0..=3).contains(version))?;
        let protocol_type = rest.string()?.to_owned();
        let generation = rest.i32()?;
        let protocol = rest.nullable()?.map(str::to_owned);
        let leader = rest.nullable()?.map(str::to_owned);
        let since_ms = if 2 <= version { rest.i64()? } else { -1 };
        let count = usize::try_from(rest.i32()?).ok()?;
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(rest.member(version)?);
        }
        Some(Self { protocol_type, generation, protocol, leader, since_ms, members })
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_nullable(out, Some(text));
}

fn put_nullable(out: &mut Vec<u8>, text: Option<&str>) {
    let length = text.map_or(-1, |text| {
        i16::try_from(text.len()).expect("texts are checked to fit before they are kept")
    });
    out.extend(length.to_be_bytes());
    out.extend(text.unwrap_or_default().bytes());
}

/// What is left of a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let len = usize::try_from(self.i32()?).ok()?;
        self.slice(len).map(<[u8]>::to_vec)
    }

    fn string(&mut self) -> Option<&'a str> {
        self.nullable()?
    }

    fn nullable(&mut self) -> Option<Option<&'a str>> {
        match self.i16()? {
            -1 => Some(None),
            len => {
                let bytes = self.slice(usize::try_from(len).ok()?)?;
                str::from_utf8(bytes).ok().map(Some)
            }
        }
    }

    fn member(&mut self, version: i16) -> Option<MemberValue> {
        let id = self.string()?.to_owned();
        let instance = if version == 3 { self.nullable()?.map(str::to_owned) } else { None };
        let client_id = self.string()?.to_owned();
        let client_host = self.string()?.to_owned();
        let own_rebalance_ms = if 1 <= version { Some(self.i32()?) } else { None };
        let session_timeout_ms = self.i32()?;
        Some(MemberValue {
            id,
            instance,
            client_id,
            client_host,
            rebalance_timeout_ms: own_rebalance_ms.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: self.bytes()?,
            assignment: self.bytes()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> GroupValue {
        let member = MemberValue {
            id: "m-1".into(),
            instance: Some("i".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms: 300_000,
            session_timeout_ms: 45_000,
            subscription: vec![1, 2],
            assignment: vec![3],
        };
        GroupValue {
            protocol_type: "consumer".into(),
            generation: 7,
            protocol: Some("range".into()),
            leader: None,
            since_ms: 1000,
            members: vec![member],
        }
    }

    #[test]
    fn keys_are_kafkas() {
        let key = Key::Offset { group: "g", topic: "t", partition: 3 };
        assert_eq!(key.encode(), [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3]);
        assert_eq!(Key::decode(&key.encode()), Some(key));
        assert_eq!(Key::Group("g").encode(), [0, 2, 0, 1, b'g']);
        assert_eq!(Key::decode(&[0, 2, 0, 1, b'g']), Some(Key::Group("g")));
        assert_eq!(Key::decode(&[0, 9, 0, 1, b'g']), None, "another kind");
    }

    #[test]
    fn offsets_are_kafkas() {
        let mut value = OffsetValue {
            offset: 258,
            leader_epoch: 5,
            metadata: "m".into(),
            committed_ms: 1,
            expires_ms: None,
        };
        let bytes = [0, 3, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 5, 0, 1, b'm', 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(value.encode(), bytes);
        assert_eq!(OffsetValue::decode(&bytes).as_ref(), Some(&value));
        value.expires_ms = Some(9);
        value.leader_epoch = -1;
        assert_eq!(OffsetValue::decode(&value.encode()), Some(value), "version 1");
    }

    #[test]
    fn groups_survive_and_damage_is_noticed() {
        let bytes = group().encode();
        assert_eq!(GroupValue::decode(&bytes), Some(group()));
        assert!((0..bytes.len()).all(|end| GroupValue::decode(&bytes[..end]).is_none()));
    }
}
