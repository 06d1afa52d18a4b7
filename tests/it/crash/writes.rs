//! The loads that write by REST, mark by XMPP, bring files and talk; and what must be there of it afterwards.
//!
//! Acknowledged is what was answered with 200 or 201, and a marker or a message that `<a h='…'/>` has counted. Of the call under way when the server
//! was killed nothing is known: it may have happened or not, but not by half and not twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rookery_tests::client::{Client, attribute};
use rookery_tests::http::{self, Account, Answer, Connection};
use rookery_tests::server::{App, DOMAIN, Ports};
use serde_json::{Value, json};

/// Messages of one dialog: few enough for one page of history.
const MESSAGES_PER_DIALOG: usize = 12;
const FILE_BYTES: usize = 20_000;
/// Between two requests for an acknowledgement.
const MESSAGES_PER_BURST: usize = 5;

/// Two users who write and read, with the calls of the API.
#[derive(Clone)]
pub struct Pair {
    pub ports: Ports,
    pub app: App,
    pub writer: Account,
    pub reader: Account,
}

/// What one round has written, as far as it was acknowledged.
#[derive(Default)]
pub struct Written {
    dialogs: Vec<Group>,
    /// Messages that the reader has marked with markers.
    marked: BTreeSet<String>,
    private: Option<String>,
    private_messages: BTreeSet<String>,
    /// The path of each file, and what is in it.
    files: BTreeMap<String, String>,
    talk: Talk,
}

/// Messages to a client that is connected, in the order sent.
#[derive(Default)]
struct Talk {
    ids: Vec<String>,
    acknowledged: usize,
    /// What that client has read, and has acknowledged or not.
    read: BTreeSet<String>,
}

#[derive(Default)]
struct Group {
    id: String,
    /// The name that was acknowledged last, and the one that may be.
    names: Vec<String>,
    messages: BTreeMap<String, String>,
    /// All texts that were sent: none may be there twice.
    sent: BTreeSet<String>,
    deleted: BTreeSet<String>,
    read: BTreeSet<String>,
    /// Messages of which it is not known whether they are deleted.
    unsure: BTreeSet<String>,
}

impl Pair {
    fn session(&self, connection: &mut Connection, who: &Account) -> io::Result<String> {
        let request = http::session_request(&self.app, Some((&who.login, &who.password)));
        let answer = connection.call("POST", "/session.json", None, &request)?;
        assert_eq!(answer.status, 201, "{}", text(&answer));
        Ok(answer.json()["session"]["token"].as_str().expect("a token").to_owned())
    }

    /// Dialogs, names, messages, deletions and reading, over and over.
    pub fn writes(&self, round: u64, written: &mut Written) -> io::Result<()> {
        let mut connection = Connection::open(self.ports.http)?;
        let tokens = [self.session(&mut connection, &self.writer)?, self.session(&mut connection, &self.reader)?];
        let mut call = |who: usize, method: &str, path: &str, body: Value, status: u16| -> io::Result<Value> {
            let answer = connection.call(method, path, Some(&tokens[who]), &body)?;
            assert_eq!(answer.status, status, "{method} {path} {body}: {}", text(&answer));
            Ok(if answer.body.is_empty() { Value::Null } else { answer.json() })
        };
        for number in 0.. {
            let name = format!("dialog {round}.{number}");
            let body = json!({"type": 2, "name": name, "occupants_ids": [self.reader.id]});
            let id = id_of(&call(0, "POST", "/chat/Dialog.json", body, 201)?);
            written.dialogs.push(Group { id: id.clone(), names: vec![name.clone()], ..Group::default() });
            let group = written.dialogs.last_mut().expect("it was just put there");
            for n in 0..MESSAGES_PER_DIALOG {
                let said = format!("{name}, message {n}");
                group.sent.insert(said.clone());
                let body = json!({"chat_dialog_id": id, "message": said});
                let message = id_of(&call(0, "POST", "/chat/Message.json", body, 201)?);
                group.messages.insert(message.clone(), said);
                let path = format!("/chat/Message/{message}.json");
                match n % 4 {
                    0 => {
                        call(1, "PUT", &path, json!({"chat_dialog_id": id, "read": 1}), 200)?;
                        group.read.insert(message);
                    }
                    1 => {
                        group.unsure.insert(message.clone());
                        call(0, "DELETE", &format!("{path}?force=1"), Value::Null, 200)?;
                        group.deleted.insert(message);
                    }
                    2 => {
                        let name = format!("{name}, renamed {n}");
                        group.names.push(name.clone());
                        call(0, "PUT", &format!("/chat/Dialog/{id}.json"), json!({"name": name}), 200)?;
                        group.names = vec![name];
                    }
                    _ => {}
                }
            }
        }
        unreachable!("the count of dialogs has no end")
    }

