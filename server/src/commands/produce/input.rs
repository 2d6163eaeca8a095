//! Where records come from: lines, or whole files, read ahead on a thread of their own.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::failure::Failure;

/// A record's bytes, or why there are no more.
pub(super) type Item = Result<Vec<u8>, Failure>;

/// Items read ahead.
const AHEAD: usize = 4096;

/// The lines of `files`, or of standard input if there are none; with `whole`, the files.
pub(super) fn open(files: &[PathBuf], whole: bool) -> Receiver<Item> {
    let (sender, receiver) = sync_channel(AHEAD);
    let files = files.to_vec();
    std::thread::spawn(move || {
        let read = if files.is_empty() {
            lines(&mut io::stdin().lock(), Path::new("standard input"), &sender)
        } else {
            files.iter().try_for_each(|path| match whole {
                true => send(&sender, std::fs::read(path).map_err(|e| unreadable(path, e))),
                false => file_lines(path, &sender),
            })
        };
        // A closed channel ends the reading: whoever closed it has its own reason to report.
        let _ = read;
    });
    receiver
}

struct Closed;

fn send(sender: &SyncSender<Item>, item: Item) -> Result<(), Closed> {
    let is_last = item.is_err();
    sender.send(item).map_err(|_| Closed)?;
    if is_last { Err(Closed) } else { Ok(()) }
}

fn file_lines(path: &Path, sender: &SyncSender<Item>) -> Result<(), Closed> {
    match File::open(path) {
        Ok(file) => lines(&mut BufReader::with_capacity(1 << 16, file), path, sender),
        Err(error) => send(sender, Err(unreadable(path, error))),
    }
}

fn lines(from: &mut dyn BufRead, path: &Path, sender: &SyncSender<Item>) -> Result<(), Closed> {
    loop {
        let mut line = Vec::new();
        match from.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {
                line.pop_if(|last| *last == b'\n');
                send(sender, Ok(line))?;
            }
            Err(error) => send(sender, Err(unreadable(path, error)))?,
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> Failure {
    Failure::Input { path: path.to_owned(), source }
}
