//! Rules that can be broken on purpose, so that tests can be tested: whoever looks for broken rules must find these.
//!
//! Only a build with the feature `canary` can break one, by `break_rule`. In any other build [`is_broken`] is false when the
//! compiler sees it, and nothing is left of it.

/// A rule of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rule {
    /// What follows a write happens once the write is on disk.
    WriteBeforeWord = 1,
    /// What a session was given is not given to it again.
    GivenOnce,
    /// What privacy lists forbid does not come in.
    PrivacyLists,
    /// A message of an id that its sender has used is the same message.
    SameIdSameMessage,
    /// Who is not in a dialog is not in its room.
    MembersOnly,
    /// Apps know nothing of each other.
    AppsApart,
    /// A message is acknowledged when it is in a row, or with a client.
    AckedIsSafe,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 7] = [
        Rule::WriteBeforeWord,
        Rule::GivenOnce,
        Rule::PrivacyLists,
        Rule::SameIdSameMessage,
        Rule::MembersOnly,
        Rule::AppsApart,
        Rule::AckedIsSafe,
    ];
}

#[cfg(feature = "canary")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Rule;

    static BROKEN: AtomicU8 = AtomicU8::new(0);

    /// Breaks this rule in the whole process, and no other; or none any more.
    pub fn break_rule(rule: Option<Rule>) {
        BROKEN.store(rule.map_or(0, |rule| rule as u8), Ordering::SeqCst);
    }

    /// Whether this rule is broken.
    #[inline]
    pub fn is_broken(rule: Rule) -> bool {
        BROKEN.load(Ordering::Relaxed) == rule as u8
    }
}

#[cfg(feature = "canary")]
pub use switch::{break_rule, is_broken};

/// Whether this rule is broken. None is.
#[cfg(not(feature = "canary"))]
#[inline(always)]
pub const fn is_broken(_: Rule) -> bool {
    false
}
