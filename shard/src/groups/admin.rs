//! What operators ask of one group: DescribeGroups, DeleteGroups.

use std::sync::Arc;

use net::ErrorCode;

use super::ask::{Described, Listed};
use super::effects::{Context, Then, Write};
use super::group::{Group, State};
use super::record::Key;
use crate::mail::Asker;

impl Group {
    pub(super) fn describe(&self) -> Described {
        let stable = self.protocol.as_deref().filter(|_| self.state == State::Stable);
        Described {
            error: ErrorCode::None,
            state: self.state_name(),
            protocol_type: self.protocol_type.to_string(),
            protocol: stable.unwrap_or_default().to_owned(),
            members: self.members.values().map(|member| member.described(stable)).collect(),
        }
    }

    pub(super) fn listed(&self) -> Listed {
        Listed {
            group: Arc::clone(&self.id),
            protocol_type: Arc::clone(&self.protocol_type),
            state: self.state_name(),
        }
    }

    /// Deletes the group with its offsets if it has no members. It is dead at once, and gone when that
    /// is committed.
    pub(super) fn delete(
        &mut self,
        cx: &mut Context<'_>,
        to: Option<Asker>,
    ) -> Result<(), ErrorCode> {
        match self.state {
            State::Empty => {}
            State::Dead => return Err(ErrorCode::GroupIdNotFound),
            State::Preparing(_) | State::Completing | State::Stable => {
                return Err(ErrorCode::NonEmptyGroup);
            }
        }
        self.state = State::Dead;
        let offset = |(topic, partition): &(Arc<str>, i32)| {
            (Key::Offset { group: &self.id, topic, partition: *partition }.encode(), None)
        };
        let mut records: Vec<_> = self.offsets.keys().map(offset).collect();
        records.push((Key::Group(&self.id).encode(), None));
        self.writing += 1;
        cx.write(Write { group: Arc::clone(&self.id), records, then: Then::Deleted { to } });
        Ok(())
    }
}
