//! What the dialogs hold in the end, on disk, over the API and in archives: all of it the same, and what the model says of it.

use std::collections::{BTreeMap, BTreeSet};

use proto::jid::user::{AppId, DialogId};
use proto::model::dialog::{self, Body, MessageRow};
use proto::row::Reads;
use serde_json::Value;

use super::Sim;
use super::dialogs::Place;
use super::finish::LAST;
use super::gate::Gate;
use super::perform::Sent;

/// A message as it is on disk.
struct Kept {
    number: usize,
    id: String,
    sender: u64,
}

/// A dialog as one user is shown it.
struct Shown {
    numbers: Vec<usize>,
    unread: u64,
}

impl Sim {
    /// Looks at every dialog through everybody's eyes.
    pub(super) fn audit(&mut self) {
        let groups = self.groups.keys().map(|&group| Place::Group(group));
        let pairs = self.sent.values().filter(|sent| sent.save).map(|sent| sent.place);
        let places: BTreeSet<Place> = groups.chain(pairs).collect();
        let mut shown: Vec<BTreeMap<String, u64>> = vec![BTreeMap::new(); self.users.len()];
        for place in places {
            let Some(id) = self.dialog_id(place) else { continue };
            let kept = self.kept(place, &id);
            self.check_kept(place, &kept);
            for (user, shown) in shown.iter_mut().enumerate() {
                if let Some(seen) = self.shown(user, place, &id, &kept) {
                    self.check_archive(user, place, &seen.numbers);
                    shown.insert(id.clone(), seen.unread);
                    self.counts.views += 1;
                }
            }
        }
        for (user, dialogs) in shown.iter().enumerate() {
            self.check_list(user, dialogs);
        }
    }

    /// The rows of a dialog, oldest first.
    fn kept(&self, place: Place, id: &str) -> Vec<Kept> {
        let dialog = DialogId::parse(id.as_bytes()).expect("an id");
        let all = dialog::key(self.app(place), dialog).all_below();
        let rows = self.world.rows(&Reads::scan(&dialog::MESSAGES, all, usize::MAX)).page();
        let rows = rows.iter().map(|(_, row)| MessageRow::decode(row).expect("as it was written"));
        let kept = |row: MessageRow| {
            let text = row.content().text.clone().unwrap_or_default();
            let number = text.parse().expect("all texts are numbers");
            Kept { number, id: row.id.to_string(), sender: row.sender.0 }
        };
        rows.filter(|row| !matches!(row.body, Body::Retracted(_) | Body::Aside(_))).map(kept).collect()
    }

    fn app(&self, place: Place) -> AppId {
        match place {
            Place::Group(group) => self.users[self.groups[&group].owner].app,
            Place::Pair(one, _) => self.users[one].app,
        }
    }

    fn check_kept(&self, place: Place, kept: &[Kept]) {
        let name = self.name_of(place);
        let mut numbers = BTreeSet::new();
        for Kept { number, id, sender } in kept {
            let sent = self.sent.get(number).expect("somebody sent it");
            assert!(sent.place == place && sent.save, "{name} holds {number}, which was not to be kept there");
            assert_eq!(self.users[sent.user].id, *sender, "{name} holds {number} as another's");
            assert!(numbers.insert(number), "{name} holds {number} twice");
            assert!(sent.is_removed() != Some(true), "{name} holds {number}, which was taken away");
            assert!(sent.id.as_ref().is_none_or(|known| known == id), "{name} holds {number} as {id}");
        }
        let alive = match place {
            Place::Group(group) => self.groups[&group].alive.is_open() == Some(true),
            Place::Pair(..) => true,
        };
        let expected =
            |sent: &Sent| sent.place == place && sent.saved_by.is_some() && sent.is_removed() == Some(false) && alive;
        for (number, _) in self.sent.iter().filter(|(_, sent)| expected(sent)) {
            assert!(numbers.contains(number), "{name} has lost {number}");
        }
    }

    /// A dialog as the API shows it to a user; none if it does not.
    fn shown(&mut self, user: usize, place: Place, id: &str, kept: &[Kept]) -> Option<Shown> {
        let name = format!("{} of {}", self.name_of(place), self.users[user].name);
        let may = match place {
            Place::Pair(one, other) => Some(user == one || user == other),
            Place::Group(group) => {
                let group = &self.groups[&group];
                match (group.members[user].is_open(), group.alive.is_open()) {
                    (Some(true), Some(true)) => Some(true),
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (_, _) => None,
                }
            }
        };
        // Messages stand in the order in which they came; their times are in the same, unless the calendar was set.
        let sort = if self.jumped { "&sort_asc=created_at" } else { "" };
        let target = format!("/chat/Message.json?chat_dialog_id={id}&mark_as_read=0&limit=1000{sort}");
        let answer = self.get(user, &target);
        let exists = matches!(place, Place::Group(_)) || !kept.is_empty() || answer.code == 200;
        if answer.code != 200 {
            assert!(matches!(answer.code, 403 | 404), "{name}: {answer:?}");
            assert!(may != Some(true) || !exists, "{name}: not shown to a member: {answer:?}");
            return None;
        }
        assert!(may != Some(false), "{name}: shown to an outsider: {answer:?}");
        let items = answer.json()["items"].as_array().cloned().expect("a list");
        let mut unread = 0;
        let mut numbers = Vec::new();
        for item in &items {
            let number = item["message"].as_str().and_then(|text| text.parse().ok()).expect("a number");
            numbers.push(number);
            unread += u64::from(self.check_item(user, &name, number, item));
        }
        self.check_hidden(user, &name, &numbers, kept);
        let counted = self.get(user, &format!("/chat/Message/unread.json?chat_dialog_ids={id}")).json();
        assert_eq!(counted[id].as_u64(), Some(unread), "{name}: unread messages of {items:?}");
        let record = self.get(user, &format!("/chat/Dialog.json?_id={id}")).json();
        if let Some(record) = record["items"].get(0) {
            let last = kept.last().map(|last| last.id.as_str());
            assert_eq!(record["last_message_id"].as_str(), last, "{name}: {record}");
            assert_eq!(record["unread_messages_count"].as_u64(), Some(unread), "{name}: {record}");
        }
        Some(Shown { numbers, unread })
    }

