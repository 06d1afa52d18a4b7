//! `rookery.toml`: every key has a default, and a mistake is reported where it is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::ext::{Included, Usual};
use proto::jid::{Domain, Jid};
use proto::limits::{Limits, PEP_NODE_BYTES_MAX};
use proto::owner::AccountId;
use serde::{Deserialize, Serialize};

mod component;
mod link_local;
mod mistake;
mod site;
mod upload;

pub use component::ComponentSettings;
pub use link_local::LinkLocal;
pub use mistake::Mistake;
pub use site::{ContactSettings, ServiceSettings};
pub use upload::Upload;

/// The file that is read when none is named and it is there.
pub const FILE: &str = "rookery.toml";

/// Everything an operator may set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The chat domain, the right side of every user's address.
    pub domain: String,
    /// The domain of rooms; `muc.` and the chat domain when it is left out.
    pub muc_domain: Option<String>,
    /// The addresses of users who may give the commands for administrators, each for the own app.
    pub admins: Vec<String>,
    /// Where clients are told to come back to a session that was cut, `host:port`.
    pub resume_location: Option<String>,
    /// Where everything that must survive a restart is kept.
    pub data_dir: PathBuf,
    /// Where clients connect.
    pub listen: Listen,
    /// How connections are secured.
    pub tls: Tls,
    /// How the work is divided.
    pub shards: Shards,
    /// What the API says of the server.
    pub api: Api,
    /// What is kept of messages that do not ask for it.
    pub archive: Archive,
    /// Files that users leave.
    pub upload: Upload,
    /// What push services are told.
    pub push: Push,
    /// The bridge to the local network.
    pub link_local: LinkLocal,
    /// How mail goes out.
    pub mail: Mail,
    /// What is logged.
    pub log: Log,
    /// What clients may do, and for how long.
    pub limits: LimitSettings,
    /// Whom users can turn to.
    pub contacts: ContactSettings,
    /// STUN and TURN servers for calls.
    pub services: Vec<ServiceSettings>,
    /// Programs that connect as parts of the server.
    pub components: Vec<ComponentSettings>,
}

/// Addresses to listen at; an empty list switches a kind off. `[::]` is every address of both kinds, port 0 any free one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// XMPP with STARTTLS.
    pub xmpp: Vec<SocketAddr>,
    /// XMPP over TLS from the first byte.
    pub xmpps: Vec<SocketAddr>,
    /// WebSocket over TLS, where official SDKs look for it.
    pub websocket: Vec<SocketAddr>,
    /// BOSH over TLS, where official SDKs look for it.
    pub bosh: Vec<SocketAddr>,
    /// The API over TLS; also serves WebSocket and BOSH.
    pub https: Vec<SocketAddr>,
    /// The same without TLS, for this machine or a proxy on it.
    pub http: Vec<SocketAddr>,
    /// Components, without TLS; only while there are any.
    pub component: Vec<SocketAddr>,
}

/// How connections are secured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file with the certificate and what lies between it and a root; one is made when it is left out.
    pub cert: Option<PathBuf>,
    /// PEM file with the certificate's key.
    pub key: Option<PathBuf>,
    /// Whether logging in needs TLS.
    pub required_before_auth: bool,
}

/// How the work is divided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shards {
    /// How many threads serve connections; one for each processor when it is left out.
    pub count: Option<u16>,
    /// Whether each of them stays on a processor of its own; when it is left out, with more than two processors.
    pub pin: Option<bool>,
}

/// What the API says of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// Where clients find the API, with scheme; made from the domain and the HTTPS port when it is left out.
    pub endpoint: Option<String>,
    /// Where clients find the TURN server: a bare domain; the chat domain when it is left out.
    pub turn_server: Option<String>,
    /// What older clients are told of the place of files.
    pub s3_bucket: String,
}

/// What is kept of messages that do not ask for it; those with `save_to_history` always are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Archive {
    /// Of messages between users who have set no preferences (XEP-0441): `never`, `always`, or with `roster` those of contacts.
    pub users: Usual,
    /// Whether rooms keep what is said in them.
    pub rooms: bool,
}

