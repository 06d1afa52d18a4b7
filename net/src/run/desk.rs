//! What a shard asks of the world, as the server does it: the store's threads, the pool, the mailer, chance.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use proto::effect::Random;
use proto::link_local::Word;
use proto::row::{Batch, Found, Reads};
use rest::flow::Mail;
use rest::http::Response;
use store::{Client, Done, Sink, StoreError};
use zeroize::Zeroize;

use super::Post;
use crate::files::Errand;
use crate::link_local::Line;
use crate::mail::Mailer;
use crate::metrics::{Gauges, Pages};
use crate::pool::Hand;
use crate::rt::Address;
use crate::shard::{Desk, Task, Ticket};

/// The desk of one shard.
pub(crate) struct ServerDesk {
    pub store: Client,
    pub pool: Hand,
    /// Another pool for files, so that nobody's login waits for a slow disk.
    pub files: Hand,
    /// Of the shard itself.
    pub address: Address<Post>,
    pub gauges: Arc<[Gauges]>,
    pub mailer: Arc<Mailer>,
    /// To the bridge to the local link, if there is one.
    pub link: Option<Line>,
    pub pages: Arc<Pages>,
    pub entropy: Entropy,
}

impl ServerDesk {
    /// Whether so much waits, here or at another shard, that clients had better pause.
    pub fn is_congested_now(&self) -> bool {
        let is_full = |gauges: &Gauges| gauges.letters_waiting.load(Ordering::Relaxed) >= LETTERS_MAX;
        let link_is_full = self.link.as_ref().is_some_and(Line::is_full);
        let waits = self.store.backlog().is_full() || self.pool.is_full() || self.files.is_full() || link_is_full;
        waits || self.gauges.iter().any(is_full)
    }
}

impl Desk for ServerDesk {
    fn cached(&mut self, reads: &Reads) -> Option<Result<Vec<Found>, StoreError>> {
        self.store.cached(reads)
    }

    fn read(&mut self, ticket: Ticket, reads: Reads) {
        self.store.read(store::Ticket(ticket), reads);
    }

    fn commit(&mut self, ticket: Ticket, batch: Batch) {
        self.store.commit(store::Ticket(ticket), batch);
    }

    fn compute(&mut self, ticket: Ticket, task: Task) {
        let address = self.address.clone();
        let pool = match task {
            Task::File(_) => &self.files,
            Task::Password(_) | Task::Api(_) => &self.pool,
        };
        pool.give(Box::new(move || address.post(Post::Worked(ticket, task.run()))));
    }

    fn mail(&mut self, mail: Mail) {
        let mailer = Arc::clone(&self.mailer);
        self.pool.give(Box::new(move || mailer.send(&mail)));
    }

    fn link(&mut self, word: Box<Word>) {
        if let Some(link) = &self.link {
            link.say(word);
        }
    }

    fn errand(&mut self, errand: Errand) {
        self.files.give(Box::new(move || errand.run()));
    }

    fn page(&mut self, path: &str) -> Option<Response> {
        self.pages.page(path)
    }

    fn random(&mut self) -> &mut dyn Random {
        &mut self.entropy
    }

    fn is_congested(&self) -> bool {
        self.is_congested_now()
    }
}

/// The store's answers, left in a shard's mailbox.
pub(crate) struct Answers(pub Address<Post>);

impl Sink for Answers {
    fn done(&self, done: Vec<Done>) {
        self.0.post(Post::Done(done));
    }
}

/// Random bytes of the operating system, fetched a page at a time. What was given out is wiped.
pub(crate) struct Entropy {
    source: SystemRandom,
    bytes: Box<[u8]>,
    used: usize,
}

impl Entropy {
    pub fn new() -> Entropy {
        Entropy { source: SystemRandom::new(), bytes: vec![0; ENTROPY_BYTES].into(), used: ENTROPY_BYTES }
    }
}

impl Random for Entropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(ENTROPY_BYTES) {
            if self.bytes.len() - self.used < part.len() {
                self.source.fill(&mut self.bytes).expect("the system's random generator does not fail once it runs");
                self.used = 0;
            }
            let fresh = &mut self.bytes[self.used..][..part.len()];
            part.copy_from_slice(fresh);
            fresh.zeroize();
            self.used += part.len();
        }
    }
}

impl Drop for Entropy {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

const ENTROPY_BYTES: usize = 4 * 1024;

/// Letters that may wait for one shard before all of them pause their clients.
const LETTERS_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_given_out_twice() {
        let mut entropy = Entropy::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            assert!(seen.insert((&mut entropy as &mut dyn Random).array::<32>()));
        }
        let mut long = vec![0; 3 * ENTROPY_BYTES + 1];
        entropy.fill(&mut long);
        assert!(long.iter().filter(|&&byte| byte == 0).count() < long.len() / 100);
    }
}
