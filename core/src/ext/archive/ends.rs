//! Where a user's archive begins and ends, for a client that comes in. XEP-0313 §6, XEP-0386 §3.2

use super::inquiry::Inquiry;
use super::search::Scope;
use crate::limits::ARCHIVE_ENDS_ROUNDS_MAX;
use crate::owner::AccountId;
use crate::row::{Reads, Rows, Unreadable};

/// The question, while its rows are read. What is saved meanwhile the client hears of otherwise: it is no session yet that could be
/// told of it.
pub struct Ends {
    inquiry: Inquiry,
    rounds: usize,
    /// The rows cannot be had, or there are too many of them.
    given_up: bool,
}

impl Ends {
    /// Of this user's archive.
    pub fn of(id: AccountId) -> Ends {
        Ends { inquiry: Inquiry::ends(id, Scope::Private), rounds: 0, given_up: false }
    }

    /// The rows that are needed next, if any are.
    pub fn next_reads(&mut self) -> Option<Reads> {
        if self.given_up {
            return None;
        }
        let reads = match self.inquiry.next() {
            Ok(reads) => reads?,
            Err(_) => {
                self.given_up = true;
                return None;
            }
        };
        self.rounds += 1;
        self.given_up = self.rounds > ARCHIVE_ENDS_ROUNDS_MAX;
        (!self.given_up).then_some(reads)
    }

    /// Takes the rows that [`Ends::next_reads`] asked for.
    pub fn take(&mut self, rows: Rows) -> Result<(), Unreadable> {
        self.inquiry.take(rows)
    }

    /// The answer. Empty if it would have cost too much: the client asks for itself then.
    pub fn metadata(self) -> Vec<u8> {
        if self.given_up { Vec::new() } else { self.inquiry.metadata() }
    }
}
