//! Rows 10 and 12: QR ids, and links that hand them out, with a picture of each link.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use kernel::error::codes;
use kernel::http::{Client, Json, Path};
use kernel::qr::Qr;
use kernel::{Principal, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::intake::{Fields, Mistakes};
use super::refusal::ChatRefusal;
use crate::chat::links::{self, MAX_IDS, MasterLink, NewMasterLink};
use crate::chat::products::{self, MAX_CODE};
use crate::chat::recent::looker;
use crate::chat::{Asker, Chats, Wide};

/// Row 10's path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct LabelPath {
    /// A label; the ids are the organisation's, whatever stands here.
    #[expect(dead_code, reason = "the ids are the organisation's")]
    org_id: String,
}

/// Row 10's answer.
#[derive(Serialize, ToSchema)]
pub(super) struct QrIds {
    /// Unused ones first.
    qr_id_list: Vec<String>,
}

/// List the organisation's QR ids
#[utoipa::path(
    get,
    path = "/get_QR_Id/{org_id}/",
    tag = "chat",
    params(LabelPath),
    responses((status = 200, description = "The ids", body = QrIds)),
    security(("bearer" = []))
)]
pub(super) async fn qr_ids(
    State(chats): State<Chats>,
    caller: Caller,
    _label: Path<LabelPath>,
) -> Result<Json<QrIds>, Problem> {
    list(&chats, &caller).await
}

/// List the organisation's QR ids, as document 002 asks for them
#[utoipa::path(
    post,
    path = "/get_QR_Id/{org_id}/",
    tag = "chat",
    params(LabelPath),
    responses((status = 200, description = "The ids", body = QrIds)),
    security(("bearer" = []))
)]
pub(super) async fn post_qr_ids(
    State(chats): State<Chats>,
    caller: Caller,
    _label: Path<LabelPath>,
) -> Result<Json<QrIds>, Problem> {
    list(&chats, &caller).await
}

async fn list(chats: &Chats, caller: &Caller) -> Result<Json<QrIds>, Problem> {
    let asker = caller.of_all(chats, Wide::SeeRooms).await?;
    let ids = chats.qr_ids(asker.org()).await.map_err(Problem::internal)?;
    Ok(Json(QrIds { qr_id_list: ids.into_iter().map(|qr| qr.id).collect() }))
}

/// One QR id of row 12.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct QrEntry {
    /// The id.
    qrid: String,
    /// For people.
    #[serde(rename = "portfolioName")]
    portfolio_name: Option<String>,
}

/// Row 12's order.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "only documents what is read leniently")]
pub(super) struct MasterOrder {
    /// A label inside the organisation.
    workspace_id: String,
    /// The ids that the link hands out; new ones become the organisation's.
    qr_ids: Vec<QrEntry>,
    /// A product's name, or `{NAME: code}`.
    #[schema(value_type = Value)]
    product_name: Value,
    /// Read and checked; the link leads to this server.
    base_url: Option<String>,
}

/// Row 12's answer.
#[derive(Serialize, ToSchema)]
pub(super) struct MasterAnswer {
    /// The product's name.
    product_name: String,
    qr_response: QrCodes,
}

/// See [`MasterAnswer`].
#[derive(Serialize, ToSchema)]
struct QrCodes {
    qrcodes: Vec<QrCodeView>,
}

/// See [`MasterAnswer`].
#[derive(Serialize, ToSchema)]
struct QrCodeView {
    /// Hands out the next unused id to each who opens it.
    masterlink: String,
    /// The link as a QR code, PNG.
    qrcode_image_url: String,
}

