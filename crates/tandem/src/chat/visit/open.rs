//! A room opened by one request of a visitor's page: whose page it is, who the visitor is, and which room.
//!
//! Invariant: an application is named by its public id, and everything else follows from it; nobody gets a room by naming
//! its keys, only by the token of its visitor or by the application's word.

use std::net::IpAddr;

use kernel::app::App;
use kernel::{Kernel, RecordError, Scope, Secret};

use super::super::identity::{Expected, Proof, verify};
use super::super::model::{Id, Refused, Visitor};
use super::super::settings::Identity;
use super::super::visitors::Card;
use super::super::{ChatError, ChatSettings, Chats, FlowBegins, How, OpenRoom, Opened, Opener};
use super::settings::{self, WidgetSettings};

/// Letters of the name of a visitor who gave none.
const GUEST_LETTERS: usize = 8;
/// Longest id of an application that is looked up.
const MAX_APP: usize = 64;
/// Longest name of a product, a user and a person, characters.
const MAX_NAME: usize = 200;

/// An application with a chat, as its public id names it.
#[derive(Clone, Debug)]
pub struct Door {
    /// The organisation.
    pub org: Id,
    /// The organisation's short name: the label of rooms opened here.
    pub label: String,
    /// The application.
    pub app: App,
    /// What it decides about its chat.
    pub chat: std::sync::Arc<ChatSettings>,
    /// How its widget looks.
    pub widget: WidgetSettings,
}

impl Door {
    /// What stands at the head of the chat.
    #[must_use]
    pub fn title(&self) -> &str {
        if self.widget.title.is_empty() { &self.app.name } else { &self.widget.title }
    }
}

/// What a visitor's page asks for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The token of a visitor that is known.
    pub token: Option<Secret>,
    /// By which the application vouches: a JSON Web Token.
    pub identity_token: Option<String>,
    /// As which the application knows the visitor.
    pub user_id: Option<String>,
    /// By which the application vouches for `user_id`.
    pub user_hash: Option<String>,
    /// What the visitor says of itself.
    pub name: Option<String>,
    /// What the visitor says of itself.
    pub email: Option<String>,
    /// What the chat is about; none = as the widget says.
    pub product: Option<String>,
    /// The id of a QR code, or of a public link.
    pub link: Option<String>,
    /// Another room than the last one.
    pub is_fresh: bool,
    /// It leaves a message while nobody is there, which anybody may.
    pub is_offline: bool,
    /// What the page calls this wish: told twice, it is the same room.
    pub once: Option<String>,
    /// Only a room that is there: none is made.
    pub is_look: bool,
    /// From where.
    pub address: Option<IpAddr>,
}

impl Chats {
    /// The application of a public id, if it has a chat.
    ///
    /// # Errors
    /// [`ChatError::NotFound`], or what the store says.
    pub async fn door(&self, app: &str) -> Result<Door, ChatError> {
        if app.len() > MAX_APP {
            return Err(ChatError::NotFound);
        }
        let missing = |error| match error {
            RecordError::NotFound { .. } => ChatError::NotFound,
            other => ChatError::from(other),
        };
        let org: Id = self.kernel().org_of_app(app).await.map_err(missing)?.into();
        let app = self.kernel().app(&org, app).await.map_err(missing)?;
        self.door_of(org, app).await
    }

    /// The door of an application of an organisation.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] when it has no chat, or what the store says.
    pub async fn door_of(&self, org: Id, app: App) -> Result<Door, ChatError> {
        if !app.scopes.is_empty() && !app.scopes.contains(&Scope::Chat) {
            return Err(ChatError::NotFound);
        }
        let found = self.kernel().org_by_id(&org).await?.ok_or(ChatError::NotFound)?;
        let id: Id = app.id.as_str().into();
        let chat = self.settings(&org, &id).await?;
        let widget = WidgetSettings::read(&app.settings);
        Ok(Door { org, label: found.slug, app, chat, widget })
    }

    /// Opens a room as a visitor's page asks for it.
    ///
    /// # Errors
    /// [`ChatError`]: a token that is over, a word that proves nothing, a limit.
    pub async fn visit(&self, door: &Door, wish: &Wish) -> Result<Opened, ChatError> {
        let known = self.known(door, wish).await?;
        let card = card(wish)?;
        let (opener, user_id, needs_token) = match known {
            Some(Known { visitor, has_token }) => {
                let visitor = self.describe_visitor(&visitor, &card).await?;
                let user_id = visitor.user_id.clone();
                (Opener::Visitor(visitor), user_id, !has_token)
            }
            None => (Opener::Stranger, self.guest(), false),
        };
        let is_vouched = matches!(&opener, Opener::Visitor(visitor) if visitor.verified);
        let vouched = match &opener {
            Opener::Visitor(visitor) => Some(visitor.clone()),
            Opener::Anyone | Opener::Stranger => None,
        };
        let mut room = self.keys(door, wish, user_id).await?;
        room.opener = opener;
        room.is_login = is_vouched;
        let mut opened = if wish.is_look {
            self.found_room(&room).await?.ok_or(ChatError::NotFound)?
        } else {
            self.open_room(room).await?
        };
        if let Some(link) = wish.link.as_deref().filter(|_| opened.created) {
            let used = self.use_qr_write(&door.org, link, &opened.room.id);
            self.kernel().db.writer().commit(vec![used]).await?;
        }
        match vouched {
            Some(visitor) if needs_token => opened.token = Some(self.new_token(&visitor).await?),
            None if card != Card::default() && opened.created => {
                let visitor = self.visitor(&door.org, &opened.visitor).await?;
                self.describe_visitor(&visitor, &card).await?;
            }
            Some(_) | None => {}
        }
        Ok(opened)
    }

