//! What only a disk can show: a second opener, a process killed at any moment, a log cut short, a directory that is not ours.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use proto::row::{Batch, Reads, Table};
use store::{Backend, Done, META, Rocks, Sink, Store, StoreError, Ticket, Tuning};
use tempfile::TempDir;

use crate::house::{House, NOTES, OnDisk, TABLES, copy_directory, everything, key, open, page};

#[test]
fn a_second_opener_is_told_what_to_do() {
    let mut house = OnDisk::new();
    let refusal = refused(house.path());
    assert!(matches!(refusal, StoreError::Locked { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("stop that one first"), "{refusal}");
    // The refused attempt did no harm, and closing frees the directory.
    numbered(&*house.backend(), 0..3);
    house.close();
    assert_eq!(count(&open(house.path())), 3);
}

#[test]
fn a_second_process_is_told_what_to_do() {
    let house = OnDisk::new();
    let mut child = child(house.path(), "disk::child_of_the_lock_test").spawn().unwrap();
    assert!(child.wait().unwrap().success());
    drop(house);
}

#[test]
fn child_of_the_lock_test() {
    let Some(path) = env::var_os(CHILD_PATH) else { return };
    assert!(matches!(refused(Path::new(&path)), StoreError::Locked { .. }));
}

#[test]
fn a_directory_that_cannot_be_is_refused_with_advice() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refusal = refused(&path);
        assert!(matches!(refusal, StoreError::NotWritable { .. }), "{refusal:?}");
        assert!(refusal.to_string().contains("choose another directory"), "{refusal}");
    }
}

#[test]
fn a_newer_store_is_refused_and_left_untouched() {
    let mut house = OnDisk::new();
    let mut batch = Batch::default();
    batch.put(&META, key(b"format"), (store::FORMAT + 1).to_be_bytes().to_vec());
    house.backend().commit(&[batch]).unwrap();
    house.close();
    static NEWS: Table = Table::new("news");
    let refusal = Rocks::open(house.path(), &[&NOTES, &NEWS], &Tuning::default()).err().unwrap();
    assert!(matches!(refusal, StoreError::NewerFormat { .. }), "{refusal:?}");
    assert!(!families(house.path()).contains(&"news".to_owned()));
}

#[test]
fn another_programs_database_is_refused_and_left_untouched() {
    let directory = TempDir::new().unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    rocksdb::DB::open(&options, directory.path()).unwrap().put("theirs", "1").unwrap();
    let refusal = refused(directory.path());
    assert!(matches!(refusal, StoreError::UnknownFormat { .. }), "{refusal:?}");
    assert_eq!(families(directory.path()), ["default"]);
}

#[test]
fn families_come_with_new_tables_and_stay_without_old_ones() {
    let mut house = OnDisk::new();
    numbered(&*house.backend(), 0..5);
    house.close();
    static NEWS: Table = Table::new("news");
    let without = Rocks::open(house.path(), &[&NEWS], &Tuning::default()).unwrap();
    numbered_in(&without, &NEWS, 0..2);
    // Its family is still open, yet the rows remain for whoever knows them.
    drop(without);
    let with = Rocks::open(house.path(), &[&NOTES, &NEWS], &Tuning::default()).unwrap();
    assert_eq!((count(&with), page(&with, &Reads::scan(&NEWS, everything(), 9)).len()), (5, 2));
}

#[test]
fn a_log_cut_short_opens_with_everything_before_the_cut() {
    let house = OnDisk::new();
    numbered(&*house.backend(), 0..100);
    let whole = newest_log(house.path()).metadata().unwrap().len();
    let mut found_before = 100;
    for cut in [0, 1, 7, 40, 41, 500, whole / 2, whole - 1, whole] {
        let image = Image::of(house.path());
        let log = newest_log(&image.path());
        OpenOptions::new().write(true).open(&log).unwrap().set_len(whole - cut).unwrap();
        let found = count_prefix(&open(&image.path()));
        assert!(found <= found_before && (cut > 0 || found == 100), "{found} after {found_before} with {cut} cut off");
        found_before = found;
    }
    assert_eq!(found_before, 0);
}

#[test]
fn a_garbled_end_of_the_log_opens_with_everything_before_it() {
    let house = OnDisk::new();
    numbered(&*house.backend(), 0..50);
    let acknowledged = newest_log(house.path()).metadata().unwrap().len();
    numbered(&*house.backend(), 50..60);
    let whole = newest_log(house.path()).metadata().unwrap().len();
    for at in (acknowledged..whole).step_by(61) {
        for garbage in [0u8, 0xff] {
            let image = Image::of(house.path());
            let mut log = OpenOptions::new().read(true).write(true).open(newest_log(&image.path())).unwrap();
            garble(&mut log, at, garbage);
            let found = count_prefix(&open(&image.path()));
            assert!((50..=60).contains(&found), "{found} rows with {garbage:#x} at {at}");
        }
    }
    // More of the file than was ever written: what a power cut leaves when the size reached the disk before the data.
    let image = Image::of(house.path());
    let log = OpenOptions::new().append(true).open(newest_log(&image.path()));
    log.unwrap().write_all(&[0; 5000]).unwrap();
    assert_eq!(count_prefix(&open(&image.path())), 60);
}

#[test]
fn writing_goes_on_after_a_torn_log() {
    let house = OnDisk::new();
    numbered(&*house.backend(), 0..20);
    let image = Image::of(house.path());
    let log = newest_log(&image.path());
    let whole = log.metadata().unwrap().len();
    OpenOptions::new().write(true).open(&log).unwrap().set_len(whole - 3).unwrap();
    let again = open(&image.path());
    assert_eq!(count_prefix(&again), 19);
    numbered(&again, 19..40);
    drop(again);
    assert_eq!(count_prefix(&open(&image.path())), 40);
}

