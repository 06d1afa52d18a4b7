//! A socket and its TLS: bytes in, bytes out.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::ClientConfig;
use rustls::client::ClientConnection;
use rustls::pki_types::ServerName;

/// A nonblocking socket, encrypted or not.
pub struct Line {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Line {
    /// In clear, until [`Line::start_tls`].
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, tls: None }
    }

    /// Events come with this token.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE | Interest::WRITABLE)
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

    /// Reads once into `buffer` and hands what it means to `take`. `Ok(None)`: nothing there now; `Ok(Some(0))`: the
    /// server closed.
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Option<usize>> {
        let count = match self.socket.read(buffer) {
            Ok(count) => count,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut bytes = &buffer[..count];
        let Some(tls) = &mut self.tls else {
            take(bytes)?;
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
                take(chunk)?;
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
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes what the socket takes of `out`; the rest waits for the next writable event.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let blocked = |result: io::Result<usize>| match result {
            Ok(count) => Ok(Some(count)),
            // Before the connection is established the kernel says NotConnected.
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => Ok(None),
            Err(e) => Err(e),
        };
        let Some(tls) = &mut self.tls else {
            while !out.is_empty() {
                match blocked(self.socket.write(out))? {
                    Some(count) => drop(out.drain(..count)),
                    None => break,
                }
            }
            return Ok(());
        };
        if !out.is_empty() {
            tls.writer().write_all(out)?;
            out.clear();
        }
        while tls.wants_write() && blocked(tls.write_tls(&mut self.socket))?.is_some() {}
        Ok(())
    }
}
