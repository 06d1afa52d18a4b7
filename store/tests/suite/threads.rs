//! The threads around a backend: order, grouping, failures and shutdown, shown on memory with injected faults; RocksDB takes part
//! where real syncs matter.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use proto::row::{Batch, Found, Reads};
use store::{Backend, Backlog, Client, Done, Memory, Sink, Store, StoreError, Ticket};

use crate::house::{House, InMemory, NOBODYS, NOTES, OnDisk, TABLES, everything, key, keys, page, row};

/// Collects what a client hears, call by call.
#[derive(Default)]
struct Ear {
    calls: Mutex<Vec<Vec<Done>>>,
    heard: Condvar,
}

impl Sink for Ear {
    fn done(&self, done: Vec<Done>) {
        assert!(!done.is_empty());
        self.calls.lock().unwrap().push(done);
        self.heard.notify_all();
    }
}

impl Ear {
    /// Waits for so many answers and takes them, call by call.
    fn calls(&self, answers: usize) -> Vec<Vec<Done>> {
        let too_few = |calls: &mut Vec<Vec<Done>>| calls.iter().map(Vec::len).sum::<usize>() < answers;
        let (mut calls, timeout) =
            self.heard.wait_timeout_while(self.calls.lock().unwrap(), Duration::from_secs(60), too_few).unwrap();
        assert!(!timeout.timed_out(), "only {} calls came", calls.len());
        std::mem::take(&mut *calls)
    }

    fn answers(&self, answers: usize) -> Vec<Done> {
        self.calls(answers).into_iter().flatten().collect()
    }

    /// Waits for so many commits, and gives their tickets and results.
    fn commits(&self, answers: usize) -> Vec<(u64, Result<(), StoreError>)> {
        let commit = |done| match done {
            Done::Commit(Ticket(ticket), result) => (ticket, result),
            Done::Read(..) => panic!("a commit expected: {done:?}"),
        };
        self.answers(answers).into_iter().map(commit).collect()
    }
}

fn started(backend: Arc<dyn Backend>) -> Store {
    Store::start(backend, 2).unwrap()
}

fn listen(store: &Store) -> (Client, Arc<Ear>) {
    let ear = Arc::new(Ear::default());
    (store.client(Arc::clone(&ear) as Arc<dyn Sink>), ear)
}

fn one_row(name: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(&NOTES, key(name), "");
    batch
}

fn disk_full() -> StoreError {
    StoreError::DiskFull { path: "x".to_owned(), cause: "no space".to_owned() }
}

/// Many clients at once: each hears about its own commits, in its order, and finds them.
fn keeps_order_per_client(mut house: impl House, clients: u32, commits: u32) {
    let store = started(house.backend());
    thread::scope(|scope| {
        for number in 0..clients {
            let (client, ear) = listen(&store);
            scope.spawn(move || {
                for ticket in 0..commits {
                    let mut batch = Batch::default();
                    batch.put(&NOTES, key(&number.to_be_bytes()), ticket.to_be_bytes().to_vec());
                    batch.put(&NOTES, key(&number.to_be_bytes()).u32(ticket), "");
                    client.commit(Ticket(u64::from(ticket)), batch);
                }
                let heard = ear.commits(commits as usize);
                let expected: Vec<_> = (0..commits).map(|ticket| (u64::from(ticket), Ok(()))).collect();
                assert_eq!(heard, expected);
                assert_eq!(client.backlog(), Backlog::default());
            });
        }
    });
    let stats = store.stats();
    assert_eq!(stats.commits, u64::from(clients * commits));
    assert!(stats.groups <= stats.commits && stats.groups == stats.syncs && stats.commits_waiting == 0, "{stats:?}");
    drop(store);
    house.crash();
    let backend = house.backend();
    for number in 0..clients {
        let own = key(&number.to_be_bytes());
        assert_eq!(row(&*backend, &NOTES, own.clone()), Some((commits - 1).to_be_bytes().to_vec()));
        assert_eq!(page(&*backend, &Reads::scan(&NOTES, own.all_below(), 9999)).len(), commits as usize + 1);
    }
}

#[test]
fn keeps_order_per_client_on_disk() {
    keeps_order_per_client(OnDisk::new(), 4, 300);
}

#[test]
fn keeps_order_per_client_in_memory() {
    keeps_order_per_client(InMemory::new(), 8, 2000);
}

