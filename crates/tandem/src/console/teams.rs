//! Teams: one number that rings several people.

use axum::extract::State as Given;
use axum::response::Response;
use calls::{NewTeam, TeamStrategy};
use kernel::http::Path;
use kernel::{Action, Kernel, Problem};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::May;
use super::form::{Choice, Field, Form, Posted};
use super::list::{FormPage, Link, ListPage};
use super::page::{done, show, show_refused};
use super::table::{Cell, Table};
use super::visitor::Visitor;

const PATH: &str = "/console/teams";
/// How a team's members ring.
const STRATEGIES: [TeamStrategy; 3] = [TeamStrategy::RingAll, TeamStrategy::LongestIdle, TeamStrategy::RoundRobin];

pub(super) fn doors(doors: Doors) -> Doors {
    let manage = May(Action::ManageNumbers);
    doors
        .get(PATH, May(Action::ReadNumbers), list)
        .get("/console/teams/new", manage, ask)
        .post("/console/teams/new", manage, create)
        .post("/console/teams/{id}/remove", manage, remove)
}

async fn list(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    let org = visitor.org_id();
    let manages = visitor.may(Action::ManageNumbers);
    let mut table = Table::new("Teams", &["Name", "Number", "Rings", "Members", ""]);
    for team in calls::teams(&kernel, org).await.map_err(Problem::internal)? {
        let sure = Some("Give this team up? Its number is free again.");
        table.row(vec![
            Cell::text(team.name),
            Cell::Code(team.number),
            Cell::text(team.strategy.as_str().replace('_', " ")),
            if team.members.is_empty() {
                Cell::Quiet("nobody".to_owned())
            } else {
                Cell::Code(team.members.join(", "))
            },
            if manages { Cell::Button("Remove", format!("{PATH}/{}/remove", team.id), sure) } else { Cell::Empty },
        ]);
    }
    let about = "A number inside the organisation that reaches several people.";
    let empty = "There is no team yet. Make one of the people who answer for the same thing.";
    show(&ListPage::new(visitor.page("Teams", PATH), about, table, empty).action(
        manages,
        "New team",
        "/console/teams/new",
    ))
}

async fn form(kernel: &Kernel, visitor: &Visitor) -> Result<Form, Problem> {
    let extensions = calls::extensions(kernel, visitor.org_id()).await.map_err(Problem::internal)?;
    let members: Vec<Choice> = extensions
        .into_iter()
        .map(|entry| (entry.number.clone(), format!("{} {}", entry.number, entry.name)))
        .collect();
    let strategy = |one: &TeamStrategy| (one.as_str().to_owned(), one.as_str().replace('_', " "));
    let strategies = STRATEGIES.iter().map(strategy).collect();
    Ok(Form::new("/console/teams/new", "Make the team")
        .with(Field::line("name", "Name"))
        .with(Field::line("number", "Number").hint("2 to 7 digits that nobody has yet, such as 5263."))
        .with(Field::one("strategy", "How members ring", strategies))
        .with(
            Field::typed("wrap_up_s", "Time to write a call up", "number")
                .optional()
                .hint("Seconds after a call in which a member is offered none; 0 when empty."),
        )
        .with(
            Field::typed("ring_s", "Ring time of one offer", "number")
                .optional()
                .hint("Seconds that a member's phones ring before the next is tried."),
        )
        .with(Field::many("member", "Members", members).hint("People with an extension.")))
}

fn page(visitor: &Visitor, form: Form) -> FormPage {
    FormPage {
        page: visitor.page("New team", PATH),
        about: "Who answers this number, and how they ring.",
        back: Link::new("Back to the teams", PATH),
        form,
    }
}

async fn ask(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    show(&page(&visitor, form(&kernel, &visitor).await?))
}

async fn create(Given(kernel): Given<Kernel>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let seconds = |name: &'static str| match posted.optional(name) {
        None => Ok(None),
        Some(typed) => typed.parse::<i64>().map(Some).map_err(|_| name),
    };
    let (wrap_up_s, ring_s) = match (seconds("wrap_up_s"), seconds("ring_s")) {
        (Ok(wrap_up_s), Ok(ring_s)) => (wrap_up_s, ring_s),
        (Err(name), _) | (_, Err(name)) => {
            let form = form(&kernel, &visitor).await?.filled(&posted).wrong(name, "a whole number of seconds");
            return show_refused(&page(&visitor, form));
        }
    };
    let new = NewTeam {
        wrap_up_s,
        ring_s,
        name: posted.get("name").to_owned(),
        number: posted.get("number").to_owned(),
        strategy: posted.optional("strategy"),
        members: posted.all("member").to_vec(),
        ..NewTeam::default()
    };
    match calls::create_team(&kernel, visitor.org_id(), new).await {
        Ok(_) => Ok(done(PATH, "created")),
        Err(error) => {
            let form = form(&kernel, &visitor).await?.filled(&posted).refused_record(error, "member")?;
            show_refused(&page(&visitor, form))
        }
    }
}

#[derive(Debug, Deserialize)]
struct TeamPath {
    id: String,
}

async fn remove(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<TeamPath>,
) -> Result<Response, Problem> {
    match calls::remove_team(&kernel, visitor.org_id(), &path.id).await? {
        true => Ok(done(PATH, "deleted")),
        false => Err(Problem::not_found()),
    }
}
