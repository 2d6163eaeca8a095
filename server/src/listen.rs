//! The sockets clients come in by.
//!
//! Every data core accepts on the node view's port (SO_REUSEPORT). That flag would also let a second
//! server of the same user share the port in silence, so each port is first bound without it: a
//! listener of anyone else makes that fail.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

const BACKLOG: i32 = 1024;

/// How long a port in use is tried again: the ring of a server that has just ended keeps its
/// listeners for some 50 ms.
const PATIENCE: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(10);

/// Why a port cannot be listened on.
#[derive(Debug, Error)]
pub enum ListenError {
    #[error(
        "port {} of {} is in use: stop who listens there (`ss -ltnp sport = :{}`) or choose \
         another with {flag}",
        .address.port(), .address.ip(), .address.port()
    )]
    InUse { address: SocketAddr, flag: &'static str },
    #[error(
        "{} is not an address of this machine: give one of its own with {flag}",
        .address.ip()
    )]
    NotOurs { address: SocketAddr, flag: &'static str },
    #[error("port {} may not be used by this user: choose one above 1023 with {flag}", .address.port())]
    Forbidden { address: SocketAddr, flag: &'static str },
    #[error("cannot listen on {address} ({flag}): {source}")]
    Io { address: SocketAddr, flag: &'static str, source: io::Error },
    #[error(
        "shard {shard} would listen on port {}, which {taken_by} uses: give --core-listen a port \
         with {shards} free ones in a row",
        .address.port()
    )]
    Overlap { shard: u16, shards: u16, address: SocketAddr, taken_by: &'static str },
    #[error("{shards} shards do not fit above port {}: give --core-listen a lower one", .first.port())]
    BeyondLastPort { shards: u16, first: SocketAddr },
}

/// The address of shard `shard`'s own port. Port 0 stays 0: the kernel picks each.
pub fn core_address(first: SocketAddr, shard: u16) -> Option<SocketAddr> {
    let mut address = first;
    if first.port() != 0 {
        address.set_port(first.port().checked_add(shard)?);
    }
    Some(address)
}

/// Refuses a core view that runs into another port of this server, before anything is bound.
pub fn check_overlap(
    first: SocketAddr,
    shards: u16,
    others: &[(&'static str, SocketAddr)],
) -> Result<(), ListenError> {
    for shard in 0..shards {
        let Some(address) = core_address(first, shard) else {
            return Err(ListenError::BeyondLastPort { shards, first });
        };
        if let Some((taken_by, _)) = others.iter().find(|(_, other)| collide(*other, address)) {
            return Err(ListenError::Overlap { shard, shards, address, taken_by });
        }
    }
    Ok(())
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_host =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    same_host && one.port() == other.port() && one.port() != 0
}

/// `count` listeners that share `address`, one per core; the kernel spreads connections. With port
/// 0 all share the port that the first was given.
pub fn shared(
    address: SocketAddr,
    count: u16,
    flag: &'static str,
) -> Result<Vec<TcpListener>, ListenError> {
    let explain = |source| explain(address, flag, source);
    let address = single(address, flag)?.local_addr().map_err(explain)?;
    (0..count)
        .map(|_| {
            let listener = listen(address, true);
            listener.map_err(|source| self::explain(address, flag, source))
        })
        .collect()
}

/// `count` listeners on ports in a row, each the only one on its port. With port 0 the kernel picks
/// the first, again until the others are free.
pub fn consecutive(
    first: SocketAddr,
    count: u16,
    flag: &'static str,
) -> Result<Vec<TcpListener>, ListenError> {
    let mut attempts = if first.port() == 0 { 100 } else { 1 };
    loop {
        attempts -= 1;
        match consecutive_once(first, count, flag) {
            Err(ListenError::InUse { .. }) if 0 < attempts => {}
            result => return result,
        }
    }
}

fn consecutive_once(
    first: SocketAddr,
    count: u16,
    flag: &'static str,
) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = vec![single(first, flag)?];
    let first = listeners[0].local_addr().map_err(|error| explain(first, flag, error))?;
    for number in 1..count {
        let beyond = ListenError::BeyondLastPort { shards: count, first };
        listeners.push(single(core_address(first, number).ok_or(beyond)?, flag)?);
    }
    Ok(listeners)
}

/// Checks that nobody listens on `address`, for one who binds it later. With port 0 the kernel picks
/// one.
pub fn probe(address: SocketAddr, flag: &'static str) -> Result<SocketAddr, ListenError> {
    single(address, flag)?.local_addr().map_err(|error| explain(address, flag, error))
}

fn single(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ListenError> {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        match listen(address, false) {
            Ok(listener) => return Ok(listener),
            Err(error) if is_in_use(&error) && Instant::now() < give_up_at => {
                std::thread::sleep(RETRY);
            }
            Err(error) => return Err(explain(address, flag, error)),
        }
    }
}

fn is_in_use(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::ADDRINUSE)
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn explain(address: SocketAddr, flag: &'static str, source: io::Error) -> ListenError {
    match Errno::from_io_error(&source) {
        Some(Errno::ADDRINUSE) => ListenError::InUse { address, flag },
        Some(Errno::ADDRNOTAVAIL) => ListenError::NotOurs { address, flag },
        Some(Errno::ACCESS) => ListenError::Forbidden { address, flag },
        _ => ListenError::Io { address, flag, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_shared_port_is_refused_to_a_second_server() {
        let first = shared(loopback(0), 2, "--listen").expect("a free port");
        let address = first[0].local_addr().expect("bound");
        assert_eq!(first[1].local_addr().expect("bound"), address);
        let second = shared(address, 2, "--listen").expect_err("in use").to_string();
        assert!(second.contains(&format!("port {}", address.port())), "{second}");
        assert!(second.contains("--listen"), "{second}");
        assert!(matches!(single(address, "--admin"), Err(ListenError::InUse { .. })));
    }

    #[test]
    fn ports_of_shards_stand_in_a_row() {
        let listeners = consecutive(loopback(0), 3, "--core-listen").expect("free ports");
        let ports: Vec<_> =
            listeners.iter().map(|l| l.local_addr().expect("bound").port()).collect();
        assert_eq!(ports, [ports[0], ports[0] + 1, ports[0] + 2]);
        let taken = consecutive(loopback(ports[0] - 1), 2, "--core-listen");
        assert!(matches!(taken, Err(ListenError::InUse { .. })));
    }

    #[test]
    fn shards_may_not_run_into_other_ports() {
        let others = [("--admin", loopback(9102))];
        check_overlap(loopback(9100), 2, &others).expect("9100 and 9101");
        let error = check_overlap(loopback(9100), 3, &others).expect_err("9102").to_string();
        assert!(error.contains("--admin"), "{error}");
        let last = check_overlap(loopback(65535), 2, &others);
        assert!(matches!(last, Err(ListenError::BeyondLastPort { .. })));
    }
}
