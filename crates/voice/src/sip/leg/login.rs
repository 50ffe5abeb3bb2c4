//! Our credentials at a peer that asks for them (RFC 3261 §22).

use crate::ports::Secret;
use crate::sip::digest::{Answering, Challenge};
use crate::sip::draft::Draft;
use crate::sip::message::{Message, Method, Name};

/// Credentials for a peer that asks, and what it asked last.
#[derive(Debug)]
pub(crate) struct Login {
    user: String,
    password: Secret,
    challenge: Option<(Challenge, bool)>,
    count: u32,
    /// Challenges answered in a row without success.
    tries: u8,
    /// The field that signed our last INVITE: its ACK carries the same (RFC 3261 §22.1).
    invite: Option<(&'static str, String)>,
}

impl Login {
    /// Credentials that have not been asked for.
    pub(crate) fn new(user: String, password: Secret) -> Self {
        Self { user, password, challenge: None, count: 0, tries: 0, invite: None }
    }

    /// Takes a 401 or 407; false when there is nothing to answer it with, or it has been answered before.
    pub(crate) fn challenged(&mut self, response: &Message) -> bool {
        let proxy = response.code() == 407;
        let name = if proxy { Name::ProxyAuthenticate } else { Name::WwwAuthenticate };
        let Some(challenge) = Challenge::choose(response.fields(name)) else {
            return false;
        };
        // One answer a challenge; a second only when the first nonce was merely old.
        let again = self.tries > 0 && !challenge.stale;
        self.tries += 1;
        self.count = 0;
        self.challenge = Some((challenge, proxy));
        !again && self.tries <= 3
    }

    /// A request went through.
    pub(crate) fn accepted(&mut self) {
        self.tries = 0;
    }

    /// Adds the answer to the last challenge, if there was one.
    pub(crate) fn sign(&mut self, draft: Draft, method: Method, uri: &str, body: &[u8], cnonce: &str) -> Draft {
        let Some((challenge, proxy)) = &self.challenge else {
            return draft;
        };
        self.count += 1;
        let request = Answering { method: method.as_str(), uri, body, count: self.count, cnonce };
        let name = if *proxy { "Proxy-Authorization" } else { "Authorization" };
        let answer = challenge.answer(&self.user, &self.password, &request);
        let draft = draft.field(name, &answer);
        if method == Method::Invite {
            self.invite = Some((name, answer));
        }
        draft
    }

    /// Adds what our last INVITE was signed with, for its ACK.
    pub(super) fn repeat(&self, draft: Draft) -> Draft {
        match &self.invite {
            Some((name, value)) => draft.field(name, value),
            None => draft,
        }
    }
}
