//! Which core hosts which shard, and which CPU each core keeps to.

use std::io;

use base::{CoreId, ShardId};

use crate::config::Config;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Assignment {
    /// By shard.
    hosts: Vec<CoreId>,
    /// By data core; empty if cores are not pinned.
    cpus: Vec<usize>,
    /// For every other thread; empty if they may run anywhere.
    others: Vec<usize>,
}

impl Assignment {
    /// Shards in turn to as many cores as are wanted and useful; the last CPUs to the cores, so that
    /// the first, where the kernel likes to handle interrupts, stays free.
    pub(super) fn new(config: &Config, shards: u16) -> io::Result<Self> {
        Ok(Self::over(ring::cpu::allowed()?, config, shards))
    }

    fn over(mut allowed: Vec<usize>, config: &Config, shards: u16) -> Self {
        let cores = config.cores.get().min(shards);
        let hosts = (0..shards).map(|shard| CoreId(shard % cores)).collect();
        if !config.pin || allowed.len() < usize::from(cores) {
            return Self { hosts, cpus: Vec::new(), others: Vec::new() };
        }
        let cpus = allowed.split_off(allowed.len() - usize::from(cores));
        Self { hosts, cpus, others: allowed }
    }

    pub(super) fn cores(&self) -> u16 {
        self.hosts.iter().map(|core| core.0 + 1).max().expect("at least one shard")
    }

    pub(super) fn shards(&self) -> u16 {
        self.hosts.len() as u16
    }

    /// The core of each shard.
    pub(super) fn hosts(&self) -> &[CoreId] {
        &self.hosts
    }

    /// The shards of a core.
    pub(super) fn shards_of(&self, core: CoreId) -> impl Iterator<Item = ShardId> {
        let hosts = self.hosts.iter().enumerate();
        hosts.filter(move |(_, host)| **host == core).map(|(shard, _)| ShardId(shard as u16))
    }

    pub(super) fn cpu(&self, core: CoreId) -> Option<usize> {
        self.cpus.get(usize::from(core.0)).copied()
    }

    pub(super) fn cpus(&self) -> &[usize] {
        &self.cpus
    }

    pub(super) fn other_cpus(&self) -> &[usize] {
        &self.others
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RawConfig, table};

    fn assignment(cpus: usize, cores: &str, shards: u16, pin: &str) -> Assignment {
        let mut raw = RawConfig::default();
        for (key, text) in [("cores", cores), ("pin", pin)] {
            raw.take_flag(table::find(key).expect("a key"), text.to_owned());
        }
        let config = Config::resolve(&raw).expect("valid settings");
        Assignment::over((0..cpus).collect(), &config, shards)
    }

    #[test]
    fn shards_take_turns_and_cores_get_the_last_cpus() {
        let assignment = assignment(4, "2", 3, "true");
        assert_eq!((assignment.cores(), assignment.shards()), (2, 3));
        assert_eq!(assignment.hosts(), [CoreId(0), CoreId(1), CoreId(0)]);
        let first: Vec<_> = assignment.shards_of(CoreId(0)).collect();
        assert_eq!(first, [ShardId(0), ShardId(2)]);
        assert_eq!(assignment.cpu(CoreId(1)), Some(3));
        assert_eq!(assignment.other_cpus(), [0, 1]);
    }

    #[test]
    fn no_core_without_a_shard_and_no_pin_without_a_cpu() {
        assert_eq!(assignment(8, "6", 2, "true").cores(), 2);
        assert_eq!(assignment(1, "2", 2, "true").cpu(CoreId(0)), None);
        assert_eq!(assignment(4, "1", 1, "false").cpu(CoreId(0)), None);
        let full = assignment(2, "2", 2, "true");
        assert_eq!((full.cpu(CoreId(0)), full.other_cpus()), (Some(0), &[][..]));
    }
}
