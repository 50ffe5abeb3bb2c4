//! `/v1/extensions`: the numbers inside an organisation that ring a person.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::{extract::State, http::StatusCode};
use calls::{ExtensionEntry, SipAccount};
use kernel::{
    Action, Kernel, Principal, Problem, RecordError,
    error::codes,
    http::{Json, Path},
    role::may_manage,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// An extension's number.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ExtensionPath {
    /// Such as 1001.
    number: String,
}

/// An extension.
#[derive(Serialize, ToSchema)]
pub(super) struct ExtensionView {
    /// Its number.
    number: String,
    /// The person it rings.
    person: String,
    /// Shown to whom it calls.
    name: String,
    /// Whether whoever calls in vain may leave a message.
    voicemail: bool,
}

/// The extensions of an organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct ExtensionList {
    /// By number.
    extensions: Vec<ExtensionView>,
}

/// An extension to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtensionRequest {
    /// Its number, 2 to 7 digits that nobody has yet.
    extension: String,
    /// The person it shall ring: `per_...`.
    person: String,
}

/// An extension that was made, and what a phone needs to register with it.
#[derive(Serialize, ToSchema)]
pub(super) struct ExtensionMade {
    /// Its number.
    number: String,
    /// The person it rings.
    person: String,
    /// Shown once.
    sip: SipView,
}

/// What a softphone needs.
#[derive(Serialize, ToSchema)]
pub(super) struct SipView {
    /// Digest user name.
    username: String,
    /// Shown once.
    password: String,
    /// Domain, and registrar, of the address of record.
    domain: String,
}

/// What shall change of an extension.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtensionChange {
    /// Whether whoever calls in vain may leave a message.
    voicemail: bool,
}

impl From<ExtensionEntry> for ExtensionView {
    fn from(entry: ExtensionEntry) -> Self {
        let ExtensionEntry { number, person, name, voicemail, domain: _ } = entry;
        Self { number, person, name, voicemail }
    }
}

/// List extensions
#[utoipa::path(
    get,
    path = "/v1/extensions",
    tag = "calls",
    responses((status = 200, description = "The extensions", body = ExtensionList)),
    security(("bearer" = []))
)]
pub(super) async fn list(State(kernel): State<Kernel>, principal: Principal) -> Result<Json<ExtensionList>, Problem> {
    let org = principal.authorize(Action::ReadPeople)?;
    let entries = calls::extensions(&kernel, org).await.map_err(Problem::internal)?;
    Ok(Json(ExtensionList { extensions: entries.into_iter().map(ExtensionView::from).collect() }))
}

/// Give a person an extension, its only one or one more
#[utoipa::path(
    post,
    path = "/v1/extensions",
    tag = "calls",
    request_body = ExtensionRequest,
    responses((status = 201, description = "Made", body = ExtensionMade), (status = 409, description = "The number is taken")),
    security(("bearer" = []))
)]
pub(super) async fn create(
    State(kernel): State<Kernel>,
    principal: Principal,
    Json(request): Json<ExtensionRequest>,
) -> Result<(StatusCode, Json<ExtensionMade>), Problem> {
    let org = principal.authorize(Action::ManagePeople)?;
    let org = kernel.org_by_id(org).await?.ok_or_else(Problem::not_found)?;
    let ExtensionRequest { extension: number, person } = request;
    may_serve(&kernel, &principal, &org.id, &person).await?;
    let made = calls::add_extension(&kernel, &org, &person, &number).await.map_err(refused)?;
    let SipAccount { username, password, domain } = made;
    let sip = SipView { username, password: password.expose().to_owned(), domain };
    Ok((StatusCode::CREATED, Json(ExtensionMade { number, person, sip })))
}

/// Nobody serves the phones of a person above: whoever has a line's credential calls in its name.
async fn may_serve(kernel: &Kernel, principal: &Principal, org: &str, person: &str) -> Result<(), Problem> {
    let Principal::Person { role: own, .. } = principal else { return Ok(()) };
    let served = kernel.person(org, person).await.map_err(refused)?;
    if may_manage(*own, served.role) { Ok(()) } else { Err(Problem::new(codes::FORBIDDEN)) }
}

/// A person that is not there is a mistake of the body's.
fn refused(error: RecordError) -> Problem {
    match error {
        RecordError::NotFound { what: "person", .. } => Problem::field("/person", "unknown_entity", error.to_string()),
        other => other.into(),
    }
}

/// Change an extension
#[utoipa::path(
    patch,
    path = "/v1/extensions/{number}",
    tag = "calls",
    params(ExtensionPath),
    request_body = ExtensionChange,
    responses((status = 200, description = "As it is now", body = ExtensionView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn change(
    State(kernel): State<Kernel>,
    principal: Principal,
    Path(path): Path<ExtensionPath>,
    Json(change): Json<ExtensionChange>,
) -> Result<Json<ExtensionView>, Problem> {
    let org = principal.authorize(Action::ManagePeople)?;
    let entries = calls::extensions(&kernel, org).await.map_err(Problem::internal)?;
    let entry = entries.into_iter().find(|entry| entry.number == path.number).ok_or_else(Problem::not_found)?;
    may_serve(&kernel, &principal, org, &entry.person).await?;
    calls::set_voicemail(&kernel, org, &path.number, change.voicemail).await.map_err(Problem::internal)?;
    Ok(Json(ExtensionEntry { voicemail: change.voicemail, ..entry }.into()))
}
