//! The command line, and what `rookery` shows when it starts.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::Config;
use crate::data_dir::Run;
use crate::listen::Kind;
use crate::log::Log;
use crate::server::Server;

mod admin;
mod ask;
mod demo;

/// A self-hosted chat server: XMPP and the QuickBlox Chat API.
#[derive(Debug, Parser)]
#[command(name = "rookery", version, about)]
pub struct Cli {
    /// The configuration file; without it `rookery.toml` in this directory, if there is one.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Order>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
enum Order {
    /// Serve (what happens without a command).
    Run,
    /// Look for mistakes in the configuration.
    CheckConfig {
        /// Show the whole configuration that would be in force.
        #[arg(long)]
        print: bool,
    },
    /// Make and list apps.
    #[command(subcommand)]
    App(admin::App),
    /// Make users.
    #[command(subcommand)]
    User(admin::User),
    /// Let two users chat through the running server, and watch.
    Demo,
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// A sentence that says what went wrong.
    pub fn execute(self) -> Result<(), String> {
        let config = Config::load(self.config.as_deref()).map_err(|mistake| mistake.to_string())?;
        match self.command.unwrap_or(Order::Run) {
            Order::Run => serve(config, self.config),
            Order::CheckConfig { print } => {
                print_config(&config, print);
                Ok(())
            }
            Order::App(order) => order.execute(&config),
            Order::User(order) => order.execute(&config),
            Order::Demo => demo::run(&config),
        }
    }
}

fn print_config(config: &Config, all: bool) {
    if all {
        println!("{config}");
    } else {
        println!("The configuration is fine.");
    }
}

/// Serves until a signal says to stop.
fn serve(config: Config, file: Option<PathBuf>) -> Result<(), String> {
    let log = Log::open(&config.log);
    // Before the threads start, so that no signal finds the process unprepared.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(|error| error.to_string())?;
    let server = Server::start(config).map_err(|error| error.to_string())?;
    eprint!("{}", welcome(&server.run_file(), &server.data_dir(), server.is_new()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "serving");
    for signal in &mut signals {
        match signal {
            SIGHUP => reload(&server, &log, file.as_deref()),
            _ => break,
        }
    }
    tracing::info!("stopping: streams are being closed");
    // A second signal ends it at once.
    std::thread::spawn(move || {
        if signals.forever().any(|signal| signal != SIGHUP) {
            std::process::exit(130);
        }
    });
    server.stop().map_err(|error| error.to_string())
}

fn reload(server: &Server, log: &Log, file: Option<&std::path::Path>) {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(mistake) => return tracing::error!("the configuration was not reloaded: {mistake}"),
    };
    log.set_level(&config.log.level);
    match server.reload(config) {
        Ok(()) => tracing::info!("the configuration was reloaded"),
        Err(error) => tracing::warn!("{error}"),
    }
}

/// The box that a starting server shows.
fn welcome(run: &Run, data_dir: &std::path::Path, is_new: bool) -> String {
    let mut lines = vec![if is_new {
        "Rookery is running, for the first time.".to_owned()
    } else {
        "Rookery is running.".to_owned()
    }];
    lines.push(String::new());
    for (kind, what) in [
        (Kind::Https, "API        https"),
        (Kind::Http, "           http"),
        (Kind::Xmpp, "XMPP       STARTTLS"),
        (Kind::Xmpps, "           TLS"),
        (Kind::Websocket, "WebSocket  wss"),
        (Kind::Bosh, "BOSH       https"),
        (Kind::Component, "Components tcp"),
    ] {
        for listen in run.listen.iter().filter(|listen| listen.kind == kind) {
            lines.push(format!("{what:<20} {}", shown(&run.domain, listen.address)));
        }
    }
    lines.push(String::new());
    lines.push(format!("{:<20} {}", "app id", run.app_id));
    lines.push(format!("{:<20} {}", "auth key", run.auth_key));
    lines.push(format!("{:<20} {}", "auth secret", run.auth_secret));
    lines.push(format!("{:<20} {}", "account key", run.account_key));
    lines.push(format!("{:<20} {}", "data", data_dir.display()));
    lines.push(String::new());
    lines.push("Try, in another terminal:  rookery demo".to_owned());
    framed(&lines)
}

/// An address as a client would write it.
fn shown(domain: &str, address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("{domain}:{}", address.port()) } else { address.to_string() }
}

fn framed(lines: &[String]) -> String {
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let bar = "─".repeat(width + 2);
    let mut out = format!("┌{bar}┐\n");
    for line in lines {
        // Writing to memory does not fail.
        let _written = writeln!(out, "│ {line:<width$} │");
    }
    out.push_str(&format!("└{bar}┘\n"));
    out
}

/// Says a thing to whoever watches; nobody watching any more is no failure.
fn say(text: &str) {
    use io::Write;
    let _written = writeln!(io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::RunAddress;
    use clap::CommandFactory;

    fn run() -> Run {
        Run {
            pid: 1,
            domain: "chat.example.com".to_owned(),
            listen: vec![
                RunAddress { kind: Kind::Xmpp, address: "[::]:5222".parse().unwrap() },
                RunAddress { kind: Kind::Http, address: "127.0.0.1:8080".parse().unwrap() },
            ],
            app_id: 1,
            auth_key: "KEY-KEY".to_owned(),
            auth_secret: "SECRET-SECRET".to_owned(),
            account_key: "ACCOUNT".to_owned(),
            certificate: None,
        }
    }

    #[test]
    fn the_box_says_everything_one_needs_to_begin() {
        let shown = welcome(&run(), std::path::Path::new("/var/lib/rookery"), true);
        for part in [
            "first time",
            "chat.example.com:5222",
            "127.0.0.1:8080",
            "app id               1",
            "KEY-KEY",
            "SECRET-SECRET",
            "/var/lib/rookery",
            "rookery demo",
        ] {
            assert!(shown.contains(part), "{part} in\n{shown}");
        }
        let widths: std::collections::HashSet<usize> = shown.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 1, "all lines are alike long");
        assert!(!welcome(&run(), std::path::Path::new("/x"), false).contains("first time"));
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        for line in [
            "rookery",
            "rookery --config a.toml",
            "rookery check-config --print",
            "rookery app create shop",
            "rookery app list --json",
            "rookery user create --app 1 --login romeo --password wherefore-art --full-name Romeo",
            "rookery demo -c a.toml",
        ] {
            Cli::try_parse_from(line.split(' ')).expect(line);
        }
    }
}
