//! XEP-0084: User Avatar, XEP-0153: vCard-Based Avatars, and XEP-0398, which makes one picture of the two.
//!
//! The picture is what the user has published, on the two nodes of XEP-0084. A card (XEP-0054) is shown with that picture, to those who
//! may see it, and the picture of a card that is set is published. So there is one, and none is forgotten somewhere. The server
//! puts its hash into presence, as XEP-0153 wants, so that clients need not fetch their own picture to know it.

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::pep::{self, Access, Config, Item, Publication, Standing};
use super::{Extension, Spec};
use crate::account::Account;
use crate::dialog::rewritten;
use crate::effect::Turn;
use crate::error::{Condition, Refusal};
use crate::limits::PEP_ITEMS_MAX;
use crate::ns;
use crate::owner::AccountId;
use crate::row::{Batch, Reads, Rows, Unreadable};
use crate::stanza::Sender;
use crate::xml::{Element, Nodes, Writer};

pub(super) static AVATAR: Extension =
    Extension { name: "User Avatar", spec: Spec::Xep(84, "1.1.4"), ..Extension::NONE };

pub(super) static VCARD_AVATAR: Extension =
    Extension { name: "vCard-Based Avatars", spec: Spec::Xep(153, "1.1.1"), ..Extension::NONE };

pub(super) static CONVERSION: Extension = Extension {
    name: "User Avatar to vCard-Based Avatars Conversion",
    spec: Spec::Xep(398, "1.0.0"),
    account_features: &[ns::AVATAR_CONVERSION],
    ..Extension::NONE
};

/// What the user has said of his picture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Avatar {
    /// Nothing, ever.
    #[default]
    Unsaid,
    /// There is none, or none that is here.
    None,
    /// It is the item of this id.
    Image {
        /// The SHA-1 of the picture, in small letters.
        id: String,
        /// What kind of picture it is said to be.
        mime: String,
    },
}

/// What [`of_metadata`] has to see: the picture that is spoken of.
pub(super) fn plan_metadata(metadata: Element<'_>, id: AccountId) -> Reads {
    info(metadata).map_or_else(Reads::none, |(image, _)| pep::read_item(id, ns::AVATAR_DATA, &image))
}

/// What is said of the picture. One that is not here, or is another than is said, is none. XEP-0398 §3.1
pub(super) fn of_metadata(metadata: Element<'_>, rows: &mut Rows) -> Result<Avatar, Unreadable> {
    let Some((id, mime)) = info(metadata) else { return Ok(Avatar::None) };
    let Some(row) = rows.row() else { return Ok(Avatar::None) };
    let is_it = base64(Item::read(&row)?.payload).is_some_and(|(_, hash)| hash == id);
    Ok(if is_it { Avatar::Image { id, mime } } else { Avatar::None })
}

/// Id and kind of the picture that is not somewhere else. XEP-0084 §4.2.1
fn info(metadata: Element<'_>) -> Option<(String, String)> {
    let mut infos = metadata.children().filter(|child| child.is("info", ns::AVATAR_METADATA));
    let info = infos.find(|info| info.attr("url").is_none())?;
    let id = info.attr("id")?.to_ascii_lowercase();
    let is_hash = id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mime = info.attr("type").unwrap_or_default();
    is_hash.then(|| (id, mime.chars().take(MIME_CHARS_MAX).collect()))
}

const MIME_CHARS_MAX: usize = 127;

/// The picture in a `<data/>`: as Base64 without white space, and its hash.
fn base64(data: &str) -> Option<(String, String)> {
    let mut nodes = Nodes::new();
    let data = nodes.reread(data.as_bytes())?;
    picture(&data.text())
}

fn picture(text: &str) -> Option<(String, String)> {
    let (base64, image) = decoded(text)?;
    Some((base64, hash_of(&image)))
}

