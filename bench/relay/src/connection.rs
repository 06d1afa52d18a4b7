//! One connection: output before input, and no buffer while nothing is under way.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use net::conn::tls::{Inside, Tls};
use net::rt::{Bell, Socket};

use crate::stream::{self, Login, Wish};
use crate::{Hub, Peer};

/// One connection. Lives on the thread that reads it.
pub struct Connection {
    hub: Rc<Hub>,
    id: usize,
    socket: Socket,
    bell: Bell,
    tls: Option<Box<Tls>>,
    /// The beginning of a stanza that has not come whole.
    begun: Vec<u8>,
    /// What the kernel did not take at once, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    login: Login,
    /// Whether nothing goes on before STARTTLS.
    needs_tls: bool,
    starts_tls: bool,
    closes: bool,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(hub: Rc<Hub>, socket: Socket) -> Connection {
        let bell = Bell::default();
        let id = hub.peers.borrow_mut().insert(Peer { bell: bell.clone(), out: Vec::new() });
        let needs_tls = hub.acceptor.is_some();
        Connection {
            hub,
            id,
            socket,
            bell,
            tls: None,
            begun: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
            login: Login::default(),
            needs_tls,
            starts_tls: false,
            closes: false,
        }
    }

    /// Relays until the client goes.
    pub async fn drive(mut self) {
        let end = poll_fn(|cx| self.poll(cx)).await;
        self.hub.peers.borrow_mut().remove(self.id);
        let mut names = self.hub.names.borrow_mut();
        if names.get(&self.login.jid) == Some(&self.id) {
            names.remove(&self.login.jid);
        }
        if let Err(error) = end
            && !matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        {
            eprintln!("relay: {error}");
        }
    }

    /// Everything that can be done now.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.bell.poll(cx).is_ready() {}
        loop {
            ready!(self.flush(cx))?;
            if self.write_output(cx)? {
                continue;
            }
            if self.closes {
                return Poll::Ready(Ok(()));
            }
            if mem::take(&mut self.starts_tls) {
                let acceptor = self.hub.acceptor.as_ref();
                let acceptor = acceptor.ok_or_else(|| io::Error::other("a client wants TLS that is not on offer"))?;
                let tls = acceptor.accept(Inside::StartTls).map_err(io::Error::other)?;
                self.tls = Some(Box::new(tls));
                self.needs_tls = false;
            }
            if ready!(self.read_input(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes what is left from before.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            self.sent += ready!(self.socket.poll_write(cx, &self.unsent[self.sent..]))?;
        }
        if self.sent > 0 {
            (self.unsent, self.sent) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what there is for the client; true if there was anything.
    fn write_output(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let out = mem::take(&mut self.hub.peers.borrow_mut()[self.id].out);
        if out.is_empty() {
            return Ok(false);
        }
        let mut buffers = self.hub.buffers.borrow_mut();
        let bytes = match &mut self.tls {
            Some(tls) => {
                buffers.sealed.clear();
                tls.send(&out, &mut buffers.sealed).map_err(io::Error::other)?;
                &buffers.sealed
            }
            None => &out,
        };
        let written = match self.socket.poll_write(cx, bytes) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.unsent.extend_from_slice(&bytes[written..]);
        Ok(true)
    }

    /// Reads once; how many bytes came.
    fn read_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let hub = Rc::clone(&self.hub);
        let mut buffers = hub.buffers.borrow_mut();
        let kept = match &self.tls {
            Some(tls) => tls.restore(&mut buffers.read).map_err(io::Error::other)?,
            None => 0,
        };
        let read = ready!(self.socket.poll_read(cx, &mut buffers.read[kept..]))?;
        let input = &mut buffers.read[..kept + read];
        match self.tls.take() {
            None => self.take(input),
            Some(mut tls) => {
                let mut said = mem::take(&mut self.unsent);
                let received = tls.receive(input, &mut said, |plain| self.take(plain));
                (self.unsent, self.tls) = (said, Some(tls));
                received.map_err(io::Error::other)?;
            }
        }
        Poll::Ready(Ok(read))
    }

    /// Does what the client says, and keeps what it has not finished saying.
    fn take(&mut self, plain: &[u8]) {
        if self.begun.is_empty() {
            let done = self.follow(plain);
            self.begun.extend_from_slice(&plain[done..]);
            return;
        }
        let mut begun = mem::take(&mut self.begun);
        begun.extend_from_slice(plain);
        let done = self.follow(&begun);
        if done < begun.len() {
            begun.drain(..done);
            self.begun = begun;
        }
    }

    /// Does what is said in `bytes`, as far as it is whole; how far that is.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let hub = Rc::clone(&self.hub);
        let mut peers = hub.peers.borrow_mut();
        let mut done = 0;
        while let Some((said, end)) = stream::cut(&bytes[done..]) {
            done += end;
            match self.login.answer(said, self.needs_tls, &mut peers[self.id].out) {
                Wish::Nothing => {}
                Wish::StartTls => self.starts_tls = true,
                Wish::Login => drop(hub.names.borrow_mut().insert(self.login.jid.clone(), self.id)),
                Wish::Close => self.closes = true,
                Wish::Forward(stanza) => {
                    let names = hub.names.borrow();
                    if let Some(&to) = names.get(stream::attribute(stanza, b" to=")) {
                        peers[to].out.extend_from_slice(stanza);
                        peers[to].bell.ring();
                    }
                }
            }
        }
        done
    }
}
