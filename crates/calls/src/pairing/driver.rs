//! Carries a pair's machine out on its call.
//!
//! Invariant: whatever the parties are told goes through one place, one thing at a time; words that are on their way hold
//! nothing up, and are left out when their time has passed.

use std::sync::Arc;

use media::play::Sound;
use tokio::sync::watch;
use voice::cause::Cause;
use voice::leg::{PlayId, PlayMode, Playable};
use voice::ports::BoxFuture;

use super::handles::{Entry, Wishes};
use super::machine::{Effect, Input, Machine, PairRules};
use super::{PairAddress, PairDesk, PairHandle, PairOrder, PairParty, PairSounds, PartyDial};
use crate::call::Call;
use crate::connect::ConnectStatus;
use crate::driver::{CallEvent, Connect, ConnectEvent, NewCall, RecordAction};
use crate::sentence::Sentence;
use crate::service::{CallError, Calls};

/// Longest pair whatever its limit becomes, rings and messages included, in milliseconds.
const LONGEST_MS: i64 = 24 * 3_600_000;
/// Loops of what plays until it is replaced.
const FOREVER: u32 = PlayMode::FOREVER.loops;

impl Calls {
    /// Brings two parties together. When this returns, the call's row, its call.initiated and the desk's rows are durable
    /// and the first party is being rung; what becomes of it is told to `desk`. A party that cannot be reached is news,
    /// not an error.
    ///
    /// # Errors
    /// [`CallError::Limit`], [`CallError::Draining`], or what the store says; the desk hears nothing then.
    pub async fn pair(&self, order: PairOrder, desk: Arc<dyn PairDesk>) -> Result<PairHandle, CallError> {
        // On a task of its own: who asks may give up waiting, the pair goes on.
        let pairing = self.clone().pair_now(order, desk);
        self.kernel().tasks.spawn(pairing).await?
    }

    async fn pair_now(self, order: PairOrder, desk: Arc<dyn PairDesk>) -> Result<PairHandle, CallError> {
        let PairOrder { call_id, org, first, second, inbound, ring_ms, limit_ms, warn_ms, record, sounds, writes } =
            order;
        // Entered before its rows are there: whoever reads of the call can reach it, and no wish is lost.
        let id = inbound.as_ref().map_or_else(|| call_id.as_str().into(), |call| call.id.clone());
        let (handle, entry, wishes) = self.enter_pair(&org, &id);
        let call = match inbound {
            Some(mut call) => {
                call.with_writes(writes);
                call
            }
            None => {
                let new = NewCall {
                    caller_id: first.caller_id.clone(),
                    timeout_ms: ring_ms,
                    masked: true,
                    continue_unanswered: true,
                    writes,
                    ..NewCall::new(call_id, org.clone(), first.address.shown())
                };
                let to = PartyDial {
                    address: first.address.clone(),
                    other: second.address.clone(),
                    peer_name: first.peer_name.clone(),
                };
                self.clone().place_party(new, to).await?
            }
        };
        let pair = Pair {
            machine: Machine::new(PairRules { limit_ms, warn_ms, record }),
            call,
            desk,
            first: first.address,
            second,
            ring_ms,
            sounds,
            wishes,
            coming: None,
            heard: None,
            after: None,
            _entry: entry,
        };
        let clock = self.kernel().clock.clone();
        self.kernel().tasks.spawn(pair.run(clock));
        Ok(handle)
    }
}

/// What is said to the parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saying {
    Wait,
    Regret,
    Recording,
    Warning,
}

