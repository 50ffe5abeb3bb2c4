//! What a bot of a media stream asks of its provider: to hang up (contracts/flows.md "stream"). Just that one request.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header::AUTHORIZATION},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kernel::{
    Action, Kernel, Org, Problem,
    error::codes,
    http::{Client, Json, Path, bearer_token, read_body},
    secret,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Flows;

/// Largest body, in bytes.
const MAX_BODY: usize = 16 << 10;
/// How the call's part of the path ends.
const SUFFIX: &str = ".json";

/// A call, as the provider's clients name it.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ResourcePath {
    /// The organisation's `cloud_sid`.
    account: String,
    /// `call_....json`
    call: String,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
pub(super) struct CallResource {
    /// The call's id.
    sid: String,
    /// `completed`.
    status: &'static str,
}

/// End a call, as a bot of a media stream asks for it
#[utoipa::path(
    post,
    path = "/2010-04-01/Accounts/{account}/Calls/{call}",
    tag = "flows",
    params(ResourcePath),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`Status=completed`"),
    responses(
        (status = 200, description = "It is being hung up, or was over already", body = CallResource),
        (status = 401, description = "Neither Basic with cloud_sid and auth_token, nor Bearer"),
        (status = 404, description = "The organisation has no such call"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn hangup(
    State(flows): State<Flows>,
    State(kernel): State<Kernel>,
    client: Client,
    Path(path): Path<ResourcePath>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CallResource>, Problem> {
    let org = admit(&kernel, client, &headers).await?;
    if !secret::same(&path.account, &org.cloud_sid) {
        return Err(Problem::not_found());
    }
    let call = path.call.strip_suffix(SUFFIX).unwrap_or(&path.call);
    let body = read_body(body, MAX_BODY).await?;
    let status = url::form_urlencoded::parse(&body).find(|(name, _)| name == "Status").map(|(_, value)| value);
    if status.as_deref() != Some("completed") {
        return Err(Problem::field("/Status", "invalid", "only Status=completed is understood here"));
    }
    flows.calls().hangup(&org.id, call).await.map_err(|error| match error {
        calls::CallError::NotFound => Problem::not_found(),
        other => Problem::internal(other),
    })?;
    Ok(Json(CallResource { sid: call.to_owned(), status: "completed" }))
}

/// The organisation of a token that may end calls. By Basic the user name is the organisation's `cloud_sid`.
async fn admit(kernel: &Kernel, client: Client, headers: &HeaderMap) -> Result<Org, Problem> {
    let basic = basic(headers);
    let token = match &basic {
        Some((_, token)) => token.as_str(),
        None => bearer_token(headers).ok_or_else(|| Problem::new(codes::UNAUTHORIZED))?,
    };
    let credential = kernel.admit(token, client.ip).await?;
    let org = kernel.org_by_id(credential.principal.org()).await?;
    let org = org.ok_or_else(|| kernel.wrong_credential(client.ip))?;
    if basic.is_some_and(|(account, _)| !secret::same(&account, &org.cloud_sid)) {
        return Err(kernel.wrong_credential(client.ip));
    }
    credential.principal.authorize(Action::ControlCalls)?;
    Ok(org)
}

/// User name and password of `Authorization: Basic` (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_is_read_and_nothing_else() {
        let read = |value: String| basic(&HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]));
        let good = STANDARD.encode("AC1:pt_a:b");
        assert_eq!(read(format!("Basic {good}")), Some(("AC1".into(), "pt_a:b".into())));
        for other in [format!("Bearer {good}"), "Basic !".into(), format!("Basic {}", STANDARD.encode("no colon"))] {
            assert_eq!(read(other), None);
        }
    }
}