#[test]
fn damaged_tables_are_reported_and_not_read_as_empty() {
    let mut house = OnDisk::new();
    numbered(&*house.backend(), 0..2000);
    house.reopen();
    house.close();
    for table in files(house.path(), "sst") {
        let mut file = OpenOptions::new().read(true).write(true).open(&table).unwrap();
        garble(&mut file, 10, 0x55);
    }
    let damaged = match Rocks::open(house.path(), &TABLES, &Tuning::default()) {
        Ok(backend) => backend.read(&Reads::scan(&NOTES, everything(), usize::MAX)).unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(damaged, StoreError::Corrupt { .. }), "{damaged:?}");
    assert!(damaged.to_string().contains("backup"), "{damaged}");
}

/// Kills a child that commits, again and again, and looks whether everything it acknowledged is there.
#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("data");
    let mut acknowledged = 0;
    for round in 1..=6 {
        let mut child = child(&path, "disk::child_of_the_kill_test").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Long enough for some groups, and at another moment each time.
        let wanted = acknowledged + 37 * round;
        while acknowledged < wanted {
            let line = lines.next().expect("the child goes on until it is killed").unwrap();
            acknowledged = number_in(&line).unwrap_or(acknowledged);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts too; its last line may be cut short.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let whole = rest.len().saturating_sub(1);
        acknowledged = rest[..whole].iter().filter_map(|line| number_in(line)).next_back().unwrap_or(acknowledged);

        let found = count_prefix(&open(&path));
        assert!(found >= acknowledged, "{acknowledged} acknowledged, {found} found");
        acknowledged = found;
    }
}

/// Commits numbered rows through a store, from where the last child ended, saying how many are durable.
#[test]
fn child_of_the_kill_test() {
    let Some(path) = env::var_os(CHILD_PATH) else { return };
    struct Told;
    impl Sink for Told {
        fn done(&self, done: Vec<Done>) {
            for done in done {
                match done {
                    Done::Commit(Ticket(number), Ok(())) => {
                        // One write call per line; what a killed process has not written, it has not acknowledged.
                        let line = format!("\n{ACKNOWLEDGED}{}\n", number + 1);
                        std::io::stdout().write_all(line.as_bytes()).unwrap();
                    }
                    other => panic!("commits expected to succeed: {other:?}"),
                }
            }
        }
    }
    // Memtables small enough that logs change and tables are written in between.
    let tuning = Tuning { memtables_bytes_max: 256 * 1024, wal_bytes_max: 256 * 1024, ..Tuning::default() };
    let backend = Arc::new(Rocks::open(Path::new(&path), &TABLES, &tuning).unwrap());
    let first = count_prefix(&*backend) as u64;
    let store = Store::start(backend, 1).unwrap();
    let client = store.client(Arc::new(Told));
    // An end, in case nobody kills it.
    for number in first..first + 100_000 {
        while client.backlog().commits > 32 {
            std::thread::yield_now();
        }
        client.commit(Ticket(number), numbered_batch(&NOTES, number as u32));
    }
}

fn child(path: &Path, test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD_PATH, path);
    command
}

fn number_in(line: &str) -> Option<usize> {
    line.strip_prefix(ACKNOWLEDGED)?.parse().ok()
}

/// Commits the rows one by one; each holds its own number.
fn numbered(backend: &dyn Backend, numbers: std::ops::Range<u32>) {
    numbered_in(backend, &NOTES, numbers);
}

fn numbered_in(backend: &dyn Backend, table: &'static Table, numbers: std::ops::Range<u32>) {
    for number in numbers {
        backend.commit(&[numbered_batch(table, number)]).unwrap();
    }
}

fn numbered_batch(table: &'static Table, number: u32) -> Batch {
    let mut batch = Batch::default();
    batch.put(table, key(&number.to_be_bytes()), number.to_le_bytes().repeat(50));
    batch
}

fn count(backend: &dyn Backend) -> usize {
    page(backend, &Reads::scan(&NOTES, everything(), usize::MAX)).len()
}

/// Counts the rows, which have no gaps and are whole: a crash keeps a prefix of what was committed.
fn count_prefix(backend: &dyn Backend) -> usize {
    let rows = page(backend, &Reads::scan(&NOTES, everything(), usize::MAX));
    for (number, (key, value)) in (0u32..).zip(&rows) {
        assert_eq!((&key[..], &value[..]), (&number.to_be_bytes()[..], &number.to_le_bytes().repeat(50)[..]));
    }
    rows.len()
}

fn refused(path: &Path) -> StoreError {
    Rocks::open(path, &TABLES, &Tuning::default()).err().expect("opening is refused")
}

fn families(path: &Path) -> Vec<String> {
    rocksdb::DB::list_cf(&rocksdb::Options::default(), path).unwrap()
}

fn files(path: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    found.sort();
    found
}

fn newest_log(path: &Path) -> PathBuf {
    files(path, "log").pop().expect("an open store has a log")
}

fn garble(file: &mut File, at: u64, with: u8) {
    let mut bytes = [0; 16];
    file.seek(SeekFrom::Start(at)).unwrap();
    let length = file.read(&mut bytes).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= with | 1);
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&bytes[..length]).unwrap();
}

/// The files of an open store as they are at this moment.
struct Image(TempDir);

impl Image {
    fn of(path: &Path) -> Image {
        let directory = TempDir::new().unwrap();
        copy_directory(path, &directory.path().join("data"));
        Image(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

/// Where a child finds its store; without it the test is not a child and does nothing.
const CHILD_PATH: &str = "ROOKERY_STORE_CHILD_PATH";

/// How a child's line begins, to tell it from what the test harness prints.
const ACKNOWLEDGED: &str = "acknowledged ";
