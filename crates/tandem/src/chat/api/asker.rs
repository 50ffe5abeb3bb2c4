//! Who asks by HTTP: a visitor by its token, a person, an application.
//!
//! Invariant: what comes from a page of another site is answered only where the application of the asker allows the site.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use kernel::error::codes;
use kernel::http::{Client, bearer_token};
use kernel::{Credential, Kernel, Principal, Problem};

use crate::chat::model::{Id, Visitor};
use crate::chat::{Asker, Chats, origins};

/// Who asks.
pub(in crate::chat) enum Caller {
    /// A visitor.
    Visitor(Visitor),
    /// An application's page, by its publishable key: it may open rooms.
    Page { org: Id, app: Id },
    /// Those who answer.
    Support(Asker),
}

impl Caller {
    /// As the desk knows it.
    ///
    /// # Errors
    /// 403 for a publishable key.
    pub(in crate::chat) fn asker(&self) -> Result<Asker, Problem> {
        match self {
            Self::Visitor(visitor) => Ok(Asker::from(visitor)),
            Self::Support(asker) => Ok(asker.clone()),
            Self::Page { .. } => Err(Problem::new(codes::FORBIDDEN)),
        }
    }

    /// The organisation and application whose pages it may be on.
    fn place(&self) -> Option<(&Id, &Id)> {
        match self {
            Self::Visitor(visitor) => Some((&visitor.org, &visitor.app)),
            Self::Page { org, app } => Some((org, app)),
            Self::Support(asker) => asker.app().map(|app| (asker.org(), app)),
        }
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (chats, kernel) = (Chats::from_ref(state), Kernel::from_ref(state));
        let caller = match bearer_token(&parts.headers).filter(|token| Chats::is_visitor_token(token)) {
            Some(token) => match chats.authenticate_visitor(token).await.map_err(Problem::internal)? {
                Some(visitor) => Self::Visitor(visitor),
                None => {
                    let Ok(client) = Client::from_request_parts(parts, state).await;
                    return Err(kernel.wrong_credential(client.ip));
                }
            },
            None => match Credential::from_request_parts(parts, state).await?.principal {
                Principal::Publishable { org, app } => Self::Page { org, app },
                principal @ Principal::Administrator { .. } if principal.org().is_empty() => {
                    return Err(Problem::new(codes::NO_ORGANISATION_CHOSEN));
                }
                principal => Self::Support(Asker::of(&principal).ok_or_else(|| Problem::new(codes::FORBIDDEN))?),
            },
        };
        if let Some((org, app)) = caller.place() {
            origins::admit(&kernel, parts, &*chats.settings(org, app).await?)?;
        }
        Ok(caller)
    }
}

/// The application that is meant: an asker's own, the one that is named, else the organisation's oldest with a chat.
///
/// # Errors
/// 404 when there is none such.
pub(super) async fn app_of(chats: &Chats, asker: &Asker, named: Option<&str>) -> Result<Id, Problem> {
    if let Some(app) = asker.app() {
        return Ok(app.clone());
    }
    let org = asker.org();
    let found = match named {
        Some(id) => Some(chats.kernel().app(org, id).await?),
        None => chats.default_app(org).await?,
    };
    found.map(|app| app.id.into()).ok_or_else(|| Problem::not_found().detail("no application has a chat"))
}
