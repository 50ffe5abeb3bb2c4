//! Changes a meeting: reads it, lets its model decide, writes what follows, carries that out.
//!
//! Invariant: a meeting, its PINs, its number, its events, its job, its notices and what its parties hold change in one
//! commit, guarded by its revision. Nobody holds a lock: who was slower reads again. What is to happen outside the store
//! happens after it, whether somebody waits for it or not.

use std::sync::Arc;

use calls::{Call, CallError};
use futures_util::future::BoxFuture;
use kernel::{DbError, Event, Outbox, Target, Write, events::NEXT_SEQ};
use serde_json::json;

use super::error::MeetingError;
use super::model::{Actor, Change, Effect, Input, Meeting, ProposedTime, Role, Settings, State};
use super::{Meetings, jobs, notices, store, veto};

/// How often a change is tried again when somebody else changed the meeting in the same moment.
const MAX_TRIES: usize = 8;

/// Which meeting; another application's is not found.
#[derive(Clone, Debug)]
pub(super) struct Which {
    pub(super) org: Arc<str>,
    /// None = of any application.
    pub(super) app: Option<Arc<str>>,
    pub(super) id: i64,
}

/// What is wanted of a meeting.
#[derive(Clone, Debug)]
pub enum Action {
    /// Connect the two. A party that asks is rung first; for others `as_role` says who is, the caller by itself.
    Call {
        /// Who is rung first when it is no party that asks.
        as_role: Option<Role>,
    },
    /// Let the two talk longer.
    Extend {
        /// By how much, milliseconds.
        ms: i64,
    },
    /// It is over, and well.
    Finish,
    /// It is called off.
    Cancel,
    /// Another time, by the application. None = as it is.
    Move {
        /// UTC milliseconds.
        starts_ms: Option<i64>,
        /// The longest talk, milliseconds.
        duration_ms: Option<i64>,
    },
    /// Anything else that the application changes.
    Change(Box<Change>),
    /// A party would like another time.
    Propose {
        /// UTC milliseconds.
        starts_ms: i64,
        /// The longest talk, milliseconds; none = as it is.
        duration_ms: Option<i64>,
    },
    /// The other party agrees: to what it has read, or to whatever is proposed.
    Confirm(Option<ProposedTime>),
    /// The other party does not agree, or the proposer takes it back.
    Decline(Option<ProposedTime>),
}

/// What became of an input.
pub(super) enum Step {
    /// The meeting is as it was.
    Same(Meeting),
    /// It changed, and everything that follows is under way.
    Changed(Meeting),
}

impl Step {
    pub(super) fn meeting(self) -> Meeting {
        match self {
            Self::Same(meeting) | Self::Changed(meeting) => meeting,
        }
    }
}

/// A call that is to be made.
pub(super) struct Ring {
    pub(super) call: String,
    pub(super) first: Role,
    pub(super) attempt: u32,
    pub(super) limit_ms: i64,
}

impl Meetings {
    /// Does something with a meeting in somebody's name; `app` none = whoever may see every application's.
    ///
    /// # Errors
    /// [`MeetingError`]; nothing has changed then.
    pub async fn act(
        &self,
        org: &str,
        app: Option<&str>,
        id: i64,
        by: Actor,
        action: Action,
    ) -> Result<Meeting, MeetingError> {
        let which = Which { org: org.into(), app: app.map(Into::into), id };
        let party = by.role();
        let input = match action {
            Action::Call { as_role } => return self.call(which, party.or(as_role).unwrap_or(Role::Caller)).await,
            Action::Extend { ms } => Input::Extend { by, ms },
            Action::Finish => Input::Finish { by },
            Action::Cancel => Input::Cancel { by },
            Action::Move { starts_ms, duration_ms } => {
                Input::Change(Box::new(Change { starts_ms, duration_ms, ..Change::default() }))
            }
            Action::Change(change) => Input::Change(change),
            Action::Propose { starts_ms, duration_ms } => {
                let by = party.ok_or(MeetingError::NotFound)?;
                Input::Propose { by, starts_ms, duration_ms }
            }
            Action::Confirm(to) => Input::Confirm { by: party.ok_or(MeetingError::NotFound)?, to },
            Action::Decline(what) => Input::Decline { by: party.ok_or(MeetingError::NotFound)?, what },
        };
        self.apply(&which, input).await.map(Step::meeting)
    }

    /// Connects the two, if the application's hook has nothing against it.
    async fn call(&self, which: Which, by: Role) -> Result<Meeting, MeetingError> {
        let (meeting, settings) = self.load(&which).await?;
        // Nobody is asked about a call that cannot be.
        if let Err(refused) = meeting.clone().apply(Input::Call { by }, &settings, self.now_ms()) {
            self.note_out_of_session(&meeting, by, refused).await?;
            return Err(refused.into());
        }
        if !veto::allows(self.kernel(), &settings, &meeting, Some(by)).await {
            self.apply(&which, Input::Vetoed { by: Some(by) }).await?;
            return Err(MeetingError::Vetoed);
        }
        self.apply(&which, Input::Call { by }).await.map(Step::meeting)
    }

    /// Moves a meeting by one input, on a task of its own: who asks may give up waiting, what was committed is carried out.
    pub(super) async fn apply(&self, which: &Which, input: Input) -> Result<Step, MeetingError> {
        let (meetings, which) = (self.clone(), which.clone());
        let changing = async move { meetings.apply_with(&which, input, &mut None).await };
        self.kernel().tasks.spawn(changing).await.map_err(CallError::from)?
    }

