//! A glommio socket in the shape that hyper reads and writes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use hyper::rt::{Read, ReadBufCursor, Write};

/// See the module's description.
pub(crate) struct HyperStream(TcpStream);

impl HyperStream {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl Read for HyperStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // Hyper's buffer is uninitialised memory; filling it without `unsafe` costs this copy.
        let mut bytes = [0; 2048];
        let room = into.remaining().min(bytes.len());
        let read = Pin::new(&mut self.0).poll_read(context, &mut bytes[..room]);
        read.map_ok(|count| into.put_slice(&bytes[..count]))
    }
}

impl Write for HyperStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}
