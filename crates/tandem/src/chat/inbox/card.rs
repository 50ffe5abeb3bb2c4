//! What those who answer see of a visitor.

use super::canned::Names;
use super::store::{self, Visit};
use crate::chat::model::{Room, Visitor};
use crate::chat::visit::Rating;
use crate::chat::visitors::Card;
use crate::chat::{Act, Asker, ChatError, Chats, RoomFilter, RoomOrder};

/// Earlier rooms that are shown.
const MAX_ROOMS: i64 = 20;
/// Longest page address that is kept, bytes; also of the other two.
const MAX_VISIT: usize = 1_000;

/// A visitor, as those who answer see it.
#[derive(Debug)]
pub(super) struct VisitorCard {
    pub(super) room: Room,
    pub(super) visitor: Visitor,
    pub(super) visit: Visit,
    /// Its rooms, the newest first.
    pub(super) rooms: Vec<Room>,
    /// How the visitor found the chat, once it is over.
    pub(super) rating: Option<Rating>,
}

impl Chats {
    /// The visitor of a room.
    ///
    /// # Errors
    /// [`ChatError`].
    pub(super) async fn card(&self, asker: &Asker, room: &str) -> Result<VisitorCard, ChatError> {
        let (room, _) = self.reach(asker, room, Act::SeeInside).await?;
        let visitor = self.visitor(&room.org, &room.visitor).await?;
        let visit = store::visit(&self.kernel().db, &room.org, &room.id).await?;
        let of_visitor =
            RoomFilter { visitor: Some(visitor.id.clone()), order: RoomOrder::LatestFirst, ..RoomFilter::default() };
        let rooms = self.rooms(asker, &of_visitor, MAX_ROOMS).await?.rooms;
        let (_, rating) = self.standing(asker, &room.id).await?;
        Ok(VisitorCard { room, visitor, visit, rooms, rating })
    }

    /// Writes down what an agent has learned of a visitor.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub(super) async fn describe(&self, asker: &Asker, room: &str, card: &Card) -> Result<VisitorCard, ChatError> {
        let (room, _) = self.reach(asker, room, Act::Annotate).await?;
        let visitor = self.visitor(&room.org, &room.visitor).await?;
        self.describe_visitor(&visitor, card).await?;
        self.card(asker, &room.id).await
    }

    /// The names of those in a room, for texts that were written beforehand.
    pub(super) async fn names(&self, asker: &Asker, room: &Room) -> Result<Names, ChatError> {
        let visitor = self.visitor(&room.org, &room.visitor).await?;
        let agent = match asker {
            Asker::Person { org, id, .. } => match self.kernel().person(org, id).await {
                Ok(person) => person.name,
                // An administrator of the installation is nobody of the organisation.
                Err(kernel::RecordError::NotFound { .. }) => String::new(),
                Err(error) => return Err(error.into()),
            },
            _ => String::new(),
        };
        let (email, product) = (visitor.email.unwrap_or_default(), room.product.clone());
        Ok(Names { visitor: visitor.name, email, agent, product })
    }

    /// Remembers from where a visitor opened a room.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::chat) async fn note_visit(&self, room: &Room, visit: Visit) -> Result<(), ChatError> {
        let line = |text: Option<String>| {
            let text = text.filter(|text| !text.trim().is_empty() && !text.chars().any(char::is_control))?;
            let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= MAX_VISIT).unwrap_or(text.len());
            text.get(..end).map(str::to_owned)
        };
        let Visit { page, user_agent, locale } = visit;
        let visit = Visit { page: line(page), user_agent: line(user_agent), locale: line(locale) };
        let db = &self.kernel().db;
        // Each look at the page tells the same.
        if visit != Visit::default() && visit != store::visit(db, &room.org, &room.id).await? {
            let write = store::visit_write(&room.org, &room.id, &visit);
            db.writer().submit(vec![write]).await?;
        }
        Ok(())
    }
}
