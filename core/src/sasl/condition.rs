//! What a SASL failure is called on the wire. RFC 6120 §6.5.

/// The child of `<failure xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaslCondition {
    /// The client gave up with `<abort/>`.
    Aborted,
    /// The account exists, the secret was right, and it may not be used.
    AccountDisabled,
    /// The secret was right once.
    CredentialsExpired,
    /// The mechanism needs TLS first.
    EncryptionRequired,
    /// Not base64.
    IncorrectEncoding,
    /// Somebody else's address was asked for.
    InvalidAuthzid,
    /// A mechanism that was not offered.
    InvalidMechanism,
    /// Base64 of something the mechanism does not say.
    MalformedRequest,
    /// The mechanism is weaker than this account allows.
    MechanismTooWeak,
    /// Wrong name or wrong secret: the two look the same.
    NotAuthorized,
    /// Our trouble, not the client's: try again.
    TemporaryAuthFailure,
}

impl SaslCondition {
    /// The element's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::AccountDisabled => "account-disabled",
            Self::CredentialsExpired => "credentials-expired",
            Self::EncryptionRequired => "encryption-required",
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::MalformedRequest => "malformed-request",
            Self::MechanismTooWeak => "mechanism-too-weak",
            Self::NotAuthorized => "not-authorized",
            Self::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }

    /// A sentence for people, to go into `<text/>`. It tells nothing about accounts.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Aborted => "The client ended the exchange",
            Self::AccountDisabled => "This account may not log in",
            Self::CredentialsExpired => "The password or token has expired",
            Self::EncryptionRequired => "This mechanism needs TLS: send <starttls/> first",
            Self::IncorrectEncoding => "The payload is not strict base64",
            Self::InvalidAuthzid => "Leave the authorization identity out, or give your own bare JID",
            Self::InvalidMechanism => "This mechanism was not offered",
            Self::MalformedRequest => "The payload is not what the mechanism says",
            Self::MechanismTooWeak => "This account needs a stronger mechanism",
            Self::NotAuthorized => "Wrong user name, password or token",
            Self::TemporaryAuthFailure => "The server cannot check this now, try again later",
        }
    }
}
