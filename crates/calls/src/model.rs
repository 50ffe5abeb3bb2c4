//! What the platform knows of a call and its legs: pure state, changed only by [`CallModel::apply`].
//!
//! Invariant: a call is completed once; after that nothing about it changes but its recordings.
//! The shape that readers of the API see is [`CallView`]. Source: docs/contracts/flows.md,
//! "Endpoints" (CALL) and "Events, causes, webhooks".

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use voice::cause::Cause;
use voice::leg::{LegEnd, LegId};

use crate::numbers;
use crate::pairing::BROWSER;

/// Most legs that one call remembers; older ones that have ended make room.
pub const MAX_LEGS: usize = 64;

/// Who began the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Somebody called us.
    Inbound,
    /// We called somebody.
    Outbound,
}

impl Direction {
    /// The word on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }

    /// Reads what [`Direction::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Inbound, Self::Outbound].into_iter().find(|it| it.as_str() == text)
    }
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Known to us; nobody's phone rings yet.
    Initiated,
    /// The called party's phone rings.
    Ringing,
    /// The two sides are connected to us.
    Answered,
    /// Over.
    Completed,
}

impl CallState {
    /// The word on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initiated => "initiated",
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Completed => "completed",
        }
    }

    /// Reads what [`CallState::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Initiated, Self::Ringing, Self::Answered, Self::Completed].into_iter().find(|it| it.as_str() == text)
    }
}

/// What a party is to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LegRole {
    /// The party the call is with.
    Customer,
    /// A person of the organisation who is called first, of a callback.
    Agent,
    /// A party that the customer is connected to.
    Target,
    /// Somebody of the organisation who listens to the two.
    Supervisor,
}

impl LegRole {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Agent => "agent",
            Self::Target => "target",
            Self::Supervisor => "supervisor",
        }
    }
}

/// How far a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LegState {
    /// Being dialled, or not yet answered by us.
    Initiated,
    /// Its phone rings.
    Ringing,
    /// Talking to us.
    Answered,
    /// It put us on hold.
    Held,
    /// Gone.
    Ended,
}

impl LegState {
    /// The word on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initiated => "initiated",
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Held => "held",
            Self::Ended => "ended",
        }
    }
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The customer.
    Customer,
    /// The agent of a callback.
    Agent,
    /// The party the customer was connected to.
    Target,
    /// The flow, a limit, or the server.
    System,
    /// A request to hang up.
    Api,
}

impl EndedBy {
    /// The word on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Agent => "agent",
            Self::Target => "target",
            Self::System => "system",
            Self::Api => "api",
        }
    }
}

impl From<LegRole> for EndedBy {
    fn from(role: LegRole) -> Self {
        match role {
            LegRole::Customer => Self::Customer,
            LegRole::Agent => Self::Agent,
            LegRole::Target => Self::Target,
            LegRole::Supervisor => Self::System,
        }
    }
}

/// One party of a call, as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LegRecord {
    /// `leg_...`
    #[schema(value_type = String)]
    pub id: LegId,
    /// What the party is to the call.
    pub role: LegRole,
    /// The number or extension that was dialled, or that called.
    pub to: String,
    /// How far it is.
    pub state: LegState,
    /// The codec it speaks, once answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub codec: Option<String>,
    /// The node whose media thread it is on.
    #[schema(value_type = String)]
    pub node: Arc<str>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallEnd {
    /// Why.
    pub cause: Cause,
    /// By whom.
    pub by: EndedBy,
    /// The final SIP status of the leg that ended it.
    pub sip_code: Option<u16>,
    /// The Q.850 cause of that leg.
    pub q850: Option<u8>,
}

/// What changes a call.
#[derive(Clone, Debug)]
pub enum Change {
    /// A party joins.
    LegAdded(LegRecord),
    /// A party's phone rings.
    LegRinging(LegId),
    /// A party answered.
    LegAnswered(LegId, String),
    /// A party held us, or came back.
    LegHeld(LegId, bool),
    /// A party is gone.
    LegEnded(LegId),
    /// The called side rings.
    Ringing,
    /// The call is up.
    Answered,
    /// The call is over.
    Completed(CallEnd),
}

/// A call and its legs.
#[derive(Clone, Debug, PartialEq)]
pub struct CallModel {
    /// `call_...`
    pub id: Arc<str>,
    /// The organisation.
    pub org: Arc<str>,
    /// The node it lives on.
    pub node: Arc<str>,
    /// Who began it.
    pub direction: Direction,
    /// The calling number.
    pub from: String,
    /// The called number.
    pub to: String,
    /// The flow run that drives it.
    pub run: Option<String>,
    /// Numbers are shown as their last two digits.
    pub masked: bool,
    /// How far it is.
    pub state: CallState,
    /// Its parties, oldest first.
    pub legs: Vec<LegRecord>,
    /// How it ended.
    pub end: Option<CallEnd>,
    /// UTC milliseconds.
    pub started_at_ms: i64,
    /// When the called side first rang.
    pub ringing_at_ms: Option<i64>,
    /// When it was answered.
    pub answered_at_ms: Option<i64>,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
}

