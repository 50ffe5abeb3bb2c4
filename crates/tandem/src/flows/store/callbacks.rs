//! SQL of callbacks that were booked.

use kernel::{Arg, Db, DbError, Row, Write, args};

use crate::flows::{due::State, machine::Booking};

kernel::statements! {
    CALLBACK_INSERT = "insert into callback (id, org, run, step, call, wall_date, wall_time, zone, asap, entity, customer, \
        ring_order, attempts, state, due_at, moved, created_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'scheduled', $14, $9, $15) \
        on conflict (run, step) do nothing";
    CALLBACK_ONE = "select id, org, run, step, call, wall_date, wall_time, zone, asap, entity, customer, ring_order, \
        attempts, attempt, state, due_at, moved, last_call from callback where org = $1 and id = $2";
    CALLBACK_AHEAD = "select id, org, run, step, call, wall_date, wall_time, zone, asap, entity, customer, ring_order, \
        attempts, attempt, state, due_at, moved, last_call from callback \
        where id > $1 and state = 'scheduled' and moved = $2 and due_at > $3 order by id limit $4";
    CALLBACK_OPEN = "select id from callback where org = $1 and run = $2 and ended_at is null limit 1";
    CALLBACK_MOVE = "update callback set due_at = $3, moved = $4, state = 'scheduled' where org = $1 and id = $2";
    CALLBACK_CALLING = "update callback set state = 'calling', attempt = $3, last_call = $4 where org = $1 and id = $2";
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
    })
}

impl Callback {
    /// It is due at another time.
    #[must_use]
    pub fn moved_write(&self, due_ms: i64, moved: bool) -> Write {
        Write::new(CALLBACK_MOVE, self.args([due_ms.into(), moved.into()]))
    }

    /// An attempt begins on this call.
    #[must_use]
    pub fn calling_write(&self, attempt: i64, call: &str) -> Write {
        Write::new(CALLBACK_CALLING, self.args([attempt.into(), call.into()]))
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

    fn args<const N: usize>(&self, rest: [Arg; N]) -> Vec<Arg> {
        let mut args = args![&self.org, &self.id];
        args.extend(rest);
        args
    }
}
