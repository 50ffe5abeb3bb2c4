//! What chats keep of somebody outside, and what of it grows old: visitors, their rooms, and all that stands in those.
//!
//! Invariant: a room goes with everything in it, and last, so that what is left for now (an event that a webhook has
//! still to get, a file that could not be deleted) is found by the same visitor again. Page by page, in the order of ids.

use std::sync::Arc;

use calls::erasure;
use futures_util::future::BoxFuture;
use kernel::files::Shelf;
use kernel::notice::erase_notices_about_write;
use kernel::push::{forget_push_owner_writes, forget_push_topic_write};
use kernel::retention::{OVER, RowSweep, Sweep};
use kernel::time::rfc3339;
use kernel::{DbError, Kernel, Write, args};
use serde_json::{Value, json};

use super::flow::{END_LEFT, RELEASE_LEFT};
use super::{marks, messages, notes_after, read_room};
use crate::chat::calling;
use crate::chat::inbox;
use crate::chat::model::{Id, Mark, Room, Visitor};
use crate::chat::view::{MessageView, NoteView, RoomView};
use crate::chat::visit::{attachments::file_path, mail_about};

/// Rooms looked at in one go.
const PORTION: i64 = 200;
/// Messages of one room that are read at once.
const MESSAGES: i64 = 500;
/// Events of one room that are read at once.
const EVENTS: u32 = if cfg!(test) { 3 } else { 500 };
/// Attachments of one room that are looked at in one go.
const FILES: i64 = 200;

kernel::statements! {
    VISITORS_OF = "select id, app, user_id, verified, name, email from chat_visitor \
        where org = $1 and id > $2 and (id = $3 or user_id = $3 or email = $3) order by id limit $4";
    ROOMS_OF = "select r.id, r.app, r.product, r.user_id, r.label, r.portfolio, r.event_id, r.is_login, r.state, r.visitor, \
        r.assignee, r.team, r.seq_head, r.created_at, r.last_at, r.closed_at, r.revision, cast(null as text) as last_body \
        from chat_room r where r.org = $1 and r.visitor = $2 and r.id > $3 order by r.id limit $4";
    OLD_ROOMS = "select id from chat_room where org = $1 and last_at < $2 and id > $3 order by id limit $4";
    ERASE_MESSAGES = "delete from chat_message where org = $1 and room = $2 and seq in \
        (select m.seq from chat_message m where m.org = $1 and m.room = $2 order by m.seq limit $3)";
    ERASE_NOTES = "delete from chat_note where org = $1 and room = $2";
    ERASE_FLOW = "delete from chat_flow where org = $1 and room = $2";
    // What the flow knew, it knew from the visitor.
    ERASE_RUNS = "delete from flow_run where org = $1 and room = $2";
    ERASE_RECEIPTS = "delete from chat_receipt where org = $1 and room = $2";
    ERASE_EVENTS = "delete from event where org = $1 and key = $2 and position not in \
        (select d.position from delivery d where d.org = $1 and d.key = $2 and d.state in ('fast', 'slow'))";
    FILES_OF = "select id, sender, name, media_type, size, state, created_at from chat_file \
        where org = $1 and room = $2 and id > $3 order by id limit $4";
    ERASE_FILE = "delete from chat_file where org = $1 and id = $2";
    RATING_OF = "select score, comment, created_at from chat_rating where org = $1 and room = $2";
    ERASE_RATING = "delete from chat_rating where org = $1 and room = $2";
    FORGET_QR = "update chat_qr set room = null where org = $1 and room = $2 and room is not null";
    ERASE_ROOM = "delete from chat_room where org = $1 and id = $2 and not exists \
        (select 1 from event e where e.org = $1 and e.key = $2) and not exists \
        (select 1 from chat_message m where m.org = $1 and m.room = $2) and not exists \
        (select 1 from chat_file f where f.org = $1 and f.room = $2)";
    CLOSE_ROOM = "update chat_room set state = 'closed', closed_at = coalesce(closed_at, $3), open_key = null, \
        revision = revision + 1 where org = $1 and id = $2";
    // A claim repeats its condition: whoever wrote meanwhile has an acknowledgement.
    CLOSE_OLD_ROOM = "update chat_room set state = 'closed', closed_at = coalesce(closed_at, $3), open_key = null, \
        revision = revision + 1 where org = $1 and id = $2 and last_at < $4";
    ERASE_TOKENS = "delete from chat_visitor_token where org = $1 and visitor = $2";
    ERASE_VISITOR = "delete from chat_visitor where org = $1 and id = $2 and not exists \
        (select 1 from chat_room r where r.org = $1 and r.visitor = $2) and not exists \
        (select 1 from event e where e.org = $1 and e.key = $2)";
    FORGET_TOKENS = "delete from chat_visitor_token where org = $1 and hash in (select t.hash from chat_visitor_token t \
        where t.org = $1 and t.expires_at < $2 order by t.hash limit 200)";
    FORGET_VISITORS_EVENTS = "delete from event where org = $1 and key in (select v.id from chat_visitor v \
        where v.org = $1 and v.seen_at < $2 and not exists (select 1 from chat_room r where r.org = v.org \
        and r.visitor = v.id) and not exists (select 1 from chat_visitor_token t where t.org = v.org \
        and t.visitor = v.id) and exists (select 1 from event e where e.org = v.org and e.key = v.id) \
        order by v.id limit 200) and position not in \
        (select d.position from delivery d where d.org = $1 and d.state in ('fast', 'slow'))";
    FORGET_VISITORS = "delete from chat_visitor where org = $1 and id in (select v.id from chat_visitor v \
        where v.org = $1 and v.seen_at < $2 and not exists (select 1 from chat_room r where r.org = v.org \
        and r.visitor = v.id) and not exists (select 1 from chat_visitor_token t where t.org = v.org \
        and t.visitor = v.id) and not exists (select 1 from event e where e.org = v.org and e.key = v.id) \
        order by v.id limit 200)";
}

