//! What history costs, on RocksDB: pages, unread counts and lists at several sizes, and saving in small and large dialogs.
//!
//! ```text
//! cargo bench -p rookery-bench --bench history            # up to a million messages; about two minutes
//! HISTORY_MESSAGES_MAX=10000000 cargo bench -p rookery-bench --bench history -- page
//! ```
//!
//! Every cost that the design keeps flat has the size in its name, so that a run shows whether it is.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use operations::stored::{self, APP, START_SECS, VIEWER};
use proto::account::Progress;
use proto::dialog::Dialog;
use proto::effect::{Effect, Effects, Note, Random, ReplyTo, Site, Turn};
use proto::jid::user::{DialogId, MessageId};
use proto::model::dialog::page::{Order, Page, Pager, Wanted};
use proto::model::dialog::shelf::{self, Shelf};
use proto::model::dialog::view::{unread, unread_reads};
use proto::model::dialog::{self, Command, Content, Delivery, Draft};
use proto::model::inbox::{self, Standing};
use proto::owner::AccountId;
use proto::row::{Batch, Reads, Rows};
use proto::time::{Instant, Now, Timestamp};
use store::{Backend, Rocks, Tuning};

/// A store in a directory of its own, and what was put into it.
struct Library {
    store: Arc<Rocks>,
    _directory: tempfile::TempDir,
}

impl Library {
    fn new() -> Library {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let tables: Vec<_> = proto::model::TABLES.iter().copied().chain(proto::ext::tables()).collect();
        let store = Rocks::open(&directory.path().join("store"), &tables, &Tuning::default()).expect("a new store");
        Library { store: Arc::new(store), _directory: directory }
    }

    fn rows(&self, reads: &Reads) -> Rows {
        Rows::new(self.store.read(reads).expect("rows that were just written"))
    }

    fn commit(&self, batch: Batch) {
        self.store.commit(&[batch]).expect("a disk with room");
    }

    /// A dialog with so many members and messages, half of which the viewer has sent.
    fn dialog(&self, number: u64, members: u64, messages: u64) -> DialogId {
        stored::dialog(number, members, messages, |batch| self.commit(batch))
    }

    /// A page of messages, as the API and the archives read it.
    fn page(&self, id: DialogId, newest_first: bool) -> Page {
        let mut rows = self.rows(&dialog::load_reads(APP, id));
        let (record, head) = dialog::load(&mut rows).expect("a row").expect("a dialog");
        let wanted = Wanted {
            viewer: VIEWER,
            from: None,
            to: None,
            order: Order::DateSent,
            newest_first,
            skip: 0,
            limit: 100,
            count: false,
            keep: None,
        };
        let mut pager = Pager::new(APP, id, &record, &head, wanted);
        while let Some(reads) = pager.next() {
            pager.take(self.rows(&reads)).expect("rows that were just written");
        }
        pager.into_page()
    }
}

/// Sizes from 100 up, each a hundred times the one before.
fn sizes(max: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(100), |size| Some(size * 100)).take_while(move |&size| size <= max)
}

fn messages_max() -> u64 {
    let wish = std::env::var("HISTORY_MESSAGES_MAX").ok();
    wish.map_or(1_000_000, |wish| wish.parse().expect("HISTORY_MESSAGES_MAX is a number"))
}

fn pages(criterion: &mut Criterion) {
    let library = Library::new();
    let mut group = criterion.benchmark_group("page of 100 messages");
    group.throughput(Throughput::Elements(100));
    let mut all: Vec<u64> = sizes(messages_max()).collect();
    all.extend(Some(messages_max()).filter(|max| !all.contains(max)));
    for (number, size) in (0..).zip(all) {
        let id = library.dialog(number, 2, size);
        for (name, newest_first) in [("newest of", true), ("oldest of", false)] {
            assert_eq!(library.page(id, newest_first).items.len(), 100);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| black_box(library.page(id, newest_first)));
            });
        }
        group.bench_function(BenchmarkId::new("unread count in", size), |bencher| {
            let reads = unread_reads(APP, id, VIEWER);
            assert_eq!(reads.0.len(), 2, "an unread count is two point reads");
            bencher.iter(|| {
                let count = unread(&mut library.rows(&reads)).expect("rows that were just written");
                assert_eq!(count, size / 2);
            });
        });
    }
    group.finish();
}

