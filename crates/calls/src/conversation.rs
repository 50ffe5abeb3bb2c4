//! The port between the interpreter of flows and whoever carries the words: a call, or a chat.
//!
//! A flow says something, asks, hands over and ends; how, is the driver's business. The interpreter knows no chat and
//! the chat no interpreter: both know this page, and `app.rs` joins them.
//! Invariant: orders are carried out in the order in which they were given. Source: docs/contracts/chat.md, "Real time".

use std::sync::Arc;

use kernel::{DbError, Write};
use serde_json::Value;
use voice::cause::Cause;
use voice::leg::{PlayId, Playable};
use voice::ports::BoxFuture;

use crate::Call;
use crate::driver::Queueing;
use crate::model::EndedBy;

/// What a flow orders, of a call and of a chat alike.
pub trait Conversation {
    /// What can be said: a sound, or words to be read.
    type Words;

    /// Says something, so often (0 = until something else is said); the driver tells when it was said.
    fn say(&mut self, words: Self::Words, times: u32) -> PlayId;

    /// Asks for this step, which is named by its id and its type: what is heard and told from now on belongs to it.
    /// `is_secret`: it stays out of what is told.
    fn ask(&mut self, step: (&str, &str), is_secret: bool);

    /// Hands over to people: to a team.
    fn hand_over(&mut self, to: Queueing);

    /// Ends it.
    fn end(&mut self, cause: Cause);

    /// Tells an event of it, in its order.
    fn tell(&mut self, kind: &'static str, step: (&str, &str), data: Value);

    /// The flow's own rows, committed in order with the events.
    fn keep(&mut self, writes: Vec<Write>);
}

impl Conversation for Call {
    type Words = Playable;

    fn say(&mut self, words: Playable, times: u32) -> PlayId {
        self.play(words, times)
    }

    fn ask(&mut self, step: (&str, &str), is_secret: bool) {
        self.at_step(Some(step));
        self.sensitive(is_secret);
    }

    fn hand_over(&mut self, to: Queueing) {
        self.queue(to);
    }

    fn end(&mut self, cause: Cause) {
        self.hangup(cause, EndedBy::System);
    }

    fn tell(&mut self, kind: &'static str, step: (&str, &str), data: Value) {
        self.emit(kind, Some(step), data);
    }

    fn keep(&mut self, writes: Vec<Write>) {
        self.with_writes(writes);
    }
}

/// Who talks to the flow in writing, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correspondence {
    /// The organisation.
    pub org: Arc<str>,
    /// The room.
    pub room: Arc<str>,
    /// The visitor's name in the customer's own books.
    pub user_id: String,
    /// What it is about.
    pub product: String,
}

/// What happened in a written conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// What was to be said can be read.
    Said(PlayId),
    /// The other side wrote something after the last thing that was said.
    Words(String),
    /// It is over for the flow: ended, handed over, or somebody else took it. Nothing follows.
    Over,
}

/// Rows that belong to the end of a conversation, made when it is known: by its cause, and its time in UTC milliseconds.
pub type LastRows = Box<dyn FnOnce(&str, i64) -> Vec<Write> + Send>;

/// A conversation in writing.
pub trait Written: Conversation<Words = String> + Send {
    /// Names the run that drives it, and the rows that are committed with its end.
    fn driven_by(&mut self, run: &str, author: &str, last_rows: LastRows);

    /// What happens next. Nothing is lost when the wait is given up.
    fn next(&mut self) -> BoxFuture<'_, Heard>;
}

/// What is known of a flow that is to answer chats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fitness {
    /// The author's name for it.
    pub name: String,
    /// What of it a chat does not know, a sentence each.
    pub warnings: Vec<String>,
}

/// Who can answer conversations in writing: the desk of flows.
pub trait Answering: Send + Sync {
    /// Whether the organisation has such a flow, and how it fits a chat.
    fn fitness<'a>(&'a self, org: &'a str, flow: &'a str) -> BoxFuture<'a, Result<Option<Fitness>, DbError>>;

    /// Lets a saved flow answer, until the conversation is over. A flow that is gone or does not run ends it at once, by
    /// [`Cause::FlowError`].
    fn answer(&self, flow: String, of: Correspondence, conversation: Box<dyn Written>) -> BoxFuture<'_, ()>;
}
