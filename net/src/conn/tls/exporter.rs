//! The `tls-exporter` channel binding. RFC 9266.
//!
//! The library's interface without buffers exports no keying material, but it shows the exporter secret to a key log, from
//! which RFC 8446 §7.5 derives the same bytes. The log here looks at that one secret, on the thread that does the handshake,
//! between two calls.

use std::cell::RefCell;

use aws_lc_rs::{digest, hmac};
use proto::sasl::channel_binding::EXPORTER_LABEL;
use rustls::KeyLog;
use zeroize::Zeroizing;

thread_local! {
    static SEEN: RefCell<Option<Secret>> = const { RefCell::new(None) };
}

/// Sees the exporter secrets of handshakes and nothing else.
#[derive(Debug)]
pub(super) struct Tap;

impl KeyLog for Tap {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == LABEL {
            SEEN.with_borrow_mut(|seen| *seen = Some(Secret(Zeroizing::new(secret.to_vec()))));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == LABEL
    }
}

/// The secret that the last call into the library made, if it made one.
pub(super) fn take() -> Option<Secret> {
    SEEN.take()
}

/// An exporter secret. Wiped when dropped.
pub(super) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// RFC 9266 §2 by RFC 8446 §7.5: `TLS-Exporter("EXPORTER-Channel-Binding", "", 32)`.
    pub fn binding(&self) -> Option<[u8; 32]> {
        // The length of the secret is that of the handshake's hash.
        let (hmac, digest) = match self.0.len() {
            32 => (hmac::HMAC_SHA256, &digest::SHA256),
            48 => (hmac::HMAC_SHA384, &digest::SHA384),
            _ => return None,
        };
        let empty = digest::digest(digest, b"");
        let derived = Zeroizing::new(expand_label(hmac, &self.0, EXPORTER_LABEL, empty.as_ref(), self.0.len()));
        let exported = expand_label(hmac, &derived, b"exporter", empty.as_ref(), BINDING_BYTES);
        exported.try_into().ok()
    }
}

/// HKDF-Expand-Label for at most one block of output. RFC 8446 §7.1, RFC 5869 §2.3.
fn expand_label(algorithm: hmac::Algorithm, secret: &[u8], label: &[u8], context: &[u8], length: usize) -> Vec<u8> {
    debug_assert!(length <= secret.len(), "one block is enough");
    let byte = |length: usize| u8::try_from(length).expect("labels and digests are shorter than 256 bytes");
    let mut info = vec![0, byte(length), byte(PREFIX.len() + label.len())];
    info.extend_from_slice(PREFIX);
    info.extend_from_slice(label);
    info.push(byte(context.len()));
    info.extend_from_slice(context);
    // The number of the block.
    info.push(1);
    let block = hmac::sign(&hmac::Key::new(algorithm, secret), &info);
    block.as_ref()[..length].to_vec()
}

const LABEL: &str = "EXPORTER_SECRET";
const PREFIX: &[u8] = b"tls13 ";
const BINDING_BYTES: usize = 32;
