//! How a visitor found a chat.
//!
//! Invariant: a room has one rating, of its visitor, once the chat is over; the rating and the event that tells of it are
//! one commit.

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::super::access::{Act, Asker};
use super::super::model::{Marks, Refused, Side};
use super::super::{ChatError, Chats};
use super::store;

/// Longest comment, characters.
const MAX_COMMENT: usize = 2_000;

/// What a visitor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rating {
    /// 1 (very bad) to 5 (very good).
    pub score: i64,
    /// In words; may be empty.
    pub comment: String,
}

impl Chats {
    /// Notes how the visitor found the chat of a room that is closed.
    ///
    /// # Errors
    /// [`ChatError`]: somebody else, a chat that goes on, a score out of its range, a limit.
    pub async fn rate(&self, asker: &Asker, room: &str, rating: &Rating) -> Result<(), ChatError> {
        let (room, _) = self.reach(asker, room, Act::See).await?;
        if asker.side() != Side::Visitor {
            return Err(ChatError::Forbidden);
        }
        if !(1..=5).contains(&rating.score) {
            return Err(Refused::Rating.into());
        }
        if rating.comment.chars().count() > MAX_COMMENT || rating.comment.contains('\0') {
            return Err(Refused::Comment.into());
        }
        if room.is_open() {
            return Err(Refused::NotOver.into());
        }
        self.meter().act(&room.visitor, self.now_ms())?;
        let data = json!({
            "score": rating.score, "comment": rating.comment, "person": room.assignee.as_deref(),
            "product": room.product, "application": &*room.app,
        });
        let mut writes = vec![store::rate_write(&room.org, &room.id, rating, room.assignee.as_ref(), self.now_ms())];
        writes.extend(self.event_writes(&room.org, &room.id, "room.rated", data).await?);
        self.kernel().db.writer().commit(writes).await?;
        Ok(())
    }

    /// How the visitor of a room found the chat, and how far both sides have come.
    ///
    /// # Errors
    /// [`ChatError::NotFound`], or what the store says.
    pub async fn standing(&self, asker: &Asker, room: &str) -> Result<(Marks, Option<Rating>), ChatError> {
        let (room, _) = self.reach(asker, room, Act::See).await?;
        let rating = store::rating(&self.kernel().db, &room.org, &room.id).await?;
        Ok((self.marks(&room).await?, rating))
    }
}