fn lists(criterion: &mut Criterion) {
    let library = Library::new();
    let viewer = AccountId { app: APP, user: VIEWER };
    let mut group = criterion.benchmark_group("page of 100 dialogs");
    let mut made = 0;
    for size in sizes(10_000) {
        for number in made..size {
            let id = library.dialog(number, 2, 1 + number % 3);
            let to = Standing::At((START_SECS + number % 3) as u32);
            perform(&library, |turn| {
                inbox::apply(viewer, inbox::Command::Place { dialog: id, from: None, to }, true, turn)
            });
        }
        made = size;
        group.bench_function(BenchmarkId::new("by last message of", size), |bencher| {
            bencher.iter(|| {
                let wanted = shelf::Wanted { viewer, skip: 0, limit: 100, keep: None, order: None };
                let mut shelf = Shelf::new(wanted);
                while let Some(reads) = shelf.next() {
                    shelf.take(library.rows(&reads)).expect("rows that were just written");
                }
                let page = shelf.into_page();
                assert_eq!((page.items.len(), page.total as u64), (100, size));
            });
        });
    }
    group.finish();
}

/// The owner's part of saving a message: from the command to its effects, with the rows it reads, without the commit.
fn saving(criterion: &mut Criterion) {
    let library = Library::new();
    let mut group = criterion.benchmark_group("save a message");
    for (number, members) in (0..).zip([2, 300, 10_000]) {
        let id = library.dialog(number, members, 100);
        let mut dialog = Dialog::load(APP, id, library.rows(&Dialog::load_reads(APP, id))).expect("a row");
        let (mut sent, mut chance, site) = (1_000, Counting(0), Site::of("localhost"));
        let mut save = |secs: u64| {
            let now = Now { instant: Instant::START, stamp: Timestamp::from_secs(START_SECS + 1_000 + secs) };
            sent += 1;
            let draft = Draft {
                by: VIEWER,
                id: MessageId::drawn(now.stamp, (sent << 8 | number).to_be_bytes()),
                to: None,
                content: Content { text: Some("Hello, how are you?".to_owned()), ..Content::default() },
                markable: true,
                delivery: Delivery::Chat,
                admitted: true,
            };
            let note = Note::Command {
                command: Command::Save(draft).into(),
                reply: Some(ReplyTo { shard: 0, ticket: 0 }),
                job: None,
            };
            let mut out = Effects::new();
            let mut turn = Turn { now, site: &site, random: &mut chance, out: &mut out };
            let mut progress = dialog.note(note, &mut turn).expect("rows that were just written");
            while let Progress::Needs(reads) = progress {
                progress = dialog.resume(library.rows(&reads), &mut turn).expect("rows that were just written");
            }
            out
        };
        let rows = |effects: &Effects| -> usize {
            let batches = effects.as_slice().iter().map(|effect| match effect {
                Effect::Write(batch) | Effect::WriteBehind(batch) => batch.0.len(),
                _ => 0,
            });
            batches.sum()
        };
        save(0);
        assert_eq!(rows(&save(0)), 4, "head, message, place and the sender's reader, in a dialog of {members}");
        group.bench_function(BenchmarkId::new("members", members), |bencher| bencher.iter(|| black_box(save(0))));
        let mut secs = 0;
        group.bench_function(BenchmarkId::new("members, moving it in their lists,", members), |bencher| {
            bencher.iter(|| {
                secs += 1;
                black_box(save(secs))
            });
        });
    }
    group.finish();
}

/// Runs something that fills effects, and commits what it writes.
fn perform(library: &Library, act: impl FnOnce(&mut Turn<'_>)) {
    let now = Now { instant: Instant::START, stamp: Timestamp::from_secs(START_SECS) };
    let mut out = Effects::new();
    act(&mut Turn { now, site: &Site::of("localhost"), random: &mut Counting(0), out: &mut out });
    for effect in out.drain() {
        if let Effect::Write(batch) | Effect::WriteBehind(batch) = effect {
            library.commit(batch);
        }
    }
}

/// Bytes that never repeat.
struct Counting(u64);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 += 1;
            chunk.copy_from_slice(&self.0.to_be_bytes()[..chunk.len()]);
        }
    }
}

criterion_group!(benches, saving, lists, pages);
criterion_main!(benches);
