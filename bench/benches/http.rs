//! What it costs to cut requests out of a stream, and to write an answer's head.
//!
//! ```text
//! cargo bench -p rookery-bench --bench http
//! ```

use criterion::{Criterion, criterion_group, criterion_main};

mod subject;

fn http(criterion: &mut Criterion) {
    subject::measure("http", criterion);
}

criterion_group!(benches, http);
criterion_main!(benches);
