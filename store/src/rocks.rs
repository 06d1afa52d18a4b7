//! RocksDB: one column family per table, one synced write per commit.

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proto::row::{Batch, Change, Found, Key, Range, Read, Reads, Table};
use rocksdb::{
    Cache, ColumnFamily, ColumnFamilyDescriptor, DB, Error, ErrorKind, FlushOptions, ReadOptions, ReadTier, WriteBatch,
    WriteOptions,
};

use crate::backend::{Backend, batch_bytes, is_empty};
use crate::migrate::{self, Age};
use crate::{META, StoreError, Tuning};

/// An open database; closing is dropping.
///
/// While it is open, nobody else can open the directory.
pub struct Rocks {
    db: DB,
    path: PathBuf,
    families: Vec<String>,
    synced: WriteOptions,
}

impl Rocks {
    /// Opens the store in `path`, creating the directory, the database and missing families, and migrating an older format.
    ///
    /// Families that are not in `tables` stay as they are. A record cut short at the end of the write-ahead log, which a crash
    /// may leave, is dropped; nothing acknowledged is in it.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::NotWritable`], [`StoreError::DiskFull`], [`StoreError::Corrupt`], and the format
    /// errors; each says what to do. A store that is refused for its format keeps its rows and families as they are.
    pub fn open(path: &Path, tables: &[&'static Table], tuning: &Tuning) -> Result<Rocks, StoreError> {
        make_directory(path).map_err(|cause| not_writable(path, &cause.to_string()))?;
        let database = tuning.database();
        let cache = Cache::new_lru_cache(tuning.cache_bytes);
        let absent: HashSet<&str> =
            tables.iter().filter(|table| table.is_mostly_absent()).map(|table| table.name()).collect();
        let family = |name: &str| tuning.family(&cache, absent.contains(name)).map_err(|error| sorted(path, error));
        let mut families = families_present(path, &database)?;

        let descriptors = families.iter().map(|name| Ok(ColumnFamilyDescriptor::new(name, family(name)?)));
        let descriptors = descriptors.collect::<Result<Vec<_>, StoreError>>()?;
        let db = DB::open_cf_descriptors(&database, path, descriptors).map_err(|error| sorted(path, error))?;
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        let mut rocks = Rocks { db, path: path.to_owned(), families: Vec::new(), synced };

        // Families are created only once it is clear that the store is ours to change.
        let age = migrate::age(&rocks, path)?;
        let ours: HashSet<&str> = tables.iter().map(|table| table.name()).chain([META.name()]).collect();
        if age == Age::New && families.iter().any(|name| !ours.contains(&name[..])) {
            return Err(StoreError::UnknownFormat { path: path.display().to_string() });
        }
        for name in ours {
            if rocks.db.cf_handle(name).is_none() {
                rocks.db.create_cf(name, &family(name)?).map_err(|error| sorted(path, error))?;
                families.push(name.to_owned());
            }
        }
        rocks.families = families;
        migrate::bring_up(&rocks, age)?;
        Ok(rocks)
    }

    fn family(&self, table: &'static Table) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(table.name()).ok_or(StoreError::UnknownTable(table.name()))
    }

    fn look_up(&self, reads: &Reads, tier: ReadTier) -> Result<Vec<Found>, Missed> {
        // One read sees one moment by itself; several need a snapshot to agree on it.
        if let [read] = &reads.0[..] {
            return Ok(vec![self.look_up_one(read, tiered(tier))?]);
        }
        let snapshot = self.db.snapshot();
        let mut found = Vec::with_capacity(reads.0.len());
        for read in &reads.0 {
            let mut options = tiered(tier);
            options.set_snapshot(&snapshot);
            found.push(self.look_up_one(read, options)?);
        }
        Ok(found)
    }

    fn look_up_one(&self, read: &Read, options: ReadOptions) -> Result<Found, Missed> {
        match read {
            Read::Get(table, key) => {
                let row = self.db.get_pinned_cf_opt(self.family(table)?, key.as_slice(), &options)?;
                Ok(Found::Row(row.map(|row| Bytes::copy_from_slice(&row))))
            }
            Read::Scan { table, range, limit, backwards } => {
                let family = self.family(table)?;
                Ok(Found::Page(self.scan(family, range, *limit, *backwards, options)?))
            }
        }
    }

    fn scan(
        &self,
        family: &ColumnFamily,
        range: &Range,
        limit: usize,
        backwards: bool,
        mut options: ReadOptions,
    ) -> Result<Vec<(Key, Bytes)>, Missed> {
        let mut page = Vec::new();
        if is_empty(range) || limit == 0 {
            return Ok(page);
        }
        // The bounds keep the engine from stepping over tombstones and blocks of other owners.
        options.set_iterate_lower_bound(range.start.as_slice());
        options.set_iterate_upper_bound(range.end.as_slice());
        let mut rows = self.db.raw_iterator_cf_opt(family, options);
        if backwards {
            rows.seek_to_last()
        } else {
            rows.seek_to_first()
        }
        while let Some((key, value)) = rows.item() {
            page.push((Key::from_bytes(key), Bytes::copy_from_slice(value)));
            if page.len() == limit {
                return Ok(page);
            }
            if backwards { rows.prev() } else { rows.next() }
        }
        // An iterator also ends when it cannot go on.
        rows.status()?;
        Ok(page)
    }

    fn add(&self, write: &mut WriteBatch, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::Put(table, key, value) => write.put_cf(self.family(table)?, key.as_slice(), value),
            Change::Delete(table, key) => write.delete_cf(self.family(table)?, key.as_slice()),
            Change::DeleteRange(table, range) => {
                let family = self.family(table)?;
                // The engine refuses a reversed range only after it is in the log, and then cannot replay the log.
                if !is_empty(range) {
                    write.delete_range_cf(family, range.start.as_slice(), range.end.as_slice());
                }
            }
        }
        Ok(())
    }
}

