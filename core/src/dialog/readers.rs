//! The readers who said or marked something lately: in a lively dialog they are asked for with every message.

use super::Dialog;
use crate::jid::user::UserId;
use crate::model::dialog::Reader;
use crate::row::{Batch, Reads, Rows, Unreadable};

/// How many a dialog remembers: both of a private one, and those who talk at the moment in a group.
const KEPT_MAX: usize = 8;

/// As their rows are or will be, the last asked for in front.
#[derive(Default)]
pub(super) struct Readers(Vec<(UserId, Reader)>);

impl Readers {
    fn place_of(&self, user: UserId) -> Option<usize> {
        self.0.iter().position(|(known, _)| *known == user)
    }

    fn keep(&mut self, user: UserId, reader: Reader) {
        match self.place_of(user) {
            Some(at) => self.0[..=at].rotate_right(1),
            None => {
                self.0.truncate(KEPT_MAX - 1);
                self.0.insert(0, (user, reader));
            }
        }
        self.0[0] = (user, reader);
    }
}

impl Dialog {
    /// The row that [`Dialog::reader_found`] needs, if it does.
    pub(super) fn reader_reads(&self, user: UserId) -> Reads {
        match self.readers.place_of(user) {
            Some(_) => Reads::none(),
            None => Reader::reads(self.app, self.id, user),
        }
    }

    /// How far this user is; `rows` has what [`Dialog::reader_reads`] asked for.
    pub(super) fn reader_found(&mut self, user: UserId, rows: &mut Rows) -> Result<Reader, Unreadable> {
        let reader = match self.readers.place_of(user) {
            Some(at) => self.readers.0[at].1,
            None => Reader::found(rows)?,
        };
        self.readers.keep(user, reader);
        Ok(reader)
    }

    /// From now on this user is so far.
    pub(super) fn put_reader(&mut self, user: UserId, reader: Reader, batch: &mut Batch) {
        reader.put(batch, self.app, self.id, user);
        self.readers.keep(user, reader);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(count: u64) -> Reader {
        Reader { seen: count, ..Reader::default() }
    }

    #[test]
    fn the_last_asked_for_are_kept_as_they_were_put_last() {
        let mut readers = Readers::default();
        for user in 0..20 {
            readers.keep(UserId(user), seen(user));
        }
        readers.keep(UserId(14), seen(100));
        readers.keep(UserId(30), seen(30));
        let kept: Vec<_> = readers.0.iter().map(|(user, reader)| (user.0, reader.seen)).collect();
        assert_eq!(kept, [(30, 30), (14, 100), (19, 19), (18, 18), (17, 17), (16, 16), (15, 15), (13, 13)]);
    }
}
