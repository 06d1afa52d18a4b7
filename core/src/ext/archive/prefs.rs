//! XEP-0441: archiving preferences.
//!
//! A conversation has one history, which its two users and the API share. A message is in it because its sender asked for that
//! with `save_to_history`, whatever anybody prefers: the history is what the applications say it is. Preferences are a user's
//! word on which of the *other* messages are to be kept: those with a body that one of the two would have archived, unless the
//! message itself says no (XEP-0334). What one of the two keeps, both see. A user who has set no preferences has the operator's:
//! `never`, unless the configuration says otherwise, because an application that does not ask for history relies on there being
//! none.

use serde::{Deserialize, Serialize};

use super::super::{At, Extension, IqRoute, Request, Spec, nothing};
use crate::account::Account;
use crate::effect::Turn;
use crate::error::Condition;
use crate::jid::Jid;
use crate::limits::ARCHIVE_PREFS_JIDS_MAX;
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::{Element, Writer};

pub(in crate::ext) static PREFERENCES: Extension = Extension {
    name: "Message Archive Management Preferences",
    spec: Spec::Xep(441, "0.2.0"),
    account_features: &[ns::MAM],
    tables: &[&ARCHIVE_PREFS],
    iq: &[
        IqRoute { at: At::Account, kind: IqKind::Get, ns: ns::MAM, name: "prefs", plan: nothing, apply: on_get },
        IqRoute { at: At::Account, kind: IqKind::Set, ns: ns::MAM, name: "prefs", plan: nothing, apply: on_set },
    ],
    ..Extension::NONE
};

/// account → [`Prefs`].
static ARCHIVE_PREFS: Table = Table::new("archive_prefs");

const VERSION: u8 = 1;

/// What becomes of messages with those who are in neither list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Usual {
    /// They are kept.
    Always,
    /// They are not.
    #[default]
    Never,
    /// Those of contacts are.
    Roster,
}

impl Usual {
    fn read(text: &str) -> Option<Usual> {
        match text {
            "always" => Some(Usual::Always),
            "never" => Some(Usual::Never),
            "roster" => Some(Usual::Roster),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Usual::Always => "always",
            Usual::Never => "never",
            Usual::Roster => "roster",
        }
    }
}

/// A user's preferences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefs {
    usual: Usual,
    always: Vec<String>,
    never: Vec<String>,
}

impl Prefs {
    /// The row they are in.
    pub fn reads(id: AccountId) -> Reads {
        Reads::get(&ARCHIVE_PREFS, key(id))
    }

    /// Takes the answer to [`Prefs::reads`]; none for a user who has set none.
    pub fn load(rows: &mut Rows) -> Result<Option<Box<Prefs>>, Unreadable> {
        Ok(rows.decoded(VERSION)?.map(Box::new))
    }

    /// Whether messages with this full JID are to be kept; of preferences that were not set the operator's count.
    pub fn keeps(set: Option<&Prefs>, usual: Usual, with: &str, is_contact: impl FnOnce(&str) -> bool) -> bool {
        let bare = with.split_once('/').map_or(with, |(bare, _)| bare);
        let names = |list: &Vec<String>| list.iter().any(|jid| jid == bare || jid == with);
        match set {
            Some(prefs) if names(&prefs.never) => false,
            Some(prefs) if names(&prefs.always) => true,
            _ => match set.map_or(usual, |prefs| prefs.usual) {
                Usual::Always => true,
                Usual::Never => false,
                Usual::Roster => is_contact(bare),
            },
        }
    }

    fn read(payload: Element<'_>) -> Result<Prefs, Condition> {
        let usual = payload.attr("default").and_then(|usual| Usual::read(&usual)).ok_or(Condition::BadRequest)?;
        let prefs = Prefs { usual, always: jids(payload, "always")?, never: jids(payload, "never")? };
        if prefs.always.len() + prefs.never.len() > ARCHIVE_PREFS_JIDS_MAX {
            return Err(Condition::ResourceConstraint);
        }
        Ok(prefs)
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut xml = Writer::new(&mut out);
        xml.open("prefs").ns(ns::MAM).attr("default", self.usual.as_str());
        for (name, jids) in [("always", &self.always), ("never", &self.never)] {
            xml.open(name);
            for jid in jids {
                xml.simple("jid", jid);
            }
            xml.close();
        }
        xml.close();
        drop(xml);
        out
    }
}

