//! The log of one call: numbers its events, and queues them with the rows that belong to them.
//!
//! Invariant: what is noted is written in the order of noting, events numbered from 1 without
//! holes; nothing is lost when a caller gives up waiting in [`Journal::flush`].

use kernel::Kernel;
use kernel::db::Write;
use kernel::events::Event;
use kernel::outbox::{Outbox, Target};
use serde_json::{Map, Value, json};
use voice::leg::LegId;

use crate::model::{CallModel, LegRole};

/// The step that an event belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) id: String,
    pub(crate) kind: String,
}

enum Entry {
    Event(Event),
    Row(Write),
}

/// What waits to be written for one call.
pub(crate) struct Journal {
    kernel: Kernel,
    /// The publish URL of the flow run that drives the call.
    publish: Option<Target>,
    seq: i64,
    entries: Vec<Entry>,
    writes: Vec<Write>,
}

impl Journal {
    /// The log of a call whose last event was `seq`; 0 for a new one.
    pub(crate) fn new(kernel: Kernel, seq: i64, publish: Option<Target>) -> Self {
        Self { kernel, publish, seq, entries: Vec::new(), writes: Vec::new() }
    }

    /// Events go to this URL too from now on.
    pub(crate) fn publish_to(&mut self, target: Target) {
        self.publish = Some(target);
    }

    /// Notes an event of the call.
    pub(crate) fn event(
        &mut self,
        call: &CallModel,
        kind: &str,
        leg: Option<(&LegId, LegRole)>,
        step: Option<&Step>,
        data: Value,
    ) {
        self.seq += 1;
        let event = self.envelope(call, kind, call.id.to_string(), self.seq, leg, step, data);
        self.entries.push(Entry::Event(event));
    }

    /// Notes an event with a key of its own, of which it is the first: something that outlives the
    /// call, such as a message in a box.
    pub(crate) fn event_of(&mut self, call: &CallModel, kind: &str, key: &str, data: Value) {
        let event = self.envelope(call, kind, key.to_owned(), 1, None, None, data);
        self.entries.push(Entry::Event(event));
    }

    /// Notes a row.
    pub(crate) fn row(&mut self, write: Write) {
        self.entries.push(Entry::Row(write));
    }

    /// Something waits.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.entries.is_empty() || !self.writes.is_empty()
    }

    /// Everything noted so far as writes, deliveries included.
    pub(crate) async fn take(&mut self, call: &CallModel) -> Vec<Write> {
        self.prepare(call).await;
        std::mem::take(&mut self.writes)
    }

    /// Queues everything noted so far, in order.
    pub(crate) async fn flush(&mut self, call: &CallModel) {
        self.prepare(call).await;
        if self.writes.is_empty() {
            return;
        }
        if let Err(error) = self.kernel.db.writer().submit_from(&mut self.writes).await {
            tracing::error!(call = %call.id, %error, "events of a call could not be queued");
            self.writes.clear();
        }
    }

    async fn prepare(&mut self, call: &CallModel) {
        if self.entries.is_empty() {
            return;
        }
        let targets = match self.kernel.outbox.targets(&call.org).await {
            Ok(targets) => targets,
            Err(error) => {
                // The log is complete without them; readers of it miss nothing.
                tracing::error!(call = %call.id, %error, "webhooks could not be looked up");
                [].into()
            }
        };
        for entry in self.entries.drain(..) {
            match entry {
                Entry::Row(write) => self.writes.push(write),
                Entry::Event(event) => {
                    self.writes.extend(Outbox::event_writes(&event, targets.iter().chain(&self.publish)));
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of the envelope, named once, here")]
    fn envelope(
        &self,
        call: &CallModel,
        kind: &str,
        key: String,
        seq: i64,
        leg: Option<(&LegId, LegRole)>,
        step: Option<&Step>,
        data: Value,
    ) -> Event {
        let time_ms = self.kernel.clock.now_ms();
        let mut body = Map::new();
        body.insert("run_id".to_owned(), json!(call.run));
        body.insert(
            "call".to_owned(),
            json!({
                "id": &*call.id,
                "direction": call.direction.as_str(),
                "from": call.shown(&call.from),
                "to": call.shown(&call.to),
                "state": call.state.as_str(),
            }),
        );
        if let Some((id, role)) = leg {
            body.insert("leg".to_owned(), json!({"id": &**id, "role": role.as_str()}));
        }
        if let Some(step) = step {
            body.insert("step".to_owned(), json!({"id": step.id, "type": step.kind}));
        }
        body.insert("data".to_owned(), data);
        Event {
            id: self.kernel.ids.new("evt", time_ms),
            kind: kind.to_owned(),
            time_ms,
            org: call.org.to_string(),
            key,
            seq,
            body: Value::Object(body),
        }
    }
}
