//! A partition that another shard leads: whose word counts, and how its log is met.

use base::{Batch, Committed, Epoch, LogStart, Now, Offset, PartitionId, Seq};

use super::assignment::Config;
use super::divergence::{Junction, Lineage};
use super::inbound::Arrival;
use super::log::{Log, LogView, Proof, Refusal};
use super::message::{
    AppendHeader, EpochOpen, Nack, NackCause, Opening, StreamId, StreamSeq, Watermark,
};
use super::outgoing::{Event, Outgoing};
use super::replica_set::ReplicaSet;
use super::table::Role;
use crate::Placement;
use crate::mutant::Mutant;

/// What a follower knows beyond its log.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// Whom it listens to; its log is a beginning of that leader's.
    pub leader: Option<Leader>,
    /// It contradicts its leader below what is committed, and stands still until it is restarted.
    pub is_halted: bool,
}

/// A leader, on one of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub placement: Placement,
    pub epoch: Epoch,
    pub stream: StreamId,
}

/// Where a message of a leader comes from and stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub from: Placement,
    pub stream: StreamId,
    pub seq: StreamSeq,
}

impl ReplicaSet {
    pub(super) fn epoch_open<L: Log>(
        &mut self,
        now: Now,
        log: &mut L,
        from: Placement,
        open: &EpochOpen,
    ) {
        let place = Place { from, stream: open.stream, seq: open.seq };
        if self.arrive(now, place) {
            let taken = self.take_epoch(now, log, from, open);
            self.owe(log, place, open.partition, taken);
        }
    }

    pub(super) fn append<L: Log>(
        &mut self,
        now: Now,
        log: &mut L,
        from: Placement,
        header: &AppendHeader,
        batches: &[u8],
    ) {
        let place = Place { from, stream: header.stream, seq: header.seq };
        if !self.arrive(now, place) {
            return;
        }
        if !are_contiguous(header.previous, batches) {
            // TCP's checksum let it through: what follows cannot be trusted either.
            self.outgoing.push_back(Outgoing::Break {
                peer: from,
                stream: header.stream,
                dialled: false,
            });
            return;
        }
        let taken = self.take_batches(now, log, from, header, batches);
        self.owe(log, place, header.partition, taken);
    }

    pub(super) fn vouch<L: Log>(
        &mut self,
        now: Now,
        log: &mut L,
        place: Place,
        (id, epoch): (PartitionId, Epoch),
    ) {
        if !self.arrive(now, place) {
            return;
        }
        let listens =
            self.listens(log, id, Leader { placement: place.from, epoch, stream: place.stream });
        let taken = listens.and_then(|()| log.vouch(now, id).map_err(NackCause::from));
        self.owe(log, place, id, taken);
    }

    /// Watermarks of partitions that no append told of. `place` is of the newest message before.
    pub(super) fn heartbeat<L: Log>(
        &mut self,
        now: Now,
        log: &mut L,
        place: Place,
        watermarks: &[Watermark],
    ) {
        let Place { from, stream, seq } = place;
        let inbound = self.inbound.get_mut(&from).filter(|own| own.id == stream);
        let Some(inbound) = inbound else { return };
        inbound.heard_at = now.mono;
        inbound.alive_due = true;
        if inbound.misses(seq) {
            let lost = Outgoing::Break { peer: from, stream, dialled: false };
            return self.outgoing.push_back(lost);
        }
        for watermark in watermarks {
            let leader = Leader { placement: from, epoch: watermark.epoch, stream };
            if self.listens(log, watermark.partition, leader).is_ok() {
                self.follow_ends(now, log, watermark);
            }
        }
    }

    /// Whether the message is the next one of its stream.
    fn arrive(&mut self, now: Now, place: Place) -> bool {
        let inbound = self.inbound.get_mut(&place.from).filter(|own| own.id == place.stream);
        let Some(inbound) = inbound else { return false };
        inbound.heard_at = now.mono;
        match inbound.arrive(place.seq) {
            Arrival::Next => true,
            Arrival::Again => false,
            Arrival::Gap => {
                let lost =
                    Outgoing::Break { peer: place.from, stream: place.stream, dialled: false };
                self.outgoing.push_back(lost);
                false
            }
        }
    }

