//! Starts cores on threads of their own and takes them down again.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use base::{Arena, Listener};
use ring::{
    Mailboxes, NetOptions, Plan, PlannedShard, PollMode, ReactorConfig, ReactorCounters,
    RingOptions, ShardFolder, StartReport, Stopped, map_pages, mesh,
};

use crate::machine::{Echo, JOURNAL, JOURNAL_BYTES, Mail, Route, SHARD};

/// A running core.
pub(crate) struct Core {
    pub(crate) address: SocketAddr,
    pub(crate) counters: Arc<ReactorCounters>,
    pub(crate) report: StartReport,
    stopper: ring::Stopper,
    thread: JoinHandle<(Echo, Stopped)>,
}

/// A small core: few connections, few buffers.
pub(crate) fn config(poll: PollMode) -> ReactorConfig {
    ReactorConfig {
        poll,
        net: NetOptions { connections: 300, buffers: 16, buffer_bytes: 4096 },
        ring: RingOptions { submissions: 64, completions: 512, ..RingOptions::default() },
        ..ReactorConfig::default()
    }
}

/// A folder that is not in memory.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

/// Writes a zeroed journal segment into a shard's folder.
pub(crate) fn make_journal(path: &Path) {
    let path = path.join(ring::folder::relative_path(JOURNAL.kind));
    std::fs::create_dir_all(path.parent().expect("in a folder")).expect("a folder");
    std::fs::write(&path, vec![0; JOURNAL_BYTES as usize]).expect("room for a journal");
    File::open(path).and_then(|file| file.sync_all()).expect("it can be synced");
}

impl Core {
    pub(crate) fn echo(config: ReactorConfig, route: Route) -> Self {
        let mesh = mesh(1, 8).expect("eventfds");
        let boxes = mesh.data.into_iter().next().expect("one core");
        Self::start(config, boxes, None, move |arena| Echo::new(route, arena))
    }

    /// A core with one shard in `folder`.
    pub(crate) fn with_shard(
        config: ReactorConfig,
        folder: &Path,
        make: impl FnOnce(Option<Arena>) -> Echo + Send + 'static,
    ) -> Self {
        let mesh = mesh(1, 8).expect("eventfds");
        let boxes = mesh.data.into_iter().next().expect("one core");
        Self::start(config, boxes, Some((folder, 8 << 20)), make)
    }

    /// The same with so large an arena.
    pub(crate) fn with_arena(
        config: ReactorConfig,
        folder: &Path,
        bytes: usize,
        make: impl FnOnce(Option<Arena>) -> Echo + Send + 'static,
    ) -> Self {
        let mesh = mesh(1, 8).expect("eventfds");
        let boxes = mesh.data.into_iter().next().expect("one core");
        Self::start(config, boxes, Some((folder, bytes)), make)
    }

    pub(crate) fn start(
        config: ReactorConfig,
        boxes: Mailboxes<Mail>,
        shard: Option<(&Path, usize)>,
        make: impl FnOnce(Option<Arena>) -> Echo + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut plan = Plan::new(config, boxes);
        plan.listeners.push((Listener::Node, listener));
        let mut arena = None;
        if let Some((folder, bytes)) = shard {
            let folder = ShardFolder::open(folder, SHARD, Duration::from_secs(10)).expect("usable");
            let (memory, mapping) = map_pages(bytes).expect("memory");
            arena = Some(Arena::new(memory));
            plan.shards.push(PlannedShard { folder, arena: mapping });
        }
        let (counters, stopper) = (plan.counters(), plan.stopper());
        let (report_to, report) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut reactor = plan.start().expect("io_uring is allowed here");
            report_to.send(reactor.report().clone()).expect("the test waits for it");
            let mut machine = make(arena);
            let stopped = reactor.run(&mut machine).expect("the kernel goes on");
            (machine, stopped)
        });
        let report = report.recv().expect("the core started");
        Self { address, counters, report, stopper, thread }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the core listens");
        // So that a lost byte fails a test instead of hanging it.
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("not zero");
        stream
    }

    /// Waits until the core has entered the kernel a few times more.
    pub(crate) fn wait_for_turns(&self) {
        let enters = self.counters.enters.get();
        wait_until(|| enters + 3 < self.counters.enters.get());
    }

    /// Stops the core and says how it stopped.
    pub(crate) fn stop(self) -> (Echo, Stopped) {
        self.stopper.stop();
        self.thread.join().expect("no panic on the core")
    }

    /// Stops the core, which must end cleanly.
    pub(crate) fn stop_cleanly(self) -> Echo {
        let counters = Arc::clone(&self.counters);
        let (machine, stopped) = self.stop();
        assert_eq!(stopped, Stopped::Cleanly);
        assert_eq!(machine.opened, machine.closed);
        assert_eq!(counters.strays.get(), 0);
        machine
    }
}

/// Waits until `true`, for things that happen soon.
pub(crate) fn wait_until(mut happened: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if happened() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it did not happen within 30 s");
}

/// Sends `bytes` and expects them back.
pub(crate) fn round_trip(stream: &mut TcpStream, bytes: &[u8]) {
    let mut writer = stream.try_clone().expect("a second handle");
    let to_send = bytes.to_vec();
    let sender = std::thread::spawn(move || writer.write_all(&to_send).expect("taken"));
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).expect("everything comes back");
    sender.join().expect("no panic");
    assert!(back == bytes, "{} bytes came back altered", bytes.len());
}

/// Bytes that differ from their neighbours, so that loss and reordering show.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}
