//! The step types, one file each: its fields with their ranges, its edges, and what it does while it runs.
//! A step runs as a little machine: it is started, fed inputs, and says when it is done and by which outcome.
//! Invariant: no step touches a socket, a clock or a table; everything outside is an [`Effect`].

pub(crate) mod announcement;
pub mod branch;
pub mod call;
pub mod callback;
pub mod conference;
pub mod connect;
pub mod digits;
pub mod hangup;
pub mod http;
pub mod menu;
pub mod pause;
pub mod play;
pub mod prompt;
pub mod queue;
pub mod record;
pub mod send_dtmf;
pub mod set;
pub mod stream;
pub mod transfer;
pub mod voicemail;
pub(crate) mod written;

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;
use voice::cause::Cause;

use super::{
    check::fields::Fields,
    machine::{Effect, Input, Medium, RecordAction, StepRef},
    model::Edges,
    template::Variables,
};
use announcement::Announcing;

/// What a step does. The configuration stands behind an `Arc`, for a running step keeps it.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is explained by its module")]
pub enum Kind {
    Call(Arc<call::Call>),
    Play(Arc<play::Play>),
    Digits(Arc<digits::Digits>),
    Menu(Arc<digits::Digits>),
    Http(Arc<http::Http>),
    Connect(Arc<connect::Connect>),
    Conference(Arc<conference::Conferencing>),
    Callback(Arc<callback::Callback>),
    Hangup,
    Pause(pause::Pause),
    Set(Arc<set::Set>),
    Branch(Arc<branch::Branch>),
    Record(record::Record),
    Voicemail(Arc<voicemail::Voicemail>),
    Transfer(Arc<transfer::Transfer>),
    SendDtmf(Arc<send_dtmf::SendDtmf>),
    Queue(Arc<queue::Queue>),
    Stream(Arc<stream::Stream>),
}

/// Every type, by its canonical name.
pub(crate) const NAMES: [&str; 18] = [
    "call",
    "play",
    "digits",
    "menu",
    "http",
    "connect",
    "queue",
    "conference",
    "stream",
    "callback",
    "hangup",
    "pause",
    "set",
    "branch",
    "record",
    "voicemail",
    "transfer",
    "send_dtmf",
];

impl Kind {
    /// Reads a step of a named type; none when there is no such type.
    pub(crate) fn read(name: &str, fields: &mut Fields<'_>) -> Option<Self> {
        Some(match name {
            "call" => Self::Call(Arc::new(call::Call::read(fields))),
            "play" | "say" => Self::Play(Arc::new(play::Play::read(fields))),
            "digits" | "keypad" | "input" => Self::Digits(Arc::new(digits::Digits::read(fields))),
            "menu" => Self::Menu(Arc::new(menu::read(fields))),
            "http" => Self::Http(Arc::new(http::Http::read(fields))),
            "connect" | "dial" => Self::Connect(Arc::new(connect::Connect::read(fields))),
            "conference" => Self::Conference(Arc::new(conference::Conferencing::read(fields))),
            "callback" => Self::Callback(Arc::new(callback::Callback::read(fields))),
            "hangup" => Self::Hangup,
            "pause" => Self::Pause(pause::Pause::read(fields)),
            "set" => Self::Set(Arc::new(set::Set::read(fields))),
            "branch" => Self::Branch(Arc::new(branch::Branch::read(fields))),
            "record" => Self::Record(record::Record::read(fields)),
            "voicemail" => Self::Voicemail(Arc::new(voicemail::Voicemail::read(fields))),
            "transfer" => Self::Transfer(Arc::new(transfer::Transfer::read(fields))),
            "send_dtmf" => Self::SendDtmf(Arc::new(send_dtmf::SendDtmf::read(fields))),
            "queue" => Self::Queue(Arc::new(queue::Queue::read(fields))),
            "stream" => Self::Stream(Arc::new(stream::Stream::read(fields))),
            _ => return None,
        })
    }

