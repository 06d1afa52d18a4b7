//! What owners want to know before they can answer somebody: rows, what other owners say, hashes of passwords, who is connected.

use proto::command::Answer;
use proto::effect::{Learned, Note, Question, ReplyTo};
use proto::jid::user::{AppId, UserId};
use proto::owner::Owner;
use proto::row::{Found, Rows};
use rest::flow::Work;
use store::StoreError;

use super::desk::{Desk, Task};
use super::mesh::Letter;
use super::owners::State;
use super::{Shard, Waiting};

/// Who is connected, as far as the shards have said.
pub(super) struct Roll {
    owner: Owner,
    number: u64,
    /// So many shards have not said.
    left: usize,
    users: Vec<UserId>,
}

impl<D: Desk> Shard<D> {
    /// Has something found out for an owner.
    pub(super) fn find_out(&mut self, owner: Owner, number: u64, question: Question) {
        match question {
            Question::Rows(reads) => {
                let ticket = self.ticket(Waiting::Question(owner, number));
                self.desk.read(ticket, reads);
            }
            Question::Command(to, command) => {
                let ticket = self.ticket(Waiting::Question(owner, number));
                let reply = Some(ReplyTo { shard: self.me, ticket });
                self.send(to, Note::Command { command, reply, job: None });
            }
            Question::Credentials(password, salt) => {
                let ticket = self.ticket(Waiting::Question(owner, number));
                self.desk.compute(ticket, Task::Api(Work::Derive { password, salt }));
            }
            Question::Online(app) => {
                let roll = Roll { owner, number, left: self.letters.len(), users: Vec::new() };
                let reply = ReplyTo { shard: self.me, ticket: self.ticket(Waiting::Roll(Box::new(roll))) };
                for (shard, letters) in (0..).zip(&mut self.letters) {
                    if shard != self.me {
                        letters.push(Letter::Roll(app, reply));
                    }
                }
                self.call_roll(app, reply);
            }
        }
    }

    /// Says which users of an app are connected here.
    pub(super) fn call_roll(&mut self, app: AppId, reply: ReplyTo) {
        let connected = self.owners.iter().filter_map(|(owner, slot)| match (owner, slot.state.as_deref()) {
            (Owner::Account(id), Some(State::Account(account))) if id.app == app && !account.sessions().is_empty() => {
                Some(id.user)
            }
            (_, _) => None,
        });
        let users = connected.collect();
        self.reply(reply, Answer::Online(users));
    }

    /// A shard has said who is connected there.
    pub(super) fn called(&mut self, ticket: u64, mut roll: Box<Roll>, answer: Answer) {
        if let Answer::Online(users) = answer {
            roll.users.extend(users);
        }
        roll.left -= 1;
        if roll.left > 0 {
            self.waiting.insert(ticket, Waiting::Roll(roll));
            return;
        }
        let Roll { owner, number, mut users, .. } = *roll;
        users.sort_unstable();
        self.learned(owner, number, Learned::Answer(Box::new(Answer::Online(users))));
    }

    pub(super) fn found_out(&mut self, owner: Owner, number: u64, found: Result<Vec<Found>, StoreError>) {
        let learned = match found {
            Ok(found) => Learned::Rows(Rows::new(found)),
            Err(error) => {
                tracing::error!(%error, ?owner, "rows cannot be read");
                Learned::Nothing
            }
        };
        self.learned(owner, number, learned);
    }

    /// Tells an owner what it has asked for, when its turn comes.
    pub(super) fn learned(&mut self, owner: Owner, number: u64, learned: Learned) {
        self.send(owner, Note::Learned(number, learned));
    }
}
