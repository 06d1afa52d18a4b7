//! Cuts the bytes a server sends into stream headers and stanzas.
//!
//! The driver trusts the server's XML to be well-formed and looks only at tag borders: one pass over each byte, no
//! names, no tree. What it cannot follow (comments, CDATA, more than [`PENDING_BYTES_MAX`] without an end) is an error.

use thiserror::Error;

/// The unfinished rest of a stanza may be this long.
pub const PENDING_BYTES_MAX: usize = 4 << 20;

/// One thing the server said, as bytes in the framer's buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The start tag of the stream.
    Header(&'a [u8]),
    /// One whole child of the stream.
    Stanza(&'a [u8]),
    /// The end tag of the stream.
    End,
}

/// Bytes that are not a stream this framer can follow.
#[derive(Debug, Error)]
pub enum FramingError {
    /// A comment, CDATA section or DTD.
    #[error("the server sent a comment, a CDATA section or a DTD")]
    Markup,
    /// The stream's root closed itself, or more ends than starts.
    #[error("the server's tags do not nest")]
    Nesting,
    /// A stanza grew past [`PENDING_BYTES_MAX`].
    #[error("the server sent a stanza longer than {PENDING_BYTES_MAX} bytes")]
    TooLong,
}

/// The incremental cutter of one stream.
#[derive(Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Everything before this is examined.
    at: usize,
    /// Where the frame under way begins.
    start: usize,
    /// Where the tag under way begins.
    tag: usize,
    depth: usize,
    inside: Inside,
}

#[derive(Default, Clone, Copy)]
enum Inside {
    #[default]
    Text,
    Tag,
    Quote(u8),
}

impl Framer {
    /// Takes in bytes from the network.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.at -= self.start;
            self.tag = self.tag.saturating_sub(self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// A new stream begins with the next byte (after STARTTLS or SASL).
    pub fn restart(&mut self) {
        self.depth = 0;
        self.inside = Inside::Text;
        self.start = self.at;
    }

    /// The next complete frame, or `None` until more bytes come.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FramingError> {
        while let Some(found) = self.step()? {
            if let Some(kind) = found {
                let range = self.start..self.at;
                self.start = self.at;
                let bytes = &self.buffer[range];
                return Ok(Some(match kind {
                    Cut::Header => Frame::Header(bytes),
                    Cut::Stanza => Frame::Stanza(bytes),
                    Cut::End => Frame::End,
                }));
            }
        }
        if self.buffer.len() - self.start > PENDING_BYTES_MAX {
            return Err(FramingError::TooLong);
        }
        Ok(None)
    }

    /// Advances to the next border. `None`: out of bytes. `Some(None)`: a border that ends no frame.
    fn step(&mut self) -> Result<Option<Option<Cut>>, FramingError> {
        let rest = &self.buffer[self.at..];
        match self.inside {
            Inside::Text => {
                let found = memchr::memchr(b'<', rest);
                let open = self.at + found.unwrap_or(rest.len());
                if self.depth <= 1 {
                    // Blanks between stanzas belong to nobody.
                    self.start = open;
                }
                self.at = open;
                if found.is_none() {
                    return Ok(None);
                }
                self.tag = open;
                self.at = open + 1;
                self.inside = Inside::Tag;
                Ok(Some(None))
            }
            Inside::Quote(quote) => match memchr::memchr(quote, rest) {
                Some(found) => {
                    self.at += found + 1;
                    self.inside = Inside::Tag;
                    Ok(Some(None))
                }
                None => {
                    self.at = self.buffer.len();
                    Ok(None)
                }
            },
            Inside::Tag => match memchr::memchr3(b'>', b'"', b'\'', rest) {
                Some(found) => {
                    let byte = rest[found];
                    self.at += found + 1;
                    if byte != b'>' {
                        self.inside = Inside::Quote(byte);
                        return Ok(Some(None));
                    }
                    self.inside = Inside::Text;
                    self.end_of_tag().map(Some)
                }
                None => {
                    self.at = self.buffer.len();
                    Ok(None)
                }
            },
        }
    }

    fn end_of_tag(&mut self) -> Result<Option<Cut>, FramingError> {
        let first = self.buffer[self.tag + 1];
        let closes_itself = self.buffer[self.at - 2] == b'/';
        match first {
            b'?' => Ok(None),
            b'!' => Err(FramingError::Markup),
            b'/' => {
                self.depth = self.depth.checked_sub(1).ok_or(FramingError::Nesting)?;
                Ok(match self.depth {
                    0 => Some(Cut::End),
                    1 => Some(Cut::Stanza),
                    _ => None,
                })
            }
            _ if closes_itself => match self.depth {
                0 => Err(FramingError::Nesting),
                1 => Ok(Some(Cut::Stanza)),
                _ => Ok(None),
            },
            _ => {
                self.depth += 1;
                Ok((self.depth == 1).then_some(Cut::Header))
            }
        }
    }
}

enum Cut {
    Header,
    Stanza,
    End,
}

