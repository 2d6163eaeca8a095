//! A node: data cores and the control core, with the mail between them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base::{
    Arena, ConnId, CoreId, Done, FileId, Input, Instant, Machine, Now, Op, Output, Page,
    PageMemory, Send, ShardId,
};
use engine::{Engine, EngineConfig};
use replication::ClusterState;
use shard::{ControlShard, Core, Layout, Mail};

use super::blueprint::Blueprint;
use crate::disk::Memory;
use crate::host::Hosted;
use crate::random::Random;

/// See the module's description.
#[derive(Debug)]
pub struct NodeMachine {
    pub(super) cores: Vec<Core>,
    pub(super) control: ControlShard,
    layout: Arc<Layout>,
    /// Under way, by sender and receiver; the queues keep their order.
    mail: BTreeMap<(CoreId, CoreId), VecDeque<(Instant, Mail)>>,
    mail_us: u64,
    random: Random,
    ops: VecDeque<Op>,
    /// What the data cores want of the network, by core.
    pub(super) wishes: VecDeque<(usize, Wish)>,
}

/// What a core wants of the network.
#[derive(Debug)]
pub(super) enum Wish {
    Send(Send),
    Pause(ConnId),
    Resume(ConnId),
    Close(ConnId),
}

impl NodeMachine {
    pub(super) fn start(blueprint: &Blueprint, files: &[(FileId, u64)], random: Random) -> Self {
        let engine = |config: &EngineConfig| {
            let shard = config.journal.shard;
            let own = files.iter().filter(|(file, _)| file.shard == shard).copied();
            let pages = config.arena_bytes().div_ceil(base::PAGE_BYTES as u64);
            let memory = Page::boxed((pages + blueprint.spare_pages) as usize);
            (
                shard,
                Engine::open(config.clone(), PageMemory::Heap(memory), &own.collect::<Vec<_>>()),
            )
        };
        let (control, data): (Vec<_>, Vec<_>) =
            blueprint.engines.iter().map(engine).partition(|(shard, _)| *shard == ShardId::CONTROL);
        let (_, control) = control.into_iter().next().expect("a node has a control shard");
        let layout = &blueprint.layout;
        let count = blueprint.cores;
        let mut by_core: BTreeMap<CoreId, Vec<(ShardId, Engine)>> =
            (0..count).map(|core| (CoreId(core), Vec::new())).collect();
        for (shard, engine) in data {
            by_core.entry(layout.core_of(shard)).or_default().push((shard, engine));
        }
        let state = Arc::new(ClusterState::new(blueprint.cluster));
        let core = |(id, engines)| {
            let (layout, settings) = (Arc::clone(layout), blueprint.settings.clone());
            Core::new(id, layout, settings, Arc::clone(&state), engines)
        };
        let registered = blueprint.registered.clone();
        Self {
            cores: by_core.into_iter().map(core).collect(),
            control: ControlShard::new(control, blueprint.cluster, registered, count),
            layout: Arc::clone(layout),
            mail: BTreeMap::new(),
            mail_us: blueprint.mail_us,
            random,
            ops: VecDeque::new(),
            wishes: VecDeque::new(),
        }
    }

    /// Every engine of the node.
    pub(super) fn engines(&self) -> impl Iterator<Item = (ShardId, &Engine)> {
        let control = (ShardId::CONTROL, self.control.engine());
        self.cores.iter().flat_map(Core::engines).chain([control])
    }

    /// What somebody waits for, by name: nothing when all is quiet.
    pub(super) fn in_hand(&self) -> Vec<(&'static str, usize)> {
        let mail = self.mail.values().map(VecDeque::len).sum();
        let own = [("mail", mail), ("wishes", self.wishes.len()), ("operations", self.ops.len())];
        let own = own.into_iter().filter(|(_, count)| 0 < *count);
        let cores = self.cores.iter().flat_map(Core::in_hand);
        own.chain(cores).chain(self.control.in_hand()).collect()
    }

    /// The index of the core that hosts `shard`.
    pub(super) fn core_of(&self, shard: ShardId) -> usize {
        usize::from(self.layout.core_of(shard).0)
    }

    /// Asks every core to end.
    pub(super) fn stop(&mut self, now: Now) {
        self.cores.iter_mut().for_each(|core| core.handle(now, Input::Stop));
        self.control.handle(now, Input::Stop);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.cores.iter().all(Core::stopped) && self.control.stopped()
    }

    fn deliver(&mut self, now: Now) {
        for ((from, to), queue) in &mut self.mail {
            while queue.front().is_some_and(|(due, _)| *due <= now.mono) {
                let (_, mail) = queue.pop_front().expect("looked at just now");
                let input = Input::Mail { from: *from, mail };
                if *to == self.layout.control {
                    self.control.handle(now, input);
                } else {
                    self.cores[usize::from(to.0)].handle(now, input);
                }
            }
        }
    }

    fn collect(&mut self, now: Now, index: usize) {
        while let Some(output) = self.cores[index].poll() {
            match output {
                Output::Disk(op) => self.ops.push_back(op),
                Output::Mail { to, mail } => self.post(now, CoreId(index as u16), to, mail),
                Output::Send(send) => self.wishes.push_back((index, Wish::Send(send))),
                Output::Pause(conn) => self.wishes.push_back((index, Wish::Pause(conn))),
                Output::Resume(conn) => self.wishes.push_back((index, Wish::Resume(conn))),
                Output::Dial { dial, to } => panic!("a single node has no peers: {dial:?} to {to}"),
                Output::Close(conn) => self.wishes.push_back((index, Wish::Close(conn))),
            }
        }
    }

    fn collect_control(&mut self, now: Now) {
        while let Some(output) = self.control.poll() {
            match output {
                Output::Disk(op) => self.ops.push_back(op),
                Output::Mail { to, mail } => self.post(now, self.layout.control, to, mail),
                other => panic!("the control core has no network: {other:?}"),
            }
        }
    }

    fn post(&mut self, now: Now, from: CoreId, to: CoreId, mail: Mail) {
        let lasts = Duration::from_nanos(self.random.exponential(self.mail_us * 1_000));
        let queue = self.mail.entry((from, to)).or_default();
        let after = queue.back().map_or(Instant(0), |(due, _)| *due);
        queue.push_back((now.mono.plus(lasts).max(after), mail));
    }
}

impl Hosted for NodeMachine {
    fn done(&mut self, now: Now, shard: ShardId, done: Done) {
        if shard == ShardId::CONTROL {
            self.control.done(now, done);
        } else {
            let core = self.layout.core_of(shard);
            self.cores[usize::from(core.0)].done(now, done);
        }
    }

    fn turn(&mut self, now: Now) {
        self.deliver(now);
        let mut order: Vec<_> = (0..=self.cores.len()).collect();
        self.random.shuffle(&mut order);
        for index in order {
            if index == self.cores.len() {
                self.control.turn(now);
                self.collect_control(now);
            } else {
                self.cores[index].turn(now);
                self.collect(now, index);
            }
        }
    }

    fn poll_op(&mut self) -> Option<Op> {
        self.ops.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        let mail = self.mail.values().filter_map(|queue| queue.front()).map(|(due, _)| *due);
        let cores = self.cores.iter().filter_map(Core::next_timeout);
        mail.chain(cores).chain(self.control.next_timeout()).min()
    }
}

impl Memory for NodeMachine {
    fn arena(&self, shard: ShardId) -> &Arena {
        if shard == ShardId::CONTROL {
            return Machine::arena(&self.control, shard);
        }
        let core = self.layout.core_of(shard);
        Machine::arena(&self.cores[usize::from(core.0)], shard)
    }
}
