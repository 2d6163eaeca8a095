//! A network of the trial's own: a namespace per node, all on one bridge, and wires that break.
//!
//! ```text
//!   trial's namespace (the runner makes it)        a namespace per node
//!     clients, 10.77.0.254 ── bridge ═╦═ port 0 ═══ eth0, 10.77.0.1
//!                                     ╠═ port 1 ═══ eth0, 10.77.0.2
//!                                     ╚═ …
//! ```
//! A namespace lives as long as the process that holds it, and those end with the trial: nothing has
//! a name, so nothing can be left behind. A node is deafened towards another by a wrong hardware
//! address of it: frames go out and nobody takes them, in that direction alone.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::{may_administer, need, run};
use crate::{Outcome, Trouble};

/// Nobody's hardware address.
const NOBODY: &str = "02:00:00:00:00:99";
/// The setting that the runner gives trials with a network of their own.
pub const OWN_NETWORK: &str = "TRIALS_OWN_NETWORK";

/// See the module's description.
#[derive(Debug)]
pub struct Network {
    nodes: Vec<Namespace>,
}

/// A network namespace, held by a process that sleeps.
#[derive(Debug)]
struct Namespace(Child);

impl Network {
    /// Skips the trial where namespaces cannot be had.
    pub fn need() -> Outcome<()> {
        need(&["ip", "unshare", "nsenter"])?;
        if may_administer() && std::env::var_os(OWN_NETWORK).is_some() {
            return Ok(());
        }
        Err(Trouble::Skipped("it takes root that may make network namespaces".into()))
    }

    /// Wires up `count` nodes.
    pub fn new(count: usize) -> Outcome<Self> {
        run("ip", &["link", "set", "lo", "up"])?;
        let bridge = ["link", "add", "bridge", "type", "bridge", "stp_state", "0"];
        run("ip", &bridge)?;
        run("ip", &["address", "add", "10.77.0.254/24", "dev", "bridge"])?;
        run("ip", &["link", "set", "bridge", "up"])?;
        let mut network = Self { nodes: Vec::new() };
        for node in 0..count {
            network.nodes.push(Namespace::new()?);
            network.wire(node)?;
        }
        Ok(network)
    }

    /// The address of a node.
    #[must_use]
    pub fn address(node: usize) -> String {
        format!("10.77.0.{}", node + 1)
    }

    /// The words before a command that is to run on a node.
    #[must_use]
    pub fn wrapper(&self, node: usize) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.nodes[node].0.id())]
    }

    /// Pulls or plugs the cable of a node.
    pub fn plug(&self, node: usize, plugged: bool) -> Outcome<()> {
        run("ip", &["link", "set", &port(node), if plugged { "up" } else { "down" }])?;
        Ok(())
    }

    /// Loses every frame that `from` sends to `to`.
    pub fn cut(&self, from: usize, to: usize) -> Outcome<()> {
        let address = Self::address(to);
        let neighbour = ["neigh", "replace", &address, "lladdr", NOBODY, "dev", "eth0", "nud"];
        self.ip(from, &[&neighbour[..], &["permanent"]].concat())
    }

    /// Undoes [`Network::cut`].
    pub fn mend(&self, from: usize, to: usize) -> Outcome<()> {
        self.ip(from, &["neigh", "del", &Self::address(to), "dev", "eth0"])
    }

    fn wire(&self, node: usize) -> Outcome<()> {
        let (port, holder) = (port(node), self.nodes[node].0.id().to_string());
        let pair = ["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &holder];
        run("ip", &pair)?;
        run("ip", &["link", "set", &port, "master", "bridge", "up"])?;
        self.ip(node, &["link", "set", "lo", "up"])?;
        self.ip(node, &["address", "add", &format!("{}/24", Self::address(node)), "dev", "eth0"])?;
        self.ip(node, &["link", "set", "eth0", "up"])
    }

    fn ip(&self, node: usize, words: &[&str]) -> Outcome<()> {
        let [nsenter, space] = self.wrapper(node);
        run(&nsenter, &[&[space.as_str(), "ip"], words].concat())?;
        Ok(())
    }
}

fn port(node: usize) -> String {
    format!("port{node}")
}

impl Namespace {
    fn new() -> Outcome<Self> {
        let own = std::fs::read_link("/proc/self/ns/net")?;
        let child = Command::new("unshare")
            .args(["--net", "--", "sleep", "infinity"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let space = Self(child);
        let place = format!("/proc/{}/ns/net", space.0.id());
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::read_link(&place).is_ok_and(|its| its == own) {
            if deadline < Instant::now() {
                return Err(Trouble::failed("a network namespace did not come to be"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(space)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
