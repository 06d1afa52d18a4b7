//! Times of the operations of one subject; the same are counted in instructions by `bench/instructions`.

use criterion::{Criterion, Throughput};

/// Measures every operation whose name begins so: bytes a second where that says something, or parts (such as recipients).
pub fn measure(subject: &str, criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(subject);
    for operation in operations::all().iter().filter(|operation| operation.subject() == subject) {
        match operation.bytes {
            _ if operation.parts > 1 => group.throughput(Throughput::Elements(operation.parts)),
            Some(bytes) => group.throughput(Throughput::Bytes(bytes)),
            None => group.throughput(Throughput::Elements(1)),
        };
        let mut work = operation.prepare();
        let name = operation.name.trim_start_matches(subject).trim_start_matches('/').to_owned();
        group.bench_function(name, |bencher| bencher.iter(&mut work));
    }
    group.finish();
}
