//! Who looked into a chat: a row in the audit for a person and a room, at most once an hour.
//!
//! Invariant: the row is durable before a person is given what it tells of. Memory is bounded; forgetting costs a second
//! row, nothing else. Programs (an application's key) and visitors are not noted: a chat is the visitor's own, and what a
//! program reads is its organisation's affair.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

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
    /// Whether this look is to be noted; if so it is remembered as noted.
    fn is_due(&self, person: &Id, room: &Id, now_ms: i64) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back notes once more.
        let is_fresh = |noted_ms: i64| (0..HOUR_MS).contains(&(now_ms - noted_ms));
        let pair = (person.clone(), room.clone());
        if known.get(&pair).is_some_and(|noted_ms| is_fresh(*noted_ms)) {
            return false;
        }
        if known.len() >= MAX_KNOWN {
            known.retain(|_, noted_ms| is_fresh(*noted_ms));
        }
        if known.len() < MAX_KNOWN {
            known.insert(pair, now_ms);
        }
        true
    }

    /// The row could not be written.
    fn forget(&self, person: &Id, room: &Id) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(person.clone(), room.clone()));
    }
}

impl Chats {
    /// Notes that somebody looks into a room; call it before what stands there is given away.
    ///
    /// # Errors
    /// What the store says; then give nothing away.
    pub async fn note_reading(&self, asker: &Asker, room: &Room) -> Result<(), ChatError> {
        let Asker::Person { org, id, .. } = asker else { return Ok(()) };
        if !self.readings().is_due(id, &room.id, self.now_ms()) {
            return Ok(());
        }
        let noted = self.kernel().db.writer().commit(vec![self.kernel().audit_write(org, id, READ, &room.id)]).await;
        if noted.is_err() {
            self.readings().forget(id, &room.id);
        }
        noted?;
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
        let due = |n: usize, now_ms| readings.is_due(&"per".into(), &format!("{n}").into(), now_ms);
        assert!((0..2 * MAX_KNOWN).all(|n| due(n, 0)));
        assert_eq!(readings.0.lock().unwrap().len(), MAX_KNOWN);
        assert!(due(0, HOUR_MS) && !due(0, HOUR_MS + 1), "the old ones made room");
    }
}
