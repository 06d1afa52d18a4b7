//! Mail to users: handed to a program of the operator's, or left as a file for whoever set up the server.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use proto::time::Timestamp;
use rest::flow::Mail;

use crate::config;

/// Sends mail. Blocks while the program runs.
#[derive(Debug)]
pub struct Mailer {
    command: Vec<String>,
    from: String,
    directory: PathBuf,
    last: AtomicU64,
}

impl Mailer {
    /// As the configuration has it; without a program messages go to `directory`.
    pub fn new(config: &config::Mail, domain: &str, directory: PathBuf) -> Mailer {
        let from = config.from.clone().unwrap_or_else(|| format!("rookery@{domain}"));
        Mailer { command: config.command.clone(), from, directory, last: AtomicU64::new(0) }
    }

    /// Sends one message. A message that is lost is reported in the log, without its text and its address.
    pub fn send(&self, mail: &Mail) {
        let Some(message) = self.message(mail, now()) else {
            return tracing::error!("a mail was not sent: its address is not one");
        };
        let sent = match &self.command[..] {
            [] => self.leave(&message),
            [program, arguments @ ..] => run(program, arguments, &message),
        };
        if let Err(error) = sent {
            tracing::error!(%error, "a mail was not sent");
        }
    }

    /// RFC 5322 §2. `None` for an address that would not stay in its line.
    fn message(&self, mail: &Mail, at: Timestamp) -> Option<String> {
        let is_one_line = |text: &str| !text.is_empty() && !text.contains(char::is_control);
        if !is_one_line(&mail.to) || !mail.to.contains('@') || mail.to.contains([' ', ',', ';', '<', '>']) {
            return None;
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let domain = self.from.rsplit('@').next().unwrap_or("localhost");
        let mut message = String::new();
        for (name, value) in [
            ("From", self.from.clone()),
            ("To", mail.to.clone()),
            ("Subject", encoded(&mail.subject)),
            ("Date", date(at)),
            ("Message-ID", format!("<{}.{}.{number}@{domain}>", at.millis(), std::process::id())),
            ("MIME-Version", "1.0".to_owned()),
            ("Content-Type", "text/plain; charset=utf-8".to_owned()),
            ("Content-Transfer-Encoding", "base64".to_owned()),
            // RFC 3834 §5: nobody's vacation notice should answer.
            ("Auto-Submitted", "auto-generated".to_owned()),
        ] {
            message.push_str(&format!("{name}: {value}\r\n"));
        }
        message.push_str("\r\n");
        let body = BASE64.encode(mail.text.replace("\r\n", "\n").replace('\n', "\r\n"));
        for line in body.as_bytes().chunks(BASE64_LINE_CHARS) {
            message.push_str(&String::from_utf8_lossy(line));
            message.push_str("\r\n");
        }
        Some(message)
    }

    fn leave(&self, message: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let name = format!("{}-{}.eml", now().millis(), self.last.load(Ordering::Relaxed));
        let path = self.directory.join(name);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(message.as_bytes())?;
        tracing::info!(file = %path.display(), "a mail is waiting: no mail command is configured");
        Ok(())
    }
}

fn run(program: &str, arguments: &[String], message: &str) -> io::Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(message.as_bytes())?;
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("the mail command ended with {status}"))) }
}

fn now() -> Timestamp {
    let calendar = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(calendar.as_millis() as u64)
}

/// RFC 5322 §3.3.
fn date(at: Timestamp) -> String {
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    let stamp = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    stamp.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// A header's text; whatever is not plain ASCII in the form of RFC 2047.
fn encoded(text: &str) -> String {
    let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if plain.is_ascii() && plain.len() <= HEADER_CHARS_MAX {
        return plain;
    }
    // RFC 2047 §2: an encoded word has at most 75 characters, and ends between two characters.
    let mut words = vec![String::new()];
    for letter in plain.chars() {
        if words.last().is_some_and(|word| word.len() + letter.len_utf8() > WORD_BYTES_MAX) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(letter);
        }
    }
    let words: Vec<String> = words.iter().map(|word| format!("=?utf-8?B?{}?=", BASE64.encode(word))).collect();
    words.join("\r\n ")
}

const BASE64_LINE_CHARS: usize = 76;
const HEADER_CHARS_MAX: usize = 200;
const WORD_BYTES_MAX: usize = 45;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn mailer(command: &[&str], directory: PathBuf) -> Mailer {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        Mailer::new(&config::Mail { command, from: None }, "chat.example.com", directory)
    }

    fn mail(to: &str) -> Mail {
        Mail { to: to.to_owned(), subject: "Grüße, Romeo".to_owned(), text: "Hallo\nWelt".to_owned() }
    }

    #[test]
    fn writes_a_message_as_rfc_5322_has_it() {
        let message =
            mailer(&[], PathBuf::new()).message(&mail("romeo@example.com"), Timestamp::from_secs(1_458_752_442));
        let message = message.unwrap();
        let (head, body) = message.split_once("\r\n\r\n").unwrap();
        let lines: Vec<&str> = head.split("\r\n").collect();
        assert_eq!(
            lines[..4],
            [
                "From: rookery@chat.example.com",
                "To: romeo@example.com",
                "Subject: =?utf-8?B?R3LDvMOfZSwgUm9tZW8=?=",
                "Date: Wed, 23 Mar 2016 17:00:42 +0000",
            ]
        );
        assert_eq!(BASE64.decode(body.trim()).unwrap(), b"Hallo\r\nWelt");
    }

    #[test]
    fn an_address_cannot_bring_headers_or_others_with_it() {
        for to in ["", "romeo", "a@b\r\nBcc: c@d", "a@b, c@d", "<a@b>", "a b@c"] {
            assert!(mailer(&[], PathBuf::new()).message(&mail(to), now()).is_none(), "{to}");
        }
    }

    #[test]
    fn without_a_program_it_is_left_as_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("mail");
        mailer(&[], place.clone()).send(&mail("a@b"));
        let files: Vec<_> = fs::read_dir(place).unwrap().collect();
        assert_eq!(files.len(), 1);
        let text = fs::read_to_string(files[0].as_ref().unwrap().path()).unwrap();
        assert!(text.contains("To: a@b\r\n"));
    }

    #[test]
    fn the_program_gets_it_on_its_standard_input() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("got");
        let script = format!("cat > {}", file.display());
        mailer(&["sh", "-c", &script], PathBuf::new()).send(&mail("a@b"));
        assert!(fs::read_to_string(file).unwrap().contains("To: a@b\r\n"));
    }
}
