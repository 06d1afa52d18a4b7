//! SCRAM, the client's side (RFC 5802, RFC 7677), without channel binding.
//!
//! User names and passwords are taken as they come (the accounts of a measurement are ASCII, where SASLprep is the
//! identity). The slow part, PBKDF2, is remembered in [`SaltedPasswords`] so that a client which logs in a thousand
//! times leaves the machine to the server.

use std::collections::HashMap;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use thiserror::Error;

/// A server that asks for more rounds than this is refused.
pub const ITERATIONS_MAX: u32 = 1_000_000;

/// The hash a mechanism is named for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SCRAM-SHA-1.
    Sha1,
    /// SCRAM-SHA-256.
    Sha256,
}

impl Hash {
    fn hmac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), text).as_ref().to_vec()
    }

    fn digest(self, text: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
        };
        digest::digest(algorithm, text).as_ref().to_vec()
    }

    fn salted(self, password: &str, salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        let (algorithm, length) = match self {
            Hash::Sha1 => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
            Hash::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
        };
        let mut key = vec![0; length];
        pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), &mut key);
        key
    }
}

/// Salted passwords already worked out, by everything they depend on.
#[derive(Default)]
pub struct SaltedPasswords(HashMap<(Hash, String, Vec<u8>, u32), Vec<u8>>);

/// What a server did wrong in the exchange.
#[derive(Debug, Error)]
pub enum ScramError {
    /// A message without the fields RFC 5802 §5.1 asks for.
    #[error("the server's SCRAM message cannot be read")]
    Malformed,
    /// The nonce does not begin with ours.
    #[error("the server's nonce does not continue ours")]
    Nonce,
    /// Zero rounds or more than [`ITERATIONS_MAX`].
    #[error("the server asks for {0} iterations")]
    Iterations(u32),
    /// The server does not know the password.
    #[error("the server's signature is wrong")]
    Signature,
}

/// One login under way.
pub struct Scram {
    hash: Hash,
    first_bare: String,
    nonce: String,
    expected: Vec<u8>,
}

impl Scram {
    /// Begins with a nonce of 18 random bytes.
    pub fn new(hash: Hash, user: &str) -> Self {
        let mut random = [0; 18];
        rand::fill(&mut random).expect("the operating system gives random bytes");
        Self::with_nonce(hash, user, BASE64.encode(random))
    }

    fn with_nonce(hash: Hash, user: &str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { hash, first_bare: format!("n={user},r={nonce}"), nonce, expected: Vec::new() }
    }

    /// The text of the initial response, before base64.
    pub fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// Answers the server's first message; both before base64.
    pub fn answer(
        &mut self,
        challenge: &str,
        password: &str,
        known: &mut SaltedPasswords,
    ) -> Result<String, ScramError> {
        let field =
            |key: &str| challenge.split(',').find_map(|part| part.strip_prefix(key)).ok_or(ScramError::Malformed);
        let nonce = field("r=")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::Nonce);
        }
        let salt = BASE64.decode(field("s=")?).map_err(|_| ScramError::Malformed)?;
        let rounds: u32 = field("i=")?.parse().map_err(|_| ScramError::Malformed)?;
        let iterations =
            NonZeroU32::new(rounds).filter(|n| n.get() <= ITERATIONS_MAX).ok_or(ScramError::Iterations(rounds))?;

        let hash = self.hash;
        let salted = known
            .0
            .entry((hash, password.to_owned(), salt, rounds))
            .or_insert_with_key(|(_, password, salt, _)| hash.salted(password, salt, iterations));
        let client_key = hash.hmac(salted, b"Client Key");
        let server_key = hash.hmac(salted, b"Server Key");
        // "biws" is the gs2 header "n,," in base64.
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{challenge},{without_proof}", self.first_bare);
        let signature = hash.hmac(&hash.digest(&client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, sign)| key ^ sign).collect();
        self.expected = hash.hmac(&server_key, signed.as_bytes());
        Ok(format!("{without_proof},p={}", BASE64.encode(proof)))
    }

    /// Checks the server's last message, before base64.
    pub fn check(&self, last: &str) -> Result<(), ScramError> {
        let signature = last.split(',').find_map(|part| part.strip_prefix("v=")).ok_or(ScramError::Malformed)?;
        let signature = BASE64.decode(signature).map_err(|_| ScramError::Malformed)?;
        if self.expected.is_empty() {
            return Err(ScramError::Signature);
        }
        constant_time::verify_slices_are_equal(&signature, &self.expected).map_err(|_| ScramError::Signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Vector {
        hash: Hash,
        nonce: &'static str,
        first: &'static str,
        challenge: &'static str,
        answer: &'static str,
        last: &'static str,
    }

    const VECTORS: [Vector; 2] = [
        // RFC 5802 §5.
        Vector {
            hash: Hash::Sha1,
            nonce: "fyko+d2lbbFgONRv9qkxdawL",
            first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            challenge: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            answer: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            last: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        },
        // RFC 7677 §3.
        Vector {
            hash: Hash::Sha256,
            nonce: "rOprNGfwEbeRWgbNEkqO",
            first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            challenge: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            answer: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            last: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        },
    ];

    #[test]
    fn speaks_the_exchanges_of_the_rfcs() {
        for vector in &VECTORS {
            let mut known = SaltedPasswords::default();
            let mut scram = Scram::with_nonce(vector.hash, "user", vector.nonce.into());
            assert_eq!(scram.first(), vector.first);
            assert_eq!(scram.answer(vector.challenge, "pencil", &mut known).unwrap(), vector.answer);
            scram.check(vector.last).unwrap();
            // A second time from what is remembered.
            let mut again = Scram::with_nonce(vector.hash, "user", vector.nonce.into());
            assert_eq!(again.answer(vector.challenge, "pencil", &mut known).unwrap(), vector.answer);
            assert_eq!(known.0.len(), 1);
        }
    }

    #[test]
    fn refuses_a_server_that_does_not_know_the_password() {
        let vector = &VECTORS[0];
        let mut scram = Scram::with_nonce(vector.hash, "user", vector.nonce.into());
        assert!(scram.check(vector.last).is_err());
        scram.answer(vector.challenge, "wrong", &mut SaltedPasswords::default()).unwrap();
        assert!(matches!(scram.check(vector.last), Err(ScramError::Signature)));
        assert!(matches!(scram.check("e=other-error"), Err(ScramError::Malformed)));
    }

    #[test]
    fn refuses_foreign_nonces_and_absurd_work() {
        let answer = |challenge: &str| {
            Scram::with_nonce(Hash::Sha1, "user", "abc".into()).answer(
                challenge,
                "pencil",
                &mut SaltedPasswords::default(),
            )
        };
        assert!(matches!(answer("r=abd1,s=QSXC,i=4096"), Err(ScramError::Nonce)));
        assert!(matches!(answer("r=abc,s=QSXC,i=4096"), Err(ScramError::Nonce)));
        assert!(matches!(answer("r=abc1,s=QSXC,i=0"), Err(ScramError::Iterations(0))));
        assert!(matches!(answer("r=abc1,s=QSXC,i=99999999"), Err(ScramError::Iterations(_))));
        assert!(matches!(answer("r=abc1,i=4096"), Err(ScramError::Malformed)));
    }

    #[test]
    fn escapes_commas_and_equals_signs_in_names() {
        let scram = Scram::with_nonce(Hash::Sha1, "a=b,c", "x".into());
        assert_eq!(scram.first(), "n,,n=a=3Db=2Cc,r=x");
    }
}
