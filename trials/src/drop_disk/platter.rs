//! The medium and the cache before it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PAGE_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;

type Page = Box<[u8; PAGE_BYTES]>;

/// Which unflushed pages a cut leaves behind.
#[derive(Clone, Copy, Debug)]
pub enum Survivors {
    /// None: the harshest cut for a writer that forgets to flush.
    None,
    /// A third of them whole, a third torn at a sector, drawn from the seed.
    Some { seed: u64 },
}

/// Requests so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub writes: u64,
    pub flushes: u64,
    pub pages_dropped: u64,
}

/// Media, volatile cache and temper of the disk.
#[derive(Debug)]
pub(super) struct Platter {
    media: File,
    volatile: BTreeMap<u64, Page>,
    powered: bool,
    pub(super) lying: bool,
    pub(super) failing: bool,
    pub(super) counts: Counts,
}

impl Platter {
    pub(super) fn create(media: &Path, bytes: u64) -> io::Result<Self> {
        let media =
            File::options().read(true).write(true).create(true).truncate(true).open(media)?;
        media.set_len(bytes)?;
        Ok(Self {
            media,
            volatile: BTreeMap::new(),
            powered: true,
            lying: false,
            failing: false,
            counts: Counts::default(),
        })
    }

    pub(super) fn read(&self, pos: u64, len: usize) -> io::Result<Vec<u8>> {
        self.check(false)?;
        let mut bytes = vec![0; len];
        for piece in pieces(pos, len) {
            let into = &mut bytes[piece.done..piece.done + piece.len];
            match self.volatile.get(&piece.page) {
                Some(page) => into.copy_from_slice(&page[piece.from..piece.from + piece.len]),
                None => self.media.read_exact_at(into, piece.pos())?,
            }
        }
        Ok(bytes)
    }

    pub(super) fn write(&mut self, pos: u64, bytes: &[u8]) -> io::Result<()> {
        self.check(true)?;
        self.counts.writes += 1;
        for piece in pieces(pos, bytes.len()) {
            let from = &bytes[piece.done..piece.done + piece.len];
            let page = Self::cached(&mut self.volatile, &self.media, piece.page)?;
            page[piece.from..piece.from + piece.len].copy_from_slice(from);
        }
        Ok(())
    }

    /// Makes every volatile page media, unless the disk lies.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.check(true)?;
        self.counts.flushes += 1;
        if self.lying {
            return Ok(());
        }
        while let Some((page, bytes)) = self.volatile.pop_first() {
            self.media.write_all_at(&bytes[..], page * PAGE_BYTES as u64)?;
        }
        Ok(())
    }

    pub(super) fn cut(&mut self, survivors: Survivors) {
        self.powered = false;
        let mut dice = match survivors {
            Survivors::None => None,
            Survivors::Some { seed } => Some(fastrand::Rng::with_seed(seed)),
        };
        while let Some((page, bytes)) = self.volatile.pop_first() {
            let kept_bytes = dice.as_mut().map_or(0, |dice| match dice.u8(0..3) {
                0 => 0,
                1 => PAGE_BYTES,
                _ => dice.usize(1..PAGE_BYTES / SECTOR_BYTES) * SECTOR_BYTES,
            });
            self.counts.pages_dropped += u64::from(kept_bytes < PAGE_BYTES);
            self.media
                .write_all_at(&bytes[..kept_bytes], page * PAGE_BYTES as u64)
                .expect("the file behind the disk takes what it took before");
        }
    }

    pub(super) fn power_on(&mut self) {
        self.powered = true;
    }

    fn check(&self, writing: bool) -> io::Result<()> {
        if !self.powered || (writing && self.failing) {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        Ok(())
    }

    fn cached<'a>(
        volatile: &'a mut BTreeMap<u64, Page>,
        media: &File,
        page: u64,
    ) -> io::Result<&'a mut Page> {
        use std::collections::btree_map::Entry;
        match volatile.entry(page) {
            Entry::Occupied(cached) => Ok(cached.into_mut()),
            Entry::Vacant(place) => {
                let mut bytes = Box::new([0; PAGE_BYTES]);
                media.read_exact_at(&mut bytes[..], page * PAGE_BYTES as u64)?;
                Ok(place.insert(bytes))
            }
        }
    }
}

/// The part of a request that lies in one page.
struct Piece {
    page: u64,
    from: usize,
    len: usize,
    done: usize,
}

impl Piece {
    fn pos(&self) -> u64 {
        self.page * PAGE_BYTES as u64 + self.from as u64
    }
}

fn pieces(pos: u64, len: usize) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = pos + done as u64;
        let from = (at % PAGE_BYTES as u64) as usize;
        let piece = Piece {
            page: at / PAGE_BYTES as u64,
            from,
            len: (PAGE_BYTES - from).min(len - done),
            done,
        };
        done += piece.len;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platter(name: &str) -> Platter {
        let path = std::env::temp_dir().join(format!("platter-{}-{name}", std::process::id()));
        let platter = Platter::create(&path, 8 * 4096).unwrap();
        std::fs::remove_file(path).unwrap();
        platter
    }

    fn after_cut(platter: &mut Platter, survivors: Survivors) -> Vec<u8> {
        platter.cut(survivors);
        assert!(platter.read(0, 1).is_err(), "a disk without power answers nothing");
        platter.power_on();
        platter.read(0, 8 * 4096).unwrap()
    }

    #[test]
    fn reads_see_unflushed_writes_across_pages() {
        let mut platter = platter("reads");
        platter.write(4000, &[7; 200]).unwrap();
        let bytes = platter.read(3999, 202).unwrap();
        assert_eq!((bytes[0], bytes[201]), (0, 0));
        assert_eq!(bytes[1..201], [7; 200]);
    }

    #[test]
    fn a_cut_drops_what_was_not_flushed() {
        let mut platter = platter("cut");
        platter.write(0, &[1; 4096]).unwrap();
        platter.flush().unwrap();
        platter.write(512, &[2; 8192]).unwrap();
        let bytes = after_cut(&mut platter, Survivors::None);
        assert_eq!(bytes[..4096], [1; 4096]);
        assert!(bytes[4096..].iter().all(|byte| *byte == 0));
        assert_eq!(platter.counts.pages_dropped, 3);
    }

    #[test]
    fn a_lying_flush_makes_nothing_durable() {
        let mut platter = platter("lie");
        platter.lying = true;
        platter.write(0, &[1; 4096]).unwrap();
        platter.flush().unwrap();
        assert_eq!(after_cut(&mut platter, Survivors::None)[..4096], [0; 4096]);
    }

    #[test]
    fn survivors_are_whole_torn_at_a_sector_or_gone() {
        let mut platter = platter("survivors");
        platter.write(0, &[1; 8 * 4096]).unwrap();
        let bytes = after_cut(&mut platter, Survivors::Some { seed: 7 });
        let kept: Vec<usize> = bytes
            .chunks(4096)
            .map(|page| page.iter().take_while(|byte| **byte == 1).count())
            .collect();
        assert!(kept.iter().all(|bytes| bytes % 512 == 0));
        assert!(kept.contains(&0) && kept.contains(&4096), "{kept:?}");
        assert!(kept.iter().any(|bytes| 0 < *bytes && *bytes < 4096), "{kept:?}");
    }

    #[test]
    fn a_failing_disk_refuses_writes_and_flushes_but_reads() {
        let mut platter = platter("failing");
        platter.failing = true;
        assert!(platter.write(0, &[1]).is_err());
        assert!(platter.flush().is_err());
        assert!(platter.read(0, 1).is_ok());
    }
}
