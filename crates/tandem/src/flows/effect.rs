//! The words between the machine and its shell: what happens ([`Input`]) and what shall be done ([`Effect`]).
//! Tokens (`sound`, `play`, `request`) are numbers that the machine chooses; the shell maps them to what they name.

use kernel::zones::Due;
use serde_json::{Map, Value};
use voice::cause::Cause;

use super::{model::StepId, steps::callback::Order};

/// Something that happened to the call or to what the machine asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The customer answered; of an inbound call: we did.
    Answered,
    /// The customer of a call that we placed did not; the flow may go on without him.
    NotAnswered {
        /// Why.
        cause: Cause,
    },
    /// A key of the customer's.
    Dtmf {
        /// 0-9, A-D, `*`, `#`.
        symbol: char,
        /// How long it was held, in milliseconds.
        duration_ms: u32,
    },
    /// What the other side wrote, in a chat.
    Words(String),
    /// A sound can be played.
    SoundReady {
        /// Its token.
        sound: u64,
    },
    /// A sound cannot be had.
    SoundFailed {
        /// Its token.
        sound: u64,
        /// For the event.
        error: String,
    },
    /// A playback, or the sending of keys, has run to its end.
    PlayEnded {
        /// Its token.
        play: u64,
    },
    /// A request was answered or failed.
    HttpDone {
        /// Its token.
        request: u64,
        /// What came.
        answer: Answer,
    },
    /// A connection has come to its end, or to nothing.
    ConnectEnded {
        /// How.
        status: ConnectStatus,
    },
    /// The customer is not in the conference yet: it is being recorded, and he has not heard so.
    ConferenceRecorded,
    /// The customer is in the conference no more, or never was.
    ConferenceEnded(ConferenceEnd),
    /// What became of a booking.
    Booked(Booked),
    /// A message for a box was left, or not.
    Message(Message),
    /// How the wait in a queue goes on.
    Queue(QueueNews),
    /// What became of the stream.
    Stream(StreamNews),
    /// [`super::machine::Machine::deadline`] has come.
    Tick,
    /// The call is over, whoever ended it.
    Ended,
}

/// What a request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A whole answer was read.
    Response {
        /// HTTP status.
        status: u16,
        /// Up to 64 KiB of text.
        body: String,
    },
    /// None was.
    Failure(HttpFailure),
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the variable http.error")]
pub enum HttpFailure {
    Timeout,
    Dns,
    Connect,
    Tls,
    Blocked,
    TooLarge,
    Protocol,
}

impl HttpFailure {
    /// As `http.error` shows it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Blocked => "blocked",
            Self::TooLarge => "too_large",
            Self::Protocol => "protocol",
        }
    }
}

/// How a connection ended; also the variable `connect.status` and the edges of `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the contract's words")]
pub enum ConnectStatus {
    Completed,
    Busy,
    NoAnswer,
    Rejected,
    Failed,
    Canceled,
}

impl ConnectStatus {
    /// As the contract spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// What became of a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booked {
    /// It was made; its key is `cb_...`.
    Now {
        /// The callback's key.
        key: String,
    },
    /// This step of this run has booked already.
    Before,
    /// It was not made.
    Refused(&'static str),
}

/// What became of a voicemail message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// It lies in the box.
    Left,
    /// Nobody said anything, or it could not be kept.
    Empty,
}

/// How a wait in a queue goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueNews {
    /// The customer waits, or waits again because the agent's phone was lost.
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
    Bridged,
    /// They have talked.
    Ended,
    /// He has waited long enough.
    Timeout,
    /// Too many wait already.
    Full,
}

/// What became of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamNews {
    /// The other side has taken it.
    Started {
        /// Its id.
        stream: String,
    },
    /// The other side has closed it.
    Closed,
    /// It was refused or lost.
    Failed(String),
}

/// Something that shall be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Get a sound ready: [`Input::SoundReady`] or [`Input::SoundFailed`] follows.
    Prepare {
        /// Its token.
        sound: u64,
        /// Where it comes from.
        source: Source,
    },
    /// A sound is not played again in this step.
    Release {
        /// Its token.
        sound: u64,
    },
    /// Play to the customer, instead of what plays: [`Input::PlayEnded`] follows unless it is stopped.
    Play {
        /// Its token.
        play: u64,
        /// What.
        what: Sounding,
        /// How often; 0 = until it is stopped.
        loops: u32,
    },
    /// Stop what plays.
    StopPlay,
    /// Send a request: [`Input::HttpDone`] follows unless it is cancelled.
    Http {
        /// Its token.
        request: u64,
        /// What to send.
        what: HttpRequest,
    },
    /// Forget a request and close its connection.
    CancelHttp {
        /// Its token.
        request: u64,
    },
    /// Ring and join: [`Input::ConnectEnded`] follows.
    Connect(Connection),
    /// Bring the customer into a conference: [`Input::ConferenceEnded`] follows, or [`Input::ConferenceRecorded`].
    Conference(Conference),
    /// What the answering party of the connection hears first; nothing when no token is left. Follows a
    /// [`Connection`] with a whisper, once.
    Whisper(Vec<u64>),
    /// What the customer hears from now on until he is joined.
    HoldMusic(Sounding),
    /// Wait for a team: [`Input::Queue`] tells how it goes.
    Queue(QueueOrder),
    /// Wait no more: the customer is called back. Nothing happens once an agent has the call.
    LeaveQueue,
    /// Stream the customer's audio: [`Input::Stream`] tells how it goes.
    Stream(StreamOrder),
    /// End the stream: nothing more comes of it.
    StopStream,
    /// Change the recording.
    Record(RecordAction),
    /// Book a callback: [`Input::Booked`] follows.
    Book(Box<Booking>),
    /// Record into a box: [`Input::Message`] follows.
    Voicemail {
        /// The box.
        mailbox: String,
        /// Longest message, in milliseconds.
        max_ms: u32,
        /// Silence that ends it, in milliseconds.
        silence_ms: u32,
        /// Whether a tone comes first.
        beep: bool,
    },
    /// Connect the customer for good: the call ends with that, and [`Input::Ended`] follows.
    Transfer {
        /// The number.
        to: String,
        /// Token of what the answering party hears first.
        whisper: Option<u64>,
    },
    /// Send keys to the customer: [`Input::PlayEnded`] follows.
    SendDtmf {
        /// Token of the sending.
        play: u64,
        /// 0-9, A-D, `*`, `#`, `w`, `W`.
        digits: String,
    },
    /// Store the author's variables with the next event.
    SaveVariables(Map<String, Value>),
    /// A step begins: event step.started, and what the call itself reports from now on belongs to this step.
    Enter {
        /// Which.
        step: StepRef,
        /// Whether the keys pressed in it must appear in no event.
        sensitive: bool,
    },
    /// Add an event to the call.
    Emit {
        /// Its type.
        kind: &'static str,
        /// The step that it belongs to.
        step: StepRef,
        /// Its data.
        data: Value,
    },
    /// End the call; nothing follows but [`Input::Ended`].
    Hangup {
        /// The call's cause.
        cause: Cause,
    },
}

