//! Clients that come in by SASL2 with a resource: what they are told of their archive is looked up before their account takes them in.
//!
//! The account goes on meanwhile, and nothing of it is on the way to a client that is not in.

use proto::ext::Ends;
use proto::owner::{AccountId, Owner};
use proto::row::{Found, Rows};
use proto::stream::Entry;
use store::StoreError;

use super::conns::ConnId;
use super::desk::Desk;
use super::owners::Input;
use super::{Shard, Waiting};

/// A client whose archive is being looked at.
pub(super) struct Coming {
    conn: ConnId,
    account: AccountId,
    entry: Box<Entry>,
    ends: Ends,
}

impl<D: Desk> Shard<D> {
    /// A client has logged in, with what it wishes.
    pub(super) fn arrives(&mut self, conn: ConnId, account: AccountId, entry: Box<Entry>) {
        if entry.bind.is_none() {
            return self.offer(Owner::Account(account), Input::Enter(conn, entry));
        }
        self.look_at_archive(Coming { conn, account, entry, ends: Ends::of(account) });
    }

    fn look_at_archive(&mut self, mut coming: Coming) {
        while let Some(reads) = coming.ends.next_reads() {
            let Some(found) = self.desk.cached(&reads) else {
                let ticket = self.ticket(Waiting::Coming(Box::new(coming)));
                return self.desk.read(ticket, reads);
            };
            if !self.takes_ends(&mut coming, found) {
                return self.lets_enter(coming, false);
            }
        }
        self.lets_enter(coming, true);
    }

    pub(super) fn coming_found(&mut self, mut coming: Coming, found: Result<Vec<Found>, StoreError>) {
        if self.takes_ends(&mut coming, found) {
            self.look_at_archive(coming);
        } else {
            self.lets_enter(coming, false);
        }
    }

    /// Whether the rows could be read.
    fn takes_ends(&mut self, coming: &mut Coming, found: Result<Vec<Found>, StoreError>) -> bool {
        let taken = match found {
            Ok(found) => coming.ends.take(Rows::new(found)).map_err(|error| {
                self.counts.unreadable_rows += 1;
                tracing::error!(%error, "a stored row is unreadable");
            }),
            Err(error) => {
                tracing::error!(%error, "an archive cannot be read");
                Err(())
            }
        };
        taken.is_ok()
    }

    /// A client comes in without a word on its archive rather than not at all.
    fn lets_enter(&mut self, coming: Coming, known: bool) {
        let Coming { conn, account, mut entry, ends } = coming;
        if let (Some(bind), true) = (&mut entry.bind, known) {
            bind.archive = ends.metadata().into();
        }
        self.offer(Owner::Account(account), Input::Enter(conn, entry));
    }
}
