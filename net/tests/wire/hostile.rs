//! Bytes that no client sends: cut short, mutated, random, claiming gigabytes. Each ends as a
//! message or as a `WireError`, within the memory that the bytes received justify.
//!
//! `NET_FUZZ_FRAMES` sets how many frames (default 300,000), `NET_FUZZ_SEED` where to begin. A
//! failure prints the seed of its stream: run that one alone with `NET_FUZZ_FRAMES=1`, then add the
//! frame to `tests/corpus`.

use std::collections::BTreeMap;
use std::path::Path;

use net::{
    ApiKey, Incoming, Outgoing, ReplyTo, Request, RequestFrame, RequestHeader, Response, Session,
    WireError, decode_response_header,
};

use super::random::Random;
use super::sample::{Sampler, schemas};
use super::schema::Api;

const FRAME_BYTES_MAX: u32 = 1 << 20;
const FRAMES_PER_STREAM: usize = 8;

/// Frames of one API and version that got past the header, and past the body.
#[derive(Clone, Copy, Default)]
struct Tally {
    headers: usize,
    bodies: usize,
}

type Tallies = BTreeMap<(ApiKey, i16), Tally>;

#[test]
fn a_message_cut_short_is_an_error_wherever_it_is_cut() {
    let mut random = Random::new(1);
    for (api, version) in versions(&schemas()) {
        let key = ApiKey::from_code(api.key).unwrap();
        let body = Sampler::new(api, version, &mut random).message(&api.request);
        for end in 0..body.len() {
            assert!(Request::decode(key, version, &body[..end]).is_err(), "{key} {version}: {end}");
        }
        let body = Sampler::new(api, version, &mut random).message(&api.response);
        for end in 0..body.len() {
            assert!(
                Response::decode(key, version, &body[..end]).is_err(),
                "{key} {version}: {end}"
            );
        }
    }
}

#[test]
fn any_frames_decode_or_fail_within_bounds() {
    let apis = schemas();
    let versions = versions(&apis);
    let frames = setting("NET_FUZZ_FRAMES", 300_000);
    let first_seed = setting("NET_FUZZ_SEED", 0) as u64;
    let mut tallies = Tallies::new();
    for stream in 0..frames.div_ceil(FRAMES_PER_STREAM) {
        let seed = first_seed + stream as u64;
        let _told = TellSeed(seed);
        let mut random = Random::new(seed);
        let mut bytes = Vec::new();
        for frame in 0..FRAMES_PER_STREAM {
            let turn = seed as usize * FRAMES_PER_STREAM + frame;
            let (api, version) = versions[turn % versions.len()];
            bytes.extend(hostile_frame(api, version, &mut random));
        }
        receive_in_pieces(&bytes, &mut random, &mut tallies);
    }
    print(&tallies);
    let refused: usize = tallies.values().map(|tally| tally.headers - tally.bodies).sum();
    assert!(frames / 4 < refused || frames < 1000, "only {refused} bodies were refused");
    for (api, version) in versions.iter().filter(|_| 300_000 <= frames) {
        let tally = tallies.get(&(ApiKey::from_code(api.key).unwrap(), *version));
        let tally = tally.copied().unwrap_or_default();
        assert!(1000 <= tally.headers, "{} {version}: {} headers", api.name, tally.headers);
        assert!(100 <= tally.bodies, "{} {version}: {} bodies", api.name, tally.bodies);
    }
}

#[test]
fn mutated_responses_decode_or_fail() {
    let apis = schemas();
    let versions = versions(&apis);
    let mut random = Random::new(2);
    let (mut good, mut bad) = (0, 0);
    for round in 0..setting("NET_FUZZ_FRAMES", 300_000) / 4 {
        let (api, version) = versions[round % versions.len()];
        let key = ApiKey::from_code(api.key).unwrap();
        let mut body = Sampler::new(api, version, &mut random).message(&api.response);
        mutate(&mut body, &mut random);
        let frame = [&[0; 5][..], &body].concat();
        let body = decode_response_header(key, version, &frame).map_or(&body[..], |(_, rest)| rest);
        match Response::decode(key, version, body) {
            Ok(response) => {
                let mut out = Outgoing::default();
                response.write(&mut out, ReplyTo { version, correlation_id: 0 });
                assert!(out.bytes().len() <= body.len() + 9);
                good += 1;
            }
            Err(_) => bad += 1,
        }
    }
    assert!(0 < good && 0 < bad);
}

#[test]
fn the_corpus_is_survived() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let bytes = corpus_bytes(&text);
        println!("{}: {} bytes", path.display(), bytes.len());
        for seed in 0..100 {
            receive_in_pieces(&bytes, &mut Random::new(seed), &mut Tallies::new());
        }
        seen += 1;
    }
    assert!(0 < seen);
}

/// Every API with every version.
fn versions(apis: &[Api]) -> Vec<(&Api, i16)> {
    let all = apis.iter().flat_map(|api| {
        let versions = api.versions.min..=api.versions.max;
        versions.map(move |version| (api, version))
    });
    all.collect()
}

