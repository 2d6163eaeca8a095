//! Random lives of a group: members that join, work, stall, come back late; a log that commits when it
//! likes; coordinators that crash; a wall clock that steps.
//!
//! Judged: an offset that was acked is never followed by a lower one; a partition has one owner in a
//! generation.

use std::collections::BTreeMap;

use net::ErrorCode;
use shard::groups::ask::{GroupAnswer, GroupAsk, Identity, Joined};
use shard::groups::mutant::{Mutant, Planted};

use crate::world::{World, commit_of, identity, join_of, sync_of};

const PARTITIONS: i32 = 3;
const CLIENTS: usize = 4;
const STEPS: usize = 600;

/// One consumer.
#[derive(Default)]
struct Client {
    instance: Option<String>,
    who: Option<Identity>,
    doing: Doing,
    /// Where it is in each partition that it owns.
    positions: BTreeMap<i32, i64>,
    /// Its commit that is not answered yet, and what it would make true.
    committing: Option<(u32, i32, i64)>,
}

#[derive(Clone, Copy, Default)]
enum Doing {
    #[default]
    Nothing,
    Joining(u32),
    Syncing(u32),
    Working,
}

struct History {
    world: World,
    clients: Vec<Client>,
    random: u64,
    acked: BTreeMap<i32, i64>,
    owners: BTreeMap<(i32, i32), String>,
}

