//! Hashed tokens: a secret that the server made, shown by one HMAC in one round trip. XEP-0484,
//! draft-schmaus-kitten-sasl-ht.
//!
//! ```text
//! client: authcid NUL HMAC(token, "Initiator" || binding)
//! server: HMAC(token, "Responder" || binding)
//! ```
//!
//! A token is the key of that HMAC, so no digest of it will do: the server has to know it. It keeps none all the same. What
//! is stored is a [`Seed`], and the token is that seed under the server's own secret, which is no row: a copied database
//! lets nobody in.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::{AwaitResponse, Awaited, ChannelBindings, Login, Names, Offer, Proof, SaslCondition, Step};
use crate::jid::JID_BYTES_MAX;
use crate::limits::FAST_TOKENS_PER_CLIENT_MAX;
use crate::owner::AccountId;
use crate::sasl::channel_binding::{TLS_EXPORTER, TLS_SERVER_END_POINT};

/// How a token is shown. The order is part of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HashedToken {
    /// `HT-SHA-256-EXPR`: bound to the TLS connection. RFC 9266
    Exporter,
    /// `HT-SHA-256-ENDP`: bound to the server's certificate. RFC 5929 §4
    EndPoint,
    /// `HT-SHA-256-NONE`: bound to nothing, for clients that cannot see their TLS.
    Unbound,
}

impl HashedToken {
    /// All of them, the strongest first.
    pub const ALL: [HashedToken; 3] = [HashedToken::Exporter, HashedToken::EndPoint, HashedToken::Unbound];

    /// The mechanism's name.
    pub const fn name(self) -> &'static str {
        match self {
            HashedToken::Exporter => "HT-SHA-256-EXPR",
            HashedToken::EndPoint => "HT-SHA-256-ENDP",
            HashedToken::Unbound => "HT-SHA-256-NONE",
        }
    }

    /// The mechanism of this name.
    pub fn from_name(name: &str) -> Option<HashedToken> {
        HashedToken::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Those that can be used on this connection.
    pub fn offered(bindings: &ChannelBindings) -> impl Iterator<Item = HashedToken> {
        HashedToken::ALL.into_iter().filter(|mechanism| mechanism.binding(bindings).is_some())
    }

    /// What the HMACs are bound to; `None` where this connection lacks it.
    fn binding(self, bindings: &ChannelBindings) -> Option<&[u8]> {
        match self {
            HashedToken::Exporter => bindings.data(TLS_EXPORTER),
            HashedToken::EndPoint => bindings.data(TLS_SERVER_END_POINT),
            HashedToken::Unbound => Some(&[]),
        }
    }
}

/// One installation of a client, as far as one account is concerned: made of the id it gives itself (XEP-0388 §2.3), which
/// nobody else is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientId([u8; 16]);

impl ClientId {
    /// The installation with this id, a UUID; `None` when it is none.
    pub fn of(secret: &[u8; 32], account: AccountId, uuid: &str) -> Option<ClientId> {
        let uuid = parse_uuid(uuid)?;
        let tag = derived(secret, b"client\0", account, &uuid);
        Some(ClientId(*tag.first_chunk().expect("16 is less than 32")))
    }

    /// One that has not said which it is, and gets a resource of its own each time.
    pub const fn unnamed(random: [u8; 16]) -> ClientId {
        ClientId(random)
    }

    /// For keys.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The part of the client's resource that stays the same from login to login. XEP-0386 §3.2.1
    pub fn resource_part(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0[..RESOURCE_PART_BYTES])
    }
}

/// Bytes in the server's part of a resource: base64 without padding.
pub const RESOURCE_PART_BYTES: usize = 9;

/// Whether this can be a client's id. XEP-0388 §2.3
pub fn is_uuid(text: &str) -> bool {
    parse_uuid(text).is_some()
}