    /// The answer to what arrived: due when the journal holds all that it implies (I3).
    fn owe<L: Log>(
        &mut self,
        log: &L,
        place: Place,
        id: PartitionId,
        taken: Result<Seq, NackCause>,
    ) {
        let nack = taken.err().map(|cause| self.nack(log, place, id, cause));
        let planted = self.settings.planted;
        let nack = nack.filter(|_| !planted.is(Mutant::AckRefused));
        let frame = match taken {
            _ if planted.is(Mutant::FollowerAcksVolatile) => Seq(0),
            Ok(frame) => frame,
            Err(_) => log.newest_seq(),
        };
        let inbound = self.inbound.get_mut(&place.from).expect("it just arrived there");
        inbound.owe(frame, nack);
    }

    fn nack<L: Log>(&self, log: &L, place: Place, id: PartitionId, cause: NackCause) -> Nack {
        let view = log.view(id);
        let ends = view.map(|view| (view.promised, view.log_end)).unwrap_or_default();
        let proven = view.is_some_and(|view| self.is_proven(id, &view));
        Nack {
            stream: place.stream,
            boot: self.boot,
            seq: place.seq,
            partition: id,
            cause,
            promised: ends.0.max(self.floor(id)),
            log_end: ends.1,
            proven,
            history: log.reigns(id).to_vec(),
        }
    }

    /// Whether this log may count: by its own word and by the cluster's.
    pub(super) fn is_proven(&self, id: PartitionId, view: &LogView) -> bool {
        let learns = |config: &Config| config.learners.contains(&self.me);
        let replica = self.table.by_id(id);
        self.settings.planted.is(Mutant::CountUnproven)
            || view.proof.holds()
                && replica.is_some_and(|replica| !learns(&replica.assignment.config))
    }

    /// The epoch that the cluster log has reached, as far as is known here. A shard whose disk was
    /// replaced forgot its promises, but not this.
    fn floor(&self, id: PartitionId) -> Epoch {
        self.table.by_id(id).map_or(Epoch(0), |replica| replica.assignment.epoch)
    }

    /// Whether `leader` may speak of a partition of which it has heard where to go on.
    fn listens<L: Log>(&self, log: &L, id: PartitionId, leader: Leader) -> Result<(), NackCause> {
        let (Some(replica), Some(view)) = (self.table.by_id(id), log.view(id)) else {
            return Err(NackCause::Unknown);
        };
        let lowest = view.promised.max(replica.assignment.epoch);
        if leader.epoch < lowest && !self.is_deaf_to_promises() {
            return Err(NackCause::Deposed);
        }
        match &replica.role {
            Role::Follower(following) if following.is_halted => Err(NackCause::Halted),
            Role::Follower(following) if following.leader == Some(leader) => Ok(()),
            _ => Err(NackCause::Position),
        }
    }

    fn take_batches<L: Log>(
        &mut self,
        now: Now,
        log: &mut L,
        from: Placement,
        header: &AppendHeader,
        batches: &[u8],
    ) -> Result<Seq, NackCause> {
        let id = header.partition;
        let leader = Leader { placement: from, epoch: header.epoch, stream: header.stream };
        self.listens(log, id, leader)?;
        let view = log.view(id).ok_or(NackCause::Unknown)?;
        let last_epoch = log.reigns(id).last().map(|reign| reign.epoch);
        if (last_epoch, view.log_end.0) != (Some(header.previous.0), header.previous.1) {
            return Err(NackCause::Position);
        }
        let speaker = self.speaker(header.epoch, &view);
        let frame = log.append_replica(now, id, speaker, batches)?;
        let (committed, log_start) = (header.committed, header.log_start);
        let ends = Watermark { partition: id, epoch: header.epoch, committed, log_start };
        self.follow_ends(now, log, &ends);
        Ok(frame)
    }

