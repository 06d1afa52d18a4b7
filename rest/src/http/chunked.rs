//! Chunked bodies (RFC 9112 §7.1), decoded as they come. Extensions and trailers are read over.

use crate::problem::Problem;

/// Decodes one body.
#[derive(Debug)]
pub(super) struct Chunked {
    body: Vec<u8>,
    at: At,
    /// Bytes so far that were not body: sizes, extensions, trailers.
    overhead_bytes: usize,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug)]
enum At {
    /// A digit of a chunk size of which so many were seen.
    Size { size: u64, digits: u8 },
    /// Part of a chunk extension.
    Extension { size: u64 },
    /// The line feed after a chunk size.
    SizeLf { size: u64 },
    /// Body.
    Data { left: u64 },
    /// The carriage return after a chunk.
    DataCr,
    /// The line feed after a chunk.
    DataLf,
    /// Part of a trailer line that is so far `empty`, or not.
    Trailer { empty: bool },
    /// The line feed after a trailer line.
    TrailerLf { empty: bool },
    /// Nothing of this body.
    End,
}

/// Enough for any size we take, and no overflow.
const SIZE_DIGITS_MAX: u8 = 12;

impl Chunked {
    pub(super) fn new() -> Chunked {
        Chunked { body: Vec::new(), at: At::Size { size: 0, digits: 0 }, overhead_bytes: 0 }
    }

    /// Takes what belongs to this body; returns how many bytes that was.
    ///
    /// The chunks together may hold `body_bytes_max`, and what is around them no more than that and `head_bytes_max`.
    pub(super) fn feed(
        &mut self,
        input: &[u8],
        body_bytes_max: usize,
        head_bytes_max: usize,
    ) -> Result<usize, Problem> {
        let mut taken = 0;
        while let Some(&byte) = input.get(taken) {
            if let At::End = self.at {
                break;
            }
            if let At::Data { left } = self.at {
                let rest = &input[taken..];
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                self.body.extend_from_slice(&rest[..length]);
                taken += length;
                self.at = match left - length as u64 {
                    0 => At::DataCr,
                    left => At::Data { left },
                };
                continue;
            }
            self.at = self.at.after(byte)?;
            if let At::Data { left } = self.at {
                let room = body_bytes_max.saturating_sub(self.body.len());
                if left > room as u64 {
                    return Err(Problem::too_large("The body is too large"));
                }
            }
            self.overhead_bytes += 1;
            if self.overhead_bytes > body_bytes_max.saturating_add(head_bytes_max) {
                return Err(Problem::too_large("The chunks have too much around them"));
            }
            taken += 1;
        }
        Ok(taken)
    }

    /// Whether the last byte of the body was taken.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.at, At::End)
    }

    pub(super) fn into_body(self) -> Vec<u8> {
        self.body
    }
}

impl At {
    /// Where one byte of framing leads.
    fn after(self, byte: u8) -> Result<At, Problem> {
        Ok(match (self, byte) {
            (At::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(Problem::too_large("A chunk is too large"));
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                At::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (At::Size { size, digits: 1.. }, b'\r') => At::SizeLf { size },
            (At::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => At::Extension { size },
            (At::Extension { size }, b'\r') => At::SizeLf { size },
            (At::Extension { size }, byte) if byte != b'\n' && byte != 0 => At::Extension { size },
            (At::SizeLf { size: 0 }, b'\n') => At::Trailer { empty: true },
            (At::SizeLf { size }, b'\n') => At::Data { left: size },
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { size: 0, digits: 0 },
            (At::Trailer { empty }, b'\r') => At::TrailerLf { empty },
            (At::Trailer { .. }, byte) if byte != b'\n' && byte != 0 => At::Trailer { empty: false },
            (At::TrailerLf { empty: true }, b'\n') => At::End,
            (At::TrailerLf { empty: false }, b'\n') => At::Trailer { empty: true },
            _ => return Err(Problem::malformed("The chunks of the body are malformed")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<Option<(Vec<u8>, usize)>, Problem> {
        let mut chunked = Chunked::new();
        let mut taken = 0;
        for piece in pieces {
            taken += chunked.feed(piece, 64, 256)?;
        }
        Ok(chunked.is_complete().then(|| (chunked.into_body(), taken)))
    }

    const BODY: &[u8] = b"4\r\nWiki\r\n6;a=b;c=\"d\"\r\npedia \r\n00\r\nX-Trailer: yes\r\nAnother: 1\r\n\r\nGET /";

    #[test]
    fn every_split_gives_the_same_body() {
        let end = BODY.len() - 5;
        for split in 0..BODY.len() {
            let (one, two) = BODY.split_at(split);
            let (body, taken) = decode(&[one, two]).unwrap().unwrap();
            assert_eq!((&body[..], taken), (&b"Wikipedia "[..], end));
        }
        let bytes: Vec<_> = BODY.chunks(1).collect();
        assert_eq!(decode(&bytes).unwrap().unwrap().1, end);
    }

    #[test]
    fn every_prefix_is_partial() {
        for end in 0..BODY.len() - 5 {
            assert_eq!(decode(&[&BODY[..end]]), Ok(None), "{end}");
        }
    }

    #[test]
    fn refuses_broken_and_oversized_chunks() {
        let big = format!("{:x}\r\n", 65);
        let two = format!("{:x}\r\n{}\r\n1\r\n", 64, "a".repeat(64));
        let long = format!("1;{}\r\n", "x".repeat(400));
        let cases: [(&str, u16); 15] = [
            ("\r\n", 400),
            (";a\r\n", 400),
            ("g\r\n", 400),
            ("-1\r\n", 400),
            ("0x1\r\n", 400),
            ("+1\r\n", 400),
            ("1\na", 400),
            ("1\rxa", 400),
            ("1\r\nab", 400),
            ("1\r\na\n", 400),
            ("0\r\n\n", 400),
            ("fffffffffffffffff\r\n", 413),
            (&big, 413),
            (&two, 413),
            (&long, 413),
        ];
        for (input, code) in cases {
            let problem = decode(&[input.as_bytes()]).unwrap_err();
            assert_eq!(problem.status().code(), code, "{input:?}");
        }
    }
}
