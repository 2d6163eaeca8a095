//! The beginning of a connection between two shards: who is there, and does it know the secret?
//!
//! ```text
//!   who dials                          who listens
//!      Hello ───────────────────────────▶  is it our cluster, our version, meant for us?
//!      ◀─────────────────── Hello, Proof   or Refused, with the reason
//!      Proof ───────────────────────────▶
//!      from here on frames of either side go through
//! ```
//! A proof is HMAC-SHA-256 of the side and both hellos, keyed with the cluster's secret: each hello
//! brings a fresh challenge, so no proof serves twice (RFC 2104). All bytes of a connection pass
//! through [`Link`]: encryption would stand here.

use core::fmt;

use base::{Framer, ShardId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::node::Boot;
use crate::replica::message::{Hello, Message, StreamId, VERSIONS};
use crate::{LogIndex, Placement, Uuid};

/// The longest frame of a handshake, in bytes: strangers get no memory.
const HANDSHAKE_BYTES_MAX: u32 = 1024;

/// The first byte of a refusal, where messages have their kind.
const REFUSED: u8 = 0xff;

/// What every node of a cluster knows. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

/// What one side says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster: Uuid,
    /// The control core is [`ShardId::CONTROL`] of its node.
    pub placement: Placement,
    pub boot: Boot,
    pub cluster_index: LogIndex,
    /// Never used before.
    pub challenge: [u8; 16],
}

/// See the module's description. One per connection.
#[derive(Debug)]
pub struct Link {
    framer: Framer,
    own: Identity,
    secret: Secret,
    stage: Stage,
    frame_bytes_max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Dialled: the other side's hello is to come.
    Greeted {
        own: Hello,
    },
    /// The hello is there, the proof not.
    Met {
        own: Hello,
        peer: Hello,
    },
    /// Listening: nothing has come.
    Waiting,
    /// Listening: answered, and the other side's proof is to come.
    Answered {
        own: Hello,
        peer: Hello,
    },
    Open,
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'f> {
    /// The other side has proven who it is; frames follow.
    Opened { peer: Hello, version: u16 },
    /// A frame of it, without its length.
    Frame(&'f [u8]),
}

/// Why a side is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It belongs to another cluster.
    Cluster,
    /// No protocol version is spoken by both.
    Version,
    /// It dialled another node or shard than the one that listens here.
    Address,
    /// It does not know the secret.
    Secret,
}

/// Why a connection ends. Any error means: close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// This side refuses the other.
    Refuses(Reason),
    /// The other side refuses this one.
    Refused(Reason),
    /// What came is no handshake, or a frame above the limit.
    Garbage,
}

impl Secret {
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Hmac::new_from_slice(bytes).expect("HMAC takes keys of any length"))
    }

    fn mac(&self, dials: bool, dialler: &Hello, listener: &Hello) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(if dials { b"chiplog dials" } else { b"chiplog hears" });
        let mut hellos = Vec::with_capacity(256);
        Message::Hello(*dialler).encode(&mut hellos);
        Message::Hello(*listener).encode(&mut hellos);
        mac.update(&hellos);
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Link {
    /// Begins a conversation with the shard at `to`; `out` gets the first bytes to send.
    #[must_use]
    pub fn dial(
        own: Identity,
        to: Placement,
        stream: StreamId,
        secret: &Secret,
        frame_bytes_max: u32,
        out: &mut Vec<u8>,
    ) -> Self {
        let hello = own.hello(to, stream);
        Message::Hello(hello).encode(out);
        Self::at(own, secret, Stage::Greeted { own: hello }, frame_bytes_max)
    }

    /// Waits for whoever connected to `own` to speak first.
    #[must_use]
    pub fn accept(own: Identity, secret: &Secret, frame_bytes_max: u32) -> Self {
        Self::at(own, secret, Stage::Waiting, frame_bytes_max)
    }

    fn at(own: Identity, secret: &Secret, stage: Stage, frame_bytes_max: u32) -> Self {
        let framer = Framer::new(HANDSHAKE_BYTES_MAX);
        Self { framer, own, secret: secret.clone(), stage, frame_bytes_max }
    }

    /// The next thing said; `received` advances past what was taken, `out` gets what is to be sent,
    /// after an error too. `None` once `received` is used up.
    pub fn next<'f, 'r: 'f>(
        &'f mut self,
        received: &mut &'r [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Said<'f>>, LinkError> {
        while self.stage != Stage::Open {
            let frame = self.framer.next(received).map_err(|_| LinkError::Garbage)?;
            let Some(frame) = frame else { return Ok(None) };
            let met = meet(&self.own, &self.secret, self.stage, frame, out);
            self.stage = met.inspect_err(|error| refuse(*error, out))?.0;
            if let Stage::Open = self.stage {
                self.framer.set_frame_bytes_max(self.frame_bytes_max);
                let (_, peer) = met?;
                let peer = peer.expect("it opens once the other side is known");
                let version = VERSIONS.agree(peer.versions).expect("checked at its hello");
                return Ok(Some(Said::Opened { peer, version }));
            }
        }
        let frame = self.framer.next(received).map_err(|_| LinkError::Garbage)?;
        Ok(frame.map(Said::Frame))
    }

    /// Stores bytes behind the handshake that nobody asked for yet; [`Link::next`] finds them first.
    pub fn keep(&mut self, received: &[u8]) {
        self.framer.keep(received);
    }

    /// Memory held for frames in parts.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.framer.memory_bytes()
    }
}

