//! XEP-0484: Fast Authentication Streamlining Tokens. A client that has logged in once logs in again with a token, in one round trip.
//!
//! How a token is made and shown is [`crate::sasl::hashed_token`]'s; here is which tokens there are. Each installation of a client
//! has two places, as §6.1 suggests: the token it uses and the one that is to take its place. The new one takes it when it is used,
//! so a client that never heard of it goes on with the old one.
//!
//! A token is used by one mechanism only, ends after [`FAST_TOKEN_TIME_MAX`], is replaced when it is used after
//! [`FAST_TOKEN_ROTATION_TIME`], and goes with the password that it was made for. TLS early data is not taken, so `count` need not
//! be there (§3.4); where it is, a number that was there before lets nobody in.
//!
//! What the account writes is on disk before the client hears of it: it has no other place for its token.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Extension, Spec};
use crate::limits::{FAST_CLIENTS_MAX, FAST_TOKEN_ROTATION_TIME, FAST_TOKEN_TIME_MAX, FAST_TOKENS_PER_CLIENT_MAX};
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};
use crate::sasl::{ClientId, HashedToken, Seed, TokenKept};
use crate::stream::{Entry, Shown};
use crate::time::Timestamp;

/// The stream announces it, as what it offers depends on TLS.
pub(super) static FAST: Extension = Extension {
    name: "Fast Authentication Streamlining Tokens",
    spec: Spec::Xep(484, "0.2.0"),
    tables: &[&TOKENS],
    ..Extension::NONE
};

/// account, client → [`Tokens`].
static TOKENS: Table = Table::new("fast_tokens");

const VERSION: u8 = 1;

/// The tokens of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tokens {
    /// The one that was used last.
    current: Option<Token>,
    /// One that has not been used.
    new: Option<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    seed: Seed,
    mechanism: HashedToken,
    expires_at: Timestamp,
    /// The highest count that came with it.
    count: u32,
}

const _: () = assert!(FAST_TOKENS_PER_CLIENT_MAX == 2);

/// The token that was shown is not there any more, or was shown before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// The rows for [`login_tokens`]; any shard may look.
pub fn login_reads(account: AccountId, client: ClientId) -> Reads {
    Reads::get(&TOKENS, key(account, client))
}

/// A client's tokens, for SASL.
pub fn login_tokens(now: Timestamp, mut rows: Rows) -> Result<Vec<TokenKept>, Unreadable> {
    let tokens: Tokens = rows.decoded(VERSION)?.unwrap_or_default();
    let kept =
        |token: Token| TokenKept { seed: token.seed, mechanism: token.mechanism, expired: token.expires_at <= now };
    Ok(tokens.new.into_iter().chain(tokens.current).map(kept).collect())
}

/// The rows for [`enter`].
pub(crate) fn reads(entry: &Entry, account: AccountId) -> Reads {
    if entry.shown.is_none() && entry.wanted.is_none() {
        return Reads::none();
    }
    Reads::scan(&TOKENS, all(account), FAST_CLIENTS_MAX + 1)
}

/// Uses the token that was shown, if one was, and makes the one that is wanted or due. Returns until when the fresh one is good, if
/// it is to be used. What changes is added to `batch`.
pub(crate) fn enter(
    account: AccountId,
    entry: &Entry,
    rows: &mut Rows,
    now: Timestamp,
    batch: &mut Batch,
) -> Result<Result<Option<Timestamp>, Refused>, Unreadable> {
    if reads(entry, account).is_empty() {
        return Ok(Ok(None));
    }
    let Some(client) = entry.client else { return Ok(Err(Refused)) };
    let own = key(account, client);
    let mut others = Vec::new();
    let mut stored = None;
    for (key, value) in rows.page() {
        let tokens: Tokens = row::decode(VERSION, &value)?;
        if key == own {
            stored = Some(tokens);
        } else {
            others.push((key, tokens));
        }
    }
    let mut tokens = stored.unwrap_or_default();
    let mut wanted = entry.wanted;
    if let Some(shown) = entry.shown {
        let Some(used) = tokens.used(shown, now) else { return Ok(Err(Refused)) };
        let left = used.expires_at.since(now);
        if shown.invalidate {
            tokens = Tokens::default();
        } else if left + FAST_TOKEN_ROTATION_TIME < FAST_TOKEN_TIME_MAX {
            wanted = wanted.or(Some(used.mechanism));
        }
    }
    let until = wanted.map(|mechanism| {
        let expires_at = now.after(FAST_TOKEN_TIME_MAX);
        tokens.new = Some(Token { seed: entry.fresh, mechanism, expires_at, count: 0 });
        make_room(others, now, batch);
        expires_at
    });
    match tokens {
        same if Some(same) == stored => {}
        Tokens { current: None, new: None } => batch.delete(&TOKENS, own),
        changed => batch.put(&TOKENS, own, encoded(&changed)),
    }
    Ok(Ok(until))
}

