//! From an open socket to a bound, available resource: what to say to each thing the server says.
//!
//! No I/O: frames in, bytes appended to `out`, and a [`Step`] that tells the connection what to do.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::ValueEnum;
use thiserror::Error;

use super::engine::Account;
use super::framer::{self, Frame};
use super::scram::{Hash, SaltedPasswords, Scram, ScramError};

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Security {
    /// `<starttls/>` on a plain port (5222).
    Starttls,
    /// TLS from the first byte (5223).
    Direct,
    /// None: the floor under what TLS costs.
    Plain,
}

/// The SASL mechanism to log in with; it must be on offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mechanism {
    /// SCRAM-SHA-1.
    ScramSha1,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// PLAIN.
    Plain,
}

impl Mechanism {
    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Plain => "PLAIN",
        }
    }
}

/// What the connection does after a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for the next frame.
    Wait,
    /// Start TLS, then call [`Login::open`].
    StartTls,
    /// Not for the login: what comes between our presence and its echo, offline messages for example.
    Pass,
    /// A new stream begins with the next byte; its header is already in `out`.
    Restart,
    /// The server has announced this resource as available.
    Ready,
}

/// Why a login ended without success.
#[derive(Debug, Error)]
pub enum LoginError {
    /// The features name no such thing.
    #[error("the server does not offer {0}")]
    NotOffered(&'static str),
    /// Something else than the protocol's next step, cut to a readable length.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
    /// SCRAM went wrong on the server's side.
    #[error(transparent)]
    Scram(#[from] ScramError),
    /// The stream ended first.
    #[error("the server closed the stream")]
    Ended,
}

/// One login under way.
pub struct Login {
    state: State,
    mechanism: Mechanism,
    resource: String,
    scram: Option<Scram>,
}

#[derive(Clone, Copy)]
enum State {
    /// Features that should offer STARTTLS.
    PlainFeatures,
    Proceed,
    /// Features that should offer SASL.
    SaslFeatures,
    Sasl,
    /// Features that should offer binding.
    BindFeatures,
    Bind,
    /// Our own presence, sent back (RFC 6121 §4.2.2).
    Presence,
}

impl Login {
    /// A login that has said nothing yet.
    pub fn new(security: Security, mechanism: Mechanism, resource: String) -> Self {
        let state = match security {
            Security::Starttls => State::PlainFeatures,
            Security::Direct | Security::Plain => State::SaslFeatures,
        };
        Self { state, mechanism, resource, scram: None }
    }

    /// Opens the stream.
    pub fn open(&self, account: &Account, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='",
        );
        out.extend_from_slice(account.domain.as_bytes());
        out.extend_from_slice(b"' version='1.0'>");
    }

    /// Answers one frame.
    pub fn step(
        &mut self,
        frame: &Frame<'_>,
        account: &Account,
        known: &mut SaltedPasswords,
        out: &mut Vec<u8>,
    ) -> Result<Step, LoginError> {
        let stanza = match frame {
            Frame::Header(_) => return Ok(Step::Wait),
            Frame::End => return Err(LoginError::Ended),
            Frame::Stanza(stanza) => *stanza,
        };
        match (self.state, framer::name(stanza)) {
            (State::PlainFeatures, b"stream:features") => {
                if memchr::memmem::find(stanza, b"<starttls").is_none() {
                    return Err(LoginError::NotOffered("STARTTLS"));
                }
                out.extend_from_slice(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
                self.state = State::Proceed;
                Ok(Step::Wait)
            }
            (State::Proceed, b"proceed") => {
                self.state = State::SaslFeatures;
                Ok(Step::StartTls)
            }
            (State::SaslFeatures, b"stream:features") => {
                let name = self.mechanism.name();
                if memchr::memmem::find(stanza, format!(">{name}<").as_bytes()).is_none() {
                    return Err(LoginError::NotOffered(name));
                }
                self.authenticate(account, out);
                Ok(Step::Wait)
            }
            (State::Sasl, b"challenge") => {
                let scram = self.scram.as_mut().ok_or_else(|| unexpected(stanza))?;
                let challenge = sasl_text(stanza)?;
                let answer = scram.answer(&challenge, &account.password, known)?;
                out.extend_from_slice(b"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>");
                out.extend_from_slice(BASE64.encode(answer).as_bytes());
                out.extend_from_slice(b"</response>");
                Ok(Step::Wait)
            }
            (State::Sasl, b"success") => {
                if let Some(scram) = self.scram.take() {
                    scram.check(&sasl_text(stanza)?)?;
                }
                self.state = State::BindFeatures;
                self.open(account, out);
                Ok(Step::Restart)
            }
            (State::BindFeatures, b"stream:features") => {
                let mut bind = String::new();
                write!(
                    bind,
                    "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                     <resource>{}</resource></bind></iq>",
                    self.resource
                )
                .expect("a String takes all that is written");
                out.extend_from_slice(bind.as_bytes());
                self.state = State::Bind;
                Ok(Step::Wait)
            }
            (State::Bind, b"iq") if framer::attribute(stanza, b"type") == Some(b"result") => {
                out.extend_from_slice(b"<presence id='available'/>");
                self.state = State::Presence;
                Ok(Step::Wait)
            }
            (State::Presence, b"presence") if framer::attribute(stanza, b"type").is_none() => Ok(Step::Ready),
            (State::Presence, b"iq" | b"message" | b"presence") => Ok(Step::Pass),
            _ => Err(unexpected(stanza)),
        }
    }

    fn authenticate(&mut self, account: &Account, out: &mut Vec<u8>) {
        let hash = match self.mechanism {
            Mechanism::ScramSha1 => Some(Hash::Sha1),
            Mechanism::ScramSha256 => Some(Hash::Sha256),
            Mechanism::Plain => None,
        };
        let initial = match hash {
            Some(hash) => {
                let scram = Scram::new(hash, &account.user);
                let first = scram.first();
                self.scram = Some(scram);
                first
            }
            None => format!("\0{}\0{}", account.user, account.password),
        };
        out.extend_from_slice(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='");
        out.extend_from_slice(self.mechanism.name().as_bytes());
        out.extend_from_slice(b"'>");
        out.extend_from_slice(BASE64.encode(initial).as_bytes());
        out.extend_from_slice(b"</auth>");
        self.state = State::Sasl;
    }
}

fn sasl_text(stanza: &[u8]) -> Result<String, LoginError> {
    let text = BASE64.decode(framer::text(stanza).trim_ascii()).map_err(|_| unexpected(stanza))?;
    String::from_utf8(text).map_err(|_| unexpected(stanza))
}

fn unexpected(stanza: &[u8]) -> LoginError {
    const SHOWN_BYTES_MAX: usize = 300;
    LoginError::Unexpected(String::from_utf8_lossy(&stanza[..stanza.len().min(SHOWN_BYTES_MAX)]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account::parse("anna@localhost secret").unwrap()
    }

    fn say(login: &mut Login, stanza: &str) -> (Result<Step, LoginError>, String) {
        let mut out = Vec::new();
        let step = login.step(&Frame::Stanza(stanza.as_bytes()), &account(), &mut SaltedPasswords::default(), &mut out);
        (step, String::from_utf8(out).unwrap())
    }

    #[test]
    fn walks_from_starttls_to_presence() {
        let mut login = Login::new(Security::Starttls, Mechanism::Plain, "r1".into());
        let (step, out) = say(&mut login, "<stream:features><starttls xmlns='urn:t'/></stream:features>");
        assert_eq!(step.unwrap(), Step::Wait);
        assert!(out.starts_with("<starttls "));
        assert_eq!(say(&mut login, "<proceed xmlns='urn:t'/>").0.unwrap(), Step::StartTls);
        let offer = "<stream:features><mechanisms><mechanism>PLAIN</mechanism></mechanisms></stream:features>";
        let (_, out) = say(&mut login, offer);
        // "\0anna\0secret"
        assert!(out.contains("mechanism='PLAIN'>AGFubmEAc2VjcmV0</auth>"), "{out}");
        let (step, out) = say(&mut login, "<success/>");
        assert_eq!(step.unwrap(), Step::Restart);
        assert!(out.starts_with("<stream:stream ") && out.contains("to='localhost'"));
        let (_, out) = say(&mut login, "<stream:features><bind xmlns='urn:b'/></stream:features>");
        assert!(out.contains("<resource>r1</resource>"));
        let (_, out) = say(&mut login, "<iq type='result' id='bind'><bind/></iq>");
        assert!(out.starts_with("<presence"));
        assert_eq!(say(&mut login, "<iq type='get' id='v'/>").0.unwrap(), Step::Pass);
        assert_eq!(say(&mut login, "<presence from='anna@localhost/r1'/>").0.unwrap(), Step::Ready);
    }

    #[test]
    fn says_which_mechanism_is_missing() {
        let mut login = Login::new(Security::Direct, Mechanism::ScramSha1, "r".into());
        // The -PLUS form alone is not what was asked for.
        let offer = "<stream:features><mechanism>SCRAM-SHA-1-PLUS</mechanism></stream:features>";
        assert!(matches!(say(&mut login, offer).0, Err(LoginError::NotOffered("SCRAM-SHA-1"))));
    }

    #[test]
    fn shows_a_refusal_as_the_server_wrote_it() {
        let mut login = Login::new(Security::Direct, Mechanism::Plain, "r".into());
        say(&mut login, "<stream:features><mechanism>PLAIN</mechanism></stream:features>").0.unwrap();
        let error = say(&mut login, "<failure><not-authorized/></failure>").0.unwrap_err();
        assert!(error.to_string().contains("not-authorized"));
    }
}
