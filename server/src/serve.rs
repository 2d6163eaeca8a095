//! `chiplog serve`: from settings to a running server, and back to a sealed log.

use crate::cli::serve_args::ServeArgs;
use crate::config::Config;
use crate::data_folder::DataFolder;
use crate::failure::Failure;
use crate::listen::{self, ListenError};
use crate::output;

/// Serves until a signal asks to stop.
pub fn run(args: &ServeArgs) -> Result<(), Failure> {
    let config = args.resolve()?;
    let folder = DataFolder::open(&config, |pid| {
        output::note(format_args!(
            "process {pid}, which served this folder, is gone; waiting for the kernel to close its \
             files"
        ));
    })?;
    let _sockets = Sockets::open(&config, folder.meta().shard_count())?;
    Err(Failure::NoCores)
}

/// Every socket the server listens on.
#[derive(Debug)]
pub struct Sockets {
    /// One per data core, all on one port.
    pub node: Vec<std::net::TcpListener>,
    /// One per shard.
    pub cores: Vec<std::net::TcpListener>,
    pub admin: std::net::TcpListener,
}

impl Sockets {
    /// Claims every port, or none.
    pub fn open(config: &Config, shards: u16) -> Result<Self, ListenError> {
        let first = config.core_view.listen;
        let others = [("--listen", config.node_view.listen), ("--admin", config.admin.listen)];
        listen::check_overlap(first, shards, &others)?;
        let cores = config.cores.get().min(shards);
        let core_listener = |shard| {
            let address = listen::core_address(first, shard).expect("checked for overlap above");
            listen::single(address, "--core-listen")
        };
        Ok(Self {
            node: listen::shared(config.node_view.listen, cores, "--listen")?,
            cores: (0..shards).map(core_listener).collect::<Result<_, _>>()?,
            admin: listen::single(config.admin.listen, "--admin")?,
        })
    }
}
