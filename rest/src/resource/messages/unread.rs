//! How many messages the caller has not read. Product page, "Retrieve unread messages count".
//!
//! Two counters a dialog tell it; nothing is scanned but the list of the caller's dialogs.

use std::collections::BTreeSet;
use std::vec::IntoIter;

use proto::jid::user::DialogId;
use proto::model::dialog::shelf::DIALOGS_MAX;
use proto::model::dialog::view::{seen, seen_reads};
use proto::model::inbox;
use proto::owner::AccountId;
use proto::row::Reads;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::super::several::IDS_MAX;
use crate::flow::{Flow, Moment, done, read};
use crate::http::{Response, Status};
use crate::problem::Problem;
use crate::route::Call;

/// Dialogs read in one step.
const DIALOGS_PER_READ: usize = 500;

/// `{"total":3,"55ba0b3c535c12f7a4001f13":1}`.
struct Body {
    total: u64,
    asked: Vec<(String, u64)>,
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(1 + self.asked.len()))?;
        map.serialize_entry("total", &self.total)?;
        for (id, count) in &self.asked {
            map.serialize_entry(id, count)?;
        }
        map.end()
    }
}

pub(super) fn show(call: Call, _: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    let mut known = BTreeSet::new();
    let asked: Vec<String> = call
        .params
        .words("chat_dialog_ids")
        .into_iter()
        .filter(|word| word != "total" && known.insert(word.clone()))
        .collect();
    if asked.len() > IDS_MAX {
        return Err(Problem::unprocessable(format!("There are too many ids (maximum is {IDS_MAX})")).into());
    }
    read(inbox::reads(id, DIALOGS_MAX), move |rows, _| {
        let all: BTreeSet<DialogId> = inbox::listed(rows)?.into_iter().map(|entry| entry.dialog).collect();
        let all: Vec<DialogId> = all.into_iter().collect();
        count(id, all.into_iter(), 0, move |total| {
            let ids: Vec<DialogId> = asked.iter().filter_map(|word| DialogId::parse(word.as_bytes())).collect();
            let reads = ids.iter().fold(Reads::none(), |reads, &dialog| reads.and(seen_reads(id.app, dialog, id.user)));
            read(reads, move |rows, _| {
                let mut counts = Vec::with_capacity(asked.len());
                for word in asked {
                    // What is none of the caller's dialogs has nothing for him to read.
                    let unread = match DialogId::parse(word.as_bytes()) {
                        Some(dialog) => seen(dialog, id.user, rows)?.map_or(0, |seen| seen.unread),
                        None => 0,
                    };
                    counts.push((word, unread));
                }
                done(Response::json(Status::Ok, &Body { total, asked: counts }))
            })
        })
    })
}

fn count(id: AccountId, mut left: IntoIter<DialogId>, total: u64, then: impl FnOnce(u64) -> Flow + 'static) -> Flow {
    let chunk: Vec<DialogId> = left.by_ref().take(DIALOGS_PER_READ).collect();
    if chunk.is_empty() {
        return then(total);
    }
    let reads = chunk.iter().fold(Reads::none(), |reads, &dialog| reads.and(seen_reads(id.app, dialog, id.user)));
    read(reads, move |rows, _| {
        let mut total = total;
        for dialog in chunk {
            total += seen(dialog, id.user, rows)?.map_or(0, |seen| seen.unread);
        }
        count(id, left, total, then)
    })
}
