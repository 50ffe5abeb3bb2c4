//! What meetings keep of somebody who is known by a number: the meetings with that party, and what its application says
//! of the person.
//!
//! Invariant: a meeting that is not over is not erased; nobody is told the number or the PIN of anyone else. Page by page
//! in the order of ids.

use std::collections::BTreeSet;
use std::sync::Arc;

use calls::concerning::{Party, recordings_of};
use calls::erasure::{self, Erased};
use kernel::retention::{RowSweep, Sweep};
use kernel::time::rfc3339;
use kernel::{DbError, Kernel, Write, args};
use serde_json::{Value, json};

use super as store;
use crate::meetings::api::MeetingView;
use crate::meetings::model::{Meeting, Role, Settings, State};

/// Events of one meeting that are read at once.
const EVENTS: u32 = 500;

kernel::statements! {
    MEETINGS_OF = "select revision, body from meeting where org = $1 and id > $2 \
        and (caller_number in ($3, $4, $5) or receiver_number in ($3, $4, $5)) order by id limit 200";
    USERS_OF = "select app, uid, name, number, email, call_type from app_user \
        where org = $1 and number in ($2, $3, $4) order by app, uid limit 1000";
    ERASE_EVENTS = "delete from event where org = $1 and key = $2 and position not in \
        (select d.position from delivery d where d.org = $1 and d.key = $2 and d.state in ('fast', 'slow'))";
    ERASE_MEETING = "delete from meeting where org = $1 and id = $2 and ended_at is not null \
        and not exists (select 1 from event e where e.org = $1 and e.key = $3)";
    ERASE_TOKENS = "delete from meeting_party_token where org = $1 and meeting = $2";
    ERASE_LINKS = "delete from meeting_link where org = $1 and meeting = $2";
    ERASE_SESSIONS = "delete from party_session where org = $1 and meeting = $2";
    ERASE_USERS = "delete from app_user where org = $1 and number in ($2, $3, $4) and not exists \
        (select 1 from meeting m where m.org = app_user.org and m.app = app_user.app and m.ended_at is null \
        and (m.caller_uid = app_user.uid or m.receiver_uid = app_user.uid))";
    FORGET_MEETINGS = "delete from meeting where org = $1 and id in (select m.id from meeting m where m.org = $1 \
        and m.ended_at < $2 order by m.id limit 200)";
    FORGET_TOKENS = "delete from meeting_party_token where org = $1 and jti in (select t.jti from meeting_party_token t \
        where t.org = $1 and (t.expires_at < $2 or not exists \
        (select 1 from meeting m where m.org = t.org and m.id = t.meeting)) order by t.jti limit 200)";
    FORGET_LINKS = "delete from meeting_link where org = $1 and hash in (select l.hash from meeting_link l \
        where l.org = $1 and (l.expires_at < $2 or not exists \
        (select 1 from meeting m where m.org = l.org and m.id = l.meeting)) order by l.hash limit 200)";
    FORGET_SESSIONS = "delete from party_session where org = $1 and hash in (select s.hash from party_session s \
        where s.org = $1 and (s.expires_at < $2 or not exists \
        (select 1 from app_user u where u.org = s.org and u.app = s.app and u.uid = s.uid)) order by s.hash limit 200)";
    FORGET_USERS = "delete from app_user where org = $1 and app || '/' || uid in (select u.app || '/' || u.uid from app_user u \
        where u.org = $1 and u.updated_at < $2 and not exists (select 1 from meeting m where m.org = u.org and m.app = u.app \
        and (m.caller_uid = u.uid or m.receiver_uid = u.uid)) order by u.app, u.uid limit 200)";
}

/// What of meetings grows old, each after that on which it hangs: those that ended, people without a meeting, what
/// either held. A session is its person's: it stays with another meeting.
pub(crate) fn sweeps(kernel: &Kernel) -> Vec<Arc<dyn Sweep>> {
    let forgets = [FORGET_MEETINGS, FORGET_USERS, FORGET_TOKENS, FORGET_LINKS, FORGET_SESSIONS];
    forgets.map(|forget| Arc::new(RowSweep::new(kernel.clone(), "meetings", forget)) as _).into()
}

/// The meetings with a party, after an id (0 = from the first); the last page is an empty one.
pub(crate) async fn meetings_of(
    kernel: &Kernel,
    org: &str,
    party: &Party,
    after: i64,
) -> Result<Vec<Meeting>, DbError> {
    let mut wanted = args![org, after];
    wanted.extend(party.spellings());
    kernel.db.all(MEETINGS_OF, wanted).await?.iter().map(store::read).collect()
}

