//! Counters that stand at 0 from the start, so that a dashboard knows them before the first thing happens, and a rate over
//! the first one is right. Invariant: every counter is here but those whose labels a request chooses; a test reads the
//! sources.

/// Counters without labels.
const PLAIN: [&str; 11] = [
    "sip_malformed",
    "sip_refused_calls",
    "sip_refused_connections",
    "sip_refused_datagrams",
    "stream_orders_dropped_total",
    "voice_leg_events_dropped_total",
    "voice_media_commands_dropped_total",
    "voice_media_send_errors_total",
    "voice_recording_blocks_dropped_total",
    "voice_stream_frames_dropped_total",
    "voice_stream_speech_dropped_total",
];
/// Attempts of webhooks, and how they may end.
const WEBHOOK_ATTEMPTS: &str = "tandem_webhook_attempts_total";
const WEBHOOK_OUTCOMES: [&str; 6] = ["done", "refused", "dropped", "expired", "fast", "slow"];
/// Notices that went to a provider: by which way, and how it ended.
const NOTICES: &str = "tandem_notices_total";
const NOTICE_CHANNELS: [&str; 2] = ["mail", "sms"];
const NOTICE_OUTCOMES: [&str; 3] = ["sent", "failed", "later"];
/// Messages to closed browsers, and what became of them.
const PUSHES: &str = "tandem_push_total";
const PUSH_OUTCOMES: [&str; 6] = ["sent", "nothing", "gone", "dropped", "later", "undecided"];

/// Shows every counter, at 0 until something happens. A counter that has begun stays as it is.
pub(crate) fn announce() {
    for name in PLAIN {
        metrics::counter!(name).increment(0);
    }
    for outcome in WEBHOOK_OUTCOMES {
        metrics::counter!(WEBHOOK_ATTEMPTS, "outcome" => outcome).increment(0);
    }
    for outcome in PUSH_OUTCOMES {
        metrics::counter!(PUSHES, "outcome" => outcome).increment(0);
    }
    for channel in NOTICE_CHANNELS {
        for outcome in NOTICE_OUTCOMES {
            metrics::counter!(NOTICES, "channel" => channel, "outcome" => outcome).increment(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use kernel::telemetry;

    use super::*;

    /// Its labels are the request's: there is nothing to show before one.
    const BY_REQUEST: &str = "http_requests_total";
    /// Of tests alone.
    const OF_TESTS: &str = "telemetry_test_total";

    fn counters_in(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                counters_in(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let names = text.split("counter!(\"").skip(1).filter_map(|rest| rest.split('"').next());
                found.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_counter_is_seen_before_anything_happens() {
        let mut written = BTreeSet::new();
        for part in ["media", "kernel", "voice", "calls", "tandem"] {
            counters_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(part).join("src"), &mut written);
        }
        let known: BTreeSet<String> = PLAIN
            .into_iter()
            .chain([WEBHOOK_ATTEMPTS, PUSHES, NOTICES, BY_REQUEST, OF_TESTS])
            .map(str::to_owned)
            .collect();
        assert_eq!(written, known, "a counter is missing in this file, or gone");

        telemetry::start_metrics().unwrap();
        announce();
        let text = telemetry::metrics_text();
        for name in PLAIN {
            assert!(text.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {text}");
        }
        for outcome in WEBHOOK_OUTCOMES {
            assert!(text.contains(&format!("{WEBHOOK_ATTEMPTS}{{outcome=\"{outcome}\"}} ")), "{outcome}: {text}");
        }
        for outcome in PUSH_OUTCOMES {
            assert!(text.contains(&format!("{PUSHES}{{outcome=\"{outcome}\"}} ")), "{outcome}: {text}");
        }
        let notices = text.lines().filter(|line| line.starts_with(&format!("{NOTICES}{{")));
        assert_eq!(notices.count(), NOTICE_CHANNELS.len() * NOTICE_OUTCOMES.len(), "{text}");
    }
}
