//! One connection to one broker: requests out, answers in, in order.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use net::api::api_versions;
use net::{ApiKey, Outgoing, ReplyTo, RequestBody, VersionRange, WireError, decode_response};

use super::ClientError;

const CLIENT_ID: &str = concat!("chiplog-", env!("CARGO_PKG_VERSION"));

/// The largest answer that is believed, bytes.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// See the module's description.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: TcpStream,
    /// What the broker serves.
    served: Vec<(i16, VersionRange)>,
    out: Outgoing,
    frame: Vec<u8>,
    next_correlation: i32,
}

impl Connection {
    /// Connects, and learns what the broker serves. `patience` bounds each later answer as well.
    pub fn open(address: &str, patience: Duration) -> Result<Self, ClientError> {
        let unreachable = |source| ClientError::Unreachable { address: address.to_owned(), source };
        let stream = connect(address, patience).map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        stream.set_read_timeout(Some(patience)).map_err(unreachable)?;
        stream.set_write_timeout(Some(patience)).map_err(unreachable)?;
        let mut connection = Self {
            address: address.to_owned(),
            stream,
            // Version 0 of ApiVersions is understood by every broker there is.
            served: vec![(ApiKey::ApiVersions as i16, VersionRange { min: 0, max: 0 })],
            out: Outgoing::default(),
            frame: Vec::new(),
            next_correlation: 1,
        };
        connection.negotiate()?;
        Ok(connection)
    }

    fn negotiate(&mut self) -> Result<(), ClientError> {
        let request = api_versions::Request::default();
        let (code, served) = self.call(request, |response| {
            let range = |api: api_versions::ApiVersion| {
                (api.api_key, VersionRange { min: api.min_version, max: api.max_version })
            };
            (response.error_code, response.api_keys.iter().map(range).collect())
        })?;
        ClientError::check(|| format!("greeting {}", self.address), code, None)?;
        self.served = served;
        Ok(())
    }

    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks, and waits for the answer.
    pub fn call<B: RequestBody, T>(
        &mut self,
        body: B,
        take: impl FnOnce(B::Response<'_>) -> T,
    ) -> Result<T, ClientError> {
        let to = self.send(body)?;
        self.receive::<B>(to).map(take)
    }

    /// Asks, without waiting. Answers are received in the order of the requests.
    pub fn send<B: RequestBody>(&mut self, body: B) -> Result<ReplyTo, ClientError> {
        let to = ReplyTo { version: self.version(B::API)?, correlation_id: self.next_correlation };
        self.next_correlation = self.next_correlation.wrapping_add(1);
        self.out.clear();
        self.out.request(to, Some(CLIENT_ID), body);
        self.stream.write_all(self.out.bytes()).map_err(|source| self.broken(source))?;
        Ok(to)
    }

    /// The answer to the oldest request that has none yet, which `to` names.
    pub fn receive<B: RequestBody>(&mut self, to: ReplyTo) -> Result<B::Response<'_>, ClientError> {
        if let Err(source) = self.read_frame() {
            return Err(self.broken(source));
        }
        let wire = |error| ClientError::Wire { address: self.address.clone(), error };
        let (correlation_id, response) =
            decode_response::<B>(to.version, &self.frame).map_err(wire)?;
        if correlation_id != to.correlation_id {
            return Err(wire(WireError::Length(correlation_id.into())));
        }
        Ok(response)
    }

    fn read_frame(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if FRAME_BYTES_MAX < length {
            return Err(io::Error::other("it announces an impossible length"));
        }
        self.frame.resize(length, 0);
        self.stream.read_exact(&mut self.frame)
    }

    /// The highest version that both sides speak.
    pub fn version(&self, api: ApiKey) -> Result<i16, ClientError> {
        let unserved = || ClientError::Version { address: self.address.clone(), api };
        let (_, theirs) =
            self.served.iter().find(|(key, _)| *key == api as i16).ok_or_else(unserved)?;
        let ours = VersionRange { min: api.versions().min, max: version_max(api) };
        let version = theirs.max.min(ours.max);
        let fits = theirs.contains(version) && ours.contains(version);
        fits.then_some(version).ok_or_else(unserved)
    }

    fn broken(&self, source: io::Error) -> ClientError {
        let source = match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
            }
            io::ErrorKind::UnexpectedEof => io::Error::new(source.kind(), "the server closed it"),
            _ => source,
        };
        ClientError::Broken { address: self.address.clone(), source }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// From Fetch 13 on topics are named by id alone; names serve us, and every broker, well.
fn version_max(api: ApiKey) -> i16 {
    match api {
        ApiKey::Fetch => 12,
        _ => api.versions().max,
    }
}

fn connect(address: &str, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
