//! Detours: a request inside a dialog whose connection has ended goes by another one (RFC 3261 §18.1.1, RFC 5626 §5.3).
//!
//! An open stream to the same address serves at once. A phone is behind a router, as like as not, and cannot be called back: it is looked
//! for among its registrations. Anybody else is connected to anew, at its route or Contact.

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use super::dialog::is_reachable;
use super::endpoint::{Endpoint, Job, LegKey, Outcome, Owner};
use super::flow::Flow;
use super::leg::Purpose;
use super::message::Method;
use crate::ports::{Binding, LineIdentity, PortResult};

/// A request of a leg, on its way.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(super) method: Method,
    pub(super) branch: String,
    pub(super) bytes: Bytes,
    /// `None` for an ACK, which nobody answers.
    pub(super) purpose: Option<Purpose>,
}

/// What a job found in place of a way that is gone.
pub(crate) enum Found {
    /// What is registered for the phone's extension.
    Registered(PortResult<Vec<Binding>>),
    /// A new connection, or none.
    Connected(Option<Flow>),
}

/// A letter and what was found for it.
pub(crate) struct Detour {
    key: LegKey,
    letter: Letter,
    line: Option<LineIdentity>,
    /// The way that is gone.
    gone: Flow,
    found: Found,
}

impl Endpoint {
    /// Sends a leg's request, by a detour when its way is gone.
    pub(super) fn post(&mut self, key: LegKey, letter: Letter, flow: Flow) {
        // An INVITE that makes a dialog has found its way just now.
        if flow.is_open() || letter.purpose == Some(Purpose::Invite) {
            return self.deliver(key, letter, Some(flow));
        }
        let other = self.stream(flow.transport, flow.remote);
        let Some(held) = self.legs.get(&key).filter(|_| other.is_none()) else {
            return self.turn_off(key, letter, other);
        };
        let lost = letter.clone();
        let line = held.ties.line.clone();
        let job: Job = match (line, held.leg.dialog.next_hop()) {
            (Some(line), _) => {
                let ports = Arc::clone(&self.ports);
                Box::pin(async move {
                    let found = Found::Registered(ports.bindings(&line.org, &line.extension).await);
                    Outcome::Detour(Box::new(Detour { key, letter, line: Some(line), gone: flow, found }))
                })
            }
            (None, Some((host, port))) => {
                let near = flow.remote.ip();
                let reach = self.reach(flow.transport, host, port, move |_, address| is_reachable(address.ip(), near));
                Box::pin(async move {
                    let found = Found::Connected(reach.await);
                    Outcome::Detour(Box::new(Detour { key, letter, line: None, gone: flow, found }))
                })
            }
            (None, None) => return self.deliver(key, letter, None),
        };
        if !self.start(job) {
            self.deliver(key, lost, None);
        }
    }

    /// A job has looked for another way.
    pub(super) fn detoured(&mut self, detour: Detour) {
        let Detour { key, letter, line, gone, found } = detour;
        let flow = match found {
            Found::Connected(flow) => flow,
            Found::Registered(Ok(mut bindings)) => {
                // The newest first: it is the one that works.
                bindings.sort_by_key(|binding| std::cmp::Reverse(binding.expires_at_ms));
                let own = |binding: &&Binding| line.as_ref().is_some_and(|line| line.line == binding.line);
                bindings
                    .iter()
                    .filter(own)
                    .filter(|binding| binding.transport == gone.transport)
                    .find_map(|binding| self.stream(binding.transport, binding.source))
            }
            Found::Registered(Err(error)) => {
                debug!(%error, "a phone's registrations could not be read");
                None
            }
        };
        self.turn_off(key, letter, flow);
    }

    /// The leg's requests go another way from now on.
    fn turn_off(&mut self, key: LegKey, letter: Letter, flow: Option<Flow>) {
        if let (Some(flow), Some(held)) = (&flow, self.legs.get_mut(&key)) {
            held.leg.dialog.path.flow = flow.clone();
        }
        self.deliver(key, letter, flow);
    }

    fn deliver(&mut self, key: LegKey, letter: Letter, flow: Option<Flow>) {
        let Letter { method, branch, bytes, purpose } = letter;
        match (flow, purpose) {
            (Some(flow), Some(purpose)) => {
                self.send_request(method, &branch, bytes, flow, Owner::Leg(key, purpose));
            }
            (Some(flow), None) => {
                flow.send(&bytes);
            }
            (None, Some(purpose)) => self.broken.push_back((Owner::Leg(key, purpose), branch)),
            (None, None) => {}
        }
    }
}
