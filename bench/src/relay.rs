//! `relay`: the floor. As little as a server can do and still carry the driver's messages: TLS, the stream's handshakes
//! answered by rote, and each `<message/>` copied to the connection that its `to` names.
//!
//! It believes every password and checks nothing. One thread, epoll, `rustls`; what it costs is what the kernel and TLS
//! cost, and every server's number can be read as a multiple of it. Without a certificate it is the kernel's part alone.

use std::collections::HashMap;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use slab::Slab;

use crate::client::framer::{self, Frame, Framer};

/// Parameters of `relay`.
#[derive(Args)]
pub struct Relay {
    /// The port on loopback.
    #[arg(long)]
    port: u16,
    /// Key and certificate, PEM in one file: with them STARTTLS is offered, and without there is no TLS.
    #[arg(long)]
    certificate: Option<PathBuf>,
}

const READ_BYTES: usize = 64 << 10;
const LISTENER: Token = Token(usize::MAX);

/// Serves until it is killed.
pub fn run(relay: &Relay) -> io::Result<()> {
    crate::raise_open_files_limit()?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, relay.port)))?;
    let tls = relay.certificate.as_ref().map(|path| tls_config(&std::fs::read(path)?)).transpose()?;
    serve(listener, tls)
}

fn serve(mut listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut hub = Hub { tls, peers: Slab::new(), names: HashMap::new(), buffer: vec![0; READ_BYTES] };
    loop {
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            Ok(()) | Err(_) => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                hub.accept(&listener, poll.registry())?;
            } else if let Err(e) = hub.serve(event.token().0, event.is_read_closed()) {
                hub.remove(event.token().0, &e);
            }
        }
    }
}

fn tls_config(pem: &[u8]) -> io::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(io::Error::other)?;
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

struct Hub {
    /// None when nobody gets TLS.
    tls: Option<Arc<ServerConfig>>,
    peers: Slab<Peer>,
    /// Connections by bare JID.
    names: HashMap<Vec<u8>, usize>,
    buffer: Vec<u8>,
}

struct Peer {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// Whether TLS comes before the login.
    needs_tls: bool,
    framer: Framer,
    out: Vec<u8>,
    domain: Vec<u8>,
    /// The bare JID, once "authenticated".
    jid: Vec<u8>,
}

/// What a connection wants after one of its frames.
enum Wish {
    Nothing,
    StartTls,
    NewStream,
    Forward(usize),
    Close,
}

impl Hub {
    fn accept(&mut self, listener: &TcpListener, registry: &Registry) -> io::Result<()> {
        loop {
            let mut socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            };
            socket.set_nodelay(true)?;
            let entry = self.peers.vacant_entry();
            registry.register(&mut socket, Token(entry.key()), Interest::READABLE | Interest::WRITABLE)?;
            let (out, domain, jid) = (Vec::new(), Vec::new(), Vec::new());
            let needs_tls = self.tls.is_some();
            entry.insert(Peer { socket, tls: None, needs_tls, framer: Framer::default(), out, domain, jid });
        }
    }

    /// Reads once, or to the end if the client has closed.
    fn serve(&mut self, id: usize, closed: bool) -> io::Result<()> {
        while let Some(peer) = self.peers.get_mut(id) {
            let more = peer.receive(&mut self.buffer)?;
            let mut framer = mem::take(&mut peer.framer);
            let mut others = Vec::new();
            while let Some(frame) = framer.next_frame().map_err(io::Error::other)? {
                let wish = self.peers[id].answer(&frame, &self.names);
                match (wish, frame) {
                    (Wish::Forward(to), Frame::Stanza(stanza)) => {
                        self.peers[to].out.extend_from_slice(stanza);
                        others.push(to);
                    }
                    (Wish::StartTls, _) => {
                        framer.restart();
                        self.peers[id].flush()?;
                        let Some(tls) = self.tls.clone() else {
                            return Err(io::Error::other("a client wants TLS that is not on offer"));
                        };
                        let tls = ServerConnection::new(tls).map_err(io::Error::other)?;
                        self.peers[id].tls = Some(Box::new(tls));
                    }
                    (Wish::NewStream, _) => {
                        framer.restart();
                        self.names.insert(self.peers[id].jid.clone(), id);
                    }
                    (Wish::Close, _) => {
                        self.peers[id].flush()?;
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                    (Wish::Forward(_) | Wish::Nothing, _) => {}
                }
            }
            self.peers[id].framer = framer;
            self.peers[id].flush()?;
            for to in others {
                // Its own event will tell why it cannot be written to.
                if let Some(peer) = self.peers.get_mut(to) {
                    drop(peer.flush());
                }
            }
            if !more && !closed {
                break;
            }
        }
        Ok(())
    }

    fn remove(&mut self, id: usize, why: &io::Error) {
        let Some(peer) = self.peers.try_remove(id) else { return };
        if self.names.get(&peer.jid) == Some(&id) {
            self.names.remove(&peer.jid);
        }
        let expected = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        if !expected.contains(&why.kind()) {
            eprintln!("relay: {why}");
        }
    }
}

