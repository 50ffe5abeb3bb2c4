//! The visitor's phone in its page: a short-lived token opens it, for one room and nothing else.
//!
//! Invariant: a phone of a room rings for that room's calls, dials nothing, and is gone with the room; the token is no
//! visitor's token and reads nothing.

use calls::PartyLine;
use kernel::Secret;
use serde::{Deserialize, Serialize};

use super::super::access::{Act, Asker};
use super::super::model::Id;
use super::super::{ChatError, ChatSettings};
use super::model::Mode;
use super::refusal::CallRefused;
use super::{ChatCalls, store};

/// How a token begins.
const PREFIX: &str = "cp_";
/// Purpose under which it is sealed.
const PURPOSE: &str = "chat.phone";
/// How long a token opens the phone, milliseconds; while a call of its room goes on, longer.
const TOKEN_MS: i64 = 10 * 60_000;
/// The application of lines that belong to rooms: no application has this id.
const ROOMS: &str = "room";

/// The line of a room's visitor.
pub(super) fn line_of(room: &str) -> PartyLine {
    PartyLine::new(ROOMS, room)
}

/// Whether a text is meant as a token of such a phone.
#[must_use]
pub fn is_phone_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The phone of a room's visitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitorPhone {
    /// The organisation.
    pub org: Id,
    /// The room's application.
    pub app: Id,
    /// The room.
    pub room: Id,
    /// Its visitor.
    pub visitor: Id,
    /// Until when the token opens it, UTC milliseconds.
    pub until_ms: i64,
}

impl VisitorPhone {
    /// Its line.
    #[must_use]
    pub fn line(&self) -> PartyLine {
        line_of(&self.room)
    }
}

impl ChatCalls {
    /// A token for the phone of a visitor's room, and until when it opens that, UTC milliseconds.
    ///
    /// # Errors
    /// [`CallRefused`].
    pub async fn phone_token(&self, asker: &Asker, room: &str) -> Result<(Secret, i64), CallRefused> {
        let (room, settings) = self.chats().reach(asker, room, Act::Call).await?;
        let Asker::Visitor { id, .. } = asker else { return Err(ChatError::Forbidden.into()) };
        room.takes_messages().map_err(ChatError::from)?;
        if !settings.calls.allow(Mode::Browser) {
            return Err(CallRefused::Off);
        }
        let until_ms = self.now_ms() + TOKEN_MS;
        let phone = VisitorPhone {
            org: room.org.clone(),
            app: room.app.clone(),
            room: room.id.clone(),
            visitor: id.clone(),
            until_ms,
        };
        let text = serde_json::to_string(&phone).unwrap_or_default();
        let sealed = self.kernel().secrets.seal(PURPOSE, &text).map_err(ChatError::from)?;
        Ok((Secret::new(format!("{PREFIX}{sealed}")), until_ms))
    }

    /// The phone that a token opens, and what its application decides; none when it is not good.
    ///
    /// # Errors
    /// What the store says.
    pub async fn phone(&self, token: &str) -> Result<Option<(VisitorPhone, std::sync::Arc<ChatSettings>)>, ChatError> {
        let sealed = token.strip_prefix(PREFIX).unwrap_or_default();
        let Ok(text) = self.kernel().secrets.open_sealed(PURPOSE, sealed) else { return Ok(None) };
        let Ok(phone) = serde_json::from_str::<VisitorPhone>(text.expose()) else { return Ok(None) };
        let is_good = self.still_opens(&phone).await? && self.is_timely(&phone).await?;
        let settings = self.chats().settings(&phone.org, &phone.app).await?;
        Ok(is_good.then_some((phone, settings)))
    }

    /// Whether a phone that is open may stay: its room is open, and still that visitor's.
    ///
    /// # Errors
    /// What the store says.
    pub async fn still_opens(&self, phone: &VisitorPhone) -> Result<bool, ChatError> {
        match self.chats().room_of_desk(&phone.org, &phone.room).await {
            Ok(room) => {
                let settings = self.chats().settings(&room.org, &room.app).await?;
                Ok(room.is_open() && room.visitor == phone.visitor && settings.calls.allow(Mode::Browser))
            }
            Err(ChatError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A page that comes back to a call after its token has ended is let in for the rest of it.
    async fn is_timely(&self, phone: &VisitorPhone) -> Result<bool, ChatError> {
        if self.now_ms() < phone.until_ms {
            return Ok(true);
        }
        Ok(store::live_of_room(&self.kernel().db, &phone.org, &phone.room).await?.is_some())
    }
}
