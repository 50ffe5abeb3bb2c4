//! The SQL of who takes chats, which rooms wait, and tags. Every statement names the organisation but those of the
//! server's own chores.

pub(super) mod replies;
pub(super) mod search;
pub(super) mod times;

use std::collections::HashMap;

use kernel::{Db, DbError, Write, args};

use super::moves::Line;
use crate::chat::access;
use crate::chat::model::{Id, Room, Sender};

/// Rooms that wait and are looked at in one go; the others wait behind them.
const MAX_WAITING: i64 = 1_000;
/// People of an organisation who take chats.
const MAX_AGENTS: i64 = 1_000;
/// Tags of an organisation that are listed.
const MAX_TAGS: i64 = 1_000;

kernel::statements! {
    /// A chore: whose rooms are to be given away, or to be taken from somebody who has left.
    STAFFED = "select org from chat_agent union select org from chat_room where state = 'open' and assignee is not null \
        limit 100000";
    /// A chore: where somebody has ever taken chats.
    TAKING = "select distinct org from chat_agent limit 100000";
    // Somebody of the installation's administrators has no role: it may do everything.
    ANSWERING = "select r.assignee, p.role, p.disabled_at, a.id as administrator from (select distinct assignee \
        from chat_room where org = $1 and state = 'open' and assignee is not null) r \
        left join person p on p.org = $1 and p.id = r.assignee left join administrator a on a.id = r.assignee";
    ROOMS_OF = "select id from chat_room where org = $1 and assignee = $2 and state = 'open' and assignee is not null \
        order by id limit $3";
    AGENTS = "select person, state, capacity, idle_at, revision from chat_agent where org = $1 order by person limit $2";
    AGENT = "select person, state, capacity, idle_at, revision from chat_agent where org = $1 and person = $2";
    PUT_AGENT = "insert into chat_agent (org, person, state, capacity, idle_at, revision) values ($1, $2, $3, $4, $5, 0) \
        on conflict (org, person) do update set state = excluded.state, capacity = excluded.capacity, \
        idle_at = case when chat_agent.state = excluded.state then chat_agent.idle_at else excluded.idle_at end, \
        revision = chat_agent.revision + 1";
    OCCUPY = "update chat_agent set idle_at = $4, revision = revision + 1 \
        where org = $1 and person = $2 and revision = $3 and state = 'available'";
    IDLE = "update chat_agent set idle_at = $3, revision = revision + 1 where org = $1 and person = $2";
    LOADS = "select assignee, count(*) as rooms from chat_room \
        where org = $1 and state = 'open' and assignee is not null group by assignee";
    WAITING = "select r.id, r.app, r.team, r.revision, w.since_at, w.not_for, (select m.created_at from chat_message m \
        where m.org = r.org and m.room = r.id and m.sender = 'visitor:' || r.visitor order by m.seq limit 1) as asked_at \
        from chat_room r left join chat_wait w on w.org = r.org and w.room = r.id \
        where r.org = $1 and r.state = 'open' and r.assignee is null and r.seq_head > 0 and (w.room is null or not w.held) \
        and exists (select 1 from chat_message m where m.org = r.org and m.room = r.id \
        and m.sender = 'visitor:' || r.visitor) order by r.created_at, r.id limit $2";
    // Who came back to a room that was left waiting waits from its first word on: the later of both.
    LINES = "select x.team, count(*) as rooms, min(case when x.since_at > x.asked_at then x.since_at else x.asked_at end) \
        as since_at from (select r.team, w.since_at, (select m.created_at from chat_message m where m.org = r.org \
        and m.room = r.id and m.sender = 'visitor:' || r.visitor order by m.seq limit 1) as asked_at \
        from chat_room r left join chat_wait w on w.org = r.org and w.room = r.id \
        where r.org = $1 and r.state = 'open' and r.assignee is null and r.seq_head > 0 and (w.room is null or not w.held) \
        and (r.app = $2 or $2 is null)) x where x.asked_at is not null group by x.team";
    PUT_WAIT = "insert into chat_wait (org, room, since_at, not_for, held) values ($1, $2, $3, $4, $5) \
        on conflict (org, room) do update set since_at = excluded.since_at, not_for = excluded.not_for, \
        held = excluded.held";
    TAGS = "select tag from chat_tag where org = $1 and room = $2 order by tag limit 1000";
    ALL_TAGS = "select tag, count(*) as rooms from chat_tag where org = $1 group by tag order by tag limit $2";
    TAGS_OF_APP = "select t.tag, count(*) as rooms from chat_tag t join chat_room r on r.org = t.org and r.id = t.room \
        where t.org = $1 and r.app = $2 group by t.tag order by t.tag limit $3";
    // Nothing of a room that is being erased stays behind it.
    PUT_TAG = "insert into chat_tag (org, room, tag) select cast($1 as text), cast($2 as text), cast($3 as text) \
        where exists (select 1 from chat_room r where r.org = $1 and r.id = $2) on conflict do nothing";
    TAKE_TAGS = "delete from chat_tag where org = $1 and room = $2";
    VISIT = "select page, user_agent, locale from chat_visit where org = $1 and room = $2";
    PUT_VISIT = "insert into chat_visit (org, room, page, user_agent, locale) select cast($1 as text), cast($2 as text), \
        cast($3 as text), cast($4 as text), cast($5 as text) \
        where exists (select 1 from chat_room r where r.org = $1 and r.id = $2) on conflict (org, room) do update set page = excluded.page, user_agent = excluded.user_agent, \
        locale = excluded.locale";
    FORGET_WAIT = "delete from chat_wait where org = $1 and room = $2";
    FORGET_VISIT = "delete from chat_visit where org = $1 and room = $2";
    FORGET_WORDS = "delete from chat_search where org = $1 and room = $2";
}

