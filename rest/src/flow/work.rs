//! What is too expensive for an executor: PBKDF2, a millisecond or two of CPU each time.

use std::fmt;

use proto::model::token::Token;
use proto::sasl::credentials::{Credentials, ITERATIONS, SALT_BYTES, TokenRecord};
use zeroize::Zeroizing;

use super::{Flow, Moment, Step, mismatch};

/// A prepared password.
pub type Password = Zeroizing<String>;

/// Something to compute on a thread that may block.
#[derive(Clone)]
pub enum Work {
    /// What is stored for a password.
    Derive {
        /// The password, prepared.
        password: Password,
        /// Drawn by the caller, or the one that the user's tokens are derived with.
        salt: [u8; SALT_BYTES],
    },
    /// Whether a password is right, and if so what is stored for a token.
    SignIn {
        /// The password, prepared.
        password: Password,
        /// What is stored for the user, or a decoy.
        credentials: Box<Credentials>,
        /// The token of the session that becomes the user's.
        token: Token,
    },
    /// Whether a password is right, and if so what is stored for the new one.
    Change {
        /// The password that the user gave as the present one, prepared.
        old: Password,
        /// The new one, prepared.
        new: Password,
        /// What is stored for the user.
        credentials: Box<Credentials>,
    },
}

/// What came of [`Work`].
#[derive(Clone, Debug)]
pub enum Worked {
    /// Of [`Work::Derive`].
    Derived(Credentials),
    /// Of [`Work::SignIn`]; nothing if the password is wrong.
    SignedIn(Option<TokenRecord>),
    /// Of [`Work::Change`]; nothing if the password is wrong.
    Changed(Option<Credentials>),
}

impl Work {
    /// Does it. Blocks for milliseconds.
    pub fn run(self) -> Worked {
        match self {
            Work::Derive { password, salt } => Worked::Derived(Credentials::new(&password, salt, ITERATIONS)),
            Work::SignIn { password, credentials, token } => Worked::SignedIn(
                credentials.verify_password(&password).then(|| credentials.token_record(token.as_str())),
            ),
            Work::Change { old, new, credentials } => Worked::Changed(
                credentials.verify_password(&old).then(|| Credentials::new(&new, *credentials.salt(), ITERATIONS)),
            ),
        }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Work::Derive { .. } => "Work::Derive(hidden)",
            Work::SignIn { .. } => "Work::SignIn(hidden)",
            Work::Change { .. } => "Work::Change(hidden)",
        })
    }
}

/// Runs [`Work::Derive`].
pub fn derive(
    password: Password,
    salt: [u8; SALT_BYTES],
    then: impl FnOnce(Credentials, &mut Moment<'_>) -> Flow + 'static,
) -> Flow {
    let work = Work::Derive { password, salt };
    Ok(Step::Compute(
        work,
        Box::new(|worked, moment| match worked {
            Worked::Derived(credentials) => then(credentials, moment).into(),
            Worked::SignedIn(_) | Worked::Changed(_) => mismatch(),
        }),
    ))
}

/// Runs [`Work::SignIn`].
pub fn sign_in(
    password: Password,
    credentials: Credentials,
    token: Token,
    then: impl FnOnce(Option<TokenRecord>, &mut Moment<'_>) -> Flow + 'static,
) -> Flow {
    let work = Work::SignIn { password, credentials: Box::new(credentials), token };
    Ok(Step::Compute(
        work,
        Box::new(|worked, moment| match worked {
            Worked::SignedIn(record) => then(record, moment).into(),
            Worked::Derived(_) | Worked::Changed(_) => mismatch(),
        }),
    ))
}

/// Runs [`Work::Change`].
pub fn change(
    old: Password,
    new: Password,
    credentials: Credentials,
    then: impl FnOnce(Option<Credentials>, &mut Moment<'_>) -> Flow + 'static,
) -> Flow {
    let work = Work::Change { old, new, credentials: Box::new(credentials) };
    Ok(Step::Compute(
        work,
        Box::new(|worked, moment| match worked {
            Worked::Changed(credentials) => then(credentials, moment).into(),
            Worked::Derived(_) | Worked::SignedIn(_) => mismatch(),
        }),
    ))
}