/// Make a link that hands out QR ids one after the other
#[utoipa::path(
    post,
    path = "/create_master_link/",
    tag = "chat",
    request_body(content(
        (MasterOrder = "application/json"),
        (MasterOrder = "application/x-www-form-urlencoded"),
        (MasterOrder = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "The link", body = MasterAnswer),
        (status = 400, description = "Each field that is wrong is named", body = ChatRefusal),
    ),
    security(("bearer" = []))
)]
pub(super) async fn create_master_link(
    State(chats): State<Chats>,
    caller: Caller,
    request: Request,
) -> Result<Json<MasterAnswer>, Problem> {
    let asker = caller.of_all(&chats, Wide::MakeLinks).await?;
    let fields = Fields::read(request).await?;
    let mut mistakes = Mistakes::default();
    let label = fields.required("workspace_id", &mut mistakes);
    let ids = entries(&fields, &mut mistakes);
    let (product, code) = product(&fields, &mut mistakes);
    if let Some(base) = fields.key("base_url", &mut mistakes)
        && !Url::parse(&base).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    {
        mistakes.add("base_url", "an http or https URL is expected");
    }
    let known = chats.product_code(asker.org(), &product).await.map_err(Problem::internal)?;
    if code.is_none() && known.is_none() && !product.is_empty() {
        mistakes.add("product_name", "the organisation has no product of this name");
    }
    mistakes.none()?;
    // What is preset, or known by this code already, needs no row of its own.
    let code = code.filter(|code| known != Some(*code));
    let new = NewMasterLink { app: caller.home()?.app.clone(), label, product: product.clone(), code, ids };
    let link = chats.make_master_link(asker.org(), new).await.map_err(Problem::internal)?;
    let base = chats.kernel().base_url(caller.client, &caller.headers);
    let masterlink = address(&base, &link.id);
    let qrcode_image_url = format!("{masterlink}/code.png");
    let qrcodes = vec![QrCodeView { masterlink, qrcode_image_url }];
    Ok(Json(MasterAnswer { product_name: product, qr_response: QrCodes { qrcodes } }))
}

/// Where a master link stands.
fn address(base: &str, id: &str) -> String {
    format!("{base}/c/m/{id}")
}

/// `qr_ids`, in a form as JSON text.
fn entries(fields: &Fields, mistakes: &mut Mistakes) -> Vec<(String, String)> {
    let given = match fields.get("qr_ids") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(given) => given.clone(),
        None => Value::Null,
    };
    let entries = given.as_array().filter(|entries| (1..=MAX_IDS).contains(&entries.len()));
    let read = |entry: &Value| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).map(|text| text.trim().to_owned());
        let id = text("qrid").or_else(|| entry.as_str().map(str::to_owned)).filter(|id| links::is_id(id))?;
        let portfolio = text("portfolioName").unwrap_or_default();
        (portfolio.chars().count() <= 200 && !portfolio.chars().any(char::is_control)).then_some((id, portfolio))
    };
    let ids: Option<Vec<(String, String)>> = entries.and_then(|entries| entries.iter().map(read).collect());
    if ids.is_none() {
        mistakes.add("qr_ids", format!("a list of 1 to {MAX_IDS} objects with qrid and portfolioName is expected"));
    }
    ids.unwrap_or_default()
}

/// `product_name`: a text, or `{NAME: code}`, also as JSON text in a form.
fn product(fields: &Fields, mistakes: &mut Mistakes) -> (String, Option<i64>) {
    let given = fields.get("product_name");
    let object: Option<Map<String, Value>> = match given {
        Some(Value::Object(object)) => Some(object.clone()),
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        _ => None,
    };
    let Some(object) = object else { return (fields.required("product_name", mistakes), None) };
    let mut members = object.iter();
    let code_of = |code: &Value| code.as_i64().or_else(|| code.as_str()?.parse().ok());
    if let (Some((name, code)), None) = (members.next(), members.next())
        && products::is_name(name)
        && let Some(code) = code_of(code).filter(|code| (1..=MAX_CODE).contains(code))
    {
        return (name.clone(), Some(code));
    }
    mistakes.add("product_name", "a name, or an object of one name and its code, is expected");
    (String::new(), None)
}

/// A master link's path.
#[derive(Deserialize)]
pub(super) struct LinkPath {
    id: String,
}

