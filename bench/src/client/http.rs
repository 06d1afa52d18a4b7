//! Answers of an HTTP/1.1 server on a connection that stays open (RFC 9112), as they come.
//!
//! Only bodies with a `Content-Length`, which is what the API's answers have.

use thiserror::Error;

/// The head of an answer may be this long.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// And its body.
pub const BODY_BYTES_MAX: usize = 4 << 20;

/// One answer, borrowed from the buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// 200 for one.
    pub status: u16,
    /// All of it.
    pub body: &'a [u8],
}

/// Bytes that are no answer.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AnswerError {
    /// No status line, or a head without an end.
    #[error("the server's answer is not HTTP/1.1")]
    Head,
    /// None, more than one kind, or more than [`BODY_BYTES_MAX`].
    #[error("the server's answer has no usable Content-Length")]
    Length,
}

/// The answers of one connection.
#[derive(Default)]
pub struct Answers {
    buffer: Vec<u8>,
    /// Everything before this has been given out.
    taken: usize,
    /// The head under way is known to have no end before this.
    searched: usize,
    /// Status, where the body begins, and where it ends.
    head: Option<(u16, usize, usize)>,
}

impl Answers {
    /// Takes in bytes from the network.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.searched = self.searched.saturating_sub(self.taken);
            self.head = self.head.map(|(status, start, end)| (status, start - self.taken, end - self.taken));
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole answer, or `None` until more bytes come.
    pub fn next_answer(&mut self) -> Result<Option<Answer<'_>>, AnswerError> {
        if self.head.is_none() {
            let from = self.searched.max(self.taken);
            let Some(found) = memchr::memmem::find(&self.buffer[from..], b"\r\n\r\n") else {
                if self.buffer.len() - self.taken > HEAD_BYTES_MAX {
                    return Err(AnswerError::Head);
                }
                // The end may have come in part.
                self.searched = self.buffer.len().saturating_sub(3);
                return Ok(None);
            };
            let start = from + found + 4;
            let (status, length) = read_head(&self.buffer[self.taken..start])?;
            self.head = Some((status, start, start + length));
        }
        let Some((status, start, end)) = self.head.filter(|(_, _, end)| *end <= self.buffer.len()) else {
            return Ok(None);
        };
        self.head = None;
        self.taken = end;
        self.searched = end;
        Ok(Some(Answer { status, body: &self.buffer[start..end] }))
    }
}

/// Status and length of the body.
fn read_head(head: &[u8]) -> Result<(u16, usize), AnswerError> {
    let head = std::str::from_utf8(head).map_err(|_| AnswerError::Head)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let mut lengths = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    let status = status.ok_or(AnswerError::Head)?;
    match (lengths.next().and_then(|value| value.trim().parse().ok()), lengths.next()) {
        (Some(length), None) if length <= BODY_BYTES_MAX => Ok((status, length)),
        _ => Err(AnswerError::Length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\nX: y\r\n\r\nfirst\
        HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length:6\r\n\r\n\r\n\r\nab";

    fn read(chunks: &[&[u8]]) -> Vec<(u16, Vec<u8>)> {
        let mut answers = Answers::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            answers.push(chunk);
            while let Some(answer) = answers.next_answer().unwrap() {
                seen.push((answer.status, answer.body.to_vec()));
            }
        }
        seen
    }

    #[test]
    fn reads_the_same_answers_at_every_split() {
        let whole = read(&[THREE]);
        assert_eq!(whole, [(201, b"first".to_vec()), (200, Vec::new()), (404, b"\r\n\r\nab".to_vec())]);
        for at in 0..=THREE.len() {
            assert_eq!(read(&[&THREE[..at], &THREE[at..]]), whole, "split at {at}");
        }
        assert_eq!(read(&THREE.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn refuses_what_it_cannot_follow() {
        for (bad, error) in [
            ("HTTP/1.1 200 OK\r\n\r\n", AnswerError::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", AnswerError::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", AnswerError::Length),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", AnswerError::Head),
            ("\r\n\r\n", AnswerError::Head),
        ] {
            let mut answers = Answers::default();
            answers.push(bad.as_bytes());
            assert_eq!(answers.next_answer(), Err(error), "{bad}");
        }
        let mut answers = Answers::default();
        answers.push(&[b'x'; HEAD_BYTES_MAX + 1]);
        assert_eq!(answers.next_answer(), Err(AnswerError::Head));
    }
}