/// RFC 9562 §4, in either case.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let dashes = text.len() == 36 && [8, 13, 18, 23].iter().all(|&at| text.as_bytes()[at] == b'-');
    if !dashes || text.bytes().filter(|byte| byte.is_ascii_hexdigit()).count() != 32 {
        return None;
    }
    u128::from_str_radix(&text.replace('-', ""), 16).ok().map(u128::to_be_bytes)
}

/// What is stored of a token.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed([u8; 16]);

impl Seed {
    /// A seed from fresh random bytes.
    pub const fn new(random: [u8; 16]) -> Seed {
        Seed(random)
    }

    /// The token. RFC 8959: the scheme says to whoever finds it what it is.
    pub fn token(&self, secret: &[u8; 32], account: AccountId) -> Zeroizing<String> {
        let key = Zeroizing::new(derived(secret, b"fast token\0", account, &self.0));
        let mut token = Zeroizing::new(String::with_capacity(64));
        token.push_str("secret-token:");
        URL_SAFE_NO_PAD.encode_string(&key[..], &mut token);
        token
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Seed) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(hidden)")
    }
}

fn derived(secret: &[u8; 32], purpose: &[u8], account: AccountId, data: &[u8; 16]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(purpose);
    context.update(&account.app.0.to_be_bytes());
    context.update(&account.user.0.to_be_bytes());
    context.update(data);
    context.sign().as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// One of the client's tokens, as the rows have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenKept {
    /// What it is made of.
    pub seed: Seed,
    /// The only mechanism that it may be shown with.
    pub mechanism: HashedToken,
    /// It was good once.
    pub expired: bool,
}

/// Begins an exchange with a hashed token; otherwise as [`start`](super::start).
pub fn start_with_token(mechanism: HashedToken, initial: Option<&[u8]>, offer: &Offer<'_>) -> Step {
    let Some(binding) = mechanism.binding(offer.bindings).filter(|_| offer.encrypted) else {
        return Step::Failure(SaslCondition::InvalidMechanism);
    };
    let first = First { mechanism, names: Names::of(offer), binding: binding.to_vec() };
    match initial {
        Some(message) => first.respond(message),
        None => Step::Challenge { message: Vec::new(), next: AwaitResponse(Awaited::Token(first)) },
    }
}

/// Waits for the only message there is.
#[derive(Debug)]
pub(super) struct First {
    mechanism: HashedToken,
    names: Names,
    binding: Vec<u8>,
}

impl First {
    pub(super) fn respond(self, message: &[u8]) -> Step {
        self.read(message).unwrap_or_else(Step::Failure)
    }

    fn read(self, message: &[u8]) -> Result<Step, SaslCondition> {
        let end = memchr::memchr(0, message).ok_or(SaslCondition::MalformedRequest)?;
        let (authcid, shown) = (&message[..end], &message[end + 1..]);
        let authcid = str::from_utf8(authcid).map_err(|_| SaslCondition::MalformedRequest)?;
        let shown = shown.try_into().map_err(|_| SaslCondition::MalformedRequest)?;
        if authcid.is_empty() || authcid.len() > JID_BYTES_MAX {
            return Err(SaslCondition::MalformedRequest);
        }
        let login = Login::new(authcid, "", &self.names)?;
        Ok(Step::NeedTokens(AwaitTokens { login, mechanism: self.mechanism, binding: self.binding, shown }))
    }
}

/// An exchange that waits for the client's tokens.
pub struct AwaitTokens {
    login: Login,
    mechanism: HashedToken,
    binding: Vec<u8>,
    shown: [u8; 32],
}

impl AwaitTokens {
    /// Whose tokens to read; `None` if the name cannot be any account's.
    pub fn account(&self) -> Option<AccountId> {
        self.login.account
    }

