//! Scenarios against the relay.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use clap::{Args, Parser};

use super::{Bench, churn, idle, pairs};
use crate::client::{Account, Engine, Mechanism, Security, Target};
use crate::procfs::Server;
use crate::report::Progress;

/// A scenario's parameters as from a command line.
#[derive(Parser)]
struct Of<T: Args> {
    #[command(flatten)]
    scenario: T,
}

fn parameters<T: Args>(line: &str) -> T {
    Of::parse_from(format!("test {line}").split(' ')).scenario
}

/// A relay on a thread of its own (it ends with the test process) and a driver with six users.
fn bench(security: Security) -> Bench {
    let listener = relay::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.signing_key.serialize_pem() + &made.cert.pem();
    relay::start(listener, (security != Security::Plain).then_some(pem.as_bytes())).unwrap();
    let account = |n| Account::parse(&format!("user{n}@localhost secret")).unwrap();
    let target = Target {
        address,
        security,
        websocket: None,
        mechanism: Mechanism::Plain,
        tls: crate::client::tls_config(false),
        accounts: (0..6).map(account).collect(),
    };
    Bench {
        engine: Engine::new(target).unwrap(),
        server: Server::new(vec![std::process::id()]).unwrap(),
        deadline: Instant::now() + Duration::from_secs(60),
        settle: Duration::ZERO,
        logins: 3,
        progress: Progress::default(),
    }
}

#[test]
fn pairs_talk_through_it_and_lose_nothing() {
    for (kind, security) in [
        ("--window 3", Security::Starttls),
        ("--rate 500", Security::Starttls),
        ("--window 3", Security::Plain),
        ("--rate 500", Security::Plain),
    ] {
        let talk: pairs::Pairs = parameters(&format!("--pairs 3 --secs 1 --warmup-secs 0 {kind}"));
        let found = pairs::run(&mut bench(security), &talk).unwrap();
        assert_eq!(found.failures, Vec::<String>::new());
        let phase = &found.phases[0];
        assert!(phase.operations > 100, "{} messages", phase.operations);
        assert_eq!(phase.counts["sent_in_all"], phase.counts["received_in_all"]);
        assert!(phase.latency_us.as_ref().is_some_and(|latency| latency.count == phase.operations));
    }
}

#[test]
fn logins_come_and_go() {
    let found = churn::run(&mut bench(Security::Starttls), &parameters("--count 20")).unwrap();
    assert_eq!(found.failures, Vec::<String>::new());
    assert_eq!(found.phases[0].operations, 20);
}

#[test]
fn idle_users_beyond_their_number_get_further_resources() {
    let found = idle::run(&mut bench(Security::Starttls), &parameters("--connections 14 --hold-secs 0")).unwrap();
    assert_eq!(found.failures, Vec::<String>::new());
    assert_eq!(found.phases[1].operations, 14);
    assert!(found.phases[1].figures.contains_key("rss_kib_per_connection"));
}
