//! The network side.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::CoreId;
use ring::{Feature, FeatureSet, PollMode, Stopped, mesh};

use crate::machine::{CLOSE_OTHERS, Echo, Mail, Route};
use crate::rig::{Core, config, pattern, round_trip, wait_until};

const SIZES: [usize; 7] = [1, 200, 4095, 4096, 4097, 100_000, 4 << 20];

#[test]
fn messages_of_all_sizes_come_back_in_every_poll_mode() {
    for poll in [PollMode::Spin, PollMode::Adaptive { spin_us: 50 }, PollMode::Park] {
        let core = Core::echo(config(poll), Route::Plain);
        let mut stream = core.connect();
        for size in SIZES {
            round_trip(&mut stream, &pattern(size));
        }
        drop(stream);
        let received = core.counters.received_bytes.get();
        assert_eq!(received, SIZES.iter().sum::<usize>() as u64);
        wait_until(|| core.counters.connections.get() == 0);
        core.stop_cleanly();
    }
}

#[test]
fn a_send_of_thousands_of_pieces_arrives_whole() {
    let core = Core::echo(config(PollMode::Park), Route::Pieces(7));
    round_trip(&mut core.connect(), &pattern(300_000));
    core.stop_cleanly();
}

#[test]
fn many_connections_share_a_few_buffers() {
    let core = Core::echo(config(PollMode::Park), Route::Plain);
    let mut streams: Vec<_> = (0..200).map(|_| core.connect()).collect();
    for round in 1..4 {
        for stream in &mut streams {
            stream.write_all(&pattern(1000 * round)).expect("taken");
        }
        for stream in &mut streams {
            let mut back = vec![0; 1000 * round];
            stream.read_exact(&mut back).expect("everything comes back");
            assert!(back == pattern(1000 * round));
        }
    }
    assert_eq!(core.counters.accepted.get(), 200);
    drop(streams);
    core.stop_cleanly();
}

#[test]
fn connections_that_find_no_buffer_are_served_later() {
    let mut config = config(PollMode::Park);
    (config.ring.submissions, config.ring.completions) = (4, 8);
    config.net.buffers = 2;
    let core = Core::echo(config, Route::Plain);
    let mut streams: Vec<_> = (0..100).map(|_| core.connect()).collect();
    wait_until(|| core.counters.connections.get() == 100);
    for _ in 0..20 {
        for stream in &mut streams {
            stream.write_all(&pattern(20_000)).expect("taken");
        }
        for stream in &mut streams {
            let mut back = vec![0; 20_000];
            stream.read_exact(&mut back).expect("everything comes back");
            assert!(back == pattern(20_000));
        }
        if core.counters.starved.get() != 0 {
            break;
        }
    }
    assert_ne!(core.counters.starved.get(), 0);
    drop(streams);
    core.stop_cleanly();
}

#[test]
fn a_slow_reader_gets_everything() {
    let core = Core::echo(config(PollMode::Park), Route::Pieces(100_000));
    let mut stream = core.connect();
    let bytes = pattern(8 << 20);
    let (to_send, mut writer) = (bytes.clone(), stream.try_clone().expect("a second handle"));
    let sender = std::thread::spawn(move || writer.write_all(&to_send).expect("taken"));
    let mut back = Vec::new();
    let mut part = vec![0; 1 << 20];
    while back.len() < bytes.len() {
        std::thread::sleep(Duration::from_millis(10));
        let read = stream.read(&mut part).expect("not closed");
        back.extend_from_slice(&part[..read]);
    }
    sender.join().expect("no panic");
    assert!(back == bytes);
    core.stop_cleanly();
}

#[test]
fn a_client_that_resets_in_the_middle_of_a_send_is_closed_and_gives_its_memory_back() {
    let core = Core::echo(config(PollMode::Park), Route::Plain);
    for _ in 0..20 {
        let mut stream = core.connect();
        stream.set_nonblocking(true).expect("a socket");
        // Never reads, so that the core's send gets stuck.
        while stream.write(&[7; 65536]).is_ok() {}
        // Unread bytes make the close a reset.
        drop(stream);
    }
    wait_until(|| core.counters.connections.get() == 0 && core.counters.accepted.get() == 20);
    let machine = core.stop_cleanly();
    assert_ne!(machine.failed_sends, 0);
}

#[test]
fn a_connection_with_a_stuck_send_can_be_closed() {
    let core = Core::echo(config(PollMode::Park), Route::Plain);
    let mut stuck = core.connect();
    stuck.set_nonblocking(true).expect("a socket");
    let is_stuck = || {
        let sent = core.counters.sent_bytes.get();
        core.wait_for_turns();
        sent == core.counters.sent_bytes.get() && sent < core.counters.received_bytes.get()
    };
    // Never reads, so that the core's send gets stuck in the end.
    while !is_stuck() {
        while stuck.write(&[7; 65536]).is_ok() {}
    }
    round_trip(&mut core.connect(), CLOSE_OTHERS);
    wait_until(|| core.counters.connections.get() == 0);
    drop(stuck);
    let machine = core.stop_cleanly();
    assert_ne!(machine.failed_sends, 0);
}

