//! SCRAM-SHA-1, SCRAM-SHA-256 and their -PLUS forms. RFC 5802, RFC 7677.
//!
//! The server side of four messages: [`first`] takes the client's first one, [`ExpectCredentials`] waits for rows to
//! answer it from, [`ExpectFinal`] waits for the proof.
//!
//! A user has several secrets (a password, and a token for each live session), and which of them the client used only
//! shows in the proof: it is tried against the keys of each, all of them every time, so that the time taken says
//! neither which secret it was nor whether it was any.

use smallvec::SmallVec;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::credentials::{Hash, Keys, SHA_1, SHA_256, TOKENS_PER_USER_MAX};
use super::{
    ChannelBindings, Credentials, Login, Mechanism, NONCE_BYTES, Names, Proof, SaslCondition, Step, TokenRecord,
    payload,
};

mod message;

use message::{ClientFinal, ClientFirst, Gs2Flag};

/// Why an exchange fails, by the names of RFC 5802 §7 (`server-error-value`). XMPP sends none of them: it has
/// conditions of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScramError {
    /// Attributes missing, doubled or out of order, or not UTF-8.
    Syntax,
    /// Base64 inside the message is not strict base64.
    InvalidEncoding,
    /// `m=`: an extension that must be understood.
    ExtensionsNotSupported,
    /// `=` in a name that is neither `=2C` nor `=3D`.
    InvalidUsernameEncoding,
    /// A proof that has not the length of the hash.
    ProofLength,
    /// A -PLUS mechanism without a binding, or a binding without -PLUS.
    FlagContradictsMechanism,
    /// A type of binding that this connection has not.
    UnsupportedChannelBindingType,
    /// The client believes that the server offered no -PLUS, but it did: somebody between them removed it.
    ServerDoesSupportChannelBinding,
    /// The client is bound to another TLS connection, or changed its header.
    ChannelBindingsDontMatch,
    /// Not the nonce of this exchange.
    NonceMismatch,
}

impl From<ScramError> for SaslCondition {
    fn from(error: ScramError) -> Self {
        match error {
            ScramError::Syntax
            | ScramError::InvalidEncoding
            | ScramError::ExtensionsNotSupported
            | ScramError::InvalidUsernameEncoding
            | ScramError::ProofLength
            | ScramError::FlagContradictsMechanism
            | ScramError::UnsupportedChannelBindingType => Self::MalformedRequest,
            ScramError::ServerDoesSupportChannelBinding
            | ScramError::ChannelBindingsDontMatch
            | ScramError::NonceMismatch => Self::NotAuthorized,
        }
    }
}

/// Takes client-first-message.
pub(super) fn first(
    mechanism: Mechanism,
    message: &[u8],
    names: &Names,
    bindings: &ChannelBindings,
    nonce: [u8; NONCE_BYTES],
) -> Result<ExpectCredentials, SaslCondition> {
    let first = ClientFirst::parse(message)?;
    let binding = binding_input(mechanism, &first, bindings)?;
    Ok(ExpectCredentials {
        mechanism,
        login: Login::new(&first.username, first.authzid.as_deref().unwrap_or_default(), names)?,
        nonce: format!("{}{}", first.nonce, payload::encode(&nonce)),
        bare: first.bare.to_owned(),
        binding,
    })
}

/// What `c=` has to be in the client's last message: the header it sent, then the binding. RFC 5802 §6.
fn binding_input(
    mechanism: Mechanism,
    first: &ClientFirst<'_>,
    bindings: &ChannelBindings,
) -> Result<Vec<u8>, ScramError> {
    let plus = match mechanism {
        Mechanism::ScramSha256Plus | Mechanism::ScramSha1Plus => true,
        Mechanism::ScramSha256 | Mechanism::ScramSha1 | Mechanism::Plain => false,
    };
    let data = match first.flag {
        Gs2Flag::Bound(_) if !plus => return Err(ScramError::FlagContradictsMechanism),
        Gs2Flag::NotSupported | Gs2Flag::NotOffered if plus => {
            return Err(ScramError::FlagContradictsMechanism);
        }
        Gs2Flag::Bound(name) => bindings.data(name).ok_or(ScramError::UnsupportedChannelBindingType)?,
        Gs2Flag::NotOffered if bindings.is_available() => {
            return Err(ScramError::ServerDoesSupportChannelBinding);
        }
        Gs2Flag::NotSupported | Gs2Flag::NotOffered => &[],
    };
    Ok([first.header.as_bytes(), data].concat())
}

