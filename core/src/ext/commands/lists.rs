//! Lists of the users of an app, by their numbers, a page at a time; and how many there are.
//!
//! Whoever completes the first form gets the first page and is done (XEP-0133 §4.18); whoever says `next` goes on from page to page. Where
//! a page begins and ends stands in its form.

use super::asking::{answer as answer_of, mismatch, read, unreadable};
use super::{Action, Filled, Status, answer, ask, bad, bad_payload, completed, form, in_hand, note, write_actions};
use crate::account::Account;
use crate::command::Answer;
use crate::effect::{Question, Turn};
use crate::error::Refusal;
use crate::ext::Request;
use crate::ext::form::Blank;
use crate::jid::user::UserId;
use crate::limits::COMMAND_PAGE_USERS_MAX;
use crate::model::directory::members;
use crate::model::profile::Profile;
use crate::ns;
use crate::owner::AccountId;
use crate::row::Rows;
use crate::stanza::IqAnswer;

pub(super) const PAGE: &[Blank] = &[Blank::new("max_items", "list-single", "How many users to show at once")
    .of(&["100", "25", "50", "75", "150", "200"])
    .optional()];

const USERS_DEFAULT: usize = 100;
/// Users that are counted at once.
const COUNTED_ROWS: usize = 1_000;

/// Which page is wanted.
struct Wanted {
    max: usize,
    place: Place,
    /// It is to be the last word.
    last: bool,
}

#[derive(Clone, Copy)]
enum Place {
    After(UserId),
    Before(UserId),
}

impl Wanted {
    fn read(filled: &Filled) -> Result<Wanted, Refusal> {
        let number = |var: &str| {
            let text = filled.one(var)?;
            let number = text.map(|text| text.parse::<u64>().map_err(|_| bad_payload(format!("{var} is no number."))));
            number.transpose()
        };
        let max = number("max_items")?.map_or(USERS_DEFAULT, |max| usize::try_from(max).unwrap_or(usize::MAX));
        if !(1..=COMMAND_PAGE_USERS_MAX).contains(&max) {
            return Err(bad_payload(format!("Between 1 and {COMMAND_PAGE_USERS_MAX} users can be shown at once.")));
        }
        let (first, end) = (number("first")?.map(UserId), number("last")?.map(UserId));
        let place = match (filled.action, first) {
            (Action::Previous, Some(first)) => Place::Before(first),
            (Action::Previous, None) => return Err(bad("bad-action", "There is nothing before this.")),
            (Action::Execute | Action::Next | Action::Complete | Action::Cancel, _) => {
                Place::After(end.unwrap_or(UserId(0)))
            }
        };
        // Of a page `execute` means the next one, as its form says.
        let last = match filled.action {
            Action::Complete => true,
            Action::Execute => end.is_none(),
            Action::Next | Action::Previous | Action::Cancel => false,
        };
        Ok(Wanted { max, place, last })
    }

    /// Whether somebody who has seen a page wants no more.
    fn is_enough(filled: &Filled) -> bool {
        filled.action == Action::Complete && !filled.values("last").is_empty()
    }
}

/// One page, and whether there are users before and after it.
struct Page {
    users: Vec<UserId>,
    before: bool,
    after: bool,
}

impl Page {
    /// Of up to `max + 1` users from the place on, in the order in which they lie from there.
    fn of(mut users: Vec<UserId>, wanted: &Wanted) -> Page {
        let more = users.len() > wanted.max;
        users.truncate(wanted.max);
        match wanted.place {
            Place::After(user) => Page { users, before: user > UserId(0), after: more },
            Place::Before(_) => {
                users.reverse();
                Page { users, before: more, after: true }
            }
        }
    }

    fn write(
        self,
        wanted: &Wanted,
        var: &'static str,
        request: &Request<'_>,
        account: &Account,
        turn: &mut Turn<'_>,
    ) -> IqAnswer {
        let app = account.id().app;
        let domain = turn.site.domain.clone();
        let jids: Vec<String> =
            self.users.iter().map(|&user| format!("{}@{domain}", AccountId { app, user })).collect();
        let jids = || jids.iter().map(String::as_str);
        let (Some(first), Some(last)) = (self.users.first(), self.users.last()) else {
            return completed(request, turn, |xml| {
                form::open_result(xml, ns::ADMIN);
                form::field(xml, var, []);
                xml.close();
            });
        };
        if wanted.last || !(self.before || self.after) {
            return completed(request, turn, |xml| {
                form::open_result(xml, ns::ADMIN);
                form::field(xml, var, jids());
                xml.close();
                if self.after {
                    note(xml, "warn", "There are more; the action \"next\" shows them page by page.");
                }
            });
        }
        let command = in_hand(request)?;
        let (max, first, last) = (wanted.max.to_string(), first.to_string(), last.to_string());
        Ok(answer(command, request, turn, Status::Executing, |xml| {
            let execute = if self.after { "next" } else { "complete" };
            let all = [("prev", self.before), ("next", self.after), ("complete", true)];
            let there: Vec<&'static str> = all.iter().filter(|(_, there)| *there).map(|(action, _)| *action).collect();
            write_actions(xml, execute, &there);
            form::open_form(xml, ns::ADMIN);
            xml.simple("title", command.title);
            for (name, value) in [("max_items", &max), ("first", &first), ("last", &last)] {
                form::hidden(xml, name, value);
            }
            xml.open("field").attr("var", var).attr("type", "jid-multi").attr("label", command.title);
            for jid in jids() {
                xml.simple("value", jid);
            }
            xml.close().close();
        }))
    }
}

