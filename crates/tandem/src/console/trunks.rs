//! Trunks: carriers, with their state.

use axum::extract::State as Given;
use axum::response::Response;
use calls::NewTrunk;
use kernel::http::Path;
use kernel::time::rfc3339;
use kernel::{Action, Kernel, Problem, Secret};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::May;
use super::form::{Field, Form, Posted};
use super::list::{FormPage, Link, ListPage};
use super::page::{done, show, show_refused};
use super::table::{Cell, Table};
use super::visitor::Visitor;

const PATH: &str = "/console/trunks";

pub(super) fn doors(doors: Doors) -> Doors {
    let manage = May(Action::ManageNumbers);
    doors
        .get(PATH, May(Action::ReadNumbers), list)
        .get("/console/trunks/new", manage, ask)
        .post("/console/trunks/new", manage, create)
        .post("/console/trunks/{id}/remove", manage, remove)
}

/// How a carrier fares.
fn state(word: &str) -> Cell {
    let colour = match word {
        "ready" | "registered" => "good",
        "failed" | "down" | "rejected" | "unreachable" => "bad",
        _ => "busy",
    };
    Cell::State(word.to_owned(), colour)
}

async fn list(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    let manages = visitor.may(Action::ManageNumbers);
    let found = calls::trunks(&kernel, visitor.org_id()).await.map_err(Problem::internal)?;
    let rows = found.into_iter().map(|trunk| {
        let remove = format!("{PATH}/{}/remove", trunk.id);
        let sure = Some("Remove this trunk? Numbers that only it takes have no route any more.");
        vec![
            Cell::text(trunk.name),
            Cell::text(if trunk.register { "registers" } else { "by address" }),
            state(&trunk.state),
            Cell::time((trunk.state_at_ms > 0).then(|| rfc3339(trunk.state_at_ms))),
            if manages { Cell::Button("Remove", remove, sure) } else { Cell::Empty },
        ]
    });
    let table = Table::new("Trunks", &["Name", "Way", "State", "Since", ""]).with(rows);
    let about = "Carriers, in the order in which they are tried for a number outside.";
    let empty = "There is no trunk yet: only extensions can be called. Add your carrier.";
    let page = ListPage::new(visitor.page("Trunks", PATH), about, table, empty);
    show(&page.action(manages, "Add a trunk", "/console/trunks/new"))
}

fn form() -> Form {
    Form::new("/console/trunks/new", "Add")
        .with(Field::line("name", "Name").hint("Such as carrier."))
        .with(
            Field::text("target", "Targets", 2)
                .hint("HOST, HOST:PORT, with ;transport=udp, tcp or tls; one a line, tried in their order."),
        )
        .with(Field::line("username", "User name").optional())
        .with(Field::typed("password", "Password", "password").optional().autocomplete("new-password"))
        .with(
            Field::line("domain", "Domain").optional().hint("When the carrier's SIP domain is not the target's host."),
        )
        .with(Field::tick("register", "Register with the carrier"))
        .with(Field::tick("ping", "Ask it every now and then whether it is there"))
        .with(Field::tick("srtp", "Encrypt the audio (SRTP)"))
        .with(
            Field::line("caller_ids", "Caller ids")
                .optional()
                .hint("Numbers of yours that it lets you show; the first is the default."),
        )
        .with(Field::line("pool", "Pool for masked calls").optional())
}

fn page(visitor: &Visitor, form: Form) -> FormPage {
    FormPage {
        page: visitor.page("Add a trunk", PATH),
        about: "Every number that is not of the organisation goes to its trunks, except emergency and premium ones.",
        back: Link::new("Back to the trunks", PATH),
        form,
    }
}

async fn ask(visitor: Visitor) -> Result<Response, Problem> {
    show(&page(&visitor, form()))
}

async fn create(Given(kernel): Given<Kernel>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let new = NewTrunk {
        name: posted.get("name").to_owned(),
        targets: posted.words("target"),
        username: posted.optional("username"),
        password: posted.optional("password").map(Secret::new),
        domain: posted.optional("domain"),
        register: posted.is_ticked("register"),
        ping: posted.is_ticked("ping"),
        srtp: posted.is_ticked("srtp"),
        caller_ids: posted.words("caller_ids"),
        pool: posted.words("pool"),
    };
    match calls::create_trunk(&kernel, visitor.org_id(), new).await {
        Ok(_) => Ok(done(PATH, "created")),
        Err(error) => show_refused(&page(&visitor, form().filled(&posted).refused(field_of(error.into()))?)),
    }
}

/// The command line's words for the same fields.
fn field_of(mut problem: Problem) -> Problem {
    for error in &mut problem.errors {
        error.pointer = match error.pointer.as_str() {
            "/caller-id" | "/caller_id" => "/caller_ids".to_owned(),
            "/targets" => "/target".to_owned(),
            other => other.to_owned(),
        };
    }
    problem
}

#[derive(Debug, Deserialize)]
struct TrunkPath {
    id: String,
}

async fn remove(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<TrunkPath>,
) -> Result<Response, Problem> {
    match calls::remove_trunk(&kernel, visitor.org_id(), &path.id).await.map_err(Problem::internal)? {
        true => Ok(done(PATH, "deleted")),
        false => Err(Problem::not_found()),
    }
}
