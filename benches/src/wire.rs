//! One connection that never waits: what the kernel does not take now is sent later.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use net::{Framer, WireError};

use crate::BenchError;

const RECEIVE_BYTES: usize = 64 << 10;
/// More is not copied if it can be sent from where it lies.
const GATHERED_BYTES: usize = 16 << 10;
const FRAME_BYTES_MAX: u32 = 128 << 20;

/// See the module's description.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    address: String,
    /// Accepted by [`Wire::send`] and not by the kernel; `unsent[..sent]` is gone already.
    unsent: Vec<u8>,
    sent: usize,
    framer: Framer,
    received: Box<[u8]>,
}

impl Wire {
    pub fn connect(address: &str) -> Result<Self, BenchError> {
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream =
            connect().map_err(|source| BenchError::Connect { address: address.into(), source })?;
        Ok(Self {
            stream,
            address: address.into(),
            unsent: Vec::new(),
            sent: 0,
            framer: Framer::new(FRAME_BYTES_MAX),
            received: vec![0; RECEIVE_BYTES].into_boxed_slice(),
        })
    }

    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Puts bytes behind everything sent before. Few leave with the next [`Wire::push`], many at
    /// once, as far as the kernel takes them.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), BenchError> {
        let at_once = GATHERED_BYTES < bytes.len() && !self.has_unsent();
        let taken = if at_once { self.write(bytes)? } else { 0 };
        self.unsent.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    /// Whether the kernel has not taken everything yet.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Offers the kernel what it has not taken yet, in one go.
    pub fn push(&mut self) -> Result<(), BenchError> {
        while self.has_unsent() {
            let waiting = core::mem::take(&mut self.unsent);
            let taken = self.write(&waiting[self.sent..]);
            self.unsent = waiting;
            match taken? {
                0 => return Ok(()),
                taken => self.sent += taken,
            }
        }
        self.unsent.clear();
        self.sent = 0;
        Ok(())
    }

    /// Gives `each` every frame that has arrived, without its length; whether there was any byte.
    pub fn receive(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), WireError>,
    ) -> Result<bool, BenchError> {
        let got = match self.stream.read(&mut self.received) {
            Ok(0) => return Err(BenchError::Closed { address: self.address.clone() }),
            Ok(got) => got,
            Err(error) if is_later(error.kind()) => return Ok(false),
            Err(source) => return Err(self.failed(source)),
        };
        let mut bytes = &self.received[..got];
        let wire = |source| BenchError::Wire { address: self.address.clone(), source };
        while let Some(frame) = self.framer.next(&mut bytes).map_err(|error| wire(error.into()))? {
            each(frame).map_err(wire)?;
        }
        Ok(true)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, BenchError> {
        match self.stream.write(bytes) {
            Ok(taken) => Ok(taken),
            Err(error) if is_later(error.kind()) => Ok(0),
            Err(source) => Err(self.failed(source)),
        }
    }

    fn failed(&self, source: std::io::Error) -> BenchError {
        BenchError::Connection { address: self.address.clone(), source }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn is_later(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
