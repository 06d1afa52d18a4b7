//! XEP-0363: HTTP File Upload: a service that gives out places for files. The files themselves come and go over HTTP.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::disco;
use super::form;
use super::{At, Extension, IqRoute, Request, Spec, nothing};
use crate::account::Account;
use crate::effect::Turn;
use crate::error::{Condition, ErrorType, Refusal};
use crate::limits::{
    UPLOAD_NAME_BYTES_MAX, UPLOAD_SLOT_TIME_MAX, UPLOAD_SLOTS_MAX, UPLOAD_TYPE_BYTES_MAX, UPLOADS_PER_USER_MAX,
};
use crate::model::upload::{self, FileId, Slot, SlotKey, Upload};
use crate::ns;
use crate::row::{Batch, Reads, Rows};
use crate::stanza::{IqAnswer, IqKind};
use crate::time::Timestamp;
use crate::xml::{Element, Writer};

pub(super) static UPLOAD: Extension = Extension {
    name: "HTTP File Upload",
    spec: Spec::Xep(363, "1.2.0"),
    tables: &[&upload::UPLOADS],
    iq: &[
        IqRoute { plan, ..get(ns::UPLOAD, "request", on_request) },
        get(ns::DISCO_INFO, "query", on_info),
        get(ns::DISCO_ITEMS, "query", on_items),
        get(ns::PING, "ping", on_ping),
    ],
    ..Extension::NONE
};

type Apply = fn(&Request<'_>, &mut Account, Rows, &mut Turn<'_>) -> IqAnswer;

const fn get(ns: &'static str, name: &'static str, apply: Apply) -> IqRoute {
    IqRoute { at: At::Uploads, kind: IqKind::Get, ns, name, plan: nothing, apply }
}

/// The service that takes files, as the operator has set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploads {
    /// Its domain.
    pub domain: Arc<str>,
    /// What the addresses of files begin with, up to the last slash.
    pub base: Box<str>,
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// Bytes of all files of one user.
    pub user_bytes_max: u64,
    /// Bytes of what one user brings within 24 hours.
    pub day_bytes_max: u64,
    /// How long files are kept; none for ever.
    pub kept_for: Option<Duration>,
}

/// What a client asks a slot for. §4
struct Wish {
    name: String,
    bytes: u64,
    content_type: Option<String>,
    /// It wants the file to go by then. §5.3
    expires: Option<Timestamp>,
}

/// What an account has, slots that nobody used in time left out.
struct Shelf {
    uploads: Vec<(FileId, Upload)>,
}

fn plan(_: &Request<'_>, account: &Account) -> Reads {
    upload::reads(account.id())
}

/// §4: a place for a file.
fn on_request(request: &Request<'_>, account: &mut Account, mut rows: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let uploads = turn.site.uploads.clone().ok_or(Condition::ServiceUnavailable)?;
    let wish = Wish::read(request.payload, turn.now.stamp)?;
    if wish.bytes > uploads.file_bytes_max {
        return Err(too_large(uploads.file_bytes_max));
    }
    let now = turn.now.stamp;
    let all = upload::all(&mut rows).map_err(|_| Condition::InternalServerError)?;
    let (over, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, upload)| upload.is_over(now));
    Shelf { uploads: rest }.has_room(wish.bytes, &uploads, now)?;

    let kept_until = uploads.kept_for.map(|time| now.after(time));
    let until = [kept_until, wish.expires].into_iter().flatten().min();
    let file = FileId::draw(turn.random, until);
    let key = SlotKey::draw(turn.random);
    let url = format!("{}{file}/{}", uploads.base, path_segment(&wish.name));
    let begins_by = now.after(UPLOAD_SLOT_TIME_MAX);
    let slot = Slot { key, begins_by, name: wish.name, content_type: wish.content_type };

    let mut batch = Batch::default();
    for (file, _) in over {
        upload::forget(account.id(), file, &mut batch);
    }
    upload::put(account.id(), file, &Upload { bytes: wish.bytes, given: now, until, slot: Some(slot) }, &mut batch);
    turn.out.write(batch);

    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("slot").ns(ns::UPLOAD);
    // Who gets the file does not learn from its address who left it here: only the uploader is told where to put it.
    xml.leaf("put", &[("url", &format!("{url}?{}-{key}", account.id()))]);
    xml.leaf("get", &[("url", &url)]).close();
    drop(xml);
    Ok(out)
}

