//! A call of a chat as its thread tells of it. Pure: no store, no clock, no line.
//!
//! Invariant: a call that has ended stays as it ended; only its recording comes after. No number stands in it.

use kernel::time::rfc3339;
use serde::Serialize;
use utoipa::ToSchema;
use voice::cause::Cause;

use crate::chat::access::Asker;
use crate::chat::model::{Body, Id};

/// By which way the visitor talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In its page.
    Browser,
    /// By its own phone; neither sees the other's number.
    Phone,
}

impl Mode {
    /// Both ways.
    pub const ALL: [Self; 2] = [Self::Browser, Self::Phone];

    /// The word in the store and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Phone => "phone",
        }
    }

    /// The way of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }
}

/// Who wanted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The visitor.
    Visitor,
    /// Somebody who answers.
    Agent,
    /// The application's server.
    App,
}

impl By {
    /// The word in the store and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Visitor => "visitor",
            Self::Agent => "agent",
            Self::App => "app",
        }
    }

    /// Whoever a word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Visitor, Self::Agent, Self::App].into_iter().find(|by| by.as_str() == word)
    }
}

impl From<&Asker> for By {
    fn from(asker: &Asker) -> Self {
        match asker {
            Asker::Visitor { .. } | Asker::Open { .. } | Asker::Room { .. } => Self::Visitor,
            Asker::Person { .. } => Self::Agent,
            Asker::App { .. } => Self::App,
        }
    }
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// One of the two is rung.
    Ringing,
    /// They talk.
    Talking,
    /// They have talked.
    Ended,
    /// One of them did not answer, or declined.
    Missed,
    /// It could not be made, or the server stopped.
    Failed,
    /// Somebody did not want it any more.
    Canceled,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::Ringing, Self::Talking, Self::Ended, Self::Missed, Self::Failed, Self::Canceled];

    /// The word in the store and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ringing => "ringing",
            Self::Talking => "talking",
            Self::Ended => "ended",
            Self::Missed => "missed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it goes on.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Ringing | Self::Talking)
    }
}

/// What was recorded of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Recording {
    /// Nothing.
    None,
    /// It is, or will be, recorded.
    Awaited,
    /// This.
    Landed {
        /// `rec_…`
        id: Id,
        /// Its length, seconds.
        seconds: f64,
    },
}

/// A call of a room.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomCall {
    /// The call's id.
    pub id: Id,
    /// The organisation.
    pub org: Id,
    /// The room.
    pub room: Id,
    /// The room's application.
    pub app: Id,
    /// The number of the message that tells of it.
    pub seq: i64,
    /// By which way the visitor talks.
    pub mode: Mode,
    /// Who wanted it.
    pub by: By,
    /// How far it has come.
    pub state: State,
    /// Somebody has asked for its end.
    pub is_unwanted: bool,
    /// When it was asked for, UTC milliseconds.
    pub asked_ms: i64,
    /// Since when the two talked, UTC milliseconds.
    pub started_ms: Option<i64>,
    /// When it was over, UTC milliseconds.
    pub ended_ms: Option<i64>,
    /// How long they talked, milliseconds.
    pub talked_ms: Option<i64>,
    /// What was recorded of it.
    pub recording: Recording,
    /// Counts changes.
    pub revision: i64,
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// The two talk, since then (UTC milliseconds).
    Joined(i64),
    /// They talk no more; they talked so many milliseconds.
    Parted(i64),
    /// One was not reached.
    NotReached {
        /// Why.
        cause: Cause,
        /// Whether that one is reached inside this server: who is not there then, does not answer.
        is_inside: bool,
    },
    /// Somebody wants its end.
    Unwanted,
    /// Its line is gone.
    Over(Cause),
    /// The server was stopped under it.
    Cut,
    /// Its recording is complete; none = there is none.
    Recorded(Option<(Id, f64)>),
}

impl RoomCall {
    /// The id of its recording, once that is complete.
    #[must_use]
    pub fn landed(&self) -> Option<&str> {
        match &self.recording {
            Recording::Landed { id, .. } => Some(id),
            Recording::None | Recording::Awaited => None,
        }
    }

