//! What a seed draws before it begins: sizes, load, latencies, and how often each fault strikes.
//!
//! Swarm testing: a seed turns most knobs to an extreme or off, so that some seeds see a great deal
//! of one fault and none of another. Rates are in parts of a million.

use crate::random::Random;

/// Which faults a seed may draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Faults that the engine promises to survive without loss.
    Model,
    /// Also faults that a single copy cannot survive (damage at rest, a lying drive): the engine
    /// must be right or stop, loudly.
    Beyond,
}

macro_rules! knobs {
    ($($(#[$doc:meta])* $name:ident: $draw:expr,)*) => {
        /// See the module's description.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Knobs {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Knobs {
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            /// All knobs as `random` turns them.
            #[must_use]
            pub fn draw(random: &mut Random, profile: Profile) -> Self {
                let mut swarm = Swarm { random, profile };
                $(let $name = { let draw: fn(&mut Swarm<'_>) -> u64 = $draw; draw(&mut swarm) };)*
                Self { $($name,)* }
            }

            /// The knob of that name.
            pub fn knob(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

knobs! {
    /// Pages of a journal segment: at least 4.
    segment_pages: |swarm| swarm.of(&[8, 16, 16, 32, 64]),
    segments: |swarm| swarm.of(&[4, 4, 6, 8, 16]),
    /// Frames in flight: 1–4.
    window: |swarm| swarm.of(&[1, 2, 2, 3, 4]),
    bin_pages: |swarm| swarm.of(&[256]),
    /// Bins beyond those that the journal needs.
    spare_bins: |swarm| swarm.of(&[4, 16]),
    /// Pages of tail memory beyond what the journal holds.
    arena_spare_pages: |swarm| swarm.of(&[0, 16, 64, 256]),
    /// Rest before an empty frame is written, microseconds.
    idle_seal_us: |swarm| swarm.of(&[100, 1_000, 1_000, 20_000]),

    partitions: |swarm| swarm.of(&[1, 2, 3, 8, 30]),
    producers: |swarm| swarm.of(&[1, 2, 4, 8]),
    /// How many of a million producers are idempotent.
    idempotent: |swarm| swarm.of(&[0, 500_000, 1_000_000]),
    /// Batches that one producer has in flight: 1–5.
    pipeline: |swarm| swarm.of(&[1, 2, 5]),
    /// Mean bytes of a record's value.
    value_bytes: |swarm| swarm.of(&[20, 200, 1_000, 4_000]),
    /// Most records of a batch.
    batch_records: |swarm| swarm.of(&[1, 3, 20]),
    /// Mean pause of a producer between batches, microseconds.
    think_us: |swarm| swarm.of(&[10, 100, 1_000, 5_000, 100_000]),
    consumers: |swarm| swarm.of(&[0, 1, 2, 4]),
    /// How long a consumer's send holds its memory, microseconds.
    send_us: |swarm| swarm.of(&[0, 50, 500, 20_000]),
    /// Retention of a partition in milliseconds; 0 for ever.
    retention_ms: |swarm| swarm.of(&[0, 0, 5, 50, 500]),
    /// Retention of a partition in bytes; 0 for no limit.
    retention_bytes: |swarm| swarm.of(&[0, 0, 0, 20_000, 200_000]),
    /// How many of a million partitions stamp their own time on records.
    append_time: |swarm| swarm.of(&[0, 0, 500_000]),
    /// Producers that the engine remembers.
    producers_max: |swarm| swarm.of(&[1_000, 1_000, 50]),
    /// Per step of a journal's owner: it needs less of the past.
    release: |swarm| swarm.of(&[2_000, 20_000, 200_000]),
    /// Per client step: records of a partition are deleted.
    delete_records: |swarm| swarm.often(&[2_000, 20_000]),
    /// Per client step: a partition is deleted and one created.
    delete_partition: |swarm| swarm.often(&[1_000, 10_000]),

    /// Shards of a node, and cores at most.
    shards: |swarm| swarm.of(&[1, 2, 3]),
    cores: |swarm| swarm.of(&[1, 2, 3]),
    /// Mean time of a message between cores, microseconds.
    mail_us: |swarm| swarm.of(&[0, 1, 50]),
    /// Mean time of bytes between client and core, microseconds.
    net_us: |swarm| swarm.of(&[10, 100, 2_000]),
    /// Per look at a client: its connection is reset.
    reset: |swarm| swarm.often(&[200, 2_000]),

    /// Times that the process ends and starts again.
    lives: |swarm| swarm.of(&[1, 2, 3, 3, 5, 9]),
    /// Client steps of one life, about.
    life_steps: |swarm| swarm.of(&[20, 100, 100, 400, 1_500]),
    /// Of a million ends, how many are a power cut; the rest are kills and clean stops.
    power_cuts: |swarm| swarm.of(&[0, 300_000, 600_000, 1_000_000]),
    /// Of a million lives, how many end while recovery still runs.
    recovery_crash: |swarm| swarm.often(&[200_000, 600_000]),
    /// Of a million volatile writes at a power cut, how many are lost whole.
    cut_drop: |swarm| swarm.of(&[0, 200_000, 500_000, 900_000, 1_000_000]),
    /// Of those that are not, how many are torn sector by sector.
    cut_tear: |swarm| swarm.of(&[0, 200_000, 500_000, 1_000_000]),
    /// Of a million sectors with several volatile versions, how many keep another than the last.
    cut_reorder: |swarm| swarm.of(&[0, 200_000]),
    /// Of a million writes in flight at a kill, how many never reach the device.
    kill_cancel: |swarm| swarm.of(&[0, 300_000, 800_000]),

    /// Mean time of a write, microseconds.
    write_us: |swarm| swarm.of(&[20, 120, 120, 1_000]),
    read_us: |swarm| swarm.of(&[20, 100, 1_000]),
    sync_us: |swarm| swarm.of(&[20, 400, 5_000]),
    create_us: |swarm| swarm.of(&[500, 20_000]),
    /// Per operation: it takes up to 2 s more.
    stall: |swarm| swarm.often(&[1_000, 20_000]),
    /// Per write: it fails, and what it wrote is anyone's guess.
    write_error: |swarm| swarm.seldom(&[100, 1_000]),
    /// Per write: it stops short.
    write_short: |swarm| swarm.seldom(&[100, 1_000]),
    /// Per sync: it fails once, and what it should have covered stays volatile for ever.
    sync_error: |swarm| swarm.seldom(&[1_000, 20_000]),
    /// Pages of the disk beyond what the machine reserves; creations beyond it fail. 0 for no limit.
    disk_pages: |swarm| swarm.seldom(&[1, 300, 1_000]),
    /// Per client step: the wall clock steps by up to an hour.
    clock_step: |swarm| swarm.seldom(&[500]),

    /// Per read: a sector of it has become unreadable.
    read_error: |swarm| swarm.beyond(&[500, 5_000]),
    /// Per client step: bits flip in a sector at rest.
    bit_rot: |swarm| swarm.beyond(&[1_000, 10_000]),
    /// Per write: it lands elsewhere in the file.
    misdirect: |swarm| swarm.beyond(&[300, 3_000]),
    /// Of a million syncs and synced writes, how many lie.
    lying_flush: |swarm| swarm.beyond(&[10_000, 1_000_000]),

    /// Of a million writes that failed and are tried again in the same place, how many then succeed
    /// without ever becoming stable.
    retry_lies: |swarm| swarm.of(&[0, 500_000, 1_000_000]),
    /// 1: a journal's owner fills the reserve as well, all but what the next start needs to be told.
    brimful: |swarm| swarm.often(&[1]),
    /// Of a million first writes to a recycled segment, how many are the last of a journal's life.
    wrap_crash: |swarm| swarm.often(&[50_000, 500_000]),
    /// Of a million ends of a journal's life, how many strike one of the newest frames.
    end_rot: |swarm| swarm.beyond(&[200_000, 1_000_000]),
    /// Of a million journals that refuse to go on, how many an operator starts although acked data may
    /// be lost.
    accept_loss: |swarm| swarm.of(&[0, 500_000, 1_000_000]),
    /// Of a million starts of a journal, how many find that a newer build has written to it.
    newer_build: |swarm| swarm.seldom(&[100_000]),
    /// Of a million writes in flight at a kill, how many reach the device when a successor is at work:
    /// the files' locks do not hold.
    late_zombie: |swarm| swarm.beyond(&[200_000, 1_000_000]),
}

/// Draws values in the manner of the swarm.
struct Swarm<'a> {
    random: &'a mut Random,
    profile: Profile,
}

impl Swarm<'_> {
    fn of(&mut self, values: &[u64]) -> u64 {
        self.random.pick(values)
    }

    /// One of `values` in half of the seeds, else 0.
    fn often(&mut self, values: &[u64]) -> u64 {
        let value = self.of(values);
        if self.random.chance(500_000) { value } else { 0 }
    }

    /// One of `values` in a fifth of the seeds, else 0.
    fn seldom(&mut self, values: &[u64]) -> u64 {
        let value = self.of(values);
        if self.random.chance(200_000) { value } else { 0 }
    }

    /// As `seldom`, and 0 in the model's profile.
    fn beyond(&mut self, values: &[u64]) -> u64 {
        let value = self.of(values);
        let drawn = self.random.chance(350_000);
        if drawn && self.profile == Profile::Beyond { value } else { 0 }
    }
}

impl Knobs {
    /// Whether a fault may strike that a single copy cannot survive.
    #[must_use]
    pub fn is_beyond_model(&self) -> bool {
        let at_rest = [self.read_error, self.bit_rot, self.misdirect, self.lying_flush];
        at_rest.iter().chain(&[self.end_rot, self.late_zombie]).any(|rate| 0 < *rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_profile_never_damages_data_at_rest() {
        for seed in 0..200 {
            let knobs = Knobs::draw(&mut Random::new(seed), Profile::Model);
            assert!(!knobs.is_beyond_model(), "seed {seed}");
        }
        let beyond = |seed| Knobs::draw(&mut Random::new(seed), Profile::Beyond).is_beyond_model();
        assert!((0..20).any(beyond));
    }

    #[test]
    fn a_knob_is_found_by_name() {
        let mut knobs = Knobs::draw(&mut Random::new(1), Profile::Model);
        for name in Knobs::NAMES {
            *knobs.knob(name).unwrap() = 77;
        }
        assert_eq!((knobs.stall, knobs.lying_flush), (77, 77));
        assert_eq!(knobs.knob("nonsense"), None);
    }
}
