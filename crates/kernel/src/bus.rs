//! The bus: "look now". Four verbs, publish, subscribe, serve and ask; durable things are rows first.
//!
//! Invariant: publishing never waits and never fails. A subscriber that falls behind loses messages and is told so by
//! [`Message::Lagged`]: it then looks at the rows, as it does at its start.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Messages a subscription holds before it lags.
const SUBSCRIPTION_MESSAGES: usize = 256;
/// Requests that wait for one server.
const SERVER_REQUESTS: usize = 64;

/// Carries wake-ups and requests between the parts of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Bus {
    /// Inside this process.
    Local(Arc<Local>),
}

/// The subscriptions of one process.
#[derive(Debug, Default)]
pub struct Local {
    subjects: RwLock<HashMap<String, broadcast::Sender<Bytes>>>,
    servers: RwLock<HashMap<String, mpsc::Sender<Request>>>,
}

/// Why nobody answered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AskError {
    /// Nobody serves that subject.
    #[error("nobody serves {0}")]
    NoServer(String),
    /// The server has too many requests, or dropped this one.
    #[error("{0} does not answer")]
    Dropped(String),
    /// No answer in time.
    #[error("{0} did not answer in time")]
    TimedOut(String),
}

/// What a subscription receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A published message.
    Published(Bytes),
    /// Messages were lost: look at everything.
    Lagged,
}

/// A bounded queue of one subject's messages, from the moment of subscribing.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Bytes>,
}

/// A request that a server has to answer.
#[derive(Debug)]
pub struct Request {
    /// What was asked.
    pub body: Bytes,
    answer: oneshot::Sender<Bytes>,
}

impl Bus {
    /// The bus of one process.
    #[must_use]
    pub fn local() -> Self {
        Self::Local(Arc::default())
    }

    /// Tells all present subscribers of `subject`. Costs one look-up when there are none.
    pub fn publish(&self, subject: &str, body: impl Into<Bytes>) {
        let Self::Local(local) = self;
        let subjects = local.subjects.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = subjects.get(subject) {
            // An error only says that the last subscriber has just gone.
            let _nobody = sender.send(body.into());
        }
    }

    /// Subscribes to one subject.
    #[must_use]
    pub fn subscribe(&self, subject: &str) -> Subscription {
        let Self::Local(local) = self;
        let mut subjects = local.subjects.write().unwrap_or_else(PoisonError::into_inner);
        // Subjects end with their organisations' taps: those nobody listens to any more are swept here.
        subjects.retain(|name, sender| name == subject || sender.receiver_count() > 0);
        let sender = subjects.entry(subject.to_owned()).or_insert_with(|| broadcast::channel(SUBSCRIPTION_MESSAGES).0);
        Subscription { receiver: sender.subscribe() }
    }

    /// Becomes the one that answers `subject`; the last one to do so wins. Serves until the receiver is dropped.
    #[must_use]
    pub fn serve(&self, subject: &str) -> mpsc::Receiver<Request> {
        let Self::Local(local) = self;
        let (sender, receiver) = mpsc::channel(SERVER_REQUESTS);
        local.servers.write().unwrap_or_else(PoisonError::into_inner).insert(subject.to_owned(), sender);
        receiver
    }

    /// Asks the server of `subject`.
    ///
    /// # Errors
    /// [`AskError`] when there is none, it is overloaded, or `timeout` passes.
    pub async fn ask(&self, subject: &str, body: impl Into<Bytes>, timeout: Duration) -> Result<Bytes, AskError> {
        let Self::Local(local) = self;
        let server = local.servers.read().unwrap_or_else(PoisonError::into_inner).get(subject).cloned();
        let server = server.ok_or_else(|| AskError::NoServer(subject.to_owned()))?;
        let (answer, waiter) = oneshot::channel();
        server.try_send(Request { body: body.into(), answer }).map_err(|_| AskError::Dropped(subject.to_owned()))?;
        tokio::time::timeout(timeout, waiter)
            .await
            .map_err(|_| AskError::TimedOut(subject.to_owned()))?
            .map_err(|_| AskError::Dropped(subject.to_owned()))
    }
}

impl Subscription {
    /// The next message; `None` when the bus is gone.
    pub async fn next(&mut self) -> Option<Message> {
        match self.receiver.recv().await {
            Ok(body) => Some(Message::Published(body)),
            Err(RecvError::Lagged(_)) => Some(Message::Lagged),
            Err(RecvError::Closed) => None,
        }
    }

    /// A message that is there already.
    pub fn try_next(&mut self) -> Option<Message> {
        match self.receiver.try_recv() {
            Ok(body) => Some(Message::Published(body)),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(Message::Lagged),
            Err(_) => None,
        }
    }
}

impl Request {
    /// Answers; nobody may be waiting any more.
    pub fn answer(self, body: impl Into<Bytes>) {
        let _gone = self.answer.send(body.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_subscribers_of_the_subject_hear_and_only_from_then_on() {
        let bus = Bus::local();
        bus.publish("calls", "before");
        let (mut calls, mut rooms) = (bus.subscribe("calls"), bus.subscribe("rooms"));
        bus.publish("calls", "now");
        assert_eq!(calls.next().await, Some(Message::Published(Bytes::from("now"))));
        assert_eq!(rooms.try_next(), None);
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_that_it_lost_messages() {
        let bus = Bus::local();
        let mut slow = bus.subscribe("calls");
        for _ in 0..=SUBSCRIPTION_MESSAGES {
            bus.publish("calls", "x");
        }
        assert_eq!(slow.next().await, Some(Message::Lagged));
        assert_eq!(slow.next().await, Some(Message::Published(Bytes::from("x"))));
    }

    #[tokio::test]
    async fn a_question_is_answered_or_says_why_not() {
        let bus = Bus::local();
        let second = Duration::from_secs(1);
        assert_eq!(bus.ask("call.1", "hang up", second).await, Err(AskError::NoServer("call.1".into())));
        let mut server = bus.serve("call.1");
        let (answer, ()) = tokio::join!(bus.ask("call.1", "hang up", second), async {
            let request = server.recv().await.expect("a request");
            assert_eq!(request.body, "hang up");
            request.answer("done");
        });
        assert_eq!(answer, Ok(Bytes::from("done")));
        drop(server);
        assert_eq!(bus.ask("call.1", "again", second).await, Err(AskError::Dropped("call.1".into())));
    }
}
