//! Whole exchanges, with a client of our own on the other side.

use super::credentials::{Hash, SHA_1, SHA_256};
use super::*;
use std::num::NonZeroU32;

const ROUNDS: NonZeroU32 = NonZeroU32::new(8).unwrap();
const SALT: [u8; 16] = *b"salt of 16 bytes";
const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];
const SECRET: [u8; 32] = [9; 32];
const PASSWORD: &str = "correct horse";
const TOKEN: &str = "2a94e9b1c0d3f4a5b6c7d8e9f0a1b2c3d4e5f607";
const ROMEO: AccountId = AccountId { app: AppId(92), user: UserId(55) };

const SCRAM: [Mechanism; 4] =
    [Mechanism::ScramSha256Plus, Mechanism::ScramSha1Plus, Mechanism::ScramSha256, Mechanism::ScramSha1];

/// The server of one connection: its offer and its rows.
struct World {
    domain: Domain,
    bindings: ChannelBindings,
    encrypted: bool,
    from: Option<&'static str>,
    credentials: Credentials,
    tokens: Vec<TokenRecord>,
}

impl World {
    /// Romeo has a password and a token; the connection is over TLS.
    fn new() -> Self {
        let credentials = Credentials::new(PASSWORD, SALT, ROUNDS);
        Self {
            domain: Domain::parse("chat.example").unwrap(),
            bindings: ChannelBindings { exporter: Some([3; 32]), server_end_point: Some(vec![4; 48]) },
            encrypted: true,
            from: None,
            tokens: vec![credentials.token_record("older"), credentials.token_record(TOKEN)],
            credentials,
        }
    }

    fn without_tls() -> Self {
        Self { bindings: ChannelBindings::NONE, encrypted: false, ..Self::new() }
    }

    fn offer(&self) -> Offer<'_> {
        Offer {
            domain: &self.domain,
            from: self.from,
            encrypted: self.encrypted,
            plain_unencrypted: false,
            bindings: &self.bindings,
        }
    }

    fn start(&self, mechanism: Mechanism, initial: &str) -> Step {
        start(mechanism.name(), Some(initial.as_bytes()), &self.offer(), NONCE)
    }

    /// What a driver does: the account's rows, or the decoy.
    fn drive(&self, step: Step) -> Step {
        match step {
            Step::NeedCredentials(next) if next.account() == Some(ROMEO) => {
                next.resume(&self.credentials, &self.tokens)
            }
            Step::NeedCredentials(next) => {
                let decoy = Credentials::decoy(&SECRET, next.username());
                next.resume(&decoy, &[])
            }
            Step::NeedPasswordCheck { check, next } if next.account() == Some(ROMEO) => {
                let matches = check_plain(&check, &self.credentials, &self.tokens);
                next.resume(matches)
            }
            Step::NeedPasswordCheck { check, next } => {
                let decoy = Credentials::decoy(&SECRET, next.username());
                next.resume(check_plain(&check, &decoy, &[]))
            }
            done @ (Step::Challenge { .. } | Step::NeedTokens(_) | Step::Success { .. } | Step::Failure(_)) => done,
        }
    }

    fn plain(&self, message: &str) -> Step {
        self.drive(self.start(Mechanism::Plain, message))
    }

    /// A whole SCRAM login. `header` is what the client sends first and `binding` what it takes the connection to be.
    fn scram(&self, mechanism: Mechanism, header: &str, binding: &[u8], name: &str, secret: &str) -> Step {
        let bare = format!("n={name},r=client-nonce");
        let first = format!("{header}{bare}");
        let (server_first, next) = challenge(self.drive(self.start(mechanism, &first)));
        let (salt, rounds, nonce) = server_first_fields(&server_first);
        let binding = payload::encode(&[header.as_bytes(), binding].concat());
        let without_proof = format!("c={binding},r={nonce}");
        let auth_message = format!("{bare},{server_first},{without_proof}");
        let (proof, verifier) = match mechanism {
            Mechanism::ScramSha256Plus | Mechanism::ScramSha256 => {
                prove(&SHA_256, secret, &salt, rounds, &auth_message)
            }
            Mechanism::ScramSha1Plus | Mechanism::ScramSha1 => prove(&SHA_1, secret, &salt, rounds, &auth_message),
            Mechanism::Plain => unreachable!("not a SCRAM"),
        };
        let step = next.respond(format!("{without_proof},p={proof}").as_bytes());
        if let Step::Success { additional, .. } = &step {
            assert_eq!(additional, format!("v={verifier}").as_bytes(), "{mechanism:?}");
        }
        step
    }
}

