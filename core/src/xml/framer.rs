//! Finds the end of each top-level element of a stream, at any split of the input, looking at each byte once.
//!
//! The framer knows just enough XML to tell where tags, attribute values and CDATA begin and end, and refuses what no
//! stream may hold (RFC 6120 §11.1) as soon as it shows. Whether a whole element is well-formed is [`super::Nodes`]'s
//! question.
//!
//! It is made for one read buffer shared by many connections: elements that lie wholly in the input are handed out
//! where they lie, and only an unfinished one is copied. A framer between elements owns no heap.

use std::mem;
use std::ops::ControlFlow;

use memchr::memchr;

use super::chars::{find, find2, is_space, skip_space};
use super::{Limits, XmlError, declaration};

/// A piece of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The stream header: its start tag, without the XML declaration that may stand before it.
    Header(&'a [u8]),
    /// A whole element.
    Element(&'a [u8]),
    /// The end tag of the stream.
    End,
    /// White space between elements: a keepalive (RFC 6120 §4.6.1), or someone's indentation.
    Whitespace,
}

/// Splits one direction of one stream into frames. After an error it is of no further use.
#[derive(Debug)]
pub struct Framer {
    /// The unfinished item, as far as earlier reads brought it; or the one handed out last.
    tail: Vec<u8>,
    /// Open elements of the current item.
    depth: u32,
    /// Attributes of the current tag so far.
    attributes: u32,
    /// Bytes of the current name, value or keyword that earlier reads brought.
    run: u32,
    state: State,
    stage: Stage,
    /// Whether `tail` has been handed out and is to be freed.
    spent: bool,
}

/// Where in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing but white space so far: an XML declaration may come.
    Fresh { header: bool },
    /// After the declaration: the header must come.
    Declared { header: bool },
    /// Inside the stream, after its header.
    Stream,
    /// Elements without a stream around them.
    Fragment,
    /// The header was an empty-element tag, so the stream ends at once.
    EndDue,
    /// After the end.
    Ended,
}

/// Where in the current item; one state for each place a read may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between items.
    Between,
    Text,
    /// After `<`.
    Less,
    StartName,
    /// In a start tag, after white space.
    Tag,
    AttributeName,
    /// After an attribute's name and white space.
    Equals,
    /// After `=`.
    Quote,
    DoubleQuoted,
    SingleQuoted,
    /// After a closing quote.
    Quoted,
    /// After the `/` of an empty-element tag.
    Slash,
    EndTag,
    /// After `<!`.
    Bang,
    Cdata,
    /// After `]` in CDATA.
    CdataBracket,
    /// After `]]` in CDATA.
    CdataBrackets,
    /// After `<?`.
    Question,
    Declaration,
}

/// What a scan came upon; the offsets are those of the input.
enum Found {
    Nothing,
    Whitespace { end: usize },
    Declaration { start: usize, end: usize },
    Header { start: usize, end: usize },
    Element { start: usize, end: usize },
    End { end: usize },
}

/// Whether this end tag is that of a stream, whose header has this name and prefix or is refused. RFC 6120 §4.8.5.
fn is_stream_end(mut tag: impl Iterator<Item = u8>) -> bool {
    let name = b"</stream:stream";
    tag.by_ref().take(name.len()).eq(name.iter().copied()) && tag.all(|byte| byte == b'>' || is_space(byte))
}

impl Framer {
    /// For a stream that begins with a header.
    pub const fn new() -> Framer {
        Framer::at(Stage::Fresh { header: true })
    }

    /// For elements that stand alone, such as the content of a WebSocket message (RFC 7395 §3.3).
    pub const fn fragment() -> Framer {
        Framer::at(Stage::Fresh { header: false })
    }

    const fn at(stage: Stage) -> Framer {
        Framer { tail: Vec::new(), depth: 0, attributes: 0, run: 0, state: State::Between, stage, spent: false }
    }

    /// Expects a new header, as after STARTTLS or SASL (RFC 6120 §4.3.3). An unfinished element is dropped.
    pub fn reset(&mut self) {
        *self = Framer::new();
    }