impl Backend for Rocks {
    fn read(&self, reads: &Reads) -> Result<Vec<Found>, StoreError> {
        self.look_up(reads, ReadTier::All).map_err(|missed| match missed {
            Missed::Engine(error) => sorted(&self.path, error),
            Missed::Refused(error) => error,
        })
    }

    fn cached(&self, reads: &Reads) -> Option<Result<Vec<Found>, StoreError>> {
        match self.look_up(reads, ReadTier::BlockCache) {
            Ok(found) => Some(Ok(found)),
            Err(Missed::Engine(error)) if error.kind() == ErrorKind::Incomplete => None,
            Err(Missed::Engine(error)) => Some(Err(sorted(&self.path, error))),
            Err(Missed::Refused(error)) => Some(Err(error)),
        }
    }

    fn commit(&self, batches: &[Batch]) -> Result<(), StoreError> {
        let bytes = batches.iter().map(batch_bytes).sum::<usize>() + WRITE_HEADER_BYTES;
        let mut write = WriteBatch::with_capacity_bytes(bytes);
        for change in batches.iter().flat_map(|batch| &batch.0) {
            self.add(&mut write, change)?;
        }
        if write.is_empty() {
            return Ok(());
        }
        self.db.write_opt(write, &self.synced).map_err(|error| sorted(&self.path, error))
    }

    /// Writes all memtables to tables, so that the next start has no log to replay.
    fn settle(&self) -> Result<(), StoreError> {
        let families: Vec<&ColumnFamily> = self.families.iter().filter_map(|name| self.db.cf_handle(name)).collect();
        self.db.flush_cfs_opt(&families, &FlushOptions::default()).map_err(|error| sorted(&self.path, error))
    }
}

/// Why a look-up has no answer.
enum Missed {
    /// The engine failed, or (with a read tier) would have to go to the disk.
    Engine(Error),
    /// The request is at fault.
    Refused(StoreError),
}

impl From<Error> for Missed {
    fn from(error: Error) -> Missed {
        Missed::Engine(error)
    }
}

impl From<StoreError> for Missed {
    fn from(error: StoreError) -> Missed {
        Missed::Refused(error)
    }
}

fn tiered(tier: ReadTier) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_read_tier(tier);
    options
}

/// Creates the directory and what is missing above it, readable by this user only, and makes sure that a power cut does not take
/// the directory away with everything acknowledged in it.
fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_directory(above)?;
    DirBuilder::new().mode(0o700).create(path)?;
    File::open(above)?.sync_all()
}

/// The families on disk; the default one for a directory without a database.
fn families_present(path: &Path, database: &rocksdb::Options) -> Result<Vec<String>, StoreError> {
    // The file that names the current manifest: with it there is a database, without it one will be made.
    if !path.join("CURRENT").exists() {
        return Ok(vec![META.name().to_owned()]);
    }
    DB::list_cf(database, path).map_err(|error| sorted(path, error))
}

/// Sorts an engine's error by what an operator can do about it. The engine gives the cause of an I/O error only as text.
fn sorted(path: &Path, error: Error) -> StoreError {
    let cause = error.to_string();
    let says = |text: &str| cause.contains(text);
    let path_text = path.display().to_string();
    if says("No space left on device") || says("Disk quota exceeded") {
        StoreError::DiskFull { path: path_text, cause }
    } else if error.kind() == ErrorKind::Corruption {
        StoreError::Corrupt { path: path_text, cause }
    } else if error.kind() == ErrorKind::IOError && (says("While lock file") || says("lock hold by current process")) {
        StoreError::Locked { path: path_text }
    } else if says("Permission denied") || says("Read-only file system") || says("Not a directory") {
        not_writable(path, &cause)
    } else {
        StoreError::Io { path: path_text, cause }
    }
}

fn not_writable(path: &Path, cause: &str) -> StoreError {
    StoreError::NotWritable { path: path.display().to_string(), cause: cause.to_owned() }
}

/// The head of a write in the engine's format.
const WRITE_HEADER_BYTES: usize = 16;