fn decoded(text: &str) -> Option<(String, Vec<u8>)> {
    let base64: String = text.split_ascii_whitespace().collect();
    let image = BASE64_STANDARD.decode(&base64).ok().filter(|image| !image.is_empty())?;
    Some((base64, image))
}

fn hash_of(image: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, image);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hashes of the pictures on a room's card, in their order; nothing if one of them is no picture, or is somewhere else, where whoever
/// keeps it would learn who looks at it. XEP-0486 §5.1, §6.1
pub(crate) fn pictures(card: Element<'_>) -> Option<Vec<String>> {
    let photos = card.children().filter(|&child| is_photo(child) && child.first_child().is_some());
    photos.map(hash_of_photo).collect()
}

fn hash_of_photo(photo: Element<'_>) -> Option<String> {
    let kind = photo.child("TYPE", ns::VCARD).map(|kind| kind.text().trim().to_ascii_lowercase()).unwrap_or_default();
    let (_, image) = decoded(&photo.child("BINVAL", ns::VCARD)?.text())?;
    let is_said = kind.is_empty() || kind.starts_with("image/");
    (is_said && is_image(&image)).then(|| hash_of(&image))
}

/// Whether the first bytes are those of one of the formats that clients show.
fn is_image(image: &[u8]) -> bool {
    let begins = |magic: &[u8]| image.starts_with(magic);
    begins(b"\x89PNG\r\n\x1a\n")
        || begins(b"\xff\xd8\xff")
        || begins(b"GIF87a")
        || begins(b"GIF89a")
        || (begins(b"RIFF") && image.get(8..12) == Some(b"WEBP"))
        || std::str::from_utf8(image).is_ok_and(|text| is_svg(text.trim_start()))
}

fn is_svg(text: &str) -> bool {
    text.starts_with("<svg") || (text.starts_with("<?xml") && text.contains("<svg"))
}

/// The picture that somebody is shown on the user's card.
pub(super) enum Shown<'a> {
    /// The one that the card has.
    Cards,
    /// None.
    None,
    /// The item of this id, of this kind.
    Image(&'a str, &'a str),
}

/// What of the picture goes with the card. XEP-0398 §6: only what the one who asks may see.
pub(super) fn shown<'a>(account: &'a Account, to: &Sender) -> Shown<'a> {
    let Some(pep) = account.pep() else { return Shown::Cards };
    let sees = |node| pep.node(node).is_some_and(|node| pep::may_see(account, &node.config, to).is_ok());
    match &pep.avatar {
        Avatar::Unsaid => Shown::Cards,
        Avatar::Image { id, mime } if sees(ns::AVATAR_DATA) && sees(ns::AVATAR_METADATA) => Shown::Image(id, mime),
        Avatar::Image { .. } | Avatar::None => Shown::None,
    }
}

/// What [`with_picture`] has to see.
pub(super) fn plan_picture(account: &Account, to: &Sender) -> Reads {
    match shown(account, to) {
        Shown::Image(id, _) => pep::read_item(account.id(), ns::AVATAR_DATA, id),
        Shown::Cards | Shown::None => Reads::none(),
    }
}

/// The card as it is shown to somebody; none when there is nothing on it.
pub(super) fn with_picture(
    card: Option<&str>,
    account: &Account,
    to: &Sender,
    rows: &mut Rows,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let image = match shown(account, to) {
        Shown::Cards => return Ok(card.map(|card| card.as_bytes().to_vec())),
        Shown::None => None,
        Shown::Image(_, mime) => match rows.row() {
            Some(row) => base64(Item::read(&row)?.payload).map(|(base64, _)| (base64, mime)),
            None => None,
        },
    };
    let mut nodes = Nodes::new();
    let blank = format!("<vCard xmlns='{}'/>", ns::VCARD);
    let Some(element) = nodes.reread(card.unwrap_or(&blank).as_bytes()) else { return Err(Unreadable::Malformed) };
    if card.is_none() && image.is_none() {
        return Ok(None);
    }
    let append = |xml: &mut Writer<'_>| {
        let Some((base64, mime)) = &image else { return };
        xml.open("PHOTO");
        if element.default_ns() != ns::VCARD {
            xml.ns(ns::VCARD);
        }
        if !mime.is_empty() {
            xml.simple("TYPE", mime);
        }
        xml.simple("BINVAL", base64).close();
    };
    Ok(Some(rewritten(element, &is_photo, None, &append)))
}

