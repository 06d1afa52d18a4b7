//! What holds for every backend.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proto::row::{Batch, Found, Reads};
use store::{Backend, StoreError};

use crate::house::{House, MARKS, NOBODYS, NOTES, account, everything, key, keys, page, range, row};
pub use crate::model::agrees_with_the_model;

pub fn gets_what_was_put(house: impl House) {
    let backend = house.backend();
    put(&*backend, &[(b"a", b"1"), (b"b", b"")]);
    assert_eq!(row(&*backend, &NOTES, key(b"a")), Some(b"1".to_vec()));
    assert_eq!(row(&*backend, &NOTES, key(b"b")), Some(Vec::new()));
    assert_eq!(row(&*backend, &NOTES, key(b"c")), None);

    let found =
        backend.read(&Reads::get(&NOTES, key(b"c")).and_get(&NOTES, key(b"a")).and_scan(&NOTES, everything(), 1));
    let expected = [
        Found::Row(None),
        Found::Row(Some(Bytes::from_static(b"1"))),
        Found::Page(vec![(key(b"a"), Bytes::from_static(b"1"))]),
    ];
    assert_eq!(found.unwrap(), expected);
    assert_eq!(backend.read(&Reads::none()).unwrap(), []);
}

pub fn later_changes_of_a_key_win(house: impl House) {
    let backend = house.backend();
    let mut batch = Batch::default();
    batch.put(&NOTES, key(b"a"), "first");
    batch.delete(&NOTES, key(b"a"));
    batch.put(&NOTES, key(b"b"), "first");
    batch.delete_range(&NOTES, range(b"a", b"z"));
    batch.put(&NOTES, key(b"b"), "second");
    backend.commit(&[batch]).unwrap();
    assert_eq!(page(&*backend, &Reads::scan(&NOTES, everything(), 9)), [(b"b".to_vec(), b"second".to_vec())]);
}

pub fn scans_forwards_and_backwards_up_to_the_limit(house: impl House) {
    let backend = house.backend();
    put(&*backend, &[(b"c", b""), (b"a", b""), (b"e", b""), (b"b", b""), (b"d", b"")]);
    let forwards = |limit| keys(&*backend, &Reads::scan(&NOTES, everything(), limit));
    let backwards = |limit| keys(&*backend, &Reads::none().and_scan_back(&NOTES, everything(), limit));
    assert_eq!(forwards(9), b"abcde");
    assert_eq!(forwards(2), b"ab");
    assert_eq!(forwards(0), b"");
    assert_eq!(backwards(usize::MAX), b"edcba");
    assert_eq!(backwards(5), b"edcba");
    assert_eq!(backwards(1), b"e");
}

pub fn ranges_include_their_start_and_exclude_their_end(house: impl House) {
    let backend = house.backend();
    put(&*backend, &[(b"a", b""), (b"b", b""), (b"c", b""), (b"d", b"")]);
    let inner = range(b"b", b"d");
    assert_eq!(keys(&*backend, &Reads::scan(&NOTES, inner.clone(), 9)), b"bc");
    assert_eq!(keys(&*backend, &Reads::none().and_scan_back(&NOTES, inner, 9)), b"cb");
    // Ends that are no keys themselves.
    assert_eq!(keys(&*backend, &Reads::scan(&NOTES, range(b"a\0", b"c\0"), 9)), b"bc");
}

pub fn deletes_exactly_the_range(house: impl House) {
    let backend = house.backend();
    put(&*backend, &[(b"a", b""), (b"b", b""), (b"c", b""), (b"d", b"")]);
    let mut batch = Batch::default();
    batch.delete_range(&NOTES, range(b"b", b"d"));
    batch.delete(&NOTES, key(b"nothing there"));
    backend.commit(&[batch]).unwrap();
    assert_eq!(keys(&*backend, &Reads::scan(&NOTES, everything(), 9)), b"ad");
    put(&*backend, &[(b"c", b"")]);
    assert_eq!(keys(&*backend, &Reads::scan(&NOTES, everything(), 9)), b"acd");
}