    /// The canonical name of its type, as events carry it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Call(_) => "call",
            Self::Play(_) => "play",
            Self::Digits(_) => "digits",
            Self::Menu(_) => "menu",
            Self::Http(_) => "http",
            Self::Connect(_) => "connect",
            Self::Conference(_) => "conference",
            Self::Callback(_) => "callback",
            Self::Hangup => "hangup",
            Self::Pause(_) => "pause",
            Self::Set(_) => "set",
            Self::Branch(_) => "branch",
            Self::Record(_) => "record",
            Self::Voicemail(_) => "voicemail",
            Self::Transfer(_) => "transfer",
            Self::SendDtmf(_) => "send_dtmf",
            Self::Queue(_) => "queue",
            Self::Stream(_) => "stream",
        }
    }

    /// Whether an outcome of this name exists.
    pub(crate) fn has_edge(&self, name: &str) -> bool {
        match self {
            Self::Call(_) => call::EDGES.contains(&name),
            Self::Play(_) => play::EDGES.contains(&name),
            Self::Digits(_) | Self::Menu(_) => digits::is_edge(name),
            Self::Http(_) => http::EDGES.contains(&name),
            Self::Connect(_) => connect::EDGES.contains(&name),
            Self::Conference(_) => conference::EDGES.contains(&name),
            Self::Callback(_) => callback::EDGES.contains(&name),
            Self::Branch(_) => branch::EDGES.contains(&name),
            Self::Queue(_) => queue::EDGES.contains(&name),
            Self::Stream(_) => stream::EDGES.contains(&name),
            Self::Hangup
            | Self::Pause(_)
            | Self::Set(_)
            | Self::Record(_)
            | Self::Voicemail(_)
            | Self::Transfer(_)
            | Self::SendDtmf(_) => false,
        }
    }

    /// Whether an outcome of this name exists where people write.
    pub(crate) fn has_written_edge(&self, name: &str) -> bool {
        matches!(self, Self::Digits(_) | Self::Menu(_)) && digits::is_written_edge(name)
    }

    /// Whether a scalar `next_step` means anything.
    pub(crate) fn goes_on(&self) -> bool {
        !matches!(self, Self::Hangup | Self::Transfer(_))
    }

    /// Whether time passes in it (contracts/flows.md "Graph").
    pub(crate) fn takes_time(&self) -> bool {
        !matches!(self, Self::Http(_) | Self::Set(_) | Self::Branch(_) | Self::Callback(_) | Self::Record(_))
    }

    /// Whether it needs the customer on the line.
    pub(crate) fn needs_customer(&self) -> bool {
        match self {
            Self::Play(_)
            | Self::Digits(_)
            | Self::Menu(_)
            | Self::Connect(_)
            | Self::Conference(_)
            | Self::Record(_)
            | Self::Voicemail(_)
            | Self::Transfer(_)
            | Self::SendDtmf(_)
            | Self::Queue(_)
            | Self::Stream(_) => true,
            Self::Call(_)
            | Self::Http(_)
            | Self::Callback(_)
            | Self::Hangup
            | Self::Pause(_)
            | Self::Set(_)
            | Self::Branch(_) => false,
        }
    }

    /// Whether the keys pressed in it must appear in no event.
    pub(crate) fn is_sensitive(&self) -> bool {
        matches!(self, Self::Digits(digits) | Self::Menu(digits) if digits.sensitive)
    }

    pub(crate) fn start(&self, context: &mut Context<'_>) -> Turn {
        match self {
            Self::Call(_) => call::start(),
            Self::Play(play) => play::start(play, context),
            Self::Digits(digits) | Self::Menu(digits) => digits::start(digits, context),
            Self::Http(http) => http::start(http, context),
            Self::Connect(connect) => connect::start(connect, context),
            Self::Conference(conference) => conference.start(context),
            Self::Callback(callback) => callback::start(callback, context),
            Self::Hangup => hangup::start(),
            Self::Pause(pause) => pause.start(context),
            Self::Set(set) => set.start(context),
            Self::Branch(branch) => branch.start(context),
            Self::Record(record) => record.start(context),
            Self::Voicemail(voicemail) => voicemail.start(context),
            Self::Transfer(transfer) => transfer.start(context),
            Self::SendDtmf(send_dtmf) => send_dtmf.start(context),
            Self::Queue(queue) => queue::start(queue, context),
            Self::Stream(stream) => stream::start(stream, context),
        }
    }
}

