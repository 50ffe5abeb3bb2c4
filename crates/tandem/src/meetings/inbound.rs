//! Calls to numbers of meetings: a party is known by the line it calls from and the number it calls, else by its PIN.
//!
//! Invariant: nobody is connected with anyone but the other party of an own meeting; whoever guesses PINs is refused for
//! a while, with the right one too. Everybody else hears why not.

use calls::gather::{Effect, Input as Key, Machine, Outcome, Rules};
use calls::{Call, CallEvent, EndedBy, InboundHandler, InboundNumber};
use futures_util::{FutureExt as _, future::BoxFuture};
use voice::cause::Cause as CallCause;
use voice::leg::{PlayId, Playable};

use super::Meetings;
use super::desk::Which;
use super::error::MeetingError;
use super::model::{Event, Input, Meeting, Refused, Role};
use super::pins::PIN_DIGITS;
use super::pool::Line;
use super::{store, veto};

/// PINs that a caller may enter in one call.
const TRIES: usize = 3;
/// Longest wait for the first digit after the prompt, in milliseconds.
const FIRST_DIGIT_MS: i64 = 10_000;
/// Longest wait for each further digit, in milliseconds.
const NEXT_DIGIT_MS: i64 = 5_000;

const ASK: &str = "Please enter the eight digits of your PIN.";
const WRONG: &str = "This PIN is not known. Please enter the eight digits of your PIN.";
const GOODBYE: &str = "Without a PIN you cannot be connected. Goodbye.";
const LOCKED: &str = "Too many wrong PINs were entered from this line. Please try again in ten minutes.";
const EARLY: &str = "Your meeting has not begun yet. Please call again at its time.";
const OVER: &str = "Your meeting is over.";
const IN_CALL: &str = "Your meeting has a call already.";
const NOT_NOW: &str = "Your meeting cannot be connected now.";

/// Drives calls to numbers of meetings.
pub(super) struct Inbound(pub(super) Meetings);

impl InboundHandler for Inbound {
    fn handle(&self, call: Call, number: InboundNumber) -> BoxFuture<'_, ()> {
        self.0.answer(call, number.e164).boxed()
    }
}

/// What a caller entered.
enum Entered {
    Digits(String),
    Nothing,
    /// The caller is gone.
    Gone,
}

impl Meetings {
    async fn answer(&self, mut call: Call, dialled: String) {
        let line = call.model().from.clone();
        let found = match self.whose_line(&call.org, &dialled, &line).await {
            Ok(Line::Party(id, role)) => Some((id, role)),
            Ok(Line::Unknown) => self.ask_for_pin(&mut call, &line).await,
            Err(error) => {
                tracing::error!(org = %call.org, %error, "a call to a meeting could not be looked up");
                self.say_last(call, NOT_NOW).await;
                return;
            }
        };
        match found {
            Some((id, role)) => self.connect_party(call, id, role).await,
            None => end(call, CallCause::NoInput).await,
        }
    }

    /// The party whose PIN the caller knows; none when the caller is to go.
    async fn ask_for_pin(&self, call: &mut Call, line: &str) -> Option<(i64, Role)> {
        let org = call.org.clone();
        if !answered(call).await {
            return None;
        }
        // A PIN is a secret: its keys stand in no event and no recording.
        call.sensitive(true);
        let mut prompt = ASK;
        for _ in 0..TRIES {
            if self.guard().is_refused(&org, line, self.now_ms()) {
                self.say(call, LOCKED).await;
                return None;
            }
            let digits = match self.gather(call, prompt).await {
                Entered::Digits(digits) => digits,
                Entered::Nothing => {
                    prompt = ASK;
                    continue;
                }
                Entered::Gone => return None,
            };
            if !self.guard().guess(&org, line, self.now_ms()) {
                continue;
            }
            match store::by_pin(&self.kernel().db, &org, &digits).await {
                Ok(Some(party)) => {
                    self.guard().right(&org, line);
                    call.sensitive(false);
                    return Some(party);
                }
                Ok(None) => {}
                Err(error) => {
                    self.guard().right(&org, line);
                    tracing::error!(%org, %error, "a PIN could not be looked up");
                }
            }
            prompt = WRONG;
        }
        self.say(call, GOODBYE).await;
        None
    }

