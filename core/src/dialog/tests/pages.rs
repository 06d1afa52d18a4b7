//! Pages of messages and of dialogs: what they show, and that they cost what they show.

use proptest::prelude::*;

use super::*;
use crate::model::dialog::page::{Order, Pager, Wanted};
use crate::model::dialog::shelf::{self, Shelf};

impl House {
    fn page(&mut self, wanted: Wanted) -> dialog::page::Page {
        let mut rows = self.read(&dialog::load_reads(APP, self.id));
        let (record, head) = dialog::load(&mut rows).unwrap().unwrap();
        let mut pager = Pager::new(APP, self.id, &record, &head, wanted);
        while let Some(reads) = pager.next() {
            let rows = self.read(&reads);
            pager.take(rows).unwrap();
        }
        pager.into_page()
    }

    fn shelf(&mut self, wanted: shelf::Wanted) -> shelf::Page {
        let mut shelf = Shelf::new(wanted);
        while let Some(reads) = shelf.next() {
            let rows = self.read(&reads);
            shelf.take(rows).unwrap();
        }
        shelf.into_page()
    }
}

fn plain(viewer: u64, skip: usize, limit: usize) -> Wanted {
    Wanted {
        viewer: UserId(viewer),
        from: None,
        to: None,
        order: Order::DateSent,
        newest_first: false,
        skip,
        limit,
        count: false,
        keep: None,
    }
}

