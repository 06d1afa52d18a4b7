//! SASL, the server's side: who is this? RFC 4422, RFC 6120 §6.
//!
//! An exchange is a chain of values. [`start`] takes the client's choice and gives a [`Step`]; a step that waits for
//! something holds the only value with which to go on, so no message can be skipped, repeated or replayed:
//!
//! ```text
//! start ─→ Challenge ──(client answers)──→ AwaitResponse::respond ─→ Step
//!      ├─→ NeedCredentials ──(rows read)──→ AwaitCredentials::resume ─→ Step            SCRAM
//!      ├─→ NeedPasswordCheck ──(rows read, check_plain elsewhere)──→ AwaitPassword::resume ─→ Step   PLAIN
//!      ├─→ NeedTokens ──(rows read)──→ AwaitTokens::resume ─→ Step                      hashed tokens
//!      ├─→ Success
//!      └─→ Failure
//! ```
//!
//! Payloads are bytes here; [`payload`] is their base64. Nothing reads a clock or draws randomness: the nonce is an
//! argument. The one expensive thing, PBKDF2 for PLAIN, is a function for the caller to run where it may block.
//!
//! Names that no account has take every step that real ones take, with [`Credentials::decoy`], and fail at the same one.

use std::fmt;
use std::num::NonZeroU64;

use crate::jid::{AppId, BareJid, Domain, Jid, UserId};
use crate::owner::AccountId;

pub mod channel_binding;
mod condition;
pub mod credentials;
pub mod hashed_token;
pub mod payload;
mod plain;
mod scram;

pub use channel_binding::ChannelBindings;
pub use condition::SaslCondition;
pub use credentials::{
    Credentials, ITERATIONS, PlainCheck, ScramKeys, TokenDigest, TokenRecord, check_plain, prepare_password,
};
pub use hashed_token::{AwaitTokens, ClientId, HashedToken, Seed, TokenKept, start_with_token};

/// Length of the random bytes that a server's nonce is made of. RFC 5802 §5.1 leaves the length open; 144 bits do not repeat,
/// and make base64 without padding.
pub const NONCE_BYTES: usize = 18;

/// How a client may prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 7677, bound to the TLS connection.
    ScramSha256Plus,
    /// RFC 5802, bound to the TLS connection.
    ScramSha1Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 5802.
    ScramSha1,
    /// RFC 4616.
    Plain,
}

impl Mechanism {
    /// All of them, the strongest first.
    pub const ALL: [Self; 5] =
        [Self::ScramSha256Plus, Self::ScramSha1Plus, Self::ScramSha256, Self::ScramSha1, Self::Plain];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::Plain => "PLAIN",
        }
    }

    /// The mechanism of this name. RFC 4422 §3.1: names are in capitals.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Why it cannot be used on this connection, if it cannot.
    fn refused_by(self, offer: &Offer<'_>) -> Option<SaslCondition> {
        match self {
            Self::ScramSha256Plus | Self::ScramSha1Plus if !offer.bindings.is_available() => {
                Some(SaslCondition::InvalidMechanism)
            }
            Self::Plain if !offer.encrypted && !offer.plain_unencrypted => Some(SaslCondition::EncryptionRequired),
            Self::ScramSha256Plus | Self::ScramSha1Plus | Self::ScramSha256 | Self::ScramSha1 | Self::Plain => None,
        }
    }
}

/// What a connection can do, and whom it is for.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The chat domain.
    pub domain: &'a Domain,
    /// The bare JID that the client has put on the stream, where an authorization identity must be the same. XEP-0388 §2.3.
    pub from: Option<&'a str>,
    /// Whether TLS protects the connection.
    pub encrypted: bool,
    /// Whether PLAIN may be used without TLS: behind a proxy that does TLS, or in a test.
    pub plain_unencrypted: bool,
    /// What TLS gives to bind a login to.
    pub bindings: &'a ChannelBindings,
}

