//! Rooms are opened: a new one, or the one that is there, with a token for whoever has none.
//!
//! Invariant: nobody gets the room of another visitor by naming its keys; an application's server that names a user's keys
//! gets no room that somebody made who proved nothing, or a stranger would read what the user writes there; of two who
//! open a room of the same keys in the same moment both get the same one.

use std::net::IpAddr;

use kernel::secret::token_hash;
use kernel::{DbError, Secret};
use serde_json::json;

use super::hub::{News, What};
use super::model::{Id, Room, State, Visitor};
use super::settings::Identity;
use super::{ChatError, ChatSettings, Chats, store};

/// Digits before the time in an `eventId`, document 002.
const EVENT_ID: &str = "FB1010000000";

/// Who opens a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opener {
    /// A visitor that is known, by token or by its application's word.
    Visitor(Visitor),
    /// Somebody who may have the room of any visitor: an application's server, a person who answers, anybody under
    /// `open`. Where the application is not `open`, only rooms whose user was vouched for are found.
    Anyone,
    /// Somebody who proves nothing: always a new visitor.
    Stranger,
}

impl Opener {
    /// Whether a room of this user, opened so, is known to be the user's.
    fn proves_user(&self, user_id: &str, identity: Identity) -> bool {
        match self {
            Self::Visitor(visitor) => visitor.verified && visitor.user_id == user_id,
            Self::Anyone => identity != Identity::Open,
            Self::Stranger => false,
        }
    }
}

/// Whether a room that is there will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The open one of these keys, else a new one.
    GetOrCreate,
    /// A new one.
    New,
}

/// When a flow begins to answer a new room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowBegins {
    /// As soon as the room is there.
    AtOnce,
    /// When the visitor listens or writes: perhaps nobody is there, but the preview of a link.
    AtSight,
    /// When the visitor has written: the words that open a room are no answer to what nobody has asked.
    AtWord,
    /// Not at all: the message of somebody who has gone is for people.
    Never,
}

/// A room that somebody wants.
#[derive(Clone, Debug)]
pub struct OpenRoom {
    /// The organisation.
    pub org: Id,
    /// The application.
    pub app: Id,
    /// Who opens it.
    pub opener: Opener,
    /// Whether one that is there will do.
    pub how: How,
    /// The visitor's name in the customer's own books.
    pub user_id: String,
    /// `org_id` of document 002.
    pub label: String,
    /// `portfolio_name` of document 002.
    pub portfolio: String,
    /// The product's name.
    pub product: String,
    /// `isLogin` of document 002.
    pub is_login: bool,
    /// When a flow answers, if the product has one.
    pub flow: FlowBegins,
    /// What the client calls this wish: told twice, it is the same room.
    pub once: Option<String>,
    /// From where; none = not counted (an application's server opens rooms for many).
    pub address: Option<IpAddr>,
}

/// A room that was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The room.
    pub room: Room,
    /// Whose it is.
    pub visitor: Id,
    /// The visitor's token, when the visitor is new: shown here and never again.
    pub token: Option<Secret>,
    /// Whether it was made just now.
    pub created: bool,
}

impl Chats {
    /// Gets or makes a room.
    ///
    /// # Errors
    /// A limit, or what the store says.
    pub async fn open_room(&self, wish: OpenRoom) -> Result<Opened, ChatError> {
        let mut is_counted = false;
        for _ in 0..super::desk::MAX_TRIES {
            if let Some(found) = self.found_room(&wish).await? {
                return Ok(found);
            }
            match self.make_room(&wish, &mut is_counted).await {
                // Somebody made the room of these keys in the same moment.
                Err(ChatError::Db(DbError::Duplicate(_))) if wish.how == How::GetOrCreate || wish.once.is_some() => {}
                made => return made,
            }
        }
        Err(ChatError::Busy)
    }

    /// The room of a wish, if it is there.
    ///
    /// # Errors
    /// What the store says.
    pub async fn found_room(&self, wish: &OpenRoom) -> Result<Option<Opened>, ChatError> {
        let found = self.room_there(wish).await?;
        Ok(found.map(|room| Opened { visitor: room.visitor.clone(), room, token: None, created: false }))
    }

