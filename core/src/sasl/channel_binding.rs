//! Channel bindings: what ties a login to the TLS connection it came over. RFC 5056, RFC 9266, RFC 5929 §4.
//!
//! The bytes come from TLS, which is not here; what is here is which types there are, and the digest of a certificate
//! that `tls-server-end-point` is.

use aws_lc_rs::digest;

/// What TLS knows about the connection. Without TLS both are `None`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChannelBindings {
    /// `tls-exporter`: 32 bytes exported with the label `EXPORTER-Channel-Binding` and an empty context. Only for TLS 1.3,
    /// or TLS 1.2 with an extended master secret. RFC 9266 §4.2.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point`: see [`server_end_point`].
    pub server_end_point: Option<Vec<u8>>,
}

impl ChannelBindings {
    /// No TLS.
    pub const NONE: Self = Self { exporter: None, server_end_point: None };

    /// Whether the -PLUS mechanisms can be offered.
    pub fn is_available(&self) -> bool {
        self.types().next().is_some()
    }

    /// The names of the types there are data for, as `<sasl-channel-binding/>` lists them. XEP-0440.
    pub fn types(&self) -> impl Iterator<Item = &'static str> {
        let exporter = self.exporter.is_some().then_some(TLS_EXPORTER);
        let end_point = self.server_end_point.is_some().then_some(TLS_SERVER_END_POINT);
        exporter.into_iter().chain(end_point)
    }

    /// The data of one type; `None` for a type that is unknown, or unknown for this connection.
    pub fn data(&self, name: &str) -> Option<&[u8]> {
        match name {
            TLS_EXPORTER => self.exporter.as_ref().map(<[u8; 32]>::as_slice),
            TLS_SERVER_END_POINT => self.server_end_point.as_deref(),
            _ => None,
        }
    }
}

impl std::fmt::Debug for ChannelBindings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.types()).finish()
    }
}

/// RFC 9266.
pub const TLS_EXPORTER: &str = "tls-exporter";

/// RFC 5929 §4.
pub const TLS_SERVER_END_POINT: &str = "tls-server-end-point";

/// The label to export `tls-exporter` with. RFC 9266 §2.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// The binding of the server's own certificate, in DER: its digest by the hash of its signature, where MD5 and SHA-1 count
/// as SHA-256. RFC 5929 §4.1. `None` where that names no single hash (Ed25519 has none) or the certificate cannot be
/// read; `tls-server-end-point` is not offered then.
pub fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let hash = signature_hash(certificate)?;
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// RFC 5280 §4.1: `SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OID, parameters }, … }`.
fn signature_hash(certificate: &[u8]) -> Option<&'static digest::Algorithm> {
    let (certificate, _) = element(SEQUENCE, certificate)?;
    let (_, after_tbs) = element(SEQUENCE, certificate)?;
    let (algorithm, _) = element(SEQUENCE, after_tbs)?;
    let (oid, parameters) = element(OID, algorithm)?;
    if oid == RSASSA_PSS { pss_hash(parameters) } else { hash_of(SIGNATURES, oid) }
}

/// RFC 4055 §3.1: the hash is in the first, optional, parameter; it is SHA-1 when left out.
fn pss_hash(parameters: &[u8]) -> Option<&'static digest::Algorithm> {
    let (parameters, _) = element(SEQUENCE, parameters)?;
    let Some((explicit, _)) = element(CONTEXT_0, parameters) else {
        return Some(&digest::SHA256);
    };
    let (algorithm, _) = element(SEQUENCE, explicit)?;
    let (oid, _) = element(OID, algorithm)?;
    hash_of(HASHES, oid)
}

