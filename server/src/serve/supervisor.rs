//! The main thread once all others run: it hears events, and ends the process in order.

use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base::ShardId;
use ring::Stopped;

use super::engines::Stoppers;
use super::herald::Herald;
use super::report::Report;
use super::{CoreError, Event};
use crate::control::ControlThread;
use crate::data_folder::{DataFolder, NoRoom, shard_name};
use crate::failure::Failure;
use crate::output;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) heard: Receiver<Event>,
    pub(super) report: Report,
    pub(super) folder: DataFolder,
    /// Ends with this process, and tells the cluster.
    pub(super) herald: Option<Herald>,
    pub(super) stoppers: Stoppers,
    pub(super) cores: Vec<JoinHandle<()>>,
    pub(super) control: ControlThread,
}

/// The control core says that it has left within less; if it hangs, the server stops all the same.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// Threads give up by themselves within less, unless the kernel does not let them go: somebody who
/// syncs all the time holds every other sync up, for seconds. What is acked is safe without them.
const STOP_PATIENCE: Duration = Duration::from_millis(900);
/// Between two looks whether they have ended.
const LOOK: Duration = Duration::from_millis(1);

/// How the server's life ends.
enum End {
    Asked,
    Failed(Failure),
}

impl Supervisor {
    /// Returns when every thread has ended.
    pub(super) fn run(mut self) -> Result<(), Failure> {
        let end = self.watch();
        // A node that is alone leads for nobody else.
        if let End::Asked = end
            && self.herald.is_some()
        {
            self.leave();
        }
        let by = Instant::now() + STOP_PATIENCE;
        let mut cleanly = self.stop_cores(by);
        self.stoppers.control.stop();
        let control = self.control.join_by(by);
        cleanly &= control.is_some();
        match end {
            End::Asked => {
                self.report.stopped(cleanly);
                Ok(control.unwrap_or(Ok(()))?)
            }
            End::Failed(failure) => Err(failure),
        }
    }

    fn watch(&mut self) -> End {
        let mut failed_shards = 0;
        let mut is_ready = false;
        while let Ok(event) = self.heard.recv() {
            match event {
                Event::CoreStarted { report, .. } => self.report.core(&report),
                Event::Recovered(recovered) => self.report.recovered(&recovered),
                Event::Opened { shard: ShardId::CONTROL, .. } => {}
                Event::Opened { shard, boot } => {
                    if let Some(herald) = &mut self.herald {
                        herald.tell(shard, boot);
                    }
                }
                Event::Lost(loss) => self.report.lost(&loss),
                Event::Activated(shard) => {
                    if let Err(error) = self.folder.activate(shard) {
                        // Without the mark, a journal that vanishes whole looks like a new one.
                        output::note(format_args!("{error}"));
                    }
                }
                Event::Ready => {
                    is_ready = true;
                    self.report.ready();
                }
                Event::LacksSegment { shard, missing } => {
                    let no_room = NoRoom::of_segment(self.folder.path(), missing);
                    return End::Failed(Failure::NoRoom { name: shard_name(shard), no_room });
                }
                Event::LacksBin { shard, wanted_bytes } => {
                    let no_room = NoRoom::of_bin(self.folder.path(), wanted_bytes);
                    return End::Failed(Failure::NoRoom { name: shard_name(shard), no_room });
                }
                Event::ShardFailed { shard: ShardId::CONTROL, .. } => {}
                Event::ShardFailed { shard, reason } => {
                    failed_shards += 1;
                    let failure = Failure::Shard { name: shard_name(shard), reason };
                    if !is_ready && failed_shards == self.folder.meta().shard_count() {
                        return End::Failed(failure);
                    }
                    output::error(&failure);
                }
                Event::ControlFailed(reason) => {
                    let failure = Failure::Shard { name: shard_name(ShardId::CONTROL), reason };
                    if !is_ready {
                        return End::Failed(failure);
                    }
                    output::error(&failure);
                }
                Event::CoreEnded { core, result } => {
                    let error = result.err().unwrap_or(CoreError::Unasked);
                    return End::Failed(Failure::Core { core, error });
                }
                Event::StopAsked => return End::Asked,
                Event::Left => {}
            }
        }
        End::Asked
    }

    /// Lets other nodes of the cluster take over what this one leads, while it still serves.
    fn leave(&mut self) {
        self.stoppers.control.leave();
        while let Ok(event) = self.heard.recv_timeout(LEAVE_PATIENCE) {
            // Whatever else happens now, the server stops.
            if let Event::Left | Event::CoreEnded { .. } | Event::ControlFailed(_) = event {
                return;
            }
        }
    }

    /// Data cores first: the control core outlives whoever may still ask it something. Says whether
    /// all finished what they had begun.
    fn stop_cores(&mut self, by: Instant) -> bool {
        self.stoppers.cores.iter().for_each(ring::Stopper::stop);
        while !self.cores.iter().all(JoinHandle::is_finished) {
            if by <= Instant::now() {
                output::note(format_args!("the kernel does not let go of a core: left behind"));
                return false;
            }
            std::thread::sleep(LOOK);
        }
        for core in self.cores.drain(..) {
            core.join().expect("a panic aborts the process");
        }
        let mut cleanly = true;
        for event in self.heard.try_iter() {
            match event {
                Event::CoreEnded { core, result: Ok(Stopped::Late(unfinished)) } => {
                    output::note(format_args!("core {core} ran out of time: {unfinished}"));
                    cleanly = false;
                }
                Event::CoreEnded { result: Err(_), .. } => cleanly = false,
                _ => {}
            }
        }
        cleanly
    }
}
