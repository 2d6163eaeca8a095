//! A request that could not be answered at once: parts of it are with other shards, the control
//! core, the disk, or wait for records.
//!
//! A job keeps the request's own bytes. When the last part is answered the request is walked again
//! beside the answers, so names and order come from the client and nothing is copied into the job.

use base::{ConnId, Epoch, Instant, Listener, Offset, PartitionId, Seq, ShardId};
use net::{ApiKey, ErrorCode, ReplyTo};
use replication::Rejected;

use crate::ask::Answer;
use crate::serve::{Call, Home};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) conn: ConnId,
    pub(crate) listener: Listener,
    pub(crate) api: ApiKey,
    pub(crate) reply_to: ReplyTo,
    /// The request behind its header.
    pub(crate) body: Vec<u8>,
    /// One per partition, in request order.
    pub(crate) parts: Vec<Part>,
    /// Parts without an answer.
    pub(crate) missing: u32,
    /// A frame of this core that the answer also waits for.
    pub(crate) frame: Option<(ShardId, Seq)>,
    pub(crate) fetch: Option<FetchPlan>,
    /// Until when it waits for partitions to have leaders.
    pub(crate) elects_until: Option<Instant>,
    /// What the control core said, one per proposal.
    pub(crate) results: Vec<Result<(), Rejected>>,
}

/// One partition of a request.
#[derive(Debug)]
pub(crate) enum Part {
    /// With its owner.
    Asked,
    Answered(Answer),
    /// With the control core, as this proposal.
    Proposed(usize),
    /// The same, for a partition that the request does not name.
    ProposedFor(usize, PartitionId),
    /// Never reached an owner.
    Refused(ErrorCode),
}

/// What a fetch reads and waits for.
#[derive(Debug)]
pub(crate) struct FetchPlan {
    pub(crate) deadline: Instant,
    pub(crate) min_bytes: u32,
    pub(crate) max_bytes: u32,
    /// Watching for records: the next wake-up reads again.
    pub(crate) parked: bool,
    /// One per partition, in request order.
    pub(crate) wants: Vec<Result<Want, ErrorCode>>,
}

/// What a fetch wants of one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    pub(crate) home: Home,
    pub(crate) from: Offset,
    pub(crate) max_bytes: u32,
    pub(crate) known_epoch: Option<Epoch>,
}

impl Part {
    /// Why the partition's part was refused, if it was.
    pub(crate) fn refusal(&self) -> Option<ErrorCode> {
        match self {
            Self::Answered(Answer::Failed(code)) | Self::Refused(code) => Some(*code),
            _ => None,
        }
    }
}

impl Job {
    pub(crate) fn new(call: &Call<'_>, body: Vec<u8>, parts: Vec<Part>) -> Self {
        let missing = parts.iter().filter(|part| matches!(part, Part::Asked)).count() as u32;
        Self {
            conn: call.conn,
            listener: call.listener,
            api: call.header.api,
            reply_to: call.header.reply_to(),
            body,
            parts,
            missing,
            frame: None,
            fetch: None,
            elects_until: None,
            results: Vec::new(),
        }
    }

    /// Files an answer; the surplus comes back if that part has one already.
    pub(crate) fn file(&mut self, part: u32, answer: Answer) -> Result<(), Answer> {
        let place = &mut self.parts[part as usize];
        if !matches!(place, Part::Asked) {
            return Err(answer);
        }
        *place = Part::Answered(answer);
        self.missing -= 1;
        Ok(())
    }

    /// Makes every part that has an owner unanswered again and lends the plan out.
    pub(crate) fn begin_reading(&mut self) -> Option<FetchPlan> {
        let plan = self.fetch.take()?;
        self.parts.clear();
        self.parts.extend(plan.wants.iter().map(|want| match want {
            Ok(_) => Part::Asked,
            Err(code) => Part::Refused(*code),
        }));
        self.missing = plan.wants.iter().filter(|want| want.is_ok()).count() as u32;
        Some(plan)
    }
}