/// What push services (XEP-0357) are told of a message, besides that there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Push {
    /// Any of `sender` and `body`. It goes through the services of others.
    pub include: Vec<PushField>,
}

/// See [`Push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PushField {
    /// The sender's address.
    Sender,
    /// The beginning of the text.
    Body,
}

impl Push {
    /// The same as the extension has it.
    pub fn included(&self) -> Included {
        let has = |field| self.include.contains(&field);
        Included { sender: has(PushField::Sender), body: has(PushField::Body) }
    }
}

/// How mail goes out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mail {
    /// A program and its arguments, which gets each message on its standard input (`sendmail -t` is one). Without it messages
    /// are left as files in the data directory.
    pub command: Vec<String>,
    /// The sender's address; `rookery@` and the chat domain when it is left out.
    pub from: Option<String>,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives for parts of the server: `info,rookery=debug`.
    pub level: String,
    /// In which form.
    pub format: LogFormat,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// [`Limits`] in the units of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// One stanza after login.
    pub stanza_bytes_max: usize,
    /// One element before login.
    pub unauthenticated_bytes_max: usize,
    /// Nested elements inside a stanza.
    pub depth_max: usize,
    /// Attributes of one element.
    pub attributes_max: usize,
    /// What may wait to be written to one connection.
    pub outbox_bytes_max: usize,
    /// From accept to a bound resource.
    pub login_secs_max: u64,
    /// Silence after which a client is pinged.
    pub idle_secs_max: u64,
    /// How long a pinged client may take to give a sign of life.
    pub ping_secs_max: u64,
    /// How long a session waits for a client that was cut off; 0 is not at all.
    pub resume_secs_max: u64,
    /// Wrong passwords on one connection.
    pub auth_failures_max: u32,
    /// Failed logins from one address or for one account before the next ones take turns, one a second; 0 is no limit.
    pub login_failures_free: u32,
    /// Stanzas answered with `not-authorized` before login, before the stream ends.
    pub early_stanzas_max: u32,
    /// BOSH sessions on one shard whose clients have not logged in, and of one network a tenth of them; 0 is no limit.
    pub bosh_early_max: u32,
    /// Addresses of one stanza.
    pub addresses_max: usize,
    /// Bytes a second from one logged-in client before its reads pause; 0 is no limit.
    pub client_bytes_per_sec_max: u64,
    /// Bytes of one HTTP request body.
    pub body_bytes_max: usize,
    /// Bytes of a HTTP request's head.
    pub head_bytes_max: usize,
    /// From the first byte of a HTTP request to its last.
    pub request_secs_max: u64,
    /// A kept-alive HTTP connection without a request.
    pub keep_alive_secs_max: u64,
    /// Connections from one address; 0 is no limit.
    pub connections_per_address_max: u32,
    /// Connections of all kinds on one shard; 0 is no limit.
    pub connections_max: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            domain: "localhost".to_owned(),
            muc_domain: None,
            admins: Vec::new(),
            resume_location: None,
            data_dir: PathBuf::from("rookery-data"),
            listen: Listen::default(),
            tls: Tls::default(),
            shards: Shards::default(),
            api: Api::default(),
            archive: Archive::default(),
            upload: Upload::default(),
            push: Push::default(),
            link_local: LinkLocal::default(),
            mail: Mail::default(),
            log: Log::default(),
            limits: LimitSettings::default(),
            contacts: ContactSettings::default(),
            services: Vec::new(),
            components: Vec::new(),
        }
    }
}

impl Default for Listen {
    fn default() -> Listen {
        let everywhere = |port| vec![SocketAddr::from((IpAddr::from([0u16; 8]), port))];
        Listen {
            xmpp: everywhere(5222),
            xmpps: everywhere(5223),
            websocket: everywhere(5291),
            bosh: everywhere(5281),
            https: everywhere(8443),
            http: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            component: vec![SocketAddr::from(([127, 0, 0, 1], 5347))],
        }
    }
}

impl Default for Tls {
    fn default() -> Tls {
        Tls { cert: None, key: None, required_before_auth: true }
    }
}

