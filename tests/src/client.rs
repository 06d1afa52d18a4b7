//! A small blocking XMPP client: one connection, elements as text, every acknowledgement in the caller's hands.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::http::Account;
use crate::scram::Exchange;
use crate::server::{DOMAIN, Ports};

const ANSWER_SECS_MAX: u64 = 10;

/// How a client logs in.
#[derive(Clone, Copy, Debug)]
pub enum Mechanism {
    /// SASL PLAIN without an authzid.
    Plain,
    /// SCRAM-SHA-256 without channel binding.
    Scram,
    /// SCRAM-SHA-256-PLUS bound to the TLS connection by `tls-exporter` (RFC 9266).
    ScramPlus,
}

/// A connection under TLS, up to wherever the caller has taken it.
pub struct Client {
    tls: StreamOwned<ClientConnection, TcpStream>,
    splitter: Splitter,
    ready: VecDeque<String>,
    /// The full JID, once bound.
    pub jid: String,
}

impl Client {
    /// Connects with TLS from the first byte.
    pub fn connect(ports: Ports) -> io::Result<Self> {
        let tcp = dial(ports.xmpps)?;
        Self::secure(tcp)
    }

    /// Connects in the clear and asks for TLS.
    pub fn connect_starttls(ports: Ports) -> io::Result<Self> {
        let mut tcp = dial(ports.xmpp)?;
        let mut splitter = Splitter::default();
        let mut ready = VecDeque::new();
        tcp.write_all(header().as_bytes())?;
        expect_in_clear(&mut tcp, &mut splitter, &mut ready, "<starttls")?;
        tcp.write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")?;
        expect_in_clear(&mut tcp, &mut splitter, &mut ready, "<proceed")?;
        Self::secure(tcp)
    }

    fn secure(tcp: TcpStream) -> io::Result<Self> {
        let name = ServerName::try_from(DOMAIN).expect("the test domain is a name");
        let connection = ClientConnection::new(tls_config(), name).map_err(io::Error::other)?;
        let tls = StreamOwned::new(connection, tcp);
        Ok(Self { tls, splitter: Splitter::default(), ready: VecDeque::new(), jid: String::new() })
    }

    /// Connects with direct TLS, logs in with PLAIN and binds a resource of the server's choice.
    pub fn login(ports: Ports, account: &Account) -> io::Result<Self> {
        let mut client = Self::connect(ports)?;
        client.authenticate(account, &account.password, Mechanism::Plain)?;
        client.bind()?;
        Ok(client)
    }

