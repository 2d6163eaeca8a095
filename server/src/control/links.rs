//! Links to the control cores of the other nodes.
//!
//! ```text
//!   Driver ── send ─▶ queue ─▶ line to node N: dial ▸ handshake ▸ frames     what this node says
//!      ▲                                                 └─ broken: Down, dial again
//!      └── events ◀─ inbox ◀─ visitors: handshake ▸ frames                   what the others say
//! ```
//! Each direction has a connection of its own. What was queued for a line that breaks is lost: the
//! machines behind it count on that.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use base::{NodeId, ShardId};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use glommio::Task;
use glommio::net::{TcpListener, TcpStream};
use replication::link::{Identity, Link, LinkError, Said, Secret};
use replication::node::Boot;
use replication::replica::message::StreamId;
use replication::{ControlMessage, LogIndex, Placement, Uuid};
use shard::fault::Way;

use super::bell::Bell;
use crate::faults::Gate;
use crate::output;

/// How long a peer may take to answer a dial or to say who it is.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two dials of a peer that is not there.
const REST: Duration = Duration::from_millis(50);
/// Bytes that may wait for one line; what comes on top breaks it.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Connections of strangers and peers at one time.
const VISITORS_MAX: usize = 64;
const READ_BYTES: usize = 64 << 10;

/// Something that happened on a link.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// What is sent to the node from now on may arrive.
    Up(NodeId),
    Down(NodeId),
    Said(NodeId, ControlMessage),
}

/// What a node of a cluster says of itself, and whom it looks for.
#[derive(Debug)]
pub(crate) struct LinkPlan {
    pub(crate) cluster: Uuid,
    pub(crate) node: NodeId,
    pub(crate) secret: Secret,
    /// Of the control journal; the others know it from the cluster's log.
    pub(crate) journal: u64,
    pub(crate) listen: SocketAddr,
    /// The other nodes' control cores.
    pub(crate) peers: Vec<(NodeId, SocketAddr)>,
}

/// See the module's description. Belongs to the control core's executor.
#[derive(Debug)]
pub(crate) struct Links {
    lines: BTreeMap<NodeId, Rc<Line>>,
    inbox: Rc<Inbox>,
    /// Everything ends with them.
    _tasks: Vec<Task<()>>,
}

#[derive(Debug)]
struct Inbox {
    events: RefCell<VecDeque<LinkEvent>>,
    bell: Rc<Bell>,
    /// Faults of the network, where they may be injected.
    gate: Option<Gate>,
}

/// One line out.
#[derive(Debug)]
struct Line {
    node: NodeId,
    address: SocketAddr,
    queue: RefCell<VecDeque<Vec<u8>>>,
    queued_bytes: Cell<usize>,
    is_up: Cell<bool>,
    bell: Bell,
}

/// Why a line broke.
#[derive(Debug)]
enum Broken {
    Link(LinkError),
    /// It ended, failed, or took too long to answer.
    Silent,
    Overflow,
}

impl LinkPlan {
    /// Begins to dial and to listen. `bell` rings at every event.
    pub(crate) fn start(self, bell: Rc<Bell>, gate: Option<Gate>) -> io::Result<Links> {
        let listener = TcpListener::bind(self.listen)?;
        let inbox = Rc::new(Inbox { events: RefCell::default(), bell, gate });
        let plan = Rc::new(self);
        let mut lines = BTreeMap::new();
        let mut tasks = vec![glommio::spawn_local(receive_visitors(
            listener,
            Rc::clone(&plan),
            Rc::clone(&inbox),
        ))];
        for (node, address) in plan.peers.iter().copied() {
            let line = Rc::new(Line::to(node, address));
            lines.insert(node, Rc::clone(&line));
            tasks.push(glommio::spawn_local(hold(line, Rc::clone(&plan), Rc::clone(&inbox))));
        }
        Ok(Links { lines, inbox, _tasks: tasks })
    }

    pub(crate) fn identity(&self) -> Identity {
        let mut challenge = [0; 16];
        getrandom::fill(&mut challenge).expect("the kernel has randomness once it runs programs");
        Identity {
            cluster: self.cluster,
            placement: control_of(self.node),
            boot: Boot { journal: self.journal, boot: base::Incarnation(0) },
            cluster_index: LogIndex(0),
            challenge,
        }
    }
}

