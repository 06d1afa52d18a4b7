//! The bridge to the local network. XEP-0174

use std::net::{IpAddr, SocketAddr};

use proto::jid::Domain;
use proto::jid::user::AppId;
use proto::link_local::Link;
use serde::{Deserialize, Serialize};

/// Who can use it, and where it is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkLocal {
    /// Whether there is one.
    pub enabled: bool,
    /// The domain of the service; `link.` and the chat domain when it is left out.
    pub domain: Option<String>,
    /// Where streams of others come in.
    pub listen: SocketAddr,
    /// The names of the network interfaces that it is on; all but loopback ones when there are none here.
    pub interfaces: Vec<String>,
    /// The machine's name, which is a part of every user's name on the network; the host's when it is left out.
    pub machine: Option<String>,
    /// The apps whose users can use it; all when there are none here.
    pub apps: Vec<u32>,
}

impl Default for LinkLocal {
    fn default() -> LinkLocal {
        LinkLocal {
            enabled: false,
            domain: None,
            listen: SocketAddr::from((IpAddr::from([0u16; 8]), PORT)),
            interfaces: Vec::new(),
            machine: None,
            apps: Vec::new(),
        }
    }
}

impl LinkLocal {
    pub(super) fn check(&self, chat_domain: &str, others: &[&str]) -> Result<(), (&'static str, String)> {
        let domain = self.domain(chat_domain);
        Domain::parse(&domain).map_err(|_| ("domain", format!("\"{domain}\" is no domain name")))?;
        if others.iter().any(|other| other.eq_ignore_ascii_case(&domain)) {
            let message = "the bridge needs a domain of its own, such as link.example.com".to_owned();
            return Err(("domain", message));
        }
        match &self.machine {
            Some(machine) if machine.is_empty() || label(machine) != *machine => {
                let message =
                    format!("a machine's name has up to {MACHINE_BYTES_MAX} letters, digits and hyphens, and no dots");
                Err(("machine", message))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn domain(&self, chat_domain: &str) -> String {
        self.domain.clone().unwrap_or_else(|| format!("link.{chat_domain}"))
    }

    /// The same as the extension has it.
    pub fn link(&self, chat_domain: &str) -> Option<Link> {
        let domain = self.domain(chat_domain);
        let normal = Domain::parse(&domain).map_or(domain, |domain| domain.to_bare().to_string());
        let apps = self.apps.iter().copied().map(AppId).collect();
        self.enabled.then(|| Link { domain: normal.into(), apps })
    }

    /// The machine's name, fit to be a part of users' names.
    pub fn machine(&self) -> String {
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match label(self.machine.clone().unwrap_or_else(host).trim()) {
            name if name.is_empty() => "rookery".to_owned(),
            name => name,
        }
    }
}

/// The first label of a host name, as short as it has to be, of what RFC 1123 §2.1 has in it.
fn label(host: &str) -> String {
    let first = host.split('.').next().unwrap_or_default();
    let name: String = first.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
    name[..name.len().min(MACHINE_BYTES_MAX)].trim_matches('-').to_owned()
}

/// Where clients that know of no other port look. XEP-0174 §13.3
const PORT: u16 = 5298;

/// With the longest number of a user and of an app, and a suffix, it is a label of 63 bytes.
const MACHINE_BYTES_MAX: usize = 28;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    #[test]
    fn what_cannot_be_is_said_where_it_is() {
        for (text, said) in [
            ("domain = \"localhost\"", "x:2: domain: the bridge needs a domain of its own"),
            ("domain = \"upload.localhost\"", "x:2: domain: the bridge needs a domain of its own"),
            ("machine = \"a.b\"", "x:2: machine: a machine's name has up to 28 letters"),
            ("machine = \"\"", "x:2: machine: a machine's name has up to 28 letters"),
            ("enable = true", "x:2: unknown key `enable`, did you mean `enabled`?"),
        ] {
            let mistake = Config::parse(&format!("[link_local]\n{text}"), Path::new("x")).expect_err(text).to_string();
            assert!(mistake.starts_with(said), "{mistake}");
        }
    }

    #[test]
    fn it_is_off_until_it_is_switched_on() {
        let with = |text: &str| Config::parse(text, Path::new("x")).unwrap().link_local;
        assert_eq!(with("").link("localhost"), None);
        let link = with("[link_local]\nenabled = true\napps = [7]").link("Example.com").unwrap();
        assert_eq!((&*link.domain, link.apps), ("link.example.com", vec![AppId(7)]));
        assert_eq!(with("").listen.port(), 5298);
    }

    #[test]
    fn a_host_name_becomes_a_label() {
        for (host, name) in [
            ("pronto", "pronto"),
            ("pronto.example.com", "pronto"),
            ("my_box-", "mybox"),
            ("é", ""),
            ("a-very-long-name-of-a-machine-in-a-rack", "a-very-long-name-of-a-machin"),
        ] {
            assert_eq!(label(host), name);
        }
        assert!(!LinkLocal::default().machine().is_empty());
    }
}
