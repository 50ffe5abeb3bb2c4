//! All SQL of meetings: their rows, users of applications, PINs, and what a party holds (tokens, links).
//! Every statement names the organisation.
//!
//! Invariant: a meeting's columns are those of its body; both change in one guarded write, which counts the revision.

pub(crate) mod concerning;

use kernel::{Arg, Db, DbError, Row, Write, args};

use super::model::{CallType, Meeting, Party, Role, State};

/// Meetings of one person that are shown: of those that are not over the first ones to begin, of the others the last.
const MAX_AHEAD: i64 = 200;
/// See [`MAX_AHEAD`].
const MAX_PAST: i64 = 20;
/// Meetings that have ended among which that of a line is looked for.
const MAX_OF_LINE: i64 = 100;
/// Meetings looked at in one go at a start.
const PAGE: i64 = 500;

kernel::statements! {
    LAST_ID = "select value from counter where org = $1 and kind = 'meeting'";
    COUNT = "insert into counter (org, kind, value) values ($1, 'meeting', $2) on conflict (org, kind) do update \
        set value = case when counter.value < excluded.value then excluded.value else counter.value end";
    INSERT = "insert into meeting (org, id, app, order_id, caller_uid, receiver_uid, caller_number, receiver_number, \
        state, cause, starts_at, ends_at, ended_at, body, revision) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0)";
    UPDATE = "update meeting set caller_uid = $5, receiver_uid = $6, caller_number = $7, receiver_number = $8, \
        state = $9, cause = $10, starts_at = $11, ends_at = $12, ended_at = $13, body = $14, revision = revision + 1 \
        where org = $1 and id = $2 and app = $3 and order_id = $4 and revision = $15";
    ONE = "select revision, body from meeting where org = $1 and id = $2 and (app = $3 or $3 is null)";
    OF_ORDER = "select revision, body from meeting where org = $1 and app = $2 and order_id = $3 \
        and caller_uid = $4 and receiver_uid = $5 and state <> 'ended'";
    AHEAD_OF_PARTY = "select revision, body from meeting where org = $1 and app = $2 \
        and (caller_uid = $3 or receiver_uid = $3) and ended_at is null order by starts_at, id limit $4";
    AHEAD_OF = "select revision, body from meeting where org = $1 and app = $2 and ended_at is null and id > $3 \
        order by id limit $4";
    PAST_OF_PARTY = "select revision, body from meeting where org = $1 and app = $2 \
        and (caller_uid = $3 or receiver_uid = $3) and ended_at is not null order by starts_at desc, id desc limit $4";
    LAST_OF_LINE = "select revision, body from meeting where org = $1 and (caller_number = $2 or receiver_number = $2) \
        and ended_at > $3 order by ended_at desc limit $4";
    LIST = "select revision, body from meeting where org = $1 and (app = $2 or $2 is null) \
        and (state = $3 or $3 is null) and starts_at >= $4 and starts_at < $5 \
        and (caller_uid = $6 or receiver_uid = $6 or $6 is null) \
        and (starts_at > $7 or (starts_at = $7 and id > $8)) order by starts_at, id limit $9";
    IN_CALL = "select org, id from meeting where state in ('connecting', 'live') and (org > $1 or (org = $1 and id > $2)) \
        order by org, id limit $3";
    PIN_INSERT = "insert into meeting_pin (org, pin, meeting, role) select $1, $2, $3, $4 \
        where not exists (select 1 from meeting_pin where org = $1 and pin = $2)";
    PIN_ONE = "select meeting, role from meeting_pin where org = $1 and pin = $2";
    PIN_FORGET = "delete from meeting_pin where org = $1 and meeting = $2 and (role = $3 or $3 is null)";
    USER_SAVE = "insert into app_user (org, app, uid, name, number, email, call_type, updated_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (org, app, uid) do update set name = excluded.name, \
        number = excluded.number, email = coalesce(excluded.email, app_user.email), call_type = excluded.call_type, \
        updated_at = excluded.updated_at";
    USER_ONE = "select uid, name, number, email, call_type from app_user where org = $1 and app = $2 and uid = $3";
    USER_FORGET_EMAIL = "update app_user set email = null where org = $1 and app = $2 and uid = $3";
    REVOKE_TOKENS = "update meeting_party_token set revoked_at = $4 \
        where org = $1 and meeting = $2 and uid = $3 and revoked_at is null";
    REVOKE_LINKS = "delete from meeting_link where org = $1 and meeting = $2 and uid = $3";
}

