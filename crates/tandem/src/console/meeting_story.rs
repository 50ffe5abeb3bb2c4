//! What the events of a meeting say, in sentences. Pure.

use jiff::Timestamp;
use serde_json::Value;

/// What an event of a meeting tells; `None` for an event of something else.
pub(super) fn sentence(kind: &str, data: &Value) -> Option<String> {
    let said = |name: &str| data[name].as_str().unwrap_or_default();
    let minutes = |name: &str| length(data[name].as_i64().unwrap_or_default());
    let by = || match said("by") {
        "" => "somebody".to_owned(),
        "system" => "the server".to_owned(),
        by => format!("the {by}"),
    };
    let told = match kind {
        "meeting.scheduled" => format!("Made for {}.", moment(said("starts_at"))),
        "meeting.rescheduled" => format!("Moved by {} to {}.", by(), moment(said("starts_at"))),
        "meeting.opened" => opened(said("reason")).to_owned(),
        "meeting.connecting" if data["dialled_in"] == true => {
            format!("The {} has dialled in; the other is rung (attempt {}).", said("first"), data["attempt"])
        }
        "meeting.connecting" => format!("The {} is rung, then the other (attempt {}).", said("first"), data["attempt"]),
        "meeting.live" => format!("They talk; for {} at most.", minutes("limit_seconds")),
        "meeting.extended" => format!("{} more, by {}.", minutes("seconds"), by()),
        "meeting.proposed" => format!("The {} proposes {} instead.", said("by"), moment(said("proposed_starts_at"))),
        "meeting.declined" => format!("The proposed time was declined by {}.", by()),
        "meeting.no_show" => match said("who") {
            "" => "Nobody was there.".to_owned(),
            who => format!("The {who} did not answer."),
        },
        "meeting.out_of_session" => out_of_session(said("by"), said("reason")),
        "meeting.cancelled" => format!("Called off by {}.", by()),
        "meeting.ended" => {
            let talked = minutes("talked_seconds");
            format!("Ended by {}: {}, after {talked} of talk.", by(), said("cause").replace('_', " "))
        }
        _ => return None,
    };
    Some(told)
}

/// `good`, `bad`, `busy` or `plain`; `None` for an event of something else.
pub(super) fn colour(kind: &str, data: &Value) -> Option<&'static str> {
    Some(match kind.strip_prefix("meeting.")? {
        "live" => "good",
        "no_show" | "out_of_session" => "bad",
        "ended" if !matches!(data["cause"].as_str(), Some("completed" | "cancelled")) => "bad",
        "connecting" | "proposed" => "busy",
        _ => "plain",
    })
}

/// Why a meeting is open, again or for the first time.
fn opened(reason: &str) -> &'static str {
    match reason {
        "time" => "It is open: either may call.",
        "no_answer" => "One did not answer. It is open again.",
        "busy" => "One was busy. It is open again.",
        "failed" => "One could not be reached. It is open again.",
        "gave_up" => "Whoever was there did not wait. It is open again.",
        "hung_up" => "One hung up. Either may call again for a while.",
        "lost" => "A line was lost. Either may call again for a while.",
        "server_restart" => "The server was restarted. Either may call again.",
        _ => "It is open again.",
    }
}

fn out_of_session(by: &str, reason: &str) -> String {
    let who = if by.is_empty() { "The server".to_owned() } else { format!("The {by}") };
    match reason {
        "vetoed" => format!("{who} was kept from calling by the application."),
        "meeting_ended" => format!("{who} called after the end."),
        "meeting_not_open" => format!("{who} called before its time."),
        _ => format!("{who} called outside its time."),
    }
}

/// A moment as people say it.
fn moment(rfc3339: &str) -> String {
    rfc3339.parse::<Timestamp>().map_or_else(|_| "?".to_owned(), |at| at.strftime("%-d %B %Y, %H:%M UTC").to_string())
}

/// Seconds as people say them.
pub(super) fn length(seconds: i64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, 1) => "1 second".to_owned(),
        (0, seconds) => format!("{seconds} seconds"),
        (1, 0) => "1 minute".to_owned(),
        (minutes, 0) => format!("{minutes} minutes"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_way_of_a_meeting_is_told_in_sentences() {
        let told = [
            (
                "meeting.scheduled",
                json!({"starts_at": "2026-11-22T09:05:00.000Z"}),
                "Made for 22 November 2026, 09:05 UTC.",
                "plain",
            ),
            ("meeting.opened", json!({"reason": "time"}), "It is open: either may call.", "plain"),
            (
                "meeting.connecting",
                json!({"first": "caller", "attempt": 2, "dialled_in": false}),
                "The caller is rung, then the other (attempt 2).",
                "busy",
            ),
            ("meeting.live", json!({"limit_seconds": 1_800}), "They talk; for 30 minutes at most.", "good"),
            (
                "meeting.extended",
                json!({"seconds": 90, "by": "receiver"}),
                "1 min 30 s more, by the receiver.",
                "plain",
            ),
            ("meeting.no_show", json!({"who": "receiver"}), "The receiver did not answer.", "bad"),
            (
                "meeting.out_of_session",
                json!({"by": null, "reason": "vetoed"}),
                "The server was kept from calling by the application.",
                "bad",
            ),
            (
                "meeting.ended",
                json!({"cause": "no_show", "by": "system", "talked_seconds": 0}),
                "Ended by the server: no show, after 0 seconds of talk.",
                "bad",
            ),
        ];
        for (kind, data, words, shade) in told {
            assert_eq!(sentence(kind, &data).as_deref(), Some(words));
            assert_eq!(colour(kind, &data), Some(shade), "{kind}");
        }
        assert!(sentence("call.answered", &json!({})).is_none() && colour("call.answered", &json!({})).is_none());
    }
}
