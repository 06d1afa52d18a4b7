//! `rookery demo`: two users chat through the running server while you watch.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admin::create_user;
use super::ask::Running;
use super::say;
use crate::config::Config;
use crate::listen::Kind;

mod client;

use client::{Client, Login};

/// Makes Romeo and Juliet, and has them talk: online, and with one of them away.
pub(super) fn run(config: &Config) -> Result<(), String> {
    let server = Running::find(config)?;
    let app = server.run.app_id;
    let address = server.run.local(Kind::Xmpps).ok_or("the demo needs XMPP over TLS: set `xmpps` under [listen]")?;
    let mark = std::process::id();
    let trusted =
        server.run.certificate.as_deref().map(client::certificate).transpose().map_err(|error| error.to_string())?;

    let make = |name: &str| -> Result<Login, String> {
        let password = format!("{name}-and-the-other-{mark}");
        let stamp = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        let user = create_user(&server, app, &format!("{name}-{stamp}"), &password, Some(name))?;
        let id = user["id"].as_u64().ok_or("the server made a user without an id")?;
        say(&format!("  {name} signs up over REST and is user {id}, {id}-{app}@{}", server.run.domain));
        Ok(Login {
            address,
            domain: server.run.domain.clone(),
            user: format!("{id}-{app}"),
            password,
            trusted: trusted.clone(),
        })
    };
    let connect = |name: &str, login: &Login| -> Result<Client, String> {
        let client = Client::connect(login).map_err(|error| format!("{name} cannot log in: {error}"))?;
        say(&format!("  {name} logs in over XMPP as {}", client.jid()));
        Ok(client)
    };
    let failed = |error: io::Error| format!("the conversation broke off: {error}");

    let romeo_login = make("romeo")?;
    let juliet_login = make("juliet")?;
    let mut romeo = connect("romeo", &romeo_login)?;
    let mut juliet = connect("juliet", &juliet_login)?;
    say("");
    exchange("romeo", &mut romeo, "juliet", &mut juliet, "But, soft! what light through yonder window breaks?")
        .map_err(failed)?;
    exchange("juliet", &mut juliet, "romeo", &mut romeo, "O Romeo, Romeo! wherefore art thou Romeo?")
        .map_err(failed)?;

    say("");
    juliet.leave().map_err(failed)?;
    say("  juliet leaves");
    let text = "Shall I hear more, or shall I speak at this?";
    romeo.send(&juliet_login.jid(), text).map_err(failed)?;
    say(&format!("  romeo → juliet   {text}   (she is away: it waits)"));
    romeo.settle().map_err(failed)?;
    let mut juliet = connect("juliet", &juliet_login)?;
    let heard = juliet.message().map_err(failed)?;
    say(&format!(
        "  juliet hears     {}{}",
        heard.text,
        if heard.delayed { "   (delivered on her return)" } else { "" }
    ));
    if heard.text != text {
        return Err("the message that waited came back changed".to_owned());
    }
    romeo.leave().map_err(failed)?;
    juliet.leave().map_err(failed)?;
    say("\nThat was all through your server. Their accounts stay; try a client of your own next.");
    Ok(())
}

fn exchange(from: &str, sender: &mut Client, to: &str, receiver: &mut Client, text: &str) -> io::Result<()> {
    let start = Instant::now();
    sender.send(receiver.bare(), text)?;
    let heard = receiver.message()?;
    if heard.text != text {
        return Err(io::Error::other("a message came through changed"));
    }
    say(&format!("  {from:>6} → {to:<7} {text}   ({} µs)", start.elapsed().as_micros()));
    Ok(())
}

/// How long one step may take.
const STEP_TIME_MAX: Duration = Duration::from_secs(10);

type Trusted = Option<Arc<[u8]>>;