    /// Goes on with the tokens of the client at hand. It takes as long without any as with all there can be.
    pub fn resume(self, tokens: &[TokenKept], secret: &[u8; 32]) -> Step {
        let nobody = AccountId { app: crate::jid::AppId(0), user: crate::jid::UserId(0) };
        let account = self.login.account.unwrap_or(nobody);
        let (mut answer, mut found) = (None, None);
        for at in 0..FAST_TOKENS_PER_CLIENT_MAX {
            let kept = tokens.get(at).filter(|kept| kept.mechanism == self.mechanism);
            let token = kept.map_or(Seed([0; 16]), |kept| kept.seed).token(secret, account);
            let is_right = self.mac(&token, b"Initiator").ct_eq(&self.shown) & Choice::from(u8::from(kept.is_some()));
            let responder = self.mac(&token, b"Responder");
            if bool::from(is_right) {
                (answer, found) = (Some(responder), kept);
            }
        }
        match (answer, found) {
            (Some(answer), Some(kept)) if !kept.expired => {
                self.login.finish(Some(Proof::Token(kept.seed)), answer.to_vec())
            }
            (Some(_), Some(_)) => Step::Failure(SaslCondition::CredentialsExpired),
            (_, _) => self.login.finish(None, Vec::new()),
        }
    }

    fn mac(&self, token: &str, who: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes()));
        context.update(who);
        context.update(&self.binding);
        context.sign().as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }
}

