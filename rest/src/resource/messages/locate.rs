//! Which dialogs messages are in that were named without one.
//!
//! A message's id says nothing of its dialog, and a dialog knows its own messages only. So the caller's dialogs are asked, those
//! with the newest messages first, and then the public ones of the app. That costs a row for each message and dialog until all
//! are found; [`LOOKUPS_MAX`] bounds it, and who names the dialog spares it.

use std::vec::IntoIter;

use proto::jid::user::{DialogId, MessageId};
use proto::model::dialog;
use proto::model::dialog::shelf::{DIALOGS_MAX, PUBLIC_DIALOGS_MAX};
use proto::model::directory::dialogs;
use proto::model::inbox;
use proto::owner::AccountId;
use proto::row::Reads;

use crate::flow::{Flow, read};
use crate::problem::Problem;

/// Rows that one call may cost.
const LOOKUPS_MAX: usize = 50_000;
/// Rows read in one step.
const LOOKUPS_PER_READ: usize = 2_000;

/// Where messages are.
#[derive(Default)]
pub(super) struct Located {
    /// By dialog, as far as they were found.
    pub by_dialog: Vec<(DialogId, Vec<MessageId>)>,
    /// The others.
    pub missing: Vec<MessageId>,
}

/// Finds messages, in one dialog if it is named.
pub(super) fn find(
    id: AccountId,
    ids: Vec<MessageId>,
    dialog: Option<DialogId>,
    then: impl FnOnce(Located) -> Flow + 'static,
) -> Flow {
    let located = Located { by_dialog: Vec::new(), missing: ids };
    if located.missing.is_empty() {
        return then(located);
    }
    if let Some(dialog) = dialog {
        return look(id, vec![dialog].into_iter(), LOOKUPS_MAX, located, then);
    }
    let lists = inbox::reads(id, DIALOGS_MAX).and(dialogs::reads(id.app, None, PUBLIC_DIALOGS_MAX));
    read(lists, move |rows, _| {
        let own = inbox::listed(rows)?.into_iter().map(|entry| entry.dialog);
        let mut all: Vec<DialogId> = own.collect();
        all.extend(dialogs::listed(rows)?.into_iter().map(|(dialog, _)| dialog));
        look(id, all.into_iter(), LOOKUPS_MAX, located, then)
    })
}

fn look(
    id: AccountId,
    mut left: IntoIter<DialogId>,
    lookups: usize,
    mut located: Located,
    then: impl FnOnce(Located) -> Flow + 'static,
) -> Flow {
    let wanted = located.missing.len();
    if wanted == 0 || left.len() == 0 {
        return then(located);
    }
    if lookups < wanted {
        return Err(Problem::unprocessable(
            "There are too many dialogs to look for these messages in; name chat_dialog_id",
        )
        .into());
    }
    let chunk: Vec<DialogId> = left.by_ref().take((LOOKUPS_PER_READ.min(lookups) / wanted).max(1)).collect();
    let pairs = || chunk.iter().flat_map(|&dialog| located.missing.iter().map(move |&message| (dialog, message)));
    let reads =
        pairs().fold(Reads::none(), |reads, (dialog, message)| reads.and(dialog::read_place(id.app, dialog, message)));
    let lookups = lookups.saturating_sub(chunk.len() * wanted);
    read(reads, move |rows, _| {
        let missing = located.missing.clone();
        for dialog in chunk {
            let mut here = Vec::new();
            for &message in &missing {
                if dialog::found_place(rows)?.is_some() && located.missing.contains(&message) {
                    located.missing.retain(|&other| other != message);
                    here.push(message);
                }
            }
            if !here.is_empty() {
                located.by_dialog.push((dialog, here));
            }
        }
        look(id, left, lookups, located, then)
    })
}