/// Has the client's first message and needs the rows of the account it names.
#[derive(Debug)]
pub(super) struct ExpectCredentials {
    mechanism: Mechanism,
    pub(super) login: Login,
    nonce: String,
    bare: String,
    binding: Vec<u8>,
}

impl ExpectCredentials {
    /// Writes server-first-message.
    pub(super) fn resume(self, credentials: &Credentials, tokens: &[TokenRecord]) -> (Vec<u8>, ExpectFinal) {
        let salt = payload::encode(&credentials.salt);
        let server_first = format!("r={},s={salt},i={}", self.nonce, credentials.iterations);
        let secrets = credentials.keys.iter().chain(tokens.iter().take(TOKENS_PER_USER_MAX).map(|token| &token.keys));
        let candidates = match self.mechanism {
            Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => {
                Candidates::Sha1(secrets.map(|keys| keys.sha1).collect())
            }
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus | Mechanism::Plain => {
                Candidates::Sha256(secrets.map(|keys| keys.sha256).collect())
            }
        };
        let next = ExpectFinal {
            login: self.login,
            nonce: self.nonce,
            binding: self.binding,
            messages: format!("{},{server_first}", self.bare),
            candidates,
            has_password: credentials.has_password(),
        };
        (server_first.into_bytes(), next)
    }
}

/// The keys of every secret that may be proven, for the hash in use.
#[derive(Debug)]
enum Candidates {
    Sha1(SmallVec<[Keys<20>; 1]>),
    Sha256(SmallVec<[Keys<32>; 1]>),
}

/// Waits for the client's proof.
#[derive(Debug)]
pub(super) struct ExpectFinal {
    login: Login,
    nonce: String,
    binding: Vec<u8>,
    /// client-first-message-bare "," server-first-message: where the AuthMessage begins.
    messages: String,
    candidates: Candidates,
    /// The first of them is the password's.
    has_password: bool,
}

impl ExpectFinal {
    /// Takes client-final-message; success carries server-final-message.
    pub(super) fn respond(self, message: &[u8]) -> Step {
        match self.verify(message) {
            Ok(None) => self.login.finish(None, Vec::new()),
            Ok(Some(Verified { signature, by_first })) => {
                let proof = if by_first && self.has_password { Proof::Password } else { Proof::Session };
                self.login.finish(Some(proof), [b"v=", signature.as_bytes()].concat())
            }
            Err(error) => Step::Failure(error.into()),
        }
    }

    /// `None` if the proof is of no secret of the user.
    fn verify(&self, message: &[u8]) -> Result<Option<Verified>, ScramError> {
        let last = ClientFinal::parse(message)?;
        if last.nonce != self.nonce {
            return Err(ScramError::NonceMismatch);
        }
        if !bool::from(last.binding.ct_eq(&self.binding)) {
            return Err(ScramError::ChannelBindingsDontMatch);
        }
        let auth_message = format!("{},{}", self.messages, last.without_proof);
        match &self.candidates {
            Candidates::Sha1(keys) => SHA_1.verify(&last.proof, keys, &auth_message),
            Candidates::Sha256(keys) => SHA_256.verify(&last.proof, keys, &auth_message),
        }
    }
}

/// A proof that is one.
#[derive(Debug, PartialEq, Eq)]
struct Verified {
    /// The server's own, in base64.
    signature: String,
    /// It is of the first of the candidates.
    by_first: bool,
}

impl<const N: usize> Hash<N> {
    /// RFC 5802 §3: ClientKey = ClientProof XOR HMAC(StoredKey, AuthMessage), and H(ClientKey) must be StoredKey.
    fn verify(&self, proof: &[u8], candidates: &[Keys<N>], auth_message: &str) -> Result<Option<Verified>, ScramError> {
        let proof: &[u8; N] = proof.try_into().map_err(|_| ScramError::ProofLength)?;
        let (mut proven, mut by_first) = (Choice::from(0), Choice::from(0));
        let mut server_key = [0_u8; N];
        for (at, keys) in candidates.iter().enumerate() {
            let mut client_key = self.mac(&keys.stored, auth_message.as_bytes());
            client_key.iter_mut().zip(proof).for_each(|(byte, proof)| *byte ^= proof);
            let matches = self.hash(&client_key).ct_eq(&keys.stored);
            for (chosen, byte) in server_key.iter_mut().zip(&keys.server) {
                chosen.conditional_assign(byte, matches);
            }
            proven |= matches;
            by_first |= matches & Choice::from(u8::from(at == 0));
        }
        let signature = self.mac(&server_key, auth_message.as_bytes());
        let verified = || Verified { signature: payload::encode(&signature), by_first: by_first.into() };
        Ok(bool::from(proven).then(verified))
    }
}

#[cfg(test)]
mod tests;
