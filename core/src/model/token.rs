//! Session tokens: 40 hex digits that say which app they belong to and prove that their holder was let in.
//!
//! The first eight digits are the app, so that whoever gets a token knows whom to ask about it; the other 32 are 128 random
//! bits. Only the SHA-256 digest is stored: a copied database lets nobody in, and finding a digest by its key tells
//! nothing through timing that helps to guess a token.

use std::fmt;

use zeroize::Zeroizing;

use crate::effect::Random;
use crate::jid::user::AppId;
use crate::sasl::credentials::TokenDigest;

/// Length of a token, in hex digits.
pub const TOKEN_DIGITS: usize = 40;

const APP_DIGITS: usize = 8;
const RANDOM_BYTES: usize = (TOKEN_DIGITS - APP_DIGITS) / 2;

/// A token as the client has it. It does not show in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    app: AppId,
    text: Zeroizing<String>,
}

impl Token {
    /// A new token for a session of `app`.
    pub fn draw(app: AppId, random: &mut dyn Random) -> Token {
        let mut text = Zeroizing::new(String::with_capacity(TOKEN_DIGITS));
        push_hex(&mut text, &app.0.to_be_bytes());
        push_hex(&mut text, &random.array::<RANDOM_BYTES>());
        Token { app, text }
    }

    /// Reads exactly 40 lower-case hex digits; anything else was never given out.
    pub fn parse(text: &str) -> Option<Token> {
        let digits = text.len() == TOKEN_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !digits {
            return None;
        }
        let app = AppId(u32::from_str_radix(&text[..APP_DIGITS], 16).ok()?);
        Some(Token { app, text: Zeroizing::new(text.to_owned()) })
    }

    /// The app whose directory knows the session.
    pub fn app(&self) -> AppId {
        self.app
    }

    /// The 40 digits, for the one answer that gives them to the client and for deriving keys.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is stored of it.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(app {}, hidden)", self.app)
    }
}

/// Appends bytes as lower-case hex digits.
pub fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u8);

    impl Random for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0;
                self.0 = self.0.wrapping_add(1);
            }
        }
    }

    #[test]
    fn a_token_names_its_app_and_comes_back_from_its_text() {
        let token = Token::draw(AppId(92), &mut Counting(0xa0));
        assert_eq!(token.as_str(), "0000005ca0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
        let read = Token::parse(token.as_str()).expect("its own text");
        assert_eq!(read.app(), AppId(92));
        assert!(read.digest().matches(&token.digest()));
        assert!(!format!("{token:?}").contains("a0a1"));
    }

    #[test]
    fn only_forty_lower_case_digits_are_a_token() {
        let good = "0000005ca0a1a2a3a4a5a6a7a8a9aaabacadaeaf";
        for bad in [
            "",
            "0",
            &good[1..],
            &good.to_uppercase(),
            &format!("{good}0"),
            &good.replace('5', "\0"),
            &good.replace('5', "g"),
        ] {
            assert!(Token::parse(bad).is_none(), "{bad:?}");
        }
    }
}
