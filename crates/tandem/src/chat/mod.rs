//! Desk of support chat (document 002): a visitor on a page opens a room, the organisation answers.
//!
//! The rules are pure: `model` says what may be written, `access` who may do what. Around them stand the store, `live`
//! (the rooms that are written in at this moment), `hub` (who listens) and the routes. Source: docs/contracts/chat.md.

pub mod access;
pub mod api;
pub mod calling;
mod changing;
mod defaults;
mod desk;
pub mod documented;
pub mod error;
mod flow;
pub mod hub;
pub mod identity;
pub mod inbox;
pub mod links;
mod live;
pub mod meter;
pub mod model;
mod opening;
pub mod origins;
mod overview;
pub mod products;
mod push;
mod reading;
pub mod recent;
mod sending;
pub mod settings;
pub mod socket;
mod store;
#[cfg(test)]
mod tests;
pub mod view;
pub mod visit;
mod visitors;

use std::sync::{Arc, OnceLock};

use kernel::app::App;
use kernel::{Kernel, RecordError, Scope};

use calling::WeakCalls;

pub use access::{Act, Asker, Wide};
pub use changing::Change;
pub use desk::MAX_PAGE;
pub use error::ChatError;
pub use hub::{Heard, Hub, News, Subscription, What, Who};
pub use opening::{FlowBegins, How, OpenRoom, Opened, Opener};
pub use overview::{Overview, OverviewPage};
pub use settings::ChatSettings;
pub(crate) use store::concerning;
pub use store::{RoomFilter, RoomOrder, RoomPage};
pub use visitors::TOKEN_LIFE_MS;

use defaults::Defaults;
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
    defaults: Defaults,
    flows: flow::Flows,
    /// The calls of chats, once they are taken; they hold the desk, not the desk them.
    calling: OnceLock<WeakCalls>,
    readings: Readings,
}

impl Chats {
    /// Opens the desk.
    #[must_use]
    pub fn start(kernel: &Kernel) -> Self {
        kernel.tasks.spawn(warn_of_open_ones(kernel.clone()));
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
            defaults: Defaults::default(),
            flows: flow::Flows::default(),
            calling: OnceLock::new(),
            readings: Readings::default(),
        }))
    }

    /// What an application has decided about its chat; remembered for a second.
    ///
    /// # Errors
    /// What the store says; one that was ended is [`ChatSettings::ended`].
    pub async fn settings(&self, org: &Id, app: &Id) -> Result<Arc<ChatSettings>, ChatError> {
        let now_ms = self.now_ms();
        if let Some(settings) = self.0.settings.get(org, app, now_ms) {
            return Ok(settings);
        }
        let settings = match self.kernel().app(org, app).await {
            Ok(app) => ChatSettings::read(&app.settings),
            Err(RecordError::NotFound { .. }) => ChatSettings::ended(),
            Err(error) => return Err(error.into()),
        };
        Ok(self.0.settings.put(org, app, settings, now_ms))
    }

    /// The application that keyless requests of an organisation belong to: its oldest one that may chat; remembered for
    /// a second.
    ///
    /// # Errors
    /// What the store says.
    pub async fn default_app(&self, org: &Id) -> Result<Option<App>, ChatError> {
        let now_ms = self.now_ms();
        if let Some(known) = self.0.defaults.get(org, now_ms) {
            return Ok(known);
        }
        let apps = self.kernel().apps(org, "", MAX_APPS).await?;
        let chats = |app: &App| app.scopes.is_empty() || app.scopes.contains(&Scope::Chat);
        let oldest = apps.into_iter().filter(chats).min_by_key(|app| (app.created_at, app.id.clone()));
        self.0.defaults.put(org, oldest.clone(), now_ms);
        Ok(oldest)
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

    /// Flows that answer rooms.
    fn flows(&self) -> &flow::Flows {
        &self.0.flows
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

    /// Who begins and ends calls here, from now on.
    fn take_calls(&self, calling: WeakCalls) {
        let _already = self.0.calling.set(calling);
    }

    /// A room was closed: its call, if it has one, ends.
    async fn end_call(&self, room: &model::Room) {
        let Some(calling) = self.0.calling.get().and_then(WeakCalls::upgrade) else { return };
        if let Err(error) = calling.room_closed(&room.org, &room.id).await {
            tracing::warn!(org = %room.org, room = %room.id, %error, "the call of a closed chat ends a little later");
        }
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

/// Says at the start which applications anybody may use without a key.
async fn warn_of_open_ones(kernel: Kernel) {
    match store::warnings(&kernel.db).await {
        Ok(warnings) => {
            for (app, warning) in warnings {
                tracing::warn!(app, "{warning}");
            }
        }
        Err(error) => tracing::warn!(%error, "the settings of chats could not be looked through"),
    }
}
