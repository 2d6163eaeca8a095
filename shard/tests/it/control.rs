//! The control shard: it leads without being prompted, agrees once, and remembers.

use std::sync::Arc;
use std::time::Duration;

use base::{
    BrokerTime, CoreId, Incarnation, Input, Machine, NodeId, Now, Output, Page, PageMemory, ShardId,
};
use engine::journal::JournalConfig;
use engine::{Engine, EngineConfig};
use replication::command::NodeRegistered;
use replication::{ClusterState, NewPartitions, Proposal, Rejected, Uuid};
use shard::{ControlShard, CoreMetrics, Mail, Ticket};

use crate::disk::Disk;

const CLUSTER: Uuid = Uuid([7; 16]);
const TICKET: Ticket = Ticket { slot: 3, generation: 1 };

struct Host {
    disk: Disk,
    control: ControlShard,
    now: Now,
    /// Mail to data cores, in order.
    sent: Vec<(CoreId, Mail)>,
}

impl Host {
    /// A node with one shard for each of `cores` cores.
    fn start(disk: Disk, cores: u16) -> Self {
        let mut journal = JournalConfig::new(ShardId::CONTROL, 9);
        journal.segment_bytes = 256 << 10;
        journal.frame_max_bytes = 64 << 10;
        let config =
            EngineConfig { bin_bytes: 1 << 20, bins_max: 64, ..EngineConfig::new(journal) };
        let memory = PageMemory::Heap(Page::boxed(config.arena_bytes() as usize / 4096));
        let engine = Engine::open(config, memory, &disk.existing());
        let node = NodeRegistered {
            node: NodeId(0),
            shards: cores,
            host: "localhost".to_owned(),
            port: 9092,
            core_host: "localhost".to_owned(),
            core_port: 9100,
            rack: None,
        };
        let control = ControlShard::new(engine, CLUSTER, node, cores);
        let now = Now { mono: base::Instant(1), wall: BrokerTime(1_000) };
        let mut host = Self { disk, control, now, sent: Vec::new() };
        host.settle();
        host
    }

    /// Turns as long as completions come, and never because time passed.
    fn settle(&mut self) {
        loop {
            self.control.turn(self.now);
            let mut completions = Vec::new();
            while let Some(output) = self.control.poll() {
                match output {
                    Output::Disk(op) => {
                        let arena = self.control.arena(ShardId::CONTROL);
                        completions.push(self.disk.perform(op, arena));
                    }
                    Output::Mail { to, mail } => self.sent.push((to, mail)),
                    other => panic!("{other:?}"),
                }
            }
            if completions.is_empty() {
                return;
            }
            for done in completions {
                self.control.done(self.now, done);
            }
        }
    }

    fn mail(&mut self, from: CoreId, mail: Mail) {
        self.control.handle(self.now, Input::Mail { from, mail });
        self.settle();
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono.plus(time);
        self.settle();
    }

    /// Every shard says that it has recovered, in its `boot`th life, and every core applies.
    fn boot(&mut self, cores: u16, boot: u32) {
        for number in 0..cores {
            let (shard, boot) = (ShardId(number), Incarnation(boot));
            self.mail(CoreId(number), Mail::Booted { shard, journal: u64::from(number), boot });
        }
        for number in 0..cores {
            self.apply(CoreId(number));
        }
    }

    fn apply(&mut self, core: CoreId) {
        let version = self.control.state().version();
        self.mail(core, Mail::Applied { core, version });
    }

    fn propose(&mut self, proposals: Vec<Proposal>, validate_only: bool) {
        let core = CoreId(0);
        self.mail(core, Mail::Propose { core, ticket: TICKET, proposals, validate_only });
    }

    /// The results of the proposals, once they are told.
    fn proposed(&mut self) -> Option<Vec<Result<(), Rejected>>> {
        let place = self.sent.iter().position(|(_, mail)| matches!(mail, Mail::Proposed { .. }))?;
        match self.sent.remove(place) {
            (CoreId(0), Mail::Proposed { ticket: TICKET, results }) => Some(results),
            other => panic!("{other:?}"),
        }
    }

    fn snapshots(&self, core: CoreId) -> Vec<&Arc<ClusterState>> {
        let of_core = self.sent.iter().filter(|(to, _)| *to == core);
        of_core
            .filter_map(|(_, mail)| match mail {
                Mail::Snapshot(state) => Some(state),
                _ => None,
            })
            .collect()
    }
}

fn create(name: &str) -> Proposal {
    let mut uuid = [9; 16];
    uuid[..name.len()].copy_from_slice(name.as_bytes());
    Proposal::CreateTopic {
        name: name.to_owned(),
        uuid: Uuid(uuid),
        partitions: NewPartitions::Count(2),
        replication_factor: None,
        configs: Vec::new(),
    }
}

#[test]
fn it_leads_on_a_new_disk_and_on_an_old_one_without_a_timer() {
    let mut host = Host::start(Disk::default(), 1);
    for boot in 1..4 {
        assert_eq!(host.control.readiness(), Err("shard 0 is recovering".to_owned()));
        assert!(!host.control.is_settled());
        host.boot(1, boot);
        assert_eq!(host.control.readiness(), Ok(()));
        assert!(host.control.is_settled());
        host = Host::start(host.disk, 1);
    }
}

