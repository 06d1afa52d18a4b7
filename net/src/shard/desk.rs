//! What a shard needs done by others: rows looked up and written, and work that would hold the executor up.
//!
//! In the server the store's threads and a small pool do it; in a simulated world a test does, and decides when, in what
//! order, and whether it fails.

use proto::effect::Random;
use proto::link_local::Word;
use proto::row::{Batch, Found, Reads};
use proto::sasl::Proof;
use proto::stream::PasswordCheck;
use rest::flow::{Mail, Work, Worked};
use rest::http::Response;
use store::StoreError;

use crate::files;

/// What a shard calls one of its requests.
pub type Ticket = u64;

/// Milliseconds of work.
#[derive(Debug)]
pub enum Task {
    /// SASL PLAIN.
    Password(Box<PasswordCheck>),
    /// Of the API.
    Api(Work),
    /// With a file.
    File(files::Chore),
}

/// What came of a [`Task`].
#[derive(Debug)]
pub enum Outcome {
    /// Which secret the password was, if any.
    Password(Option<Proof>),
    /// Of the API.
    Api(Worked),
    /// With a file.
    File(files::Outcome),
}

impl Task {
    /// Does it; blocks for milliseconds.
    pub fn run(self) -> Outcome {
        match self {
            Task::Password(check) => Outcome::Password(check.run()),
            Task::Api(work) => Outcome::Api(work.run()),
            Task::File(chore) => Outcome::File(chore.run()),
        }
    }
}

/// Carries out what a shard asks for. Nothing here waits: answers come back as inputs of the shard.
pub trait Desk {
    /// Rows that can be had at once, without the disk.
    fn cached(&mut self, reads: &Reads) -> Option<Result<Vec<Found>, StoreError>>;
    /// Rows; the answer is [`super::Shard::found`].
    fn read(&mut self, ticket: Ticket, reads: Reads);
    /// A batch; the answer is [`super::Shard::committed`]. Batches of one shard are committed and answered in order.
    fn commit(&mut self, ticket: Ticket, batch: Batch);
    /// Work; the answer is [`super::Shard::worked`].
    fn compute(&mut self, ticket: Ticket, task: Task);
    /// A mail, which goes out or is reported as lost.
    fn mail(&mut self, mail: Mail);
    /// Something for the bridge to the local link; without one nothing comes of it.
    fn link(&mut self, word: Box<Word>);
    /// Something to do with files; nobody waits for it.
    fn errand(&mut self, errand: files::Errand);
    /// The pages for those who run the server: health and metrics.
    fn page(&mut self, path: &str) -> Option<Response>;
    /// Chance.
    fn random(&mut self) -> &mut dyn Random;
    /// So much waits to be written that clients had better pause.
    fn is_congested(&self) -> bool;
}
