//! SIGTERM and Ctrl-C: the first asks for a clean stop, one after it ends the process at once.

use std::io;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What an impatient shell expects of a process ended by Ctrl-C.
const INTERRUPTED: i32 = 130;
/// A wish that comes twice: `timeout`, and shells that end a pipeline, tell the process and then its
/// whole group.
const ECHO: Duration = Duration::from_millis(200);

/// Calls `stop` once, on a thread of its own, at the first signal.
pub fn on_stop(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let watch = move || {
        let mut pending = signals.forever();
        pending.next();
        let asked = Instant::now();
        stop();
        while asked.elapsed() < ECHO {
            pending.next();
        }
        std::process::exit(INTERRUPTED);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
    Ok(())
}