/// Removes the tokens of other clients that are no good any more, and as many more as are in the way of a new one.
fn make_room(mut others: Vec<(Key, Tokens)>, now: Timestamp, batch: &mut Batch) {
    others.sort_by_key(|(_, tokens)| tokens.end());
    let surplus = (others.len() + 1).saturating_sub(FAST_CLIENTS_MAX);
    for (at, (key, tokens)) in others.into_iter().enumerate() {
        if at < surplus || tokens.end() <= Some(now) {
            batch.delete(&TOKENS, key);
        }
    }
}

/// The password is another one: what was opened with the old one is closed.
pub(crate) fn forget_all(account: AccountId, batch: &mut Batch) {
    batch.delete_range(&TOKENS, all(account));
}

impl Tokens {
    /// Takes note that a token was used; `None` when there is no such token, or it was used with this count before.
    fn used(&mut self, shown: Shown, now: Timestamp) -> Option<Token> {
        let is_shown = |token: &Token| token.seed.matches(&shown.seed) && token.expires_at > now;
        let is_new = self.new.as_ref().is_some_and(is_shown);
        let mut token = if is_new { self.new? } else { self.current.filter(is_shown)? };
        if let Some(count) = shown.count {
            if count <= token.count {
                return None;
            }
            token.count = count;
        }
        self.current = Some(token);
        if is_new {
            self.new = None;
        }
        Some(token)
    }

    /// When the last of them ends.
    fn end(&self) -> Option<Timestamp> {
        self.current.into_iter().chain(self.new).map(|token| token.expires_at).max()
    }
}

fn encoded(tokens: &Tokens) -> Bytes {
    row::encode(VERSION, tokens)
}

fn all(account: AccountId) -> row::Range {
    Key::of(&Owner::Account(account)).all_below()
}