/// Which meetings a list is to show.
#[derive(Clone, Debug, Default)]
pub struct MeetingFilter {
    /// In this state.
    pub state: Option<State>,
    /// That start at or after this, UTC milliseconds.
    pub from_ms: Option<i64>,
    /// That start before this, UTC milliseconds.
    pub to_ms: Option<i64>,
    /// With this person as either party, as the application knows it.
    pub uid: Option<String>,
    /// After this one: its start in UTC milliseconds and its id.
    pub after: Option<(i64, i64)>,
}

/// Some meetings in the order of their start.
#[derive(Clone, Debug, Default)]
pub struct MeetingPage {
    /// The meetings.
    pub meetings: Vec<Meeting>,
    /// For [`MeetingFilter::after`], if there may be more.
    pub next: Option<(i64, i64)>,
}

/// The greatest id that was given out.
pub(super) async fn last_id(db: &Db, org: &str) -> Result<i64, DbError> {
    db.one(LAST_ID, args![org]).await?.map_or(Ok(0), |row| row.int("value"))
}

/// A meeting; of another application than `app` it is none.
pub(super) async fn meeting(db: &Db, org: &str, app: Option<&str>, id: i64) -> Result<Option<Meeting>, DbError> {
    db.one(ONE, args![org, id, app]).await?.as_ref().map(read).transpose()
}

/// The meeting of an order between two people that is not over.
pub(super) async fn of_order(
    db: &Db,
    org: &str,
    app: &str,
    order_id: &str,
    uids: [&str; 2],
) -> Result<Option<Meeting>, DbError> {
    let [caller, receiver] = uids;
    db.one(OF_ORDER, args![org, app, order_id, caller, receiver]).await?.as_ref().map(read).transpose()
}

/// The meetings of a person: the next ones that are not over, the earliest start first, then the last ones that are, the
/// latest start first.
pub(super) async fn of_party(db: &Db, org: &str, app: &str, uid: &str) -> Result<Vec<Meeting>, DbError> {
    let ahead = db.all(AHEAD_OF_PARTY, args![org, app, uid, MAX_AHEAD]).await?;
    let past = db.all(PAST_OF_PARTY, args![org, app, uid, MAX_PAST]).await?;
    ahead.iter().chain(&past).map(read).collect()
}

/// A page of an application's meetings that are not over, in the order of their ids, from after one.
pub(super) async fn ahead_of(db: &Db, org: &str, app: &str, after: i64) -> Result<Vec<Meeting>, DbError> {
    db.all(AHEAD_OF, args![org, app, after, PAGE]).await?.iter().map(read).collect()
}

/// The meetings that ended after a time and that a line belongs to, the last first.
pub(super) async fn last_of_line(db: &Db, org: &str, number: &str, since_ms: i64) -> Result<Vec<Meeting>, DbError> {
    db.all(LAST_OF_LINE, args![org, number, since_ms, MAX_OF_LINE]).await?.iter().map(read).collect()
}

/// A page of meetings; `app` none = of every application.
pub(super) async fn list(
    db: &Db,
    org: &str,
    app: Option<&str>,
    filter: &MeetingFilter,
    limit: i64,
) -> Result<MeetingPage, DbError> {
    let (after_start, after_id) = filter.after.unwrap_or((i64::MIN, i64::MIN));
    let args = args![
        org,
        app,
        filter.state.map(State::as_str),
        filter.from_ms.unwrap_or(i64::MIN),
        filter.to_ms.unwrap_or(i64::MAX),
        filter.uid.as_deref(),
        after_start,
        after_id,
        limit
    ];
    let meetings: Vec<Meeting> = db.all(LIST, args).await?.iter().map(read).collect::<Result<_, _>>()?;
    let is_full = usize::try_from(limit).is_ok_and(|limit| meetings.len() == limit);
    let next = meetings.last().filter(|_| is_full).map(|last| (last.starts_ms, last.id));
    Ok(MeetingPage { meetings, next })
}

/// Organisation and id of meetings with a call, in their order after one.
pub(super) async fn in_call(db: &Db, after: &(String, i64)) -> Result<Vec<(String, i64)>, DbError> {
    let rows = db.all(IN_CALL, args![&after.0, after.1, PAGE]).await?;
    rows.iter().map(|row| Ok((row.text("org")?, row.int("id")?))).collect()
}

