//! One attempt of a callback: a call of its own that rings the first party, tells it what this is, and connects the
//! second (contracts/flows.md "callback"). Invariant: however the attempt ends, the callback is over, or due again, or
//! left as a crash would leave it, so that its job finds it.

use calls::{Call, CallEvent, Calls, Connect, ConnectEvent, ConnectStatus, EndedBy, LegRole, Sentence, Turn, Whisper};
use kernel::{DbError, Job};
use media::play::Sound;
use serde_json::json;
use voice::{
    cause::Cause,
    leg::{PlayId, Playable},
};

use super::{
    callbacks::{CallbackError, Callbacks, Driven, JOB_KIND},
    due::{self, State},
    steps::callback::when,
    store::Callback,
};

/// Longest that a party listens to one of our sentences, in milliseconds.
const SENTENCE_MS: i64 = 10_000;
/// Digits of the customer's number that the agent hears.
const SPOKEN_DIGITS: usize = 2;
const TO_CUSTOMER: &str = "Hello. This is the call that you asked for. One moment, please.";
const NO_CUSTOMER: &str = "The customer does not answer. Goodbye.";
const NO_AGENT: &str = "I am sorry. Nobody can take your call now.";
const NO_AGENT_YET: &str = "I am sorry. Nobody can take your call now. We will call you again.";

impl Callback {
    /// The entity is rung before the customer.
    pub(super) fn entity_first(&self) -> bool {
        self.order != "customer_first"
    }

    /// It was booked by somebody who waited in the entity's queue.
    pub(super) fn has_queued(&self) -> bool {
        self.order == "in_turn"
    }

    /// Who is rung first.
    pub(super) fn first_party(&self) -> (&str, LegRole) {
        if self.entity_first() { (&self.entity, LegRole::Agent) } else { (&self.customer, LegRole::Customer) }
    }

    fn second_party(&self) -> &str {
        if self.entity_first() { &self.customer } else { &self.entity }
    }

    /// As of when it has its place in a queue, in UTC milliseconds: its wall time, which of one that was booked in a
    /// queue is when the customer joined.
    pub(super) fn place_ms(&self) -> i64 {
        let (date, time, zone) = &self.wall;
        when(date, time, zone).map_or(self.due_ms, |due| due.at_ms)
    }

    fn is_last_attempt(&self) -> bool {
        due::retry_ms(self.attempt, self.attempts, 0).is_none()
    }
}

/// What the parties are told.
struct Sentences {
    /// The first party, when it answers.
    greeting: Sentence,
    /// The agent who is the second party, before the customer is heard.
    whisper: Option<Sentence>,
    /// The first party, when the second is not reached.
    regret: Sentence,
}

impl Sentences {
    fn of(calls: &Calls, callback: &Callback) -> Self {
        let digits: Vec<char> = callback.customer.chars().filter(char::is_ascii_digit).collect();
        let ending: Vec<String> = digits.iter().rev().take(SPOKEN_DIGITS).rev().map(char::to_string).collect();
        let announced = calls.sentence(format!("Callback to the number ending in {}.", ending.join(" ")));
        if callback.entity_first() {
            return Self { greeting: announced, whisper: None, regret: calls.sentence(NO_CUSTOMER) };
        }
        let regret = if callback.is_last_attempt() { NO_AGENT } else { NO_AGENT_YET };
        Self { greeting: calls.sentence(TO_CUSTOMER), whisper: Some(announced), regret: calls.sentence(regret) }
    }
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The first party rings.
    Ringing,
    /// It answered and hears the greeting.
    Greeting(PlayId),
    /// The second party rings.
    Connecting,
    /// They talk.
    Talking,
    /// It is over in this way; the first party may still hear the regret.
    Parting(ConnectStatus),
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The two talked, or whoever was wanted was there and it came to nothing: no further attempt.
    Over(ConnectStatus),
    /// A party that is tried again was not reached.
    Unreached(&'static str),
    /// Somebody asked by API to hang up before anybody answered: that means the callback.
    Refused(Cause),
    /// The server stops before they talked.
    Interrupted,
}

/// An attempt at work.
pub(super) struct Attempt {
    callbacks: Callbacks,
    callback: Callback,
    call: Call,
    sentences: Sentences,
    stage: Stage,
    /// The sentence that plays ends by then.
    until_ms: Option<i64>,
    /// The place in the queue of the team that is rung.
    turn: Option<Turn>,
    /// Who has answered that team's offer and is still there.
    agent: Option<String>,
    _driven: Driven,
}

impl Attempt {
    /// The attempt on a call that rings the first party; the callback's row counts it already.
    pub(super) fn new(
        callbacks: Callbacks,
        callback: Callback,
        call: Call,
        driven: Driven,
        turn: Option<Turn>,
    ) -> Self {
        let sentences = Sentences::of(callbacks.flows().calls(), &callback);
        Self {
            callbacks,
            callback,
            call,
            sentences,
            stage: Stage::Ringing,
            until_ms: None,
            turn,
            agent: None,
            _driven: driven,
        }
    }

    /// Carries it through and writes down what came of it.
    pub(super) async fn drive(mut self) {
        let end = self.join().await;
        if let Err(error) = self.settle(end).await {
            // The job is still there and looks again.
            tracing::error!(callback = %self.callback.id, %error, "a callback could not be settled");
        }
    }