/// What of chats grows old: rooms that nobody wrote in, visitors that have none, with what happened to them; and what is
/// over of itself: tokens, and flows that wait for nobody any more.
pub(crate) fn sweeps(kernel: &Kernel) -> Vec<Arc<dyn Sweep>> {
    let rows = |kind, forget| Arc::new(RowSweep::new(kernel.clone(), kind, forget)) as _;
    let over = [FORGET_TOKENS, RELEASE_LEFT, END_LEFT].map(|forget| rows(OVER, forget));
    let visitors = [FORGET_VISITORS_EVENTS, FORGET_VISITORS].map(|forget| rows(OldRooms::KIND, forget));
    over.into_iter().chain([Arc::new(OldRooms(kernel.clone())) as _]).chain(visitors).collect()
}

/// Rooms that nobody wrote in for so long.
struct OldRooms(Kernel);

impl OldRooms {
    /// As `retention_days` names it.
    const KIND: &str = "chats";
}

impl Sweep for OldRooms {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn sweep<'a>(&'a self, org: &'a str, before_ms: i64) -> BoxFuture<'a, Result<u64, DbError>> {
        Box::pin(async move {
            let (mut after, mut gone) = (String::new(), 0);
            loop {
                let page = self.0.db.all(OLD_ROOMS, args![org, before_ms, &after, PORTION]).await?;
                let Some(last) = page.last() else { return Ok(gone) };
                after = last.text("id")?;
                for room in &page {
                    gone += u64::from(erase_old_room(&self.0, org, &room.text("id")?, before_ms).await?);
                }
            }
        })
    }
}

/// The visitors that somebody is known as, by `who`: a mail address, a `user_id` or a visitor's own id. After an id
/// (`""` = from the first).
pub(crate) async fn visitors_of(kernel: &Kernel, org: &Id, who: &str, after: &str) -> Result<Vec<Visitor>, DbError> {
    let rows = kernel.db.all(VISITORS_OF, args![org, after, who.trim(), PORTION]).await?;
    rows.iter().map(|row| super::visitors::read(org.clone(), row)).collect()
}

