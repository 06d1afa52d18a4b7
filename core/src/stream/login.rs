//! SASL on the stream: its elements, its base64, and how often one may try. RFC 6120 §6.
//!
//! What a mechanism says is [`crate::sasl`]'s; here its [`Step`]s become elements and [`Ask`]s. What SASL2 has on top of that is
//! `super::sasl2`'s.

use crate::error::Misbehaviour;
use crate::ns;
use crate::sasl::{
    self, ChannelBindings, ClientId, Credentials, NONCE_BYTES, Offer, PlainCheck, Proof, SaslCondition, Seed, Step,
    TokenKept, TokenRecord, payload,
};
use crate::xml::{Element, Writer};

use super::entry::Passage;
use super::state::{
    Attempt, ExpectCredentials, ExpectLogin, ExpectMove, ExpectResponse, ExpectTokens, ExpectVerdict, Next, Profile,
    State, Turned, WithCredentials,
};
use super::{Ask, Call, Dialect, Security, Terms};

/// What is stored of an account for logging in: its credentials, and its live tokens, the newest first.
#[derive(Debug)]
pub struct Secrets {
    /// The salt and the keys.
    pub credentials: Credentials,
    /// The live tokens.
    pub tokens: Vec<TokenRecord>,
    /// Which password of the user that is.
    pub version: u64,
}

/// A password to check where it may take milliseconds. RFC 4616.
#[derive(Debug)]
pub struct PasswordCheck {
    check: PlainCheck,
    secrets: Secrets,
}

impl PasswordCheck {
    /// Which of the user's secrets it is, if any: costs a PBKDF2.
    pub fn run(&self) -> Option<Proof> {
        sasl::check_plain(&self.check, &self.secrets.credentials, &self.secrets.tokens)
    }
}

/// Nothing is offered in the clear where TLS is required. RFC 6120 §5.3.1.
pub(super) fn is_offered(state: &ExpectLogin, call: &Call<'_, '_>) -> bool {
    is_allowed(&state.security, call)
}

fn is_allowed(security: &Security, call: &Call<'_, '_>) -> bool {
    match security {
        Security::Tls(_) => true,
        Security::Plain => !call.host.terms.tls_required,
    }
}

/// RFC 6120 §6.4.1, XEP-0440.
pub(super) fn advertise(state: &ExpectLogin, call: &Call<'_, '_>, xml: &mut Writer<'_>) {
    let offer = offer(state, call.host.terms);
    xml.open("mechanisms").ns(ns::SASL);
    for mechanism in sasl::mechanisms(&offer) {
        xml.simple("mechanism", mechanism);
    }
    xml.close();
    if offer.bindings.is_available() {
        xml.open("sasl-channel-binding").ns(ns::CHANNEL_BINDING);
        for name in offer.bindings.types() {
            xml.leaf("channel-binding", &[("type", name)]);
        }
        xml.close();
    }
}

pub(super) fn offer<'a>(client: &'a ExpectLogin, terms: &'a Terms<'_>) -> Offer<'a> {
    let (encrypted, bindings) = match &client.security {
        Security::Plain => (false, &NO_BINDINGS),
        Security::Tls(bindings) => (true, &**bindings),
    };
    Offer { domain: terms.domain, from: None, encrypted, plain_unencrypted: terms.plain_unencrypted, bindings }
}

static NO_BINDINGS: ChannelBindings = ChannelBindings::NONE;

/// An element of SASL while no exchange runs.
pub(super) fn negotiate(client: ExpectLogin, element: Element<'_>, call: &mut Call<'_, '_>) -> Turned {
    let attempt = Attempt { client, profile: Profile::Sasl, secret_version: None };
    match element.name() {
        "auth" => auth(attempt, element, call),
        "abort" => attempt.fail(SaslCondition::Aborted, call),
        // RFC 6120 §6.5.7 has no better word for an answer without a question.
        _ => attempt.fail(SaslCondition::MalformedRequest, call),
    }
}

