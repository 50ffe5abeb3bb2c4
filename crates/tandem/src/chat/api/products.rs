//! Products: their codes, and the flow that answers the new rooms of each.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::State as Given;
use kernel::http::{Json, Path};
use kernel::{Action, Principal, Problem};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::chat::model::Id;
use crate::chat::products::{MAX_CODE, Product, is_name};
use crate::chat::{Chats, store};

/// A product.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProductView {
    /// Its name.
    name: String,
    /// The number in `room_room_id`, document 002.
    code: i64,
    /// The saved flow that answers its new rooms.
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_id: Option<String>,
}

impl From<Product> for ProductView {
    fn from(product: Product) -> Self {
        let Product { name, code, flow: flow_id } = product;
        Self { name, code, flow_id }
    }
}

/// The products.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProductList {
    /// By code.
    products: Vec<ProductView>,
}

/// List the products: their codes, and which flow answers each
#[utoipa::path(
    get, path = "/v1/chat/products", tag = "chat",
    responses((status = 200, description = "All of them", body = ProductList)),
    security(("bearer" = []))
)]
pub(super) async fn list(Given(chats): Given<Chats>, principal: Principal) -> Result<Json<ProductList>, Problem> {
    let org = principal.authorize(Action::ReadChats)?;
    let products = chats.products(org).await.map_err(Problem::internal)?;
    Ok(Json(ProductList { products: products.into_iter().map(ProductView::from).collect() }))
}

/// A product's name.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ProductPath {
    /// 1 to 64 letters, digits, `_`, `-` and `.`.
    pub(super) name: String,
}

/// What shall be so of a product; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductChange {
    /// 1 to 999999; a new product needs one.
    #[serde(default)]
    code: Option<i64>,
    /// The saved flow that answers new rooms; null or empty = people do.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    flow_id: Option<Option<String>>,
}

/// A field that may be null, which is something else than absent.
fn given<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// A product as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProductSet {
    #[serde(flatten)]
    product: ProductView,
    /// What of the flow a chat does not know, a sentence each.
    warnings: Vec<String>,
}

/// Make a product, or change it: its code, and the flow that answers its new rooms
#[utoipa::path(
    put, path = "/v1/chat/products/{name}", tag = "chat", params(ProductPath), request_body = ProductChange,
    responses(
        (status = 200, description = "The product", body = ProductSet),
        (status = 404, description = "There is none of this name, and no code to make one"),
        (status = 422, description = "The code or the flow is not good"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn set(
    Given(chats): Given<Chats>,
    principal: Principal,
    Path(path): Path<ProductPath>,
    Json(change): Json<ProductChange>,
) -> Result<Json<ProductSet>, Problem> {
    let org = principal.authorize(Action::ManageChats)?;
    let before =
        if is_name(&path.name) { chats.product(org, &path.name).await.map_err(Problem::internal)? } else { None };
    let code = code_of(&path.name, &change, before.as_ref())?;
    let flow = match change.flow_id {
        Some(flow) => flow.filter(|flow| !flow.is_empty()),
        None => before.and_then(|product| product.flow),
    };
    let warnings = warnings_of(&chats, org, flow.as_deref()).await?;
    let write = store::product_write(org, &path.name, code, flow.as_deref());
    chats.kernel().db.writer().commit(vec![write]).await.map_err(Problem::internal)?;
    let product = ProductView { name: path.name, code, flow_id: flow };
    Ok(Json(ProductSet { product, warnings }))
}

fn code_of(name: &str, change: &ProductChange, before: Option<&Product>) -> Result<i64, Problem> {
    match change.code.or(before.map(|product| product.code)) {
        Some(_) if !is_name(name) => Err(Problem::not_found()),
        Some(code) if (1..=MAX_CODE).contains(&code) => Ok(code),
        Some(_) => Err(Problem::field("/code", "out_of_range", format!("1 to {MAX_CODE}"))),
        None => Err(Problem::not_found().detail("there is no product of this name; a new one needs a code")),
    }
}

/// What of a flow a chat does not know.
async fn warnings_of(chats: &Chats, org: &Id, flow: Option<&str>) -> Result<Vec<String>, Problem> {
    let Some(flow) = flow else { return Ok(Vec::new()) };
    let unknown = || Problem::field("/flow_id", "unknown", "there is no saved flow of this id");
    let fitness = chats.fitness(org, flow).await.map_err(Problem::internal)?.ok_or_else(unknown)?;
    Ok(fitness.warnings)
}
