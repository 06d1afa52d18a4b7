//! What clients say to each other in messages, and the server passes on as it is. What it has to do with them is how they are kept:
//!
//! | | waits (XEP-0160) | archived by preference (XEP-0313) | copied (XEP-0280) |
//! |---|---|---|---|
//! | XEP-0047 in-band bytestreams | in messages, as any | no: they have no body | in `chat` alone |
//! | XEP-0184 receipts | yes: whoever asked wants to know | no | no: see [`super::carbons`] |
//! | XEP-0249 direct invitations | yes: who is away is invited, too | no: they have no body | in `chat` alone |
//! | XEP-0308 corrections | as the message they are, beside the one they correct | the same | the same |
//! | XEP-0424 retractions | yes | yes, also without a body | `chat` |
//! | XEP-0444 reactions | yes | yes | `chat` |
//! | XEP-0461 replies | as any message | the same | the same |
//!
//! A sender who wants it otherwise says so with a hint (XEP-0334). In-band bytestreams that use iqs are blocks that go to one resource, in the
//! order in which they came; each is a stanza and no larger than one may be, and what a client does not read meets the limit of
//! its outbox.

use super::chain::{Facts, Watch};
use super::{Extension, Spec};
use crate::ns;

/// Part of the conversation, though it may have no body.
const KEPT: Facts = Facts::SAYS.and(Facts::STORE);

pub(super) static BYTESTREAMS: Extension =
    Extension { name: "In-Band Bytestreams (between clients)", spec: Spec::Xep(47, "2.0.1"), ..Extension::NONE };

pub(super) static RECEIPTS: Extension = Extension {
    name: "Message Delivery Receipts (between clients)",
    spec: Spec::Xep(184, "1.4.0"),
    messages: &[Watch::facts(ns::RECEIPTS, &["received"], Facts::SAYS.and(Facts::NO_COPY))],
    ..Extension::NONE
};

/// Who may follow one, the room knows: a dialog admits its members, whom members make (XEP-0045 §9.3) as they do over REST.
pub(super) static INVITATION: Extension =
    Extension { name: "Direct MUC Invitations (between clients)", spec: Spec::Xep(249, "1.2"), ..Extension::NONE };

pub(super) static CORRECTION: Extension =
    Extension { name: "Last Message Correction (between clients)", spec: Spec::Xep(308, "1.2.1"), ..Extension::NONE };

pub(super) static RETRACTION: Extension = Extension {
    name: "Message Retraction (between clients)",
    spec: Spec::Xep(424, "0.4.2"),
    messages: &[Watch::facts(ns::RETRACT, &["retract"], KEPT)],
    ..Extension::NONE
};

pub(super) static REACTIONS: Extension = Extension {
    name: "Message Reactions (between clients)",
    spec: Spec::Xep(444, "0.2.1"),
    messages: &[Watch::facts(ns::REACTIONS, &["reactions"], KEPT)],
    ..Extension::NONE
};

pub(super) static REPLIES: Extension =
    Extension { name: "Message Replies (between clients)", spec: Spec::Xep(461, "0.2.1"), ..Extension::NONE };

#[cfg(test)]
mod tests {
    use crate::ext::archive::is_archived;
    use crate::ext::carbons::is_copied;
    use crate::ext::{CHAIN, EXTENSIONS};
    use crate::stanza::MessageKind;
    use crate::xml::{Context, Limits, Nodes};

    #[test]
    fn the_table_of_this_file_holds() {
        let hint = "<no-store xmlns='urn:xmpp:hints'/>";
        for (content, waits, archived, copied) in [
            ("<data xmlns='http://jabber.org/protocol/ibb' sid='s' seq='0'>eA==</data>", true, false, true),
            ("<received xmlns='urn:xmpp:receipts' id='1'/>", true, false, false),
            ("<body>x</body><request xmlns='urn:xmpp:receipts'/>", true, true, true),
            ("<x xmlns='jabber:x:conference' jid='r@muc.localhost' reason='x'/>", true, false, true),
            ("<body>x</body><replace xmlns='urn:xmpp:message-correct:0' id='1'/>", true, true, true),
            ("<retract xmlns='urn:xmpp:message-retract:1' id='1'/>", true, true, true),
            ("<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>+</reaction></reactions>", true, true, true),
            ("<body>x</body><reply xmlns='urn:xmpp:reply:0' to='a@b' id='1'/>", true, true, true),
        ] {
            let look = |content: &str| {
                let mut nodes = Nodes::new();
                let source = format!("<message>{content}</message>");
                let message = nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect(content);
                CHAIN.look(MessageKind::Chat, message)
            };
            let seen = look(content);
            let found = (seen.is_lasting(), is_archived(seen), is_copied(MessageKind::Chat, seen));
            assert_eq!(found, (waits, archived, copied), "{content}");
            let hinted = look(&format!("{content}{hint}"));
            assert!(!hinted.is_lasting() && !is_archived(hinted), "a hint is stronger: {content}");
            assert!(!seen.has_hooks(), "{content}");
        }
    }

    #[test]
    fn what_is_between_clients_announces_nothing() {
        for extension in EXTENSIONS.iter().filter(|extension| extension.name.contains("between clients")) {
            assert!(extension.server_features.is_empty() && extension.account_features.is_empty(), "{extension:?}");
        }
    }
}