#[test]
fn what_was_agreed_survives_and_a_boot_bumps_epochs() {
    let mut host = Host::start(Disk::default(), 2);
    host.boot(2, 1);
    host.propose(vec![create("orders")], false);
    let epochs = |host: &Host| {
        let state = host.control.state();
        let topic = state.topics().by_name("orders").expect("it was agreed").clone();
        topic.partitions.iter().map(|partition| partition.epoch.0).collect::<Vec<_>>()
    };
    assert_eq!(epochs(&host), [0, 0]);
    let mut host = Host::start(host.disk, 2);
    assert_eq!(epochs(&host), [0, 0], "replayed");
    host.mail(CoreId(0), Mail::Booted { shard: ShardId(0), journal: 0, boot: Incarnation(2) });
    let mut bumped = epochs(&host);
    bumped.sort_unstable();
    assert_eq!(bumped, [0, 1], "only what the booted shard leads");
}

#[test]
fn an_answer_waits_until_every_core_has_the_change() {
    let mut host = Host::start(Disk::default(), 2);
    host.boot(2, 1);
    host.propose(vec![create("orders")], false);
    let newest = host.snapshots(CoreId(1)).last().map(|state| state.topics().len());
    assert_eq!(newest, Some(1), "both cores are told");
    host.apply(CoreId(0));
    assert_eq!(host.proposed(), None, "core 1 has not applied it");
    host.apply(CoreId(1));
    assert_eq!(host.proposed(), Some(vec![Ok(())]));
}

#[test]
fn a_core_that_is_stuck_delays_an_answer_by_a_second_at_most() {
    let mut host = Host::start(Disk::default(), 2);
    host.boot(2, 1);
    host.propose(vec![create("orders")], false);
    host.pass(Duration::from_millis(999));
    assert_eq!(host.proposed(), None);
    host.pass(Duration::from_millis(1));
    assert_eq!(host.proposed(), Some(vec![Ok(())]));
}

#[test]
fn proposals_are_answered_one_by_one_and_validation_changes_nothing() {
    let mut host = Host::start(Disk::default(), 1);
    host.boot(1, 1);
    host.propose(vec![create("a"), create("b")], true);
    assert_eq!(host.proposed(), Some(vec![Ok(()), Ok(())]));
    assert_eq!(host.control.state().topics().len(), 0);
    host.propose(vec![create("a"), create("a"), create("b")], false);
    host.apply(CoreId(0));
    assert_eq!(host.proposed(), Some(vec![Ok(()), Err(Rejected::TopicExists), Ok(())]));
    assert_eq!(host.control.state().topics().len(), 2);
}

#[test]
fn a_failed_shard_is_named_and_the_others_go_on() {
    let mut host = Host::start(Disk::default(), 2);
    let failed = Mail::Failed { shard: ShardId(1), reason: "its disk is gone".to_owned() };
    host.mail(CoreId(1), failed);
    assert!(!host.control.is_settled(), "shard 0 is still to come");
    host.mail(CoreId(0), Mail::Booted { shard: ShardId(0), journal: 0, boot: Incarnation(1) });
    host.apply(CoreId(0));
    host.apply(CoreId(1));
    assert!(host.control.is_settled());
    let reason = host.control.readiness().expect_err("not all is well");
    assert_eq!(reason, "shard 1 has failed: its disk is gone");
}

#[test]
fn a_shard_that_comes_back_with_another_journal_is_refused() {
    let mut host = Host::start(Disk::default(), 1);
    host.boot(1, 1);
    let mut host = Host::start(host.disk, 1);
    host.mail(CoreId(0), Mail::Booted { shard: ShardId(0), journal: 99, boot: Incarnation(2) });
    let reason = host.control.readiness().expect_err("a foreign journal");
    assert!(reason.contains("another journal"), "{reason}");
}

#[test]
fn numbers_are_asked_for_once_until_they_come() {
    let mut host = Host::start(Disk::default(), 2);
    host.control.measure();
    host.control.measure();
    host.settle();
    let asked = host.sent.iter().filter(|(_, mail)| matches!(mail, Mail::Measure)).count();
    assert_eq!(asked, 2, "one for each core");
    for core in [CoreId(0), CoreId(1)] {
        assert!(host.control.is_measuring());
        let metrics = CoreMetrics { core, shards: Vec::new(), jobs: 7, stalled: 0 };
        host.mail(core, Mail::Measured(Box::new(metrics)));
    }
    assert!(!host.control.is_measuring());
    assert_eq!(host.control.measured().map(|metrics| metrics.jobs).sum::<usize>(), 14);
}

#[test]
fn a_stop_seals_the_log() {
    let mut host = Host::start(Disk::default(), 1);
    host.boot(1, 1);
    assert!(!host.control.stopped());
    host.control.handle(host.now, Input::Stop);
    host.settle();
    assert!(host.control.stopped());
}
