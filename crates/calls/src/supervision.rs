//! Supervision: somebody of the organisation listens to a call, whispers to his agent, or joins in.
//!
//! The two parties and the supervisor meet in a room for as long as it lasts; the customer hears nothing of its coming
//! and going. Invariant: supervision never outlasts the connection that it listens to, and leaves it as it was.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;
use voice::Originate;
use voice::cause::Cause;
use voice::leg::{LegEvent, LegId, Part, PlayMode, Playable, Room};

use crate::directory::Destination;
use crate::live::Live;
use crate::model::{CallView, Change, Direction, LegRole};
use crate::party::Party;
use crate::requests::Request;
use crate::routes::{Asking, Route};
use crate::service::Calls;

/// How long the supervisor's phones ring, in milliseconds.
const RING_MS: i64 = 30_000;
/// Voice gives a leg up this much later than we would, in milliseconds.
const RING_NET_MS: i64 = 5_000;

/// What a supervisor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SuperviseMode {
    /// Hears both, heard by nobody.
    Listen,
    /// Hears both, heard by the agent alone.
    Whisper,
    /// Hears both, heard by both.
    Barge,
}

impl SuperviseMode {
    /// The word on the wire and in the audit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Whisper => "whisper",
            Self::Barge => "barge",
        }
    }
}

/// What became of a wish to supervise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Supervised {
    /// The supervisor's phone rings.
    Ringing,
    /// The supervisor is there.
    Listening,
}

/// Why a call cannot be supervised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperviseError {
    /// The organisation has no such call up here.
    #[error("the call is not up")]
    NotUp,
    /// Nobody talks with the customer.
    #[error("nobody is connected with the customer now")]
    NotConnected,
    /// Neither party is a phone of the organisation's own.
    #[error("no party of the call is a phone of the organisation: there is nobody to whisper to")]
    NoAgent,
    /// Another extension supervises it already, or talks in it.
    #[error("somebody else supervises the call, or the extension takes part in it")]
    Taken,
    /// The extension has no phone that can be reached.
    #[error("the extension has no phone that can be reached")]
    Unreachable,
}

/// A wish to supervise.
pub(crate) struct Supervise {
    pub(crate) extension: Arc<str>,
    pub(crate) mode: SuperviseMode,
    /// The supervisor's phones.
    pub(crate) routes: Vec<Route>,
    pub(crate) reply: oneshot::Sender<Result<Supervised, SuperviseError>>,
}

/// A supervision that is wanted, or under way.
pub(crate) struct Supervision {
    extension: Arc<str>,
    mode: SuperviseMode,
    /// Give up when no phone has answered by then.
    until_ms: i64,
    /// The room, and the leg that supervises.
    there: Option<(Room, LegId)>,
}

impl Supervision {
    pub(crate) fn deadline_ms(&self) -> Option<i64> {
        self.there.is_none().then_some(self.until_ms)
    }
}

impl Calls {
    /// Rings an extension that is to supervise a call, or has its supervisor do something else from now on. What the
    /// audit is to know must be durable before.
    ///
    /// # Errors
    /// [`SuperviseError`].
    pub async fn supervise(
        &self,
        org: &str,
        call: &CallView,
        extension: &str,
        mode: SuperviseMode,
    ) -> Result<Supervised, SuperviseError> {
        let customer = match call.direction {
            Direction::Inbound => &call.from,
            Direction::Outbound => &call.to,
        };
        let asking = Asking { customer: Some(customer), display: Some("Supervision"), ..Asking::default() };
        let routed = match self.directory().resolve(org, extension).await {
            Ok(person @ Destination::Person(_)) => self.directory().route_to(org, extension, &person, asking).await,
            _ => return Err(SuperviseError::Unreachable),
        };
        let routes = routed.routes.map_err(|_| SuperviseError::Unreachable)?;
        let (reply, answer) = oneshot::channel();
        let wish = Supervise { extension: extension.into(), mode, routes, reply };
        if !self.registry().ask(org, &call.id, Request::Supervise(wish)) {
            return Err(SuperviseError::NotUp);
        }
        answer.await.unwrap_or(Err(SuperviseError::NotUp))
    }

    /// Ends the supervision of a call; false when the organisation has no such call up here.
    pub fn end_supervision(&self, org: &str, call: &str) -> bool {
        self.registry().ask(org, call, Request::EndSupervision)
    }
}

impl Live {
    pub(crate) fn supervise(&mut self, wish: Supervise) {
        let reply = self.begin_supervision(&wish);
        // Who asked may have gone.
        let _gone = wish.reply.send(reply);
    }

    fn begin_supervision(&mut self, wish: &Supervise) -> Result<Supervised, SuperviseError> {
        if self.connected().is_none() {
            return Err(SuperviseError::NotConnected);
        }
        if wish.mode == SuperviseMode::Whisper && self.agent().is_none() {
            return Err(SuperviseError::NoAgent);
        }
        if let Some(supervision) = &mut self.supervision {
            if supervision.extension != wish.extension {
                return Err(SuperviseError::Taken);
            }
            supervision.mode = wish.mode;
            self.cast_supervisor();
            let there = self.supervision.as_ref().is_some_and(|supervision| supervision.there.is_some());
            return Ok(if there { Supervised::Listening } else { Supervised::Ringing });
        }
        let takes_part = |party: &Party| party.busy.as_ref().is_some_and(|busy| *busy.extension() == wish.extension);
        if self.parties.iter().any(takes_part) {
            return Err(SuperviseError::Taken);
        }
        if wish.routes.is_empty() {
            return Err(SuperviseError::Unreachable);
        }
        wish.routes.iter().for_each(|route| self.ring_supervisor(&wish.extension, route));
        let until_ms = self.now_ms() + RING_MS;
        self.supervision =
            Some(Supervision { extension: wish.extension.clone(), mode: wish.mode, until_ms, there: None });
        Ok(Supervised::Ringing)
    }

