//! What this kernel's io_uring offers, before any core is started.

use core::time::Duration;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use base::ConnId;

use crate::buffer_ring::BufferRing;
use crate::feature::{Feature, Features};
use crate::flight::{Flight, Flights, Landed};
use crate::setup::{RingOptions, SetupError};
use crate::uring::Uring;

/// Makes a ring as the cores will and tries what can only be found by trying. Says in one sentence
/// what to do if there can be no ring at all.
pub fn probe(options: &RingOptions) -> Result<Features, SetupError> {
    let mut uring = Uring::new(options, 1)?;
    if uring.allows(Feature::RegisteredBuffers) && uring.reserve_buffers(1).is_ok() {
        uring.note(Feature::RegisteredBuffers);
    }
    if uring.allows(Feature::MultishotRecv) && receives_multishot() {
        uring.note(Feature::MultishotRecv);
    }
    Ok(uring.features())
}

/// Whether a multishot receive into a provided buffer works: tried with one byte, since no flag
/// tells.
pub(crate) fn receives_multishot() -> bool {
    receive_one_byte().is_some()
}

fn receive_one_byte() -> Option<()> {
    let options = RingOptions { submissions: 4, completions: 16, ..RingOptions::default() };
    let mut uring = Uring::new(&options, 1).ok()?;
    let mut buffers = BufferRing::new(&uring, 2, 4096).ok()?;
    let mut flights = Flights::new(1, 0);
    let (mut near, far) = UnixStream::pair().ok()?;
    near.write_all(b"?").ok()?;
    let target = uring.adopt(far.as_fd());
    flights.launch(&mut uring, target, Flight::Recv { conn: ConnId { slot: 0, generation: 0 } });
    uring.enter(Some(Duration::from_secs(1))).ok()?;
    let mut first = None;
    uring.reap(1, |completion| first = Some(completion));
    let first = first?;
    let received = matches!(flights.land(&first), Landed::More(_)) && first.result == 1;
    let number = first.buffer().filter(|_| received)?;
    buffers.claim(number);
    (buffers.bytes(number, 1) == b"?").then_some(())
}
