//! Saving, marking, hiding, removing, editing and who is a member, in any order, against a small model.

use proptest::prelude::*;

use super::*;

/// One message of the reference model.
#[derive(Debug, Default)]
struct Said {
    id: Option<MessageId>,
    sender: u64,
    text: String,
    date: u64,
    read: BTreeSet<u64>,
    hidden: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
enum Op {
    Save(u64),
    Mark(u64, usize, bool),
    Got(u64, usize),
    MarkAll(u64, bool),
    Hide(u64, usize),
    Remove(u64, usize),
    Edit(u64, usize),
    Pull(u64),
    Push(u64),
    Reload,
    Wait,
}

fn op() -> impl Strategy<Value = Op> {
    let user = 1u64..5;
    let which = 0usize..12;
    prop_oneof![
        4 => user.clone().prop_map(Op::Save),
        4 => (user.clone(), which.clone(), any::<bool>()).prop_map(|(user, which, read)| Op::Mark(user, which, read)),
        1 => (user.clone(), which.clone()).prop_map(|(user, which)| Op::Got(user, which)),
        1 => (user.clone(), any::<bool>()).prop_map(|(user, read)| Op::MarkAll(user, read)),
        2 => (user.clone(), which.clone()).prop_map(|(user, which)| Op::Hide(user, which)),
        2 => (user.clone(), which.clone()).prop_map(|(user, which)| Op::Remove(user, which)),
        1 => (user.clone(), which).prop_map(|(user, which)| Op::Edit(user, which)),
        1 => (2u64..5).prop_map(Op::Pull),
        1 => user.prop_map(Op::Push),
        1 => Just(Op::Reload),
        1 => Just(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_leaves_what_a_small_model_says(ops in proptest::collection::vec(op(), 1..60)) {
        let mut house = House::group(4);
        let mut members: BTreeSet<u64> = (1..=4).collect();
        let mut model: Vec<Said> = Vec::new();
        for op in ops {
            let at = |model: &Vec<Said>, which: usize| (!model.is_empty()).then(|| which % model.len().max(1));
            match op {
                Op::Save(by) if members.contains(&by) => {
                    let text = format!("t{}", model.len());
                    let id = house.save(by, &text);
                    model.push(Said { id: Some(id), sender: by, text, date: house.now.secs(), ..Said::default() });
                }
                Op::Mark(by, which, read) => {
                    let Some(which) = at(&model, which) else { continue };
                    let marks = Marks { read: Some(read), delivered: false };
                    let ids = vec![model[which].id.unwrap()];
                    house.ask(Command::Mark { by: UserId(by), which: Which::Ids(ids), marks, astray: false });
                    if members.contains(&by) {
                        if read { model[which].read.insert(by); } else { model[which].read.remove(&by); }
                    }
                }
                Op::Got(by, which) => {
                    let Some(which) = at(&model, which) else { continue };
                    let ids = vec![model[which].id.unwrap()];
                    house.ask(Command::Mark { by: UserId(by), which: Which::Ids(ids), marks: Marks { read: None, delivered: true }, astray: false });
                }
                Op::MarkAll(by, read) => {
                    let marks = Marks { read: Some(read), delivered: false };
                    house.ask(Command::Mark { by: UserId(by), which: Which::All, marks, astray: false });
                    if members.contains(&by) {
                        for said in &mut model {
                            if read { said.read.insert(by); } else { said.read.remove(&by); }
                        }
                    }
                }
                Op::Hide(by, which) => {
                    let Some(which) = at(&model, which) else { continue };
                    house.ask(Command::Remove { by: UserId(by), ids: vec![model[which].id.unwrap()], force: false });
                    if members.contains(&by) {
                        model[which].hidden.insert(by);
                    }
                }
                Op::Remove(by, which) => {
                    let Some(which) = at(&model, which) else { continue };
                    house.ask(Command::Remove { by: UserId(by), ids: vec![model[which].id.unwrap()], force: true });
                    if members.contains(&by) && model[which].sender == by {
                        model.remove(which);
                    }
                }
                Op::Edit(by, which) => {
                    let Some(which) = at(&model, which) else { continue };
                    house.ask(Command::Edit { by: UserId(by), ids: vec![model[which].id.unwrap()], text: "edited".into() });
                    if members.contains(&by) && model[which].sender == by {
                        model[which].text = "edited".into();
                    }
                }
                Op::Pull(user) => {
                    let change = Change { pull: ids(&[user]), ..Change::default() };
                    house.ask(Command::Update { by: UserId(1), change });
                    members.remove(&user);
                }
                Op::Push(user) => {
                    let change = Change { push: ids(&[user]), ..Change::default() };
                    house.ask(Command::Update { by: UserId(1), change });
                    members.insert(user);
                }
                Op::Reload => house.reload(),
                Op::Wait => house.now = house.now.after(std::time::Duration::from_millis(700)),
                Op::Save(_) => continue,
            }
            let kept = house.messages();
            let texts: Vec<_> = kept.iter().map(|(_, row)| (row.id, row.sender.0, row.content().text.clone().unwrap())).collect();
            let expected: Vec<_> = model.iter().map(|said| (said.id.unwrap(), said.sender, said.text.clone())).collect();
            prop_assert_eq!(texts, expected, "the history in order");
            for user in 1..=4 {
                let unread = model.iter().filter(|said| {
                    said.sender != user && !said.read.contains(&user) && !said.hidden.contains(&user)
                }).count() as u64;
                prop_assert_eq!(house.unread(user), unread, "unread of {}", user);
                let mut rows = house.read(&Reader::reads(APP, house.id, UserId(user)));
                let reader = Reader::found(&mut rows).unwrap();
                prop_assert_eq!(reader.hidden, model.iter().filter(|said| said.hidden.contains(&user)).count() as u64);
                for ((order, row), said) in kept.iter().zip(&model) {
                    let key = dialog::mark_key(APP, house.id, *order, UserId(user));
                    let receipt = house.rows.get(&(RECEIPTS.name(), key.as_slice().to_vec())).map(|row| Mark::decode(row).unwrap());
                    let read = row.sender.0 != user && reader.has_read(*order, receipt.as_ref());
                    prop_assert_eq!(read, row.sender.0 != user && said.read.contains(&user));
                }
                let standing = inbox::Standing::At(model.last().map_or(0, |said| said.date as u32));
                let listed = if members.contains(&user) { vec![inbox::Entry { standing, dialog: house.id }] } else { vec![] };
                prop_assert_eq!(house.lists(user), listed, "the list of {}", user);
            }
            let mut rows = house.read(&dialog::load_reads(APP, house.id));
            let (record, head) = dialog::load(&mut rows).unwrap().unwrap();
            prop_assert_eq!(record.occupants.iter().map(|user| user.0).collect::<BTreeSet<_>>(), members.clone());
            let last = head.last.map(|last| (last.id, last.sender.0, last.text.unwrap(), last.date_sent));
            let expected = model.last().map(|said| (said.id.unwrap(), said.sender, said.text.clone(), said.date));
            prop_assert_eq!(last, expected, "the last message");
        }
    }
}