#[test]
fn what_arrives_during_a_sync_shares_the_next_and_wakes_each_client_once() {
    let memory = Arc::new(Memory::new(&TABLES));
    let store = started(Arc::clone(&memory) as Arc<dyn Backend>);
    let (one, one_hears) = listen(&store);
    let (two, two_hears) = listen(&store);
    memory.hold_commits();
    one.commit(Ticket(0), one_row(b"first"));
    while store.stats().commits_waiting != 1 || !taken(&store) {
        thread::sleep(Duration::from_millis(1));
    }
    for ticket in 1..=50 {
        one.commit(Ticket(ticket), one_row(&[ticket as u8]));
        two.commit(Ticket(ticket), one_row(&[ticket as u8, 1]));
    }
    assert_eq!(one.backlog().commits, 51);
    assert!(two.backlog().bytes > 50 * 2);
    memory.release_commits();
    // At most the lone first one, then everything else.
    let calls = one_hears.calls(51);
    assert!(calls.len() <= 2, "{} calls", calls.len());
    assert_eq!(two_hears.calls(50).len(), 1);
    assert!(store.stats().groups <= 2);
    assert_eq!(one.backlog(), Backlog::default());
}

/// Gives the commit thread time to take what waits; whether it has is not visible, and the test above allows both.
fn taken(_: &Store) -> bool {
    thread::sleep(Duration::from_millis(20));
    true
}

#[test]
fn reads_are_answered_with_their_tickets() {
    let mut house = OnDisk::new();
    house.backend().commit(&[one_row(b"a"), one_row(b"b")]).unwrap();
    house.reopen();
    let store = started(house.backend());
    let (client, ear) = listen(&store);
    for ticket in 0..500 {
        client.read(Ticket(ticket), Reads::scan(&NOTES, everything(), (ticket % 3) as usize));
    }
    let mut heard = BTreeMap::new();
    for done in ear.answers(500) {
        match done {
            Done::Read(ticket, Ok(found)) => match &found[..] {
                [Found::Page(rows)] => heard.insert(ticket, rows.len() as u64),
                other => panic!("one page expected: {other:?}"),
            },
            other => panic!("a page expected: {other:?}"),
        };
    }
    assert_eq!(heard.len(), 500);
    assert!(heard.into_iter().all(|(Ticket(ticket), rows)| rows == ticket % 3));
    assert_eq!((client.backlog().reads, store.stats().reads), (0, 500));
}

#[test]
fn reads_that_memory_cannot_answer_go_to_the_readers() {
    let memory = Arc::new(Memory::new(&TABLES));
    memory.commit(&[one_row(b"a")]).unwrap();
    let store = started(Arc::clone(&memory) as Arc<dyn Backend>);
    let (client, ear) = listen(&store);
    let plan = Reads::get(&NOTES, key(b"a"));
    assert!(client.cached(&plan).is_some());
    memory.set_cold(true);
    assert!(client.cached(&plan).is_none());
    client.read(Ticket(7), plan);
    assert!(matches!(&ear.answers(1)[..], [Done::Read(Ticket(7), Ok(found))] if found.len() == 1));
}

#[test]
fn a_failed_read_is_that_readers_error_only() {
    let memory = Arc::new(Memory::new(&TABLES));
    let store = started(Arc::clone(&memory) as Arc<dyn Backend>);
    let (client, ear) = listen(&store);
    memory.fail_reads(1, disk_full());
    client.read(Ticket(1), Reads::none());
    assert!(matches!(&ear.answers(1)[..], [Done::Read(Ticket(1), Err(StoreError::DiskFull { .. }))]));
    client.read(Ticket(2), Reads::none());
    assert!(matches!(&ear.answers(1)[..], [Done::Read(Ticket(2), Ok(_))]));
    assert_eq!(store.failure(), None);
}

#[test]
fn after_a_failure_nothing_is_acknowledged_and_reads_go_on() {
    type Inject = fn(&Memory);
    let faults: [Inject; 2] =
        [|memory| memory.fail_commits(1, disk_full()), |memory| memory.fail_syncs(1, disk_full())];
    for fault in faults {
        let memory = Arc::new(Memory::new(&TABLES));
        let store = started(Arc::clone(&memory) as Arc<dyn Backend>);
        let (client, ear) = listen(&store);
        client.commit(Ticket(0), one_row(b"a"));
        assert_eq!(ear.commits(1), [(0, Ok(()))]);

        fault(&memory);
        client.commit(Ticket(1), one_row(b"b"));
        assert_eq!(ear.commits(1), [(1, Err(disk_full()))]);
        assert_eq!(store.failure(), Some(disk_full()));
        assert!(store.stats().read_only);

        // The disk would take it again, but what it holds is unknown until a restart.
        client.commit(Ticket(2), one_row(b"c"));
        let refusal = StoreError::ReadOnly { first: Arc::new(disk_full()) };
        assert_eq!(ear.commits(1), [(2, Err(refusal))]);
        client.read(Ticket(3), Reads::get(&NOTES, key(b"a")));
        assert!(
            matches!(&ear.answers(1)[..], [Done::Read(_, Ok(found))] if matches!(&found[..], [Found::Row(Some(_))]))
        );
        assert_eq!(keys(&*memory, &Reads::scan(&NOTES, everything(), 9)), b"a");
        assert_eq!(client.backlog(), Backlog::default());
        assert_eq!(store.flush_and_stop(), Err(disk_full()));
    }
}

