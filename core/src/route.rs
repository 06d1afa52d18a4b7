//! Where a stanza goes: the addresses of this server, as one user of one app sees them.

use crate::canary::{Rule, is_broken};
use crate::effect::Site;
use crate::jid::Jid;
use crate::jid::user::{DialogId, RoomJid, UserJid};
use crate::owner::AccountId;

/// Whom a client means by `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The user's own account: no address, or the bare JID of the sender.
    Own,
    /// The server: its domain, with or without a resource.
    Server,
    /// An account of the same app (or a resource of the own one).
    User(AccountId, Option<&'a str>),
    /// The service that takes files.
    Uploads,
    /// The service that holds the rooms.
    RoomService,
    /// A room of the same app, or someone in it.
    Dialog(DialogId, Option<&'a str>),
    /// A name at the service that holds the rooms that no room of this app can have. Rooms of other apps look like this too.
    Room,
    /// A name at our domain that no user of this app can have. Users of other apps look like this too, so that nobody
    /// learns which of them exist.
    Nobody,
    /// Another server's address; this one talks to no other servers.
    Elsewhere,
}

/// Resolves an address for the user `me`.
pub fn target<'a>(to: Option<&'a Jid<'_>>, me: AccountId, site: &Site) -> Target<'a> {
    let Some(to) = to else { return Target::Own };
    if to.domain() == &*site.domain {
        let Some(local) = to.local() else { return Target::Server };
        return match UserJid::parse_local(local) {
            Some(user) if user.app == me.app || is_broken(Rule::AppsApart) => {
                let id = AccountId { app: user.app, user: user.user };
                match to.resource() {
                    None if id == me => Target::Own,
                    resource => Target::User(id, resource),
                }
            }
            Some(_) | None => Target::Nobody,
        };
    }
    if to.domain() == &*site.muc_domain {
        let Some(local) = to.local() else { return Target::RoomService };
        return match RoomJid::parse_local(local) {
            Some(room) if room.app == me.app => Target::Dialog(room.dialog, to.resource()),
            Some(_) | None => Target::Room,
        };
    }
    if site.uploads.as_ref().is_some_and(|uploads| to.domain() == &*uploads.domain) {
        return if to.local().is_none() { Target::Uploads } else { Target::Nobody };
    }
    Target::Elsewhere
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::user::{AppId, UserId};

    #[test]
    fn addresses_mean_what_the_tenancy_says() {
        let site = Site::of("localhost");
        let me = AccountId { app: AppId(7), user: UserId(1) };
        let other = AccountId { app: AppId(7), user: UserId(2) };
        let dialog = DialogId::parse(b"53aaa06f535c12cea9007496").expect("an id");
        let cases = [
            ("1-7@localhost", Target::Own),
            ("1-7@localhost/phone", Target::User(me, Some("phone"))),
            ("2-7@localhost", Target::User(other, None)),
            ("2-7@localhost/a/b", Target::User(other, Some("a/b"))),
            ("2-8@localhost", Target::Nobody),
            ("1-7-7@localhost", Target::Nobody),
            ("romeo@localhost", Target::Nobody),
            ("localhost", Target::Server),
            ("localhost/admin", Target::Server),
            ("muc.localhost", Target::RoomService),
            ("7_53aaa06f535c12cea9007496@muc.localhost", Target::Dialog(dialog, None)),
            ("7_53aaa06f535c12cea9007496@muc.localhost/1", Target::Dialog(dialog, Some("1"))),
            ("8_53aaa06f535c12cea9007496@muc.localhost", Target::Room),
            ("lobby@muc.localhost", Target::Room),
            ("2-7@example.com", Target::Elsewhere),
        ];
        for (address, expected) in cases {
            let jid = Jid::parse(address).expect(address);
            assert_eq!(target(Some(&jid), me, &site), expected, "{address}");
        }
        assert_eq!(target(None, me, &site), Target::Own);
    }
}
