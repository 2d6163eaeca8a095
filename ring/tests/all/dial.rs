//! Connections that a core asks for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use base::IoError;
use ring::{PollMode, mesh};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::machine::{Echo, GREETING, Route};
use crate::rig::{Core, config, wait_until};

fn dialling(route: Route, to: Vec<SocketAddr>) -> Core {
    let boxes = mesh(1, 8).expect("eventfds").data.into_iter().next().expect("one core");
    Core::start(config(PollMode::Park), boxes, None, move |arena| {
        let mut machine = Echo::new(route, arena);
        machine.to_dial = to;
        machine
    })
}

#[test]
fn a_core_reaches_its_peer_and_talks_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let core = dialling(Route::Plain, vec![listener.local_addr().expect("bound")]);
    let (mut stream, _) = listener.accept().expect("the core dials");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("not zero");
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting).expect("the core speaks first");
    assert_eq!(greeting, GREETING);
    stream.write_all(b"welcome").expect("taken");
    let mut back = [0; 7];
    stream.read_exact(&mut back).expect("everything comes back");
    assert_eq!(&back, b"welcome");
    drop(stream);
    wait_until(|| core.counters.connections.get() == 0);
    let machine = core.stop_cleanly();
    assert!(matches!(machine.dialed[..], [(_, Ok(_), false)]), "{:?}", machine.dialed);
}

#[test]
fn a_refused_dial_is_told_why() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("bound");
    drop(free);
    let core = dialling(Route::Plain, vec![address]);
    core.wait_for_turns();
    let machine = core.stop_cleanly();
    let refused = Err(IoError::Errno(libc::ECONNREFUSED));
    assert!(matches!(machine.dialed[..], [(_, result, _)] if result == refused));
}

/// A listener that takes no more: the kernel drops whoever else comes.
fn deaf_listener() -> (Socket, Vec<TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&SockAddr::from(any)).expect("a free port");
    socket.listen(0).expect("bound");
    let address = socket.local_addr().expect("bound").as_socket().expect("IPv4");
    let mut fillers = Vec::new();
    let patience = Duration::from_millis(100);
    while let Ok(filler) = TcpStream::connect_timeout(&address, patience) {
        fillers.push(filler);
    }
    (socket, fillers)
}

#[test]
fn a_dial_that_nobody_answers_ends_by_itself_and_at_a_stop() {
    let (socket, _fillers) = deaf_listener();
    let address = socket.local_addr().expect("bound").as_socket().expect("IPv4");
    let core = dialling(Route::Plain, vec![address]);
    core.wait_for_turns();
    let machine = core.stop_cleanly();
    assert!(matches!(machine.dialed[..], [(_, Err(_), true)]), "{:?}", machine.dialed);

    let core = dialling(Route::Plain, vec![address]);
    std::thread::sleep(Duration::from_millis(1500));
    let machine = core.stop_cleanly();
    assert!(matches!(machine.dialed[..], [(_, Err(_), false)]), "{:?}", machine.dialed);
}
