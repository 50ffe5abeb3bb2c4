//! Public numbers of an organisation and what each reaches.
//!
//! Invariant: a number bound to a person or team is bound to one that exists.

use kernel::db::{DbError, Row, Write};
use kernel::{Kernel, RecordError, args};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::directory::{self, Bound};
use crate::numbers;

kernel::statements! {
    /// A number is bound, or bound anew.
    SAVE = "insert into number (org, e164, kind, target, created_at) values ($1, $2, $3, $4, $5)
        on conflict (org, e164) do update set kind = excluded.kind, target = excluded.target";
    /// A number is given up.
    REMOVE = "delete from number where org = $1 and e164 = $2";
    /// The numbers of an organisation.
    LIST = "select e164, kind, target from number where org = $1 order by e164 limit 5000";
    /// One of them.
    ONE = "select e164, kind, target from number where org = $1 and e164 = $2";
    /// Whether somebody has a number inside the organisation.
    INSIDE_KIND = "select kind from voice_number where org = $1 and number = $2";
}

/// A public number, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NumberView {
    /// With `+`.
    pub number: String,
    /// `flow:ID`, `person:1001`, `team:5263` or `meetings`.
    pub to: String,
}

impl Bound {
    /// Reads `flow:ID`, `person:1001`, `team:5263` or `meetings`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => directory::bound(text, String::new()).filter(|bound| *bound == Self::Meetings),
            Some(("meetings", _)) => None,
            Some((kind, target)) if !target.is_empty() => directory::bound(kind, target.to_owned()),
            Some(_) => None,
        }
    }

    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Flow(id) => ("flow", id),
            Self::Person(number) => ("person", number),
            Self::Team(number) => ("team", number),
            Self::Meetings => ("meetings", ""),
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.parts() {
            (kind, "") => f.write_str(kind),
            (kind, target) => write!(f, "{kind}:{target}"),
        }
    }
}

/// Binds a public number, new or known, to what it reaches. Whether a flow of that id exists is for
/// the flows desk to say.
///
/// # Errors
/// A field that is refused, or a person or team that does not exist.
pub async fn bind_number(kernel: &Kernel, org: &str, number: &str, to: &Bound) -> Result<NumberView, RecordError> {
    let e164 = numbers::public(number).ok_or_else(|| RecordError::Invalid {
        field: "number",
        message: format!("{number:?} is no public number: write it with its country code, such as +442071838750"),
    })?;
    let (kind, target) = to.parts();
    if let Bound::Person(inside) | Bound::Team(inside) = to {
        let row = kernel.db.one(INSIDE_KIND, args![org, inside]).await.map_err(RecordError::Db)?;
        let found = row.map(|row| row.text("kind")).transpose().map_err(RecordError::Db)?;
        if found.as_deref() != Some(kind) {
            return Err(RecordError::NotFound { what: kind, name: inside.clone() });
        }
    }
    let now_ms = kernel.clock.now_ms();
    let writes = vec![Write::new(SAVE, args![org, &e164, kind, target, now_ms]), directory::bump()];
    kernel.db.writer().commit(writes).await.map_err(RecordError::Db)?;
    directory::changed(kernel);
    Ok(NumberView { number: e164, to: to.to_string() })
}

/// Gives a public number up; false when the organisation has none such.
///
/// # Errors
/// What the store says.
pub async fn release_number(kernel: &Kernel, org: &str, number: &str) -> Result<bool, DbError> {
    let Some(e164) = numbers::public(number) else { return Ok(false) };
    let writes = vec![Write::new(REMOVE, args![org, e164]), directory::bump()];
    let rows = kernel.db.writer().commit(writes).await?;
    directory::changed(kernel);
    Ok(rows.first().is_some_and(|rows| *rows > 0))
}

/// The public numbers of an organisation.
///
/// # Errors
/// What the store says.
pub async fn public_numbers(kernel: &Kernel, org: &str) -> Result<Vec<NumberView>, DbError> {
    kernel.db.all(LIST, args![org]).await?.iter().map(view).collect()
}

/// One public number of an organisation.
///
/// # Errors
/// What the store says.
pub async fn public_number(kernel: &Kernel, org: &str, number: &str) -> Result<Option<NumberView>, DbError> {
    let Some(e164) = numbers::public(number) else { return Ok(None) };
    kernel.db.one(ONE, args![org, e164]).await?.as_ref().map(view).transpose()
}

fn view(row: &Row) -> Result<NumberView, DbError> {
    let (kind, target) = (row.text("kind")?, row.text("target")?);
    let to = if target.is_empty() { kind } else { format!("{kind}:{target}") };
    Ok(NumberView { number: row.text("e164")?, to })
}
