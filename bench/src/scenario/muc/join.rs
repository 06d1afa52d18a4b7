//! Everybody enters their rooms (XEP-0045 §7.2), without history. The first member of a room comes alone and, if that made
//! the room, accepts its default settings (§10.1.2) before the others come.

use std::collections::VecDeque;
use std::time::Instant;

use super::rooms::{Rooms, nick};
use super::{Bench, RunError};
use crate::client::framer;
use crate::client::{Closed, ConnId, Engine, Handler, Next, Outcome};
use crate::report::Progress;
use crate::scenario::answer;

const SETTINGS_ID: &str = "settings";

/// Lets every member enter; `connections` by account.
pub fn enter(bench: &mut Bench, rooms: &Rooms, connections: &[ConnId]) -> Result<(), RunError> {
    let seats = rooms.jids().len() * rooms.members();
    let mut entrance = Entrance {
        rooms,
        connections,
        waiting: (0..rooms.jids().len()).map(|room| (room, 0)).collect(),
        inside: vec![false; seats],
        left: seats,
        under_way: 0,
        at_once: bench.logins,
        failed: None,
        progress: &mut bench.progress,
    };
    let outcome = bench.engine.run(&mut entrance, bench.deadline)?;
    match (entrance.failed, outcome) {
        (Some(why), _) => Err(RunError::Rooms(why)),
        (None, Outcome::TimedOut) => Err(RunError::TimedOut("members enter their rooms")),
        (None, Outcome::Finished) => Ok(()),
    }
}

struct Entrance<'a> {
    rooms: &'a Rooms,
    connections: &'a [ConnId],
    /// Room and member.
    waiting: VecDeque<(usize, usize)>,
    inside: Vec<bool>,
    left: usize,
    under_way: usize,
    at_once: usize,
    failed: Option<String>,
    progress: &'a mut Progress,
}

impl Entrance<'_> {
    fn presence(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        let account = engine.account_of(id);
        let Some((room, member)) = self.rooms.place(stanza, account) else { return };
        match framer::attribute(stanza, b"type") {
            Some(b"error") => return self.fail(stanza),
            Some(_) => return,
            None => {}
        }
        // Only our own presence comes from our own nick.
        let from = framer::attribute(stanza, b"from").unwrap_or_default();
        let ours = from.strip_prefix(self.rooms.jids()[room].as_bytes()).and_then(|rest| rest.strip_prefix(b"/"));
        let seat = self.rooms.seat(room, member);
        if ours != Some(nick(&engine.accounts()[account].user).as_bytes()) || self.inside[seat] {
            return;
        }
        self.inside[seat] = true;
        self.left -= 1;
        self.under_way -= 1;
        if member > 0 {
            return;
        }
        if [&b"'201'"[..], b"\"201\""].iter().any(|code| memchr::memmem::find(stanza, code).is_some()) {
            let iq = format!(
                "<iq type='set' id='{SETTINGS_ID}' to='{}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
                 <x xmlns='jabber:x:data' type='submit'/></query></iq>",
                self.rooms.jids()[room]
            );
            engine.out(id).extend_from_slice(iq.as_bytes());
        } else {
            self.open(room);
        }
    }

    /// Everybody else may come.
    fn open(&mut self, room: usize) {
        self.waiting.extend((1..self.rooms.members()).map(|member| (room, member)));
    }

    fn fail(&mut self, stanza: &[u8]) {
        self.failed.get_or_insert_with(|| String::from_utf8_lossy(stanza).into_owned());
    }
}

impl Handler for Entrance<'_> {
    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        match framer::name(stanza) {
            b"presence" => self.presence(engine, id, stanza),
            b"iq" if super::super::is_answer_to(stanza, SETTINGS_ID) => {
                match self.rooms.place(stanza, engine.account_of(id)) {
                    Some((room, _)) if framer::attribute(stanza, b"type") == Some(b"result") => self.open(room),
                    Some(_) | None => self.fail(stanza),
                }
            }
            _ => answer(engine, id, stanza),
        }
    }

    fn closed(&mut self, _: &mut Engine, _: ConnId, why: Closed) {
        self.failed.get_or_insert_with(|| format!("a member was closed: {why}"));
    }

    fn tick(&mut self, engine: &mut Engine, now: Instant) -> Next {
        while self.failed.is_none() && self.under_way < self.at_once {
            let Some((room, member)) = self.waiting.pop_front() else { break };
            let account = self.rooms.account(room, member);
            let presence = format!(
                "<presence to='{}/{}'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>",
                self.rooms.jids()[room],
                nick(&engine.accounts()[account].user)
            );
            engine.out(self.connections[account]).extend_from_slice(presence.as_bytes());
            self.under_way += 1;
        }
        let (left, seats) = (self.left, self.inside.len());
        self.progress.show(now, || format!("entering rooms: {} of {seats}", seats - left));
        if self.failed.is_some() || self.left == 0 { Next::Done } else { Next::Wait }
    }
}