/// Whose PIN it is: the meeting and which of the two.
pub(super) async fn by_pin(db: &Db, org: &str, pin: &str) -> Result<Option<(i64, Role)>, DbError> {
    let Some(row) = db.one(PIN_ONE, args![org, pin]).await? else { return Ok(None) };
    let id = row.int("meeting")?;
    Ok(Role::parse(&row.text("role")?).map(|role| (id, role)))
}

/// A row with `revision` and `body`.
pub(super) fn read(row: &Row) -> Result<Meeting, DbError> {
    let mut meeting: Meeting = row.json("body")?;
    meeting.revision = row.int("revision")?;
    Ok(meeting)
}

/// The rows of a new meeting: itself, the counter, its PINs.
pub(super) fn insert_writes(meeting: &Meeting) -> Vec<Write> {
    let mut writes = vec![Write::new(COUNT, args![&meeting.org, meeting.id]), Write::new(INSERT, columns(meeting))];
    writes.extend(Role::BOTH.map(|role| pin_write(meeting, role)));
    writes
}

/// A party's PIN; the commit fails with a conflict when another meeting has it.
pub(super) fn pin_write(meeting: &Meeting, role: Role) -> Write {
    Write::guarded(PIN_INSERT, args![&meeting.org, meeting.pins.of(role), meeting.id, role.as_str()])
}

/// A party's PIN means nothing any more.
pub(super) fn forget_pin_write(meeting: &Meeting, role: Role) -> Write {
    Write::new(PIN_FORGET, args![&meeting.org, meeting.id, Some(role.as_str())])
}

/// The meeting as it is now, if it still is the one of its `revision`.
pub(super) fn update_write(meeting: &Meeting) -> Write {
    let mut args = columns(meeting);
    args.push(meeting.revision.into());
    Write::guarded(UPDATE, args)
}

fn columns(meeting: &Meeting) -> Vec<Arg> {
    let body = serde_json::to_value(meeting).unwrap_or_default();
    args![
        &meeting.org,
        meeting.id,
        &meeting.app,
        &meeting.order_id,
        &meeting.caller.uid,
        &meeting.receiver.uid,
        meeting.caller.number.as_deref(),
        meeting.receiver.number.as_deref(),
        meeting.state.as_str(),
        meeting.cause.map(|cause| cause.as_str()),
        meeting.starts_ms,
        meeting.ends_ms,
        meeting.ended_ms,
        &body
    ]
}

/// The PINs of a meeting that is over mean nothing any more.
pub(super) fn forget_pins_write(meeting: &Meeting) -> Write {
    Write::new(PIN_FORGET, args![&meeting.org, meeting.id, None::<&str>])
}

/// What an application says of a person counts for its later meetings; a mail address stays when none is given.
pub(super) fn user_write(org: &str, app: &str, party: &Party, now_ms: i64) -> Write {
    let Party { uid, name, number, email, call_type } = party;
    let args = args![org, app, uid, name, number.as_deref(), email.as_deref(), call_type.as_str(), now_ms];
    Write::new(USER_SAVE, args)
}

/// A person whose mail address was taken away has none at later meetings either.
pub(super) fn forget_email_write(org: &str, app: &str, uid: &str) -> Write {
    Write::new(USER_FORGET_EMAIL, args![org, app, uid])
}

/// A person as the application described them last.
pub(super) async fn person(db: &Db, org: &str, app: &str, uid: &str) -> Result<Option<Party>, DbError> {
    let Some(row) = db.one(USER_ONE, args![org, app, uid]).await? else { return Ok(None) };
    let number = row.opt_text("number")?;
    let unsaid = if number.is_some() { CallType::Phone } else { CallType::Browser };
    Ok(Some(Party {
        uid: row.text("uid")?,
        name: row.text("name")?,
        call_type: CallType::parse(&row.text("call_type")?).unwrap_or(unsaid),
        email: row.opt_text("email")?,
        number,
    }))
}

/// What a person could come in with by a meeting is void. Whoever is signed in stays so: there may be other meetings, and
/// that this one was called off is seen on the page.
pub(super) fn revoke_writes(meeting: &Meeting, uid: &str, now_ms: i64) -> [Write; 2] {
    let (org, id) = (&meeting.org, meeting.id);
    [Write::new(REVOKE_TOKENS, args![org, id, uid, now_ms]), Write::new(REVOKE_LINKS, args![org, id, uid])]
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn every_statement_can_be_prepared() {
        for test in kernel::db::testing::TestDb::each().await {
            assert_eq!(test.unpreparable(&[super::ALL]).await, Vec::<String>::new());
        }
    }
}
