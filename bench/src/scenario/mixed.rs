//! `mixed`: what a server has to do on an ordinary day, all at once and at a stated ratio: messages to one user, some
//! of them kept, messages to rooms, changes of presence, rosters and archives over XMPP, lists and pages over the API.
//!
//! Users are contacts two by two, each sits in one room and has a connection of both kinds. Without `--rate` it is a
//! closed loop: each user does the next thing when the last has been answered or has arrived. With `--rate` it is an
//! open loop over all users in turn, and latency counts from the scheduled time.
//!
//! - `mix`: the ratio;
//! - `contacts`: who knows whom;
//! - `day`: the loop.

use clap::Args;
use serde_json::json;

use super::muc::join::enter;
use super::muc::rooms::Rooms;
use super::rest::calls::{Extent, Pace, Plan, make};
use super::rest::{Apps, message_to};
use super::{Bench, Findings, RunError, bring_up};
use crate::api::Access;
use crate::client::Account;
use crate::rooms::group;

mod contacts;
mod day;
mod mix;

use contacts::befriend;
use day::{Scene, live};
use mix::Mix;

/// Parameters of `mixed`.
#[derive(Args, Clone)]
pub struct Mixed {
    #[command(flatten)]
    access: Access,
    /// How many rooms.
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// Members of each, an even number; nobody is in two rooms.
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// How often what happens: chat, saved, room, presence, roster, archive, dialogs, messages.
    #[arg(long, default_value = "chat=50,saved=20,room=5,presence=8,roster=2,archive=5,dialogs=5,messages=5")]
    mix: Mix,
    /// Messages in the history of each two contacts before it begins.
    #[arg(long, default_value_t = 100)]
    history: u64,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 100)]
    size: usize,
    #[command(flatten)]
    pace: Pace,
}

/// Brings everybody in and lets them live.
pub fn run(bench: &mut Bench, mixed: &Mixed) -> Result<Findings, RunError> {
    let users = mixed.rooms * mixed.members;
    if users == 0 || mixed.members % 2 == 1 {
        return Err(RunError::Rooms("rooms have an even number of members".into()));
    }
    bench.need_accounts(users)?;
    let all: Vec<usize> = (0..users).collect();
    let mut apps = Apps::open(bench, &mixed.access, &all)?;
    // Of each two contacts the first begins the dialog.
    let dialogs: Result<Vec<String>, _> =
        (0..users).step_by(2).map(|user| apps.begin_dialog(bench, user, user + 1)).collect();
    let dialogs = dialogs?;
    let body = |user: usize| message_to(&dialogs[user / 2], mixed.size, false);
    let fill = Plan {
        name: "fill",
        operation: "message",
        status: 201,
        request: &|user, _| apps.post(user, "/chat/Message.json", &body(user)),
    };
    let filled = make(bench, &apps.lines, &fill, &Extent::Each(mixed.history.div_ceil(2)), 0)?;

    let mut jids = Vec::new();
    for room in 0..mixed.rooms {
        let first = room * mixed.members;
        let seats: Vec<&Account> = bench.engine.accounts()[first..first + mixed.members].iter().collect();
        let token = apps.token(first).to_owned();
        jids.push(group(&mut apps.http, &token, &format!("Bench {room}"), &seats)?.jid);
    }
    let rooms = Rooms::new(jids, mixed.members, users);
    let (connections, _) = bring_up(bench, &all)?;
    enter(bench, &rooms, &connections)?;
    befriend(bench, &connections)?;
    bench.settle()?;

    let scene = Scene { rooms: &rooms, connections: &connections, apps: &apps, dialogs: &dialogs, size: mixed.size };
    let (phases, mut failures) = live(bench, &scene, mixed.mix.clone(), &mixed.pace)?;
    failures.extend(filled.failures);
    Ok(Findings {
        parameters: json!({
            "api": mixed.access.scheme(), "rooms": mixed.rooms, "members": mixed.members, "mix": mixed.mix.to_string(),
            "history": mixed.history, "body_bytes": mixed.size, "rate": mixed.pace.rate, "secs": mixed.pace.span.secs,
        }),
        phases,
        failures,
    })
}