/// What a step may read and change.
pub(crate) struct Context<'a> {
    pub(crate) now_ms: i64,
    pub(crate) medium: Medium,
    pub(crate) step: &'a StepRef,
    pub(crate) edges: &'a Edges,
    pub(crate) variables: &'a mut Variables,
    pub(crate) out: &'a mut Vec<Effect>,
    pub(crate) next_token: &'a mut u64,
    pub(crate) http_times: &'a mut std::collections::VecDeque<i64>,
    /// The customer's number, for callbacks.
    pub(crate) customer: &'a str,
    /// Spoken to whoever is going to be recorded.
    pub(crate) announcement: Option<&'a str>,
    /// Whether the flow has begun to record the call.
    pub(crate) recording: &'a mut bool,
}

impl Context<'_> {
    /// A number that names a sound, a playback or a request of this run.
    pub(crate) fn token(&mut self) -> u64 {
        *self.next_token += 1;
        *self.next_token
    }

    /// An event of this step.
    pub(crate) fn emit(&mut self, kind: &'static str, data: Value) {
        self.out.push(Effect::Emit { kind, step: self.step.clone(), data });
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.out.push(effect);
    }

    /// What the customer must hear before a recording begins, if anything; a call that is recorded has heard it.
    pub(crate) fn announce(&mut self) -> Option<Announcing> {
        let words = self.announcement.filter(|_| !*self.recording)?;
        Some(Announcing::begin(words, self.next_token, self.out))
    }

    pub(crate) fn record(&mut self, action: RecordAction) {
        match action {
            RecordAction::Start => *self.recording = true,
            RecordAction::Stop => *self.recording = false,
            RecordAction::Pause | RecordAction::Resume => {}
        }
        self.push(Effect::Record(action));
    }
}

/// A step that waits for something.
pub(crate) trait Running: Send {
    /// Takes an input in; none = it goes on waiting.
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit>;

    /// When it wants [`Input::Tick`], at the latest.
    fn deadline(&self) -> Option<i64> {
        None
    }

    /// The customer is gone: whatever runs outside for this step must stop.
    fn abandon(&mut self, _context: &mut Context<'_>) {}
}

/// What starting a step led to.
pub(crate) enum Turn {
    Wait(Box<dyn Running>),
    Done(Exit),
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    /// The edge of this name is taken, if there is one.
    pub(crate) outcome: Cow<'static, str>,
    /// Whether the scalar `next_step` is taken when there is none.
    pub(crate) falls_back: bool,
    /// The cause of the hang-up when nothing follows; none = whoever has the call now ends it.
    pub(crate) cause: Option<Cause>,
    /// The step could not do its work (event step.failed).
    pub(crate) error: Option<String>,
    /// The outcome's name is secret: it and what follows stay out of the event.
    pub(crate) hidden: bool,
}

impl Exit {
    pub(crate) fn by(outcome: impl Into<Cow<'static, str>>) -> Self {
        Self { outcome: outcome.into(), falls_back: true, cause: Some(Cause::Normal), error: None, hidden: false }
    }

    pub(crate) fn completed() -> Self {
        Self::by("completed")
    }

    /// The step failed; `edge` is its edge for that.
    pub(crate) fn failed(edge: &'static str, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::by(edge) }
    }

    /// Nothing follows.
    pub(crate) fn last(outcome: &'static str, cause: Cause) -> Self {
        Self { falls_back: false, cause: Some(cause), ..Self::by(outcome) }
    }

    /// The call goes on without the flow.
    pub(crate) fn handed_over() -> Self {
        Self { falls_back: false, cause: None, ..Self::by("transferred") }
    }

    pub(crate) fn hidden(self, hidden: bool) -> Self {
        Self { hidden, ..self }
    }

    pub(crate) fn or_cause(self, cause: Cause) -> Self {
        Self { cause: Some(cause), ..self }
    }
}

#[cfg(test)]
pub(super) mod tests;