    fn is_deaf_to_promises(&self) -> bool {
        let planted = self.settings.planted;
        planted.is(Mutant::IgnorePromise) || planted.is(Mutant::FollowAnyone)
    }

    /// The epoch that the log is told the words are of.
    fn speaker(&self, epoch: Epoch, view: &LogView) -> Epoch {
        if self.is_deaf_to_promises() { epoch.max(view.promised) } else { epoch }
    }

    /// Takes over what is committed and where the log starts. The log is a beginning of the
    /// leader's, so what is committed there and held here is committed here.
    fn follow_ends<L: Log>(&self, now: Now, log: &mut L, ends: &Watermark) {
        let Some(view) = log.view(ends.partition) else { return };
        let committed = ends.committed.0.min(view.log_end.0);
        log.commit(ends.partition, Committed(committed));
        let start = ends.log_start.0.min(committed);
        if view.log_start.0 < start {
            // A journal without room will hear of it again.
            let _ = log.move_log_start(now, ends.partition, LogStart(start));
        }
    }

    fn take_epoch<L: Log>(
        &mut self,
        now: Now,
        log: &mut L,
        from: Placement,
        open: &EpochOpen,
    ) -> Result<Seq, NackCause> {
        let id = open.partition;
        let leader = Leader { placement: from, epoch: open.epoch, stream: open.stream };
        match &open.opening {
            Some(opening) => self.meet(now, log, leader, open, opening)?,
            None => self.listens(log, id, leader)?,
        }
        let view = log.view(id).ok_or(NackCause::Unknown)?;
        let last_epoch = log.reigns(id).last().map(|reign| reign.epoch);
        if Some(open.reign.epoch) <= last_epoch {
            return Err(NackCause::Position);
        }
        let mut reign = open.reign;
        if self.settings.planted.is(Mutant::OpenBeforePrefix) {
            reign.start = view.log_end.0;
        }
        if view.log_end.0 != reign.start {
            return Err(NackCause::Position);
        }
        let frame = log.follow_epoch(now, id, self.speaker(open.epoch, &view), reign)?;
        let (committed, log_start) = (open.committed, open.log_start);
        let ends = Watermark { partition: id, epoch: open.epoch, committed, log_start };
        self.follow_ends(now, log, &ends);
        if open.opening.is_some() && !self.is_proven(id, &view) {
            // Taken, but the leader must hear that it does not count.
            return Err(NackCause::Position);
        }
        Ok(frame)
    }

    /// A leader begins the conversation about a partition: cuts the log to a beginning of the
    /// leader's.
    fn meet<L: Log>(
        &mut self,
        now: Now,
        log: &mut L,
        leader: Leader,
        open: &EpochOpen,
        opening: &Opening,
    ) -> Result<(), NackCause> {
        let id = open.partition;
        let planted = self.settings.planted;
        let view = log.view(id).ok_or(NackCause::Unknown)?;
        let slot = self.table.slot(id).ok_or(NackCause::Unknown)?;
        let replica = self.table.get_mut(slot).ok_or(NackCause::Unknown)?;
        let lowest = view.promised.max(replica.assignment.epoch);
        if leader.epoch < lowest && !planted.is(Mutant::FollowAnyone) {
            return Err(NackCause::Deposed);
        }
        if replica.leading().is_some_and(|own| leader.epoch <= own.epoch) {
            return Err(NackCause::Deposed);
        }
        let following = replica.follow();
        if following.is_halted {
            return Err(NackCause::Halted);
        }
        following.leader = None;
        if view.promised < leader.epoch {
            log.promise(now, &[(id, leader.epoch)])?;
        }
        self.cut(now, log, leader, open, opening)?;
        let replica = self.table.get_mut(slot).ok_or(NackCause::Unknown)?;
        replica.follow().leader = Some(leader);
        Ok(())
    }

