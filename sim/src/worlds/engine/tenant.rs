//! The partitions that the world wants to exist, and how far the engine is with that.

use base::{Epoch, PartitionId, Seq, TopicNumber};
use engine::{Engine, PartitionSettings, Refused};

use crate::host::Host;
use crate::knobs::Knobs;
use crate::ledger::{Keep, Ledger};
use crate::random::Random;
use crate::violation::{Checker, Violation};
use crate::worlds::settings::segment_pages;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Tenants {
    all: Vec<Tenant>,
    next_topic: u32,
}

#[derive(Debug)]
pub(super) struct Tenant {
    id: PartitionId,
    settings: PartitionSettings,
    stay: Stay,
    /// The engine was told of it in this life.
    named: bool,
    /// The epoch that was opened in this life.
    reign: Option<Epoch>,
}

/// How far a partition's coming or going is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    /// Wanted; the engine was not asked in this life.
    Wanted,
    /// Asked for; certain when the frame is durable.
    Coming(Seq),
    There,
    /// No longer wanted; the engine was not asked in this life.
    Unwanted,
    Going(Seq),
    Gone,
}

impl Tenants {
    pub(super) fn new(knobs: &Knobs, random: &mut Random, ledger: &mut Ledger) -> Self {
        let mut tenants = Self { all: Vec::new(), next_topic: 1 };
        // What each partition needs carried forward must fit the journal many times.
        let fitting = segment_pages(knobs) * knobs.segments / 16;
        for _ in 0..knobs.partitions.min(fitting) {
            tenants.add(knobs, random, ledger);
        }
        tenants
    }

    /// Those that are wanted.
    pub(super) fn ids(&self) -> Vec<PartitionId> {
        let wanted = self.all.iter().filter(|tenant| tenant.is_wanted());
        wanted.map(|tenant| tenant.id).collect()
    }

    pub(super) fn is_wanted(&self, id: PartitionId) -> bool {
        self.all.iter().any(|tenant| tenant.id == id && tenant.is_wanted())
    }

    /// Whether the engine must know the partition.
    pub(super) fn is_certain(&self, id: PartitionId) -> bool {
        self.all.iter().any(|tenant| tenant.id == id && tenant.stay == Stay::There)
    }

    /// Someone deletes a topic and creates another.
    pub(super) fn replace_one(&mut self, knobs: &Knobs, random: &mut Random, ledger: &mut Ledger) {
        let wanted = self.ids();
        let victim = random.pick(&wanted);
        for tenant in &mut self.all {
            if tenant.id == victim {
                tenant.stay = Stay::Unwanted;
                ledger.close(victim);
            }
        }
        self.add(knobs, random, ledger);
    }

    /// Asks the engine for whatever is still missing.
    pub(super) fn pursue(
        &mut self,
        host: &mut Host,
        engine: &mut Engine,
        epoch: Epoch,
        beyond: bool,
    ) -> Result<(), Violation> {
        for tenant in &mut self.all {
            tenant.pursue(host, engine, epoch, beyond)?;
        }
        if self.all.iter().all(|tenant| tenant.named || !tenant.is_wanted()) {
            engine.end_roll_call();
        }
        self.all.retain(|tenant| tenant.stay != Stay::Gone);
        Ok(())
    }

    /// What was asked for is certain up to `durable`.
    pub(super) fn note_durable(&mut self, durable: Seq) {
        for tenant in &mut self.all {
            tenant.stay = match tenant.stay {
                Stay::Coming(seq) if seq <= durable => Stay::There,
                Stay::Going(seq) if seq <= durable => Stay::Gone,
                other => other,
            };
        }
    }

    /// Deletes partitions of which damage has lost nothing but the word for their deletion.
    pub(super) fn chase_ghosts(&self, host: &mut Host, engine: &mut Engine) {
        let known = |id: &PartitionId| self.all.iter().any(|tenant| tenant.id == *id);
        let ghosts: Vec<_> = engine.partitions().filter(|id| !known(id)).collect();
        for id in ghosts {
            let answer = engine.delete_partition(host.now(), id);
            host.say("chased a ghost", format_args!("{id}: {answer:?}"));
        }
    }

