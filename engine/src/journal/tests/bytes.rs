//! Frames as bytes: the golden form, and every shape that a power cut may leave behind.

use super::super::builder::FrameBuilder;
use super::super::image::{CHUNK_BLOCKS, SegmentImage};
use super::super::verdict::Sightings;
use super::super::*;
use super::disk::{SECTOR, arena};
use super::{control, data};
use base::Page;

const JOURNAL: u64 = 0x5eed;
const BLOCK: usize = 4096;

fn stamp(seq: u64, position: u64) -> Stamp {
    Stamp {
        place: Place { segment: 2, position },
        seq: Seq(seq),
        durable: Seq(seq - 1),
        start: Seq(1),
        inc: Incarnation(1),
        inc_base: Seq(1),
        prev_crc: 0xfeed_beef,
    }
}

fn frame(stamp: &Stamp, entries: &[(NewEntry, Vec<u8>)]) -> Vec<u8> {
    let mut arena = arena(64);
    let mut builder = FrameBuilder::new(128 << 10);
    assert!(builder.make_room(&mut arena, Instant(0), 128 << 10));
    for (entry, payload) in entries {
        builder.push(&mut arena, entry, &[payload]);
    }
    let sealed = builder.seal(&mut arena, JOURNAL, stamp);
    arena.get(sealed.span).unwrap().to_vec()
}

fn head(frame: &[u8]) -> Head {
    match Head::probe(frame, JOURNAL) {
        Probe::Head(head) => head,
        other => panic!("{other:?}"),
    }
}

/// The frames in a segment that begins with `bytes`.
fn survey(bytes: &[u8]) -> Sightings {
    let blocks = bytes.len().div_ceil(BLOCK);
    let mut pages = Page::boxed(blocks);
    Page::bytes_mut(&mut pages)[..bytes.len()].copy_from_slice(bytes);
    assert!(blocks <= CHUNK_BLOCKS as usize);
    let mut image = SegmentImage::new(2, blocks as u32);
    image.fill(0, pages, &[]);
    let mut seen = Sightings::default();
    image.survey(JOURNAL, &mut Vec::new(), &mut seen, &mut |_, _| {});
    seen
}

fn hex(bytes: &[u8]) -> Vec<String> {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.chunks(16).map(line).collect()
}

/// Version 1, byte for byte. A change here is a new version, and needs a reader for the old one.
#[test]
fn version_1_is_frozen() {
    let (batch_entry, batch) = data(9, b"v");
    let entry = NewEntry { carried: true, ..control(0x77) };
    let frame = frame(&stamp(0x1234, 0x8000), &[(entry, b"abc".to_vec()), (batch_entry, batch)]);
    assert_eq!(frame.len(), BLOCK);
    let at = 96 + 3 + 69;
    assert_eq!(hex(&frame[..96]), GOLDEN_HEADER);
    assert_eq!(&frame[96..99], b"abc");
    assert_eq!(hex(&frame[at..at + 80]), GOLDEN_DESCRIPTORS);
    assert!(frame[at + 80..].iter().all(|byte| *byte == 0));
}

/// magic, journal; seq, D; S, inc_base; position, inc, prev; bytes, descriptors at, entries,
/// segment, version; reserved, frame crc, header crc.
const GOLDEN_HEADER: [&str; 6] = [
    "636869706c6f6701ed5e000000000000",
    "34120000000000003312000000000000",
    "01000000000000000100000000000000",
    "008000000000000001000000efbeedfe",
    "00100000a80000000200000002000100",
    "0000000000000000199aac66e849cfa6",
];
/// partition, base; payload at, length, epoch, count; crc, kind, flags: twice.
const GOLDEN_DESCRIPTORS: [&str; 5] = [
    "02000000010000007700000000000000",
    "60000000030000000000000000000000",
    "b73f4b36040100000200000001000000",
    "09000000000000006300000045000000",
    "0400000001000000b2f0419e01000000",
];

#[test]
fn a_frame_survives_the_round_trip() {
    let entries = [data(9, b"first"), data(10, &[7; 6000]), (control(3), Vec::new())];
    let bytes = frame(&stamp(5, 4096), &entries);
    let head = head(&bytes);
    assert_eq!((head.stamp, head.entries), (stamp(5, 4096), 3));
    assert_eq!(head.frame_bytes as usize, bytes.len());
    assert_eq!(head.body(&bytes), Body::Intact);
    let found: Vec<_> = head.entries_in(&bytes).collect();
    for (found, (entry, payload)) in found.iter().zip(&entries) {
        assert_eq!((found.entry, found.payload_in(&bytes)), (*entry, Some(&payload[..])));
    }
    assert_eq!(Head::probe(&bytes, JOURNAL + 1), Probe::Nothing, "another journal's");
}

