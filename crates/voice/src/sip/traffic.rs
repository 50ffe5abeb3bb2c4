//! Messages and transactions: which transaction a message belongs to, and who is told of it.
//!
//! A request that belongs nowhere yet is admitted or refused; a response goes to the owner of its
//! request. Repetitions end here.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use super::admission::Waiting;
use super::dialog::Dialog;
use super::draft::Draft;
use super::endpoint::{Endpoint, LegKey, Owner, Reminder, leg_of_tag};
use super::flow::Flow;
use super::leg::{Cx, stray};
use super::message::{Message, Method};
use super::transaction::{self, Client, Due, NEVER, Received, Server};
use crate::ports::Transport;

/// A request that came in, and what it became.
pub(crate) struct ServerEntry {
    pub(crate) tx: Server,
    /// Where responses go.
    pub(crate) flow: Flow,
    pub(crate) leg: Option<LegKey>,
    /// A CANCEL came before there was a leg.
    pub(crate) cancelled: bool,
    /// The reminder that is set.
    reminded: i64,
}

/// A request of ours that is out.
pub(crate) struct ClientEntry {
    pub(super) tx: Client,
    flow: Flow,
    owner: Owner,
    method: Method,
    /// The reminder that is set.
    reminded: i64,
}

impl Endpoint {
    pub(super) fn request(&mut self, method: Method, message: Message, flow: Flow) {
        if method == Method::Ack {
            return self.ack(&message);
        }
        let Some(key) = transaction::server_key(&message, method) else {
            return; // without a Via there is no way back
        };
        if let Some(entry) = self.servers.get(&key) {
            if let Some(bytes) = entry.tx.repeated() {
                entry.flow.send(&bytes);
            }
            return;
        }
        if let Some(defect) = message.defect() {
            debug!(remote = %flow.remote, defect, "a request is malformed");
            return self
                .refuse(&message, &flow, 400, |draft| draft.field("Warning", format_args!("399 tandem \"{defect}\"")));
        }
        if method == Method::Cancel {
            return self.cancel(&message, &flow);
        }
        let request = Waiting { request: Arc::new(message), tx: key, flow };
        if request.request.to_tag().is_some() {
            self.inside(method, request);
        } else {
            self.admit(method, request);
        }
    }

    /// A request inside a dialog.
    fn inside(&mut self, method: Method, waiting: Waiting) {
        let Waiting { request, tx, flow } = waiting;
        let key = request.to_tag().and_then(leg_of_tag);
        let known = key.and_then(|key| self.legs.get(&key)).is_some_and(|held| {
            let dialog = &held.leg.dialog;
            request.to_tag() == Some(dialog.local_tag.as_str())
                && request.call_id() == dialog.call_id
                && held.leg.knows(request.from_tag())
        });
        let Some(key) = key.filter(|_| known) else {
            return self.refuse(&request, &flow, 481, |draft| draft);
        };
        self.serve(&request, &tx, &flow, method, Some(key));
        self.step(key, |leg, cx| leg.request(&request, &tx, &flow, cx));
    }

    /// Opens a server transaction.
    pub(crate) fn serve(&mut self, request: &Message, tx: &Arc<str>, flow: &Flow, method: Method, leg: Option<LegKey>) {
        let server = Server::new(method, flow.is_reliable(), self.now);
        let flow = way_back(request, flow);
        self.servers.insert(tx.clone(), ServerEntry { tx: server, flow, leg, cancelled: false, reminded: NEVER });
        self.remind_server(tx);
    }

    /// An ACK: of a failure by its transaction, of a 2xx by its dialog.
    fn ack(&mut self, ack: &Message) {
        if let Some(key) = transaction::server_key(ack, Method::Invite)
            && let Some(entry) = self.servers.get_mut(&key)
            && entry.tx.has_failed()
        {
            entry.tx.acknowledged(self.now);
            return self.remind_server(&key);
        }
        let Some(key) = ack.to_tag().and_then(leg_of_tag) else {
            return;
        };
        if self.legs.get(&key).is_some_and(|held| held.leg.dialog.is_peer(ack)) {
            self.step(key, |leg, cx| leg.ack(ack, cx));
        }
    }

