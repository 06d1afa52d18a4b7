//! The binary `rookery-relay`: a floor for `bench/peers.py` to run beside servers.

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Forwards messages between connections, with or without TLS, and does nothing else.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The port on loopback.
    #[arg(long)]
    port: u16,
    /// Key and certificate, PEM in one file: with them STARTTLS is offered, and without there is no TLS.
    #[arg(long)]
    certificate: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let pem = arguments.certificate.map(fs::read).transpose()?;
    let listener = relay::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port)))?;
    let thread = relay::start(listener, pem.as_deref())?;
    thread.join().map_err(|_| "the relay has panicked")?;
    Err("the relay has ended".into())
}
