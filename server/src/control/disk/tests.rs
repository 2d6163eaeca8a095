use std::time::Duration;

use base::{FileKind, PageMemory, ShardId, Token};
use glommio::LocalExecutor;

use super::*;

const SEGMENT: FileId = FileId { shard: ShardId::CONTROL, kind: FileKind::Segment(0) };

fn folder() -> tempfile::TempDir {
    let beside = std::env::current_exe().expect("a path");
    tempfile::tempdir_in(beside.parent().expect("a folder")).expect("a temporary folder")
}

struct Host {
    disk: Rc<Disk>,
    existing: Vec<(FileId, u64)>,
    bell: Rc<Bell>,
    arena: Arena,
}

impl Host {
    async fn on(root: &Path) -> Self {
        let bell = Rc::new(Bell::default());
        let folder = ShardFolder::open(root, ShardId::CONTROL, Duration::ZERO);
        let folder = folder.expect("nobody holds it");
        let existing = folder.existing();
        let opened = Disk::open(root.to_owned(), folder, Rc::clone(&bell), None).await;
        let disk = opened.expect("a folder that can be opened");
        Self { disk, existing, bell, arena: Arena::new(PageMemory::Heap(Page::boxed(16))) }
    }

    async fn complete(&self, op: Op) -> Done {
        self.disk.start(op, &self.arena);
        loop {
            if let Some(done) = self.disk.completed() {
                return done;
            }
            self.bell.wait().await;
        }
    }
}

#[test]
fn what_was_written_is_read_back_by_another_process() {
    let root = folder();
    LocalExecutor::default().run(async {
        let mut host = Host::on(root.path()).await;
        assert!(host.existing.is_empty());
        let create = Op::Create { tok: Token(1), file: SEGMENT, bytes: 3 << 20 };
        assert!(matches!(
            host.complete(create).await,
            Done::Created { tok: Token(1), res: Ok(()) }
        ));
        let mut draft = host.arena.draft(4096).expect("an empty arena");
        host.arena.put(&mut draft, b"a frame").expect("it fits");
        let span = host.arena.seal(draft);
        let pin = host.arena.pin(span);
        let write = Op::Write { tok: Token(2), file: SEGMENT, pos: 8192, span, pin, sync: true };
        let Done::Wrote { tok: Token(2), pin, res: Ok(()) } = host.complete(write).await else {
            panic!("the write succeeds")
        };
        host.arena.unpin(pin);
        let synced = host.complete(Op::Sync { tok: Token(3), file: SEGMENT }).await;
        assert!(matches!(synced, Done::Synced { tok: Token(3), res: Ok(()) }));
    });
    LocalExecutor::default().run(async {
        let host = Host::on(root.path()).await;
        assert_eq!(host.existing, [(SEGMENT, 3 << 20)]);
        let into = Page::boxed(3);
        let read = Op::Read { tok: Token(4), file: SEGMENT, pos: 4096, into };
        let Done::Filled { buf, res: Ok(()), .. } = host.complete(read).await else {
            panic!("the read succeeds")
        };
        assert!(buf[0].0.iter().all(|byte| *byte == 0), "created files are zeroed");
        assert_eq!(&buf[1].0[..8], b"a frame\0");
    });
}

#[test]
fn a_read_beyond_the_end_is_short() {
    let root = folder();
    LocalExecutor::default().run(async {
        let host = Host::on(root.path()).await;
        let create = Op::Create { tok: Token(1), file: SEGMENT, bytes: 1 << 20 };
        assert!(matches!(host.complete(create).await, Done::Created { res: Ok(()), .. }));
        let into = Page::boxed(2);
        let read = Op::Read { tok: Token(2), file: SEGMENT, pos: (1 << 20) - 4096, into };
        let Done::Filled { buf, res, .. } = host.complete(read).await else {
            panic!("a read completes as one")
        };
        assert_eq!(buf.len(), 2, "the buffer comes back");
        assert_eq!(res, Err(IoError::Short { wanted: 8192, got: 4096 }));
    });
}

#[test]
fn a_file_that_cannot_be_made_is_an_error_of_the_kernel() {
    let root = folder();
    LocalExecutor::default().run(async {
        let host = Host::on(root.path()).await;
        std::fs::remove_dir(root.path().join("journal")).expect("empty so far");
        let create = Op::Create { tok: Token(1), file: SEGMENT, bytes: 1 << 20 };
        let Done::Created { res, .. } = host.complete(create).await else {
            panic!("a creation completes as one")
        };
        assert_eq!(res, Err(IoError::Errno(Errno::NOENT.raw_os_error())));
    });
}
