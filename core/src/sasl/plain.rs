//! PLAIN. RFC 4616.

use super::credentials::{PASSWORD_BYTES_MAX, PlainCheck};
use super::{AwaitPassword, Login, Names, SaslCondition, Step};
use crate::jid::JID_BYTES_MAX;

/// The only message: `[authzid] NUL authcid NUL passwd`, in UTF-8.
pub(super) fn first(message: &[u8], names: &Names) -> Result<Step, SaslCondition> {
    let text = str::from_utf8(message).map_err(|_| SaslCondition::MalformedRequest)?;
    let mut fields = text.split('\0');
    let (Some(authzid), Some(authcid), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(SaslCondition::MalformedRequest);
    };
    // RFC 4616 §2: both of these have at least one character.
    if authcid.is_empty() || password.is_empty() {
        return Err(SaslCondition::MalformedRequest);
    }
    if authcid.len() > JID_BYTES_MAX || authzid.len() > JID_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX {
        return Err(SaslCondition::MalformedRequest);
    }
    let login = Login::new(authcid, authzid, names)?;
    let check = PlainCheck::new(password).map_err(|_| SaslCondition::NotAuthorized)?;
    Ok(Step::NeedPasswordCheck { check, next: AwaitPassword { login } })
}
