//! No payload logs anybody in but the right one, and every payload has an answer.
//!
//! The one account has the password [`PASSWORD`], and its client a token for each mechanism. The target also plays an honest client of SCRAM, and one whose last message was
//! changed on the way: the first must succeed and know its server, the second must not.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use proto::jid::{AppId, Domain, UserId};
use proto::owner::AccountId;
use proto::sasl::{
    AwaitResponse, ChannelBindings, Credentials, HashedToken, NONCE_BYTES, Offer, Proof, SaslCondition, Seed, Step,
    TokenKept, check_plain, payload, prepare_password, start, start_with_token,
};

const PASSWORD: &str = "pencil";
const SALT: [u8; 16] = *b"sixteen of salt!";
/// As few as can be: nothing here depends on how slow it is.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN;
/// More than a mechanism has, and the one after it refused.
const MESSAGES_MAX: usize = 6;

const MECHANISMS: [&str; 8] =
    ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "plain", "", "ANONYMOUS"];

/// What the first byte of the input chooses.
#[derive(Clone, Copy)]
struct Choice(u8);

impl Choice {
    fn mechanism(self) -> &'static str {
        MECHANISMS[usize::from(self.0 & 7)]
    }

    fn encrypted(self) -> bool {
        self.0 & 8 != 0
    }

    fn exporter(self) -> bool {
        self.0 & 16 != 0
    }

    /// Whether the messages come as base64, as on the wire.
    fn encoded(self) -> bool {
        self.0 & 32 != 0
    }

    /// Whether the client shows a token, with the mechanism that the first bits choose.
    fn token(self) -> Option<HashedToken> {
        (self.0 & 128 != 0).then(|| HashedToken::ALL[usize::from(self.0 & 7) % HashedToken::ALL.len()])
    }

    /// Whether the first message is what a real client sends, and the next what it would answer.
    fn honest(self) -> bool {
        self.0 & 64 != 0
    }
}

/// A byte that chooses, then messages, each on a line. An honest client needs none; with a line, its bytes say what to change.
pub fn run(data: &[u8]) {
    let &[choice, ref messages @ ..] = data else { return };
    let choice = Choice(choice);
    let domain = Domain::parse("localhost").expect("localhost is a domain");
    let bindings = ChannelBindings { exporter: choice.exporter().then_some([7; 32]), server_end_point: None };
    let offer = Offer {
        domain: &domain,
        from: None,
        encrypted: choice.encrypted(),
        plain_unencrypted: false,
        bindings: &bindings,
    };
    let exchange = Exchange { choice, offer, credentials: Credentials::new(PASSWORD, SALT, ROUNDS) };
    if let Some(mechanism) = choice.token() {
        exchange.token(mechanism, messages);
    } else if choice.honest() && choice.mechanism().starts_with("SCRAM") {
        exchange.honest(messages);
    } else {
        exchange.hostile(messages);
    }
}

struct Exchange<'a> {
    choice: Choice,
    offer: Offer<'a>,
    credentials: Credentials,
}

