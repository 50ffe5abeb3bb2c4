//! Who posts a flow: `cloud_id`, `auth_token` and `cloud_sid` of the body, or a Bearer header
//! (contracts/flows.md "Auth"). Invariant: the three leave the body before anything else looks at it, and every way of
//! being wrong is answered alike, but that two tokens differ, which whoever sent them may know.

use axum::http::HeaderMap;
use kernel::{
    Action, Kernel, Org, Principal, Problem,
    http::{Client, bearer_token},
    secret,
};
use serde_json::Value;

/// Says nothing of either token but that they differ.
const DISAGREE: &str = "The auth_token of the body is not the token of the Authorization header: send one of them.";

/// What the body said.
#[derive(Default)]
pub(super) struct Presented {
    cloud_id: Option<Value>,
    cloud_sid: Option<Value>,
    auth_token: Option<Value>,
}

/// Takes the credentials out of a body.
pub(super) fn take(body: &mut Value) -> Presented {
    let Some(map) = body.as_object_mut() else {
        return Presented::default();
    };
    Presented {
        cloud_id: map.shift_remove("cloud_id"),
        cloud_sid: map.shift_remove("cloud_sid"),
        auth_token: map.shift_remove("auth_token"),
    }
}

/// The organisation of a request that may do this.
pub(super) async fn admit(
    kernel: &Kernel,
    client: Client,
    headers: &HeaderMap,
    presented: Presented,
    action: Action,
) -> Result<Org, Problem> {
    let wrong = || kernel.wrong_credential(client.ip);
    let in_header = bearer_token(headers);
    let in_body = match &presented.auth_token {
        None => None,
        Some(Value::String(token)) => Some(token.as_str()),
        Some(_) => return Err(wrong()),
    };
    let token = match (in_header, in_body) {
        (Some(header), Some(body)) if !secret::same(header, body) => return Err(wrong().detail(DISAGREE)),
        (Some(token), _) | (None, Some(token)) => token,
        (None, None) => return Err(Problem::new(kernel::error::codes::UNAUTHORIZED)),
    };
    let credential = kernel.admit(token, client.ip).await?;
    // A body carries a person's token and names the organisation; an application's key comes in the header.
    let is_person = matches!(credential.principal, Principal::Person { .. });
    if in_header.is_none() && (!is_person || presented.cloud_id.is_none()) {
        return Err(wrong());
    }
    let org = kernel.org_by_id(credential.principal.org()).await?.ok_or_else(wrong)?;
    let agrees = |said: &Option<Value>, is: &str| {
        said.as_ref().is_none_or(|said| said.as_str().is_some_and(|said| secret::same(said, is)))
    };
    if !agrees(&presented.cloud_id, &org.slug) || !agrees(&presented.cloud_sid, &org.cloud_sid) {
        return Err(wrong());
    }
    credential.principal.authorize(action)?;
    Ok(org)
}
