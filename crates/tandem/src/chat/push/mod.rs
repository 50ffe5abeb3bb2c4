//! Whose browser is told of a chat while no page of theirs is open: whoever has the room, its visitor, and those who could
//! take a room that waits.
//!
//! Invariant: it is written in the commit of what it tells about, whoever seems to be here: the socket of a phone that was
//! locked stays for a while. Who has a page open that got it is told there, and nowhere else ([`compose`]).

pub(super) mod api;
mod compose;

use std::sync::Arc;

use kernel::push::push_write;
use kernel::{DbError, Write};

use super::Chats;
use super::model::{Id, Room, Sender};

/// Where the inbox is, before the id of a room.
const INBOX: &str = "/console/inbox";

impl Chats {
    /// Sets the courier of push messages to work.
    pub fn tell_browsers(&self) {
        self.kernel().start_push(Arc::new(self.clone()));
    }

    /// What belongs into the commit of a message: the other side is told.
    pub(super) async fn told_of_message(&self, room: &Room, by: &Sender) -> Result<Vec<Write>, DbError> {
        let whom = match by {
            Sender::Visitor(_) => room.assignee.as_ref(),
            Sender::Person(_) | Sender::App(_) => Some(&room.visitor),
            Sender::System => None,
        };
        match whom {
            Some(whom) if self.kernel().has_push(&room.org).await? => Ok(vec![self.tells(room, whom)]),
            _ => Ok(Vec::new()),
        }
    }

    /// What belongs into the commit of a change: whoever is given the room is told.
    pub(super) async fn told_of_change(&self, before: &Room, after: &Room, by: &Sender) -> Result<Vec<Write>, DbError> {
        let given = after.assignee.as_ref().filter(|_| after.assignee != before.assignee && after.is_open());
        let told = given.filter(|person| !matches!(by, Sender::Person(by) if by == *person));
        match told {
            Some(person) if self.kernel().has_push(&after.org).await? => Ok(vec![self.tells(after, person)]),
            _ => Ok(Vec::new()),
        }
    }

    /// What belongs into the commit in which a room is given a place: these people are told that it waits.
    pub(super) fn told_of_waiting(&self, org: &str, room: &str, people: &[Id]) -> Vec<Write> {
        let now_ms = self.now_ms();
        people.iter().map(|person| push_write(org, person, room, now_ms)).collect()
    }

    fn tells(&self, room: &Room, whom: &str) -> Write {
        push_write(&room.org, whom, &room.id, self.now_ms())
    }
}