#[test]
fn a_page_shows_who_has_read_what_and_costs_what_it_shows() {
    let mut house = House::group(3);
    let ids: Vec<MessageId> = (0..40)
        .map(|number| {
            house.now = Timestamp::from_secs(START + number);
            house.save(1 + number % 2, &format!("m{number}"))
        })
        .collect();
    let marks = Marks { read: Some(true), delivered: false };
    house.ask(Command::Mark { by: UserId(3), which: Which::Ids(vec![ids[0]]), marks, astray: false });
    house.ask(Command::Mark { by: UserId(2), which: Which::All, marks, astray: false });
    house.ask(Command::Remove { by: UserId(3), ids: vec![ids[1]], force: false });
    let page = house.page(plain(3, 0, 2));
    let texts = |page: &dialog::page::Page| -> Vec<String> {
        page.items.iter().map(|shown| shown.row.content().text.clone().unwrap()).collect()
    };
    assert_eq!(texts(&page), ["m0", "m2"]);
    assert_eq!(page.items[0].read_ids, super::ids(&[1, 2, 3]));
    assert_eq!(page.items[1].read_ids, super::ids(&[1, 2]));
    assert!(!page.items[0].is_read() && page.items[0].is_read_by(UserId(3)) && !page.items[1].is_read_by(UserId(3)));
    assert_eq!(texts(&house.page(Wanted { newest_first: true, ..plain(3, 1, 2) })), ["m38", "m37"]);
    let counted = Wanted { count: true, ..plain(3, 0, 100) };
    assert_eq!(house.page(counted).count, 39);
    let keep: dialog::page::Keep = Box::new(|shown| shown.row.sender == UserId(2));
    let found = house.page(Wanted { keep: Some(keep), ..plain(1, 3, 2) });
    assert_eq!(texts(&found), ["m7", "m9"]);
    let keep: dialog::page::Keep = Box::new(|shown| shown.row.date_sent >= START + 38);
    let hinted = Wanted { keep: Some(keep), from: Some(START + 38), count: true, ..plain(1, 0, 0) };
    assert_eq!(house.page(hinted).count, 2);
    let orders: Vec<u64> = house.messages().iter().map(|(order, _)| *order).collect();
    let mut rows = house.read(&dialog::load_reads(APP, house.id));
    let (record, head) = dialog::load(&mut rows).unwrap().unwrap();
    let wanted = Wanted { newest_first: true, ..plain(3, 0, 10) };
    let some = vec![orders[0], orders[1], orders[30], orders[0], 5];
    let mut pager = Pager::new(APP, house.id, &record, &head, wanted).among(some);
    while let Some(reads) = pager.next() {
        let rows = house.read(&reads);
        pager.take(rows).unwrap();
    }
    let page = pager.into_page();
    assert_eq!(texts(&page), ["m30", "m0"]);
    assert_eq!(page.items[1].read_ids, super::ids(&[1, 2, 3]));
    assert!(house.page(plain(1, 100, 10)).items.is_empty() && house.page(plain(1, 0, 0)).items.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Senders' clocks differ by a few seconds from one another's and the server's.
    #[test]
    fn pages_are_cut_out_of_the_whole_in_its_order(
        messages in proptest::collection::vec((0u64..4, 0u64..11), 0..80),
        limit in 1usize..30,
        newest_first: bool,
    ) {
        let mut house = House::private();
        let mut expected = Vec::new();
        for (number, (pause, ahead)) in messages.into_iter().enumerate() {
            house.now = house.now.after(std::time::Duration::from_secs(pause));
            let date = house.now.secs() + ahead - 5;
            let params = format!(
                "<body>{number}</body><extraParams xmlns='jabber:client'><save_to_history/><date_sent>{date}</date_sent></extraParams>"
            );
            house.private_message(1 + number as u64 % 2, 2 - number as u64 % 2, "", &params);
            expected.push((date, number.to_string()));
        }
        for order in [Order::DateSent, Order::Arrival] {
            let mut expected: Vec<_> = expected.clone();
            if order == Order::DateSent {
                expected.sort_by_key(|(date, _)| *date);
            }
            if newest_first {
                expected.reverse();
            }
            let mut found = Vec::new();
            while !expected.is_empty() {
                let page = house.page(Wanted { order, newest_first, ..plain(1, found.len(), limit) });
                let texts = page.items.iter().map(|shown| (shown.row.date_sent, shown.row.content().text.clone().unwrap()));
                found.extend(texts);
                prop_assert!(page.items.len() <= limit);
                if page.items.len() < limit {
                    break;
                }
            }
            prop_assert_eq!(found, expected, "{:?}", order);
        }
    }
}

#[test]
fn the_first_page_costs_the_same_whatever_is_behind_it() {
    let mut costs = Vec::new();
    for messages in [100, 1_000] {
        let mut house = House::group(2);
        for number in 0..messages {
            house.save(1, &format!("m{number}"));
        }
        let before = (house.gets, house.scans);
        let page = house.page(Wanted { newest_first: true, ..plain(2, 0, 50) });
        assert_eq!(page.items.len(), 50);
        costs.push((house.gets - before.0, house.scans - before.1));
    }
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn a_page_of_dialogs_reads_the_page_alone() {
    let mut house = House::group(2);
    let mut made = Vec::new();
    for number in 0..300u64 {
        house.dialog = None;
        house.id = DialogId::drawn(Timestamp::from_secs(number), [number as u8; 8]);
        let others = super::ids(&[2]);
        let name = Some(format!("d{number}"));
        house.ask(Command::Create {
            by: UserId(1),
            kind: DialogKind::Group,
            name,
            photo: None,
            occupants: others,
            data: None,
        });
        house.now = Timestamp::from_secs(START + (number * 7) % 300);
        house.save(1, "x");
        made.push(((number * 7) % 300, house.id));
    }
    made.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let viewer = AccountId { app: APP, user: UserId(2) };
    let wanted = |skip, limit| shelf::Wanted { viewer, skip, limit, keep: None, order: None };
    let before = house.gets;
    let page = house.shelf(wanted(10, 100));
    assert_eq!(house.gets - before, 300, "three rows a dialog, of those that are shown");
    let shown: Vec<DialogId> = page.items.iter().map(|seen| seen.id).collect();
    let expected: Vec<DialogId> = made[10..110].iter().map(|(_, id)| *id).collect();
    assert_eq!((shown, page.total), (expected, 301));
    assert!(page.items.iter().all(|seen| seen.unread == 1));
    let keep: shelf::Keep = Box::new(|seen| seen.record.name.as_deref().is_some_and(|name| name.ends_with('7')));
    let order: shelf::Order = Box::new(|one, two| one.record.name.cmp(&two.record.name));
    let page = house.shelf(shelf::Wanted { keep: Some(keep), order: Some(order), ..wanted(1, 2) });
    assert_eq!(page.total, 30);
    let names: Vec<_> = page.items.iter().map(|seen| seen.record.name.clone().unwrap()).collect();
    assert_eq!(names, ["d117", "d127"]);
}
