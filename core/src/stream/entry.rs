//! From a login by SASL2 into the account: tokens, a resource and its features, all with `<success/>`. XEP-0388 §2.6.1, XEP-0386,
//! XEP-0484.
//!
//! Success is said once the account has done what was asked and that is on disk: a client that has its token can rely on it.

use crate::error::Condition;
use crate::jid::FullJid;
use crate::ns;
use crate::owner::AccountId;
use crate::sasl::hashed_token::RESOURCE_PART_BYTES;
use crate::sasl::{Authenticated, ClientId, Proof, SaslCondition, Seed, payload};
use crate::time::Timestamp;

use super::sasl2::{BindWish, Wishes};
use super::state::{
    Attempt, Bound, ExpectBind, ExpectLogin, ExpectMove, ExpectRestart, ExpectResume, Next, Profile, State, Turned,
};
use super::{Ask, Binding, Call, Entered, Entry, Shown, Transport, features, resume};

/// A login by SASL2 that its mechanism has let pass.
pub(super) struct Passage {
    pub client: ExpectLogin,
    pub wishes: Box<Wishes>,
    pub proof: Proof,
    /// The mechanism's last message.
    pub additional: Vec<u8>,
    /// What a token would be made of that the client gets.
    pub fresh: Seed,
    /// The account has seen to the client's tokens, and the fresh one is good until then.
    pub tokens: Option<Option<Timestamp>>,
    /// There is no session to come back to; with its count of stanzas, if that is known.
    pub not_resumed: Option<Option<u32>>,
}

/// The account sees to what the client wishes.
pub(super) struct ExpectEntry {
    pub who: Authenticated,
    passage: Box<Passage>,
}

impl ExpectMove {
    /// The connection is where its account is.
    pub(super) fn moved(self, call: &mut Call<'_, '_>) -> Turned {
        let ExpectMove { who, passage } = self;
        match passage {
            Some(passage) => passage.go_on(who, call),
            None => Ok(Next::To(State::Restart(ExpectRestart { who }))),
        }
    }
}

impl Passage {
    /// Asks for the next thing that the client wishes. Its token comes first, as one that is no good must not bring anything about;
    /// then the session it had, and a new one only without that. XEP-0198 §9.2, XEP-0386 §3.2
    fn go_on(mut self: Box<Self>, who: Authenticated, call: &mut Call<'_, '_>) -> Turned {
        let account = who.account();
        let mut entry = self.entry(&who, call);
        let has_tokens = entry.shown.is_some() || entry.wanted.is_some();
        if has_tokens && self.wishes.resume.is_some() {
            entry.bind = None;
        } else if let Some(resume) = self.wishes.resume.take() {
            // BOSH has sessions of its own, and none of them is resumable.
            if let (Some((token, count)), true) = (resume.request, call.transport != Transport::Bosh) {
                let state = State::Resume(Box::new(ExpectResume { who, passage: Some(self) }));
                return Ok(Next::Ask(state, Ask::Resume { account, token, count }));
            }
            self.not_resumed = Some(None);
            return self.go_on(who, call);
        }
        if has_tokens || entry.bind.is_some() {
            let state = State::Enter(Box::new(ExpectEntry { who, passage: self }));
            return Ok(Next::Ask(state, Ask::Enter(account, Box::new(entry))));
        }
        Ok(Next::To(self.success(who, Entered::default(), call)))
    }

    /// What to ask of the account.
    fn entry(&self, who: &Authenticated, call: &mut Call<'_, '_>) -> Entry {
        let account = who.account();
        let secret = call.host.terms.decoy_secret;
        let agent = self.wishes.agent.as_deref();
        let client = agent.and_then(|agent| ClientId::of(secret, account, agent));
        let fast = self.wishes.fast.unwrap_or_default();
        let shown = match self.proof {
            Proof::Token(seed) => Some(Shown { seed, count: fast.count, invalidate: fast.invalidate }),
            Proof::Password | Proof::Session => None,
        };
        // A session of the API ends, and a token for it would not.
        let may_have = client.is_some() && self.proof != Proof::Session;
        Entry {
            secret_version: who.secret_version(),
            client,
            shown: shown.filter(|_| self.tokens.is_none()),
            wanted: self.wishes.token.filter(|_| may_have && self.tokens.is_none()),
            fresh: self.fresh,
            bind: self.wishes.bind.as_ref().map(|bind| Binding {
                jid: address(bind, account, client, call),
                request: bind.request.clone(),
                replaceable: call.transport != Transport::Bosh,
                archive: Box::default(),
            }),
        }
    }