impl Links {
    /// The next event, oldest first.
    pub(crate) fn next_event(&self) -> Option<LinkEvent> {
        self.inbox.events.borrow_mut().pop_front()
    }

    /// Says `message` to `node`, if its line is up.
    pub(crate) fn send(&self, node: NodeId, message: &ControlMessage) {
        let Some(line) = self.lines.get(&node).filter(|line| line.is_up.get()) else { return };
        let body = message.encode();
        let length = u32::try_from(body.len()).expect("a control message is short");
        let mut frame = Vec::with_capacity(4 + body.len());
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&body);
        line.queued_bytes.set(line.queued_bytes.get() + frame.len());
        line.queue.borrow_mut().push_back(frame);
        line.bell.ring();
    }
}

impl Inbox {
    fn put(&self, event: LinkEvent) {
        self.events.borrow_mut().push_back(event);
        self.bell.ring();
    }

    /// Waits until bytes between this node and `node` may pass.
    async fn pass(&self, node: NodeId, way: Way) -> Result<(), Broken> {
        match &self.gate {
            None => Ok(()),
            Some(gate) => gate.net(node, way).await.map_err(|_| Broken::Silent),
        }
    }

    fn parts_from(&self, node: NodeId) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.parts_from(node))
    }
}

impl Line {
    fn to(node: NodeId, address: SocketAddr) -> Self {
        Self {
            node,
            address,
            queue: RefCell::default(),
            queued_bytes: Cell::new(0),
            is_up: Cell::new(false),
            bell: Bell::default(),
        }
    }

    /// Everything queued, as one piece.
    fn take_queue(&self) -> Vec<u8> {
        self.queued_bytes.set(0);
        self.queue.borrow_mut().drain(..).flatten().collect()
    }
}

pub(crate) fn control_of(node: NodeId) -> Placement {
    Placement { node, shard: ShardId::CONTROL }
}

/// Keeps a line to one peer for ever.
async fn hold(line: Rc<Line>, plan: Rc<LinkPlan>, inbox: Rc<Inbox>) {
    let mut dials = 0;
    let mut told = String::new();
    loop {
        dials += 1;
        let broken = talk(&line, &plan, &inbox, StreamId(dials), &mut told).await;
        if line.is_up.take() {
            inbox.put(LinkEvent::Down(line.node));
        }
        line.take_queue();
        if let Broken::Link(error) = broken {
            tell_once(&mut told, format!("node {} at {}: {error}", line.node, line.address));
        }
        glommio::timer::sleep(REST).await;
    }
}

/// Dials once and says what is queued until the line breaks.
async fn talk(
    line: &Line,
    plan: &LinkPlan,
    inbox: &Inbox,
    stream: StreamId,
    told: &mut String,
) -> Broken {
    if inbox.parts_from(line.node) {
        glommio::timer::sleep(PATIENCE).await;
        return Broken::Silent;
    }
    let dialled = TcpStream::connect_timeout(line.address, PATIENCE).await;
    let Ok(mut connection) = dialled else { return Broken::Silent };
    let _ = connection.set_nodelay(true);
    let mut out = Vec::new();
    let to = control_of(line.node);
    let mut link = Link::dial(plan.identity(), to, stream, &plan.secret, FRAME_MAX, &mut out);
    if let Err(broken) = in_time(meet(&mut connection, &mut link, out)).await {
        return broken;
    }
    told.clear();
    line.is_up.set(true);
    inbox.put(LinkEvent::Up(line.node));
    let (mut reader, mut writer) = futures_lite::io::split(connection);
    let speak = async {
        loop {
            line.bell.wait().await;
            if QUEUE_BYTES_MAX < line.queued_bytes.get() {
                return Broken::Overflow;
            }
            let spoken = line.take_queue();
            if let Err(broken) = inbox.pass(line.node, Way::Out).await {
                return broken;
            }
            if writer.write_all(&spoken).await.is_err() {
                return Broken::Silent;
            }
        }
    };
    // The other side says nothing here: what is read is the end.
    let listen = async {
        let _ = reader.read(&mut [0; 64]).await;
        Broken::Silent
    };
    future::or(speak, listen).await
}

