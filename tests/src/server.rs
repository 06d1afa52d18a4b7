//! The server under test: the real binary, on a data directory and loopback ports of its own.
//!
//! **The one place** that knows how the binary is found, configured and asked for its credentials. All suites, in Rust,
//! Node and Python, get what they need from [`Server::environment`].

use std::fs;
use std::io::{Read, Seek};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http;

/// The domain of every JID; the certificate that the server makes at its first start names it.
pub const DOMAIN: &str = "localhost";

const READY_SECS_MAX: u64 = 30;
const STOP_SECS_MAX: u64 = 15;
const CONFIGURATION: &str = "rookery.toml";
const LOG: &str = "server.log";
/// What a test that failed shows of the log.
const LOG_TAIL_BYTES: u64 = 20_000;

/// An application's id and keys: what an app is built with.
#[derive(Clone, Debug)]
pub struct App {
    /// The number behind the dash in every JID.
    pub id: u64,
    /// Names the application in `POST /session`.
    pub auth_key: String,
    /// Signs `POST /session`.
    pub auth_secret: String,
    /// Opens `GET /account_settings`.
    pub account_key: String,
}

/// Loopback ports, one for each listener of the server.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// XMPP with STARTTLS (5222).
    pub xmpp: u16,
    /// XMPP under TLS from the first byte (5223).
    pub xmpps: u16,
    /// WebSocket under TLS (5291).
    pub websocket: u16,
    /// BOSH under TLS (5281).
    pub bosh: u16,
    /// REST under TLS (8443).
    pub https: u16,
    /// REST without TLS, for this machine only (8080).
    pub http: u16,
    /// Components (5347), for servers that have any.
    pub component: u16,
}

impl Ports {
    /// Ports that were free a moment ago. All are held at once while choosing, so they differ.
    fn free() -> Self {
        let held: [TcpListener; 7] =
            std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port"));
        let [xmpp, xmpps, websocket, bosh, https, http, component] =
            held.each_ref().map(|listener| listener.local_addr().expect("bound above").port());
        Self { xmpp, xmpps, websocket, bosh, https, http, component }
    }
}

/// A running server. Dropping it ends the process; the data directory goes with the test.
pub struct Server {
    /// Where it listens.
    pub ports: Ports,
    /// The application made at the first start.
    pub app: App,
    directory: tempfile::TempDir,
    /// What the shell that starts the binary does first.
    shell: String,
    child: Child,
}

impl Server {
    /// A server on an empty data directory, ready to serve.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// As [`Server::start`], with tables added to the configuration.
    pub fn start_with(extra: &str) -> Self {
        Self::start_in(new_directory(), "", extra)
    }

    /// As [`Server::start_with`], in a directory of [`new_directory`], after a command of the shell such as `ulimit -n 1024`.
    pub fn start_in(directory: tempfile::TempDir, shell: &str, extra: &str) -> Self {
        let (ports, shell) = (Ports::free(), shell.to_owned());
        configure(directory.path(), ports, extra);
        let mut child = launch(directory.path(), &shell);
        await_ready(&mut child, directory.path(), ports);
        let app = first_app(directory.path());
        Self { ports, app, directory, shell, child }
    }

    /// A new application beside the first one.
    pub fn create_app(&self, name: &str) -> App {
        app_from_json(&self.rookery(&["app", "create", name, "--json"]).json())
    }

    /// Runs `rookery` with this server's configuration and these arguments until it is done.
    pub fn rookery(&self, arguments: &[&str]) -> Printed {
        rookery(self.directory.path(), arguments)
    }

    /// Writes the configuration anew, with other keys and tables added; SIGHUP or a restart makes the server read it.
    pub fn configure(&self, extra: &str) {
        configure(self.directory.path(), self.ports, extra);
    }

