//! XEP-0054: vcard-temp. A user's card, set by the user and shown to every user of the app.

use super::avatar::{self, Photo};
use super::{At, Extension, IqRoute, Request, Spec};
use crate::account::Account;
use crate::effect::Turn;
use crate::error::Condition;
use crate::limits::VCARD_BYTES_MAX;
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table};
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::{Nodes, splice};

pub(super) static VCARD: Extension = Extension {
    name: "vcard-temp",
    spec: Spec::Xep(54, "1.3.0"),
    server_features: &[ns::VCARD],
    account_features: &[ns::VCARD],
    tables: &[&VCARDS],
    iq: &[
        IqRoute { at: At::AnyAccount, kind: IqKind::Get, ns: ns::VCARD, name: "vCard", plan: plan_get, apply: on_get },
        IqRoute { at: At::AnyAccount, kind: IqKind::Set, ns: ns::VCARD, name: "vCard", plan: plan_set, apply: on_set },
    ],
    ..Extension::NONE
};

/// account → the `<vCard/>` as it was set, fit to stand in a stanza.
static VCARDS: Table = Table::new("vcards");

const VERSION: u8 = 1;

fn plan_get(request: &Request<'_>, account: &Account) -> Reads {
    Reads::get(&VCARDS, key(account.id())).and(avatar::plan_picture(account, request.from))
}

fn on_get(request: &Request<'_>, account: &mut Account, mut rows: Rows, _: &mut Turn<'_>) -> IqAnswer {
    let unreadable = |_| Condition::InternalServerError;
    let row = rows.row();
    let card: Option<&str> =
        row.as_deref().map(|row| row::decode_borrowed(VERSION, row)).transpose().map_err(unreadable)?;
    let card = avatar::with_picture(card, account, request.from, &mut rows).map_err(unreadable)?;
    card.ok_or(if request.is_own() {
        Condition::ItemNotFound.into()
    } else {
        // §3.3: one without a card looks like one who does not exist.
        Condition::ServiceUnavailable.into()
    })
}

fn plan_set(request: &Request<'_>, account: &Account) -> Reads {
    if request.is_own() { avatar::plan_publish(request.payload, account) } else { Reads::none() }
}

fn on_set(request: &Request<'_>, account: &mut Account, rows: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    // §3.2: nobody sets another's card.
    if !request.is_own() {
        return Err(Condition::Forbidden.into());
    }
    let mut card = Vec::new();
    splice::copy(request.payload, ns::CLIENT, &mut card);
    if card.len() > VCARD_BYTES_MAX {
        return Err(Condition::PolicyViolation.into());
    }
    let photo = Photo::read(request.payload);
    let card = match photo {
        Photo::Image(..) => without_picture(&card)?,
        Photo::None | Photo::Strange => card,
    };
    let card = String::from_utf8(card).map_err(|_| Condition::BadRequest)?;
    let mut batch = Batch::default();
    // XEP-0398 §3.2: the picture goes where pictures are.
    let published = avatar::publish(&photo, account, rows, &mut batch, turn)?;
    // There is no other way to have no card again.
    if request.payload.first_child().is_some() {
        batch.put(&VCARDS, key(account.id()), row::encode(VERSION, &card));
    } else {
        batch.delete(&VCARDS, key(account.id()));
    }
    turn.out.write(batch);
    published.tell(account, turn);
    Ok(Vec::new())
}

fn without_picture(card: &[u8]) -> Result<Vec<u8>, Condition> {
    let mut nodes = Nodes::new();
    nodes.reread(card).map(avatar::without_picture).ok_or(Condition::BadRequest)
}