impl Wish {
    fn read(request: Element<'_>, now: Timestamp) -> Result<Wish, Refusal> {
        let name = request.attr("filename").ok_or(Condition::BadRequest)?;
        let size = request.attr("size").ok_or(Condition::BadRequest)?;
        let bytes = size.parse().ok().filter(|&bytes: &u64| bytes > 0 && !size.starts_with('+'));
        let content_type = request.attr("content-type").filter(|kind| !kind.is_empty());
        if content_type.as_ref().is_some_and(|kind| !is_media_type(kind)) {
            return Err(Condition::BadRequest.into());
        }
        Ok(Wish {
            name: file_name(&name),
            bytes: bytes.ok_or(Condition::BadRequest)?,
            content_type: content_type.map(|kind| kind.into_owned()),
            expires: expires(request, now)?,
        })
    }
}

/// §5: what the file is for. Whoever asks for more time than all files have must not be told that he got it.
fn expires(request: Element<'_>, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
    let mut purposes = request.children().filter(|child| child.ns() == ns::UPLOAD_PURPOSE);
    let (purpose, None) = (purposes.next(), purposes.next()) else { return Err(Condition::BadRequest.into()) };
    let Some(purpose) = purpose else { return Ok(None) };
    match purpose.name() {
        "message" => Ok(None),
        "ephemeral" => {
            let before = purpose.attr("expire-before").ok_or(Condition::BadRequest)?;
            let before = Timestamp::parse_iso(&before).filter(|&before| before > now);
            Ok(Some(before.ok_or(Condition::BadRequest)?))
        }
        _ => Err(Condition::FeatureNotImplemented.into()),
    }
}

impl Shelf {
    fn has_room(self, bytes: u64, uploads: &Uploads, now: Timestamp) -> Result<(), Refusal> {
        let open = self.uploads.iter().filter_map(|(_, upload)| upload.slot.as_ref().filter(|_| upload.is_open(now)));
        let ends: Vec<Timestamp> = open.map(|slot| slot.begins_by).collect();
        if ends.len() >= UPLOAD_SLOTS_MAX {
            return Err(no_room("There are too many slots that were not used.", ends.into_iter().min()));
        }
        // One place in the list is left for what the next turn reads.
        if self.uploads.len() >= UPLOADS_PER_USER_MAX - 1 {
            return Err(no_room("You have as many files here as you can have.", room_at(self.ends(), 1, 0)));
        }
        let used: u64 = self.uploads.iter().map(|(_, upload)| upload.bytes).sum();
        let missing = used.saturating_add(bytes).saturating_sub(uploads.user_bytes_max);
        if missing > 0 {
            return Err(no_room("Your files here leave no room for this one.", room_at(self.ends(), 0, missing)));
        }
        let recent = self.uploads.iter().map(|(_, upload)| (upload.day_until(), upload.bytes));
        let recent: Vec<(Timestamp, u64)> = recent.filter(|(until, _)| *until > now).collect();
        let brought: u64 = recent.iter().map(|(_, bytes)| bytes).sum();
        let missing = brought.saturating_add(bytes).saturating_sub(uploads.day_bytes_max);
        if missing > 0 {
            return Err(no_room("You have brought as much as you can in one day.", room_at(recent, 0, missing)));
        }
        Ok(())
    }

    /// When what there is counts for nothing any more.
    fn ends(&self) -> Vec<(Timestamp, u64)> {
        self.uploads.iter().filter_map(|(_, upload)| Some((upload.counts_until()?, upload.bytes))).collect()
    }
}

