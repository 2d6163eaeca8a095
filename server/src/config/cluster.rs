//! The settings that make a server a node of a cluster.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::value::{ListenAddress, Value};
use super::{ConfigError, Fixed, RawConfig};

/// See the module's description. Without peers the server is a cluster by itself.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    pub node: Fixed<NodeNumber>,
    pub rack: Option<String>,
    /// The nodes that form the cluster, by number, this one among them; empty for a single node.
    pub peers: Vec<Peer>,
    /// Where other nodes come in; `None` for a single node.
    pub listen: Option<SocketAddr>,
    /// What every node of the cluster must prove to know. Empty only on loopback.
    pub secret: Vec<u8>,
}

/// A node's number, 0 to 999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeNumber(pub u16);

/// A node of the cluster, and the address of its control core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub node: NodeNumber,
    pub host: String,
    pub address: SocketAddr,
}

/// `N@HOST:PORT,…`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerList(Vec<Peer>);

/// A word without spaces or control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RackName(String);

/// How many votes a cluster may have. An even number loses its majority as early as the odd one below.
const VOTERS: [usize; 3] = [1, 3, 5];

const SECRET_BYTES_MIN: usize = 16;

impl Value for NodeNumber {
    const EXPECTED: &'static str = "a whole number from 0 to 999";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number <= 999).map(Self)
    }
}

impl fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Value for PeerList {
    const EXPECTED: &'static str =
        "1, 3 or 5 different nodes such as 0@log0:9200,1@log1:9200,2@log2:9200, hosts that resolve";

    fn parse(text: &str) -> Option<Self> {
        let peer = |item: &str| {
            let (node, address) = item.trim().split_once('@')?;
            let ListenAddress { host, socket: address } = ListenAddress::parse(address)?;
            (address.port() != 0).then_some(())?;
            Some(Peer { node: NodeNumber::parse(node)?, host, address })
        };
        let mut peers = text.split(',').map(peer).collect::<Option<Vec<_>>>()?;
        peers.sort_by_key(|peer| peer.node);
        let twice = |pair: &[Peer]| pair[0].node == pair[1].node;
        (VOTERS.contains(&peers.len()) && !peers.windows(2).any(twice)).then_some(Self(peers))
    }
}

impl Value for RackName {
    const EXPECTED: &'static str = "a name of visible characters, 255 at most";

    fn parse(text: &str) -> Option<Self> {
        let fits =
            !text.is_empty() && text.len() <= 255 && text.chars().all(|c| c.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }
}

impl ClusterSettings {
    pub(super) fn resolve(raw: &RawConfig) -> Result<Self, ConfigError> {
        let given = raw.optional::<NodeNumber>("node_id")?;
        let node = Fixed { value: given.unwrap_or_default(), given: given.is_some() };
        let peers = raw.optional::<PeerList>("peers")?.map_or_else(Vec::new, |list| list.0);
        let own = peers.iter().find(|peer| peer.node == node.value).map(|peer| peer.address);
        if !peers.is_empty() && own.is_none() {
            return Err(ConfigError::NotAmongPeers {
                origin: raw.origin("peers"),
                node: node.value,
            });
        }
        let listen = raw.optional::<ListenAddress>("peer_listen")?.map(|listen| listen.socket);
        if peers.is_empty() && listen.is_some() {
            return Err(ConfigError::NoPeers { origin: raw.origin("peer_listen") });
        }
        let listen = listen.or(own);
        let secret = raw.optional("secret_file")?.map(read_secret).transpose()?.unwrap_or_default();
        if let Some(address) = listen.filter(|address| !address.ip().is_loopback())
            && secret.is_empty()
        {
            return Err(ConfigError::PeersOpenToAll { address });
        }
        let rack = raw.optional::<RackName>("rack")?.map(|rack| rack.0);
        Ok(Self { node, rack, peers, listen, secret })
    }
}

fn read_secret(path: PathBuf) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(ConfigError::SecretUnreadable { path, source }),
    };
    bytes.truncate(bytes.trim_ascii_end().len());
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(ConfigError::SecretWeak { path });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::tests::{flags, refusal};

    const THREE: &str = "2@127.0.0.1:9220, 0@127.0.0.1:9200,1@127.0.0.1:9210";

    #[test]
    fn peers_are_an_odd_number_of_different_nodes() {
        let PeerList(peers) = PeerList::parse(THREE).expect("three nodes");
        let nodes: Vec<_> = peers.iter().map(|peer| (peer.node.0, peer.address.port())).collect();
        assert_eq!(nodes, [(0, 9200), (1, 9210), (2, 9220)]);
        for bad in [
            "",
            "0@127.0.0.1:9200,1@127.0.0.1:9210",
            "0@127.0.0.1:1,0@127.0.0.1:2,1@127.0.0.1:3",
            "127.0.0.1:9200",
            "0@127.0.0.1",
            "0@127.0.0.1:0",
            "1000@127.0.0.1:9200",
        ] {
            assert_eq!(PeerList::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_node_listens_where_its_peers_look_for_it() {
        let config = Config::resolve(&flags(&[("peers", THREE), ("node_id", "1")]));
        let cluster = config.expect("a node of three").cluster;
        assert_eq!(cluster.listen.map(|address| address.port()), Some(9210));
        let single = Config::resolve(&RawConfig::default()).expect("no cluster").cluster;
        assert!(single.peers.is_empty() && single.listen.is_none());
    }

    #[test]
    fn a_cluster_that_cannot_be_is_refused() {
        let error = refusal(&[("peers", THREE), ("node_id", "7")]);
        assert!(error.contains("--peers does not name node 7"), "{error}");
        let error = refusal(&[("peer_listen", "127.0.0.1:9200")]);
        assert!(error.contains("--peers"), "{error}");
        let open = THREE.replace("127.0.0.1", "192.0.2.1");
        let error = refusal(&[("peers", &open)]);
        assert!(error.contains("--secret-file"), "{error}");
        let secret = tempfile::NamedTempFile::new().expect("a temporary file");
        let path = secret.path().to_str().expect("a UTF-8 path");
        std::fs::write(path, "short\n").expect("writable");
        let error = refusal(&[("peers", &open), ("secret_file", path)]);
        assert!(error.contains("at least 16"), "{error}");
        std::fs::write(path, "sixteen letters!\n").expect("writable");
        let config = Config::resolve(&flags(&[("peers", &open), ("secret_file", path)]));
        assert_eq!(config.expect("a secret of 16 bytes").cluster.secret, b"sixteen letters!");
    }
}
