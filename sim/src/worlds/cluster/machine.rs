//! A node's process: data cores and the control core, with the mail between them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base::{
    Arena, ConnId, CoreId, DialId, Done, FileId, Input, Instant, Machine, NodeId, Now, Op, Output,
    Page, PageMemory, Send, ShardId,
};
use engine::{Engine, EngineConfig};
use replication::{ClusterState, ControlMessage};
use shard::{Answer, ControlSettings, ControlShard, Core, CoreSettings, Layout, Mail, Ticket};

use crate::disk::Memory;
use crate::random::Random;

/// The core that clients speak as.
pub(super) const CLIENTS: CoreId = CoreId(1_000);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) cores: Vec<Core>,
    pub(super) control: ControlShard,
    layout: Arc<Layout>,
    /// Under way, by sender and receiver; the queues keep their order.
    mail: BTreeMap<(CoreId, CoreId), VecDeque<(Instant, Mail)>>,
    mail_us: u64,
    random: Random,
    pub(super) ops: VecDeque<Op>,
    pub(super) wishes: VecDeque<Wish>,
}

/// What a process wants of the network.
#[derive(Debug)]
pub(super) enum Wish {
    Tell(NodeId, ControlMessage),
    Dial(usize, DialId, core::net::SocketAddr),
    Send(usize, Send),
    Close(usize, ConnId),
    Answer(Ticket, Answer),
}

/// What a node is made of.
#[derive(Clone, Debug)]
pub(super) struct Blueprint {
    pub(super) layout: Arc<Layout>,
    pub(super) control: ControlSettings,
    pub(super) settings: CoreSettings,
    pub(super) engines: Vec<EngineConfig>,
    pub(super) mail_us: u64,
    /// Pages of each arena beyond what its journal can hold.
    pub(super) spare_pages: u64,
}

impl Process {
    pub(super) fn start(blueprint: &Blueprint, files: &[(FileId, u64)], random: Random) -> Self {
        let engine = |config: &EngineConfig| {
            let shard = config.journal.shard;
            let own = files.iter().filter(|(file, _)| file.shard == shard).copied();
            let pages = config.arena_bytes().div_ceil(base::PAGE_BYTES as u64);
            let memory = PageMemory::Heap(Page::boxed((pages + blueprint.spare_pages) as usize));
            (shard, Engine::open(config.clone(), memory, &own.collect::<Vec<_>>()))
        };
        let (control, data): (Vec<_>, Vec<_>) =
            blueprint.engines.iter().map(engine).partition(|(shard, _)| *shard == ShardId::CONTROL);
        let (_, control) = control.into_iter().next().expect("a node has a control shard");
        let layout = &blueprint.layout;
        let mut by_core: BTreeMap<CoreId, Vec<(ShardId, Engine)>> =
            (0..blueprint.control.cores).map(|core| (CoreId(core), Vec::new())).collect();
        for (shard, engine) in data {
            by_core.entry(layout.core_of(shard)).or_default().push((shard, engine));
        }
        let state = Arc::new(ClusterState::new(blueprint.control.cluster));
        let core = |(id, engines)| {
            let (layout, settings) = (Arc::clone(layout), blueprint.settings.clone());
            Core::new(id, layout, settings, Arc::clone(&state), engines)
        };
        Self {
            cores: by_core.into_iter().map(core).collect(),
            control: ControlShard::of_cluster(control, blueprint.control.clone()),
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

    pub(super) fn tell_control(&mut self, now: Now, mail: Mail) {
        self.control.handle(now, Input::Mail { from: CoreId::PEERS, mail });
    }

    pub(super) fn done(&mut self, now: Now, shard: ShardId, done: Done) {
        if shard == ShardId::CONTROL {
            self.control.done(now, done);
        } else {
            let core = self.core_of(shard);
            self.cores[core].done(now, done);
        }
    }

    pub(super) fn turn(&mut self, now: Now) {
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

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let mail = self.mail.values().filter_map(|queue| queue.front()).map(|(due, _)| *due);
        let cores = self.cores.iter().filter_map(Core::next_timeout);
        mail.chain(cores).chain(self.control.next_timeout()).min()
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
                Output::Mail { to: CLIENTS, mail: Mail::Answer { to, answer, .. } } => {
                    self.wishes.push_back(Wish::Answer(to.ticket, answer));
                }
                Output::Mail { to, mail } => self.post(now, CoreId(index as u16), to, mail),
                Output::Send(send) => self.wishes.push_back(Wish::Send(index, send)),
                // Peers are never told to wait.
                Output::Pause(_) | Output::Resume(_) => {}
                Output::Dial { dial, to } => self.wishes.push_back(Wish::Dial(index, dial, to)),
                Output::Close(conn) => self.wishes.push_back(Wish::Close(index, conn)),
            }
        }
    }

    fn collect_control(&mut self, now: Now) {
        while let Some(output) = self.control.poll() {
            match output {
                Output::Disk(op) => self.ops.push_back(op),
                Output::Mail { to: CoreId::PEERS, mail: Mail::ToPeer { node, message } } => {
                    self.wishes.push_back(Wish::Tell(node, message));
                }
                // The world's own wishes.
                Output::Mail { to: CLIENTS, mail: Mail::Proposed { .. } } => {}
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

impl Memory for Process {
    fn arena(&self, shard: ShardId) -> &Arena {
        if shard == ShardId::CONTROL {
            return Machine::arena(&self.control, shard);
        }
        Machine::arena(&self.cores[self.core_of(shard)], shard)
    }
}
