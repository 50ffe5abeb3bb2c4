//! Where a party of a pair is reached: a number, or its own page.
//!
//! Invariant: a page's line cannot be dialled. Its name begins with a character that no number has.

use std::sync::Arc;

use voice::cause::Cause;
use voice::ports::LineIdentity;
use voice::{CallerId, Target};

use crate::directory::{Destination, Directory};
use crate::routes::{Asking, Route, Routed};

/// What stands where a party's number would, when it is reached by its page.
pub(crate) const BROWSER: &str = "browser";
/// No number begins so (see [`crate::numbers::read`]).
const MARK: char = '~';
/// What the line of a party's page is called: it has no credential of its own.
const LINE: &str = "party";

/// The page of an application's user: its browser phone rings for calls of its pairs and for nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartyLine {
    name: Arc<str>,
}

impl PartyLine {
    /// The line of a user, as its application knows it.
    #[must_use]
    pub fn new(app: &str, uid: &str) -> Self {
        Self { name: format!("{MARK}{app}/{uid}").into() }
    }

    /// What the user's browser phone comes in as.
    #[must_use]
    pub fn identity(&self, org: &Arc<str>) -> LineIdentity {
        LineIdentity { org: org.clone(), extension: self.name.clone(), person: None, line: LINE.into() }
    }
}

/// Whether an extension is the line of a party's page, and so nobody's of the organisation.
pub(crate) fn is_party_line(extension: &str) -> bool {
    extension.starts_with(MARK)
}

/// Where a party is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairAddress {
    /// By its number: the phones of a person of the organisation's, else a trunk.
    Number(String),
    /// By its page.
    Browser(PartyLine),
}

impl PairAddress {
    /// As rows and events name it before they mask it.
    pub(crate) fn shown(&self) -> &str {
        match self {
            Self::Number(number) => number,
            Self::Browser(_) => BROWSER,
        }
    }
}

impl Directory {
    /// Whether a page of this party's is open, so that it can ring.
    #[must_use]
    pub fn is_party_online(&self, org: &str, line: &PartyLine) -> bool {
        !self.browser_phones(org, &line.name).is_empty()
    }

    /// The devices of a party, which see `caller_id` and no name. Whatever answers by itself there, such as a flow, is no
    /// party.
    pub(crate) async fn party_route(&self, org: &str, address: &PairAddress, caller_id: Option<&str>) -> Routed {
        let asking = Asking { caller_id, ..Asking::default() };
        match address {
            PairAddress::Browser(line) => self.page_route(org, line, asking).await,
            PairAddress::Number(number) => match self.resolve(org, number).await {
                Ok(Destination::OwnNumber { .. }) => nobody(number, Cause::NoRoute),
                Ok(destination) => self.route_to(org, number, &destination, asking).await,
                Err(error) => crate::routes::unroutable(org, number, &error),
            },
        }
    }

    async fn page_route(&self, org: &str, line: &PartyLine, asking: Asking<'_>) -> Routed {
        let shown = match self.caller_id(org, asking.caller_id, None, true).await {
            Ok(shown) => shown,
            Err(error) => return crate::routes::unroutable(org, BROWSER, &error),
        };
        let from =
            CallerId { anonymous: shown.number.is_none(), number: shown.number.unwrap_or_default(), display: None };
        let route =
            |phone| Route { target: Target::Browser { phone }, from: from.clone(), to_user: line.name.to_string() };
        let routes: Vec<Route> = self.browser_phones(org, &line.name).into_iter().map(route).collect();
        let routes = if routes.is_empty() { Err(Cause::Unreachable) } else { Ok(routes) };
        Routed { number: BROWSER.to_owned(), caller_id_replaced: shown.replaced, routes }
    }
}

fn nobody(number: &str, cause: Cause) -> Routed {
    Routed { number: number.to_owned(), caller_id_replaced: false, routes: Err(cause) }
}