    /// Rings the first party, then the second, until the call is over.
    async fn join(&mut self) -> End {
        let clock = self.callbacks.flows().kernel().clock.clone();
        loop {
            let until_ms = self.until_ms;
            tokio::select! {
                event = self.call.next() => {
                    if let CallEvent::Ended { cause, by } = event {
                        return self.end_of(cause, by);
                    }
                    self.take(event);
                    self.free_agent_who_left();
                }
                () = clock.sleep_until(until_ms.unwrap_or(i64::MAX)), if until_ms.is_some() => self.sentence_over(),
            }
        }
    }

    fn take(&mut self, event: CallEvent) {
        match event {
            CallEvent::Answered => {
                if let (Some(turn), Some(agent)) = (&mut self.turn, self.call.party()) {
                    turn.answered(agent);
                    self.agent = Some(agent.to_owned());
                }
                self.note(State::Connecting);
                match self.say(self.sentences.greeting.sound()) {
                    Some(play) => self.stage = Stage::Greeting(play),
                    None => self.connect(),
                }
            }
            CallEvent::PlayEnded { play } => match self.stage {
                Stage::Greeting(greeting) if greeting == play => self.sentence_over(),
                Stage::Parting(_) => self.sentence_over(),
                _ => {}
            },
            CallEvent::Connect(ConnectEvent::Answered { .. }) => {
                self.stage = Stage::Talking;
                self.note(State::Connected);
            }
            CallEvent::Connect(ConnectEvent::Ended { status, .. }) => {
                self.stage = Stage::Parting(status);
                let regret = self.sentences.regret.sound().filter(|_| status != ConnectStatus::Completed);
                if self.say(regret).is_none() {
                    self.sentence_over();
                }
            }
            _ => {}
        }
    }

    /// An agent who has handed the customer on talks no longer: the next caller may be his.
    fn free_agent_who_left(&mut self) {
        if self.agent.is_some() && self.agent.as_deref() != self.call.party() {
            (self.agent, self.turn) = (None, None);
        }
    }

    /// Plays a sentence to the first party.
    fn say(&mut self, sound: Option<Sound>) -> Option<PlayId> {
        let play = self.call.play(Playable::Sound(sound?), 1);
        self.until_ms = Some(self.callbacks.flows().kernel().clock.now_ms() + SENTENCE_MS);
        Some(play)
    }

    fn sentence_over(&mut self) {
        self.until_ms = None;
        match self.stage {
            Stage::Greeting(_) => self.connect(),
            Stage::Parting(_) => self.call.hangup(Cause::Normal, EndedBy::System),
            Stage::Ringing | Stage::Connecting | Stage::Talking => {}
        }
    }

    fn connect(&mut self) {
        self.stage = Stage::Connecting;
        let whisper = self.sentences.whisper.as_ref().and_then(Sentence::sound);
        let whisper = Whisper::of(whisper.into_iter().collect());
        self.call.connect(Connect { whisper, ..Connect::to(self.callback.second_party()) });
    }

    /// The callback got further; the row goes with the call's next event.
    fn note(&mut self, state: State) {
        let write = self.callback.state_write(state);
        self.call.with_writes(vec![write]);
    }

    /// What the end of the call means.
    fn end_of(&self, cause: Cause, by: EndedBy) -> End {
        let stopped = cause == Cause::ServerRestart;
        match self.stage {
            Stage::Talking => End::Over(ConnectStatus::Completed),
            Stage::Parting(ConnectStatus::Completed) => End::Over(ConnectStatus::Completed),
            // The customer was there; the entity is tried again.
            Stage::Parting(status) if !self.callback.entity_first() && by != EndedBy::Api => {
                End::Unreached(status.as_str())
            }
            Stage::Parting(status) => End::Over(status),
            _ if stopped => End::Interrupted,
            Stage::Greeting(_) | Stage::Connecting => End::Over(ConnectStatus::Canceled),
            Stage::Ringing if by == EndedBy::Api => End::Refused(cause),
            Stage::Ringing => End::Unreached(cause.as_str()),
        }
    }

    async fn settle(&mut self, end: End) -> Result<(), CallbackError> {
        let kernel = self.callbacks.flows().kernel().clone();
        // An agent who did not answer is left alone for a while; the next one, if there is another, is rung at once.
        self.turn.iter_mut().for_each(Turn::passed);
        let asks_the_next = self.turn.take().is_some_and(|turn| !turn.rings_all());
        // Behind the rows that the call has queued, so that the newest state of the callback is the last one written.
        let writes = match end {
            // The next start takes it up as after a crash.
            End::Interrupted => return Ok(()),
            End::Over(status) => {
                let data = json!({ "status": status.as_str(), "call_id": &*self.call.id });
                self.callbacks.end_writes(&self.callback, State::Completed, status.as_str(), data).await?
            }
            End::Refused(cause) => self.missed(cause.as_str()).await?,
            End::Unreached(reason) => {
                match due::retry_ms(self.callback.attempt, self.callback.attempts, kernel.clock.now_ms()) {
                    Some(at_ms) => {
                        let at_ms = if asks_the_next { kernel.clock.now_ms() } else { at_ms };
                        let job = Job::new(&self.callback.org, JOB_KIND, &self.callback.id, at_ms, json!({}));
                        vec![self.callback.moved_write(at_ms, true), job.schedule_write()]
                    }
                    None => self.missed(reason).await?,
                }
            }
        };
        match kernel.db.writer().commit(writes).await {
            // A conflict: it was called off, which ended it.
            Ok(_) | Err(DbError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn missed(&mut self, reason: &str) -> Result<Vec<kernel::Write>, CallbackError> {
        let data = json!({ "reason": reason, "call_id": &*self.call.id });
        Ok(self.callbacks.end_writes(&self.callback, State::Missed, reason, data).await?)
    }
}
