//! What the demo says while a newcomer tries it: a short line for each phone that registers and for each thing that
//! happens to a call, from the same event log as webhooks and the tap.
//!
//! Invariant: a line holds no secret and no control character, whatever a phone sent.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use calls::Directory;
use calls::directory::registrations;
use kernel::Kernel;
use kernel::bus::{Message, Subscription};
use kernel::events::Tap;
use serde_json::Value;

use super::household::Kept;
use super::{AGENT, CUSTOMER, CliError, NUMBER, TEAM};

/// Tells the terminal what happens.
pub(super) struct Narrator {
    kernel: Kernel,
    org: String,
    /// The contacts of each extension when it was last looked at, and where they are.
    phones: HashMap<String, HashMap<String, SocketAddr>>,
    registrations: Subscription,
    tap: Tap,
}

impl Narrator {
    /// Listens from now on, so that a server that starts misses nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn listen(kernel: &Kernel, kept: &Kept) -> Result<Self, CliError> {
        let head = kernel.events.head(&kept.org).await.map_err(CliError::because)?;
        Ok(Self {
            org: kept.org.clone(),
            phones: kept.phones.iter().map(|phone| (phone.user.clone(), HashMap::new())).collect(),
            registrations: kernel.bus.subscribe(&registrations(&kept.org)),
            tap: kernel.events.tap(&kept.org, head),
            kernel: kernel.clone(),
        })
    }

    /// Says what happens until the server stops.
    pub(super) async fn narrate(mut self, directory: Arc<Directory>) {
        self.look_at_all(&directory);
        let is_registered = |org: &str, extension: &str| !directory.bindings(org, extension).is_empty();
        loop {
            tokio::select! {
                news = self.registrations.next() => match news {
                    Some(Message::Published(extension)) => self.look_at(&directory, &String::from_utf8_lossy(&extension)),
                    Some(Message::Lagged) => self.look_at_all(&directory),
                    None => return,
                },
                batch = self.tap.next() => match batch {
                    Ok(Some(batch)) => {
                        for event in batch.iter().filter_map(|logged| serde_json::from_str(&logged.envelope).ok()) {
                            tell(line(&event, |extension| is_registered(&self.org, extension)));
                        }
                    }
                    Ok(None) => return,
                    Err(error) => return tracing::error!(%error, "the demo cannot read the event log"),
                },
                () = self.kernel.stop.cancelled() => return,
            }
        }
    }

    fn look_at_all(&mut self, directory: &Directory) {
        let extensions: Vec<String> = self.phones.keys().cloned().collect();
        extensions.iter().for_each(|extension| self.look_at(directory, extension));
    }

    /// Says what changed of an extension's phones.
    fn look_at(&mut self, directory: &Directory, extension: &str) {
        let bindings = directory.bindings(&self.org, extension);
        let now = bindings.into_iter().map(|binding| (binding.contact, binding.source)).collect();
        let before = self.phones.insert(extension.to_owned(), HashMap::clone(&now)).unwrap_or_default();
        changes(extension, &before, &now).into_iter().for_each(|line| tell(Some(line)));
    }
}

fn tell(line: Option<String>) {
    if let Some(line) = line {
        eprintln!("{}", printable(&line));
    }
}

/// What a terminal may be given of a text that a phone may have written.
fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}

/// Phones that came, and the last one's going.
fn changes(extension: &str, before: &HashMap<String, SocketAddr>, now: &HashMap<String, SocketAddr>) -> Vec<String> {
    let mut lines: Vec<String> = now
        .iter()
        .filter(|(contact, _)| !before.contains_key(*contact))
        .map(|(_, source)| format!("{extension} registered from {source}"))
        .collect();
    lines.sort();
    if now.is_empty() && !before.is_empty() {
        lines.push(format!("{extension} is registered no more"));
    }
    lines
}

