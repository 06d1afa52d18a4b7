//! Messages that concern extensions, as they pass the [`chain`](crate::ext::chain). All others go by here.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::dialog::rewritten;
use crate::effect::Turn;
use crate::ext::chain::{Giving, Instead, Look, Sending, Taking, Verdict};
use crate::stanza::{MessageKind, Parcel};
use crate::xml::Nodes;

use super::{Account, Course};

impl Account {
    /// What the extensions make of a message that an own session sends. Breaks with whether somebody reports it as handled.
    pub(super) fn before_sending(
        &mut self,
        sending: &Sending<'_>,
        instead: &mut Instead,
        turn: &mut Turn<'_>,
    ) -> ControlFlow<bool> {
        for watch in turn.site.chain.hooked(sending.look) {
            let Some(sends) = watch.hooks.sends else { continue };
            match sends(sending, self, turn) {
                Verdict::On => {}
                Verdict::Instead(children) => instead.push(watch, children),
                Verdict::Refused(refusal) => {
                    return ControlFlow::Break(self.refuse_sending(sending, refusal.error(), turn));
                }
                Verdict::Ended => return ControlFlow::Break(false),
                Verdict::PassedOn => return ControlFlow::Break(sending.receipt.is_some()),
            }
        }
        ControlFlow::Continue(())
    }

    /// What the extensions make of a message that has come: it ends here, or goes on, as another stanza if there is one.
    pub(super) fn before_taking(
        &mut self,
        parcel: &Parcel,
        kind: MessageKind,
        course: Course,
        turn: &mut Turn<'_>,
    ) -> ControlFlow<(), Option<Bytes>> {
        const ENDED: ControlFlow<(), Option<Bytes>> = ControlFlow::Break(());
        let mut nodes = Nodes::new();
        let Some(message) = nodes.reread(&parcel.stanza) else { return ControlFlow::Continue(None) };
        let mut instead = Instead::default();
        for watch in turn.site.chain.hooked(parcel.look) {
            let Some(takes) = watch.hooks.takes else { continue };
            match takes(&Taking { parcel, message, kind, course }, self, turn) {
                Verdict::On => {}
                Verdict::Instead(children) => instead.push(watch, children),
                Verdict::Refused(refusal) => {
                    self.return_with(parcel, refusal.error(), turn);
                    return ENDED;
                }
                Verdict::Ended => return ENDED,
                Verdict::PassedOn => {
                    debug_assert!(false, "what has come is not passed on");
                    return ENDED;
                }
            }
        }
        if instead.is_empty() {
            return ControlFlow::Continue(None);
        }
        let stanza = rewritten(message, &|child| instead.drops(child), None, &|xml| instead.write(xml));
        ControlFlow::Continue(Some(stanza.into()))
    }

    /// Whether a message that has waited is given to the user.
    pub(super) fn before_giving(&mut self, giving: &Giving<'_>, look: Look, turn: &mut Turn<'_>) -> bool {
        turn.site.chain.hooked(look).all(|watch| match watch.hooks.gives {
            Some(gives) => match gives(giving, self, turn) {
                Verdict::On => true,
                Verdict::Ended => false,
                Verdict::Instead(_) | Verdict::Refused(_) | Verdict::PassedOn => {
                    debug_assert!(false, "what has waited is given or ends");
                    true
                }
            },
            None => true,
        })
    }
}
