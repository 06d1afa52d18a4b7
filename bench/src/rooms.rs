//! Makes rooms for `muc` through the REST API, as an app would: group dialogs with all their members in them.
//!
//! QuickBlox on the wire §5.3. Each room belongs to its first member.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::api::{Access, ApiError, Http, session, sign_in, text_of, user_id};
use crate::client::Account;
use crate::scenario::muc::rooms::account_of;

/// Parameters of `rooms rookery`; rooms, members and users must be those of the `muc` that follows.
#[derive(Args, Clone)]
pub struct Rookery {
    #[command(flatten)]
    access: Access,
    /// Accounts, as `users rookery` writes them.
    #[arg(long)]
    pub users: PathBuf,
    /// How many rooms.
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// Members of each; when there are fewer users than seats, users are in several rooms.
    #[arg(long, default_value_t = 100)]
    members: usize,
    /// Where the rooms are written, one JID a line.
    #[arg(long)]
    pub out: PathBuf,
}

/// Makes the rooms; gives their JIDs.
pub fn create(wish: &Rookery, accounts: &[Account]) -> Result<Vec<String>, ApiError> {
    // As `muc` counts them: beyond the seats nobody takes part.
    let users = accounts.len().min(wish.rooms * wish.members);
    if wish.members == 0 || wish.members > users {
        return Err(ApiError::Members { members: wish.members, users });
    }
    let mut http = wish.access.connect()?;
    let app = session(&mut http, &wish.access, None)?;
    (0..wish.rooms)
        .map(|room| {
            let members: Vec<&Account> =
                (0..wish.members).map(|member| &accounts[account_of(room, member, wish.members, users)]).collect();
            let token = sign_in(&mut http, &wish.access, &app, members[0])?;
            Ok(group(&mut http, &token, &format!("Bench {room}"), &members)?.jid)
        })
        .collect()
}

/// A group dialog.
pub struct Group {
    /// For the API.
    pub id: String,
    /// The room's.
    pub jid: String,
}

/// Makes a group of these members; `token` is the first one's.
pub fn group(http: &mut Http, token: &str, name: &str, members: &[&Account]) -> Result<Group, ApiError> {
    const CALL: &str = "POST /chat/Dialog.json";
    let ids = members.iter().map(|account| user_id(account)).collect::<Result<Vec<_>, _>>()?;
    let body = json!({ "type": 2, "name": name, "occupants_ids": ids });
    let answer = http.post(CALL, "/chat/Dialog.json", Some(token), &body)?;
    let text = |field| text_of(&answer[field], CALL, field, &answer);
    Ok(Group { id: text("_id")?, jid: text("xmpp_room_jid")? })
}
