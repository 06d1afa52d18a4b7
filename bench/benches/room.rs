//! What a message costs a room, from the sender's account's note to the bytes of each recipient.
//!
//! ```text
//! cargo bench -p rookery-bench --bench room
//! ```

use criterion::{Criterion, criterion_group, criterion_main};

mod subject;

fn room(criterion: &mut Criterion) {
    subject::measure("room", criterion);
}

criterion_group!(benches, room);
criterion_main!(benches);
