//! What a commit and a read cost here: rates, CPU and syncs at several group sizes, with RocksDB's own put rate beside it.
//!
//! `cargo run --release -p rookery-store --example commit_cost [DIRECTORY]`; the directory decides which disk is measured.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use proto::jid::user::{AppId, UserId};
use proto::owner::{AccountId, Owner};
use proto::row::{Batch, Key, Reads, Table};
use store::{Backend, Client, Done, Rocks, Sink, Store, Ticket, Tuning};

static MESSAGES: Table = Table::new("messages");
static IDS: Table = Table::new("message_ids");
static INBOX: Table = Table::new("inbox");

fn main() -> Result<(), Box<dyn Error>> {
    let base = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let path = base.join(format!("rookery-commit-cost-{}", std::process::id()));
    let result = measure(&path);
    fs::remove_dir_all(&path)?;
    result
}

fn measure(path: &Path) -> Result<(), Box<dyn Error>> {
    let backend = Arc::new(Rocks::open(&path.join("data"), &[&MESSAGES, &IDS, &INBOX], &Tuning::default())?);
    println!("resident with an empty store open: {} KiB", resident_kib()?);
    println!("{:<34}{:>11}{:>9}{:>14}{:>16}", "", "commits/s", "syncs/s", "process us", "commit thread us");
    {
        let store = Store::start(Arc::clone(&backend) as Arc<dyn Backend>, 2)?;
        let ear = Arc::new(Ear::default());
        let client = store.client(Arc::clone(&ear) as Arc<dyn Sink>);
        for in_flight in [1, 10, 100, 1000] {
            groups(&store, &client, &ear, in_flight)?;
        }
        store.flush_and_stop()?;
    }
    own_puts(&path.join("own"), true)?;
    own_puts(&path.join("own"), false)?;
    for sync in [true, false] {
        floors(&backend, &path.join("own"), sync)?;
    }
    reads(&*backend)?;
    println!("resident at the end: {} KiB", resident_kib()?);
    Ok(())
}

