//! The format of the store as a whole: which families there are and how their keys are ordered.
//!
//! One row remembers it. Formats of single rows are versioned in the rows themselves and read by whoever wrote them; what belongs
//! here is a change that a reader of single rows cannot make, such as another key order or a family split in two.
//!
//! To change the format: raise [`FORMAT`], add a [`Step`] to [`STEPS`], and test it from a store of the format before.

use std::path::Path;

use bytes::Bytes;
use proto::row::{Batch, Found, Key, Range, Reads, Table};

use crate::{Backend, StoreError};

/// The format this version reads and writes.
pub const FORMAT: u32 = 1;

/// The table of the store's own rows: the family that every RocksDB has.
pub static META: Table = Table::new("default");

/// Takes a store from one format to the next.
///
/// A step may commit many times and may be cut short at any point: it must reach the same end when it runs again from the
/// beginning. The new format is recorded after it has returned.
struct Step {
    /// The format it starts from; it leads to the next number.
    from: u32,
    run: fn(&dyn Backend) -> Result<(), StoreError>,
}

/// Every step there is, oldest first, without gaps, ending at [`FORMAT`].
static STEPS: &[Step] = &[];

/// What kind of store a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// Nothing is stored yet.
    New,
    /// A store of this format, which this version reads or can migrate.
    Format(u32),
}

/// Reads the format, and refuses what this version cannot read; changes nothing.
pub(crate) fn age(backend: &dyn Backend, path: &Path) -> Result<Age, StoreError> {
    let age = recorded(backend, path)?;
    match age {
        Age::New => Ok(age),
        Age::Format(found) if found > FORMAT => Err(StoreError::NewerFormat { found, known: FORMAT }),
        Age::Format(found) if found < oldest(STEPS, FORMAT) => {
            Err(StoreError::OlderFormat { found, oldest: oldest(STEPS, FORMAT) })
        }
        Age::Format(_) => Ok(age),
    }
}

/// Brings a store of this age to [`FORMAT`].
pub(crate) fn bring_up(backend: &dyn Backend, age: Age) -> Result<(), StoreError> {
    climb(backend, age, STEPS, FORMAT)
}

fn climb(backend: &dyn Backend, age: Age, steps: &[Step], newest: u32) -> Result<(), StoreError> {
    match age {
        Age::New => record(backend, newest),
        Age::Format(found) => {
            for step in steps.iter().filter(|step| step.from >= found) {
                (step.run)(backend)?;
                record(backend, step.from + 1)?;
            }
            Ok(())
        }
    }
}

fn oldest(steps: &[Step], newest: u32) -> u32 {
    steps.first().map_or(newest, |step| step.from)
}

fn recorded(backend: &dyn Backend, path: &Path) -> Result<Age, StoreError> {
    let everything = Range { start: Key::default(), end: Key::from_bytes(&[0xff]) };
    let found = backend.read(&Reads::get(&META, format_key()).and_scan(&META, everything, 1))?;
    match &found[..] {
        [Found::Row(None), Found::Page(rows)] if rows.is_empty() => Ok(Age::New),
        [Found::Row(Some(row)), _] => match <[u8; 4]>::try_from(&row[..]) {
            Ok(number) => Ok(Age::Format(u32::from_be_bytes(number))),
            Err(_) => Err(StoreError::UnknownFormat { path: path.display().to_string() }),
        },
        _ => Err(StoreError::UnknownFormat { path: path.display().to_string() }),
    }
}

fn record(backend: &dyn Backend, format: u32) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    batch.put(&META, format_key(), Bytes::copy_from_slice(&format.to_be_bytes()));
    backend.commit(&[batch])
}

fn format_key() -> Key {
    Key::from_bytes(b"format")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    static NOTES: Table = Table::new("notes");

    static TO_TWO: Step = Step { from: 1, run: |backend| note(backend, 2) };
    static TO_THREE: Step = Step { from: 2, run: |backend| note(backend, 3) };

    fn note(backend: &dyn Backend, number: u8) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(&NOTES, Key::default().u8(number), vec![number]);
        backend.commit(&[batch])
    }

    fn notes(backend: &dyn Backend) -> usize {
        let all = Range { start: Key::default(), end: Key::from_bytes(&[0xff]) };
        match &backend.read(&Reads::scan(&NOTES, all, 9)).unwrap()[..] {
            [Found::Page(rows)] => rows.len(),
            other => panic!("one page expected: {other:?}"),
        }
    }

    fn steps() -> [Step; 2] {
        [Step { ..TO_TWO }, Step { ..TO_THREE }]
    }

    fn recorded_in(backend: &dyn Backend) -> Age {
        recorded(backend, Path::new("x")).unwrap()
    }

    #[test]
    fn a_new_store_gets_the_newest_format_without_steps() {
        let memory = Memory::new(&[&NOTES]);
        climb(&memory, Age::New, &steps(), 3).unwrap();
        assert_eq!((recorded_in(&memory), notes(&memory)), (Age::Format(3), 0));
    }

    #[test]
    fn an_older_store_takes_every_step_from_where_it_is() {
        for (start, taken) in [(1, 2), (2, 1), (3, 0)] {
            let memory = Memory::new(&[&NOTES]);
            record(&memory, start).unwrap();
            climb(&memory, recorded_in(&memory), &steps(), 3).unwrap();
            assert_eq!((recorded_in(&memory), notes(&memory)), (Age::Format(3), taken));
        }
    }

    #[test]
    fn a_step_that_failed_runs_again_at_the_next_start() {
        let memory = Memory::new(&[&NOTES]);
        record(&memory, 1).unwrap();
        memory.fail_commits(1, StoreError::Stopped);
        assert_eq!(climb(&memory, Age::Format(1), &steps(), 3), Err(StoreError::Stopped));
        assert_eq!(recorded_in(&memory), Age::Format(1));
        climb(&memory, recorded_in(&memory), &steps(), 3).unwrap();
        assert_eq!((recorded_in(&memory), notes(&memory)), (Age::Format(3), 2));
    }

    #[test]
    fn newer_older_and_foreign_stores_are_refused_with_advice() {
        let memory = Memory::new(&[&NOTES]);
        record(&memory, FORMAT + 1).unwrap();
        let refusal = age(&memory, Path::new("x")).unwrap_err();
        assert!(refusal.to_string().contains("start that version"), "{refusal}");

        record(&memory, 0).unwrap();
        let refusal = age(&memory, Path::new("x")).unwrap_err();
        assert!(refusal.to_string().contains("a version in between"), "{refusal}");

        let foreign = Memory::new(&[&NOTES]);
        let mut batch = Batch::default();
        batch.put(&META, Key::from_bytes(b"user:1"), "someone else's");
        foreign.commit(&[batch]).unwrap();
        assert_eq!(age(&foreign, Path::new("x")), Err(StoreError::UnknownFormat { path: "x".to_owned() }));
    }

    #[test]
    fn steps_lead_to_the_format_without_gaps() {
        let froms: Vec<u32> = STEPS.iter().map(|step| step.from).collect();
        let expected: Vec<u32> = (oldest(STEPS, FORMAT)..FORMAT).collect();
        assert_eq!(froms, expected);
    }
}
