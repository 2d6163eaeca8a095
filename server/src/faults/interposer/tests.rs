use std::time::Duration;

use base::{Arena, CoreId, FileId, FileKind, Incarnation, Page, PageMemory, Piece};
use replication::link::{Identity, Link, Secret};
use replication::replica::message::StreamId;
use replication::{Boot, LogIndex, Placement, Uuid};
use shard::fault::{Accesses, DiskFault, Fault, Files, NetFault};

use super::*;

const CONN: ConnId = ConnId { slot: 3, generation: 1 };
const FILE: FileId = FileId { shard: ShardId(0), kind: FileKind::Segment(0) };
const MS: Duration = Duration::from_millis(1);

/// A core that writes down what it hears and says what it is told to.
#[derive(Default)]
struct Fake {
    heard: Vec<Heard>,
    says: VecDeque<Output<Mail>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Bytes(Vec<u8>),
    Sent(bool),
    Dialed(Result<ConnId, IoError>),
    Closed,
    Done(Token, Result<(), IoError>),
    Other,
}

impl Machine for Fake {
    type Mail = Mail;

    fn handle(&mut self, _: Now, input: Input<'_, Mail>) {
        self.heard.push(match input {
            Input::Received { bytes, .. } => Heard::Bytes(bytes.to_vec()),
            Input::Sent { ok, .. } => Heard::Sent(ok),
            Input::Dialed { result, .. } => Heard::Dialed(result),
            Input::Closed { .. } => Heard::Closed,
            _ => Heard::Other,
        });
    }

    fn done(&mut self, _: Now, done: Done) {
        let token = done.token();
        self.heard.push(match done {
            Done::Wrote { res, .. } | Done::Synced { res, .. } => Heard::Done(token, res),
            _ => Heard::Other,
        });
    }

    fn turn(&mut self, _: Now) {}

    fn poll(&mut self) -> Option<Output<Mail>> {
        self.says.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn arena(&self, _: ShardId) -> &Arena {
        panic!("nobody asks for it")
    }
}

struct Bench {
    faults: Interposer,
    core: Fake,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        let nodes = vec![
            (NodeId(1), "10.0.0.1:9200".parse().expect("an address")),
            (NodeId(2), "10.0.0.1:9300".parse().expect("an address")),
        ];
        let faults = Interposer::new(1, vec![ShardId(0)], nodes);
        Self { faults, core: Fake::default(), now: Now::default() }
    }

    fn order(&mut self, order: FaultOrder) {
        let input = Input::Mail { from: CoreId::CONTROL, mail: Mail::Fault(order) };
        self.handle(input);
    }

    fn inject(&mut self, number: u32, fault: Fault) {
        let (number, until) = (FaultNumber(number), Instant(u64::MAX));
        self.order(FaultOrder::Inject { number, fault, until });
    }

    fn clear(&mut self, number: u32) {
        self.order(FaultOrder::Clear(FaultNumber(number)));
    }

    fn handle(&mut self, input: Input<'_, Mail>) {
        self.faults.handle(self.now, input, &mut self.core);
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.handle(Input::Received { conn: CONN, bytes });
    }

    fn done(&mut self, done: Done) {
        self.faults.done(self.now, done, &mut self.core);
    }

    /// A turn so much later; what the ring is to do.
    fn turn_after(&mut self, later: Duration) -> Vec<Output<Mail>> {
        self.now.mono = self.now.mono.plus(later);
        self.faults.turn(self.now, &mut self.core);
        core::iter::from_fn(|| self.faults.poll(&mut self.core)).collect()
    }

    fn heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.core.heard)
    }

    /// A line that node 1 dialled.
    fn accept(&mut self) {
        self.handle(Input::Opened { conn: CONN, listener: Listener::Peer(ShardId(0)) });
        self.receive(&hello_of(1));
        self.heard();
    }
}

fn hello_of(node: u16) -> Vec<u8> {
    let identity = Identity {
        cluster: Uuid([1; 16]),
        placement: Placement { node: NodeId(node), shard: ShardId(0) },
        boot: Boot { journal: 1, boot: Incarnation(1) },
        cluster_index: LogIndex(0),
        challenge: [0; 16],
    };
    let to = Placement { node: NodeId(0), shard: ShardId(0) };
    let mut hello = Vec::new();
    let _ = Link::dial(identity, to, StreamId(1), &Secret::new(b"s"), 1 << 20, &mut hello);
    hello
}

