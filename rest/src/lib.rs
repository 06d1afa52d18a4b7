//! HTTP bytes and API meaning: requests in, responses and effects out.
//!
//! Like `proto`, this crate does no I/O and asks for no clock. The caller feeds it what a socket gave, polls its deadlines and
//! writes what it appends.
//!
//! The route of a request through it: [`http::Connection`] cuts the bytes into one [`http::Request`] at a time, [`route::start`]
//! finds who answers, makes one tree of query and body whatever their form ([`params::Params`]) and looks the session up, a
//! [`resource`] answers through a chain of [`flow::Step`]s with an [`http::Response`] or a [`problem::Problem`], and
//! [`http::Connection::respond`] writes that.
//!
//! *Architecture invariant:* only `problem` knows what an error looks like on the wire, and only `http` writes status lines and
//! headers.

pub mod filter;
pub mod flow;
pub mod http;
pub mod params;
pub mod problem;
pub mod resource;
pub mod route;
pub mod settings;
pub mod upload;
