//! A room is closed, opened again, given to somebody.
//!
//! Invariant: the room, the event that tells of it, and what follows for the queue change in one commit, guarded by the
//! room's revision.

use std::sync::Arc;

use kernel::{DbError, Write};
use serde_json::json;

use super::access::{Act, Asker};
use super::desk::{MAX_TRIES, shown_id};
use super::hub::{News, What};
use super::model::{Id, Room, Sender, State};
use super::{ChatError, Chats, inbox, store};

/// How a room is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is over.
    Close,
    /// It is over, as its visitor says.
    End,
    /// It goes on.
    Reopen,
    /// This person answers; none = nobody yet.
    Assign(Option<Id>),
    /// It waits for this team, and nobody answers yet; none = for anybody.
    Team(Option<Id>),
}

impl Chats {
    /// Closes a room, opens it again, or gives it to somebody. Nothing to do = nothing is written. `with` are writes of
    /// whoever asks that belong into the same commit.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub async fn change(
        &self,
        asker: &Asker,
        room: &str,
        change: &Change,
        with: impl Fn(&Room) -> Vec<Write>,
    ) -> Result<Room, ChatError> {
        let act = match change {
            Change::Close | Change::Reopen => Act::Close,
            Change::End => Act::End,
            Change::Assign(_) | Change::Team(_) => Act::Assign,
        };
        for _ in 0..MAX_TRIES {
            let (before, _) = self.reach(asker, room, act).await?;
            let by = asker.sender(&before);
            match self.try_change(before, change, &by, &with).await {
                Err(ChatError::Db(DbError::Conflict)) => {}
                done => return done,
            }
        }
        Err(ChatError::Busy)
    }

    /// The same in the name of somebody who may, if the room still is as it was read.
    pub(super) async fn try_change(
        &self,
        before: Room,
        change: &Change,
        by: &Sender,
        with: &impl Fn(&Room) -> Vec<Write>,
    ) -> Result<Room, ChatError> {
        let (room, mut writes) = self.changes(&before, change, by).await?;
        if writes.is_empty() {
            return Ok(room);
        }
        writes.extend(with(&room));
        let done = self.kernel().db.writer().commit(writes).await;
        self.live().forget(&room.id);
        done?;
        self.hub().tell(News::of(&room, What::Room { room: Arc::new(room.clone()), is_held: false }));
        self.wake_queue(&room.org);
        if !room.is_open() {
            self.end_call(&room).await;
        }
        Ok(room)
    }

    /// The room as a change leaves it, and the writes of that: its row, guarded, and the event. None = nothing changes.
    pub(super) async fn changes(
        &self,
        before: &Room,
        change: &Change,
        by: &Sender,
    ) -> Result<(Room, Vec<Write>), DbError> {
        let (mut room, kind) = before.clone().changed(change, self.now_ms());
        if room == *before {
            return Ok((room, Vec::new()));
        }
        let data = json!({
            "by": by.role(), "person": shown_id(by).as_deref(), "state": room.state.as_str(),
            "reopened": *change == Change::Reopen,
            "assignee": room.assignee.as_deref(), "team": room.team.as_deref(), "from": before.assignee.as_deref(),
        });
        let mut writes = vec![store::change_room_write(&room)];
        writes.extend(self.event_writes(&room.org, &room.id, kind, data).await?);
        writes.extend(inbox::change_writes(before, &room, by, self.now_ms()));
        if before.is_open() && !room.is_open() {
            writes.push(store::close_flow_write(&room.org, &room.id, self.now_ms()));
        }
        writes.extend(self.told_of_change(before, &room, by).await?);
        room.revision += 1;
        Ok((room, writes))
    }
}

impl Room {
    /// The room after a change, and the event that tells of it.
    pub(super) fn changed(mut self, change: &Change, now_ms: i64) -> (Self, &'static str) {
        let kind = match change {
            Change::Close | Change::End if self.is_open() => {
                self.state = State::Closed;
                self.closed_ms = Some(now_ms);
                "room.closed"
            }
            Change::Close | Change::End => "room.closed",
            Change::Reopen => {
                self.state = State::Open;
                self.closed_ms = None;
                "room.opened"
            }
            Change::Assign(person) => {
                let kind = if self.assignee.is_some() { "room.transferred" } else { "room.assigned" };
                self.assignee.clone_from(person);
                kind
            }
            Change::Team(team) => {
                self.team.clone_from(team);
                self.assignee = None;
                "room.transferred"
            }
        };
        (self, kind)
    }
}
