//! Random histories, compared with plain maps after every step.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use proto::row::{Batch, Found, Key, Range, Reads};

use crate::house::{House, MARKS, NOTES, TABLES, everything};

/// A backend and a model go through the same random history and look the same after each step.
///
/// One backend serves all histories (each begins by clearing it), since opening one costs many syncs.
pub fn agrees_with_the_model(house: impl House) {
    let house = RefCell::new(house);
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&vec(step(), 1..12), |history| {
        let mut house = house.borrow_mut();
        let mut model = Model::default();
        let mut clear = Batch::default();
        clear.delete_range(&NOTES, everything());
        clear.delete_range(&MARKS, everything());
        house.backend().commit(&[clear]).unwrap();
        for step in history {
            take(step, &mut *house, &mut model)?;
        }
        Ok(())
    });
    run.unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Vec<Op>>),
    Reopen,
    Crash,
    Look { table: usize, range: Range, limit: usize },
}

/// A change before it has a table, which has no `Clone` of its own.
#[derive(Clone, Debug)]
enum Op {
    Put(usize, Key, u8),
    Delete(usize, Key),
    DeleteRange(usize, Range),
}

#[derive(Default)]
struct Model([BTreeMap<Key, Bytes>; 2]);

fn take(step: Step, house: &mut impl House, model: &mut Model) -> Result<(), TestCaseError> {
    match step {
        Step::Commit(batches) => {
            let batches: Vec<Batch> = batches.iter().map(|ops| batch(ops)).collect();
            house.backend().commit(&batches).unwrap();
            batches.iter().for_each(|batch| model.apply(batch));
        }
        Step::Reopen => house.reopen(),
        Step::Crash => house.crash(),
        Step::Look { table, range, limit } => {
            let plan = Reads::get(TABLES[table], range.start.clone())
                .and_scan(TABLES[table], range.clone(), limit)
                .and_scan_back(TABLES[table], range.clone(), limit);
            prop_assert_eq!(house.backend().read(&plan).unwrap(), model.look(table, &range, limit));
        }
    }
    for (number, table) in TABLES.iter().enumerate() {
        let all = house.backend().read(&Reads::scan(table, everything(), usize::MAX)).unwrap();
        prop_assert_eq!(&all[..], &model.look(number, &everything(), usize::MAX)[1..2]);
    }
    Ok(())
}

impl Model {
    fn apply(&mut self, batch: &Batch) {
        for change in &batch.0 {
            match change {
                proto::row::Change::Put(table, key, value) => {
                    self.family(table).insert(key.clone(), value.clone());
                }
                proto::row::Change::Delete(table, key) => {
                    self.family(table).remove(key);
                }
                proto::row::Change::DeleteRange(table, range) => {
                    self.family(table).retain(|key, _| *key < range.start || *key >= range.end);
                }
            }
        }
    }

    fn family(&mut self, table: &proto::row::Table) -> &mut BTreeMap<Key, Bytes> {
        &mut self.0[TABLES.iter().position(|known| *known == table).unwrap()]
    }

    fn look(&self, table: usize, range: &Range, limit: usize) -> Vec<Found> {
        let inside: Vec<(Key, Bytes)> = self.0[table]
            .iter()
            .filter(|(key, _)| **key >= range.start && **key < range.end)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        vec![
            Found::Row(self.0[table].get(&range.start).cloned()),
            Found::Page(inside.iter().take(limit).cloned().collect()),
            Found::Page(inside.iter().rev().take(limit).cloned().collect()),
        ]
    }
}

fn batch(ops: &[Op]) -> Batch {
    let mut batch = Batch::default();
    for op in ops {
        match op {
            Op::Put(table, key, value) => batch.put(TABLES[*table], key.clone(), vec![*value; usize::from(*value) * 8]),
            Op::Delete(table, key) => batch.delete(TABLES[*table], key.clone()),
            Op::DeleteRange(table, range) => batch.delete_range(TABLES[*table], range.clone()),
        }
    }
    batch
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => vec(vec(op(), 0..8), 1..4).prop_map(Step::Commit),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
        4 => (0..2usize, range(), 0..6usize).prop_map(|(table, range, limit)| Step::Look { table, range, limit }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..2usize, key(), any::<u8>()).prop_map(|(table, key, value)| Op::Put(table, key, value)),
        2 => (0..2usize, key()).prop_map(|(table, key)| Op::Delete(table, key)),
        1 => (0..2usize, range()).prop_map(|(table, range)| Op::DeleteRange(table, range)),
    ]
}

/// Few and short, so that histories meet the same keys again; with bytes where carrying goes wrong.
fn key() -> impl Strategy<Value = Key> {
    vec(prop_oneof![Just(0u8), Just(1), Just(0x7f), Just(0xfe), Just(0xff)], 0..4)
        .prop_map(|bytes| Key::from_bytes(&bytes))
}

/// Reversed and empty ones too.
fn range() -> impl Strategy<Value = Range> {
    (key(), key()).prop_map(|(start, end)| Range { start, end })
}
