//! Who a request is, and what it may do.
//!
//! Invariant: a principal names its organisation; a route works in that one and in no other.

use std::sync::Arc;

use crate::error::codes;
use crate::problem::Problem;
use crate::role::{Action, Role, Scope, allowed};

/// Who a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A member of an organisation, by personal token or session.
    Person {
        /// The organisation.
        org: Arc<str>,
        /// The person.
        person: Arc<str>,
        /// What it may do.
        role: Role,
    },
    /// An application's server, by its secret key.
    App {
        /// The organisation.
        org: Arc<str>,
        /// The application.
        app: Arc<str>,
        /// Empty = everything of the organisation.
        scopes: Arc<[Scope]>,
    },
    /// An administrator of the installation, by session; may do everything in the organisation that it looks at.
    Administrator {
        /// The organisation; `""` = none chosen yet.
        org: Arc<str>,
        /// The administrator.
        administrator: Arc<str>,
    },
    /// An application's page in a browser, by its publishable key; may do nothing that this table of actions knows.
    Publishable {
        /// The organisation.
        org: Arc<str>,
        /// The application.
        app: Arc<str>,
    },
}

impl Principal {
    /// The organisation that the credential names.
    pub fn org(&self) -> &Arc<str> {
        match self {
            Self::Person { org, .. }
            | Self::App { org, .. }
            | Self::Administrator { org, .. }
            | Self::Publishable { org, .. } => org,
        }
    }

    /// The person, if it is one.
    pub fn person(&self) -> Option<&Arc<str>> {
        match self {
            Self::Person { person, .. } => Some(person),
            _ => None,
        }
    }

    /// The id for the audit: of the person, the application or the administrator.
    pub fn actor(&self) -> &str {
        match self {
            Self::Person { person, .. } => person,
            Self::Administrator { administrator, .. } => administrator,
            Self::App { app, .. } | Self::Publishable { app, .. } => app,
        }
    }

    /// Whether it may do this.
    pub fn may(&self, action: Action) -> bool {
        match self {
            Self::Person { role, .. } => allowed(*role, action),
            Self::App { scopes, .. } => Scope::covers(scopes, action),
            Self::Administrator { org, .. } => !org.is_empty(),
            Self::Publishable { .. } => false,
        }
    }

    /// The organisation to work in, if the principal may do this.
    ///
    /// # Errors
    /// 403 otherwise.
    pub fn authorize(&self, action: Action) -> Result<&Arc<str>, Problem> {
        match self {
            _ if self.may(action) => Ok(self.org()),
            Self::Administrator { .. } => Err(Problem::new(codes::NO_ORGANISATION_CHOSEN)),
            _ => Err(Problem::new(codes::FORBIDDEN)),
        }
    }
}
