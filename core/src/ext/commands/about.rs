//! What an administrator can know of a user.

use super::asking::{Tally, Target, ask_report, read, unreadable};
use super::users::nobody;
use super::{Filled, bad_payload, completed, form};
use crate::account::Account;
use crate::account::roster::Roster;
use crate::effect::Turn;
use crate::ext::Request;
use crate::ext::form::Blank;
use crate::ext::roster::write_item;
use crate::model::account;
use crate::model::directory::members;
use crate::ns;
use crate::stanza::IqAnswer;

pub(super) const ROSTER: &[Blank] = &[Blank::new("accountjids", "jid-multi", "The user whose roster is wanted")];
pub(super) const LAST_LOGIN: &[Blank] = &[Blank::new("accountjids", "jid-multi", "The users")];
pub(super) const STATISTICS: &[Blank] = &[Blank::new("accountjid", "jid-single", "The user")];

/// XEP-0133 §4.8: the form of the answer has room for one roster.
pub(super) fn roster(filled: &Filled, request: &Request<'_>, account: &mut Account, turn: &mut Turn<'_>) -> IqAnswer {
    let values = filled.values("accountjids");
    let [jid] = values.as_slice() else { return Err(bad_payload("One roster at a time, please.")) };
    let Target { jid, id, .. } = Target::read(jid, account, turn.site)?;
    let Some(id) = id else { return nobody(&jid, request, turn) };
    read(account, account::load_reads(id).and(Roster::reads(id)), move |mut rows, request, _, turn| {
        if account::load(&mut rows).map_err(unreadable)?.is_none() {
            return nobody(&jid, request, turn);
        }
        let roster = Roster::load(id, &mut rows).map_err(unreadable)?;
        completed(request, turn, |xml| {
            form::open_result(xml, ns::ADMIN);
            form::field(xml, "accountjids", [jid.as_str()]);
            xml.open("query").ns(ns::ROSTER);
            for (contact, item) in roster.listed() {
                write_item(xml, contact, item);
            }
            xml.close().close();
        })
    })
}

/// When each user last came online or called the API, to the minute; the times are in the order of the users.
pub(super) fn last_login(
    filled: &Filled,
    request: &Request<'_>,
    account: &mut Account,
    turn: &mut Turn<'_>,
) -> IqAnswer {
    let tally = Tally::of(&filled.values("accountjids"), account, turn.site)?;
    last_login_next(tally, Vec::new(), request, account, turn)
}

fn last_login_next(
    mut tally: Tally,
    mut times: Vec<String>,
    request: &Request<'_>,
    account: &mut Account,
    turn: &mut Turn<'_>,
) -> IqAnswer {
    let Some((Target { jid, .. }, id)) = tally.next() else {
        return tally
            .completes_with(request, turn, |xml| form::field(xml, "lastlogin", times.iter().map(String::as_str)));
    };
    read(account, members::read(id.app, id.user), move |mut rows, request, account, turn| {
        match members::found(&mut rows).map_err(unreadable)? {
            None => tally.misses(&jid),
            Some(profile) => match profile.last_request_at {
                Some(at) => {
                    times.push(at.iso().to_string());
                    tally.did(jid);
                }
                None => tally.fails(format!("{jid} has never been here.")),
            },
        }
        last_login_next(tally, times, request, account, turn)
    })
}

/// Of what XEP-0133 §4.10 names: how many contacts the user has, and which resources are connected.
pub(super) fn statistics(
    filled: &Filled,
    request: &Request<'_>,
    account: &mut Account,
    turn: &mut Turn<'_>,
) -> IqAnswer {
    let Target { jid, id, .. } = Target::read(filled.one("accountjid")?.unwrap_or_default(), account, turn.site)?;
    let Some(id) = id else { return nobody(&jid, request, turn) };
    ask_report(account, id, account::Command::Report, move |report, request, _, turn| {
        if !report.exists {
            return nobody(&jid, request, turn);
        }
        completed(request, turn, |xml| {
            form::open_result(xml, ns::ADMIN);
            form::field(xml, "accountjid", [jid.as_str()]);
            form::field(xml, "rostersize", [report.contacts.to_string().as_str()]);
            form::field(xml, "onlineresources", report.resources.iter().map(String::as_str));
            xml.close();
        })
    })
}