fn challenge(step: Step) -> (String, AwaitResponse) {
    match step {
        Step::Challenge { message, next } => (String::from_utf8(message).unwrap(), next),
        other => panic!("expected a challenge, got {other:?}"),
    }
}

fn server_first_fields(message: &str) -> (Vec<u8>, NonZeroU32, String) {
    let fields: Vec<_> = message.split(',').collect();
    let [nonce, salt, rounds] = fields[..] else { panic!("{message}") };
    (
        payload::decode_strict(salt.strip_prefix("s=").unwrap().as_bytes()).unwrap().to_vec(),
        rounds.strip_prefix("i=").unwrap().parse().unwrap(),
        nonce.strip_prefix("r=").unwrap().to_owned(),
    )
}

/// The client's side of RFC 5802 §3: its proof, and the server's signature that it expects.
fn prove<const N: usize>(
    hash: &Hash<N>,
    secret: &str,
    salt: &[u8],
    rounds: NonZeroU32,
    auth_message: &str,
) -> (String, String) {
    let salted = hash.salted_password(secret, salt, rounds);
    let client_key = hash.mac(&salted[..], b"Client Key");
    let signature = hash.mac(&hash.hash(&client_key), auth_message.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let server_key = hash.mac(&salted[..], b"Server Key");
    let verifier = hash.mac(&server_key, auth_message.as_bytes());
    (payload::encode(&proof), payload::encode(&verifier))
}

/// A header and the binding that belongs to it.
fn bound(mechanism: Mechanism) -> (&'static str, &'static [u8]) {
    match mechanism {
        Mechanism::ScramSha256Plus => ("p=tls-exporter,,", &[3; 32]),
        Mechanism::ScramSha1Plus => ("p=tls-server-end-point,,", &[4; 48]),
        Mechanism::ScramSha256 | Mechanism::ScramSha1 | Mechanism::Plain => ("n,,", &[]),
    }
}

fn assert_in(step: Step) {
    match step {
        Step::Success { who, .. } => assert_eq!(who, Authenticated::in_test(ROMEO)),
        other => panic!("expected success, got {other:?}"),
    }
}

#[track_caller]
fn assert_failure(step: Step, condition: SaslCondition) {
    match step {
        Step::Failure(found) => assert_eq!(found, condition),
        other => panic!("expected {condition:?}, got {other:?}"),
    }
}

#[test]
fn offers_what_the_connection_can_do_the_strongest_first() {
    let names = |world: &World| mechanisms(&world.offer()).collect::<Vec<_>>();
    let mut world = World::new();
    let all = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"];
    assert_eq!(names(&world), all);
    world.bindings = ChannelBindings::NONE;
    assert_eq!(names(&world), all[2..]);
    world.encrypted = false;
    assert_eq!(names(&world), all[2..4]);
    let offer = Offer { plain_unencrypted: true, ..world.offer() };
    assert_eq!(mechanisms(&offer).collect::<Vec<_>>(), all[2..]);
}

#[test]
fn refuses_what_it_did_not_offer() {
    let world = World::without_tls();
    let begin = |name| start(name, Some(b"\x0055-92\0pw"), &world.offer(), NONCE);
    assert_failure(begin("PLAIN"), SaslCondition::EncryptionRequired);
    for name in ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "ANONYMOUS", "plain", "", "DIGEST-MD5"] {
        assert_failure(begin(name), SaslCondition::InvalidMechanism);
    }
}

#[test]
fn lets_in_by_password_and_by_token_with_every_mechanism() {
    let world = World::new();
    for secret in [PASSWORD, TOKEN, "older"] {
        assert_in(world.plain(&format!("\x0055-92\0{secret}")));
        for mechanism in SCRAM {
            let (header, binding) = bound(mechanism);
            assert_in(world.scram(mechanism, header, binding, "55-92", secret));
        }
    }
}

#[test]
fn lets_in_a_user_who_only_has_tokens() {
    let mut world = World::new();
    world.credentials = Credentials::without_password(SALT, ROUNDS);
    assert_in(world.plain(&format!("\x0055-92\0{TOKEN}")));
    assert_in(world.scram(Mechanism::ScramSha1, "n,,", b"", "55-92", TOKEN));
    assert_failure(world.plain(&format!("\x0055-92\0{PASSWORD}")), SaslCondition::NotAuthorized);
}

#[test]
fn looks_at_a_bounded_number_of_tokens() {
    let mut world = World::new();
    let other = world.credentials.token_record("other");
    world.tokens = vec![other; credentials::TOKENS_PER_USER_MAX - 1];
    world.tokens.push(world.credentials.token_record(TOKEN));
    assert_in(world.plain(&format!("\x0055-92\0{TOKEN}")));
    assert_in(world.scram(Mechanism::ScramSha256, "n,,", b"", "55-92", TOKEN));
    world.tokens.insert(0, other);
    let step = world.plain(&format!("\x0055-92\0{TOKEN}"));
    assert_failure(step, SaslCondition::NotAuthorized);
    let step = world.scram(Mechanism::ScramSha256, "n,,", b"", "55-92", TOKEN);
    assert_failure(step, SaslCondition::NotAuthorized);
}