/// A frame, mostly with a fitting length and a good header, its body more or less spoilt.
fn hostile_frame(api: &Api, version: i16, random: &mut Random) -> Vec<u8> {
    let mut frame = Outgoing::default();
    let key = ApiKey::from_code(api.key).unwrap();
    let to = ReplyTo { version, correlation_id: random.bits() as i32 };
    let client_id = random.pick(&[None, Some(""), Some("client")]);
    let mut body = Sampler::new(api, version, random).message(&api.request);
    // The header comes from our own writer, with whatever body decodes; only it is kept.
    let good = Request::decode(key, version, &body).unwrap();
    good.write(&mut frame, to, client_id);
    let header = frame.bytes()[4..frame.bytes().len() - body.len()].to_vec();
    match random.below(10) {
        0 => {}
        1 => body = (0..random.below(100)).map(|_| random.bits() as u8).collect(),
        _ => mutate(&mut body, random),
    }
    let mut bytes = [header, body].concat();
    if random.one_in(20) {
        mutate(&mut bytes, random);
    }
    let mut len = bytes.len() as u32;
    if random.one_in(50) {
        let far = random.bits() as u32;
        len = random.pick(&[0, 1, len + 1, len.saturating_sub(1), FRAME_BYTES_MAX + 1, far]);
    }
    [&len.to_be_bytes()[..], &bytes].concat()
}

/// One to four small changes.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let any = random.bits() as u8;
        let byte = random.pick(&[0, 1, 0x7f, 0x80, 0xff, any]);
        let count = random.pick(&[0, -1, -2, i32::MAX, i32::MIN, 100_000_000]);
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, byte),
            2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            3 if at < bytes.len() => bytes[at] = byte,
            4 if at < bytes.len() => drop(bytes.remove(at)),
            5 if at + 4 <= bytes.len() => bytes[at..at + 4].copy_from_slice(&count.to_be_bytes()),
            _ => {
                let end = at + random.below(bytes.len() + 1 - at).min(20);
                bytes.extend_from_within(at..end);
            }
        }
    }
}

/// Feeds a stream to sessions as a socket would: in pieces, a new session after every error.
fn receive_in_pieces(bytes: &[u8], random: &mut Random, tallies: &mut Tallies) {
    let mut session = Session::new(FRAME_BYTES_MAX);
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece_bytes = random.pick(&[1, 3, 50, 1000, usize::MAX]).min(rest.len());
        let (piece, behind) = rest.split_at(piece_bytes);
        rest = behind;
        let mut received = piece;
        if random.one_in(8) {
            session.keep(received);
            received = &[];
        }
        if receive(&mut session, received, tallies).is_err() {
            session = Session::new(FRAME_BYTES_MAX);
        }
        assert!(session.framer().memory_bytes() <= 2 * bytes.len() + 64);
    }
}

fn receive(
    session: &mut Session,
    mut received: &[u8],
    tallies: &mut Tallies,
) -> Result<(), WireError> {
    while let Some(incoming) = session.next(&mut received)? {
        let Incoming::Request(frame) = incoming else { continue };
        let RequestHeader { api, version, .. } = frame.header;
        let tally = tallies.entry((api, version)).or_default();
        tally.headers += 1;
        if let Ok(request) = frame.decode() {
            tally.bodies += 1;
            walk(&frame, request);
        }
    }
    Ok(())
}

/// Looks at every element of the request, by writing it again: that takes no more bytes than were
/// received, and means the same.
fn walk(frame: &RequestFrame<'_>, request: Request<'_>) {
    let mut out = Outgoing::default();
    request.write(&mut out, frame.header.reply_to(), frame.header.client_id);
    let (header, body) = RequestHeader::decode(&out.bytes()[4..]).unwrap();
    assert_eq!(header, frame.header);
    assert!(body.len() <= frame.body.len(), "{} grew to {}", frame.body.len(), body.len());
    assert_eq!(Request::decode(header.api, header.version, body), Ok(request));
}

fn print(tallies: &Tallies) {
    println!("{:<24}{:>8}{:>10}{:>10}", "API", "version", "headers", "bodies");
    for ((api, version), Tally { headers, bodies }) in tallies {
        println!("{:<24}{version:>8}{headers:>10}{bodies:>10}", api.name());
    }
    let headers: usize = tallies.values().map(|tally| tally.headers).sum();
    println!("{headers} frames past the header, {} APIs × versions", tallies.len());
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().expect("a whole number"))
}

/// Lines of hexadecimal digits; `#` begins a comment.
fn corpus_bytes(text: &str) -> Vec<u8> {
    let code = text.lines().filter_map(|line| line.split('#').next());
    let digits: Vec<_> = code.flat_map(str::chars).filter_map(|it| it.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// Names the seed of a stream that broke something.
struct TellSeed(u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("NET_FUZZ_SEED={} NET_FUZZ_FRAMES=1 repeats this", self.0);
        }
    }
}