/// One step of the handshake: the stage after `frame`, and who is there once that is proven.
fn meet(
    identity: &Identity,
    secret: &Secret,
    stage: Stage,
    frame: &[u8],
    out: &mut Vec<u8>,
) -> Result<(Stage, Option<Hello>), LinkError> {
    if let Some((&REFUSED, reason)) = frame.split_first() {
        let reason = reason.first().and_then(|byte| Reason::from_u8(*byte));
        return Err(reason.map_or(LinkError::Garbage, LinkError::Refused));
    }
    let message = Message::decode(frame).map_err(|_| LinkError::Garbage)?;
    match (stage, message) {
        (Stage::Greeted { own }, Message::Hello(peer)) => {
            identity.check(&peer)?;
            if (peer.from, peer.stream) != (own.to, own.stream) {
                return Err(LinkError::Refuses(Reason::Address));
            }
            Ok((Stage::Met { own, peer }, None))
        }
        (Stage::Met { own, peer }, Message::Proof { response }) => {
            verify(secret.mac(false, &own, &peer), &response)?;
            prove(secret.mac(true, &own, &peer), out);
            Ok((Stage::Open, Some(peer)))
        }
        (Stage::Waiting, Message::Hello(peer)) => {
            identity.check(&peer)?;
            let own = identity.hello(peer.from, peer.stream);
            Message::Hello(own).encode(out);
            prove(secret.mac(false, &peer, &own), out);
            Ok((Stage::Answered { own, peer }, None))
        }
        (Stage::Answered { own, peer }, Message::Proof { response }) => {
            verify(secret.mac(true, &peer, &own), &response)?;
            Ok((Stage::Open, Some(peer)))
        }
        _ => Err(LinkError::Garbage),
    }
}

fn prove(mac: Hmac<Sha256>, out: &mut Vec<u8>) {
    Message::Proof { response: mac.finalize().into_bytes().into() }.encode(out);
}

fn verify(mac: Hmac<Sha256>, response: &[u8; 32]) -> Result<(), LinkError> {
    mac.verify_slice(response).map_err(|_| LinkError::Refuses(Reason::Secret))
}

/// Tells the other side why, as the last thing that it hears.
fn refuse(error: LinkError, out: &mut Vec<u8>) {
    if let LinkError::Refuses(reason) = error {
        out.extend_from_slice(&2_u32.to_be_bytes());
        out.extend_from_slice(&[REFUSED, reason.to_u8()]);
    }
}

impl Identity {
    fn hello(&self, to: Placement, stream: StreamId) -> Hello {
        Hello {
            versions: VERSIONS,
            cluster: self.cluster,
            from: self.placement,
            to,
            boot: self.boot,
            stream,
            cluster_index: self.cluster_index,
            challenge: self.challenge,
        }
    }

