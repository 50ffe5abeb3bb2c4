//! People: the members of the organisation, their roles and extensions; invited by a link that signs in once.
//!
//! Invariant: nobody gives or touches a role above the own one. That an organisation keeps an owner is the kernel's.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use calls::{Calls, ExtensionEntry, NewUser};
use kernel::http::Path;
use kernel::notice::{Channel, NewNotice};
use kernel::person::Person;
use kernel::role::{ROLES, may_manage};
use kernel::sign_in::{INVITATION_LIFE_MS, Identity};
use kernel::time::rfc3339;
use kernel::{Action, Kernel, Principal, Problem, Role};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::May;
use super::form::{Choice, Field, Form, Posted};
use super::list::{FormPage, Link, ListPage};
use super::page::{Page, done, show, show_refused};
use super::shown_once::ShownOncePage;
use super::site::Site;
use super::table::{Cell, Table};
use super::visitor::Visitor;

const PATH: &str = "/console/people";
/// People on the page; an organisation with more of them narrows the list down by name.
const MAX_SHOWN: i64 = 500;

pub(super) fn doors(doors: Doors) -> Doors {
    let manage = May(Action::ManagePeople);
    doors
        .get(PATH, May(Action::ReadPeople), list)
        .get("/console/people/new", manage, ask)
        .post("/console/people/new", manage, create)
        .get("/console/people/{id}", May(Action::ReadPeople), show_person)
        .post("/console/people/{id}/role", manage, set_role)
        .post("/console/people/{id}/link", manage, invite_again)
        .post("/console/people/{id}/voicemail", manage, set_voicemail)
        .post("/console/people/{id}/extension", manage, add_extension)
        .post("/console/people/{id}/disable", manage, disable)
}

/// The extensions of an organisation, by person.
async fn extensions(kernel: &Kernel, org: &str) -> Result<Vec<ExtensionEntry>, Problem> {
    calls::extensions(kernel, org).await.map_err(Problem::internal)
}

async fn list(Given(kernel): Given<Kernel>, Given(calls): Given<Calls>, visitor: Visitor) -> Result<Response, Problem> {
    let org = visitor.org_id();
    let people = kernel.people(org, "", MAX_SHOWN).await?;
    let extensions = extensions(&kernel, org).await?;
    let rows = people.into_iter().map(|person| {
        let own: Vec<&ExtensionEntry> = extensions.iter().filter(|entry| entry.person == person.id).collect();
        let numbers = own.iter().map(|entry| entry.number.as_str()).collect::<Vec<_>>().join(", ");
        let phone = phone_state(&calls, org, &own);
        vec![
            Cell::link(person.name, format!("{PATH}/{}", person.id)),
            Cell::optional(person.email),
            Cell::text(person.role.to_string()),
            if numbers.is_empty() { Cell::Empty } else { Cell::Code(numbers) },
            if person.disabled_at.is_some() { Cell::State("disabled".to_owned(), "bad") } else { phone },
        ]
    });
    let table = Table::new("People", &["Name", "Mail", "Role", "Extension", "Phone"]).with(rows);
    let page = visitor.page("People", PATH);
    let list = ListPage::new(
        page,
        "Who works here, with which role and phone.",
        table,
        "There is nobody yet. Invite the first person.",
    );
    show(&list.action(visitor.may(Action::ManagePeople), "Invite a person", "/console/people/new"))
}

/// Whether a person's phones can be reached now, by any of the extensions.
fn phone_state(calls: &Calls, org: &str, own: &[&ExtensionEntry]) -> Cell {
    if own.is_empty() {
        return Cell::Empty;
    }
    let presences: Vec<_> = own.iter().map(|entry| calls.presence(org, &entry.number)).collect();
    if presences.iter().any(|presence| presence.busy) {
        Cell::State("in a call".to_owned(), "busy")
    } else if presences.iter().any(|presence| presence.registered) {
        Cell::State("online".to_owned(), "good")
    } else {
        Cell::State("offline".to_owned(), "plain")
    }
}

