//! rookery-bench: drives any XMPP server from outside and measures what it costs.
//!
//! One thread, many connections; the server's CPU time and memory are read from /proc (`--pid`), the driver's own do
//! not count. Scenarios: `idle`, `pairs`, `churn`, `offline`, `muc` and `archive` over TCP or WebSocket; of Rookery's
//! API `rest-read`, `rest-write` and, with everything at once, `mixed`. `users rookery` makes the accounts they need,
//! and `rooms rookery` the rooms. The result is a few lines on stdout and, with `--json`, a file; `compare`, `table`
//! and `chart` read such files. `bench/peers.py` runs several servers side by side with it.
//!
//! - `client`: sockets, TLS, WebSocket, logins, stanzas, answers of HTTP;
//! - `api`: calls of the API before the measured part;
//! - `scenario`: what is measured;
//! - `ledger`, `latency`: what was sent and came, and when;
//! - `procfs`, `report`: what it cost the server;
//! - `results`: what was found, read again.

mod api;
mod client;
mod latency;
mod ledger;
mod procfs;
mod report;
mod results;
mod rooms;
mod scenario;
mod users;

use std::error::Error;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;

use client::{Account, Engine, Mechanism, Security, Target, tls_config};
use procfs::Server;
use report::{Machine, Progress, Report};
use results::{Stored, chart, compare, table};
use scenario::{Bench, archive, churn, idle, mixed, muc, offline, pairs, rest};

