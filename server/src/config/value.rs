//! What a setting's text may mean: each type parses itself and says what it expects.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use ring::feature::FeatureSet;
use ring::{Feature, PollMode};

/// A type that a setting's text becomes.
pub trait Value: Sized {
    /// Completes "expects …" in an error.
    const EXPECTED: &'static str;

    /// The value, or `None` if `text` is not one.
    fn parse(text: &str) -> Option<Self>;
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }
}

impl Value for NonZeroU16 {
    const EXPECTED: &'static str = "a whole number from 1 to 512";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &Self| number.get() <= 512)
    }
}

/// An address to listen on: the host as the operator wrote it, and what it resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    pub host: String,
    pub socket: SocketAddr,
}

impl Value for ListenAddress {
    const EXPECTED: &'static str = "HOST:PORT with a host that resolves, such as 127.0.0.1:9092";

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return None;
        }
        let socket = (host, port.parse().ok()?).to_socket_addrs().ok()?.next()?;
        Some(Self { host: host.to_owned(), socket })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

/// A name or address that clients can be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertisedHost(pub String);

impl Value for AdvertisedHost {
    const EXPECTED: &'static str = "a host name or address that clients can reach, without a port";

    fn parse(text: &str) -> Option<Self> {
        let address = text.parse::<std::net::IpAddr>();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let fits = match address {
            Ok(address) => !address.is_unspecified(),
            Err(_) => !text.is_empty() && text.len() <= 253 && text.chars().all(is_name),
        };
        fits.then(|| Self(text.to_owned()))
    }
}

impl Value for PollMode {
    const EXPECTED: &'static str = "`spin`, `adaptive` or `park`";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A number of things, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u32);

impl Value for Count {
    const EXPECTED: &'static str = "a whole number from 1 to 1000000";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|count| (1..=1_000_000).contains(count)).map(Self)
    }
}

/// A time of up to an hour, written as milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Millis(pub Duration);

impl Value for Millis {
    const EXPECTED: &'static str = "milliseconds, from 0 to 3600000";

    fn parse(text: &str) -> Option<Self> {
        let ms = text.parse().ok().filter(|ms| *ms <= 3_600_000)?;
        Some(Self(Duration::from_millis(ms)))
    }
}

/// Bins of a shard: their table fits into a frame of the smallest journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinCount(pub u32);

impl Value for BinCount {
    const EXPECTED: &'static str = "a whole number from 64 to 16000";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|count| (64..=16_000).contains(count)).map(Self)
    }
}

/// Journal frames in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalWindow(pub u8);

impl Value for JournalWindow {
    const EXPECTED: &'static str = "1, 2, 3 or 4";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|frames| (1..=4).contains(frames)).map(Self)
    }
}

impl Value for FeatureSet {
    const EXPECTED: &'static str = "names of ring features, separated by commas: single-issuer, \
        defer-taskrun, coop-taskrun, taskrun-flag, submit-all, no-sqarray, cq-size, \
        registered-ring, registered-files, registered-buffers, multishot-recv, no-iowait, msg-ring";

    fn parse(text: &str) -> Option<Self> {
        text.split(',').map(|name| name.trim().parse::<Feature>().ok()).collect()
    }
}

/// A number of bytes, written as `512MiB`, `64 KiB` or a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size such as 512MiB (KiB, MiB, GiB, TiB or plain bytes)";

    fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let unit = unit.trim_start();
        if unit.is_empty() || unit == "B" {
            return Some(Self(number));
        }
        let (_, shift) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        number.checked_mul(1 << shift).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, shift) in UNITS {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{name}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_what_they_print() {
        for (text, bytes) in [("512MiB", 512 << 20), ("64KiB", 65536), ("1000", 1000), ("0", 0)] {
            assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        assert_eq!(ByteSize::parse("1 gib"), Some(ByteSize(1 << 30)));
        for bad in ["", "MiB", "12 parsecs", "-1", "99999999999TiB"] {
            assert_eq!(ByteSize::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn listen_addresses_keep_the_host_as_written() {
        let six = ListenAddress::parse("[::1]:9092").expect("an IPv6 address");
        assert_eq!((six.host.as_str(), six.socket.port()), ("::1", 9092));
        for bad in ["9092", ":9092", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:70000"] {
            assert_eq!(ListenAddress::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_ring_feature_is_named_where_names_are_expected() {
        for feature in Feature::ALL {
            assert!(FeatureSet::EXPECTED.contains(feature.name()), "{}", feature.name());
        }
        assert_eq!(FeatureSet::parse("msg-ring, cq-size").map(|set| set.iter().count()), Some(2));
        assert_eq!(FeatureSet::parse("sqpoll"), None);
    }

    #[test]
    fn a_wildcard_cannot_be_advertised() {
        assert_eq!(AdvertisedHost::parse("0.0.0.0"), None);
        assert_eq!(AdvertisedHost::parse("::"), None);
        assert_eq!(AdvertisedHost::parse("host:9092"), None);
        assert!(AdvertisedHost::parse("log-1.example.org").is_some());
        assert!(AdvertisedHost::parse("fe80::1").is_some());
    }
}
