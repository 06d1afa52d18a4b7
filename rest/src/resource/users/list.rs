//! Lists of and searches for users. Server notes §8.3.
//!
//! A list reads every member of the app once, [`ROWS_PER_READ`] at a time, and filters in memory: its time grows with the app, its
//! memory does not. Reading a record and folding its name measured 0.85 µs in a release build, so a hundred thousand users
//! cost a shard a tenth of a second, in slices of half a millisecond between which its other calls run; reading the rows
//! comes on top and is not the shard's. What is kept meanwhile is the numbers of one page; or, when it is sorted, the sort
//! keys of everything up to the end of that page, which [`SORTED_ROWS_MAX`] bounds.

use proto::jid::user::{AppId, UserId};
use proto::model::directory::members;
use proto::model::profile::Profile;
use proto::row::Reads;
use serde::Serialize;

use super::Wrapped;
use super::filter::{Filter, Key, Order, filters, folded};
use crate::flow::{Flow, Moment, done, read};
use crate::http::{Response, Status};
use crate::params::Params;
use crate::problem::Problem;
use crate::route::Call;

/// Rows taken in one step: under a millisecond of work.
const ROWS_PER_READ: usize = 500;
/// How far into a sorted list a page may lie.
const SORTED_ROWS_MAX: usize = 100_000;
const PER_PAGE_DEFAULT: usize = 10;
const PER_PAGE_MAX: usize = 100;
/// Words of one search.
const WORDS_MAX: usize = 50;

/// One page on the wire.
#[derive(Serialize)]
struct Page<'a> {
    current_page: usize,
    per_page: usize,
    total_entries: usize,
    items: Vec<Wrapped<'a>>,
}

pub(super) fn all(call: Call, _: &mut Moment<'_>) -> Flow {
    Listing::begin(&call, Box::new(|_| true), WhenEmpty::Page)?.go_on(UserId(0))
}

/// Every word somewhere in the name, in any case.
pub(super) fn by_full_name(call: Call, _: &mut Moment<'_>) -> Flow {
    let text = call.params.text("full_name").unwrap_or_default();
    let words: Vec<String> = folded(&text).split_whitespace().take(WORDS_MAX).map(str::to_owned).collect();
    if words.is_empty() {
        return Err(Problem::field("full_name", "can't be blank").into());
    }
    let matches = move |user: &Profile| {
        let name = user.fields.full_name.as_deref().map(folded).unwrap_or_default();
        words.iter().all(|word| name.contains(word.as_str()))
    };
    Listing::begin(&call, Box::new(matches), WhenEmpty::NotFound)?.go_on(UserId(0))
}

/// Any of the tags, in any case.
pub(super) fn by_tags(call: Call, _: &mut Moment<'_>) -> Flow {
    let tags: Vec<String> = call.params.words("tags").iter().take(WORDS_MAX).map(|tag| folded(tag)).collect();
    if tags.is_empty() {
        return Err(Problem::field("tags", "can't be blank").into());
    }
    let matches = move |user: &Profile| user.fields.tags.iter().any(|tag| tags.contains(&folded(tag)));
    Listing::begin(&call, Box::new(matches), WhenEmpty::NotFound)?.go_on(UserId(0))
}

/// What no match at all is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenEmpty {
    Page,
    NotFound,
}

/// A list that is being made.
struct Listing {
    app: AppId,
    matches: Box<dyn Fn(&Profile) -> bool>,
    filters: Vec<Filter>,
    order: Option<Order>,
    when_empty: WhenEmpty,
    page: usize,
    per_page: usize,
    /// Matches so far.
    total: usize,
    /// Unsorted: the page's users. Sorted: the first users in that order, up to the end of the page.
    picked: Vec<(Key, UserId)>,
}

impl Listing {
    fn begin(call: &Call, matches: Box<dyn Fn(&Profile) -> bool>, when_empty: WhenEmpty) -> Result<Listing, Problem> {
        let params = &call.params;
        let session = call.session.as_ref().ok_or_else(Problem::token_required)?;
        let listing = Listing {
            app: session.token.app(),
            matches,
            filters: filters(params)?,
            order: Order::of(params)?,
            when_empty,
            // Page 0 is the first; who asks for none or for nonsense gets the default.
            page: positive(params, "page").unwrap_or(1),
            per_page: positive(params, "per_page").unwrap_or(PER_PAGE_DEFAULT).min(PER_PAGE_MAX),
            total: 0,
            picked: Vec::new(),
        };
        if listing.order.is_some() && listing.end() > SORTED_ROWS_MAX {
            let text = format!("A sorted list ends after {SORTED_ROWS_MAX} users; filter it, or leave the order out");
            return Err(Problem::base(Status::UnprocessableEntity, text));
        }
        Ok(listing)
    }

    fn offset(&self) -> usize {
        (self.page - 1).saturating_mul(self.per_page)
    }

    /// The position after the page's last user.
    fn end(&self) -> usize {
        self.offset().saturating_add(self.per_page)
    }

    /// Reads on after `last`.
    fn go_on(mut self, last: UserId) -> Flow {
        read(members::read_after(self.app, last, ROWS_PER_READ), move |rows, _| {
            let page = rows.page();
            let full = page.len() >= ROWS_PER_READ;
            let mut last = last;
            for (_, row) in page {
                let user = Profile::read(&row)?;
                last = user.id;
                self.consider(&user);
            }
            if full { self.go_on(last) } else { self.finish() }
        })
    }

    fn consider(&mut self, user: &Profile) {
        if !(self.matches)(user) || !self.filters.iter().all(|filter| filter.holds(user)) {
            return;
        }
        match self.order {
            None if (self.offset()..self.end()).contains(&self.total) => self.picked.push((Key::None, user.id)),
            None => {}
            Some(order) => {
                self.picked.push((order.key(user), user.id));
                // Sorted each time it has doubled: the cost for each user stays the same.
                if self.picked.len() >= 2 * self.end() {
                    self.keep_first(order);
                }
            }
        }
        self.total += 1;
    }

    fn keep_first(&mut self, order: Order) {
        self.picked.sort_unstable_by(|(a, x), (b, y)| order.compare(a, b).then(x.cmp(y)));
        self.picked.truncate(self.end());
    }

    /// Reads the page's users once more, now that they are known.
    fn finish(mut self) -> Flow {
        if self.total == 0 && self.when_empty == WhenEmpty::NotFound {
            return Err(Problem::user_not_found().into());
        }
        if let Some(order) = self.order {
            self.keep_first(order);
            self.picked.drain(..self.offset().min(self.picked.len()));
        }
        let app = self.app;
        let reads = self
            .picked
            .iter()
            .fold(Reads::none(), |reads, (_, user)| reads.and_get(&members::MEMBERS, members::key(app, *user)));
        read(reads, move |rows, _| {
            let mut users = Vec::with_capacity(self.picked.len());
            for _ in &self.picked {
                // Somebody may have left since.
                users.extend(members::found(rows)?);
            }
            let page = Page {
                current_page: self.page,
                per_page: self.per_page,
                total_entries: self.total,
                items: users.iter().map(|user| Wrapped::of(app, user)).collect(),
            };
            done(Response::json(Status::Ok, &page))
        })
    }
}

fn positive(params: &Params, name: &str) -> Option<usize> {
    params.int(name).and_then(|number| usize::try_from(number).ok()).filter(|&number| number > 0)
}