    /// Where everything of this server lies: `rookery.toml`, `server.log` and the directory `data`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// SIGKILL: no goodbye, no flush. Returns when the process is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child is ours and has not been waited for");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// SIGTERM, and the exit status it leads to. Panics if it takes longer than a drain may.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(STOP_SECS_MAX);
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "still running {STOP_SECS_MAX} s after SIGTERM\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal to the server's process.
    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("process ids fit pid_t");
        // SAFETY: `kill` takes no pointers; the process is our child and not yet waited for, so the id is still its own.
        let result = unsafe { libc::kill(pid, signal) };
        assert_eq!(result, 0, "kill({pid}, {signal}): {}", std::io::Error::last_os_error());
    }

    /// Starts again, after [`Server::kill`] or [`Server::stop`], on the same data directory and ports.
    pub fn restart(&mut self) {
        self.child = launch(self.directory.path(), &self.shell);
        await_ready(&mut self.child, self.directory.path(), self.ports);
    }

    /// The numbers of `/metrics`.
    pub fn metrics(&self) -> Metrics {
        let answer = http::get(self.ports.http, "/metrics").expect("the server answers");
        assert_eq!(answer.status, 200);
        Metrics { text: String::from_utf8(answer.body).expect("metrics are text") }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True while the process runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours").is_none()
    }

    /// Everything the server has printed, over all its starts; the end of it if that is long.
    pub fn log(&self) -> String {
        read_tail(&self.directory.path().join(LOG), LOG_TAIL_BYTES)
    }

    /// Everything the server has printed, over all its starts.
    pub fn whole_log(&self) -> String {
        read_tail(&self.directory.path().join(LOG), u64::MAX)
    }

    /// What the suites in Node and Python read from their environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        let ports = self.ports;
        [
            ("HOST", "127.0.0.1".to_owned()),
            ("DOMAIN", DOMAIN.to_owned()),
            ("XMPP_PORT", ports.xmpp.to_string()),
            ("XMPPS_PORT", ports.xmpps.to_string()),
            ("WS_PORT", ports.websocket.to_string()),
            ("BOSH_PORT", ports.bosh.to_string()),
            ("HTTPS_PORT", ports.https.to_string()),
            ("HTTP_PORT", ports.http.to_string()),
            ("COMPONENT_PORT", ports.component.to_string()),
            ("PID", self.pid().to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (format!("ROOKERY_{name}"), value))
        .chain(app_environment("", &self.app))
        .collect()
    }
}

/// An application as the suites read it: `prefix` is empty for the first, `APP2_` for the second.
pub fn app_environment(prefix: &str, app: &App) -> Vec<(String, String)> {
    let id = if prefix.is_empty() { "APP_ID" } else { "ID" };
    [
        (id, app.id.to_string()),
        ("AUTH_KEY", app.auth_key.clone()),
        ("AUTH_SECRET", app.auth_secret.clone()),
        ("ACCOUNT_KEY", app.account_key.clone()),
    ]
    .into_iter()
    .map(|(name, value)| (format!("ROOKERY_{prefix}{name}"), value))
    .collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only when the process is gone already, as after `stop`; a test that failed must not leave it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        }
    }
}

/// The binary: ROOKERY_BIN, or the one that the same `cargo` run has put beside this test's own executable.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ROOKERY_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a running program has a path");
    // target/release/deps/it-0123456789abcdef → target/release/rookery
    let path = test.parent().and_then(Path::parent).expect("cargo puts tests two levels down").join("rookery");
    assert!(path.exists(), "{} is not built: `cargo build --release` first, or set ROOKERY_BIN", path.display());
    path
}

fn configure(directory: &Path, ports: Ports, extra: &str) {
    let data = directory.join("data");
    let Ports { xmpp, xmpps, websocket, bosh, https, http, component } = ports;
    let text = format!(
        r#"domain = "{DOMAIN}"
data_dir = "{}"
{extra}

[listen]
xmpp = ["127.0.0.1:{xmpp}"]
xmpps = ["127.0.0.1:{xmpps}"]
websocket = ["127.0.0.1:{websocket}"]
bosh = ["127.0.0.1:{bosh}"]
https = ["127.0.0.1:{https}"]
http = ["127.0.0.1:{http}"]
component = ["127.0.0.1:{component}"]
"#,
        data.display()
    );
    fs::write(directory.join(CONFIGURATION), text).expect("the temporary directory is ours");
}

