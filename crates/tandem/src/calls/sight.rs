//! How much of an organisation's calls somebody sees: all of them, or those of the own phone
//! (contracts/platform.md "Who may do what").

use std::sync::Arc;

use calls::Calls;
use kernel::{Action, DbError, Kernel, Principal, Problem};

/// What somebody sees.
pub(crate) enum Sight {
    /// Everything of the organisation.
    All,
    /// What concerns these extensions.
    Own(Vec<String>),
}

impl Sight {
    /// The organisation, and how much of it the principal sees: all by the first action, its own by the second.
    pub(crate) async fn of(
        kernel: &Kernel,
        principal: &Principal,
        all: Action,
        own: Action,
    ) -> Result<(Arc<str>, Self), Problem> {
        if let Ok(org) = principal.authorize(all) {
            return Ok((org.clone(), Self::All));
        }
        let org = principal.authorize(own)?;
        let Some(person) = principal.person() else { return Ok((org.clone(), Self::Own(Vec::new()))) };
        let own = calls::extensions_of(kernel, org, person).await.map_err(Problem::internal)?;
        Ok((org.clone(), Self::Own(own.into_iter().map(|entry| entry.number).collect())))
    }

    /// Whether an extension's things are seen.
    pub(crate) fn covers(&self, extension: &str) -> bool {
        match self {
            Self::All => true,
            Self::Own(own) => own.iter().any(|number| number == extension),
        }
    }

    /// Whether a call is seen.
    pub(crate) async fn covers_call(&self, calls: &Calls, org: &str, call: &str) -> Result<bool, DbError> {
        let own = match self {
            Self::All => return Ok(true),
            Self::Own(own) => own,
        };
        for extension in own {
            if calls.took_part(org, extension, call).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
