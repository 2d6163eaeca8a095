//! Listeners: the ring says that connections wait, plain accepts take them all.
//!
//! Accepting is not hot, and a burst costs one completion instead of one per connection.

use core::time::Duration;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use base::{Instant, Listener};
use rustix::net::Shutdown;
use socket2::{SockRef, Socket, TcpKeepalive};

use super::Turn;
use crate::flight::Flight;
use crate::io::Io;
use crate::uring::Target;

/// Connections taken at once; the rest waits for the next turn.
const BURST: usize = 64;

/// How long a listener rests after an error that the next accept would meet again.
const REST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Listeners {
    all: Vec<OpenListener>,
    stopped: bool,
}

#[derive(Debug)]
struct OpenListener {
    socket: TcpListener,
    name: Listener,
    armed: bool,
    /// Out of descriptors or memory until about then.
    rests_until: Option<Instant>,
}

impl Listeners {
    pub(super) fn new(all: Vec<(Listener, TcpListener)>) -> io::Result<Self> {
        let open = |(name, socket): (Listener, TcpListener)| {
            socket.set_nonblocking(true)?;
            set_options(&SockRef::from(&socket))?;
            Ok(OpenListener { socket, name, armed: false, rests_until: None })
        };
        let all = all.into_iter().map(open).collect::<io::Result<_>>()?;
        Ok(Self { all, stopped: false })
    }

    pub(super) fn arm(&mut self, io: &mut Io) {
        for (number, listener) in self.all.iter_mut().enumerate() {
            listener.arm(io, number);
        }
    }

    /// Begins again with those that have rested.
    pub(super) fn retry(&mut self, io: &mut Io, now: Instant) {
        for (number, listener) in self.all.iter_mut().enumerate() {
            if listener.rests_until.is_some_and(|until| until <= now) && !self.stopped {
                listener.rests_until = None;
                listener.arm(io, number);
            }
        }
    }

    /// Takes the connections that wait at one listener.
    pub(super) fn accept<M>(
        &mut self,
        turn: &mut Turn<'_, M>,
        number: usize,
        mut take: impl FnMut(&mut Turn<'_, M>, TcpStream, Listener),
    ) {
        let listener = &mut self.all[number];
        listener.armed = false;
        if self.stopped {
            return;
        }
        for _ in 0..BURST {
            match listener.socket.accept() {
                Ok((stream, _)) => take(turn, stream, listener.name),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => {
                    listener.rests_until = Some(turn.now.mono.plus(REST));
                    return;
                }
            }
        }
        listener.arm(turn.io, number);
    }

    /// Takes no more connections; those that wait are reset.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        for listener in &self.all {
            // Fails only on a socket that does not listen any more.
            let _ = rustix::net::shutdown(&listener.socket, Shutdown::Both);
        }
    }

    /// Whether nothing is in flight on any listener.
    pub(super) fn is_idle(&self) -> bool {
        self.all.iter().all(|listener| !listener.armed)
    }
}

impl OpenListener {
    fn arm(&mut self, io: &mut Io, number: usize) {
        io.launch(Target::Plain(self.socket.as_raw_fd()), Flight::Listen { listener: number });
        self.armed = true;
    }
}

/// Options of every connection; Linux hands them from a listener to those that it accepts.
pub(super) fn set_options(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // A peer that vanished without a word is noticed after about two minutes.
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)
}

/// Errors of a connection that failed between its arrival and its accept; see accept(2).
fn is_of_one_connection(error: &io::Error) -> bool {
    let errors = [
        libc::ECONNABORTED,
        libc::EINTR,
        libc::EPROTO,
        libc::ENETDOWN,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
    ];
    error.raw_os_error().is_some_and(|code| errors.contains(&code))
}