    /// Opens the stream and authenticates; a refusal is an error of kind `PermissionDenied`.
    pub fn authenticate(&mut self, account: &Account, password: &str, mechanism: Mechanism) -> io::Result<()> {
        self.open()?;
        let answer = match mechanism {
            Mechanism::Plain => {
                let secret = BASE64.encode(format!("\0{}\0{password}", account.node));
                self.auth("PLAIN", &secret)?;
                self.element()?
            }
            Mechanism::Scram => self.scram("SCRAM-SHA-256", account, password, None)?,
            Mechanism::ScramPlus => {
                let exporter = self
                    .tls
                    .conn
                    .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""))
                    .map_err(io::Error::other)?;
                self.scram("SCRAM-SHA-256-PLUS", account, password, Some(("tls-exporter", &exporter)))?
            }
        };
        if answer.starts_with("<success") {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, answer))
        }
    }

    fn scram(
        &mut self,
        name: &str,
        account: &Account,
        password: &str,
        binding: Option<(&str, &[u8])>,
    ) -> io::Result<String> {
        let exchange = Exchange::new(&account.node, "rOprNGfwEbeRWgbNEkqO", binding);
        self.auth(name, &exchange.first())?;
        let challenge = self.element()?;
        if !challenge.starts_with("<challenge") {
            return Ok(challenge);
        }
        let (response, proof) = exchange.last(text(&challenge), password);
        self.send(&format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{response}</response>"))?;
        let answer = self.element()?;
        if answer.starts_with("<success") {
            assert_eq!(text(&answer), proof, "the server did not prove that it knows the password");
        }
        Ok(answer)
    }

    fn auth(&mut self, mechanism: &str, payload: &str) -> io::Result<()> {
        self.send(&format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{payload}</auth>"))
    }

    /// Sends a stream header and returns the features that answer it.
    pub fn open(&mut self) -> io::Result<String> {
        self.splitter = Splitter::default();
        self.ready.clear();
        self.send(&header())?;
        self.element()
    }

    /// The certificate that the server has shown, as DER; the handshake is done with the first answer.
    pub fn certificate(&self) -> Vec<u8> {
        let chain = self.tls.conn.peer_certificates().expect("the handshake is done");
        chain.first().expect("a server shows a certificate").as_ref().to_vec()
    }

    /// Restarts the stream after authentication and binds.
    pub fn bind(&mut self) -> io::Result<()> {
        self.open()?;
        let answer = self.iq("set", "", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")?;
        let jid = answer.split("<jid>").nth(1).and_then(|rest| rest.split("</jid>").next());
        self.jid = jid.ok_or_else(|| io::Error::other(format!("not bound: {answer}")))?.to_owned();
        Ok(())
    }

    /// Sends initial presence and waits for its echo.
    pub fn come_online(&mut self) -> io::Result<()> {
        self.send("<presence/>")?;
        let own = self.jid.clone();
        self.wait_for(|element| element.starts_with("<presence") && attribute(element, "from") == Some(&own))?;
        Ok(())
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, xml: &str) -> io::Result<()> {
        self.tls.write_all(xml.as_bytes())?;
        self.tls.flush()
    }

    /// Sends an iq and returns its answer, result or error. Everything else that comes meanwhile is kept.
    pub fn iq(&mut self, kind: &str, to: &str, payload: &str) -> io::Result<String> {
        let id = format!("it-{}", next_id());
        let to = if to.is_empty() { String::new() } else { format!(" to='{to}'") };
        self.send(&format!("<iq type='{kind}' id='{id}'{to}>{payload}</iq>"))?;
        self.wait_for(|element| element.starts_with("<iq") && attribute(element, "id") == Some(&id))
    }

    /// The next element of the stream, whole, as text. An error at the end of the stream or after ten seconds.
    pub fn element(&mut self) -> io::Result<String> {
        self.element_within(Duration::from_secs(ANSWER_SECS_MAX))
    }

    /// As [`Client::element`], with a limit of one's own; `TimedOut` when nothing came.
    pub fn element_within(&mut self, limit: Duration) -> io::Result<String> {
        if let Some(element) = self.ready.pop_front() {
            return Ok(element);
        }
        self.pull(limit)
    }

    /// The first element, kept or to come, that `wants` accepts; what it does not accept is kept for later.
    pub fn wait_for(&mut self, wants: impl Fn(&str) -> bool) -> io::Result<String> {
        if let Some(at) = self.ready.iter().position(|element| wants(element)) {
            return Ok(self.ready.remove(at).expect("the position is in the queue"));
        }
        let deadline = Instant::now() + Duration::from_secs(ANSWER_SECS_MAX);
        loop {
            match self.pull(deadline.saturating_duration_since(Instant::now())) {
                Ok(element) if wants(&element) => break Ok(element),
                Ok(element) => self.ready.push_back(element),
                Err(error) => break Err(error),
            }
        }
    }

    fn pull(&mut self, limit: Duration) -> io::Result<String> {
        let deadline = Instant::now() + limit;
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(element) = self.splitter.next() {
                return Ok(element);
            }
            if self.splitter.ended {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "</stream:stream>"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.tls.sock.set_read_timeout(Some(left))?;
            match self.tls.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.splitter.feed(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the stream and waits for the server's end of it.
    pub fn close(mut self) -> io::Result<()> {
        self.send("</stream:stream>")?;
        loop {
            match self.element() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The value of an attribute in the first tag of an element, as the server wrote it.
pub fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let tag = &element[..element.find('>')?];
    let mut rest = tag;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        rest = after;
        if !before.ends_with(char::is_whitespace) {
            continue;
        }
        let Some(value) = after.strip_prefix('=') else { continue };
        let quote = value.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        return value[1..].split(quote).next();
    }
    None
}

/// The text of an element that holds nothing else.
fn text(element: &str) -> &str {
    element.split_once('>').and_then(|(_, rest)| rest.rsplit_once('<')).map_or("", |(text, _)| text)
}

fn next_id() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn header() -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams' to='{DOMAIN}' version='1.0'>"
    )
}

fn dial(port: u16) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(ANSWER_SECS_MAX)))?;
    Ok(tcp)
}

fn expect_in_clear(
    tcp: &mut TcpStream,
    splitter: &mut Splitter,
    ready: &mut VecDeque<String>,
    wanted: &str,
) -> io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        while let Some(element) = splitter.next() {
            ready.push_back(element);
        }
        if let Some(element) = ready.pop_front() {
            if element.contains(wanted) {
                return Ok(());
            }
            return Err(io::Error::other(format!("wanted {wanted}, got {element}")));
        }
        match tcp.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => splitter.feed(&chunk[..count]),
        }
    }
}