/// Words that are being spoken into memory.
type Words = (Saying, BoxFuture<'static, Option<Sound>>);

/// A pair that is up.
struct Pair {
    machine: Machine,
    call: Call,
    desk: Arc<dyn PairDesk>,
    first: PairAddress,
    second: PairParty,
    ring_ms: i64,
    sounds: PairSounds,
    wishes: watch::Receiver<Wishes>,
    /// Words on their way; none = they cannot be had.
    coming: Option<Words>,
    /// Words that are being heard.
    heard: Option<(Saying, PlayId)>,
    /// What is to be said when those were heard.
    after: Option<Saying>,
    _entry: Entry,
}

/// What happened to a pair.
enum News {
    Call(CallEvent),
    Wishes,
    Words(Saying, Option<Sound>),
    Tick,
}

impl Pair {
    async fn run(mut self, clock: kernel::Clock) {
        self.call.keep_to_two(LONGEST_MS);
        if self.call.model().is_established() {
            self.apply(Input::FirstThere, clock.now_ms()).await;
        } else {
            self.call.answer();
        }
        while !self.machine.is_over() {
            let due_ms = self.machine.deadline_ms();
            let news = tokio::select! {
                biased;
                Ok(()) = self.wishes.changed() => News::Wishes,
                event = self.call.next() => News::Call(event),
                (saying, sound) = arrived(&mut self.coming), if self.coming.is_some() => News::Words(saying, sound),
                () = clock.sleep_until(due_ms.unwrap_or(i64::MAX)), if due_ms.is_some() => News::Tick,
            };
            self.take(news, clock.now_ms()).await;
        }
        // The desk's last rows.
        self.call.next().await;
    }

    async fn take(&mut self, news: News, now_ms: i64) {
        match news {
            News::Wishes => {
                let Wishes { limit_ms, hang_up } = *self.wishes.borrow_and_update();
                if let Some(limit_ms) = limit_ms {
                    self.apply(Input::Limit(limit_ms), now_ms).await;
                }
                if let Some(cause) = hang_up {
                    self.apply(Input::HangUp(cause), now_ms).await;
                }
            }
            News::Call(event) => {
                if let Some(input) = self.meaning(event) {
                    self.apply(input, now_ms).await;
                }
            }
            News::Words(saying, sound) => {
                self.coming = None;
                if let Some(input) = self.say(saying, sound) {
                    self.apply(input, now_ms).await;
                }
            }
            News::Tick => self.apply(Input::Tick, now_ms).await,
        }
    }

    /// What an event of the call means for the pair.
    fn meaning(&mut self, event: CallEvent) -> Option<Input> {
        Some(match event {
            CallEvent::Answered => Input::FirstThere,
            CallEvent::NotAnswered { cause } => Input::FirstNotReached(cause),
            CallEvent::Connect(ConnectEvent::Ringing { .. }) => Input::SecondRings,
            CallEvent::Connect(ConnectEvent::Answered { .. }) => {
                // What was still to be said to one of them is not for two.
                (self.coming, self.heard) = (None, None);
                Input::Bridged
            }
            CallEvent::Connect(ConnectEvent::Ended { status, cause }) => Input::SecondGone(missed(status, cause)),
            CallEvent::PlayEnded { play } => {
                let (saying, _) = self.heard.take_if(|(_, heard)| *heard == play)?;
                return self.was_heard(saying);
            }
            CallEvent::Ended { cause, by } => Input::CallEnded(cause, by),
            _ => return None,
        })
    }

    async fn apply(&mut self, input: Input, now_ms: i64) {
        for effect in self.machine.apply(input, now_ms) {
            match effect {
                Effect::Tell(event) => {
                    let writes = self.desk.news(&self.call.id, event).await;
                    self.call.with_writes(writes);
                }
                Effect::RingSecond => {
                    self.ring_second();
                    self.prepare(Saying::Wait);
                }
                Effect::Regret => self.prepare(Saying::Regret),
                Effect::AnnounceRecording => self.prepare(Saying::Recording),
                // Whoever is told that he is recorded is told to the end.
                Effect::Warn if self.is_saying(Saying::Recording) => self.after = Some(Saying::Warning),
                Effect::Warn => self.prepare(Saying::Warning),
                Effect::Record => self.call.record(RecordAction::Start),
                Effect::HangUp(cause, by) => self.call.hangup(cause, by),
            }
        }
    }

    fn ring_second(&mut self) {
        let connect = Connect {
            caller_id: self.second.caller_id.clone(),
            timeout_ms: self.ring_ms,
            ..Connect::to(self.second.address.shown())
        };
        let to = PartyDial {
            address: self.second.address.clone(),
            other: self.first.clone(),
            peer_name: self.second.peer_name.clone(),
        };
        self.call.connect_party(connect, to);
        self.call.play(Playable::Ringback, FOREVER);
    }

    fn is_saying(&self, saying: Saying) -> bool {
        let coming = self.coming.as_ref().map(|(coming, _)| *coming);
        coming == Some(saying) || self.heard.is_some_and(|(heard, _)| heard == saying)
    }

    /// Speaks as soon as the words are there.
    fn prepare(&mut self, saying: Saying) {
        let PairSounds { wait, no_answer, warning, recording } = &self.sounds;
        let words: Sentence = match saying {
            Saying::Wait => wait,
            Saying::Regret => no_answer,
            Saying::Recording => recording,
            Saying::Warning => warning,
        }
        .clone();
        self.coming = Some((saying, Box::pin(async move { words.spoken().await })));
    }

    /// Says something whose words have come, or cannot be had.
    fn say(&mut self, saying: Saying, sound: Option<Sound>) -> Option<Input> {
        let play = match (saying, sound.map(Playable::Sound)) {
            (Saying::Wait, Some(words)) if self.call.is_ringing_party() => self.call.play(words, 1),
            (Saying::Regret, Some(words)) => self.call.play(words, 1),
            (Saying::Recording | Saying::Warning, Some(words)) => self.call.announce(words),
            (Saying::Warning, None) => self.call.announce(Playable::Beep),
            (Saying::Regret, None) => return Some(Input::MessageHeard),
            (Saying::Wait, _) => return None,
            (Saying::Recording, None) => {
                tracing::warn!(call = %self.call.id, "not recorded: the two could not be told that they would be");
                self.say_what_follows();
                return None;
            }
        };
        self.heard = Some((saying, play));
        None
    }

    /// The words were heard to their end.
    fn was_heard(&mut self, saying: Saying) -> Option<Input> {
        match saying {
            Saying::Wait => {
                if self.call.is_ringing_party() {
                    self.call.play(Playable::Ringback, FOREVER);
                }
                None
            }
            Saying::Regret => Some(Input::MessageHeard),
            Saying::Recording => {
                self.say_what_follows();
                Some(Input::RecordingKnown)
            }
            Saying::Warning => None,
        }
    }

    fn say_what_follows(&mut self) {
        if let Some(saying) = self.after.take() {
            self.prepare(saying);
        }
    }
}

/// Why the second party did not talk: what a phone said, or that nobody came to it.
fn missed(status: ConnectStatus, cause: Cause) -> Cause {
    if status == ConnectStatus::NoAnswer { Cause::NoAnswer } else { cause }
}

async fn arrived(coming: &mut Option<Words>) -> (Saying, Option<Sound>) {
    match coming {
        Some((saying, words)) => (*saying, words.await),
        None => std::future::pending().await,
    }
}
