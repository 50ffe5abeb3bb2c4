//! In and out: mail address and password, links that work once, and a link by mail for who has forgotten.
//!
//! Invariant: looking at a link does not use it up (mail scanners look); only its button does. Whoever cannot sign in
//! is told nothing of who could.

use askama::Template;
use axum::extract::State as Given;
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::response::Response;
use kernel::http::{Client, Path, Query};
use kernel::notice::{Channel, NewNotice};
use kernel::sign_in::{Identity, LINK_LIFE_MS, SignInError};
use kernel::{Kernel, Problem, RecordError, Secret};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::{Nothing, SignIn};
use super::form::{Field, Form, Posted};
use super::page::{Page, go, show, show_refused};
use super::session::{self, Theme};
use super::site::Site;
use super::visitor::Visitor;

const HOME: &str = "/console";
/// Ends the session.
pub(super) const SIGN_OUT: &str = "/console/sign-out";

pub(super) fn doors(doors: Doors) -> Doors {
    doors
        .get("/console/sign-in", Nothing, ask)
        .post("/console/sign-in", Nothing, by_password)
        .get("/console/sign-in/link", Nothing, ask_for_link)
        .post("/console/sign-in/link", Nothing, mail_link)
        .get("/console/link/{link}", Nothing, show_link)
        .post("/console/link/{link}", Nothing, by_link)
        .post(SIGN_OUT, SignIn, sign_out)
        .post("/console/theme", Nothing, theme)
}

/// A page before the sign-in: a sentence, a form, other ways.
#[derive(Template)]
#[template(path = "console/sign_in.html")]
struct SignInPage {
    page: Page,
    about: String,
    form: Option<Form>,
    /// Label and path of other ways.
    others: Vec<(&'static str, &'static str)>,
}

/// Several organisations of one mail address and password: a link for each.
#[derive(Template)]
#[template(path = "console/choose.html")]
struct ChoosePage {
    page: Page,
    /// Name of the organisation, and the path that signs in there.
    choices: Vec<(String, String)>,
}

#[derive(Debug, Default, Deserialize)]
struct Next {
    next: Option<String>,
}

/// A path of ours to go on to; anything else is the overview.
fn next_path(next: &str) -> &str {
    let is_ours = next == HOME || next.starts_with("/console/") || next == "/phone";
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') && !next.contains("//");
    if is_ours && is_plain { next } else { HOME }
}

fn password_form(next: &str) -> Form {
    Form::new("/console/sign-in", "Sign in")
        .with(Field::typed("email", "Mail address", "email").autocomplete("username"))
        .with(Field::typed("password", "Password", "password").autocomplete("current-password"))
        .with(Field::hidden("next", next))
}

fn sign_in_page(headers: &HeaderMap, form: Form) -> SignInPage {
    SignInPage {
        page: Page::open("Sign in", Theme::of(headers)),
        about: String::new(),
        form: Some(form),
        others: vec![("Forgot the password? Mail me a link", "/console/sign-in/link")],
    }
}

async fn ask(headers: HeaderMap, Query(query): Query<Next>) -> Result<Response, Problem> {
    show(&sign_in_page(&headers, password_form(next_path(query.next.as_deref().unwrap_or(HOME)))))
}

async fn by_password(
    Given(kernel): Given<Kernel>,
    client: Client,
    headers: HeaderMap,
    posted: Posted,
) -> Result<Response, Problem> {
    let next = next_path(posted.get("next"));
    let org = org_of_host(&kernel, &headers).await?;
    let password = Secret::new(posted.raw("password"));
    let found = kernel.sign_in_by_password(&org, posted.get("email"), &password, client.ip).await;
    let again = |message: String| {
        let form = password_form(next).filled(&posted).wrong("password", message);
        show_refused(&sign_in_page(&headers, form))
    };
    match found {
        Err(SignInError::Wait(wait)) => again(format!("Too many tries. Wait {} s, or ask for a link.", wait.seconds)),
        Err(SignInError::Record(error)) => Err(error.into()),
        Ok(found) => match found.as_slice() {
            [] => again("The mail address or the password is wrong.".to_owned()),
            [one] => enter(&kernel, client, &headers, one, next).await,
            several => choose(&kernel, &headers, several).await,
        },
    }
}

/// The organisation whose pages stand under the Host that was asked; `""` = any.
async fn org_of_host(kernel: &Kernel, headers: &HeaderMap) -> Result<String, Problem> {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    Ok(kernel.org_by_host(name).await?.map(|org| org.id).unwrap_or_default())
}

/// One of several organisations. Each choice is a link that works once: nothing else has to be remembered.
async fn choose(kernel: &Kernel, headers: &HeaderMap, several: &[Identity]) -> Result<Response, Problem> {
    let mut choices = Vec::new();
    for whose in several {
        let view = kernel.identity(whose).await?;
        let link = kernel.create_link(whose).await?;
        let label = view.org_name.unwrap_or_else(|| "All organisations".to_owned());
        choices.push((label, format!("/console/link/{}", link.expose())));
    }
    show(&ChoosePage { page: Page::open("Choose an organisation", Theme::of(headers)), choices })
}

