//! What passes between a stream and its host: terms, asks and answers.

use crate::effect::Random;
use crate::error::{Condition, StreamError};
use crate::jid::{Domain, FullJid};
use crate::limits::Limits;
use crate::owner::AccountId;
use crate::sasl::ChannelBindings;
use crate::time::Instant;
use crate::xml::Element;

use super::{Features, Outgoing, PasswordCheck, Secrets};

/// Whether anybody between could read along, and what TLS offers to bind a login to.
#[derive(Clone, Debug)]
pub enum Security {
    /// No TLS so far.
    Plain,
    /// TLS; behind a proxy that does it, with [`ChannelBindings::NONE`].
    Tls(Box<ChannelBindings>),
}

/// What holds for every stream of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The chat domain.
    pub domain: &'a Domain,
    /// What may come in, and how long it may take.
    pub limits: &'a Limits,
    /// Whether a plain TCP connection can be secured with STARTTLS.
    pub starttls: bool,
    /// Whether login needs TLS.
    pub tls_required: bool,
    /// Whether even PLAIN is offered without TLS, where TLS is not required.
    pub plain_unencrypted: bool,
    /// What is advertised besides what the stream itself negotiates: the extensions' stream features.
    pub features: &'a Features,
    /// What decoy credentials are made from; the same for the life of the store.
    pub decoy_secret: &'a [u8; 32],
}

/// What the host lends for one call.
pub struct Host<'a> {
    /// The moment of the call.
    pub now: Instant,
    /// The terms in force.
    pub terms: &'a Terms<'a>,
    /// Chance: stream ids, nonces, resources.
    pub random: &'a mut dyn Random,
    /// Where what the stream has to say is added.
    pub out: &'a mut Outgoing,
}

/// What the stream needs from its host before it goes on.
#[derive(Debug)]
pub enum Ask {
    /// Start TLS as a server; then [`Reply::Secured`].
    StartTls,
    /// Read what is stored of this account for logging in; then [`Reply::Secrets`] or [`Reply::Unavailable`].
    Credentials(AccountId),
    /// Run the check where it may take milliseconds; then [`Reply::PasswordIs`] or [`Reply::Unavailable`].
    CheckPassword(Box<PasswordCheck>),
    /// The client is this account. Move the connection to the account's shard, or leave it; then [`Reply::Moved`].
    Move(AccountId),
    /// Attach a session to the account; then [`Reply::Bound`] or [`Reply::Refused`].
    Bind {
        /// The account.
        account: AccountId,
        /// The address to bind: the resource is the client's wish, or made here if it had none.
        jid: FullJid,
        /// Whether the client asked for this resource.
        chosen: bool,
    },
    /// Give the connection the session of an earlier one, if that can be; then [`Reply::Resumed`] or [`Reply::NotResumed`], or the
    /// stream is closed. What the session has to say goes out after the answer, `<resumed/>` first. XEP-0198 §5
    Resume {
        /// The account.
        account: AccountId,
        /// What the client was told to come back with.
        token: Box<str>,
        /// How many stanzas it has taken.
        count: u32,
    },
    /// Send what there is and close the connection. The stream is over.
    Close,
}

/// The host's answer to an [`Ask`].
#[derive(Debug)]
pub enum Reply {
    /// TLS is up, with this to bind logins to.
    Secured(ChannelBindings),
    /// What is stored of the account; `None` if there is no such account, which the client will not notice.
    Secrets(Option<Secrets>),
    /// What came of the password check.
    PasswordIs(bool),
    /// The store cannot be asked now.
    Unavailable,
    /// The connection is where it is to be.
    Moved,
    /// A session is attached under this address.
    Bound(FullJid),
    /// No session was attached.
    Refused(Condition),
    /// The session of this address goes on here.
    Resumed(FullJid),
    /// There is no such session, or none any more; with the count of stanzas it had taken from its client if that is known.
    NotResumed(Option<u32>),
}

/// What a session makes of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The next one, please.
    Continue,
    /// Enough for now: `feed` returns, and the rest of the input waits.
    Pause,
    /// The element breaks a rule: the stream ends.
    End(StreamError),
}

/// What takes the elements of a bound stream: stanzas, and whatever extensions put between them (XEP-0198, XEP-0352).
pub type Session<'a> = dyn FnMut(Element<'_>, &mut Outgoing) -> Flow + 'a;

/// What became of some input.
#[derive(Debug)]
#[must_use = "what is asked has to be done, and what was used up must not be fed again"]
pub struct Fed {
    /// Bytes that were used up.
    pub consumed: usize,
    /// What the stream needs now.
    pub ask: Option<Ask>,
}

/// Why a stream has a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// From the connection's start to a bound resource.
    Login,
    /// From our end of the stream to the client's.
    Close,
}
