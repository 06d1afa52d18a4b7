//! What the operator has set for the API, as handlers see it; replaced as a whole on reload.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// What the API says of itself, and whom it lets administrate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where clients find the API, with scheme and without a slash at the end: `https://chat.example.com:8443`.
    pub api_endpoint: String,
    /// Where clients find the chat: a bare domain.
    pub chat_endpoint: String,
    /// Where clients find the TURN server: a bare domain.
    pub turnserver_endpoint: String,
    /// What older clients are told of the place of files.
    pub s3_bucket_name: String,
    /// What the command line proves itself with; without it there is no administration over HTTP.
    pub admin_token: Option<AdminToken>,
}

/// A secret between the server and its command line. It does not show in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

impl AdminToken {
    /// A token; an empty one would let everybody in and is none.
    pub fn new(token: String) -> Option<AdminToken> {
        (!token.is_empty()).then_some(AdminToken(token))
    }

    /// Compares in constant time.
    pub fn is(&self, given: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), given.as_bytes()).is_ok()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(hidden)")
    }
}
