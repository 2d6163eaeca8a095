//! Kafka request frames written by hand, independent of the server's own codecs.
//!
//! ```text
//!   length i32 │ api key i16 │ api version i16 │ correlation i32 │ client id │ body
//! ```

const CORRELATION: i32 = 7;

/// ApiVersions, version 0.
#[must_use]
pub fn api_versions() -> Vec<u8> {
    frame(18, 0, &[])
}

/// One small valid frame per kind of request that a stranger would send.
#[must_use]
pub fn templates() -> Vec<Vec<u8>> {
    vec![
        api_versions(),
        frame(18, 3, b"\x00\x05test\x041.0\x00"),
        frame(3, 1, &(-1_i32).to_be_bytes()),
        frame(3, 4, &[&1_i32.to_be_bytes()[..], &topic(), &[0]].concat()),
        frame(0, 3, &produce()),
        frame(0, 7, &produce()),
        frame(1, 4, &fetch()),
        frame(2, 1, &list_offsets()),
        frame(19, 0, &create_topics()),
        frame(20, 1, &[&1_i32.to_be_bytes()[..], &topic(), &1000_i32.to_be_bytes()].concat()),
        frame(22, 0, &[&(-1_i16).to_be_bytes()[..], &60_000_i32.to_be_bytes()].concat()),
        frame(32, 0, &[&1_i32.to_be_bytes()[..], &[2], &topic(), &(-1_i32).to_be_bytes()].concat()),
    ]
}

/// `frame` with one to four of its bytes changed, or cut short, or with bytes doubled; its length
/// mostly mended, so that the damage meets the decoder and not only the framing.
#[must_use]
pub fn mutate(frame: &[u8], dice: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    match dice.u8(0..4) {
        0 => bytes.truncate(dice.usize(4..=bytes.len())),
        1 => {
            let at = dice.usize(4..bytes.len());
            let doubled = bytes[at..].to_vec();
            bytes.extend(doubled);
        }
        _ => {
            for _ in 0..dice.usize(1..5) {
                let at = dice.usize(4..bytes.len());
                let random = dice.u8(..);
                bytes[at] = [0x00, 0xff, 0x7f, 0x80, random][dice.usize(..5)];
            }
        }
    }
    if 0 < dice.u8(0..10) {
        let length = i32::try_from(bytes.len() - 4).expect("a small frame");
        bytes[..4].copy_from_slice(&length.to_be_bytes());
    }
    bytes
}

fn frame(api_key: i16, api_version: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&api_key.to_be_bytes());
    bytes.extend_from_slice(&api_version.to_be_bytes());
    bytes.extend_from_slice(&CORRELATION.to_be_bytes());
    bytes.extend_from_slice(&string("stranger"));
    if api_key == 18 && api_version == 3 {
        bytes.push(0); // tagged fields of the flexible header
    }
    bytes.extend_from_slice(body);
    let length = i32::try_from(bytes.len()).expect("a small frame");
    [&length.to_be_bytes()[..], &bytes].concat()
}

fn string(text: &str) -> Vec<u8> {
    let length = i16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// No topic of anybody else: some of the frames delete what they name.
fn topic() -> Vec<u8> {
    string("strange")
}

/// One topic with one partition; `partition` is what follows its index.
fn one_partition(partition: &[u8]) -> Vec<u8> {
    let one = 1_i32.to_be_bytes();
    [&one[..], &topic(), &one, &0_i32.to_be_bytes(), partition].concat()
}

/// Acks all, 1 s, and bytes that look like a batch until the checksum.
fn produce() -> Vec<u8> {
    let mut batch = vec![0; 80];
    batch[11] = 68; // length behind the first twelve bytes
    batch[16] = 2; // magic
    let length = 80_i32.to_be_bytes();
    let head =
        [&(-1_i16).to_be_bytes()[..], &(-1_i16).to_be_bytes(), &1000_i32.to_be_bytes()].concat();
    [head, one_partition(&[&length[..], &batch].concat())].concat()
}

fn fetch() -> Vec<u8> {
    let numbers = [-1_i32, 0, 1, 1 << 20].map(i32::to_be_bytes).concat();
    let partition = [&0_i64.to_be_bytes()[..], &(1_i32 << 20).to_be_bytes()].concat();
    [numbers, vec![0], one_partition(&partition)].concat()
}

fn list_offsets() -> Vec<u8> {
    [&(-1_i32).to_be_bytes()[..], &one_partition(&(-1_i64).to_be_bytes())].concat()
}

/// With no partitions at all: refused, and no topic is made.
fn create_topics() -> Vec<u8> {
    let sizes = [&0_i32.to_be_bytes()[..], &0_i16.to_be_bytes()].concat();
    let none = 0_i32.to_be_bytes();
    [&1_i32.to_be_bytes()[..], &topic(), &sizes, &none, &none, &1000_i32.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(frame: &[u8]) -> usize {
        i32::from_be_bytes(*frame.first_chunk().unwrap()) as usize
    }

    #[test]
    fn templates_tell_their_length() {
        for frame in templates() {
            assert_eq!(length(&frame), frame.len() - 4);
        }
    }

    #[test]
    fn most_mutants_keep_their_framing_and_none_their_bytes() {
        let mut dice = fastrand::Rng::with_seed(1);
        let template = &templates()[4];
        let mutants: Vec<_> = (0..1000).map(|_| mutate(template, &mut dice)).collect();
        let framed = mutants.iter().filter(|frame| length(frame) == frame.len() - 4).count();
        let same = mutants.iter().filter(|frame| *frame == template).count();
        assert!(850 < framed && same < 100, "{framed} framed, {same} unchanged");
    }
}
