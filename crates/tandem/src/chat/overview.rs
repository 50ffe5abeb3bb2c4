//! Rooms as those who answer look at them: who the visitor is, what was said last, how far it was read.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::access::{Act, Asker};
use super::model::{Mark, Marks, Message, Note, Room, Side, Visitor};
use super::store::{RoomFilter, RoomPage};
use super::{ChatError, Chats, Wide, store};

/// Rooms that are looked up at once.
const AT_ONCE: usize = 8;

/// A room in a list.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The room.
    pub room: Room,
    /// Its visitor; none when the visitor was erased.
    pub visitor: Option<Visitor>,
    /// Whether the visitor listens on this node.
    pub is_visitor_here: bool,
    /// How far each side has come.
    pub marks: Marks,
    /// The newest message.
    pub last: Option<Message>,
}

/// Some rooms, and where the page ended.
#[derive(Clone, Debug)]
pub struct OverviewPage {
    /// In the order that was asked for.
    pub rooms: Vec<Overview>,
    /// After which a next page begins; none on the last one.
    pub next: Option<(i64, String)>,
}

impl Overview {
    /// How far those who answer have read.
    #[must_use]
    pub fn support(&self) -> Mark {
        self.marks.of(Side::Support)
    }
}

impl Chats {
    /// A page of rooms for those who answer.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`], also for visitors, or what the store says.
    pub async fn overview(&self, asker: &Asker, filter: &RoomFilter, limit: i64) -> Result<OverviewPage, ChatError> {
        self.may_everywhere(asker, Wide::SeeRooms).await?;
        let RoomPage { rooms, next } = self.rooms(asker, filter, limit).await?;
        let rooms = stream::iter(rooms).map(|room| self.overview_of(room)).buffered(AT_ONCE).try_collect().await?;
        Ok(OverviewPage { rooms, next })
    }

    /// One room, and the notes beside it.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn inside(&self, asker: &Asker, room: &str) -> Result<(Overview, Vec<Note>), ChatError> {
        let (room, _) = self.reach(asker, room, Act::SeeInside).await?;
        self.note_reading(asker, &room).await?;
        let notes = store::notes(&self.kernel().db, &room.org, &room.id).await?;
        Ok((self.overview_of(room).await?, notes))
    }

    async fn overview_of(&self, room: Room) -> Result<Overview, ChatError> {
        let visitor = match self.visitor(&room.org, &room.visitor).await {
            Ok(visitor) => Some(visitor),
            Err(ChatError::NotFound) => None,
            Err(error) => return Err(error),
        };
        let last = self.messages_of(&room, room.seq_head - 1, 1).await?.pop();
        let marks = self.marks(&room).await?;
        let is_visitor_here = self.hub().has_visitor(&room.org, &room.id);
        Ok(Overview { room, visitor, is_visitor_here, marks, last })
    }
}
