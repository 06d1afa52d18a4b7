//! XEP-0059: Result Set Management. Which page of a long answer is asked for, and which one was given.

use crate::error::Condition;
use crate::ns;
use crate::xml::{Element, Writer};

/// Which page is asked for. Numbers out of all proportion are taken as very large ones; what is no number is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paging {
    /// The most items; zero asks for their number alone (§2.7).
    pub max: Option<usize>,
    /// The page begins after this item.
    pub after: Option<String>,
    /// The page ends before this item.
    pub before: Option<String>,
    /// The last items rather than the first: `before` is there, with an item or without (§2.5).
    pub backwards: bool,
    /// The page is asked for by its number (§2.6).
    pub by_index: bool,
}

impl Paging {
    /// What the `<set/>` in `parent` asks for; all there is without one.
    pub fn read(parent: Element<'_>) -> Result<Paging, Condition> {
        let mut sets = parent.children().filter(|child| child.is("set", ns::RSM));
        let Some(set) = sets.next() else { return Ok(Paging::default()) };
        if sets.next().is_some() {
            return Err(Condition::BadRequest);
        }
        let mut paging = Paging::default();
        let mut seen = Vec::new();
        for child in set.children().filter(|child| child.ns() == ns::RSM) {
            if seen.contains(&child.name()) {
                return Err(Condition::BadRequest);
            }
            seen.push(child.name());
            let text = child.text();
            let item = Some(text.trim()).filter(|item| !item.is_empty()).map(str::to_owned);
            match child.name() {
                "max" => paging.max = Some(number(&text)?),
                "after" => paging.after = item,
                "before" => {
                    paging.backwards = true;
                    paging.before = item;
                }
                "index" => {
                    number(&text)?;
                    paging.by_index = true;
                }
                // What else a client may know of is not for this server.
                _ => seen.truncate(seen.len() - 1),
            }
        }
        Ok(paging)
    }
}

fn number(text: &str) -> Result<usize, Condition> {
    let digits = text.trim();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Condition::BadRequest);
    }
    Ok(digits.parse().unwrap_or(usize::MAX))
}

/// Says which page was given: its first and last item, unless it is empty, and how many there are in all, where that is known.
pub(crate) fn write(ends: Option<(&str, &str)>, count: Option<u64>, xml: &mut Writer<'_>) {
    xml.open("set").ns(ns::RSM);
    if let Some((first, last)) = ends {
        xml.simple("first", first).simple("last", last);
    }
    if let Some(count) = count {
        xml.simple("count", &count.to_string());
    }
    xml.close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Context, Limits, Nodes};

    fn read(set: &str) -> Result<Paging, Condition> {
        let source = format!("<query>{set}</query>");
        let mut nodes = Nodes::new();
        Paging::read(nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect(set))
    }

    fn set(inside: &str) -> Result<Paging, Condition> {
        read(&format!("<set xmlns='http://jabber.org/protocol/rsm'>{inside}</set>"))
    }

    #[test]
    fn reads_which_page_is_wanted() {
        let item = |id: &str| Some(id.to_owned());
        assert_eq!(read(""), Ok(Paging::default()));
        assert_eq!(set(""), Ok(Paging::default()));
        assert_eq!(set("<max> 10 </max>"), Ok(Paging { max: Some(10), ..Paging::default() }));
        assert_eq!(set("<after>a</after>"), Ok(Paging { after: item("a"), ..Paging::default() }));
        assert_eq!(set("<after/>"), Ok(Paging::default()));
        assert_eq!(set("<before/>"), Ok(Paging { backwards: true, ..Paging::default() }));
        assert_eq!(
            set("<before>b</before><after>a</after><max>0</max>"),
            Ok(Paging { max: Some(0), after: item("a"), before: item("b"), backwards: true, by_index: false })
        );
        assert_eq!(set("<index>371</index>"), Ok(Paging { by_index: true, ..Paging::default() }));
        assert_eq!(set("<x xmlns='u'/><y/><y/>"), Ok(Paging::default()));
    }

    // Hostile inputs B15.
    #[test]
    fn absurd_numbers_are_large_or_refused() {
        for max in ["99999999999999999999999999", "18446744073709551616"] {
            assert_eq!(set(&format!("<max>{max}</max>")).map(|paging| paging.max), Ok(Some(usize::MAX)), "{max}");
        }
        for max in ["-1", "", " ", "1e3", "0x10", "ten", "+5", "١٠", "1 0", "5.0"] {
            assert_eq!(set(&format!("<max>{max}</max>")), Err(Condition::BadRequest), "{max:?}");
        }
        assert_eq!(set("<index>-1</index>"), Err(Condition::BadRequest));
        assert_eq!(set("<max>1</max><max>2</max>"), Err(Condition::BadRequest));
        let twice = "<set xmlns='http://jabber.org/protocol/rsm'/>".repeat(2);
        assert_eq!(read(&twice), Err(Condition::BadRequest));
    }

    #[test]
    fn says_which_page_it_was() {
        let said = |ends, count| {
            let mut out = Vec::new();
            write(ends, count, &mut Writer::new(&mut out));
            String::from_utf8(out).expect("XML is UTF-8")
        };
        assert_eq!(said(None, None), r#"<set xmlns="http://jabber.org/protocol/rsm"/>"#);
        assert_eq!(
            said(Some(("a", "b")), Some(9)),
            r#"<set xmlns="http://jabber.org/protocol/rsm"><first>a</first><last>b</last><count>9</count></set>"#
        );
    }
}