impl CallModel {
    /// Takes a change at `now_ms`; false when it changes nothing (a repetition, or the call is over).
    pub fn apply(&mut self, change: Change, now_ms: i64) -> bool {
        if self.state == CallState::Completed {
            return false;
        }
        match change {
            Change::LegAdded(leg) => self.add_leg(leg),
            Change::LegRinging(id) => self.leg_moves(&id, LegState::Initiated, LegState::Ringing),
            Change::LegAnswered(id, codec) => self.leg_answered(&id, codec),
            Change::LegHeld(id, true) => self.leg_moves(&id, LegState::Answered, LegState::Held),
            Change::LegHeld(id, false) => self.leg_moves(&id, LegState::Held, LegState::Answered),
            Change::LegEnded(id) => self.leg_ended(&id),
            Change::Ringing if self.state == CallState::Initiated => {
                self.state = CallState::Ringing;
                self.ringing_at_ms = Some(now_ms);
                true
            }
            Change::Answered if self.state != CallState::Answered => {
                self.state = CallState::Answered;
                self.answered_at_ms = Some(now_ms);
                true
            }
            Change::Ringing | Change::Answered => false,
            Change::Completed(end) => {
                self.state = CallState::Completed;
                self.ended_at_ms = Some(now_ms);
                self.end = Some(end);
                for leg in &mut self.legs {
                    leg.state = LegState::Ended;
                }
                true
            }
        }
    }

    /// The call was answered and is not over.
    pub fn is_established(&self) -> bool {
        self.state == CallState::Answered
    }

    /// Seconds from the first ring to the answer, or to the end when nobody answered.
    pub fn ring_s(&self) -> f64 {
        let until = self.answered_at_ms.or(self.ended_at_ms);
        seconds_between(self.ringing_at_ms, until)
    }

    /// Seconds from the answer to the end.
    pub fn talk_s(&self) -> f64 {
        seconds_between(self.answered_at_ms, self.ended_at_ms)
    }

    /// Seconds from the beginning to the end.
    pub fn total_s(&self) -> f64 {
        seconds_between(Some(self.started_at_ms), self.ended_at_ms)
    }

    /// The number as this call's events and rows may show it.
    pub fn shown(&self, number: &str) -> String {
        // A page is no number.
        if self.masked && number != BROWSER { numbers::masked(number) } else { number.to_owned() }
    }

    fn add_leg(&mut self, leg: LegRecord) -> bool {
        if self.legs.len() >= MAX_LEGS {
            let Some(oldest) = self.legs.iter().position(|leg| leg.state == LegState::Ended) else {
                return false;
            };
            self.legs.remove(oldest);
        }
        self.legs.push(leg);
        true
    }

    fn leg_moves(&mut self, id: &LegId, from: LegState, to: LegState) -> bool {
        match self.legs.iter_mut().find(|leg| leg.id == *id && leg.state == from) {
            Some(leg) => {
                leg.state = to;
                true
            }
            None => false,
        }
    }

    fn leg_answered(&mut self, id: &LegId, codec: String) -> bool {
        let unanswered =
            |leg: &&mut LegRecord| leg.id == *id && matches!(leg.state, LegState::Initiated | LegState::Ringing);
        match self.legs.iter_mut().find(unanswered) {
            Some(leg) => {
                leg.state = LegState::Answered;
                leg.codec = Some(codec);
                true
            }
            None => false,
        }
    }

    fn leg_ended(&mut self, id: &LegId) -> bool {
        match self.legs.iter_mut().find(|leg| leg.id == *id && leg.state != LegState::Ended) {
            Some(leg) => {
                leg.state = LegState::Ended;
                true
            }
            None => false,
        }
    }
}

impl CallEnd {
    /// An end that we brought about.
    pub fn local(cause: Cause, by: EndedBy) -> Self {
        Self { cause, by, sip_code: None, q850: None }
    }

    /// The end of the leg that the call stood on.
    pub fn of_leg(end: &LegEnd, by: EndedBy) -> Self {
        Self { cause: end.cause, by, sip_code: end.sip_code, q850: end.q850 }
    }
}

fn seconds_between(from_ms: Option<i64>, until_ms: Option<i64>) -> f64 {
    match (from_ms, until_ms) {
        (Some(from), Some(until)) => (until - from).max(0) as f64 / 1000.0,
        _ => 0.0,
    }
}

/// A call as the API shows it: `CALL` of docs/contracts/flows.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CallView {
    /// `call_...`
    pub id: String,
    /// Who began it.
    pub direction: Direction,
    /// The calling number.
    pub from: String,
    /// The called number.
    pub to: String,
    /// How far it is.
    pub state: CallState,
    /// Why it ended.
    pub cause: Option<String>,
    /// By whom.
    pub ended_by: Option<String>,
    /// The flow run that drove it.
    pub flow_run_id: Option<String>,
    /// Its parties, oldest first.
    pub legs: Vec<LegRecord>,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// RFC 3339, UTC.
    pub answered_at: Option<String>,
    /// RFC 3339, UTC.
    pub ended_at: Option<String>,
    /// Seconds from the answer to the end.
    pub talk_s: f64,
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
