//! Who sends a documented request: by token, key, an application's word, or nothing at all.
//!
//! Invariant: a wrong credential is 401 and never taken for none; a page whose origin the application does not list gets
//! nothing; only what the credential says counts, never a name in the request.
//! Source: docs/contracts/chat.md, "Security of a public widget".

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use kernel::error::codes;
use kernel::http::{Client, Tenant, bearer_token};
use kernel::{Credential, Kernel, Org, Principal, Problem};

use super::intake::Fields;
use crate::chat::identity::{Expected, Proof, looks_like_token, verify};
use crate::chat::model::{Id, Visitor};
use crate::chat::settings::Identity;
use crate::chat::visitors::Card;
use crate::chat::{Asker, ChatError, ChatSettings, Chats, Opener, Wide, origins};

/// The query's name for a publishable key. A secret key never stands in a URL.
const API_KEY: &str = "api_key";
const PUBLISHABLE: &str = "pk_";

/// Who asks, as far as the request says by itself.
#[derive(Clone, Debug)]
enum Known {
    /// A visitor, and whether it holds a token already.
    Visitor { visitor: Visitor, has_token: bool },
    /// A person of the organisation, or an application's server.
    Staff(Asker),
    /// Anybody.
    Nobody,
}

/// Where a request belongs.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) org: Id,
    pub(super) app: Id,
    pub(super) settings: Arc<ChatSettings>,
}

/// Who sends a documented request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    known: Known,
    /// None = nobody's: no application takes keyless requests at this Host.
    home: Option<Home>,
    /// Whether a publishable key named it.
    is_keyed: bool,
    pub(super) client: Client,
    pub(super) headers: HeaderMap,
}

/// What a request is recognised by.
enum Shown {
    Nothing,
    Visitor(Visitor),
    /// An application's word for a visitor; read once its application is known.
    Token(String),
    Principal(Principal),
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Kernel: FromRef<S>,
    Chats: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let chats = Chats::from_ref(state);
        let Ok(client) = Client::from_request_parts(parts, state).await;
        let query = Fields::of_query(parts.uri.query().unwrap_or_default());
        let (shown, named) = match shown(&chats, parts, &query, client).await {
            Ok(shown) => shown,
            Err(problem) => {
                // A page has to learn that its token is over, or it never lets go of it.
                origins::show_refusal(&chats, parts).await?;
                return Err(problem);
            }
        };
        let home = match (&shown, named) {
            (_, Some((org, app))) => Some(home(&chats, org, app).await?),
            (Shown::Principal(principal), None) => default_home(&chats, principal.org()).await?,
            _ => match Tenant::from_request_parts(parts, state).await {
                Ok(Tenant(org)) => default_home(&chats, &org.id.as_str().into()).await?,
                Err(problem) if problem.code == codes::NOT_FOUND => None,
                Err(problem) => return Err(problem),
            },
        };
        if let Some(home) = &home {
            origins::admit(chats.kernel(), parts, &home.settings)?;
        }
        let is_keyed = matches!(shown, Shown::Principal(Principal::Publishable { .. }));
        let known = match shown {
            Shown::Nothing => Known::Nobody,
            Shown::Visitor(visitor) => Known::Visitor { visitor, has_token: true },
            Shown::Principal(Principal::Publishable { .. }) => Known::Nobody,
            Shown::Principal(principal) => {
                Known::Staff(Asker::of(&principal).ok_or_else(|| Problem::new(codes::FORBIDDEN))?)
            }
            Shown::Token(token) => {
                let home = home.as_ref().ok_or_else(|| Problem::new(codes::UNAUTHORIZED))?;
                let visitor = vouched(&chats, client, home, Proof::Token(&token), None, &[]).await?;
                Known::Visitor { visitor, has_token: false }
            }
        };
        Ok(Self { known, home, is_keyed, client, headers: parts.headers.clone() })
    }
}

