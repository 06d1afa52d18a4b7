//! The states of a stream, as types: each holds what it has and knows the only ways onward.
//!
//! ```text
//! Header ─→ Login ⇄ Response            features are out; SASL speaks
//!   ↑         │ ├─→ Handshake ─→ Header          STARTTLS, then from the start
//!   │         └─→ Credentials ─→ Response | Verdict      rows are read, a password is checked
//!   └─ Move ←──────────────────────┘            SASL succeeded; the connection may follow its user
//! Restart (the header after login) ─→ Bind ⇄ Attach | Resume ─→ Bound
//! ```
//!
//! With SASL2 there is no new header: the account may be asked for more at once, and `<success/>` tells what came of it.
//!
//! ```text
//! Login ─→ … ─→ Move ─→ Enter | Resume ─→ Bound            a resource was bound with the login, or was there already
//!                 └───────────┴────────→ Bind             there is none
//! ```
//!
//! Only [`ExpectMove`] leads to [`ExpectRestart`] and [`ExpectEntry`], and it is made from an [`Authenticated`], which only SASL
//! makes: no state in which a stanza passes can be reached around it.

use crate::error::Misbehaviour;
use crate::jid::FullJid;
use crate::sasl::{Authenticated, AwaitCredentials, AwaitPassword, AwaitResponse, AwaitTokens, PlainCheck};

use super::entry::{ExpectEntry, Passage};
use super::sasl2::Wishes;
use super::{Ask, Security};

/// Where a stream stands.
pub(super) enum State {
    /// The first header, or the one after STARTTLS.
    Header(ExpectHeader),
    /// Features are out, nobody is logged in.
    Login(ExpectLogin),
    /// A SASL exchange waits for the client.
    Response(Box<ExpectResponse>),
    /// Asked [`Ask::StartTls`].
    Handshake,
    /// Asked [`Ask::Credentials`].
    Credentials(Box<ExpectCredentials>),
    /// Asked [`Ask::CheckPassword`].
    Verdict(Box<ExpectVerdict>),
    /// Asked [`Ask::Tokens`].
    Tokens(Box<ExpectTokens>),
    /// Asked [`Ask::Move`].
    Move(Box<ExpectMove>),
    /// Asked [`Ask::Enter`].
    Enter(Box<ExpectEntry>),
    /// The header after login.
    Restart(ExpectRestart),
    /// Features are out, a resource is to be bound.
    Bind(ExpectBind),
    /// Asked [`Ask::Bind`].
    Attach(Box<ExpectAttach>),
    /// Asked [`Ask::Resume`].
    Resume(Box<ExpectResume>),
    /// Stanzas pass.
    Bound(Bound),
    /// Nothing passes.
    Closed,
}

/// Nothing is known of the client.
pub(super) struct ExpectHeader {
    pub security: Security,
}

/// The client may secure the stream or log in.
pub(super) struct ExpectLogin {
    pub security: Security,
    /// The bare JID that the client has put on the stream, inside TLS.
    pub from: Option<Box<str>>,
}

/// A login that is under way, besides what its mechanism has to say.
pub(super) struct Attempt {
    pub client: ExpectLogin,
    pub profile: Profile,
    /// Which password of the account held when its rows were read.
    pub secret_version: Option<u64>,
}

/// The elements in which a mechanism's messages travel.
pub(super) enum Profile {
    /// RFC 6120 §6.
    Sasl,
    /// XEP-0388, with what else the client wants.
    Sasl2(Box<Wishes>),
}

/// The client has the word in an exchange.
pub(super) struct ExpectResponse {
    pub attempt: Attempt,
    pub exchange: AwaitResponse,
}

/// The host reads an account's rows.
pub(super) struct ExpectCredentials {
    pub attempt: Attempt,
    pub exchange: WithCredentials,
}

/// What the rows are for.
pub(super) enum WithCredentials {
    Scram(AwaitCredentials),
    Plain(PlainCheck, AwaitPassword),
}

/// The host checks a password.
pub(super) struct ExpectVerdict {
    pub attempt: Attempt,
    pub exchange: AwaitPassword,
}

/// The host reads a client's tokens.
pub(super) struct ExpectTokens {
    pub attempt: Attempt,
    pub exchange: AwaitTokens,
}

/// The client is known; `<success/>` is out, but with SASL2.
pub(super) struct ExpectMove {
    pub who: Authenticated,
    /// With SASL2, what comes next.
    pub passage: Option<Box<Passage>>,
}

/// The client is known and opens the stream anew.
pub(super) struct ExpectRestart {
    pub who: Authenticated,
}

/// The client is known and has no address yet.
pub(super) struct ExpectBind {
    pub who: Authenticated,
}

/// The host attaches the session to the account.
pub(super) struct ExpectAttach {
    pub who: Authenticated,
    /// The iq's id.
    pub id: Option<Box<str>>,
}

/// The host looks for the session that the client comes back to.
pub(super) struct ExpectResume {
    pub who: Authenticated,
    /// With SASL2, what the login is still to say.
    pub passage: Option<Box<Passage>>,
}

/// The client has its address.
pub(super) struct Bound {
    pub jid: FullJid,
}

/// What a state makes of an element.
pub(super) enum Next {
    /// On, or still here.
    To(State),
    /// On, and the host is needed.
    Ask(State, Ask),
    /// The answer was the last word: the stream ends without a stream error.
    Leave,
}

/// Or what the client did wrong.
pub(super) type Turned = Result<Next, Misbehaviour>;

impl State {
    /// Whether the stream can only go on once the host has answered.
    pub(super) fn waits_for_host(&self) -> bool {
        match self {
            State::Handshake
            | State::Credentials(_)
            | State::Verdict(_)
            | State::Tokens(_)
            | State::Move(_)
            | State::Enter(_)
            | State::Attach(_)
            | State::Resume(_) => true,
            State::Header(_)
            | State::Login(_)
            | State::Response(_)
            | State::Restart(_)
            | State::Bind(_)
            | State::Bound(_)
            | State::Closed => false,
        }
    }

    /// Whether the client's header is still to come, so that ours is not out either.
    pub(super) fn expects_header(&self) -> bool {
        match self {
            State::Header(_) | State::Restart(_) => true,
            State::Handshake
            | State::Login(_)
            | State::Response(_)
            | State::Credentials(_)
            | State::Verdict(_)
            | State::Tokens(_)
            | State::Move(_)
            | State::Enter(_)
            | State::Bind(_)
            | State::Attach(_)
            | State::Resume(_)
            | State::Bound(_)
            | State::Closed => false,
        }
    }

    /// Who the stream belongs to, once SASL has said so.
    pub(super) fn who(&self) -> Option<&Authenticated> {
        match self {
            State::Restart(ExpectRestart { who }) | State::Bind(ExpectBind { who }) => Some(who),
            State::Move(expect) => Some(&expect.who),
            State::Resume(expect) => Some(&expect.who),
            State::Attach(attach) => Some(&attach.who),
            State::Enter(entry) => Some(&entry.who),
            State::Header(_)
            | State::Login(_)
            | State::Response(_)
            | State::Handshake
            | State::Credentials(_)
            | State::Verdict(_)
            | State::Tokens(_)
            | State::Bound(_)
            | State::Closed => None,
        }
    }
}
