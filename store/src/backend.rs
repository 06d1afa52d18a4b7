//! The blocking engine below the threads.

use proto::row::{Batch, Change, Found, Range, Reads};

use crate::StoreError;

/// A blocking engine that carries out reads and commits.
///
/// What holds for every backend: keys are ordered by their bytes; a range whose end is not after its start is empty (for scans
/// and for deletes); a later change of the same key, in the same batch or a later one, wins; a table that the backend was not
/// opened with is refused with [`StoreError::UnknownTable`] before anything happens.
pub trait Backend: Send + Sync + 'static {
    /// Looks everything up, one answer per read, in order, all as of one moment. May wait for the disk.
    fn read(&self, reads: &Reads) -> Result<Vec<Found>, StoreError>;

    /// The same, when memory alone can answer all of it; `None` when the disk is needed. Never waits.
    fn cached(&self, reads: &Reads) -> Option<Result<Vec<Found>, StoreError>>;

    /// Makes all the batches durable, in order and all together: on `Ok` they are on disk and visible.
    ///
    /// After an error (but for an unknown table) it is unknown which of them the next start will find: none, all, or, never
    /// torn within one, some.
    fn commit(&self, batches: &[Batch]) -> Result<(), StoreError>;

    /// Brings the state into the form that opens fastest. Nothing depends on it for safety.
    fn settle(&self) -> Result<(), StoreError>;
}

/// About how much memory a batch holds on to, in bytes.
pub(crate) fn batch_bytes(batch: &Batch) -> usize {
    batch.0.iter().map(change_bytes).sum()
}

fn change_bytes(change: &Change) -> usize {
    CHANGE_OVERHEAD_BYTES
        + match change {
            Change::Put(_, key, value) => key.as_slice().len() + value.len(),
            Change::Delete(_, key) => key.as_slice().len(),
            Change::DeleteRange(_, range) => range.start.as_slice().len() + range.end.as_slice().len(),
        }
}

/// Whether no key can lie in the range.
pub(crate) fn is_empty(range: &Range) -> bool {
    range.start >= range.end
}

/// What a change costs beyond its bytes, roughly: the tag, the lengths, the table.
const CHANGE_OVERHEAD_BYTES: usize = 16;
