//! By what a client was recognised, and whether that still holds: a socket is open for days.

use std::net::IpAddr;

use axum::http::HeaderMap;
use kernel::error::codes;
use kernel::http::{bearer_token, presented_token};
use kernel::{Problem, RecordError, Secret};

use super::door::Page;
use crate::chat::{Asker, Chats};

/// A token, or the cookie of a session.
pub(super) struct Proof(Secret);

/// Whom a proof is of.
enum Found {
    /// Somebody who may chat.
    Asker(Asker),
    /// Somebody else.
    Other,
    /// Nobody.
    Nobody,
}

impl Proof {
    /// What a request carries, if it carries anything. The cookie counts for pages of this server alone.
    pub(super) fn of_request(headers: &HeaderMap, page: &Page) -> Option<Self> {
        let token = if page.is_own() { presented_token(headers) } else { bearer_token(headers) };
        token.map(|token| Self(Secret::new(token)))
    }

    /// The token of a first frame.
    pub(super) fn of_frame(token: Secret) -> Self {
        Self(token)
    }

    /// Who it is, asked for the first time from `address`.
    ///
    /// # Errors
    /// 401 for what is wrong, 403 for what does not open the chat, 429 when wrong ones repeat.
    pub(super) async fn recognise(&self, chats: &Chats, address: IpAddr) -> Result<Asker, Problem> {
        match self.find(chats).await? {
            Found::Asker(asker) => Ok(asker),
            Found::Other => Err(Problem::new(codes::FORBIDDEN)),
            Found::Nobody => Err(chats.kernel().wrong_credential(address)),
        }
    }

    /// Whether it is still the same one. What held a moment ago holds until the store can say.
    pub(super) async fn still_is(&self, chats: &Chats, was: &Asker) -> bool {
        match self.find(chats).await {
            Ok(found) => matches!(found, Found::Asker(now) if now == *was),
            Err(_) => true,
        }
    }

    async fn find(&self, chats: &Chats) -> Result<Found, RecordError> {
        let token = self.0.expose();
        if Chats::is_visitor_token(token) {
            let visitor = chats.authenticate_visitor(token).await?;
            return Ok(visitor.map_or(Found::Nobody, |visitor| Found::Asker(Asker::from(&visitor))));
        }
        let Some(credential) = chats.kernel().recognise(token).await? else { return Ok(Found::Nobody) };
        Ok(Asker::of(&credential.principal).map_or(Found::Other, Found::Asker))
    }
}
