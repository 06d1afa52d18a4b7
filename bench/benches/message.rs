//! What a message between two users costs from a parsed stanza to the recipient's outbox, with every extension and with none.
//!
//! ```text
//! cargo bench -p rookery-bench --bench message
//! ```

use criterion::{Criterion, criterion_group, criterion_main};

mod subject;

fn message(criterion: &mut Criterion) {
    subject::measure("message", criterion);
}

criterion_group!(benches, message);
criterion_main!(benches);
