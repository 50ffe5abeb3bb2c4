//! Whose a browser's phone is: a person of the organisation, by token or session; a party of a meeting, by its page's
//! cookie; or the visitor of a chat's room, by a token for that room's calls.
//!
//! Invariant: a party's phone has the line of that party, which no number names and which dials nothing; a person's has
//! one of the own extensions. What it was recognised by is looked at again for as long as the phone is there.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use calls::PartyLine;
use kernel::http::{Cookies, SESSION_COOKIE, bearer_token};
use kernel::{Action, Credential, Kernel, Principal, Problem, Secret};
use voice::ports::LineIdentity;
use voice::rtc::frame::{Fault, IceServer};
use voice::rtc::{PhoneAccount, PhoneRights, ice_servers};

use super::socket::{Parting, Server};
use crate::chat::calling::{VisitorPhone, is_phone_token};
use crate::meetings::sessions::{self, PartySession};

/// What a phone came with.
#[derive(Clone)]
pub(super) enum Proof {
    Token(Secret),
    Session(Secret),
    Party(PartySession),
    Visitor(VisitorPhone),
}

/// Who was recognised, and by what.
pub(super) struct Recognised {
    principal: Option<Principal>,
    proof: Proof,
}

/// The credential of the request itself; the first frame may bring it instead.
pub(super) enum OfRequest {
    /// It carries none.
    Nothing,
    /// It carries a good one.
    Good(Recognised),
    /// Its cookie is of a session that is over, or of somebody else than its page was made for.
    WrongCookie,
}

impl<S> FromRequestParts<S> for OfRequest
where
    S: Send + Sync,
    Kernel: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if let Some(mark) = party_mark(parts) {
            return Self::of_party(&mark, parts, state).await;
        }
        let token = bearer_token(&parts.headers).map(|token| Proof::Token(Secret::new(token)));
        let cookie = || Cookies(&parts.headers).get(SESSION_COOKIE).map(|cookie| Proof::Session(Secret::new(cookie)));
        let Some(proof) = token.or_else(cookie) else { return Ok(Self::Nothing) };
        // A cookie is taken from our own pages only: the extractor compares the Origin.
        let is_page = matches!(proof, Proof::Session(_));
        match Credential::from_request_parts(parts, state).await {
            Ok(credential) => match credential.principal.authorize(Action::UseOwnPhone) {
                Ok(_) => Ok(Self::Good(Recognised { principal: Some(credential.principal), proof })),
                Err(_) if is_page => Ok(Self::WrongCookie),
                Err(problem) => Err(problem),
            },
            Err(problem) if is_page && problem.status() == StatusCode::UNAUTHORIZED => Ok(Self::WrongCookie),
            Err(problem) => Err(problem),
        }
    }
}

/// `?party=..`: whom the page of a meeting that opens the phone was made for.
fn party_mark(parts: &Parts) -> Option<String> {
    let query = parts.uri.query()?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "party").map(|(_, mark)| mark.into_owned())
}

impl OfRequest {
    async fn of_party<S>(mark: &str, parts: &mut Parts, state: &S) -> Result<Self, Problem>
    where
        S: Send + Sync,
        Kernel: FromRef<S>,
    {
        match PartySession::from_request_parts(parts, state).await {
            Ok(party) if party.mark() == mark => {
                Ok(Self::Good(Recognised { principal: None, proof: Proof::Party(party) }))
            }
            Ok(_) => Ok(Self::WrongCookie),
            Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => Ok(Self::WrongCookie),
            Err(problem) => Err(problem),
        }
    }

    /// Who it is, with the token of the first frame where the request brings nothing.
    pub(super) async fn recognised(
        self,
        server: &Server,
        token: Option<Secret>,
        caller: &Caller,
    ) -> Result<Recognised, Parting> {
        // A visitor's page may stand beside a session of the same browser: the token says whose phone it is.
        if let Some(token) = token.as_ref().filter(|token| is_phone_token(token.expose())) {
            return visitor(server, token, caller.foreign_origin.as_deref()).await;
        }
        match (self, token) {
            (Self::Good(recognised), _) => Ok(recognised),
            (Self::Nothing, Some(token)) => match server.kernel.admit(token.expose(), caller.ip).await {
                Ok(credential) => Ok(Recognised { principal: Some(credential.principal), proof: Proof::Token(token) }),
                Err(problem) => Err(Parting::for_token(&problem)),
            },
            (Self::WrongCookie, _) => Err(Parting::because(Fault::Unauthorized, "the session is over")),
            (Self::Nothing, None) => Err(Parting::because(Fault::Unauthorized, "sign in, or say hello with a token")),
        }
    }
}

/// Whoever opens a phone's socket.
pub(super) struct Caller {
    pub(super) ip: IpAddr,
    /// The page's origin, when that is none of ours.
    pub(super) foreign_origin: Option<String>,
}

