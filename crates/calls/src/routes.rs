//! From a number to the phones that ring: one [`Route`] per registered contact, browser phone or trunk, with the
//! caller id that each may see.
//!
//! Invariant: a route outside carries a number that the organisation may show, or none.

use std::sync::Arc;

use voice::cause::Cause;
use voice::{CallerId, Inside, Target};

use crate::directory::{Destination, Directory, ResolveError};
use crate::numbers::{ChosenCallerId, NumberError};

/// Calls to own numbers that may lead one to the next: flows that connect to each other end there.
const MAX_DEPTH: u8 = 8;

/// Who asks for a route.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asking<'a> {
    /// The caller id that was asked for.
    pub(crate) caller_id: Option<&'a str>,
    /// The customer's, or the dialling phone's, own number: for eyes inside only.
    pub(crate) customer: Option<&'a str>,
    /// The name beside it.
    pub(crate) display: Option<&'a str>,
    /// How many calls to own numbers have led to this one.
    pub(crate) depth: u8,
}

/// One device to ring.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) target: Target,
    pub(crate) from: CallerId,
    pub(crate) to_user: String,
}

/// A number and its devices.
#[derive(Clone, Debug)]
pub(crate) struct Routed {
    /// As it was written.
    pub(crate) number: String,
    pub(crate) caller_id_replaced: bool,
    /// The devices, which ring together; or why there are none.
    pub(crate) routes: Result<Vec<Route>, Cause>,
}

impl Directory {
    /// The devices behind each number.
    pub(crate) async fn routes(&self, org: &str, numbers: &[String], asking: Asking<'_>) -> Vec<Routed> {
        let mut all = Vec::with_capacity(numbers.len());
        for number in numbers {
            all.push(self.route(org, number, asking).await);
        }
        all
    }

    /// The devices behind a number.
    pub(crate) async fn route(&self, org: &str, number: &str, asking: Asking<'_>) -> Routed {
        match self.resolve(org, number).await {
            Ok(destination) => self.route_to(org, number, &destination, asking).await,
            Err(error) => unroutable(org, number, &error),
        }
    }

    /// The devices of a destination.
    pub(crate) async fn route_to(
        &self,
        org: &str,
        number: &str,
        destination: &Destination,
        asking: Asking<'_>,
    ) -> Routed {
        let outside = !destination.is_inside();
        let shown = match self.caller_id(org, asking.caller_id, asking.customer, outside).await {
            Ok(shown) => shown,
            Err(error) => return unroutable(org, number, &error),
        };
        let caller_id_replaced = shown.replaced;
        let routes = match destination {
            Destination::Person(person) => self.phones(org, [&person.extension], &shown, asking),
            Destination::Team(team) => self.phones(org, &team.members, &shown, asking),
            // A desk answers there, as it answers anybody who calls the number.
            Destination::OwnNumber { .. } if asking.depth >= MAX_DEPTH => Err(Cause::NoRoute),
            Destination::OwnNumber { e164, .. } => Ok(vec![Route {
                target: Target::Own {
                    number: e164.clone(),
                    inside: Inside { org: org.into(), depth: asking.depth + 1 },
                },
                from: caller(shown.clone(), name_beside(&shown, asking)),
                to_user: e164.clone(),
            }]),
            Destination::Sip(address) => Ok(vec![Route {
                target: Target::Uri(address.clone()),
                from: caller(shown, None),
                to_user: String::new(),
            }]),
            Destination::Outside(e164) => match self.trunk(org).await {
                Ok(Some(trunk)) => Ok(vec![Route {
                    target: Target::Trunk { trunk, number: e164.clone() },
                    from: caller(shown, None),
                    to_user: e164.clone(),
                }]),
                Ok(None) => Err(Cause::NoRoute),
                Err(error) => return unroutable(org, number, &error),
            },
        };
        Routed { number: number.to_owned(), caller_id_replaced, routes }
    }

    /// Every registered contact and every browser phone of some extensions.
    fn phones<'a>(
        &self,
        org: &str,
        extensions: impl IntoIterator<Item = &'a Arc<str>>,
        shown: &ChosenCallerId,
        asking: Asking<'_>,
    ) -> Result<Vec<Route>, Cause> {
        let display = name_beside(shown, asking);
        let route = |extension: &str, target| Route {
            to_user: extension.to_owned(),
            target,
            from: caller(shown.clone(), display),
        };
        let mut routes = Vec::new();
        for extension in extensions {
            let registered = self.bindings(org, extension).into_iter().map(Target::Binding);
            let browsers = self.browser_phones(org, extension).into_iter().map(|phone| Target::Browser { phone });
            routes.extend(registered.chain(browsers).map(|target| route(extension, target)));
        }
        if routes.is_empty() { Err(Cause::Unreachable) } else { Ok(routes) }
    }
}

/// The name goes with the customer's own number only.
fn name_beside<'a>(shown: &ChosenCallerId, asking: Asking<'a>) -> Option<&'a str> {
    asking.display.filter(|_| shown.number.as_deref() == asking.customer)
}

fn caller(shown: ChosenCallerId, display: Option<&str>) -> CallerId {
    CallerId {
        anonymous: shown.number.is_none(),
        number: shown.number.unwrap_or_default(),
        display: display.map(str::to_owned),
    }
}

pub(crate) fn unroutable(org: &str, number: &str, error: &ResolveError) -> Routed {
    let cause = match error {
        ResolveError::Number(NumberError::NotAllowed) => Cause::Rejected,
        ResolveError::Number(_) => Cause::InvalidNumber,
        ResolveError::Db(_) | ResolveError::Org(_) => {
            tracing::error!(%org, %error, "a number could not be looked up");
            Cause::Congestion
        }
    };
    Routed { number: number.to_owned(), caller_id_replaced: false, routes: Err(cause) }
}
