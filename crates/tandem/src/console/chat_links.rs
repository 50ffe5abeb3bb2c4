//! Products of chats, ids of QR codes with a sheet to print, and the links that hand them out.
//!
//! Invariant: what is made here is made by the desk, as the routes of `/v1` make it; a code leads to one application.

use askama::Template;
use axum::extract::State as Given;
use axum::http::HeaderMap;
use axum::response::Response;
use kernel::app::App;
use kernel::http::{Client, Query};
use kernel::qr::Qr;
use kernel::time::rfc3339;
use kernel::{Action, Kernel, Problem, Scope};
use serde::Deserialize;

use super::door::Doors;
use super::door::Needs::{May, MayEither};
use super::form::{Choice, Field, Form, Posted};
use super::list::ListPage;
use super::page::{Page, done, show, show_refused};
use super::table::{Cell, Table};
use super::visitor::Visitor;
use crate::chat::Chats;
use crate::chat::links::{MAX_IDS, NewMasterLink, QrId};
use crate::chat::model::Id;
use crate::chat::products::{MAX_CODE, Product, is_name};
use crate::flows::store::{self as flows, SavedFlow};

const PRODUCTS: &str = "/console/chat/products";
const CODES: &str = "/console/chat/codes";
const LINKS: &str = "/console/chat/links";
/// Applications that a code can lead to, at most.
const MAX_APPS: i64 = 500;
/// Rows of a page.
const MAX_SHOWN: usize = 500;
/// Codes of one sheet.
const MAX_PRINTED: usize = 200;
/// Flows that a product can be given to, at most.
const MAX_FLOWS: i64 = 500;
/// The choice of no flow.
const PEOPLE: &str = "people";
/// Longest label of a link, characters.
const MAX_LABEL: usize = 100;

pub(super) fn doors(doors: Doors) -> Doors {
    let (see, work, manage) =
        (MayEither(Action::ReadChats, Action::WorkQueue), May(Action::WorkQueue), May(Action::ManageChats));
    doors
        .get(PRODUCTS, see, products)
        .post(PRODUCTS, manage, set_product)
        .get(CODES, see, codes)
        .post(CODES, work, make_codes)
        .get("/console/chat/codes/sheet", see, sheet)
        .get(LINKS, see, links)
        .post(LINKS, work, make_link)
}

/// The applications that may chat.
async fn apps(kernel: &Kernel, visitor: &Visitor) -> Result<Vec<App>, Problem> {
    let mut apps = kernel.apps(visitor.org_id(), "", MAX_APPS).await?;
    apps.retain(|app| Scope::covers(&app.scopes, Action::ManageChats));
    apps.sort_by_key(|app| (app.created_at, app.id.clone()));
    Ok(apps)
}

fn app_field(apps: &[App]) -> Field {
    let choices: Vec<Choice> = apps.iter().map(|app| (app.id.clone(), app.name.clone())).collect();
    Field::one("app", "Chat of", choices)
}

async fn product_field(chats: &Chats, visitor: &Visitor) -> Result<Field, Problem> {
    let products = chats.products(visitor.org_id()).await.map_err(Problem::internal)?;
    let choices: Vec<Choice> = products.into_iter().map(|product| (product.name.clone(), product.name)).collect();
    Ok(Field::one("product", "Product", choices))
}

// ---- products

fn product_form(flows: &[SavedFlow]) -> Form {
    let mut choices: Vec<Choice> =
        vec![(String::new(), "As it is now".to_owned()), (PEOPLE.to_owned(), "People".to_owned())];
    choices.extend(flows.iter().map(|flow| (flow.id.clone(), format!("The flow {}", flow.name))));
    Form::new(PRODUCTS, "Save the product")
        .with(
            Field::line("name", "Name")
                .hint("Letters, digits, _ - and ., without blanks. One that is there is changed."),
        )
        .with(
            Field::typed("code", "Code", "number")
                .optional()
                .hint("Stands in room_room_id of document 002. Empty: as it is; a new product needs one."),
        )
        .with(
            Field::one("flow", "Who answers new chats", choices)
                .optional()
                .hint("A flow says and asks what it says in calls, then leaves the chat to people."),
        )
}

