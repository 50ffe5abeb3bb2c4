//! Teams: one number that rings several people.
//!
//! Invariant: a team is not changed over what somebody else has saved since the form was made.

use axum::extract::State as Given;
use axum::response::Response;
use calls::{NewTeam, TeamChange, TeamRecord, TeamStrategy};
use kernel::http::Path;
use kernel::secret::token_hash;
use kernel::{Action, Kernel, Problem};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::May;
use super::form::{Choice, Field, Form, Posted};
use super::list::{FormPage, Link, ListPage};
use super::page::{done, show, show_conflict, show_refused};
use super::table::{Cell, Table};
use super::visitor::Visitor;

const PATH: &str = "/console/teams";
/// The field with what the form has seen of the team.
const SEEN: &str = "seen";
/// How a team's members ring.
const STRATEGIES: [TeamStrategy; 3] = [TeamStrategy::RingAll, TeamStrategy::LongestIdle, TeamStrategy::RoundRobin];

pub(super) fn doors(doors: Doors) -> Doors {
    let manage = May(Action::ManageNumbers);
    doors
        .get(PATH, May(Action::ReadNumbers), list)
        .get("/console/teams/new", manage, ask)
        .post("/console/teams/new", manage, create)
        .get("/console/teams/{id}", manage, edit)
        .post("/console/teams/{id}", manage, change)
        .post("/console/teams/{id}/remove", manage, remove)
}