/// The names to offer on this connection, the strongest first.
pub fn mechanisms(offer: &Offer<'_>) -> impl Iterator<Item = &'static str> {
    Mechanism::ALL.into_iter().filter(|mechanism| mechanism.refused_by(offer).is_none()).map(Mechanism::name)
}

/// What has to happen next in an exchange.
#[derive(Debug)]
pub enum Step {
    /// Send this message in `<challenge/>`; give the answer to [`AwaitResponse::respond`].
    Challenge {
        /// The message, before base64. May be empty.
        message: Vec<u8>,
        /// What goes on when the client answers.
        next: AwaitResponse,
    },
    /// Read the credentials and live tokens of [`AwaitCredentials::account`].
    NeedCredentials(AwaitCredentials),
    /// Read the same rows, run [`check_plain`] where it may block, and give its answer to [`AwaitPassword::resume`].
    NeedPasswordCheck {
        /// The password, for [`check_plain`].
        check: PlainCheck,
        /// What goes on once it is checked.
        next: AwaitPassword,
    },
    /// Read the tokens of [`AwaitTokens::account`] for the client at hand.
    NeedTokens(AwaitTokens),
    /// Send `<success/>`, restart the stream.
    Success {
        /// Who it is.
        who: Authenticated,
        /// What showed it.
        proof: Proof,
        /// The message for `<success/>`, before base64; empty for none.
        additional: Vec<u8>,
    },
    /// Send `<failure/>`. The client may start again.
    Failure(SaslCondition),
}

/// Begins an exchange. `initial` is the message in `<auth/>`, if it had one; `nonce` comes fresh from a generator
/// that cannot be guessed.
pub fn start(mechanism: &str, initial: Option<&[u8]>, offer: &Offer<'_>, nonce: [u8; NONCE_BYTES]) -> Step {
    let Some(mechanism) = Mechanism::from_name(mechanism) else {
        return Step::Failure(SaslCondition::InvalidMechanism);
    };
    if let Some(condition) = mechanism.refused_by(offer) {
        return Step::Failure(condition);
    }
    let first = First { mechanism, names: Names::of(offer), bindings: offer.bindings.clone(), nonce };
    match initial {
        Some(message) => first.respond(message),
        // RFC 4422 §3.3: an empty challenge asks for the first message of a mechanism where the client speaks first.
        None => Step::Challenge { message: Vec::new(), next: AwaitResponse(Awaited::First(first)) },
    }
}

/// An exchange that waits for the client.
#[derive(Debug)]
pub struct AwaitResponse(Awaited);

#[derive(Debug)]
enum Awaited {
    First(First),
    Scram(scram::ExpectFinal),
    Token(hashed_token::First),
}

impl AwaitResponse {
    /// Goes on with the message in `<response/>`; an empty text is an empty message.
    pub fn respond(self, message: &[u8]) -> Step {
        match self.0 {
            Awaited::First(first) => first.respond(message),
            Awaited::Scram(expect) => expect.respond(message),
            Awaited::Token(first) => first.respond(message),
        }
    }
}

/// Waits for the first message of the mechanism.
#[derive(Debug)]
struct First {
    mechanism: Mechanism,
    names: Names,
    bindings: ChannelBindings,
    nonce: [u8; NONCE_BYTES],
}

/// What the names in a message are held against.
#[derive(Debug)]
struct Names {
    domain: Domain,
    from: Option<Box<str>>,
}

impl Names {
    fn of(offer: &Offer<'_>) -> Names {
        Names { domain: offer.domain.clone(), from: offer.from.map(Into::into) }
    }
}

impl First {
    fn respond(self, message: &[u8]) -> Step {
        let step = match self.mechanism {
            Mechanism::Plain => plain::first(message, &self.names),
            Mechanism::ScramSha256Plus | Mechanism::ScramSha1Plus | Mechanism::ScramSha256 | Mechanism::ScramSha1 => {
                scram::first(self.mechanism, message, &self.names, &self.bindings, self.nonce)
                    .map(|next| Step::NeedCredentials(AwaitCredentials(next)))
            }
        };
        step.unwrap_or_else(Step::Failure)
    }
}

/// A SCRAM exchange that waits for rows.
#[derive(Debug)]
pub struct AwaitCredentials(scram::ExpectCredentials);

impl AwaitCredentials {
    /// Whose rows to read; `None` if the name cannot be any account's.
    pub fn account(&self) -> Option<AccountId> {
        self.0.login.account
    }

    /// The name that was given, for [`Credentials::decoy`].
    pub fn username(&self) -> &str {
        &self.0.login.username
    }

    /// Goes on with what was read: `tokens` are the live ones, the newest first. Where there is no such account, give its
    /// decoy and no tokens.
    pub fn resume(self, credentials: &Credentials, tokens: &[TokenRecord]) -> Step {
        let (message, next) = self.0.resume(credentials, tokens);
        Step::Challenge { message, next: AwaitResponse(Awaited::Scram(next)) }
    }
}

/// A PLAIN exchange that waits for its password to be checked.
#[derive(Debug)]
pub struct AwaitPassword {
    login: Login,
}

impl AwaitPassword {
    /// Whose rows to read; `None` if the name cannot be any account's.
    pub fn account(&self) -> Option<AccountId> {
        self.login.account
    }

    /// The name that was given, for [`Credentials::decoy`].
    pub fn username(&self) -> &str {
        &self.login.username
    }

    /// Goes on with the answer of [`check_plain`].
    pub fn resume(self, shown: Option<Proof>) -> Step {
        self.login.finish(shown, Vec::new())
    }
}

/// Which of a user's secrets a client has shown to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The password.
    Password,
    /// The token of a live session of the API. It ends with the session, and so should what it opens.
    Session,
    /// A token that a login before this one was given. XEP-0484
    Token(Seed),
}