    /// The keys of the room: those of a QR code (document 002, `init`), else the visitor's own.
    async fn keys(&self, door: &Door, wish: &Wish, user_id: String) -> Result<OpenRoom, ChatError> {
        let qr = match &wish.link {
            Some(link) => Some(self.qr_id(&door.org, link).await?.ok_or(ChatError::NotFound)?),
            None => None,
        };
        let said = wish.product.clone().filter(|product| !product.trim().is_empty());
        let of_qr = qr.as_ref().map(|qr| qr.product.clone()).filter(|product| !product.is_empty());
        let product = said.or(of_qr).unwrap_or_else(|| door.widget.product.clone());
        let product = settings::line(&product, MAX_NAME).ok_or(Refused::Product)?;
        let portfolio = match &qr {
            Some(qr) if !qr.portfolio.is_empty() => qr.portfolio.clone(),
            Some(qr) => qr.id.clone(),
            None => user_id.clone(),
        };
        Ok(OpenRoom {
            org: door.org.clone(),
            app: door.app.id.as_str().into(),
            opener: Opener::Stranger,
            how: if wish.is_fresh { How::New } else { How::GetOrCreate },
            user_id: qr.map_or(user_id, |qr| qr.id),
            label: door.label.clone(),
            portfolio,
            product,
            is_login: false,
            flow: if wish.is_offline { FlowBegins::Never } else { FlowBegins::AtWord },
            once: wish.once.clone(),
            address: wish.address,
        })
    }

    /// The visitor as far as anything proves it.
    async fn known(&self, door: &Door, wish: &Wish) -> Result<Option<Known>, ChatError> {
        if let Some(visitor) = self.vouched(door, wish).await? {
            return Ok(Some(Known { visitor, has_token: false }));
        }
        if wish.is_offline && door.chat.identity == Identity::Verified {
            return Ok(None);
        }
        if door.chat.identity == Identity::Verified {
            return Err(ChatError::Unproved("the application vouches for each visitor, and did not".to_owned()));
        }
        let Some(token) = &wish.token else { return Ok(None) };
        let found = self.authenticate_visitor(token.expose()).await?;
        let visitor = found.filter(|visitor| visitor.org == door.org && *visitor.app == *door.app.id);
        let visitor = visitor.ok_or_else(|| ChatError::Unproved("the visitor token is over".to_owned()))?;
        Ok(Some(Known { visitor, has_token: true }))
    }

    /// The visitor that the application vouches for.
    async fn vouched(&self, door: &Door, wish: &Wish) -> Result<Option<Visitor>, ChatError> {
        let proof = match (&wish.identity_token, &wish.user_hash) {
            (Some(token), _) => Proof::Token(token),
            (None, Some(hash)) => Proof::Hash(hash),
            (None, None) => return Ok(None),
        };
        let secrets = door.chat.open_identity_secrets(&self.kernel().secrets)?;
        let expected = Expected { orgs: &[&door.org, &door.label], user_id: wish.user_id.as_deref() };
        let user_id =
            verify(&secrets, proof, expected, self.now_ms()).map_err(|why| ChatError::Unproved(why.to_string()))?;
        let app: Id = door.app.id.as_str().into();
        // Who only looks leaves nothing behind.
        if wish.is_look {
            return self.known_user(&door.org, &app, &user_id).await?.ok_or(ChatError::NotFound).map(Some);
        }
        Ok(Some(self.vouched_visitor(&door.org, &app, &user_id, &card(wish)?).await?))
    }

    /// A name for somebody who gave none.
    fn guest(&self) -> String {
        format!("guest-{}", guest_letters(self.kernel()))
    }
}

fn guest_letters(kernel: &Kernel) -> String {
    kernel.ids.token().chars().filter(char::is_ascii_alphanumeric).take(GUEST_LETTERS).collect()
}

/// A visitor, and whether its token came with the request.
struct Known {
    visitor: Visitor,
    has_token: bool,
}

fn card(wish: &Wish) -> Result<Card, ChatError> {
    let said = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let [name_at, email_at] = if wish.is_offline { ["/name", "/email"] } else { ["/identity/name", "/identity/email"] };
    let name =
        said(&wish.name).map(|name| settings::line(&name, MAX_NAME).ok_or(ChatError::Field(name_at, Refused::Author)));
    let email =
        said(&wish.email).map(|email| settings::email(&email).ok_or(ChatError::Field(email_at, Refused::Email)));
    Ok(Card { name: name.transpose()?.unwrap_or_default(), email: email.transpose()? })
}
