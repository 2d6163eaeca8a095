//! How data cores wake the control core: bytes on a socket, which complete a read that glommio has
//! pending. (A completion of a foreign ring must never enter glommio's queue.)

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use futures_lite::AsyncReadExt;
use glommio::net::TcpStream;

use super::bell::Bell;

/// The socket that becomes readable, before glommio has it.
#[derive(Debug)]
pub(crate) struct WakeSource(UnixStream);

/// The socket behind `event`. It is drained by the source, and may be by others as well.
pub(crate) fn source(event: BorrowedFd<'_>) -> io::Result<WakeSource> {
    event.try_clone_to_owned().map(|socket| WakeSource(socket.into()))
}

impl WakeSource {
    /// Rings `bell` at every wake until the other end is closed. Must be called on the control
    /// core's executor.
    pub(crate) fn ring(self, bell: Rc<Bell>) {
        // Glommio's stream does not care what kind of socket it reads.
        let mut stream = TcpStream::from(glommio_socket::Socket::from(self.0));
        let task = glommio::spawn_local(async move {
            let mut drained = [0; 64];
            loop {
                match stream.read(&mut drained).await {
                    Ok(0) => return,
                    Ok(_) => bell.ring(),
                    // Whoever was woken by other means has drained it meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => bell.ring(),
                    Err(_) => return,
                }
            }
        });
        task.detach();
    }
}

#[cfg(test)]
mod tests {
    use base::CoreId;
    use glommio::LocalExecutor;

    use super::*;

    #[test]
    fn mail_wakes_a_sleeping_executor() {
        let mut mesh = ring::mesh::<u32>(1, 8).expect("descriptors are left");
        let mut data = mesh.data.remove(0);
        let sender = std::thread::spawn(move || {
            for number in 0..3 {
                std::thread::sleep(std::time::Duration::from_millis(20));
                data.send(CoreId::CONTROL, number).expect("room for three");
                data.wake();
            }
            data
        });
        let mut control = mesh.control;
        let received = LocalExecutor::default().run(async {
            let bell = Rc::new(Bell::default());
            source(control.event()).expect("a socket").ring(Rc::clone(&bell));
            let mut received = Vec::new();
            while received.len() < 3 {
                match control.receive() {
                    Some((_, number)) => received.push(number),
                    None if control.may_sleep() => {
                        bell.wait().await;
                        control.woken();
                    }
                    None => {}
                }
            }
            received
        });
        sender.join().expect("no panic");
        assert_eq!(received, [0, 1, 2]);
    }
}