fn is_photo(child: Element<'_>) -> bool {
    child.is("PHOTO", ns::VCARD)
}

/// The picture on a card that a user sets.
pub(super) enum Photo {
    /// There is none.
    None,
    /// One that the server does not understand, or that is somewhere else.
    Strange,
    /// This one: Base64, hash and kind.
    Image(String, String, String),
}

impl Photo {
    /// XEP-0153 §4.5
    pub fn read(card: Element<'_>) -> Photo {
        let Some(photo) = card.children().find(|&child| is_photo(child)) else { return Photo::None };
        let Some(binval) = photo.child("BINVAL", ns::VCARD) else {
            return if photo.first_child().is_some() { Photo::Strange } else { Photo::None };
        };
        let text = binval.text();
        if text.trim().is_empty() {
            return Photo::None;
        }
        let mime = photo.child("TYPE", ns::VCARD).map(|kind| kind.text().trim().chars().take(MIME_CHARS_MAX).collect());
        match picture(&text) {
            Some((base64, hash)) => Photo::Image(base64, hash, mime.unwrap_or_default()),
            None => Photo::Strange,
        }
    }
}

/// The card without its picture, which is kept where it is published.
pub(super) fn without_picture(card: Element<'_>) -> Vec<u8> {
    rewritten(card, &is_photo, None, &|_| {})
}

/// What [`publish`] has to see, for a card with a picture and for one that may have lost it.
pub(super) fn plan_publish(card: Element<'_>, account: &Account) -> Reads {
    let has_image = account.pep().is_some_and(|pep| matches!(pep.avatar, Avatar::Image { .. }));
    let has_photo = card.children().any(is_photo);
    if !has_image && !has_photo {
        return Reads::none();
    }
    let all = |node| pep::read_oldest(account.id(), node, PEP_ITEMS_MAX);
    all(ns::AVATAR_DATA).and(all(ns::AVATAR_METADATA))
}

/// What was published on behalf of a card that was set.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// Item and payload on each node.
    items: Vec<(&'static str, String, String)>,
}

/// Publishes the picture of a card that the user has set, unless it is the one that there is. XEP-0398 §3.2
pub(super) fn publish(
    photo: &Photo,
    account: &mut Account,
    mut rows: Rows,
    batch: &mut Batch,
    turn: &mut Turn<'_>,
) -> Result<Published, Refusal> {
    let current = account.pep().map_or(Avatar::Unsaid, |pep| pep.avatar.clone());
    let (avatar, items) = match (photo, &current) {
        (Photo::Image(_, hash, _), Avatar::Image { id, .. }) if hash == id => return Ok(Published::default()),
        (Photo::Image(base64, hash, mime), _) => {
            let data = (ns::AVATAR_DATA, hash.clone(), data(base64));
            let metadata = (ns::AVATAR_METADATA, hash.clone(), metadata(base64, hash, mime));
            (Avatar::Image { id: hash.clone(), mime: mime.clone() }, vec![data, metadata])
        }
        (Photo::None, Avatar::Image { .. }) => {
            let nothing = (ns::AVATAR_METADATA, pep::random_id(turn), nothing());
            (Avatar::None, vec![nothing])
        }
        (Photo::None | Photo::Strange, _) => return Ok(Published::default()),
    };
    let unreadable = |_| Refusal::from(Condition::InternalServerError);
    // In the order of `plan_publish`.
    let pictures = pep::entries(&mut rows).map_err(unreadable)?;
    let words = pep::entries(&mut rows).map_err(unreadable)?;
    // Both or none.
    let mut pep = account.pep().cloned().unwrap_or_default();
    for (node, item, payload) in &items {
        let there = if *node == ns::AVATAR_DATA { &pictures } else { &words };
        let standing = Standing::among(item, there.clone());
        let publication = Publication { node, item, payload };
        pep.publish(account.id(), &publication, public(), standing, turn.now.stamp, batch)?;
    }
    *account.pep_mut() = pep;
    account.takes_avatar(avatar, batch);
    Ok(Published { items })
}