    /// Takes what happened at `now_ms`. False: it changes nothing.
    pub fn apply(&mut self, news: &News, now_ms: i64) -> bool {
        match (news, self.state) {
            (News::Joined(at_ms), State::Ringing) => {
                self.state = State::Talking;
                self.started_ms = Some(*at_ms);
            }
            (News::Parted(talked_ms), State::Talking) => {
                self.talked_ms = Some(*talked_ms);
                self.end(State::Ended, now_ms);
            }
            (News::NotReached { cause, is_inside }, State::Ringing) => self.end(missed(*cause, *is_inside), now_ms),
            (News::Unwanted, State::Ringing) => {
                self.is_unwanted = true;
                self.end(State::Canceled, now_ms);
            }
            (News::Unwanted, State::Talking) if !self.is_unwanted => self.is_unwanted = true,
            (News::Over(cause), State::Ringing) => self.end(missed(*cause, false), now_ms),
            (News::Over(_), State::Talking) => self.end(State::Ended, now_ms),
            (News::Cut, State::Ringing | State::Talking) => self.end(State::Failed, now_ms),
            (News::Recorded(found), _) if self.recording == Recording::Awaited => {
                self.recording = match found {
                    Some((id, seconds)) => Recording::Landed { id: id.clone(), seconds: *seconds },
                    None => Recording::None,
                };
            }
            _ => return false,
        }
        true
    }

    fn end(&mut self, state: State, now_ms: i64) {
        self.state = state;
        self.ended_ms = Some(now_ms);
        // Nothing is recorded before the two talk.
        if self.started_ms.is_none() {
            self.recording = Recording::None;
        }
    }

    /// What the thread shows.
    #[must_use]
    pub fn view(&self) -> CallBody {
        let recording = match &self.recording {
            Recording::Landed { id, seconds } => Some(Landed { id: id.to_string(), seconds: *seconds }),
            Recording::None | Recording::Awaited => None,
        };
        CallBody {
            call: self.id.to_string(),
            mode: self.mode.as_str(),
            state: self.state.as_str(),
            by: self.by.as_str(),
            started_at: self.started_ms.map(rfc3339),
            ended_at: self.ended_ms.map(rfc3339),
            duration_s: self.talked_ms.map(|ms| ms / MS_OF_SECOND),
            recording,
        }
    }

    /// The same as the body of its message.
    #[must_use]
    pub fn body(&self) -> Body {
        // Words, numbers and times of ours: always JSON.
        Body::stored(&serde_json::to_string(&self.view()).unwrap_or_else(|_| "{}".to_owned()))
    }
}

/// Milliseconds of a second.
const MS_OF_SECOND: i64 = 1_000;

/// What becomes of a call of which one was not reached.
fn missed(cause: Cause, is_inside: bool) -> State {
    match cause {
        Cause::NoAnswer | Cause::Busy | Cause::Rejected => State::Missed,
        Cause::Unreachable if is_inside => State::Missed,
        Cause::Canceled | Cause::Normal => State::Canceled,
        _ => State::Failed,
    }
}

/// A call as the message of kind `call` has it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CallBody {
    /// The call's id.
    pub call: String,
    /// `browser` or `phone`: by which way the visitor talks.
    pub mode: &'static str,
    /// `ringing`, `talking`, `ended`, `missed`, `failed` or `canceled`.
    pub state: &'static str,
    /// `visitor`, `agent` or `app`: who wanted it.
    pub by: &'static str,
    /// Since when the two talked, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it was over, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How long they talked, whole seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<i64>,
    /// Its recording, when it is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<Landed>,
}

