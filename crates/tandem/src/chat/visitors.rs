//! Visitors: who they are, and the tokens by which they are known again.
//!
//! Invariant: a token is stored as its hash only and shown once; it opens its own visitor's rooms and slides while it is
//! used. Only an application's word makes a visitor the one of a `user_id`.

use kernel::push::{forget_push_owner_writes, slide_push_write};
use kernel::secret::token_hash;
use kernel::{DbError, Secret, Write};
use serde_json::json;

use super::model::{Id, Room, Visitor};
use super::{ChatError, Chats, store};

/// Beginning of a visitor's token.
pub(super) const VISITOR_TOKEN: &str = "vt_";
/// A token is good for so long after its last use, milliseconds (30 days).
pub const TOKEN_LIFE_MS: i64 = 30 * 86_400_000;
/// How exact that is: a write per request would cost more than it tells.
const SLIDE_STEP_MS: i64 = 86_400_000;
/// Longest token that is looked up, bytes.
const MAX_TOKEN: usize = 128;

/// What an application, or the visitor, says about a visitor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// Name for people; empty = as it was.
    pub name: String,
    /// Mail address; none = as it was.
    pub email: Option<String>,
}

impl Chats {
    /// Whether a text has the form of a visitor's token; other credentials are the kernel's.
    #[must_use]
    pub fn is_visitor_token(token: &str) -> bool {
        token.starts_with(VISITOR_TOKEN)
    }

    /// The visitor of a token; none when it is unknown, or over.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn authenticate_visitor(&self, token: &str) -> Result<Option<Visitor>, DbError> {
        if !Self::is_visitor_token(token) || token.len() > MAX_TOKEN {
            return Ok(None);
        }
        let (hash, now_ms) = (token_hash(token), self.now_ms());
        let Some((visitor, expires_ms)) = store::visitor_of_token(&self.kernel().db, &hash, now_ms).await? else {
            return Ok(None);
        };
        if expires_ms - now_ms < TOKEN_LIFE_MS - SLIDE_STEP_MS {
            let until_ms = now_ms + TOKEN_LIFE_MS;
            let slide = store::slide_token_write(&hash, &visitor.org, until_ms);
            let slide_push = slide_push_write(&visitor.org, &hash, until_ms);
            self.kernel().db.writer().submit(vec![slide, slide_push]).await?;
        }
        Ok(Some(visitor))
    }

    /// A visitor; of another organisation it is not found.
    ///
    /// # Errors
    /// [`ChatError::NotFound`], or what the store says.
    pub async fn visitor(&self, org: &Id, id: &str) -> Result<Visitor, ChatError> {
        store::visitor(&self.kernel().db, org, id).await?.ok_or(ChatError::NotFound)
    }

    /// The visitor that an application vouches for as `user_id`, made if there is none. Check the application's word
    /// first.
    ///
    /// # Errors
    /// What the store says.
    pub async fn vouched_visitor(&self, org: &Id, app: &Id, user_id: &str, card: &Card) -> Result<Visitor, ChatError> {
        let db = &self.kernel().db;
        let now_ms = self.now_ms();
        if let Some(known) = store::visitor_of_user(db, org, app, user_id).await? {
            let visitor = with_card(known.clone(), card);
            if visitor != known {
                db.writer().commit(vec![store::change_visitor_write(&visitor, now_ms)]).await?;
            }
            return Ok(visitor);
        }
        let visitor = Visitor { verified: true, ..self.new_visitor(org, app, user_id) };
        let visitor = with_card(visitor, card);
        let mut writes = vec![store::insert_visitor_write(&visitor, now_ms)];
        writes.extend(self.identified_writes(&visitor).await?);
        match db.writer().commit(writes).await {
            Ok(_) => Ok(visitor),
            // Another page of the same user was faster.
            Err(DbError::Duplicate(_)) => store::visitor_of_user(db, org, app, user_id).await?.ok_or(ChatError::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// The visitor that an application has vouched for as `user_id`, if there is one.
    ///
    /// # Errors
    /// What the store says.
    pub async fn known_user(&self, org: &Id, app: &Id, user_id: &str) -> Result<Option<Visitor>, ChatError> {
        Ok(store::visitor_of_user(&self.kernel().db, org, app, user_id).await?)
    }

    /// What a visitor says of itself: its name, and where mail reaches it.
    ///
    /// # Errors
    /// A limit, or what the store says.
    pub async fn describe_visitor(&self, visitor: &Visitor, card: &Card) -> Result<Visitor, ChatError> {
        let changed = with_card(visitor.clone(), card);
        if changed != *visitor {
            self.meter().act(&visitor.id, self.now_ms())?;
            let mut writes = vec![store::change_visitor_write(&changed, self.now_ms())];
            writes.extend(self.identified_writes(&changed).await?);
            self.kernel().db.writer().commit(writes).await?;
        }
        Ok(changed)
    }

    /// One more token of a visitor, for another of its browsers. Shown here and never again.
    ///
    /// # Errors
    /// A limit, or what the store says.
    pub async fn new_token(&self, visitor: &Visitor) -> Result<Secret, ChatError> {
        self.meter().act(&visitor.id, self.now_ms())?;
        let (token, write) = self.draft_token(visitor);
        self.kernel().db.writer().commit(vec![write]).await?;
        Ok(token)
    }

    /// A token of an empty room's visitor, in place of those that it had; none when somebody has written there since.
    ///
    /// # Errors
    /// What the store says.
    pub async fn token_of_empty_room(&self, room: &Room) -> Result<Option<Secret>, ChatError> {
        let visitor = self.visitor(&room.org, &room.visitor).await?;
        let (token, write) = self.draft_token(&visitor);
        let forget = store::forget_tokens_of_empty_write(&room.org, &room.visitor, &room.id);
        let [_, forget_push] = forget_push_owner_writes(&room.org, &room.visitor);
        match self.kernel().db.writer().commit(vec![forget, forget_push, write]).await {
            Ok(_) => Ok(Some(token)),
            Err(DbError::Conflict) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn new_visitor(&self, org: &Id, app: &Id, user_id: &str) -> Visitor {
        Visitor {
            id: self.kernel().ids.new("vis", self.now_ms()).into(),
            org: org.clone(),
            app: app.clone(),
            user_id: user_id.to_owned(),
            verified: false,
            name: String::new(),
            email: None,
        }
    }

    pub(super) fn draft_token(&self, visitor: &Visitor) -> (Secret, Write) {
        let now_ms = self.now_ms();
        let token = format!("{VISITOR_TOKEN}{}", self.kernel().ids.token());
        let hash = token_hash(&token);
        let write = store::token_write(&hash, &visitor.org, &visitor.id, now_ms, now_ms + TOKEN_LIFE_MS);
        (token.into(), write)
    }

    async fn identified_writes(&self, visitor: &Visitor) -> Result<Vec<Write>, DbError> {
        let data = json!({
            "visitor": &*visitor.id,
            "application": &*visitor.app,
            "user_id": visitor.user_id,
            "verified": visitor.verified,
            "name": visitor.name,
            "email": visitor.email,
        });
        self.event_writes(&visitor.org, &visitor.id, "visitor.identified", data).await
    }
}

fn with_card(mut visitor: Visitor, card: &Card) -> Visitor {
    if !card.name.is_empty() {
        visitor.name.clone_from(&card.name);
    }
    if card.email.is_some() {
        visitor.email.clone_from(&card.email);
    }
    visitor
}