    /// Whether the stream stands between two elements, with nothing kept.
    pub fn is_idle(&self) -> bool {
        self.state == State::Between && (self.spent || self.tail.is_empty())
    }

    /// Hands the frames of `input` to `sink` until it breaks or the input is used up, and says how much was used.
    ///
    /// After a break the rest of the input is untouched: it may be bytes of a TLS handshake, or be framed by another
    /// framer on another shard.
    ///
    /// # Errors
    ///
    /// The frames before the offending bytes have been handed out.
    pub fn feed(
        &mut self,
        input: &[u8],
        limits: &Limits,
        mut sink: impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<usize, XmlError> {
        let mut rest = input;
        while let Some(frame) = self.next(&mut rest, limits)? {
            if sink(frame).is_break() {
                break;
            }
        }
        self.free_spent();
        Ok(input.len() - rest.len())
    }

    /// The next frame of `input`, which is shortened by what was used; `None` once it is used up.
    ///
    /// # Errors
    ///
    /// As soon as the bytes show that the stream cannot go on.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<Option<Frame<'a>>, XmlError> {
        self.free_spent();
        loop {
            let bytes = *input;
            let found = self.scan(bytes, limits)?;
            let (start, end) = match found {
                Found::Nothing => {
                    *input = &[];
                    return Ok(None);
                }
                Found::Whitespace { end } => {
                    *input = &bytes[end..];
                    return Ok(Some(Frame::Whitespace));
                }
                Found::End { end } => {
                    *input = &bytes[end..];
                    self.tail = Vec::new();
                    return Ok(Some(Frame::End));
                }
                Found::Declaration { start, end } | Found::Header { start, end } | Found::Element { start, end } => {
                    (start, end)
                }
            };
            *input = &bytes[end..];
            let item: &'a [u8] = if self.tail.is_empty() {
                &bytes[start..end]
            } else {
                self.tail.extend_from_slice(&bytes[..end]);
                self.spent = true;
                // The slice is made anew below, once the declaration, which goes no further, is out of the way.
                &[]
            };
            if matches!(found, Found::Declaration { .. }) {
                declaration::check(if self.spent { &self.tail } else { item })?;
                self.free_spent();
                continue;
            }
            let header = matches!(found, Found::Header { .. });
            let item: &'a [u8] = if self.spent { &self.tail } else { item };
            return Ok(Some(if header { Frame::Header(item) } else { Frame::Element(item) }));
        }
    }

    fn free_spent(&mut self) {
        if self.spent {
            self.tail = Vec::new();
            self.spent = false;
        }
    }

    /// Goes on where the last scan stopped, up to the end of the next item or of the input.
    fn scan(&mut self, input: &[u8], limits: &Limits) -> Result<Found, XmlError> {
        if self.stage == Stage::EndDue {
            self.stage = Stage::Ended;
            return Ok(Found::End { end: 0 });
        }
        let whole = input;
        // Where the current item begins in this input.
        let mut start = 0;
        // No more is looked at than the item may have; it must end before the input is cut off.
        let mut input = match self.state {
            State::Between => whole,
            _ => self.allowed(whole, start, limits),
        };
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            match self.state {
                State::Between => {
                    if is_space(byte) {
                        return Ok(Found::Whitespace { end: skip_space(input, at) });
                    }
                    self.check_item_start(byte)?;
                    start = at;
                    input = self.allowed(whole, start, limits);
                    at += 1;
                    self.state = State::Less;
                }
                State::Text => match find(b'<', &input[at..]) {
                    Some(length) => {
                        at += length + 1;
                        self.state = State::Less;
                    }
                    None => at = input.len(),
                },
                State::Less => {
                    at += 1;
                    self.run = 0;
                    self.state = self.after_less(byte)?;
                    if self.state == State::StartName {
                        self.attributes = 0;
                        // The byte is the name's first.
                        self.run = 1;
                    }
                }
                State::StartName => {
                    at = self.run_of_name(input, at, limits)?;
                    match input.get(at) {
                        None => {}
                        Some(b'>') => {
                            at += 1;
                            if self.open(limits)? {
                                return Ok(self.header(start, at));
                            }
                        }
                        Some(b'/') => {
                            at += 1;
                            self.state = State::Slash;
                        }
                        Some(&byte) if is_space(byte) => {
                            at += 1;
                            self.state = State::Tag;
                        }
                        Some(_) => return Err(XmlError::Syntax),
                    }
                }
                State::Tag | State::Quoted => match byte {
                    b'>' => {
                        at += 1;
                        if self.open(limits)? {
                            return Ok(self.header(start, at));
                        }
                    }
                    b'/' => {
                        at += 1;
                        self.state = State::Slash;
                    }
                    _ if is_space(byte) => {
                        at = skip_space(input, at);
                        self.state = State::Tag;
                    }
                    // White space must stand between attributes.
                    _ if self.state == State::Tag && is_name_byte(byte) => {
                        self.attributes += 1;
                        if self.attributes as usize > limits.attributes_max {
                            return Err(XmlError::TooManyAttributes);
                        }
                        self.run = 0;
                        self.state = State::AttributeName;
                    }
                    _ => return Err(XmlError::Syntax),
                },
                State::AttributeName => {
                    at = self.run_of_name(input, at, limits)?;
                    match input.get(at) {
                        None => {}
                        Some(b'=') => {
                            at += 1;
                            self.state = State::Quote;
                        }
                        Some(&byte) if is_space(byte) => {
                            at += 1;
                            self.state = State::Equals;
                        }
                        Some(_) => return Err(XmlError::Syntax),
                    }
                }
                State::Equals => match byte {
                    b'=' => {
                        at += 1;
                        self.state = State::Quote;
                    }
                    _ if is_space(byte) => at = skip_space(input, at),
                    _ => return Err(XmlError::Syntax),
                },
                State::Quote => {
                    match byte {
                        b'"' => self.state = State::DoubleQuoted,
                        b'\'' => self.state = State::SingleQuoted,
                        _ if is_space(byte) => {}
                        _ => return Err(XmlError::Syntax),
                    }
                    at += 1;
                    self.run = 0;
                }
                State::DoubleQuoted => at = self.run_of_value(b'"', input, at, limits)?,
                State::SingleQuoted => at = self.run_of_value(b'\'', input, at, limits)?,
                State::Slash => {
                    if byte != b'>' {
                        return Err(XmlError::Syntax);
                    }
                    at += 1;
                    if let Stage::Fresh { header: true } | Stage::Declared { header: true } = self.stage {
                        let found = self.header(start, at);
                        self.stage = Stage::EndDue;
                        return Ok(found);
                    }
                    // An empty element is as deep as one with content.
                    if self.depth as usize >= limits.depth_max {
                        return Err(XmlError::TooDeep);
                    }
                    if self.depth == 0 {
                        return Ok(self.element(start, at));
                    }
                    self.state = State::Text;
                }
                State::EndTag => match find2(b'>', b'<', &input[at..]) {
                    None => at = input.len(),
                    Some(length) if input[at + length] == b'<' => return Err(XmlError::Syntax),
                    Some(length) => {
                        at += length + 1;
                        if self.depth == 0 {
                            let tag = self.tail.iter().chain(&input[start..at]).copied();
                            if !is_stream_end(tag) {
                                return Err(XmlError::MismatchedTag);
                            }
                            self.state = State::Between;
                            self.stage = Stage::Ended;
                            return Ok(Found::End { end: at });
                        }
                        self.depth -= 1;
                        if self.depth == 0 {
                            return Ok(self.element(start, at));
                        }
                        self.state = State::Text;
                    }
                },
                State::Bang => {
                    self.in_bang(byte)?;
                    at += 1;
                }
                State::Cdata => match memchr(b']', &input[at..]) {
                    Some(length) => {
                        at += length + 1;
                        self.state = State::CdataBracket;
                    }
                    None => at = input.len(),
                },
                State::CdataBracket => {
                    at += 1;
                    self.state = if byte == b']' { State::CdataBrackets } else { State::Cdata };
                }
                State::CdataBrackets => {
                    at += 1;
                    match byte {
                        b'>' => self.state = State::Text,
                        b']' => {}
                        _ => self.state = State::Cdata,
                    }
                }
                State::Question => {
                    const TARGET: &[u8] = b"xml";
                    match TARGET.get(self.run as usize) {
                        Some(&expected) if byte == expected => {
                            self.run += 1;
                            at += 1;
                        }
                        None if is_space(byte) => self.state = State::Declaration,
                        _ => return Err(XmlError::ProcessingInstruction),
                    }
                }
                State::Declaration => {
                    let end = memchr(b'>', &input[at..]).map(|length| at + length + 1);
                    let stop = end.unwrap_or(input.len());
                    self.run = self.run.saturating_add(length_u32(stop - at));
                    if self.run > declaration::BYTES_MAX {
                        return Err(XmlError::BadDeclaration);
                    }
                    at = stop;
                    if let Some(end) = end {
                        self.state = State::Between;
                        if let Stage::Fresh { header } = self.stage {
                            self.stage = Stage::Declared { header };
                        }
                        return Ok(Found::Declaration { start, end });
                    }
                }
            }
        }
        if self.state != State::Between {
            if input.len() < whole.len() {
                return Err(XmlError::TooBig);
            }
            self.tail.extend_from_slice(&input[start..]);
        }
        Ok(Found::Nothing)
    }

    /// The input as far as the item that begins at `start` may go.
    fn allowed<'i>(&self, input: &'i [u8], start: usize, limits: &Limits) -> &'i [u8] {
        let room = limits.element_bytes_max.saturating_sub(self.tail.len());
        &input[..input.len().min(start.saturating_add(room))]
    }

    /// Refuses whatever cannot begin an item.
    fn check_item_start(&self, byte: u8) -> Result<(), XmlError> {
        match self.stage {
            Stage::Ended | Stage::EndDue => Err(XmlError::ContentAfterEnd),
            // A byte order mark of UTF-16 or UTF-32, or one of their zeros.
            Stage::Fresh { .. } if matches!(byte, 0xFE | 0xFF | 0x00) => Err(XmlError::Encoding),
            Stage::Fresh { .. } | Stage::Declared { .. } | Stage::Stream | Stage::Fragment => match byte {
                b'<' => Ok(()),
                _ => Err(XmlError::TextOutsideElement),
            },
        }
    }

    /// The state after `<` and this byte.
    fn after_less(&self, byte: u8) -> Result<State, XmlError> {
        match byte {
            b'/' if self.depth > 0 || self.stage == Stage::Stream => Ok(State::EndTag),
            b'/' => Err(XmlError::MismatchedTag),
            b'!' => Ok(State::Bang),
            b'?' if self.depth == 0 && matches!(self.stage, Stage::Fresh { .. }) => Ok(State::Question),
            b'?' => Err(XmlError::ProcessingInstruction),
            // The second byte of `<` in UTF-16.
            0 if matches!(self.stage, Stage::Fresh { .. }) => Err(XmlError::Encoding),
            _ if is_name_byte(byte) => Ok(State::StartName),
            _ => Err(XmlError::Syntax),
        }
    }

    /// One byte after `<!`: CDATA inside an element goes on, everything else is refused by its name.
    fn in_bang(&mut self, byte: u8) -> Result<(), XmlError> {
        const CDATA: &[u8] = b"[CDATA[";
        match (self.run, byte) {
            (0, b'-') => return Err(XmlError::Comment),
            (0, b'D') => return Err(XmlError::Dtd),
            (0, b'[') if self.depth == 0 => return Err(XmlError::TextOutsideElement),
            (run, byte) if CDATA[run as usize] == byte => self.run += 1,
            _ => return Err(XmlError::Syntax),
        }
        if self.run as usize == CDATA.len() {
            self.state = State::Cdata;
        }
        Ok(())
    }

    /// Skips the rest of a name, whose length is bounded.
    fn run_of_name(&mut self, input: &[u8], at: usize, limits: &Limits) -> Result<usize, XmlError> {
        let end = input[at..].iter().position(|&byte| !is_name_byte(byte)).map_or(input.len(), |length| at + length);
        self.run = self.run.saturating_add(length_u32(end - at));
        if self.run as usize > limits.name_bytes_max {
            return Err(XmlError::NameTooLong);
        }
        Ok(end)
    }

    /// Skips the rest of an attribute value and its closing quote. XML 1.0 §3.1 (WFC: No < in Attribute Values).
    fn run_of_value(&mut self, quote: u8, input: &[u8], at: usize, limits: &Limits) -> Result<usize, XmlError> {
        let end = find2(quote, b'<', &input[at..]).map(|length| at + length);
        self.run = self.run.saturating_add(length_u32(end.unwrap_or(input.len()) - at));
        if self.run as usize > limits.attribute_bytes_max {
            return Err(XmlError::AttributeTooLong);
        }
        match end {
            None => Ok(input.len()),
            Some(end) if input[end] == quote => {
                self.state = State::Quoted;
                Ok(end + 1)
            }
            Some(_) => Err(XmlError::Syntax),
        }
    }

    /// The `>` of a start tag. True if the tag was the stream header.
    fn open(&mut self, limits: &Limits) -> Result<bool, XmlError> {
        if let Stage::Fresh { header: true } | Stage::Declared { header: true } = self.stage {
            return Ok(true);
        }
        if self.depth as usize >= limits.depth_max {
            return Err(XmlError::TooDeep);
        }
        self.depth += 1;
        self.state = State::Text;
        Ok(false)
    }

    fn header(&mut self, start: usize, end: usize) -> Found {
        self.state = State::Between;
        self.stage = Stage::Stream;
        Found::Header { start, end }
    }

    fn element(&mut self, start: usize, end: usize) -> Found {
        self.state = State::Between;
        if let Stage::Fresh { header: false } | Stage::Declared { header: false } = self.stage {
            self.stage = Stage::Fragment;
        }
        Found::Element { start, end }
    }
}