/// Drives an XMPP server and measures what it costs.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Memory per silent connection.
    Idle {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        scenario: idle::Idle,
    },
    /// CPU and latency per 1:1 message, in a closed or an open loop.
    Pairs {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        scenario: pairs::Pairs,
    },
    /// CPU per login.
    Churn {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        scenario: churn::Churn,
    },
    /// CPU per message kept for an absent user, and per message fetched.
    Offline {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        scenario: offline::Offline,
    },
    /// CPU and latency per message delivered in a room, in a closed or an open loop.
    Muc {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        scenario: muc::Muc,
    },
    /// CPU per message archived, and per result of paging through the archive.
    Archive {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        scenario: archive::Archive,
    },
    /// CPU and latency per call of the REST API that reads, in a closed or an open loop.
    RestRead {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        scenario: rest::read::Read,
    },
    /// CPU and latency per message written through the REST API to users who listen, in a closed or an open loop.
    RestWrite {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        scenario: rest::write::Write,
    },
    /// Everything together, at a stated ratio, in a closed or an open loop.
    Mixed {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        scenario: mixed::Mixed,
    },
    /// Makes accounts.
    #[command(subcommand)]
    Users(Users),
    /// Makes rooms with members.
    #[command(subcommand)]
    Rooms(Rooms),
    /// How many times the figures of the first result are those of the second.
    Compare {
        /// The result to compare with.
        first: PathBuf,
        /// The one that is compared.
        second: PathBuf,
        /// Fail if a figure is worse by more than so many percent, but for the longest latency.
        #[arg(long, value_name = "PERCENT")]
        worse_than: Option<f64>,
    },
    /// Results as a table in markdown.
    Table {
        /// As written with `--json`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Results as a picture: latencies, and CPU for each operation.
    Chart {
        /// Where to write the SVG.
        #[arg(long)]
        out: PathBuf,
        /// As written with `--json`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Subcommand)]
enum Users {
    /// Through Rookery's REST API.
    Rookery(users::Rookery),
}

#[derive(Subcommand)]
enum Rooms {
    /// As dialogs through Rookery's REST API.
    Rookery(rooms::Rookery),
}

/// What every scenario needs to know.
#[derive(Args)]
struct Common {
    /// The server's address.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Its port; by default 5222, for direct TLS 5223, for WebSocket 5291 and without TLS 8080.
    #[arg(long)]
    port: Option<u16>,
    /// What carries the stream.
    #[arg(long, value_enum, default_value_t = Transport::Tcp)]
    transport: Transport,
    /// The path of the upgrade to WebSocket.
    #[arg(long, default_value = "/ws")]
    ws_path: String,
    /// How the connection is protected; by default STARTTLS over TCP, and from the first byte over WebSocket.
    #[arg(long, value_enum)]
    tls: Option<Security>,
    /// Resume TLS sessions instead of a full handshake each time.
    #[arg(long)]
    tls_resume: bool,
    /// How to authenticate.
    #[arg(long, value_enum, default_value_t = Mechanism::ScramSha1)]
    mechanism: Mechanism,
    /// Accounts, one `user@domain password` a line.
    #[arg(long)]
    users: PathBuf,
    /// A process of the server, with its descendants; may come more than once.
    #[arg(long)]
    pid: Vec<u32>,
    /// A file that holds such a process id.
    #[arg(long)]
    pid_file: Option<PathBuf>,
    /// The server's name in the results.
    #[arg(long, default_value = "server")]
    server: String,
    /// The run's name in tables and charts; by default the scenario's, with what sets it apart.
    #[arg(long)]
    label: Option<String>,
    /// Where to write the result.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Logins under way at once.
    #[arg(long, default_value_t = 16)]
    logins: usize,
    /// Quiet time around measured phases.
    #[arg(long, default_value_t = 1.0)]
    settle_secs: f64,
    /// Everything must be over by then.
    #[arg(long, default_value_t = 300)]
    timeout_secs: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// RFC 6120.
    Tcp,
    /// RFC 7395.
    Websocket,
}

impl Common {
    /// How connections are protected, and the server's port.
    fn way(&self) -> Result<(Security, u16), String> {
        let (security, port) = match (self.transport, self.tls) {
            (Transport::Tcp, None | Some(Security::Starttls)) => (Security::Starttls, 5222),
            (Transport::Tcp, Some(Security::Plain)) => (Security::Plain, 5222),
            (Transport::Tcp, Some(Security::Direct)) => (Security::Direct, 5223),
            (Transport::Websocket, None | Some(Security::Direct)) => (Security::Direct, 5291),
            (Transport::Websocket, Some(Security::Plain)) => (Security::Plain, 8080),
            (Transport::Websocket, Some(Security::Starttls)) => {
                return Err("over WebSocket there is no STARTTLS".into());
            }
        };
        Ok((security, self.port.unwrap_or(port)))
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(e) => {
            eprintln!("rookery-bench: {e}");
            ExitCode::FAILURE
        }
    }
}

/// False if it ran but something happened that should not.
fn run(command: Command) -> Result<bool, Box<dyn Error>> {
    match command {
        Command::Idle { common, scenario } => measure("idle", &common, |bench| idle::run(bench, &scenario)),
        Command::Pairs { common, scenario } => measure("pairs", &common, |bench| pairs::run(bench, &scenario)),
        Command::Churn { common, scenario } => measure("churn", &common, |bench| churn::run(bench, &scenario)),
        Command::Offline { common, scenario } => measure("offline", &common, |bench| offline::run(bench, &scenario)),
        Command::Muc { common, scenario } => measure("muc", &common, |bench| muc::run(bench, &scenario)),
        Command::Archive { common, scenario } => measure("archive", &common, |bench| archive::run(bench, &scenario)),
        Command::RestRead { common, scenario } => {
            measure("rest-read", &common, |bench| rest::read::run(bench, &scenario))
        }
        Command::RestWrite { common, scenario } => {
            measure("rest-write", &common, |bench| rest::write::run(bench, &scenario))
        }
        Command::Mixed { common, scenario } => measure("mixed", &common, |bench| mixed::run(bench, &scenario)),
        Command::Compare { first, second, worse_than } => {
            let found = compare::compare(&Stored::read(&first)?, &Stored::read(&second)?, worse_than)?;
            print!("{}", found.text);
            found.worse.iter().for_each(|worse| println!("WORSE: {worse}"));
            Ok(found.worse.is_empty())
        }
        Command::Table { files } => {
            print!("{}", table::table(&Stored::read_all(&files)?));
            Ok(true)
        }
        Command::Chart { out, files } => {
            fs::write(&out, chart::chart(&Stored::read_all(&files)?))?;
            Ok(true)
        }
        Command::Users(Users::Rookery(wish)) => {
            let began = Instant::now();
            let accounts = users::create(&wish)?;
            let lines: String = accounts.iter().map(|a| format!("{} {}\n", a.jid(), a.password)).collect();
            fs::write(&wish.out, lines)?;
            println!("{} users in {:.1} s", accounts.len(), began.elapsed().as_secs_f64());
            Ok(true)
        }
        Command::Rooms(Rooms::Rookery(wish)) => {
            let began = Instant::now();
            let jids = rooms::create(&wish, &read_accounts(&wish.users)?)?;
            fs::write(&wish.out, jids.iter().map(|jid| format!("{jid}\n")).collect::<String>())?;
            println!("{} rooms in {:.1} s", jids.len(), began.elapsed().as_secs_f64());
            Ok(true)
        }
    }
}

fn measure(
    name: &str,
    common: &Common,
    scenario: impl FnOnce(&mut Bench) -> Result<scenario::Findings, scenario::RunError>,
) -> Result<bool, Box<dyn Error>> {
    raise_open_files_limit()?;
    let machine = Machine::here();
    let accounts = read_accounts(&common.users)?;
    let (security, port) = common.way()?;
    let target = Target {
        address: SocketAddr::new(common.host, port),
        security,
        websocket: (common.transport == Transport::Websocket).then(|| common.ws_path.clone()),
        mechanism: common.mechanism,
        tls: tls_config(common.tls_resume),
        accounts,
    };
    let mut pids = common.pid.clone();
    if let Some(path) = &common.pid_file {
        pids.push(fs::read_to_string(path)?.trim().parse()?);
    }
    let mut bench = Bench {
        engine: Engine::new(target)?,
        server: Server::new(pids)?,
        deadline: Instant::now() + Duration::from_secs(common.timeout_secs),
        settle: Duration::try_from_secs_f64(common.settle_secs)?,
        logins: common.logins,
        progress: Progress::default(),
    };
    let findings = scenario(&mut bench)?;
    drop(bench);
    let mut parameters = findings.parameters;
    parameters["tls"] = json!(format!("{security:?}").to_lowercase());
    parameters["transport"] = json!(if common.transport == Transport::Tcp { "tcp" } else { "websocket" });
    parameters["tls_resume"] = json!(common.tls_resume);
    parameters["mechanism"] = json!(common.mechanism.name());
    parameters["settle_secs"] = json!(common.settle_secs);
    let report = Report {
        tool: concat!("rookery-bench ", env!("CARGO_PKG_VERSION")).into(),
        server: common.server.clone(),
        scenario: name.into(),
        label: common.label.clone(),
        ended_at: report::unix_secs(),
        machine,
        parameters,
        phases: findings.phases,
        failures: findings.failures,
    };
    print!("{}", report.text());
    if let Some(path) = &common.json {
        report.write(path)?;
    }
    Ok(report.failures.is_empty())
}

fn read_accounts(path: &std::path::Path) -> Result<Vec<Account>, Box<dyn Error>> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut accounts = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let account = Account::parse(line)
            .ok_or_else(|| format!("{}:{}: not `user@domain password`", path.display(), number + 1))?;
        accounts.push(account);
    }
    Ok(accounts)
}

/// Every connection is a descriptor: take as many as the system allows.
fn raise_open_files_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a live value of the right type.
    let done = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0
        }
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}
