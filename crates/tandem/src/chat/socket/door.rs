//! Who may come in by a socket or a stream, and who is told that somebody came.
//!
//! Invariant: a page of another site hears nothing unless the application of its visitor allows the site (contract chat,
//! "origins"); a visitor has so many sockets at once, and the server so many of all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::HeaderMap;
use axum::http::header::ORIGIN;
use kernel::error::codes;
use kernel::{Kernel, Problem};

use super::follow::Following;
use super::pulse::Pulse;
use crate::chat::hub::{Left, News, What, Who};
use crate::chat::meter::SocketPlace;
use crate::chat::model::{Id, Side};
use crate::chat::settings::Limits;
use crate::chat::{Asker, Chats, Wide};

/// Sockets and streams of all organisations at once.
const MAX_OPEN: usize = 50_000;
/// Seconds to wait when there are as many.
const FULL_RETRY_S: u64 = 10;

/// What sockets and streams share. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    pub(super) chats: Chats,
    pub(super) kernel: Kernel,
    pub(super) pulse: Pulse,
    open: Arc<AtomicUsize>,
}

/// A place among all; dropped, it is free again.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The page that a request comes from, as its browser says; without one it is no browser's.
pub(super) struct Page {
    origin: Option<String>,
    is_own: bool,
}

impl Page {
    pub(super) fn of(headers: &HeaderMap, kernel: &Kernel) -> Self {
        let origin = headers.get(ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned());
        Self { origin, is_own: kernel.is_own_page(headers) }
    }

    /// Whether a cookie is believed: another site's page has it too, but not its owner's will.
    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }
}

impl Door {
    /// Opens it.
    #[must_use]
    pub fn start(kernel: &Kernel, chats: &Chats) -> Self {
        Self { chats: chats.clone(), kernel: kernel.clone(), pulse: Pulse::start(kernel), open: Arc::default() }
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// One more of all.
    ///
    /// # Errors
    /// 503 when there are as many as may be.
    pub(super) fn enter(&self) -> Result<Place, Problem> {
        let place = Place(Arc::clone(&self.open));
        // The place counts itself away again if it is one too many.
        if self.open.fetch_add(1, Ordering::Relaxed) < MAX_OPEN {
            Ok(place)
        } else {
            Err(Problem::new(codes::UNAVAILABLE).retry_after(FULL_RETRY_S))
        }
    }

    /// Whether an application is heard on a page.
    ///
    /// # Errors
    /// 403.
    pub(super) async fn admits(&self, page: &Page, org: &Id, app: &Id) -> Result<(), Problem> {
        let Some(origin) = page.origin.as_deref().filter(|_| !page.is_own) else { return Ok(()) };
        let settings = self.chats.settings(org, app).await?;
        if settings.allows_origin(origin) { Ok(()) } else { Err(Problem::new(codes::FOREIGN_ORIGIN)) }
    }

    /// The same before anybody was recognised, for a page that names the application of its widget.
    ///
    /// # Errors
    /// 403, also for an application that there is not.
    pub(super) async fn admits_widget(&self, page: &Page, app: &str) -> Result<(), Problem> {
        let org = self.kernel.org_of_app(app).await.map_err(|_| Problem::new(codes::FOREIGN_ORIGIN))?;
        self.admits(page, &org.into(), &app.into()).await
    }

    /// A seat for somebody's socket; a visitor has so many, to be kept while the socket is open, and the oldest gives way.
    ///
    /// # Errors
    /// 429 for a visitor whose streams have all of them, 403 for a person who does not answer visitors.
    pub(super) async fn seat(&self, asker: &Asker) -> Result<Option<SocketPlace>, Problem> {
        let Some((id, limits)) = self.seats(asker).await? else { return Ok(None) };
        Ok(Some(self.chats.meter().socket(id, &limits)?))
    }

    /// A seat for somebody's stream, from among the same.
    ///
    /// # Errors
    /// 429 for a visitor who has as many as it may have, 403 for a person who does not answer visitors.
    pub(super) async fn stream_seat(&self, asker: &Asker) -> Result<Option<SocketPlace>, Problem> {
        let Some((id, limits)) = self.seats(asker).await? else { return Ok(None) };
        Ok(Some(self.chats.meter().stream(id, &limits)?))
    }

    /// Who is counted, and up to what; nobody is who answers visitors.
    async fn seats<'a>(&self, asker: &'a Asker) -> Result<Option<(&'a Id, Limits)>, Problem> {
        let Asker::Visitor { org, app, id } = asker else {
            self.chats.may_everywhere(asker, Wide::SeeRooms).await?;
            return Ok(None);
        };
        Ok(Some((id, self.chats.settings(org, app).await?.limits.clone())))
    }

    /// Tells that somebody has come: a visitor to those who answer in its rooms, those who answer to every visitor, and
    /// only the first of them.
    pub(super) fn tell_arrival(&self, following: &mut Following) {
        let (rooms, is_first) = following.arrived();
        self.tell_presence(following.asker(), &rooms, is_first, true);
    }

    /// Tells that somebody has gone, if it was the last of them; it hears nothing more.
    pub(super) fn tell_departure(&self, following: &mut Following) {
        let Left { rooms, is_last } = following.leave();
        self.tell_presence(following.asker(), &rooms, is_last, false);
    }

    fn tell_presence(&self, asker: &Asker, rooms: &[Id], is_support: bool, is_here: bool) {
        let hub = self.chats.hub();
        match asker {
            Asker::Visitor { org, app, .. } => {
                for room in rooms {
                    let what = What::Presence { who: anyone(Side::Visitor), is_here };
                    hub.tell(News::at(org, app, room, what).inside());
                }
            }
            Asker::Person { org, .. } if is_support => {
                hub.tell_visitors(org, || What::Presence { who: anyone(Side::Support), is_here });
            }
            Asker::Person { .. } | Asker::App { .. } | Asker::Open { .. } | Asker::Room { .. } => {}
        }
    }
}

fn anyone(side: Side) -> Who {
    Who { side, id: None, name: String::new() }
}