impl Default for Api {
    fn default() -> Api {
        Api { endpoint: None, turn_server: None, s3_bucket: "rookery".to_owned() }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { level: "info".to_owned(), format: LogFormat::default() }
    }
}

impl Default for LimitSettings {
    fn default() -> LimitSettings {
        // Taken apart, so that a limit without a key does not compile.
        let Limits {
            stanza_bytes_max,
            unauthenticated_bytes_max,
            depth_max,
            attributes_max,
            outbox_bytes_max,
            login_time_max,
            idle_time_max,
            ping_time_max,
            resume_time_max,
            auth_failures_max,
            login_failures_free,
            early_stanzas_max,
            bosh_early_max,
            addresses_max,
            client_bytes_per_sec_max,
            body_bytes_max,
            head_bytes_max,
            request_time_max,
            keep_alive_time_max,
            connections_per_address_max,
            connections_max,
        } = Limits::default();
        LimitSettings {
            stanza_bytes_max,
            unauthenticated_bytes_max,
            depth_max,
            attributes_max,
            outbox_bytes_max,
            login_secs_max: login_time_max.as_secs(),
            idle_secs_max: idle_time_max.as_secs(),
            ping_secs_max: ping_time_max.as_secs(),
            resume_secs_max: resume_time_max.as_secs(),
            auth_failures_max,
            login_failures_free,
            early_stanzas_max,
            bosh_early_max,
            addresses_max,
            client_bytes_per_sec_max,
            body_bytes_max,
            head_bytes_max,
            request_secs_max: request_time_max.as_secs(),
            keep_alive_secs_max: keep_alive_time_max.as_secs(),
            connections_per_address_max,
            connections_max,
        }
    }
}

impl LimitSettings {
    /// The same in the units of the code.
    pub fn limits(&self) -> Limits {
        Limits {
            stanza_bytes_max: self.stanza_bytes_max,
            unauthenticated_bytes_max: self.unauthenticated_bytes_max,
            depth_max: self.depth_max,
            attributes_max: self.attributes_max,
            outbox_bytes_max: self.outbox_bytes_max,
            login_time_max: Duration::from_secs(self.login_secs_max),
            idle_time_max: Duration::from_secs(self.idle_secs_max),
            ping_time_max: Duration::from_secs(self.ping_secs_max),
            resume_time_max: Duration::from_secs(self.resume_secs_max),
            auth_failures_max: self.auth_failures_max,
            login_failures_free: self.login_failures_free,
            early_stanzas_max: self.early_stanzas_max,
            bosh_early_max: self.bosh_early_max,
            addresses_max: self.addresses_max,
            client_bytes_per_sec_max: self.client_bytes_per_sec_max,
            body_bytes_max: self.body_bytes_max,
            head_bytes_max: self.head_bytes_max,
            request_time_max: Duration::from_secs(self.request_secs_max),
            keep_alive_time_max: Duration::from_secs(self.keep_alive_secs_max),
            connections_per_address_max: self.connections_per_address_max,
            connections_max: self.connections_max,
        }
    }
}

impl Config {
    /// The configuration in a file: the one named, else [`FILE`] if it is there, else the defaults.
    ///
    /// # Errors
    /// A file that cannot be read, or has a mistake in it.
    pub fn load(named: Option<&Path>) -> Result<Config, Mistake> {
        let path = match named {
            Some(path) => path,
            None if Path::new(FILE).exists() => Path::new(FILE),
            None => return Ok(Config::default()),
        };
        let text = std::fs::read_to_string(path).map_err(|error| Mistake::unreadable(path, &error))?;
        Config::parse(&text, path)
    }

    /// The configuration in `text`, which is said to come from `path`.
    ///
    /// # Errors
    /// A mistake in it.
    pub fn parse(text: &str, path: &Path) -> Result<Config, Mistake> {
        let config: Config = toml::from_str(text).map_err(|error| Mistake::of_toml(path, text, &error))?;
        config.check().map_err(|(key, message)| Mistake::at_key(path, text, key, message))?;
        component::check(&config)
            .map_err(|(nth, key, message)| Mistake::in_table(path, text, "[[components]]", nth, key, message))?;
        Ok(config)
    }

