//! Whether a user wants to hear of a dialog's messages while away. Product page, "Update notifications settings".

use proto::model::dialog::view;
use proto::model::inbox;
use serde::Serialize;

use super::one_id;
use crate::flow::{Flow, Moment, ask_inbox, done, read};
use crate::http::{Response, Status};
use crate::problem::Problem;
use crate::route::Call;

/// `{"notifications":{"enabled":1}}`.
#[derive(Serialize)]
struct Wrapped {
    notifications: Setting,
}

#[derive(Serialize)]
struct Setting {
    enabled: u8,
}

fn answer(enabled: bool) -> Flow {
    done(Response::json(Status::Ok, &Wrapped { notifications: Setting { enabled: enabled.into() } }))
}

pub(super) fn show(call: Call, _: &mut Moment<'_>) -> Flow {
    with_setting(&call, answer)
}

pub(super) fn set(call: Call, _: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    let dialog = one_id(&call)?;
    let enabled = call.params.flag_if_given("enabled");
    with_setting(&call, move |_| {
        let enabled = enabled.ok_or_else(|| Problem::unprocessable("enabled must be 0 or 1"))?;
        ask_inbox(id, inbox::Command::Notify { dialog, enabled }, move |_| answer(enabled))
    })
}

/// Goes on with the setting as it is, for those who are in the dialog.
fn with_setting(call: &Call, then: impl FnOnce(bool) -> Flow + 'static) -> Flow {
    let id = call.account()?;
    let dialog = one_id(call)?;
    let reads = view::record_reads(id.app, dialog).and(inbox::notification_reads(id, dialog));
    read(reads, move |rows, _| {
        let record = view::record(rows)?.ok_or_else(Problem::not_found)?;
        if !record.admits(id.user) {
            return Err(Problem::forbidden().into());
        }
        then(inbox::notifies(rows)?)
    })
}
