//! What is stored instead of passwords and tokens, and how a secret is checked against it. RFC 5802 §3, RFC 7677.
//!
//! A user has one salt and one iteration count, for the password and for every token, because SCRAM tells the client a
//! single pair before it knows which of its secrets the client will use. [`ScramKeys::derive`], [`Credentials::new`],
//! [`Credentials::verify_password`] and [`check_plain`] cost a PBKDF2: call them where blocking is allowed.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use serde::de::{self, SeqAccess};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::Proof;
pub use crate::limits::TOKENS_PER_USER_MAX;

/// Rounds of PBKDF2. RFC 5802 §5.1 asks for 4096 at least, and that is what is used: tokens are 160 random bits, which no
/// count makes safer, and each login by PLAIN and each new session costs the server this many rounds.
pub const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("4096 is not zero");

/// Length of a salt, in bytes.
pub const SALT_BYTES: usize = 16;

/// Greatest length of a password, in bytes, before and after preparation.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// A password that cannot be one: empty, too long, or with characters that SASLprep forbids. RFC 4013.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a password has 1 to 1024 bytes, none of them control characters")]
pub struct PasswordUnusable;

/// Brings a password into the form in which clients hash it, by SASLprep.
pub fn prepare_password(password: &str) -> Result<Zeroizing<String>, PasswordUnusable> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordUnusable);
    }
    let prepared = stringprep::saslprep(password).map_err(|_| PasswordUnusable)?;
    let prepared = Zeroizing::new(prepared.into_owned());
    if prepared.is_empty() || prepared.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordUnusable);
    }
    Ok(prepared)
}

/// StoredKey and ServerKey for one hash of `N` bytes. RFC 5802 §3. From them a client's proof can be checked, but none
/// can be made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Keys<const N: usize> {
    pub(super) stored: [u8; N],
    pub(super) server: [u8; N],
}

/// The keys of one secret, a password or a token, for both hashes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramKeys {
    pub(super) sha1: Keys<20>,
    pub(super) sha256: Keys<32>,
}

impl ScramKeys {
    /// Derives the keys of a secret: two PBKDF2, so expensive. `secret` is a password from [`prepare_password`], or a
    /// token as it is.
    pub fn derive(secret: &str, salt: &[u8; SALT_BYTES], iterations: NonZeroU32) -> Self {
        Self { sha1: SHA_1.keys(secret, salt, iterations), sha256: SHA_256.keys(secret, salt, iterations) }
    }
}

/// The functions of one SCRAM hash.
pub(super) struct Hash<const N: usize> {
    pub(super) hmac: hmac::Algorithm,
    pub(super) digest: &'static digest::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

pub(super) static SHA_1: Hash<20> = Hash {
    hmac: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    digest: &digest::SHA1_FOR_LEGACY_USE_ONLY,
    pbkdf2: pbkdf2::PBKDF2_HMAC_SHA1,
};

pub(super) static SHA_256: Hash<32> =
    Hash { hmac: hmac::HMAC_SHA256, digest: &digest::SHA256, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256 };

impl<const N: usize> Hash<N> {
    /// RFC 5802 §3: StoredKey = H(HMAC(SaltedPassword, "Client Key")), ServerKey = HMAC(SaltedPassword, "Server Key").
    pub(super) fn keys(&self, secret: &str, salt: &[u8], iterations: NonZeroU32) -> Keys<N> {
        let salted = self.salted_password(secret, salt, iterations);
        let client = Zeroizing::new(self.mac(&salted[..], b"Client Key"));
        Keys { stored: self.hash(&client[..]), server: self.mac(&salted[..], b"Server Key") }
    }

    /// RFC 5802 §2.2: Hi(), which is PBKDF2 with one block of output.
    pub(super) fn salted_password(&self, secret: &str, salt: &[u8], iterations: NonZeroU32) -> Zeroizing<[u8; N]> {
        let mut salted = Zeroizing::new([0; N]);
        pbkdf2::derive(self.pbkdf2, iterations, salt, secret.as_bytes(), &mut salted[..]);
        salted
    }

    pub(super) fn mac(&self, key: &[u8], data: &[u8]) -> [u8; N] {
        let tag = hmac::sign(&hmac::Key::new(self.hmac, key), data);
        tag.as_ref().try_into().expect("each Hash names an algorithm with N bytes of output")
    }

    pub(super) fn hash(&self, data: &[u8]) -> [u8; N] {
        let digest = digest::digest(self.digest, data);
        digest.as_ref().try_into().expect("each Hash names an algorithm with N bytes of output")
    }
}

/// What is stored of a user for logging in. A user who only ever logs in with tokens has a salt and no keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) iterations: NonZeroU32,
    pub(super) keys: Option<ScramKeys>,
}

