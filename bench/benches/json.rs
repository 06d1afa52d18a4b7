//! What the API's JSON costs: the body of a request read, a page of history from rows to an answer.
//!
//! ```text
//! cargo bench -p rookery-bench --bench json
//! ```

use criterion::{Criterion, criterion_group, criterion_main};

mod subject;

fn json(criterion: &mut Criterion) {
    subject::measure("json", criterion);
}

criterion_group!(benches, json);
criterion_main!(benches);