/// A step as events name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRef {
    /// Canonical id.
    pub id: StepId,
    /// Canonical type.
    pub kind: &'static str,
}

/// Where a sound comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named by what they are")]
pub enum Source {
    Speech { text: String, voice: Option<String>, language: Option<String> },
    Url(String),
}

impl Source {
    /// A text, by the usual voice.
    pub(crate) fn words(text: &str) -> Self {
        Self::Speech { text: text.to_owned(), voice: None, language: None }
    }
}

/// What can be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named by what they are")]
pub enum Sounding {
    Sound(u64),
    HoldMusic,
    Ringback,
    Silence,
}

/// A request, filled and ready.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// GET, POST, PUT, PATCH or DELETE.
    pub method: &'static str,
    /// http or https.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<String>,
    /// For the whole answer, in milliseconds.
    pub timeout_ms: u32,
}

impl std::fmt::Debug for HttpRequest {
    /// Values of variables may be secret: only the method is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// A connection to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Numbers, in the author's order.
    pub targets: Vec<String>,
    /// The caller id wished for.
    pub caller_id: Option<String>,
    /// How long each rings, in milliseconds.
    pub timeout_ms: u32,
    /// How long they may talk, in milliseconds.
    pub time_limit_ms: Option<u64>,
    /// All at once, or one after the other.
    pub strategy: Strategy,
    /// Whether the answering party hears something first: [`Effect::Whisper`] says what.
    pub whisper: bool,
    /// The key by which he accepts.
    pub accept_key: Option<char>,
    /// What the customer hears meanwhile.
    pub hold_music: Option<Sounding>,
    /// Whether the conversation is recorded.
    pub record: bool,
}

/// A wait for a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueOrder {
    /// The team's number.
    pub team: String,
    /// Longest wait, in milliseconds.
    pub timeout_ms: u32,
    /// So many may wait, the newcomer among them.
    pub max_waiting: u32,
    /// Since when he has waited; none = he comes now.
    pub joined_ms: Option<i64>,
}

/// A stream to open.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamOrder {
    /// ws or wss.
    pub url: String,
    /// What is copied.
    pub track: StreamTrack,
    /// Told to the other side.
    pub params: Vec<(String, String)>,
}

impl std::fmt::Debug for StreamOrder {
    /// Values of variables may be secret: only the track is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamOrder").field("track", &self.track).finish_non_exhaustive()
    }
}

/// Which audio a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the contract's words")]
pub enum StreamTrack {
    Bidirectional,
    Inbound,
    Outbound,
    Both,
}

/// A conference to come into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conference {
    /// The room's name.
    pub room: String,
    /// Whether it is recorded.
    pub record: bool,
    /// Whether the customer comes in muted.
    pub muted: bool,
    /// Most members, the customer included.
    pub max: u32,
    /// Whether the customer has heard what is to be heard before a recording, if anything is.
    pub announced: bool,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConferenceEnd {
    /// Somebody took the customer out of it, or ended it.
    Ended,
    /// There was no room for him.
    Full,
    /// It could not be joined.
    Failed,
}

/// In what order several numbers are rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the contract's words")]
pub enum Strategy {
    Simultaneous,
    Sequential,
}

/// A callback to book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// The step's id: one booking a step and run.
    pub step: String,
    /// Wall date as written.
    pub date: String,
    /// Wall time as written.
    pub time: String,
    /// Zone as written.
    pub zone: String,
    /// The instant by today's zone data.
    pub due: Due,
    /// Whether the time had passed and it is due at once.
    pub asap: bool,
    /// The number of a person or team.
    pub entity: String,
    /// The customer's number.
    pub customer: String,
    /// Who is rung first.
    pub order: Order,
    /// Attempts in all.
    pub attempts: u32,
}

/// What can be done to the recording of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the contract's words")]
pub enum RecordAction {
    Start,
    Stop,
    Pause,
    Resume,
}
