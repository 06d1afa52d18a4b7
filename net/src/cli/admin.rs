//! `rookery app` and `rookery user`: what the operator asks of the running server.

use clap::Subcommand;
use serde_json::{Value, json};

use super::ask::Running;
use super::say;
use crate::config::Config;

/// Apps.
#[derive(Debug, Subcommand)]
pub(super) enum App {
    /// Make an app and show its keys.
    Create {
        /// What to call it.
        name: String,
        /// Show it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show all apps with their keys.
    List {
        /// Show them as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Users.
#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Make a user of an app.
    Create {
        /// The app's id.
        #[arg(long)]
        app: u32,
        /// What the user logs in with over REST.
        #[arg(long)]
        login: String,
        /// At least eight characters.
        #[arg(long)]
        password: String,
        /// The name that others see.
        #[arg(long)]
        full_name: Option<String>,
        /// Show it as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl App {
    pub fn execute(self, config: &Config) -> Result<(), String> {
        let server = Running::find(config)?;
        match self {
            App::Create { name, json } => {
                let answer = server.ask("POST", "/admin/apps", &json!({ "name": name }))?;
                let app = &answer["app"];
                say(&if json { pretty(app) } else { describe(app) });
            }
            App::List { json } => {
                let answer = server.ask("GET", "/admin/apps", &Value::Null)?;
                let apps: Vec<&Value> =
                    answer["items"].as_array().into_iter().flatten().map(|item| &item["app"]).collect();
                if json {
                    say(&pretty(&json!(apps)));
                } else {
                    let all: Vec<String> = apps.into_iter().map(describe).collect();
                    say(&all.join("\n\n"));
                }
            }
        }
        Ok(())
    }
}

impl User {
    pub fn execute(self, config: &Config) -> Result<(), String> {
        let User::Create { app, login, password, full_name, json } = self;
        let server = Running::find(config)?;
        let user = create_user(&server, app, &login, &password, full_name.as_deref())?;
        say(&if json {
            pretty(&user)
        } else {
            format!("user {}, who chats as {}-{app}@{}", user["id"], user["id"], server.run.domain)
        });
        Ok(())
    }
}

/// Makes a user; answers with what the API says of them.
pub(super) fn create_user(
    server: &Running,
    app: u32,
    login: &str,
    password: &str,
    full_name: Option<&str>,
) -> Result<Value, String> {
    let mut user = json!({ "login": login, "password": password });
    if let Some(name) = full_name {
        user["full_name"] = json!(name);
    }
    let mut answer = server.ask("POST", &format!("/admin/apps/{app}/users"), &json!({ "user": user }))?;
    Ok(answer["user"].take())
}

fn describe(app: &Value) -> String {
    let text = |key: &str| app[key].as_str().unwrap_or_default();
    format!(
        "app id       {}\nname         {}\nauth key     {}\nauth secret  {}\naccount key  {}",
        app["id"],
        text("name"),
        text("auth_key"),
        text("auth_secret"),
        text("account_key")
    )
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("what was parsed can be written")
}