/// What somebody says of taking chats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AgentRow {
    pub(super) person: Id,
    pub(super) is_available: bool,
    pub(super) capacity: u32,
    pub(super) idle_since_ms: i64,
    pub(super) revision: i64,
}

/// A room that nobody answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WaitingRow {
    pub(super) room: Id,
    pub(super) app: Id,
    pub(super) team: Option<Id>,
    pub(super) since_ms: i64,
    pub(super) not_for: Option<Id>,
}

/// The organisations in which somebody has taken chats, or has one.
pub(super) async fn staffed(db: &Db) -> Result<Vec<Id>, DbError> {
    db.all(STAFFED, args![]).await?.iter().map(|row| Ok(row.text("org")?.into())).collect()
}

/// The organisations in which rooms have places.
pub(super) async fn taking(db: &Db) -> Result<Vec<Id>, DbError> {
    db.all(TAKING, args![]).await?.iter().map(|row| Ok(row.text("org")?.into())).collect()
}

fn read_agent(row: &kernel::Row) -> Result<AgentRow, DbError> {
    Ok(AgentRow {
        person: row.text("person")?.into(),
        is_available: row.text("state")? == super::agents::AVAILABLE,
        capacity: u32::try_from(row.int("capacity")?).unwrap_or_default(),
        idle_since_ms: row.int("idle_at")?,
        revision: row.int("revision")?,
    })
}

/// Those of an organisation who ever said whether they take chats.
pub(super) async fn agents(db: &Db, org: &str) -> Result<Vec<AgentRow>, DbError> {
    db.all(AGENTS, args![org, MAX_AGENTS]).await?.iter().map(read_agent).collect()
}

pub(super) async fn agent(db: &Db, org: &str, person: &str) -> Result<Option<AgentRow>, DbError> {
    db.one(AGENT, args![org, person]).await?.as_ref().map(read_agent).transpose()
}

pub(super) fn put_agent_write(org: &str, person: &str, state: &str, capacity: u32, now_ms: i64) -> Write {
    Write::new(PUT_AGENT, args![org, person, state, capacity, now_ms])
}

/// A room is given to somebody, who must be as it was when it was chosen.
pub(super) fn occupy_write(org: &str, person: &str, revision: i64, now_ms: i64) -> Write {
    Write::guarded(OCCUPY, args![org, person, revision, now_ms])
}

/// Those who have open rooms and may not answer visitors any more.
pub(super) async fn who_left(db: &Db, org: &str) -> Result<Vec<Id>, DbError> {
    let mut left = Vec::new();
    for row in db.all(ANSWERING, args![org]).await? {
        let role = row.opt_text("role")?.and_then(|role| role.parse().ok());
        let is_there = role.is_some_and(access::answers) && row.opt_int("disabled_at")?.is_none();
        if !is_there && row.opt_text("administrator")?.is_none() {
            left.push(row.text("assignee")?.into());
        }
    }
    Ok(left)
}

/// Some of the open rooms that somebody has.
pub(super) async fn rooms_of(db: &Db, org: &str, person: &str) -> Result<Vec<Id>, DbError> {
    let rows = db.all(ROOMS_OF, args![org, person, MAX_WAITING]).await?;
    rows.iter().map(|row| Ok(row.text("id")?.into())).collect()
}

/// How many open rooms each person has.
pub(super) async fn loads(db: &Db, org: &str) -> Result<HashMap<Id, u32>, DbError> {
    let rows = db.all(LOADS, args![org]).await?;
    rows.iter()
        .map(|row| Ok((row.text("assignee")?.into(), u32::try_from(row.int("rooms")?).unwrap_or(u32::MAX))))
        .collect()
}

/// The rooms that wait.
pub(super) async fn waiting(db: &Db, org: &str) -> Result<Vec<WaitingRow>, DbError> {
    let mut waiting = Vec::new();
    for row in db.all(WAITING, args![org, MAX_WAITING]).await? {
        // In which the visitor has said nothing there is nothing to answer.
        let Some(asked_ms) = row.opt_int("asked_at")? else { continue };
        waiting.push(WaitingRow {
            room: row.text("id")?.into(),
            app: row.text("app")?.into(),
            team: row.opt_text("team")?.map(Into::into),
            // Who writes long after a flow has left the room waits from then on.
            since_ms: row.opt_int("since_at")?.map_or(asked_ms, |since_ms| since_ms.max(asked_ms)),
            not_for: row.opt_text("not_for")?.map(Into::into),
        });
    }
    Ok(waiting)
}

