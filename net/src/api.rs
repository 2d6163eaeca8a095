//! The messages, one module per API, generated from `net/schema`.
//!
//! In every module `Request` and `Response` are what a sender fills in, with arrays given as
//! [`List`](crate::List)s, and `RequestView` and `ResponseView` are the same structs as a decoder
//! yields them, with arrays as lazy [`Array`](crate::Array)s. Field names are Kafka's.

use core::fmt;

use crate::message::RequestBody;
use crate::reader::Reader;
use crate::{Outgoing, ReplyTo, WireError, Writer, decode_response_header};

/// An inclusive range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    pub min: i16,
    pub max: i16,
}

mod prelude {
    pub(super) use super::ApiKey;
    pub(super) use crate::message::{Decode, Encode, RequestBody, ResponseBody};
    pub(super) use crate::reader::Reader;
    pub(super) use crate::{Array, ErrorCode, List, Records, Uuid, WireError, Writer};
}

// Generated code is uniform rather than minimal: some modules use part of the prelude, and structs
// whose defaults are all zero have them spelled out like the others.
#[allow(
    unused_imports,
    clippy::bool_comparison,
    clippy::derivable_impls,
    clippy::needless_lifetimes,
    clippy::partialeq_to_none,
    clippy::use_self
)]
mod generated {
    use super::*;
    include!(concat!(env!("OUT_DIR"), "/api.rs"));
}

pub use generated::*;

impl VersionRange {
    #[must_use]
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

impl ApiKey {
    /// Whether this version has compact lengths and tagged fields.
    #[must_use]
    pub const fn is_flexible(self, version: i16) -> bool {
        self.flexible_from() <= version
    }

    /// What ApiVersions answers: every advertised API and its range, by key.
    pub fn all_advertised() -> impl Iterator<Item = (Self, VersionRange)> {
        Self::ALL.into_iter().filter_map(|api| Some((api, api.advertised()?)))
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<'a> Request<'a> {
    /// Decodes the body behind a request header. Bytes behind the body are ignored, as Kafka does.
    pub fn decode(api: ApiKey, version: i16, body: &'a [u8]) -> Result<Self, WireError> {
        Self::decode_body(api, &mut reader(api, version, body)?)
    }

    /// Appends it as a frame, as [`Outgoing::request`] does.
    pub fn write(self, out: &mut Outgoing, to: ReplyTo, client_id: Option<&str>) {
        out.frame_request(self.api(), to, client_id, |writer| self.encode_body(writer));
    }
}

impl<'a> Response<'a> {
    /// Decodes the body behind a response header.
    pub fn decode(api: ApiKey, version: i16, body: &'a [u8]) -> Result<Self, WireError> {
        Self::decode_body(api, &mut reader(api, version, body)?)
    }

    /// Appends it as a frame, as [`Outgoing::respond`] does.
    pub fn write(self, out: &mut Outgoing, to: ReplyTo) {
        out.frame_response(self.api(), to, |writer| self.encode_body(writer));
    }
}

/// The correlation id and the body of the frame that answers a request of type `B`, which was sent
/// in `version`.
pub fn decode_response<B: RequestBody>(
    version: i16,
    frame: &[u8],
) -> Result<(i32, B::Response<'_>), WireError> {
    let (correlation_id, body) = decode_response_header(B::API, version, frame)?;
    Ok((correlation_id, reader(B::API, version, body)?.take()?))
}

fn reader(api: ApiKey, version: i16, body: &[u8]) -> Result<Reader<'_>, WireError> {
    if !api.versions().contains(version) {
        return Err(WireError::UnsupportedVersion { api, version });
    }
    Ok(Reader::new(body, version, api.is_flexible(version)))
}
