//! What names and passwords of users may be, whoever sets them. Server notes §8.2.
//!
//! Each rule answers with all that is wrong, in words that follow the name of the field.

use std::borrow::Cow;

use zeroize::Zeroizing;

use crate::sasl::credentials::prepare_password;

/// Something that is wrong with a field.
pub type Fault = Cow<'static, str>;

/// Characters of a login.
const LOGIN_CHARS_MIN: usize = 3;
const LOGIN_CHARS_MAX: usize = 50;
/// Characters of a password.
const PASSWORD_CHARS_MIN: usize = 8;
const PASSWORD_CHARS_MAX: usize = 40;
/// Bytes of an address. RFC 5321 §4.5.3.1.3 leaves 254 inside the angle brackets.
const EMAIL_BYTES_MAX: usize = 254;
/// Characters of a name, a URL, an id of another service.
pub const LINE_CHARS_MAX: usize = 255;

/// A new password, prepared; or all that is wrong with it.
pub fn password(text: &str) -> Result<Zeroizing<String>, Vec<Fault>> {
    if text.is_empty() {
        return Err(vec!["can't be blank".into()]);
    }
    let mut faults = length(text, PASSWORD_CHARS_MIN, PASSWORD_CHARS_MAX);
    // The same characters that SASL takes: letters of any script among them, control characters not.
    match prepare_password(text) {
        Ok(prepared) if faults.is_empty() => return Ok(prepared),
        Ok(_) => {}
        Err(_) => faults.push("should contain alphanumeric and punctuation characters only".into()),
    }
    Err(faults)
}

/// A login.
pub fn login(text: &str) -> Vec<Fault> {
    let mut faults = length(text.trim(), LOGIN_CHARS_MIN, LOGIN_CHARS_MAX);
    // Invisible characters make two logins that look the same.
    if text.chars().any(|c| c.is_control() || is_invisible(c)) {
        faults.push("should contain alphanumeric and punctuation characters only".into());
    }
    faults
}

/// Zero-width characters and those that turn the direction of writing.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// An e-mail address.
pub fn email(text: &str) -> Vec<Fault> {
    let text = text.trim();
    let plausible = text.rsplit_once('@').is_some_and(|(local, domain)| {
        let dotless_edge = !domain.starts_with(['.', '-']) && !domain.ends_with(['.', '-']);
        !local.is_empty() && !domain.is_empty() && dotless_edge && !domain.contains("..") && !local.contains('@')
    });
    let clean = !text
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || is_invisible(c) || matches!(c, '<' | '>' | ',' | ';'));
    if plausible && clean && text.len() <= EMAIL_BYTES_MAX {
        Vec::new()
    } else {
        vec!["should look like an email address".into()]
    }
}

/// A name, or whatever else is one line.
pub fn line(text: &str) -> Vec<Fault> {
    let mut faults = length(text, 1, LINE_CHARS_MAX);
    if text.chars().any(char::is_control) {
        faults.push("should not contain control characters".into());
    }
    faults
}

/// Between so many characters and so many.
pub fn length(text: &str, min: usize, max: usize) -> Vec<Fault> {
    let chars = text.chars().count();
    if chars < min {
        vec![format!("is too short (minimum is {min} characters)").into()]
    } else if chars > max {
        vec![format!("is too long (maximum is {max} characters)").into()]
    } else {
        Vec::new()
    }
}
