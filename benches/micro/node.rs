//! A whole node without threads, sockets and devices: two data cores, the control shard, mail
//! between them.

use std::collections::VecDeque;
use std::sync::Arc;

use base::{
    BrokerTime, ConnId, CoreId, Input, Instant, Listener, Machine, NodeId, Now, Output, Page,
    Piece, Send, ShardId,
};
use net::{Outgoing, ReplyTo, RequestBody};
use replication::command::NodeRegistered;
use replication::{ClusterState, Uuid};
use shard::{Address, ControlShard, Core, CoreSettings, Layout, Mail};

use crate::files::Files;
use crate::log::open;

const CONTROL: ShardId = ShardId(u16::MAX);
const CLUSTER: Uuid = Uuid([9; 16]);
const CONN: ConnId = ConnId { slot: 0, generation: 1 };

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Node {
    cores: Vec<(Core, Files)>,
    control: (ControlShard, Files),
    /// Whether the control shard has something to do: what it takes is no part of a request.
    control_works: bool,
    now: Now,
    /// Sends that the client has got.
    answered: usize,
    /// The last of them.
    answer: Vec<u8>,
    mail: VecDeque<(CoreId, CoreId, Mail)>,
}

impl Node {
    /// A node that serves, with a client connected to core 0 by `listener`.
    pub(crate) fn new(listener: Listener) -> Self {
        let layout = Arc::new(layout());
        let cores = (0..2).map(|number| {
            let (shard, files) = (ShardId(number), Files::default());
            let state = Arc::new(ClusterState::new(CLUSTER));
            let engines = vec![(shard, open(shard, &files))];
            (Core::new(CoreId(number), Arc::clone(&layout), settings(), state, engines), files)
        });
        let files = Files::default();
        let control = ControlShard::new(open(CONTROL, &files), CLUSTER, registered(), 2);
        let mut node = Self {
            cores: cores.collect(),
            control: (control, files),
            control_works: true,
            now: Now { mono: Instant(0), wall: BrokerTime(1_767_225_600_000) },
            answered: 0,
            answer: Vec::new(),
            mail: VecDeque::new(),
        };
        for _ in 0..100_000 {
            if node.control.0.readiness().is_ok() {
                let now = node.now;
                node.cores[0].0.handle(now, Input::Opened { conn: CONN, listener });
                return node;
            }
            node.turn();
        }
        panic!("not ready: {:?}", node.control.0.readiness());
    }

    /// Asks on the connection and runs until the answer is sent.
    pub(crate) fn ask(&mut self, frame: &[u8]) -> &[u8] {
        let (now, before) = (self.now, self.answered);
        self.cores[0].0.handle(now, Input::Received { conn: CONN, bytes: frame });
        for _ in 0..100_000 {
            self.turn();
            if self.answered != before {
                return &self.answer;
            }
        }
        panic!("no answer");
    }

    /// A partition of the only topic that `shard` leads.
    pub(crate) fn partition_of(&self, shard: ShardId) -> i32 {
        let state = self.control.0.state();
        let topic = state.topics().iter().next().expect("a topic was made");
        let at = topic.partitions.iter().position(|partition| {
            partition.leader.is_some_and(|leader| leader.placement.shard == shard)
        });
        at.expect("each shard leads a partition") as i32
    }

    /// A request as it goes over the wire.
    pub(crate) fn frame<B: RequestBody>(version: i16, body: B) -> Vec<u8> {
        let mut out = Outgoing::default();
        out.request(ReplyTo { version, correlation_id: 1 }, None, body);
        out.bytes().to_vec()
    }

    /// One turn of every core, a microsecond each.
    fn turn(&mut self) {
        self.now.mono = Instant(self.now.mono.0 + 1_000);
        for index in 0..self.cores.len() {
            let now = self.now;
            self.cores[index].0.turn(now);
            self.take_core_outputs(index);
        }
        let now = self.now;
        if self.control_works || self.control.0.next_timeout().is_some_and(|at| at <= now.mono) {
            self.control.0.turn(now);
            self.control_works = self.take_control_outputs();
        }
        while let Some((from, to, mail)) = self.mail.pop_front() {
            let input = Input::Mail { from, mail };
            if to == CoreId::CONTROL {
                self.control.0.handle(now, input);
                self.control_works = true;
            } else {
                self.cores[usize::from(to.0)].0.handle(now, input);
            }
        }
    }

    fn take_core_outputs(&mut self, index: usize) {
        let now = self.now;
        let from = CoreId(index as u16);
        let (core, files) = &mut self.cores[index];
        while let Some(output) = core.poll() {
            match output {
                Output::Disk(op) => {
                    let done = files.perform(op, core.arena(ShardId(from.0)));
                    core.done(now, done);
                }
                Output::Send(Send { conn, pieces }) => {
                    self.answered += 1;
                    self.answer.clear();
                    for piece in &pieces {
                        let bytes = match piece {
                            Piece::Bytes { bytes, from } => &bytes[*from..],
                            Piece::Tail { shard, span, .. } => {
                                core.arena(*shard).get(*span).expect("a pinned span stays")
                            }
                            Piece::Pages { pages, from, len } => {
                                &Page::bytes(pages)[*from..*from + *len]
                            }
                        };
                        self.answer.extend_from_slice(bytes);
                    }
                    core.handle(now, Input::Sent { conn, pieces, ok: true });
                }
                Output::Mail { to, mail } => self.mail.push_back((from, to, mail)),
                Output::Pause(_) | Output::Resume(_) => {}
                Output::Dial { to, .. } => panic!("{to} is dialled"),
                Output::Close(conn) => panic!("{conn:?} is closed"),
            }
        }
    }

    /// Says whether there were any.
    fn take_control_outputs(&mut self) -> bool {
        let (control, files) = &mut self.control;
        let mut any = false;
        while let Some(output) = control.poll() {
            match output {
                Output::Disk(op) => {
                    let done = files.perform(op, control.arena(CONTROL));
                    control.done(self.now, done);
                }
                Output::Mail { to, mail } => self.mail.push_back((CoreId::CONTROL, to, mail)),
                other => panic!("{other:?}"),
            }
            any = true;
        }
        any
    }
}

fn layout() -> Layout {
    let address = |port| Address { host: "127.0.0.1".into(), port };
    Layout {
        node: NodeId(0),
        cluster_id: "bench".into(),
        shard_cores: vec![CoreId(0), CoreId(1)],
        control: CoreId::CONTROL,
        node_address: address(9092),
        core_address: address(9100),
        rack: None,
    }
}

fn settings() -> CoreSettings {
    CoreSettings {
        auto_create_topics: false,
        default_partitions: 1,
        request_bytes_max: 100 << 20,
        fetch_bytes_max: 50 << 20,
        peering: None,
        groups: Default::default(),
        seed: 7,
    }
}

fn registered() -> NodeRegistered {
    NodeRegistered {
        node: NodeId(0),
        shards: 2,
        host: "127.0.0.1".into(),
        port: 9092,
        core_host: "127.0.0.1".into(),
        core_port: 9100,
        rack: None,
    }
}