    /// The same; `inbound` is the call of a party that has dialled in, and is taken when it is connected.
    pub(super) fn apply_with<'a>(
        &'a self,
        which: &'a Which,
        input: Input,
        inbound: &'a mut Option<Call>,
    ) -> BoxFuture<'a, Result<Step, MeetingError>> {
        // Boxed: a call's way is long, and most inputs do not take it.
        Box::pin(async move {
            for tries in 0..MAX_TRIES {
                match self.try_apply(which, input.clone(), inbound, tries).await {
                    Err(error) if error.is_conflict() => {}
                    done => return done,
                }
            }
            Err(MeetingError::Busy)
        })
    }

    async fn try_apply(
        &self,
        which: &Which,
        input: Input,
        inbound: &mut Option<Call>,
        tries: usize,
    ) -> Result<Step, MeetingError> {
        let (before, settings) = self.load(which).await?;
        let mut meeting = before.clone();
        let effects = meeting.apply(input, &settings, self.now_ms())?;
        let ring = self.ring_of(&mut meeting, &effects, inbound.as_ref());
        if meeting == before && effects.is_empty() {
            return Ok(Step::Same(meeting));
        }
        let held = self.renew(&before, &mut meeting, &settings, tries).await?;
        let mut writes = vec![store::update_write(&meeting)];
        writes.extend(held);
        writes.extend(self.following(&before, &meeting, &effects, &settings).await?);
        match ring {
            Some(ring) => self.connect(&meeting, &settings, ring, writes, inbound).await?,
            None => self.commit(writes).await?,
        }
        meeting.revision += 1;
        self.carry_out(&meeting, &effects);
        Ok(Step::Changed(meeting))
    }

    /// What a meeting holds beside its row follows its change: PINs and number.
    async fn renew(
        &self,
        before: &Meeting,
        meeting: &mut Meeting,
        settings: &Settings,
        tries: usize,
    ) -> Result<Vec<Write>, MeetingError> {
        let mut writes = self.renew_pins(before, meeting);
        writes.extend(self.renew_number(before, meeting, settings, tries).await?);
        Ok(writes)
    }

    pub(super) async fn load(&self, which: &Which) -> Result<(Meeting, Settings), MeetingError> {
        let found = store::meeting(&self.kernel().db, &which.org, which.app.as_deref(), which.id).await?;
        let meeting = found.ok_or(MeetingError::NotFound)?;
        let settings = self.settings(&meeting.org, &meeting.app).await?;
        Ok((meeting, settings))
    }

    pub(super) async fn commit(&self, writes: Vec<Write>) -> Result<(), MeetingError> {
        match self.kernel().db.writer().commit(writes).await {
            Ok(_) => Ok(()),
            Err(DbError::Duplicate(_)) => Err(MeetingError::Taken),
            Err(error) => Err(error.into()),
        }
    }

    /// The call that an effect asks for; the meeting notes its id.
    fn ring_of(&self, meeting: &mut Meeting, effects: &[Effect], inbound: Option<&Call>) -> Option<Ring> {
        let (first, attempt, limit_ms) = effects.iter().find_map(|effect| match effect {
            Effect::Ring { first, attempt, limit_ms, .. } => Some((*first, *attempt, *limit_ms)),
            _ => None,
        })?;
        let call = inbound.map_or_else(|| self.calls().new_call_id(), |call| call.id.to_string());
        meeting.carried_by(call.clone());
        Some(Ring { call, first, attempt, limit_ms })
    }

    /// What is written with a meeting that has changed: events, what its parties hold, notices, its job.
    pub(super) async fn following(
        &self,
        before: &Meeting,
        meeting: &Meeting,
        effects: &[Effect],
        settings: &Settings,
    ) -> Result<Vec<Write>, MeetingError> {
        let now_ms = self.now_ms();
        let targets = self.kernel().outbox.targets(&meeting.org).await?;
        let mut writes = Vec::new();
        let tells = effects.iter().any(|effect| matches!(effect, Effect::Notify { what, .. } if what.is_news()));
        let ends = meeting.state == State::Ended && before.state != State::Ended;
        if tells || ends || meeting.proposal != before.proposal {
            writes.push(notices::withdraw_write(meeting));
        }
        for effect in effects {
            match effect {
                Effect::Event(event) => writes.extend(self.event_writes(meeting, event, &targets, now_ms)),
                Effect::Revoke { uid } => writes.extend(store::revoke_writes(meeting, uid, now_ms)),
                Effect::Notify { who, what } => {
                    writes.extend(notices::writes(self, meeting, settings, *who, *what).await?);
                }
                Effect::Ring { .. } | Effect::HangUp | Effect::SetLimit { .. } => {}
            }
        }
        for role in Role::BOTH {
            let (old, new) = (before.party(role), meeting.party(role));
            if new != old {
                writes.push(store::user_write(&meeting.org, &meeting.app, new, now_ms));
            }
            if old.uid == new.uid && old.email.is_some() && new.email.is_none() {
                writes.push(store::forget_email_write(&meeting.org, &meeting.app, &new.uid));
            }
        }
        if ends {
            writes.push(store::forget_pins_write(meeting));
        }
        writes.push(jobs::write(meeting, settings));
        Ok(writes)
    }

    pub(super) fn event_writes(
        &self,
        meeting: &Meeting,
        event: &super::model::Event,
        targets: &[Target],
        now_ms: i64,
    ) -> Vec<Write> {
        let event = Event {
            id: self.kernel().ids.new("evt", now_ms),
            kind: event.kind.to_owned(),
            time_ms: now_ms,
            org: meeting.org.clone(),
            key: meeting.id.to_string(),
            seq: NEXT_SEQ,
            body: json!({ "data": event.data }),
        };
        Outbox::event_writes(&event, targets)
    }
}
