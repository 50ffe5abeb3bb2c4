//! Teams: a number that rings several people, or lets callers wait for them.
//!
//! Invariant: a team's number comes from the same space as extensions; its members are extensions
//! of the same organisation.

use std::collections::HashSet;

use kernel::db::{DbError, Row, Write};
use kernel::{Kernel, RecordError, args};
use serde::Serialize;
use utoipa::ToSchema;

use crate::directory;
use crate::lines::{self, NUMBER_INSERT};
use crate::queue::TeamStrategy;

/// Most members of a team.
const MAX_MEMBERS: usize = 500;
/// Longest name, in characters.
const MAX_NAME: usize = 200;
/// Longest wrap-up, in seconds.
const MAX_WRAP_UP_S: i64 = 3_600;
/// Shortest and longest ringing for one offer, and what it is when nobody says, in seconds.
const RING_S: std::ops::RangeInclusive<i64> = 5..=300;
/// How long an offer rings when nobody says otherwise, in seconds.
pub const USUAL_RING_S: i64 = 20;

kernel::statements! {
    /// Whether somebody has an extension.
    IS_EXTENSION = "select id from extension where org = $1 and number = $2";
    /// A team.
    TEAM_INSERT = "insert into team (id, org, number, name, strategy, wrap_up_s, ring_s, announce_position, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    /// It changes.
    TEAM_UPDATE = "update team set name = $3, strategy = $4, wrap_up_s = $5, ring_s = $6, announce_position = $7 where org = $1 and id = $2";
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
    TEAMS = "select id, number, name, strategy, wrap_up_s, ring_s, announce_position from team where org = $1 order by number limit 1000";
    /// One team.
    TEAM_BY_ID = "select id, number, name, strategy, wrap_up_s, ring_s, announce_position from team where org = $1 and id = $2";
    /// The members of all teams.
    ALL_MEMBERS = "select team, extension from team_member where org = $1 order by team, position limit 100000";
    /// The members of a team.
    MEMBERS = "select extension from team_member where org = $1 and team = $2 order by position limit 500";
}

/// A team to be made.
#[derive(Clone, Debug, Default)]
pub struct NewTeam {
    /// Name for people.
    pub name: String,
    /// Its number inside the organisation.
    pub number: String,
    /// `ring_all` (when absent), `longest_idle` or `round_robin`.
    pub strategy: Option<String>,
    /// How long a member writes up a call, in seconds; 0 when absent.
    pub wrap_up_s: Option<i64>,
    /// How long a member's phones ring for one offer, in seconds.
    pub ring_s: Option<i64>,
    /// Whether whoever dials it and waits is told where he stands; when a new team does not say, he is.
    pub announce_position: Option<bool>,
    /// Extensions.
    pub members: Vec<String>,
}

/// What shall change of a team; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct TeamChange {
    /// Name for people.
    pub name: Option<String>,
    /// `ring_all`, `longest_idle` or `round_robin`.
    pub strategy: Option<String>,
    /// How long a member writes up a call, in seconds.
    pub wrap_up_s: Option<i64>,
    /// How long a member's phones ring for one offer, in seconds.
    pub ring_s: Option<i64>,
    /// Whether whoever dials it and waits is told where he stands; when a new team does not say, he is.
    pub announce_position: Option<bool>,
    /// Extensions: all of them.
    pub members: Option<Vec<String>>,
}

/// A team of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TeamRecord {
    /// `team_...`
    pub id: String,
    /// Its number.
    pub number: String,
    /// Its name.
    pub name: String,
    /// In what order its members are offered calls.
    pub strategy: TeamStrategy,
    /// How long a member writes up a call, in seconds.
    pub wrap_up_s: i64,
    /// How long a member's phones ring for one offer, in seconds.
    pub ring_s: i64,
    /// Whether whoever dials it and waits is told where he stands.
    pub announce_position: bool,
    /// Extensions, in their order.
    pub members: Vec<String>,
}

impl TeamRecord {
    fn read(row: &Row, members: Vec<String>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.text("id")?,
            number: row.text("number")?,
            name: row.text("name")?,
            strategy: TeamStrategy::parse(&row.text("strategy")?).unwrap_or_default(),
            wrap_up_s: row.int("wrap_up_s")?,
            ring_s: row.int("ring_s")?,
            announce_position: row.bool("announce_position")?,
            members,
        })
    }

    /// Takes a change in; says what is wrong with it.
    fn change(&mut self, change: TeamChange) -> Result<(), RecordError> {
        let invalid = |field, message: String| Err(RecordError::Invalid { field, message });
        if let Some(name) = change.name {
            let name = name.trim();
            if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
                return invalid("name", format!("a name has 1 to {MAX_NAME} characters in one line"));
            }
            name.clone_into(&mut self.name);
        }
        if let Some(word) = change.strategy {
            let Some(strategy) = TeamStrategy::parse(&word) else {
                return invalid("strategy", format!("ring_all, longest_idle or round_robin, not {word:?}"));
            };
            self.strategy = strategy;
        }
        if let Some(seconds) = change.wrap_up_s {
            if !(0..=MAX_WRAP_UP_S).contains(&seconds) {
                return invalid("wrap_up_s", format!("0 to {MAX_WRAP_UP_S} seconds"));
            }
            self.wrap_up_s = seconds;
        }
        if let Some(seconds) = change.ring_s {
            if !RING_S.contains(&seconds) {
                return invalid("ring_s", format!("{} to {} seconds", RING_S.start(), RING_S.end()));
            }
            self.ring_s = seconds;
        }
        self.announce_position = change.announce_position.unwrap_or(self.announce_position);
        if let Some(members) = change.members {
            self.members = members;
        }
        Ok(())
    }

    fn member_writes(&self, org: &str) -> impl Iterator<Item = Write> {
        let rows = self.members.iter().zip(0i64..);
        rows.map(move |(member, position)| Write::new(MEMBER_INSERT, args![org, &self.id, member, position]))
    }
}