impl Exchange<'_> {
    /// Sends whatever there is.
    fn hostile(&self, messages: &[u8]) {
        let mut messages = messages.split(|byte| *byte == b'\n').take(MESSAGES_MAX).map(|line| self.decoded(line));
        let initial = match messages.next() {
            Some(Ok(initial)) => initial,
            Some(Err(_)) | None => return,
        };
        let mut last = initial.clone().unwrap_or_default();
        let mut step = start(self.choice.mechanism(), initial.as_deref(), &self.offer, [3; NONCE_BYTES]);
        loop {
            step = match step {
                Step::Challenge { message, next } => {
                    assert!(message.is_ascii());
                    let Some(Ok(answer)) = messages.next() else { return };
                    last = answer.unwrap_or_default();
                    next.respond(&last)
                }
                Step::NeedCredentials(next) => {
                    assert!(!next.username().is_empty());
                    let credentials = if next.account().is_some() {
                        self.credentials.clone()
                    } else {
                        Credentials::decoy(&[0; 32], next.username())
                    };
                    next.resume(&credentials, &[])
                }
                Step::NeedPasswordCheck { check, next } => {
                    assert!(self.choice.encrypted(), "a password is not taken in the clear");
                    let matches = check_plain(&check, &self.credentials, &[]);
                    next.resume(matches)
                }
                Step::NeedTokens(_) => panic!("none of these mechanisms shows a token"),
                Step::Success { who, .. } => {
                    // A proof cannot be guessed; a password can, if it is in the input.
                    assert_eq!(self.choice.mechanism(), "PLAIN");
                    let text = std::str::from_utf8(&last).expect("PLAIN is text");
                    let fields: Vec<_> = text.split('\0').collect();
                    let &[authzid, authcid, password] = fields.as_slice() else { panic!("PLAIN has three fields") };
                    assert_eq!(prepare_password(password).map(|it| it.as_str() == PASSWORD), Ok(true));
                    let jid = who.account().at(self.offer.domain);
                    let authcid = authcid.to_lowercase();
                    assert!(authcid.split('@').next() == jid.local() || !authcid.is_ascii());
                    assert!(
                        authzid.is_empty()
                            || !authzid.is_ascii()
                            || jid == authzid.to_lowercase().trim_end_matches('.')
                    );
                    return;
                }
                Step::Failure(_) => return,
            };
        }
    }

    /// Shows a token: what is in the input, or what an honest client makes of one, with a byte changed if there is more.
    fn token(&self, mechanism: HashedToken, input: &[u8]) {
        const SECRET: [u8; 32] = [5; 32];
        let account = AccountId { app: AppId(92), user: UserId(55) };
        let seeds = [1, 2].map(|n| Seed::new([n; 16]));
        let kept = seeds.map(|seed| TokenKept { seed, mechanism, expired: false });
        let binding: &[u8] = match mechanism {
            HashedToken::Exporter => &[7; 32],
            HashedToken::EndPoint | HashedToken::Unbound => &[],
        };
        let token = seeds[1].token(&SECRET, account);
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        let tag = |who: &[u8]| hmac::sign(&key, &[who, binding].concat()).as_ref().to_vec();
        let mut message =
            if self.choice.honest() { [b"55-92\0", &tag(b"Initiator")[..]].concat() } else { input.to_vec() };
        let mut is_right = self.choice.honest();
        if let (true, &[low, high, flip, ..]) = (is_right, input) {
            let at = usize::from(u16::from_le_bytes([low, high])) % message.len();
            message[at] ^= flip.max(1);
            // The name may be written in other ways, and then it is still right.
            is_right = false;
        }
        match start_with_token(mechanism, Some(&message), &self.offer) {
            Step::NeedTokens(next) => match next.resume(&kept, &SECRET) {
                Step::Success { who, proof, additional } => {
                    assert_eq!((who.account(), proof), (account, Proof::Token(seeds[1])));
                    assert_eq!(additional, tag(b"Responder"), "the server proves itself too");
                    assert!(message.ends_with(&tag(b"Initiator")));
                }
                Step::Failure(_) => assert!(!is_right, "the right token is refused"),
                other => panic!("a token is right or wrong at once: {other:?}"),
            },
            Step::Failure(condition) => {
                let lacks = !self.choice.encrypted() || binding.is_empty() != (mechanism == HashedToken::Unbound);
                let lacks = lacks || mechanism == HashedToken::Exporter && !self.choice.exporter();
                assert!(!is_right || lacks, "{condition:?}");
            }
            other => panic!("the first message is the only one: {other:?}"),
        }
    }

    /// The message in a line; what cannot be read is answered without the mechanism.
    fn decoded(&self, line: &[u8]) -> Result<Option<Vec<u8>>, SaslCondition> {
        if !self.choice.encoded() {
            return Ok(Some(line.to_vec()));
        }
        let message = payload::decode(line)?.map(|message| message.to_vec());
        if let Some(message) = message.as_ref().filter(|message| !message.is_empty()) {
            assert_eq!(payload::encode(message).as_bytes(), line, "one text for one value");
        }
        Ok(message)
    }

    /// Logs in as clients do, and once more with a byte of the last message changed: `change` says which, and how.
    fn honest(&self, change: &[u8]) {
        let Some((client, next)) = self.after_first() else {
            assert!(self.choice.mechanism().ends_with("-PLUS") && !self.choice.exporter());
            return;
        };
        let (last, signature) = client.last();
        match next.respond(last.as_bytes()) {
            Step::Success { who, additional, .. } => {
                assert_eq!(who.account().local(), "55-92");
                assert_eq!(additional, format!("v={signature}").as_bytes(), "the server proves itself too");
            }
            other => panic!("the right password is refused: {other:?}"),
        }
        let &[low, high, flip, ..] = change else { return };
        let mut last = last.into_bytes();
        let at = usize::from(u16::from_le_bytes([low, high])) % last.len();
        last[at] ^= flip.max(1);
        let (_, next) = self.after_first().expect("as before");
        assert!(matches!(next.respond(&last), Step::Failure(_)), "byte {at} was changed");
    }

    /// The exchange when the client has the server's first message.
    fn after_first(&self) -> Option<(Client, AwaitResponse)> {
        let plus = self.choice.mechanism().ends_with("-PLUS");
        let header = if plus { "p=tls-exporter,," } else { "n,," };
        let bare = "n=55-92,r=from-the-client";
        let first = format!("{header}{bare}");
        let step = start(self.choice.mechanism(), Some(first.as_bytes()), &self.offer, [3; NONCE_BYTES]);
        let Step::NeedCredentials(next) = step else { return None };
        let Step::Challenge { message, next } = next.resume(&self.credentials, &[]) else {
            panic!("rows lead to a challenge")
        };
        let mut binding = header.as_bytes().to_vec();
        if plus {
            binding.extend([7; 32]);
        }
        let server_first = String::from_utf8(message).expect("SCRAM is text");
        let (algorithms, bare) = (Algorithms::of(self.choice.mechanism()), bare.to_owned());
        Some((Client { algorithms, bare, server_first, binding: payload::encode(&binding) }, next))
    }
}