    fn check(&self, peer: &Hello) -> Result<(), LinkError> {
        let controls = |placement: Placement| placement.shard == ShardId::CONTROL;
        let reason = if peer.cluster != self.cluster {
            Reason::Cluster
        } else if VERSIONS.agree(peer.versions).is_none() {
            Reason::Version
        } else if peer.to != self.placement
            || peer.from == self.placement
            || controls(peer.from) != controls(self.placement)
        {
            Reason::Address
        } else {
            return Ok(());
        };
        Err(LinkError::Refuses(reason))
    }
}

impl Reason {
    const ALL: [Self; 4] = [Self::Cluster, Self::Version, Self::Address, Self::Secret];

    fn to_u8(self) -> u8 {
        match self {
            Self::Cluster => 1,
            Self::Version => 2,
            Self::Address => 3,
            Self::Secret => 4,
        }
    }

    fn from_u8(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.to_u8() == byte)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "it belongs to another cluster: compare `peers` of both nodes",
            Self::Version => "no protocol version is spoken by both: upgrade the older node",
            Self::Address => {
                "another node or shard answers at that address: compare `peers` and `node_id` of both"
            }
            Self::Secret => "the secrets differ: compare `secret_file` of both nodes",
        })
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuses(reason) => write!(f, "it is refused: {reason}"),
            Self::Refused(reason) => write!(f, "it refuses this node: {reason}"),
            Self::Garbage => f.write_str("it does not speak as a node of a cluster does"),
        }
    }
}

impl core::error::Error for LinkError {}

#[cfg(test)]
mod tests {
    use base::{Incarnation, NodeId};

    use super::*;
    use crate::replica::message::Versions;

    const MAX: u32 = 1 << 20;

    fn at(node: u16, shard: u16) -> Placement {
        Placement { node: NodeId(node), shard: ShardId(shard) }
    }

    fn identity(placement: Placement) -> Identity {
        Identity {
            cluster: Uuid([7; 16]),
            placement,
            boot: Boot { journal: 5, boot: Incarnation(3) },
            cluster_index: LogIndex(9),
            challenge: [placement.node.0 as u8; 16],
        }
    }

    /// Both ends of a connection, and the bytes under way to each.
    struct Line {
        dialler: Link,
        listener: Link,
        to_listener: Vec<u8>,
        to_dialler: Vec<u8>,
    }

    type Heard = Result<Vec<(u16, ShardId)>, LinkError>;

    fn line(from: Identity, to: Placement, hears: Identity, secrets: [&str; 2]) -> Line {
        let secret = |text: &str| Secret::new(text.as_bytes());
        let mut first = Vec::new();
        let dialler = Link::dial(from, to, StreamId(4), &secret(secrets[0]), MAX, &mut first);
        let listener = Link::accept(hears, &secret(secrets[1]), MAX);
        Line { dialler, listener, to_listener: first, to_dialler: Vec::new() }
    }

    /// Hands the bytes over one by one; the peers that opened.
    fn hear(link: &mut Link, bytes: &[u8], out: &mut Vec<u8>) -> Heard {
        let mut opened = Vec::new();
        for byte in bytes {
            let mut received = core::slice::from_ref(byte);
            while let Some(said) = link.next(&mut received, out)? {
                match said {
                    Said::Opened { peer, .. } => opened.push((peer.from.node.0, peer.from.shard)),
                    Said::Frame(frame) => panic!("{frame:?}"),
                }
            }
        }
        Ok(opened)
    }

    impl Line {
        /// Until nothing is under way: what the listener and the dialler heard.
        fn talk(&mut self) -> (Heard, Heard) {
            let (mut listener, mut dialler) = (Ok(Vec::new()), Ok(Vec::new()));
            while !self.to_listener.is_empty() || !self.to_dialler.is_empty() {
                let bytes = core::mem::take(&mut self.to_listener);
                if let Ok(heard) = &mut listener {
                    match hear(&mut self.listener, &bytes, &mut self.to_dialler) {
                        Ok(more) => heard.extend(more),
                        Err(error) => listener = Err(error),
                    }
                }
                let bytes = core::mem::take(&mut self.to_dialler);
                if let Ok(heard) = &mut dialler {
                    match hear(&mut self.dialler, &bytes, &mut self.to_listener) {
                        Ok(more) => heard.extend(more),
                        Err(error) => dialler = Err(error),
                    }
                }
            }
            (listener, dialler)
        }
    }

