//! What a driver says to a call and what it hears from it.
//!
//! A driver is whatever decides the next thing to happen on a call: a flow's run, the inbound
//! router, a callback, a meeting. It owns the [`Call`](crate::Call) and waits in one place,
//! [`Call::next`](crate::Call::next). Plain data; the rules stand in `call` and below.

use std::sync::Arc;

use kernel::db::Write;
use kernel::outbox::Target;
use media::play::Sound;
use voice::cause::Cause;
use voice::leg::{PlayId, Playable};

use crate::connect::{Briefing, ConnectStatus, Strategy};
use crate::model::{EndedBy, LegRole};
use crate::queue::Left;

/// Ring time of `call` when nobody says otherwise, in milliseconds.
pub const RING_MS: i64 = 60_000;
/// Ring time of `connect` when nobody says otherwise, in milliseconds.
pub const CONNECT_RING_MS: i64 = 30_000;
/// Longest call when nobody says otherwise, in milliseconds.
pub const TIME_LIMIT_MS: i64 = 14_400_000;

/// A call to be placed.
#[derive(Debug)]
pub struct NewCall {
    /// Its id, from [`Calls::new_call_id`](crate::Calls::new_call_id), so that the driver's own
    /// rows can name it in the same commit.
    pub id: String,
    /// The organisation.
    pub org: Arc<str>,
    /// Whom to call: a number of the organisation or E.164.
    pub number: String,
    /// Extensions to ring at once instead of all phones behind the number; whoever answers first is the party.
    pub ring: Vec<Arc<str>>,
    /// The caller id that is asked for; the rule may replace it.
    pub caller_id: Option<String>,
    /// What the called party is to the call.
    pub role: LegRole,
    /// Ring time in milliseconds.
    pub timeout_ms: i64,
    /// Longest time from the answer on, in milliseconds.
    pub time_limit_ms: i64,
    /// The flow run that drives it.
    pub run: Option<String>,
    /// That run's publish URL, which gets the call's events.
    pub publish: Option<Target>,
    /// Show numbers as their last two digits.
    pub masked: bool,
    /// When the first party is not reached, tell the driver so by [`CallEvent::NotAnswered`] and let
    /// it end the call, instead of ending it at once.
    pub continue_unanswered: bool,
    /// The driver's own rows, committed together with the call's.
    pub writes: Vec<Write>,
}

impl NewCall {
    /// A call to `number` with the usual times.
    pub fn new(id: String, org: Arc<str>, number: impl Into<String>) -> Self {
        Self {
            id,
            org,
            number: number.into(),
            ring: Vec::new(),
            caller_id: None,
            role: LegRole::Customer,
            timeout_ms: RING_MS,
            time_limit_ms: TIME_LIMIT_MS,
            run: None,
            publish: None,
            masked: false,
            continue_unanswered: false,
            writes: Vec::new(),
        }
    }
}

/// Connect the customer with somebody else.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Numbers as an author writes them.
    pub targets: Vec<String>,
    /// The caller id that is asked for; the rule may replace it.
    pub caller_id: Option<String>,
    /// Ring time of a target in milliseconds.
    pub timeout_ms: i64,
    /// Longest time the two may talk, in milliseconds.
    pub time_limit_ms: Option<i64>,
    /// All at once or one after the other.
    pub strategy: Strategy,
    /// What the answering target hears before it is bridged.
    pub whisper: Whisper,
    /// The key the answering target must press before it is bridged.
    pub accept_key: Option<char>,
    /// What the customer hears meanwhile, instead of the ringing tone.
    pub hold_music: Option<Playable>,
    /// Record while the two talk.
    pub record: bool,
}

impl Connect {
    /// Rings `target` with nothing special.
    pub fn to(target: impl Into<String>) -> Self {
        Self {
            targets: vec![target.into()],
            caller_id: None,
            timeout_ms: CONNECT_RING_MS,
            time_limit_ms: None,
            strategy: Strategy::Simultaneous,
            whisper: Whisper::None,
            accept_key: None,
            hold_music: None,
            record: false,
        }
    }
}

/// What the answering target of a [`Connect`] hears before it is bridged.
#[derive(Clone, Debug, Default)]
pub enum Whisper {
    /// Nothing.
    #[default]
    None,
    /// These, one after the other.
    Sounds(Vec<Sound>),
    /// What is still being prepared: [`Call::whisper`](crate::Call::whisper) says what. A target that answers before
    /// waits [`WHISPER_WAIT_MS`](crate::connect::WHISPER_WAIT_MS) for it.
    Coming,
}

impl Whisper {
    /// These sounds; none of them is no whisper.
    #[must_use]
    pub fn of(sounds: Vec<Sound>) -> Self {
        if sounds.is_empty() { Self::None } else { Self::Sounds(sounds) }
    }

    pub(crate) fn briefing(&self) -> Briefing {
        match self {
            Self::None => Briefing::None,
            Self::Sounds(_) => Briefing::Ready,
            Self::Coming => Briefing::Coming,
        }
    }
}

/// What to do about the recording of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordAction {
    /// Begin a recording; nothing happens when one is running.
    Start,
    /// End it.
    Stop,
    /// Leave out what follows.
    Pause,
    /// Go on.
    Resume,
}