/// The rooms of a visitor, after an id.
pub(crate) async fn rooms_of(kernel: &Kernel, org: &Id, visitor: &str, after: &str) -> Result<Vec<Room>, DbError> {
    let rows = kernel.db.all(ROOMS_OF, args![org, visitor, after, PORTION]).await?;
    rows.iter().map(|row| read_room(org, row)).collect()
}

/// What is told of a visitor, without its rooms; of the browsers that are told of answers, since when.
pub(crate) async fn told_of_visitor(kernel: &Kernel, visitor: &Visitor) -> Result<Value, DbError> {
    let browsers = kernel.push_browsers(&visitor.org, &visitor.id).await?;
    let browsers: Vec<String> = browsers.into_iter().map(rfc3339).collect();
    Ok(json!({
        "visitor": &*visitor.id, "application": &*visitor.app, "user_id": visitor.user_id,
        "verified": visitor.verified, "name": visitor.name, "email": visitor.email, "browsers": browsers,
    }))
}

/// A room as it is given to its visitor: what was said, what was noted, what happened.
pub(crate) async fn told_of_room(kernel: &Kernel, room: &Room) -> Result<Value, DbError> {
    let mut said = Vec::new();
    let mut after = 0;
    loop {
        let page = messages(&kernel.db, &room.org, &room.id, after, MESSAGES).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        said.extend(page.iter().map(|message| serde_json::to_value(MessageView::from(message)).unwrap_or_default()));
    }
    let mut noted: Vec<NoteView> = Vec::new();
    loop {
        let after = noted.last().map(|note| note.id.clone()).unwrap_or_default();
        let page = notes_after(&kernel.db, &room.org, &room.id, &after).await?;
        if page.is_empty() {
            break;
        }
        noted.extend(page.iter().map(NoteView::from));
    }
    let visit = inbox::visit(&kernel.db, &room.org, &room.id).await?;
    let marks = marks(&kernel.db, &room.org, &room.id).await?;
    let reached = |mark: Mark| json!({ "delivered": mark.delivered_seq, "read": mark.read_seq });
    let rating = kernel.db.one(RATING_OF, args![&room.org, &room.id]).await?;
    let rating = rating.map(|row| {
        let at = rfc3339(row.int("created_at")?);
        Ok::<_, DbError>(json!({ "score": row.int("score")?, "comment": row.text("comment")?, "at": at }))
    });
    Ok(json!({
        "room": RoomView::from(room), "messages": said, "notes": noted, "events": events_of(kernel, room).await?,
        "tags": inbox::tags(&kernel.db, &room.org, &room.id).await?, "calls": calls_of(kernel, room).await?,
        "visit": { "page": visit.page, "user_agent": visit.user_agent, "locale": visit.locale },
        "files": files_of(kernel, room).await?, "rating": rating.transpose()?, "mails": mails_of(kernel, room).await?,
        "marks": { "visitor": reached(marks.visitor), "support": reached(marks.support) },
    }))
}

/// What happened in a room, oldest first.
async fn events_of(kernel: &Kernel, room: &Room) -> Result<Vec<Value>, DbError> {
    let (mut told, mut after) = (Vec::new(), 0);
    loop {
        let page = kernel.events.of_key(&room.org, &room.id, after, EVENTS).await?;
        let Some(last) = page.last() else { return Ok(told) };
        after = last.seq;
        told.extend(page.iter().filter_map(|event| serde_json::from_str::<Value>(&event.envelope).ok()));
    }
}

/// The calls of a room, each with an address that opens its recording for 24 hours.
async fn calls_of(kernel: &Kernel, room: &Room) -> Result<Vec<Value>, DbError> {
    let now_ms = kernel.clock.now_ms();
    let calls = calling::store::all_of_room(&kernel.db, &room.org, &room.id).await?;
    let told = calls.iter().map(|call| {
        let path = call.landed().map(calls::records::recording_path);
        let url = path.map(|path| calls::records::signed_url(kernel, &path, now_ms));
        json!({ "call": call.view(), "recording_url": url })
    });
    Ok(told.collect())
}