    /// Asks for the digits of a PIN; keys count from the first word on.
    async fn gather(&self, call: &mut Call, prompt: &str) -> Entered {
        let mut machine = Machine::new(Rules {
            count: PIN_DIGITS,
            min_digits: PIN_DIGITS,
            first_timeout_ms: FIRST_DIGIT_MS,
            inter_digit_timeout_ms: NEXT_DIGIT_MS,
            finish_on_key: Some('#'),
            tries: 1,
            prompt: true,
            bargein: true,
            edges: Vec::new(),
        });
        let clock = self.kernel().clock.clone();
        let mut playing: Option<PlayId> = None;
        let mut key = Key::Start;
        loop {
            let mut is_mute = false;
            for effect in machine.apply(key, clock.now_ms()) {
                match effect {
                    Effect::Prompt => {
                        playing = self.begin_to_say(call, prompt).await;
                        is_mute = playing.is_none();
                    }
                    Effect::StopPrompt => {
                        playing = None;
                        call.stop_play();
                    }
                    Effect::Done(Outcome::Matched { digits, .. } | Outcome::Invalid { digits }) => {
                        return Entered::Digits(digits);
                    }
                    Effect::Done(Outcome::Timeout) => return Entered::Nothing,
                }
            }
            if is_mute {
                key = Key::PromptEnded;
                continue;
            }
            let due_ms = machine.deadline_ms();
            key = loop {
                let event = tokio::select! {
                    event = call.next() => event,
                    () = clock.sleep_until(due_ms.unwrap_or(i64::MAX)), if due_ms.is_some() => break Key::Tick,
                };
                match event {
                    CallEvent::Dtmf { symbol, .. } => break Key::Key(symbol),
                    CallEvent::PlayEnded { play } if playing == Some(play) => break Key::PromptEnded,
                    CallEvent::Ended { .. } => return Entered::Gone,
                    _ => {}
                }
            };
        }
    }

    /// Connects a party that has dialled in with the other one, or says why not.
    async fn connect_party(&self, call: Call, id: i64, role: Role) {
        let which = Which { org: call.org.clone(), app: None, id };
        let mut call = Some(call);
        let outcome = self.dial_in(&which, role, &mut call).await;
        let Some(call) = call else { return };
        let words = match outcome {
            Err(MeetingError::Refused(Refused::TooEarly)) => EARLY,
            Err(MeetingError::Refused(Refused::Ended) | MeetingError::NotFound) => OVER,
            Err(MeetingError::Refused(Refused::InCall)) => IN_CALL,
            Ok(()) | Err(MeetingError::Refused(_) | MeetingError::Vetoed) => NOT_NOW,
            Err(error) => {
                tracing::error!(org = %which.org, meeting = id, %error, "a party that dialled in could not be connected");
                NOT_NOW
            }
        };
        self.say_last(call, words).await;
    }

    async fn dial_in(&self, which: &Which, role: Role, call: &mut Option<Call>) -> Result<(), MeetingError> {
        let (meeting, settings) = self.load(which).await?;
        if let Err(refused) = meeting.clone().apply(Input::DialIn { by: role }, &settings, self.now_ms()) {
            self.note_out_of_session(&meeting, role, refused).await?;
            return Err(refused.into());
        }
        let allowed = tokio::select! {
            allowed = veto::allows(self.kernel(), &settings, &meeting, Some(role)) => allowed,
            // Who hangs up while the hook is asked makes nobody's phone ring.
            () = gone(call) => return Ok(()),
        };
        if !allowed {
            self.apply(which, Input::Vetoed { by: Some(role) }).await?;
            return Err(MeetingError::Vetoed);
        }
        self.apply_with(which, Input::DialIn { by: role }, call).await.map(drop)
    }

    /// Tells the application that a party called at the wrong time, if that is why it was refused.
    pub(super) async fn note_out_of_session(
        &self,
        meeting: &Meeting,
        role: Role,
        why: Refused,
    ) -> Result<(), MeetingError> {
        if !why.is_out_of_session() {
            return Ok(());
        }
        let event = Event::out_of_session(meeting, Some(role), why.code());
        let targets = self.kernel().outbox.targets(&meeting.org).await?;
        self.commit(self.event_writes(meeting, &event, &targets, self.now_ms())).await
    }

    /// Says something and ends the call.
    async fn say_last(&self, mut call: Call, words: &str) {
        if answered(&mut call).await {
            self.say(&mut call, words).await;
        }
        end(call, CallCause::Normal).await;
    }

    /// Says something to its end.
    async fn say(&self, call: &mut Call, words: &str) {
        let Some(playing) = self.begin_to_say(call, words).await else { return };
        loop {
            match call.next().await {
                CallEvent::PlayEnded { play } if play == playing => return,
                CallEvent::Ended { .. } => return,
                _ => {}
            }
        }
    }

    async fn begin_to_say(&self, call: &mut Call, words: &str) -> Option<PlayId> {
        match self.speech().say(words, None, None).await {
            Ok(sound) => Some(call.play(Playable::Sound(sound), 1)),
            Err(error) => {
                tracing::warn!(%error, "words to a caller could not be spoken");
                None
            }
        }
    }
}

/// Answers the caller, unless that was done; false when the caller is gone.
async fn answered(call: &mut Call) -> bool {
    if call.model().answered_at_ms.is_some() {
        return call.model().end.is_none();
    }
    call.answer();
    loop {
        match call.next().await {
            CallEvent::Answered => return true,
            CallEvent::Ended { .. } => return false,
            _ => {}
        }
    }
}

/// Until the caller has hung up.
async fn gone(call: &mut Option<Call>) {
    match call {
        Some(call) => while !matches!(call.next().await, CallEvent::Ended { .. }) {},
        None => std::future::pending().await,
    }
}

async fn end(mut call: Call, cause: CallCause) {
    call.hangup(cause, EndedBy::System);
    while !matches!(call.next().await, CallEvent::Ended { .. }) {}
}