/// The JIDs of a list, as addresses are compared, each once.
fn jids(payload: Element<'_>, name: &str) -> Result<Vec<String>, Condition> {
    let Some(list) = payload.child(name, ns::MAM) else { return Ok(Vec::new()) };
    let mut jids = Vec::new();
    for element in list.children().filter(|child| child.is("jid", ns::MAM)) {
        let text = element.text();
        jids.push(Jid::parse(text.trim()).map_err(|_| Condition::JidMalformed)?.as_str().to_owned());
    }
    jids.sort_unstable();
    jids.dedup();
    Ok(jids)
}

fn key(id: AccountId) -> Key {
    Key::of(&Owner::Account(id))
}

fn on_get(_: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let unset = || Prefs { usual: turn.site.archiving.usual, ..Prefs::default() };
    Ok(account.archiving().cloned().unwrap_or_else(unset).write())
}

fn on_set(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let prefs = Prefs::read(request.payload)?;
    let mut batch = Batch::default();
    batch.put(&ARCHIVE_PREFS, key(account.id()), row::encode(VERSION, &prefs));
    turn.out.write(batch);
    let answer = prefs.write();
    account.set_archiving(prefs);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::stage::{self, ADAM, BOB, Stage};

    const GET: &str = "<iq type='get' id='1'><prefs xmlns='urn:xmpp:mam:2'/></iq>";

    fn set(attributes: &str, lists: &str) -> String {
        format!("<iq type='set' id='1'><prefs xmlns='urn:xmpp:mam:2'{attributes}>{lists}</prefs></iq>")
    }

    fn answer(usual: &str, lists: &str) -> String {
        format!(
            r#"<iq type="result" id="1" to="2-1@localhost/r"><prefs xmlns="urn:xmpp:mam:2" default="{usual}">{lists}</prefs></iq>"#
        )
    }

    #[test]
    fn preferences_are_kept() {
        let mut stage = Stage::new();
        assert_eq!(stage.ask(BOB, GET), answer("never", "<always/><never/>"));
        let lists = "<always><jid>1-1@LOCALHOST</jid><jid>1-1@localhost</jid></always><never/>";
        let kept = answer("roster", "<always><jid>1-1@localhost</jid></always><never/>");
        assert_eq!(stage.ask(BOB, &set(" default='roster'", lists)), kept);
        assert_eq!(stage.log(), ["write archive_prefs", "deliver 2-1"]);
        assert_eq!(stage.ask(BOB, GET), kept);
        assert!(stage.ask(ADAM, GET).contains("never"));
        stage.remove(BOB);
        assert_eq!(stage.rows_in("archive_prefs"), 0);
    }

    #[test]
    fn the_lists_come_before_the_rest_and_the_users_word_before_the_operators() {
        let friend = |bare: &str| bare == "3-1@localhost";
        let prefs =
            |usual| Prefs { usual, always: vec!["1-1@localhost".into()], never: vec!["2-1@localhost/a".into()] };
        for (set, usual, with, kept) in [
            (None, Usual::Never, "1-1@localhost/x", false),
            (None, Usual::Always, "1-1@localhost/x", true),
            (None, Usual::Roster, "1-1@localhost/x", false),
            (None, Usual::Roster, "3-1@localhost/x", true),
            (Some(prefs(Usual::Never)), Usual::Always, "1-1@localhost/x", true),
            (Some(prefs(Usual::Never)), Usual::Always, "1-1@localhost", true),
            (Some(prefs(Usual::Never)), Usual::Always, "3-1@localhost", false),
            (Some(prefs(Usual::Always)), Usual::Never, "2-1@localhost/a", false),
            (Some(prefs(Usual::Always)), Usual::Never, "2-1@localhost/b", true),
            (Some(prefs(Usual::Roster)), Usual::Never, "3-1@localhost", true),
            (Some(prefs(Usual::Roster)), Usual::Never, "4-1@localhost", false),
        ] {
            assert_eq!(Prefs::keeps(set.as_ref(), usual, with, friend), kept, "{set:?} {usual:?} {with}");
        }
    }

    #[test]
    fn refuses_what_are_no_preferences() {
        let many: String = (0..=ARCHIVE_PREFS_JIDS_MAX).map(|n| format!("<jid>{n}-1@localhost</jid>")).collect();
        let mut stage = Stage::new();
        for (iq, condition) in [
            (set("", ""), "bad-request"),
            (set(" default='sometimes'", ""), "bad-request"),
            (set(" default='never'", "<never><jid>@</jid></never>"), "jid-malformed"),
            (set(" default='never'", &format!("<never>{many}</never>")), "resource-constraint"),
            (GET.replace("<iq ", "<iq to='1-1@localhost' "), "service-unavailable"),
        ] {
            assert_eq!(stage::condition(&stage.ask(BOB, &iq)), condition, "{iq}");
        }
        assert_eq!(stage.rows_in("archive_prefs"), 0);
    }
}