    /// Whether the user has yet to read it.
    fn check_item(&self, user: usize, name: &str, number: usize, item: &Value) -> bool {
        let me = self.users[user].id;
        let holds = |field: &str| {
            let ids = item[field].as_array().expect("a list");
            ids.iter().any(|id| id.as_u64() == Some(me))
        };
        let (read, own) = (holds("read_ids"), item["sender_id"].as_u64() == Some(me));
        assert!(!read || holds("delivered_ids"), "{name}: read and not delivered: {item}");
        if own || self.sent[&number].came_back() {
            return !own && !read;
        }
        let marks = self.read_marks.get(&(user, number));
        let known = [marks.map(|marks| &marks.read), marks.map(|marks| &marks.delivered)];
        let known = known.map(|gate| gate.map_or(Some(false), Gate::is_open));
        assert!(known[0].is_none_or(|known| known == read), "{name}: read: {item}");
        assert!(known[1].is_none_or(|known| known == holds("delivered_ids")), "{name}: delivered: {item}");
        !own && !read
    }

    /// The order is the same for all, and nobody lacks what was not put out of the user's sight.
    fn check_hidden(&self, user: usize, name: &str, numbers: &[usize], kept: &[Kept]) {
        let all: Vec<usize> = kept.iter().map(|kept| kept.number).collect();
        let mut left = numbers.iter().peekable();
        for number in &all {
            let hidden = self.hidden.get(&(user, *number)).map_or(Some(false), Gate::is_open);
            let hidden = hidden.filter(|_| !self.sent[number].came_back());
            if left.next_if(|next| *next == number).is_some() {
                assert!(hidden != Some(true), "{name} shows {number}, which was hidden");
            } else {
                assert!(hidden != Some(false), "{name} lacks {number}: {numbers:?} of {all:?}");
            }
        }
        assert!(left.next().is_none(), "{name} shows {numbers:?} of {all:?}");
    }

    /// XEP-0313 has the same as the API.
    fn check_archive(&mut self, user: usize, place: Place, numbers: &[usize]) {
        let who = LAST + user;
        let (to, with) = match place {
            Place::Group(group) => match self.room(group) {
                Some(room) => (format!(" to='{room}'"), String::new()),
                None => return,
            },
            Place::Pair(one, other) => {
                let other = if one == user { other } else { one };
                (String::new(), format!("<field var='with'><value>{}</value></field>", self.address(other, None)))
            }
        };
        self.archived.clear();
        self.audits += 1;
        let id = usize::MAX - self.audits;
        let form = "<field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>";
        let query = format!(
            "<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'>{form}{with}</x><set xmlns='http://jabber.org/protocol/rsm'><max>100</max></set></query>"
        );
        self.request(who, id, "set", &to, &query);
        self.world.settle();
        self.read();
        assert_eq!(self.actors[&who].asked[&id], 1, "the archive does not answer");
        if numbers.len() < 100 {
            let name = format!("{} of {}", self.name_of(place), self.users[user].name);
            assert_eq!(self.archived, numbers, "{name}: archive and API");
        }
    }

    /// The user's list has the dialogs that are shown to him, and no others of those.
    fn check_list(&mut self, user: usize, shown: &BTreeMap<String, u64>) {
        let answer = self.get(user, "/chat/Dialog.json?limit=1000").json();
        let items = answer["items"].as_array().expect("a list");
        let listed: BTreeSet<&str> = items.iter().filter_map(|item| item["_id"].as_str()).collect();
        for id in shown.keys() {
            assert!(listed.contains(id.as_str()), "{}: dialog {id} is not listed", self.users[user].name);
        }
        let total = self.get(user, "/chat/Message/unread.json").json()["total"].as_u64();
        let counted: u64 = items.iter().filter_map(|item| item["unread_messages_count"].as_u64()).sum();
        assert_eq!(total, Some(counted), "{}: all unread messages", self.users[user].name);
    }

    fn get(&mut self, user: usize, target: &str) -> crate::world::Answer {
        let token = self.tokens[user].clone();
        self.world.call("GET", target, &token, "")
    }
}
