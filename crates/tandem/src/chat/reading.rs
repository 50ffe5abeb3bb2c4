//! Who looked into a chat: a row in the audit for a person and a room, at most once an hour.
//!
//! Invariant: the row is durable before a person is given what it tells of. Memory is bounded; forgetting costs a second
//! row, nothing else. Programs (an application's key) and visitors are not noted: a chat is the visitor's own, and what a
//! program reads is its organisation's affair.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kernel::Write;

use super::access::Asker;
use super::model::{Id, Room};
use super::{ChatError, Chats};

/// So long one row tells of a person who looks into a room, milliseconds.
const HOUR_MS: i64 = 3_600_000;
/// Pairs of a person and a room that are remembered.
const MAX_KNOWN: usize = 16_384;
/// As the audit calls it.
const READ: &str = "chat.read";

/// Who looked into which room within the last hour, and when it was noted.
#[derive(Debug, Default)]
pub(super) struct Readings(Mutex<HashMap<(Id, Id), i64>>);

impl Readings {
    fn known(&self) -> MutexGuard<'_, HashMap<(Id, Id), i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this look is to be noted.
    fn is_due(&self, person: &Id, room: &Id, now_ms: i64) -> bool {
        let noted_ms = self.known().get(&(person.clone(), room.clone())).copied();
        noted_ms.is_none_or(|noted_ms| !is_fresh(noted_ms, now_ms))
    }

    /// Its row is durable.
    fn remember(&self, person: &Id, room: &Id, now_ms: i64) {
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.retain(|_, noted_ms| is_fresh(*noted_ms, now_ms));
        }
        if known.len() < MAX_KNOWN {
            known.insert((person.clone(), room.clone()), now_ms);
        }
    }
}

/// A clock that was set back notes once more.
fn is_fresh(noted_ms: i64, now_ms: i64) -> bool {
    (0..HOUR_MS).contains(&(now_ms - noted_ms))
}

impl Chats {
    /// Notes that somebody looks into a room; call it before what stands there is given away.
    ///
    /// # Errors
    /// What the store says; then give nothing away.
    pub async fn note_reading(&self, asker: &Asker, room: &Room) -> Result<(), ChatError> {
        self.note_readings(asker, std::slice::from_ref(&room.id)).await
    }

    /// The same of several rooms, by their ids.
    ///
    /// # Errors
    /// What the store says; then give nothing away.
    pub(super) async fn note_readings(&self, asker: &Asker, rooms: &[Id]) -> Result<(), ChatError> {
        let Asker::Person { org, id, .. } = asker else { return Ok(()) };
        let (readings, now_ms) = (self.readings(), self.now_ms());
        let mut due: Vec<&Id> = rooms.iter().filter(|room| readings.is_due(id, room, now_ms)).collect();
        due.sort_unstable();
        due.dedup();
        if due.is_empty() {
            return Ok(());
        }
        let rows = due.iter().map(|room| self.kernel().audit_write(org, id, READ, room)).collect();
        self.kernel().db.writer().commit(rows).await?;
        // Only now: of two looks in one moment neither is answered before a row is durable.
        due.into_iter().for_each(|room| readings.remember(id, room, now_ms));
        Ok(())
    }

    /// The row that tells who took back a message: of somebody of the organisation, or a program of it. A visitor's own
    /// words are its own to take back.
    pub(super) fn deletion_noted(&self, asker: &Asker, room: &Room, seq: i64) -> Option<Write> {
        let actor = match asker {
            Asker::Person { id, .. } => id,
            Asker::App { app, .. } => app,
            Asker::Visitor { .. } | Asker::Open { .. } | Asker::Room { .. } => return None,
        };
        let object = format!("{} #{seq}", room.id);
        Some(self.kernel().audit_write(&room.org, actor, "chat.message_delete", &object))
    }
}

#[cfg(test)]
mod tests {
    use kernel::Role;

    use super::*;
    use crate::chat::RoomFilter;
    use crate::chat::model::{Draft, Mark};
    use crate::chat::tests::stage::Stage;

    async fn audit(stage: &Stage) -> Vec<(String, String, String)> {
        let rows = stage.kernel.audit(&stage.org, None, 100).await.unwrap();
        let mut rows: Vec<_> = rows.into_iter().map(|row| (row.actor, row.action, row.object)).collect();
        rows.retain(|(_, action, _)| action.starts_with("chat."));
        rows.reverse();
        rows
    }

