//! XEP-0313: Message Archive Management, over the one history. XEP-0359 ids and XEP-0059 pages go with it.
//!
//! What is archived is what was sent with `save_to_history`, whoever sent it and however (a message over REST is in the archive
//! like any other), and what one of the two users prefers to be archived (`prefs`). A message has one id everywhere: its `_id` in the API, the id in both users' archives, and the `stanza-id` it
//! is delivered with.
//!
//! *A user's archive* holds the private dialogs that the user's list shows. With `with` it is the conversation with that user;
//! of a room that the user is in, it is the room's history, which is also there under the room's own address (see
//! `crate::dialog`). The archive is the user's alone: for anybody else there is nothing at that address.
//!
//! | subject | file |
//! |---|---|
//! | what is asked | `query` |
//! | which messages are on a page, and what finding them costs | `search` |
//! | the stanzas of the answer | `inquiry` |
//! | what is to be archived | `prefs` |
//! | what a client is told of it as it comes in | `ends` |

use super::chain::{Facts, Look, Watch};
use super::{At, Extension, IqRoute, Request, Spec, nothing};
use crate::account::Account;
use crate::effect::{Site, Turn};
use crate::error::Condition;
use crate::jid::Jid;
use crate::jid::user::DialogId;
use crate::model::dialog::{self, DialogRow};
use crate::ns;
use crate::owner::AccountId;
use crate::route::{Target, target};
use crate::row::Rows;
use crate::stanza::{IqAnswer, IqKind};

mod ends;
mod inquiry;
mod prefs;
mod query;
mod search;
#[cfg(test)]
mod tests;

pub(crate) use inquiry::{Inquiry, View};
pub(crate) use query::{Query, fields};
pub(crate) use search::{Keep, Scope};

pub(super) static ARCHIVE: Extension = Extension {
    name: "Message Archive Management",
    spec: Spec::Xep(313, "1.1.3"),
    account_features: &[ns::MAM, ns::MAM_EXTENDED, ns::MAM_GROUPCHAT_FIELD],
    iq: &[
        IqRoute { at: At::Account, kind: IqKind::Get, ns: ns::MAM, name: "query", plan: nothing, apply: on_form },
        IqRoute { at: At::Account, kind: IqKind::Set, ns: ns::MAM, name: "query", plan: nothing, apply: on_query },
        IqRoute {
            at: At::Account,
            kind: IqKind::Get,
            ns: ns::MAM,
            name: "metadata",
            plan: nothing,
            apply: on_metadata,
        },
    ],
    ..Extension::NONE
};

pub use ends::Ends;
pub(super) use prefs::PREFERENCES;
pub use prefs::{Prefs, Usual};

/// Whether a message that does not ask to be kept may be, where that is preferred: one that has a body or says that it is worth
/// it, and does not say no. §5.1, XEP-0334 §4.
pub(crate) fn is_archived(look: Look) -> bool {
    (look.is(Facts::BODY) || look.is(Facts::STORE)) && !look.is(Facts::NO_STORE) && !look.is(Facts::NO_ARCHIVE)
}

/// The dialogs write the ids, as they save: [`crate::dialog`].
pub(super) static STANZA_IDS: Extension = Extension {
    name: "Unique and Stable Stanza IDs",
    spec: Spec::Xep(359, "0.7.0"),
    account_features: &[ns::STANZA_ID],
    messages: &[
        Watch::facts(ns::STANZA_ID, &["stanza-id"], Facts::CLAIM),
        Watch::facts(ns::STANZA_ID, &["origin-id"], Facts::NONE),
    ],
    ..Extension::NONE
};

pub(super) static RESULT_SETS: Extension =
    Extension { name: "Result Set Management", spec: Spec::Xep(59, "1.0"), ..Extension::NONE };

/// §4.1.5
fn on_form(_: &Request<'_>, _: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    Ok(fields())
}

/// §6
fn on_metadata(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let inquiry = Inquiry::ends(account.id(), Scope::Private);
    inquire(request, account, inquiry, None, turn)
}