#[test]
fn takes_the_bare_jid_for_a_name() {
    let world = World::new();
    for name in ["55-92", "55-92@chat.example", "55-92@CHAT.EXAMPLE.", "５５-92"] {
        assert_in(world.plain(&format!("\0{name}\0{PASSWORD}")));
        assert_in(world.scram(Mechanism::ScramSha256, "n,,", b"", name, PASSWORD));
    }
}

// RFC 6120 §6.5.6
#[test]
fn lets_nobody_act_for_somebody_else() {
    let world = World::new();
    for authzid in ["55-92@chat.example", "55-92@Chat.Example."] {
        assert_in(world.plain(&format!("{authzid}\x0055-92\0{PASSWORD}")));
        let header = format!("n,a={authzid},");
        assert_in(world.scram(Mechanism::ScramSha256, &header, b"", "55-92", PASSWORD));
    }
    let others = [
        "56-92@chat.example",
        "55-92",
        "55-92@chat.example/phone",
        "55-92@other.example",
        "chat.example",
        "55-92@",
        "@chat.example",
        " ",
        "admin@chat.example",
    ];
    for authzid in others {
        // The same for a right password, a wrong one, and a name that nobody has.
        for rest in ["55-92\0correct horse", "55-92\0wrong", "1-1\0wrong"] {
            let step = world.plain(&format!("{authzid}\0{rest}"));
            assert_failure(step, SaslCondition::InvalidAuthzid);
        }
        let step = world.start(Mechanism::ScramSha256, &format!("n,a={authzid},n=55-92,r=x"));
        assert_failure(step, SaslCondition::InvalidAuthzid);
    }
}

// S06
#[test]
fn treats_an_unknown_name_like_a_wrong_password() {
    let world = World::new();
    let long = "x".repeat(1100);
    let names = ["55-92", "56-92", "romeo", "55-92@other.example", "55-92@chat.example/x", "a b", "055-92", &long];
    for name in names {
        assert_failure(world.plain(&format!("\0{name}\0wrong")), SaslCondition::NotAuthorized);
        for mechanism in SCRAM {
            let (header, binding) = bound(mechanism);
            let step = world.scram(mechanism, header, binding, name, "wrong");
            assert_failure(step, SaslCondition::NotAuthorized);
        }
    }
}

// S06
#[test]
fn shows_an_unknown_name_the_same_salt_each_time() {
    let world = World::new();
    let salt_of = |name: &str| {
        let step = world.start(Mechanism::ScramSha256, &format!("n,,n={name},r=x"));
        let (message, _) = challenge(world.drive(step));
        let (salt, rounds, _) = server_first_fields(&message);
        (salt, (name != "55-92").then_some(rounds))
    };
    assert_eq!(salt_of("56-92"), salt_of("56-92"));
    // Spellings of a real name share its salt, so those of a decoy do.
    assert_eq!(salt_of("56-92"), salt_of("56-92@chat.example"));
    assert_ne!(salt_of("56-92").0, salt_of("57-92").0);
    assert_eq!(salt_of("56-92").0.len(), salt_of("55-92").0.len());
    assert_eq!(salt_of("56-92").1, Some(ITERATIONS));
}

#[test]
fn asks_for_a_first_message_that_was_left_out() {
    let world = World::new();
    let (empty, next) = challenge(start("PLAIN", None, &world.offer(), NONCE));
    assert_eq!(empty, "");
    assert_in(world.drive(next.respond(b"\x0055-92\0correct horse")));
    let (empty, next) = challenge(start("SCRAM-SHA-1", None, &world.offer(), NONCE));
    assert_eq!(empty, "");
    challenge(world.drive(next.respond(b"n,,n=55-92,r=x")));
    assert_failure(start("SCRAM-SHA-1", Some(b""), &world.offer(), NONCE), SaslCondition::MalformedRequest);
}

