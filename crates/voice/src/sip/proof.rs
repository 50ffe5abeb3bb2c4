//! How a phone proves who it is: a challenge made for its address, an answer that fits its password.
//!
//! Invariant: nothing is remembered, asked or answered twice for a sender who has proven nothing.

use std::sync::Arc;

use tracing::{debug, info, warn};

use super::admission::{Answer, RETRY_AFTER_S, Waiting};
use super::digest::{self, Algorithm, Claim};
use super::domains::{Known, look_up};
use super::draft::Draft;
use super::endpoint::{Endpoint, Outcome};
use super::message::{Message, Method, Name};
use super::nonce::Freshness;
use super::sdp::Protection;
use super::uri::{NameAddr, Uri};
use crate::ports::{Credential, PortResult};
use crate::voice::Source;

/// The realm of the server's own address.
const OWN_REALM: &str = "tandem";
/// Questions to the floors above at once for senders who have proven nothing.
const MAX_UNPROVEN: usize = 64;

impl Endpoint {
    /// Lets the sender prove who he is: challenges a request without an answer, checks one with.
    ///
    /// Only an answer to a challenge that we sent to this very address is worth a transaction and a
    /// look-up; everything else is answered without state, so that a forged source gains nothing.
    pub(super) fn prove(&mut self, waiting: Waiting, method: Method) {
        let Waiting { request, flow, .. } = &waiting;
        let hosts = domain_hosts(request, method);
        let Some(claim) = claim(request) else {
            return self.ask(waiting, hosts, false);
        };
        let peer = flow.remote.ip();
        if !self.nonces.recognises(&claim, peer, self.now) {
            return self.ask(waiting, hosts, true);
        }
        if !claim.is_for(request.request_uri(), &hosts) {
            return self.refuse(request, flow, 400, |draft| draft.field("Warning", "399 tandem \"Bad digest uri\""));
        }
        if self.edge.gate.is_locked(peer, &claim.username, self.now) {
            debug!(ip = %peer, user = claim.username, "this user is locked after too many wrong SIP passwords");
            return self.refuse(request, flow, 403, |draft| draft);
        }
        let known = self.domains.of(&hosts, self.now);
        let refused = waiting.clone();
        let ports = Arc::clone(&self.ports);
        self.serve(&waiting.request, &waiting.tx, &waiting.flow, method, None);
        let started = self.start(Box::pin(async move {
            let found = async {
                let domain = match known {
                    Known::Ours(domain) => Some(domain),
                    Known::Strangers => None,
                    Known::Nothing => look_up(&*ports, hosts).await?.pop().and_then(|(_, domain)| domain),
                };
                let Some(domain) = domain else {
                    return Ok(None);
                };
                let credential = ports.credential(&domain, &claim.username).await?;
                Ok(Some((domain, credential)))
            }
            .await;
            Outcome::Admission(Box::new(Answer::Credential(waiting, claim, found)))
        }));
        if !started {
            self.fail(&refused, 503);
        }
    }

    /// Asks the sender for a password in the domain that he names, when it is one of ours.
    fn ask(&mut self, waiting: Waiting, hosts: Vec<String>, stale: bool) {
        match self.domains.of(&hosts, self.now) {
            Known::Ours(domain) => return self.challenge(&waiting, &domain, stale),
            Known::Strangers => return self.refuse_domain(&waiting, &hosts),
            Known::Nothing => {}
        }
        let refused = waiting.clone();
        let ports = Arc::clone(&self.ports);
        let started = self.domains.asking < MAX_UNPROVEN
            && self.start(Box::pin(async move {
                let found = look_up(&*ports, hosts).await;
                Outcome::Admission(Box::new(Answer::Domain(waiting, found, stale)))
            }));
        if started {
            self.domains.asking += 1;
        } else {
            self.refuse(&refused.request, &refused.flow, 503, |draft| draft.field("Retry-After", RETRY_AFTER_S));
        }
    }