/// Cuts what the server sends into top-level elements. The server is trusted to write well-formed XML without comments,
/// processing instructions or CDATA; that it does so is for other tests.
#[derive(Default)]
struct Splitter {
    buffer: Vec<u8>,
    position: usize,
    start: usize,
    depth: usize,
    ended: bool,
}

impl Splitter {
    fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole element inside `<stream:stream>`.
    fn next(&mut self) -> Option<String> {
        while let Some((tag_start, tag_end)) = self.next_tag() {
            let tag = &self.buffer[tag_start..tag_end];
            self.position = tag_end;
            if tag.starts_with(b"<?") {
                continue;
            }
            if tag.starts_with(b"</") {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.ended = true;
                    return None;
                }
            } else {
                if self.depth == 1 {
                    self.start = tag_start;
                }
                if tag.ends_with(b"/>") {
                    // Complete in itself: the depth stays.
                } else {
                    self.depth += 1;
                    if self.depth == 1 {
                        continue;
                    }
                }
            }
            if self.depth == 1 {
                let element = String::from_utf8_lossy(&self.buffer[self.start..tag_end]).into_owned();
                self.buffer.drain(..tag_end);
                self.position = 0;
                return Some(element);
            }
        }
        None
    }

    /// The bounds of the next whole tag; a `>` inside quotes does not end it.
    fn next_tag(&self) -> Option<(usize, usize)> {
        let start = self.position + self.buffer[self.position..].iter().position(|&byte| byte == b'<')?;
        let mut quote = None;
        for (at, &byte) in self.buffer.iter().enumerate().skip(start) {
            match (quote, byte) {
                (None, b'>') => return Some((start, at + 1)),
                (None, b'\'' | b'"') => quote = Some(byte),
                (Some(open), _) if open == byte => quote = None,
                _ => {}
            }
        }
        None
    }
}

fn tls_config() -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Arc::new(config)
}

/// Takes any certificate, as the server's is one of its own making; that it holds the key is still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_a_stream_into_elements_at_any_split() {
        let stream = "<?xml version='1.0'?><stream:stream id='a>b'><f:features/><iq id='1'><q a='/>'><r/></q></iq><a/></stream:stream>";
        for split in 0..stream.len() {
            let mut splitter = Splitter::default();
            let mut got = Vec::new();
            for part in [&stream[..split], &stream[split..]] {
                splitter.feed(part.as_bytes());
                got.extend(std::iter::from_fn(|| splitter.next()));
            }
            assert_eq!(got, ["<f:features/>", "<iq id='1'><q a='/>'><r/></q></iq>", "<a/>"], "split at {split}");
            assert!(splitter.ended);
        }
    }

    #[test]
    fn finds_attributes_of_the_first_tag_only() {
        let element = "<iq grid='1' id='2' type=\"get\"><x other='3'/></iq>";
        assert_eq!(attribute(element, "id"), Some("2"));
        assert_eq!(attribute(element, "type"), Some("get"));
        assert_eq!(attribute(element, "other"), None);
    }
}
