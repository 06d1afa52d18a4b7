//! Names on the link, `user@machine`, and the addresses that stand for them here.

use std::fmt;

use crate::jid::BareJid;
use crate::owner::AccountId;

/// The name of somebody on the link: the instance of a DNS-SD service name. XEP-0174 §7
#[derive(Clone, PartialEq, Eq)]
pub struct PresenceName {
    /// As it was announced.
    name: Box<str>,
    local: Box<str>,
}

impl fmt::Debug for PresenceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PresenceName {
    /// Reads a name; none for what is no name, or cannot be part of an address.
    pub fn parse(name: &str) -> Option<PresenceName> {
        // RFC 6763 §4.1.1: up to 63 bytes of text without control characters. XEP-0106 has no spaces at either end.
        if name.len() > NAME_BYTES_MAX || name.contains(char::is_control) || name.trim() != name {
            return None;
        }
        let (user, machine) = name.rsplit_once('@')?;
        // §10: the machine's part is ASCII.
        if user.is_empty() || machine.is_empty() || !machine.is_ascii() {
            return None;
        }
        let jid = BareJid::parse(&format!("{}@link.invalid", escaped(name))).ok()?;
        Some(PresenceName { name: name.into(), local: jid.local()?.into() })
    }

    /// The name as which a user of ours is announced.
    pub fn of_account(id: AccountId, machine: &str) -> String {
        format!("{id}@{machine}")
    }

    /// Whose name this is, if it is that of a user of ours on this machine.
    pub fn account(name: &str, machine: &str) -> Option<AccountId> {
        let (user, on) = name.rsplit_once('@')?;
        if on.eq_ignore_ascii_case(machine) { AccountId::parse_local(user) } else { None }
    }

    /// As it was announced.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The local part of the address that stands for it. Names that DNS takes for the same have the same.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part after the last `@`.
    pub fn machine(&self) -> &str {
        self.name.rsplit_once('@').map_or("", |(_, machine)| machine)
    }

    /// The address that stands for it.
    pub fn at(&self, domain: &str) -> String {
        format!("{}@{domain}", self.local)
    }
}

/// XEP-0106 §4.2. Every backslash is escaped, so that no two names come to the same.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    for letter in name.chars() {
        match letter {
            ' ' => out.push_str(r"\20"),
            '"' => out.push_str(r"\22"),
            '&' => out.push_str(r"\26"),
            '\'' => out.push_str(r"\27"),
            '/' => out.push_str(r"\2f"),
            ':' => out.push_str(r"\3a"),
            '<' => out.push_str(r"\3c"),
            '>' => out.push_str(r"\3e"),
            '@' => out.push_str(r"\40"),
            '\\' => out.push_str(r"\5c"),
            other => out.push(other),
        }
    }
    out
}

/// One label of a domain name. RFC 1035 §2.3.4
const NAME_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::Jid;
    use crate::jid::user::{AppId, UserId};

    #[test]
    fn names_have_addresses_of_their_own() {
        for (name, local) in [
            ("romeo@forza", r"romeo\40forza"),
            ("Romeo@Forza", r"romeo\40forza"),
            ("romeo.m@forza (2)", r"romeo.m\40forza\20(2)"),
            ("Roméo@forza", r"roméo\40forza"),
            (r"a\40b@c", r"a\5c40b\40c"),
            ("a@b@c", r"a\40b\40c"),
            ("1-1@localhost@forza", r"1-1\40localhost\40forza"),
            ("it's <me> & \"you\"/:@x", r"it\27s\20\3cme\3e\20\26\20\22you\22\2f\3a\40x"),
        ] {
            let parsed = PresenceName::parse(name).expect(name);
            assert_eq!((parsed.as_str(), parsed.local()), (name, local));
            let address = parsed.at("link.localhost");
            let jid = Jid::parse(&address).expect(name);
            assert_eq!((jid.local(), jid.domain(), jid.resource()), (Some(local), "link.localhost", None), "{name}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = format!("{}@forza", "x".repeat(60));
        for name in [
            "",
            "romeo",
            "@forza",
            "romeo@",
            " romeo@forza",
            "romeo@forza ",
            "ro\nmeo@forza",
            "a\0@b",
            "r@förza",
            &long,
        ] {
            assert_eq!(PresenceName::parse(name), None, "{name:?}");
        }
        // What an address cannot hold: marks that turn text around, and characters for private use.
        for name in ["ro\u{202e}meo@forza", "ro\u{e000}meo@forza"] {
            assert_eq!(PresenceName::parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn whatever_is_announced_is_an_address_or_nothing() {
        // Every short string over what matters to addresses: none of them may become another's, or break out of its domain.
        let letters = ['a', 'A', '@', '/', '\\', '.', ' ', '4', '0', '&', '\u{df}', '\u{200b}'];
        let mut seen = std::collections::HashMap::new();
        for n in 0..letters.len().pow(4) {
            let mut name: String = (0..4).map(|at| letters[n / letters.len().pow(at) % letters.len()]).collect();
            name.push_str("@m");
            let Some(parsed) = PresenceName::parse(&name) else { continue };
            let address = parsed.at("link.localhost");
            let jid = Jid::parse(&address).expect("an address");
            assert_eq!((jid.domain(), jid.resource()), ("link.localhost", None), "{name}");
            let before = seen.entry(parsed.local().to_owned()).or_insert_with(|| name.clone());
            // stringprep folds case, drops what has no width and takes ß for ss; nothing else comes to the same.
            let folded = |name: &str| name.to_lowercase().replace('\u{200b}', "").replace('ß', "ss");
            assert_eq!(folded(before), folded(&name));
        }
    }

    #[test]
    fn users_are_announced_by_their_number() {
        let id = AccountId { app: AppId(1), user: UserId(5) };
        let name = PresenceName::of_account(id, "pronto");
        assert_eq!(name, "5-1@pronto");
        assert_eq!(PresenceName::account(&name, "Pronto"), Some(id));
        for other in ["5-1@forza", "5-1@x@pronto", "05-1@pronto", "romeo@pronto", "pronto"] {
            assert_eq!(PresenceName::account(other, "pronto"), None, "{other}");
        }
    }
}
