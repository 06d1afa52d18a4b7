//! The in-memory twin: the same answers as RocksDB without a disk, and a disk that fails when a test says so.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};

use bytes::Bytes;
use proto::row::{Batch, Change, Found, Key, Range, Read, Reads, Table};

use crate::backend::{Backend, is_empty};
use crate::{META, StoreError};

/// Ordered maps behind a mutex, with faults that a test injects.
///
/// It models a disk with a write-ahead log: a commit is written, then synced, then visible. When the sync fails
/// ([`Memory::fail_syncs`]), the batches are neither acknowledged nor visible, yet a crash may still find them.
pub struct Memory {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    families: BTreeMap<&'static str, BTreeMap<Key, Bytes>>,
    /// Written and not known to be on disk, oldest first.
    unsynced: Vec<Batch>,
    failing_commits: Faults,
    failing_syncs: Faults,
    failing_reads: Faults,
    cold: bool,
    held: bool,
    crashed: bool,
}

/// So many times this error.
#[derive(Default)]
struct Faults(Option<(usize, StoreError)>);

impl Memory {
    /// An empty store with these tables.
    pub fn new(tables: &[&'static Table]) -> Memory {
        let names = tables.iter().map(|table| table.name()).chain([META.name()]);
        let families = names.map(|name| (name, BTreeMap::new())).collect();
        Memory::with(State { families, ..State::default() })
    }

    fn with(state: State) -> Memory {
        Memory { state: Mutex::new(state), released: Condvar::new() }
    }

    /// The next `times` commits fail with `error` before anything is written.
    pub fn fail_commits(&self, times: usize, error: StoreError) {
        self.lock().failing_commits = Faults(Some((times, error)));
    }

    /// The next `times` commits are written, and then their sync fails with `error`.
    pub fn fail_syncs(&self, times: usize, error: StoreError) {
        self.lock().failing_syncs = Faults(Some((times, error)));
    }

    /// The next `times` reads fail with `error`.
    pub fn fail_reads(&self, times: usize, error: StoreError) {
        self.lock().failing_reads = Faults(Some((times, error)));
    }

    /// While true, [`Backend::cached`] knows nothing, as after a restart.
    pub fn set_cold(&self, cold: bool) {
        self.lock().cold = cold;
    }

    /// Commits wait, as for a slow disk, until [`Memory::release_commits`].
    pub fn hold_commits(&self) {
        self.lock().held = true;
    }

    /// Lets held commits go on.
    pub fn release_commits(&self) {
        self.lock().held = false;
        self.released.notify_all();
    }

    /// What a server finds that starts after this one was killed: everything synced. Of what was written and not synced the
    /// first `unsynced_kept` batches have reached the disk by chance.
    ///
    /// This one is dead from now on: whatever still holds it gets errors and changes nothing.
    pub fn crash(&self, unsynced_kept: usize) -> Memory {
        let mut state = self.lock();
        let mut families = std::mem::take(&mut state.families);
        for batch in std::mem::take(&mut state.unsynced).into_iter().take(unsynced_kept) {
            for change in batch.0 {
                apply(&mut families, change);
            }
        }
        state.crashed = true;
        state.held = false;
        drop(state);
        self.released.notify_all();
        Memory::with(State { families, ..State::default() })
    }

    /// Another store with the same rows, and without faults.
    pub fn copy(&self) -> Memory {
        Memory::with(State { families: self.lock().families.clone(), ..State::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the state")
    }
}

impl Backend for Memory {
    fn read(&self, reads: &Reads) -> Result<Vec<Found>, StoreError> {
        let mut state = self.lock();
        state.alive()?;
        state.failing_reads.strike()?;
        reads.0.iter().map(|read| state.look_up(read)).collect()
    }

    fn cached(&self, reads: &Reads) -> Option<Result<Vec<Found>, StoreError>> {
        let state = self.lock();
        // What is about to fail is not in memory either: faults strike where the disk is read.
        if state.cold || state.crashed || state.failing_reads.0.is_some() {
            return None;
        }
        Some(reads.0.iter().map(|read| state.look_up(read)).collect())
    }

    fn commit(&self, batches: &[Batch]) -> Result<(), StoreError> {
        let held = |state: &mut State| state.held;
        let mut state = self.released.wait_while(self.lock(), held).expect("nothing panics with the state");
        state.alive()?;
        for change in batches.iter().flat_map(|batch| &batch.0) {
            state.family(table_of(change))?;
        }
        state.failing_commits.strike()?;
        if let Err(error) = state.failing_syncs.strike() {
            state.unsynced.extend_from_slice(batches);
            return Err(error);
        }
        for change in batches.iter().flat_map(|batch| &batch.0) {
            apply(&mut state.families, change.clone());
        }
        Ok(())
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.lock().alive()
    }
}

impl State {
    fn alive(&self) -> Result<(), StoreError> {
        if self.crashed { Err(StoreError::Stopped) } else { Ok(()) }
    }

    fn family(&self, table: &'static Table) -> Result<&BTreeMap<Key, Bytes>, StoreError> {
        self.families.get(table.name()).ok_or(StoreError::UnknownTable(table.name()))
    }

    fn look_up(&self, read: &Read) -> Result<Found, StoreError> {
        match read {
            Read::Get(table, key) => Ok(Found::Row(self.family(table)?.get(key).cloned())),
            Read::Scan { table, range, limit, backwards } => {
                let family = self.family(table)?;
                if is_empty(range) {
                    return Ok(Found::Page(Vec::new()));
                }
                let rows = family.range(&range.start..&range.end).map(|(key, value)| (key.clone(), value.clone()));
                let page = if *backwards { rows.rev().take(*limit).collect() } else { rows.take(*limit).collect() };
                Ok(Found::Page(page))
            }
        }
    }
}

impl Faults {
    fn strike(&mut self) -> Result<(), StoreError> {
        match self.0.take() {
            None | Some((0, _)) => Ok(()),
            Some((times, error)) => {
                self.0 = (times > 1).then(|| (times - 1, error.clone()));
                Err(error)
            }
        }
    }
}

/// Carries out a change of a table that is known to be there.
fn apply(families: &mut BTreeMap<&'static str, BTreeMap<Key, Bytes>>, change: Change) {
    let family = families.get_mut(table_of(&change).name()).expect("commit has checked the tables");
    match change {
        Change::Put(_, key, value) => {
            family.insert(key, value);
        }
        Change::Delete(_, key) => {
            family.remove(&key);
        }
        Change::DeleteRange(_, range) => remove_range(family, &range),
    }
}

fn remove_range(family: &mut BTreeMap<Key, Bytes>, range: &Range) {
    if is_empty(range) {
        return;
    }
    let mut rest = family.split_off(&range.start);
    family.append(&mut rest.split_off(&range.end));
}

fn table_of(change: &Change) -> &'static Table {
    match change {
        Change::Put(table, ..) | Change::Delete(table, _) | Change::DeleteRange(table, _) => table,
    }
}
