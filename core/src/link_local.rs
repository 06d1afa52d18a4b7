//! Serverless messaging (XEP-0174) on the server's side: a bridge between users who want it and those on the local network.
//!
//! The bridge acts on the link as each such user's own serverless client would: it announces the user while he is online, takes
//! streams for him, and opens them to those he writes to. To the users it looks like a service with a domain of its own:
//!
//! | on the link | here |
//! |---|---|
//! | `romeo@forza`, somebody who announces himself | `romeo\40forza@link.example.com` (XEP-0106) |
//! | `5-1@pronto`, as which the bridge announces a user | `5-1@example.com` |
//!
//! Nobody on the link has logged in anywhere, so none of them is ever anybody else here: whatever they call themselves, they are a
//! name at the bridge's domain, which nobody who logs in can have. What they send reaches the one user it is addressed to, and of that
//! only what [`Message`] lets through; they take part in no room, no roster and no history, and cannot ask the server for
//! anything.
//!
//! | subject | file |
//! |---|---|
//! | names, on both sides | `name` |
//! | what of a message passes | `message` |
//! | the stream between two of them | `stream` |
//! | who wants it, and what is shown | [`crate::ext`]'s `link_local`, `account/linked` |
//!
//! The sockets, and what is said over multicast DNS, are the server's (`net/src/link_local`).

use std::sync::Arc;

use bytes::Bytes;

use crate::jid::Jid;
use crate::jid::user::AppId;
use crate::owner::AccountId;
use crate::stanza::Sender;

pub mod message;
pub mod name;
pub mod stream;

pub use message::Message;
pub use name::PresenceName;
pub use stream::{Event, Header, Stream};

pub use crate::ext::link_local::{caps, info};

/// The bridge, as the operator has set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its domain.
    pub domain: Arc<str>,
    /// Whose users can use it; with none given those of every app.
    pub apps: Vec<AppId>,
}

impl Link {
    /// Whether the users of this app can use it.
    pub fn serves(&self, app: AppId) -> bool {
        self.apps.is_empty() || self.apps.contains(&app)
    }

    /// Whether a user of this app means the bridge by this address, or somebody behind it.
    pub fn leads_to(&self, to: &Jid<'_>, app: AppId) -> bool {
        to.domain() == &*self.domain && self.serves(app)
    }

    /// Whether this address is the bridge's or that of somebody behind it.
    pub fn is_from(&self, jid: &str) -> bool {
        let bare = jid.split_once('/').map_or(jid, |(bare, _)| bare);
        bare.rsplit_once('@').map_or(bare, |(_, domain)| domain) == &*self.domain
    }
}

/// What is announced of a user who is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Whether he can be talked to.
    pub status: Status,
    /// What he says of that.
    pub text: Option<String>,
    /// What he wants to be called.
    pub nick: Option<String>,
    /// His address here.
    pub jid: Option<String>,
}

/// The presence that the link knows. XEP-0174 §11.1
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// He is there.
    Available,
    /// He is away for a while, or for longer.
    Away,
    /// He does not want to be disturbed.
    Busy,
}

impl Status {
    /// The value of `status` in the TXT record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Available => "avail",
            Status::Away => "away",
            Status::Busy => "dnd",
        }
    }
}

impl Card {
    /// The TXT record: `txtvers` first, no key twice, each string at most 255 bytes. XEP-0174 §4.1, RFC 6763 §6.
    pub fn txt(&self, port: u16) -> Vec<(&'static str, String)> {
        let (node, ver) = caps();
        let mut pairs = vec![("txtvers", "1".to_owned()), ("status", self.status.as_str().to_owned())];
        let said = [("msg", &self.text), ("nick", &self.nick), ("jid", &self.jid)];
        for (key, value) in said.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?))) {
            pairs.push((key, shortened(value, TXT_STRING_BYTES_MAX - key.len() - 1)));
        }
        pairs.extend([("node", node.to_owned()), ("hash", "sha-1".to_owned()), ("ver", ver)]);
        pairs.push(("port.p2pj", port.to_string()));
        pairs
    }
}

/// RFC 6763 §6.1.
const TXT_STRING_BYTES_MAX: usize = 255;

/// In one line, and cut between two characters.
fn shortened(text: &str, bytes_max: usize) -> String {
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let end = line.char_indices().map(|(at, letter)| at + letter.len_utf8()).take_while(|&end| end <= bytes_max).last();
    line[..end.unwrap_or(0)].to_owned()
}

/// What an account tells the bridge.
#[derive(Clone, Debug)]
pub enum Word {
    /// The user is to be announced so, or with nothing no longer.
    Show(AccountId, Option<Card>),
    /// A message for somebody on the link.
    Message {
        /// Whose it is.
        account: AccountId,
        /// The session's full JID, or the account's own.
        from: Arc<str>,
        /// The local part of the recipient's address.
        to: Box<str>,
        /// What of it passes.
        message: Message,
    },
    /// A session asks who is on the link: disco#items of the bridge. XEP-0030
    Who {
        /// The session.
        asker: Sender,
        /// The iq.
        iq: Bytes,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(text: &str) -> Card {
        let text = (!text.is_empty()).then(|| text.to_owned());
        Card { status: Status::Busy, text, nick: Some("JuliC".to_owned()), jid: None }
    }

    #[test]
    fn a_card_is_a_txt_record_as_the_specification_has_it() {
        let pairs = card("Hanging out\ndowntown").txt(5562);
        let (_, ver) = caps();
        let expected = [
            ("txtvers", "1"),
            ("status", "dnd"),
            ("msg", "Hanging out downtown"),
            ("nick", "JuliC"),
            ("node", "urn:x-rookery:link-local"),
            ("hash", "sha-1"),
            ("ver", &ver),
            ("port.p2pj", "5562"),
        ];
        assert_eq!(pairs, expected.map(|(key, value)| (key, value.to_owned())));
        assert!(card("").txt(1).iter().all(|(key, _)| *key != "msg"));
    }

    #[test]
    fn no_string_of_a_record_is_too_long() {
        for text in ["é".repeat(400), "x".repeat(9_000)] {
            let pairs = card(&text).txt(5562);
            assert!(pairs.iter().all(|(key, value)| key.len() + 1 + value.len() <= 255));
            // RFC 6763 §6.2
            assert!(pairs.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>() < 1_300);
        }
    }

    #[test]
    fn only_whole_domains_are_the_bridges() {
        let link = Link { domain: "link.localhost".into(), apps: vec![AppId(1)] };
        assert!(link.serves(AppId(1)) && !link.serves(AppId(2)));
        for jid in ["link.localhost", r"romeo\40forza@link.localhost", r"romeo\40forza@link.localhost/x@y"] {
            assert!(link.is_from(jid), "{jid}");
        }
        for jid in ["localhost", "1-1@localhost/link.localhost", "1-1@localhost/a@link.localhost", "a@xlink.localhost"]
        {
            assert!(!link.is_from(jid), "{jid}");
        }
    }
}
