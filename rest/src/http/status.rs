//! The statuses this server answers with, and their reason phrases.

/// A status of RFC 9110 §15, RFC 6585 or RFC 4918.
///
/// There is no 204, and 304 for files alone: the SDKs take 200, 201 and 202 for success and everything else for an error
/// (quickblox-wire.md §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the reason phrases")]
pub enum Status {
    SwitchingProtocols,
    Ok,
    Created,
    Accepted,
    PartialContent,
    Found,
    NotModified,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    LengthRequired,
    PayloadTooLarge,
    UriTooLong,
    UnsupportedMediaType,
    RangeNotSatisfiable,
    ExpectationFailed,
    UnprocessableEntity,
    UpgradeRequired,
    TooManyRequests,
    HeadersTooLarge,
    InternalServerError,
    NotImplemented,
    ServiceUnavailable,
    VersionNotSupported,
    InsufficientStorage,
}

impl Status {
    /// `401 Unauthorized`: what follows the version in the status line, and the value of the header `Status`.
    ///
    /// The phrases are exact because SDKs up to 2.12 read them (quickblox-wire.md §2.2).
    pub const fn line(self) -> &'static str {
        match self {
            Status::SwitchingProtocols => "101 Switching Protocols",
            Status::Ok => "200 OK",
            Status::Created => "201 Created",
            Status::Accepted => "202 Accepted",
            Status::PartialContent => "206 Partial Content",
            Status::Found => "302 Found",
            Status::NotModified => "304 Not Modified",
            Status::BadRequest => "400 Bad Request",
            Status::Unauthorized => "401 Unauthorized",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::Conflict => "409 Conflict",
            Status::LengthRequired => "411 Length Required",
            Status::PayloadTooLarge => "413 Payload Too Large",
            Status::UriTooLong => "414 URI Too Long",
            Status::UnsupportedMediaType => "415 Unsupported Media Type",
            Status::RangeNotSatisfiable => "416 Range Not Satisfiable",
            Status::ExpectationFailed => "417 Expectation Failed",
            Status::UnprocessableEntity => "422 Unprocessable Entity",
            Status::UpgradeRequired => "426 Upgrade Required",
            Status::TooManyRequests => "429 Too Many Requests",
            Status::HeadersTooLarge => "431 Request Header Fields Too Large",
            Status::InternalServerError => "500 Internal Server Error",
            Status::NotImplemented => "501 Not Implemented",
            Status::ServiceUnavailable => "503 Service Unavailable",
            Status::VersionNotSupported => "505 HTTP Version Not Supported",
            Status::InsufficientStorage => "507 Insufficient Storage",
        }
    }

    /// The three digits as a number, for logs and counters.
    pub fn code(self) -> u16 {
        self.line().bytes().take(3).fold(0, |code, digit| code * 10 + u16::from(digit - b'0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_read_off_the_line() {
        assert_eq!(Status::Ok.code(), 200);
        assert_eq!(Status::VersionNotSupported.code(), 505);
    }
}
