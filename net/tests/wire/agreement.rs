//! Our codecs and the `kafka-protocol` crate read the same values from the same bytes, and write
//! the same bytes for them: field names, defaults of absent fields, nulls, tags, headers.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    RequestHeader as TheirRequestHeader, RequestKind, ResponseHeader as TheirResponseHeader,
    ResponseKind,
};
use kafka_protocol::protocol::Decodable;
use net::{
    ApiKey, ErrorCode, Outgoing, ReplyTo, Request, RequestHeader, Response, Uuid,
    decode_response_header,
};

use super::debug_tree::Tree;
use super::random::Random;
use super::sample::{Sampler, schemas};
use super::schema::{Api, Struct};

const SAMPLES: u64 = 40;

/// Fields of theirs for versions which we do not speak.
const ONLY_THEIRS: [&str; 14] = [
    "Produce.topic_data.topic_id",
    "Produce.responses.topic_id",
    "Fetch.topics.partitions.high_watermark",
    "InitProducerId.enable_2_pc",
    "InitProducerId.keep_prepared_txn",
    "InitProducerId.ongoing_txn_producer_id",
    "InitProducerId.ongoing_txn_producer_epoch",
    "OffsetCommit.topics.topic_id",
    "OffsetFetch.groups.topics.topic_id",
    "DescribeQuorum.error_message",
    "DescribeQuorum.nodes",
    "DescribeQuorum.topics.partitions.error_message",
    "DescribeQuorum.topics.partitions.current_voters.replica_directory_id",
    "DescribeQuorum.topics.partitions.observers.replica_directory_id",
];

const TO: ReplyTo = ReplyTo { version: 0, correlation_id: 0x0102_0304 };

#[test]
fn requests_mean_the_same_to_both() {
    for_each_sample(
        |api| &api.request,
        |key, version, body| {
            let to = ReplyTo { version, ..TO };
            let ours = Request::decode(key, version, body).unwrap();
            let mut theirs_body = Bytes::copy_from_slice(body);
            let theirs = RequestKind::decode(their_key(key), &mut theirs_body, version).unwrap();
            assert!(theirs_body.is_empty());
            assert_same(key.name(), &Tree::of(&ours), &Tree::of(&theirs));

            let mut rewritten = BytesMut::new();
            theirs.encode(&mut rewritten, version).unwrap();
            assert_eq!(rewritten, body);

            let mut out = Outgoing::default();
            ours.write(&mut out, to, Some("client"));
            let mut frame = frame_of(&out);
            let (header, rest) = RequestHeader::decode(&frame).unwrap();
            let api = key;
            let client_id = Some("client");
            let correlation_id = to.correlation_id;
            assert_eq!(header, RequestHeader { api, version, correlation_id, client_id });
            assert_eq!(rest, body, "our encoder writes what was read");
            let header_version = their_key(key).request_header_version(version);
            let header = TheirRequestHeader::decode(&mut frame, header_version).unwrap();
            assert_eq!((header.request_api_key, header.request_api_version), (key as i16, version));
            assert_eq!(
                (header.correlation_id, header.client_id.unwrap().as_str()),
                (0x0102_0304, "client")
            );
            assert_eq!(frame, body);
        },
    );
}

#[test]
fn responses_mean_the_same_to_both() {
    for_each_sample(
        |api| &api.response,
        |key, version, body| {
            let ours = Response::decode(key, version, body).unwrap();
            let mut theirs_body = Bytes::copy_from_slice(body);
            let theirs = ResponseKind::decode(their_key(key), &mut theirs_body, version).unwrap();
            assert!(theirs_body.is_empty());
            assert_same(key.name(), &Tree::of(&ours), &Tree::of(&theirs));

            let mut rewritten = BytesMut::new();
            theirs.encode(&mut rewritten, version).unwrap();
            assert_eq!(rewritten, body);

            let mut out = Outgoing::default();
            ours.write(&mut out, ReplyTo { version, ..TO });
            let mut frame = frame_of(&out);
            assert_eq!(decode_response_header(key, version, &frame), Ok((0x0102_0304, body)));
            let header_version = their_key(key).response_header_version(version);
            let header = TheirResponseHeader::decode(&mut frame, header_version);
            assert_eq!(header.unwrap().correlation_id, 0x0102_0304);
            assert_eq!(frame, body);
        },
    );
}

