//! Every socket the server listens on, claimed before anything else is started.

use std::net::{SocketAddr, TcpListener};

use super::cores::Assignment;
use crate::config::Config;
use crate::listen::{self, ListenError, PortRow};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Sockets {
    /// One per data core, all on one port.
    pub(super) node: Vec<TcpListener>,
    /// One per shard, on ports in a row.
    pub(super) shards: Vec<TcpListener>,
    /// Free a moment ago; the control core binds it itself.
    pub(super) admin: SocketAddr,
    /// `None` for a single node.
    pub(super) peers: Option<PeerSockets>,
}

/// Where other nodes come in.
#[derive(Debug)]
pub(super) struct PeerSockets {
    /// Free a moment ago; the control core binds it itself.
    pub(super) control: SocketAddr,
    /// One per shard.
    pub(super) shards: Vec<TcpListener>,
}

impl Sockets {
    /// Claims every port, or none.
    pub(super) fn open(config: &Config, assignment: &Assignment) -> Result<Self, ListenError> {
        let shards = assignment.shards();
        let row = |flag, first, ports| PortRow { flag, first, ports };
        let core_row = row("--core-listen", config.core_view.listen, shards);
        let peer_row = config.cluster.listen.map(|first| row("--peer-listen", first, 1 + shards));
        let mut rows = vec![
            row("--listen", config.node_view.listen, 1),
            row("--admin", config.admin.listen, 1),
            core_row,
        ];
        rows.extend(peer_row);
        listen::check_overlap(&rows)?;
        Ok(Self {
            node: listen::shared(config.node_view.listen, assignment.cores(), "--listen")?,
            shards: listen::consecutive(core_row)?,
            admin: listen::probe(config.admin.listen, "--admin")?,
            peers: peer_row.map(PeerSockets::open).transpose()?,
        })
    }

    pub(super) fn node_port(&self) -> u16 {
        port(&self.node[0])
    }

    /// Of shard 0.
    pub(super) fn core_port(&self) -> u16 {
        port(&self.shards[0])
    }
}

impl PeerSockets {
    /// The first port of the row is the control core's.
    fn open(row: PortRow) -> Result<Self, ListenError> {
        let shards = PortRow { first: row.address(1)?, ports: row.ports - 1, ..row };
        Ok(Self {
            control: listen::probe(row.first, row.flag)?,
            shards: listen::consecutive(shards)?,
        })
    }
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("a listener is bound").port()
}
