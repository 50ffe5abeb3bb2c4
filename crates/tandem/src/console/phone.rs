//! `/phone`: the visitor's own phone. What it does stands in web/assets/phone.js.

use askama::Template;
use axum::response::Response;
use kernel::{Action, Problem};

use super::door::Doors;
use super::door::Needs::May;
use super::page::{Page, show};
use super::visitor::Visitor;

/// Where it is.
const PATH: &str = "/phone";

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, May(Action::UseOwnPhone), phone)
}

#[derive(Template)]
#[template(path = "console/phone.html")]
struct PhonePage {
    page: Page,
}

async fn phone(visitor: Visitor) -> Result<Response, Problem> {
    show(&PhonePage { page: visitor.page("Phone", PATH) })
}
