//! The kernel's own routes: health for operators, the live tap and the list of events, webhooks
//! with their attempts, and the pages that explain errors.
//!
//! Invariant: nothing here knows a desk; what it shows, every desk wrote through the kernel.

mod errors;
mod events;
mod health;
pub(crate) mod metrics;
mod settings;
mod tap;
mod vitals;
mod webhooks;

use axum::extract::FromRef;
use kernel::Kernel;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use health::{Health, Sign};
pub use vitals::Vitals;
pub(crate) use webhooks::check_webhook;

/// Every route of the platform, for a server whose state has these parts.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Kernel: FromRef<S>,
    Health: FromRef<S>,
    Vitals: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(errors::explain))
        .routes(routes!(events::list))
        .routes(routes!(tap::tap))
        .routes(routes!(settings::read, settings::change))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::organisation_secret))
        .routes(routes!(webhooks::rotate_organisation_secret))
        .routes(routes!(webhooks::read, webhooks::remove))
        .routes(routes!(webhooks::enable))
        .routes(routes!(webhooks::disable))
        .routes(routes!(webhooks::rotate))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(webhooks::replay))
}