async fn saved_flows(chats: &Chats, visitor: &Visitor) -> Result<Vec<SavedFlow>, Problem> {
    flows::list(&chats.kernel().db, visitor.org_id(), "", MAX_FLOWS).await.map_err(Problem::internal)
}

async fn products_page(chats: &Chats, visitor: &Visitor, form: Form) -> Result<ListPage, Problem> {
    let saved = saved_flows(chats, visitor).await?;
    let mut rows = Vec::new();
    for Product { name, code, flow } in chats.products(visitor.org_id()).await.map_err(Problem::internal)? {
        let (who, beware) = match flow {
            Some(id) => {
                let known = saved.iter().find(|flow| flow.id == id).map_or(id.clone(), |flow| flow.name.clone());
                let fitness = chats.fitness(visitor.org_id(), &id).await.map_err(Problem::internal)?;
                let warnings = fitness.map(|fitness| fitness.warnings).unwrap_or_default();
                (Cell::link(known, format!("/console/flows/{id}")), warnings.join(" "))
            }
            None => (Cell::text("People"), String::new()),
        };
        rows.push(vec![Cell::text(name), Cell::Code(code.to_string()), who, Cell::text(beware)]);
    }
    let table =
        Table::new("Products", &["Name", "Code", "New chats answered by", "What a chat does not know"]).with(rows);
    let about = "What a chat is about: pages, codes and programs name one.";
    let mut page = ListPage::new(visitor.page("Products", PRODUCTS), about, table, "There is none.");
    page.filter = visitor.may(Action::ManageChats).then_some(form);
    Ok(page)
}

async fn products(Given(chats): Given<Chats>, visitor: Visitor) -> Result<Response, Problem> {
    let form = product_form(&saved_flows(&chats, &visitor).await?);
    show(&products_page(&chats, &visitor, form).await?)
}

async fn set_product(Given(chats): Given<Chats>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let (org, name) = (visitor.org_id(), posted.get("name"));
    let before = if is_name(name) { chats.product(org, name).await.map_err(Problem::internal)? } else { None };
    let code = match (posted.get("code"), &before) {
        ("", Some(known)) => Some(known.code),
        (typed, _) => typed.parse().ok().filter(|code| (1..=MAX_CODE).contains(code)),
    };
    let flow = match posted.get("flow") {
        "" => before.and_then(|known| known.flow),
        PEOPLE => None,
        id => Some(id.to_owned()),
    };
    let is_flow = match &flow {
        Some(id) => chats.fitness(org, id).await.map_err(Problem::internal)?.is_some(),
        None => true,
    };
    let form = product_form(&saved_flows(&chats, &visitor).await?).filled(&posted);
    let form = match (is_name(name), code, is_flow) {
        (true, Some(code), true) => {
            chats.put_product(org, &Product { name: name.to_owned(), code, flow }).await.map_err(Problem::internal)?;
            return Ok(done(PRODUCTS, "saved"));
        }
        (false, ..) => form.wrong("name", "1 to 64 letters, digits, _ - and ."),
        (true, None, _) => form.wrong("code", format!("a number, 1 to {MAX_CODE}")),
        (true, Some(_), false) => form.wrong("flow", "one of the saved flows"),
    };
    show_refused(&products_page(&chats, &visitor, form).await?)
}

// ---- codes

async fn codes_form(chats: &Chats, visitor: &Visitor) -> Result<Form, Problem> {
    Ok(Form::new(CODES, "Make codes")
        .with(Field::typed("count", "How many", "number").value("6"))
        .with(product_field(chats, visitor).await?))
}

