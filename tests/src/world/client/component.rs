//! Components over a world's connections. XEP-0114

use std::collections::VecDeque;

use aws_lc_rs::digest;
use net::shard::Port;
use proto::xml::Framer;

use super::{Client, Line, Refused, State};
use crate::world::World;

impl World {
    /// A connection to the port of components, on which a stream for this domain was opened; with the id of the server's, if it has
    /// answered with one.
    pub fn open_component(&mut self, domain: &str) -> (Client, Option<String>) {
        let pipe = self.open(Port::Component, false);
        let line = Line::Tcp { pipe, framer: Box::new(Framer::new()) };
        self.clients.push(State { line, ready: VecDeque::new(), jid: domain.to_owned(), ended: false });
        let client = Client(self.clients.len() - 1);
        let header = format!(
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{domain}'>"
        );
        self.send_raw(client, header.as_bytes());
        let said = String::from_utf8_lossy(&self.pipes[pipe].to_client).into_owned();
        let id = said.split_once(" id=\"").and_then(|(_, rest)| rest.split('"').next()).map(str::to_owned);
        (client, id)
    }

    /// A component that has shown this secret.
    pub fn connect_component(&mut self, domain: &str, secret: &str) -> Result<Client, Refused> {
        let (client, id) = self.open_component(domain);
        let shown = handshake(&id.unwrap_or_default(), secret);
        self.send(client, &format!("<handshake>{shown}</handshake>"));
        self.expect_some(client, "<handshake/>")?;
        Ok(client)
    }
}

/// What a component answers to a stream's id. XEP-0114 §3
pub fn handshake(id: &str, secret: &str) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{id}{secret}").as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
