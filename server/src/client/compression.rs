//! The four codecs of Kafka's record batches. Of snappy's two shapes the raw block is written.

use std::borrow::Cow;
use std::io::{self, Write};

use base::Batch;
use base::crc::crc32c;
use clap::ValueEnum;

/// How a batch's records are compressed. The number is the batch's codec attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

/// Decompressed records beyond this are not believed.
const RECORD_BYTES_MAX: usize = 1 << 30;

impl Codec {
    /// The codec with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd].into_iter().nth(number.into())
    }

    /// The records as they were before they were compressed.
    pub fn decompress(self, bytes: &[u8]) -> io::Result<Cow<'_, [u8]>> {
        base::decompress(self as u8, bytes, RECORD_BYTES_MAX)
    }

    /// The uncompressed `batch` with its records compressed.
    pub fn compress_batch(self, batch: Vec<u8>) -> io::Result<Vec<u8>> {
        if self == Self::None {
            return Ok(batch);
        }
        let (header, records) = batch.split_at(Batch::HEADER_BYTES);
        let mut small = header.to_vec();
        small.extend_from_slice(&self.compress(records)?);
        let length = (small.len() - Batch::PREFIX_BYTES) as u32;
        small[8..12].copy_from_slice(&length.to_be_bytes());
        small[22] |= self as u8;
        let crc = crc32c(&small[Batch::CRC_FROM..]);
        small[17..21].copy_from_slice(&crc.to_be_bytes());
        Ok(small)
    }

    /// The records compressed.
    pub fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes.to_vec()),
            Self::Gzip => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Snappy => Ok(snap::raw::Encoder::new().compress_vec(bytes)?),
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes)?;
                encoder.finish().map_err(io::Error::other)
            }
            Self::Zstd => zstd::bulk::compress(bytes, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn every_codec_gives_back_what_it_took() {
        let bytes = b"a log line, and again a log line, and again a log line".repeat(100);
        for codec in CODECS {
            let small = codec.compress(&bytes).expect("compressible");
            assert_eq!(codec.decompress(&small).expect("our own"), bytes, "{codec:?}");
            assert_eq!(Codec::from_number(codec as u8), Some(codec));
        }
        assert_eq!(Codec::from_number(5), None);
    }

    #[test]
    fn a_compressed_batch_keeps_its_header_and_its_checksum_holds() {
        let mut builder = base::batch::BatchBuilder::new(7);
        builder.push(7, Some(b"key"), Some(&[b'x'; 1000]), &[]);
        let batch = builder.build();
        let whole = Batch::parse(&batch).expect("built whole");
        for codec in CODECS {
            let small = codec.compress_batch(batch.clone()).expect("compressible");
            let small = Batch::parse(&small).expect("still a batch");
            small.verify_checksum().expect("computed anew");
            assert_eq!((small.codec(), small.record_count()), (codec as u8, 1));
            let records = codec.decompress(small.records()).expect("our own");
            assert_eq!(*records, *whole.records());
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for codec in &CODECS[1..] {
            assert!(codec.decompress(&[0xff; 40]).is_err(), "{codec:?}");
        }
    }
}
