//! `rest-read`: users look at their dialogs and at long histories through the API. What does a call cost, how long does
//! it take?
//!
//! Phases: `fill` (each reader writes to his dialogs, and a long history into one of them; kept, not delivered),
//! `dialogs` (the list of a user's dialogs) and `messages` (the newest page of the long one).

use clap::Args;
use serde_json::json;

use super::calls::{Extent, Pace, Plan, make};
use super::{Apps, message_to};
use crate::api::{Access, ApiError};
use crate::scenario::{Bench, Findings, RunError};

/// Parameters of `rest-read`.
#[derive(Args, Clone)]
pub struct Read {
    #[command(flatten)]
    access: Access,
    /// Users who read, each on a connection of its own.
    #[arg(long, default_value_t = 10)]
    readers: usize,
    /// Dialogs of each, with users who are not there; at most 100.
    #[arg(long, default_value_t = 20)]
    dialogs: usize,
    /// Messages in the long history of each.
    #[arg(long, default_value_t = 500)]
    messages: u64,
    /// Messages to a page; the API gives at most 100.
    #[arg(long, default_value_t = 100)]
    page: usize,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 100)]
    size: usize,
    #[command(flatten)]
    pace: Pace,
}

/// Fills the histories and reads them.
pub fn run(bench: &mut Bench, read: &Read) -> Result<Findings, RunError> {
    bench.need_accounts(read.readers + read.dialogs)?;
    let mut apps = Apps::open(bench, &read.access, &(0..read.readers).collect::<Vec<_>>())?;
    let strangers = bench.engine.accounts().len() - read.readers;
    let mut long = Vec::new();
    for reader in 0..read.readers {
        for dialog in 0..read.dialogs {
            let other = read.readers + (reader * read.dialogs + dialog) % strangers;
            let id = apps.begin_dialog(bench, reader, other)?;
            if dialog == 0 {
                long.push(id);
            }
        }
    }
    bench.settle()?;
    let body = |reader: usize| message_to(&long[reader], read.size, false);
    let fill = Plan {
        name: "fill",
        operation: "message",
        status: 201,
        request: &|reader, _| apps.post(reader, "/chat/Message.json", &body(reader)),
    };
    let filled = make(bench, &apps.lines, &fill, &Extent::Each(read.messages), 0)?;

    let list = "/chat/Dialog.json?limit=100".to_owned();
    let page = |reader: usize| {
        format!("/chat/Message.json?chat_dialog_id={}&limit={}&sort_desc=date_sent", long[reader], read.page)
    };
    let tokens: Vec<String> = (0..read.readers).map(|reader| apps.token(reader).to_owned()).collect();
    for (reader, token) in tokens.iter().enumerate() {
        expect(&mut apps, token, "GET /chat/Dialog.json", &list, read.dialogs)?;
        expect(&mut apps, token, "GET /chat/Message.json", &page(reader), read.page.min(read.messages as usize))?;
    }
    let list = Plan { name: "dialogs", operation: "list", status: 200, request: &|reader, _| apps.get(reader, &list) };
    let listed = make(bench, &apps.lines, &list, &Extent::Time(&read.pace), 0)?;
    let page = Plan {
        name: "messages",
        operation: "page",
        status: 200,
        request: &|reader, _| apps.get(reader, &page(reader)),
    };
    let paged = make(bench, &apps.lines, &page, &Extent::Time(&read.pace), 0)?;
    Ok(Findings {
        parameters: json!({
            "api": read.access.scheme(), "readers": read.readers, "dialogs": read.dialogs,
            "messages_each": read.messages, "page": read.page, "body_bytes": read.size,
            "rate": read.pace.rate, "secs": read.pace.span.secs,
        }),
        failures: [filled.failures, listed.failures, paged.failures].concat(),
        phases: vec![filled.phase, listed.phase, paged.phase],
    })
}

/// Looks whether a call gives so many items or more.
fn expect(apps: &mut Apps, token: &str, call: &'static str, path: &str, least: usize) -> Result<(), RunError> {
    let answer = apps.http.get(call, path, token)?;
    let there = answer["items"].as_array().map_or(0, Vec::len);
    if there < least {
        let body = format!("{there} items where {least} are expected");
        return Err(ApiError::Field { call, field: "items", body }.into());
    }
    Ok(())
}
