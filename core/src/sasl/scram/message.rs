//! The grammar of SCRAM's two client messages. RFC 5802 §7.
//!
//! Attributes come in a fixed order, so a message is read from left to right, and every byte of it is accounted for.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::ScramError;
use crate::jid::JID_BYTES_MAX;
use crate::sasl::payload;

/// Greatest length of the nonce that a client adds, in bytes. Libraries use 16 to 64.
const CLIENT_NONCE_BYTES_MAX: usize = 256;

/// What the client says about channel bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gs2Flag<'a> {
    /// `n`: it knows none.
    NotSupported,
    /// `y`: it does, but thinks that the server does not.
    NotOffered,
    /// `p=`: it binds to this type.
    Bound(&'a str),
}

/// `gs2-header client-first-message-bare`.
#[derive(Debug)]
pub(super) struct ClientFirst<'a> {
    pub(super) flag: Gs2Flag<'a>,
    pub(super) authzid: Option<Cow<'a, str>>,
    /// Flag and authzid with their commas, as `c=` repeats them.
    pub(super) header: &'a str,
    /// What follows the header: a part of the AuthMessage.
    pub(super) bare: &'a str,
    pub(super) username: Cow<'a, str>,
    pub(super) nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let (flag, rest) = text.split_once(',').ok_or(ScramError::Syntax)?;
        let (authzid, bare) = rest.split_once(',').ok_or(ScramError::Syntax)?;
        let header = &text[..text.len() - bare.len()];
        let mut attributes = bare.split(',');
        // RFC 5802 §5.1: `m` stands first, and who does not know what it asks for must fail.
        let username = match attributes.next() {
            Some(first) if first.starts_with("m=") => {
                return Err(ScramError::ExtensionsNotSupported);
            }
            first => value(first, "n=").and_then(saslname)?,
        };
        let nonce = value(attributes.next(), "r=")?;
        if nonce.len() > CLIENT_NONCE_BYTES_MAX || !nonce.bytes().all(is_printable) {
            return Err(ScramError::Syntax);
        }
        attributes.try_for_each(check_extension)?;
        Ok(Self { flag: gs2_flag(flag)?, authzid: gs2_authzid(authzid)?, header, bare, username, nonce })
    }
}

fn gs2_flag(text: &str) -> Result<Gs2Flag<'_>, ScramError> {
    match text {
        "n" => Ok(Gs2Flag::NotSupported),
        "y" => Ok(Gs2Flag::NotOffered),
        _ => {
            let name = value(Some(text), "p=")?;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
            if name.bytes().all(is_name) { Ok(Gs2Flag::Bound(name)) } else { Err(ScramError::Syntax) }
        }
    }
}

fn gs2_authzid(text: &str) -> Result<Option<Cow<'_, str>>, ScramError> {
    if text.is_empty() {
        return Ok(None);
    }
    value(Some(text), "a=").and_then(saslname).map(Some)
}

/// `channel-binding "," nonce ["," extensions] "," proof`.
#[derive(Debug)]
pub(super) struct ClientFinal<'a> {
    pub(super) binding: Zeroizing<Vec<u8>>,
    pub(super) nonce: &'a str,
    pub(super) proof: Zeroizing<Vec<u8>>,
    /// All of it up to the proof: the end of the AuthMessage.
    pub(super) without_proof: &'a str,
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        // The proof is last, and base64 has no comma.
        let (without_proof, proof) = text.rsplit_once(',').ok_or(ScramError::Syntax)?;
        let proof = value(Some(proof), "p=")?;
        let mut attributes = without_proof.split(',');
        let binding = value(attributes.next(), "c=")?;
        let nonce = value(attributes.next(), "r=")?;
        attributes.try_for_each(check_extension)?;
        Ok(Self { binding: base64(binding)?, nonce, proof: base64(proof)?, without_proof })
    }
}

/// RFC 5802 §7: messages are UTF-8 without NUL.
fn text(message: &[u8]) -> Result<&str, ScramError> {
    let text = str::from_utf8(message).map_err(|_| ScramError::Syntax)?;
    if text.contains('\0') { Err(ScramError::Syntax) } else { Ok(text) }
}

/// The value of the attribute that has to be here. No value is empty.
fn value<'a>(attribute: Option<&'a str>, name: &str) -> Result<&'a str, ScramError> {
    attribute
        .and_then(|attribute| attribute.strip_prefix(name))
        .filter(|value| !value.is_empty())
        .ok_or(ScramError::Syntax)
}

/// RFC 5802 §5.1: extensions that are not `m` may be passed over, if they are attributes at all. The names the RFC gives a
/// place to do not belong among them.
fn check_extension(attribute: &str) -> Result<(), ScramError> {
    let known = |name: u8| b"aceimnprsv".contains(&name);
    match attribute.as_bytes() {
        [b'm', b'=', ..] => Err(ScramError::ExtensionsNotSupported),
        [name, b'=', _, ..] if name.is_ascii_alphabetic() && !known(*name) => Ok(()),
        _ => Err(ScramError::Syntax),
    }
}

/// RFC 5802 §7: `printable`, which is what a nonce consists of.
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b','
}

/// RFC 5802 §5.1: `=2C` is a comma, `=3D` an equals sign, and nothing else begins with `=`.
fn saslname(text: &str) -> Result<Cow<'_, str>, ScramError> {
    if text.len() > 3 * JID_BYTES_MAX {
        return Err(ScramError::Syntax);
    }
    if !text.contains('=') {
        return Ok(Cow::Borrowed(text));
    }
    let mut pieces = text.split('=');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (letter, rest) = match piece.as_bytes() {
            [b'2', b'C', ..] => (',', &piece[2..]),
            [b'3', b'D', ..] => ('=', &piece[2..]),
            _ => return Err(ScramError::InvalidUsernameEncoding),
        };
        name.push(letter);
        name.push_str(rest);
    }
    Ok(Cow::Owned(name))
}

fn base64(text: &str) -> Result<Zeroizing<Vec<u8>>, ScramError> {
    payload::decode_strict(text.as_bytes()).ok_or(ScramError::InvalidEncoding)
}
