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

const fn get(name: &'static str, apply: fn(&Request<'_>, &mut Account, Rows, &mut Turn<'_>) -> IqAnswer) -> IqRoute {
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

    /// The text, for whoever has to compute with it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
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
    let (Some(asked), None) = (asked.next(), asked.next()) else { return Err(Condition::BadRequest.into()) };
    let (host, kind) = (asked.attr("host"), asked.attr("type"));
    let (Some(host), Some(kind), true) = (host, kind, asked.is("service", ns::EXTERNAL_SERVICES)) else {
        return Err(Condition::BadRequest.into());
    };
    let port = asked.attr("port").map(|port| port.parse::<u16>()).transpose().map_err(|_| Condition::BadRequest)?;
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("credentials").ns(ns::EXTERNAL_SERVICES);
    let mut found = false;
    for service in &*turn.site.services {
        let is_asked_for =
            *service.host == *host && service.kind.as_str() == kind && port.is_none_or(|port| port == service.port);
        if is_asked_for && let Some(credentials) = service.credentials(account.id(), turn.now.stamp) {
            service.write(Some(&credentials), &mut xml);
            found = true;
        }
    }
    drop(xml);
    if found { Ok(out) } else { Err(Condition::ItemNotFound.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::stage::{self, ADAM, BOB, Stage};

    fn stage() -> Stage {
        let service = |kind, port, access| Service {
            kind,
            host: "turn.example.com".into(),
            port,
            transport: ServiceTransport::Udp,
            access,
        };
        let day = Duration::from_secs(24 * 60 * 60);
        let mut stage = Stage::new();
        stage.site.services = [
            service(ServiceKind::Stun, 3478, Access::Open),
            service(ServiceKind::Turn, 3478, Access::SharedSecret(Secret::new("north"), day)),
            service(ServiceKind::Turns, 5349, Access::Password("a\"b".into(), Secret::new("<&"))),
        ]
        .into();
        stage
    }

    fn ask(stage: &mut Stage, payload: &str) -> String {
        let iq = format!("<iq type='get' id='1' to='localhost'>{payload}</iq>");
        let answer = stage.ask(BOB, &iq);
        match answer.split_once("to=\"2-1@localhost/r\">") {
            Some((_, payload)) if !answer.contains("type=\"error\"") => payload.trim_end_matches("</iq>").to_owned(),
            Some(_) | None => stage::condition(&answer),
        }
    }

    /// `printf '1458836400:2-1' | openssl dgst -sha1 -hmac north -binary | base64`
    const BOBS: &str = r#"restricted="true" username="1458836400:2-1" password="UDjavEg5aBg2js556/ClbQe1QHI=" expires="2016-03-24T16:20:00Z""#;

    #[test]
    fn lists_services_with_what_opens_them() {
        let turn = format!(r#"<service type="turn" host="turn.example.com" port="3478" transport="udp" {BOBS}/>"#);
        let all = ask(&mut stage(), "<services xmlns='urn:xmpp:extdisco:2'/>");
        assert_eq!(
            all,
            format!(
                r#"<services xmlns="urn:xmpp:extdisco:2"><service type="stun" host="turn.example.com" port="3478" transport="udp"/>{turn}<service type="turns" host="turn.example.com" port="5349" transport="udp" restricted="true" username="a&quot;b" password="&lt;&amp;"/></services>"#
            )
        );
        let some = ask(&mut stage(), "<services xmlns='urn:xmpp:extdisco:2' type='turn'/>");
        assert_eq!(some, format!(r#"<services xmlns="urn:xmpp:extdisco:2" type="turn">{turn}</services>"#));
        let none = ask(&mut stage(), "<services xmlns='urn:xmpp:extdisco:2' type='&quot;&lt;ftp'/>");
        assert_eq!(none, r#"<services xmlns="urn:xmpp:extdisco:2" type="&quot;&lt;ftp"/>"#);
    }

    #[test]
    fn gives_credentials_for_what_it_knows() {
        let ask_for = |attributes: &str| {
            let payload = format!("<credentials xmlns='urn:xmpp:extdisco:2'><service {attributes}/></credentials>");
            ask(&mut stage(), &payload)
        };
        let turn = format!(
            r#"<credentials xmlns="urn:xmpp:extdisco:2"><service type="turn" host="turn.example.com" port="3478" transport="udp" {BOBS}/></credentials>"#
        );
        for (attributes, answer) in [
            ("type='turn' host='turn.example.com'", &*turn),
            ("type='turn' host='turn.example.com' port='3478'", &turn),
            ("type='turn' host='turn.example.com' port='1'", "item-not-found"),
            ("type='stun' host='turn.example.com'", "item-not-found"),
            ("type='turn' host='example.com'", "item-not-found"),
            ("type='turn' host='turn.example.com' port='-1'", "bad-request"),
            ("type='turn'", "bad-request"),
            ("host='turn.example.com'", "bad-request"),
        ] {
            assert_eq!(ask_for(attributes), answer, "{attributes}");
        }
        for odd in ["", "<x/>", "<service host='a' type='turn'/><service host='a' type='turn'/>"] {
            let payload = format!("<credentials xmlns='urn:xmpp:extdisco:2'>{odd}</credentials>");
            assert_eq!(ask(&mut stage(), &payload), "bad-request", "{odd}");
        }
    }

    #[test]
    fn every_user_has_credentials_of_their_own() {
        let mut stage = stage();
        let iq = "<iq type='get' id='1' to='localhost'><services xmlns='urn:xmpp:extdisco:2' type='turn'/></iq>";
        let answers = [stage.ask(ADAM, iq), stage.ask(BOB, iq)];
        assert!(answers[0].contains("1458836400:1-1") && !answers[0].contains("UDjavEg5aBg2js556/ClbQe1QHI="));
        assert!(answers[1].contains("UDjavEg5aBg2js556/ClbQe1QHI="));
        assert_eq!(stage.log(), ["deliver 2-1"], "nothing is stored");
    }

    #[test]
    fn secrets_do_not_show() {
        let shown = format!("{:?}", stage().site);
        assert!(shown.contains("turn.example.com") && !shown.contains("north") && !shown.contains("<&"), "{shown}");
    }

    #[test]
    fn a_server_without_services_says_so() {
        let mut stage = Stage::new();
        let payload = "<services xmlns='urn:xmpp:extdisco:2'/>";
        assert_eq!(ask(&mut stage, payload), r#"<services xmlns="urn:xmpp:extdisco:2"/>"#);
    }
}
