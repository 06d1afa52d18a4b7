//! SCRAM (RFC 5802, RFC 7677) from the client's side, written apart from the server's so that one can catch the other.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// One exchange with SCRAM-SHA-256 or its -PLUS form.
pub struct Exchange {
    gs2: String,
    binding: Vec<u8>,
    bare: String,
    nonce: String,
}

impl Exchange {
    /// `binding` is the name and the data of the channel binding; without it the header says "n".
    pub fn new(user: &str, nonce: &str, binding: Option<(&str, &[u8])>) -> Self {
        let gs2 = binding.map_or_else(|| "n,,".to_owned(), |(name, _)| format!("p={name},,"));
        Self {
            gs2,
            binding: binding.map(|(_, data)| data.to_vec()).unwrap_or_default(),
            bare: format!("n={user},r={nonce}"),
            nonce: nonce.to_owned(),
        }
    }

    /// The text of `<auth/>`.
    pub fn first(&self) -> String {
        BASE64.encode(format!("{}{}", self.gs2, self.bare))
    }

    /// The text of `<response/>`, and the text that `<success/>` must then have.
    pub fn last(&self, challenge: &str, password: &str) -> (String, String) {
        let challenge = BASE64.decode(challenge).expect("a challenge is base64");
        let challenge = String::from_utf8(challenge).expect("a challenge is text");
        let field = |name: &str| {
            let found = challenge.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("no {name} in {challenge}"))
        };
        assert!(field("r").starts_with(&self.nonce), "the server did not extend our nonce: {challenge}");
        let salt = BASE64.decode(field("s")).expect("a salt is base64");
        let iterations: NonZeroU32 = field("i").parse().expect("a count of iterations is a number");

        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password.as_bytes(), &mut salted);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let bound = BASE64.encode([self.gs2.as_bytes(), &self.binding].concat());
        let without_proof = format!("c={bound},r={}", field("r"));
        let signed = format!("{},{challenge},{without_proof}", self.bare);
        let signature = sign(stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, mask)| key ^ mask).collect();
        let server_signature = sign(&sign(&salted, b"Server Key"), signed.as_bytes());
        (
            BASE64.encode(format!("{without_proof},p={}", BASE64.encode(proof))),
            BASE64.encode(format!("v={}", BASE64.encode(server_signature))),
        )
    }
}

fn sign(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_example_of_rfc_7677() {
        // RFC 7677 §3: user "user", password "pencil".
        let exchange = Exchange::new("user", "rOprNGfwEbeRWgbNEkqO", None);
        assert_eq!(exchange.first(), BASE64.encode("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"));
        let challenge =
            BASE64.encode("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let (response, success) = exchange.last(&challenge, "pencil");
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(response, BASE64.encode(expected));
        assert_eq!(success, BASE64.encode("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }
}