/// What applications say of the person with a number.
pub(crate) async fn users_of(kernel: &Kernel, org: &str, party: &Party) -> Result<Vec<Value>, DbError> {
    let mut wanted = args![org];
    wanted.extend(party.spellings());
    let rows = kernel.db.all(USERS_OF, wanted).await?;
    rows.iter()
        .map(|row| {
            Ok(json!({
                "application": row.text("app")?, "uid": row.text("uid")?, "name": row.text("name")?,
                "number": row.opt_text("number")?, "email": row.opt_text("email")?, "call_type": row.text("call_type")?,
            }))
        })
        .collect()
}

/// Where notices to the person with a number go: the number, and the mail addresses that applications know.
pub(crate) async fn recipients(kernel: &Kernel, org: &str, party: &Party) -> Result<BTreeSet<String>, DbError> {
    let mut wanted = args![org];
    wanted.extend(party.spellings());
    let rows = kernel.db.all(USERS_OF, wanted).await?;
    let emails = rows.iter().filter_map(|row| row.opt_text("email").transpose());
    emails.chain([Ok(party.as_str().to_owned())]).collect()
}

/// What the person was told, by mail or text message.
pub(crate) async fn notices_to(kernel: &Kernel, org: &str, party: &Party) -> Result<Vec<Value>, DbError> {
    let mut told = Vec::new();
    for recipient in recipients(kernel, org, party).await? {
        for notice in kernel.notices_to(org, &recipient).await? {
            told.push(json!({
                "to": notice.recipient, "subject": notice.subject, "text": notice.text_without_link("(link)"),
                "state": notice.state.as_str(), "created_at": rfc3339(notice.created_at),
            }));
        }
    }
    Ok(told)
}

/// A meeting as it is given to a party that it concerns, with its events and recordings.
pub(crate) async fn told(kernel: &Kernel, meeting: &Meeting, party: &Party) -> Result<Value, DbError> {
    let org = &meeting.org;
    let role = role_of(meeting, party);
    let mut recordings = Vec::new();
    for call in &meeting.calls {
        recordings.extend(recordings_of(kernel, org, call).await?);
    }
    let events = kernel.events.of_key(org, &meeting.id.to_string(), 0, EVENTS).await?;
    let mut events: Vec<Value> = events.iter().filter_map(|event| serde_json::from_str(&event.envelope).ok()).collect();
    for event in &mut events {
        // The other's uid and last digits are the other's.
        if let Some(data) = event.get_mut("data").and_then(Value::as_object_mut) {
            data.remove(role.other().as_str());
        }
    }
    let view = MeetingView::of(meeting, &Settings::default(), Some(role), kernel.clock.now_ms());
    Ok(json!({ "meeting": view, "events": events, "recordings": recordings, "calls": meeting.calls }))
}

fn role_of(meeting: &Meeting, party: &Party) -> Role {
    let is_caller = meeting.caller.number.as_deref().is_some_and(|number| Party::read(number) == *party);
    if is_caller { Role::Caller } else { Role::Receiver }
}

/// What was erased of meetings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gone {
    /// Meetings.
    pub(crate) meetings: u64,
    /// What their calls held.
    pub(crate) of_calls: Erased,
    /// Stays for now: meetings that are not over, or whose events a webhook has still to get.
    pub(crate) kept: u64,
}

/// Erases a page of the meetings with a party, from after `after`, which moves on; `None` when there are no more.
pub(crate) async fn erase_meetings(
    kernel: &Kernel,
    org: &str,
    party: &Party,
    after: &mut i64,
) -> Result<Option<Gone>, DbError> {
    let page = meetings_of(kernel, org, party, *after).await?;
    let Some(last) = page.last() else { return Ok(None) };
    *after = last.id;
    let mut gone = Gone::default();
    for meeting in page {
        if meeting.state != State::Ended {
            gone.kept += 1;
            continue;
        }
        gone.of_calls.add(erasure::erase_calls_of(kernel, org, &meeting.calls).await?);
        let key = meeting.id.to_string();
        let writes = vec![
            Write::new(ERASE_EVENTS, args![org, &key]),
            Write::new(ERASE_MEETING, args![org, meeting.id, &key]),
            Write::new(ERASE_TOKENS, args![org, meeting.id]),
            Write::new(ERASE_LINKS, args![org, meeting.id]),
            Write::new(ERASE_SESSIONS, args![org, meeting.id]),
        ];
        let counts = kernel.db.writer().commit(writes).await?;
        match counts.get(1) {
            Some(1) => gone.meetings += 1,
            _ => gone.kept += 1,
        }
    }
    Ok(Some(gone))
}

/// Erases what applications say of the person with a number, where no meeting is to come.
pub(crate) async fn erase_users(kernel: &Kernel, org: &str, party: &Party) -> Result<u64, DbError> {
    let mut wanted = args![org];
    wanted.extend(party.spellings());
    kernel.db.run(ERASE_USERS, wanted).await
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
