//! A REGISTER of a phone that has proven who it is: its bindings read, changed and stored.

use std::net::SocketAddr;
use std::sync::Arc;

use tracing::warn;

use super::admission::{Answer, Waiting};
use super::endpoint::{Endpoint, Outcome};
use super::flow::Flow;
use super::message::Name;
use super::registrar::{self, Applied, MIN_EXPIRES_S, Refusal, Registration};
use super::uri::Uri;
use crate::ports::{Binding, BindingChange, Credential, LineIdentity, Transport};

/// An extension, by organisation and number, that has registered by a WebSocket.
pub(super) type WebLine = (Arc<str>, Arc<str>);

impl Endpoint {
    /// Reads the bindings that a REGISTER would change; a line registers its own extension only.
    pub(super) fn read_bindings(&mut self, waiting: Waiting, credential: Credential) {
        let identity = &credential.identity;
        let named = waiting.request.to().and_then(|to| Uri::parse(to.uri).map(|uri| uri.user_text()));
        if named.as_deref() != Some(&*identity.extension) {
            return self.fail(&waiting, 403);
        }
        let refused = waiting.clone();
        let ports = Arc::clone(&self.ports);
        let started = self.start(Box::pin(async move {
            let LineIdentity { org, extension, .. } = &credential.identity;
            let found = ports.bindings(org, extension).await;
            Outcome::Admission(Box::new(Answer::Bindings(waiting, Box::new(credential), found)))
        }));
        if !started {
            self.fail(&refused, 503);
        }
    }

    /// Applies a REGISTER and stores what it changes.
    pub(super) fn register(&mut self, waiting: Waiting, credential: &Credential, bindings: &[Binding]) {
        let registration = Registration {
            identity: &credential.identity,
            request: &waiting.request,
            transport: waiting.flow.transport,
            source: waiting.flow.remote,
            local: waiting.flow.local,
            srtp: credential.srtp,
        };
        let applied = match registrar::apply(bindings, &registration, self.now) {
            Ok(applied) => applied,
            Err(Refusal::Malformed) => return self.fail(&waiting, 400),
            Err(Refusal::TooMany) => return self.fail(&waiting, 403),
            Err(Refusal::TooBrief) => {
                return self.finish(&waiting, 423, |draft| draft.field("Min-Expires", MIN_EXPIRES_S));
            }
        };
        if applied.change == BindingChange::default() {
            return self.registered_phone(&waiting, &applied);
        }
        let (ports, identity) = (Arc::clone(&self.ports), credential.identity.clone());
        let refused = waiting.clone();
        let started = self.start(Box::pin(async move {
            let change = applied.change.clone();
            let stored = ports.change_bindings(&identity.org, &identity.extension, change).await;
            Outcome::Admission(Box::new(Answer::Stored(waiting, stored.map(|()| applied))))
        }));
        if !started {
            self.fail(&refused, 503);
        }
    }

    /// The 200 of a REGISTER: all bindings that exist now.
    pub(super) fn registered_phone(&mut self, waiting: &Waiting, applied: &Applied) {
        self.keep_web_lines(&waiting.flow, &applied.bindings);
        let now = self.now;
        let path = waiting.request.fields(Name::Path).map(str::to_owned).collect::<Vec<_>>();
        self.finish(waiting, 200, |mut draft| {
            for binding in &applied.bindings {
                let left_s = (binding.expires_at_ms - now + 999) / 1_000;
                draft = draft.field("Contact", format_args!("<{}>;expires={left_s}", binding.contact));
            }
            path.iter().fold(draft, |draft, path| draft.field("Path", path))
        });
    }

    /// Remembers who has registered by a WebSocket: when it closes, those contacts are gone.
    fn keep_web_lines(&mut self, flow: &Flow, bindings: &[Binding]) {
        if !flow.transport.is_web() {
            return;
        }
        let own = bindings.iter().filter(|binding| binding.source == flow.remote);
        let lines: Vec<WebLine> = own.map(|binding| (binding.org.clone(), binding.extension.clone())).collect();
        if lines.is_empty() {
            return;
        }
        self.web_lines.entry(flow.remote).or_default().extend(lines);
        if !flow.is_open() {
            // It closed while the contact was stored.
            self.lost_connection(flow.remote);
        }
    }

    /// A stream has ended: contacts that only its peer could open anew are taken out.
    pub(super) fn lost_connection(&mut self, remote: SocketAddr) {
        let lives =
            [Transport::Ws, Transport::Wss].into_iter().any(|transport| self.stream(transport, remote).is_some());
        if lives {
            return;
        }
        for (org, extension) in self.web_lines.remove(&remote).into_iter().flatten() {
            let ports = Arc::clone(&self.ports);
            self.edge.tasks.spawn(async move {
                if let Err(error) = ports.lost_connection(&org, &extension, remote).await {
                    warn!(%extension, %error, "the contact of a closed WebSocket could not be removed");
                }
            });
        }
    }
}
