//! TLS over memory: records in, plaintext out, and back, without a buffer of its own.
//!
//! Ciphertext is read into the shard's one buffer and decrypted there; only the beginning of a record that is not whole yet
//! is kept with the connection, and given back as soon as the rest has come.

use std::fmt;
use std::mem;
use std::sync::Arc;

use proto::sasl::ChannelBindings;
use proto::sasl::channel_binding::server_end_point;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CipherSuite, ProtocolVersion, ServerConfig};

mod exporter;
#[cfg(test)]
mod tests;

use exporter::Secret;

/// What a listener speaks inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// XMPP after STARTTLS, where the protocol is already agreed on.
    StartTls,
    /// XMPP from the first byte. XEP-0368: ALPN `xmpp-client`.
    Xmpp,
    /// HTTP.
    Http,
}

/// What there is to encrypt with, in the order in which we choose. AES-128 goes with SHA-256, which processors have instructions for,
/// and AES-256 with SHA-384, which they have none for: a handshake hashes so often that a tenth of a login went into it. Nobody
/// breaks AES-128 (RFC 8446 §9.1 makes it the one that all must have).
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        let quick = matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        );
        !quick
    });
    provider
}

/// The certificate and all that new connections need; replaced as a whole on reload.
pub struct Acceptor {
    start_tls: Arc<ServerConfig>,
    xmpp: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    end_point: Option<Vec<u8>>,
}

impl Acceptor {
    /// For this chain (the server's own certificate first) and its key.
    ///
    /// # Errors
    /// When the key does not belong to the certificate, or cannot be used.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Acceptor, rustls::Error> {
        let end_point = chain.first().and_then(|certificate| server_end_point(certificate));
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        // Sessions are kept by the clients, in tickets; a table of them here would be a lock between the shards.
        config.ignore_client_order = true;
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = TICKETS;
        config.key_log = Arc::new(exporter::Tap);
        let speaking = |protocol: Option<&[u8]>| {
            let mut config = config.clone();
            config.alpn_protocols.extend(protocol.map(<[u8]>::to_vec));
            Arc::new(config)
        };
        Ok(Acceptor {
            start_tls: speaking(None),
            xmpp: speaking(Some(b"xmpp-client")),
            http: speaking(Some(b"http/1.1")),
            end_point,
        })
    }

    /// A connection that waits for the client's first bytes.
    ///
    /// # Errors
    /// Never with the settings made here; the library leaves it open.
    pub fn accept(&self, inside: Inside) -> Result<Tls, TlsError> {
        let config = match inside {
            Inside::StartTls => &self.start_tls,
            Inside::Xmpp => &self.xmpp,
            Inside::Http => &self.http,
        };
        let connection = UnbufferedServerConnection::new(Arc::clone(config))?;
        let handshake = Handshake { exporter: None, end_point: self.end_point.clone() };
        Ok(Tls {
            connection,
            kept: Vec::new(),
            handshake: Some(Box::new(handshake)),
            peer_closed: false,
            failed: false,
        })
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}

/// The server's side of one TLS connection.
pub struct Tls {
    connection: UnbufferedServerConnection,
    /// The beginning of a record that is not whole.
    kept: Vec<u8>,
    /// Until the handshake is done.
    handshake: Option<Box<Handshake>>,
    peer_closed: bool,
    failed: bool,
}

struct Handshake {
    exporter: Option<Secret>,
    end_point: Option<Vec<u8>>,
}

/// Why a TLS connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The peer broke the protocol, offered nothing in common, or sent something that was tampered with.
    #[error("{0}")]
    Refused(#[from] rustls::Error),
    /// A handshake message does not fit the buffer.
    #[error("a handshake message is too long")]
    TooLong,
    /// Something was to be sent before the handshake was done or after the connection was closed.
    #[error("the connection cannot carry anything now")]
    NotOpen,
    /// The keys have protected as much as they may.
    #[error("the keys are used up")]
    Exhausted,
}

impl Tls {
    /// Puts the beginning of an unfinished record at the front of `buffer`, for new bytes to be read in behind it; returns how
    /// many bytes that took. The record stays here too, in case no bytes come.
    ///
    /// # Errors
    /// [`TlsError::TooLong`] when that leaves no room.
    pub fn restore(&self, buffer: &mut [u8]) -> Result<usize, TlsError> {
        let kept = self.kept.len();
        if kept >= buffer.len() {
            return Err(TlsError::TooLong);
        }
        buffer[..kept].copy_from_slice(&self.kept);
        Ok(kept)
    }