/// What the request shows, and the organisation and application that it names.
async fn shown(
    chats: &Chats,
    parts: &Parts,
    query: &Fields,
    client: Client,
) -> Result<(Shown, Option<(Id, Id)>), Problem> {
    let in_query = query.text(API_KEY).filter(|key| !key.is_empty());
    let by_key = match &in_query {
        Some(key) if key.starts_with(PUBLISHABLE) => Some(chats.kernel().admit(key, client.ip).await?.principal),
        Some(_) => {
            let wrong = chats.kernel().wrong_credential(client.ip);
            return Err(wrong.detail("api_key takes a publishable key (pk_...) and nothing else"));
        }
        None => None,
    };
    let of_key = by_key.as_ref().and_then(application);
    let Some(token) = bearer_token(&parts.headers) else {
        return Ok((by_key.map_or(Shown::Nothing, Shown::Principal), of_key));
    };
    if Chats::is_visitor_token(token) {
        let visitor = chats.authenticate_visitor(token).await.map_err(Problem::internal)?;
        let visitor = visitor.ok_or_else(|| chats.kernel().wrong_credential(client.ip))?;
        let named = (visitor.org.clone(), visitor.app.clone());
        return Ok((Shown::Visitor(visitor), Some(named)));
    }
    if looks_like_token(token) {
        return Ok((Shown::Token(token.to_owned()), of_key));
    }
    // The layer of Idempotency-Key may have asked already.
    let principal = match parts.extensions.get::<Credential>() {
        Some(known) => known.principal.clone(),
        None => chats.kernel().admit(token, client.ip).await?.principal,
    };
    // A person has no application; the key beside says which of the organisation's is meant.
    let of_own_key = of_key.filter(|(org, _)| org == principal.org());
    let named = application(&principal).or(of_own_key);
    Ok((Shown::Principal(principal), named))
}

/// The organisation and application that a key names.
fn application(principal: &Principal) -> Option<(Id, Id)> {
    match principal {
        Principal::App { org, app, .. } | Principal::Publishable { org, app } => Some((org.clone(), app.clone())),
        _ => None,
    }
}

async fn home(chats: &Chats, org: Id, app: Id) -> Result<Home, Problem> {
    let settings = chats.settings(&org, &app).await?;
    Ok(Home { org, app, settings })
}

async fn default_home(chats: &Chats, org: &Id) -> Result<Option<Home>, Problem> {
    match chats.default_app(org).await? {
        Some(app) => Ok(Some(home(chats, org.clone(), app.id.into()).await?)),
        None => Ok(None),
    }
}

/// The visitor that an application vouches for.
async fn vouched(
    chats: &Chats,
    client: Client,
    home: &Home,
    proof: Proof<'_>,
    user_id: Option<&str>,
    labels: &[&str],
) -> Result<Visitor, Problem> {
    let kernel = chats.kernel();
    let org: Org = kernel.org_by_id(&home.org).await?.ok_or_else(Problem::not_found)?;
    let orgs: Vec<&str> = [org.id.as_str(), org.slug.as_str()].into_iter().chain(labels.iter().copied()).collect();
    let secrets = home.settings.open_identity_secrets(&kernel.secrets).map_err(Problem::internal)?;
    let verified = verify(&secrets, proof, Expected { orgs: &orgs, user_id }, chats.now_ms());
    let user_id = verified.map_err(|why| kernel.wrong_credential(client.ip).detail(why.to_string()))?;
    Ok(chats.vouched_visitor(&home.org, &home.app, &user_id, &Card::default()).await?)
}

impl Caller {
    /// Where a request belongs that anybody may send.
    ///
    /// # Errors
    /// 404 when it belongs nowhere.
    pub(super) fn home(&self) -> Result<&Home, Problem> {
        self.home.as_ref().ok_or_else(|| {
            Problem::not_found().detail("no organisation with an application of scope chat stands at this Host")
        })
    }

    /// Whether the request shows any key at all: a publishable one, or a better one.
    ///
    /// # Errors
    /// 401 when it shows none and the application is not `open`.
    pub(super) fn has_key(&self) -> Result<(), Problem> {
        if self.is_stranger() && !self.is_keyed { Err(Problem::new(codes::UNAUTHORIZED)) } else { Ok(()) }
    }

