//! SQL of callbacks that were booked.

use kernel::{Arg, Db, DbError, Row, Write, args};

use super::AFTER_ALL;
use crate::flows::{due::State, machine::Booking};

kernel::statements! {
    CALLBACK_INSERT = "insert into callback (id, org, run, step, call, wall_date, wall_time, zone, asap, entity, customer, \
        ring_order, attempts, state, due_at, moved, created_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'scheduled', $14, $9, $15) \
        on conflict (run, step) do nothing";
    CALLBACK_ONE = "select id, org, run, step, call, wall_date, wall_time, zone, asap, entity, customer, ring_order, \
        attempts, attempt, state, due_at, moved, last_call, reason, created_at, ended_at from callback where org = $1 and id = $2";
    CALLBACK_AHEAD = "select id, org, run, step, call, wall_date, wall_time, zone, asap, entity, customer, ring_order, \
        attempts, attempt, state, due_at, moved, last_call, reason, created_at, ended_at from callback \
        where id > $1 and state = 'scheduled' and moved = $2 and due_at > $3 order by id limit $4";
    CALLBACK_LIST = "select id, org, run, step, call, wall_date, wall_time, zone, asap, entity, customer, ring_order, \
        attempts, attempt, state, due_at, moved, last_call, reason, created_at, ended_at from callback \
        where org = $1 and id < $2 and (state = $3 or $3 is null) and (ended_at is null or $4) order by id desc limit $5";
    CALLBACK_COMING = "select id, org, run, step, call, wall_date, wall_time, zone, asap, entity, customer, ring_order, \
        attempts, attempt, state, due_at, moved, last_call, reason, created_at, ended_at from callback \
        where org = $1 and ended_at is null order by due_at, id limit $2";
    CALLBACK_OPEN = "select id from callback where org = $1 and run = $2 and ended_at is null limit 1";
    CALLBACK_MOVE = "update callback set due_at = $3, moved = $4, state = 'scheduled' where org = $1 and id = $2 \
        and ended_at is null";
    CALLBACK_CALLING = "update callback set state = 'calling', attempt = $3, last_call = $4 where org = $1 and id = $2 \
        and ended_at is null";
    CALLBACK_CANCEL = "update callback set state = 'missed', reason = $3, ended_at = $4 where org = $1 and id = $2 \
        and ended_at is null and state <> 'connected'";
    CALLBACK_STATE = "update callback set state = $3 where org = $1 and id = $2 and ended_at is null";
    CALLBACK_END = "update callback set state = $3, reason = $4, ended_at = $5 where org = $1 and id = $2 and ended_at is null";
}

/// A booked callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// `cb_...`
    pub id: String,
    /// The organisation.
    pub org: String,
    /// The run that booked it.
    pub run: String,
    /// The call that booked it.
    pub call: String,
    /// Date, time and zone as written.
    pub wall: (String, String, String),
    /// The number of a person or team.
    pub entity: String,
    /// The customer's number.
    pub customer: String,
    /// `entity_first` or `customer_first`.
    pub order: String,
    /// Attempts in all.
    pub attempts: i64,
    /// Attempts so far.
    pub attempt: i64,
    /// How far it is.
    pub state: State,
    /// UTC, milliseconds.
    pub due_ms: i64,
    /// Whether `due_ms` is no longer the wall time's.
    pub moved: bool,
    /// The call of the newest attempt.
    pub last_call: String,
    /// Why it ended; empty before.
    pub reason: String,
    /// When it was booked, UTC, milliseconds.
    pub created_ms: i64,
    /// When it ended, UTC, milliseconds.
    pub ended_ms: Option<i64>,
}

/// Which callbacks a list shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct CallbackFilter<'a> {
    /// In this state alone.
    pub state: Option<State>,
    /// Only those that are not over.
    pub open: bool,
    /// Booked before this one; the newest without.
    pub before: Option<&'a str>,
}

/// Which run books a callback.
#[derive(Debug, Clone, Copy)]
pub struct Booker<'a> {
    /// The organisation.
    pub org: &'a str,
    /// The run.
    pub run: &'a str,
    /// Its call.
    pub call: &'a str,
}

/// The row of a new callback; a second one of the same run and step changes nothing.
#[must_use]
pub fn callback_write(by: Booker<'_>, id: &str, booking: &Booking, now_ms: i64) -> Write {
    // Taken apart by name: a field that is forgotten here does not compile.
    let Booking { step, date, time, zone, due, asap, entity, customer, order, attempts } = booking;
    Write::new(
        CALLBACK_INSERT,
        args![
            id,
            by.org,
            by.run,
            step,
            by.call,
            date,
            time,
            zone,
            *asap,
            entity,
            customer,
            order.as_str(),
            i64::from(*attempts),
            due.at_ms,
            now_ms
        ],
    )
}