#[test]
fn pausing_stops_receiving_and_loses_no_byte() {
    for disabled in [FeatureSet::EMPTY, FeatureSet::EMPTY.with(Feature::MultishotRecv)] {
        let mut config = config(PollMode::Park);
        config.ring.disabled = disabled;
        let core = Core::echo(config, Route::Keep);
        let mut stream = core.connect();
        let received = || core.counters.received_bytes.get() as usize;
        // The machine pauses at each arrival and resumes when another connection opens.
        let resume = || {
            let accepted = core.counters.accepted.get();
            drop(core.connect());
            wait_until(|| {
                accepted < core.counters.accepted.get() && core.counters.connections.get() == 1
            });
        };
        let bytes = pattern(60_000);
        stream.write_all(&bytes[..1]).expect("taken");
        wait_until(|| received() == 1);
        core.wait_for_turns();
        // Few enough for the sockets to hold.
        stream.write_all(&bytes[1..]).expect("taken");
        core.wait_for_turns();
        let most = if disabled == FeatureSet::EMPTY { 1 } else { 1 + 4096 };
        assert!(received() <= most, "{} bytes came through a pause", received());
        while received() < bytes.len() {
            resume();
        }
        drop(stream);
        let machine = core.stop_cleanly();
        assert!(machine.received == bytes);
    }
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let mut config = config(PollMode::Park);
    config.net.connections = 2;
    let core = Core::echo(config, Route::Plain);
    let (mut first, mut second) = (core.connect(), core.connect());
    round_trip(&mut first, b"one");
    round_trip(&mut second, b"two");
    let mut third = core.connect();
    assert_eq!(third.read(&mut [0]).unwrap_or(0), 0, "closed");
    assert_eq!(core.counters.refused.get(), 1);
    drop(first);
    wait_until(|| core.counters.connections.get() == 1);
    round_trip(&mut core.connect(), b"there is room again");
    core.stop_cleanly();
}

#[test]
fn mail_reaches_a_core_that_sleeps_and_one_that_spins() {
    for (near, far) in [(PollMode::Park, PollMode::Park), (PollMode::Spin, PollMode::Park)] {
        let mut mesh = mesh(2, 4).expect("eventfds");
        let (boxes_1, boxes_0) = (mesh.data.remove(1), mesh.data.remove(0));
        let core_1 =
            Core::start(config(far), boxes_1, None, |_| Echo::new(Route::Relay(CoreId(0)), None));
        let core_0 =
            Core::start(config(near), boxes_0, None, |_| Echo::new(Route::Relay(CoreId(1)), None));
        for core in [&core_0, &core_1] {
            let mut stream = core.connect();
            for size in [1, 5000, 300_000] {
                round_trip(&mut stream, &pattern(size));
            }
        }
        assert_ne!(core_0.counters.nudges.get(), 0);
        core_0.stop_cleanly();
        core_1.stop_cleanly();
    }
}

#[test]
fn the_control_core_sends_and_is_woken_by_its_eventfd() {
    static WOKEN: AtomicU64 = AtomicU64::new(0);
    let mut mesh = mesh(1, 4).expect("eventfds");
    let core = Core::start(config(PollMode::Park), mesh.data.remove(0), None, |_| {
        Echo::new(Route::Relay(CoreId::CONTROL), None)
    });
    let (stopper, mut control) = (mesh.control.stopper(), mesh.control);
    let control = std::thread::spawn(move || {
        for number in 0..100 {
            control.send(CoreId(0), Mail::Number(number)).expect("the outbox has room");
        }
        while !control.stop_asked() {
            while let Some((from, Mail::Please(conn, bytes))) = control.receive() {
                control.send(from, Mail::Here(conn, bytes)).expect("the outbox has room");
            }
            control.wake();
            if !control.is_behind() && control.may_sleep() {
                let event = control.event().try_clone_to_owned().expect("a duplicate");
                let mut poll = [rustix::event::PollFd::new(&event, rustix::event::PollFlags::IN)];
                rustix::event::poll(&mut poll, None).expect("an eventfd");
                control.woken();
                WOKEN.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    round_trip(&mut core.connect(), &pattern(100_000));
    stopper.stop();
    control.join().expect("no panic");
    assert_ne!(WOKEN.load(Ordering::Relaxed), 0);
    let machine = core.stop_cleanly();
    let expected: Vec<_> = (0..100).map(|number| (CoreId::CONTROL, number)).collect();
    assert_eq!(machine.numbers, expected);
}

#[test]
fn stopping_closes_what_is_open() {
    let core = Core::echo(config(PollMode::Park), Route::Plain);
    let mut stream = core.connect();
    round_trip(&mut stream, b"hello");
    let address = core.address;
    let machine = core.stop_cleanly();
    assert!(machine.stop_seen);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "closed");
    assert!(TcpStream::connect(address).is_err(), "nobody listens");
}

#[test]
fn a_machine_that_cannot_finish_does_not_keep_the_core() {
    let mesh = mesh(1, 8).expect("eventfds");
    let boxes = mesh.data.into_iter().next().expect("one core");
    let core = Core::start(config(PollMode::Park), boxes, None, |_| {
        let mut machine = Echo::new(Route::Plain, None);
        machine.stubborn = true;
        machine
    });
    let mut stream = core.connect();
    round_trip(&mut stream, b"hello");
    let (_, stopped) = core.stop();
    let Stopped::Late(unfinished) = stopped else { panic!("{stopped:?}") };
    assert!(unfinished.machine && unfinished.disk == 0, "{unfinished}");
}