/// When so many files and bytes of those that end then will be gone, if they ever are.
fn room_at(mut ends: Vec<(Timestamp, u64)>, files: usize, bytes: u64) -> Option<Timestamp> {
    ends.sort_unstable_by_key(|&end| Reverse(end));
    let (mut gone, mut freed) = (0, 0);
    while let Some((at, size)) = ends.pop() {
        (gone, freed) = (gone + 1, freed + size);
        if gone >= files && freed >= bytes {
            return Some(at);
        }
    }
    None
}

/// §6
fn too_large(max: u64) -> Refusal {
    let text = format!("File too large. The maximum file size is {max} bytes.");
    Refusal::new(Condition::NotAcceptable, text).with(|xml| {
        xml.open("file-too-large").ns(ns::UPLOAD).simple("max-file-size", &max.to_string()).close();
    })
}

/// §6, with when to come again, if that would help.
fn no_room(text: &'static str, retry: Option<Timestamp>) -> Refusal {
    let refusal = Refusal::new(Condition::ResourceConstraint, text);
    match retry {
        Some(at) => refusal.with(|xml| {
            xml.open("retry").ns(ns::UPLOAD).attr("stamp", &at.iso().to_string()).close();
        }),
        None => refusal.of_kind(ErrorType::Cancel),
    }
}

/// §3
fn on_info(request: &Request<'_>, _: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    disco::no_node(request)?;
    let uploads = turn.site.uploads.as_ref().ok_or(Condition::ServiceUnavailable)?;
    let features =
        [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::PING, ns::UPLOAD, ns::UPLOAD_FOR_MESSAGE, ns::UPLOAD_EPHEMERAL];
    Ok(disco::info(None, [("store", "file")].iter(), features.iter(), |xml| {
        form::open_result(xml, ns::UPLOAD);
        form::field(xml, "max-file-size", [uploads.file_bytes_max.to_string().as_str()]);
        xml.close();
    }))
}

fn on_items(request: &Request<'_>, _: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    disco::no_node(request)?;
    let mut out = Vec::new();
    Writer::new(&mut out).empty("query", ns::DISCO_ITEMS);
    Ok(out)
}

fn on_ping(_: &Request<'_>, _: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    Ok(Vec::new())
}

/// The last part of a path without what would make it another one, or look like another one to a person.
fn file_name(wanted: &str) -> String {
    let name = wanted.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|letter| !letter.is_control() && !turns_text(*letter)).collect();
    let name = name.trim_matches(|letter: char| letter == '.' || letter.is_whitespace());
    match shortened(name) {
        name if name.is_empty() => "file".to_owned(),
        name => name,
    }
}

/// Marks that change the direction of text: with one of them `gpj.exe` reads `exe.jpg`.
fn turns_text(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What comes after the last dot stays.
fn shortened(name: &str) -> String {
    if name.len() <= UPLOAD_NAME_BYTES_MAX {
        return name.to_owned();
    }
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if ending.len() < UPLOAD_NAME_BYTES_MAX / 2 => (stem, Some(ending)),
        Some(_) | None => (name, None),
    };
    let room = UPLOAD_NAME_BYTES_MAX - ending.map_or(0, |ending| ending.len() + 1);
    let end = (0..=room).rev().find(|&end| stem.is_char_boundary(end)).unwrap_or(0);
    let stem = &stem[..end];
    match ending {
        Some(ending) => format!("{}.{ending}", stem.trim_end()),
        None => stem.trim_end().to_owned(),
    }
}