/// The visitor of a chat's room, on a page where the application wants its chat.
async fn visitor(server: &Server, token: &Secret, foreign_origin: Option<&str>) -> Result<Recognised, Parting> {
    match server.chat_calls.phone(token.expose()).await {
        Ok(Some((_, settings))) if foreign_origin.is_some_and(|origin| !settings.allows_origin(origin)) => {
            Err(Parting::because(Fault::Unauthorized, "the application does not list this page's origin"))
        }
        Ok(Some((phone, _))) => Ok(Recognised { principal: None, proof: Proof::Visitor(phone) }),
        Ok(None) => Err(Parting::because(Fault::Unauthorized, "the token is not good")),
        Err(error) => {
            tracing::error!(%error, "a visitor's phone cannot be looked at");
            Err(Parting::because(Fault::Unavailable, "try again in a moment"))
        }
    }
}

impl Recognised {
    /// The phone's account, and what it was recognised by.
    pub(super) async fn account(
        self,
        server: &Server,
        extension: Option<&str>,
    ) -> Result<(PhoneAccount, Proof), Parting> {
        let account = match (&self.proof, &self.principal) {
            (Proof::Party(party), _) => account_of_party(server, party),
            (Proof::Visitor(phone), _) => account_of_visitor(server, phone),
            (_, Some(principal)) => account_of_person(server, principal, extension).await?,
            (_, None) => return Err(Parting::because(Fault::Unauthorized, "this credential may not phone")),
        };
        Ok((account, self.proof))
    }
}

/// A party's phone shows nobody's name: its page knows who it is.
fn account_of_party(server: &Server, party: &PartySession) -> PhoneAccount {
    let line = PartyLine::new(&party.app, &party.uid).identity(&party.org);
    let ice_servers = relays(server, &party.mark());
    PhoneAccount { line, name: String::new(), ice_servers, rights: PhoneRights::AnswerOnly }
}

/// A visitor's phone answers the calls of its room.
fn account_of_visitor(server: &Server, phone: &VisitorPhone) -> PhoneAccount {
    let ice_servers = relays(server, &phone.room);
    let line = phone.line().identity(&phone.org);
    PhoneAccount { line, name: String::new(), ice_servers, rights: PhoneRights::AnswerOnly }
}

async fn account_of_person(
    server: &Server,
    principal: &Principal,
    extension: Option<&str>,
) -> Result<PhoneAccount, Parting> {
    let Ok(org) = principal.authorize(Action::UseOwnPhone) else {
        return Err(Parting::because(Fault::Unauthorized, "this credential may not phone"));
    };
    let nobody = || Parting::because(Fault::NoExtension, "you have no such extension: ask an administrator");
    let person = principal.person().ok_or_else(nobody)?;
    match server.calls.directory().browser_line(org, person, extension).await {
        Ok(Some((line, name))) => {
            let ice_servers = relays(server, person);
            Ok(PhoneAccount { line, name, ice_servers, rights: PhoneRights::All })
        }
        Ok(None) => Err(nobody()),
        Err(error) => {
            tracing::error!(%error, "a phone's extension cannot be read");
            Err(Parting::because(Fault::Unavailable, "try again in a moment"))
        }
    }
}

/// What a browser may ask for addresses, with credentials as of now, made out to `whom`.
pub(super) fn relays(server: &Server, whom: &str) -> Vec<IceServer> {
    let (media, now_ms) = (&server.kernel.config.media, server.kernel.clock.now_ms());
    ice_servers(&media.ice_servers, media.turn_secret.as_ref(), whom, now_ms)
}

impl Proof {
    /// Whether it still opens the phone of this line.
    pub(super) async fn still_opens(&self, server: &Server, line: &LineIdentity) -> bool {
        let kernel = &server.kernel;
        let known = match self {
            Self::Token(token) => kernel.authenticate(token.expose()).await,
            Self::Session(cookie) => kernel.authenticate_session(cookie.expose()).await,
            // The store cannot say: what held a moment ago holds until it can.
            Self::Party(party) => return sessions::is_open(kernel, party).await.unwrap_or(true),
            Self::Visitor(phone) => return server.chat_calls.still_opens(phone).await.unwrap_or(true),
        };
        match known {
            Ok(Some(credential)) => {
                credential.principal.authorize(Action::UseOwnPhone).is_ok()
                    && credential.principal.person() == line.person.as_ref()
            }
            Ok(None) => false,
            // As above.
            Err(_) => true,
        }
    }

    /// Whom credentials for relays are made out to.
    pub(super) fn relay_user(&self, line: &LineIdentity) -> Option<Arc<str>> {
        match self {
            Self::Party(party) => Some(party.mark().into()),
            Self::Visitor(phone) => Some(phone.room.clone()),
            Self::Token(_) | Self::Session(_) => line.person.clone(),
        }
    }
}