    /// Lets the client in. XEP-0388 §2.6.1
    fn success(self, who: Authenticated, entered: Entered, call: &mut Call<'_, '_>) -> State {
        self.say(who.account(), &entered, None, call);
        match entered.jid {
            Some(jid) => {
                features::write_bound(&entered.done, call);
                State::Bound(Bound { jid })
            }
            None => {
                let state = ExpectBind { who };
                features::write_after_login(&state, call);
                State::Bind(state)
            }
        }
    }

    /// The session that the client had is its again. No features follow. XEP-0198 §9.2
    pub(super) fn resumed(self, who: &Authenticated, jid: FullJid, element: &[u8], call: &mut Call<'_, '_>) -> State {
        let entered = Entered { jid: Some(jid.clone()), ..Entered::default() };
        self.say(who.account(), &entered, Some(element), call);
        State::Bound(Bound { jid })
    }

    /// There is no such session: what else the client wishes is done.
    pub(super) fn not_resumed(
        mut self: Box<Self>,
        who: Authenticated,
        handled: Option<u32>,
        call: &mut Call<'_, '_>,
    ) -> Turned {
        self.not_resumed = Some(handled);
        self.go_on(who, call)
    }

    fn say(&self, account: AccountId, entered: &Entered, resumed: Option<&[u8]>, call: &mut Call<'_, '_>) {
        let secret = call.host.terms.decoy_secret;
        let bare = account.at(call.host.terms.domain);
        let jid = entered.jid.as_ref().map_or(bare.as_str(), FullJid::as_str);
        call.write(|xml| {
            xml.open("success").ns(ns::SASL_2);
            if !self.additional.is_empty() {
                xml.simple("additional-data", &payload::encode(&self.additional));
            }
            xml.simple("authorization-identifier", jid);
            if let Some(resumed) = resumed {
                xml.raw_bytes(resumed);
            } else if let Some(handled) = self.not_resumed {
                resume::write_failed("item-not-found", handled, xml);
            }
            if entered.jid.is_some() && resumed.is_none() {
                xml.open("bound").ns(ns::BIND_2);
                if !entered.bound.is_empty() {
                    xml.raw_bytes(&entered.bound);
                }
                xml.close();
            }
            if let Some(until) = self.tokens.flatten().or(entered.token_until) {
                let token = self.fresh.token(secret, account);
                xml.open("token").ns(ns::FAST).attr("token", &token).attr("expiry", &until.iso().to_string()).close();
            }
        });
    }
}

impl ExpectEntry {
    /// The account has done what was asked, and that is on disk.
    pub(super) fn entered(self, entered: Entered, call: &mut Call<'_, '_>) -> Turned {
        let ExpectEntry { who, mut passage } = self;
        // A token was looked for now, and will not be again.
        let who = who.with_secret(entered.secret_version);
        if passage.wishes.resume.is_some() {
            passage.tokens = Some(entered.token_until);
            return passage.go_on(who, call);
        }
        Ok(Next::To(passage.success(who, entered, call)))
    }

    /// The account does not take the client in, and nothing has changed.
    pub(super) fn refused(self, condition: Condition, call: &mut Call<'_, '_>) -> Turned {
        let Passage { client, wishes, .. } = *self.passage;
        let attempt = Attempt { client, profile: Profile::Sasl2(wishes), secret_version: None };
        let condition = match condition {
            // The secret was replaced between being shown and being used.
            Condition::NotAuthorized => SaslCondition::NotAuthorized,
            _ => SaslCondition::TemporaryAuthFailure,
        };
        attempt.fail(condition, call)
    }
}

/// The address to bind: what the client calls itself, and a part that stays the same for each of its installations. A tag that
/// cannot be in a resource is left out. XEP-0386 §3.2.1
fn address(bind: &BindWish, account: AccountId, client: Option<ClientId>, call: &mut Call<'_, '_>) -> FullJid {
    let part = client.unwrap_or_else(|| {
        let mut random = [0; 16];
        call.host.random.fill(&mut random);
        ClientId::unnamed(random)
    });
    let part = part.resource_part();
    debug_assert!(RESOURCE_PART_BYTES.is_multiple_of(3), "the part has no padding");
    let bare = account.at(call.host.terms.domain);
    let tagged = bind.tag.as_deref().and_then(|tag| bare.with_resource(&format!("{tag}/{part}")).ok());
    tagged.unwrap_or_else(|| bare.with_resource(&part).expect("letters, digits, dashes and underscores are a resource"))
}