    async fn room_there(&self, wish: &OpenRoom) -> Result<Option<Room>, ChatError> {
        if let (Some(key), Some(_)) = (open_key(wish), &wish.once) {
            return Ok(store::room_of_open_key(&self.kernel().db, &wish.org, &wish.app, &key).await?);
        }
        let whose = match (&wish.opener, wish.how) {
            (_, How::New) | (Opener::Stranger, _) => return Ok(None),
            (Opener::Visitor(visitor), How::GetOrCreate) => store::Whose::Visitor(&visitor.id),
            (Opener::Anyone, How::GetOrCreate) => {
                let settings = self.settings(&wish.org, &wish.app).await?;
                if settings.identity == Identity::Open { store::Whose::Anyone } else { store::Whose::Proved }
            }
        };
        let OpenRoom { user_id, label, product, portfolio, .. } = wish;
        let keys = store::Keys { user_id, label, product, portfolio };
        Ok(store::room_of_keys(&self.kernel().db, &wish.org, &wish.app, keys, whose).await?)
    }

    async fn make_room(&self, wish: &OpenRoom, is_counted: &mut bool) -> Result<Opened, ChatError> {
        let now_ms = self.now_ms();
        let settings = self.settings(&wish.org, &wish.app).await?;
        // Who is a moment too late, and tries again, wants one room all the same.
        if !std::mem::replace(is_counted, true) {
            self.count_opening(wish, &settings, now_ms)?;
        }
        // What anybody may say under `open` proves nothing later either.
        let is_proved = wish.opener.proves_user(&wish.user_id, settings.identity);
        let mut writes = Vec::new();
        let (visitor, token) = match &wish.opener {
            Opener::Visitor(visitor) => (visitor.clone(), None),
            Opener::Anyone | Opener::Stranger => {
                let visitor = self.new_visitor(&wish.org, &wish.app, &wish.user_id);
                let (token, write) = self.draft_token(&visitor);
                writes.extend([store::insert_visitor_write(&visitor, now_ms), write]);
                (visitor, Some(token))
            }
        };
        let room = self.new_room(wish, &visitor, now_ms);
        writes.push(store::insert_room_write(&room, open_key(wish).as_deref(), is_proved));
        let data = json!({
            "application": &*room.app,
            "product": room.product,
            "user_id": room.user_id,
            "verified": is_proved,
            "org_id": room.label,
            "portfolio_name": room.portfolio,
            "visitor": &*room.visitor,
        });
        writes.extend(self.event_writes(&room.org, &room.id, "room.opened", data).await?);
        let of_flow = self.flow_writes(&room, wish.flow).await?;
        let has_flow = !of_flow.is_empty();
        writes.extend(of_flow);
        self.kernel().db.writer().commit(writes).await?;
        self.hub().tell(News::of(&room, What::Room { room: room.clone().into(), is_held: has_flow }));
        if has_flow {
            self.flow_is_due(&room, wish.flow);
        }
        Ok(Opened { room, visitor: visitor.id, token, created: true })
    }

    fn count_opening(&self, wish: &OpenRoom, settings: &ChatSettings, now_ms: i64) -> Result<(), ChatError> {
        if let Opener::Visitor(visitor) = &wish.opener {
            self.meter().conversation(&visitor.id, &settings.limits, now_ms)?;
        } else if let Some(address) = wish.address {
            self.meter().session(&wish.app, address, &settings.limits, now_ms)?;
        }
        Ok(())
    }

    fn new_room(&self, wish: &OpenRoom, visitor: &Visitor, now_ms: i64) -> Room {
        let ids = &self.kernel().ids;
        Room {
            id: ids.document_id(now_ms).into(),
            org: wish.org.clone(),
            app: wish.app.clone(),
            product: wish.product.clone(),
            user_id: wish.user_id.clone(),
            label: wish.label.clone(),
            portfolio: wish.portfolio.clone(),
            event_id: format!("{EVENT_ID}{:010}#{}", now_ms / 1_000, ids.digits(7)),
            is_login: wish.is_login,
            state: State::Open,
            visitor: visitor.id.clone(),
            assignee: None,
            team: None,
            seq_head: 0,
            last_body: None,
            created_ms: now_ms,
            last_ms: now_ms,
            closed_ms: None,
            revision: 0,
        }
    }
}

/// What no two open rooms share that were made unless there was one.
fn open_key(wish: &OpenRoom) -> Option<String> {
    if let Some(once) = &wish.once {
        return Some(token_hash(&serde_json::json!(["once", once]).to_string()));
    }
    let visitor = match (&wish.opener, wish.how) {
        (_, How::New) | (Opener::Stranger, _) => return None,
        (Opener::Visitor(visitor), How::GetOrCreate) => &*visitor.id,
        (Opener::Anyone, How::GetOrCreate) => "",
    };
    let OpenRoom { user_id, label, product, portfolio, .. } = wish;
    let keys = serde_json::json!([user_id, label, product, portfolio, visitor]);
    Some(token_hash(&keys.to_string()))
}