/// The attachments of a room, each with an address that opens it for 24 hours.
async fn files_of(kernel: &Kernel, room: &Room) -> Result<Vec<Value>, DbError> {
    let now_ms = kernel.clock.now_ms();
    let (mut told, mut after) = (Vec::new(), String::new());
    loop {
        let page = kernel.db.all(FILES_OF, args![&room.org, &room.id, &after, FILES]).await?;
        let Some(last) = page.last() else { return Ok(told) };
        after = last.text("id")?;
        for file in page.iter() {
            let (id, state) = (file.text("id")?, file.text("state")?);
            let url = (state == "stored").then(|| calls::records::signed_url(kernel, &file_path(&id), now_ms));
            told.push(json!({
                "id": id, "sender": file.text("sender")?, "name": file.text("name")?, "state": state, "url": url,
                "type": file.text("media_type")?, "size": file.int("size")?, "at": rfc3339(file.int("created_at")?),
            }));
        }
    }
}

/// The mails that tell of a room: transcripts, a message that was left.
async fn mails_of(kernel: &Kernel, room: &Room) -> Result<Vec<Value>, DbError> {
    let mails = kernel.notices_about(&room.org, &mail_about(&room.id)).await?;
    let told = mails.iter().map(|mail| {
        json!({
            "to": mail.recipient, "subject": mail.subject, "text": mail.text(), "state": mail.state.as_str(),
            "at": rfc3339(mail.created_at),
        })
    });
    Ok(told.collect())
}

/// What was erased of chats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gone {
    /// Rooms, with all in them.
    pub(crate) rooms: u64,
    /// Rooms that stay for now, empty: a webhook has still to get an event of theirs, or a file could not be deleted.
    pub(crate) kept: u64,
}

/// Erases a page of the visitors that somebody is known as, from after `after`, which moves on; `None` when there are no
/// more.
pub(crate) async fn erase_visitors(
    kernel: &Kernel,
    org: &Id,
    who: &str,
    after: &mut String,
) -> Result<Option<Gone>, DbError> {
    let page = visitors_of(kernel, org, who, after).await?;
    let Some(last) = page.last() else { return Ok(None) };
    *after = last.id.to_string();
    let mut gone = Gone::default();
    for visitor in page {
        // From here on nobody writes as this visitor.
        let mut ended = vec![Write::new(ERASE_TOKENS, args![org, &visitor.id])];
        ended.extend(forget_push_owner_writes(org, &visitor.id));
        kernel.db.writer().commit(ended).await?;
        let mut after = String::new();
        loop {
            let rooms = rooms_of(kernel, org, &visitor.id, &after).await?;
            let Some(last) = rooms.last() else { break };
            after = last.id.to_string();
            for room in &rooms {
                let is_gone = erase_room(kernel, org, &room.id).await?;
                gone.rooms += u64::from(is_gone);
                gone.kept += u64::from(!is_gone);
            }
        }
        let writes =
            vec![Write::new(ERASE_EVENTS, args![org, &visitor.id]), Write::new(ERASE_VISITOR, args![org, &visitor.id])];
        kernel.db.writer().commit(writes).await?;
    }
    Ok(Some(gone))
}

/// Erases a room that nobody has written in since `before_ms`. False: somebody has, or it stays for now.
async fn erase_old_room(kernel: &Kernel, org: &str, room: &str, before_ms: i64) -> Result<bool, DbError> {
    let closed = kernel.db.run(CLOSE_OLD_ROOM, args![org, room, kernel.clock.now_ms(), before_ms]).await?;
    if closed == 0 {
        return Ok(false);
    }
    erase_room(kernel, org, room).await
}