    fn ring_supervisor(&mut self, extension: &Arc<str>, route: &Route) {
        let order = Originate {
            leg: self.calls.kernel().ids.new("leg", self.now_ms()).into(),
            target: route.target.clone(),
            from: route.from.clone(),
            to_user: route.to_user.clone(),
            near: self.standing().map(|party| party.leg.clone()),
            prefer: None,
            max_forwards: self.hops_left,
            ring_timeout_ms: u32::try_from(RING_MS + RING_NET_MS).unwrap_or(u32::MAX),
        };
        let busy = self.calls.busy().enter(&self.model.org, extension);
        let leg = self.calls.dialer().originate(order, self.sink.clone());
        self.add_party(Party::caller(leg, LegRole::Supervisor, Some(busy)), extension.to_string());
    }

    /// What a supervisor's leg reports: none of it is news of the call's.
    pub(crate) fn supervisor_event(&mut self, id: &LegId, event: LegEvent) {
        match event {
            LegEvent::Ringing => {
                self.change(Change::LegRinging(id.clone()));
            }
            LegEvent::Answered { codec } => {
                self.leg_answered(id, codec);
                self.supervisor_answered(id);
            }
            LegEvent::TransferRequested { .. } => {
                if let Some(party) = self.party(id) {
                    party.leg.accept_transfer(false);
                }
            }
            LegEvent::Ended(_) => self.supervisor_gone(id),
            _ => {}
        }
    }

    fn supervisor_answered(&mut self, id: &LegId) {
        // Of two phones that answer in one moment the first supervises.
        let first = self.supervision.as_ref().and_then(|supervision| supervision.there.as_ref());
        if let Some((_, first)) = first {
            return self.hang_up_supervisors(|other| other != first);
        }
        let Some((customer, other)) = self.connected().filter(|_| self.supervision.is_some()) else {
            return self.hang_up_supervisors(|_| true);
        };
        let room = self.calls.dialer().room(&self.model.org);
        customer.leg.join_room(&room, Part::Party);
        other.leg.join_room(&room, Part::Party);
        if let Some(supervision) = &mut self.supervision {
            supervision.there = Some((room, id.clone()));
        }
        self.cast_supervisor();
        self.hang_up_supervisors(|other| other != id);
    }

    /// Gives the supervisor who is there the part that fits the mode.
    fn cast_supervisor(&self) {
        let Some(Supervision { mode, there: Some((room, id)), .. }) = &self.supervision else { return };
        let part = match mode {
            SuperviseMode::Listen => Part::Listener,
            SuperviseMode::Barge => Part::Speaker,
            SuperviseMode::Whisper => {
                self.agent().map_or(Part::Listener, |agent| Part::Whisperer(agent.leg.media_key()))
            }
        };
        if let Some(supervisor) = self.party(id) {
            supervisor.leg.join_room(room, part);
        }
    }

    fn supervisor_gone(&mut self, id: &LegId) {
        self.change(Change::LegEnded(id.clone()));
        self.parties.retain(|party| party.leg.id() != id);
        let Some(supervision) = &self.supervision else { return self.complete_if_alone() };
        let was_there = supervision.there.as_ref().is_some_and(|(_, there)| there == id);
        let rings = self.parties.iter().any(|party| party.role == LegRole::Supervisor);
        if was_there || !rings {
            self.end_supervision();
        }
        self.complete_if_alone();
    }

    /// The supervisor leaves, and the two go on as before if they are still connected.
    pub(crate) fn end_supervision(&mut self) {
        let Some(supervision) = self.supervision.take() else { return };
        if supervision.there.is_some() {
            match self.connected() {
                Some((customer, other)) => customer.leg.bridge(&other.leg),
                None => self.standing().into_iter().for_each(|customer| customer.leg.leave_room()),
            }
        }
        self.hang_up_supervisors(|_| true);
    }

    /// Nobody has answered in time.
    pub(crate) fn supervision_tick(&mut self, now_ms: i64) {
        let is_due = |supervision: &Supervision| supervision.deadline_ms().is_some_and(|until| until <= now_ms);
        if self.supervision.as_ref().is_some_and(is_due) {
            self.end_supervision();
        }
    }

    /// In a room nobody hears the music that a bridge plays while one holds the other.
    pub(crate) fn held_in_room(&mut self, id: &LegId, on: bool) {
        if self.supervision.as_ref().is_none_or(|supervision| supervision.there.is_none()) {
            return;
        }
        let play = self.new_play();
        let Some((customer, other)) = self.connected() else { return };
        let waiting = if customer.leg.id() == id { other } else { customer };
        if on {
            waiting.leg.play(play, Playable::HoldMusic, PlayMode::FOREVER);
        } else {
            waiting.leg.stop_play();
        }
    }

    fn hang_up_supervisors(&self, which: impl Fn(&LegId) -> bool) {
        let supervisors = self.parties.iter().filter(|party| party.role == LegRole::Supervisor);
        supervisors.filter(|party| which(party.leg.id())).for_each(|party| party.leg.hangup(Cause::Normal));
    }

    /// The party that the call stands on and the one it is connected with.
    pub(crate) fn connected(&self) -> Option<(&Party, &Party)> {
        let bridged = self.bridged_device()?;
        let other = self.parties.iter().find(|party| party.device == Some(bridged))?;
        Some((self.standing()?, other))
    }

    /// The party that works for the organisation: whom a supervisor may speak to.
    fn agent(&self) -> Option<&Party> {
        let (customer, other) = self.connected()?;
        [other, customer].into_iter().find(|party| party.is_own_phone())
    }
}
