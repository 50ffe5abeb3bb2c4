//! The connect step as a pure machine: who is rung when, who wins, and how the step ends.
//!
//! The machine knows targets (a number of the step) and their devices (one registered phone, one
//! trunk) only by index; whoever drives it dials, plays and bridges as the effects say and feeds
//! back what happened. Invariant: exactly one [`Effect::Ended`] per machine, and after it every
//! device that was ever dialled has either ended or been told to hang up.
//! Source: docs/contracts/flows.md, "connect end" and the row `connect` of the step table.

mod machine;
#[cfg(test)]
mod tests;

pub use machine::Machine;
use voice::cause::Cause;

/// How long a target that answered may take to press the accept key, counted from the end of the
/// whisper, in milliseconds.
pub const ACCEPT_MS: i64 = 10_000;
/// Longest whisper, in milliseconds: whoever was offered the call is let go after it.
pub const WHISPER_MS: i64 = 120_000;

/// How long a target that answered waits for a whisper that is still being prepared, in milliseconds.
pub const WHISPER_WAIT_MS: i64 = 3_000;

/// Whether several targets ring together or one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strategy {
    /// All targets ring at once; the first to answer (or accept) wins.
    #[default]
    Simultaneous,
    /// Each target rings alone for the whole ring timeout, in the order given.
    Sequential,
}

/// What the step's author asked for, without sounds and numbers. The default has no ring time.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Together or in turn.
    pub strategy: Strategy,
    /// Ring time of a target, in milliseconds.
    pub timeout_ms: i64,
    /// Longest time the two may talk, in milliseconds; `None` is no limit.
    pub time_limit_ms: Option<i64>,
    /// Whether something is played to the answering target before it is bridged.
    pub whisper: Briefing,
    /// The key that the answering target must press before it is bridged.
    pub accept_key: Option<char>,
}

/// What is known of the whisper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Briefing {
    /// There is none.
    #[default]
    None,
    /// It is being prepared; [`Input::Whisper`] follows.
    Coming,
    /// It can be played.
    Ready,
}

/// How the step ended, as `connect.status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnectStatus {
    /// The two talked.
    Completed,
    /// Nobody answered in time.
    NoAnswer,
    /// Every target that could be reached was busy.
    Busy,
    /// The target refused.
    Rejected,
    /// No target could be reached at all.
    Failed,
    /// The customer left, or the driver gave up, before anyone was bridged.
    Canceled,
}

impl ConnectStatus {
    /// The text of `connect.status` and of the step's edges.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::NoAnswer => "no_answer",
            Self::Busy => "busy",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// The status that a target's end stands for, when it ends before it was bridged.
    pub fn of(cause: Cause) -> Self {
        match cause {
            Cause::Busy => Self::Busy,
            Cause::Rejected => Self::Rejected,
            Cause::NoAnswer => Self::NoAnswer,
            Cause::Canceled => Self::Canceled,
            _ => Self::Failed,
        }
    }

    /// Of several targets' ends the one that tells the caller most: somebody's phone rang in vain,
    /// else somebody is busy, else somebody refused, else nobody was reached.
    fn rank(self) -> u8 {
        match self {
            Self::Completed => 5,
            Self::NoAnswer => 4,
            Self::Busy => 3,
            Self::Rejected => 2,
            Self::Canceled => 1,
            Self::Failed => 0,
        }
    }
}

/// One device of one target, both by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    /// Index of the target in the step's list.
    pub target: usize,
    /// Index of the device among the target's devices.
    pub device: usize,
}

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The step begins.
    Start,
    /// The device rings.
    Ringing(Device),
    /// The device answered.
    Answered(Device),
    /// The device pressed a key.
    Digit(Device, char),
    /// The whisper that was coming is there, or cannot be had.
    Whisper {
        /// It can be played.
        ready: bool,
    },
    /// The whisper was heard to its end.
    WhisperEnded(Device),
    /// The device is gone. `everywhere`: a final word for all devices of its target (SIP 6xx).
    Ended {
        /// Which one.
        device: Device,
        /// Why.
        cause: Cause,
        /// The person, not just the phone, refused (RFC 3261 16.7 step 6).
        everywhere: bool,
    },
    /// The customer hung up.
    CustomerGone,
    /// The driver gives the step up.
    Cancel,
    /// Time has passed; see [`Machine::deadline_ms`].
    Tick,
}

/// What the machine wants done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Dial the device.
    Dial(Device),
    /// The first device of a target rings: worth an event.
    Ringing {
        /// Index of the target.
        target: usize,
    },
    /// Play the whisper to the device, and report its end.
    Whisper(Device),
    /// Join the customer and the device.
    Bridge(Device),
    /// End the device; its `Ended` still comes.
    Hangup(Device, Cause),
    /// The step is over. The last effect of the machine's life.
    Ended {
        /// How.
        status: ConnectStatus,
        /// Why, in the words of events.
        cause: Cause,
    },
}

/// What the machine knows of a target before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetShape {
    /// It can be reached by so many devices, which ring together.
    Devices(usize),
    /// It cannot be reached, for this cause.
    Unreachable(Cause),
}