/// The longest frame that links take.
pub(crate) const FRAME_MAX: u32 = replication::control_message::CONTROL_MESSAGE_BYTES_MAX as u32;

/// Carries out the handshake; the node that is there.
async fn meet(
    connection: &mut TcpStream,
    link: &mut Link,
    mut out: Vec<u8>,
) -> Result<NodeId, Broken> {
    let mut bytes = [0; 2048];
    loop {
        connection.write_all(&out).await.map_err(|_| Broken::Silent)?;
        out.clear();
        let read = connection.read(&mut bytes).await.map_err(|_| Broken::Silent)?;
        if read == 0 {
            return Err(Broken::Silent);
        }
        let mut received = &bytes[..read];
        let said = link.next(&mut received, &mut out);
        let opened = match said {
            Ok(Some(Said::Opened { peer, .. })) => Some(peer.from.node),
            Ok(_) => None,
            Err(error) => {
                // Its last word is why; whether it arrives does not matter any more.
                let _ = connection.write_all(&out).await;
                return Err(Broken::Link(error));
            }
        };
        if let Some(node) = opened {
            connection.write_all(&out).await.map_err(|_| Broken::Silent)?;
            link.keep(received);
            return Ok(node);
        }
    }
}

async fn in_time<T>(what: impl Future<Output = Result<T, Broken>>) -> Result<T, Broken> {
    let alarm = async {
        glommio::timer::sleep(PATIENCE).await;
        Err(Broken::Silent)
    };
    future::or(what, alarm).await
}

async fn receive_visitors(listener: TcpListener, plan: Rc<LinkPlan>, inbox: Rc<Inbox>) {
    // A task that is dropped ends: the visitors end with this one.
    let mut visitors: Vec<(Rc<Cell<bool>>, Task<()>)> = Vec::new();
    let told = Rc::new(RefCell::new(String::new()));
    loop {
        let Ok(connection) = listener.accept().await else {
            // Out of descriptors, most likely: others may close some.
            glommio::timer::sleep(REST).await;
            continue;
        };
        visitors.retain(|(has_left, _)| !has_left.get());
        if VISITORS_MAX <= visitors.len() {
            continue;
        }
        let has_left = Rc::new(Cell::new(false));
        let (plan, inbox, told) = (Rc::clone(&plan), Rc::clone(&inbox), Rc::clone(&told));
        let leaves = Rc::clone(&has_left);
        let visit = glommio::spawn_local(async move {
            if let Broken::Link(error) = hear_out(connection, &plan, &inbox).await {
                tell_once(&mut told.borrow_mut(), format!("a node that dialled this one: {error}"));
            }
            leaves.set(true);
        });
        visitors.push((has_left, visit));
    }
}

/// Passes on what one visitor says until it leaves.
async fn hear_out(mut connection: TcpStream, plan: &LinkPlan, inbox: &Inbox) -> Broken {
    let _ = connection.set_nodelay(true);
    let mut link = Link::accept(plan.identity(), &plan.secret, FRAME_MAX);
    let node = match in_time(meet(&mut connection, &mut link, Vec::new())).await {
        Ok(node) => node,
        Err(broken) => return broken,
    };
    let mut bytes = vec![0; READ_BYTES];
    let mut read = 0;
    loop {
        let mut received = &bytes[..read];
        loop {
            match link.next(&mut received, &mut Vec::new()) {
                Ok(Some(Said::Frame(frame))) => match ControlMessage::decode(frame) {
                    Ok(message) => inbox.put(LinkEvent::Said(node, message)),
                    Err(_) => return Broken::Link(LinkError::Garbage),
                },
                Ok(Some(Said::Opened { .. })) => unreachable!("a link opens once"),
                Ok(None) => break,
                Err(error) => return Broken::Link(error),
            }
        }
        read = match connection.read(&mut bytes).await {
            Ok(0) | Err(_) => return Broken::Silent,
            Ok(read) => read,
        };
        if let Err(broken) = inbox.pass(node, Way::In).await {
            return broken;
        }
    }
}

/// Tells the operator, unless it is what was told last.
fn tell_once(told: &mut String, text: String) {
    if *told != text {
        output::note(format_args!("{text}"));
        *told = text;
    }
}

#[cfg(test)]
mod tests;
