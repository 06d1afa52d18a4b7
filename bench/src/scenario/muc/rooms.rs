//! Who is in which room: seats are dealt to the accounts in the order of the users file, from the start again when it ends.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::RunError;
use crate::client::framer;

/// The account that sits on seat `member` of `room`.
pub fn account_of(room: usize, member: usize, members: usize, users: usize) -> usize {
    (room * members + member) % users
}

/// The name of a user in a room: the number before the dash, as the QuickBlox SDKs have it, else all of it.
pub fn nick(user: &str) -> &str {
    user.split('-').next().unwrap_or(user)
}

/// The first `wanted` lines of a file of room JIDs.
pub fn read(path: &Path, wanted: usize) -> Result<Vec<String>, RunError> {
    let text = fs::read_to_string(path).map_err(|e| RunError::Rooms(format!("{}: {e}", path.display())))?;
    let jids: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if jids.len() < wanted || jids.iter().any(|jid| !jid.contains('@') || jid.contains(['\'', '"', '<', '&', '/'])) {
        return Err(RunError::Rooms(format!("{} must hold {wanted} room JIDs, one a line", path.display())));
    }
    Ok(jids.into_iter().take(wanted).collect())
}

/// Rooms of equal size.
pub struct Rooms {
    jids: Vec<String>,
    by_jid: HashMap<Vec<u8>, usize>,
    members: usize,
    users: usize,
}

impl Rooms {
    /// `users` accounts take part; `members` are at most as many.
    pub fn new(jids: Vec<String>, members: usize, users: usize) -> Self {
        let by_jid = jids.iter().enumerate().map(|(room, jid)| (jid.clone().into_bytes(), room)).collect();
        Self { jids, by_jid, members, users }
    }

    /// The rooms' bare JIDs.
    pub fn jids(&self) -> &[String] {
        &self.jids
    }

    /// Members of each room.
    pub fn members(&self) -> usize {
        self.members
    }

    /// The account on a seat.
    pub fn account(&self, room: usize, member: usize) -> usize {
        account_of(room, member, self.members, self.users)
    }

    /// The number of a seat over all rooms.
    pub fn seat(&self, room: usize, member: usize) -> usize {
        room * self.members + member
    }

    /// The room of such a number.
    pub fn room_of_seat(&self, seat: usize) -> usize {
        seat / self.members
    }

    /// Which room a stanza comes from, and on which seat there the account that gets it sits.
    pub fn place(&self, stanza: &[u8], account: usize) -> Option<(usize, usize)> {
        let from = framer::attribute(stanza, b"from")?;
        let room = *self.by_jid.get(bare(from))?;
        let first = self.account(room, 0);
        let member = (account + self.users - first) % self.users;
        (member < self.members).then_some((room, member))
    }
}

/// A JID without its resource.
fn bare(jid: &[u8]) -> &[u8] {
    &jid[..memchr::memchr(b'/', jid).unwrap_or(jid.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_seats_from_what_a_member_gets() {
        let jids = ["a@muc.x", "b@muc.x", "c@muc.x"].map(str::to_owned).to_vec();
        // Five users on twelve seats: everybody sits in two rooms or three.
        let rooms = Rooms::new(jids, 4, 5);
        for room in 0..3 {
            for member in 0..4 {
                let stanza = format!("<message from='{}/17' type='groupchat'/>", rooms.jids()[room]);
                let account = rooms.account(room, member);
                assert_eq!(rooms.place(stanza.as_bytes(), account), Some((room, member)));
                assert_eq!(rooms.room_of_seat(rooms.seat(room, member)), room);
            }
            let absent = (0..5).find(|account| (0..4).all(|member| rooms.account(room, member) != *account)).unwrap();
            let stanza = format!("<message from='{}'/>", rooms.jids()[room]);
            assert_eq!(rooms.place(stanza.as_bytes(), absent), None);
        }
        assert_eq!(rooms.place(b"<message from='d@muc.x/1'/>", 0), None);
        assert_eq!(rooms.place(b"<message/>", 0), None);
    }

    #[test]
    fn takes_the_number_of_a_quickblox_user_as_the_nick() {
        assert_eq!(nick("17-92"), "17");
        assert_eq!(nick("u00001"), "u00001");
    }
}