/// The roles that a visitor may give, lowest first.
fn roles(visitor: &Visitor) -> Vec<Choice> {
    let mut roles: Vec<Choice> = ROLES
        .iter()
        .filter(|role| may_touch(visitor, **role))
        .map(|role| (role.to_string(), format!("{role}: {}", meaning(*role))))
        .collect();
    roles.reverse();
    roles
}

fn may_touch(visitor: &Visitor, other: Role) -> bool {
    visitor.is_administrator() || visitor.role().is_some_and(|own| may_manage(own, other))
}

fn meaning(role: Role) -> &'static str {
    match role {
        Role::Owner => "everything",
        Role::Admin => "people, keys, numbers, settings",
        Role::Supervisor => "all calls, recordings, reports",
        Role::Agent => "the queue, own calls and recordings",
        Role::Member => "own phone, own calls, own voicemail",
        Role::Auditor => "reads everything, changes nothing",
    }
}

fn new_form(visitor: &Visitor) -> Form {
    Form::new("/console/people/new", "Invite")
        .with(Field::line("name", "Name"))
        .with(Field::typed("email", "Mail address", "email").optional().hint("For signing in and for the invitation."))
        .with(Field::one("role", "Role", roles(visitor)).chosen(vec![Role::Member.to_string()]))
        .with(
            Field::line("extension", "Extension")
                .optional()
                .hint("The number that rings this person inside the organisation, such as 1001."),
        )
        .with(Field::tick("voicemail", "Callers may leave a message"))
}

fn new_page(visitor: &Visitor, form: Form) -> FormPage {
    FormPage {
        page: visitor.page("Invite a person", PATH),
        about: "A link that signs in once goes to the mail address, and is shown to you.",
        back: Link::new("Back to the people", PATH),
        form,
    }
}

async fn ask(visitor: Visitor) -> Result<Response, Problem> {
    show(&new_page(&visitor, new_form(&visitor)))
}

async fn create(
    Given(kernel): Given<Kernel>,
    Given(site): Given<Site>,
    visitor: Visitor,
    posted: Posted,
) -> Result<Response, Problem> {
    let again = |form: Form| show_refused(&new_page(&visitor, form));
    let form = || new_form(&visitor).filled(&posted);
    let role = match posted.get("role").parse::<Role>() {
        Ok(role) if may_touch(&visitor, role) => role,
        Ok(role) => return again(form().wrong("role", format!("only an owner makes somebody {role}"))),
        Err(error) => return again(form().wrong("role", error.to_string())),
    };
    let new = NewUser {
        name: posted.get("name").to_owned(),
        email: posted.optional("email"),
        role: Some(role),
        password: None,
        extension: posted.optional("extension"),
    };
    let made = match calls::create_user(&kernel, visitor.org()?, new).await {
        Ok(made) => made,
        Err(error) => return again(form().refused(error)?),
    };
    let org = visitor.org_id();
    if let Some(extension) = made.extension.as_deref().filter(|_| posted.is_ticked("voicemail")) {
        calls::set_voicemail(&kernel, org, extension, true).await.map_err(Problem::internal)?;
    }
    let person = kernel.person(org, &made.id).await?;
    let link = invite(&kernel, &site, &visitor, &person).await?;
    let mut secrets = vec![("Link to sign in", link)];
    if let Some(sip) = &made.sip {
        secrets.push(("SIP server", sip.domain.clone()));
        secrets.push(("SIP user", sip.username.clone()));
        secrets.push(("SIP password", sip.password.expose().to_owned()));
    }
    show_link(&kernel, &visitor, &person, secrets)
}

