//! Who looks at a page: a person, or an administrator of the installation looking at an organisation.
//!
//! Invariant: a visitor's organisation is its credential's; nothing on a page names another, and forms that name another
//! do not come this far ([`super::made_for`]).

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use kernel::error::codes;
use kernel::sign_in::Identity;
use kernel::{Action, Credential, Kernel, Org, Principal, Problem, Role};

use super::nav;
use super::page::Page;
use super::session::Theme;
use crate::app::State;

/// Whoever looks at a page.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// The credential that the browser came with.
    pub(super) credential: Credential,
    /// Name for people.
    pub(super) name: String,
    /// The organisation it works in; none before an administrator has chosen one.
    pub(super) org: Option<Org>,
    theme: Theme,
    done: Option<String>,
}

impl Visitor {
    /// Who it is to the rest of the server.
    pub(super) fn principal(&self) -> &Principal {
        &self.credential.principal
    }

    /// Whether it may do this.
    pub(super) fn may(&self, action: Action) -> bool {
        self.principal().may(action)
    }

    /// The id of the organisation that it works in. Doors that ask for an action let nobody in without one.
    pub(super) fn org_id(&self) -> &Arc<str> {
        self.principal().org()
    }

    /// The organisation that it works in.
    ///
    /// # Errors
    /// 403 before an administrator has chosen one.
    pub(super) fn org(&self) -> Result<&Org, Problem> {
        self.org.as_ref().ok_or_else(|| Problem::new(codes::NO_ORGANISATION_CHOSEN))
    }

    /// Of a person, its role; an administrator has none.
    pub(super) fn role(&self) -> Option<Role> {
        match self.principal() {
            Principal::Person { role, .. } => Some(*role),
            _ => None,
        }
    }

    /// Whether it is an administrator of the installation.
    pub(super) fn is_administrator(&self) -> bool {
        matches!(self.principal(), Principal::Administrator { .. })
    }

    /// Who signed in.
    ///
    /// # Errors
    /// 401 for keys of applications, which no door lets in.
    pub(super) fn identity(&self) -> Result<Identity, Problem> {
        match self.principal() {
            Principal::Person { org, person, .. } => {
                Ok(Identity::Person { org: org.to_string(), person: person.to_string() })
            }
            Principal::Administrator { administrator, .. } => Ok(Identity::Administrator(administrator.to_string())),
            Principal::App { .. } | Principal::Publishable { .. } => Err(Problem::new(codes::UNAUTHORIZED)),
        }
    }

    /// The own extensions, by number.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn extensions(&self, kernel: &Kernel) -> Result<Vec<String>, Problem> {
        let Some(person) = self.principal().person() else { return Ok(Vec::new()) };
        let all = calls::extensions(kernel, self.org_id()).await.map_err(Problem::internal)?;
        Ok(all.into_iter().filter(|entry| entry.person == **person).map(|entry| entry.number).collect())
    }

    /// A page for this visitor; `place` is the path of the line of the navigation that it belongs to.
    pub(super) fn page(&self, title: impl Into<String>, place: &'static str) -> Page {
        Page {
            title: title.into(),
            theme: self.theme.as_str(),
            navigation: nav::of(self, place),
            name: self.name.clone(),
            role: self.role().map_or("administrator", Role::as_str),
            org_name: self.org.as_ref().map(|org| org.name.clone()),
            org_id: self.org_id().to_string(),
            is_administrator: self.is_administrator(),
            done: self.done.clone(),
            is_open: false,
        }
    }
}

impl FromRequestParts<State> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let credential = Credential::from_request_parts(parts, state).await?;
        let kernel = Kernel::from_ref(state);
        let name = match &credential.principal {
            Principal::Person { org, person, .. } => kernel.person(org, person).await?.name,
            Principal::Administrator { administrator, .. } => kernel.administrator(administrator).await?.name,
            Principal::App { .. } | Principal::Publishable { .. } => return Err(Problem::new(codes::UNAUTHORIZED)),
        };
        let org = kernel.org_by_id(credential.principal.org()).await?;
        let done = parts.uri.query().and_then(super::page::done_sentence).map(str::to_owned);
        Ok(Self { credential, name, org, theme: Theme::of(&parts.headers), done })
    }
}