    /// What the form alone does not say. Names the key and what is wrong with it.
    fn check(&self) -> Result<(), (&'static str, String)> {
        for (key, domain) in [("domain", &self.domain), ("muc_domain", &self.muc_domain())] {
            Domain::parse(domain).map_err(|_| (key, format!("\"{domain}\" is no domain name")))?;
        }
        if self.muc_domain() == self.domain {
            return Err(("muc_domain", "rooms need a domain of their own, such as muc.example.com".to_owned()));
        }
        self.admins()?;
        match (&self.tls.cert, &self.tls.key) {
            (Some(_), None) => return Err(("cert", "a certificate needs its key: set `key` too".to_owned())),
            (None, Some(_)) => return Err(("key", "a key needs its certificate: set `cert` too".to_owned())),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if self.shards.count.is_some_and(|count| !(1..=SHARDS_MAX).contains(&count)) {
            return Err(("count", format!("a server has between 1 and {SHARDS_MAX} shards")));
        }
        if let Some(endpoint) = &self.api.endpoint {
            let bare = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
            if bare.is_none_or(|host| host.is_empty() || host.ends_with('/')) {
                let message = "an endpoint begins with https:// or http:// and has no slash at its end".to_owned();
                return Err(("endpoint", message));
            }
        }
        self.log.level.parse::<tracing_subscriber::EnvFilter>().map_err(|error| ("level", error.to_string()))?;
        let own = [&self.domain[..], &self.muc_domain(), &self.upload.domain(&self.domain)];
        self.upload.check(&self.domain, &own[..2])?;
        self.link_local.check(&self.domain, &own)?;
        self.services.iter().try_for_each(ServiceSettings::check)?;
        self.limits.check()
    }

    /// The administrators.
    ///
    /// # Errors
    /// The key, and which of its values is nobody who could be one.
    pub fn admins(&self) -> Result<Vec<AccountId>, (&'static str, String)> {
        let domain = Domain::parse(&self.domain).map_err(|_| ("domain", "is no domain name".to_owned()))?;
        let account = |text: &String| {
            let jid = Jid::parse(text).ok().filter(Jid::is_bare);
            let account = jid.and_then(|jid| AccountId::of(&jid, &domain));
            account.ok_or_else(|| {
                let domain = domain.as_str();
                ("admins", format!("\"{text}\" is no address of a user here, such as 1-1@{domain}"))
            })
        };
        self.admins.iter().map(account).collect()
    }

    /// The domain of rooms.
    pub fn muc_domain(&self) -> String {
        self.muc_domain.clone().unwrap_or_else(|| format!("muc.{}", self.domain))
    }

    /// The domain of the service that takes files, if there is one.
    fn upload_domain(&self) -> Option<String> {
        self.upload.uploads(&self.domain, "").map(|uploads| uploads.domain.to_string())
    }

    /// Where the server listens: for components only if there can be any.
    pub fn listens(&self) -> Listen {
        let mut listen = self.listen.clone();
        if self.components.is_empty() {
            listen.component.clear();
        }
        listen
    }

    /// The whole configuration as a file would have it, defaults included.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration that was read can be written")
    }
}

impl LimitSettings {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let bounds: [(&'static str, u64, Range<u64>); 12] = [
            ("stanza_bytes_max", self.stanza_bytes_max as u64, 10_000..64 * 1024 * 1024),
            ("unauthenticated_bytes_max", self.unauthenticated_bytes_max as u64, 4_096..1024 * 1024),
            ("depth_max", self.depth_max as u64, 8..1_000),
            ("attributes_max", self.attributes_max as u64, 8..1_000),
            // The longest answers have to fit, or whoever asks is taken for one who does not read.
            ("outbox_bytes_max", self.outbox_bytes_max as u64, 2 * PEP_NODE_BYTES_MAX..1024 * 1024 * 1024),
            ("login_secs_max", self.login_secs_max, SECS),
            ("idle_secs_max", self.idle_secs_max, SECS),
            ("ping_secs_max", self.ping_secs_max, SECS),
            ("resume_secs_max", self.resume_secs_max, 0..SECS.end),
            ("request_secs_max", self.request_secs_max, SECS),
            ("keep_alive_secs_max", self.keep_alive_secs_max, SECS),
            ("head_bytes_max", self.head_bytes_max as u64, 1_024..1024 * 1024),
        ];
        for (key, value, range) in bounds {
            if !range.contains(&value) {
                let (least, most) = (range.start, range.end - 1);
                return Err((key, format!("{value} is out of bounds: from {least} to {most}")));
            }
        }
        // One stanza has to fit what may wait for a connection.
        if self.outbox_bytes_max < self.stanza_bytes_max {
            return Err(("outbox_bytes_max", "must be at least stanza_bytes_max".to_owned()));
        }
        Ok(())
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_toml())
    }
}