/// Take a message for a person's box.
#[derive(Clone, Debug)]
pub struct LeaveVoicemail {
    /// The extension whose box it is.
    pub extension: String,
    /// Longest message in milliseconds.
    pub max_ms: i64,
    /// So much silence ends the message, in milliseconds.
    pub silence_ms: u32,
    /// Sound a beep first.
    pub beep: bool,
}

/// Wait in the queue of a team.
#[derive(Clone, Debug)]
pub struct Queueing {
    /// The team's number.
    pub team: String,
    /// Longest wait in milliseconds.
    pub timeout_ms: i64,
    /// So many may wait, the newcomer among them.
    pub max_waiting: usize,
    /// Since when the caller has waited, in UTC milliseconds; absent = he comes now.
    pub joined_ms: Option<i64>,
}

/// How a wait goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueEvent {
    /// The customer waits, for the first time or again because the agent's phone was lost.
    Joined {
        /// 1 is next.
        position: usize,
        /// How long it is likely to take, in milliseconds.
        expected_ms: Option<i64>,
    },
    /// Others have left the queue before him.
    Moved {
        /// 1 is next.
        position: usize,
        /// How long it is likely to take, in milliseconds.
        expected_ms: Option<i64>,
    },
    /// An agent talks to him.
    Bridged {
        /// The agent's extension.
        agent: String,
    },
    /// They have talked and the customer is still there.
    Ended,
    /// He waits no more, and nobody has talked to him.
    Left {
        /// Why.
        why: Left,
    },
}

/// Bring the customer into a conference.
#[derive(Clone, Debug)]
pub struct JoinConference {
    /// The room's name, inside the organisation.
    pub room: String,
    /// Most members, this one included.
    pub max: u32,
    /// Hears, and is not heard until somebody unmutes it.
    pub muted: bool,
    /// Record the conference as long as this member, or another who wants it, is there.
    pub record: bool,
    /// It may be recorded without a word: he has heard that it is, or nobody is told.
    pub announced: bool,
}

/// How it goes with a conference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConferenceEvent {
    /// The customer is in it.
    Joined,
    /// It has as many members as were allowed.
    Full,
    /// It is being recorded, which the customer has not heard yet: he is not in it.
    Recorded,
    /// There is nobody to bring into it.
    Failed,
    /// The customer is out of it again, and still there.
    Ended,
}

/// How a message came out.
#[derive(Clone, Debug, PartialEq)]
pub enum VoicemailEvent {
    /// It is in the box.
    Left {
        /// `vm_...`
        id: String,
        /// Its length in seconds.
        seconds: f64,
    },
    /// Nothing was said, or it could not be kept.
    Nothing,
}

/// Progress of a [`Connect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectEvent {
    /// A target rings.
    Ringing {
        /// As the driver wrote it.
        target: String,
    },
    /// A target is bridged with the customer.
    Answered {
        /// As the driver wrote it.
        target: String,
    },
    /// It is over and the customer is still there.
    Ended {
        /// How.
        status: ConnectStatus,
        /// Why.
        cause: Cause,
    },
}

/// Fate of a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordingEvent {
    /// It runs.
    Started {
        /// `rec_...`
        id: String,
    },
    /// It is complete on disk.
    Ready {
        /// `rec_...`
        id: String,
        /// Its length in seconds.
        seconds: f64,
    },
    /// It could not be written.
    Failed {
        /// `rec_...`
        id: String,
        /// Why, for a person to read.
        error: String,
    },
}

/// What happened on a call. The webhook events of it are already on their way.
#[derive(Clone, Debug, PartialEq)]
pub enum CallEvent {
    /// The called party's phone rings.
    Ringing,
    /// The called party sends audio before the answer.
    EarlyMedia,
    /// The call is up.
    Answered,
    /// The first party was not reached. The call waits for its driver, who ends it by `hangup`; it
    /// is completed with the cause and codes of that party then.
    NotAnswered {
        /// Why.
        cause: Cause,
    },
    /// The customer pressed a key.
    Dtmf {
        /// `0-9`, `A-D`, `*` or `#`.
        symbol: char,
        /// In milliseconds.
        duration_ms: u32,
    },
    /// What was played came to its end, or the digits were sent.
    PlayEnded {
        /// Which.
        play: PlayId,
    },
    /// The customer held the call.
    Held,
    /// The customer is back.
    Resumed,
    /// Somebody else is the customer from now on: he was handed on, or has handed the other party on.
    PartyChanged,
    /// The customer has been silent for as long as asked.
    Silence,
    /// Progress of the connect.
    Connect(ConnectEvent),
    /// How the wait in a queue goes on.
    Queue(QueueEvent),
    /// How it goes with the conference.
    Conference(ConferenceEvent),
    /// Fate of a recording.
    Recording(RecordingEvent),
    /// How a message came out.
    Voicemail(VoicemailEvent),
    /// Somebody asked by API to hang up; it is being carried out.
    HangupRequested,
    /// The call is over and call.completed is queued; nothing follows.
    Ended {
        /// Why.
        cause: Cause,
        /// By whom.
        by: EndedBy,
    },
}
