//! The record of a user as REST shows it, and the names it can be found by. Server notes §8.2.

use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::account::Card;
use crate::jid::user::UserId;
use crate::row::{self, Unreadable};
use crate::time::Timestamp;

pub mod rules;

const VERSION: u8 = 1;

/// What a user (or whoever signs them up) may set.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    /// Unique in the app, as [`NameKind::Login`] compares.
    pub login: Option<String>,
    /// Unique in the app, as [`NameKind::Email`] compares.
    pub email: Option<String>,
    /// Shown to others.
    pub full_name: Option<String>,
    /// Unique in the app by its digits.
    pub phone: Option<String>,
    /// A URL.
    pub website: Option<String>,
    /// The user's number in the app's own database; unique.
    pub external_user_id: Option<u64>,
    /// Unique.
    pub facebook_id: Option<String>,
    /// Unique.
    pub twitter_id: Option<String>,
    /// Unique.
    pub twitter_digits_id: Option<String>,
    /// The avatar, an id of the content module.
    pub blob_id: Option<u64>,
    /// Free text of the app.
    pub custom_data: Option<String>,
    /// Words to find users by.
    pub tags: Vec<String>,
    /// Consent flags that the record carries for the app.
    pub age_over16: Option<bool>,
    /// As above.
    pub allow_statistics_analysis: Option<bool>,
    /// As above.
    pub allow_sales_activities: Option<bool>,
    /// Free text.
    pub parents_contacts: Option<String>,
}

/// One field and its new value; `None` clears it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the field of the same name in Fields")]
pub enum Field {
    Login(Option<String>),
    Email(Option<String>),
    FullName(Option<String>),
    Phone(Option<String>),
    Website(Option<String>),
    ExternalUserId(Option<u64>),
    FacebookId(Option<String>),
    TwitterId(Option<String>),
    TwitterDigitsId(Option<String>),
    BlobId(Option<u64>),
    CustomData(Option<String>),
    Tags(Vec<String>),
    AgeOver16(Option<bool>),
    AllowStatisticsAnalysis(Option<bool>),
    AllowSalesActivities(Option<bool>),
    ParentsContacts(Option<String>),
}

impl Fields {
    /// Sets one field.
    pub fn set(&mut self, field: Field) {
        match field {
            Field::Login(v) => self.login = v,
            Field::Email(v) => self.email = v,
            Field::FullName(v) => self.full_name = v,
            Field::Phone(v) => self.phone = v,
            Field::Website(v) => self.website = v,
            Field::ExternalUserId(v) => self.external_user_id = v,
            Field::FacebookId(v) => self.facebook_id = v,
            Field::TwitterId(v) => self.twitter_id = v,
            Field::TwitterDigitsId(v) => self.twitter_digits_id = v,
            Field::BlobId(v) => self.blob_id = v,
            Field::CustomData(v) => self.custom_data = v,
            Field::Tags(v) => self.tags = v,
            Field::AgeOver16(v) => self.age_over16 = v,
            Field::AllowStatisticsAnalysis(v) => self.allow_statistics_analysis = v,
            Field::AllowSalesActivities(v) => self.allow_sales_activities = v,
            Field::ParentsContacts(v) => self.parents_contacts = v,
        }
    }

    /// The names that lead to this user, folded.
    pub fn names(&self) -> SmallVec<[Name; 4]> {
        let external = self.external_user_id.map(|id| id.to_string());
        [
            (NameKind::Login, self.login.as_deref()),
            (NameKind::Email, self.email.as_deref()),
            (NameKind::External, external.as_deref()),
            (NameKind::Facebook, self.facebook_id.as_deref()),
            (NameKind::Twitter, self.twitter_id.as_deref()),
            (NameKind::TwitterDigits, self.twitter_digits_id.as_deref()),
            (NameKind::Phone, self.phone.as_deref()),
        ]
        .into_iter()
        .filter_map(|(kind, text)| Name::fold(kind, text?))
        .collect()
    }
}

/// The names among some fields, folded.
pub fn names_in(fields: &[Field]) -> SmallVec<[Name; 4]> {
    let mut set = Fields::default();
    for field in fields {
        set.set(field.clone());
    }
    set.names()
}

