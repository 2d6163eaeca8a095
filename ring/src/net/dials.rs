//! Connections on their way to a peer.
//!
//! ```text
//!   start ─▶ Flight::Connect ─┬─▶ landed: a stream, or why not
//!     └─ a second later ──────┘   (shut down: the connect lands with an error)
//! ```

use core::time::Duration;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use base::{DialId, Instant, IoError};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::listener::set_options;
use crate::flight::Flight;
use crate::io::Io;
use crate::uring::Target;

/// Peers stand in the same building: who has not answered by then is dialled anew.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Dials {
    open: Vec<Dial>,
}

#[derive(Debug)]
struct Dial {
    id: DialId,
    socket: Socket,
    until: Instant,
}

impl Dials {
    /// Begins to connect to `to`. Panics if a dial of that number is under way.
    pub(super) fn start(
        &mut self,
        io: &mut Io,
        now: Instant,
        id: DialId,
        to: SocketAddr,
    ) -> Result<(), IoError> {
        assert!(self.open.iter().all(|dial| dial.id != id), "{id:?} is under way");
        let socket = open_socket(to).map_err(|error| errno(&error))?;
        let target = Target::Plain(socket.as_raw_fd());
        self.open.push(Dial { id, socket, until: now.plus(PATIENCE) });
        io.launch(target, Flight::Connect { dial: id, address: Box::new(SockAddr::from(to)) });
        Ok(())
    }

    /// A connect ended with `result`, 0 or a negative `errno`.
    pub(super) fn landed(&mut self, id: DialId, result: i32) -> Result<TcpStream, IoError> {
        let place = self.open.iter().position(|dial| dial.id == id);
        let dial = self.open.swap_remove(place.expect("it stays until its connect lands"));
        if result < 0 { Err(IoError::Errno(-result)) } else { Ok(dial.socket.into()) }
    }

    /// Lets those fail that have waited long enough.
    pub(super) fn end_overdue(&mut self, now: Instant) {
        for dial in self.open.iter().filter(|dial| dial.until <= now) {
            dial.end();
        }
    }

    pub(super) fn end_all(&mut self) {
        self.open.iter().for_each(Dial::end);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }
}

impl Dial {
    /// Makes the connect land.
    fn end(&self) {
        // It fails on a socket whose connect has ended and is about to land.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn open_socket(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    set_options(&socket)?;
    Ok(socket)
}

fn errno(error: &io::Error) -> IoError {
    IoError::Errno(error.raw_os_error().unwrap_or(libc::EIO))
}
