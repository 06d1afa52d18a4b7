//! XEP-0441: archiving preferences.
//!
//! What they can mean here is narrow, and this is what they mean. A conversation has one history, which its two users and the
//! API share, and a message is in it because its sender asked for that with `save_to_history`: nobody's preferences take such a
//! message out of it, keep it from getting in, or hide it from the user's own archive, which would no longer be what it says it
//! is. Preferences are a user's word on which messages *without* that wish should be archived. They are kept and handed to every
//! client of the user, and as messages without the wish pass through unread and untouched, which the applications rely on, none
//! of them is archived whatever the preferences say. The answer to clients that have set none is therefore `never`.

use serde::{Deserialize, Serialize};

use super::super::{At, Extension, IqRoute, Request, Spec, nothing};
use crate::account::Account;
use crate::effect::Turn;
use crate::error::Condition;
use crate::jid::Jid;
use crate::limits::ARCHIVE_PREFS_JIDS_MAX;
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table};
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::{Element, Writer};

pub(in crate::ext) static PREFERENCES: Extension = Extension {
    name: "Message Archive Management Preferences",
    spec: Spec::Xep(441, "0.2.0"),
    account_features: &[ns::MAM],
    tables: &[&ARCHIVE_PREFS],
    iq: &[
        IqRoute { at: At::Account, kind: IqKind::Get, ns: ns::MAM, name: "prefs", plan, apply: on_get },
        IqRoute { at: At::Account, kind: IqKind::Set, ns: ns::MAM, name: "prefs", plan: nothing, apply: on_set },
    ],
    ..Extension::NONE
};

/// account → [`Prefs`].
static ARCHIVE_PREFS: Table = Table::new("archive_prefs");

const VERSION: u8 = 1;

/// What becomes of messages with those who are in neither list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Usual {
    Always,
    #[default]
    Never,
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
struct Prefs {
    usual: Usual,
    always: Vec<String>,
    never: Vec<String>,
}

impl Prefs {
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

fn plan(_: &Request<'_>, account: &Account) -> Reads {
    Reads::get(&ARCHIVE_PREFS, key(account.id()))
}

fn on_get(_: &Request<'_>, _: &mut Account, mut rows: Rows, _: &mut Turn<'_>) -> IqAnswer {
    let prefs: Option<Prefs> = rows.decoded(VERSION).map_err(|_| Condition::InternalServerError)?;
    Ok(prefs.unwrap_or_default().write())
}

fn on_set(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let prefs = Prefs::read(request.payload)?;
    let mut batch = Batch::default();
    batch.put(&ARCHIVE_PREFS, key(account.id()), row::encode(VERSION, &prefs));
    turn.out.write(batch);
    Ok(prefs.write())
}

#[cfg(test)]
mod tests {
    use crate::ext::stage::{self, ADAM, BOB, Stage};
    use crate::limits::ARCHIVE_PREFS_JIDS_MAX;

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
