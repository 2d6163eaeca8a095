//! A [`Progress`] that is drawn by a thread of its own: for work that is being timed and must not
//! stop to draw, or says for many seconds nothing new.

use std::fmt;
use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Progress;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(250);

/// See the module's description. Ends its thread and removes its line when dropped.
#[derive(Debug)]
pub struct Ticker {
    /// `None` if standard error is no terminal.
    drawn: Option<(Sender<String>, JoinHandle<()>)>,
}

impl Ticker {
    #[must_use]
    pub fn start() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { drawn: None };
        }
        let (texts, heard) = channel();
        let thread = std::thread::Builder::new().name("progress".to_owned());
        // Without a thread to spare the work is done all the same.
        let thread = thread.spawn(move || draw(&heard));
        Self { drawn: thread.ok().map(|thread| (texts, thread)) }
    }

    /// Says what is being done from now on.
    pub fn say(&self, text: fmt::Arguments<'_>) {
        if let Some((texts, _)) = &self.drawn {
            // Who does not draw any more has nobody to draw for.
            let _ = texts.send(text.to_string());
        }
    }

    /// Removes the line.
    pub fn finish(self) {}
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some((texts, thread)) = self.drawn.take() {
            drop(texts);
            let _ = thread.join();
        }
    }
}

fn draw(texts: &Receiver<String>) {
    let mut progress = Progress::start();
    let mut text = String::new();
    loop {
        match texts.recv_timeout(TICK) {
            Ok(newer) => text = newer,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        progress.say(format_args!("{text}"));
    }
}
