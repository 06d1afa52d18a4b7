//! SASL on the stream: its elements, its base64, and how often one may try. RFC 6120 §6.
//!
//! What a mechanism says is [`crate::sasl`]'s; here its [`Step`]s become elements and [`Ask`]s.

use crate::error::Misbehaviour;
use crate::ns;
use crate::sasl::{
    self, ChannelBindings, Credentials, NONCE_BYTES, Offer, PlainCheck, SaslCondition, Step, TokenRecord, payload,
};
use crate::xml::{Element, Writer};

use super::state::{
    ExpectCredentials, ExpectLogin, ExpectMove, ExpectResponse, ExpectVerdict, Next, State, Turned, WithCredentials,
};
use super::{Ask, Call, Security, Terms};

/// What is stored of an account for logging in: its credentials, and its live tokens, the newest first.
#[derive(Debug)]
pub struct Secrets {
    /// The salt and the keys.
    pub credentials: Credentials,
    /// The live tokens.
    pub tokens: Vec<TokenRecord>,
}

/// A password to check where it may take milliseconds. RFC 4616.
#[derive(Debug)]
pub struct PasswordCheck {
    check: PlainCheck,
    secrets: Secrets,
}

impl PasswordCheck {
    /// Whether the password is right: costs a PBKDF2.
    pub fn run(&self) -> bool {
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
    let offer = offer(&state.security, call.host.terms);
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

fn offer<'a>(security: &'a Security, terms: &'a Terms<'_>) -> Offer<'a> {
    let (encrypted, bindings) = match security {
        Security::Plain => (false, &NO_BINDINGS),
        Security::Tls(bindings) => (true, &**bindings),
    };
    Offer { domain: terms.domain, encrypted, plain_unencrypted: terms.plain_unencrypted, bindings }
}

static NO_BINDINGS: ChannelBindings = ChannelBindings::NONE;

/// An element of SASL while no exchange runs.
pub(super) fn negotiate(state: ExpectLogin, element: Element<'_>, call: &mut Call<'_, '_>) -> Turned {
    let security = state.security;
    match element.name() {
        "auth" => auth(security, element, call),
        "abort" => fail(SaslCondition::Aborted, security, call),
        // RFC 6120 §6.5.7 has no better word for an answer without a question.
        _ => fail(SaslCondition::MalformedRequest, security, call),
    }
}

fn auth(security: Security, element: Element<'_>, call: &mut Call<'_, '_>) -> Turned {
    if !is_allowed(&security, call) {
        return fail(SaslCondition::EncryptionRequired, security, call);
    }
    let Some(mechanism) = element.attr("mechanism") else {
        return fail(SaslCondition::InvalidMechanism, security, call);
    };
    let initial = match payload::decode(element.text().as_bytes()) {
        Ok(initial) => initial,
        Err(condition) => return fail(condition, security, call),
    };
    let mut nonce = [0; NONCE_BYTES];
    call.host.random.fill(&mut nonce);
    let step =
        sasl::start(&mechanism, initial.as_ref().map(|bytes| &bytes[..]), &offer(&security, call.host.terms), nonce);
    take(step, security, call)
}

impl ExpectResponse {
    /// An element of SASL while an exchange waits for the client.
    pub(super) fn take(self, element: Element<'_>, call: &mut Call<'_, '_>) -> Turned {
        let ExpectResponse { security, exchange } = self;
        match element.name() {
            "response" => match payload::decode(element.text().as_bytes()) {
                Ok(message) => {
                    let message = message.as_ref().map_or(&[][..], |bytes| &bytes[..]);
                    let step = exchange.respond(message);
                    take(step, security, call)
                }
                Err(condition) => fail(condition, security, call),
            },
            "abort" => fail(SaslCondition::Aborted, security, call),
            // A second <auth/>: the exchange that runs is over, and the new one was not asked for.
            _ => fail(SaslCondition::MalformedRequest, security, call),
        }
    }
}