/// The functions of one SCRAM hash, called here and not in `proto`.
struct Algorithms {
    hmac: hmac::Algorithm,
    digest: &'static digest::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

impl Algorithms {
    fn of(mechanism: &str) -> Algorithms {
        if mechanism.contains("SHA-256") {
            Algorithms { hmac: hmac::HMAC_SHA256, digest: &digest::SHA256, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256 }
        } else {
            Algorithms {
                hmac: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                digest: &digest::SHA1_FOR_LEGACY_USE_ONLY,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA1,
            }
        }
    }

    fn mac(&self, key: &[u8], data: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac, key), data).as_ref().to_vec()
    }
}

/// The client's side of RFC 5802 §3.
struct Client {
    algorithms: Algorithms,
    bare: String,
    server_first: String,
    binding: String,
}

impl Client {
    /// client-final-message, and the signature that the server has to know.
    fn last(&self) -> (String, String) {
        let nonce = self.server_first.split(',').next().expect("the nonce comes first");
        let without_proof = format!("c={},{nonce}", self.binding);
        let auth_message = format!("{},{},{without_proof}", self.bare, self.server_first);
        let mut salted = vec![0; self.algorithms.digest.output_len()];
        pbkdf2::derive(self.algorithms.pbkdf2, ROUNDS, &SALT, PASSWORD.as_bytes(), &mut salted);
        let client_key = self.algorithms.mac(&salted, b"Client Key");
        let stored_key = digest::digest(self.algorithms.digest, &client_key);
        let client_signature = self.algorithms.mac(stored_key.as_ref(), auth_message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&client_signature).map(|(key, mask)| key ^ mask).collect();
        let server_key = self.algorithms.mac(&salted, b"Server Key");
        let signature = self.algorithms.mac(&server_key, auth_message.as_bytes());
        (format!("{without_proof},p={}", payload::encode(&proof)), payload::encode(&signature))
    }
}
