//! Peers that do not speak Kafka, or do so badly, beside others that do.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::frames;
use crate::scene::{ACK_LIMIT, Scene};
use crate::{Context, Outcome, Producers, Server, ensure};

/// What bad peers may add to the server's memory, all together.
const GROWTH_BYTES_MAX: u64 = 128 << 20;
const IDLE_BYTES_MAX: u64 = 64 << 20;
const FRAMES: usize = 50_000;
const PEERS: usize = 200;
/// The server may wait so long for the rest of a frame before it closes; the peer waits no longer.
const PATIENCE: Duration = Duration::from_millis(200);

pub(super) fn harm_nobody_else(context: &Context) -> Outcome {
    let scene = Scene::new(context, context.server()?, &context.folder().join("data"))?;
    let (mut server, producers) = scene.begin()?;
    producers.await_acks(1000, ACK_LIMIT)?;
    let before = server.resident_bytes()?;
    let mut dice = context.dice(4);
    let mut seen = Vec::new();
    let address = scene.launch.node_view();
    let phases: [(&str, Phase); 5] = [
        ("noise", send_noise),
        ("mutated frames", send_mutants),
        ("claimed gigabytes", claim_gigabytes),
        ("slow senders", dribble),
        ("half-open", leave_half_open),
    ];
    for (name, phase) in phases {
        let sent = phase(&address, &mut dice)?;
        check_others(&mut server, &producers, name)?;
        seen.push(format!("{sent} {name}"));
    }
    let growth = server.resident_bytes()?.saturating_sub(before);
    ensure!(growth <= GROWTH_BYTES_MAX, "bad peers cost {} MiB", growth >> 20);
    let kept = scene.expect_kept(&producers.finish()?)?;
    server.stop()?;
    Ok(format!("{}; {} MiB more memory; {kept}", seen.join(", "), growth >> 20))
}

pub(super) fn idle_connections(context: &Context) -> Outcome {
    let wanted = 2000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(wanted + 200 < hard, "only {hard} files may be open here");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let scene = Scene::new(context, context.server()?, &context.folder().join("data"))?;
    let (mut server, producers) = scene.begin()?;
    producers.await_acks(1000, ACK_LIMIT)?;
    let before = server.resident_bytes()?;
    let address = scene.launch.node_view();
    let mut idle: Vec<TcpStream> =
        (0..wanted).map(|_| TcpStream::connect(&address)).collect::<io::Result<_>>()?;
    check_others(&mut server, &producers, "idle connections")?;
    let growth = server.resident_bytes()?.saturating_sub(before);
    ensure!(growth <= IDLE_BYTES_MAX, "{wanted} idle connections cost {} MiB", growth >> 20);
    for peer in idle.iter_mut().step_by(100) {
        peer.write_all(&frames::api_versions())?;
        peer.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut length = [0; 4];
        peer.read_exact(&mut length)?;
    }
    drop(idle);
    let kept = scene.expect_kept(&producers.finish()?)?;
    server.stop()?;
    Ok(format!("{wanted} idle connections, {} KiB each; {kept}", (growth / wanted) >> 10))
}

type Phase = fn(&str, &mut fastrand::Rng) -> Outcome<usize>;

/// The server lives and the well-behaved clients get on.
fn check_others(server: &mut Server, producers: &Producers, during: &str) -> Outcome<()> {
    server.check_alive()?;
    producers.await_acks(500, Duration::from_secs(10)).map_err(|trouble| {
        crate::Trouble::failed(format!("during {during} others were not served: {trouble}"))
    })
}

fn send_noise(address: &str, dice: &mut fastrand::Rng) -> Outcome<usize> {
    for _ in 0..PEERS {
        let mut peer = connect(address)?;
        let length = dice.usize(1..5000);
        let bytes: Vec<u8> = (0..length).map(|_| dice.u8(..)).collect();
        offer(&mut peer, &bytes)?;
    }
    Ok(PEERS)
}

/// Valid frames with a few bytes changed, cut or doubled, many on each connection.
fn send_mutants(address: &str, dice: &mut fastrand::Rng) -> Outcome<usize> {
    let templates = frames::templates();
    let mut sent = 0;
    while sent < FRAMES {
        let mut peer = connect(address)?;
        peer.set_nonblocking(true)?;
        for _ in 0..200 {
            let frame = frames::mutate(&templates[dice.usize(..templates.len())], dice);
            sent += 1;
            if !offer(&mut peer, &frame)? {
                break;
            }
        }
    }
    Ok(sent)
}

/// Lengths that no server should believe, then some of what they claim.
fn claim_gigabytes(address: &str, dice: &mut fastrand::Rng) -> Outcome<usize> {
    let mut open = Vec::new();
    for _ in 0..PEERS {
        let mut peer = connect(address)?;
        let claim = [i32::MAX, i32::MIN, -1, 1 << 30][dice.usize(..4)];
        offer(&mut peer, &claim.to_be_bytes())?;
        offer(&mut peer, &frames::api_versions()[4..])?;
        open.push(peer);
    }
    for peer in &mut open {
        ensure!(closes(peer)?, "a frame that claims gigabytes was waited for");
    }
    Ok(PEERS)
}

/// One byte at a time from many peers at once.
fn dribble(address: &str, _: &mut fastrand::Rng) -> Outcome<usize> {
    let mut peers = (0..PEERS).map(|_| connect(address)).collect::<Outcome<Vec<_>>>()?;
    for byte in frames::api_versions() {
        for peer in &mut peers {
            offer(peer, &[byte])?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for peer in &mut peers {
        peer.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut length = [0; 4];
        peer.read_exact(&mut length)?; // slow, but a question all the same
    }
    Ok(PEERS)
}

/// Half a frame, then silence; every other peer also closes its half of the connection.
fn leave_half_open(address: &str, _: &mut fastrand::Rng) -> Outcome<usize> {
    let mut peers = (0..PEERS).map(|_| connect(address)).collect::<Outcome<Vec<_>>>()?;
    let frame = frames::api_versions();
    for (index, peer) in peers.iter_mut().enumerate() {
        offer(peer, &frame[..frame.len() / 2])?;
        if index % 2 == 0 {
            peer.shutdown(Shutdown::Write)?;
        }
    }
    std::thread::sleep(PATIENCE);
    for peer in peers.iter_mut().step_by(2) {
        ensure!(closes(peer)?, "a peer that can send no more was kept");
    }
    Ok(PEERS)
}

fn connect(address: &str) -> Outcome<TcpStream> {
    let peer = TcpStream::connect(address)?;
    peer.set_write_timeout(Some(PATIENCE))?;
    Ok(peer)
}

/// Sends, unless the server has closed or does not take more: `false` then.
fn offer(peer: &mut TcpStream, bytes: &[u8]) -> Outcome<bool> {
    match peer.write_all(bytes) {
        Ok(()) => Ok(true),
        Err(error) if is_end(error.kind()) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_end(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, WouldBlock};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | WouldBlock)
}

/// Whether the server closes the connection within 15 s.
fn closes(peer: &mut TcpStream) -> Outcome<bool> {
    peer.set_read_timeout(Some(Duration::from_secs(15)))?;
    let (deadline, mut rest) = (Instant::now() + Duration::from_secs(15), [0; 4096]);
    while Instant::now() < deadline {
        match peer.read(&mut rest) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) => return Ok(error.kind() == ErrorKind::ConnectionReset),
        }
    }
    Ok(false)
}
