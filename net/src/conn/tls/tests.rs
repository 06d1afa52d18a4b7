use std::io::{Read, Write};

use aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};

use super::*;

/// Believes anybody: what is looked at here is the server.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
    }
}

fn acceptor() -> (Acceptor, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let der = made.cert.der().to_vec();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    (Acceptor::new(vec![made.cert.into()], key).expect("a key that fits"), der)
}

fn client(version: &'static SupportedProtocolVersion, alpn: Option<&str>) -> ClientConnection {
    client_of(config(version, alpn))
}

fn config(version: &'static SupportedProtocolVersion, alpn: Option<&str>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version that is known")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols.extend(alpn.map(|name| name.as_bytes().to_vec()));
    Arc::new(config)
}

fn client_of(config: Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config, ServerName::try_from("localhost").expect("a name")).expect("a client")
}

/// What the client has to send.
fn said(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).expect("memory takes everything");
    }
    bytes
}

/// Gives the client bytes; what it could read comes back.
fn tell(client: &mut ClientConnection, mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).expect("memory");
        let state = client.process_new_packets().expect("the server behaves");
        let mut part = vec![0; state.plaintext_bytes_to_read()];
        client.reader().read_exact(&mut part).expect("as many as announced");
        plain.extend(part);
    }
    plain
}

/// Gives the server bytes as a socket would, in reads of at most `step` bytes into one buffer that others use in between.
fn give(tls: &mut Tls, bytes: &[u8], step: usize, plain: &mut Vec<u8>) -> Result<Vec<u8>, TlsError> {
    let mut out = Vec::new();
    for part in bytes.chunks(step) {
        let mut buffer = vec![0xee; 64 * 1024];
        let kept = tls.restore(&mut buffer)?;
        buffer[kept..kept + part.len()].copy_from_slice(part);
        tls.receive(&mut buffer[..kept + part.len()], &mut out, |bytes| plain.extend_from_slice(bytes))?;
    }
    Ok(out)
}

