//! However a stream is cut into reads, and however often the caller stops, the frames and the refusal are the same.

use std::ops::ControlFlow;

use proto::xml::{Frame, Framer, Limits, XmlError, framer};

/// Small enough for a fuzzer to reach every limit.
const LIMITS: Limits = Limits {
    element_bytes_max: 200,
    depth_max: 6,
    attributes_max: 5,
    attribute_bytes_max: 40,
    name_bytes_max: 12,
    prefixes_max: 4,
};

/// Frames without white space, which depends on the cuts, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    frames: Vec<(char, Vec<u8>)>,
    refusal: Option<XmlError>,
}

/// The first byte chooses the kind of stream, the second the size of reads; the rest is the stream.
pub fn run(data: &[u8]) {
    let &[kind, cut, ref stream @ ..] = data else { return };
    let start = || if kind & 1 == 0 { Framer::new() } else { Framer::fragment() };
    let whole = feed(start(), stream, stream.len().max(1), false);
    assert_eq!(whole, feed(start(), stream, 1, false), "byte by byte");
    assert_eq!(whole, feed(start(), stream, usize::from(cut).max(1), true), "reads of {cut} bytes, stopping often");
    if let Ok(element) = framer::only_element(stream, &LIMITS) {
        let only = [('E', element.to_vec())];
        assert_eq!(feed(Framer::fragment(), stream, stream.len(), false).frames, only);
    }
}

fn feed(mut framer: Framer, stream: &[u8], read_bytes: usize, stopping: bool) -> Seen {
    let mut seen = Seen::default();
    for read in stream.chunks(read_bytes) {
        let mut rest = read;
        while !rest.is_empty() {
            let fed = framer.feed(rest, &LIMITS, |frame| {
                match frame {
                    Frame::Header(bytes) => seen.frames.push(('H', bytes.to_vec())),
                    Frame::Element(bytes) => seen.frames.push(('E', bytes.to_vec())),
                    Frame::End => seen.frames.push(('.', Vec::new())),
                    Frame::Whitespace => {}
                }
                if stopping { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match fed {
                Ok(used) => rest = &rest[used..],
                Err(refusal) => {
                    seen.refusal = Some(refusal);
                    return seen;
                }
            }
        }
    }
    // The end of an empty header comes without input.
    while let Ok(Some(frame)) = framer.next(&mut &b""[..], &LIMITS) {
        assert_eq!(frame, Frame::End);
        seen.frames.push(('.', Vec::new()));
    }
    seen
}