    /// Takes `input`, which begins with what [`Tls::restore`] put there. Plaintext goes to `plain`, a record at a time; what TLS
    /// itself has to say is added to `out` (after an error, too: the alert).
    ///
    /// # Errors
    /// [`TlsError::Refused`]; the connection is to be closed once `out` is sent.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
        mut plain: impl FnMut(&[u8]),
    ) -> Result<(), TlsError> {
        let mut start = 0;
        let result = loop {
            match self.step(input, &mut start, out, &mut plain) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => {
                    self.say_alert(&mut input[start..], out);
                    self.failed = true;
                    start = input.len();
                    break Err(error);
                }
            }
        };
        let rest = &input[start..];
        if rest.is_empty() {
            self.kept = Vec::new();
        } else {
            self.kept.clear();
            self.kept.extend_from_slice(rest);
        }
        result
    }

    /// One step with the input from `start` on, which moves past what is done with; whether there is more to do.
    fn step(
        &mut self,
        input: &mut [u8],
        start: &mut usize,
        out: &mut Vec<u8>,
        plain: &mut impl FnMut(&[u8]),
    ) -> Result<bool, TlsError> {
        let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut input[*start..]);
        *start += discard;
        if let Some(handshake) = &mut self.handshake
            && let Some(secret) = exporter::take()
        {
            handshake.exporter = Some(secret);
        }
        match state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    *start += record.discard;
                    plain(record.payload);
                }
                Ok(true)
            }
            ConnectionState::EncodeTlsData(mut data) => {
                append(out, HANDSHAKE_RECORD_BYTES, |space| data.encode(space))?;
                Ok(true)
            }
            ConnectionState::TransmitTlsData(sent) => {
                sent.done();
                Ok(true)
            }
            ConnectionState::PeerClosed => {
                self.peer_closed = true;
                Ok(true)
            }
            ConnectionState::Closed | ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Ok(false),
            // Early data is switched off, and there are no other states so far.
            _ => Err(TlsError::NotOpen),
        }
    }

    /// After an error: what the peer is told about it. The library remembers places in the input that it was given last, and looks
    /// there again.
    fn say_alert(&mut self, input: &mut [u8], out: &mut Vec<u8>) {
        let mut start = 0;
        loop {
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut input[start..]);
            start += discard;
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { return };
            if append(out, HANDSHAKE_RECORD_BYTES, |space| data.encode(space)).is_err() {
                return;
            }
        }
    }

    /// Adds `plain` to `out`, encrypted.
    ///
    /// # Errors
    /// [`TlsError::NotOpen`], [`TlsError::Exhausted`].
    pub fn send(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        if self.failed {
            return Err(TlsError::NotOpen);
        }
        loop {
            // With the beginning of a record that has not come whole, where the library has got to.
            return match self.connection.process_tls_records(&mut self.kept).state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let records = plain.len().div_ceil(RECORD_BYTES_MAX) + 1;
                    append(out, plain.len() + records * RECORD_OVERHEAD_BYTES, |space| traffic.encrypt(plain, space))
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(out, HANDSHAKE_RECORD_BYTES, |space| data.encode(space))?;
                    continue;
                }
                ConnectionState::TransmitTlsData(sent) => {
                    sent.done();
                    continue;
                }
                ConnectionState::PeerClosed => {
                    self.peer_closed = true;
                    continue;
                }
                _ => Err(TlsError::NotOpen),
            };
        }
    }

    /// Adds the notice that nothing more will come. Says nothing before the handshake is done.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) =
            self.connection.process_tls_records(&mut self.kept).state
        {
            // The keys may be used up, and then the notice cannot be given.
            let _said = append(out, RECORD_OVERHEAD_BYTES * 2, |space| traffic.queue_close_notify(space));
        }
    }

    /// Whether the peer has said that nothing more will come.
    pub fn is_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether the handshake is still under way.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// What logins can be bound to: once, when the handshake is done. What it was made from is wiped.
    pub fn bindings(&mut self) -> ChannelBindings {
        let Some(handshake) = self.handshake.take() else { return ChannelBindings::NONE };
        let Handshake { exporter, end_point } = *handshake;
        // RFC 9266 §4.2: with TLS 1.2 only under conditions that cannot be seen from here.
        let is_13 = self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        ChannelBindings {
            exporter: exporter.filter(|_| is_13).and_then(|secret| secret.binding()),
            server_end_point: end_point,
        }
    }

    /// About how many bytes the connection takes, buffers included, beside what the library allocates.
    pub fn bytes(&self) -> usize {
        mem::size_of::<Tls>() + self.kept.capacity()
    }
}

/// What a library call made of too little room.
trait Missing: Sized {
    fn sorted(self) -> Result<usize, TlsError>;
}

impl Missing for EncodeError {
    fn sorted(self) -> Result<usize, TlsError> {
        match self {
            EncodeError::InsufficientSize(size) => Ok(size.required_size),
            EncodeError::AlreadyEncoded => Err(TlsError::NotOpen),
        }
    }
}

impl Missing for EncryptError {
    fn sorted(self) -> Result<usize, TlsError> {
        match self {
            EncryptError::InsufficientSize(size) => Ok(size.required_size),
            EncryptError::EncryptExhausted => Err(TlsError::Exhausted),
        }
    }
}

/// Adds what `write` writes to `out`, with room for `guess` bytes at first and for as many as it asks for then.
fn append<E: Missing>(
    out: &mut Vec<u8>,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), TlsError> {
    let start = out.len();
    let mut room = guess;
    loop {
        out.resize(start + room, 0);
        match write(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(error) => {
                out.truncate(start);
                let needed = error.sorted()?;
                if needed <= room {
                    return Err(TlsError::NotOpen);
                }
                room = needed;
            }
        }
    }
}

/// New sessions a client may take up later without a full handshake. XMPP clients keep one connection.
const TICKETS: usize = 1;

/// RFC 8446 §5.1.
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// What a record adds to its content, at most: header, explicit nonce, content type, tag.
const RECORD_OVERHEAD_BYTES: usize = 5 + 8 + 1 + 16 + 16;

/// Most handshake records fit.
const HANDSHAKE_RECORD_BYTES: usize = 2 * 1024;