/// The element's name as written, with its prefix.
pub fn name(stanza: &[u8]) -> &[u8] {
    let rest = stanza.get(1..).unwrap_or_default();
    let end = rest.iter().position(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>')).unwrap_or(rest.len());
    &rest[..end]
}

/// The raw value of an attribute of the outermost element; entities are left as they are.
pub fn attribute<'a>(stanza: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut rest = &stanza[(1 + name(stanza).len()).min(stanza.len())..];
    loop {
        rest = rest.trim_ascii_start();
        if matches!(rest.first(), None | Some(b'>' | b'/')) {
            return None;
        }
        let equals = memchr::memchr(b'=', rest)?;
        let key = rest[..equals].trim_ascii_end();
        let value = rest[equals + 1..].trim_ascii_start();
        let quote = *value.first().filter(|q| matches!(q, b'"' | b'\''))?;
        let end = memchr::memchr(quote, &value[1..])?;
        if key == wanted {
            return Some(&value[1..1 + end]);
        }
        rest = &value[end + 2..];
    }
}

/// The text between the outermost start tag and the next tag.
pub fn text(stanza: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'>', stanza) else { return b"" };
    let rest = &stanza[open + 1..];
    &rest[..memchr::memchr(b'<', rest).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' id=\"a>b\">\n<stream:features>\
        <mechanisms xmlns='x'><mechanism>PLAIN</mechanism></mechanisms></stream:features> <presence/>\
        <message to='a/b' id=\"it's >\"><body>1 > 0 / \"x\"</body></message></stream:stream>";

    fn cut(chunks: &[&[u8]]) -> Vec<String> {
        let mut framer = Framer::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            framer.push(chunk);
            while let Some(frame) = framer.next_frame().unwrap() {
                seen.push(match frame {
                    Frame::Header(bytes) => format!("H{}", String::from_utf8_lossy(bytes)),
                    Frame::Stanza(bytes) => format!("S{}", String::from_utf8_lossy(bytes)),
                    Frame::End => "E".into(),
                });
            }
        }
        seen
    }

    #[test]
    fn cuts_a_stream_into_its_header_its_stanzas_and_its_end() {
        let seen = cut(&[STREAM.as_bytes()]);
        assert_eq!(seen.len(), 5, "{seen:#?}");
        assert!(seen[0].ends_with("id=\"a>b\">"));
        assert!(seen[1].starts_with("S<stream:features>"));
        assert_eq!(seen[2], "S<presence/>");
        assert!(seen[3].starts_with("S<message") && seen[3].ends_with("</message>"));
        assert_eq!(seen[4], "E");
    }

    #[test]
    fn gives_the_same_frames_at_every_split() {
        let bytes = STREAM.as_bytes();
        let mut whole = cut(&[bytes]);
        // The declaration's bytes may or may not lie before the header in one push; the header's end is what counts.
        whole[0] = whole[0].rsplit("?>").next().unwrap().into();
        for at in 0..=bytes.len() {
            let mut split = cut(&[&bytes[..at], &bytes[at..]]);
            split[0] = split[0].rsplit("?>").next().unwrap().trim_start_matches('H').into();
            assert_eq!(split[1..], whole[1..], "split at {at}");
            assert_eq!(split[0], whole[0].trim_start_matches('H'), "split at {at}");
        }
        let ones: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(cut(&ones)[1..], whole[1..]);
    }

    #[test]
    fn starts_a_new_stream_after_a_restart() {
        let mut framer = Framer::default();
        framer.push(b"<stream:stream><success/>");
        assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
        assert_eq!(framer.next_frame().unwrap(), Some(Frame::Stanza(b"<success/>")));
        framer.restart();
        framer.push(b"<stream:stream id='2'><a><b/></a>");
        assert_eq!(framer.next_frame().unwrap(), Some(Frame::Header(b"<stream:stream id='2'>")));
        assert_eq!(framer.next_frame().unwrap(), Some(Frame::Stanza(b"<a><b/></a>")));
    }

    #[test]
    fn refuses_what_it_cannot_follow() {
        for bad in ["<s><!-- -->", "</s>", "<s/>"] {
            let mut framer = Framer::default();
            framer.push(bad.as_bytes());
            let mut last = framer.next_frame().map(|f| f.is_some());
            while matches!(last, Ok(true)) {
                last = framer.next_frame().map(|f| f.is_some());
            }
            assert!(last.is_err(), "{bad}");
        }
    }

    #[test]
    fn finds_attributes_of_the_outermost_element_only() {
        let stanza = b"<iq type='result' from=\"a'b\" id = 'x1'><q id='no' ver='3'/></iq>";
        assert_eq!(attribute(stanza, b"id"), Some(&b"x1"[..]));
        assert_eq!(attribute(stanza, b"from"), Some(&b"a'b"[..]));
        assert_eq!(attribute(stanza, b"ver"), None);
        assert_eq!(name(stanza), b"iq");
        assert_eq!(text(b"<challenge xmlns='s'>cj1=</challenge>"), b"cj1=");
        assert_eq!(text(b"<success/>"), b"");
    }
}