#[test]
fn every_flipped_bit_is_noticed_and_blamed() {
    let entries = [data(9, b"first"), (control(3), b"second".to_vec())];
    let good = frame(&stamp(5, 4096), &entries);
    let payload_len = entries[0].1.len() + entries[1].1.len();
    let covered = 96 + payload_len + 80;
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let byte = bit / 8;
        match Head::probe(&bad, JOURNAL) {
            Probe::Nothing => assert!(byte < 96, "byte {byte}"),
            Probe::Version(version) => panic!("byte {byte} makes version {version}"),
            Probe::Head(head) => {
                let body = head.body(&bad);
                let expected = match byte {
                    _ if covered <= byte => Body::Intact,
                    _ if 96 + payload_len <= byte => Body::Lost,
                    _ => Body::Damaged(1),
                };
                assert!(96 <= byte && body == expected, "byte {byte}: {body:?}");
                let blamed = head.entries_in(&bad).position(|entry| !entry.is_intact(&bad));
                if body == Body::Damaged(1) {
                    assert_eq!(blamed, Some(usize::from(96 + entries[0].1.len() <= byte)));
                }
            }
        }
    }
}

#[test]
fn a_sound_header_of_another_version_is_named() {
    let mut bytes = frame(&stamp(5, 4096), &[]);
    bytes[78] = 2;
    let crc = base::crc::crc32c(&seed(&bytes));
    let crc = base::crc::crc32c_append(crc, &bytes[..92]);
    bytes[92..96].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Head::probe(&bytes, JOURNAL), Probe::Version(2));
    assert_eq!(survey(&bytes).unknown_version, Some(2));
}

fn seed(header: &[u8]) -> Vec<u8> {
    [&header[8..16], &header[76..78], &header[48..56]].concat()
}

/// Whatever sectors or blocks of the frames in flight arrive over whatever lay there: no frame is
/// whole that was not written whole.
#[test]
fn no_tear_makes_a_frame_that_nobody_wrote() {
    let small = |seq, at, byte| frame(&stamp(seq, at), &[(control(seq), vec![byte; 3000])]);
    let large = |seq, at, byte| {
        frame(&stamp(seq, at), &[data(seq, &[byte; 10_000]), data(seq + 1, &[byte; 9_000])])
    };
    let zero = vec![0; 6 * BLOCK];
    let stale: Vec<u8> = [small(1, 0, 1), large(2, 4096, 2)].concat();
    let garbage: Vec<u8> = (0..6 * BLOCK).map(|at| (at * 31 % 251) as u8).collect();
    let mut wholes = 0;
    for old in [zero, stale, garbage] {
        // One block, sector by sector.
        let new = small(100, 0, 9);
        wholes += tears(&old, &new, SECTOR, BLOCK / SECTOR);
        // Five blocks, block by block; and two frames in flight side by side.
        wholes += tears(&old, &large(100, 0, 9), BLOCK, 5);
        let pair = [small(100, 0, 9), large(101, 4096, 8)].concat();
        wholes += tears(&old, &pair, BLOCK, 6);
    }
    assert!(9 <= wholes, "the last tear of each is the whole frame");
}

/// Tries every subset of `count` pieces of `new` over `old`. Returns how often a new frame was whole.
fn tears(old: &[u8], new: &[u8], piece: usize, count: usize) -> usize {
    assert!(new.len() <= piece * count && new.len() <= old.len(), "{} bytes", new.len());
    let known = [survey(old), survey(new)];
    let intact = |frame: &&verdict::Sighting| frame.body == Body::Intact;
    let mut whole = 0;
    for subset in 0..1_u32 << count {
        let mut torn = old.to_vec();
        for index in (0..count).filter(|index| subset >> index & 1 == 1) {
            let range = index * piece..(index + 1) * piece;
            torn[range.clone()].copy_from_slice(&new[range]);
        }
        for frame in survey(&torn).frames.iter().filter(intact) {
            assert!(!frame.is_misdirected());
            let same = |one: &verdict::Sighting| one == frame;
            assert!(known.iter().any(|seen| seen.frames.iter().any(same)), "{frame:?}");
            whole += usize::from(known[1].frames.iter().any(same));
        }
    }
    whole
}

/// A record may hold journal bytes, even of this journal, even at a block boundary.
#[test]
fn a_payload_that_looks_like_a_frame_is_none() {
    let inner = frame(&stamp(7, 0), &[(control(1), b"inner".to_vec())]);
    let mut payload = vec![0; BLOCK - 96];
    payload.extend_from_slice(&inner);
    let mut outer = frame(&stamp(5, 0), &[(control(2), payload)]);
    assert_eq!(survey(&outer).frames.len(), 1, "inside a whole frame nobody looks");
    outer[100] ^= 1;
    let seen = survey(&outer);
    let [damaged, inner] = &seen.frames[..] else { panic!("{seen:?}") };
    assert_eq!(damaged.body, Body::Damaged(1));
    assert!(inner.is_misdirected(), "its seed names another place");
}