async fn list(Given(kernel): Given<Kernel>, visitor: Visitor) -> Result<Response, Problem> {
    let org = visitor.org_id();
    let manages = visitor.may(Action::ManageNumbers);
    let mut table = Table::new("Teams", &["Name", "Number", "Rings", "Members", ""]);
    for team in calls::teams(&kernel, org).await.map_err(Problem::internal)? {
        let sure = Some("Give this team up? Its number is free again.");
        let path = format!("{PATH}/{}", team.id);
        let remove = format!("{path}/remove");
        table.row(vec![
            if manages { Cell::link(team.name, path) } else { Cell::text(team.name) },
            Cell::Code(team.number),
            Cell::text(words(team.strategy)),
            if team.members.is_empty() {
                Cell::Quiet("nobody".to_owned())
            } else {
                Cell::Code(team.members.join(", "))
            },
            if manages { Cell::Button("Remove", remove, sure) } else { Cell::Empty },
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

fn words(strategy: TeamStrategy) -> String {
    strategy.as_str().replace('_', " ")
}

/// The fields that a new team and one that is there have in common.
async fn with_fields(form: Form, kernel: &Kernel, visitor: &Visitor) -> Result<Form, Problem> {
    let extensions = calls::extensions(kernel, visitor.org_id()).await.map_err(Problem::internal)?;
    let members: Vec<Choice> = extensions
        .into_iter()
        .map(|entry| (entry.number.clone(), format!("{} {}", entry.number, entry.name)))
        .collect();
    let strategies = STRATEGIES.iter().map(|one| (one.as_str().to_owned(), words(*one))).collect();
    Ok(form
        .with(Field::one("strategy", "How members ring", strategies))
        .with(
            Field::typed("wrap_up_s", "Time to write a call up", "number")
                .optional()
                .hint("Seconds after a call in which a member is offered none; 0 when empty."),
        )
        .with(
            Field::typed("ring_s", "Ring time of one offer", "number")
                .optional()
                .hint("Seconds that a member's phones ring before the next is tried; 20 when empty."),
        )
        .with(Field::many("member", "Members", members).hint("People with an extension.")))
}

async fn form(kernel: &Kernel, visitor: &Visitor) -> Result<Form, Problem> {
    let form = Form::new("/console/teams/new", "Make the team")
        .with(Field::line("name", "Name"))
        .with(Field::line("number", "Number").hint("2 to 7 digits that nobody has yet, such as 5263."));
    with_fields(form, kernel, visitor).await
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

/// Seconds of the wrap-up and of the ringing, as far as they were typed.
type Seconds = (Option<i64>, Option<i64>);

/// What was typed for them, or the field that is no number.
fn seconds(posted: &Posted) -> Result<Seconds, &'static str> {
    let read = |name: &'static str| match posted.optional(name) {
        None => Ok(None),
        Some(typed) => typed.parse::<i64>().map(Some).map_err(|_| name),
    };
    Ok((read("wrap_up_s")?, read("ring_s")?))
}

const NO_SECONDS: &str = "a whole number of seconds";

async fn create(Given(kernel): Given<Kernel>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let (wrap_up_s, ring_s) = match seconds(&posted) {
        Ok(seconds) => seconds,
        Err(name) => {
            let form = form(&kernel, &visitor).await?.filled(&posted).wrong(name, NO_SECONDS);
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

async fn find(kernel: &Kernel, visitor: &Visitor, id: &str) -> Result<TeamRecord, Problem> {
    calls::team(kernel, visitor.org_id(), id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)
}

/// What the form shows of a team, as one short text: another team, another text.
fn mark_of(team: &TeamRecord) -> Result<String, Problem> {
    Ok(token_hash(&serde_json::to_string(team).map_err(Problem::internal)?))
}

async fn edit_form(kernel: &Kernel, visitor: &Visitor, team: &TeamRecord) -> Result<Form, Problem> {
    let form = Form::new(format!("{PATH}/{}", team.id), "Save")
        .with(Field::hidden(SEEN, mark_of(team)?))
        .with(Field::line("name", "Name"))
        .with(Field::tick("announce_position", "Callers who wait hear their place").ticked(team.announce_position));
    let mut form = with_fields(form, kernel, visitor)
        .await?
        .set("name", &team.name)
        .set("strategy", team.strategy.as_str())
        .set("wrap_up_s", team.wrap_up_s.to_string())
        .set("ring_s", team.ring_s.to_string());
    if let Some(members) = form.fields.iter_mut().find(|field| field.name == "member") {
        members.values.clone_from(&team.members);
    }
    Ok(form)
}

fn edit_page(visitor: &Visitor, team: &TeamRecord, form: Form) -> FormPage {
    FormPage {
        page: visitor.page(format!("{}, {}", team.name, team.number), PATH),
        about: "Calls that wait already are offered by the new rules.",
        back: Link::new("Back to the teams", PATH),
        form,
    }
}

async fn edit(Given(kernel): Given<Kernel>, visitor: Visitor, Path(path): Path<TeamPath>) -> Result<Response, Problem> {
    let team = find(&kernel, &visitor, &path.id).await?;
    let form = edit_form(&kernel, &visitor, &team).await?;
    show(&edit_page(&visitor, &team, form))
}

async fn change(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<TeamPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let team = find(&kernel, &visitor, &path.id).await?;
    let form = edit_form(&kernel, &visitor, &team).await?;
    if posted.get(SEEN) != mark_of(&team)? {
        return show_conflict(&edit_page(&visitor, &team, overtaken(form, &posted, &team)?));
    }
    let refused = match seconds(&posted) {
        Err(name) => form.filled(&posted).wrong(name, NO_SECONDS),
        Ok((wrap_up_s, ring_s)) => {
            let change = TeamChange {
                name: Some(posted.get("name").to_owned()),
                strategy: posted.optional("strategy"),
                wrap_up_s: wrap_up_s.or(Some(0)),
                ring_s: ring_s.or(Some(calls::USUAL_RING_S)),
                announce_position: Some(posted.is_ticked("announce_position")),
                members: Some(in_order(&team.members, posted.all("member"))),
            };
            match calls::change_team(&kernel, visitor.org_id(), &team.id, change).await {
                Ok(_) => return Ok(done(PATH, "saved")),
                Err(error) => form.filled(&posted).refused_record(error, "member")?,
            }
        }
    };
    show_refused(&edit_page(&visitor, &team, refused))
}

/// The members that were ticked: who was in the team keeps the place, since that is the order of the round.
fn in_order(before: &[String], ticked: &[String]) -> Vec<String> {
    let stays = before.iter().filter(|member| ticked.contains(member));
    stays.chain(ticked.iter().filter(|member| !before.contains(member))).cloned().collect()
}

/// The form with what was typed, and beside each field that differs what somebody else has saved meanwhile.
fn overtaken(now: Form, posted: &Posted, team: &TeamRecord) -> Result<Form, Problem> {
    let mut typed = now.clone().filled(posted).set(SEEN, mark_of(team)?);
    for (typed, now) in typed.fields.iter_mut().zip(&now.fields) {
        if typed.values != now.values {
            typed.error = Some(format!("Somebody else has saved meanwhile: {}", now.values.join(", ")));
        }
    }
    Ok(typed.wrong(
        "",
        "Somebody else has changed this team meanwhile; nothing of yours is saved yet. Save again when \
        yours shall hold.",
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_keeps_the_place_and_who_is_new_comes_last() {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let before = owned(&["1003", "1001", "1002"]);
        assert_eq!(in_order(&before, &owned(&["1000", "1001", "1003"])), owned(&["1003", "1001", "1000"]));
        assert!(in_order(&before, &[]).is_empty());
    }
}