impl Credentials {
    /// Credentials for a password, which [`prepare_password`] has prepared. Expensive.
    pub fn new(prepared: &str, salt: [u8; SALT_BYTES], iterations: NonZeroU32) -> Self {
        let keys = Some(ScramKeys::derive(prepared, &salt, iterations));
        Self { salt, iterations, keys }
    }

    /// Credentials of a user without a password, whose tokens are derived with this salt.
    pub fn without_password(salt: [u8; SALT_BYTES], iterations: NonZeroU32) -> Self {
        Self { salt, iterations, keys: None }
    }

    /// What an account that does not exist seems to have: always the same salt for the same name, and keys that nobody
    /// knows a secret for. `username` is what was typed, so a name that no account can have works too.
    pub fn decoy(server_secret: &[u8; 32], username: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, server_secret);
        let derived = |purpose: &[u8]| {
            let mut context = hmac::Context::with_key(&key);
            context.update(purpose);
            context.update(username.as_bytes());
            <[u8; 32]>::try_from(context.sign().as_ref()).expect("SHA-256 gives 32 bytes")
        };
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&derived(b"decoy salt\0")[..SALT_BYTES]);
        let stored = derived(b"decoy stored\0");
        let server = derived(b"decoy server\0");
        let sha1 = |key: &[u8; 32]| *key.first_chunk().expect("20 is less than 32");
        let keys =
            ScramKeys { sha1: Keys { stored: sha1(&stored), server: sha1(&server) }, sha256: Keys { stored, server } };
        Self { salt, iterations: ITERATIONS, keys: Some(keys) }
    }

    /// The salt.
    pub fn salt(&self) -> &[u8; SALT_BYTES] {
        &self.salt
    }

    /// The rounds of PBKDF2.
    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Whether the user can log in with a password.
    pub fn has_password(&self) -> bool {
        self.keys.is_some()
    }

    /// What is stored of a session token of this user. Expensive.
    pub fn token_record(&self, token: &str) -> TokenRecord {
        TokenRecord { digest: TokenDigest::of(token), keys: ScramKeys::derive(token, &self.salt, self.iterations) }
    }

    /// Whether `prepared` is the password. Expensive, and as expensive without a password as with one.
    pub fn verify_password(&self, prepared: &str) -> bool {
        let given = SHA_256.keys(prepared, &self.salt, self.iterations);
        // A missing key is all zeros here, and does not count even if it were to match.
        let stored = self.keys.map_or([0; 32], |keys| keys.sha256.stored);
        bool::from(given.stored.ct_eq(&stored) & Choice::from(u8::from(self.has_password())))
    }
}

/// SHA-256 of a session token: cheap, because a token is random enough to need neither salt nor rounds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of a token.
    pub fn of(token: &str) -> Self {
        Self(SHA_256.hash(token.as_bytes()))
    }

    /// The digest's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// A live session token of a user, as far as logging in with it goes. The keys are derived with the user's salt.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    pub(super) digest: TokenDigest,
    pub(super) keys: ScramKeys,
}

impl TokenRecord {
    /// The token's digest.
    pub fn digest(&self) -> &TokenDigest {
        &self.digest
    }
}

/// A password that came by PLAIN and waits to be checked.
pub struct PlainCheck {
    raw: Zeroizing<String>,
    prepared: Zeroizing<String>,
}

impl PlainCheck {
    /// Takes what the client sent.
    pub(super) fn new(raw: &str) -> Result<Self, PasswordUnusable> {
        Ok(Self { prepared: prepare_password(raw)?, raw: Zeroizing::new(raw.to_owned()) })
    }
}

/// Which secret of the user came by PLAIN: a live token, the password, or none. The tokens are cheap to look at; if none
/// matches this costs a PBKDF2. Give the [decoy](Credentials::decoy) where there is no such user.
pub fn check_plain(check: &PlainCheck, credentials: &Credentials, tokens: &[TokenRecord]) -> Option<Proof> {
    let digest = TokenDigest::of(&check.raw);
    let is_token = tokens
        .iter()
        .take(TOKENS_PER_USER_MAX)
        .fold(Choice::from(0), |found, token| found | token.digest.0.ct_eq(&digest.0));
    if is_token.into() {
        return Some(Proof::Session);
    }
    credentials.verify_password(&check.prepared).then_some(Proof::Password)
}