#[test]
fn tags_that_nobody_knows_change_nothing() {
    for api in schemas() {
        let key = ApiKey::from_code(api.key).unwrap();
        for version in api.flexible..=api.versions.max {
            for seed in 0..SAMPLES {
                let sample = |part: &Struct, foreign_tags| {
                    let mut random = Random::new(seed);
                    let mut sampler = Sampler::new(&api, version, &mut random);
                    sampler.foreign_tags = foreign_tags;
                    sampler.message(part)
                };
                let [plain, tagged] = [false, true].map(|foreign| sample(&api.request, foreign));
                assert!(plain.len() < tagged.len());
                let decode = |body| Request::decode(key, version, body);
                assert_eq!(decode(&plain).unwrap(), decode(&tagged).unwrap());
                let [plain, tagged] = [false, true].map(|foreign| sample(&api.response, foreign));
                let decode = |body| Response::decode(key, version, body);
                assert_eq!(decode(&plain).unwrap(), decode(&tagged).unwrap());
            }
        }
    }
}

/// Runs `check` on random bodies of every API and version.
fn for_each_sample(pick: fn(&Api) -> &Struct, check: impl Fn(ApiKey, i16, &[u8])) {
    let apis = schemas();
    assert_eq!(apis.len(), ApiKey::ALL.len());
    for api in &apis {
        let key = ApiKey::from_code(api.key).unwrap();
        for version in api.versions.min..=api.versions.max {
            for sample in 0..SAMPLES {
                let seed = (api.key as u64) << 32 | (version as u64) << 16 | sample;
                let body = Sampler::new(api, version, &mut Random::new(seed)).message(pick(api));
                check(key, version, &body);
            }
        }
    }
}

fn frame_of(out: &Outgoing) -> Bytes {
    let (len, frame) = out.bytes().split_first_chunk().unwrap();
    assert_eq!(u32::from_be_bytes(*len) as usize, frame.len());
    Bytes::copy_from_slice(frame)
}

fn their_key(key: ApiKey) -> kafka_protocol::messages::ApiKey {
    (key as i16).try_into().unwrap()
}

/// Compares by field name, all the way down.
fn assert_same(path: &str, ours: &Tree, theirs: &Tree) {
    match (ours, theirs) {
        (Tree::Fields(ours), Tree::Fields(theirs)) => {
            for (name, tree) in ours {
                let path = format!("{path}.{name}");
                assert_same(&path, tree, theirs.get(name).unwrap_or_else(|| panic!("{path}")));
            }
            for name in theirs.keys().filter(|name| *name != "unknown_tagged_fields") {
                let path = format!("{path}.{name}");
                assert!(ours.contains_key(name) || ONLY_THEIRS.contains(&&*path), "{path}");
            }
        }
        (Tree::List(ours), Tree::List(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{path}");
            ours.iter().zip(theirs).for_each(|(ours, theirs)| assert_same(path, ours, theirs));
        }
        (Tree::Some(ours), Tree::Some(theirs)) => assert_same(path, ours, theirs),
        (Tree::Leaf(ours), Tree::Leaf(theirs)) => {
            let same = ours == theirs || *ours == our_uuid(theirs) || *ours == our_error(theirs);
            assert!(same, "{path}: ours {ours}, theirs {theirs}");
        }
        _ => panic!("{path}: ours {ours:?}, theirs {theirs:?}"),
    }
}

/// What we print for a hyphenated uuid.
fn our_uuid(leaf: &str) -> String {
    let bits = u128::from_str_radix(&leaf.replace('-', ""), 16);
    bits.map_or(String::new(), |bits| format!("{:?}", Uuid(bits.to_be_bytes())))
}

/// What we print for an error code.
fn our_error(leaf: &str) -> String {
    leaf.parse().map_or(String::new(), |code| format!("{:?}", ErrorCode::from_code(code)))
}
