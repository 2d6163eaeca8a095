//! One member of a group.

use core::time::Duration;
use std::sync::Arc;

use base::Instant;

use super::ask::{DescribedMember, Join, JoinedMember};
use super::record::MemberValue;
use crate::mail::Asker;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Member {
    pub id: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    /// Name and metadata, the preferred first.
    pub protocols: Vec<(Arc<str>, Vec<u8>)>,
    pub assignment: Vec<u8>,
    /// Waits for the others to join.
    pub joining: Option<Asker>,
    /// Waits for its assignment.
    pub syncing: Option<Asker>,
    /// It waits for its first generation: it is not watched as closely.
    pub is_new: bool,
    /// Its session ends then, unless it speaks before.
    pub expires_at: Instant,
    /// When its session is looked at; never later than `expires_at`.
    pub looked_at: Option<Instant>,
}

impl Member {
    pub(super) fn new(id: Arc<str>, join: &Join) -> Self {
        let mut member = Self {
            id,
            instance: join.instance.as_deref().map(Arc::from),
            client_id: join.client_id.as_str().into(),
            client_host: join.client_host.as_str().into(),
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: Vec::new(),
            assignment: Vec::new(),
            joining: None,
            syncing: None,
            is_new: false,
            expires_at: Instant::default(),
            looked_at: None,
        };
        member.update(join);
        member
    }

    /// A member as it was when it was written down. Of its protocols only the one in use is known.
    pub(super) fn loaded(value: MemberValue, protocol: Option<&str>) -> Self {
        let duration = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        Self {
            id: value.id.into(),
            instance: value.instance.map(Arc::from),
            client_id: value.client_id.into(),
            client_host: value.client_host.into(),
            session_timeout: duration(value.session_timeout_ms),
            rebalance_timeout: duration(value.rebalance_timeout_ms),
            protocols: protocol.map(|name| (name.into(), value.subscription)).into_iter().collect(),
            assignment: value.assignment,
            joining: None,
            syncing: None,
            is_new: false,
            expires_at: Instant::default(),
            looked_at: None,
        }
    }

    /// Takes over what a new join says.
    pub(super) fn update(&mut self, join: &Join) {
        self.session_timeout = join.session_timeout;
        self.rebalance_timeout = join.rebalance_timeout;
        self.protocols = join
            .protocols
            .iter()
            .map(|(name, metadata)| (name.as_str().into(), metadata.clone()))
            .collect();
    }

    /// Whether a join says what is known already.
    pub(super) fn matches(&self, protocols: &[(String, Vec<u8>)]) -> bool {
        let own = self.protocols.iter().map(|(name, metadata)| (&**name, metadata));
        own.eq(protocols.iter().map(|(name, metadata)| (name.as_str(), metadata)))
    }

    pub(super) fn metadata(&self, protocol: &str) -> &[u8] {
        let found = self.protocols.iter().find(|(name, _)| &**name == protocol);
        found.map_or(&[], |(_, metadata)| metadata)
    }

    /// Whether it waits for an answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    /// What it holds, roughly, bytes.
    pub(super) fn bytes(&self) -> usize {
        let protocols = self.protocols.iter().map(|(name, metadata)| name.len() + metadata.len());
        self.id.len()
            + self.client_id.len()
            + self.instance.as_deref().map_or(0, str::len)
            + protocols.sum::<usize>()
            + self.assignment.len()
            + size_of::<Self>()
    }

    pub(super) fn value(&self, protocol: &str, assignment: Vec<u8>) -> MemberValue {
        let ms = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        MemberValue {
            id: self.id.to_string(),
            instance: self.instance.as_deref().map(str::to_owned),
            client_id: self.client_id.to_string(),
            client_host: self.client_host.to_string(),
            rebalance_timeout_ms: ms(self.rebalance_timeout),
            session_timeout_ms: ms(self.session_timeout),
            subscription: self.metadata(protocol).to_vec(),
            assignment,
        }
    }

    pub(super) fn as_joined(&self, protocol: &str) -> JoinedMember {
        JoinedMember {
            id: Arc::clone(&self.id),
            instance: self.instance.clone(),
            metadata: self.metadata(protocol).to_vec(),
        }
    }

    /// With metadata and assignment only while they mean something: in a stable group.
    pub(super) fn described(&self, protocol: Option<&str>) -> DescribedMember {
        DescribedMember {
            id: Arc::clone(&self.id),
            instance: self.instance.clone(),
            client_id: Arc::clone(&self.client_id),
            client_host: Arc::clone(&self.client_host),
            metadata: protocol.map_or_else(Vec::new, |name| self.metadata(name).to_vec()),
            assignment: protocol.map_or_else(Vec::new, |_| self.assignment.clone()),
        }
    }
}
