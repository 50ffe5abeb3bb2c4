//! `/phone`: the visitor's own phone. What it does stands in web/assets/phone.js.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::Query;
use kernel::{Action, Kernel, Problem};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::May;
use super::page::{Page, show};
use super::visitor::Visitor;

/// Where it is.
const PATH: &str = "/phone";
const SOCKET: &str = "/v1/rtc";

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, May(Action::UseOwnPhone), phone)
}

/// `?extension=1002`
#[derive(Debug, Deserialize)]
struct PhoneQuery {
    extension: Option<String>,
}

#[derive(Template)]
#[template(path = "console/phone.html")]
struct PhonePage {
    page: Page,
    /// The own extensions, when there are several, and whether the phone is that one's.
    extensions: Vec<(String, bool)>,
    /// Where the phone's socket is.
    socket: String,
}

async fn phone(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Query(query): Query<PhoneQuery>,
) -> Result<Response, Problem> {
    let own = visitor.extensions(&kernel).await?;
    let chosen = query.extension.filter(|wanted| own.contains(wanted)).or_else(|| own.first().cloned());
    let socket = match &chosen {
        Some(extension) => format!("{SOCKET}?extension={extension}"),
        None => SOCKET.to_owned(),
    };
    let several = own.len() > 1;
    let extensions = own.into_iter().filter(|_| several).map(|number| {
        let is_chosen = chosen.as_ref() == Some(&number);
        (number, is_chosen)
    });
    show(&PhonePage { page: visitor.page("Phone", PATH), extensions: extensions.collect(), socket })
}