pub(super) fn registered(
    filled: &Filled,
    request: &Request<'_>,
    account: &mut Account,
    turn: &mut Turn<'_>,
) -> IqAnswer {
    if Wanted::is_enough(filled) {
        return completed(request, turn, |_| {});
    }
    let wanted = Wanted::read(filled)?;
    let app = account.id().app;
    let reads = match wanted.place {
        Place::After(user) => members::read_after(app, user, wanted.max + 1),
        Place::Before(user) => members::read_before(app, user, wanted.max + 1),
    };
    read(account, reads, move |rows, request, account, turn| {
        let users = numbers(rows)?;
        // Whoever goes back to before the first is at the beginning.
        if users.is_empty() && matches!(wanted.place, Place::Before(_)) {
            return Ok(ask(in_hand(request)?, request, turn));
        }
        Page::of(users, &wanted).write(&wanted, "registereduserjids", request, account, turn)
    })
}

fn numbers(mut rows: Rows) -> Result<Vec<UserId>, Refusal> {
    rows.page().iter().map(|(_, row)| Profile::read(row).map(|user| user.id).map_err(unreadable)).collect()
}

pub(super) fn online(filled: &Filled, request: &Request<'_>, account: &mut Account, turn: &mut Turn<'_>) -> IqAnswer {
    if Wanted::is_enough(filled) {
        return completed(request, turn, |_| {});
    }
    let wanted = Wanted::read(filled)?;
    who_is_online(account, move |all, request, account, turn| {
        let users: Vec<UserId> = match wanted.place {
            Place::After(user) => all.into_iter().filter(|&one| one > user).take(wanted.max + 1).collect(),
            Place::Before(user) => all.into_iter().rev().filter(|&one| one < user).take(wanted.max + 1).collect(),
        };
        if users.is_empty() && matches!(wanted.place, Place::Before(_)) {
            return Ok(ask(in_hand(request)?, request, turn));
        }
        Page::of(users, &wanted).write(&wanted, "onlineuserjids", request, account, turn)
    })
}

/// The users of the app who are connected, by their numbers.
pub(super) fn who_is_online(
    account: &mut Account,
    then: impl FnOnce(Vec<UserId>, &Request<'_>, &mut Account, &mut Turn<'_>) -> IqAnswer + 'static,
) -> IqAnswer {
    let app = account.id().app;
    account.ask(Question::Online(app), |learned, request, account, turn| match answer_of(learned) {
        Some(Answer::Online(users)) => then(users, request, account, turn),
        _ => Err(mismatch()),
    })
}

pub(super) fn count_online(_: &Filled, _: &Request<'_>, account: &mut Account, _: &mut Turn<'_>) -> IqAnswer {
    who_is_online(account, |users, request, _, turn| tell(users.len(), "onlineusersnum", request, turn))
}

pub(super) fn count_registered(_: &Filled, _: &Request<'_>, account: &mut Account, _: &mut Turn<'_>) -> IqAnswer {
    count_after(UserId(0), 0, account)
}

/// Nobody keeps the number: it is asked for rarely.
fn count_after(last: UserId, so_far: usize, account: &mut Account) -> IqAnswer {
    let app = account.id().app;
    read(account, members::read_after(app, last, COUNTED_ROWS), move |rows, request, account, turn| {
        let users = numbers(rows)?;
        let count = so_far + users.len();
        match users.last() {
            Some(&last) if users.len() >= COUNTED_ROWS => count_after(last, count, account),
            Some(_) | None => tell(count, "registeredusersnum", request, turn),
        }
    })
}

fn tell(count: usize, var: &'static str, request: &Request<'_>, turn: &mut Turn<'_>) -> IqAnswer {
    completed(request, turn, |xml| {
        form::open_result(xml, ns::ADMIN);
        form::field(xml, var, [count.to_string().as_str()]);
        xml.close();
    })
}
