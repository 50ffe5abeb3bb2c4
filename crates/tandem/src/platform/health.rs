//! What load balancers and monitoring ask: is it alive, does it take work, how does it fare.
//!
//! Invariant: `/healthz` answers 200 only while HTTP and SIP both listen; `/readyz` also asks the
//! store, and turns 503 as soon as the server drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use kernel::http::Json;
use kernel::{Kernel, telemetry};
use serde::Serialize;
use utoipa::ToSchema;

use super::vitals::Vitals;

/// How the server fares; shared by those who know and those who ask.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Signs>);

#[derive(Debug, Default)]
struct Signs {
    http: AtomicBool,
    sip: AtomicBool,
    draining: AtomicBool,
}

/// One thing that is known about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The HTTP listener is open.
    Http,
    /// The SIP listeners are open.
    Sip,
    /// No new calls are taken: the server is about to end.
    Draining,
}

impl Health {
    fn cell(&self, sign: Sign) -> &AtomicBool {
        match sign {
            Sign::Http => &self.0.http,
            Sign::Sip => &self.0.sip,
            Sign::Draining => &self.0.draining,
        }
    }

    /// Says whether a sign holds from now on.
    pub fn set(&self, sign: Sign, holds: bool) {
        self.cell(sign).store(holds, Ordering::Release);
    }

    /// Whether a sign holds.
    pub fn is(&self, sign: Sign) -> bool {
        self.cell(sign).load(Ordering::Acquire)
    }

    fn listens(&self) -> bool {
        self.is(Sign::Http) && self.is(Sign::Sip)
    }
}

/// The state of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthBody {
    /// `ok`, `starting`, `draining`, `store_unreachable` or `store_unwritable` (a full disk, say).
    status: &'static str,
    /// The release that runs.
    version: &'static str,
}

fn answer(status: &'static str) -> Response {
    let code = if status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(HealthBody { status, version: env!("CARGO_PKG_VERSION") })).into_response()
}

/// Whether the server lives: HTTP and SIP listen.
#[utoipa::path(get, path = "/healthz", tag = "operators", security(()), responses(
    (status = 200, description = "HTTP and SIP listen", body = HealthBody),
    (status = 503, description = "one of them does not", body = HealthBody),
))]
pub(super) async fn healthz(State(health): State<Health>) -> Response {
    answer(if health.listens() { "ok" } else { "starting" })
}

/// Whether the server takes work: it listens, its store answers, and it is not about to end.
#[utoipa::path(get, path = "/readyz", tag = "operators", security(()), responses(
    (status = 200, description = "send traffic", body = HealthBody),
    (status = 503, description = "send none", body = HealthBody),
))]
pub(super) async fn readyz(State(health): State<Health>, State(kernel): State<Kernel>) -> Response {
    if !health.listens() {
        return answer("starting");
    }
    if health.is(Sign::Draining) {
        return answer("draining");
    }
    match kernel.db.ping().await {
        Ok(()) if kernel.db.writer().is_stuck() => answer("store_unwritable"),
        Ok(()) => answer("ok"),
        Err(error) => {
            tracing::warn!(%error, "the store does not answer");
            answer("store_unreachable")
        }
    }
}

/// Counters, histograms and what is held at this moment, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operators", security(()), responses(
    (status = 200, description = "metrics", body = String, content_type = "text/plain"),
))]
pub(super) async fn metrics(State(vitals): State<Vitals>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], telemetry::metrics_text() + &vitals.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_listeners_make_it_healthy() {
        let health = Health::default();
        assert!(!health.listens());
        health.set(Sign::Http, true);
        assert!(!health.listens(), "HTTP alone is not enough");
        health.clone().set(Sign::Sip, true);
        assert!(health.listens(), "clones share what is known");
        health.set(Sign::Sip, false);
        assert!(!health.listens());
    }
}