    #[tokio::test]
    async fn a_person_who_reads_is_noted_once_an_hour_and_a_room() {
        for stage in Stage::each(&[]).await {
            let (opened, visitor) = stage.room().await;
            let (other, _) = stage.room().await;
            let fay = stage.person("per_fay", Role::Agent);
            stage.chats.send(&visitor, &opened.room.id, Draft::text("x")).await.unwrap();
            for asker in [&visitor, &stage.application()] {
                stage.chats.messages(asker, &opened.room.id, 0, 10).await.unwrap();
            }
            assert_eq!(audit(&stage).await, [], "its own room, and a program");
            for _ in 0..3 {
                stage.chats.messages(&fay, &opened.room.id, 0, 10).await.unwrap();
            }
            stage.chats.mark(&fay, &opened.room.id, Mark { delivered_seq: 1, read_seq: 1 }).await.unwrap();
            let read = |room: &Id| ("per_fay".to_owned(), "chat.read".to_owned(), room.to_string());
            assert_eq!(audit(&stage).await, [read(&opened.room.id)]);
            stage.hand.advance(1_000);
            stage.chats.notes(&fay, &other.room.id).await.unwrap();
            stage.hand.advance(HOUR_MS);
            stage.chats.mark(&fay, &opened.room.id, Mark { delivered_seq: 1, read_seq: 1 }).await.unwrap();
            assert_eq!(audit(&stage).await, [read(&opened.room.id), read(&other.room.id), read(&opened.room.id)]);
            let abroad = Asker::Person { org: "org_other".into(), id: "per_x".into(), role: Role::Owner };
            assert!(stage.chats.messages(&abroad, &opened.room.id, 0, 10).await.is_err());
            assert_eq!(audit(&stage).await.len(), 3, "who got nothing read nothing");
        }
    }

    #[tokio::test]
    async fn a_room_that_is_shown_with_its_notes_is_read() {
        for stage in Stage::each(&[]).await {
            let (opened, visitor) = stage.room().await;
            let (other, other_visitor) = stage.room().await;
            stage.chats.send(&visitor, &opened.room.id, Draft::text("a refund")).await.unwrap();
            stage.chats.send(&other_visitor, &other.room.id, Draft::text("hello")).await.unwrap();
            let fay = stage.person("per_fay", Role::Agent);
            let one = RoomFilter { room: Some(opened.room.id.clone()), ..RoomFilter::default() };
            let row = stage.chats.overview(&fay, &one, 10).await.unwrap();
            assert_eq!(row.rooms.iter().map(|row| &row.room.id).collect::<Vec<_>>(), [&opened.room.id]);
            assert_eq!(audit(&stage).await, [], "a line of the list is not the chat");
            for _ in 0..2 {
                stage.chats.inside(&fay, &other.room.id).await.unwrap();
            }
            let read = ("per_fay".to_owned(), "chat.read".to_owned(), other.room.id.to_string());
            assert_eq!(audit(&stage).await, [read]);
            let abroad = Asker::Person { org: "org_other".into(), id: "per_x".into(), role: Role::Owner };
            assert!(stage.chats.overview(&abroad, &one, 10).await.unwrap().rooms.is_empty());
        }
    }

    #[tokio::test]
    async fn a_message_that_was_taken_back_by_the_organisation_is_noted() {
        for stage in Stage::each(&[]).await {
            let (opened, visitor) = stage.room().await;
            for _ in 0..2 {
                stage.chats.send(&visitor, &opened.room.id, Draft::text("x")).await.unwrap();
            }
            stage.chats.delete(&visitor, &opened.room.id, 1).await.unwrap();
            assert_eq!(audit(&stage).await, []);
            let boss = stage.person("per_boss", Role::Supervisor);
            for _ in 0..2 {
                stage.chats.delete(&boss, &opened.room.id, 2).await.unwrap();
            }
            let object = format!("{} #2", opened.room.id);
            assert_eq!(audit(&stage).await, [("per_boss".to_owned(), "chat.message_delete".to_owned(), object)]);
        }
    }

    #[test]
    fn a_crowd_does_not_grow_memory() {
        let readings = Readings::default();
        let due = |n: usize, now_ms| {
            let (person, room): (Id, Id) = ("per".into(), format!("{n}").into());
            let is_due = readings.is_due(&person, &room, now_ms);
            if is_due {
                readings.remember(&person, &room, now_ms);
            }
            is_due
        };
        assert!((0..2 * MAX_KNOWN).all(|n| due(n, 0)));
        assert_eq!(readings.0.lock().unwrap().len(), MAX_KNOWN);
        assert!(due(0, HOUR_MS) && !due(0, HOUR_MS + 1), "the old ones made room");
    }
}
