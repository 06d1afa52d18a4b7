//! What users are told of: services beside the server, and whom to turn to.

use std::time::Duration;

use proto::ext::{Access, Contacts, Secret, Service, ServiceKind, ServiceTransport};
use serde::{Deserialize, Serialize};

/// A STUN or TURN server. XEP-0215.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSettings {
    /// `stun`, `stuns`, `turn` or `turns`.
    pub kind: ServiceKind,
    /// Its domain name or IP address.
    pub host: String,
    /// Its port; that of its kind when it is left out.
    pub port: Option<u16>,
    /// `udp` or `tcp`; UDP when it is left out, and TCP for the kinds over TLS.
    pub transport: Option<ServiceTransport>,
    /// A name and password that all users share.
    pub username: Option<String>,
    /// See `username`.
    pub password: Option<String>,
    /// The secret that the service makes its users' passwords with (coturn's `static-auth-secret`).
    pub shared_secret: Option<String>,
    /// How long a password made with the shared secret is good for.
    pub password_secs: Option<u64>,
}

/// Addresses (`mailto:`, `xmpp:`, `https:`) by purpose. XEP-0157.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContactSettings {
    /// About abusive traffic.
    pub abuse: Vec<String>,
    /// The administrators.
    pub admin: Vec<String>,
    /// Feedback of customers.
    pub feedback: Vec<String>,
    /// Sales and marketing.
    pub sales: Vec<String>,
    /// Security concerns.
    pub security: Vec<String>,
    /// Where the state of the service is shown.
    pub status: Vec<String>,
    /// Support of customers.
    pub support: Vec<String>,
}

impl ServiceSettings {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.host.is_empty() || self.host.contains(|letter: char| letter.is_whitespace() || letter == '/') {
            return Err(("host", format!("\"{}\" is no domain name or IP address", self.host)));
        }
        match (&self.username, &self.password, &self.shared_secret) {
            (Some(_), None, _) => Err(("username", "a service's user needs a password: set `password` too".to_owned())),
            (None, Some(_), _) => Err(("password", "a service's password needs a user: set `username` too".to_owned())),
            (Some(_), Some(_), Some(_)) => {
                Err(("shared_secret", "a service has either a user or a shared secret".to_owned()))
            }
            (Some(_), Some(_), None) | (None, None, _) => Ok(()),
        }
    }

    /// The same as the extension has it.
    pub fn service(&self) -> Service {
        let over_tls = match self.kind {
            ServiceKind::Stun | ServiceKind::Turn => false,
            ServiceKind::Stuns | ServiceKind::Turns => true,
        };
        let access = match (&self.username, &self.password, &self.shared_secret) {
            (Some(name), Some(password), _) => Access::Password(name.as_str().into(), Secret::new(password.as_str())),
            (_, _, Some(secret)) => {
                let secs = self.password_secs.unwrap_or(PASSWORD_SECS);
                Access::SharedSecret(Secret::new(secret.as_str()), Duration::from_secs(secs))
            }
            (_, _, None) => Access::Open,
        };
        Service {
            kind: self.kind,
            host: self.host.as_str().into(),
            port: self.port.unwrap_or(if over_tls { 5349 } else { 3478 }),
            transport: self.transport.unwrap_or(if over_tls { ServiceTransport::Tcp } else { ServiceTransport::Udp }),
            access,
        }
    }
}

impl ContactSettings {
    /// The same as the extension has it.
    pub fn contacts(&self) -> Contacts {
        let ContactSettings { abuse, admin, feedback, sales, security, status, support } = self.clone();
        Contacts { abuse, admin, feedback, sales, security, status, support }
    }
}

const PASSWORD_SECS: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    #[test]
    fn a_service_has_the_port_of_its_kind() {
        let text = "[[services]]\nkind = \"stun\"\nhost = \"a\"\n[[services]]\nkind = \"turns\"\nhost = \"b\"\nshared_secret = \"s\"";
        let config = Config::parse(text, Path::new("x")).unwrap();
        let services: Vec<Service> = config.services.iter().map(ServiceSettings::service).collect();
        assert_eq!((services[0].port, services[0].transport), (3478, ServiceTransport::Udp));
        assert_eq!((services[1].port, services[1].transport), (5349, ServiceTransport::Tcp));
        assert!(matches!(services[1].access, Access::SharedSecret(_, time) if time == Duration::from_secs(86_400)));
        let half = "[[services]]\nkind = \"turn\"\nhost = \"a\"\nusername = \"u\"";
        let said = Config::parse(half, Path::new("x")).unwrap_err().to_string();
        assert_eq!(said, "x:4: username: a service's user needs a password: set `password` too");
    }
}
