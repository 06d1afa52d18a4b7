//! The vectors of the RFCs, and tables of messages that are not SCRAM.

use super::*;
use crate::sasl::ITERATIONS;

/// An exchange at its last step, as far as the RFC prints it.
fn at_the_end(nonce: &str, messages: String, candidates: Candidates) -> ExpectFinal {
    ExpectFinal {
        login: Login { username: "user".into(), account: None },
        nonce: nonce.into(),
        binding: b"n,,".to_vec(),
        messages,
        candidates,
        has_password: true,
    }
}

/// RFC 5802 §5.
fn rfc_5802() -> ExpectFinal {
    let nonce = "fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
    let salt = payload::decode_strict(b"QSXCR+Q6sek8bf92").unwrap();
    let messages = format!("n=user,r=fyko+d2lbbFgONRv9qkxdawL,r={nonce},s=QSXCR+Q6sek8bf92,i=4096");
    let keys = SHA_1.keys("pencil", &salt, ITERATIONS);
    at_the_end(nonce, messages, Candidates::Sha1(SmallVec::from_elem(keys, 1)))
}

/// RFC 7677 §3.
fn rfc_7677() -> ExpectFinal {
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let salt = payload::decode_strict(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let messages = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    let keys = SHA_256.keys("pencil", &salt, ITERATIONS);
    at_the_end(nonce, messages, Candidates::Sha256(SmallVec::from_elem(keys, 1)))
}

#[test]
fn accepts_the_proofs_that_the_rfcs_print() {
    let sha_1 = b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
    let verifier = rfc_5802().verify(sha_1);
    assert_eq!(verifier, Ok(Some(Verified { signature: "rmF9pqV8S7suAoZWja4dJRkFsKQ=".into(), by_first: true })));
    let sha_256 = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let verifier = rfc_7677().verify(sha_256);
    let signature = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".into();
    assert_eq!(verifier, Ok(Some(Verified { signature, by_first: true })));
}

#[test]
fn names_the_fault_of_each_broken_last_message() {
    let nonce = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
    let proof = "p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
    let table = [
        ("".into(), ScramError::Syntax),
        ("c=biws".into(), ScramError::Syntax),
        (format!("c=biws,{nonce}"), ScramError::Syntax),
        (format!("{nonce},c=biws,{proof}"), ScramError::Syntax),
        (format!("c=biws,{proof},{nonce}"), ScramError::Syntax),
        (format!("c=biws,{nonce},{proof},"), ScramError::Syntax),
        (format!("c=biws,{nonce},{proof},{proof}"), ScramError::Syntax),
        (format!("c=biws,{nonce},{nonce},{proof}"), ScramError::Syntax),
        (format!("c=biws,{nonce},,{proof}"), ScramError::Syntax),
        (format!("c=biws,{nonce},x,{proof}"), ScramError::Syntax),
        (format!("c=biws,{nonce},x=,{proof}"), ScramError::Syntax),
        (format!("c=biws,{nonce},1=x,{proof}"), ScramError::Syntax),
        (format!("c=,{nonce},{proof}"), ScramError::Syntax),
        (format!("c=biws,{nonce},p="), ScramError::Syntax),
        (format!("c=biws,{nonce},{proof}\0"), ScramError::Syntax),
        (format!("c=biws,{nonce},m=x,{proof}"), ScramError::ExtensionsNotSupported),
        (format!("c=biw,{nonce},{proof}"), ScramError::InvalidEncoding),
        (format!("c=biws\n,{nonce},{proof}"), ScramError::InvalidEncoding),
        (format!("c=biws,{nonce},p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts"), ScramError::InvalidEncoding),
        (format!("c=biws,{nonce},p=v0X8v3Bz2T0CJGbJQyF0X+HI4Tt="), ScramError::InvalidEncoding),
        (format!("c=biws,{nonce},p=v0X8"), ScramError::ProofLength),
        (format!("c=eSws,{nonce},{proof}"), ScramError::ChannelBindingsDontMatch),
        (format!("c=biwsAAAA,{nonce},{proof}"), ScramError::ChannelBindingsDontMatch),
        // Not extended by the server, cut short, extended by the client, and another exchange's.
        (format!("c=biws,r=fyko+d2lbbFgONRv9qkxdawL,{proof}"), ScramError::NonceMismatch),
        (format!("c=biws,{},{proof}", &nonce[..nonce.len() - 1]), ScramError::NonceMismatch),
        (format!("c=biws,{nonce}x,{proof}"), ScramError::NonceMismatch),
        (format!("c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7k,{proof}"), ScramError::NonceMismatch),
    ];
    for (message, error) in table {
        assert_eq!(rfc_5802().verify(message.as_bytes()), Err(error), "{message}");
    }
    assert_eq!(rfc_5802().verify(b"c=biws,r=\xff,p=AAAA"), Err(ScramError::Syntax));
}

#[test]
fn proves_nothing_with_a_wrong_proof_or_without_secrets() {
    let nonce = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
    let wrong = format!("c=biws,{nonce},p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert_eq!(rfc_5802().verify(wrong.as_bytes()), Ok(None));
    // An extension is part of what the proof is over.
    let extended = format!("c=biws,{nonce},x=y,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    assert_eq!(rfc_5802().verify(extended.as_bytes()), Ok(None));
    let right = format!("c=biws,{nonce},p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    let none = ExpectFinal { candidates: Candidates::Sha1(SmallVec::new()), ..rfc_5802() };
    assert_eq!(none.verify(right.as_bytes()), Ok(None));
    // The right proof of a name that is no account's is no login.
    assert!(matches!(rfc_5802().respond(right.as_bytes()), Step::Failure(SaslCondition::NotAuthorized)));
}

#[test]
fn names_the_fault_of_each_broken_first_message() {
    let long = format!("n,,n=user,r={}", "x".repeat(257));
    let table = [
        ("", ScramError::Syntax),
        ("n", ScramError::Syntax),
        ("n,", ScramError::Syntax),
        ("n,,", ScramError::Syntax),
        ("n,,n=user", ScramError::Syntax),
        ("n,,n=user,", ScramError::Syntax),
        ("n,,n=user,r=", ScramError::Syntax),
        ("n,,n=,r=x", ScramError::Syntax),
        ("n,,r=x,n=user", ScramError::Syntax),
        ("n,,n=user,r=x,", ScramError::Syntax),
        ("n,,n=user,r=x,r=y", ScramError::Syntax),
        ("n,,n=user,n=user,r=x", ScramError::Syntax),
        ("n,,n=user,r=x,n=other", ScramError::Syntax),
        ("n,,n=user,r=x y", ScramError::Syntax),
        ("n,,n=user,r=é", ScramError::Syntax),
        ("n,,n=user\0,r=x", ScramError::Syntax),
        ("n=user,r=x", ScramError::Syntax),
        ("N,,n=user,r=x", ScramError::Syntax),
        ("x,,n=user,r=x", ScramError::Syntax),
        ("p,,n=user,r=x", ScramError::Syntax),
        ("p=,,n=user,r=x", ScramError::Syntax),
        ("p=tls unique,,n=user,r=x", ScramError::Syntax),
        ("nn,,n=user,r=x", ScramError::Syntax),
        ("n,user,n=user,r=x", ScramError::Syntax),
        ("n,a=,n=user,r=x", ScramError::Syntax),
        (&long, ScramError::Syntax),
        ("n,,m=x,n=user,r=x", ScramError::ExtensionsNotSupported),
        ("n,,n=user,r=x,m=x", ScramError::ExtensionsNotSupported),
        ("n,,n=us=er,r=x", ScramError::InvalidUsernameEncoding),
        ("n,,n=user=,r=x", ScramError::InvalidUsernameEncoding),
        ("n,,n=user=2,r=x", ScramError::InvalidUsernameEncoding),
        ("n,,n=user=2c,r=x", ScramError::InvalidUsernameEncoding),
        ("n,,n=user=2Dé,r=x", ScramError::InvalidUsernameEncoding),
        ("n,a=us=41er,n=user,r=x", ScramError::InvalidUsernameEncoding),
    ];
    for (message, error) in table {
        assert_eq!(ClientFirst::parse(message.as_bytes()).unwrap_err(), error, "{message}");
    }
    assert_eq!(ClientFirst::parse(b"n,,n=\xff,r=x").unwrap_err(), ScramError::Syntax);
}

#[test]
fn reads_every_field_of_a_first_message() {
    let text = b"p=tls-exporter,a=x=3D=2Cy,n==2C=3D2C=3D,r=a/b=,x=1,q=,";
    assert_eq!(ClientFirst::parse(text).unwrap_err(), ScramError::Syntax);
    let text = b"p=tls-exporter,a=x=3D=2Cy,n==2C=3D2C=3D,r=a/b=,x=1,q==,";
    assert_eq!(ClientFirst::parse(text).unwrap_err(), ScramError::Syntax);
    let first = ClientFirst::parse(&text[..text.len() - 1]).unwrap();
    assert_eq!(first.flag, Gs2Flag::Bound("tls-exporter"));
    assert_eq!(first.authzid.as_deref(), Some("x=,y"));
    assert_eq!(first.header, "p=tls-exporter,a=x=3D=2Cy,");
    assert_eq!(first.bare, "n==2C=3D2C=3D,r=a/b=,x=1,q==");
    assert_eq!((&*first.username, first.nonce), (",=2C=", "a/b="));
}

proptest::proptest! {
    #[test]
    fn no_message_is_too_strange(bytes in "[a-z]?[,=]?(\\PC|[,=nrpcm\0]){0,40}") {
        let _ = ClientFirst::parse(bytes.as_bytes()).map(|first| first.username.len());
        let _ = ClientFinal::parse(bytes.as_bytes()).map(|last| last.proof.len());
    }
}