/// The rooms that wait, team by team, of one application or of all.
pub(super) async fn lines(db: &Db, org: &str, app: Option<&Id>) -> Result<Vec<Line>, DbError> {
    let rows = db.all(LINES, args![org, app.map(|app| &**app)]).await?;
    let mut lines = Vec::with_capacity(rows.len());
    for row in &rows {
        lines.push(Line {
            team: row.opt_text("team")?.map(Into::into),
            rooms: row.int("rooms")?,
            oldest_ms: row.int("since_at")?,
        });
    }
    lines.sort_by(|a, b| a.team.cmp(&b.team));
    Ok(lines)
}

pub(super) fn wait_write(org: &str, room: &str, since_ms: i64, not_for: Option<&str>, is_held: bool) -> Write {
    Write::new(PUT_WAIT, args![org, room, since_ms, not_for, is_held])
}

/// What follows for the queue when a room has changed.
pub(super) fn change_writes(before: &Room, after: &Room, by: &Sender, now_ms: i64) -> Vec<Write> {
    let mut writes = Vec::new();
    let did_wait = before.is_open() && before.assignee.is_none();
    let does_wait = after.is_open() && after.assignee.is_none();
    if does_wait && (!did_wait || before.team != after.team) {
        let is_own = |person: &&Id| before.is_open() && matches!(by, Sender::Person(id) if id == *person);
        let not_for = before.assignee.as_ref().filter(is_own).map(|person| &**person);
        writes.push(wait_write(&after.org, &after.id, now_ms, not_for, false));
    }
    let has = |room: &Room| room.assignee.clone().filter(|_| room.is_open());
    let (had, has) = (has(before), has(after));
    // What the desk gives away itself is noted with the person's revision ([`occupy_write`]).
    if had != has && *by != Sender::System {
        let idle = |person: Id| Write::new(IDLE, args![&after.org, &person, now_ms]);
        writes.extend([had, has].into_iter().flatten().map(idle));
    }
    writes
}

/// The tags of a room.
pub(super) async fn tags(db: &Db, org: &str, room: &str) -> Result<Vec<String>, DbError> {
    db.all(TAGS, args![org, room]).await?.iter().map(|row| row.text("tag")).collect()
}

/// The tags of an organisation, or of one application's rooms, and how many rooms have each.
pub(super) async fn all_tags(db: &Db, org: &str, app: Option<&Id>) -> Result<Vec<(String, i64)>, DbError> {
    let rows = match app {
        Some(app) => db.all(TAGS_OF_APP, args![org, app, MAX_TAGS]).await?,
        None => db.all(ALL_TAGS, args![org, MAX_TAGS]).await?,
    };
    rows.iter().map(|row| Ok((row.text("tag")?, row.int("rooms")?))).collect()
}

pub(super) fn put_tag_write(org: &str, room: &str, tag: &str) -> Write {
    Write::new(PUT_TAG, args![org, room, tag])
}

/// The tags of a room, all of them.
pub(super) fn tag_writes(org: &str, room: &str, tags: &[String]) -> Vec<Write> {
    let mut writes = vec![Write::new(TAKE_TAGS, args![org, room])];
    writes.extend(tags.iter().map(|tag| put_tag_write(org, room, tag)));
    writes
}

/// From where a visitor opened a room: page, browser, language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::chat) struct Visit {
    pub(in crate::chat) page: Option<String>,
    pub(in crate::chat) user_agent: Option<String>,
    pub(in crate::chat) locale: Option<String>,
}

pub(super) async fn visit(db: &Db, org: &str, room: &str) -> Result<Visit, DbError> {
    let Some(row) = db.one(VISIT, args![org, room]).await? else { return Ok(Visit::default()) };
    let text = |column| row.opt_text(column);
    Ok(Visit { page: text("page")?, user_agent: text("user_agent")?, locale: text("locale")? })
}

pub(super) fn visit_write(org: &str, room: &str, visit: &Visit) -> Write {
    let text = |text: &Option<String>| text.clone();
    Write::new(PUT_VISIT, args![org, room, text(&visit.page), text(&visit.user_agent), text(&visit.locale)])
}

/// Nothing of the inbox is left of a room.
pub(super) fn forget_writes(org: &str, room: &str) -> Vec<Write> {
    let forget = [TAKE_TAGS, FORGET_WAIT, FORGET_VISIT, FORGET_WORDS];
    forget.into_iter().map(|sql| Write::new(sql, args![org, room])).collect()
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn every_statement_can_be_prepared() {
        for test in kernel::db::testing::TestDb::each().await {
            let stores = [super::ALL, super::replies::ALL, super::search::ALL, super::times::ALL];
            assert_eq!(test.unpreparable(&stores).await, Vec::<String>::new());
            test.db.prepare(super::search::MATCHING.of(&test.db)).await.unwrap();
        }
    }
}
