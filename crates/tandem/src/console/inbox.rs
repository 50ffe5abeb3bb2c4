//! The inbox: rooms of the support chat, answered as they are written. What it does stands in web/assets/inbox.js, over the
//! socket and the routes of `/v1/chat`.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::Path;
use kernel::{Action, Kernel, Principal, Problem, Scope};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::MayEither;
use super::page::{Page, show};
use super::visitor::Visitor;
use crate::chat::{Act, Asker, Chats};

const PATH: &str = "/console/inbox";
/// Applications whose names the page knows.
const MAX_APPS: i64 = 200;

/// Single keys and what they do; web/assets/inbox-keys.js carries them out.
const KEYS: [(&str, &str); 8] = [
    ("j ↓", "the next room"),
    ("k ↑", "the room before"),
    ("r", "write a reply"),
    ("n", "write a note"),
    ("a", "assign the room to you"),
    ("e", "close the room"),
    ("/", "search"),
    ("?", "these keys"),
];

pub(super) fn doors(doors: Doors) -> Doors {
    let answer = MayEither(Action::WorkQueue, Action::ReadChats);
    doors.get(PATH, answer, all).get("/console/inbox/{id}", answer, one)
}

#[derive(Template)]
#[template(path = "console/inbox.html")]
struct InboxPage {
    page: Page,
    /// The room that is open; empty = none yet.
    room: String,
    /// The visitor's own id.
    me: String,
    /// Whether the visitor answers, not only reads.
    works: bool,
    /// Whether in every room.
    manages: bool,
    /// What the applications are called, by their ids, where there is more than one: JSON.
    apps: String,
}

impl InboxPage {
    async fn of(kernel: &Kernel, visitor: &Visitor, room: String) -> Result<Self, Problem> {
        let apps = kernel.apps(visitor.org_id(), "", MAX_APPS).await?;
        let chats = apps.into_iter().filter(|app| app.scopes.is_empty() || app.scopes.contains(&Scope::Chat));
        let names: BTreeMap<String, String> = chats.map(|app| (app.id, app.name)).collect();
        let names = if names.len() > 1 { names } else { BTreeMap::new() };
        Ok(Self {
            apps: serde_json::to_string(&names).map_err(Problem::internal)?,
            page: visitor.page("Inbox", PATH),
            room,
            me: own_id(visitor.principal()),
            works: visitor.may(Action::WorkQueue),
            manages: visitor.may(Action::ManageChats),
        })
    }

    fn keys(&self) -> &'static [(&'static str, &'static str)] {
        &KEYS
    }
}

/// As whom messages are written: an administrator has an id there too.
fn own_id(principal: &Principal) -> String {
    match Asker::of(principal) {
        Some(Asker::Person { id, .. }) => id.to_string(),
        _ => String::new(),
    }
}

async fn all(Given(chats): Given<Chats>, visitor: Visitor) -> Result<Response, Problem> {
    show(&InboxPage::of(chats.kernel(), &visitor, String::new()).await?)
}

#[derive(Debug, Deserialize)]
struct RoomPath {
    id: String,
}

async fn one(Given(chats): Given<Chats>, visitor: Visitor, Path(path): Path<RoomPath>) -> Result<Response, Problem> {
    let asker = Asker::of(visitor.principal()).ok_or_else(Problem::not_found)?;
    let (room, _) = chats.reach(&asker, &path.id, Act::SeeInside).await?;
    show(&InboxPage::of(chats.kernel(), &visitor, room.id.to_string()).await?)
}
