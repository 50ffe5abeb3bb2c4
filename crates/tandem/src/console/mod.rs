//! The console: the pages by which people run their organisation, and administrators the installation.
//!
//! Invariant: a page shows and does what its visitor's role allows, in the one organisation that the visitor works in;
//! it decides nothing itself, but calls what the routes of `/v1` call.
//!
//! # To add a page
//! 1. A file here, named by its noun, with `pub(super) fn doors(doors: Doors) -> Doors`: each route with what it
//!    [`Needs`]. A handler takes a [`Visitor`](visitor::Visitor), and what it works with from [`State`]:
//!    ```text
//!    doors.get("/console/teams", May(Action::ReadNumbers), list)
//!         .post("/console/teams", May(Action::ManageNumbers), create)
//!    ```
//!    Call it in [`doors`] below, and name its routes in tests/it/coverage/console.rs.
//! 2. A template in web/templates/console that extends `layout.html` and has a member `page`, from
//!    [`Visitor::page`](visitor::Visitor::page). A plain list needs none: [`list::ListPage`] shows a [`table::Table`], its empty state and a
//!    button. A form is a [`form::Form`]: its fields are told in Rust, an error stands beside its field by
//!    [`form::Form::refused`], and what was typed stays by [`form::Form::filled`].
//! 3. A line in the table of [`nav`].
//!
//! A form begins `<form method="post"`: its door writes into it which organisation it was made for, and asks for that when
//! it comes back ([`made_for`]). A form that changes what was there before carries the version that it shows, and answers
//! [`page::show_conflict`] with both texts when there is a later one.
//!
//! After a change answer [`page::done`], which goes on to another page with a word of confirmation. What is shown once
//! (a key, a password) is answered at once. Links, icons and assets: [`nav`], [`icon`], [`assets`]. Nothing may be
//! loaded from elsewhere and nothing may stand inline (scripts, `style`): the pages' Content-Security-Policy forbids it.

mod account;
mod app_chat;
mod app_meetings;
mod applications;
pub mod assets;
mod audit;
mod calendar;
mod callbacks;
mod calls;
mod chat_links;
mod chat_replies;
mod chat_reports;
mod chat_widgets;
mod door;
mod export;
mod flows;
mod form;
mod graph;
mod health;
mod home;
mod icon;
mod inbox;
mod kept;
mod list;
mod made_for;
mod meeting;
mod meeting_form;
mod meeting_story;
mod meetings;
mod nav;
mod numbers;
mod organisations;
mod outbox;
mod page;
mod people;
mod phone;
mod privacy;
mod queues;
mod recordings;
mod refusal;
mod reports;
mod runs;
mod samples;
mod session;
mod settings;
mod shown_once;
mod sign_in;
mod site;
mod story;
mod table;
mod teams;
mod tokens;
mod trunks;
mod visitor;
mod webhooks;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;

pub(crate) use door::decorate;
pub use door::{Door, Needs};
pub use refusal::envelope;
pub use site::{Site, outward_address, reachable};

use crate::app::State;
use door::Doors;

/// Every route of the console with what it needs, for the router and for the walk of all roles over all routes.
fn doors() -> Doors {
    let doors = Doors::default();
    let doors = sign_in::doors(doors);
    let doors = account::doors(doors);
    let doors = tokens::doors(doors);
    let doors = organisations::doors(doors);
    let doors = home::doors(doors);
    let doors = calls::doors(doors);
    let doors = callbacks::doors(doors);
    let doors = runs::doors(doors);
    let doors = flows::doors(doors);
    let doors = phone::doors(doors);
    let doors = recordings::doors(doors);
    let doors = queues::doors(doors);
    let doors = teams::doors(doors);
    let doors = numbers::doors(doors);
    let doors = trunks::doors(doors);
    let doors = meetings::doors(doors);
    let doors = inbox::doors(doors);
    let doors = chat_replies::doors(doors);
    let doors = chat_reports::doors(doors);
    let doors = chat_widgets::doors(doors);
    let doors = applications::doors(doors);
    let doors = app_chat::doors(doors);
    let doors = chat_links::doors(doors);
    let doors = webhooks::doors(doors);
    let doors = outbox::doors(doors);
    let doors = settings::doors(doors);
    let doors = audit::doors(doors);
    let doors = privacy::doors(doors);
    let doors = reports::doors(doors);
    let doors = health::doors(doors);
    people::doors(doors)
}

/// The console's routes: method, path and need.
pub fn plan() -> Vec<Door> {
    doors().plan()
}

/// The pages and their assets. Who types the server's name alone is led here.
pub fn router(state: &State) -> Router {
    doors().router(state).merge(assets::router()).route("/", get(async || Redirect::to("/console")))
}
