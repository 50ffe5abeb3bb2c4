//! The routes of document 002, in its shapes and envelopes, each path with and without its trailing slash.
//!
//! Invariant: no rule stands here. A request is read leniently, its caller and origin are judged, the desk is asked, and
//! the answer has the document's fields. Source: docs/contracts/chat.md, "The documented API".

mod caller;
mod intake;
mod master;
mod pictures;
mod refusal;
mod rooms;
mod service;
mod shapes;

use axum::extract::FromRef;
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::{MethodRouter, get, options, post};
use kernel::{Kernel, Problem};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Chats, origins};

pub use refusal::ChatRefusal;

/// Where the document has its routes.
pub const BASE: &str = "/api/v2";
/// The first part of each of its paths behind the base.
const PATHS: [&str; 10] = [
    "room-control",
    "openChatRoom",
    "login",
    "extension",
    "room-service",
    "room-list",
    "get_QR_Id",
    "init",
    "create_master_link",
    "publicroom",
];

/// All documented routes.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    let documented = OpenApiRouter::new()
        .routes(routes!(rooms::room_control))
        .routes(routes!(rooms::open_chat_room))
        .routes(routes!(rooms::login))
        .routes(routes!(rooms::extension))
        .routes(routes!(rooms::init))
        .routes(routes!(rooms::public_room, rooms::read_public_room))
        .routes(routes!(rooms::room_list))
        .routes(routes!(service::write_room, service::read_room))
        .routes(routes!(master::qr_ids, master::post_qr_ids))
        .routes(routes!(master::create_master_link));
    let mut router = OpenApiRouter::new().nest(BASE, documented);
    for (path, method) in handlers::<S>() {
        let slashed = format!("{BASE}/{path}/");
        router = router.route(&format!("{BASE}/{path}"), method.merge(options(origins::preflight)));
        router = router.route(&slashed, options(origins::preflight));
    }
    router.layer(from_fn(origins::layer))
}

/// The same without their slash, which many clients leave out.
fn handlers<S>() -> [(&'static str, MethodRouter<S>); 10]
where
    S: Clone + Send + Sync + 'static,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    [
        ("room-control", post(rooms::room_control)),
        ("openChatRoom", post(rooms::open_chat_room)),
        ("login", post(rooms::login)),
        ("extension", post(rooms::extension)),
        ("init/{org_id}/{product}/{id}", get(rooms::init)),
        ("publicroom", post(rooms::public_room).get(rooms::read_public_room)),
        ("room-list", get(rooms::room_list)),
        ("room-service", post(service::write_room).get(service::read_room)),
        ("get_QR_Id/{org_id}", get(master::qr_ids).post(master::post_qr_ids)),
        ("create_master_link", post(master::create_master_link)),
    ]
}

/// Our own routes for QR codes: under `/v1/chat`, and where a master link and its picture stand.
pub fn links<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Chats: FromRef<S>,
    Kernel: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(master::make_qr_ids))
        .route("/c/m/{id}", get(master::follow))
        .route("/c/m/{id}/{picture}", get(master::picture))
}

/// A problem of a documented route in the document's own words; none for other paths.
#[must_use]
pub fn envelope(path: &str, problem: &Problem) -> Option<Response> {
    is_documented(path).then(|| refusal::envelope_of(problem))
}

/// Whether a path is one of the document's, here or in the OpenAPI document.
#[must_use]
pub fn is_documented(path: &str) -> bool {
    let rest = path.strip_prefix(BASE).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
    PATHS.contains(&rest.split('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_paths_are_told_from_others() {
        for path in ["/api/v2/login", "/api/v2/login/", "/api/v2/init/a/b/c/", "/api/v2/room-service/?type=x"] {
            assert!(is_documented(path.split('?').next().unwrap()), "{path}");
        }
        for path in ["/api/v2/call/flow", "/api/v2", "/api/v2/", "/api/v2/logins", "/v1/chat/rooms", "/login/"] {
            assert!(!is_documented(path), "{path}");
        }
    }
}