impl ExpectCredentials {
    /// Goes on with the rows; without any, with the account's decoy, so that both look the same.
    pub(super) fn resume(self, found: Option<Secrets>, call: &mut Call<'_, '_>) -> Turned {
        let ExpectCredentials { security, exchange } = self;
        match exchange {
            WithCredentials::Scram(exchange) => {
                let secrets = found.unwrap_or_else(|| decoy(exchange.username(), call));
                let step = exchange.resume(&secrets.credentials, &secrets.tokens);
                take(step, security, call)
            }
            WithCredentials::Plain(check, exchange) => {
                let secrets = found.unwrap_or_else(|| decoy(exchange.username(), call));
                let ask = Ask::CheckPassword(Box::new(PasswordCheck { check, secrets }));
                Ok(Next::Ask(State::Verdict(Box::new(ExpectVerdict { security, exchange })), ask))
            }
        }
    }

    /// The rows cannot be read at the moment.
    pub(super) fn fail(self, call: &mut Call<'_, '_>) -> Turned {
        fail(SaslCondition::TemporaryAuthFailure, self.security, call)
    }
}

impl ExpectVerdict {
    /// Goes on with what came of the check.
    pub(super) fn resume(self, matches: bool, call: &mut Call<'_, '_>) -> Turned {
        take(self.exchange.resume(matches), self.security, call)
    }

    /// The check cannot be made at the moment.
    pub(super) fn fail(self, call: &mut Call<'_, '_>) -> Turned {
        fail(SaslCondition::TemporaryAuthFailure, self.security, call)
    }
}

fn decoy(username: &str, call: &Call<'_, '_>) -> Secrets {
    Secrets { credentials: Credentials::decoy(call.host.terms.decoy_secret, username), tokens: Vec::new() }
}

/// Says what a mechanism has to say, or asks for what it needs.
fn take(step: Step, security: Security, call: &mut Call<'_, '_>) -> Turned {
    match step {
        Step::Challenge { message, next } => {
            call.write(|xml| {
                xml.open("challenge").ns(ns::SASL).text(&payload::encode(&message));
            });
            Ok(Next::To(State::Response(Box::new(ExpectResponse { security, exchange: next }))))
        }
        Step::NeedCredentials(next) => match next.account() {
            Some(account) => {
                let exchange = WithCredentials::Scram(next);
                let state = State::Credentials(Box::new(ExpectCredentials { security, exchange }));
                Ok(Next::Ask(state, Ask::Credentials(account)))
            }
            // No account can have this name, so there is nothing to read; the exchange goes on as if there were.
            None => {
                let secrets = decoy(next.username(), call);
                take(next.resume(&secrets.credentials, &secrets.tokens), security, call)
            }
        },
        Step::NeedPasswordCheck { check, next } => match next.account() {
            Some(account) => {
                let exchange = WithCredentials::Plain(check, next);
                let state = State::Credentials(Box::new(ExpectCredentials { security, exchange }));
                Ok(Next::Ask(state, Ask::Credentials(account)))
            }
            None => take(next.resume(false), security, call),
        },
        Step::Success { who, additional } => {
            call.write(|xml| {
                xml.open("success").ns(ns::SASL);
                if !additional.is_empty() {
                    xml.text(&payload::encode(&additional));
                }
            });
            let account = who.account();
            Ok(Next::Ask(State::Move(ExpectMove { who }), Ask::Move(account)))
        }
        Step::Failure(condition) => fail(condition, security, call),
    }
}

/// RFC 6120 §6.4.5: the client may try again, a few times.
fn fail(condition: SaslCondition, security: Security, call: &mut Call<'_, '_>) -> Turned {
    call.write(|xml| {
        xml.open("failure").ns(ns::SASL).open(condition.as_str()).close();
        xml.open("text").attr("xml:lang", "en").text(condition.text());
    });
    call.patience.auth_failures += 1;
    if call.patience.auth_failures >= call.host.terms.limits.auth_failures_max {
        return Err(Misbehaviour::TooManyAuthFailures);
    }
    Ok(Next::To(State::Login(ExpectLogin { security })))
}