#[test]
fn a_crash_keeps_everything_acknowledged_and_at_most_a_beginning_of_the_rest() {
    for kept in 0..3 {
        let memory = Arc::new(Memory::new(&TABLES));
        memory.commit(&[one_row(b"a")]).unwrap();
        memory.fail_syncs(1, disk_full());
        assert_eq!(memory.commit(&[one_row(b"b"), one_row(b"c")]), Err(disk_full()));
        let after = memory.crash(kept);
        assert_eq!(keys(&after, &Reads::scan(&NOTES, everything(), 9)), b"abc"[..=kept]);
        assert_eq!(memory.commit(&[one_row(b"d")]), Err(StoreError::Stopped));
        assert_eq!(memory.read(&Reads::none()), Err(StoreError::Stopped));
    }
}

#[test]
fn a_batch_at_fault_does_not_harm_its_neighbours() {
    let memory = Arc::new(Memory::new(&TABLES));
    let store = started(Arc::clone(&memory) as Arc<dyn Backend>);
    let (client, ear) = listen(&store);
    memory.hold_commits();
    let mut faulty = Batch::default();
    faulty.put(&NOBODYS, key(b"x"), "");
    client.commit(Ticket(1), one_row(b"a"));
    client.commit(Ticket(2), faulty);
    client.commit(Ticket(3), one_row(b"b"));
    memory.release_commits();
    let unknown = Err(StoreError::UnknownTable("nobodys"));
    assert_eq!(ear.commits(3), [(1, Ok(())), (2, unknown), (3, Ok(()))]);
    assert_eq!(store.failure(), None);
}

#[test]
fn a_panic_below_ends_writing_but_answers_everybody() {
    struct Faulty;
    impl Backend for Faulty {
        fn read(&self, _: &Reads) -> Result<Vec<Found>, StoreError> {
            panic!("on purpose, by the test of panics")
        }
        fn cached(&self, _: &Reads) -> Option<Result<Vec<Found>, StoreError>> {
            None
        }
        fn commit(&self, _: &[Batch]) -> Result<(), StoreError> {
            panic!("on purpose, by the test of panics")
        }
        fn settle(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }
    let store = started(Arc::new(Faulty));
    let (client, ear) = listen(&store);
    client.commit(Ticket(1), Batch::default());
    assert_eq!(ear.commits(1), [(1, Err(StoreError::Panicked))]);
    client.commit(Ticket(2), Batch::default());
    assert_eq!(ear.commits(1), [(2, Err(StoreError::ReadOnly { first: Arc::new(StoreError::Panicked) }))]);
    client.read(Ticket(3), Reads::none());
    assert!(matches!(&ear.answers(1)[..], [Done::Read(Ticket(3), Err(StoreError::Panicked))]));
}

#[test]
fn stopping_answers_everything_submitted_and_refuses_the_rest() {
    let memory = Arc::new(Memory::new(&TABLES));
    let store = started(Arc::clone(&memory) as Arc<dyn Backend>);
    let (client, ear) = listen(&store);
    for ticket in 0..1000 {
        client.commit(Ticket(ticket), one_row(&[(ticket % 200) as u8]));
    }
    client.read(Ticket(1000), Reads::none());
    store.flush_and_stop().unwrap();
    let (commits, reads): (Vec<_>, Vec<_>) =
        ear.answers(1001).into_iter().partition(|done| matches!(done, Done::Commit(..)));
    assert_eq!((commits.len(), reads.len()), (1000, 1));
    assert!(commits.iter().all(|done| matches!(done, Done::Commit(_, Ok(())))));

    client.commit(Ticket(1), one_row(b"late"));
    client.read(Ticket(2), Reads::none());
    let late = ear.answers(2);
    assert!(matches!(
        &late[..],
        [Done::Commit(Ticket(1), Err(StoreError::Stopped)), Done::Read(Ticket(2), Err(StoreError::Stopped))]
    ));
    assert_eq!(client.backlog(), Backlog::default());
    store.flush_and_stop().unwrap();
}

#[test]
fn a_full_backlog_says_so() {
    let memory = Arc::new(Memory::new(&TABLES));
    let store = started(Arc::clone(&memory) as Arc<dyn Backend>);
    let (client, ear) = listen(&store);
    memory.hold_commits();
    let half = Backlog::BYTES_MAX / 2;
    for ticket in 0..2 {
        assert!(!client.backlog().is_full());
        let mut batch = Batch::default();
        batch.put(&NOTES, key(b"large"), vec![0; half]);
        client.commit(Ticket(ticket), batch);
    }
    assert!(client.backlog().is_full());
    memory.release_commits();
    ear.commits(2);
    assert!(!client.backlog().is_full());
}