impl fmt::Debug for AwaitTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwaitTokens({})", self.mechanism.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::{AppId, Domain, UserId};

    const SECRET: [u8; 32] = [5; 32];
    const ROMEO: AccountId = AccountId { app: AppId(92), user: UserId(55) };
    const SEED: Seed = Seed([1; 16]);

    fn bindings() -> ChannelBindings {
        ChannelBindings { exporter: Some([3; 32]), server_end_point: Some(vec![4; 48]) }
    }

    fn kept(mechanism: HashedToken) -> TokenKept {
        TokenKept { seed: SEED, mechanism, expired: false }
    }

    fn mac(token: &str, data: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes()), data).as_ref().to_vec()
    }

    fn message(name: &str, token: &str, binding: &[u8]) -> Vec<u8> {
        [name.as_bytes(), b"\0", &mac(token, &[b"Initiator", binding].concat())].concat()
    }

    fn start(mechanism: HashedToken, message: &[u8]) -> Step {
        let domain = Domain::parse("chat.example").unwrap();
        let bindings = bindings();
        let offer =
            Offer { domain: &domain, from: None, encrypted: true, plain_unencrypted: false, bindings: &bindings };
        start_with_token(mechanism, Some(message), &offer)
    }

    fn shows(mechanism: HashedToken, message: &[u8], tokens: &[TokenKept]) -> Step {
        match start(mechanism, message) {
            Step::NeedTokens(next) => next.resume(tokens, &SECRET),
            other => other,
        }
    }

    fn is_refused(step: &Step, with: SaslCondition) -> bool {
        matches!(step, Step::Failure(condition) if *condition == with)
    }

    #[test]
    fn both_sides_show_that_they_know_the_token() {
        let token = SEED.token(&SECRET, ROMEO);
        assert!(token.starts_with("secret-token:") && token.len() == 13 + 43, "{} bytes", token.len());
        for (mechanism, binding) in
            [(HashedToken::Exporter, &[3; 32][..]), (HashedToken::EndPoint, &[4; 48]), (HashedToken::Unbound, &[])]
        {
            for name in ["55-92", "55-92@chat.example"] {
                let step = shows(mechanism, &message(name, &token, binding), &[kept(mechanism)]);
                let Step::Success { who, proof, additional } = step else { panic!("{mechanism:?}: {step:?}") };
                assert_eq!((who.account(), proof), (ROMEO, Proof::Token(SEED)));
                assert_eq!(additional, mac(&token, &[b"Responder", binding].concat()));
            }
        }
    }

    #[test]
    fn nothing_else_will_do() {
        let token = SEED.token(&SECRET, ROMEO);
        let right = message("55-92", &token, &[]);
        let tokens = [kept(HashedToken::Unbound)];
        let refused = |step: &Step| is_refused(step, SaslCondition::NotAuthorized);
        assert!(refused(&shows(HashedToken::Unbound, &message("55-92", "another", &[]), &tokens)));
        assert!(refused(&shows(HashedToken::Unbound, &right, &[])), "no token");
        assert!(refused(&shows(HashedToken::Unbound, &right, &[kept(HashedToken::Exporter)])), "a stronger one");
        let bound = message("55-92", &token, &[3; 32]);
        assert!(refused(&shows(HashedToken::Exporter, &bound, &tokens)), "made for another mechanism");
        let elsewhere = message("55-92", &token, &[9; 32]);
        assert!(
            refused(&shows(HashedToken::Exporter, &elsewhere, &[kept(HashedToken::Exporter)])),
            "another connection"
        );
        // Of another user, whom the same seed gives another token; and of nobody.
        assert!(refused(&shows(HashedToken::Unbound, &message("56-92", &token, &[]), &tokens)));
        let zeros = Seed([0; 16]).token(&SECRET, ROMEO);
        assert!(refused(&shows(HashedToken::Unbound, &message("55-92", &zeros, &[]), &[])));
        assert!(refused(&shows(HashedToken::Unbound, &message("nobody", &token, &[]), &tokens)));
        let expired = TokenKept { expired: true, ..tokens[0] };
        assert!(is_refused(&shows(HashedToken::Unbound, &right, &[expired]), SaslCondition::CredentialsExpired));
        let other = TokenKept { seed: Seed([2; 16]), ..tokens[0] };
        assert!(matches!(shows(HashedToken::Unbound, &right, &[other, tokens[0]]), Step::Success { .. }));
        for end in 0..right.len() {
            assert!(is_refused(&shows(HashedToken::Unbound, &right[..end], &tokens), SaslCondition::MalformedRequest));
        }
        let long = [&right[..], b"x"].concat();
        for bad in [&long[..], b"\0", &[b'\0'; 33], &[0xff; 40]] {
            assert!(is_refused(&shows(HashedToken::Unbound, bad, &tokens), SaslCondition::MalformedRequest));
        }
    }

    #[test]
    fn what_the_connection_lacks_is_not_offered() {
        let names =
            |bindings: &ChannelBindings| HashedToken::offered(bindings).map(HashedToken::name).collect::<Vec<_>>();
        assert_eq!(names(&bindings()), ["HT-SHA-256-EXPR", "HT-SHA-256-ENDP", "HT-SHA-256-NONE"]);
        assert_eq!(names(&ChannelBindings::NONE), ["HT-SHA-256-NONE"]);
        let domain = Domain::parse("chat.example").unwrap();
        for (mechanism, encrypted) in [(HashedToken::Exporter, true), (HashedToken::Unbound, false)] {
            let bindings = &ChannelBindings::NONE;
            let offer = Offer { domain: &domain, from: None, encrypted, plain_unencrypted: true, bindings };
            let step = start_with_token(mechanism, Some(b"x"), &offer);
            assert!(is_refused(&step, SaslCondition::InvalidMechanism), "{step:?}");
        }
    }

    #[test]
    fn a_client_is_known_by_a_uuid_that_does_not_show() {
        let uuid = "d4565fa7-4d72-4749-b3d3-740edbf87770";
        let client = ClientId::of(&SECRET, ROMEO, uuid).unwrap();
        assert_eq!(ClientId::of(&SECRET, ROMEO, &uuid.to_uppercase()), Some(client));
        let other = AccountId { app: AppId(92), user: UserId(56) };
        assert_ne!(ClientId::of(&SECRET, other, uuid), Some(client));
        assert_eq!(client.resource_part().len(), 12);
        for bad in
            ["", "d4565fa7", "d4565fa7-4d72-4749-b3d3-740edbf8777g", "d4565fa74-d72-4749-b3d3-740edbf87770", &uuid[1..]]
        {
            assert_eq!(ClientId::of(&SECRET, ROMEO, bad), None, "{bad}");
        }
    }
}
