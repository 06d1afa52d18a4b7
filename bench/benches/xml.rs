//! What the XML road of a message costs: framing, the view, forwarding, and writing one from nothing.
//!
//! ```text
//! cargo bench -p rookery-bench --bench xml
//! ```

use criterion::{Criterion, criterion_group, criterion_main};

mod subject;

fn xml(criterion: &mut Criterion) {
    subject::measure("xml", criterion);
}

criterion_group!(benches, xml);
criterion_main!(benches);
