//! The story of a call, told from its events, and why it ended as it did. Pure.

use serde_json::Value;

use super::meeting_story;

/// One line of a call's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// RFC 3339, UTC.
    pub(super) at: String,
    /// Type of the event.
    pub(super) kind: String,
    /// What happened, in a sentence.
    pub(super) sentence: String,
    /// `good`, `bad`, `busy` or `plain`.
    pub(super) colour: &'static str,
}

/// The timeline, from the envelopes of the call's events.
pub(super) fn timeline(events: &[Value]) -> Vec<Moment> {
    events.iter().map(moment).collect()
}

fn moment(event: &Value) -> Moment {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&event["type"]);
    let data = &event["data"];
    let said = |name: &str| match data.get(name) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    };
    let step = &event["step"];
    let step = format!("{} ({})", text(&step["id"]), text(&step["type"]));
    let seconds = |name: &str| {
        data.get(name).and_then(Value::as_f64).map_or_else(String::new, |seconds| format!("{seconds:.1} s"))
    };
    let sentence = match kind.as_str() {
        "call.initiated" => {
            format!("The call from {} to {} begins.", said_of_call(event, "from"), said_of_call(event, "to"))
        }
        "call.ringing" => "The phone rings.".to_owned(),
        "call.early_media" => "The other side is heard before the answer.".to_owned(),
        "call.answered" => "Answered.".to_owned(),
        "call.held" => "On hold.".to_owned(),
        "call.resumed" => "Off hold.".to_owned(),
        "call.completed" => format!("Ended: {}, by {}.", said("cause"), said("ended_by")),
        "step.started" => format!("Step {step} begins."),
        "step.completed" => match data["next"].as_str() {
            Some(next) => format!("Step {step}: {}, on to {next}.", said("outcome")),
            None => format!("Step {step}: {}.", said("outcome")),
        },
        "step.failed" => format!("Step {step} failed: {}", said("error")),
        "dtmf" => format!("Key {} pressed.", said("digit")),
        "input.completed" => format!("Input {}: {}.", said("value"), said("match")),
        "http.completed" => format!("The URL answered {} within {} ms.", said("status"), said("ms")),
        "connect.ringing" => format!("{} rings.", said("target")),
        "connect.answered" => format!("{} answered.", said("target")),
        "connect.ended" if matches!(data["status"].as_str(), Some("failed" | "rejected")) => {
            format!("Nobody was reached: {} ({}).", said("status"), said("cause"))
        }
        "connect.ended" => format!("The connection ended: {}.", said("status")),
        "recording.started" => "Recording begins.".to_owned(),
        "recording.ready" => format!("The recording is ready ({}).", seconds("seconds")),
        "recording.failed" => format!("The recording failed: {}", said("error")),
        "voicemail.left" => format!("A message of {} was left in box {}.", seconds("seconds"), said("box")),
        "callback.scheduled" => format!("A callback is booked for {}.", said("at_utc")),
        "callback.skipped" => "The callback was skipped.".to_owned(),
        "transfer.started" => format!("Transfer to {}.", said("to")),
        "transfer.completed" => format!("Transferred to {}.", said("to")),
        "transfer.failed" => format!("The transfer failed: {}.", said("status")),
        _ => meeting_story::sentence(&kind, data).unwrap_or_else(|| match data {
            Value::Object(data) if !data.is_empty() => data
                .iter()
                .map(|(name, value)| {
                    format!("{name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                })
                .collect::<Vec<_>>()
                .join(", "),
            _ => String::new(),
        }),
    };
    let colour = match kind.as_str() {
        "call.answered" | "connect.answered" | "recording.ready" => "good",
        "call.completed" if data["cause"] != "normal" => "bad",
        kind if kind.ends_with(".failed") => "bad",
        kind if kind.ends_with(".ringing") => "busy",
        _ => meeting_story::colour(&kind, data).unwrap_or("plain"),
    };
    Moment { at: text(&event["time"]), kind, sentence, colour }
}

fn said_of_call(event: &Value, name: &str) -> String {
    match event["call"].get(name).and_then(Value::as_str) {
        None | Some("") => "anonymous".to_owned(),
        Some(number) => number.to_owned(),
    }
}

/// Why a call came to nothing and what to do about it; `None` for the usual end.
pub(super) fn why(cause: &str) -> Option<(&'static str, &'static str)> {
    Some(match cause {
        "busy" => ("The party was busy.", "Try again later, or let the flow lead its edge busy to somebody else."),
        "rejected" => {
            ("The party declined.", "A person pressed the red button, or the carrier refuses this number or caller id.")
        }
        "no_answer" => {
            ("Nobody answered in time.", "A longer timeout in the call or connect step, or voicemail, may help.")
        }
        "canceled" => {
            ("It was given up before anybody answered.", "The caller, or a program by API, hung up while it rang.")
        }
        "invalid_number" => (
            "The number does not exist.",
            "Check the number: international form with +, or an extension of the organisation.",
        ),
        "media_incompatible" => (
            "Phone and server have no codec or encryption in common.",
            "Allow PCMA, PCMU, G722 or Opus on the phone; a line that demands SRTP needs it switched on there.",
        ),
        "trunk_auth" => (
            "The carrier refused our user name or password.",
            "Compare the trunk's credentials with the carrier's portal.",
        ),
        "congestion" => (
            "The carrier's server was overloaded or broken.",
            "The next target or trunk was tried; ask the carrier when it happens again.",
        ),
        "no_route" => ("No trunk takes this number.", "Add a trunk, or see the settings dial_only and dial_allow."),
        "unreachable" => (
            "No phone of the extension was registered, or it could not be reached.",
            "Look at the person's phone: is it online on the page People?",
        ),
        "media_timeout" => (
            "Audio stopped arriving.",
            "The network between phone and server dropped the audio; look at firewalls, NAT and public_ip.",
        ),
        "time_limit" => ("It reached its time limit.", "The call step's time_limit says how long a call may last."),
        "no_input" => ("The caller pressed nothing.", "Give the step an edge timeout, so that the call goes on."),
        "invalid_input" => (
            "The caller pressed something that leads nowhere.",
            "Give the step an edge invalid, so that the call goes on.",
        ),
        "flow_error" => ("The flow failed.", "The step that failed says why in the timeline."),
        "flow_limit" => {
            ("The flow ran in circles until its limit.", "Look at the path: which steps lead to each other?")
        }
        "server_restart" => {
            ("The server was stopped or restarted during the call.", "Nothing to mend in the call itself.")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use voice::cause::Cause;

    use super::*;

    #[test]
    fn every_cause_but_the_usual_one_is_explained() {
        for cause in Cause::ALL {
            assert_eq!(why(cause.as_str()).is_none(), cause == Cause::Normal, "{cause:?}");
        }
    }

    #[test]
    fn moments_are_sentences() {
        let step = json!({"id": "2", "type": "digits"});
        let call = json!({"from": "", "to": "1001"});
        let events = [
            json!({"type": "call.initiated", "time": "t", "call": call, "data": {}}),
            json!({"type": "step.completed", "time": "t", "step": step, "data": {"outcome": "1", "next": "3"}}),
            json!({"type": "call.completed", "time": "t", "data": {"cause": "busy", "ended_by": "customer"}}),
            json!({"type": "queue.joined", "time": "t", "data": {"position": 2}}),
        ];
        let told: Vec<String> = timeline(&events).into_iter().map(|moment| moment.sentence).collect();
        assert_eq!(
            told,
            [
                "The call from anonymous to 1001 begins.",
                "Step 2 (digits): 1, on to 3.",
                "Ended: busy, by customer.",
                "position 2",
            ]
        );
    }
}
