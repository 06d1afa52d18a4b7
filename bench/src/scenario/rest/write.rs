//! `rest-write`: users write through the API to others who listen over XMPP. What does a call cost, how long does it
//! take, does every message come?
//!
//! Phases: `private` (to one user) and `group` (to a room in which all members are, the writer among them). Each
//! message is kept in the history and sent to the chat.

use clap::Args;
use serde_json::json;

use super::calls::{Called, Extent, Pace, Plan, make};
use super::{Apps, message_to};
use crate::api::Access;
use crate::rooms::group;
use crate::scenario::muc::join::enter;
use crate::scenario::muc::rooms::Rooms;
use crate::scenario::{Bench, Findings, RunError, bring_up};

/// Parameters of `rest-write`.
#[derive(Args, Clone)]
pub struct Write {
    #[command(flatten)]
    access: Access,
    /// Users who write, each on a connection of its own.
    #[arg(long, default_value_t = 10)]
    writers: usize,
    /// Members of each writer's group, the writer included.
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 100)]
    size: usize,
    #[command(flatten)]
    pace: Pace,
}

/// Brings everybody in and lets the writers write.
pub fn run(bench: &mut Bench, write: &Write) -> Result<Findings, RunError> {
    let members = write.members;
    if members < 2 {
        return Err(RunError::Rooms("a group has two members at least".into()));
    }
    let users = write.writers * members;
    bench.need_accounts(users)?;
    // Whoever sits first in a room writes there, and to whom sits next.
    let writers: Vec<usize> = (0..write.writers).map(|writer| writer * members).collect();
    let mut apps = Apps::open(bench, &write.access, &writers)?;
    let (mut private, mut groups, mut jids) = (Vec::new(), Vec::new(), Vec::new());
    for (writer, account) in writers.iter().enumerate() {
        private.push(apps.begin_dialog(bench, writer, account + 1)?);
        let token = apps.token(writer).to_owned();
        let seats: Vec<_> = bench.engine.accounts()[*account..account + members].iter().collect();
        let made = group(&mut apps.http, &token, &format!("Bench {writer}"), &seats)?;
        groups.push(made.id);
        jids.push(made.jid);
    }
    let (connections, _) = bring_up(bench, &(0..users).collect::<Vec<_>>())?;
    enter(bench, &Rooms::new(jids, members, users), &connections)?;
    bench.settle()?;

    let to = |dialogs: &[String], writer: usize| {
        apps.post(writer, "/chat/Message.json", &message_to(&dialogs[writer], write.size, true))
    };
    let plan = |name, request| Plan { name, operation: "message", status: 201, request };
    let to_one = |writer: usize, _: u64| to(&private, writer);
    let to_all = |writer: usize, _: u64| to(&groups, writer);
    let extent = Extent::Time(&write.pace);
    let one = make(bench, &apps.lines, &plan("private", &to_one), &extent, 1)?;
    let all = make(bench, &apps.lines, &plan("group", &to_all), &extent, members as u64)?;
    Ok(Findings {
        parameters: json!({
            "api": write.access.scheme(), "writers": write.writers, "members": members, "body_bytes": write.size,
            "rate": write.pace.rate, "secs": write.pace.span.secs,
        }),
        failures: [&one.failures[..], &all.failures].concat(),
        phases: vec![with_deliveries(one), with_deliveries(all)],
    })
}

fn with_deliveries(mut called: Called) -> crate::report::Phase {
    let heard: u64 = called.heard.iter().sum();
    called.phase.figures.insert("deliveries_per_call", heard as f64 / called.done.max(1) as f64);
    called.phase
}