    #[test]
    fn nodes_of_one_cluster_meet_and_talk() {
        let secrets = ["one secret", "one secret"];
        let mut line = line(identity(at(1, 0)), at(2, 3), identity(at(2, 3)), secrets);
        let (listener, dialler) = line.talk();
        assert_eq!(listener, Ok(vec![(1, ShardId(0))]));
        assert_eq!(dialler, Ok(vec![(2, ShardId(3))]));
        let frame = [&5_u32.to_be_bytes()[..], b"hello"].concat();
        let (mut received, mut out) = (&frame[..], Vec::new());
        let said = line.listener.next(&mut received, &mut out);
        assert_eq!(said, Ok(Some(Said::Frame(b"hello"))));
        assert!(out.is_empty());
    }

    /// A partition may move from one to the other.
    #[test]
    fn shards_of_one_node_meet() {
        let mut line = line(identity(at(2, 0)), at(2, 1), identity(at(2, 1)), ["a", "a"]);
        assert_eq!(line.talk(), (Ok(vec![(2, ShardId(0))]), Ok(vec![(2, ShardId(1))])));
    }

    #[test]
    fn strangers_are_refused_and_told_why() {
        let own = identity(at(2, 0));
        let foreign = Identity { cluster: Uuid([8; 16]), ..identity(at(1, 0)) };
        let control = identity(at(1, ShardId::CONTROL.0));
        let cases = [
            (foreign, at(2, 0), ["a", "a"], Reason::Cluster),
            (identity(at(1, 0)), at(2, 1), ["a", "a"], Reason::Address),
            (own, at(2, 0), ["a", "a"], Reason::Address),
            (control, at(2, 0), ["a", "a"], Reason::Address),
        ];
        for (from, to, secrets, reason) in cases {
            let (listener, dialler) = line(from, to, own, secrets).talk();
            assert_eq!(listener, Err(LinkError::Refuses(reason)));
            assert_eq!(dialler, Err(LinkError::Refused(reason)));
        }
        // Who listens proves first: it is the dialler that finds the secrets to differ.
        let (listener, dialler) = line(identity(at(1, 0)), at(2, 0), own, ["a", "b"]).talk();
        assert_eq!(dialler, Err(LinkError::Refuses(Reason::Secret)));
        assert_eq!(listener, Err(LinkError::Refused(Reason::Secret)));
    }

    #[test]
    fn an_answer_heard_before_opens_nothing() {
        let secrets = ["a", "a"];
        let mut honest = line(identity(at(1, 0)), at(2, 0), identity(at(2, 0)), secrets);
        let hello = honest.to_listener.clone();
        let mut answer = Vec::new();
        hear(&mut honest.listener, &hello, &mut answer).unwrap();
        let mut proof = Vec::new();
        hear(&mut honest.dialler, &answer, &mut proof).unwrap();
        // The same words to a listener with another challenge.
        let fresh = Identity { challenge: [99; 16], ..identity(at(2, 0)) };
        let mut listener = Link::accept(fresh, &Secret::new(b"a"), MAX);
        let heard = hear(&mut listener, &[hello, proof].concat(), &mut Vec::new());
        assert_eq!(heard, Err(LinkError::Refuses(Reason::Secret)));
    }

    #[test]
    fn versions_must_overlap() {
        let own = identity(at(2, 0));
        let newer = Hello {
            versions: Versions { min: VERSIONS.max + 1, max: VERSIONS.max + 2 },
            ..identity(at(1, 0)).hello(at(2, 0), StreamId(1))
        };
        let mut first = Vec::new();
        Message::Hello(newer).encode(&mut first);
        let mut listener = Link::accept(own, &Secret::new(b""), MAX);
        let heard = hear(&mut listener, &first, &mut Vec::new());
        assert_eq!(heard, Err(LinkError::Refuses(Reason::Version)));
    }

    #[test]
    fn noise_is_cut_off_and_takes_no_memory() {
        let garbage = [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 64], vec![0xff; 64]];
        for bytes in garbage {
            let mut listener = Link::accept(identity(at(2, 0)), &Secret::new(b"a"), MAX);
            let heard = hear(&mut listener, &bytes, &mut Vec::new());
            assert_eq!(heard, Err(LinkError::Garbage));
            assert!(listener.memory_bytes() <= HANDSHAKE_BYTES_MAX as usize + 8);
        }
    }
}
