//! SASL2: what a client wants of its stream, together with its login. XEP-0388.
//!
//! The exchange itself is that of `super::login`, in other elements. There are no tasks: no login here needs a second step.

use crate::ns;
use crate::sasl::{self, HashedToken, SaslCondition, payload};
use crate::xml::{Element, Writer, splice};

use super::state::{Attempt, ExpectLogin, Profile, Turned};
use super::{Call, Dialect, Security, login, resume};

/// What a client wants besides being let in.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// What it calls its installation: a UUID.
    pub agent: Option<Box<str>>,
    /// XEP-0198 §9.2
    pub resume: Option<ResumeWish>,
    /// XEP-0386
    pub bind: Option<BindWish>,
    /// Wants a token for this mechanism. XEP-0484
    pub token: Option<HashedToken>,
    /// Shows one. XEP-0484
    pub fast: Option<FastWish>,
}

/// A resource, and what is to be done for its session.
#[derive(Debug)]
pub(super) struct BindWish {
    pub tag: Option<Box<str>>,
    /// The whole element.
    pub request: Box<[u8]>,
}

/// A session to come back to.
#[derive(Debug)]
pub(super) struct ResumeWish {
    /// What the client was told to come back with, and how many stanzas it has taken; none when it does not say.
    pub request: Option<(Box<str>, u32)>,
}

/// How a token is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FastWish {
    pub count: Option<u32>,
    pub invalidate: bool,
}

/// Only inside TLS, wherever that ends. §3
pub(super) fn is_offered(state: &ExpectLogin, _: &Call<'_, '_>) -> bool {
    is_secure(&state.security)
}

fn is_secure(security: &Security) -> bool {
    match security {
        Security::Tls(_) => true,
        Security::Plain => false,
    }
}

/// §2.1
pub(super) fn advertise(state: &ExpectLogin, call: &Call<'_, '_>, xml: &mut Writer<'_>) {
    let offer = login::offer(state, call.host.terms);
    xml.open("authentication").ns(ns::SASL_2);
    for mechanism in sasl::mechanisms(&offer) {
        xml.simple("mechanism", mechanism);
    }
    xml.open("inline");
    let inline = call.host.terms.features.inline();
    if !inline.is_empty() {
        xml.raw_bytes(inline);
    }
    xml.open("fast").ns(ns::FAST);
    for mechanism in HashedToken::offered(offer.bindings) {
        xml.simple("mechanism", mechanism.name());
    }
    xml.close().close().close();
}

/// An element of SASL2 while no exchange runs.
pub(super) fn negotiate(client: ExpectLogin, element: Element<'_>, call: &mut Call<'_, '_>) -> Turned {
    let mut attempt = Attempt { client, profile: Profile::Sasl2(Box::default()), secret_version: None };
    if !is_secure(&attempt.client.security) {
        return attempt.fail(SaslCondition::EncryptionRequired, call);
    }
    match element.name() {
        "authenticate" if call.speaks(Dialect::Sasl2) => match Wishes::read(element) {
            Ok(mut wishes) => {
                // §3.2 of XEP-0484 wants one of those that are offered; for another there is no token.
                let offered = login::offer(&attempt.client, call.host.terms).bindings;
                wishes.token = wishes.token.filter(|wanted| HashedToken::offered(offered).any(|it| it == *wanted));
                attempt.profile = Profile::Sasl2(Box::new(wishes));
                authenticate(attempt, element, call)
            }
            Err(condition) => attempt.fail(condition, call),
        },
        "abort" => attempt.fail(SaslCondition::Aborted, call),
        _ => attempt.fail(SaslCondition::MalformedRequest, call),
    }
}

/// §2.3
fn authenticate(attempt: Attempt, element: Element<'_>, call: &mut Call<'_, '_>) -> Turned {
    let Some(mechanism) = element.attr("mechanism") else {
        return attempt.fail(SaslCondition::InvalidMechanism, call);
    };
    let initial =
        element.child("initial-response", ns::SASL_2).map(|initial| payload::decode_whole(initial.text().as_bytes()));
    let initial = match initial.transpose() {
        Ok(initial) => initial,
        Err(condition) => return attempt.fail(condition, call),
    };
    let initial = initial.as_ref().map(|bytes| &bytes[..]);
    let nonce = login::nonce(call);
    let mut offer = login::offer(&attempt.client, call.host.terms);
    offer.from = attempt.client.from.as_deref();
    let step = match HashedToken::from_name(&mechanism) {
        // XEP-0484 §3.4: such a client says that it shows a token, and which installation it is.
        Some(_) if !attempt.profile.shows_token() => return attempt.fail(SaslCondition::MalformedRequest, call),
        Some(mechanism) => sasl::start_with_token(mechanism, initial, &offer),
        None => sasl::start(&mechanism, initial, &offer, nonce),
    };
    attempt.take(step, call)
}

impl Profile {
    fn shows_token(&self) -> bool {
        match self {
            Profile::Sasl => false,
            Profile::Sasl2(wishes) => wishes.fast.is_some() && wishes.agent.is_some(),
        }
    }
}

impl Wishes {
    fn read(element: Element<'_>) -> Result<Wishes, SaslCondition> {
        let mut wishes = Wishes::default();
        for child in element.children() {
            match (child.name(), child.ns()) {
                ("user-agent", ns::SASL_2) => wishes.agent = agent(child)?,
                ("resume", ns::SM) => wishes.resume = Some(ResumeWish { request: resume::read(child) }),
                ("bind", ns::BIND_2) => wishes.bind = Some(BindWish::read(child)),
                ("request-token", ns::FAST) => {
                    wishes.token = child.attr("mechanism").and_then(|name| HashedToken::from_name(&name));
                }
                ("fast", ns::FAST) => wishes.fast = Some(FastWish::read(child)?),
                _ => {}
            }
        }
        Ok(wishes)
    }
}

/// §2.3: the contents of the id must be a UUID. What the client and its device are called is for showing users their devices, which
/// nothing here does yet.
fn agent(child: Element<'_>) -> Result<Option<Box<str>>, SaslCondition> {
    match child.attr("id") {
        None => Ok(None),
        Some(id) if sasl::hashed_token::is_uuid(&id) => Ok(Some((*id).into())),
        Some(_) => Err(SaslCondition::MalformedRequest),
    }
}

impl BindWish {
    fn read(bind: Element<'_>) -> BindWish {
        let mut request = Vec::new();
        splice::copy(bind, ns::CLIENT, &mut request);
        let tag = bind.child("tag", ns::BIND_2).map(Element::text);
        let tag = tag.as_deref().map(str::trim).filter(|tag| !tag.is_empty()).map(Into::into);
        BindWish { tag, request: request.into() }
    }
}

impl FastWish {
    /// XEP-0484 §3.4 and §3.6.
    fn read(fast: Element<'_>) -> Result<FastWish, SaslCondition> {
        let count = match fast.attr("count") {
            None => None,
            Some(count) => match count.trim().parse() {
                Ok(count @ 1..) => Some(count),
                Ok(0) | Err(_) => return Err(SaslCondition::MalformedRequest),
            },
        };
        let invalidate = match fast.attr("invalidate").as_deref().map(str::trim) {
            None | Some("0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => return Err(SaslCondition::MalformedRequest),
        };
        Ok(FastWish { count, invalidate })
    }
}