/// Makes a team.
///
/// # Errors
/// A field that is refused or taken.
pub async fn create_team(kernel: &Kernel, org: &str, new: NewTeam) -> Result<TeamRecord, RecordError> {
    let NewTeam { name, number, strategy, wrap_up_s, ring_s, announce_position, members } = new;
    let now_ms = kernel.clock.now_ms();
    let mut team = TeamRecord {
        id: kernel.ids.new("team", now_ms),
        number,
        name: String::new(),
        strategy: TeamStrategy::default(),
        wrap_up_s: 0,
        ring_s: USUAL_RING_S,
        announce_position: true,
        members: Vec::new(),
    };
    let said = TeamChange { name: Some(name), strategy, wrap_up_s, ring_s, announce_position, members: Some(members) };
    team.change(said)?;
    lines::check_number(kernel, org, "number", &team.number).await?;
    check_members(kernel, org, &team.members).await?;
    let TeamRecord { id, number, name, strategy, wrap_up_s, ring_s, announce_position, .. } = &team;
    let row = args![id, org, number, name, strategy.as_str(), *wrap_up_s, *ring_s, *announce_position, now_ms];
    let mut writes = vec![Write::new(NUMBER_INSERT, args![org, number, "team", id]), Write::new(TEAM_INSERT, row)];
    writes.extend(team.member_writes(org));
    writes.push(directory::bump());
    kernel.db.writer().commit(writes).await.map_err(|error| match error {
        DbError::Duplicate(_) => RecordError::Taken { field: "number", value: team.number.clone() },
        other => RecordError::Db(other),
    })?;
    directory::changed(kernel);
    Ok(team)
}

/// Changes a team.
///
/// # Errors
/// A field that is refused, or no such team.
pub async fn change_team(kernel: &Kernel, org: &str, id: &str, change: TeamChange) -> Result<TeamRecord, RecordError> {
    let team = team(kernel, org, id).await.map_err(RecordError::Db)?;
    let mut team = team.ok_or_else(|| RecordError::NotFound { what: "team", name: id.to_owned() })?;
    let new_members = change.members.is_some();
    team.change(change)?;
    let strategy = team.strategy.as_str();
    let row = args![org, &team.id, &team.name, strategy, team.wrap_up_s, team.ring_s, team.announce_position];
    let mut writes = vec![Write::new(TEAM_UPDATE, row)];
    if new_members {
        check_members(kernel, org, &team.members).await?;
        writes.push(Write::new(MEMBERS_DELETE, args![org, &team.id]));
        writes.extend(team.member_writes(org));
    }
    writes.push(directory::bump());
    kernel.db.writer().commit(writes).await.map_err(RecordError::Db)?;
    directory::changed(kernel);
    Ok(team)
}

async fn check_members(kernel: &Kernel, org: &str, members: &[String]) -> Result<(), RecordError> {
    let invalid = |message: String| Err(RecordError::Invalid { field: "members", message });
    if members.len() > MAX_MEMBERS {
        return invalid(format!("a team has at most {MAX_MEMBERS} members"));
    }
    let mut seen = HashSet::new();
    for member in members {
        if !seen.insert(member) {
            return invalid(format!("{member} is named twice"));
        }
        if kernel.db.one(IS_EXTENSION, args![org, member]).await.map_err(RecordError::Db)?.is_none() {
            return Err(RecordError::NotFound { what: "extension", name: member.clone() });
        }
    }
    Ok(())
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
    let mut teams: Vec<TeamRecord> =
        rows.iter().map(|row| TeamRecord::read(row, Vec::new())).collect::<Result<_, _>>()?;
    for row in kernel.db.all(ALL_MEMBERS, args![org]).await? {
        let (team, extension) = (row.text("team")?, row.text("extension")?);
        if let Some(team) = teams.iter_mut().find(|known| known.id == team) {
            team.members.push(extension);
        }
    }
    Ok(teams)
}

/// One team of an organisation.
///
/// # Errors
/// What the store says.
pub async fn team(kernel: &Kernel, org: &str, id: &str) -> Result<Option<TeamRecord>, DbError> {
    let Some(row) = kernel.db.one(TEAM_BY_ID, args![org, id]).await? else { return Ok(None) };
    let members = kernel.db.all(MEMBERS, args![org, id]).await?;
    let members = members.iter().map(|row| row.text("extension")).collect::<Result<_, _>>()?;
    Ok(Some(TeamRecord::read(&row, members)?))
}
