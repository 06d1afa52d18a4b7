//! Where a stanza goes: the addresses of this server, as one user of one app sees them, or a component.

use crate::canary::{Rule, is_broken};
use crate::component::Settings;
use crate::effect::Site;
use crate::jid::Jid;
use crate::jid::user::{AppId, DialogId, RoomJid, UserJid};
use crate::owner::{AccountId, ComponentId, Owner};
use crate::stanza::Sender;

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
    /// The bridge to the local link, or somebody behind it.
    Link(Option<&'a str>),
    /// The service that holds the rooms.
    RoomService,
    /// A room of the same app, or someone in it.
    Dialog(DialogId, Option<&'a str>),
    /// A name at the service that holds the rooms that no room of this app can have. Rooms of other apps look like this too.
    Room,
    /// A name at our domain that no user of this app can have. Users of other apps look like this too, so that nobody
    /// learns which of them exist.
    Nobody,
    /// A component that serves the app, or some address at its domain. XEP-0114
    Component(ComponentId),
    /// Another server's address; this one talks to no other servers.
    Elsewhere,
}

impl<'a> Target<'a> {
    /// The account or the component that it is, if it is one and not one's own, and the resource of that account.
    pub fn other(&self) -> Option<(Owner, Option<&'a str>)> {
        match *self {
            Target::User(account, resource) => Some((Owner::Account(account), resource)),
            Target::Component(component) => Some((Owner::Component(component), None)),
            Target::Own
            | Target::Server
            | Target::Uploads
            | Target::Link(_)
            | Target::RoomService
            | Target::Dialog(..)
            | Target::Room
            | Target::Nobody
            | Target::Elsewhere => None,
        }
    }
}

/// Resolves an address for the user `me`.
pub fn target<'a>(to: Option<&'a Jid<'_>>, me: AccountId, site: &Site) -> Target<'a> {
    let Some(to) = to else { return Target::Own };
    match resolve(to, site, |app| app == me.app, |component| component.serves(me.app)) {
        Target::User(id, None) if id == me => Target::Own,
        // Users only: a component has nothing to say there.
        Target::Elsewhere if site.link.as_ref().is_some_and(|link| link.leads_to(to, me.app)) => {
            Target::Link(to.local())
        }
        target => target,
    }
}

/// Resolves an address for a component: all users of the apps that it serves, and the components that serve one of them too.
/// [`Target::Own`] is what it never gets.
pub fn target_of_component<'a>(to: &'a Jid<'_>, me: &Settings, site: &Site) -> Target<'a> {
    resolve(to, site, |app| me.serves(app), |other| me.meets(other))
}

fn resolve<'a>(
    to: &'a Jid<'_>,
    site: &Site,
    sees_app: impl Fn(AppId) -> bool,
    sees_component: impl Fn(&Settings) -> bool,
) -> Target<'a> {
    if to.domain() == &*site.domain {
        let Some(local) = to.local() else { return Target::Server };
        return match UserJid::parse_local(local) {
            Some(user) if sees_app(user.app) || is_broken(Rule::AppsApart) => {
                Target::User(AccountId { app: user.app, user: user.user }, to.resource())
            }
            Some(_) | None => Target::Nobody,
        };
    }
    if to.domain() == &*site.muc_domain {
        let Some(local) = to.local() else { return Target::RoomService };
        return match RoomJid::parse_local(local) {
            Some(room) if sees_app(room.app) => Target::Dialog(room.dialog, to.resource()),
            Some(_) | None => Target::Room,
        };
    }
    if site.uploads.as_ref().is_some_and(|uploads| to.domain() == &*uploads.domain) {
        return if to.local().is_none() { Target::Uploads } else { Target::Nobody };
    }
    match site.component(to.domain()).filter(|component| sees_component(component)) {
        Some(component) => Target::Component(component.id()),
        // So does a component that serves other apps only.
        None => Target::Elsewhere,
    }
}

/// Where an answer to somebody goes: to the account or the component behind the address, and there to this resource.
pub(crate) fn way_back<'s>(to: &'s Sender, site: &Site) -> Option<(Owner, Option<&'s str>)> {
    if let Some(account) = to.account {
        return Some((Owner::Account(account), to.jid.split_once('/').map(|(_, resource)| resource)));
    }
    let jid = Jid::parse(&to.jid).ok()?;
    site.component(jid.domain()).map(|component| (Owner::Component(component.id()), None))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::jid::user::UserId;
    use crate::link_local::Link;

    /// One component for everybody, and one for app 8.
    fn with_components() -> Site {
        let components = [("echo.localhost", None), ("strange.localhost", Some(&[AppId(8)][..]))];
        let components = components.map(|(domain, apps)| Settings::new(domain, "a secret for the tests", apps));
        Site { components: components.into(), ..Site::of("localhost") }
    }

    #[test]
    fn components_see_the_apps_that_they_serve() {
        let site = with_components();
        let user = |app| Target::User(AccountId { app: AppId(app), user: UserId(2) }, None);
        let cases = [
            ("2-7@localhost", user(7), Target::Nobody),
            ("2-8@localhost", user(8), user(8)),
            ("localhost", Target::Server, Target::Server),
            ("x@muc.localhost", Target::Room, Target::Room),
            (
                "echo.localhost",
                Target::Component(ComponentId::of("echo.localhost")),
                Target::Component(ComponentId::of("echo.localhost")),
            ),
            ("example.com", Target::Elsewhere, Target::Elsewhere),
        ];
        let [echo, strange] =
            ["echo.localhost", "strange.localhost"].map(|domain| site.component(domain).expect("it is there"));
        for (address, for_all, for_one) in cases {
            let jid = Jid::parse(address).expect(address);
            assert_eq!(target_of_component(&jid, echo, &site), for_all, "{address}");
            assert_eq!(target_of_component(&jid, strange, &site), for_one, "{address}");
        }
    }

    #[test]
    fn addresses_mean_what_the_tenancy_says() {
        let site = with_components();
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
            ("echo.localhost", Target::Component(ComponentId::of("echo.localhost"))),
            ("2-7@echo.localhost/x", Target::Component(ComponentId::of("echo.localhost"))),
            ("strange.localhost", Target::Elsewhere),
            ("a.echo.localhost", Target::Elsewhere),
        ];
        for (address, expected) in cases {
            let jid = Jid::parse(address).expect(address);
            assert_eq!(target(Some(&jid), me, &site), expected, "{address}");
        }
        assert_eq!(target(None, me, &site), Target::Own);
    }

    #[test]
    fn the_link_is_there_for_the_apps_that_may_use_it() {
        let link = Link { domain: "link.localhost".into(), apps: vec![AppId(7)] };
        let site = Site { link: Some(Arc::new(link)), ..Site::of("localhost") };
        let of = |app| AccountId { app: AppId(app), user: UserId(1) };
        for (address, expected) in [
            ("link.localhost", Target::Link(None)),
            (r"romeo\40forza@link.localhost/x", Target::Link(Some(r"romeo\40forza"))),
            ("xlink.localhost", Target::Elsewhere),
        ] {
            let jid = Jid::parse(address).expect(address);
            assert_eq!(target(Some(&jid), of(7), &site), expected, "{address}");
            assert_eq!(target(Some(&jid), of(8), &site), Target::Elsewhere, "{address}");
            assert_eq!(target(Some(&jid), of(7), &Site::of("localhost")), Target::Elsewhere, "{address}");
        }
    }
}