    /// Messages by REST, each marked as read by a marker over XMPP that is acknowledged.
    pub fn marks(&self, round: u64, written: &mut Written) -> io::Result<()> {
        let mut connection = Connection::open(self.ports.http)?;
        let token = self.session(&mut connection, &self.writer)?;
        let mut client = Client::login(self.ports, &self.reader)?;
        client.send("<enable xmlns='urn:xmpp:sm:3'/>")?;
        client.wait_for(|element| element.starts_with("<enabled"))?;
        let mut counted = 0;
        for n in 0.. {
            let body = json!({"recipient_id": self.reader.id, "message": format!("mark {round}.{n}")});
            let answer = connection.call("POST", "/chat/Message.json", Some(&token), &body)?;
            assert_eq!(answer.status, 201, "{}", text(&answer));
            let (message, dialog) =
                (id_of(&answer.json()), answer.json()["chat_dialog_id"].as_str().expect("an id").to_owned());
            written.private_messages.insert(message.clone());
            written.private = Some(dialog.clone());
            client.send(&format!(
                "<message to='{}@{DOMAIN}' type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='{message}'/>\
                 <extraParams xmlns='jabber:client'><dialog_id>{dialog}</dialog_id></extraParams></message><r xmlns='urn:xmpp:sm:3'/>",
                self.writer.node
            ))?;
            counted += 1;
            let answer = client.wait_for(|element| element.starts_with("<a "))?;
            assert_eq!(attribute(&answer, "h"), Some(counted.to_string().as_str()), "{answer}");
            written.marked.insert(message);
        }
        unreachable!("the count of marks has no end")
    }

    /// File after file: a slot over XMPP, the file over HTTP.
    pub fn uploads(&self, round: u64, written: &mut Written) -> io::Result<()> {
        let mut connection = Connection::open(self.ports.http)?;
        let mut client = Client::login(self.ports, &self.writer)?;
        for n in 0.. {
            let file = json!({"round": round, "file": n, "filling": "x".repeat(FILE_BYTES)});
            let bytes = file.to_string().len();
            let slot = client.iq(
                "get",
                &format!("upload.{DOMAIN}"),
                &format!("<request xmlns='urn:xmpp:http:upload:0' filename='f{n}.json' size='{bytes}'/>"),
            )?;
            let path = |element: &str| {
                let at = slot.find(element).unwrap_or_else(|| panic!("no slot: {slot}"));
                let url = attribute(&slot[at..], "url").expect("a slot has addresses");
                url[url.find("/upload/").expect("the path of files")..].to_owned()
            };
            let answer = connection.call("PUT", &path("<put"), None, &file)?;
            assert_eq!(answer.status, 201, "{}", text(&answer));
            written.files.insert(path("<get"), file.to_string());
        }
        unreachable!("the count of files has no end")
    }

    /// Messages to a client that reads and acknowledges them, but for every fourth burst, of which it reads nothing. They are not for
    /// the history: what was acknowledged is with that client, or waits.
    pub fn talks(&self, round: u64, written: &mut Written) -> io::Result<()> {
        let mut writer = Client::login(self.ports, &self.writer)?;
        let mut reader = Client::login(self.ports, &self.reader)?;
        for client in [&mut writer, &mut reader] {
            client.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")?;
            client.wait_for(|element| element.starts_with("<enabled"))?;
        }
        reader.send("<presence/>")?;
        reader.wait_for(|element| element.starts_with("<presence"))?;
        let talk = &mut written.talk;
        let mut stanzas = 1;
        for burst in 0.. {
            for _ in 0..MESSAGES_PER_BURST {
                let id = format!("t{round}n{}", talk.ids.len());
                let to = format!("{}@{DOMAIN}", self.reader.node);
                writer.send(&format!("<message to='{to}' type='chat' id='{id}'><body>{id}</body></message>"))?;
                talk.ids.push(id);
            }
            writer.send("<r xmlns='urn:xmpp:sm:3'/>")?;
            let last = talk.ids.last().expect("the burst has messages").clone();
            while burst % 4 != 3 && !talk.read.contains(&last) {
                let message = reader.wait_for(|element| element.starts_with("<message"))?;
                talk.read.insert(attribute(&message, "id").expect("messages keep their id").to_owned());
                stanzas += 1;
            }
            reader.send(&format!("<a xmlns='urn:xmpp:sm:3' h='{stanzas}'/>"))?;
            let answer = writer.wait_for(|element| element.starts_with("<a "))?;
            talk.acknowledged = attribute(&answer, "h").and_then(|h| h.parse().ok()).expect("acks count");
            assert!(talk.acknowledged <= talk.ids.len(), "{answer}");
        }
        unreachable!("the count of bursts has no end")
    }