/// Erases a room with all in it. False: it stays for now, closed and empty.
async fn erase_room(kernel: &Kernel, org: &str, room: &str) -> Result<bool, DbError> {
    // Closed first: a message that comes now finds the room changed, and is not left behind.
    kernel.db.run(CLOSE_ROOM, args![org, room, kernel.clock.now_ms()]).await?;
    while kernel.db.run(ERASE_MESSAGES, args![org, room, MESSAGES]).await? > 0 {}
    erase_files(kernel, org, room).await?;
    // The thread is the only tie to its calls and their recordings. One that is up ends, since the room is closed, and
    // keeps the room until it is looked at again.
    let talks = calling::store::ids_of_room(&kernel.db, org, room).await?;
    if erasure::erase_calls_of(kernel, org, &talks).await?.kept > 0 {
        return Ok(false);
    }
    let mut writes = inbox::forget_writes(org, room);
    writes.extend([
        Write::new(ERASE_NOTES, args![org, room]),
        Write::new(ERASE_RECEIPTS, args![org, room]),
        Write::new(ERASE_FLOW, args![org, room]),
        Write::new(ERASE_RUNS, args![org, room]),
        calling::store::erase_write(org, room),
        Write::new(ERASE_RATING, args![org, room]),
        Write::new(FORGET_QR, args![org, room]),
        erase_notices_about_write(org, &mail_about(room)),
        forget_push_topic_write(org, room),
        Write::new(ERASE_EVENTS, args![org, room]),
        Write::new(ERASE_ROOM, args![org, room]),
    ]);
    let counts = kernel.db.writer().commit(writes).await?;
    Ok(counts.last() == Some(&1))
}

