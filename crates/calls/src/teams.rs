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
    /// A public number that leads to a team.
    LEADS_HERE = "select n.e164 from number n join team t on t.org = n.org and t.number = n.target
        where n.org = $1 and n.kind = 'team' and t.id = $2 order by n.e164 limit 1";
    /// A team is given up: its members, its number, itself.
    MEMBERS_DELETE = "delete from team_member where org = $1 and team = $2";
    NUMBER_DELETE = "delete from voice_number where org = $1 and kind = 'team' and target = $2";
    TEAM_DELETE = "delete from team where org = $1 and id = $2";
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

/// Gives a team up, and its number with it; false when the organisation has none such.
///
/// # Errors
/// [`RecordError::Invalid`] while a public number leads to it.
pub async fn remove_team(kernel: &Kernel, org: &str, id: &str) -> Result<bool, RecordError> {
    if let Some(row) = kernel.db.one(LEADS_HERE, args![org, id]).await? {
        let message = format!("{} leads to it: remove or rebind that number first", row.text("e164")?);
        return Err(RecordError::Invalid { field: "team", message });
    }
    let mut writes = [MEMBERS_DELETE, NUMBER_DELETE, TEAM_DELETE].map(|sql| Write::new(sql, args![org, id])).to_vec();
    writes.push(directory::bump());
    let rows = kernel.db.writer().commit(writes).await?;
    directory::changed(kernel);
    Ok(rows.get(2).is_some_and(|rows| *rows > 0))
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