impl Published {
    /// Tells everybody, once it is written.
    pub fn tell(self, account: &mut Account, turn: &mut Turn<'_>) {
        for (node, item, payload) in &self.items {
            account.tells_published(&Publication { node, item, payload }, turn);
        }
        if !self.items.is_empty() {
            account.shows_avatar(turn);
        }
    }
}

/// Every user of the app sees cards.
fn public() -> Config {
    Config { access: Access::Open, ..Config::default() }
}

fn data(base64: &str) -> String {
    written(|xml| _ = xml.open("data").ns(ns::AVATAR_DATA).text(base64))
}

fn nothing() -> String {
    written(|xml| _ = xml.open("metadata").ns(ns::AVATAR_METADATA))
}

fn metadata(base64: &str, hash: &str, mime: &str) -> String {
    let bytes = base64.len() / 4 * 3 - base64.bytes().rev().take_while(|&byte| byte == b'=').count();
    written(|xml| {
        xml.open("metadata").ns(ns::AVATAR_METADATA);
        xml.open("info").attr_int("bytes", bytes as u64).attr("id", hash).attr("type", mime);
    })
}

fn written(write: impl FnOnce(&mut Writer<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Writer::new(&mut out));
    String::from_utf8(out).expect("a writer writes text")
}

/// A presence with the hash of the picture, unless the client says that it shows none. XEP-0398 §4
pub(crate) fn advertised(presence: Bytes, avatar: &Avatar) -> Bytes {
    let hash = match avatar {
        Avatar::Unsaid => return presence,
        Avatar::None => "",
        Avatar::Image { id, .. } => id,
    };
    let mut nodes = Nodes::new();
    let Some(element) = nodes.reread(&presence) else { return presence };
    let is_update = |child: Element<'_>| child.is("x", ns::VCARD_UPDATE);
    let photos = element.children().filter(|&child| is_update(child));
    let mut photos = photos.filter_map(|update| update.child("photo", ns::VCARD_UPDATE));
    if photos.any(|photo| photo.text().trim().is_empty()) {
        return presence;
    }
    let append = |xml: &mut Writer<'_>| {
        xml.open("x").ns(ns::VCARD_UPDATE).open("photo");
        if !hash.is_empty() {
            xml.text(hash);
        }
        xml.close().close();
    };
    rewritten(element, &is_update, None, &append).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::stage::{self, ADAM, BOB, Stage};

    /// `picture` in Base64.
    const DATA: &str = "cGljdHVyZQ==";
    const GET: &str = "<iq type='get' id='g'><vCard xmlns='vcard-temp'/></iq>";
    const GET_BOBS: &str = "<iq type='get' id='g' to='2-1@localhost'><vCard xmlns='vcard-temp'/></iq>";

    fn hash() -> String {
        picture(DATA).expect("a picture").1
    }

    fn publish(node: &str, item: &str, payload: &str, access: &str) -> String {
        let form = format!(
            "<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='pubsub#access_model'><value>{access}</value></field>"
        );
        format!(
            "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{node}'><item id='{item}'>{payload}</item></publish><publish-options><x xmlns='jabber:x:data' type='submit'>{form}</x></publish-options></pubsub></iq>"
        )
    }

    fn publish_picture(stage: &mut Stage, access: &str) {
        let data = format!("<data xmlns='urn:xmpp:avatar:data'>{DATA}</data>");
        assert!(stage.ask(BOB, &publish(ns::AVATAR_DATA, &hash(), &data, access)).contains("result"));
        assert!(stage.ask(BOB, &metadata_of(&hash(), access)).contains("result"));
    }

    fn metadata_of(id: &str, access: &str) -> String {
        let info = format!("<info bytes='7' id='{id}' type='image/png'/>");
        let elsewhere = format!("<info bytes='7' id='{id}' type='image/gif' url='https://e.example/a'/>");
        let metadata = format!("<metadata xmlns='urn:xmpp:avatar:metadata'>{elsewhere}{info}</metadata>");
        publish(ns::AVATAR_METADATA, id, &metadata, access)
    }

    fn set_card(inside: &str) -> String {
        format!("<iq type='set' id='s'><vCard xmlns='vcard-temp'>{inside}</vCard></iq>")
    }

    fn photo() -> String {
        format!("<PHOTO><TYPE>image/png</TYPE><BINVAL>{DATA}</BINVAL></PHOTO>")
    }

    #[test]
    fn the_hash_is_that_of_the_picture() {
        assert_eq!(hash(), "0e66b49d04a43c19bcb2e13a53aff5d174f610fc");
        assert_eq!(picture("cGlj\n dHVy\tZQ=="), picture(DATA));
        for nothing in ["", "  ", "=", "not base64!", "cGljdHVyZQ="] {
            assert_eq!(picture(nothing), None, "{nothing:?}");
        }
    }

    // XEP-0398 §3.1
    #[test]
    fn a_published_picture_is_on_the_card_of_those_who_may_see_it() {
        let mut stage = Stage::new();
        stage.ask(BOB, &set_card("<FN>Bob</FN>"));
        publish_picture(&mut stage, "presence");
        assert!(stage.ask(BOB, GET).contains(&format!("<FN>Bob</FN>{}", photo())));
        let strangers = stage.ask(ADAM, GET_BOBS);
        assert!(strangers.contains("<FN>Bob</FN></vCard>"), "{strangers}");
        stage.ask(ADAM, "<presence type='subscribe' to='2-1@localhost'/>");
        stage.ask(BOB, "<presence type='subscribed' to='1-1@localhost'/>");
        assert!(stage.ask(ADAM, GET_BOBS).contains(DATA));
    }

    #[test]
    fn a_picture_alone_is_a_card() {
        let mut stage = Stage::new();
        publish_picture(&mut stage, "open");
        let card = format!(r#"<vCard xmlns='vcard-temp'>{}</vCard>"#, photo());
        assert!(stage.ask(ADAM, GET_BOBS).contains(&card));
        // §4.2.4: an empty one takes it away.
        let off = publish(ns::AVATAR_METADATA, "off", "<metadata xmlns='urn:xmpp:avatar:metadata'/>", "open");
        stage.ask(BOB, &off);
        assert_eq!(stage::condition(&stage.ask(BOB, GET)), "item-not-found");
    }

    #[test]
    fn what_is_not_the_picture_is_none() {
        let mut stage = Stage::new();
        let data = format!("<data xmlns='urn:xmpp:avatar:data'>{DATA}</data>");
        let other = "00".repeat(20);
        stage.ask(BOB, &publish(ns::AVATAR_DATA, &other, &data, "open"));
        for id in [&*other, &hash(), "../../etc/passwd", ""] {
            stage.ask(BOB, &metadata_of(id, "open"));
            assert_eq!(stage::condition(&stage.ask(BOB, GET)), "item-not-found", "{id}");
            let presence = stage.ask(BOB, "<presence/>");
            assert!(presence.contains("<photo/>"), "{presence}");
        }
    }

    // XEP-0398 §3.2
    #[test]
    fn the_picture_of_a_card_is_published() {
        let mut stage = Stage::new();
        let card = format!("<FN>Bob</FN>{}<X/>", photo());
        assert_eq!(stage.ask(BOB, &set_card(&card)), r#"<iq type="result" id="s" to="2-1@localhost/r"/>"#);
        let items = "<iq type='get' id='i' to='2-1@localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:avatar:data'/></pubsub></iq>";
        assert!(stage.ask(ADAM, items).contains(DATA));
        let said = stage.ask(ADAM, &items.replace("data", "metadata"));
        let info = format!(r#"<info bytes="7" id="{}" type="image/png"/>"#, hash());
        assert!(said.contains(&info), "{said}");
        assert!(stage.ask(ADAM, GET_BOBS).contains(&format!("<FN>Bob</FN><X/>{}", photo())));
        // The same card again publishes nothing again.
        stage.ask(BOB, &set_card(&card));
        assert_eq!(stage.log()[0], "write vcards");
        // A card without a picture has none.
        stage.ask(BOB, &set_card("<FN>Bob</FN>"));
        assert!(stage.ask(ADAM, GET_BOBS).contains("<FN>Bob</FN></vCard>"));
        assert!(
            stage
                .ask(ADAM, &items.replace("data", "metadata"))
                .contains("<metadata xmlns=\"urn:xmpp:avatar:metadata\"/>")
        );
    }

    #[test]
    fn a_picture_that_is_none_stays_on_the_card() {
        let mut stage = Stage::new();
        let strange = "<PHOTO><EXTVAL>https://e.example/a</EXTVAL></PHOTO><N/>";
        stage.ask(BOB, &set_card(strange));
        assert!(stage.ask(ADAM, GET_BOBS).contains(strange));
        assert_eq!(stage.rows_in("pep_nodes"), 0);
    }

    #[test]
    fn a_card_with_prefixes_gets_its_picture_too() {
        let mut stage = Stage::new();
        stage.ask(BOB, "<iq type='set' id='s' xmlns:v='vcard-temp'><v:vCard><v:FN>B</v:FN></v:vCard></iq>");
        publish_picture(&mut stage, "open");
        let card = stage.ask(ADAM, GET_BOBS);
        let expected = format!(
            r#"<v:FN>B</v:FN><PHOTO xmlns="vcard-temp"><TYPE>image/png</TYPE><BINVAL>{DATA}</BINVAL></PHOTO></v:vCard>"#
        );
        assert!(card.contains(&expected), "{card}");
    }

    // XEP-0398 §4
    #[test]
    fn presence_says_which_picture_there_is() {
        let x = |inside: &str| format!("<presence><x xmlns='vcard-temp:x:update'>{inside}</x></presence>");
        let mut stage = Stage::new();
        assert!(!stage.ask(BOB, "<presence/>").contains("vcard-temp"));
        publish_picture(&mut stage, "open");
        let hash = hash();
        let said = format!(r#"<x xmlns="vcard-temp:x:update"><photo>{hash}</photo></x>"#);
        for (presence, expected) in [
            ("<presence/>".to_owned(), true),
            ("<presence><show>away</show></presence>".to_owned(), true),
            (x(""), true),
            (x("<photo>0000</photo>"), true),
            (x("<photo/>"), false),
            (x("<photo> </photo>"), false),
        ] {
            let echo = stage.ask(BOB, &presence);
            assert_eq!(echo.contains(&said), expected, "{presence} {echo}");
            assert_eq!(echo.matches("vcard-temp:x:update").count(), 1, "{echo}");
        }
        stage.ask(BOB, "<presence/>");
        // All see at once that it is gone.
        let retract = format!(
            "<iq type='set' id='r'><pubsub xmlns='http://jabber.org/protocol/pubsub'><retract node='urn:xmpp:avatar:data'><item id='{hash}'/></retract></pubsub></iq>"
        );
        assert!(stage.ask(BOB, &retract).contains(r#"<x xmlns="vcard-temp:x:update"><photo/></x>"#));
    }
}
