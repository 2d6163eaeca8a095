//! Free ports of the loopback address.

use std::net::TcpListener;
use std::ops::Range;

use crate::{Outcome, Trouble};

/// Below the range that outgoing connections draw from.
const RANGE: Range<u16> = 22_000..23_000;

/// The ports of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub node: u16,
    /// Of shard 0; the others follow.
    pub core: u16,
    pub admin: u16,
}

impl Ports {
    /// Ports of the trials' own range that nothing listens on now.
    pub fn free(shards: u16) -> Outcome<Self> {
        let wanted = shards + 2;
        for _ in 0..1000 {
            let first = fastrand::u16(RANGE.start..RANGE.end - wanted);
            let claimed: Option<Vec<TcpListener>> = (first..first + wanted)
                .map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
                .collect();
            if claimed.is_some() {
                return Ok(Self { node: first, admin: first + 1, core: first + 2 });
            }
        }
        Err(Trouble::failed(format!("no {wanted} adjacent ports are free")))
    }

    #[must_use]
    pub fn address(port: u16) -> String {
        format!("127.0.0.1:{port}")
    }
}
