//! Iqs that know only from some rows which others they need.

use std::fmt;

use crate::effect::Turn;
use crate::ext::Request;
use crate::row::{Reads, Rows};
use crate::stanza::IqAnswer;

use super::Account;

/// What goes on with an iq once more rows were read for it.
type Then = Box<dyn FnOnce(&Request<'_>, &mut Account, Rows, &mut Turn<'_>) -> IqAnswer>;

/// Rows that the iq in hand still needs.
pub(super) struct Lookup {
    /// What to read; taken when it is asked for.
    pub reads: Reads,
    /// What gets it.
    pub then: Then,
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} reads", self.reads.0.len())
    }
}

impl Account {
    /// Has more rows read for the iq of an own session that is being applied; `then` gets the iq again with them, and gives the
    /// answer instead. Until then nothing may happen, and no other input is taken.
    pub(crate) fn look_up(
        &mut self,
        reads: Reads,
        then: impl FnOnce(&Request<'_>, &mut Account, Rows, &mut Turn<'_>) -> IqAnswer + 'static,
    ) -> IqAnswer {
        self.lookup = Some(Box::new(Lookup { reads, then: Box::new(then) }));
        Ok(Vec::new())
    }
}
