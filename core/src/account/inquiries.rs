//! Iqs of own sessions that wait for others: for rows of other owners, for what another owner says, for work that is done elsewhere.
//!
//! The account goes on meanwhile. What an iq waits for is forgotten with its session; what was set going by then happens all the same.

use std::fmt;

use bytes::Bytes;

use crate::command::Answer;
use crate::effect::{Effect, Learned, Question, SessionId, Turn};
use crate::error::Condition;
use crate::ext::{Place, Request};
use crate::limits::INQUIRIES_MAX;
use crate::stanza::{IqAnswer, Receipt};
use crate::xml::Nodes;

use super::Account;
use super::acks::report;
use super::outgoing::stamped;

/// What goes on with an iq once it is known what it waited for.
type Then = Box<dyn FnOnce(Learned, &Request<'_>, &mut Account, &mut Turn<'_>) -> IqAnswer>;

/// The iqs of one account that wait.
#[derive(Default)]
pub(super) struct Inquiries {
    /// What the iq in hand has asked for.
    in_hand: Option<(Question, Then)>,
    open: Vec<Inquiry>,
    /// The last number given out. None is used twice: an answer may come after its session has gone.
    last: u64,
}

impl fmt::Debug for Inquiries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} open", self.open.len())
    }
}

/// An iq that waits.
struct Inquiry {
    number: u64,
    session: SessionId,
    /// The iq, which stands for itself.
    iq: Bytes,
    place: Place,
    /// Whether its session is still to say under which number it counted the iq.
    uncounted: bool,
    receipt: Option<Receipt>,
    then: Then,
}

impl Account {
    /// Has something found out for the iq of an own session that is being applied; `then` gets the iq again with it, and gives the
    /// answer instead, or asks on. The iq is acknowledged with its answer.
    pub(crate) fn ask(
        &mut self,
        question: Question,
        then: impl FnOnce(Learned, &Request<'_>, &mut Account, &mut Turn<'_>) -> IqAnswer + 'static,
    ) -> IqAnswer {
        let inquiries = self.inquiries.get_or_insert_default();
        if inquiries.open.len() >= INQUIRIES_MAX {
            return Err(Condition::ResourceConstraint.into());
        }
        inquiries.in_hand = Some((question, Box::new(then)));
        Ok(Vec::new())
    }

    /// Whether the iq that was just applied has asked for something, and is answered later.
    pub(super) fn waits(&mut self, session: SessionId, request: &Request<'_>, turn: &mut Turn<'_>) -> bool {
        let Some((question, then)) = self.inquiries.as_mut().and_then(|inquiries| inquiries.in_hand.take()) else {
            return false;
        };
        let iq = stamped(request.iq, &request.from.jid, &[]);
        let place = request.place;
        self.opens(Inquiry { number: 0, session, iq, place, uncounted: true, receipt: None, then }, question, turn);
        true
    }

    fn opens(&mut self, inquiry: Inquiry, question: Question, turn: &mut Turn<'_>) {
        let inquiries = self.inquiries.get_or_insert_default();
        inquiries.last += 1;
        turn.out.push(Effect::Ask(inquiries.last, question));
        inquiries.open.push(Inquiry { number: inquiries.last, ..inquiry });
    }

    /// Whether the iq that was just taken says itself, later, that it is taken care of.
    pub(super) fn reports_later(&mut self, receipt: Option<Receipt>) -> bool {
        let last = self.inquiries.as_mut().and_then(|inquiries| inquiries.open.last_mut());
        let Some(inquiry) = last.filter(|inquiry| inquiry.uncounted) else { return false };
        inquiry.uncounted = false;
        inquiry.receipt = receipt;
        receipt.is_some()
    }

    /// What an iq has waited for.
    pub(super) fn learns(&mut self, number: u64, learned: Learned, turn: &mut Turn<'_>) {
        let Some(inquiries) = &mut self.inquiries else { return };
        let Some(at) = inquiries.open.iter().position(|inquiry| inquiry.number == number) else { return };
        let Inquiry { session, iq: bytes, place, receipt, then, .. } = inquiries.open.remove(at);
        let mut nodes = Nodes::new();
        let (Some(iq), Some(sender)) = (nodes.reread(&bytes), self.full_sender(session)) else { return };
        let Some(payload) = iq.first_child() else { return };
        let request = Request { iq, payload, from: &sender, session: Some(session), place };
        let answer = match learned {
            Learned::Nothing => Err(Condition::InternalServerError.into()),
            Learned::Answer(answer) if *answer == Answer::Unavailable => Err(Condition::InternalServerError.into()),
            learned => then(learned, &request, self, turn),
        };
        let next = self.inquiries.as_mut().and_then(|inquiries| inquiries.in_hand.take());
        if let Some((question, then)) = next {
            let iq = bytes.clone();
            let inquiry = Inquiry { number: 0, session, iq, place, uncounted: false, receipt, then };
            return self.opens(inquiry, question, turn);
        }
        self.concludes(session, iq, &sender, answer, turn);
        if let Some(receipt) = receipt {
            report(receipt, turn);
        }
    }

    /// The session is over: nobody waits for the answers.
    pub(super) fn forgets_inquiries_of(&mut self, session: SessionId) {
        if let Some(inquiries) = &mut self.inquiries {
            inquiries.open.retain(|inquiry| inquiry.session != session);
        }
    }
}
