//! Bytes written down by hand from Kafka's protocol guide.

use net::api::{api_versions, fetch, produce};
use net::{
    ApiKey, Empty, ErrorCode, Incoming, Outgoing, Part, Records, ReplyTo, Request, RequestHeader,
    Response, Session, Uuid, decode_response_header, many, negotiation,
};

/// Bytes of hexadecimal digits; spaces and what follows a `|` on a line do not count.
fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.lines().filter_map(|line| line.split('|').next()).collect();
    let digits: Vec<_> = digits.chars().filter(|digit| !digit.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn only_request(bytes: &[u8]) -> (RequestHeader<'static>, Request<'static>) {
    let bytes: &'static [u8] = bytes.to_vec().leak();
    let mut received = bytes;
    let session = Box::leak(Box::new(Session::new(1000)));
    let Ok(Some(Incoming::Request(frame))) = session.next(&mut received) else {
        panic!("one request");
    };
    assert!(received.is_empty());
    (frame.header, frame.decode().unwrap())
}

#[test]
fn api_versions_0() {
    let request = hex("0000000c | length
         0012 0000 | API 18, version 0
         00000007 | correlation id
         0002 6b63 | client id kc");
    let (header, body) = only_request(&request);
    let client_id = Some("kc");
    let expected =
        RequestHeader { api: ApiKey::ApiVersions, version: 0, correlation_id: 7, client_id };
    assert_eq!(header, expected);
    assert_eq!(body, Request::ApiVersions(api_versions::Request::default()));

    let mut out = Outgoing::default();
    negotiation::answer(&mut out, header.reply_to(), api_versions::Request::default());
    let start = hex("000000b8 | length
         00000007 | correlation id
         0000 | no error
         0000001d | 29 APIs
         0000 0000 000c | Produce 0 to 12
         0001 0004 0011 | Fetch 4 to 17");
    assert_eq!(out.bytes()[..start.len()], start);
    assert_eq!(out.bytes()[out.bytes().len() - 6..], hex("003c 0000 0002"), "DescribeCluster");
}

#[test]
fn api_versions_3() {
    let request = hex("00000019 | length
         0012 0003 | API 18, version 3
         00000007 | correlation id
         0002 6b63 | client id kc, not compact
         00 | no tagged fields in the header
         06 6b63617421 | software name kcat!
         05 312e 3730 | software version 1.70
         00 | no tagged fields");
    let (header, body) = only_request(&request);
    let Request::ApiVersions(body) = body else { panic!("{body:?}") };
    assert_eq!((body.client_software_name, body.client_software_version), ("kcat!", "1.70"));

    let mut out = Outgoing::default();
    let named = api_versions::Request { client_software_name: "kcat", ..body };
    negotiation::answer(&mut out, header.reply_to(), named);
    let start = hex("000000d7 | length
         00000007 | correlation id, and no tagged fields although version 3 is flexible
         0000 | no error
         1e | 29 APIs
         0000 0000 000c 00 | Produce 0 to 12, no tagged fields");
    assert_eq!(out.bytes()[..start.len()], start);
    let end = hex("003c 0000 0002 00 00000000 00");
    assert_eq!(out.bytes()[out.bytes().len() - end.len()..], end, "throttle time, no tags");
}

#[test]
fn produce_3_and_9() {
    let classic = frame(
        "0000 0003 00000001 | Produce, version 3, correlation id
         ffff | no client id
         ffff | no transactional id
         ffff 000003e8 | acks -1, 1000 ms
         00000001 0001 74 | one topic, t
         00000001 00000002 | one partition, 2
         00000004 deadbeef | records",
    );
    let flexible = frame(
        "0000 0009 00000001 | Produce, version 9, correlation id
         ffff 00 | no client id, no tagged fields
         00 | no transactional id
         ffff 000003e8 | acks -1, 1000 ms
         02 02 74 | one topic, t
         02 00000002 | one partition, 2
         05 deadbeef 00 | records, end of partition
         00 00 | end of topic, end of request",
    );
    for (bytes, version) in [(classic, 3), (flexible, 9)] {
        let (header, body) = only_request(&bytes);
        assert_eq!((header.api, header.version), (ApiKey::Produce, version));
        let Request::Produce(produce) = body else { panic!("{body:?}") };
        assert_eq!((produce.acks, produce.timeout_ms), (-1, 1000));
        let topic = produce.topic_data.first().unwrap();
        let partition = topic.partition_data.first().unwrap();
        assert_eq!((topic.name, partition.index), ("t", 2));
        assert_eq!(partition.records, Some(Records::Bytes(&[0xde, 0xad, 0xbe, 0xef])));

        let mut out = Outgoing::default();
        let to = ReplyTo { version, correlation_id: 1 };
        let sent = produce::Request {
            transactional_id: None,
            acks: -1,
            timeout_ms: 1000,
            topic_data: [produce::TopicData { name: "t", partition_data: [partition] }],
        };
        out.request(to, None, sent);
        assert_eq!(out.bytes(), bytes);
    }
}

#[test]
fn produce_response_10_names_the_new_leader() {
    let mut out = Outgoing::default();
    let partition = produce::PartitionResponse {
        index: 2,
        error_code: ErrorCode::NotLeaderOrFollower,
        base_offset: -1,
        current_leader: produce::LeaderIdAndEpoch { leader_id: 1, leader_epoch: 5 },
        record_errors: Empty,
        log_append_time_ms: -1,
        log_start_offset: -1,
        error_message: None,
    };
    let endpoint = produce::NodeEndpoint { node_id: 1, host: "h", port: 9092, rack: None };
    let body = produce::Response {
        responses: [produce::TopicResponse { name: "t", partition_responses: [partition] }],
        throttle_time_ms: 0,
        node_endpoints: [endpoint],
    };
    out.respond(ReplyTo { version: 10, correlation_id: 1 }, body);
    let golden = frame(
        "00000001 00 | correlation id, no tagged fields
         02 02 74 | one topic, t
         02 00000002 | one partition, 2
         0006 ffffffffffffffff | NOT_LEADER_OR_FOLLOWER, no base offset
         ffffffffffffffff ffffffffffffffff | no time, no log start
         01 00 | no record errors, no message
         01 00 09 00000001 00000005 00 | one tag: 0, 9 bytes: leader 1 of epoch 5
         00 | end of topic
         00000000 | throttle time
         01 00 0d | one tag: 0, 13 bytes
         02 00000001 02 68 00002384 00 00 | one endpoint: 1, h, 9092, no rack",
    );
    assert_eq!(out.bytes(), golden);
}

#[test]
fn fetch_12_counts_a_hole_that_it_does_not_hold() {
    let answer = |out: &mut Outgoing, records: Records<'_>| {
        let partition = fetch::PartitionData {
            partition_index: 2,
            high_watermark: 9,
            last_stable_offset: 9,
            log_start_offset: 0,
            aborted_transactions: None,
            records: Some(records),
            ..fetch::PartitionData::default()
        };
        let body = fetch::Response {
            throttle_time_ms: 0,
            error_code: ErrorCode::None,
            session_id: 0,
            responses: many(1, |topics| {
                let partitions = [partition];
                topics.push(fetch::TopicResponse { topic: "t", topic_id: Uuid::ZERO, partitions });
            }),
            node_endpoints: Empty,
        };
        out.respond(ReplyTo { version: 12, correlation_id: 1 }, body);
    };
    let before = hex("0000013b | length, the 256 bytes of the hole included
         00000001 00 | correlation id, no tagged fields
         00000000 0000 00000000 | throttle time, no error, no session
         02 02 74 | one topic, t
         02 00000002 0000 | one partition, 2, no error
         0000000000000009 0000000000000009 0000000000000000 | high watermark, stable, start
         00 ffffffff | no aborted transactions, no preferred replica
         8102 | 256 bytes of records");
    let after = hex("00 00 00 | end of partition, topic, response");
    let mut out = Outgoing::default();
    answer(&mut out, Records::Hole(256));
    answer(&mut out, Records::Hole(256));
    let between = [&after[..], &before].concat();
    let parts: Vec<_> = out.parts().collect();
    let [first, middle, last] = [&before, &between, &after].map(|bytes| Part::Bytes(bytes));
    assert_eq!(parts, [first, Part::Hole(256), middle, Part::Hole(256), last]);

    let records = [7; 256];
    let whole = [&before[..], &records, &after].concat();
    assert_eq!(out.wire_len(), 2 * whole.len());
    out.clear();
    answer(&mut out, Records::Bytes(&records));
    assert_eq!(out.bytes(), whole);
    let (correlation_id, body) = decode_response_header(ApiKey::Fetch, 12, &whole[4..]).unwrap();
    assert_eq!(correlation_id, 1);
    let Ok(Response::Fetch(view)) = Response::decode(ApiKey::Fetch, 12, body) else {
        panic!("a fetch response");
    };
    let partition = view.responses.first().unwrap().partitions.first().unwrap();
    assert_eq!(partition.records.unwrap().bytes(), records);
    assert_eq!(partition.aborted_transactions, None);
}

/// The bytes that `text` writes down, behind their length.
fn frame(text: &str) -> Vec<u8> {
    let bytes = hex(text);
    [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat()
}
