//! Teams: a number that rings several people.
//!
//! Invariant: a team's number comes from the same space as extensions; its members are extensions
//! of the same organisation.

use std::collections::HashSet;

use kernel::db::{DbError, Write};
use kernel::{Kernel, RecordError, args};

use crate::directory;
use crate::lines::{self, NUMBER_INSERT};

/// The one strategy there is: all members ring at once.
const RING_ALL: &str = "ring_all";
/// Most members of a team.
const MAX_MEMBERS: usize = 500;

kernel::statements! {
    /// Whether somebody has an extension.
    IS_EXTENSION = "select id from extension where org = $1 and number = $2";
    /// A team.
    TEAM_INSERT = "insert into team (id, org, number, name, strategy, created_at) values ($1, $2, $3, $4, $5, $6)";
    /// One of its members.
    MEMBER_INSERT = "insert into team_member (org, team, extension, position) values ($1, $2, $3, $4)";
    /// The teams of an organisation.
    TEAMS = "select id, number, name, strategy from team where org = $1 order by number limit 1000";
}

/// A team to be made.
#[derive(Clone, Debug, Default)]
pub struct NewTeam {
    /// Name for people.
    pub name: String,
    /// Its number inside the organisation.
    pub number: String,
    /// Absent = `ring_all`.
    pub strategy: Option<String>,
    /// Extensions.
    pub members: Vec<String>,
}

/// A team of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamRecord {
    /// `team_...`
    pub id: String,
    /// Its number.
    pub number: String,
    /// Its name.
    pub name: String,
    /// How its members are rung.
    pub strategy: String,
}

/// Makes a team; returns its id.
///
/// # Errors
/// A field that is refused or taken.
pub async fn create_team(kernel: &Kernel, org: &str, new: NewTeam) -> Result<String, RecordError> {
    let invalid = |field, message: String| Err(RecordError::Invalid { field, message });
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > 200 {
        return invalid("name", "a name has 1 to 200 characters".to_owned());
    }
    let strategy = new.strategy.as_deref().unwrap_or(RING_ALL);
    if strategy != RING_ALL {
        let message = format!("this version rings all members at once ({RING_ALL}); {strategy:?} is not known to it");
        return invalid("strategy", message);
    }
    lines::check_number(kernel, org, "number", &new.number).await?;
    if new.members.len() > MAX_MEMBERS {
        return invalid("member", format!("a team has at most {MAX_MEMBERS} members"));
    }
    let mut seen = HashSet::new();
    for member in &new.members {
        if !seen.insert(member) {
            return invalid("member", format!("{member} is named twice"));
        }
        if kernel.db.one(IS_EXTENSION, args![org, member]).await.map_err(RecordError::Db)?.is_none() {
            return Err(RecordError::NotFound { what: "extension", name: member.clone() });
        }
    }
    let now_ms = kernel.clock.now_ms();
    let id = kernel.ids.new("team", now_ms);
    let mut writes = vec![
        Write::new(NUMBER_INSERT, args![org, &new.number, "team", &id]),
        Write::new(TEAM_INSERT, args![&id, org, &new.number, name, strategy, now_ms]),
    ];
    let members = new.members.iter().zip(0i64..);
    writes.extend(members.map(|(member, position)| Write::new(MEMBER_INSERT, args![org, &id, member, position])));
    writes.push(directory::bump());
    kernel.db.writer().commit(writes).await.map_err(|error| match error {
        DbError::Duplicate(_) => RecordError::Taken { field: "number", value: new.number.clone() },
        other => RecordError::Db(other),
    })?;
    directory::changed(kernel);
    Ok(id)
}

/// The teams of an organisation, by number.
///
/// # Errors
/// What the store says.
pub async fn teams(kernel: &Kernel, org: &str) -> Result<Vec<TeamRecord>, DbError> {
    let rows = kernel.db.all(TEAMS, args![org]).await?;
    rows.iter()
        .map(|row| {
            Ok(TeamRecord {
                id: row.text("id")?,
                number: row.text("number")?,
                name: row.text("name")?,
                strategy: row.text("strategy")?,
            })
        })
        .collect()
}
