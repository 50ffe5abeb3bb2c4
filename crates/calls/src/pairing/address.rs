//! Where a party of a pair is reached: a number, or its own page.
//!
//! Invariant: a page's line cannot be dialled. Its name begins with a character that no number has.

use std::sync::Arc;

use voice::cause::Cause;
use voice::ports::LineIdentity;
use voice::{CallerId, Target};

use crate::directory::{Bound, Destination, Directory, PersonEntry, ResolveError};
use crate::numbers;
use crate::routes::{Asking, Route, Routed, unroutable};

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

/// A party to be rung, and the other, whose number it may not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartyDial {
    pub(crate) address: PairAddress,
    pub(crate) other: PairAddress,
    /// What its page calls the other.
    pub(crate) peer_name: Option<String>,
}

impl Directory {
    /// Whether a page of this party's is open, so that it can ring.
    #[must_use]
    pub fn is_party_online(&self, org: &str, line: &PartyLine) -> bool {
        !self.browser_phones(org, &line.name).is_empty()
    }

    /// The devices of a party, which see `caller_id` or the organisation's usual number; a page is told the
    /// other's name too. When that number is the other's own they see none. Whatever answers by itself there, such as a flow, is no party.
    pub(crate) async fn party_route(&self, org: &str, to: &PartyDial, caller_id: Option<&str>) -> Routed {
        let mut routed = match &to.address {
            PairAddress::Browser(line) => self.page_route(org, line, caller_id, to.peer_name.as_deref()).await,
            PairAddress::Number(number) => self.number_route(org, number, caller_id).await,
        };
        let PairAddress::Number(other) = &to.other else { return routed };
        for route in routed.routes.iter_mut().flatten() {
            match self.is_number_of(org, &route.from.number, other).await {
                Ok(false) => {}
                Ok(true) => route.from = CallerId { display: route.from.display.take(), ..withheld() },
                Err(error) => return unroutable(org, to.address.shown(), &error),
            }
        }
        routed
    }

    async fn number_route(&self, org: &str, number: &str, caller_id: Option<&str>) -> Routed {
        let asking = Asking { caller_id, ..Asking::default() };
        match self.resolve(org, number).await {
            Ok(Destination::OwnNumber { .. }) => {
                Routed { number: number.to_owned(), caller_id_replaced: false, routes: Err(Cause::NoRoute) }
            }
            Ok(destination) => self.route_to(org, number, &destination, asking).await,
            Err(error) => unroutable(org, number, &error),
        }
    }

    async fn page_route(&self, org: &str, line: &PartyLine, caller_id: Option<&str>, name: Option<&str>) -> Routed {
        let shown = match self.caller_id(org, caller_id, None, true).await {
            Ok(shown) => shown,
            Err(error) => return unroutable(org, BROWSER, &error),
        };
        let caller_id_replaced = shown.replaced;
        let number = match shown.number {
            Some(number) => CallerId { number, ..CallerId::default() },
            None => withheld(),
        };
        let from = CallerId { display: name.map(str::to_owned), ..number };
        let route =
            |phone| Route { target: Target::Browser { phone }, from: from.clone(), to_user: line.name.to_string() };
        let routes: Vec<Route> = self.browser_phones(org, &line.name).into_iter().map(route).collect();
        let routes = if routes.is_empty() { Err(Cause::Unreachable) } else { Ok(routes) };
        Routed { number: BROWSER.to_owned(), caller_id_replaced, routes }
    }

    /// Whether a number that is shown is the one of a party, or of the person who is it.
    async fn is_number_of(&self, org: &str, shown: &str, party: &str) -> Result<bool, ResolveError> {
        let Some(shown) = numbers::public(shown) else { return Ok(false) };
        if numbers::public(party).as_ref() == Some(&shown) {
            return Ok(true);
        }
        let Some(Bound::Person(owner)) = self.public_number(org, &shown).await? else { return Ok(false) };
        let is_owner = |person: &PersonEntry| *person.extension == *owner;
        Ok(matches!(self.resolve(org, party).await, Ok(Destination::Person(person)) if is_owner(&person)))
    }
}

/// Nobody's number.
fn withheld() -> CallerId {
    CallerId { anonymous: true, ..CallerId::default() }
}
