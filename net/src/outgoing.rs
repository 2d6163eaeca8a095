//! Frames on their way out.
//!
//! ```text
//!  bytes  ┃ len │ header │ fields … │ count │ fields … ┃ len │ header │ …
//!  holes                                    ▲ at, len: record bytes that lie elsewhere
//! ```
//! A frame's length and the count before a hole include the hole's bytes. The sender gathers
//! `bytes` up to the first hole, then what fills it, and so on: see [`Outgoing::parts`].

use crate::header;
use crate::message::{RequestBody, ResponseBody};
use crate::{ApiKey, ReplyTo, RequestHeader, Writer};

/// Finished frames, back to back. Keeps its memory when cleared.
#[derive(Debug, Default)]
pub struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    pub(crate) holes: Vec<Hole>,
}

/// A place for `len` bytes, before byte `at` of an [`Outgoing`]'s own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    pub at: usize,
    pub len: u32,
}

/// A part of a gathered send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'o> {
    Bytes(&'o [u8]),
    /// The next hole, in the order in which they were left.
    Hole(u32),
}

impl Outgoing {
    /// Appends a response. Panics if `to` asks for a version that the API lacks: a request in such
    /// a version never decoded.
    #[inline]
    pub fn respond<B: ResponseBody>(&mut self, to: ReplyTo, body: B) {
        self.frame_response(B::API, to, |writer| writer.put(body));
    }

    /// Appends a request; the response will come in the same version. Panics if the API lacks it.
    pub fn request<B: RequestBody>(&mut self, to: ReplyTo, client_id: Option<&str>, body: B) {
        self.frame_request(B::API, to, client_id, |writer| writer.put(body));
    }

    /// The frames as the pieces to gather.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let starts = core::iter::once(0).chain(self.holes.iter().map(|hole| hole.at));
        let holes = self.holes.iter().map(Some).chain([None]);
        starts.zip(holes).flat_map(|(start, hole)| {
            let end = hole.map_or(self.bytes.len(), |hole| hole.at);
            let bytes = (start < end).then(|| Part::Bytes(&self.bytes[start..end]));
            bytes.into_iter().chain(hole.map(|hole| Part::Hole(hole.len)))
        })
    }

    /// Every byte of its own; with holes, not what goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[must_use]
    pub fn holes(&self) -> &[Hole] {
        &self.holes
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes on the wire, holes included.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.bytes.len() + hole_bytes(&self.holes)
    }

    /// Forgets every frame and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.holes.clear();
    }

    /// Gives the bytes away, to be sent as they are, and goes on in `spare`. Panics if holes were
    /// left: then only [`Outgoing::parts`] tells what to send.
    #[must_use]
    pub fn take_bytes(&mut self, mut spare: Vec<u8>) -> Vec<u8> {
        assert!(self.holes.is_empty(), "{} holes to fill", self.holes.len());
        spare.clear();
        core::mem::replace(&mut self.bytes, spare)
    }

    #[inline]
    pub(crate) fn frame_response(
        &mut self,
        api: ApiKey,
        to: ReplyTo,
        write_body: impl FnOnce(&mut Writer<'_>),
    ) {
        self.frame(api, to.version, |out| {
            header::write_response(out, api, to);
            write_body(&mut Writer::new(out, to.version, api.is_flexible(to.version)));
        });
    }

    pub(crate) fn frame_request(
        &mut self,
        api: ApiKey,
        to: ReplyTo,
        client_id: Option<&str>,
        write_body: impl FnOnce(&mut Writer<'_>),
    ) {
        let ReplyTo { version, correlation_id } = to;
        self.frame(api, version, |out| {
            header::write_request(out, RequestHeader { api, version, correlation_id, client_id });
            write_body(&mut Writer::new(out, version, api.is_flexible(version)));
        });
    }

    #[inline]
    fn frame(&mut self, api: ApiKey, version: i16, write: impl FnOnce(&mut Self)) {
        assert!(api.versions().contains(version), "{api} has no version {version}");
        let (start, first_hole) = (self.bytes.len(), self.holes.len());
        self.bytes.extend_from_slice(&[0; 4]);
        write(self);
        let own = self.bytes.len() - start - 4;
        let len = own + hole_bytes(&self.holes[first_hole..]);
        let len = i32::try_from(len).expect("frames fit 31 bits");
        self.bytes[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }
}

fn hole_bytes(holes: &[Hole]) -> usize {
    holes.iter().map(|hole| hole.len as usize).sum()
}