pub fn empty_and_reversed_ranges_hold_nothing(mut house: impl House) {
    for nothing in [range(b"b", b"b"), range(b"c", b"a"), range(b"b", b""), range(b"", b"")] {
        let backend = house.backend();
        put(&*backend, &[(b"a", b""), (b"b", b""), (b"c", b"")]);
        let mut batch = Batch::default();
        batch.delete_range(&NOTES, nothing.clone());
        backend.commit(&[batch, Batch::default()]).unwrap();
        assert_eq!(keys(&*backend, &Reads::scan(&NOTES, nothing.clone(), 9)), b"");
        assert_eq!(keys(&*backend, &Reads::none().and_scan_back(&NOTES, nothing, 9)), b"");
        drop(backend);
        // And the log that holds them can be replayed.
        house.crash();
        assert_eq!(keys(&*house.backend(), &Reads::scan(&NOTES, everything(), 9)), b"abc");
    }
}

pub fn tables_are_apart(house: impl House) {
    let backend = house.backend();
    let mut batch = Batch::default();
    batch.put(&NOTES, key(b"a"), "note");
    batch.put(&MARKS, key(b"a"), "mark");
    batch.put(&MARKS, key(b"b"), "mark");
    backend.commit(&[batch]).unwrap();
    let mut batch = Batch::default();
    batch.delete_range(&NOTES, everything());
    backend.commit(&[batch]).unwrap();
    assert_eq!(keys(&*backend, &Reads::scan(&NOTES, everything(), 9)), b"");
    assert_eq!(keys(&*backend, &Reads::scan(&MARKS, everything(), 9)), b"ab");
}

pub fn keys_of_one_owner_never_show_another(house: impl House) {
    let backend = house.backend();
    let mut batch = Batch::default();
    // Lists whose names begin alike, and users whose numbers are neighbours.
    for user in [1, 2, 256, u64::MAX] {
        for list in ["a", "ab", "a\0", "a\0b", "", "\u{10ffff}"] {
            for item in 0..3u32 {
                batch.put(&NOTES, account(user).text(list).u32(item), format!("{user} {list} {item}"));
            }
        }
    }
    backend.commit(&[batch]).unwrap();
    for user in [1, 2, 256, u64::MAX] {
        for list in ["a", "ab", "a\0", "a\0b", "", "\u{10ffff}"] {
            let rows = page(&*backend, &Reads::scan(&NOTES, account(user).text(list).all_below(), 99));
            let values: Vec<String> = rows.into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect();
            let expected: Vec<String> = (0..3).map(|item| format!("{user} {list} {item}")).collect();
            assert_eq!(values, expected);
        }
        assert_eq!(page(&*backend, &Reads::scan(&NOTES, account(user).all_below(), 99)).len(), 18);
    }
    let mut batch = Batch::default();
    batch.delete_range(&NOTES, account(2).text("a").all_below());
    backend.commit(&[batch]).unwrap();
    assert_eq!(page(&*backend, &Reads::scan(&NOTES, everything(), 99)).len(), 72 - 3);
}

pub fn many_batches_in_one_commit_keep_their_order(house: impl House) {
    let backend = house.backend();
    let batches: Vec<Batch> = (0..200u32)
        .map(|number| {
            let mut batch = Batch::default();
            batch.put(&NOTES, key(b"last"), number.to_be_bytes().to_vec());
            batch.put(&MARKS, key(&number.to_be_bytes()), "");
            batch
        })
        .collect();
    backend.commit(&batches).unwrap();
    assert_eq!(row(&*backend, &NOTES, key(b"last")), Some(199u32.to_be_bytes().to_vec()));
    assert_eq!(page(&*backend, &Reads::scan(&MARKS, everything(), 999)).len(), 200);
}