    fn cut<L: Log>(
        &mut self,
        now: Now,
        log: &mut L,
        leader: Leader,
        open: &EpochOpen,
        opening: &Opening,
    ) -> Result<(), NackCause> {
        let id = open.partition;
        let view = log.view(id).ok_or(NackCause::Unknown)?;
        // One that is being rebuilt knows it: what another disk acked is no reason to begin anew.
        let lost = view.proof != Proof::Rebuilding && view.log_end.0 < open.acked;
        let planted = self.settings.planted;
        if (view.proof == Proof::Suspect || lost) && !planted.is(Mutant::CountUnproven) {
            log.start_over(now, id, open.log_start.0, false)?;
            return Ok(());
        }
        let own = Lineage::of(log.reigns(id), &view);
        let (start, end) = (open.log_start.0, opening.log_end.0);
        let theirs = Lineage { reigns: &opening.history, start, end };
        let joins = self.junction(theirs, own, &view);
        let cuts = joins.cuts(own);
        let last_epoch = own.last_epoch();
        let keeps = joins.end.max(open.log_start.0);
        if keeps < view.committed.0 {
            return Err(self.contradict(id, &view, joins.end, leader.placement));
        }
        let resets = planted.is(Mutant::ResetOnAnyGap) && cuts;
        // Nothing in common, or all of it deleted by the leader.
        if (joins.epoch.is_none() && cuts) || joins.end < open.log_start.0 || resets {
            let at = if resets { open.log_start.0 } else { keeps };
            log.start_over(now, id, at, true)?;
        } else if cuts {
            log.truncate(now, id, joins.end)?;
        }
        if let Some(last_epoch) = last_epoch.filter(|_| joins.end < view.log_end.0) {
            let (from, to) = (joins.end, view.log_end.0);
            let diverged = Event::Diverged { partition: id, from, to, last_epoch };
            self.outgoing.push_back(Outgoing::Event(diverged));
        }
        Ok(())
    }

    fn junction(&self, leader: Lineage<'_>, own: Lineage<'_>, view: &LogView) -> Junction {
        let planted = self.settings.planted;
        let right = Junction::of(leader, own);
        if planted.is(Mutant::TruncateToWatermark) {
            return Junction { end: view.committed.0.min(right.end), ..right };
        }
        if planted.is(Mutant::TruncateByLastEpoch) {
            // Kafka before KIP-279: the end of the follower's last epoch, by the leader alone.
            let last = own.last_epoch();
            let after = leader.reigns.partition_point(|reign| Some(reign.epoch) <= last);
            let end = leader.reigns.get(after).map_or(leader.end, |next| next.start);
            return Junction { end: end.min(own.end), epoch: last };
        }
        right
    }

    fn contradict(
        &mut self,
        id: PartitionId,
        view: &LogView,
        joins_at: Offset,
        leader: Placement,
    ) -> NackCause {
        if let Some(slot) = self.table.slot(id)
            && let Some(replica) = self.table.get_mut(slot)
        {
            replica.follow().is_halted = true;
        }
        let committed = view.committed.0;
        let event = Event::Contradiction { partition: id, committed, joins_at, leader };
        self.outgoing.push_back(Outgoing::Event(event));
        NackCause::Halted
    }
}

/// Whether `batches` are whole batches, intact, of one epoch and without a hole between them.
fn are_contiguous(previous: (Epoch, Offset), batches: &[u8]) -> bool {
    let (epoch, mut next) = previous;
    let mut rest = batches;
    while !rest.is_empty() {
        let Ok((batch, behind)) = Batch::parse_prefix(rest) else { return false };
        if (batch.epoch(), batch.base_offset()) != (epoch, next) || batch.verify_checksum().is_err()
        {
            return false;
        }
        next = batch.end_offset();
        rest = behind;
    }
    !batches.is_empty()
}

impl From<Refusal> for NackCause {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy => Self::Busy,
            Refusal::Stale => Self::Deposed,
            Refusal::Gap => Self::Position,
            Refusal::Halted => Self::Halted,
            Refusal::NoPartition => Self::Unknown,
        }
    }
}
