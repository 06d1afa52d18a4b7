//! Everything that crosses from one shard's owners to another's. If it is not here, it does not cross.

use bytes::Bytes;

use proto::bosh;
use proto::command::Answer;
use proto::effect::{Note, ReplyTo, Seat};
use proto::jid::user::AppId;
use proto::owner::Owner;

use super::bosh::{MovingSession, Origin};

/// One message between shards.
#[derive(Debug)]
pub enum Letter {
    /// For an owner that lives on the receiving shard.
    Note(Owner, Note),
    /// The answer to a question that the receiving shard asked under this ticket.
    Answer(u64, Answer),
    /// Which users of an app are connected on the receiving shard?
    Roll(AppId, ReplyTo),
    /// A dialog's stanza for sessions on the receiving shard.
    Fanout(Owner, Bytes, Vec<Seat>),
    /// A BOSH request that came in elsewhere.
    Bosh(Origin, Box<bosh::Request>),
    /// The answer to a BOSH request that came in on the receiving shard.
    BoshAnswer(Origin, Bytes),
    /// The client hung up on a BOSH request.
    BoshDropped(Origin),
    /// A BOSH session, because its user lives on the receiving shard.
    BoshMove(Box<MovingSession>),
    /// A BOSH session that began on the receiving shard has ended.
    BoshOver(Box<str>),
}
