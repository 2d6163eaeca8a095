//! The server's side of a connection: bytes in, requests out.

use base::Framer;

use crate::header::Preamble;
use crate::{ApiKey, Request, RequestHeader, WireError};

/// Cuts a client's bytes into requests. Any error means: close the connection.
#[derive(Debug)]
pub struct Session {
    framer: Framer,
}

/// What a client sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Incoming<'f> {
    /// A request whose header decoded, in a version that we speak.
    Request(RequestFrame<'f>),
    /// ApiVersions in a version that we do not speak: the one request that is answered then, by
    /// [`negotiation::refuse`](crate::negotiation::refuse).
    UnknownApiVersions { correlation_id: i32 },
}

/// A request that was not decoded beyond its header. Borrows from the bytes received, or from the
/// session if it came in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestFrame<'f> {
    pub header: RequestHeader<'f>,
    pub body: &'f [u8],
}

impl Session {
    /// A session that refuses frames above `frame_bytes_max` bytes.
    #[must_use]
    pub fn new(frame_bytes_max: u32) -> Self {
        Self { framer: Framer::new(frame_bytes_max) }
    }

    /// The next request; `received` advances past what was taken. `None` once all of it is used up.
    #[inline]
    pub fn next<'f, 'r: 'f>(
        &'f mut self,
        received: &mut &'r [u8],
    ) -> Result<Option<Incoming<'f>>, WireError> {
        self.framer.next(received)?.map(Incoming::decode).transpose()
    }

    /// See [`Framer::take_back`].
    pub fn take_back<'r>(&mut self, received: &mut &'r [u8], before: &'r [u8]) {
        self.framer.take_back(received, before);
    }

    /// See [`Framer::keep`].
    pub fn keep(&mut self, received: &[u8]) {
        self.framer.keep(received);
    }

    /// Frames and memory kept.
    #[must_use]
    pub fn framer(&self) -> &Framer {
        &self.framer
    }

    /// See [`Framer::shrink`].
    pub fn shrink(&mut self) {
        self.framer.shrink();
    }
}

impl<'f> Incoming<'f> {
    #[inline]
    fn decode(frame: &'f [u8]) -> Result<Self, WireError> {
        match RequestHeader::decode(frame) {
            Ok((header, body)) => Ok(Self::Request(RequestFrame { header, body })),
            Err(WireError::UnsupportedVersion { api: ApiKey::ApiVersions, .. }) => {
                let (Preamble { correlation_id, .. }, _) = Preamble::decode(frame)?;
                Ok(Self::UnknownApiVersions { correlation_id })
            }
            Err(error) => Err(error),
        }
    }
}

impl<'f> RequestFrame<'f> {
    /// The request itself.
    #[inline]
    pub fn decode(&self) -> Result<Request<'f>, WireError> {
        Request::decode(self.header.api, self.header.version, self.body)
    }
}