/// Deletes the attachments of a room. One whose content cannot be deleted keeps its row, and with it its room.
async fn erase_files(kernel: &Kernel, org: &str, room: &str) -> Result<(), DbError> {
    let mut after = String::new();
    loop {
        let page = kernel.db.all(FILES_OF, args![org, room, &after, FILES]).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.text("id")?;
        for file in &page {
            let id = file.text("id")?;
            match kernel.files.delete(Shelf::Chat, org, &id).await {
                Ok(()) => drop(kernel.db.run(ERASE_FILE, args![org, &id]).await?),
                Err(error) => {
                    tracing::error!(org, file = id, %error, "an attachment could not be deleted; again later")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Change;
    use crate::chat::inbox::Visit;
    use crate::chat::model::Draft;
    use crate::chat::tests::stage::{NOON, Stage};
    use crate::chat::visitors::Card;

    #[tokio::test]
    async fn every_statement_can_be_prepared() {
        for test in kernel::db::testing::TestDb::each().await {
            assert_eq!(test.unpreparable(&[ALL]).await, Vec::<String>::new());
        }
    }

    async fn erase(stage: &Stage, who: &str) -> Gone {
        let (mut after, mut all) = (String::new(), Gone::default());
        while let Some(gone) = erase_visitors(&stage.kernel, &stage.org, who, &mut after).await.unwrap() {
            all.rooms += gone.rooms;
            all.kept += gone.kept;
        }
        all
    }

    #[tokio::test]
    async fn a_visitor_is_told_and_erased_with_all_that_was_said() {
        for stage in Stage::each(&[]).await {
            let (opened, visitor) = stage.room().await;
            let (other, _) = stage.room().await;
            let known = stage.chats.visitor(&stage.org, &opened.visitor).await.unwrap();
            let card = Card { name: "Ann".into(), email: Some("ann@example.org".into()) };
            stage.chats.describe_visitor(&known, &card).await.unwrap();
            stage.chats.send(&visitor, &opened.room.id, Draft::text("my secret")).await.unwrap();
            stage.chats.send(&stage.application(), &other.room.id, Draft::text("another's")).await.unwrap();
            stage.chats.note(&stage.application(), &opened.room.id, "a note").await.unwrap();
            for n in 0..5 {
                stage.chats.send(&stage.application(), &opened.room.id, Draft::text(&format!("{n}"))).await.unwrap();
            }
            let visit = Visit { page: Some("https://shop.example/".into()), ..Visit::default() };
            stage.chats.note_visit(&opened.room, visit).await.unwrap();
            let tags = ["vip".to_owned()];
            stage.chats.set_tags(&stage.application(), &opened.room.id, &tags).await.unwrap();

            let found = visitors_of(&stage.kernel, &stage.org, " ann@example.org ", "").await.unwrap();
            assert_eq!(found.iter().map(|visitor| &visitor.id).collect::<Vec<_>>(), [&opened.visitor]);
            assert_eq!(told_of_visitor(&stage.kernel, &found[0]).await.unwrap()["name"], "Ann");
            let rooms = rooms_of(&stage.kernel, &stage.org, &opened.visitor, "").await.unwrap();
            let told = told_of_room(&stage.kernel, &rooms[0]).await.unwrap();
            assert_eq!(told["messages"][0]["body"], "my secret");
            assert_eq!(
                (&told["notes"][0]["text"], &told["events"][1]["type"]),
                (&json!("a note"), &json!("message.created"))
            );
            let count = |what: &str| told[what].as_array().unwrap().len();
            assert_eq!((count("messages"), count("events"), count("calls")), (6, 7, 0), "all pages of it");
            assert_eq!((&told["tags"][0], &told["visit"]["page"]), (&json!("vip"), &json!("https://shop.example/")));
            let abroad: Id = "org_other".into();
            assert!(visitors_of(&stage.kernel, &abroad, "ann@example.org", "").await.unwrap().is_empty());

            assert_eq!(erase(&stage, "ann@example.org").await, Gone { rooms: 1, kept: 0 });
            assert!(stage.chats.send(&visitor, &opened.room.id, Draft::text("x")).await.is_err());
            assert!(stage.chats.authenticate_visitor(opened.token.unwrap().expose()).await.unwrap().is_none());
            assert!(stage.kernel.events.of_key(&stage.org, &opened.room.id, 0, 9).await.unwrap().is_empty());
            assert!(stage.kernel.events.of_key(&stage.org, &opened.visitor, 0, 9).await.unwrap().is_empty());
            assert!(visitors_of(&stage.kernel, &stage.org, &opened.visitor, "").await.unwrap().is_empty());
            assert_eq!(stage.stored(&other.room.id).await.len(), 1, "others keep theirs");
        }
    }

    #[tokio::test]
    async fn rooms_that_nobody_wrote_in_go_and_young_ones_stay() {
        for stage in Stage::each(&[]).await {
            let (old, visitor) = stage.room().await;
            stage.chats.send(&visitor, &old.room.id, Draft::text("x")).await.unwrap();
            stage.chats.change(&stage.application(), &old.room.id, &Change::Close, |_| Vec::new()).await.unwrap();
            stage.hand.set(NOON + 40 * 86_400_000);
            let (young, writer) = stage.room().await;
            // Of one that was old when it was looked for, and is written in before its turn comes, nothing goes.
            assert!(!erase_old_room(&stage.kernel, &stage.org, &young.room.id, NOON).await.unwrap());
            stage.chats.send(&writer, &young.room.id, Draft::text("still here")).await.unwrap();
            let mut gone = 0;
            let mut over = 0;
            for sweep in sweeps(&stage.kernel) {
                if sweep.kind() == OVER {
                    over += sweep.sweep(&stage.org, NOON + 35 * 86_400_000).await.unwrap();
                } else {
                    assert_eq!(sweep.kind(), "chats");
                    gone += sweep.sweep(&stage.org, NOON + 35 * 86_400_000).await.unwrap();
                }
            }
            assert_eq!(over, 1, "the old visitor's token, also where nothing grows old");
            assert_eq!(gone, 2, "the room, the visitor");
            let app = stage.application();
            assert!(stage.chats.room(&app, &old.room.id).await.is_err());
            assert!(stage.chats.visitor(&stage.org, &old.visitor).await.is_err());
            assert!(stage.chats.room(&app, &young.room.id).await.is_ok());
            assert!(stage.chats.visitor(&stage.org, &young.visitor).await.is_ok());
        }
    }
}