/// Text as a segment of a path, or as the value of a header's parameter. RFC 3986 §2.3, RFC 8187 §3.2
pub fn path_segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `type/subtype`, with parameters that a header can hold. RFC 9110 §8.3.1
pub fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    text.len() <= UPLOAD_TYPE_BYTES_MAX
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::stage::{self, ADAM, BOB, Stage};

    const MIB: u64 = 1 << 20;

    fn stage() -> Stage {
        let mut stage = Stage::new();
        stage.site.uploads = Some(Arc::new(Uploads {
            domain: "upload.localhost".into(),
            base: "https://localhost:8443/upload/".into(),
            file_bytes_max: MIB,
            user_bytes_max: 3 * MIB,
            day_bytes_max: 2 * MIB,
            kept_for: Some(Duration::from_secs(90 * 86_400)),
        }));
        stage
    }

    fn request(stage: &mut Stage, attributes: &str, purpose: &str) -> String {
        let payload = format!("<request xmlns='urn:xmpp:http:upload:0' {attributes}>{purpose}</request>");
        stage.ask(BOB, &format!("<iq type='get' id='1' to='upload.localhost'>{payload}</iq>"))
    }

    fn ask(stage: &mut Stage, bytes: u64) -> String {
        request(stage, &format!("filename='a.jpg' size='{bytes}'"), "")
    }

    #[test]
    fn a_slot_is_on_disk_before_anybody_hears_of_it() {
        let mut stage = stage();
        let answer = request(&mut stage, "filename='très cool.jpg' size='23456' content-type='image/jpeg'", "");
        // Day 16,973, and what the stage has for chance.
        let url = format!("https://localhost:8443/upload/424d{}/tr%C3%A8s%20cool.jpg", "0".repeat(28));
        assert_eq!(
            answer,
            format!(
                r#"<iq type="result" id="1" from="upload.localhost" to="2-1@localhost/r"><slot xmlns="urn:xmpp:http:upload:0"><put url="{url}?2-1-{}"/><get url="{url}"/></slot></iq>"#,
                "0".repeat(32)
            )
        );
        assert_eq!(stage.log(), ["write uploads", "deliver 2-1"]);
    }

    #[test]
    fn what_is_too_large_or_no_file_is_refused() {
        let mut stage = stage();
        let answer = ask(&mut stage, MIB + 1);
        assert_eq!(stage::condition(&answer), "not-acceptable");
        let detail = r#"<file-too-large xmlns="urn:xmpp:http:upload:0"><max-file-size>1048576</max-file-size></file-too-large></error></iq>"#;
        assert!(answer.contains("type=\"modify\"") && answer.ends_with(detail), "{answer}");
        for attributes in [
            "",
            "filename='a'",
            "size='5'",
            "filename='a' size='0'",
            "filename='a' size='-1'",
            "filename='a' size='+1'",
            "filename='a' size='1.5'",
            "filename='a' size='99999999999999999999999'",
            "filename='a' size='5' content-type='jpeg'",
            "filename='a' size='5' content-type='a/b&#10;X: y'",
            "filename='a' size='5' content-type='&lt;a&gt;/b'",
        ] {
            assert_eq!(stage::condition(&request(&mut stage, attributes, "")), "bad-request", "{attributes}");
        }
        assert_eq!(stage.rows_in("uploads"), 0);
    }

    #[test]
    fn everybody_has_a_share_and_is_told_when_there_is_room_again() {
        let mut stage = stage();
        // The stage has no chance, so each slot needs a day of its own.
        for _ in 0..3 {
            assert!(ask(&mut stage, MIB).contains("<slot"));
            stage.now.stamp = stage.now.stamp.after(Duration::from_secs(86_400));
            // Nobody used it: it is forgotten, and gives its share back.
            assert!(ask(&mut stage, MIB).contains("<slot"));
            assert_eq!(stage.rows_in("uploads"), 1);
        }
        let mut stage = self::stage();
        let account = crate::row::Key::of(&crate::owner::Owner::Account(BOB));
        for n in 1..=3_u64 {
            let until = stage.now.stamp.after(Duration::from_secs(n * 100));
            let given = Timestamp::from_secs(0);
            let upload = Upload { bytes: MIB, given, until: Some(until), slot: None };
            stage.given(|turn| {
                let mut batch = Batch::default();
                let key = account.clone().bytes(&[n as u8; 16]);
                batch.put(&upload::UPLOADS, key, crate::row::encode(1, &upload));
                turn.out.write(batch);
            });
        }
        let answer = ask(&mut stage, MIB);
        assert_eq!(stage::condition(&answer), "resource-constraint");
        let first = stage.now.stamp.after(Duration::from_secs(100)).iso();
        assert!(answer.contains(&format!("<retry xmlns=\"urn:xmpp:http:upload:0\" stamp=\"{first}\"/>")), "{answer}");
        stage.now.stamp = stage.now.stamp.after(Duration::from_secs(101));
        assert!(ask(&mut stage, MIB).contains("<slot"), "one is gone");
        assert_eq!(stage.rows_in("uploads"), 3, "and no row speaks of it");
        let adams = "<iq type='get' id='1' to='upload.localhost'><request xmlns='urn:xmpp:http:upload:0' filename='a' size='1048576'/></iq>";
        assert!(stage.ask(ADAM, adams).contains("<slot"), "others have their own");
    }

    #[test]
    fn slots_are_not_collected() {
        let slot = |n: u64| Slot {
            key: SlotKey::parse(&"0".repeat(32)).unwrap(),
            begins_by: Timestamp::from_secs(1_000 + n),
            name: "a".to_owned(),
            content_type: None,
        };
        let file = FileId::parse(&"0".repeat(32)).unwrap();
        let upload = |n| (file, Upload { bytes: 1, given: Timestamp::from_secs(0), until: None, slot: Some(slot(n)) });
        let uploads = stage().site.uploads.unwrap();
        let shelf = |count: usize| Shelf { uploads: (0..count as u64).map(upload).collect() };
        let at = Timestamp::from_secs(900);
        assert_eq!(shelf(UPLOAD_SLOTS_MAX - 1).has_room(1, &uploads, at), Ok(()));
        let refusal = shelf(UPLOAD_SLOTS_MAX).has_room(1, &uploads, at).unwrap_err();
        let retry = String::from_utf8(refusal.elements).unwrap();
        assert!(retry.contains("1970-01-01T00:16:40Z"), "{retry}");
        let kept = |count: usize| {
            let upload = Upload { bytes: 1, given: Timestamp::from_secs(0), until: None, slot: None };
            Shelf { uploads: vec![(file, upload); count] }
        };
        let refusal = kept(UPLOADS_PER_USER_MAX - 1).has_room(1, &uploads, at).unwrap_err();
        assert_eq!((refusal.kind, refusal.elements.len()), (ErrorType::Cancel, 0), "they never go");
    }

    #[test]
    fn a_day_has_its_share_however_short_files_live() {
        let file = FileId::parse(&"0".repeat(32)).unwrap();
        let uploads = Uploads { user_bytes_max: 9 * MIB, ..(*stage().site.uploads.unwrap()).clone() };
        let at = Timestamp::from_secs;
        let brought = |hour: u64| {
            let given = at(1_000_000 + hour * 3_600);
            (file, Upload { bytes: MIB, given, until: Some(given.after(Duration::from_secs(60))), slot: None })
        };
        let shelf = || Shelf { uploads: vec![brought(5), brought(0)] };
        let ask = |bytes, hour: u64| shelf().has_room(bytes, &uploads, at(1_000_000 + hour * 3_600));
        let retry = |bytes| String::from_utf8(ask(bytes, 6).unwrap_err().elements).unwrap();
        assert!(retry(1).contains(&at(1_000_000 + 24 * 3_600).iso().to_string()));
        assert!(retry(MIB + 1).contains(&at(1_000_000 + 29 * 3_600).iso().to_string()));
        assert_eq!((ask(MIB, 24), ask(2 * MIB, 29)), (Ok(()), Ok(())));
        assert!(ask(MIB + 1, 24).is_err());
    }

    #[test]
    fn a_file_may_go_earlier_but_not_stay_longer() {
        let mut stage = stage();
        let with = |stage: &mut Stage, purpose: &str| {
            let purpose = format!("<{purpose} xmlns='urn:xmpp:http:upload:purpose:0'/>");
            let answer = request(stage, "filename='a' size='1'", &purpose);
            answer.split_once("/upload/").map_or(answer.clone(), |(_, rest)| rest[..4].to_owned())
        };
        assert_eq!(with(&mut stage, "message"), "424d");
        // Day 16,884
        assert_eq!(with(&mut stage, "ephemeral expire-before='2016-03-24T00:00:00Z'"), "41f4");
        assert_eq!(with(&mut stage, "ephemeral expire-before='2036-03-24T00:00:00Z'"), "424d");
        assert_eq!(stage::condition(&with(&mut stage, "permanent")), "feature-not-implemented");
        assert_eq!(stage::condition(&with(&mut stage, "ephemeral")), "bad-request");
        assert_eq!(
            stage::condition(&with(&mut stage, "ephemeral expire-before='2016-03-22T00:00:00Z'")),
            "bad-request"
        );
        assert_eq!(stage::condition(&with(&mut stage, "ephemeral expire-before='soon'")), "bad-request");
    }

    #[test]
    fn names_lead_nowhere_else() {
        for (wanted, name) in [
            ("a.jpg", "a.jpg"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("/", "file"),
            ("..", "file"),
            (".htaccess", "htaccess"),
            ("a/.", "file"),
            ("x\r\nSet-Cookie: a", "xSet-Cookie: a"),
            ("\u{202e}gpj.exe", "gpj.exe"),
            (" très cool.jpg ", "très cool.jpg"),
            ("", "file"),
        ] {
            assert_eq!(file_name(wanted), name, "{wanted:?}");
        }
        let long = format!("{}.tar.gz", "é".repeat(400));
        let short = file_name(&long);
        assert!(short.len() <= UPLOAD_NAME_BYTES_MAX && short.ends_with("é.gz"), "{short}");
        assert!(file_name(&"x".repeat(1_000)).len() <= UPLOAD_NAME_BYTES_MAX);
        assert!(file_name(&format!("a.{}", "y".repeat(1_000))).len() <= UPLOAD_NAME_BYTES_MAX);
        assert_eq!(path_segment("a b/%?#é~"), "a%20b%2F%25%3F%23%C3%A9~");
    }

    #[test]
    fn the_service_is_found_and_says_how_large() {
        let mut stage = stage();
        let ask = |stage: &mut Stage, to: &str, what: &str| {
            let query = format!("<query xmlns='http://jabber.org/protocol/disco#{what}'/>");
            stage.ask(BOB, &format!("<iq type='get' id='1' to='{to}'>{query}</iq>"))
        };
        assert!(ask(&mut stage, "localhost", "items").contains("jid=\"upload.localhost\""));
        let info = ask(&mut stage, "upload.localhost", "info");
        assert!(info.contains(r#"<identity category="store" type="file""#), "{info}");
        assert!(info.contains(r#"<feature var="urn:xmpp:http:upload:0"/>"#), "{info}");
        assert!(info.contains(r#"<field var="max-file-size"><value>1048576</value></field>"#), "{info}");
        let set = "<iq type='set' id='1' to='upload.localhost'><request xmlns='urn:xmpp:http:upload:0'/></iq>";
        assert_eq!(stage::condition(&stage.ask(BOB, set)), "bad-request");
        let roster = "<iq type='get' id='1' to='upload.localhost'><query xmlns='jabber:iq:roster'/></iq>";
        assert_eq!(stage::condition(&stage.ask(BOB, roster)), "service-unavailable", "it is no account");

        let mut without = Stage::new();
        assert!(!ask(&mut without, "localhost", "items").contains("upload"));
        assert_eq!(stage::condition(&ask(&mut without, "upload.localhost", "info")), "remote-server-not-found");
    }

    #[test]
    fn the_files_of_a_user_go_with_the_account() {
        let mut stage = stage();
        assert!(ask(&mut stage, 1).contains("<slot"));
        stage.remove(BOB);
        assert_eq!(stage.rows_in("uploads"), 0);
        assert_eq!(stage.removed().len(), 1);
    }
}