/// §4
fn on_query(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let query = Query::read(request.payload)?;
    let viewer = account.id();
    match With::read(query.with.as_deref(), viewer, turn.site)? {
        With::Anyone => {
            let inquiry = Inquiry::of(viewer, Scope::Private, Keep::All, query, None);
            inquire(request, account, inquiry, None, turn)
        }
        With::Nobody => inquire(request, account, nowhere(viewer, query), None, turn),
        With::Dialog { dialog, keep, is_room } => {
            account.look_up(dialog::load_reads(viewer.app, dialog), move |request, account, mut rows, turn| {
                let found = dialog::load(&mut rows).map_err(|_| Condition::InternalServerError)?;
                let found = found.filter(|(record, _)| record.admits(viewer.user) && record.has_room() == is_room);
                match found {
                    None if is_room => Err(Condition::ItemNotFound.into()),
                    Some((record, head)) if !is_room || query.groupchat != Some(false) => {
                        let count = Some(head.archived()).filter(|_| keep == Keep::All);
                        let inquiry = Inquiry::of(viewer, Scope::One(dialog), keep, query, count);
                        inquire(request, account, inquiry, Some(record).filter(|_| is_room), turn)
                    }
                    Some(_) | None => inquire(request, account, nowhere(viewer, query), None, turn),
                }
            })
        }
    }
}

/// Whose messages.
enum With {
    Anyone,
    /// Of one dialog.
    Dialog {
        dialog: DialogId,
        keep: Keep,
        is_room: bool,
    },
    /// There cannot be any.
    Nobody,
}

impl With {
    fn read(with: Option<&str>, viewer: AccountId, site: &Site) -> Result<With, Condition> {
        let Some(with) = with else { return Ok(With::Anyone) };
        let jid = Jid::parse(with).map_err(|_| Condition::JidMalformed)?;
        Ok(match target(Some(&jid), viewer, site) {
            // §4.1.1: a full address, or someone in a room, means the messages of exactly that.
            Target::User(other, resource) if other != viewer => {
                let keep = resource.map_or(Keep::All, |_| Keep::Address(jid.as_str().to_owned()));
                let dialog = DialogId::private(&site.pairs, viewer.app, viewer.user, other.user);
                With::Dialog { dialog, keep, is_room: false }
            }
            Target::Dialog(dialog, nick) => match nick.map(str::parse) {
                None => With::Dialog { dialog, keep: Keep::All, is_room: true },
                Some(Ok(user)) => With::Dialog { dialog, keep: Keep::Of(user), is_room: true },
                Some(Err(_)) => With::Nobody,
            },
            // The same words as for a room that is not there.
            Target::Room => return Err(Condition::ItemNotFound),
            // Messages to oneself are not kept.
            Target::Own
            | Target::User(..)
            | Target::Server
            | Target::RoomService
            | Target::Uploads
            | Target::Link(_)
            | Target::Nobody
            | Target::Component(_)
            | Target::Elsewhere => With::Nobody,
        })
    }
}

/// No message matches; one that is named is not found all the same.
fn nowhere(viewer: AccountId, query: Query) -> Inquiry {
    Inquiry::of(viewer, Scope::Nothing, Keep::All, query, None)
}

/// Reads what the inquiry asks for until it has its answer. Its messages go out before the result does. §4
fn inquire(
    request: &Request<'_>,
    account: &mut Account,
    mut inquiry: Inquiry,
    room: Option<DialogRow>,
    turn: &mut Turn<'_>,
) -> IqAnswer {
    if let Some(reads) = inquiry.next()? {
        return account.look_up(reads, move |request, account, rows, turn| {
            inquiry.take(rows).map_err(|_| Condition::InternalServerError)?;
            inquire(request, account, inquiry, room, turn)
        });
    }
    let session = request.session.ok_or(Condition::Forbidden)?;
    let view = View {
        viewer: account.id(),
        room: room.as_ref(),
        from: account.jid(),
        to: Some(&request.from.jid),
        site: turn.site,
    };
    let answer = inquiry.answer(&view);
    for message in answer.messages {
        turn.out.deliver(session, message.into());
    }
    Ok(answer.payload)
}