    /// A CANCEL: answered for itself, and handed to the INVITE that it names (RFC 3261 §9.2).
    fn cancel(&mut self, cancel: &Message, flow: &Flow) {
        let invite = transaction::server_key(cancel, Method::Invite);
        let entry = invite.as_ref().and_then(|key| self.servers.get_mut(key));
        let Some(entry) = entry else {
            return self.refuse(cancel, flow, 481, |draft| draft);
        };
        let leg = entry.leg;
        entry.cancelled = true;
        self.refuse(cancel, flow, 200, |draft| draft);
        if let Some(key) = leg {
            self.step(key, |leg, cx| leg.cancelled(cancel, cx));
        }
    }

    /// Answers without a transaction: a repetition of the request gets the same again.
    pub(crate) fn refuse(&mut self, request: &Message, flow: &Flow, code: u16, fields: impl FnOnce(Draft) -> Draft) {
        let tag = format!("{:016x}", u64::from_le_bytes(self.ids.bytes()));
        let draft = Draft::response(request, flow.remote, code, Some(&tag)).field("Server", &self.config.user_agent);
        way_back(request, flow).send(&fields(draft).finish());
    }

    /// Answers in a transaction.
    pub(crate) fn respond(&mut self, tx: &Arc<str>, code: u16, bytes: &Bytes) {
        let Some(entry) = self.servers.get_mut(tx) else {
            return;
        };
        if entry.tx.respond(code, bytes, self.now) {
            entry.flow.send(bytes);
            self.remind_server(tx);
        }
    }

    /// Sees to it that a server transaction is looked at in time.
    pub(super) fn remind_server(&mut self, key: &Arc<str>) {
        if let Some(entry) = self.servers.get_mut(key) {
            let next = entry.tx.next();
            if next < entry.reminded {
                entry.reminded = next;
                self.timers.set(next, Reminder::Server(key.clone()));
            }
        }
    }

    // --- responses

    pub(super) fn response(&mut self, response: &Message, flow: &Flow) {
        let Some(method) = response.cseq().map(|(_, method)| method) else {
            return;
        };
        let Some(branch) = response.top_via().and_then(|via| via.branch().map(str::to_owned)) else {
            return;
        };
        let key = transaction::client_key(&branch, method);
        let Some(entry) = self.clients.get_mut(&key) else {
            return;
        };
        let received = entry.tx.received(response, self.now);
        let (owner, way) = (entry.owner.clone(), entry.flow.clone());
        let invite_2xx = method == Method::Invite && (200..300).contains(&response.code());
        let request = if invite_2xx { entry.tx.request().clone() } else { Bytes::new() };
        self.remind_client(&key);
        match received {
            Received::Nothing => return,
            Received::AckAgain(ack) => {
                way.send(&ack);
                return;
            }
            Received::AckAndPass(ack) => {
                way.send(&ack);
            }
            Received::Pass => {}
        }
        match owner {
            Owner::Leg(key, purpose) if self.legs.contains_key(&key) => {
                self.step(key, |leg, cx| leg.response(purpose, &branch, response, flow, cx));
            }
            Owner::Leg(..) if invite_2xx => self.hang_up_stray(response, &request, flow),
            Owner::Register(trunk) => self.registered(&trunk, response),
            Owner::Ping(trunk, target) => self.pinged(&trunk, target, true),
            Owner::Leg(..) | Owner::Nobody => {}
        }
    }

    /// A 2xx for a leg that is gone: nobody must be left waiting there.
    fn hang_up_stray(&mut self, response: &Message, invite: &[u8], flow: &Flow) {
        let Ok(invite) = Message::parse(invite) else {
            return;
        };
        let path = self.path(flow.clone());
        let mut out = Vec::new();
        let cx = Cx { now: self.now, ids: &self.ids, agent: &self.config.user_agent, out: &mut out };
        let (ack, bye, branch, to) = stray(response, &Dialog::of_invite(&invite, path), flow, &cx);
        to.send(&ack);
        self.send_request(Method::Bye, &branch, bye, to, Owner::Nobody);
    }

