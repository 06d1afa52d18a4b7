//! One connection: its socket, its TLS, what waits to be sent and what has not yet become a stanza.

use std::io::{self, BufRead as _, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::framer::Framer;
use super::login::Login;

/// A socket and everything that belongs to it.
pub struct Connection {
    pub socket: TcpStream,
    pub account: usize,
    pub framer: Framer,
    /// `Some` until the login is through.
    pub login: Option<Login>,
    /// Plaintext to send with the next flush.
    pub out: Vec<u8>,
    /// Waits in the engine's list of connections to flush.
    pub dirty: bool,
    /// We have said `</stream:stream>`.
    pub closing: bool,
    tls: Option<Box<ClientConnection>>,
}

impl Connection {
    /// A connection that is not yet established.
    pub fn new(socket: TcpStream, account: usize, login: Login) -> Self {
        Self {
            socket,
            account,
            framer: Framer::default(),
            login: Some(login),
            out: Vec::new(),
            dirty: false,
            closing: false,
            tls: None,
        }
    }

    /// Everything from here on is encrypted; the handshake starts with the next flush.
    pub fn start_tls(&mut self, config: &Arc<ClientConfig>, domain: &str) -> Result<(), rustls::Error> {
        let name = ServerName::try_from(domain.to_owned())
            .map_err(|_| rustls::Error::General(format!("{domain} is not a name for TLS")))?;
        let mut tls = ClientConnection::new(config.clone(), name)?;
        tls.set_buffer_limit(None);
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// Reads once into `buffer` and hands what it means to the framer. `Ok(None)`: nothing there now; `Ok(Some(0))`: the
    /// server closed.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let count = match self.socket.read(buffer) {
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut bytes = &buffer[..count];
        let Some(tls) = &mut self.tls else {
            self.framer.push(bytes);
            return Ok(Some(count));
        };
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes)?;
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let mut reader = tls.reader();
                let chunk = reader.fill_buf()?;
                let length = chunk.len();
                self.framer.push(chunk);
                reader.consume(length);
                left -= length.min(left);
            }
            if state.peer_has_closed() {
                return Ok(Some(0));
            }
        }
        Ok(Some(count))
    }

    /// True while TLS has something of its own to say.
    pub fn wants_flush(&self) -> bool {
        !self.out.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes what the socket takes; the rest waits for the next writable event.
    pub fn flush(&mut self) -> io::Result<()> {
        let blocked = |result: io::Result<usize>| match result {
            Ok(count) => Ok(Some(count)),
            // Before the connection is established the kernel says NotConnected.
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => Ok(None),
            Err(e) => Err(e),
        };
        match &mut self.tls {
            Some(tls) => {
                if !self.out.is_empty() {
                    tls.writer().write_all(&self.out)?;
                    self.out.clear();
                }
                while tls.wants_write() && blocked(tls.write_tls(&mut self.socket))?.is_some() {}
            }
            None => {
                while !self.out.is_empty() {
                    match blocked(self.socket.write(&self.out))? {
                        Some(count) => drop(self.out.drain(..count)),
                        None => break,
                    }
                }
            }
        }
        Ok(())
    }
}

/// A configuration that believes any certificate: the server under test signed its own.
pub fn tls_config(resume: bool) -> Arc<ClientConfig> {
    let mut config =
        ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(Anyone)).with_no_client_auth();
    if !resume {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}

/// Checks nothing, so that the driver's CPU goes to driving.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
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
        use SignatureScheme::*;
        vec![
            ECDSA_NISTP256_SHA256,
            ECDSA_NISTP384_SHA384,
            ED25519,
            RSA_PSS_SHA256,
            RSA_PSS_SHA384,
            RSA_PSS_SHA512,
            RSA_PKCS1_SHA256,
            RSA_PKCS1_SHA384,
            RSA_PKCS1_SHA512,
        ]
    }
}
