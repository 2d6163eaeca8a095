//! `chiplog herald`: the child of a server that tells the other nodes when the server has died.
//!
//! ```text
//!   server ── stdin: plan, boots ──▶ herald ── a link each, opened in advance ──▶ control cores
//!     ✝ ────────── end of stdin ───▶        ── Died ──▶                           of the others
//! ```
//! The end of its standard input is the server's death, however it came about: the kernel closes
//! pipes of the dead. Nobody has to wait for silence then. A wrong word does no harm: whoever is taken
//! for dead and lives is fenced.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use base::{Incarnation, NodeId, ShardId};
use replication::link::{Link, Said, Secret};
use replication::node::Boot;
use replication::replica::message::StreamId;
use replication::{ControlMessage, Uuid};
use serde::{Deserialize, Serialize};

use crate::control::{FRAME_MAX, LinkPlan, control_of};

/// How long a peer may take to answer a dial, or a part of the handshake.
const PATIENCE: Duration = Duration::from_millis(300);
/// Between two looks whether a link still stands, and between two dials.
const LOOK: Duration = Duration::from_millis(100);

/// The first line of standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HeraldPlan {
    pub(crate) cluster: [u8; 16],
    pub(crate) node: u16,
    /// Of the control shard.
    pub(crate) journal: u64,
    pub(crate) secret: Vec<u8>,
    /// The other nodes' control cores.
    pub(crate) peers: Vec<(u16, SocketAddr)>,
}

/// Every other line: a shard that has started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HeraldBoot {
    pub(crate) shard: u16,
    pub(crate) journal: u64,
    pub(crate) boot: u32,
}

/// One link, held by a thread of its own.
struct Messenger {
    news: Sender<Vec<u8>>,
    thread: JoinHandle<()>,
}

/// Waits for the end of standard input, and tells of it.
pub fn run() {
    let mut lines = io::stdin().lock().lines().map_while(Result::ok);
    let plan = lines.next().and_then(|line| serde_json::from_str::<HeraldPlan>(&line).ok());
    let Some(plan) = plan else { return };
    let peers = plan.peers.clone();
    let messengers: Vec<_> =
        peers.iter().map(|(node, at)| Messenger::to(NodeId(*node), *at, plan.link())).collect();
    let mut boots = BTreeMap::new();
    for line in lines {
        if let Ok(HeraldBoot { shard, journal, boot }) = serde_json::from_str(&line) {
            boots.insert(ShardId(shard), Boot { journal, boot: Incarnation(boot) });
        }
    }
    let frame = framed(&ControlMessage::Died(boots.into_iter().collect()).encode());
    for messenger in &messengers {
        // A messenger ends only when it has been told.
        let _ = messenger.news.send(frame.clone());
    }
    for messenger in messengers {
        let _ = messenger.thread.join();
    }
}

impl HeraldPlan {
    fn link(&self) -> LinkPlan {
        LinkPlan {
            cluster: Uuid(self.cluster),
            node: NodeId(self.node),
            secret: Secret::new(&self.secret),
            journal: self.journal,
            listen: SocketAddr::from(([0, 0, 0, 0], 0)),
            peers: Vec::new(),
        }
    }
}

impl Messenger {
    fn to(node: NodeId, address: SocketAddr, plan: LinkPlan) -> Self {
        let (news, heard) = channel();
        let thread = std::thread::spawn(move || hold(node, address, &plan, &heard));
        Self { news, thread }
    }
}

/// Keeps a link until there is news; then says it and ends.
fn hold(node: NodeId, address: SocketAddr, plan: &LinkPlan, heard: &Receiver<Vec<u8>>) {
    loop {
        let mut link = dial(node, address, plan);
        loop {
            match heard.recv_timeout(LOOK) {
                Ok(frame) => {
                    if let Ok(connection) = &mut link {
                        let _ = connection.set_nonblocking(false);
                        let _ = connection.write_all(&frame);
                        let _ = connection.shutdown(Shutdown::Write);
                    }
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) if link.as_ref().is_ok_and(stands) => {}
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
    }
}

/// The other side says nothing: what can be read is the end.
fn stands(connection: &TcpStream) -> bool {
    let peeked = connection.peek(&mut [0]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn dial(node: NodeId, address: SocketAddr, plan: &LinkPlan) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut out = Vec::new();
    let (to, stream) = (control_of(node), StreamId::default());
    let mut link = Link::dial(plan.identity(), to, stream, &plan.secret, FRAME_MAX, &mut out);
    let mut bytes = [0; 2048];
    let mut is_open = false;
    while !is_open {
        connection.write_all(&out)?;
        out.clear();
        let read = connection.read(&mut bytes)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let said = link.next(&mut &bytes[..read], &mut out);
        is_open = matches!(
            said.map_err(|error| io::Error::other(error.to_string()))?,
            Some(Said::Opened { .. })
        );
    }
    connection.write_all(&out)?;
    connection.set_nonblocking(true)?;
    Ok(connection)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a control message is short");
    [&length.to_be_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use glommio::LocalExecutor;

    use super::*;
    use crate::control::{Bell, LinkEvent};

    fn plan(node: u16, listen: SocketAddr) -> LinkPlan {
        let plan = HeraldPlan {
            cluster: [1; 16],
            node,
            journal: 7,
            secret: b"known to both".to_vec(),
            peers: Vec::new(),
        };
        LinkPlan { listen, ..plan.link() }
    }

    #[test]
    fn a_death_is_announced_to_a_peer_that_came_later() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let dead = vec![(ShardId(3), Boot { journal: 8, boot: Incarnation(9) })];
        let messenger = Messenger::to(NodeId(0), address, plan(1, address));
        LocalExecutor::default().run(async {
            glommio::timer::sleep(2 * LOOK).await;
            let bell = Rc::new(Bell::default());
            let links = plan(0, address).start(Rc::clone(&bell), None).expect("a free port");
            glommio::timer::sleep(4 * LOOK).await;
            let frame = framed(&ControlMessage::Died(dead.clone()).encode());
            messenger.news.send(frame).expect("it waits for news");
            loop {
                if let Some(LinkEvent::Said(from, said)) = links.next_event() {
                    assert_eq!((from, said), (NodeId(1), ControlMessage::Died(dead)));
                    break;
                }
                bell.wait().await;
            }
        });
        messenger.thread.join().expect("it ends once it has spoken");
    }
}