async fn codes_page(chats: &Chats, visitor: &Visitor, form: Form) -> Result<ListPage, Problem> {
    let mut ids = chats.qr_ids(visitor.org_id()).await.map_err(Problem::internal)?;
    let all = ids.len();
    ids.truncate(MAX_SHOWN);
    let rows = ids.into_iter().map(|qr| {
        vec![
            Cell::Code(qr.id),
            Cell::text(qr.product),
            Cell::text(qr.portfolio),
            match qr.used_ms {
                Some(at) => Cell::Time(rfc3339(at)),
                None => Cell::State("unused".to_owned(), "good"),
            },
        ]
    });
    let table = Table::new("QR codes", &["Id", "Product", "For", "Used"]).with(rows);
    let about = "Each code opens a chat full page, without an account. Unused ones come first.";
    let mut page = ListPage::new(visitor.page("QR codes", CODES), about, table, "There is no code yet.");
    page.filter = visitor.may(Action::WorkQueue).then_some(form);
    let may_print = all > 0 && !apps(chats.kernel(), visitor).await?.is_empty();
    if may_print {
        page.others.push(super::list::Link::new("Sheet to print", "/console/chat/codes/sheet"));
    }
    page.others.push(super::list::Link::new("Master links", LINKS));
    Ok(page)
}

async fn codes(Given(chats): Given<Chats>, visitor: Visitor) -> Result<Response, Problem> {
    let form = codes_form(&chats, &visitor).await?;
    show(&codes_page(&chats, &visitor, form).await?)
}

/// How many codes are wanted.
fn count(posted: &Posted) -> Option<usize> {
    posted.get("count").parse().ok().filter(|count| (1..=MAX_IDS).contains(count))
}

/// A product that was chosen, which the organisation must have.
async fn chosen_product(chats: &Chats, org: &Id, posted: &Posted) -> Result<Option<String>, Problem> {
    let name = posted.get("product");
    let known = chats.product_code(org, name).await.map_err(Problem::internal)?;
    Ok(known.map(|_| name.to_owned()))
}

async fn make_codes(Given(chats): Given<Chats>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let form = codes_form(&chats, &visitor).await?.filled(&posted);
    let form = match (count(&posted), chosen_product(&chats, visitor.org_id(), &posted).await?) {
        (Some(count), Some(product)) => {
            chats.make_qr_ids(visitor.org_id(), count, &product).await.map_err(Problem::internal)?;
            return Ok(done(CODES, "created"));
        }
        (None, _) => form.wrong("count", format!("1 to {MAX_IDS}")),
        (_, None) => form.wrong("product", "one of the organisation's products"),
    };
    show_refused(&codes_page(&chats, &visitor, form).await?)
}

/// Which codes are printed.
#[derive(Debug, Default, Deserialize)]
struct SheetQuery {
    app: Option<String>,
    product: Option<String>,
}

/// A code as it is printed.
struct Printed {
    id: String,
    product: String,
    /// A drawing of ours, without words of anybody.
    svg: String,
}

#[derive(Template)]
#[template(path = "console/chat_sheet.html")]
struct SheetPage {
    page: Page,
    form: Form,
    codes: Vec<Printed>,
    /// Unused ones that had no place.
    left: usize,
}

/// Unused codes as pictures, to be printed and cut.
async fn sheet(
    Given(chats): Given<Chats>,
    visitor: Visitor,
    client: Client,
    headers: HeaderMap,
    Query(query): Query<SheetQuery>,
) -> Result<Response, Problem> {
    let apps = apps(chats.kernel(), &visitor).await?;
    let app = match &query.app {
        Some(id) => Some(apps.iter().find(|app| app.id == *id).ok_or_else(Problem::not_found)?),
        None => apps.first(),
    };
    let product = query.product.unwrap_or_default();
    let mut ids = chats.qr_ids(visitor.org_id()).await.map_err(Problem::internal)?;
    ids.retain(|qr| qr.used_ms.is_none() && (product.is_empty() || qr.product == product));
    let left = ids.len().saturating_sub(MAX_PRINTED);
    ids.truncate(MAX_PRINTED);
    let base = chats.kernel().base_url(client, &headers);
    let app = app.map_or("", |app| app.id.as_str());
    if app.is_empty() {
        // There is no chat that a code could lead to.
        ids.clear();
    }
    let print = |qr: QrId| {
        let address = format!("{base}/c/{}?app={app}", qr.id);
        let svg = Qr::of(&address).map_err(Problem::internal)?.svg();
        Ok(Printed { id: qr.id, product: qr.product, svg })
    };
    let codes = ids.into_iter().map(print).collect::<Result<_, Problem>>()?;
    let form = Form::search("/console/chat/codes/sheet", "Show")
        .with(app_field(&apps).value(app))
        .with(Field::line("product", "Product").optional().value(product));
    show(&SheetPage { page: visitor.page("Codes to print", CODES), form, codes, left })
}

