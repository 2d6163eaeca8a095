//! What stands before a message's body in its frame.
//!
//! ```text
//! request    api i16 │ version i16 │ correlation id i32 │ client id string? │ tags
//! response                           correlation id i32 │                     tags
//! ```
//! Only flexible versions have the tags, and the response to ApiVersions never has them. The client
//! id has a classic length even in flexible versions (KIP-482).

use crate::reader::{LengthWidth, Reader};
use crate::{ApiKey, Outgoing, WireError, Writer};

/// Who sent a request and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<&'a str>,
}

/// What a response needs to know of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    pub version: i16,
    pub correlation_id: i32,
}

/// The fixed start of a request header, before it is known whether the rest can be understood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preamble {
    pub api: i16,
    pub version: i16,
    pub correlation_id: i32,
}

impl<'a> RequestHeader<'a> {
    /// The header and the body behind it. Fails for an API or version without codec.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<(Self, &'a [u8]), WireError> {
        let (Preamble { api, version, correlation_id }, mut reader) = Preamble::decode(frame)?;
        let api = ApiKey::from_code(api).ok_or(WireError::UnknownApi(api))?;
        if !api.versions().contains(version) {
            return Err(WireError::UnsupportedVersion { api, version });
        }
        let client_id = reader.take()?;
        let mut reader = Reader::new(reader.rest(), version, api.is_flexible(version));
        reader.skip_tags()?;
        Ok((Self { api, version, correlation_id, client_id }, reader.rest()))
    }

    /// Where the response goes.
    #[must_use]
    pub fn reply_to(&self) -> ReplyTo {
        ReplyTo { version: self.version, correlation_id: self.correlation_id }
    }
}

impl Preamble {
    #[inline]
    pub(crate) fn decode(frame: &[u8]) -> Result<(Self, Reader<'_>), WireError> {
        let mut reader = Reader::new(frame, 0, false);
        let api = reader.take()?;
        let version = reader.take()?;
        let correlation_id = reader.take()?;
        Ok((Self { api, version, correlation_id }, reader))
    }
}

/// The correlation id of a response frame and the body behind the header.
pub fn decode_response_header(
    api: ApiKey,
    version: i16,
    frame: &[u8],
) -> Result<(i32, &[u8]), WireError> {
    let mut reader = Reader::new(frame, version, has_response_tags(api, version));
    let correlation_id = reader.take()?;
    reader.skip_tags()?;
    Ok((correlation_id, reader.rest()))
}

pub(crate) fn write_request(out: &mut Outgoing, header: RequestHeader<'_>) {
    let RequestHeader { api, version, correlation_id, client_id } = header;
    let mut writer = Writer::new(out, version, false);
    writer.put(api as i16);
    writer.put(version);
    writer.put(correlation_id);
    writer.length(client_id.map(str::len), LengthWidth::Two);
    writer.raw(client_id.unwrap_or_default().as_bytes());
    Writer::new(out, version, api.is_flexible(version)).no_tags();
}

#[inline]
pub(crate) fn write_response(out: &mut Outgoing, api: ApiKey, to: ReplyTo) {
    let mut writer = Writer::new(out, to.version, has_response_tags(api, to.version));
    writer.put(to.correlation_id);
    writer.no_tags();
}

fn has_response_tags(api: ApiKey, version: i16) -> bool {
    api != ApiKey::ApiVersions && api.is_flexible(version)
}