    /// A restarted engine must have what was certain.
    pub(super) fn check_recovered(&self, engine: &Engine, beyond: bool) -> Result<(), Violation> {
        for tenant in &self.all {
            let lost = tenant.stay == Stay::There && engine.log_end(tenant.id).is_none();
            if lost && !beyond {
                let what = format!("{} is gone, its creation was durable", tenant.id);
                return Err(Violation::new(Checker::Durable, what));
            }
        }
        let known = |id: PartitionId| self.all.iter().any(|tenant| tenant.id == id);
        match engine.partitions().find(|id| !known(*id)) {
            Some(id) if !beyond => {
                let what = format!("{id} is back, its deletion was durable");
                Err(Violation::new(Checker::Durable, what))
            }
            _ => Ok(()),
        }
    }

    /// The process is gone: what was asked for must be asked for again.
    pub(super) fn ended(&mut self) {
        for tenant in &mut self.all {
            (tenant.named, tenant.reign) = (false, None);
            tenant.stay = match tenant.stay {
                Stay::Coming(_) => Stay::Wanted,
                Stay::Going(_) => Stay::Unwanted,
                other => other,
            };
        }
    }

    fn add(&mut self, knobs: &Knobs, random: &mut Random, ledger: &mut Ledger) {
        let id = PartitionId::new(TopicNumber(self.next_topic), random.below(4) as u32);
        self.next_topic += 1;
        let some = |value: u64| (0 < value).then_some(value);
        let (retention_ms, retention_bytes) =
            (some(knobs.retention_ms), some(knobs.retention_bytes));
        ledger.open(id, Keep { ms: retention_ms, bytes: retention_bytes });
        let settings = PartitionSettings {
            retention_ms,
            retention_bytes,
            append_time: random.chance(knobs.append_time),
            ..PartitionSettings::default()
        };
        self.all.push(Tenant { id, settings, stay: Stay::Wanted, named: false, reign: None });
    }
}

impl Tenant {
    fn is_wanted(&self) -> bool {
        matches!(self.stay, Stay::Wanted | Stay::Coming(_) | Stay::There)
    }

    fn pursue(
        &mut self,
        host: &mut Host,
        engine: &mut Engine,
        epoch: Epoch,
        beyond: bool,
    ) -> Result<(), Violation> {
        if self.stay == Stay::Unwanted {
            return self.ask_to_go(host, engine);
        }
        if !self.is_wanted() || self.reign == Some(epoch) {
            return Ok(());
        }
        match engine.create_partition(host.now(), self.id, self.settings) {
            Ok(seq) => {
                self.named = true;
                if self.stay == Stay::Wanted {
                    host.say("asked for a partition", format_args!("{}, frame {seq}", self.id));
                    self.stay = Stay::Coming(seq);
                }
            }
            Err(refused) => return self.judge(refused, "created", beyond),
        }
        match engine.open_epoch(host.now(), self.id, epoch) {
            Ok(seq) => {
                host.say("opened an epoch", format_args!("{epoch} of {}, frame {seq}", self.id));
                self.reign = Some(epoch);
                Ok(())
            }
            Err(refused) => self.judge(refused, "opened", beyond),
        }
    }

    fn ask_to_go(&mut self, host: &mut Host, engine: &mut Engine) -> Result<(), Violation> {
        match engine.delete_partition(host.now(), self.id) {
            Ok(seq) => {
                host.say("deleted a partition", format_args!("{}, frame {seq}", self.id));
                self.stay = Stay::Going(seq);
                Ok(())
            }
            Err(Refused::NoPartition) => {
                self.stay = Stay::Gone;
                Ok(())
            }
            Err(refused) => self.judge(refused, "deleted", false),
        }
    }

    fn judge(&self, refused: Refused, verb: &str, beyond: bool) -> Result<(), Violation> {
        match refused {
            Refused::Busy | Refused::Poisoned => Ok(()),
            Refused::Halted if beyond => Ok(()),
            other => {
                let what = format!("{} could not be {verb}: {other}", self.id);
                Err(Violation::new(Checker::Halt, what))
            }
        }
    }
}