async fn enter(
    kernel: &Kernel,
    client: Client,
    headers: &HeaderMap,
    whose: &Identity,
    next: &str,
) -> Result<Response, Problem> {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let token = kernel.sign_in(whose, client.ip, agent).await?;
    let mut response = go(next);
    session::give(&mut response, client, &token);
    Ok(response)
}

fn link_form() -> Form {
    Form::new("/console/sign-in/link", "Mail me a link")
        .with(Field::typed("email", "Mail address", "email").autocomplete("username"))
}

fn ask_page(headers: &HeaderMap, form: Form) -> SignInPage {
    SignInPage {
        page: Page::open("A link by mail", Theme::of(headers)),
        about: "The link signs you in once, within 15 minutes. You can set a new password then.".to_owned(),
        form: Some(form),
        others: vec![("Sign in with a password", "/console/sign-in")],
    }
}

async fn ask_for_link(headers: HeaderMap) -> Result<Response, Problem> {
    show(&ask_page(&headers, link_form()))
}

/// Writes a mail with a link to everybody of an address.
async fn write_links(kernel: &Kernel, site: &Site, org: &str, email: &str) -> Result<(), RecordError> {
    for whose in &kernel.who_may_sign_in(org, email).await? {
        let org = match whose {
            Identity::Person { org, .. } => org.as_str(),
            // A link of the installation's administrator goes by mail alone: it stands in no organisation's outbox.
            Identity::Administrator(_) if Channel::Mail.has_provider(&kernel.config) => "",
            Identity::Administrator(_) => continue,
        };
        // To the stored address: what was typed may only look like it.
        let Some(to) = kernel.identity(whose).await?.email else { continue };
        let (link, write) = kernel.draft_link(whose);
        let body = "Somebody, you we hope, asked for a link to sign in to Tandem. It works once, within 15 minutes, and \
                    lets you set a new password:\n\n";
        let mail = NewNotice::mail(&to, "Your link to sign in", body)
            .with_link(site.sign_in(&link), kernel.clock.now_ms() + LINK_LIFE_MS)
            .and("\n\nWas it not you? Then there is nothing to do.\n");
        kernel.db.writer().commit(vec![write, kernel.notice_write(org, mail)?]).await?;
    }
    Ok(())
}

/// Writes a mail to everybody of this address. The answer is the same whether there is anybody.
async fn mail_link(
    Given(kernel): Given<Kernel>,
    Given(site): Given<Site>,
    client: Client,
    headers: HeaderMap,
    posted: Posted,
) -> Result<Response, Problem> {
    let org = org_of_host(&kernel, &headers).await?;
    let email = posted.get("email").to_owned();
    if let Err(wait) = kernel.may_ask_for_link(&email, client.ip) {
        let wrong = format!("Too many links were asked for. Wait {} s.", wait.seconds);
        return show_refused(&ask_page(&headers, link_form().filled(&posted).wrong("email", wrong)));
    }
    // Beside the answer, which comes as soon whether there is anybody.
    let writing = kernel.clone();
    kernel.tasks.spawn(async move {
        if let Err(error) = write_links(&writing, &site, &org, &email).await {
            tracing::error!(%error, "a link to sign in cannot be mailed");
        }
    });
    let where_it_is = if Channel::Mail.has_provider(&kernel.config) {
        "If somebody of this server has that address, a link is on its way there."
    } else {
        "This server sends no mail. If somebody of it has that address, a link waits in the outbox, where an \
         administrator of your organisation finds it."
    };
    show(&SignInPage {
        page: Page::open("Look into your mail", Theme::of(&headers)),
        about: where_it_is.to_owned(),
        form: None,
        others: vec![("Sign in with a password", "/console/sign-in")],
    })
}

#[derive(Debug, Deserialize)]
struct LinkPath {
    link: String,
}

/// What a link's page asks: nothing that must be answered.
fn enter_form(link: &str, whose: &Identity, email: Option<&str>) -> Form {
    let mut form = Form::new(format!("/console/link/{link}"), "Sign in");
    // Whoever has none could never use the password that is chosen here.
    if matches!(whose, Identity::Administrator(_)) || email.is_none() {
        let field = Field::typed("email", "Your mail address", "email").optional().autocomplete("username");
        form = form.with(field.value(email.unwrap_or_default()));
    }
    form.with(
        Field::typed("password", "Choose a password", "password")
            .optional()
            .autocomplete("new-password")
            .hint("8 characters or more. Leave it empty to sign in this once and set it later."),
    )
}

