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
/// Pause before news that the store did not take is written again, in milliseconds.
const AFTER_FAILURE_MS: i64 = 500;

/// A meeting that is on a call.
pub(super) struct OnCall {
    meetings: Meetings,
    which: Which,
    /// Who was rung first.
    first: Role,
    attempt: u32,
    /// Those that are reached inside this server only: whose page or phone is not there is absent.
    inside: Vec<Role>,
}

impl OnCall {
    pub(super) fn new(meetings: Meetings, meeting: &Meeting, first: Role, attempt: u32) -> Self {
        let which = Which { org: Arc::from(meeting.org.as_str()), app: None, id: meeting.id };
        let inside = Role::BOTH.into_iter().filter(|role| is_inside(meeting, *role)).collect();
        Self { meetings, which, first, attempt, inside }
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
            PairEvent::NotReached { who, cause } => {
                let who = self.role(who);
                News::NotReached { who, miss: miss(cause, self.inside.contains(&who)) }
            }
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
        let Some(meeting) = self.note(call, Input::Heard { attempt: self.attempt, news }).await else { return };
        let goes_on = matches!(event, PairEvent::FirstAnswered | PairEvent::Bridged { .. });
        let wanted = matches!(meeting.state, State::Connecting | State::Live) && meeting.attempts == self.attempt;
        let Some(handle) = self.meetings.calls().pair_handle(&self.which.org, call).filter(|_| goes_on) else { return };
        // It may have been called off, or prolonged, between the commit of its call and the first ring.
        if wanted {
            handle.set_limit(meeting.talk_left_ms());
        } else {
            handle.hang_up(CallCause::Normal);
        }
    }

    /// Writes news down. The call waits for it: a store that is away for a while must not make a talk without a meeting.
    async fn note(&self, call: &str, news: Input) -> Option<Meeting> {
        let kernel = self.meetings.kernel();
        loop {
            let error = match self.meetings.apply(&self.which, news.clone()).await {
                Ok(step) => return Some(step.meeting()),
                Err(error) => error,
            };
            tracing::error!(org = %self.which.org, meeting = self.which.id, %call, %error, "news of a meeting's call");
            if matches!(error, MeetingError::NotFound | MeetingError::Refused(_)) {
                return None;
            }
            let pause = kernel.clock.sleep_until(kernel.clock.now_ms() + AFTER_FAILURE_MS);
            kernel.stop.run_until_cancelled(pause).await?;
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

    /// What happens outside the store, once it is written: every call but the present one ends when the meeting says so,
    /// and when another begins.
    pub(super) fn carry_out(&self, meeting: &Meeting, effects: &[Effect]) {
        let in_call = matches!(meeting.state, State::Connecting | State::Live);
        let present = meeting.calls.last().filter(|_| in_call);
        let handle = |call: &String| self.calls().pair_handle(&meeting.org, call);
        for effect in effects {
            match effect {
                Effect::HangUp | Effect::Ring { .. } => {
                    let former = meeting.calls.iter().filter(|call| Some(*call) != present);
                    former.filter_map(handle).for_each(|handle| handle.hang_up(CallCause::Normal));
                }
                Effect::SetLimit { ms } => {
                    present.and_then(handle).into_iter().for_each(|handle| handle.set_limit(*ms))
                }
                _ => {}
            }
        }
    }
}

/// Whether a party is reached without a carrier: in its page, or at an extension.
fn is_inside(meeting: &Meeting, role: Role) -> bool {
    let party = meeting.party(role);
    let outside = party.number.as_deref().is_some_and(|number| number.starts_with('+'));
    party.call_type == CallType::Browser || !outside
}

/// Where a party is reached, and what it sees.
fn pair_party(meeting: &Meeting, role: Role) -> PairParty {
    let party = meeting.party(role);
    let address = match (&party.call_type, &party.number) {
        (CallType::Phone, Some(number)) => PairAddress::Number(number.clone()),
        _ => PairAddress::Browser(PartyLine::new(&meeting.app, &party.uid)),
    };
    let peer_name = meeting.party(role.other()).shown_name().map(str::to_owned);
    PairParty { address, caller_id: meeting.dial_in.clone(), peer_name }
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

/// Why a party was not reached, in the words of a meeting. Who is reached inside this server and is not there does not
/// answer.
fn miss(cause: CallCause, inside: bool) -> Miss {
    match cause {
        CallCause::NoAnswer => Miss::NoAnswer,
        CallCause::Unreachable if inside => Miss::NoAnswer,
        CallCause::Busy | CallCause::Rejected => Miss::Busy,
        CallCause::Canceled | CallCause::Normal => Miss::GaveUp,
        _ => Miss::Failed,
    }
}