fn shake_hands(tls: &mut Tls, client: &mut ClientConnection, step: usize) {
    let mut plain = Vec::new();
    while client.is_handshaking() || tls.is_handshaking() {
        let answer = give(tls, &said(client), step, &mut plain).expect("a handshake");
        tell(client, &answer);
    }
    assert!(plain.is_empty());
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

#[test]
fn talks_with_a_client_at_any_split() {
    let (acceptor, _) = acceptor();
    for version in VERSIONS {
        for step in [1, 2, 3, 5, 7, 64, 100, 517, 1000, 100_000] {
            let mut tls = acceptor.accept(Inside::Xmpp).unwrap();
            let mut client = client(version, Some("xmpp-client"));
            shake_hands(&mut tls, &mut client, step);
            assert_eq!(client.alpn_protocol(), Some(&b"xmpp-client"[..]));

            let long = vec![b'x'; 40_000];
            client.writer().write_all(b"hello").unwrap();
            client.writer().write_all(&long[..30_000]).unwrap();
            let mut plain = Vec::new();
            let answer = give(&mut tls, &said(&mut client), step, &mut plain).unwrap();
            assert!(answer.is_empty() && plain.len() == 30_005 && plain.starts_with(b"hellox"));
            assert_eq!(tls.kept.capacity(), 0, "nothing is kept between records");

            let mut out = Vec::new();
            tls.send(&long, &mut out).unwrap();
            tls.send(b"bye", &mut out).unwrap();
            tls.close(&mut out);
            let heard = tell(&mut client, &out);
            assert!(heard.len() == 40_003 && heard.ends_with(b"bye"));
            client.send_close_notify();
            give(&mut tls, &said(&mut client), step, &mut plain).unwrap();
            assert!(tls.is_peer_closed());
        }
    }
}

#[test]
fn a_client_that_leaves_it_open_gets_aes_128() {
    let (acceptor, _) = acceptor();
    for version in VERSIONS {
        let mut tls = acceptor.accept(Inside::Xmpp).unwrap();
        let mut client = client(version, None);
        shake_hands(&mut tls, &mut client, 100_000);
        let suite = client.negotiated_cipher_suite().map(|suite| suite.suite());
        let quick = [CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
        assert!(suite.is_some_and(|suite| quick.contains(&suite)), "{suite:?}");
    }
}

// RFC 9266, RFC 5929 §4.1
#[test]
fn both_sides_have_the_same_bindings() {
    let (acceptor, certificate) = acceptor();
    let mut tls = acceptor.accept(Inside::StartTls).unwrap();
    let mut client = client(&rustls::version::TLS13, None);
    shake_hands(&mut tls, &mut client, 100_000);
    let bindings = tls.bindings();
    let exported = client.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
    assert_eq!(bindings.exporter, Some(exported));
    let digest = digest::digest(&digest::SHA256, &certificate);
    assert_eq!(bindings.server_end_point.as_deref(), Some(digest.as_ref()));
    assert!(!tls.bindings().is_available(), "they are given out once");
}

#[test]
fn handshakes_on_one_thread_do_not_mix_their_bindings() {
    let (acceptor, _) = acceptor();
    let mut pairs: Vec<_> =
        (0..3).map(|_| (acceptor.accept(Inside::StartTls).unwrap(), client(&rustls::version::TLS13, None))).collect();
    while pairs.iter().any(|(tls, client)| client.is_handshaking() || tls.is_handshaking()) {
        for (tls, client) in &mut pairs {
            let answer = give(tls, &said(client), 300, &mut Vec::new()).unwrap();
            tell(client, &answer);
        }
    }
    for (tls, client) in &mut pairs {
        let exported = client.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
        assert_eq!(tls.bindings().exporter, Some(exported));
    }
}

#[test]
fn tls_12_has_no_exporter_here() {
    let (acceptor, _) = acceptor();
    let mut tls = acceptor.accept(Inside::StartTls).unwrap();
    let mut client = client(&rustls::version::TLS12, None);
    shake_hands(&mut tls, &mut client, 100_000);
    assert_eq!(tls.bindings().types().collect::<Vec<_>>(), ["tls-server-end-point"]);
}

#[test]
fn sessions_are_taken_up_again_and_have_bindings_of_their_own() {
    let (acceptor, _) = acceptor();
    for version in VERSIONS {
        let config = config(version, None);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut tls = acceptor.accept(Inside::Xmpp).unwrap();
            let mut client = client_of(Arc::clone(&config));
            shake_hands(&mut tls, &mut client, 100_000);
            let mut out = Vec::new();
            tls.send(b"hello", &mut out).unwrap();
            tell(&mut client, &out);
            kinds.push(client.handshake_kind());
            if version.version == ProtocolVersion::TLSv1_3 {
                let exported = client.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
                assert_eq!(tls.bindings().exporter, Some(exported));
            }
        }
        assert_eq!(kinds[1], Some(rustls::HandshakeKind::Resumed), "{version:?}");
    }
}

// hostile-inputs H02
#[test]
fn refuses_with_an_alert() {
    let (acceptor, _) = acceptor();
    let mut tls = acceptor.accept(Inside::Xmpp).unwrap();
    let mut out = Vec::new();
    let mut input = *b"<stream:stream xmlns='jabber:client'>";
    assert!(tls.receive(&mut input, &mut out, |_| ()).is_err());
    assert_eq!(out.first(), Some(&21), "an alert record");

    // A client that only speaks something else.
    let mut tls = acceptor.accept(Inside::Xmpp).unwrap();
    let mut client = client(&rustls::version::TLS13, Some("h2"));
    let mut hello = said(&mut client);
    out.clear();
    assert!(tls.receive(&mut hello, &mut out, |_| ()).is_err());
    let told = {
        client.read_tls(&mut &out[..]).unwrap();
        client.process_new_packets()
    };
    assert_eq!(told.err(), Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)));

    // TLS 1.1 at most: the version that the hello offers.
    let mut tls = acceptor.accept(Inside::Xmpp).unwrap();
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    out.clear();
    assert!(tls.receive(&mut hello, &mut out, |_| ()).is_err());
    assert_eq!((out[0], out[5]), (21, 2), "a fatal alert");
}