fn auth(attempt: Attempt, element: Element<'_>, call: &mut Call<'_, '_>) -> Turned {
    if !is_allowed(&attempt.client.security, call) {
        return attempt.fail(SaslCondition::EncryptionRequired, call);
    }
    if !call.speaks(Dialect::Sasl) {
        return attempt.fail(SaslCondition::MalformedRequest, call);
    }
    let Some(mechanism) = element.attr("mechanism") else {
        return attempt.fail(SaslCondition::InvalidMechanism, call);
    };
    let initial = match payload::decode(element.text().as_bytes()) {
        Ok(initial) => initial,
        Err(condition) => return attempt.fail(condition, call),
    };
    let nonce = nonce(call);
    let offer = offer(&attempt.client, call.host.terms);
    let step = sasl::start(&mechanism, initial.as_ref().map(|bytes| &bytes[..]), &offer, nonce);
    attempt.take(step, call)
}

pub(super) fn nonce(call: &mut Call<'_, '_>) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    call.host.random.fill(&mut nonce);
    nonce
}

impl ExpectResponse {
    /// An element of SASL while an exchange waits for the client.
    pub(super) fn take(self, element: Element<'_>, call: &mut Call<'_, '_>) -> Turned {
        let ExpectResponse { attempt, exchange } = self;
        match element.name() {
            "response" => match attempt.profile.message(element) {
                Ok(message) => {
                    let step = exchange.respond(&message);
                    attempt.take(step, call)
                }
                Err(condition) => attempt.fail(condition, call),
            },
            "abort" => attempt.fail(SaslCondition::Aborted, call),
            // A second <auth/>: the exchange that runs is over, and the new one was not asked for.
            _ => attempt.fail(SaslCondition::MalformedRequest, call),
        }
    }
}

impl ExpectCredentials {
    /// Goes on with the rows; without any, with the account's decoy, so that both look the same.
    pub(super) fn resume(self, found: Option<Secrets>, call: &mut Call<'_, '_>) -> Turned {
        let ExpectCredentials { mut attempt, exchange } = self;
        attempt.secret_version = found.as_ref().map(|secrets| secrets.version);
        match exchange {
            WithCredentials::Scram(exchange) => {
                let secrets = found.unwrap_or_else(|| decoy(exchange.username(), call));
                let step = exchange.resume(&secrets.credentials, &secrets.tokens);
                attempt.take(step, call)
            }
            WithCredentials::Plain(check, exchange) => {
                let secrets = found.unwrap_or_else(|| decoy(exchange.username(), call));
                let ask = Ask::CheckPassword(Box::new(PasswordCheck { check, secrets }));
                Ok(Next::Ask(State::Verdict(Box::new(ExpectVerdict { attempt, exchange })), ask))
            }
        }
    }

    /// The rows cannot be read at the moment.
    pub(super) fn fail(self, call: &mut Call<'_, '_>) -> Turned {
        self.attempt.fail(SaslCondition::TemporaryAuthFailure, call)
    }
}

impl ExpectVerdict {
    /// Goes on with what came of the check.
    pub(super) fn resume(self, shown: Option<Proof>, call: &mut Call<'_, '_>) -> Turned {
        self.attempt.take(self.exchange.resume(shown), call)
    }

    /// The check cannot be made at the moment.
    pub(super) fn fail(self, call: &mut Call<'_, '_>) -> Turned {
        self.attempt.fail(SaslCondition::TemporaryAuthFailure, call)
    }
}

impl ExpectTokens {
    /// Goes on with the client's tokens.
    pub(super) fn resume(self, tokens: &[TokenKept], call: &mut Call<'_, '_>) -> Turned {
        self.attempt.take(self.exchange.resume(tokens, call.host.terms.decoy_secret), call)
    }

    /// The rows cannot be read at the moment.
    pub(super) fn fail(self, call: &mut Call<'_, '_>) -> Turned {
        self.attempt.fail(SaslCondition::TemporaryAuthFailure, call)
    }
}

fn decoy(username: &str, call: &Call<'_, '_>) -> Secrets {
    let credentials = Credentials::decoy(call.host.terms.decoy_secret, username);
    Secrets { credentials, tokens: Vec::new(), version: 0 }
}