/// A recording that is complete.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Landed {
    /// `rec_…`
    pub id: String,
    /// Its length, seconds.
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_262_400_000;

    fn call(recording: Recording) -> RoomCall {
        RoomCall {
            id: "call_1".into(),
            org: "org".into(),
            room: "room".into(),
            app: "app".into(),
            seq: 1,
            mode: Mode::Browser,
            by: By::Visitor,
            state: State::Ringing,
            is_unwanted: false,
            asked_ms: NOW,
            started_ms: None,
            ended_ms: None,
            talked_ms: None,
            recording,
            revision: 0,
        }
    }

    #[test]
    fn a_talk_has_a_beginning_an_end_and_then_its_recording() {
        let mut call = call(Recording::Awaited);
        assert!(call.apply(&News::Joined(NOW + 5_000), NOW + 5_001));
        assert!(!call.apply(&News::Joined(NOW + 6_000), NOW + 6_000), "once");
        assert!(call.apply(&News::Parted(61_999), NOW + 66_999));
        assert!(!call.apply(&News::Over(Cause::Normal), NOW + 67_000) && !call.apply(&News::Cut, NOW + 67_000));
        assert!(call.view().recording.is_none(), "not before it is complete");
        assert!(call.apply(&News::Recorded(Some(("rec_1".into(), 60.5))), NOW + 68_000));
        assert!(!call.apply(&News::Recorded(None), NOW + 69_000), "what has landed stays");
        assert_eq!(
            call.body().as_json(),
            r#"{"call":"call_1","mode":"browser","state":"ended","by":"visitor","started_at":"2026-11-21T12:00:05.000Z","ended_at":"2026-11-21T12:01:06.999Z","duration_s":61,"recording":{"id":"rec_1","seconds":60.5}}"#
        );
    }

    #[test]
    fn who_is_not_reached_decides_how_it_ends() {
        for (cause, is_inside, state) in [
            (Cause::NoAnswer, false, State::Missed),
            (Cause::Busy, false, State::Missed),
            (Cause::Rejected, true, State::Missed),
            (Cause::Unreachable, true, State::Missed),
            (Cause::Unreachable, false, State::Failed),
            (Cause::NoRoute, false, State::Failed),
            (Cause::Canceled, true, State::Canceled),
            (Cause::Normal, true, State::Canceled),
        ] {
            let mut call = call(Recording::Awaited);
            assert!(call.apply(&News::NotReached { cause, is_inside }, NOW));
            assert_eq!((call.state, call.ended_ms, &call.recording), (state, Some(NOW), &Recording::None), "{cause:?}");
        }
    }

    #[test]
    fn an_unwanted_call_is_canceled_while_it_rings_and_told_to_end_while_they_talk() {
        let mut ringing = call(Recording::None);
        assert!(ringing.apply(&News::Unwanted, NOW) && ringing.state == State::Canceled);
        assert!(!ringing.apply(&News::Joined(NOW), NOW), "whoever answered in the same moment was too late");
        let mut talking = call(Recording::None);
        assert!(talking.apply(&News::Joined(NOW), NOW) && talking.apply(&News::Unwanted, NOW));
        assert!(talking.state == State::Talking && !talking.apply(&News::Unwanted, NOW));
        assert!(talking.apply(&News::Parted(1_000), NOW) && talking.state == State::Ended);
    }

    /// Whatever comes in whatever order: at most one end, and nothing after it but the recording.
    #[test]
    fn nothing_changes_a_call_that_is_over_but_its_recording() {
        let all = [
            News::Joined(NOW),
            News::Parted(1),
            News::NotReached { cause: Cause::NoAnswer, is_inside: true },
            News::Unwanted,
            News::Over(Cause::Normal),
            News::Cut,
        ];
        for end in &all {
            for first in &all {
                let mut call = call(Recording::Awaited);
                call.apply(first, NOW);
                call.apply(end, NOW);
                if call.state.is_live() {
                    continue;
                }
                let over = call.clone();
                assert!(!all.iter().any(|news| call.apply(news, NOW + 1)), "{first:?} {end:?}");
                assert_eq!(call, over);
                let has_talked = call.started_ms.is_some();
                assert_eq!(call.apply(&News::Recorded(None), NOW), has_talked, "{first:?} {end:?}");
            }
        }
    }

    #[test]
    fn words_are_read_as_they_were_written() {
        assert!(State::ALL.iter().all(|state| State::parse(state.as_str()) == Some(*state)));
        assert!(Mode::ALL.iter().all(|mode| Mode::parse(mode.as_str()) == Some(*mode)));
        assert!([By::Visitor, By::Agent, By::App].iter().all(|by| By::parse(by.as_str()) == Some(*by)));
        assert_eq!((State::parse("held"), Mode::parse("fax"), By::parse("system")), (None, None, None));
    }
}
