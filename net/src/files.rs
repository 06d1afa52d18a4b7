//! The files that users have left, outside of the store: one directory for each day on which files go.
//!
//! A file is written under another name, synced, linked to its own and its directory synced: what has its name is whole, and
//! nothing ever takes another's name. Before its bytes it holds what has to be known to hand it out, so that the two cannot part.
//! All of this blocks: it is for the pool.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proto::model::upload::{Day, FileId, Label};
use rest::flow::{Incoming, Opened, Received};

/// Where the files are, and how many may be open at once.
#[derive(Clone, Debug)]
pub struct Files {
    path: Arc<Path>,
    open: Arc<Open>,
}

#[derive(Debug)]
struct Open {
    now: AtomicUsize,
    max: AtomicUsize,
}

/// One file that is open, counted until this is dropped.
#[derive(Debug)]
struct Held(Arc<Open>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct Writing {
    files: Files,
    id: FileId,
    file: File,
    /// How much of it is still to come.
    left: u64,
    _held: Held,
}

/// A file that is being read.
#[derive(Debug)]
pub struct Reading {
    file: File,
    /// Where its own bytes begin.
    start: u64,
    _held: Held,
}

/// One thing to do with a file on behalf of a connection.
#[derive(Debug)]
pub enum Chore {
    /// Begin to write one.
    Create(Files, Incoming),
    /// Write this to its end; with the last piece it gets its name.
    Write(Writing, Bytes, bool),
    /// Find one.
    Open(Files, FileId),
    /// Read at most so many bytes from there.
    Read(Reading, u64, usize),
}

/// What came of a [`Chore`].
#[derive(Debug)]
pub enum Outcome {
    /// It is there to be written to.
    Writing(Writing),
    /// It is written, or will not be.
    Received(FileId, Received),
    /// What was found.
    Opened(Option<Reading>, Opened),
    /// What was read; none when that failed.
    Read(Option<(Reading, Bytes)>),
}

/// One thing to do with files that nobody waits for.
#[derive(Debug)]
pub enum Errand {
    /// What was begun will not be finished.
    Abandon(Writing),
    /// Nobody wants these.
    Remove(Files, Vec<FileId>),
    /// Files of the days before are not wanted any more.
    Sweep(Files, Day),
}

impl Files {
    /// The files below this directory, which is made if need be. What was left unfinished is removed.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(path: PathBuf) -> io::Result<Files> {
        let open = Open { now: AtomicUsize::new(0), max: AtomicUsize::new(usize::MAX) };
        let files = Files { path: path.into(), open: Arc::new(open) };
        make(&files.path)?;
        if let Some(parent) = files.path.parent() {
            File::open(parent)?.sync_all()?;
        }
        match fs::remove_dir_all(files.unfinished()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        make(&files.unfinished())?;
        Ok(files)
    }

    /// From now on no more than so many are open at once.
    pub fn limit(&self, open_max: usize) {
        self.open.max.store(open_max, Ordering::Relaxed);
    }

    /// Room for one more; the error is the system's when there is none there.
    fn hold(&self) -> io::Result<Held> {
        let before = self.open.now.fetch_add(1, Ordering::Relaxed);
        let held = Held(Arc::clone(&self.open));
        if before < self.open.max.load(Ordering::Relaxed) {
            Ok(held)
        } else {
            Err(io::Error::from_raw_os_error(libc::EMFILE))
        }
    }

    fn unfinished(&self) -> PathBuf {
        self.path.join("unfinished")
    }

    fn day(&self, day: Day) -> PathBuf {
        self.path.join(day.0.to_string())
    }

    fn place(&self, id: FileId) -> PathBuf {
        self.day(id.day()).join(id.to_string())
    }

    fn create(self, incoming: &Incoming) -> io::Result<Writing> {
        let id = incoming.file;
        if self.place(id).exists() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let held = self.hold()?;
        let path = self.unfinished().join(id.to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut writing = Writing { files: self, id, file, left: incoming.bytes, _held: held };
        match writing.write_head(&incoming.label.encode()) {
            Ok(()) => Ok(writing),
            Err(error) => {
                writing.abandon();
                Err(error)
            }
        }
    }

    fn find(&self, id: FileId) -> io::Result<(Reading, Label, u64)> {
        let held = self.hold()?;
        let mut file = File::open(self.place(id))?;
        let mut head = [0; HEAD_BYTES];
        file.read_exact(&mut head)?;
        let [magic @ .., a, b, c, d] = head;
        let length = u32::from_be_bytes([a, b, c, d]);
        if magic != *MAGIC || length > LABEL_BYTES_MAX {
            return Err(io::Error::new(ErrorKind::InvalidData, "the file does not begin as it should"));
        }
        let mut label = vec![0; length as usize];
        file.read_exact(&mut label)?;
        let label = Label::decode(&label).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let start = HEAD_BYTES as u64 + u64::from(length);
        let bytes = file.metadata()?.len().saturating_sub(start);
        Ok((Reading { file, start, _held: held }, label, bytes))
    }

    fn remove(&self, id: FileId) {
        match fs::remove_file(self.place(id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::error!(%error, day = id.day().0, "a file cannot be removed");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Whole days go at once.
    fn sweep(&self, today: Day) -> io::Result<()> {
        let mut result = Ok(());
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let day = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Day);
            if day.is_some_and(|day| day < today) {
                // One day that cannot go does not hold the others back.
                result = result.and(fs::remove_dir_all(entry.path()));
            }
        }
        result
    }
}

impl Writing {
    fn write_head(&mut self, label: &[u8]) -> io::Result<()> {
        let length = u32::try_from(label.len()).map_err(io::Error::other)?;
        let mut head = Vec::with_capacity(HEAD_BYTES + label.len());
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(label);
        self.file.write_all(&head)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(ErrorKind::FileTooLarge)?;
        self.file.write_all(bytes)
    }

    /// Gives the file its name. From here on it survives whatever happens.
    fn finish(&self) -> io::Result<()> {
        if self.left > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.file.sync_all()?;
        let day = self.files.day(self.id.day());
        make(&day)?;
        // Also when it was there: whoever made it may not have come this far.
        File::open(&self.files.path)?.sync_all()?;
        // Unlike a rename this never replaces anything.
        fs::hard_link(self.path(), self.files.place(self.id))?;
        if let Err(error) = File::open(day).and_then(|day| day.sync_all()) {
            self.files.remove(self.id);
            return Err(error);
        }
        // It is safe; its other name goes at the next start if it does not go now.
        if let Err(error) = fs::remove_file(self.path()) {
            tracing::error!(%error, "the first name of a file cannot be removed");
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.files.unfinished().join(self.id.to_string())
    }

    fn abandon(self) {
        if let Err(error) = fs::remove_file(self.path()) {
            tracing::error!(%error, "an unfinished file cannot be removed");
        }
    }
}

impl Chore {
    /// Does it.
    pub fn run(self) -> Outcome {
        match self {
            Chore::Create(files, incoming) => match files.create(&incoming) {
                Ok(writing) => Outcome::Writing(writing),
                Err(error) => Outcome::Received(incoming.file, refused(&error)),
            },
            Chore::Write(mut writing, bytes, last) => match writing.write(&bytes) {
                Ok(()) if !last => Outcome::Writing(writing),
                written => match written.and_then(|()| writing.finish()) {
                    Ok(()) => Outcome::Received(writing.id, Received::Kept),
                    Err(error) => {
                        let id = writing.id;
                        writing.abandon();
                        Outcome::Received(id, refused(&error))
                    }
                },
            },
            Chore::Open(files, id) => match files.find(id) {
                Ok((reading, label, bytes)) => Outcome::Opened(Some(reading), Opened::File(label, bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound => Outcome::Opened(None, Opened::Nothing),
                Err(error) => {
                    tracing::error!(%error, day = id.day().0, "a file cannot be read");
                    Outcome::Opened(None, Opened::Failed)
                }
            },
            Chore::Read(reading, from, bytes) => Outcome::Read(match reading.read(from, bytes) {
                Ok(bytes) => Some((reading, bytes)),
                Err(error) => {
                    tracing::error!(%error, "a file cannot be read on");
                    None
                }
            }),
        }
    }
}

impl Reading {
    fn read(&self, from: u64, bytes: usize) -> io::Result<Bytes> {
        let mut buffer = vec![0; bytes];
        self.file.read_exact_at(&mut buffer, self.start + from)?;
        Ok(buffer.into())
    }
}

impl Errand {
    /// Does it.
    pub fn run(self) {
        match self {
            Errand::Abandon(writing) => writing.abandon(),
            Errand::Remove(files, ids) => ids.into_iter().for_each(|id| files.remove(id)),
            Errand::Sweep(files, today) => {
                if let Err(error) = files.sweep(today) {
                    tracing::error!(%error, "old files cannot be removed");
                }
            }
        }
    }
}

fn refused(error: &io::Error) -> Received {
    if error.kind() == ErrorKind::AlreadyExists {
        return Received::Used;
    }
    tracing::error!(%error, "a file cannot be written");
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Received::Full,
        _ => Received::Failed,
    }
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

const MAGIC: &[u8; 4] = b"RKF\x01";
const HEAD_BYTES: usize = MAGIC.len() + 4;
/// More than any name and type take.
const LABEL_BYTES_MAX: u32 = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proto::time::Timestamp;

    const DAY: u64 = 24 * 60 * 60;

    fn incoming(day: u16, bytes: u64) -> Incoming {
        let file = FileId::parse(&format!("{day:04x}{}", "0f".repeat(14))).unwrap();
        let until = Some(Timestamp::from_secs(u64::from(day) * DAY));
        Incoming { file, label: Label { name: "a".to_owned(), content_type: "b/c".to_owned(), until }, bytes }
    }

    fn begin(files: &Files, incoming: &Incoming) -> Writing {
        match Chore::Create(files.clone(), incoming.clone()).run() {
            Outcome::Writing(writing) => writing,
            other => panic!("{other:?}"),
        }
    }

    fn received(outcome: Outcome) -> Received {
        match outcome {
            Outcome::Received(_, received) => received,
            other => panic!("{other:?}"),
        }
    }

    fn found(files: &Files, id: FileId) -> Option<String> {
        let (reading, bytes) = match Chore::Open(files.clone(), id).run() {
            Outcome::Opened(Some(reading), Opened::File(label, bytes)) => {
                assert_eq!(label.content_type, "b/c");
                (reading, bytes)
            }
            Outcome::Opened(None, Opened::Nothing) => return None,
            other => panic!("{other:?}"),
        };
        match Chore::Read(reading, 0, bytes as usize).run() {
            Outcome::Read(Some((_, bytes))) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn unfinished(files: &Files) -> usize {
        fs::read_dir(files.unfinished()).unwrap().count()
    }

    #[test]
    fn a_file_is_there_once_all_of_it_is() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::open(home.path().join("uploads")).unwrap();
        let file = incoming(7, 10);
        let writing = begin(&files, &file);
        let Outcome::Writing(writing) = Chore::Write(writing, "hello".into(), false).run() else { panic!("half") };
        assert_eq!(found(&files, file.file), None);
        assert_eq!(received(Chore::Create(files.clone(), file.clone()).run()), Received::Used, "it is on its way");
        assert_eq!(received(Chore::Write(writing, "world".into(), true).run()), Received::Kept);
        assert_eq!(found(&files, file.file).as_deref(), Some("helloworld"));
        assert_eq!(received(Chore::Create(files.clone(), file.clone()).run()), Received::Used, "it is there");
        Errand::Remove(files.clone(), vec![file.file, file.file]).run();
        assert_eq!((found(&files, file.file), unfinished(&files)), (None, 0));
    }

    #[test]
    fn too_much_and_too_little_leave_nothing() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::open(home.path().join("uploads")).unwrap();
        let file = incoming(7, 5);
        for (bytes, last) in [("hello!", false), ("hello!", true), ("hell", true)] {
            let writing = begin(&files, &file);
            assert_eq!(received(Chore::Write(writing, bytes.into(), last).run()), Received::Failed, "{bytes}");
        }
        Errand::Abandon(begin(&files, &file)).run();
        assert_eq!((found(&files, file.file), unfinished(&files)), (None, 0));
    }

    #[test]
    fn what_a_crash_left_unfinished_goes_at_the_next_start() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("uploads");
        let files = Files::open(path.clone()).unwrap();
        let file = incoming(7, 5);
        let kept = incoming(8, 5);
        let _cut_short = begin(&files, &file);
        assert_eq!(received(Chore::Write(begin(&files, &kept), "hello".into(), true).run()), Received::Kept);
        let files = Files::open(path).unwrap();
        assert_eq!(unfinished(&files), 0);
        assert_eq!(found(&files, kept.file).as_deref(), Some("hello"));
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let error = |code| refused(&io::Error::from_raw_os_error(code));
        assert_eq!(error(libc::ENOSPC), Received::Full);
        assert_eq!(error(libc::EDQUOT), Received::Full);
        assert_eq!(error(libc::EIO), Received::Failed);
        // A device on which nothing has room.
        let home = tempfile::tempdir().unwrap();
        let files = Files::open(home.path().join("uploads")).unwrap();
        let file = incoming(7, 5);
        let mut writing = begin(&files, &file);
        writing.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(received(Chore::Write(writing, "hello".into(), true).run()), Received::Full);
        assert_eq!((found(&files, file.file), unfinished(&files)), (None, 0));
    }

    #[test]
    fn only_so_many_are_open_at_once() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::open(home.path().join("uploads")).unwrap();
        files.limit(1);
        let (one, other) = (incoming(7, 5), incoming(8, 5));
        let writing = begin(&files, &one);
        let refused = Chore::Create(files.clone(), other.clone()).run();
        assert!(matches!(refused, Outcome::Received(_, Received::Failed)), "{refused:?}");
        assert!(matches!(Chore::Open(files.clone(), one.file).run(), Outcome::Opened(None, Opened::Failed)));
        assert_eq!(received(Chore::Write(writing, "hello".into(), true).run()), Received::Kept);
        // Reading, too, has its end.
        drop(Chore::Open(files.clone(), one.file).run());
        Errand::Abandon(begin(&files, &other)).run();
        assert_eq!(found(&files, one.file).as_deref(), Some("hello"));
    }

    #[test]
    fn days_that_are_over_go_whole() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::open(home.path().join("uploads")).unwrap();
        for day in [7, 8, u16::MAX] {
            let file = incoming(day, 1);
            assert_eq!(received(Chore::Write(begin(&files, &file), "x".into(), true).run()), Received::Kept);
        }
        Errand::Sweep(files.clone(), Day(8)).run();
        let left = [7, 8, u16::MAX].map(|day| found(&files, incoming(day, 1).file).is_some());
        assert_eq!((left, unfinished(&files)), ([false, true, true], 0));
    }

    #[test]
    fn what_is_no_file_of_ours_is_not_handed_out() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::open(home.path().join("uploads")).unwrap();
        let file = incoming(7, 1).file;
        make(&files.day(file.day())).unwrap();
        for damaged in [&b""[..], b"RKF", b"RKF\x01\xff\xff\xff\xff", b"RKF\x01\0\0\0\x01\x09", b"<html>hello"] {
            fs::write(files.place(file), damaged).unwrap();
            let outcome = Chore::Open(files.clone(), file).run();
            assert!(matches!(outcome, Outcome::Opened(None, Opened::Failed)), "{damaged:?}");
        }
    }
}
