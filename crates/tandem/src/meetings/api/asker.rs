//! Who asks for a meeting: an application, somebody of the organisation, or one of the two in the browser.
//!
//! Invariant: an application's key reaches its own application's meetings, a party its own, and everybody else's is not
//! found.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use kernel::http::{Cookies, bearer_token};
use kernel::{Action, Kernel, Principal, Problem};

use crate::meetings::Meetings;
use crate::meetings::error::MeetingError;
use crate::meetings::model::{Actor, Meeting, Role};
use crate::meetings::sessions::{PARTY_COOKIE, PartySession};

/// Who asks.
pub(super) enum Asker {
    /// A key, or a person.
    Credential(Principal),
    /// One of the two of a meeting.
    Party(PartySession),
}

/// A meeting as somebody may reach it.
pub(super) struct Reached {
    pub(super) org: Arc<str>,
    /// Of this application only.
    pub(super) app: Option<Arc<str>>,
    pub(super) meeting: Meeting,
    pub(super) by: Actor,
}

impl Reached {
    /// Which of the two asks, if it is one of them.
    pub(super) fn role(&self) -> Option<Role> {
        self.by.role()
    }
}

impl<S> FromRequestParts<S> for Asker
where
    S: Send + Sync,
    Kernel: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let is_party = bearer_token(&parts.headers).is_none() && Cookies(&parts.headers).get(PARTY_COOKIE).is_some();
        if is_party {
            return PartySession::from_request_parts(parts, state).await.map(Self::Party);
        }
        Principal::from_request_parts(parts, state).await.map(Self::Credential)
    }
}

/// The application that a principal is, which sees no other's meetings.
pub(super) fn app_of(principal: &Principal) -> Option<Arc<str>> {
    match principal {
        Principal::App { app, .. } => Some(app.clone()),
        _ => None,
    }
}

impl Asker {
    /// The meeting of an id, if whoever asks may do this with it.
    ///
    /// # Errors
    /// 403, or 404 for one of another organisation, application or person.
    pub(super) async fn reach(&self, meetings: &Meetings, id: &str, action: Action) -> Result<Reached, Problem> {
        match self {
            Self::Credential(principal) => {
                let org = principal.authorize(action)?.clone();
                let app = app_of(principal);
                let meeting = meetings.get(&org, app.as_deref(), number(id)?).await?;
                Ok(Reached { org, app, meeting, by: Actor::Application })
            }
            Self::Party(party) => {
                let meeting = meetings.get(&party.org, Some(&party.app), number(id)?).await?;
                let role = meeting.role_of(&party.uid).ok_or(MeetingError::NotFound)?;
                let (org, app) = (party.org.clone(), Some(party.app.clone()));
                Ok(Reached { org, app, meeting, by: Actor::Party(role) })
            }
        }
    }
}

/// What is no number is the id of nothing.
fn number(id: &str) -> Result<i64, Problem> {
    id.parse().map_err(|_| Problem::not_found())
}