fn launch(directory: &Path, shell: &str) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join(LOG))
        .expect("the temporary directory is ours");
    command(directory, shell)
        .stdout(log.try_clone().expect("a file handle can be shared"))
        .stderr(log)
        .spawn()
        .expect("the binary can be run")
}

/// The binary with the configuration in a directory, in the place of a shell that has done something first.
fn command(directory: &Path, shell: &str) -> Command {
    let mut command = if shell.is_empty() {
        Command::new(binary())
    } else {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{shell} && exec \"$0\" \"$@\"")).arg(binary());
        command
    };
    command.current_dir(directory).args(["--config", CONFIGURATION]).stdin(Stdio::null());
    command
}

/// A directory for [`Server::start_in`].
pub fn new_directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("rookery-it-").tempdir().expect("a temporary directory")
}

/// Waits until `/readyz` says 200 and every listener accepts.
fn await_ready(child: &mut Child, directory: &Path, ports: Ports) {
    let deadline = Instant::now() + Duration::from_secs(READY_SECS_MAX);
    let log = || read_tail(&directory.join(LOG), LOG_TAIL_BYTES);
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            panic!("the server ended at its start: {status}\n{}", log());
        }
        let ready = http::get(ports.http, "/readyz").is_ok_and(|answer| answer.status == 200);
        if ready && [ports.xmpp, ports.xmpps, ports.websocket, ports.bosh, ports.https].into_iter().all(accepts) {
            return;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server was not ready after {READY_SECS_MAX} s\n{}", log());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn accepts(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// The application that the first start made.
fn first_app(directory: &Path) -> App {
    app_from_json(&rookery(directory, &["app", "list", "--json"]).json()[0])
}

/// The page that Prometheus reads.
#[derive(Debug)]
pub struct Metrics {
    /// All of it.
    pub text: String,
}

impl Metrics {
    /// One number, over all shards. Panics when it is not there.
    pub fn sum(&self, name: &str) -> f64 {
        let values: Vec<f64> = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.split_once(' '))
            .filter(|(labels, _)| labels.is_empty() || labels.starts_with('{'))
            .map(|(_, value)| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
            .collect();
        assert!(!values.is_empty(), "no {name} in\n{}", self.text);
        values.iter().sum()
    }
}

/// What a command of the command line said, and how it ended.
#[derive(Debug)]
pub struct Printed {
    /// The exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Printed {
    /// Standard output as JSON; panics, showing everything, when the command failed or printed something else.
    pub fn json(&self) -> Value {
        assert!(self.status.success(), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs the binary with the configuration in a directory and these arguments, until it is done.
pub fn rookery(directory: &Path, arguments: &[&str]) -> Printed {
    rookery_after("", directory, arguments)
}

/// The same after a command of the shell, such as `ulimit -n 64`.
pub fn rookery_after(shell: &str, directory: &Path, arguments: &[&str]) -> Printed {
    let output = command(directory, shell).args(arguments).output().expect("the binary can be run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is UTF-8");
    Printed { status: output.status, out: text(output.stdout), err: text(output.stderr) }
}

fn app_from_json(app: &Value) -> App {
    let text = |key: &str| app[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {app}")).to_owned();
    App {
        id: app["id"].as_u64().unwrap_or_else(|| panic!("no `id` in {app}")),
        auth_key: text("auth_key"),
        auth_secret: text("auth_secret"),
        account_key: text("account_key"),
    }
}

fn read_tail(path: &Path, bytes_max: u64) -> String {
    let Ok(mut file) = fs::File::open(path) else { return String::new() };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut tail = Vec::new();
    let read =
        file.seek(std::io::SeekFrom::Start(length.saturating_sub(bytes_max))).and_then(|_| file.read_to_end(&mut tail));
    match read {
        Ok(_) => String::from_utf8_lossy(&tail).into_owned(),
        Err(error) => format!("({}: {error})", path.display()),
    }
}