const SHARDS_MAX: u16 = 256;
const SECS: Range<u64> = 1..24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(text: &str) -> String {
        Config::parse(text, Path::new("rookery.toml")).expect_err("a mistake").to_string()
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(Config::parse("", Path::new("x")).unwrap(), Config::default());
        assert_eq!(Config::default().limits.limits(), Limits::default());
    }

    #[test]
    fn what_is_printed_can_be_read() {
        let text = Config::default().to_toml();
        assert_eq!(Config::parse(&text, Path::new("x")).unwrap(), Config::default());
    }

    #[test]
    fn a_mistake_says_where_it_is_and_what_was_meant() {
        let cases = [
            ("domian = \"a\"", "rookery.toml:1: unknown key `domian`, did you mean `domain`?"),
            (
                "domain = \"a\"\n\n[limits]\nstanza_byte_max = 1",
                "rookery.toml:4: unknown key `stanza_byte_max`, did you mean `stanza_bytes_max`?",
            ),
            ("[listn]\nhttp = []", "rookery.toml:1: unknown key `listn`, did you mean `listen`?"),
            ("[limits]\n\nlogin_secs_max = 0", "rookery.toml:3: login_secs_max: 0 is out of bounds: from 1 to 86399"),
            ("[tls]\ncert = \"a.pem\"", "rookery.toml:2: cert: a certificate needs its key: set `key` too"),
            (
                "[limits]\noutbox_bytes_max = 262144",
                "rookery.toml:2: outbox_bytes_max: 262144 is out of bounds: from 2097152 to 1073741823",
            ),
            ("domain = \"a b\"", "rookery.toml:1: domain: \"a b\" is no domain name"),
            (
                "admins = [\"1-1@localhost\", \"bob@localhost\"]",
                "rookery.toml:1: admins: \"bob@localhost\" is no address of a user here, such as 1-1@localhost",
            ),
            (
                "domain = \"Chat.example\"\nadmins = [\"1-1@localhost\"]",
                "rookery.toml:2: admins: \"1-1@localhost\" is no address of a user here, such as 1-1@chat.example",
            ),
            (
                "admins = [\"1-1@localhost/desk\"]",
                "rookery.toml:1: admins: \"1-1@localhost/desk\" is no address of a user here, such as 1-1@localhost",
            ),
            ("[shards]\ncount = 0", "rookery.toml:2: count: a server has between 1 and 256 shards"),
            (
                "[api]\nendpoint = \"chat.example.com\"",
                "rookery.toml:2: endpoint: an endpoint begins with https:// or http:// and has no slash at its end",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(mistake(text), expected);
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_says_where_it_is() {
        let cases = [
            ("\ndomain = 5", "rookery.toml:2: "),
            ("[listen]\nhttp = [\"localhost\"]", "rookery.toml:2: "),
            ("a = ", "rookery.toml:1: "),
        ];
        for (text, expected) in cases {
            let said = mistake(text);
            assert!(said.starts_with(expected) && said.lines().count() == 1, "{said}");
        }
    }

    #[test]
    fn a_key_without_anything_like_it_lists_what_there_is() {
        assert_eq!(
            mistake("[tls]\nxyzzy = 1"),
            "rookery.toml:2: unknown key `xyzzy`; there are `cert`, `key`, `required_before_auth`"
        );
    }
}