    /// What the hosts of a request stand for is known now.
    pub(super) fn domain_found(
        &mut self,
        waiting: &Waiting,
        found: PortResult<Vec<(String, Option<String>)>>,
        stale: bool,
    ) {
        self.domains.asking = self.domains.asking.saturating_sub(1);
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                warn!(%error, "a domain could not be looked up");
                return self.refuse(&waiting.request, &waiting.flow, 500, |draft| draft);
            }
        };
        let ours = found.last().and_then(|(_, domain)| domain.clone());
        let hosts: Vec<String> = found.iter().map(|(host, _)| host.clone()).collect();
        for (host, domain) in found {
            self.domains.learn(host, domain, self.now);
        }
        match ours {
            Some(domain) => self.challenge(waiting, &domain, stale),
            None => self.refuse_domain(waiting, &hosts),
        }
    }

    /// Refuses who names a server that this one is not.
    fn refuse_domain(&mut self, waiting: &Waiting, hosts: &[String]) {
        let ip = waiting.flow.remote.ip();
        debug!(%ip, ?hosts, "no organisation has this SIP domain, and sip_names does not have it either");
        self.refuse(&waiting.request, &waiting.flow, 403, |draft| draft);
    }

    /// Judges a claim against the credential that was found for it.
    pub(super) fn judge(&mut self, waiting: Waiting, claim: &Claim, domain: &str, credential: Option<Credential>) {
        let request = &waiting.request;
        let method = request.method().unwrap_or(Method::Unknown);
        if claim.realm != realm(domain) {
            return self.challenge(&waiting, domain, false);
        }
        let proven = credential.filter(|credential| {
            let ha1 = match claim.algorithm {
                Algorithm::Md5 => &credential.ha1_md5,
                Algorithm::Sha256 => &credential.ha1_sha256,
            };
            claim.proves(ha1, method.as_str(), request.entity())
        });
        let ip = waiting.flow.remote.ip();
        let Some(credential) = proven else {
            info!(%ip, user = claim.username, "a SIP user or password was wrong");
            if let Some(until) = self.edge.gate.failed(ip, &claim.username, self.now) {
                warn!(%ip, "an address is banned for guessing passwords");
                self.ports.banned(ip, until);
            }
            return self.fail(&waiting, 403);
        };
        self.edge.gate.proven(ip, &claim.username);
        waiting.flow.trust();
        if self.nonces.judge(claim) == Freshness::Stale {
            return self.challenge(&waiting, domain, true);
        }
        if self.servers.get(&waiting.tx).is_some_and(|entry| entry.cancelled) {
            return self.fail(&waiting, 487);
        }
        if method == Method::Register {
            return self.read_bindings(waiting, credential);
        }
        if !self.may_call() {
            return self.fail(&waiting, 503);
        }
        let protection = if credential.srtp { Protection::Required } else { Protection::AsOffered };
        self.accept(waiting, Source::Line(credential.identity), protection);
    }

    /// Asks for a password, in both hashes. Needs no transaction; closes one when there is one.
    pub(super) fn challenge(&mut self, waiting: &Waiting, domain: &str, stale: bool) {
        let nonce = self.nonces.issue(waiting.flow.remote.ip(), self.now, self.ids.bytes());
        let challenges = digest::challenges(realm(domain), &nonce, stale, self.config.digest_sha256);
        let tag = format!("{:016x}", u64::from_le_bytes(self.ids.bytes()));
        let mut draft = Draft::response(&waiting.request, waiting.flow.remote, 401, Some(&tag));
        for challenge in challenges {
            draft = draft.field("WWW-Authenticate", challenge);
        }
        let bytes = draft.field("Server", &self.config.user_agent).finish();
        if self.servers.contains_key(&waiting.tx) {
            self.respond(&waiting.tx, 401, &bytes);
        } else {
            super::traffic::way_back(&waiting.request, &waiting.flow).send(&bytes);
        }
    }
}

/// The digest realm of a domain.
fn realm(domain: &str) -> &str {
    if domain.is_empty() { OWN_REALM } else { domain }
}

/// The hosts that may name the domain a request is meant for, lower case.
fn domain_hosts(request: &Message, method: Method) -> Vec<String> {
    let host = |name: Option<NameAddr<'_>>| {
        name.and_then(|name| Uri::parse(name.uri)).map(|uri| uri.host.to_ascii_lowercase())
    };
    let target = Uri::parse(request.request_uri()).map(|uri| uri.host.to_ascii_lowercase());
    let first = if method == Method::Register { host(request.to()) } else { host(request.from()) };
    let mut hosts: Vec<String> = [first, target].into_iter().flatten().filter(|host| !host.is_empty()).collect();
    hosts.dedup();
    hosts
}

/// The digest answer of a request, in either field.
pub(super) fn claim(request: &Message) -> Option<Claim> {
    request.fields(Name::Authorization).chain(request.fields(Name::ProxyAuthorization)).find_map(Claim::parse)
}
