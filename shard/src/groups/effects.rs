//! What comes of a question besides a changed group: answers, records to write, timers.

use std::collections::VecDeque;
use std::sync::Arc;

use base::{Instant, Now};
use net::ErrorCode;

use super::ask::{GroupAnswer, Joined};
use super::mutant::{Mutant, Planted};
use super::record::OffsetValue;
use super::settings::GroupSettings;
use super::timers::Timers;
use crate::mail::Asker;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub answers: VecDeque<(Asker, GroupAnswer)>,
    pub writes: VecDeque<Write>,
    pub timers: Timers,
    pub ids: MemberIds,
}

/// What a group is told with every question.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub now: Now,
    pub settings: &'a GroupSettings,
    pub planted: Planted,
    pub effects: &'a mut Effects,
}

/// Records that are committed together or not at all, and what follows then.
#[derive(Debug)]
pub(super) struct Write {
    pub group: Arc<str>,
    /// Key and value; no value deletes.
    pub records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub then: Then,
}

/// What follows when records are committed.
#[derive(Debug)]
pub(super) enum Then {
    Committed {
        offsets: Vec<(Arc<str>, i32, OffsetValue)>,
        /// Who waits, with what to answer.
        to: Option<(Asker, Vec<ErrorCode>)>,
    },
    /// The leader's assignment, for members of this generation.
    Assigned {
        generation: i32,
        assignments: Vec<(String, Vec<u8>)>,
        value: Vec<u8>,
    },
    /// A static member came back under a new id.
    Replaced {
        to: Asker,
        joined: Joined,
        value: Vec<u8>,
    },
    /// The group has no members left.
    Emptied {
        value: Vec<u8>,
    },
    /// The group and its offsets are gone.
    Deleted {
        to: Option<Asker>,
    },
    Forgotten {
        offsets: Vec<(Arc<str>, i32)>,
        to: Option<(Asker, Vec<ErrorCode>)>,
    },
    /// A part of a snapshot of all groups.
    Snapshot,
}

/// Ids of new members: random enough that no other coordinator, or life of this one, draws the same.
#[derive(Debug, Default)]
pub(super) struct MemberIds {
    pub seed: u128,
    drawn: u64,
}

impl Context<'_> {
    /// The clock that members are watched by.
    pub(super) fn clock(&self) -> Instant {
        clock(self.now, self.planted)
    }

    pub(super) fn answer(&mut self, to: Asker, answer: GroupAnswer) {
        self.effects.answers.push_back((to, answer));
    }

    pub(super) fn write(&mut self, write: Write) {
        self.effects.writes.push_back(write);
    }
}

/// Time as sessions see it: the monotonic clock, which never steps.
pub(super) fn clock(now: Now, planted: Planted) -> Instant {
    if planted.is(Mutant::ExpiryByWallClock) {
        return Instant(now.wall.0.unsigned_abs() * 1_000_000);
    }
    now.mono
}

impl MemberIds {
    /// `prefix` and a UUID of version 4.
    pub(super) fn draw(&mut self, prefix: &str) -> Arc<str> {
        self.drawn += 1;
        let mixed = (self.seed
            ^ u128::from(self.drawn).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
        .wrapping_mul(0xda94_2042_e4dd_58b5_2360_ed05_1fc6_5da5 | 1);
        let marked = mixed & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let digits = format!("{marked:032x}");
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        format!("{prefix}-{}", parts.join("-")).into()
    }
}
