//! Makes rooms for `muc` through the REST API, as an app would: group dialogs with all their members in them.
//!
//! QuickBlox on the wire §5.3. Each room belongs to its first member.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::api::{Access, ApiError, Http, session, text_of};
use crate::client::Account;
use crate::scenario::muc::rooms::{account_of, nick};

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
    let mut http = Http::connect(&wish.access.api)?;
    let app = session(&mut http, &wish.access, None)?;
    (0..wish.rooms)
        .map(|room| {
            let members: Vec<&Account> =
                (0..wish.members).map(|member| &accounts[account_of(room, member, wish.members, users)]).collect();
            let ids = members.iter().map(|account| id(account)).collect::<Result<Vec<_>, _>>()?;
            let token = sign_in(&mut http, wish, &app, ids[0], &members[0].password)?;
            dialog(&mut http, &token, &format!("Bench {room}"), &ids)
        })
        .collect()
}

/// The user's number, which begins the name in its JID.
fn id(account: &Account) -> Result<u64, ApiError> {
    nick(&account.user).parse().map_err(|_| ApiError::Stranger(account.jid()))
}

/// A session of the user with this number, whose login the file of users does not have.
fn sign_in(http: &mut Http, wish: &Rookery, app: &str, id: u64, password: &str) -> Result<String, ApiError> {
    const CALL: &str = "GET /users/ID.json";
    let answer = http.get(CALL, &format!("/users/{id}.json"), app)?;
    let login = text_of(&answer["user"]["login"], CALL, "login", &answer)?;
    session(http, &wish.access, Some((&login, password)))
}

fn dialog(http: &mut Http, token: &str, name: &str, ids: &[u64]) -> Result<String, ApiError> {
    const CALL: &str = "POST /chat/Dialog.json";
    let body = json!({ "type": 2, "name": name, "occupants_ids": ids });
    let answer = http.post(CALL, "/chat/Dialog.json", Some(token), &body)?;
    text_of(&answer["xmpp_room_jid"], CALL, "xmpp_room_jid", &answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_users_number_from_the_jid() {
        assert_eq!(id(&Account::parse("17-92@localhost pw").unwrap()).unwrap(), 17);
        assert!(matches!(id(&Account::parse("anna@localhost pw").unwrap()), Err(ApiError::Stranger(_))));
    }
}
