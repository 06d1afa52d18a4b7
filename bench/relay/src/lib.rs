//! A floor for measurements: the server's own runtime, TLS and buffers, and no XMPP server in between.
//!
//! Logins are answered by rote, and each `<message/>` is copied to the connection that its `to` names. The relay believes every
//! password, checks nothing and has one thread. What a message costs here is what the kernel, the runtime and TLS take for its
//! bytes; what the server takes beyond that is the server's.
//!
//! - [`start`] runs one; the binary `rookery-relay` does so until it is killed.
//! - `connection`: one connection, in the order of the server's own driver: output, then input.
//! - `stream`: where stanzas end, and what is said to those that are no messages.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::JoinHandle;

use net::conn::tls::Acceptor;
use net::rt::{self, Bell, Listener, Place};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

mod connection;
mod stream;

use connection::Connection;

/// What all connections share.
struct Hub {
    /// None when nobody gets TLS.
    acceptor: Option<Acceptor>,
    peers: RefCell<Slab<Peer>>,
    /// Connections by bare JID.
    names: RefCell<HashMap<Vec<u8>, usize>>,
    buffers: RefCell<Buffers>,
}

/// What others can reach of a connection.
#[derive(Default)]
struct Peer {
    /// Rings when there is something in `out`.
    bell: Bell,
    out: Vec<u8>,
}

/// The buffers that connections take turns with, as those of a shard do.
struct Buffers {
    read: Box<[u8]>,
    sealed: Vec<u8>,
}

/// A socket that listens at an address.
///
/// # Errors
/// When the address cannot be had.
pub fn listen(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Relays, on a thread of its own that does not end by itself. `pem` is a certificate with its key; with it clients have to use
/// STARTTLS, and without there is no TLS.
///
/// # Errors
/// When the certificate cannot be used, or no thread be started.
pub fn start(listener: Socket, pem: Option<&[u8]>) -> Result<JoinHandle<()>, Box<dyn Error>> {
    let acceptor = pem.map(acceptor).transpose()?;
    let thread = rt::start("relay", Place::Anywhere, move || async move {
        if let Err(error) = run(listener, acceptor).await {
            eprintln!("relay: {error}");
        }
    })?;
    Ok(thread)
}

fn acceptor(pem: &[u8]) -> Result<Acceptor, Box<dyn Error>> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    Ok(Acceptor::new(chain, PrivateKeyDer::from_pem_slice(pem)?)?)
}

async fn run(listener: Socket, acceptor: Option<Acceptor>) -> io::Result<()> {
    let listener = Listener::adopt(listener.into())?;
    let buffers = Buffers { read: vec![0; READ_BYTES].into(), sealed: Vec::new() };
    let hub =
        Rc::new(Hub { acceptor, peers: RefCell::default(), names: RefCell::default(), buffers: RefCell::new(buffers) });
    loop {
        let socket = listener.accept().await?;
        rt::spawn(Connection::new(Rc::clone(&hub), socket).drive());
        rt::step_aside().await;
    }
}

/// As many as the server reads at a time.
const READ_BYTES: usize = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
