//! Every socket the server listens on, claimed before anything else is started.

use std::net::{SocketAddr, TcpListener};

use super::cores::Assignment;
use crate::config::Config;
use crate::listen::{self, ListenError};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Sockets {
    /// One per data core, all on one port.
    pub(super) node: Vec<TcpListener>,
    /// One per shard, on ports in a row.
    pub(super) shards: Vec<TcpListener>,
    /// Free a moment ago; the control core binds it itself.
    pub(super) admin: SocketAddr,
}

impl Sockets {
    /// Claims every port, or none.
    pub(super) fn open(config: &Config, assignment: &Assignment) -> Result<Self, ListenError> {
        let first = config.core_view.listen;
        let shards = assignment.shards();
        let others = [("--listen", config.node_view.listen), ("--admin", config.admin.listen)];
        listen::check_overlap(first, shards, &others)?;
        Ok(Self {
            node: listen::shared(config.node_view.listen, assignment.cores(), "--listen")?,
            shards: listen::consecutive(first, shards, "--core-listen")?,
            admin: listen::probe(config.admin.listen, "--admin")?,
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

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("a listener is bound").port()
}
