//! The resources of the API. To add one: its file, and its line in [`RESOURCES`].

use crate::route::Route;

pub mod account_settings;
pub mod admin;
pub mod dialogs;
pub mod login;
pub mod messages;
pub mod password;
pub mod session;
mod several;
pub mod users;

/// Every call there is. No two have the same method and path; a test sees to it.
pub static RESOURCES: &[&[Route]] = &[
    session::ROUTES,
    login::ROUTES,
    users::ROUTES,
    password::ROUTES,
    dialogs::ROUTES,
    messages::ROUTES,
    account_settings::ROUTES,
    admin::ROUTES,
];