    fn is_open(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.settings.identity == Identity::Open)
    }

    /// Whether nothing but the request itself speaks for it, and that is not enough here.
    pub(super) fn is_stranger(&self) -> bool {
        matches!(self.known, Known::Nobody) && !self.is_open()
    }

    /// Whether the request says nothing of who sends it.
    pub(super) fn is_nobody(&self) -> bool {
        matches!(self.known, Known::Nobody)
    }

    /// Who asks for something of a room. Whoever shows nothing but its id is judged by the room's own application, as far
    /// as the page goes that asks.
    ///
    /// # Errors
    /// 404 when the request belongs nowhere, 403 for a page that the room's application does not list.
    pub(super) async fn of_room(&self, chats: &Chats, room: &str) -> Result<Asker, Problem> {
        let asker = self.asker(room)?;
        if let Asker::Room { org, room } = &asker {
            let found = match chats.room_of_desk(org, room).await {
                Ok(room) => room,
                // Whatever is wanted of it says so.
                Err(ChatError::NotFound) => return Ok(asker),
                Err(error) => return Err(error.into()),
            };
            if found.app != self.home()?.app {
                let settings = chats.settings(org, &found.app).await?;
                origins::listed(chats.kernel(), &self.headers, &settings)?;
            }
        }
        Ok(asker)
    }

    fn asker(&self, room: &str) -> Result<Asker, Problem> {
        match &self.known {
            Known::Visitor { visitor, .. } => Ok(visitor.into()),
            Known::Staff(asker) => Ok(asker.clone()),
            Known::Nobody => {
                let Home { org, app, .. } = self.home()?;
                Ok(match self.is_open() {
                    true => Asker::Open { org: org.clone(), app: app.clone() },
                    false => Asker::Room { org: org.clone(), room: room.into() },
                })
            }
        }
    }

    /// Who asks for something of all rooms, if it may.
    ///
    /// # Errors
    /// 401 without a credential, 403 with one that does not reach so far.
    pub(super) async fn of_all(&self, chats: &Chats, wide: Wide) -> Result<Asker, Problem> {
        if self.is_stranger() {
            return Err(Problem::new(codes::UNAUTHORIZED));
        }
        let asker = self.asker("")?;
        chats.may_everywhere(&asker, wide).await?;
        Ok(asker)
    }

    /// The same once the fields of a body are known, in which an application may vouch for its visitor by
    /// `identity_token` or `user_hash`.
    ///
    /// # Errors
    /// 401 when that proves nothing.
    pub(super) async fn proved(mut self, chats: &Chats, fields: &Fields) -> Result<Self, Problem> {
        let (token, hash) = (fields.text("identity_token"), fields.text("user_hash"));
        let proof = match (&token, &hash) {
            (Some(token), _) => Proof::Token(token),
            (None, Some(hash)) => Proof::Hash(hash),
            (None, None) => return Ok(self),
        };
        let (user_id, label) = (fields.text("user_id"), fields.text("org_id"));
        let labels: Vec<&str> = label.as_deref().into_iter().collect();
        let visitor = vouched(chats, self.client, self.home()?, proof, user_id.as_deref(), &labels).await?;
        self.known = Known::Visitor { visitor, has_token: false };
        Ok(self)
    }

    /// As whom a room is opened.
    ///
    /// # Errors
    /// 403 for whoever may not open rooms for others.
    pub(super) async fn opener(&self, chats: &Chats) -> Result<Opener, Problem> {
        match &self.known {
            Known::Visitor { visitor, .. } => Ok(Opener::Visitor(visitor.clone())),
            Known::Staff(asker) => {
                chats.may_everywhere(asker, Wide::OpenForOthers).await?;
                Ok(Opener::Anyone)
            }
            Known::Nobody if self.is_open() => Ok(Opener::Anyone),
            Known::Nobody => Ok(Opener::Stranger),
        }
    }

    /// Whether new rooms are counted by the address: an application's server opens them for many.
    pub(super) fn is_counted(&self) -> bool {
        !matches!(self.known, Known::Staff(_))
    }

    /// A visitor that is known by its application's word alone, and so needs a token.
    pub(super) fn needs_token(&self) -> Option<&Visitor> {
        match &self.known {
            Known::Visitor { visitor, has_token: false } => Some(visitor),
            _ => None,
        }
    }

    /// The user that the application vouched for; nobody else's name is believed then.
    pub(super) fn vouched_user(&self) -> Option<&str> {
        match &self.known {
            Known::Visitor { visitor, .. } if visitor.verified => Some(&visitor.user_id),
            _ => None,
        }
    }
}