fn disk(what: DiskFault) -> Fault {
    Fault::Disk { shard: None, files: Files::All, accesses: Accesses::All, what, percent: 100 }
}

fn net(way: Way, what: NetFault) -> Fault {
    Fault::Net { peer: Some(NodeId(1)), way, what }
}

fn sync(token: u64) -> Output<Mail> {
    Output::Disk(Op::Sync { tok: Token(token), file: FILE })
}

fn send() -> Output<Mail> {
    let pieces = vec![Piece::Bytes { bytes: b"word".to_vec(), from: 0 }];
    Output::Send(Send { conn: CONN, pieces })
}

fn tokens(outputs: &[Output<Mail>]) -> Vec<u64> {
    let token = |output: &Output<Mail>| match output {
        Output::Disk(op) => Some(op.token().0),
        _ => None,
    };
    outputs.iter().filter_map(token).collect()
}

#[test]
fn late_operations_begin_in_their_order_and_nothing_else_waits() {
    let mut bench = Bench::new();
    bench.inject(1, disk(DiskFault::Delay(20 * MS)));
    bench.core.says.extend([sync(1), sync(2), send()]);
    assert!(matches!(bench.turn_after(MS)[..], [Output::Send(_)]), "clients are not touched");
    assert_eq!(bench.faults.next_timeout(), Some(bench.now.mono.plus(20 * MS)));
    assert!(bench.turn_after(19 * MS).is_empty());
    assert_eq!(tokens(&bench.turn_after(MS)), [1, 2]);
    bench.clear(1);
    bench.core.says.push_back(sync(3));
    assert_eq!(tokens(&bench.turn_after(MS)), [3]);
}

#[test]
fn frozen_operations_begin_when_the_fault_ends() {
    let mut bench = Bench::new();
    bench.inject(7, disk(DiskFault::Freeze));
    bench.core.says.push_back(sync(1));
    assert!(bench.turn_after(1000 * MS).is_empty());
    assert!(bench.turn_after(1000 * MS).is_empty());
    bench.clear(7);
    assert_eq!(tokens(&bench.turn_after(MS)), [1]);
}

#[test]
fn failed_and_forgotten_operations_never_reach_the_ring() {
    let mut bench = Bench::new();
    for (what, expected) in [
        (DiskFault::Error(28), Err(IoError::Errno(28))),
        (DiskFault::Drop, Ok(())),
        (DiskFault::Tear, Err(IoError::Errno(5))),
    ] {
        bench.inject(1, disk(what));
        bench.core.says.push_back(sync(1));
        assert!(bench.turn_after(MS).is_empty());
        assert!(bench.faults.next_timeout().is_some(), "the core is told in the next turn");
        assert!(bench.turn_after(MS).is_empty());
        assert_eq!(bench.heard(), [Heard::Done(Token(1), expected)]);
        bench.clear(1);
    }
}

#[test]
fn a_torn_write_is_half_done_and_fails() {
    let mut bench = Bench::new();
    let memory = PageMemory::Heap(Page::boxed(16));
    let mut arena = Arena::new(memory);
    let mut draft = arena.draft(4 * PAGE_BYTES).expect("room");
    let _ = arena.put(&mut draft, &[1; 3 * PAGE_BYTES as usize]).expect("room");
    let span = arena.seal(draft);
    let pin = arena.pin(span);
    bench.inject(1, disk(DiskFault::Tear));
    let write = Op::Write { tok: Token(1), file: FILE, pos: 0, span, pin, sync: true };
    bench.core.says.push_back(Output::Disk(write));
    let outputs = bench.turn_after(MS);
    let [Output::Disk(Op::Write { span: half, .. })] = &outputs[..] else {
        panic!("half a write: {outputs:?}")
    };
    assert_eq!(half.len % PAGE_BYTES, 0);
    assert!(0 < half.len && half.len < span.len, "{half:?} of {span:?}");
    let Some(Output::Disk(Op::Write { tok, pin, .. })) = outputs.into_iter().next() else {
        panic!("looked at above")
    };
    bench.done(Done::Wrote { tok, pin, res: Ok(()) });
    assert_eq!(bench.heard(), [Heard::Done(Token(1), Err(IoError::Errno(5)))]);
}