/// Keeps so many commits in flight, all submitted at once and awaited together.
fn groups(store: &Store, client: &Client, ear: &Ear, in_flight: u64) -> Result<(), Box<dyn Error>> {
    let (before, cpu, thread) = (store.stats(), cpu_nanos("")?, cpu_nanos("store-commit")?);
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < RUN {
        for _ in 0..in_flight {
            client.commit(Ticket(number), message(number));
            number += 1;
        }
        ear.wait(in_flight);
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = store.stats();
    let commits = (after.commits - before.commits) as f64;
    println!(
        "{:<34}{:>11.0}{:>9.0}{:>14.1}{:>16.1}",
        format!("{in_flight} in flight"),
        commits / seconds,
        (after.syncs - before.syncs) as f64 / seconds,
        (cpu_nanos("")? - cpu) as f64 / commits / 1000.0,
        (cpu_nanos("store-commit")? - thread) as f64 / commits / 1000.0,
    );
    Ok(())
}

/// The same rows through RocksDB alone, one write at a time.
fn own_puts(path: &Path, sync: bool) -> Result<(), Box<dyn Error>> {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    let db = rocksdb::DB::open(&options, path)?;
    let mut write = rocksdb::WriteOptions::default();
    write.set_sync(sync);
    let cpu = cpu_nanos("")?;
    let start = Instant::now();
    let mut number = 0u64;
    while start.elapsed() < RUN {
        let mut batch = rocksdb::WriteBatch::default();
        for change in message(number).0 {
            if let proto::row::Change::Put(_, key, value) = change {
                batch.put(key.as_slice(), value);
            }
        }
        db.write_opt(batch, &write)?;
        number += 1;
    }
    let name = if sync { "RocksDB alone, synced" } else { "RocksDB alone, not synced" };
    let rate = number as f64 / start.elapsed().as_secs_f64();
    let syncs = if sync { rate } else { 0.0 };
    let micros = (cpu_nanos("")? - cpu) as f64 / number as f64 / 1000.0;
    println!("{name:<34}{rate:>11.0}{syncs:>9.0}{micros:>14.1}");
    Ok(())
}

/// The same rows in batches of several sizes, each written with one call, through RocksDB alone and through
/// `Rocks::commit`: what the store adds to a put. Without a sync there is only RocksDB's own rate to show.
fn floors(backend: &Rocks, path: &Path, sync: bool) -> Result<(), Box<dyn Error>> {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    let db = rocksdb::DB::open(&options, path)?;
    let mut write = rocksdb::WriteOptions::default();
    write.set_sync(sync);
    println!("{:<34}{:>11}{:>9}{:>14}{:>16}", "one write each", "rows/s", "writes/s", "us per row", "times RocksDB's");
    for messages in [1, 10, 100, 1000] {
        let own = Rate::of(messages, |batch| {
            let mut raw = rocksdb::WriteBatch::default();
            for change in &batch.0 {
                if let proto::row::Change::Put(_, key, value) = change {
                    raw.put(key.as_slice(), value);
                }
            }
            Ok(db.write_opt(raw, &write)?)
        })?;
        let synced = if sync { "synced" } else { "not synced" };
        own.print(&format!("RocksDB, {messages} messages, {synced}"), None);
        if sync {
            let ours = Rate::of(messages, |batch| Ok(backend.commit(std::slice::from_ref(batch))?))?;
            ours.print(&format!("Rocks::commit, {messages} messages"), Some(&own));
        }
    }
    Ok(())
}

/// How fast batches of one size were written, and what CPU time they took.
struct Rate {
    rows_per_sec: f64,
    writes_per_sec: f64,
    /// All threads', in microseconds.
    cpu_per_row: f64,
}

impl Rate {
    /// Writes batches with the rows of so many messages for a while. They are made before, and begin again at their end.
    fn of(messages: u64, mut write: impl FnMut(&Batch) -> Result<(), Box<dyn Error>>) -> Result<Rate, Box<dyn Error>> {
        let batch = |first: u64| Batch((first..first + messages).flat_map(|number| message(number).0).collect());
        let made: Vec<Batch> = (0..MADE_MESSAGES / messages).map(|at| batch(at * messages)).collect();
        let cpu = cpu_nanos("")?;
        let start = Instant::now();
        let (mut rows, mut writes) = (0, 0);
        for batch in made.iter().cycle().take_while(|_| start.elapsed() < RUN) {
            write(batch)?;
            rows += batch.0.len();
            writes += 1;
        }
        let seconds = start.elapsed().as_secs_f64();
        Ok(Rate {
            rows_per_sec: rows as f64 / seconds,
            writes_per_sec: f64::from(writes) / seconds,
            cpu_per_row: (cpu_nanos("")? - cpu) as f64 / rows as f64 / 1000.0,
        })
    }

    fn print(&self, name: &str, floor: Option<&Rate>) {
        let times = floor.map_or(String::new(), |floor| format!("{:.2}", self.cpu_per_row / floor.cpu_per_row));
        let Rate { rows_per_sec, writes_per_sec, cpu_per_row } = self;
        println!("{name:<34}{rows_per_sec:>11.0}{writes_per_sec:>9.0}{cpu_per_row:>14.2}{times:>16}");
    }
}

fn reads(backend: &dyn Backend) -> Result<(), Box<dyn Error>> {
    type Plan = fn(u64) -> Reads;
    let plans: [(&str, Plan); 4] = [
        ("get", |n| Reads::get(&IDS, owner(n % 1000).u64(n % 5000))),
        ("get of nothing", |n| Reads::get(&IDS, owner(n % 1000).u64(u64::MAX - n))),
        ("page of 20 back", |n| Reads::none().and_scan_back(&MESSAGES, owner(n % 1000).all_below(), 20)),
        ("three gets in one plan", |n| {
            let get = |reads: Reads, table| reads.and_get(table, owner(n % 1000).u64(n % 5000));
            get(get(get(Reads::none(), &IDS), &INBOX), &MESSAGES)
        }),
    ];
    for (name, plan) in plans {
        // Once through, so that the blocks are in memory.
        for number in 0..5000 {
            backend.read(&plan(number))?;
        }
        let start = Instant::now();
        let mut answered = 0;
        for number in 0..20_000 {
            answered += u64::from(backend.cached(&plan(number)).transpose()?.is_some());
        }
        let micros = start.elapsed().as_secs_f64() * 1e6 / 20_000.0;
        println!("{name} from memory: {micros:.2} us ({answered} of 20000 answered)");
    }
    Ok(())
}

/// The rows of a saved message, about as large as real ones.
fn message(number: u64) -> Batch {
    let mut batch = Batch::default();
    let owner = owner(number % 1000);
    let text: Vec<u8> = (0..300u64).map(|at| (number.wrapping_mul(at + 7) >> 3) as u8 % 64 + 32).collect();
    batch.put(&MESSAGES, owner.clone().u64(number), text);
    batch.put(&IDS, owner.clone().u64(number), number.to_be_bytes().to_vec());
    batch.put(&INBOX, owner, number.to_be_bytes().repeat(4));
    batch
}

fn owner(user: u64) -> Key {
    Key::of(&Owner::Account(AccountId { app: AppId(1), user: UserId(user) }))
}

#[derive(Default)]
struct Ear {
    heard: Mutex<u64>,
    changed: Condvar,
}

impl Sink for Ear {
    fn done(&self, done: Vec<Done>) {
        assert!(done.iter().all(|done| matches!(done, Done::Commit(_, Ok(())))), "{done:?}");
        *self.heard.lock().expect("nothing panics with the count") += done.len() as u64;
        self.changed.notify_one();
    }
}

impl Ear {
    fn wait(&self, answers: u64) {
        let heard = self.heard.lock().expect("nothing panics with the count");
        let mut heard =
            self.changed.wait_while(heard, |heard| *heard < answers).expect("nothing panics with the count");
        *heard -= answers;
    }
}

/// CPU time of the threads of this process whose name begins so, in nanoseconds.
fn cpu_nanos(name: &str) -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.starts_with(name) {
            let stat = fs::read_to_string(task.join("schedstat"))?;
            sum += stat.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
    }
    Ok(sum)
}

fn resident_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

const RUN: Duration = Duration::from_secs(3);
/// Messages whose rows are made before batches are written.
const MADE_MESSAGES: u64 = 10_000;