impl Default for Framer {
    fn default() -> Framer {
        Framer::new()
    }
}

/// The one element of a message that must hold exactly one, such as a WebSocket message or a BOSH request.
///
/// White space around it and an XML declaration before it are left out.
///
/// # Errors
///
/// Also when there is no element, a second one, or only a part.
pub fn only_element<'a>(message: &'a [u8], limits: &Limits) -> Result<&'a [u8], XmlError> {
    let mut framer = Framer::fragment();
    let mut rest = message;
    let mut only = None;
    while let Some(frame) = framer.next(&mut rest, limits)? {
        match frame {
            Frame::Whitespace => {}
            Frame::Element(_) if only.is_some() => return Err(XmlError::ContentAfterEnd),
            Frame::Element(element) => {
                // The whole message was at hand, so the element lies in it, just before what is left.
                let end = message.len() - rest.len();
                only = Some(&message[end - element.len()..end]);
            }
            Frame::Header(_) | Frame::End => return Err(XmlError::Syntax),
        }
    }
    if !framer.is_idle() {
        return Err(XmlError::Truncated);
    }
    only.ok_or(XmlError::Truncated)
}

/// Whether the byte may be part of a name, as far as finding the name's end needs it.
fn is_name_byte(byte: u8) -> bool {
    NAME_BYTES[byte as usize]
}

const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric() || b >= 0x80 || matches!(b, b':' | b'_' | b'-' | b'.');
        byte += 1;
    }
    table
};

/// Lengths of one input, which fits 32 bits or is over every limit anyway.
fn length_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

// Idle costs nothing: thousands of these wait for their next byte.
const _: () = assert!(mem::size_of::<Framer>() <= 48);

#[cfg(test)]
mod tests;
