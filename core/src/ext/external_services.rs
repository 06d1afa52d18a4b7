//! XEP-0215: External Service Discovery: the STUN and TURN servers that calls need.
//!
//! For a TURN server that shares a secret with us (coturn's `use-auth-secret`, draft-uberti-behave-turn-rest-00) every user
//! gets a name and a password of their own, which end by themselves: nothing is stored, here or there.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{At, Extension, IqRoute, Request, Spec, nothing};
use crate::account::Account;
use crate::effect::Turn;
use crate::error::Condition;
use crate::ns;
use crate::owner::AccountId;
use crate::row::Rows;
use crate::stanza::{IqAnswer, IqKind};
use crate::time::Timestamp;
use crate::xml::Writer;

pub(super) static EXTERNAL_SERVICES: Extension = Extension {
    name: "External Service Discovery",
    spec: Spec::Xep(215, "1.0.0"),
    server_features: &[ns::EXTERNAL_SERVICES],
    iq: &[get("services", on_services), get("credentials", on_credentials)],
    ..Extension::NONE
};

const fn get(
    name: &'static str,
    apply: fn(&Request<'_>, &mut Account, Rows, &mut Turn<'_>) -> IqAnswer,
) -> IqRoute {
    IqRoute { at: At::Server, kind: IqKind::Get, ns: ns::EXTERNAL_SERVICES, name, plan: nothing, apply }
}

/// A service beside this server that its users may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What it does.
    pub kind: ServiceKind,
    /// Its domain name or IP address.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// How the port is reached.
    pub transport: ServiceTransport,
    /// Whom it lets in.
    pub access: Access,
}

/// What a service does; the names of its registry and of WebRTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKind {
    /// Tells a client its address. RFC 5389
    Stun,
    /// The same over TLS.
    Stuns,
    /// Relays what cannot go directly. RFC 5766
    Turn,
    /// The same over TLS.
    Turns,
}

impl ServiceKind {
    /// The `type` of a service.
    pub fn as_str(self) -> &'static str {
        match self {
            ServiceKind::Stun => "stun",
            ServiceKind::Stuns => "stuns",
            ServiceKind::Turn => "turn",
            ServiceKind::Turns => "turns",
        }
    }
}

/// How a service's port is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceTransport {
    /// By datagrams.
    Udp,
    /// By a stream.
    Tcp,
}

impl ServiceTransport {
    /// The `transport` of a service.
    pub fn as_str(self) -> &'static str {
        match self {
            ServiceTransport::Udp => "udp",
            ServiceTransport::Tcp => "tcp",
        }
    }
}

/// Whom a service lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Whoever has this name and password, the same for all users.
    Password(Box<str>, Secret),
    /// Whoever shows a name and password made with this secret, which the service knows too; they are good for that long.
    SharedSecret(Secret, Duration),
}

/// Something that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps the text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(private)")
    }
}

/// What opens a service for one user.
struct Credentials {
    username: String,
    password: String,
    expires: Option<Timestamp>,
}

impl Service {
    fn credentials(&self, user: AccountId, now: Timestamp) -> Option<Credentials> {
        match &self.access {
            Access::Open => None,
            Access::Password(username, password) => {
                Some(Credentials { username: username.to_string(), password: password.0.to_string(), expires: None })
            }
            Access::SharedSecret(secret, lifetime) => {
                let expires = now.after(*lifetime);
                let username = format!("{}:{user}", expires.secs());
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.0.as_bytes());
                let password = BASE64_STANDARD.encode(hmac::sign(&key, username.as_bytes()));
                Some(Credentials { username, password, expires: Some(expires) })
            }
        }
    }

    fn write(&self, credentials: Option<&Credentials>, xml: &mut Writer<'_>) {
        xml.open("service").attr("type", self.kind.as_str()).attr("host", &self.host).attr_int("port", self.port);
        xml.attr("transport", self.transport.as_str());
        if let Some(Credentials { username, password, expires }) = credentials {
            xml.attr("restricted", "true").attr("username", username).attr("password", password);
            xml.attr_opt("expires", expires.map(|at| at.iso().to_string()).as_deref());
        }
        xml.close();
    }
}

/// §3.1 and §3.2: all services, or those of one type.
fn on_services(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let kind = request.attr("type");
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("services").ns(ns::EXTERNAL_SERVICES).attr_opt("type", kind.as_deref());
    for service in &*turn.site.services {
        if kind.as_deref().is_none_or(|kind| kind == service.kind.as_str()) {
            service.write(service.credentials(account.id(), turn.now.stamp).as_ref(), &mut xml);
        }
    }
    drop(xml);
    Ok(out)
}

/// §3.3: what opens the services at one host.
fn on_credentials(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let mut asked = request.payload.children();
    let (Some(asked), None) = (asked.next(), asked.next()) else { return Err(Condition::BadRequest) };
    let (host, kind) = (asked.attr("host"), asked.attr("type"));
    let (Some(host), Some(kind), true) = (host, kind, asked.is("service", ns::EXTERNAL_SERVICES)) else {
        return Err(Condition::BadRequest);
    };
    let port = asked.attr("port").map(|port| port.parse::<u16>()).transpose().map_err(|_| Condition::BadRequest)?;
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("credentials").ns(ns::EXTERNAL_SERVICES);
    let mut found = false;
    for service in &*turn.site.services {
        let is_asked_for = *service.host == *host
            && service.kind.as_str() == kind
            && port.is_none_or(|port| port == service.port);
        if is_asked_for && let Some(credentials) = service.credentials(account.id(), turn.now.stamp) {
            service.write(Some(&credentials), &mut xml);
            found = true;
        }
    }
    drop(xml);
    if found { Ok(out) } else { Err(Condition::ItemNotFound) }
}
