//! Logs and metrics of the process: lines to stderr, counters and histograms for `/metrics`.
//!
//! Invariant: set up once a process, whatever is started twice in it; a log line never goes to
//! stdout, which belongs to the answers of the command line.

use std::io::{IsTerminal, stderr};
use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Config, LogFormat};

/// Always in front of what the operator asks for: these tell secrets, or too much, below `warn`.
const QUIET: &str = "rustls=warn,hyper=warn,sqlx=warn,reqwest=warn,h2=warn,symphonia=warn";
/// Upper bounds of every histogram, in milliseconds.
const BUCKETS_MS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 5_000.0, 30_000.0];

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Why logs or metrics cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The setting `log`.
    #[error("log: {0}")]
    Filter(String),
    /// The metrics.
    #[error("metrics: {0}")]
    Metrics(String),
}

/// Sets up metrics, and logs as `log` and `log_format` say. The first call of a process wins.
///
/// # Errors
/// A filter that cannot be read.
pub fn start(config: &Config) -> Result<(), TelemetryError> {
    start_metrics()?;
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.log))
        .map_err(|error| TelemetryError::Filter(error.to_string()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // A second start in one process, as tests do, keeps the first one's lines.
    let _already = match config.log_format {
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).finish().try_init(),
    };
    Ok(())
}

/// Sets up metrics alone.
///
/// # Errors
/// When another recorder took the process.
pub fn start_metrics() -> Result<(), TelemetryError> {
    if METRICS.get().is_some() {
        return Ok(());
    }
    let wrong = |error: &dyn std::fmt::Display| TelemetryError::Metrics(error.to_string());
    let recorder = PrometheusBuilder::new().set_buckets(&BUCKETS_MS).map_err(|error| wrong(&error))?.build_recorder();
    let handle = recorder.handle();
    match metrics::set_global_recorder(recorder) {
        Ok(()) => {
            METRICS.get_or_init(|| handle);
            Ok(())
        }
        // Two threads at once: the other one has done it.
        Err(_) if METRICS.get().is_some() => Ok(()),
        Err(error) => Err(wrong(&error)),
    }
}

/// Every metric in Prometheus' text format; empty before [`start`].
#[must_use]
pub fn metrics_text() -> String {
    METRICS.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Folds what histograms collected; without it a server that nobody scrapes would keep every sample.
pub fn fold_metrics() {
    if let Some(handle) = METRICS.get() {
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown_however_often_it_is_started() {
        start(&Config::default()).unwrap();
        start(&Config::default()).unwrap();
        metrics::counter!("telemetry_test_total").increment(3);
        metrics::histogram!("telemetry_test_ms").record(3.0);
        fold_metrics();
        let text = metrics_text();
        assert!(text.contains("telemetry_test_total 3"), "{text}");
        assert!(text.contains("telemetry_test_ms_bucket{le=\"5\"} 1"), "{text}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        let config = Config { log: "info,voice=loud".into(), ..Config::default() };
        assert!(matches!(start(&config), Err(TelemetryError::Filter(_))));
    }
}
