//! Applications, users, and the local part `USERID-APPID` that names a user of an application.
//!
//! Numbers are read strictly: decimal digits, no sign, no zero in front, no overflow. One account then has one JID;
//! a local part that is anything else is well-formed XMPP and nobody's account.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use super::object::{DialogId, MessageId, ObjectId, RoomJid};
use super::{BareJid, Domain, Jid};
use crate::owner::AccountId;

/// A text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a decimal number without a sign and without zeros in front")]
pub struct IdError;

/// An application: the tenant that users and dialogs belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppId(pub u32);

/// A user of one application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub u64);

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AppId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        strict_decimal(text).map(Self).ok_or(IdError)
    }
}

impl FromStr for UserId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        strict_decimal(text).map(Self).ok_or(IdError)
    }
}

/// The standard parser takes `+1` and `007`, which would give one account many names.
fn strict_decimal<N: FromStr>(text: &str) -> Option<N> {
    let digits = text.as_bytes();
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let zero_in_front = digits.len() > 1 && digits[0] == b'0';
    if all_digits && !zero_in_front { text.parse().ok() } else { None }
}

/// Reads the local part `USERID-APPID`; `None` if it is not exactly that.
pub fn user_of(local: &str) -> Option<(UserId, AppId)> {
    let (user, app) = local.split_once('-')?;
    Some((user.parse().ok()?, app.parse().ok()?))
}

/// Writes the local part `USERID-APPID`.
pub fn local_of(user: UserId, app: AppId) -> String {
    AccountId { app, user }.to_string()
}

/// A resource for a client that asked for none: 24 hex digits of what the caller drew at random.
pub fn server_resource(random: [u8; 12]) -> String {
    ObjectId(random).to_string()
}

/// An account as JIDs name it: `USERID-APPID` at the chat domain. The domain is not part of the value.
pub type UserJid = AccountId;

impl AccountId {
    /// Reads the local part of a user's JID; `None` if it is not exactly `USERID-APPID`.
    pub fn parse_local(local: &str) -> Option<Self> {
        user_of(local).map(|(user, app)| Self { app, user })
    }

    /// The account that `jid` names, with or without a resource; `None` away from `domain`.
    pub fn of(jid: &Jid<'_>, domain: &Domain) -> Option<Self> {
        if jid.domain() != domain.as_str() {
            return None;
        }
        jid.local().and_then(Self::parse_local)
    }

    /// `USERID-APPID`.
    pub fn local(self) -> String {
        self.to_string()
    }

    /// The account's address.
    pub fn at(self, domain: &Domain) -> BareJid {
        BareJid::of_prepared(&self.local(), domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_the_one_spelling_of_an_account() {
        assert_eq!(user_of("55-92"), Some((UserId(55), AppId(92))));
        let largest = format!("{}-{}", u64::MAX, u32::MAX);
        assert_eq!(user_of(&largest), Some((UserId(u64::MAX), AppId(u32::MAX))));
        assert_eq!(local_of(UserId(u64::MAX), AppId(u32::MAX)), largest);
        let others = [
            "",
            "-",
            "55",
            "55-",
            "-92",
            "+55-92",
            "55-+92",
            "055-92",
            "55-092",
            "55--92",
            "55-92-1",
            " 55-92",
            "55-92 ",
            "5 5-92",
            "0x5-92",
            "55_92",
            "55-9a",
            "\u{ff15}-92",
            "18446744073709551616-92",
            "55-4294967296",
        ];
        for local in others {
            assert_eq!(user_of(local), None, "{local:?}");
        }
    }

    #[test]
    fn finds_the_account_of_a_jid_at_the_chat_domain_only() {
        let domain = Domain::parse("chat.example").unwrap();
        let account = AccountId { app: AppId(92), user: UserId(55) };
        for text in ["55-92@chat.example", "55-92@CHAT.example/phone"] {
            assert_eq!(AccountId::of(&Jid::parse(text).unwrap(), &domain), Some(account));
        }
        for text in ["55-92@muc.chat.example", "chat.example", "romeo@chat.example"] {
            assert_eq!(AccountId::of(&Jid::parse(text).unwrap(), &domain), None, "{text}");
        }
        assert_eq!(account.at(&domain), BareJid::parse("55-92@chat.example").unwrap());
        assert_eq!(account.at(&domain).domain(), "chat.example");
    }

    #[test]
    fn makes_a_resource_of_random_bytes() {
        assert_eq!(server_resource([0xa5; 12]), "a5a5a5a5a5a5a5a5a5a5a5a5");
    }
}