async fn link_page(
    kernel: &Kernel,
    headers: &HeaderMap,
    path: &LinkPath,
    fill: impl FnOnce(Form) -> Form,
) -> Result<SignInPage, Problem> {
    let Some(whose) = kernel.read_link(&path.link).await? else {
        return Ok(SignInPage {
            page: Page::open("This link is used up", Theme::of(headers)),
            about: "A link signs in once, within 15 minutes. Ask for another one: by mail, from whoever invited you, \
                    or, on the server, with `tandem user link` or `tandem admin link`."
                .to_owned(),
            form: None,
            others: vec![("Mail me a link", "/console/sign-in/link"), ("Sign in with a password", "/console/sign-in")],
        });
    };
    let view = kernel.identity(&whose).await?;
    let place = view.org_name.as_deref().unwrap_or("this installation");
    Ok(SignInPage {
        page: Page::open(format!("Welcome, {}", view.name), Theme::of(headers)),
        about: format!("The link signs you in to {place}, once."),
        form: Some(fill(enter_form(&path.link, &whose, view.email.as_deref()))),
        others: Vec::new(),
    })
}

async fn show_link(
    Given(kernel): Given<Kernel>,
    headers: HeaderMap,
    Path(path): Path<LinkPath>,
) -> Result<Response, Problem> {
    let page = link_page(&kernel, &headers, &path, |form| form).await?;
    if page.form.is_some() { show(&page) } else { gone(&page) }
}

fn gone(page: &SignInPage) -> Result<Response, Problem> {
    let mut response = show(page)?;
    *response.status_mut() = axum::http::StatusCode::GONE;
    Ok(response)
}

async fn by_link(
    Given(kernel): Given<Kernel>,
    client: Client,
    headers: HeaderMap,
    Path(path): Path<LinkPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let Some(whose) = kernel.read_link(&path.link).await? else {
        // A guess counts as a wrong credential.
        let problem = kernel.wrong_credential(client.ip);
        if problem.code == kernel::error::codes::RATE_LIMITED {
            return Err(problem);
        }
        return gone(&link_page(&kernel, &headers, &path, |form| form).await?);
    };
    // What is wrong with the fields is said before the link is used up.
    if let Err(problem) = set_up(&kernel, &whose, &posted).await {
        let mut refused = Ok(());
        let page = link_page(&kernel, &headers, &path, |form| {
            let form = form.filled(&posted);
            form.clone().refused(problem).unwrap_or_else(|problem| {
                refused = Err(problem);
                form
            })
        });
        let page = page.await?;
        refused?;
        return show_refused(&page);
    }
    let password = Some(posted.raw("password")).filter(|password| !password.is_empty()).map(Secret::new);
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    match kernel.sign_in_by_link(&path.link, password.as_ref(), client.ip, agent).await? {
        None => gone(&link_page(&kernel, &headers, &path, |form| form).await?),
        Some(token) => {
            let mut response = go(HOME);
            session::give(&mut response, client, &token);
            Ok(response)
        }
    }
}

/// Checks what a link's page asked for, and keeps the mail address of who had none, or is an administrator.
async fn set_up(kernel: &Kernel, whose: &Identity, posted: &Posted) -> Result<(), Problem> {
    let password = posted.raw("password");
    if !password.is_empty() {
        kernel::password::check(&Secret::new(password))?;
    }
    let has_email = kernel.identity(whose).await?.email.is_some();
    match (whose, posted.optional("email")) {
        (Identity::Administrator(id), Some(email)) => kernel.set_administrator_email(id, &email).await?,
        (Identity::Person { org, person }, Some(email)) if !has_email => {
            kernel.give_person_email(org, person, &email).await?;
        }
        (_, None) if !has_email && !password.is_empty() => {
            return Err(Problem::field("/email", "required", "A password needs a mail address to sign in with."));
        }
        _ => {}
    }
    Ok(())
}

async fn sign_out(Given(kernel): Given<Kernel>, visitor: Visitor, client: Client) -> Result<Response, Problem> {
    // A bearer token has no session to end.
    if let Err(error) = kernel.end_own_session(&visitor.identity()?, &visitor.credential.id).await {
        tracing::debug!(%error, "no session to end");
    }
    let mut response = go("/console/sign-in");
    session::take(&mut response, client);
    Ok(response)
}

async fn theme(client: Client, headers: HeaderMap, posted: Posted) -> Response {
    let theme = Theme::parse(posted.get("theme"));
    let from = headers.get("referer").and_then(|from| from.to_str().ok()).and_then(|from| url::Url::parse(from).ok());
    let mut response = go(from.as_ref().map_or(HOME, |from| next_path(from.path())));
    session::keep_theme(&mut response, client, theme);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_sign_in_one_stays_here() {
        for path in ["/console", "/console/calls/call_1", "/phone"] {
            assert_eq!(next_path(path), path);
        }
        for path in ["https://evil.example", "//evil.example", "/console//evil", "/console/\\evil", "/v1/tap", "", "/x"]
        {
            assert_eq!(next_path(path), HOME, "{path}");
        }
    }
}