fn key(account: AccountId, client: ClientId) -> Key {
    Key::of(&Owner::Account(account)).bytes(client.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::jid::user::{AppId, UserId};
    use crate::row::{Change, Found};

    const ROMEO: AccountId = AccountId { app: AppId(1), user: UserId(7) };
    const NOW: Timestamp = Timestamp::from_secs(1_458_750_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// The rows of one account.
    #[derive(Default)]
    struct Shelf {
        rows: BTreeMap<Key, Bytes>,
        writes: usize,
        last: u8,
    }

    fn client(n: u8) -> ClientId {
        ClientId::unnamed([n; 16])
    }

    fn entry(n: u8) -> Entry {
        Entry { secret_version: None, client: Some(client(n)), shown: None, wanted: None, fresh: seed(0), bind: None }
    }

    fn seed(n: u8) -> Seed {
        Seed::new([n; 16])
    }

    fn shown(n: u8) -> Shown {
        Shown { seed: seed(n), count: None, invalidate: false }
    }

    impl Shelf {
        fn enter(&mut self, entry: &Entry, now: Timestamp) -> Result<Option<Timestamp>, Refused> {
            let page = self.rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            let mut batch = Batch::default();
            let result = enter(ROMEO, entry, &mut Rows::new(vec![Found::Page(page)]), now, &mut batch).unwrap();
            assert!(result.is_ok() || batch.is_empty(), "a refusal changes nothing");
            self.writes += usize::from(!batch.is_empty());
            for change in batch.0 {
                match change {
                    Change::Put(_, key, value) => drop(self.rows.insert(key, value)),
                    Change::Delete(_, key) => drop(self.rows.remove(&key)),
                    Change::DeleteRange(..) => panic!("not here"),
                }
            }
            result
        }

        /// Gives client `n` a token, and returns the number of its seed.
        fn token_for(&mut self, n: u8, now: Timestamp) -> u8 {
            self.last += 1;
            let wanted = Entry { wanted: Some(HashedToken::Unbound), fresh: seed(self.last), ..entry(n) };
            assert_eq!(self.enter(&wanted, now), Ok(Some(now.after(FAST_TOKEN_TIME_MAX))));
            self.last
        }

        fn shows(&mut self, n: u8, shown: Shown, now: Timestamp) -> Result<Option<Timestamp>, Refused> {
            self.last += 1;
            self.enter(&Entry { shown: Some(shown), fresh: seed(self.last), ..entry(n) }, now)
        }

        fn kept(&self, n: u8, now: Timestamp) -> Vec<TokenKept> {
            let row = self.rows.get(&key(ROMEO, client(n))).cloned();
            login_tokens(now, Rows::new(vec![Found::Row(row)])).unwrap()
        }
    }

    #[test]
    fn a_token_is_good_for_its_client_until_it_ends() {
        let mut shelf = Shelf::default();
        let token = shelf.token_for(1, NOW);
        assert_eq!(
            shelf.kept(1, NOW),
            [TokenKept { seed: seed(token), mechanism: HashedToken::Unbound, expired: false }]
        );
        assert_eq!(shelf.shows(1, shown(token), NOW), Ok(None));
        assert_eq!(shelf.shows(1, shown(token), NOW), Ok(None));
        assert_eq!(shelf.writes, 2, "using it again writes nothing");
        assert_eq!(shelf.shows(2, shown(token), NOW), Err(Refused), "another client");
        assert_eq!(shelf.shows(1, shown(99), NOW), Err(Refused), "no token");
        let end = NOW.after(FAST_TOKEN_TIME_MAX);
        assert!(shelf.kept(1, end)[0].expired);
        assert_eq!(shelf.shows(1, shown(token), end), Err(Refused));
        assert_eq!(shelf.enter(&Entry { client: None, shown: Some(shown(token)), ..entry(1) }, NOW), Err(Refused));
    }

    // §3.5
    #[test]
    fn a_new_token_takes_the_place_of_the_old_one_when_it_is_used() {
        let mut shelf = Shelf::default();
        let old = shelf.token_for(1, NOW);
        let later = NOW.after(DAY + Duration::from_secs(1));
        assert_eq!(shelf.shows(1, shown(old), NOW.after(DAY)), Ok(None), "not yet");
        // Whoever never got the new one goes on with the old one, and is given another.
        assert_eq!(shelf.shows(1, shown(old), later), Ok(Some(later.after(FAST_TOKEN_TIME_MAX))));
        let lost = shelf.last;
        assert_eq!(shelf.shows(1, shown(old), later), Ok(Some(later.after(FAST_TOKEN_TIME_MAX))));
        let new = shelf.last;
        assert_eq!(shelf.shows(1, shown(lost), later), Err(Refused), "it was never used and is replaced");
        assert_eq!(shelf.shows(1, shown(new), later), Ok(None));
        assert_eq!(shelf.shows(1, shown(old), later), Err(Refused));
        assert_eq!(shelf.rows.len(), 1);
    }

    #[test]
    fn a_count_that_was_there_before_lets_nobody_in() {
        let mut shelf = Shelf::default();
        let token = shelf.token_for(1, NOW);
        let counted = |count| Shown { count: Some(count), ..shown(token) };
        for (count, result) in
            [(5, Ok(None)), (5, Err(Refused)), (4, Err(Refused)), (6, Ok(None)), (u32::MAX, Ok(None))]
        {
            assert_eq!(shelf.shows(1, counted(count), NOW), result, "{count}");
        }
        assert_eq!(shelf.shows(1, shown(token), NOW), Ok(None), "without early data there need not be one");
        assert_eq!(shelf.shows(1, counted(7), NOW), Err(Refused), "which does not begin the count anew");
    }

    // §3.6
    #[test]
    fn a_client_gives_its_token_back() {
        let mut shelf = Shelf::default();
        let old = shelf.token_for(1, NOW);
        let later = NOW.after(2 * DAY);
        shelf.shows(1, shown(old), later).unwrap();
        let new = shelf.last;
        let last = Shown { invalidate: true, ..shown(old) };
        assert_eq!(shelf.shows(1, last, later), Ok(None), "no new one, though it is due");
        assert!(shelf.rows.is_empty());
        for token in [old, new] {
            assert_eq!(shelf.shows(1, shown(token), later), Err(Refused));
        }
        let token = shelf.token_for(1, NOW);
        let exchanged = Entry {
            shown: Some(Shown { invalidate: true, ..shown(token) }),
            wanted: Some(HashedToken::Exporter),
            fresh: seed(77),
            ..entry(1)
        };
        assert!(shelf.enter(&exchanged, NOW).unwrap().is_some());
        let expected = TokenKept { seed: seed(77), mechanism: HashedToken::Exporter, expired: false };
        assert_eq!(shelf.kept(1, NOW), [expected]);
    }

    #[test]
    fn a_user_has_tokens_for_so_many_clients() {
        let mut shelf = Shelf::default();
        let first = shelf.token_for(0, NOW.after(DAY));
        for n in 1..=FAST_CLIENTS_MAX as u8 {
            shelf.token_for(n, NOW);
        }
        assert_eq!(shelf.rows.len(), FAST_CLIENTS_MAX);
        assert_eq!(shelf.shows(0, shown(first), NOW), Ok(None), "the ones that end first go first");
        shelf.token_for(200, NOW.after(FAST_TOKEN_TIME_MAX));
        assert_eq!(shelf.rows.len(), 2, "what has ended goes too");
    }

    #[test]
    fn rows_of_other_formats_are_told_apart() {
        let mut shelf = Shelf::default();
        shelf.token_for(1, NOW);
        let row = shelf.rows.values().next().unwrap();
        for end in 0..row.len() {
            assert!(login_tokens(NOW, Rows::new(vec![Found::Row(Some(row.slice(..end)))])).is_err(), "{end}");
        }
        assert!(!format!("{:?}", shelf.kept(1, NOW)).contains("1, 1"), "seeds do not show");
    }
}