#[test]
fn a_cut_line_keeps_what_arrives_and_hands_it_over_in_order() {
    let mut bench = Bench::new();
    bench.accept();
    bench.receive(b"one");
    assert_eq!(bench.heard(), [Heard::Bytes(b"one".to_vec())]);
    bench.inject(1, net(Way::In, NetFault::Cut));
    bench.receive(b"two");
    bench.core.says.push_back(send());
    assert!(matches!(bench.turn_after(MS)[..], [Output::Send(_)]), "the other way is open");
    assert_eq!(bench.heard(), []);
    bench.clear(1);
    bench.receive(b"three");
    assert_eq!(bench.heard(), [], "not before what came earlier");
    assert!(bench.turn_after(MS).is_empty());
    let both = [b"two".to_vec(), b"three".to_vec()].map(Heard::Bytes);
    assert_eq!(bench.heard(), both);
}

#[test]
fn a_line_that_is_cut_for_long_is_not_received_on() {
    let mut bench = Bench::new();
    bench.accept();
    bench.inject(1, net(Way::Both, NetFault::Cut));
    for _ in 0..5 {
        bench.receive(&vec![0; 1 << 20]);
    }
    assert!(matches!(bench.turn_after(MS)[..], [Output::Pause(CONN)]));
    bench.clear(1);
    assert!(matches!(bench.turn_after(MS)[..], [Output::Resume(CONN)]));
    assert_eq!(bench.heard().len(), 5);
}

#[test]
fn a_send_that_waits_comes_back_when_its_line_closes() {
    for closes_itself in [true, false] {
        let mut bench = Bench::new();
        bench.accept();
        bench.inject(1, net(Way::Out, NetFault::Cut));
        bench.core.says.push_back(send());
        assert!(bench.turn_after(MS).is_empty());
        if closes_itself {
            bench.core.says.push_back(Output::Close(CONN));
            assert!(matches!(bench.turn_after(MS)[..], [Output::Close(CONN)]));
        }
        bench.handle(Input::Closed { conn: CONN });
        assert_eq!(bench.heard(), [Heard::Sent(false), Heard::Closed]);
    }
}

#[test]
fn late_bytes_pass_later_and_a_reset_closes_the_line() {
    let mut bench = Bench::new();
    bench.accept();
    let (by, jitter) = (20 * MS, Duration::ZERO);
    bench.inject(1, net(Way::Both, NetFault::Delay { by, jitter }));
    bench.receive(b"late");
    bench.core.says.push_back(send());
    assert!(bench.turn_after(19 * MS).is_empty());
    assert_eq!(bench.heard(), []);
    assert!(bench.turn_after(MS).is_empty(), "the send began its wait with the first turn");
    assert_eq!(bench.heard(), [Heard::Bytes(b"late".to_vec())]);
    assert!(matches!(bench.turn_after(19 * MS)[..], [Output::Send(_)]));
    bench.clear(1);
    bench.inject(2, net(Way::Both, NetFault::Reset));
    bench.receive(b"never");
    assert!(matches!(bench.turn_after(MS)[..], [Output::Close(CONN)]));
    assert_eq!(bench.heard(), []);
}

#[test]
fn no_connection_comes_to_stand_with_a_node_that_is_cut_off() {
    let mut bench = Bench::new();
    bench.inject(1, net(Way::In, NetFault::Cut));
    let dial = |number, address: &str| Output::Dial {
        dial: DialId(number),
        to: address.parse().expect("an address"),
    };
    bench.core.says.extend([dial(1, "10.0.0.1:9201"), dial(2, "10.0.0.1:9301")]);
    let outputs = bench.turn_after(MS);
    assert!(matches!(outputs[..], [Output::Dial { dial: DialId(2), .. }]), "{outputs:?}");
    assert_eq!(bench.heard(), []);
    assert!(bench.turn_after(DIAL_PATIENCE).is_empty());
    assert_eq!(bench.heard(), [Heard::Dialed(Err(IoError::Errno(110)))]);
    bench.handle(Input::Dialed { dial: DialId(2), result: Ok(CONN) });
    bench.receive(b"word");
    let expected = [Heard::Dialed(Ok(CONN)), Heard::Bytes(b"word".to_vec())];
    assert_eq!(bench.heard(), expected);
}