// RFC 4616 §2
#[test]
fn refuses_broken_plain_messages() {
    let world = World::new();
    let (long_name, long_password) = ("x".repeat(4000), "x".repeat(1025));
    let malformed = [
        "".into(),
        "\0".into(),
        "\0\0".into(),
        "55-92".into(),
        "\x0055-92".into(),
        "\x0055-92\0".into(),
        "\0\0correct horse".into(),
        "\x0055-92\0correct horse\0".into(),
        "55-92@chat.example\x0055-92\0a\0b".into(),
        format!("\0{long_name}\0a"),
        format!("{long_name}\x0055-92\0a"),
        format!("\x0055-92\0{long_password}"),
    ];
    for message in malformed {
        assert_failure(world.plain(&message), SaslCondition::MalformedRequest);
    }
    let not_utf8 = start("PLAIN", Some(b"\x0055-92\0\xff"), &world.offer(), NONCE);
    assert_failure(not_utf8, SaslCondition::MalformedRequest);
    // Passwords that SASLprep refuses.
    for password in ["a\u{7}b", "\u{e000}", "\u{ad}"] {
        let step = world.plain(&format!("\x0055-92\0{password}"));
        assert_failure(step, SaslCondition::NotAuthorized);
    }
}

#[test]
fn prepares_passwords_before_it_compares_them() {
    let mut world = World::new();
    let prepared = prepare_password("Ⅸ\u{ad} \u{a0}x").unwrap();
    assert_eq!(*prepared, "IX  x");
    world.credentials = Credentials::new(&prepared, SALT, ROUNDS);
    assert_in(world.plain("\x0055-92\0IX  x"));
    assert_in(world.plain("\x0055-92\0Ⅸ\u{a0} x"));
    assert_failure(world.plain("\x0055-92\0IX x"), SaslCondition::NotAuthorized);
}

// RFC 5802 §6
#[test]
fn holds_the_client_to_its_channel_binding() {
    let world = World::new();
    let plus = Mechanism::ScramSha256Plus;
    let login = |mechanism, header: &str, binding: &[u8]| world.scram(mechanism, header, binding, "55-92", PASSWORD);
    assert_in(login(plus, "p=tls-exporter,,", &[3; 32]));
    assert_in(login(plus, "p=tls-server-end-point,,", &[4; 48]));
    assert_in(login(plus, "p=tls-exporter,a=55-92@chat.example,", &[3; 32]));
    // Another connection's binding, another type's, none, and one with something added.
    for binding in [&[5; 32][..], &[4; 48], &[], &[3; 33]] {
        let step = login(plus, "p=tls-exporter,,", binding);
        assert_failure(step, SaslCondition::NotAuthorized);
    }
    // A binding where there is none to be.
    let step = login(Mechanism::ScramSha256, "n,,", b"x");
    assert_failure(step, SaslCondition::NotAuthorized);
    let first = |mechanism, message| world.start(mechanism, message);
    let table = [
        (plus, "n,,n=55-92,r=x", SaslCondition::MalformedRequest),
        (plus, "y,,n=55-92,r=x", SaslCondition::MalformedRequest),
        (plus, "p=tls-unique,,n=55-92,r=x", SaslCondition::MalformedRequest),
        (Mechanism::ScramSha1, "p=tls-exporter,,n=55-92,r=x", SaslCondition::MalformedRequest),
        // -PLUS was offered, but the client did not see it: it was taken out on the way.
        (Mechanism::ScramSha1, "y,,n=55-92,r=x", SaslCondition::NotAuthorized),
    ];
    for (mechanism, message, condition) in table {
        assert_failure(first(mechanism, message), condition);
    }
    // Without -PLUS on offer the client is right.
    let world = World::without_tls();
    assert_in(world.scram(Mechanism::ScramSha1, "y,,", b"", "55-92", PASSWORD));
}

#[test]
fn notices_a_header_that_changed_on_the_way() {
    let world = World::new();
    let step = world.start(Mechanism::ScramSha256, "n,,n=55-92,r=x");
    let (message, next) = challenge(world.drive(step));
    let (_, _, nonce) = server_first_fields(&message);
    let changed = format!("c={},r={nonce},p=AAAA", payload::encode(b"y,,"));
    assert_failure(next.respond(changed.as_bytes()), SaslCondition::NotAuthorized);
}

#[test]
fn makes_another_nonce_of_other_random_bytes() {
    let world = World::new();
    let message_with = |nonce| {
        let step = start("SCRAM-SHA-1", Some(b"n,,n=55-92,r=x"), &world.offer(), nonce);
        challenge(world.drive(step)).0
    };
    assert!(message_with(NONCE).starts_with("r=xBwcHBwcH"));
    assert_ne!(message_with(NONCE), message_with([8; NONCE_BYTES]));
}

#[test]
fn hides_secrets_from_logs() {
    let world = World::new();
    let step = world.start(Mechanism::Plain, "\x0055-92\0correct horse");
    let shown = format!("{step:?} {:?} {:?}", world.credentials, world.tokens);
    assert!(!shown.contains("horse") && !shown.contains("55-92"), "{shown}");
}
