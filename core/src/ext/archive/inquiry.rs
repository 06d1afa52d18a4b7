//! One question to an archive, from the rows to the stanzas that answer it. XEP-0313 §4.2, §5 and §6.

use super::query::Query;
use super::search::{Hit, Keep, Page, Scope, Search, Window};
use crate::dialog::archived;
use crate::effect::Site;
use crate::error::Condition;
use crate::model::dialog::DialogRow;
use crate::ns;
use crate::owner::AccountId;
use crate::row::{Reads, Rows, Unreadable};
use crate::rsm;
use crate::xml::Writer;

/// A question while its rows are read.
pub(crate) struct Inquiry {
    viewer: AccountId,
    scope: Scope,
    wanted: Wanted,
    search: Search,
}

enum Wanted {
    Messages(Query, Option<u64>),
    /// The first and the last message; the first is looked for first.
    First,
    Last(Option<Hit>),
}

/// Whose archive it is, and who looks.
pub(crate) struct View<'a> {
    /// Who looks.
    pub viewer: AccountId,
    /// Of a room, its dialog.
    pub room: Option<&'a DialogRow>,
    /// The archive's address.
    pub from: &'a str,
    /// Where the messages go, unless that is added on their way.
    pub to: Option<&'a str>,
    /// The addresses of this server.
    pub site: &'a Site,
}

/// The answer.
pub(crate) struct Answer {
    /// Messages that are sent before the result, in this order.
    pub messages: Vec<Vec<u8>>,
    /// The payload of the result.
    pub payload: Vec<u8>,
}

impl Inquiry {
    /// A query for messages. `count` is how many messages the archive has, where that is known.
    pub fn of(viewer: AccountId, scope: Scope, keep: Keep, query: Query, count: Option<u64>) -> Inquiry {
        let search = Search::new(viewer, scope, keep, query.window.clone());
        Inquiry { viewer, scope, wanted: Wanted::Messages(query, count), search }
    }

    /// Where the archive begins and ends. §6
    pub fn ends(viewer: AccountId, scope: Scope) -> Inquiry {
        let search = Search::new(viewer, scope, Keep::All, Window { max: 1, ..Window::default() });
        Inquiry { viewer, scope, wanted: Wanted::First, search }
    }

    /// The rows that are needed next; none when the answer is there.
    pub fn next(&mut self) -> Result<Option<Reads>, Condition> {
        let reads = self.search.next()?;
        if reads.is_some() || !matches!(self.wanted, Wanted::First) {
            return Ok(reads);
        }
        let window = Window { max: 1, backwards: true, ..Window::default() };
        let search = Search::new(self.viewer, self.scope, Keep::All, window);
        let page = std::mem::replace(&mut self.search, search).into_page();
        self.wanted = Wanted::Last(page.hits.into_iter().next());
        self.search.next()
    }

    /// Takes the rows that [`Inquiry::next`] asked for.
    pub fn take(&mut self, rows: Rows) -> Result<(), Unreadable> {
        self.search.take(rows)
    }

    /// The answer, once [`Inquiry::next`] asks for no more rows.
    pub fn answer(self, view: &View<'_>) -> Answer {
        let page = self.search.into_page();
        match self.wanted {
            Wanted::Messages(query, count) => {
                Answer { messages: messages(&query, &page, view), payload: fin(&query, &page, count) }
            }
            Wanted::First => Answer { messages: Vec::new(), payload: metadata(page.hits.first(), None) },
            Wanted::Last(first) => Answer { messages: Vec::new(), payload: metadata(first.as_ref(), page.hits.last()) },
        }
    }

    /// The answer to [`Inquiry::ends`], which is nobody's in particular.
    pub fn metadata(self) -> Vec<u8> {
        let page = self.search.into_page();
        match self.wanted {
            Wanted::Last(first) => metadata(first.as_ref(), page.hits.last()),
            Wanted::First | Wanted::Messages(..) => metadata(None, None),
        }
    }
}

fn messages(query: &Query, page: &Page, view: &View<'_>) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = page.hits.iter().map(|hit| message(query, hit, view)).collect();
    if query.flip {
        messages.reverse();
    }
    messages
}

/// One message of the archive. §4.2
fn message(query: &Query, hit: &Hit, view: &View<'_>) -> Vec<u8> {
    let stanza = archived(view.viewer, hit.dialog, &hit.row, view.room, view.site);
    let mut out = Vec::with_capacity(stanza.len() + 384);
    let mut xml = Writer::new(&mut out);
    xml.open("message").attr("from", view.from).attr_opt("to", view.to);
    xml.open("result").ns(ns::MAM).attr_opt("queryid", query.id.as_deref()).attr("id", &hit.row.id.to_string());
    xml.open("forwarded").ns(ns::FORWARD);
    xml.open("delay").ns(ns::DELAY).attr("stamp", &hit.at.iso_millis().to_string()).close();
    xml.raw_bytes(&stanza).close().close().close();
    drop(xml);
    out
}

/// The end of a page. §5: the items are named in the order of time, whichever was sent first.
fn fin(query: &Query, page: &Page, count: Option<u64>) -> Vec<u8> {
    let ends = page
        .hits
        .first()
        .zip(page.hits.last())
        .map(|(first, last)| (first.row.id.to_string(), last.row.id.to_string()));
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("fin").ns(ns::MAM).attr_opt("complete", page.complete.then_some("true"));
    let count = count.filter(|_| query.is_for_all());
    rsm::write(ends.as_ref().map(|(first, last)| (first.as_str(), last.as_str())), count, &mut xml);
    xml.close();
    drop(xml);
    out
}

fn metadata(first: Option<&Hit>, last: Option<&Hit>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("metadata").ns(ns::MAM);
    if let (Some(first), Some(last)) = (first, last) {
        for (name, hit) in [("start", first), ("end", last)] {
            xml.leaf(name, &[("id", &hit.row.id.to_string()), ("timestamp", &hit.at.iso_millis().to_string())]);
        }
    }
    xml.close();
    drop(xml);
    out
}