/// What kind of name leads to a user. The number is part of keys on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the variants say it")]
pub enum NameKind {
    Login = 1,
    Email = 2,
    External = 3,
    Facebook = 4,
    Twitter = 5,
    TwitterDigits = 6,
    Phone = 7,
}

/// A name in the form in which it is compared.
#[derive(Clone, PartialEq, Eq)]
pub struct Name {
    /// What it is.
    pub kind: NameKind,
    /// The folded text; never empty.
    pub text: String,
}

impl Name {
    /// Brings a name into the form in which names are compared; `None` if nothing is left of it.
    ///
    /// Logins and e-mails ignore case: people capitalise them at random on phones, mail systems treat the addresses alike in
    /// practice, and `Bob` beside `bob` serves only who wants to be taken for another. Phones compare by their digits, so that
    /// `+1 (555) 010` and `1555010` are one. Ids of other systems are compared as they are.
    pub fn fold(kind: NameKind, text: &str) -> Option<Name> {
        let text: String = match kind {
            // Character by character: what a letter folds to must not depend on its neighbours (the final sigma).
            NameKind::Login | NameKind::Email => text.trim().chars().flat_map(char::to_lowercase).collect(),
            NameKind::Phone => text.chars().filter(char::is_ascii_digit).collect(),
            NameKind::External | NameKind::Facebook | NameKind::Twitter | NameKind::TwitterDigits => {
                text.trim().to_owned()
            }
        };
        (!text.is_empty()).then_some(Name { kind, text })
    }
}

/// A user's record in the directory of the app.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The user's number in the app; never used again for another.
    pub id: UserId,
    /// What the user may set.
    pub fields: Fields,
    /// When the user signed up.
    pub created_at: Timestamp,
    /// When a field changed last.
    pub updated_at: Timestamp,
    /// The last REST call or presence, within a minute; none before the first.
    pub last_request_at: Option<Timestamp>,
    /// Counts the changes; the account's copy has the number of the one it was made from.
    pub version: u64,
    /// Counts the passwords.
    pub secret_version: u64,
}

impl Profile {
    /// What the account keeps of it.
    pub fn card(&self) -> Card {
        Card {
            version: self.version,
            login: self.fields.login.clone(),
            full_name: self.fields.full_name.clone(),
            created_at: self.created_at,
        }
    }

    /// Reads a row of [`MEMBERS`](super::directory::MEMBERS).
    pub fn read(value: &[u8]) -> Result<Profile, Unreadable> {
        row::decode(VERSION, value)
    }

    pub(crate) fn row(&self) -> bytes::Bytes {
        row::encode(VERSION, self)
    }
}

/// Names, addresses and numbers of people stay out of logs.
macro_rules! private {
    ($($kind:ident),*) => {$(
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($kind), "(private)"))
            }
        }
    )*};
}

private!(Fields, Field, Name);

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({}, version {})", self.id, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(kind: NameKind, text: &str) -> Option<String> {
        Name::fold(kind, text).map(|name| name.text)
    }

    #[test]
    fn names_compare_as_people_mean_them() {
        assert_eq!(folded(NameKind::Login, " Bob "), Some("bob".to_owned()));
        assert_eq!(folded(NameKind::Email, "Bob@Example.COM"), Some("bob@example.com".to_owned()));
        assert_eq!(folded(NameKind::Login, "ΣΑΣ"), folded(NameKind::Login, "σασ"));
        assert_eq!(folded(NameKind::Phone, "+1 (555) 010"), Some("1555010".to_owned()));
        assert_eq!(folded(NameKind::Facebook, "AbC"), Some("AbC".to_owned()));
        assert_eq!(folded(NameKind::Login, " \t"), None);
        assert_eq!(folded(NameKind::Phone, "none"), None);
    }

    #[test]
    fn private_fields_do_not_show_in_debug_output() {
        let fields = Fields { email: Some("bob@example.com".to_owned()), ..Fields::default() };
        assert!(
            !format!("{fields:?} {:?} {:?}", fields.names(), Field::Email(fields.email.clone())).contains("example")
        );
    }
}