    fn check_talk(&self, what: &str, talk: &Talk) -> usize {
        if talk.ids.is_empty() {
            return 0;
        }
        let got = super::collect(self.ports, &self.reader);
        let waited: BTreeSet<&String> = got.iter().collect();
        assert_eq!(waited.len(), got.len(), "{what}: something came twice: {got:?}");
        let is_there = |id: &&String| talk.read.contains(*id) || waited.contains(id);
        let lost: Vec<&String> = talk.ids[..talk.acknowledged].iter().filter(|id| !is_there(id)).collect();
        assert!(lost.is_empty(), "{what}: acknowledged, and neither read nor kept: {lost:?} of {}", talk.acknowledged);
        talk.acknowledged
    }

    /// Everything that was acknowledged is there, and nothing is there twice.
    pub fn check(&self, what: &str, written: &Written) -> usize {
        let mut connection = Connection::open(self.ports.http).expect("the server listens");
        let token = self.session(&mut connection, &self.writer).expect("an acknowledged account can log in");
        let mut list = |path: &str| -> Vec<Value> {
            let answer = connection.call("GET", path, Some(&token), &Value::Null).expect("the server answers");
            assert_eq!(answer.status, 200, "{what}: GET {path}: {}", text(&answer));
            answer.json()["items"].as_array().expect("a list").clone()
        };
        for group in &written.dialogs {
            let dialogs = list(&format!("/chat/Dialog.json?_id={}", group.id));
            assert_eq!(dialogs.len(), 1, "{what}: dialog {}", group.id);
            let name = dialogs[0]["name"].as_str().expect("a name");
            assert!(group.names.iter().any(|known| known == name), "{what}: {name} is none of {:?}", group.names);
            group.check(what, &list(&history(&group.id)));
        }
        if let Some(dialog) = &written.private {
            // The newest come first: a page holds those that were marked last.
            let messages = list(&format!("{}&sort_desc=date_sent", history(dialog)));
            let ids: BTreeSet<&str> = messages.iter().map(|message| message["_id"].as_str().expect("an id")).collect();
            assert_eq!(ids.len(), messages.len(), "{what}: a message is there twice");
            for message in
                messages.iter().filter(|message| written.marked.contains(message["_id"].as_str().unwrap_or_default()))
            {
                assert!(has_read(message, &self.reader), "{what}: a marker that was acknowledged is lost: {message}");
            }
            let expected = written.private_messages.len().min(50);
            let found = written.private_messages.iter().filter(|id| ids.contains(id.as_str())).count();
            assert!(found >= expected, "{what}: {found} of the last {expected} private messages are there");
        }
        for (path, file) in &written.files {
            let answer = http::get(self.ports.http, path).expect("the server answers");
            assert!(answer.status == 200 && text(&answer) == *file, "{what}: {path}: {}", answer.status);
        }
        let messages: usize = written.dialogs.iter().map(|group| group.messages.len()).sum();
        let talk = self.check_talk(what, &written.talk);
        written.dialogs.len() + messages + written.marked.len() + written.files.len() + talk
    }
}

impl Group {
    fn check(&self, what: &str, found: &[Value]) {
        let mut texts = BTreeSet::new();
        let mut ids = BTreeMap::new();
        for message in found {
            let text = message["message"].as_str().expect("a text").to_owned();
            assert!(self.sent.contains(&text), "{what}: {text:?} was never sent");
            ids.insert(message["_id"].as_str().expect("an id").to_owned(), message);
            assert!(texts.insert(text), "{what}: the same message twice: {message}");
        }
        for (id, text) in self.messages.iter().filter(|(id, _)| !self.unsure.contains(*id)) {
            let message = ids.get(id).unwrap_or_else(|| panic!("{what}: {id} ({text}) is lost"));
            assert_eq!(message["message"].as_str(), Some(text.as_str()), "{what}");
        }
        for id in &self.deleted {
            assert!(!ids.contains_key(id), "{what}: {id} was deleted and is there");
        }
        for id in &self.read {
            let read = ids
                .get(id)
                .is_some_and(|message| message["read_ids"].as_array().is_some_and(|readers| readers.len() == 2));
            assert!(read, "{what}: {id} was read and is not: {:?}", ids.get(id));
        }
    }
}

fn history(dialog: &str) -> String {
    format!("/chat/Message.json?chat_dialog_id={dialog}&mark_as_read=0&limit=100")
}

fn has_read(message: &Value, reader: &Account) -> bool {
    message["read_ids"].as_array().is_some_and(|readers| readers.contains(&json!(reader.id)))
}

fn id_of(record: &Value) -> String {
    record["_id"].as_str().unwrap_or_else(|| panic!("no id in {record}")).to_owned()
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}
