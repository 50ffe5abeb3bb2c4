//! Desk of support chat (document 002): a visitor on a page opens a room, the organisation answers.
//!
//! The rules are pure: `model` says what may be written, `access` who may do what. Around them stand the store, `live`
//! (the rooms that are written in at this moment), `hub` (who listens) and the routes. Source: docs/contracts/chat.md.

pub mod access;
pub mod api;
mod desk;
pub mod documented;
pub mod error;
pub mod hub;
pub mod identity;
pub mod inbox;
pub mod links;
mod live;
pub mod meter;
pub mod model;
mod opening;
pub mod origins;
pub mod products;
mod reading;
pub mod recent;
pub mod settings;
pub mod socket;
mod store;
#[cfg(test)]
mod tests;
pub mod view;
pub mod visit;
mod visitors;

use std::sync::Arc;

use kernel::app::App;
use kernel::{Kernel, RecordError, Scope};

pub use access::{Act, Asker, Wide};
pub use desk::{Change, MAX_PAGE};
pub use error::ChatError;
pub use hub::{Heard, Hub, News, Subscription, What, Who};
pub use opening::{How, OpenRoom, Opened, Opener};
pub use settings::ChatSettings;
pub(crate) use store::concerning;
pub use store::{RoomFilter, RoomOrder, RoomPage};
pub use visitors::TOKEN_LIFE_MS;

use inbox::{Inbox, Unread};
use live::Live;
use meter::Meter;
use model::Id;
use reading::Readings;
use recent::Recent;
use settings::Remembered;

/// Applications that are looked through for the oldest one with a chat.
const MAX_APPS: i64 = 1_000;

/// The desk. Cheap to clone.
#[derive(Clone)]
pub struct Chats(Arc<Inner>);

struct Inner {
    kernel: Kernel,
    hub: Hub,
    live: Live,
    meter: Meter,
    settings: Remembered,
    lists: origins::Lists,
    recent: Recent,
    inbox: Inbox,
    unread: Unread,
    readings: Readings,
}

impl Chats {
    /// Opens the desk.
    #[must_use]
    pub fn start(kernel: &Kernel) -> Self {
        let hub = Hub::default();
        Self(Arc::new(Inner {
            kernel: kernel.clone(),
            live: Live::start(kernel, &hub),
            hub,
            meter: Meter::default(),
            settings: Remembered::default(),
            lists: origins::Lists::default(),
            recent: Recent::default(),
            inbox: Inbox::default(),
            unread: Unread::default(),
            readings: Readings::default(),
        }))
    }

    /// What an application has decided about its chat; remembered for a second.
    ///
    /// # Errors
    /// What the store says; an application that was ended has its defaults.
    pub async fn settings(&self, org: &Id, app: &Id) -> Result<Arc<ChatSettings>, ChatError> {
        let now_ms = self.now_ms();
        if let Some(settings) = self.0.settings.get(org, app, now_ms) {
            return Ok(settings);
        }
        let settings = match self.kernel().app(org, app).await {
            Ok(app) => ChatSettings::read(&app.settings),
            Err(RecordError::NotFound { .. }) => ChatSettings::default(),
            Err(error) => return Err(error.into()),
        };
        Ok(self.0.settings.put(org, app, settings, now_ms))
    }

    /// The application that keyless requests of an organisation belong to: its oldest one that may chat.
    ///
    /// # Errors
    /// What the store says.
    pub async fn default_app(&self, org: &Id) -> Result<Option<App>, ChatError> {
        let apps = self.kernel().apps(org, "", MAX_APPS).await?;
        let chats = |app: &App| app.scopes.is_empty() || app.scopes.contains(&Scope::Chat);
        Ok(apps.into_iter().filter(chats).min_by_key(|app| (app.created_at, app.id.clone())))
    }

    /// Who listens on this node.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.0.kernel.clock.now_ms()
    }

    fn live(&self) -> &Live {
        &self.0.live
    }

    /// What visitors have used up of their limits.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// The origins that applications list.
    fn lists(&self) -> &origins::Lists {
        &self.0.lists
    }

    /// What this node remembers of queues.
    fn inbox(&self) -> &Inbox {
        &self.0.inbox
    }

    /// Where something was said that cannot be searched yet.
    fn unread(&self) -> &Unread {
        &self.0.unread
    }

    /// Who looked into which room within the hour.
    fn readings(&self) -> &Readings {
        &self.0.readings
    }

    /// What was given to somebody a moment ago.
    pub(crate) fn recent(&self) -> &Recent {
        &self.0.recent
    }
}