fn key(id: AccountId) -> Key {
    Key::of(&Owner::Account(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::stage::{self, ADAM, BOB, EVE, Stage};

    const GET: &str = "<iq type='get' id='1'><vCard xmlns='vcard-temp'/></iq>";
    const SET: &str = "<iq type='set' id='2'><vCard xmlns='vcard-temp'><FN>Bob</FN></vCard></iq>";
    const GET_BOBS: &str = "<iq type='get' id='3' to='2-1@localhost'><vCard xmlns='vcard-temp'/></iq>";

    #[test]
    fn a_card_is_on_disk_before_its_owner_hears_of_it() {
        let mut stage = Stage::new();
        assert_eq!(stage::condition(&stage.ask(BOB, GET)), "item-not-found");
        assert_eq!(stage.ask(BOB, SET), r#"<iq type="result" id="2" to="2-1@localhost/r"/>"#);
        assert_eq!(stage.log(), ["write vcards", "deliver 2-1"]);
        let card = "<vCard xmlns='vcard-temp'><FN>Bob</FN></vCard>";
        assert_eq!(stage.ask(BOB, GET), format!(r#"<iq type="result" id="1" to="2-1@localhost/r">{card}</iq>"#));
        assert_eq!(
            stage.ask(ADAM, GET_BOBS),
            format!(r#"<iq type="result" id="3" from="2-1@localhost" to="1-1@localhost/r">{card}</iq>"#)
        );
    }

    #[test]
    fn no_card_looks_like_no_user() {
        let mut stage = Stage::new();
        for user in ["2", "99"] {
            let get = GET_BOBS.replace("2-1@", &format!("{user}-1@"));
            assert_eq!(stage::condition(&stage.ask(ADAM, &get)), "service-unavailable", "{user}");
        }
        stage.ask(BOB, SET);
        // Other apps are other worlds.
        assert_eq!(stage::condition(&stage.ask(EVE, GET_BOBS)), "service-unavailable");
    }

    #[test]
    fn nobody_sets_anothers_card() {
        let mut stage = Stage::new();
        stage.ask(BOB, SET);
        let forged = "<iq type='set' id='4' to='2-1@localhost'><vCard xmlns='vcard-temp'><FN>Eve</FN></vCard></iq>";
        assert_eq!(stage::condition(&stage.ask(ADAM, forged)), "forbidden");
        assert_eq!(stage::condition(&stage.ask(EVE, forged)), "service-unavailable");
        assert!(stage.ask(BOB, GET).contains("<FN>Bob</FN>"));
    }

    #[test]
    fn an_empty_card_takes_the_card_away() {
        let mut stage = Stage::new();
        stage.ask(BOB, SET);
        stage.ask(BOB, "<iq type='set' id='5'><vCard xmlns='vcard-temp'> </vCard></iq>");
        assert_eq!(stage::condition(&stage.ask(BOB, GET)), "item-not-found");
        assert_eq!(stage.rows_in("vcards"), 0);
    }

    #[test]
    fn a_huge_card_is_refused_and_the_old_one_stays() {
        let mut stage = Stage::new();
        stage.ask(BOB, SET);
        let frame = "<vCard xmlns='vcard-temp'><X></X></vCard>".len();
        for (bytes, fits) in [(VCARD_BYTES_MAX + 1, false), (VCARD_BYTES_MAX, true)] {
            let photo = "A".repeat(bytes - frame);
            let set = format!("<iq type='set' id='6'><vCard xmlns='vcard-temp'><X>{photo}</X></vCard></iq>");
            let answer = stage.ask(BOB, &set);
            assert_eq!(answer.contains("policy-violation"), !fits, "{bytes}");
            assert_eq!(stage.ask(BOB, GET).contains(&photo), fits, "{bytes}");
        }
    }

    #[test]
    fn a_card_keeps_its_meaning_whatever_its_prefixes() {
        let mut stage = Stage::new();
        let set = "<iq type='set' id='7' xmlns:v='vcard-temp' xmlns:x='urn:x&amp;y'><v:vCard><v:FN x:a='1'>B</v:FN></v:vCard></iq>";
        stage.ask(BOB, set);
        assert_eq!(
            stage.ask(ADAM, GET_BOBS).split_once("/r\">").unwrap().1,
            r#"<v:vCard xmlns:v="vcard-temp" xmlns:x="urn:x&amp;y"><v:FN x:a='1'>B</v:FN></v:vCard></iq>"#
        );
    }

    #[test]
    fn the_card_goes_with_the_account() {
        let mut stage = Stage::new();
        stage.ask(BOB, SET);
        stage.ask(ADAM, SET);
        stage.remove(BOB);
        assert_eq!(stage.rows_in("vcards"), 1);
        assert_eq!(stage::condition(&stage.ask(ADAM, GET_BOBS)), "service-unavailable");
    }
}