/// Leads to the chat of the next id. Not of the API: a page.
pub(super) async fn follow(
    State(chats): State<Chats>,
    client: Client,
    headers: HeaderMap,
    Path(path): Path<LinkPath>,
) -> Result<Response, Problem> {
    let link = chats.master_link(&path.id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    let looker = looker(client.ip, &headers, &["master", &link.id]);
    let id = match chats.recent().get(&looker, chats.now_ms()) {
        Some(id) => id,
        None => {
            let id = chats.hand_out(&link).await?;
            chats.recent().put(looker, &id, chats.now_ms());
            id
        }
    };
    let MasterLink { app, product, .. } = &link;
    let mut response = StatusCode::SEE_OTHER.into_response();
    let location = format!("/c/{id}?app={app}&product={product}");
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(&location).map_err(Problem::internal)?);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A picture's path.
#[derive(Deserialize)]
pub(super) struct PicturePath {
    id: String,
    picture: String,
}

/// A master link as a QR code, `code.png` or `code.svg`. Not of the API: a picture.
pub(super) async fn picture(
    State(chats): State<Chats>,
    client: Client,
    headers: HeaderMap,
    Path(path): Path<PicturePath>,
) -> Result<Response, Problem> {
    let link = chats.master_link(&path.id).await.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    let address = address(&chats.kernel().base_url(client, &headers), &link.id);
    // Only a Host can be too long for a code.
    let code = Qr::of(&address).map_err(|why| Problem::new(codes::INVALID_REQUEST).detail(why.to_string()))?;
    let (kind, bytes) = match path.picture.as_str() {
        "code.png" => ("image/png", code.png()),
        "code.svg" => ("image/svg+xml", code.svg().into_bytes()),
        _ => return Err(Problem::not_found()),
    };
    let policy = HeaderValue::from_static("default-src 'none'");
    let sniff = (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    let guard = (HeaderName::from_static("content-security-policy"), policy);
    // The link never changes; the address in it does, with the server's own.
    let keep = (CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind)), keep, sniff, guard];
    Ok((headers, bytes).into_response())
}

/// QR ids to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewQrIds {
    /// How many, 1 to 1000.
    #[schema(example = 6)]
    count: usize,
    /// One of the organisation's products.
    #[schema(example = "WORKFLOWAI")]
    product: Option<String>,
}

/// QR ids that were made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeQrIds {
    items: Vec<MadeQrId>,
}

/// One of them.
#[derive(Serialize, ToSchema)]
struct MadeQrId {
    /// The id.
    id: String,
    /// The product's name; empty = none was said.
    product: String,
    /// Where it opens a chat: what its code says.
    url: String,
}

/// Make QR ids
#[utoipa::path(
    post,
    path = "/v1/chat/qr",
    tag = "chat",
    request_body = NewQrIds,
    responses((status = 201, description = "The ids", body = MadeQrIds)),
    security(("bearer" = []))
)]
pub(super) async fn make_qr_ids(
    State(chats): State<Chats>,
    principal: Principal,
    client: Client,
    headers: HeaderMap,
    Json(new): Json<NewQrIds>,
) -> Result<Response, Problem> {
    let asker = Asker::of(&principal).ok_or_else(|| Problem::new(codes::FORBIDDEN))?;
    chats.may_everywhere(&asker, Wide::MakeLinks).await?;
    if !(1..=MAX_IDS).contains(&new.count) {
        return Err(Problem::field("/count", "out_of_range", format!("1 to {MAX_IDS}")));
    }
    let product = new.product.unwrap_or_default();
    let known = chats.product_code(asker.org(), &product).await.map_err(Problem::internal)?;
    if !product.is_empty() && known.is_none() {
        return Err(Problem::field("/product", "unknown", "the organisation has no product of this name"));
    }
    let made = chats.make_qr_ids(asker.org(), new.count, &product).await.map_err(Problem::internal)?;
    let base = chats.kernel().base_url(client, &headers);
    let app = match asker.app() {
        Some(app) => format!("?app={app}"),
        None => String::new(),
    };
    let view = |qr: links::QrId| MadeQrId { url: format!("{base}/c/{}{app}", qr.id), product: qr.product, id: qr.id };
    let items = made.into_iter().map(view).collect();
    Ok((StatusCode::CREATED, Json(MadeQrIds { items })).into_response())
}
