//! RFC 7395: XMPP over WebSocket. What it has in place of a stream header and its end tag.
//!
//! WebSocket frames are `net`'s. Here are the elements `<open/>` and `<close/>`, and what the upgrade has to agree on. The stream
//! behind them is [`crate::stream`] with [`Transport::WebSocket`](crate::stream::Transport::WebSocket), one message a call.

use crate::ns;
use crate::xml::{Element, Writer};

/// The subprotocol that client and server have to name in the upgrade. RFC 7395 §3.1.
pub const SUBPROTOCOL: &str = "xmpp";

/// Whether this opens a stream. RFC 7395 §3.4.
pub fn is_open(element: Element<'_>) -> bool {
    element.is("open", ns::FRAMING)
}

/// Whether this ends a stream. RFC 7395 §3.6.
pub fn is_close(element: Element<'_>) -> bool {
    element.is("close", ns::FRAMING)
}

/// Appends the server's `<open/>`.
pub fn write_open(id: &str, from: &str, to: Option<&str>, out: &mut Vec<u8>) {
    let mut xml = Writer::new(out);
    xml.open("open").ns(ns::FRAMING);
    xml.attr("id", id).attr("from", from).attr_opt("to", to).attr("version", "1.0").attr("xml:lang", "en");
}

/// Appends `<close/>`.
pub fn write_close(out: &mut Vec<u8>) {
    Writer::new(out).empty("close", ns::FRAMING);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Context, Limits, Nodes};

    #[test]
    fn knows_what_it_writes() {
        let mut nodes = Nodes::new();
        let mut out = Vec::new();
        write_open("1", "localhost", None, &mut out);
        let open = nodes.parse(&out, &Context::ALONE, &Limits::NEGOTIATION).unwrap();
        assert!(is_open(open) && !is_close(open));
        assert_eq!(open.attr("from").as_deref(), Some("localhost"));
        out.clear();
        write_close(&mut out);
        let close = nodes.parse(&out, &Context::ALONE, &Limits::NEGOTIATION).unwrap();
        assert!(is_close(close) && !is_open(close));
    }
}
