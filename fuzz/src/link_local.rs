//! A serverless stream means the same however it is cut into reads, what it brings is a stanza with nothing in it but what a chat needs,
//! and no name on the link is an address anywhere but at the bridge.

use proto::error::StreamError;
use proto::jid::Jid;
use proto::link_local::{Event, PresenceName, Stream};
use proto::ns;
use proto::xml::{Context, Limits, Nodes};

const DOMAIN: &str = "link.localhost";

/// What happened, what was answered, and how it ended.
type Seen = (Vec<Event>, Vec<u8>, Option<StreamError>);

/// The first byte chooses the side and the size of reads; the rest is the stream, and a name.
pub fn run(data: &[u8]) {
    let &[choice, ref stream @ ..] = data else { return };
    if let Ok(name) = std::str::from_utf8(stream) {
        has_an_address(name);
    }
    let start = || if choice & 1 == 0 { Stream::accepted() } else { Stream::opened("a@b", "c@d", &mut Vec::new()) };
    let whole = hear(start(), stream, stream.len().max(1));
    assert_eq!(whole, hear(start(), stream, usize::from(choice >> 1).max(1)), "cut otherwise");
    for event in &whole.0 {
        match event {
            Event::Header(header) => header.from.iter().chain(&header.to).for_each(|name| has_an_address(name)),
            Event::Message { from, message, .. } => {
                let name = from.as_deref().unwrap_or_default();
                is_harmless(&message.write("a@b", "c@d", Some(name)), name);
            }
            Event::Ready | Event::Ended => {}
        }
    }
}

fn hear(mut stream: Stream, bytes: &[u8], size: usize) -> Seen {
    let (mut events, mut out) = (Vec::new(), Vec::new());
    for mut read in bytes.chunks(size) {
        loop {
            match stream.next(&mut read, &mut out) {
                Ok(Some(event)) => {
                    if let Event::Header(header) = &event {
                        stream.answer(header.to.as_deref(), header.from.as_deref(), header.is_modern, &mut Vec::new());
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(error) => return (events, out, Some(error)),
            }
        }
    }
    (events, out, None)
}

fn has_an_address(name: &str) {
    let Some(name) = PresenceName::parse(name) else { return };
    let address = name.at(DOMAIN);
    let jid = Jid::parse(&address).expect("an address");
    assert_eq!((jid.local(), jid.domain(), jid.resource()), (Some(name.local()), DOMAIN, None));
}

fn is_harmless(stanza: &[u8], name: &str) {
    let mut nodes = Nodes::new();
    let message = nodes.parse(stanza, &Context::CLIENT, &Limits::OWN).expect("a stanza");
    assert!(message.is("message", ns::CLIENT));
    assert_eq!((message.attr("from").as_deref(), message.attr("to").as_deref()), (Some("a@b"), Some("c@d")));
    let allowed = [ns::CLIENT, ns::CHAT_STATES, ns::RECEIPTS, ns::LINK_LOCAL];
    assert!(message.children().all(|child| allowed.contains(&child.ns())));
    let marks: Vec<_> = message.children().filter(|child| child.ns() == ns::LINK_LOCAL).collect();
    assert_eq!(marks.len(), 1);
    assert_eq!(marks[0].attr("name").as_deref(), Some(name));
}