fn hash_of(table: &[(&[u8], &'static digest::Algorithm)], oid: &[u8]) -> Option<&'static digest::Algorithm> {
    table.iter().find(|(known, _)| *known == oid).map(|(_, hash)| *hash)
}

/// Splits a DER element of this tag off the front: its content, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Certificates have lengths of up to three bytes.
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const CONTEXT_0: u8 = 0xa0;

/// 1.2.840.113549.1.1.10
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];

/// RFC 5929 §4.1 on the signature algorithms of RFC 8017 and RFC 5758.
const SIGNATURES: &[(&[u8], &digest::Algorithm)] = &[
    // md5, sha1, sha256, sha384, sha512WithRSAEncryption: 1.2.840.113549.1.1.{4, 5, 11, 12, 13}
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c], &digest::SHA384),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d], &digest::SHA512),
    // ecdsa-with-SHA1: 1.2.840.10045.4.1; with SHA256, SHA384, SHA512: 1.2.840.10045.4.3.{2, 3, 4}
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], &digest::SHA384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04], &digest::SHA512),
];

/// SHA-1: 1.3.14.3.2.26; SHA-256, SHA-384, SHA-512: 2.16.840.1.101.3.4.2.{1, 2, 3}.
const HASHES: &[(&[u8], &digest::Algorithm)] = &[
    (&[0x2b, 0x0e, 0x03, 0x02, 0x1a], &digest::SHA256),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01], &digest::SHA256),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02], &digest::SHA384),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03], &digest::SHA512),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let mut out = vec![tag];
        if length < 0x80 {
            out.push(length as u8);
        } else {
            out.extend([0x82, (length >> 8) as u8, length as u8]);
        }
        out.extend(content);
        out
    }

    /// As much of a certificate as is looked at, signed with this algorithm.
    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let tbs = der(SEQUENCE, &[0xab; 300]);
        der(SEQUENCE, &[tbs, der(SEQUENCE, algorithm), der(0x03, &[0; 9])].concat())
    }

    // RFC 5929 §4.1
    #[test]
    fn takes_the_hash_of_the_signature_and_never_a_weak_one() {
        let lengths = [32, 32, 32, 48, 64, 32, 32, 48, 64];
        for ((oid, _), length) in SIGNATURES.iter().zip(lengths) {
            let certificate = certificate(&der(OID, oid));
            assert_eq!(server_end_point(&certificate).unwrap().len(), length);
        }
        let sha1 = certificate(&der(OID, SIGNATURES[1].0));
        let expected = digest::digest(&digest::SHA256, &sha1);
        assert_eq!(server_end_point(&sha1).as_deref(), Some(expected.as_ref()));
    }

    // RFC 4055 §3.1
    #[test]
    fn finds_the_hash_of_a_pss_signature() {
        for ((oid, hash), length) in HASHES.iter().zip([32, 32, 48, 64]) {
            let hashed = der(CONTEXT_0, &der(SEQUENCE, &der(OID, oid)));
            let algorithm = [der(OID, RSASSA_PSS), der(SEQUENCE, &hashed)].concat();
            let binding = server_end_point(&certificate(&algorithm)).unwrap();
            assert_eq!((binding.len(), hash.output_len()), (length, length));
        }
        let defaults = [der(OID, RSASSA_PSS), der(SEQUENCE, &[])].concat();
        assert_eq!(server_end_point(&certificate(&defaults)).unwrap().len(), 32);
    }

    #[test]
    fn gives_no_binding_for_what_it_cannot_read() {
        // Ed25519, 1.3.101.112: the RFC names no hash for it.
        assert_eq!(server_end_point(&certificate(&der(OID, &[0x2b, 0x65, 0x70]))), None);
        let whole = certificate(&der(OID, SIGNATURES[2].0));
        for end in 0..whole.len() {
            assert_eq!(server_end_point(&whole[..end]), None, "{end}");
        }
        assert_eq!(server_end_point(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn names_the_types_it_has_data_for() {
        let mut bindings = ChannelBindings::NONE;
        assert!(!bindings.is_available());
        bindings.server_end_point = Some(vec![1]);
        assert_eq!(bindings.types().collect::<Vec<_>>(), ["tls-server-end-point"]);
        bindings.exporter = Some([2; 32]);
        assert_eq!(bindings.types().collect::<Vec<_>>(), ["tls-exporter", "tls-server-end-point"]);
        assert_eq!(bindings.data("tls-exporter"), Some(&[2; 32][..]));
        assert_eq!(bindings.data("tls-unique"), None);
    }
}
