//! What passes between a stream and its host: terms, asks and answers.

use bytes::Bytes;

use crate::effect::Random;
use crate::error::{Condition, StreamError};
use crate::jid::{Domain, FullJid};
use crate::limits::Limits;
use crate::owner::AccountId;
use crate::sasl::{ChannelBindings, ClientId, HashedToken, Proof, Seed, TokenKept};
use crate::time::{Instant, Timestamp};
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
    /// What decoy credentials and tokens are made from; the same for the life of the store.
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
    /// Read this client's tokens for logging in; then [`Reply::Tokens`] or [`Reply::Unavailable`]. XEP-0484
    Tokens(AccountId, ClientId),
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
        /// Which password of the user held when the client logged in; with another one in its place it is refused.
        secret_version: Option<u64>,
    },
    /// Give the connection the session of an earlier one, if that can be; then [`Reply::Resumed`] or [`Reply::NotResumed`], or the
    /// stream is closed. What the session has to say goes out after the answer. XEP-0198 §5
    Resume {
        /// The account.
        account: AccountId,
        /// What the client was told to come back with.
        token: Box<str>,
        /// How many stanzas it has taken.
        count: u32,
    },
    /// Have the account take the client in as it wishes; then [`Reply::Entered`], [`Reply::Refused`] or [`Reply::Unavailable`], once
    /// what comes of it is on disk.
    Enter(AccountId, Box<Entry>),
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
    /// The client's tokens; none when there is no such account.
    Tokens(Vec<TokenKept>),
    /// Which secret the password was, if any.
    PasswordIs(Option<Proof>),
    /// The store cannot be asked now.
    Unavailable,
    /// The connection is where it is to be.
    Moved,
    /// A session is attached under this address.
    Bound(FullJid),
    /// The account has taken the client in.
    Entered(Box<Entered>),
    /// No session was attached.
    Refused(Condition),
    /// The session goes on here.
    Resumed {
        /// Its address.
        jid: FullJid,
        /// `<resumed/>`.
        element: Bytes,
    },
    /// There is no such session, or none any more; with the count of stanzas it had taken from its client if that is known.
    NotResumed(Option<u32>),
}

/// What a client wants of its account together with its login. XEP-0388
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Which password of the user held when the client showed that it knows a secret, to hold still; none with a token that is
    /// shown, which is looked for again.
    pub secret_version: Option<u64>,
    /// The client's installation, if it has named it.
    pub client: Option<ClientId>,
    /// The token that it has shown. XEP-0484
    pub shown: Option<Shown>,
    /// The mechanism for which it wants a token. XEP-0484
    pub wanted: Option<HashedToken>,
    /// What a new token would be made of.
    pub fresh: Seed,
    /// The resource that it wants. XEP-0386
    pub bind: Option<Binding>,
}

/// A token that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which.
    pub seed: Seed,
    /// How many times the client has used it, by its own count.
    pub count: Option<u32>,
    /// This is to have been the last time.
    pub invalidate: bool,
}

/// A resource to be bound with the login. XEP-0386
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The address.
    pub jid: FullJid,
    /// `<bind/>`, with what is to be done for the new session at once.
    pub request: Box<[u8]>,
    /// Whether the session could go on over another connection.
    pub replaceable: bool,
    /// Where the user's archive begins and ends, as an element; empty while that is not known. XEP-0313 §6
    pub archive: Box<[u8]>,
}

/// How an account has taken a client in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entered {
    /// The address, if one was to be bound.
    pub jid: Option<FullJid>,
    /// What stands in `<bound/>`.
    pub bound: Vec<u8>,
    /// What is sent to the session has to be kept until its client acknowledges it. XEP-0198
    pub tracked: bool,
    /// The namespaces of what was negotiated with the binding, and has its answer in there.
    pub done: Vec<&'static str>,
    /// The fresh token is good until then; it is none without.
    pub token_until: Option<Timestamp>,
    /// Which password of the user held then: what else the client wishes is for nobody who knows an older one.
    pub secret_version: Option<u64>,
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