    // --- client transactions

    /// Sends a request in a new client transaction.
    pub(crate) fn send_request(&mut self, method: Method, branch: &str, bytes: Bytes, flow: Flow, owner: Owner) {
        let key = transaction::client_key(branch, method);
        if !flow.send(&bytes) {
            self.broken.push_back((owner, branch.to_owned()));
            return;
        }
        let tx = Client::new(method, bytes, flow.is_reliable(), self.now);
        self.clients.insert(key.clone(), ClientEntry { tx, flow, owner, method, reminded: NEVER });
        self.remind_client(&key);
    }

    /// Sees to it that a client transaction is looked at in time.
    pub(super) fn remind_client(&mut self, key: &Arc<str>) {
        if let Some(entry) = self.clients.get_mut(key) {
            let next = entry.tx.next();
            if next < entry.reminded {
                entry.reminded = next;
                self.timers.set(next, Reminder::Client(key.clone()));
            }
        }
    }

    /// Tells the owners of requests that could not be sent.
    pub(super) fn mend(&mut self) {
        while let Some((owner, branch)) = self.broken.pop_front() {
            self.unanswered(owner, &branch);
        }
    }

    fn unanswered(&mut self, owner: Owner, branch: &str) {
        match owner {
            Owner::Leg(key, purpose) => self.step(key, |leg, cx| leg.unanswered(purpose, branch, cx)),
            Owner::Register(trunk) => self.register_unanswered(&trunk),
            Owner::Ping(trunk, target) => self.pinged(&trunk, target, false),
            Owner::Nobody => {}
        }
    }

    pub(super) fn send_cancel(&mut self, branch: &str) {
        let key = transaction::client_key(branch, Method::Invite);
        let Some(entry) = self.clients.get_mut(&key) else {
            return;
        };
        entry.tx.cancelled(self.now);
        let (flow, bytes) = (entry.flow.clone(), transaction::cancel(entry.tx.request()));
        self.remind_client(&key);
        if let Some(bytes) = bytes {
            self.send_request(Method::Cancel, branch, bytes, flow, Owner::Nobody);
        }
    }

    // --- time

    pub(super) fn server_due(&mut self, key: Arc<str>) {
        let Some(entry) = self.servers.get_mut(&key) else {
            return;
        };
        entry.reminded = NEVER;
        match entry.tx.due(self.now) {
            Due::Later => {}
            Due::Resend(bytes) => {
                entry.flow.send(&bytes);
            }
            end @ (Due::TimedOut | Due::Over) => {
                let leg = entry.leg;
                self.servers.remove(&key);
                if end == Due::TimedOut
                    && let Some(leg) = leg
                {
                    self.step(leg, |leg, cx| leg.unacknowledged(cx));
                }
                return;
            }
        }
        self.remind_server(&key);
    }

    pub(super) fn client_due(&mut self, key: Arc<str>) {
        let Some(entry) = self.clients.get_mut(&key) else {
            return;
        };
        entry.reminded = NEVER;
        match entry.tx.due(self.now) {
            Due::Later => {}
            Due::Resend(bytes) => {
                entry.flow.send(&bytes);
            }
            end @ (Due::TimedOut | Due::Over) => {
                let (owner, method) = (entry.owner.clone(), entry.method);
                self.clients.remove(&key);
                if end == Due::TimedOut {
                    debug!(method = method.as_str(), "a request was not answered");
                    let branch = key.split(' ').next().unwrap_or_default();
                    self.unanswered(owner, branch);
                }
                return;
            }
        }
        self.remind_client(&key);
    }
}

/// Where the responses to a request go (RFC 3261 §18.2.2, RFC 3581): to where it came from, but to
/// the port in its Via unless it asks otherwise.
pub(crate) fn way_back(request: &Message, flow: &Flow) -> Flow {
    match request.top_via() {
        Some(via) if flow.transport == Transport::Udp && !via.wants_rport() => {
            let port = via.port.unwrap_or_else(|| Transport::Udp.default_port());
            flow.towards(SocketAddr::new(flow.remote.ip(), port))
        }
        _ => flow.clone(),
    }
}
