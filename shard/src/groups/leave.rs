//! LeaveGroup: members that go of their own accord, or are sent away by an operator.

use std::sync::Arc;

use net::ErrorCode;

use super::ask::Leaver;
use super::effects::Context;
use super::group::{Group, State};

impl Group {
    /// One code per leaver.
    pub(super) fn leave(
        &mut self,
        cx: &mut Context<'_>,
        leavers: &[Leaver],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let left = leavers.iter().map(|leaver| match self.let_go(cx, leaver) {
            Ok(()) => ErrorCode::None,
            Err(error) => error,
        });
        Ok(left.collect())
    }

    fn let_go(&mut self, cx: &mut Context<'_>, leaver: &Leaver) -> Result<(), ErrorCode> {
        let Leaver { member, instance } = leaver;
        let id: Arc<str> = match instance.as_deref() {
            Some(instance) => {
                let holder = self.statics.get(instance).ok_or(ErrorCode::UnknownMemberId)?;
                if !member.is_empty() && **holder != **member {
                    return Err(ErrorCode::FencedInstanceId);
                }
                Arc::clone(holder)
            }
            None => member.as_str().into(),
        };
        if self.unclaimed_remove(cx, &id) {
            self.try_complete_join(cx);
            return Ok(());
        }
        if !self.members.contains_key(&id) {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.expel(cx, &id);
        Ok(())
    }
}