/// A link for a person: mailed when there is an address, and given back to be shown.
async fn invite(kernel: &Kernel, site: &Site, visitor: &Visitor, person: &Person) -> Result<String, Problem> {
    let (link, write) =
        kernel.draft_invitation(&Identity::Person { org: person.org.clone(), person: person.id.clone() });
    let url = site.sign_in(&link);
    let mut writes = vec![write];
    if let Some(email) = &person.email {
        let org = &visitor.org()?.name;
        let subject = format!("Your invitation to {org}");
        let body =
            format!("{} invites you to {org} on Tandem. This link signs you in once, within a day:\n\n", visitor.name);
        let mail = NewNotice::mail(email, &subject, &body)
            .with_link(url.clone(), kernel.clock.now_ms() + INVITATION_LIFE_MS)
            .and("\n\nToo late? Ask for another one on the page.\n");
        writes.push(kernel.notice_write(&person.org, mail)?);
    }
    kernel.db.writer().commit(writes).await.map_err(Problem::internal)?;
    Ok(url)
}

fn show_link(
    kernel: &Kernel,
    visitor: &Visitor,
    person: &Person,
    secrets: Vec<(&'static str, String)>,
) -> Result<Response, Problem> {
    let way = match &person.email {
        Some(email) if Channel::Mail.has_provider(&kernel.config) => {
            format!("A mail with the link is on its way to {email}; you can also hand it over yourself.")
        }
        Some(_) => {
            "There is no mail server, so the mail with the link waits in the outbox: hand it over yourself.".to_owned()
        }
        None => "There is no mail address: hand the link over yourself.".to_owned(),
    };
    show(&ShownOncePage {
        page: visitor.page(format!("Invite {}", person.name), PATH),
        about: format!("{way} It signs in once, within a day."),
        secrets,
        next: Link::new("To the people", PATH),
    })
}

#[derive(Debug, Deserialize)]
struct PersonPath {
    id: String,
}

#[derive(Template)]
#[template(path = "console/person.html")]
struct PersonPage {
    page: Page,
    person: Person,
    path: String,
    since: String,
    lines: Vec<ExtensionEntry>,
    /// Absent when the visitor may not change it.
    role_form: Option<Form>,
    /// The same for the phones.
    extension_form: Option<Form>,
}

/// The page, with forms as they were refused.
#[derive(Default)]
struct Refused {
    role: Option<Form>,
    extension: Option<Form>,
}

async fn person_page(kernel: &Kernel, visitor: &Visitor, id: &str, refused: Refused) -> Result<PersonPage, Problem> {
    let org = visitor.org_id();
    let person = kernel.person(org, id).await?;
    let lines = extensions(kernel, org).await?.into_iter().filter(|entry| entry.person == person.id).collect();
    let manages = visitor.may(Action::ManagePeople) && may_touch(visitor, person.role) && person.disabled_at.is_none();
    let is_self = visitor.principal().person().is_some_and(|own| **own == *person.id);
    let role_form = refused.role.or_else(|| (manages && !is_self).then(|| role_form(visitor, &person)));
    Ok(PersonPage {
        page: visitor.page(person.name.clone(), PATH),
        path: format!("{PATH}/{}", person.id),
        since: rfc3339(person.created_at),
        extension_form: refused.extension.or_else(|| manages.then(|| extension_form(&person))),
        person,
        lines,
        role_form,
    })
}

fn extension_form(person: &Person) -> Form {
    let field = Field::line("extension", "One more extension").hint("2 to 7 digits that nobody has yet, such as 1001.");
    Form::new(format!("{PATH}/{}/extension", person.id), "Give the extension").with(field)
}

fn role_form(visitor: &Visitor, person: &Person) -> Form {
    let field = Field::one("role", "Role", roles(visitor)).chosen(vec![person.role.to_string()]);
    Form::new(format!("{PATH}/{}/role", person.id), "Change the role").with(field)
}

async fn show_person(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<PersonPath>,
) -> Result<Response, Problem> {
    show(&person_page(&kernel, &visitor, &path.id, Refused::default()).await?)
}

/// A person whose phones the visitor may change: nobody above.
async fn served(kernel: &Kernel, visitor: &Visitor, id: &str) -> Result<Person, Problem> {
    let person = kernel.person(visitor.org_id(), id).await?;
    if !may_touch(visitor, person.role) || person.disabled_at.is_some() {
        return Err(Problem::new(kernel::error::codes::FORBIDDEN));
    }
    Ok(person)
}

/// A person whom the visitor may change: not itself either.
async fn touched(kernel: &Kernel, visitor: &Visitor, id: &str) -> Result<Person, Problem> {
    let person = served(kernel, visitor, id).await?;
    let is_self = matches!(visitor.principal(), Principal::Person { person: own, .. } if **own == *person.id);
    if is_self { Err(Problem::new(kernel::error::codes::FORBIDDEN)) } else { Ok(person) }
}

async fn set_role(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<PersonPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let person = touched(&kernel, &visitor, &path.id).await?;
    let form = role_form(&visitor, &person).filled(&posted);
    let form = match posted.get("role").parse::<Role>() {
        Err(error) => form.wrong("role", error.to_string()),
        Ok(role) if !may_touch(&visitor, role) => form.wrong("role", format!("only an owner makes somebody {role}")),
        Ok(role) => match kernel.set_role(&person, role).await {
            Ok(()) => return Ok(done(&format!("{PATH}/{}", person.id), "saved")),
            Err(error) => form.refused(error)?,
        },
    };
    let refused = Refused { role: Some(form), ..Refused::default() };
    show_refused(&person_page(&kernel, &visitor, &path.id, refused).await?)
}

async fn add_extension(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<PersonPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let person = served(&kernel, &visitor, &path.id).await?;
    match calls::add_extension(&kernel, visitor.org()?, &person.id, posted.get("extension")).await {
        Ok(sip) => show(&ShownOncePage {
            page: visitor.page(format!("A phone for {}", person.name), PATH),
            about: "A softphone registers with these; the phone of the console needs none of them.".to_owned(),
            secrets: vec![
                ("SIP server", sip.domain),
                ("SIP user", sip.username),
                ("SIP password", sip.password.expose().to_owned()),
            ],
            next: Link::new("To the people", PATH),
        }),
        Err(error) => {
            let form = extension_form(&person).filled(&posted).refused(error)?;
            let refused = Refused { extension: Some(form), ..Refused::default() };
            show_refused(&person_page(&kernel, &visitor, &path.id, refused).await?)
        }
    }
}

async fn invite_again(
    Given(kernel): Given<Kernel>,
    Given(site): Given<Site>,
    visitor: Visitor,
    Path(path): Path<PersonPath>,
) -> Result<Response, Problem> {
    let person = touched(&kernel, &visitor, &path.id).await?;
    let link = invite(&kernel, &site, &visitor, &person).await?;
    show_link(&kernel, &visitor, &person, vec![("Link to sign in", link)])
}

async fn set_voicemail(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<PersonPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let person = served(&kernel, &visitor, &path.id).await?;
    let on = posted.get("on") == "yes";
    let lines = extensions(&kernel, visitor.org_id()).await?;
    let line = lines.iter().find(|line| line.person == person.id && line.number == posted.get("number"));
    let line = line.ok_or_else(Problem::not_found)?;
    calls::set_voicemail(&kernel, visitor.org_id(), &line.number, on).await.map_err(Problem::internal)?;
    Ok(done(&format!("{PATH}/{}", path.id), if on { "enabled" } else { "disabled" }))
}

async fn disable(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Path(path): Path<PersonPath>,
) -> Result<Response, Problem> {
    let person = touched(&kernel, &visitor, &path.id).await?;
    match calls::disable_user(&kernel, visitor.org_id(), &person.id).await {
        Ok(()) => Ok(done(PATH, "disabled")),
        Err(error) => {
            let refused = Refused { role: Some(role_form(&visitor, &person).refused(error)?), ..Refused::default() };
            show_refused(&person_page(&kernel, &visitor, &path.id, refused).await?)
        }
    }
}