/// Proof that a client has shown it knows a secret of this account. Only an exchange that succeeded makes one.
#[derive(PartialEq, Eq)]
pub struct Authenticated {
    account: AccountId,
    secret_version: Option<NonZeroU64>,
}

impl Authenticated {
    /// For tests of what comes after login.
    #[cfg(test)]
    pub(crate) fn in_test(account: AccountId) -> Self {
        Self { account, secret_version: None }
    }

    /// The account.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Which password of the user held then, if that is known: with another one in its place the proof is worth nothing any more.
    pub fn secret_version(&self) -> Option<u64> {
        self.secret_version.map(NonZeroU64::get)
    }

    /// The same, with the version of the password that held then.
    pub(crate) fn with_secret(self, version: Option<u64>) -> Self {
        Self { secret_version: version.and_then(NonZeroU64::new), ..self }
    }

    /// The user.
    pub fn user(&self) -> UserId {
        self.account.user
    }

    /// The user's application.
    pub fn app(&self) -> AppId {
        self.account.app
    }
}

impl fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authenticated({})", self.account)
    }
}

/// Whom the client says it is; that it asks to act for nobody else has been checked.
struct Login {
    username: String,
    account: Option<AccountId>,
}

impl Login {
    /// Takes the two identities of a mechanism. RFC 6120 §6.3.8: without an authzid the client acts as itself; with
    /// one it must be the bare JID of the same account, as nobody may act for somebody else here.
    fn new(authcid: &str, authzid: &str, names: &Names) -> Result<Self, SaslCondition> {
        let Names { domain, from } = names;
        let jid = account_jid(authcid, domain);
        if !authzid.is_empty() {
            let wanted = BareJid::parse(authzid).map_err(|_| SaslCondition::InvalidAuthzid)?;
            if jid.as_ref() != Some(&wanted) {
                return Err(SaslCondition::InvalidAuthzid);
            }
            // XEP-0388 §2.3
            if from.as_ref().is_some_and(|from| **from != *wanted.as_str()) {
                return Err(SaslCondition::InvalidAuthzid);
            }
        }
        // Spellings of one name share a decoy, as spellings of a real one share an account.
        let username = jid.as_ref().and_then(BareJid::local).unwrap_or(authcid).to_owned();
        let account = jid.and_then(|jid| AccountId::of(&jid.as_jid(), domain));
        Ok(Self { username, account })
    }

    /// `account` is `None` for names that no account can have: they fail like a wrong password, whatever was checked.
    fn finish(self, shown: Option<Proof>, additional: Vec<u8>) -> Step {
        match self.account.zip(shown) {
            Some((account, proof)) => {
                Step::Success { who: Authenticated { account, secret_version: None }, proof, additional }
            }
            None => Step::Failure(SaslCondition::NotAuthorized),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(hidden)")
    }
}

/// The address that a user name means: the local part alone, or the bare JID, which some libraries send.
fn account_jid(username: &str, domain: &Domain) -> Option<BareJid> {
    let jid = match username.split_once('@') {
        Some(_) => Jid::parse(username),
        None => Jid::from_parts(Some(username), domain.as_str(), None),
    };
    jid.ok().filter(|jid| jid.is_bare() && jid.domain() == domain.as_str()).map(|jid| jid.to_bare())
}

#[cfg(test)]
mod tests;