/// A callback.
///
/// # Errors
/// What the store says.
pub async fn callback(db: &Db, org: &str, id: &str) -> Result<Option<Callback>, DbError> {
    db.one(CALLBACK_ONE, args![org, id]).await?.as_ref().map(read_callback).transpose()
}

/// Callbacks of an organisation, the one that was booked last first.
///
/// # Errors
/// What the store says.
pub async fn callbacks(db: &Db, org: &str, filter: CallbackFilter<'_>, limit: i64) -> Result<Vec<Callback>, DbError> {
    let CallbackFilter { state, open, before } = filter;
    let state = state.map(|state| state.as_str().to_owned());
    let args = args![org, before.unwrap_or(AFTER_ALL), state, !open, limit];
    db.all(CALLBACK_LIST, args).await?.iter().map(read_callback).collect()
}

/// Callbacks of an organisation that are not over, the one that is due first first.
///
/// # Errors
/// What the store says.
pub async fn callbacks_coming(db: &Db, org: &str, limit: i64) -> Result<Vec<Callback>, DbError> {
    db.all(CALLBACK_COMING, args![org, limit]).await?.iter().map(read_callback).collect()
}

/// Callbacks of every organisation that wait for a wall time after `now_ms`, in the order of their ids after `after`.
///
/// # Errors
/// What the store says.
pub async fn callbacks_ahead(db: &Db, after: &str, now_ms: i64, limit: i64) -> Result<Vec<Callback>, DbError> {
    db.all(CALLBACK_AHEAD, args![after, false, now_ms, limit]).await?.iter().map(read_callback).collect()
}

/// Whether a callback that a run booked is not over yet.
///
/// # Errors
/// What the store says.
pub async fn has_open_callback(db: &Db, org: &str, run: &str) -> Result<bool, DbError> {
    Ok(db.one(CALLBACK_OPEN, args![org, run]).await?.is_some())
}

fn read_callback(row: &Row) -> Result<Callback, DbError> {
    let state = row.text("state")?;
    Ok(Callback {
        id: row.text("id")?,
        org: row.text("org")?,
        run: row.text("run")?,
        call: row.text("call")?,
        wall: (row.text("wall_date")?, row.text("wall_time")?, row.text("zone")?),
        entity: row.text("entity")?,
        customer: row.text("customer")?,
        order: row.text("ring_order")?,
        attempts: row.int("attempts")?,
        attempt: row.int("attempt")?,
        // A word that this release does not know is not dialled again.
        state: State::parse(&state).unwrap_or(State::Missed),
        due_ms: row.int("due_at")?,
        moved: row.bool("moved")?,
        last_call: row.text("last_call")?,
        reason: row.text("reason")?,
        created_ms: row.int("created_at")?,
        ended_ms: row.opt_int("ended_at")?,
    })
}

impl Callback {
    /// It is due at another time.
    #[must_use]
    pub fn moved_write(&self, due_ms: i64, moved: bool) -> Write {
        Write::new(CALLBACK_MOVE, self.args([due_ms.into(), moved.into()]))
    }

    /// An attempt begins on this call. Guarded: none begins of one that is over.
    #[must_use]
    pub fn calling_write(&self, attempt: i64, call: &str) -> Write {
        Write::guarded(CALLBACK_CALLING, self.args([attempt.into(), call.into()]))
    }

    /// It got further.
    #[must_use]
    pub fn state_write(&self, state: State) -> Write {
        Write::new(CALLBACK_STATE, self.args([state.as_str().into()]))
    }

    /// It is over. Guarded: it ends once.
    #[must_use]
    pub fn end_write(&self, state: State, reason: &str, now_ms: i64) -> Write {
        Write::guarded(CALLBACK_END, self.args([state.as_str().into(), reason.into(), now_ms.into()]))
    }

    /// It is called off. Guarded: it ends once, and never while the two talk.
    #[must_use]
    pub fn cancel_write(&self, reason: &str, now_ms: i64) -> Write {
        Write::guarded(CALLBACK_CANCEL, self.args([reason.into(), now_ms.into()]))
    }

    fn args<const N: usize>(&self, rest: [Arg; N]) -> Vec<Arg> {
        let mut args = args![&self.org, &self.id];
        args.extend(rest);
        args
    }
}
