//! Which hosts stand for a domain of ours: asked of the floors above, and remembered for a moment.

use std::collections::HashMap;

use crate::ports::{PortResult, Ports};

/// How long a domain's look-up is remembered, ms.
const DOMAIN_LIFE_MS: i64 = 30_000;
/// Most domains remembered.
const MAX_DOMAINS: usize = 1_024;

/// Domains that were asked for lately; strangers' hosts (`None`) too.
#[derive(Debug, Default)]
pub(crate) struct Domains {
    known: HashMap<String, (Option<String>, i64)>,
    /// Questions under way for senders who have proven nothing.
    pub(super) asking: usize,
}

/// What is known of the domain of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    Ours(String),
    Strangers,
    /// It has to be asked for.
    Nothing,
}

impl Domains {
    /// The domain that the first of these hosts stands for, as it is remembered.
    pub(super) fn of(&self, hosts: &[String], now: i64) -> Known {
        for host in hosts {
            match self.known.get(host).filter(|(_, until)| now < *until) {
                Some((Some(domain), _)) => return Known::Ours(domain.clone()),
                Some((None, _)) => {}
                None => return Known::Nothing,
            }
        }
        Known::Strangers
    }

    /// Remembers a host. Strangers' names, of which there is no end, make room first.
    pub(super) fn learn(&mut self, host: String, domain: Option<String>, now: i64) {
        if self.known.len() >= MAX_DOMAINS {
            self.known.retain(|_, (domain, _)| domain.is_some());
        }
        if self.known.len() >= MAX_DOMAINS {
            self.known.clear();
        }
        self.known.insert(host, (domain, now + DOMAIN_LIFE_MS));
    }

    pub(crate) fn sweep(&mut self, now: i64) {
        self.known.retain(|_, (_, until)| now < *until);
    }
}

/// Which domain some hosts stand for: what each was found to be, up to the first of ours.
pub(super) async fn look_up(ports: &dyn Ports, hosts: Vec<String>) -> PortResult<Vec<(String, Option<String>)>> {
    let mut found = Vec::with_capacity(hosts.len());
    for host in hosts {
        let domain = ports.domain(&host).await?;
        let is_ours = domain.is_some();
        found.push((host, domain));
        if is_ours {
            break;
        }
    }
    Ok(found)
}
