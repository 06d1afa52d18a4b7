//! Programs that connect as parts of the server. XEP-0114

use std::collections::HashMap;

use proto::component::Settings;
use proto::jid::Domain;
use proto::jid::user::AppId;
use serde::{Deserialize, Serialize};

use super::Config;

/// A component that may connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentSettings {
    /// Its domain.
    pub domain: String,
    /// What it shows that it knows.
    pub secret: String,
    /// The apps whose users it serves; all of them when they are left out.
    pub apps: Option<Vec<u32>>,
}

impl ComponentSettings {
    /// The domain as addresses have it.
    fn normal_domain(&self) -> Option<String> {
        Domain::parse(&self.domain).ok().map(|domain| domain.to_bare().to_string())
    }

    /// The same as the protocol has it.
    pub fn component(&self) -> Settings {
        let domain = self.normal_domain().unwrap_or_else(|| self.domain.clone());
        let apps: Option<Vec<AppId>> = self.apps.as_ref().map(|apps| apps.iter().copied().map(AppId).collect());
        Settings::new(&domain, &self.secret, apps.as_deref())
    }
}

/// What is wrong with one of them: which, its key, and why.
pub(super) fn check(config: &Config) -> Result<(), (usize, &'static str, String)> {
    let muc_domain = config.muc_domain();
    let mut taken =
        HashMap::from([(normal(&config.domain), "the chat domain"), (normal(&muc_domain), "the domain of rooms")]);
    if let Some(domain) = config.upload_domain() {
        taken.insert(domain, "the domain of the service for files");
    }
    if let Some(link) = config.link_local.link(&config.domain) {
        taken.insert(link.domain.to_string(), "the domain of the bridge to the local network");
    }
    let mut ids = Vec::new();
    for (nth, component) in config.components.iter().enumerate() {
        let wrong = |key, message| Err((nth, key, message));
        let Some(domain) = component.normal_domain() else {
            return wrong("domain", format!("\"{}\" is no domain name", component.domain));
        };
        let id = component.component().id();
        if let Some(holder) = taken.insert(domain, "that of another component") {
            let message = format!(
                "\"{}\" is {holder}: a component needs one of its own, such as bot.{}",
                component.domain, config.domain
            );
            return wrong("domain", message);
        }
        if ids.contains(&id) {
            return wrong("domain", "two components cannot be told apart: choose another domain".to_owned());
        }
        ids.push(id);
        if component.secret.len() < SECRET_BYTES_MIN {
            let message =
                format!("a secret has at least {SECRET_BYTES_MIN} characters: `openssl rand -hex 20` makes one");
            return wrong("secret", message);
        }
        if component.apps.as_ref().is_some_and(Vec::is_empty) {
            return wrong("apps", "a component serves at least one app: leave this out for all of them".to_owned());
        }
    }
    Ok(())
}

fn normal(domain: &str) -> String {
    Domain::parse(domain).map_or_else(|_| domain.to_owned(), |domain| domain.to_bare().to_string())
}

/// Whoever can reach the port may try as often as he likes.
const SECRET_BYTES_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const FIRST: &str =
        "domain = \"chat.example\"\n[[components]]\ndomain = \"bot.example\"\nsecret = \"0123456789abcdef\"\n";

    fn parse(second: &str) -> Result<Config, String> {
        let text = format!("{FIRST}[[components]]\n{second}");
        Config::parse(&text, Path::new("x")).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn what_cannot_be_is_said_where_it_is() {
        let secret = "secret = \"0123456789abcdef\"";
        for (text, said) in [
            (format!("domain = \"a b\"\n{secret}"), "x:6: domain: \"a b\" is no domain name"),
            (
                format!("{secret}\ndomain = \"Chat.Example\""),
                "x:7: domain: \"Chat.Example\" is the chat domain: a component needs",
            ),
            (
                format!("domain = \"muc.chat.example\"\n{secret}"),
                "x:6: domain: \"muc.chat.example\" is the domain of rooms",
            ),
            (
                format!("domain = \"upload.chat.example\"\n{secret}"),
                "x:6: domain: \"upload.chat.example\" is the domain of the service for files",
            ),
            (
                format!("domain = \"bot.example.\"\n{secret}"),
                "x:6: domain: \"bot.example.\" is that of another component",
            ),
            (
                "domain = \"b.example\"\nsecret = \"short\"".to_owned(),
                "x:7: secret: a secret has at least 16 characters",
            ),
            (format!("domain = \"b.example\"\n{secret}\napps = []"), "x:8: apps: a component serves at least one app"),
            (format!("domain = \"b.example\"\n{secret}\napp = [1]"), "x:8: unknown key `app`, did you mean `apps`?"),
            ("domain = \"b.example\"".to_owned(), "x:5: missing field `secret`"),
        ] {
            let mistake = parse(&text).expect_err(&text);
            assert!(mistake.starts_with(said), "{mistake}");
        }
    }

    #[test]
    fn a_component_serves_the_apps_it_names_or_all() {
        let config = parse("domain = \"Two.Example\"\nsecret = \"fedcba9876543210\"\napps = [2, 3]").unwrap();
        let [one, two] = [0, 1].map(|nth: usize| config.components[nth].component());
        assert!(one.serves(AppId(1)) && !two.serves(AppId(1)) && two.serves(AppId(3)));
        assert_eq!(&*two.domain, "two.example");
        assert_eq!(config.listens().component, ["127.0.0.1:5347".parse().unwrap()]);
        assert!(Config::default().listens().component.is_empty());
        assert!(!format!("{one:?}").contains("0123456789"), "no log shows a secret");
    }
}
