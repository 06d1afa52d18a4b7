//! What is accepted as a JID is in normal form: it reads as itself, and so do its parts put together again.

use proto::jid::{BareJid, Domain, FullJid, Jid, RoomJid, UserJid};
use proto::row;

/// The input is a JID; or, in three lines, a local part, a domain and a resource, the first and the last of which may be empty.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(jid) = Jid::parse(&text) {
        check(&jid);
    }
    let mut lines = text.splitn(3, '\n');
    if let (Some(local), Some(domain), Some(resource)) = (lines.next(), lines.next(), lines.next()) {
        let local = (!local.is_empty()).then_some(local);
        let resource = (!resource.is_empty()).then_some(resource);
        if let Ok(jid) = Jid::from_parts(local, domain, resource) {
            check(&jid);
        }
    }
}

fn check(jid: &Jid<'_>) {
    let text = jid.as_str();
    assert_eq!(Jid::parse(text).as_ref(), Ok(jid), "it reads as itself");
    assert_eq!(Jid::from_parts(jid.local(), jid.domain(), jid.resource()).as_ref(), Ok(jid), "so do its parts");
    assert_eq!(jid.clone().into_owned(), *jid);
    assert!(jid.local().is_none_or(|part| !part.is_empty() && !part.contains(['@', '/'])));
    assert!(!jid.domain().is_empty() && !jid.domain().contains(['@', '/']));
    assert!(jid.resource().is_none_or(|part| !part.is_empty()));

    let bare = jid.to_bare();
    assert_eq!(bare.as_str(), jid.bare_str());
    assert_eq!((bare.local(), bare.domain()), (jid.local(), jid.domain()));
    assert_eq!(BareJid::parse(bare.as_str()).as_ref(), Ok(&bare));
    assert_eq!(row::decode::<BareJid>(1, &row::encode(1, &bare)).as_ref(), Ok(&bare), "a row gives it back");
    assert_eq!(jid.is_bare(), jid.to_full().is_none());
    match jid.to_full() {
        Some(full) => {
            assert_eq!(FullJid::parse(text).as_ref(), Ok(&full));
            assert_eq!(bare.with_resource(full.resource()).as_ref(), Ok(&full));
            assert_eq!((full.to_bare(), full.as_jid().to_bare()), (bare.clone(), bare));
        }
        None => assert_eq!(BareJid::parse(text), Ok(bare)),
    }

    let domain = Domain::parse(jid.domain()).expect("the domain of a JID is a domain");
    assert_eq!(domain.as_str(), jid.domain());
    if let Some(user) = UserJid::of(jid, &domain) {
        assert_eq!(Some(user.local().as_str()), jid.local(), "an account has one spelling");
        assert_eq!(user.at(&domain), jid.to_bare());
        assert_eq!(RoomJid::of(jid, &domain), None);
    }
    if let Some(room) = RoomJid::of(jid, &domain) {
        assert_eq!(Some(room.local().as_str()), jid.local(), "a room has one spelling");
        assert_eq!(room.at(&domain), jid.to_bare());
    }
}
