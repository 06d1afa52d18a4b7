//! What can go wrong with a store, each with the sentence that tells an operator what to do.

use std::sync::Arc;

/// Why the store could not be opened, read or written.
///
/// Cloneable, since one failed sync answers many commits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be created or written.
    #[error(
        "the data directory {path} cannot be written ({cause}): give the user that runs the server write access to it, or \
         choose another directory"
    )]
    NotWritable {
        /// The directory.
        path: String,
        /// What the system said.
        cause: String,
    },
    /// Another process (or another part of this one) has the directory open.
    #[error(
        "the data directory {path} is in use by another server that is still running: stop that one first, or give this one a \
         data directory of its own"
    )]
    Locked {
        /// The directory.
        path: String,
    },
    /// No space is left.
    #[error("the disk that holds {path} is full ({cause}): free some space, then restart the server")]
    DiskFull {
        /// The directory.
        path: String,
        /// What the system said.
        cause: String,
    },
    /// A checksum or a structure on disk is wrong.
    #[error(
        "the data in {path} is damaged ({cause}): check the disk, keep a copy of the directory, and restore it from the last \
         backup"
    )]
    Corrupt {
        /// The directory.
        path: String,
        /// What the engine said.
        cause: String,
    },
    /// The store was written by a later version of the server.
    #[error(
        "the data has format {found} and this server reads formats up to {known}: it was written by a newer server; start \
         that version (or a later one), or restore a backup made before the upgrade"
    )]
    NewerFormat {
        /// The format on disk.
        found: u32,
        /// The newest format this version reads.
        known: u32,
    },
    /// The store was written by a version so old that no migration is left for it.
    #[error(
        "the data has format {found} and this server can migrate no further back than {oldest}: start a version in between \
         once, then this one"
    )]
    OlderFormat {
        /// The format on disk.
        found: u32,
        /// The oldest format that can be migrated.
        oldest: u32,
    },
    /// There is a database, but not one that this server made.
    #[error("{path} holds a database that is not this server's: choose another data directory")]
    UnknownFormat {
        /// The directory.
        path: String,
    },
    /// The batch or the reads name a table that was not given when the store was opened; nothing was done.
    #[error("there is no table named {0}: it is missing from the list the store was opened with")]
    UnknownTable(&'static str),
    /// Anything else that the engine or the system reported.
    #[error("the store in {path} failed: {cause}")]
    Io {
        /// The directory.
        path: String,
        /// What the engine said.
        cause: String,
    },
    /// An earlier commit failed, so that nothing is written any more.
    #[error("nothing is written any more, since an earlier write failed: {first}")]
    ReadOnly {
        /// The first failure.
        first: Arc<StoreError>,
    },
    /// The store has been stopped.
    #[error("the store is stopped")]
    Stopped,
    /// The engine panicked; the text is in the log.
    #[error("a fault in the server stopped this access to the store")]
    Panicked,
}

impl StoreError {
    /// Whether this concerns the request only and says nothing about the state of the disk.
    pub(crate) fn is_callers_fault(&self) -> bool {
        match self {
            StoreError::UnknownTable(_) => true,
            StoreError::NotWritable { .. }
            | StoreError::Locked { .. }
            | StoreError::DiskFull { .. }
            | StoreError::Corrupt { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::OlderFormat { .. }
            | StoreError::UnknownFormat { .. }
            | StoreError::Io { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Stopped
            | StoreError::Panicked => false,
        }
    }
}
