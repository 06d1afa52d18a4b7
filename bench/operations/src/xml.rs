//! The XML road of a message: framing, the view, forwarding, and writing a stanza from nothing.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::rc::Rc;

use proto::ns;
use proto::xml::{Context, Frame, Framer, Limits, Nodes, Writer, splice};

use crate::{Operation, keep};

/// A typical chat message as an official SDK sends it, somewhat over 200 bytes.
const MESSAGE: &[u8] = b"<message to=\"55-92@chat.example.com\" type=\"chat\" id=\"54789d5e6df5e6f921b7acda\">\
    <body>Hello, how are you?</body><extraParams xmlns=\"jabber:client\"><save_to_history>1</save_to_history>\
    </extraParams></message>";

const LIMITS: Limits = Limits { element_bytes_max: 1 << 20, ..Limits::STANZA };

pub(super) fn add(all: &mut Vec<Operation>) {
    road(all, "200", MESSAGE.into());
    road(all, "4k", long_message(4 * 1024).into());
    road(all, "100k", long_message(100 * 1024).into());
    all.push(writing());
}

/// A message with one long text.
fn long_message(text_bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("message").attr("to", "55-92@chat.example.com").attr("type", "chat");
    xml.simple("body", &"The quick brown fox jumps over the lazy dog. ".repeat(text_bytes / 45));
    drop(xml);
    out
}

/// A framer that has seen the header.
fn framer() -> Framer {
    let mut framer = Framer::new();
    let used = framer.feed(b"<s>", &LIMITS, |_| ControlFlow::Continue(()));
    assert_eq!(used, Ok(3));
    framer
}

/// Frames the stanza and does `each` with every element.
fn feed(framer: &mut Framer, stanza: &[u8], mut each: impl FnMut(&[u8])) {
    let used = framer.feed(black_box(stanza), &LIMITS, |frame| {
        if let Frame::Element(element) = frame {
            each(element);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(used, Ok(stanza.len()));
}

fn road(all: &mut Vec<Operation>, size: &str, stanza: Rc<[u8]>) {
    let bytes = stanza.len();
    let source = Rc::clone(&stanza);
    all.push(
        Operation::new(format!("xml/frame/{size}"), move || {
            let (stanza, mut framer) = (Rc::clone(&source), framer());
            move || feed(&mut framer, &stanza, |element| keep(element.len()))
        })
        .of_bytes(bytes),
    );
    let source = Rc::clone(&stanza);
    all.push(
        Operation::new(format!("xml/view/{size}"), move || {
            let (stanza, mut nodes) = (Rc::clone(&source), Nodes::new());
            move || keep(nodes.parse(black_box(&stanza), &Context::CLIENT, &LIMITS).map(|root| root.depth()))
        })
        .of_bytes(bytes),
    );
    let source = Rc::clone(&stanza);
    all.push(
        Operation::new(format!("xml/frame+view/{size}"), move || {
            let (stanza, mut framer, mut nodes) = (Rc::clone(&source), framer(), Nodes::new());
            move || {
                feed(&mut framer, &stanza, |element| {
                    keep(nodes.parse(element, &Context::CLIENT, &LIMITS).map(|root| root.depth()));
                });
            }
        })
        .of_bytes(bytes),
    );
    all.push(
        Operation::new(format!("xml/frame+view+forward/{size}"), move || {
            let (stanza, mut framer, mut nodes, mut out) = (Rc::clone(&stanza), framer(), Nodes::new(), Vec::new());
            move || {
                out.clear();
                feed(&mut framer, &stanza, |element| {
                    let message = nodes.parse(element, &Context::CLIENT, &LIMITS).expect("a stanza");
                    keep(message.attr("to"));
                    let from = [("from", Some("1501966-92@chat.example.com/phone"))];
                    splice::forward(message, &from, |_| {}, &mut out);
                });
                keep(out.len());
            }
        })
        .of_bytes(bytes),
    );
}

fn writing() -> Operation {
    Operation::new("xml/write-iq-result", || {
        let mut out = Vec::new();
        move || {
            out.clear();
            let mut xml = Writer::new(&mut out);
            xml.open("iq").attr("type", "result").attr("id", black_box("a1b2c3")).attr("to", black_box("55-92@x/y"));
            xml.open("query").ns(ns::VERSION);
            xml.simple("name", "Rookery").simple("version", black_box("0.1.0"));
            drop(xml);
            keep(out.len());
        }
    })
}