impl Peer {
    /// Reads once; false when nothing more can be there.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let count = match self.socket.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::ConnectionAborted.into()),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        };
        let mut bytes = &buffer[..count];
        let Some(tls) = &mut self.tls else {
            self.framer.push(bytes);
            return Ok(true);
        };
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes)?;
            let mut left = tls.process_new_packets().map_err(io::Error::other)?.plaintext_bytes_to_read();
            while left > 0 {
                let mut reader = tls.reader();
                let length = reader.fill_buf().map(|chunk| {
                    self.framer.push(chunk);
                    chunk.len()
                })?;
                reader.consume(length);
                left -= length.min(left);
            }
        }
        Ok(count == buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => {
                if !self.out.is_empty() {
                    tls.writer().write_all(&self.out)?;
                    self.out.clear();
                }
                while tls.wants_write() {
                    match tls.write_tls(&mut self.socket) {
                        Ok(_) => {}
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                        Err(e) => return Err(e),
                    }
                }
            }
            None => {
                let mut written = 0;
                while written < self.out.len() {
                    match self.socket.write(&self.out[written..]) {
                        Ok(count) => written += count,
                        // The rest goes when the socket tells that there is room.
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                        Err(e) => return Err(e),
                    }
                }
                self.out.drain(..written);
            }
        }
        Ok(())
    }

    fn answer(&mut self, frame: &Frame<'_>, names: &HashMap<Vec<u8>, usize>) -> Wish {
        let stanza = match frame {
            Frame::Header(header) => {
                self.domain = framer::attribute(header, b"to").unwrap_or_default().to_vec();
                self.out.extend_from_slice(
                    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='r'>",
                );
                self.out.extend_from_slice(match (self.needs_tls && self.tls.is_none(), self.jid.is_empty()) {
                    (true, _) => b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>".as_slice(),
                    (false, true) => b"<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>",
                    (false, false) => b"<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>",
                });
                return Wish::Nothing;
            }
            Frame::End => {
                self.out.extend_from_slice(b"</stream:stream>");
                return Wish::Close;
            }
            Frame::Stanza(stanza) => *stanza,
        };
        match framer::name(stanza) {
            b"message" => {
                let to = framer::attribute(stanza, b"to").and_then(|to| names.get(to));
                return to.map_or(Wish::Nothing, |to| Wish::Forward(*to));
            }
            b"starttls" => {
                self.out.extend_from_slice(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
                return Wish::StartTls;
            }
            b"auth" => {
                let text = BASE64.decode(framer::text(stanza)).unwrap_or_default();
                let user = text.split(|byte| *byte == 0).nth(1).unwrap_or_default();
                self.jid = [user, b"@", &self.domain].concat();
                self.out.extend_from_slice(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
                return Wish::NewStream;
            }
            b"presence" => self.out.extend_from_slice(stanza),
            _ => {
                self.out.extend_from_slice(b"<iq type='result' id='");
                self.out.extend_from_slice(framer::attribute(stanza, b"id").unwrap_or_default());
                self.out.extend_from_slice(b"'/>");
            }
        }
        Wish::Nothing
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use clap::Parser;

    use super::*;
    use crate::client::{Account, Engine, Mechanism, Security, Target};
    use crate::procfs::Server;
    use crate::report::Progress;
    use crate::scenario::{Bench, churn, idle, pairs};

    /// A scenario's parameters as from a command line.
    #[derive(Parser)]
    struct Of<T: Args> {
        #[command(flatten)]
        scenario: T,
    }

    fn parameters<T: Args>(line: &str) -> T {
        Of::parse_from(format!("test {line}").split(' ')).scenario
    }

    /// A relay on a thread of its own (it ends with the test process) and a driver with six users.
    fn bench(security: Security) -> Bench {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = made.signing_key.serialize_pem() + &made.cert.pem();
        let tls = (security != Security::Plain).then(|| tls_config(pem.as_bytes()).unwrap());
        std::thread::spawn(move || serve(listener, tls));
        let account = |n| Account::parse(&format!("user{n}@localhost secret")).unwrap();
        let target = Target {
            address,
            security,
            websocket: None,
            mechanism: Mechanism::Plain,
            tls: crate::client::tls_config(false),
            accounts: (0..6).map(account).collect(),
        };
        Bench {
            engine: Engine::new(target).unwrap(),
            server: Server::new(vec![std::process::id()]).unwrap(),
            deadline: Instant::now() + Duration::from_secs(60),
            settle: Duration::ZERO,
            logins: 3,
            progress: Progress::default(),
        }
    }

    #[test]
    fn pairs_talk_through_it_and_lose_nothing() {
        for (kind, security) in [
            ("--window 3", Security::Starttls),
            ("--rate 500", Security::Starttls),
            ("--window 3", Security::Plain),
            ("--rate 500", Security::Plain),
        ] {
            let talk: pairs::Pairs = parameters(&format!("--pairs 3 --secs 1 --warmup-secs 0 {kind}"));
            let found = pairs::run(&mut bench(security), &talk).unwrap();
            assert_eq!(found.failures, Vec::<String>::new());
            let phase = &found.phases[0];
            assert!(phase.operations > 100, "{} messages", phase.operations);
            assert_eq!(phase.counts["sent_in_all"], phase.counts["received_in_all"]);
            assert!(phase.latency_us.as_ref().is_some_and(|latency| latency.count == phase.operations));
        }
    }

    #[test]
    fn logins_come_and_go() {
        let found = churn::run(&mut bench(Security::Starttls), &parameters("--count 20")).unwrap();
        assert_eq!(found.failures, Vec::<String>::new());
        assert_eq!(found.phases[0].operations, 20);
    }

    #[test]
    fn idle_users_beyond_their_number_get_further_resources() {
        let found = idle::run(&mut bench(Security::Starttls), &parameters("--connections 14 --hold-secs 0")).unwrap();
        assert_eq!(found.failures, Vec::<String>::new());
        assert_eq!(found.phases[1].operations, 14);
        assert!(found.phases[1].figures.contains_key("rss_kib_per_connection"));
    }
}
