//! The sockets clients come in by.
//!
//! Every data core accepts on the node view's port (SO_REUSEPORT). That flag would also let a second
//! server of the same user share the port in silence, so each port is first bound without it: a
//! listener of anyone else makes that fail.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
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
        "{flag} would take port {}, which {taken_by} uses: give it one with {ports} free ports in a \
         row",
        .address.port()
    )]
    Overlap { flag: &'static str, ports: u16, address: SocketAddr, taken_by: &'static str },
    #[error("{ports} ports do not fit above port {}: give {flag} a lower one", .first.port())]
    BeyondLastPort { flag: &'static str, ports: u16, first: SocketAddr },
}

/// Ports in a row that one flag asks for.
#[derive(Clone, Copy, Debug)]
pub struct PortRow {
    pub flag: &'static str,
    pub first: SocketAddr,
    pub ports: u16,
}

impl PortRow {
    /// The address `number` places behind the first. Port 0 stays 0: the kernel picks each.
    pub fn address(self, number: u16) -> Result<SocketAddr, ListenError> {
        let Self { flag, mut first, ports } = self;
        if first.port() != 0 {
            let port = first.port().checked_add(number);
            first.set_port(port.ok_or(ListenError::BeyondLastPort { flag, ports, first })?);
        }
        Ok(first)
    }
}

/// Refuses rows that run into each other, before anything is bound.
pub fn check_overlap(rows: &[PortRow]) -> Result<(), ListenError> {
    let mut taken: Vec<(&'static str, SocketAddr)> = Vec::new();
    for row in rows {
        let before = taken.len();
        for number in 0..row.ports {
            let address = row.address(number)?;
            let clash = taken[..before].iter().find(|(_, other)| collide(*other, address));
            if let Some((taken_by, _)) = clash {
                let PortRow { flag, ports, .. } = *row;
                return Err(ListenError::Overlap { flag, ports, address, taken_by });
            }
            taken.push((row.flag, address));
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

/// A listener on each port of the row, the only one on its port. With port 0 the kernel picks the
/// first, again until the others are free.
pub fn consecutive(row: PortRow) -> Result<Vec<TcpListener>, ListenError> {
    let mut attempts = if row.first.port() == 0 { 100 } else { 1 };
    loop {
        attempts -= 1;
        match consecutive_once(row) {
            Err(ListenError::InUse { .. }) if 0 < attempts => {}
            result => return result,
        }
    }
}

fn consecutive_once(row: PortRow) -> Result<Vec<TcpListener>, ListenError> {
    let PortRow { flag, first, ports } = row;
    let mut listeners = vec![single(first, flag)?];
    let first = listeners[0].local_addr().map_err(|error| explain(first, flag, error))?;
    for number in 1..ports {
        listeners.push(single(PortRow { first, ..row }.address(number)?, flag)?);
    }
    Ok(listeners)
}

/// Checks that nobody listens on `address`, for one who binds it later. With port 0 the kernel picks
/// one. Connections of an earlier server whose ends the kernel still remembers do not count: they
/// came by a listener of glommio, which sets SO_REUSEPORT alone, and will let another such one pass.
pub fn probe(address: SocketAddr, flag: &'static str) -> Result<SocketAddr, ListenError> {
    let lingers = listen(address, false).is_err_and(|error| is_in_use(&error));
    if lingers && !is_answered(address) {
        return Ok(address);
    }
    single(address, flag)?.local_addr().map_err(|error| explain(address, flag, error))
}

fn is_answered(address: SocketAddr) -> bool {
    let refused = |error: io::Error| Errno::from_io_error(&error) == Some(Errno::CONNREFUSED);
    !TcpStream::connect_timeout(&address, PATIENCE).is_err_and(refused)
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

    /// As glommio listens.
    fn listen_by_shared_port(address: SocketAddr) -> TcpListener {
        let socket =
            Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        socket.set_reuse_port(true).expect("Linux");
        socket.bind(&address.into()).expect("free");
        socket.listen(1).expect("bound");
        socket.into()
    }

    #[test]
    fn a_port_whose_listener_was_killed_is_free_while_its_connections_linger() {
        let killed = listen_by_shared_port(loopback(0));
        let address = killed.local_addr().expect("bound");
        assert!(matches!(probe(address, "--admin"), Err(ListenError::InUse { .. })));
        let _client = TcpStream::connect(address).expect("it listens");
        drop(killed.accept().expect("a client came"));
        drop(killed);
        assert_eq!(probe(address, "--admin").expect("nobody listens"), address);
        listen_by_shared_port(address);
    }

    #[test]
    fn ports_of_shards_stand_in_a_row() {
        let row = |port, ports| PortRow { flag: "--core-listen", first: loopback(port), ports };
        let listeners = consecutive(row(0, 3)).expect("free ports");
        let ports: Vec<_> =
            listeners.iter().map(|l| l.local_addr().expect("bound").port()).collect();
        assert_eq!(ports, [ports[0], ports[0] + 1, ports[0] + 2]);
        let taken = consecutive(row(ports[0] - 1, 2));
        assert!(matches!(taken, Err(ListenError::InUse { .. })));
    }

    #[test]
    fn shards_may_not_run_into_other_ports() {
        let row = |flag, port, ports| PortRow { flag, first: loopback(port), ports };
        let admin = row("--admin", 9102, 1);
        check_overlap(&[admin, row("--core-listen", 9100, 2)]).expect("9100 and 9101");
        let clash = check_overlap(&[admin, row("--core-listen", 9100, 3)]);
        let error = clash.expect_err("9102").to_string();
        assert!(error.contains("--admin") && error.contains("--core-listen"), "{error}");
        let any = row("--peer-listen", 0, 3);
        check_overlap(&[any, any]).expect("the kernel picks others");
        let last = check_overlap(&[admin, row("--core-listen", 65535, 2)]);
        assert!(matches!(last, Err(ListenError::BeyondLastPort { .. })));
    }
}