pub fn an_unknown_table_is_refused_and_nothing_is_written(house: impl House) {
    let backend = house.backend();
    let refusal = StoreError::UnknownTable("nobodys");
    assert_eq!(backend.read(&Reads::get(&NOBODYS, key(b"a"))), Err(refusal.clone()));
    assert_eq!(backend.read(&Reads::scan(&NOBODYS, everything(), 1)), Err(refusal.clone()));
    let mut batch = Batch::default();
    batch.put(&NOTES, key(b"a"), "");
    batch.put(&NOBODYS, key(b"a"), "");
    assert_eq!(backend.commit(&[batch]), Err(refusal));
    assert_eq!(row(&*backend, &NOTES, key(b"a")), None);
}

pub fn reopening_finds_everything(mut house: impl House) {
    for round in 0..3u8 {
        put(&*house.backend(), &[(&[round], &[round])]);
        house.reopen();
        let found = keys(&*house.backend(), &Reads::scan(&NOTES, everything(), 9));
        assert_eq!(found, (0..=round).collect::<Vec<u8>>());
    }
}

pub fn a_crash_keeps_what_was_committed(mut house: impl House) {
    for round in 0..4u8 {
        let mut batch = Batch::default();
        batch.put(&NOTES, key(&[round]), "");
        batch.delete(&MARKS, key(&[round.wrapping_sub(1)]));
        batch.put(&MARKS, key(&[round]), "");
        house.backend().commit(&[batch]).unwrap();
        house.crash();
        let backend = house.backend();
        assert_eq!(keys(&*backend, &Reads::scan(&NOTES, everything(), 9)), (0..=round).collect::<Vec<u8>>());
        assert_eq!(keys(&*backend, &Reads::scan(&MARKS, everything(), 9)), [round]);
    }
}

pub fn answers_from_memory_agree_with_answers_from_disk(mut house: impl House) {
    let plan = Reads::get(&NOTES, key(b"b")).and_scan(&NOTES, everything(), 9).and_scan_back(&NOTES, everything(), 2);
    put(&*house.backend(), &[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]);
    // What was just written is in memory.
    assert_eq!(house.backend().cached(&plan).expect("fresh rows are in memory"), house.backend().read(&plan));
    house.reopen();
    let backend = house.backend();
    let before = backend.cached(&plan);
    let read = backend.read(&plan);
    assert!(before.is_none_or(|before| before == read));
    // What was just read is in memory too.
    assert_eq!(backend.cached(&plan).expect("rows just read are in memory"), read);
    assert_eq!(backend.cached(&Reads::get(&NOBODYS, key(b"a"))), Some(Err(StoreError::UnknownTable("nobodys"))));
}

pub fn large_rows_come_back_whole(mut house: impl House) {
    let value: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut batch = Batch::default();
    batch.put(&NOTES, key(b"large"), value.clone());
    batch.put(&NOTES, key(&[7; 600]), "long key");
    house.backend().commit(&[batch]).unwrap();
    for _ in 0..2 {
        assert!(row(&*house.backend(), &NOTES, key(b"large")) == Some(value.clone()));
        assert_eq!(row(&*house.backend(), &NOTES, key(&[7; 600])), Some(b"long key".to_vec()));
        house.reopen();
    }
}

pub fn one_plan_sees_one_moment(house: impl House) {
    let backend = house.backend();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..300u32 {
                let mut batch = Batch::default();
                batch.put(&NOTES, key(b"a"), number.to_be_bytes().to_vec());
                batch.put(&MARKS, key(b"z"), number.to_be_bytes().to_vec());
                backend.commit(&[batch]).unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) {
            let plan = Reads::get(&NOTES, key(b"a")).and_get(&MARKS, key(b"z"));
            let found = backend.read(&plan).unwrap();
            assert_eq!(found[0], found[1]);
        }
    });
}

fn put(backend: &dyn Backend, rows: &[(&[u8], &[u8])]) {
    let mut batch = Batch::default();
    for (name, value) in rows {
        batch.put(&NOTES, key(name), value.to_vec());
    }
    backend.commit(&[batch]).unwrap();
}
