//! Whatever a client sends, a host answers and a clock does: a stream keeps its promises.

use proto::stream::drive;

/// The input is a conversation as [`drive::drive_operations`] reads it: the kind of stream, then one operation after another.
pub fn run(data: &[u8]) {
    drive::drive_operations(data);
}