impl History {
    fn new(seed: u64, planted: Planted) -> Self {
        let client = |index: usize| Client {
            // The first two are one static member, started twice.
            instance: (index < 2).then(|| "i".to_owned()),
            ..Client::default()
        };
        Self {
            world: World::new(planted),
            clients: (0..CLIENTS).map(client).collect(),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            acked: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }

    fn run(&mut self) -> Result<usize, String> {
        for _ in 0..STEPS {
            match self.below(20) {
                0..12 => {
                    let index = self.below(CLIENTS as u64) as usize;
                    self.act(index)?;
                }
                12..16 => self.world.commit_one(),
                16..18 => {
                    let ms = self.below(4_000);
                    self.world.pass_slowly(ms);
                }
                18 => self.world.now.wall.0 += self.below(20_000) as i64 - 10_000,
                _ if self.below(8) == 0 => self.world.crash(),
                _ => {}
            }
        }
        Ok(self.acked.len())
    }

    fn act(&mut self, index: usize) -> Result<(), String> {
        self.hear_of_commit(index)?;
        let doing = self.clients[index].doing;
        match doing {
            Doing::Nothing => self.join(index),
            Doing::Joining(number) => self.hear_of_join(index, number),
            Doing::Syncing(number) => self.hear_of_sync(index, number)?,
            Doing::Working if self.below(3) == 0 => self.beat(index),
            Doing::Working => self.commit(index),
        }
        Ok(())
    }

    fn join(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let mut join = join_of(&format!("c{index}"));
        join.instance.clone_from(&client.instance);
        if let Some(who) = &client.who {
            join.member.clone_from(&who.member);
        }
        client.doing = Doing::Joining(self.world.ask(GroupAsk::Join(join)));
    }

    fn hear_of_join(&mut self, index: usize, number: u32) {
        let Some(joined) = self.world.joined(number) else { return };
        if joined.error != ErrorCode::None {
            return self.give_up(index, joined.error);
        }
        let client = &mut self.clients[index];
        let who = identity(&joined, client.instance.as_deref());
        let number = self.world.ask(GroupAsk::Sync(sync_of(&who, assignments(&joined))));
        let client = &mut self.clients[index];
        client.who = Some(who);
        client.doing = Doing::Syncing(number);
    }

    fn hear_of_sync(&mut self, index: usize, number: u32) -> Result<(), String> {
        let Some(synced) = self.world.synced(number) else { return Ok(()) };
        if synced.error != ErrorCode::None {
            self.give_up(index, synced.error);
            return Ok(());
        }
        let who = self.clients[index].who.clone().unwrap();
        let holder = who.instance.clone().unwrap_or_else(|| who.member.clone());
        self.clients[index].positions.clear();
        for partition in synced.assignment.iter().map(|byte| i32::from(*byte)) {
            let owner =
                self.owners.entry((who.generation, partition)).or_insert_with(|| holder.clone());
            if *owner != holder {
                return Err(format!("{partition} has two owners in generation {}", who.generation));
            }
            let offset = self.world.fetch(partition).offset;
            self.judge(partition, offset)?;
            self.clients[index].positions.insert(partition, offset.max(0));
        }
        self.clients[index].doing = Doing::Working;
        Ok(())
    }

    fn judge(&self, partition: i32, offset: i64) -> Result<(), String> {
        match self.acked.get(&partition) {
            Some(acked) if offset < *acked => {
                Err(format!("partition {partition}: {acked} was acked, and now it is {offset}"))
            }
            _ => Ok(()),
        }
    }

    fn beat(&mut self, index: usize) {
        let who = self.clients[index].who.clone().unwrap();
        let Some(GroupAnswer::Done(code)) = self.world.call(GroupAsk::Heartbeat(who)) else {
            panic!("a heartbeat is answered");
        };
        match code {
            ErrorCode::None => {}
            ErrorCode::RebalanceInProgress => self.join(index),
            code => self.give_up(index, code),
        }
    }

    fn commit(&mut self, index: usize) {
        let step = self.below(5) as i64;
        let pick = self.below(PARTITIONS as u64) as i32;
        let client = &mut self.clients[index];
        if client.committing.is_some() {
            return;
        }
        let Some(position) = client.positions.get_mut(&pick) else { return };
        *position += step;
        let (position, who) = (*position, client.who.clone().unwrap());
        let number = self.world.ask(GroupAsk::Commit(commit_of(&who, pick, position)));
        self.clients[index].committing = Some((number, pick, position));
    }

    fn hear_of_commit(&mut self, index: usize) -> Result<(), String> {
        let Some((number, partition, position)) = self.clients[index].committing else {
            return Ok(());
        };
        let Some(GroupAnswer::Committed(codes)) = self.world.answer(number) else { return Ok(()) };
        self.clients[index].committing = None;
        match codes[0] {
            ErrorCode::None => {
                // Another may have been heard of before.
                let acked = self.acked.entry(partition).or_insert(position);
                *acked = position.max(*acked);
                let found = self.world.fetch(partition).offset;
                self.judge(partition, found)
            }
            ErrorCode::RebalanceInProgress => Ok(()),
            code => {
                self.give_up(index, code);
                Ok(())
            }
        }
    }

    /// What clients do: some errors are for a new join, others for a new life.
    fn give_up(&mut self, index: usize, code: ErrorCode) {
        let client = &mut self.clients[index];
        client.doing = Doing::Nothing;
        client.positions.clear();
        let keeps_id = matches!(code, ErrorCode::RebalanceInProgress | ErrorCode::NotCoordinator);
        if !keeps_id {
            client.who = None;
        }
    }
}

/// Partitions to members, turn and turn about; nothing of someone who does not lead.
fn assignments(joined: &Joined) -> Vec<(String, Vec<u8>)> {
    if joined.members.is_empty() || joined.skip_assignment {
        return Vec::new();
    }
    let count = joined.members.len() as i32;
    let own = |index: i32| (0..PARTITIONS).filter(move |partition| partition % count == index);
    let members = joined.members.iter().zip(0..);
    members
        .map(|(member, index)| (member.id.to_string(), own(index).map(|p| p as u8).collect()))
        .collect()
}

#[test]
fn no_history_breaks_a_promise() {
    let mut acked = 0;
    for seed in 0..300 {
        let mut history = History::new(seed, Planted::default());
        acked += history.run().unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    }
    assert!(300 < acked, "groups get work done: {acked}");
}

#[test]
fn histories_find_what_is_wrong() {
    for mutant in
        [Mutant::CommitAnyGeneration, Mutant::OffsetsBeforeDurable, Mutant::StaticNotFenced]
    {
        let broken = |seed| History::new(seed, Planted::one(mutant)).run().is_err();
        assert!((0..300).any(broken), "no history shows {}", mutant.name());
    }
}
