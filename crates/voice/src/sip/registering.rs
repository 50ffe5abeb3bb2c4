//! A REGISTER of a phone that has proven who it is: its bindings read, changed and stored.

use std::sync::Arc;

use super::admission::{Answer, Waiting};
use super::endpoint::{Endpoint, Outcome};
use super::message::Name;
use super::registrar::{self, Applied, MIN_EXPIRES_S, Refusal, Registration};
use super::uri::Uri;
use crate::ports::{Binding, BindingChange, Credential, LineIdentity};

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
}