/// An event in a few words; none for what a newcomer need not know.
fn line(event: &Value, is_registered: impl Fn(&str) -> bool) -> Option<String> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (step, kind, target) = (text("/step/id"), text("/step/type"), text("/data/target"));
    let said = match text("/type") {
        "call.initiated" if text("/call/direction") == "inbound" => "dialled".to_owned(),
        "call.initiated" => "dialling".to_owned(),
        "call.ringing" => "ringing".to_owned(),
        "call.answered" => "answered".to_owned(),
        "step.started" => format!("step {step} {kind}"),
        "step.failed" => format!("step {step} {kind} failed: {}", text("/data/error")),
        "input.completed" => match event.pointer("/data/value").and_then(Value::as_str) {
            Some(keys) => format!("pressed {keys}"),
            None => "pressed keys that stay secret".to_owned(),
        },
        "http.completed" if event.pointer("/data/status").is_none_or(Value::is_null) => {
            format!("no answer from the HTTP endpoint: {}", text("/data/error"))
        }
        "callback.scheduled" => format!("callback booked for {}", text("/data/at_utc")),
        "callback.skipped" => "callback skipped: its time has passed".to_owned(),
        "connect.ringing" => format!("{target} rings"),
        "connect.answered" => format!("{target} answered"),
        "connect.ended" => format!("connect: {}", ended(text("/data/status"), text("/data/cause"))),
        "call.completed" => {
            let mut said = format!("over: {}, ended by {}", text("/data/cause"), text("/data/ended_by"));
            if text("/data/cause") == "unreachable" {
                said.push_str(&unreachable(text("/call/to"), is_registered));
            }
            said
        }
        _ => return None,
    };
    Some(format!("call {} -> {}: {said}", known(text("/call/from")), known(text("/call/to"))))
}

fn known(number: &str) -> &str {
    if number.is_empty() { "?" } else { number }
}

fn ended(status: &str, cause: &str) -> String {
    match (status, cause) {
        ("completed", _) => "they have talked".to_owned(),
        (_, "unreachable") => format!("{status}, nobody is registered there: register a softphone as {AGENT}"),
        _ => format!("{status} ({cause})"),
    }
}

/// Why nobody could be reached, and what to do.
fn unreachable(number: &str, is_registered: impl Fn(&str) -> bool) -> String {
    let extension = match number {
        NUMBER => CUSTOMER,
        TEAM => AGENT,
        other => other,
    };
    if is_registered(extension) {
        format!("; {extension} is registered, but its phone does not answer: is it still running?")
    } else {
        format!("; nobody is registered as {extension}: register a softphone (step 1 above), then post the flow again")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(kind: &str, data: Value) -> String {
        let call = json!({"direction": "outbound", "from": "1001", "to": NUMBER});
        let event = json!({"type": kind, "call": call, "step": {"id": "2", "type": "digits"}, "data": data});
        line(&event, |extension| extension == AGENT).unwrap()
    }

    #[test]
    fn a_call_is_told_step_by_step() {
        let lines = [
            ("call.ringing", json!({}), "ringing"),
            ("step.started", json!({}), "step 2 digits"),
            ("input.completed", json!({"value": "1234", "match": "*"}), "pressed 1234"),
            ("step.failed", json!({"error": "no sound"}), "step 2 digits failed: no sound"),
            ("connect.ended", json!({"status": "busy", "cause": "busy"}), "connect: busy (busy)"),
            ("call.completed", json!({"cause": "normal", "ended_by": "customer"}), "over: normal, ended by customer"),
        ];
        for (kind, data, said) in lines {
            assert_eq!(told(kind, data), format!("call 1001 -> {NUMBER}: {said}"));
        }
    }

    #[test]
    fn who_posts_without_a_phone_is_told_to_register_it() {
        let said = told("call.completed", json!({"cause": "unreachable", "ended_by": "system"}));
        assert!(said.contains("nobody is registered as 1001: register a softphone"), "{said}");
        assert!(unreachable(TEAM, |extension| extension == AGENT).contains("1002 is registered, but"));
        assert!(ended("failed", "unreachable").contains("register a softphone as 1002"));
    }

    #[test]
    fn a_sensitive_input_and_a_strange_number_do_no_harm() {
        let said = told("input.completed", json!({"redacted": true, "match": null}));
        assert!(said.ends_with("pressed keys that stay secret"), "{said}");
        assert_eq!(printable("call \u{1b}[2J\r\n1001"), "call [2J1001");
        assert!(line(&json!({"type": "dtmf", "data": {"digit": "4"}}), |_| true).is_none());
    }

    #[test]
    fn a_refreshed_registration_is_no_news() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let one = HashMap::from([("sip:a".to_owned(), at(1))]);
        let two = HashMap::from([("sip:a".to_owned(), at(1)), ("sip:b".to_owned(), at(2))]);
        assert!(changes("1001", &one, &one).is_empty());
        assert_eq!(changes("1001", &one, &two), ["1001 registered from 127.0.0.1:2"]);
        assert_eq!(changes("1001", &two, &one), [""; 0]);
        assert_eq!(changes("1001", &one, &HashMap::new()), ["1001 is registered no more"]);
    }
}
