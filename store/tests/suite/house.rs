//! Where a backend lives, so that a case can open it, crash it and open it again without knowing which it is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{io, thread};

use proto::jid::user::{AppId, UserId};
use proto::owner::{AccountId, Owner};
use proto::row::{Found, Key, Range, Reads, Table};
use store::{Backend, Memory, Rocks, Tuning};
use tempfile::TempDir;

pub static NOTES: Table = Table::new("notes");
pub static MARKS: Table = Table::new("marks");
pub static NOBODYS: Table = Table::new("nobodys");
pub static TABLES: [&Table; 2] = [&NOTES, &MARKS];

/// A backend and the place its rows stay in when it is closed.
pub trait House {
    /// The open backend.
    fn backend(&self) -> Arc<dyn Backend>;

    /// Closes it in good order and opens it again.
    fn reopen(&mut self);

    /// Opens what is left when the process is killed now.
    fn crash(&mut self);
}

pub struct InMemory(Arc<Memory>);

impl InMemory {
    pub fn new() -> InMemory {
        InMemory(Arc::new(Memory::new(&TABLES)))
    }
}

impl House for InMemory {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.0) as Arc<dyn Backend>
    }

    fn reopen(&mut self) {
        self.0.settle().unwrap();
        self.crash();
    }

    fn crash(&mut self) {
        self.0 = Arc::new(self.0.crash(0));
    }
}

pub struct OnDisk {
    backend: Option<Arc<Rocks>>,
    path: PathBuf,
    _directory: TempDir,
}

impl OnDisk {
    pub fn new() -> OnDisk {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("data");
        OnDisk { backend: Some(Arc::new(open(&path))), path, _directory: directory }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn close(&mut self) {
        self.backend = None;
    }
}

impl House for OnDisk {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(self.backend.as_ref().unwrap()) as Arc<dyn Backend>
    }

    fn reopen(&mut self) {
        let backend = self.backend.take().unwrap();
        backend.settle().unwrap();
        drop(backend);
        self.backend = Some(Arc::new(open(&self.path)));
    }

    /// The files as they are now, without the help of a close, are what a killed process leaves.
    fn crash(&mut self) {
        let image = self.path.with_extension("crashed");
        copy_directory(&self.path, &image);
        self.backend = None;
        fs::remove_dir_all(&self.path).unwrap();
        fs::rename(&image, &self.path).unwrap();
        self.backend = Some(Arc::new(open(&self.path)));
    }
}

pub fn open(path: &Path) -> Rocks {
    Rocks::open(path, &TABLES, &Tuning::default()).unwrap()
}

/// Copies the files of a store as they are at one moment. A store that is open may be moving rows between them, and a copy that
/// was overtaken by that is of no moment at all: it is thrown away, and taken again.
pub fn copy_directory(from: &Path, to: &Path) {
    for _ in 0..COPIES_MAX {
        let before = files(from);
        fs::create_dir(to).unwrap();
        let copied = before.keys().all(|name| fs::copy(from.join(name), to.join(name)).is_ok());
        if copied && files(from) == before {
            return;
        }
        fs::remove_dir_all(to).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{} is never at rest", from.display());
}

const COPIES_MAX: usize = 1_000;

/// The files of a directory, how long they are and when they were last changed.
fn files(directory: &Path) -> BTreeMap<OsString, (u64, SystemTime)> {
    let facts = |entry: io::Result<DirEntry>| {
        let entry = entry.ok()?;
        // One that has gone since is seen to be gone by the next look.
        let about = entry.metadata().ok()?;
        Some((entry.file_name(), (about.len(), about.modified().unwrap())))
    };
    fs::read_dir(directory).unwrap().filter_map(facts).collect()
}

pub fn account(user: u64) -> Key {
    Key::of(&Owner::Account(AccountId { app: AppId(1), user: UserId(user) }))
}

pub fn key(bytes: &[u8]) -> Key {
    Key::from_bytes(bytes)
}

/// Keys from one to another, as bytes.
pub fn range(start: &[u8], end: &[u8]) -> Range {
    Range { start: key(start), end: key(end) }
}

pub fn everything() -> Range {
    range(&[], &[0xff; 64])
}

pub fn row(backend: &dyn Backend, table: &'static Table, key: Key) -> Option<Vec<u8>> {
    match &backend.read(&Reads::get(table, key)).unwrap()[..] {
        [Found::Row(row)] => row.as_ref().map(|row| row.to_vec()),
        other => panic!("one row expected: {other:?}"),
    }
}

pub fn page(backend: &dyn Backend, reads: &Reads) -> Vec<(Vec<u8>, Vec<u8>)> {
    match &backend.read(reads).unwrap()[..] {
        [Found::Page(rows)] => rows.iter().map(|(key, value)| (key.as_slice().to_vec(), value.to_vec())).collect(),
        other => panic!("one page expected: {other:?}"),
    }
}

/// The keys of a page, where each is one byte.
pub fn keys(backend: &dyn Backend, reads: &Reads) -> Vec<u8> {
    page(backend, reads).into_iter().map(|(key, _)| key[0]).collect()
}
