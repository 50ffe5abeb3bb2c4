//! Takes orders: a new meeting, or the one of the same order and the same two, changed.
//!
//! Invariant: an order that was answered is durable with everything that follows from it, and of one order between two
//! people there is one meeting that is not over.

use kernel::DbError;

use super::desk::Which;
use super::error::MeetingError;
use super::model::{Change, Input, Meeting, NewMeeting, Party, PartyChange, Refused, Settings};
use super::pool::Pair;
use super::{Meetings, pool, store};

/// How often an order is tried again whose id, PIN or place somebody else took in the same moment.
const MAX_TRIES: usize = 8;

/// What an application posts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// As the application knows it.
    pub order_id: String,
    /// Who ordered.
    pub caller: Party,
    /// Who is called.
    pub receiver: Party,
    /// UTC milliseconds; may lie in the past. None = now, and of an order that is known already: as it is.
    pub starts_ms: Option<i64>,
    /// The longest talk, milliseconds.
    pub duration_ms: i64,
}

/// A meeting that was ordered.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled {
    /// As it stands now.
    pub meeting: Meeting,
    /// What its application should know: `no_number_pool`, `pool_exhausted`, `pool_unusable`.
    pub warnings: Vec<&'static str>,
    /// Whether the order was new; else its meeting was changed.
    pub is_new: bool,
}

impl Meetings {
    /// Takes an order of an application. The meeting, its events, its job and its notices are durable when this returns.
    ///
    /// # Errors
    /// [`MeetingError`].
    pub async fn schedule(&self, org: &str, app: &str, order: Order) -> Result<Scheduled, MeetingError> {
        let settings = self.settings(org, app).await?;
        for tries in 0..MAX_TRIES {
            let uids = [order.caller.uid.as_str(), order.receiver.uid.as_str()];
            let known = store::of_order(&self.kernel().db, org, app, &order.order_id, uids).await?;
            let done = match known {
                Some(meeting) => self.order_again(&settings, &meeting, order.clone()).await,
                None => self.order_new(&settings, org, app, order.clone(), tries).await,
            };
            match done {
                Err(MeetingError::Taken) => self.forget_last_id(org),
                Err(error) if error.is_conflict() => {}
                // Ended in the same moment.
                Err(MeetingError::Refused(Refused::Ended)) => {}
                done => return done,
            }
        }
        Err(MeetingError::Busy)
    }

    async fn order_again(&self, settings: &Settings, known: &Meeting, order: Order) -> Result<Scheduled, MeetingError> {
        let Order { caller, receiver, starts_ms, duration_ms, .. } = order;
        let change = Change {
            caller: PartyChange::said_again(caller),
            receiver: PartyChange::said_again(receiver),
            starts_ms,
            duration_ms: Some(duration_ms),
        };
        let which = Which { org: known.org.as_str().into(), app: Some(known.app.as_str().into()), id: known.id };
        let changed = self.apply(&which, Input::Change(Box::new(change))).await;
        if let Err(MeetingError::Refused(Refused::Ended)) = &changed {
            // Its time is over, and nobody has written so yet.
            self.apply(&which, Input::Due).await?;
        }
        let meeting = changed?.meeting();
        let warnings = pool::warnings_of(&meeting, settings);
        Ok(Scheduled { meeting, warnings, is_new: false })
    }

    async fn order_new(
        &self,
        settings: &Settings,
        org: &str,
        app: &str,
        order: Order,
        tries: usize,
    ) -> Result<Scheduled, MeetingError> {
        let now_ms = self.now_ms();
        let Order { order_id, caller, receiver, starts_ms, duration_ms } = order;
        let (caller, receiver) = (self.with_email(org, app, caller).await?, self.with_email(org, app, receiver).await?);
        let id = self.next_id(org).await?;
        let ends_ms = starts_ms.unwrap_or(now_ms).max(now_ms).saturating_add(duration_ms);
        let pair = Pair { id, ends_ms, parties: [&caller, &receiver] };
        let choice = self.choose_number(org, settings, pair, tries).await?;
        let new = NewMeeting {
            id,
            org: org.to_owned(),
            app: app.to_owned(),
            order_id,
            caller,
            receiver,
            starts_ms: starts_ms.unwrap_or(now_ms),
            duration_ms,
            pins: self.new_pins(),
            dial_in: choice.dial_in,
            call_back: choice.call_back,
        };
        let (meeting, effects) = Meeting::schedule(new, settings, now_ms);
        let mut writes = store::insert_writes(&meeting);
        writes.extend(choice.writes);
        for role in super::model::Role::BOTH {
            writes.push(store::user_write(org, app, meeting.party(role), now_ms));
        }
        writes.extend(self.following(&meeting, &meeting, &effects, settings).await?);
        self.commit(writes).await?;
        Ok(Scheduled { warnings: pool::warnings_of(&meeting, settings), meeting, is_new: true })
    }

    /// A person without a mail address has the one that the application told before.
    async fn with_email(&self, org: &str, app: &str, party: Party) -> Result<Party, DbError> {
        if party.email.is_some() {
            return Ok(party);
        }
        let known = store::person(&self.kernel().db, org, app, &party.uid).await?;
        Ok(Party { email: known.and_then(|known| known.email), ..party })
    }

    /// The next id of an organisation's meetings, from memory mostly; the store's key guards it.
    async fn next_id(&self, org: &str) -> Result<i64, DbError> {
        let known = self.last_ids().get(org).copied();
        let stored = match known {
            Some(last) => last,
            None => store::last_id(&self.kernel().db, org).await?,
        };
        let mut last_ids = self.last_ids();
        let last = last_ids.entry(org.to_owned()).or_insert(stored);
        *last += 1;
        Ok(*last)
    }

    /// Somebody else has taken ids: what is remembered of them is out of date.
    fn forget_last_id(&self, org: &str) {
        self.last_ids().remove(org);
    }
}