impl Attempt {
    /// Says what a mechanism has to say, or asks for what it needs.
    pub(super) fn take(self, step: Step, call: &mut Call<'_, '_>) -> Turned {
        match step {
            Step::Challenge { message, next } => {
                call.write(|xml| {
                    xml.open("challenge").ns(self.profile.ns()).text(&payload::encode(&message));
                });
                Ok(Next::To(State::Response(Box::new(ExpectResponse { attempt: self, exchange: next }))))
            }
            Step::NeedCredentials(next) => match next.account() {
                Some(account) => {
                    let exchange = WithCredentials::Scram(next);
                    let state = State::Credentials(Box::new(ExpectCredentials { attempt: self, exchange }));
                    Ok(Next::Ask(state, Ask::Credentials(account)))
                }
                // No account can have this name, so there is nothing to read; the exchange goes on as if there were.
                None => {
                    let secrets = decoy(next.username(), call);
                    self.take(next.resume(&secrets.credentials, &secrets.tokens), call)
                }
            },
            Step::NeedPasswordCheck { check, next } => match next.account() {
                Some(account) => {
                    let exchange = WithCredentials::Plain(check, next);
                    let state = State::Credentials(Box::new(ExpectCredentials { attempt: self, exchange }));
                    Ok(Next::Ask(state, Ask::Credentials(account)))
                }
                None => self.take(next.resume(None), call),
            },
            Step::NeedTokens(next) => {
                let secret = call.host.terms.decoy_secret;
                let asked = next.account().zip(self.profile.agent());
                let client = asked.and_then(|(account, agent)| Some((account, ClientId::of(secret, account, agent)?)));
                match client {
                    Some((account, client)) => {
                        let state = State::Tokens(Box::new(ExpectTokens { attempt: self, exchange: next }));
                        Ok(Next::Ask(state, Ask::Tokens(account, client)))
                    }
                    None => self.take(next.resume(&[], secret), call),
                }
            }
            Step::Success { who, proof, additional } => {
                let who = who.with_secret(self.secret_version);
                let account = who.account();
                let passage = match self.profile {
                    Profile::Sasl => {
                        call.write(|xml| {
                            xml.open("success").ns(ns::SASL);
                            if !additional.is_empty() {
                                xml.text(&payload::encode(&additional));
                            }
                        });
                        None
                    }
                    // What it says depends on what the account makes of the client's wishes.
                    Profile::Sasl2(wishes) => {
                        let client = self.client;
                        let mut random = [0; 16];
                        call.host.random.fill(&mut random);
                        Some(Box::new(Passage {
                            client,
                            wishes,
                            proof,
                            additional,
                            fresh: Seed::new(random),
                            tokens: None,
                            not_resumed: None,
                        }))
                    }
                };
                Ok(Next::Ask(State::Move(Box::new(ExpectMove { who, passage })), Ask::Move(account)))
            }
            Step::Failure(condition) => self.fail(condition, call),
        }
    }

    /// RFC 6120 §6.4.5: the client may try again, a few times.
    pub(super) fn fail(self, condition: SaslCondition, call: &mut Call<'_, '_>) -> Turned {
        call.write(|xml| match &self.profile {
            Profile::Sasl => {
                xml.open("failure").ns(ns::SASL).open(condition.as_str()).close();
                xml.open("text").attr("xml:lang", "en").text(condition.text());
            }
            // XEP-0388 §2.6.2: the conditions stay those of RFC 6120.
            Profile::Sasl2(_) => {
                xml.open("failure").ns(ns::SASL_2).empty(condition.as_str(), ns::SASL);
                xml.open("text").attr("xml:lang", "en").text(condition.text());
            }
        });
        call.patience.auth_failures += 1;
        if call.patience.auth_failures >= call.host.terms.limits.auth_failures_max {
            return Err(Misbehaviour::TooManyAuthFailures);
        }
        Ok(Next::To(State::Login(self.client)))
    }
}

impl Profile {
    pub(super) fn ns(&self) -> &'static str {
        match self {
            Profile::Sasl => ns::SASL,
            Profile::Sasl2(_) => ns::SASL_2,
        }
    }

    /// What the client calls its installation.
    fn agent(&self) -> Option<&str> {
        match self {
            Profile::Sasl => None,
            Profile::Sasl2(wishes) => wishes.agent.as_deref(),
        }
    }

    /// The message in a `<response/>`.
    fn message(&self, element: Element<'_>) -> Result<Message, SaslCondition> {
        let text = element.text();
        match self {
            Profile::Sasl => payload::decode(text.as_bytes()).map(Option::unwrap_or_default),
            Profile::Sasl2(_) => payload::decode_whole(text.as_bytes()),
        }
    }
}

type Message = zeroize::Zeroizing<Vec<u8>>;
