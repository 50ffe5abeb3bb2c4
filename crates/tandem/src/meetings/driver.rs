//! What a meeting's live call tells, in the words of its model.
//!
//! Invariant: news is written before the call goes on; a call whose meeting does not want it any more is ended.

use std::sync::Arc;

use calls::Call;
use calls::pairing::{
    PairAddress, PairDesk, PairEvent, PairOrder, PairParty, PairSide, PairSounds, PartedBy, PartyLine,
};
use futures_util::{FutureExt as _, future::BoxFuture};
use kernel::Write;
use voice::cause::Cause as CallCause;

use super::Meetings;
use super::desk::{Ring, Which};
use super::error::MeetingError;
use super::model::{CallType, Effect, Input, Meeting, Miss, News, Parting, Role, Settings, State};

/// How long each party's phones ring, in milliseconds.
const RING_MS: i64 = 30_000;

/// A meeting that is on a call.
pub(super) struct OnCall {
    meetings: Meetings,
    which: Which,
    /// Who was rung first.
    first: Role,
    attempt: u32,
}

impl OnCall {
    pub(super) fn new(meetings: Meetings, meeting: &Meeting, first: Role, attempt: u32) -> Self {
        let which = Which { org: Arc::from(meeting.org.as_str()), app: None, id: meeting.id };
        Self { meetings, which, first, attempt }
    }

    fn role(&self, side: PairSide) -> Role {
        match side {
            PairSide::First => self.first,
            PairSide::Second => self.first.other(),
        }
    }

    /// What an event of the call means; none = nothing to a meeting.
    fn meaning(&self, event: PairEvent) -> Option<News> {
        Some(match event {
            PairEvent::FirstAnswered => News::FirstAnswered,
            PairEvent::SecondRinging => return None,
            PairEvent::Bridged { .. } => News::Bridged,
            PairEvent::Unbridged { by, talked_ms } => News::Unbridged { why: self.parting_of(by), talked_ms },
            PairEvent::NotReached { who, cause } => News::NotReached { who: self.role(who), miss: miss(cause) },
            // A call that ended without a word of why: nobody was reached, or they were parted.
            PairEvent::Ended { .. } => News::NotReached { who: self.first.other(), miss: Miss::Failed },
        })
    }

    fn parting_of(&self, by: PartedBy) -> Parting {
        match by {
            PartedBy::First => Parting::HungUp(self.first),
            PartedBy::Second => Parting::HungUp(self.first.other()),
            PartedBy::Lost => Parting::Lost,
            PartedBy::Limit => Parting::Limit,
            PartedBy::Desk => Parting::Desk,
        }
    }

    async fn hear(&self, call: &str, event: PairEvent) {
        let Some(news) = self.meaning(event) else { return };
        let input = Input::Heard { attempt: self.attempt, news };
        let meeting = match self.meetings.apply(&self.which, input).await {
            Ok(step) => step.meeting(),
            Err(error) => {
                tracing::error!(org = %self.which.org, meeting = self.which.id, %call, %error, "news of a meeting's call are lost");
                return;
            }
        };
        let goes_on = matches!(event, PairEvent::FirstAnswered | PairEvent::Bridged { .. });
        let wanted = matches!(meeting.state, State::Connecting | State::Live) && meeting.attempts == self.attempt;
        // It may have been called off between the commit of its call and the first ring.
        if goes_on
            && !wanted
            && let Some(handle) = self.meetings.calls().pair_handle(&self.which.org, call)
        {
            handle.hang_up(CallCause::Normal);
        }
    }
}

impl Meetings {
    /// Makes the call; the meeting's rows are written with it.
    pub(super) async fn connect(
        &self,
        meeting: &Meeting,
        settings: &Settings,
        ring: Ring,
        mut writes: Vec<Write>,
        inbound: &mut Option<Call>,
    ) -> Result<(), MeetingError> {
        if inbound.is_some() {
            // The rows of a call that is up already cannot fail any more: the meeting's, which can, go before.
            self.commit(std::mem::take(&mut writes)).await?;
        }
        let Ring { call, first, attempt, limit_ms } = ring;
        let order = PairOrder {
            call_id: call,
            org: meeting.org.as_str().into(),
            first: pair_party(meeting, first),
            second: pair_party(meeting, first.other()),
            inbound: inbound.take(),
            ring_ms: RING_MS,
            limit_ms,
            warn_ms: settings.talk_warning_s.saturating_mul(1_000),
            record: settings.record,
            sounds: PairSounds::usual(self.calls()),
            writes,
        };
        let desk = OnCall::new(self.clone(), meeting, first, attempt);
        self.calls().pair(order, Arc::new(desk)).await?;
        Ok(())
    }

    /// What happens outside the store, once it is written.
    pub(super) fn carry_out(&self, meeting: &Meeting, effects: &[Effect]) {
        let Some(handle) = meeting.calls.last().and_then(|call| self.calls().pair_handle(&meeting.org, call)) else {
            return;
        };
        for effect in effects {
            match effect {
                Effect::HangUp => handle.hang_up(CallCause::Normal),
                Effect::SetLimit { ms } => handle.set_limit(*ms),
                _ => {}
            }
        }
    }
}

/// Where a party is reached, and what it sees.
fn pair_party(meeting: &Meeting, role: Role) -> PairParty {
    let party = meeting.party(role);
    let address = match (&party.call_type, &party.number) {
        (CallType::Phone, Some(number)) => PairAddress::Number(number.clone()),
        _ => PairAddress::Browser(PartyLine::new(&meeting.app, &party.uid)),
    };
    PairParty { address, caller_id: meeting.dial_in.clone() }
}

impl PairDesk for OnCall {
    fn news<'a>(&'a self, call_id: &'a str, event: PairEvent) -> BoxFuture<'a, Vec<Write>> {
        // Written here and not with the call's rows: they must not be lost when somebody changes the meeting just now.
        async move {
            self.hear(call_id, event).await;
            Vec::new()
        }
        .boxed()
    }
}

/// Why a party was not reached, in the words of a meeting.
fn miss(cause: CallCause) -> Miss {
    match cause {
        CallCause::NoAnswer => Miss::NoAnswer,
        CallCause::Busy | CallCause::Rejected => Miss::Busy,
        CallCause::Canceled | CallCause::Normal => Miss::GaveUp,
        _ => Miss::Failed,
    }
}