// ---- master links

async fn link_form(chats: &Chats, visitor: &Visitor) -> Result<Form, Problem> {
    Ok(Form::new(LINKS, "Make a link")
        .with(Field::line("label", "Label").hint("Where it will hang, say: workspace_id of document 002."))
        .with(app_field(&apps(chats.kernel(), visitor).await?))
        .with(product_field(chats, visitor).await?)
        .with(
            Field::typed("count", "Codes", "number")
                .value("100")
                .hint("New ids that it hands out, one to each visitor."),
        ))
}

async fn links_page(chats: &Chats, visitor: &Visitor, form: Form) -> Result<ListPage, Problem> {
    let names = apps(chats.kernel(), visitor).await?;
    let found = chats.master_links(visitor.org_id()).await.map_err(Problem::internal)?;
    let rows = found.into_iter().map(|listed| {
        let app = names.iter().find(|app| *app.id == *listed.link.app).map(|app| app.name.clone());
        let path = format!("/c/m/{}", listed.link.id);
        vec![
            Cell::link(listed.link.label, path.clone()),
            Cell::optional(app),
            Cell::text(listed.link.product),
            Cell::text(format!("{} of {}", listed.unused, listed.ids)),
            Cell::link("SVG", format!("{path}/code.svg")),
            Cell::link("PNG", format!("{path}/code.png")),
        ]
    });
    let table = Table::new("Master links", &["Label", "Chat of", "Product", "Unused", "Drawing", "Picture"]).with(rows);
    let about =
        "One printed code for many visitors: each who opens it gets the next unused id, and so a chat of its own.";
    let mut page = ListPage::new(visitor.page("Master links", CODES), about, table, "There is no master link yet.");
    page.filter = visitor.may(Action::WorkQueue).then_some(form);
    page.others.push(super::list::Link::new("QR codes", CODES));
    Ok(page)
}

async fn links(Given(chats): Given<Chats>, visitor: Visitor) -> Result<Response, Problem> {
    let form = link_form(&chats, &visitor).await?;
    show(&links_page(&chats, &visitor, form).await?)
}

async fn make_link(Given(chats): Given<Chats>, visitor: Visitor, posted: Posted) -> Result<Response, Problem> {
    let org = visitor.org_id();
    let form = link_form(&chats, &visitor).await?.filled(&posted);
    let apps = apps(chats.kernel(), &visitor).await?;
    let app = apps.iter().find(|app| app.id == posted.get("app"));
    let label = posted.get("label");
    let good_label = (1..=MAX_LABEL).contains(&label.chars().count()) && !label.chars().any(char::is_control);
    let form = match (good_label, app, chosen_product(&chats, org, &posted).await?, count(&posted)) {
        (true, Some(app), Some(product), Some(count)) => {
            let made = chats.make_qr_ids(org, count, &product).await.map_err(Problem::internal)?;
            let ids = made.into_iter().map(|qr| (qr.id, String::new())).collect();
            let app = app.id.as_str().into();
            let new = NewMasterLink { app, label: label.to_owned(), product, code: None, ids };
            chats.make_master_link(org, new).await.map_err(Problem::internal)?;
            return Ok(done(LINKS, "created"));
        }
        (false, ..) => form.wrong("label", format!("1 to {MAX_LABEL} characters")),
        (_, None, ..) => form.wrong("app", "an application with the scope chat"),
        (_, _, None, _) => form.wrong("product", "one of the organisation's products"),
        (.., None) => form.wrong("count", format!("1 to {MAX_IDS}")),
    };
    show_refused(&links_page(&chats, &visitor, form).await?)
}
