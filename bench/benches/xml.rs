//! What the XML road of a message costs: framing, the view, forwarding, and writing one from nothing.
//!
//! ```text
//! cargo bench -p rookery-bench --bench xml
//! ```

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use proto::ns;
use proto::xml::{Context, Frame, Framer, Limits, Nodes, Writer, splice};

/// A typical chat message as an official SDK sends it, somewhat over 200 bytes.
const MESSAGE: &[u8] = b"<message to=\"55-92@chat.example.com\" type=\"chat\" id=\"54789d5e6df5e6f921b7acda\">\
    <body>Hello, how are you?</body><extraParams xmlns=\"jabber:client\"><save_to_history>1</save_to_history>\
    </extraParams></message>";

const LIMITS: Limits = Limits { element_bytes_max: 1 << 20, ..Limits::STANZA };

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

fn frame(framer: &mut Framer, input: &[u8]) -> usize {
    let mut bytes = 0;
    let used = framer.feed(input, &LIMITS, |frame| {
        if let Frame::Element(element) = frame {
            bytes += element.len();
        }
        ControlFlow::Continue(())
    });
    assert_eq!(used, Ok(input.len()));
    bytes
}

fn road(criterion: &mut Criterion, name: &str, stanza: &[u8]) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(stanza.len() as u64));
    let mut framer = framer();
    let mut nodes = Nodes::new();
    let mut out = Vec::new();
    group.bench_function("frame", |b| b.iter(|| frame(&mut framer, black_box(stanza))));
    group.bench_function("view", |b| {
        b.iter(|| nodes.parse(black_box(stanza), &Context::CLIENT, &LIMITS).map(|root| root.depth()));
    });
    group.bench_function("frame+view+forward", |b| {
        b.iter(|| {
            out.clear();
            framer.feed(black_box(stanza), &LIMITS, |frame| {
                if let Frame::Element(element) = frame
                    && let Ok(message) = nodes.parse(element, &Context::CLIENT, &LIMITS)
                {
                    black_box(message.attr("to"));
                    let from = [("from", Some("1501966-92@chat.example.com/phone"))];
                    splice::forward(message, &from, |_| {}, &mut out);
                }
                ControlFlow::Continue(())
            })
        });
    });
    group.finish();
}

fn writing(criterion: &mut Criterion) {
    let mut out = Vec::new();
    criterion.bench_function("write an iq result", |b| {
        b.iter(|| {
            out.clear();
            let mut xml = Writer::new(&mut out);
            xml.open("iq").attr("type", "result").attr("id", black_box("a1b2c3")).attr("to", black_box("55-92@x/y"));
            xml.open("query").ns(ns::VERSION);
            xml.simple("name", "Rookery").simple("version", black_box("0.1.0"));
        });
    });
}

fn all(criterion: &mut Criterion) {
    road(criterion, "message of 230 bytes", MESSAGE);
    road(criterion, "message of 4 KiB", &long_message(4 * 1024));
    road(criterion, "message of 100 KiB", &long_message(100 * 1024));
    writing(criterion);
}

criterion_group!(benches, all);
criterion_main!(benches);
