//! How jobs end: the last answer writes the response into the request's place in the order.

use base::{Now, Output};
use net::{ApiKey, Request};
use replication::{Proposal, Rejected};

use super::produce::gate;
use crate::core::Core;
use crate::job::Job;
use crate::mail::{Mail, Ticket};

impl Core {
    /// An answer was filed: goes on with whatever the job does when none is missing.
    pub(crate) fn finish_if_answered(&mut self, now: Now, ticket: Ticket) {
        let Some(job) = self.jobs.get_mut(ticket).filter(|job| job.missing == 0) else { return };
        match (job.api, &job.fetch) {
            // Its plan is lent out: it is settled once all of its parts were asked for.
            (ApiKey::Fetch, None) => {}
            (ApiKey::Fetch, Some(_)) => self.settle_read(now, ticket),
            _ => self.finish_job(ticket),
        }
    }

    /// Writes the response and delivers it.
    pub(crate) fn finish_job(&mut self, ticket: Ticket) {
        let Some(mut job) = self.jobs.remove(ticket) else { return };
        let body = core::mem::take(&mut job.body);
        let request = Request::decode(job.api, job.reply_to.version, &body);
        let request = request.expect("a job's request decoded before");
        let pieces = match &request {
            Request::Fetch(view) => self.write_fetched(&mut job, view),
            other => {
                self.write_job(&job, other);
                self.take_written()
            }
        };
        job.body = body;
        self.fulfil(job.conn, ticket, gate(job.frame), pieces);
        self.give_job(job);
    }

    /// Sends proposals to the control core; the job answers when they are settled.
    pub(crate) fn propose(&mut self, job: Job, proposals: Vec<Proposal>, validate_only: bool) {
        let ticket = self.begin_job(job);
        let mail = Mail::Propose { core: self.id, ticket, proposals, validate_only };
        self.outputs.push_back(Output::Mail { to: self.layout.control, mail });
    }

    pub(crate) fn finish_proposal(&mut self, ticket: Ticket, results: Vec<Result<(), Rejected>>) {
        if let Some(job) = self.jobs.get_mut(ticket) {
            job.results = results;
            self.finish_job(ticket);
        }
    }

    pub(crate) fn end_overdue_job(&mut self, now: Now, ticket: Ticket) {
        self.read_again(now, ticket);
        self.end_election_wait(ticket);
    }

    /// Frees the job of a connection that is gone.
    pub(crate) fn abandon_job(&mut self, ticket: Ticket) {
        let Some(job) = self.jobs.remove(ticket) else { return };
        let deadline = job.fetch.as_ref().map(|plan| plan.deadline).or(job.elects_until);
        if let Some(deadline) = deadline {
            self.deadlines.remove(deadline, ticket);
        }
        self.give_job(job);
    }

    fn write_job(&mut self, job: &Job, request: &Request<'_>) {
        match request {
            Request::Produce(view) => self.write_produced(job, view),
            Request::ListOffsets(view) => self.write_listed(job, view),
            Request::Metadata(view) => self.write_metadata(job.listener, job.reply_to, view),
            Request::DeleteRecords(view) => self.write_records_deleted(job, view),
            Request::OffsetForLeaderEpoch(view) => self.write_epoch_ends(job, view),
            Request::CreateTopics(view) => self.write_created(job, view),
            Request::DeleteTopics(view) => self.write_deleted(job, view),
            Request::CreatePartitions(view) => self.write_grown(job, view),
            Request::IncrementalAlterConfigs(view) => self.write_altered(job, view),
            Request::AlterPartitionReassignments(view) => self.write_reassigned(job, view),
            Request::ElectLeaders(view) => self.write_elected(job, view),
            Request::InitProducerId(_) => self.write_producer_id(job),
            other => self.write_group_job(job, other),
        }
    }
}