/// 2 × N bytes and nothing else: StoredKey, then ServerKey.
impl<const N: usize> Serialize for Keys<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut tuple = to.serialize_tuple(2 * N)?;
        for byte in self.stored.iter().chain(&self.server) {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de, const N: usize> Deserialize<'de> for Keys<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_tuple(2 * N, KeysVisitor::<N>)
    }
}

struct KeysVisitor<const N: usize>;

impl<'de, const N: usize> de::Visitor<'de> for KeysVisitor<N> {
    type Value = Keys<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", 2 * N)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<Keys<N>, A::Error> {
        let mut keys = Keys { stored: [0; N], server: [0; N] };
        for (at, byte) in keys.stored.iter_mut().chain(&mut keys.server).enumerate() {
            *byte = bytes.next_element()?.ok_or_else(|| de::Error::invalid_length(at, &self))?;
        }
        Ok(keys)
    }
}

/// Secrets do not show in logs.
macro_rules! hidden {
    ($($kind:ident $(<$n:ident>)?),*) => {$(
        impl $(<const $n: usize>)? fmt::Debug for $kind $(<$n>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($kind), "(hidden)"))
            }
        }
    )*};
}

hidden!(Keys<N>, ScramKeys, Credentials, TokenDigest, TokenRecord, PlainCheck);

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: NonZeroU32 = NonZeroU32::new(2).unwrap();

    #[test]
    fn stores_nothing_but_the_numbers() {
        let credentials = Credentials::new("pencil", [1; SALT_BYTES], ITERATIONS);
        let token = credentials.token_record("token");
        let row = postcard::to_allocvec(&(&credentials, token)).unwrap();
        // Salt, rounds in two bytes, a tag, two pairs of keys; then a digest and two pairs of keys.
        assert_eq!(row.len(), 16 + 2 + 1 + 40 + 64 + 32 + 40 + 64);
        assert_eq!(postcard::from_bytes(&row), Ok((credentials, token)));
        let tokens_only = Credentials::without_password([1; SALT_BYTES], ITERATIONS);
        assert_eq!(postcard::to_allocvec(&tokens_only).unwrap().len(), 16 + 2 + 1);
    }

    #[test]
    fn refuses_a_stored_row_cut_short() {
        let row = postcard::to_allocvec(&Credentials::new("pencil", [1; SALT_BYTES], ROUNDS)).unwrap();
        for end in 0..row.len() {
            assert!(postcard::from_bytes::<Credentials>(&row[..end]).is_err(), "{end}");
        }
    }

    // RFC 5802 §5 and RFC 7677 §3 share their password.
    #[test]
    fn derives_the_keys_of_the_rfc() {
        let salt = super::super::payload::decode_strict(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salt: [u8; SALT_BYTES] = salt[..].try_into().unwrap();
        let credentials = Credentials::new("pencil", salt, ITERATIONS);
        assert!(credentials.verify_password("pencil"));
        assert!(!credentials.verify_password("Pencil"));
        let salted = SHA_256.salted_password("pencil", &salt, ITERATIONS);
        let expected = "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d";
        let shown: String = salted.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn matches_no_password_where_there_is_none() {
        let credentials = Credentials::without_password([1; SALT_BYTES], ROUNDS);
        assert!(!credentials.verify_password("pencil"));
        assert!(!credentials.verify_password(""));
        assert!(!credentials.has_password());
    }

    #[test]
    fn decoys_differ_by_name_and_by_server() {
        let decoy = Credentials::decoy(&[1; 32], "romeo");
        assert_eq!(decoy, Credentials::decoy(&[1; 32], "romeo"));
        assert_ne!(decoy.salt, Credentials::decoy(&[1; 32], "juliet").salt);
        assert_ne!(decoy.salt, Credentials::decoy(&[2; 32], "romeo").salt);
        assert!(decoy.has_password() && decoy.iterations() == ITERATIONS);
    }

    // RFC 4013 §3
    #[test]
    fn prepares_passwords_as_the_rfc_shows() {
        let good = [("I\u{ad}X", "IX"), ("user", "user"), ("USER", "USER"), ("\u{aa}", "a"), ("\u{2168}", "IX")];
        for (password, prepared) in good {
            assert_eq!(prepare_password(password).unwrap().as_str(), prepared);
        }
        let long = "a".repeat(PASSWORD_BYTES_MAX + 1);
        for password in ["\u{7}", "\u{627}1", "", "\u{ad}", &long] {
            assert!(prepare_password(password).is_err(), "{password:?}");
        }
    }

    #[test]
    fn knows_a_token_by_its_digest() {
        let digest = TokenDigest::of("token");
        assert!(digest.matches(&TokenDigest::of("token")));
        assert!(!digest.matches(&TokenDigest::of("Token")));
    }
}