#[test]
fn a_record_that_was_changed_ends_the_connection() {
    let (acceptor, _) = acceptor();
    let mut tls = acceptor.accept(Inside::Xmpp).unwrap();
    let mut client = client(&rustls::version::TLS13, None);
    shake_hands(&mut tls, &mut client, 100_000);
    client.writer().write_all(b"hello").unwrap();
    let mut bytes = said(&mut client);
    *bytes.last_mut().unwrap() ^= 1;
    let mut out = Vec::new();
    assert!(tls.receive(&mut bytes, &mut out, |_| panic!("nothing can be read")).is_err());
    assert!(!out.is_empty(), "the alert");
    assert!(tls.send(b"more", &mut out).is_err());
}

// hostile-inputs H02: a hello that never ends must not gather memory.
#[test]
fn a_handshake_message_that_fills_the_buffer_is_refused() {
    let (acceptor, _) = acceptor();
    let mut tls = acceptor.accept(Inside::Xmpp).unwrap();
    // A hello of 65,535 bytes, in records of 16,000.
    let mut hello = vec![1, 0, 0xff, 0xff];
    hello.resize(65_539, 0);
    let records: Vec<u8> = hello
        .chunks(16_000)
        .flat_map(|part| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat())
        .collect();
    let mut plain = Vec::new();
    assert!(give(&mut tls, &records, 4096, &mut plain).is_err());
    assert!(tls.kept.len() <= 64 * 1024);
}

// hostile-inputs H02: nonsense in a message that came in several records is answered like any other.
#[test]
fn a_broken_message_in_several_records_is_refused_like_any_other() {
    let (acceptor, _) = acceptor();
    let after = |head: &[u8], bytes: usize| {
        let mut message = head.to_vec();
        message.resize(bytes, 7);
        message
    };
    let messages = [
        // The version and then nothing that makes sense; the same of 16 MiB; a hello of one byte and one of none, and what is none.
        after(&[1, 0, 0xbe, 0x6e, 3, 3], 4 + 0xbe6e),
        after(&[1, 0xff, 0xff, 0xff, 3, 3], 60_000),
        after(&[1, 0, 0, 1, 0, 1, 0, 0, 0, 99, 0xff], 40_000),
    ];
    for (message, read) in
        messages.iter().flat_map(|message| [1_000, 16_005, 60_000, 100_000].map(|read| (message, read)))
    {
        let mut tls = acceptor.accept(Inside::Xmpp).unwrap();
        let records: Vec<u8> = message
            .chunks(16_000)
            .flat_map(|part| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat())
            .collect();
        let mut buffer = vec![0; 64 * 1024];
        let mut out = Vec::new();
        let refused = records.chunks(read).any(|part| {
            let kept = tls.restore(&mut buffer).unwrap();
            let part = &part[..part.len().min(buffer.len() - kept)];
            buffer[kept..kept + part.len()].copy_from_slice(part);
            tls.receive(&mut buffer[..kept + part.len()], &mut out, |_| panic!("nothing can be read")).is_err()
        });
        assert!(refused, "in reads of {read}");
        // Of what is no message at all the library has nothing to say.
        assert!(out.first().is_none_or(|first| *first == 21), "an alert record");
        assert!(tls.send(b"more", &mut out).is_err());
        tls.close(&mut out);
    }
}

#[test]
fn nothing_is_sent_before_the_handshake() {
    let (acceptor, _) = acceptor();
    let mut tls = acceptor.accept(Inside::Xmpp).unwrap();
    let mut out = Vec::new();
    assert!(matches!(tls.send(b"early", &mut out), Err(TlsError::NotOpen)));
    tls.close(&mut out);
    assert!(out.is_empty());
}
