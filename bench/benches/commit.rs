//! What a commit to RocksDB costs, with its sync, for the rows of so many saved messages.
//!
//! ```text
//! cargo bench -p rookery-bench --bench commit
//! ```
//!
//! The disk's share depends on the machine; `commit_cost` of `store` shows CPU time and RocksDB's own rate beside it.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use operations::stored;
use proto::row::Batch;
use store::{Backend, Rocks, Tuning};

fn commit(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tables: Vec<_> = proto::model::TABLES.iter().copied().chain(proto::ext::tables()).collect();
    let store = Rocks::open(&directory.path().join("store"), &tables, &Tuning::default()).expect("a new store");
    let mut group = criterion.benchmark_group("commit");
    for messages in [1, 10, 100, 1000] {
        let rows = rows_of(messages);
        group.throughput(Throughput::Elements(messages));
        group.bench_function(BenchmarkId::new("messages", messages), |bencher| {
            bencher.iter_batched(
                || rows.clone(),
                |batch| store.commit(&[batch]).expect("a disk with room"),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// The rows of so many messages, and those of their dialog.
fn rows_of(messages: u64) -> Batch {
    let mut rows = Vec::new();
    stored::dialog(messages, 2, messages, |batch| rows.extend(batch.0));
    Batch(rows)
}

criterion_group!(benches, commit);
criterion_main!(benches);
