//! What people say of themselves, as it outlives the server: rows of `person_state`.
//!
//! Invariant: a person without a row takes calls.

use std::collections::HashMap;
use std::sync::Arc;

use kernel::args;
use kernel::db::{Db, DbError, Write};

use super::agent::{Availability, PersonState};

kernel::statements! {
    /// What the people of an organisation say.
    STATES = "select person, availability, wrap_up_until_at, since_at from person_state where org = $1 limit 100000";
    /// What one of them says now; what was said since stays.
    KEEP = "insert into person_state (org, person, availability, wrap_up_until_at, since_at) values ($1, $2, $3, $4, $5)
        on conflict (org, person) do update set
            availability = excluded.availability, wrap_up_until_at = excluded.wrap_up_until_at, since_at = excluded.since_at
        where person_state.since_at <= excluded.since_at";
}

/// What the people of an organisation say.
pub(super) async fn states(db: &Db, org: &str) -> Result<HashMap<Arc<str>, PersonState>, DbError> {
    let rows = db.all(STATES, args![org]).await?;
    rows.iter()
        .map(|row| {
            let said = PersonState {
                availability: Availability::of(&row.text("availability")?),
                wrap_up_until_ms: row.int("wrap_up_until_at")?,
                since_ms: row.int("since_at")?,
            };
            Ok((row.text("person")?.into(), said))
        })
        .collect()
}

pub(super) fn keep(org: &str, person: &str, said: &PersonState) -> Write {
    let availability = said.availability.as_str();
    Write::new(KEEP, args![org, person, availability, said.wrap_up_until_ms, said.since_ms])
}
