//! A small XMPP client that waits: as much as two people need to exchange a few words.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use proto::ns;
use proto::xml::{Context, Element, Frame, Framer, Limits, Nodes, Writer, XmlError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::{STEP_TIME_MAX, Trusted};

/// Who logs in where.
pub(super) struct Login {
    pub address: SocketAddr,
    pub domain: String,
    pub user: String,
    pub password: String,
    /// The certificate that the server made for itself; without it any is believed, on this machine.
    pub trusted: Trusted,
}

impl Login {
    /// The bare JID.
    pub fn jid(&self) -> String {
        format!("{}@{}", self.user, self.domain)
    }
}

/// Somebody who is logged in.
pub(super) struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    framer: Framer,
    nodes: Nodes,
    input: Vec<u8>,
    bare: String,
    full: String,
}

/// A message that came.
pub(super) struct Heard {
    pub text: String,
    /// It had to wait. XEP-0203.
    pub delayed: bool,
}

/// The certificate in a PEM file.
pub(super) fn certificate(path: &Path) -> io::Result<Arc<[u8]>> {
    let certificate = CertificateDer::from_pem_file(path).map_err(io::Error::other)?;
    Ok(certificate.as_ref().into())
}

impl Client {
    /// Connects, logs in, binds a resource and says hello.
    pub fn connect(login: &Login) -> io::Result<Client> {
        let socket = TcpStream::connect_timeout(&login.address, STEP_TIME_MAX)?;
        socket.set_read_timeout(Some(STEP_TIME_MAX))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(login.domain.clone()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(tls_config(login)?, name).map_err(io::Error::other)?;
        let mut client = Client {
            stream: StreamOwned::new(tls, socket),
            framer: Framer::new(),
            nodes: Nodes::new(),
            input: Vec::new(),
            bare: login.jid(),
            full: String::new(),
        };
        client.open(&login.domain)?;
        client.log_in(login)?;
        client.open(&login.domain)?;
        client.bind()?;
        client.write(|xml| {
            xml.open("presence");
        })?;
        Ok(client)
    }

    pub fn bare(&self) -> &str {
        &self.bare
    }

    pub fn jid(&self) -> &str {
        &self.full
    }

    /// Says something to somebody.
    pub fn send(&mut self, to: &str, text: &str) -> io::Result<()> {
        self.write(|xml| {
            xml.open("message").attr("to", to).attr("type", "chat");
            xml.open("body").text(text);
        })
    }

    /// Waits for a message.
    pub fn message(&mut self) -> io::Result<Heard> {
        loop {
            let heard = self.element(|element| {
                let body = element.child("body", element.ns())?;
                let delayed = element.child("delay", ns::DELAY).is_some();
                element.is("message", element.ns()).then(|| Heard { text: body.text().into_owned(), delayed })
            })?;
            if let Some(heard) = heard {
                return Ok(heard);
            }
        }
    }

    /// Waits until the server has dealt with everything that was said so far.
    pub fn settle(&mut self) -> io::Result<()> {
        self.write(|xml| {
            xml.open("iq").attr("type", "get").attr("id", "settled");
            xml.empty("ping", ns::PING);
        })?;
        while !self.element(|element| element.attr("id").is_some_and(|id| id == "settled"))? {}
        Ok(())
    }

    /// Ends the stream and waits for the server to end its own.
    pub fn leave(&mut self) -> io::Result<()> {
        self.put(b"</stream:stream>")?;
        let mut rest = [0; 1024];
        while self.stream.read(&mut rest).is_ok_and(|read| read > 0) {}
        Ok(())
    }

    fn open(&mut self, domain: &str) -> io::Result<()> {
        self.framer = Framer::new();
        let header = format!(
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='{domain}'>"
        );
        self.put(header.as_bytes())?;
        // The features.
        self.element(|_| ())
    }

    fn log_in(&mut self, login: &Login) -> io::Result<()> {
        let response = BASE64.encode(format!("\0{}\0{}", login.user, login.password));
        self.write(|xml| {
            xml.open("auth").ns(ns::SASL).attr("mechanism", "PLAIN").text(&response);
        })?;
        if self.element(|element| element.is("success", ns::SASL))? {
            Ok(())
        } else {
            Err(io::Error::other("the server refuses the password"))
        }
    }

    fn bind(&mut self) -> io::Result<()> {
        self.write(|xml| {
            xml.open("iq").attr("type", "set").attr("id", "bind");
            xml.empty("bind", ns::BIND);
        })?;
        let jid = self.element(|element| {
            let bound = element.child("bind", ns::BIND)?;
            Some(bound.child("jid", ns::BIND)?.text().into_owned())
        })?;
        self.full = jid.ok_or_else(|| io::Error::other("the server binds no resource"))?;
        Ok(())
    }

    /// Writes an element; what is left open is closed.
    fn write(&mut self, write: impl FnOnce(&mut Writer<'_>)) -> io::Result<()> {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out));
        self.put(&out)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next element from the server, as `look` sees it.
    fn element<T>(&mut self, mut look: impl FnMut(Element<'_>) -> T) -> io::Result<T> {
        let broken = |error: XmlError| io::Error::other(format!("the server sends broken XML: {error}"));
        loop {
            let mut rest = &self.input[..];
            let mut seen = None;
            match self.framer.next(&mut rest, &Limits::STANZA).map_err(broken)? {
                Some(Frame::Element(element)) => {
                    seen = Some(self.nodes.parse(element, &Context::CLIENT, &Limits::STANZA).map_err(broken)?);
                }
                Some(Frame::End) => return Err(io::Error::other("the server ended the stream")),
                Some(Frame::Header(_) | Frame::Whitespace) | None => {}
            }
            let looked = seen.map(&mut look);
            let used = self.input.len() - rest.len();
            let wants_more = rest.is_empty();
            self.input.drain(..used);
            if let Some(looked) = looked {
                return Ok(looked);
            }
            if wants_more {
                self.read()?;
            }
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.input.extend_from_slice(&bytes[..read]);
        Ok(())
    }
}

fn tls_config(login: &Login) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = OneCertificate { trusted: login.trusted.clone(), provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Believes the certificate that lies in the server's data directory. One that the operator got elsewhere is not looked into:
/// the demo talks to a server on its own machine, with accounts that it has just made.
#[derive(Debug)]
struct OneCertificate {
    trusted: Trusted,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OneCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trusted {
            Some(trusted) if **trusted != **end_entity => {
                Err(rustls::Error::General("this is not the server of this data directory".to_owned()))
            }
            Some(_) | None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
