//! The records of a compressed batch, as they were before.
//!
//! Snappy comes in two shapes: a raw block, as librdkafka writes it, and snappy-java's stream of
//! blocks behind a magic.

use std::borrow::Cow;
use std::io::{self, Read};

const SNAPPY_JAVA_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and compatible version.
const SNAPPY_JAVA_HEADER: usize = 16;
/// No encoder asks for more than 8 MiB to look back on, unless told to; a stranger might for 2 GiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// What `bytes`, the records of a batch with this codec attribute, decompress to. An error if that is
/// nothing, or more than `bytes_max`: never believe a few bytes that claim to be very many.
pub fn decompress(codec: u8, bytes: &[u8], bytes_max: usize) -> io::Result<Cow<'_, [u8]>> {
    match codec {
        0 => Ok(Cow::Borrowed(bytes)),
        1 => read_all(flate2::read::MultiGzDecoder::new(bytes), bytes_max),
        2 => decompress_snappy(bytes, bytes_max).map(Cow::Owned),
        3 => read_all(lz4_flex::frame::FrameDecoder::new(bytes), bytes_max),
        4 => {
            let mut decoder = zstd::stream::read::Decoder::new(bytes)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            read_all(decoder, bytes_max)
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no such codec")),
    }
}

fn read_all<'a>(reader: impl Read, bytes_max: usize) -> io::Result<Cow<'a, [u8]>> {
    let mut bytes = Vec::new();
    let read = reader.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes_max < read { Err(too_large()) } else { Ok(Cow::Owned(bytes)) }
}

fn decompress_snappy(bytes: &[u8], bytes_max: usize) -> io::Result<Vec<u8>> {
    if !bytes.starts_with(&SNAPPY_JAVA_MAGIC) {
        return snappy_block(bytes, bytes_max);
    }
    let mut rest = bytes.get(SNAPPY_JAVA_HEADER..).ok_or_else(cut_short)?;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(cut_short)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, behind) = behind.split_at_checked(length).ok_or_else(cut_short)?;
        all.extend_from_slice(&snappy_block(block, bytes_max - all.len())?);
        rest = behind;
    }
    Ok(all)
}

fn snappy_block(block: &[u8], bytes_max: usize) -> io::Result<Vec<u8>> {
    if bytes_max < snap::raw::decompress_len(block)? {
        return Err(too_large());
    }
    Ok(snap::raw::Decoder::new().decompress_vec(block)?)
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the compressed records are cut short")
}

fn too_large() -> io::Error {
    io::Error::other("the records decompress to more than is believed")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const MAX: usize = 1 << 20;

    fn compress(codec: u8, bytes: &[u8]) -> Vec<u8> {
        match codec {
            0 => bytes.to_vec(),
            1 => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            2 => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
            3 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            _ => zstd::bulk::compress(bytes, 0).unwrap(),
        }
    }

    #[test]
    fn every_codec_gives_back_what_it_took_and_no_more_than_is_believed() {
        let bytes = b"a log line, and again a log line".repeat(100);
        for codec in 0..=4 {
            let small = compress(codec, &bytes);
            assert_eq!(*decompress(codec, &small, bytes.len()).unwrap(), bytes, "codec {codec}");
            let less = decompress(codec, &small, bytes.len() - 1);
            assert_eq!(less.is_err(), codec != 0, "codec {codec}");
        }
        assert!(decompress(5, &bytes, MAX).is_err());
    }

    #[test]
    fn the_stream_of_snappy_java_is_read() {
        let block = |bytes: &[u8]| {
            let small = compress(2, bytes);
            [&(small.len() as u32).to_be_bytes()[..], &small].concat()
        };
        let header = [&SNAPPY_JAVA_MAGIC[..], &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        let stream = [header, block(b"first "), block(b"second")].concat();
        assert_eq!(*decompress(2, &stream, MAX).unwrap(), *b"first second");
        assert!(decompress(2, &stream, 11).is_err(), "all blocks together count");
        for end in 1..stream.len() {
            // Whatever it is cut to, it is an error or a prefix, never a panic.
            if let Ok(prefix) = decompress(2, &stream[..end], MAX) {
                assert!(b"first second".starts_with(&prefix), "cut at {end}");
            }
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for codec in 1..=4 {
            assert!(decompress(codec, &[0xff; 40], MAX).is_err(), "codec {codec}");
        }
    }
}
