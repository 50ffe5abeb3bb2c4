//! `http`: asks a URL while the customer waits. 2xx is `success`, everything else `fail`
//! (contracts/flows.md "http"). Invariant: a hang-up cancels the request.

use std::sync::Arc;

use kernel::egress::FORBIDDEN_HEADERS;
use serde_json::{Value, json};
use voice::cause::Cause;

use super::{
    Context, Exit, Running, Turn,
    prompt::{Music, Prepared, Preparing},
};
use crate::flows::{
    check::fields::Fields,
    machine::{Answer, Effect, HttpFailure, HttpRequest, Input, Sounding},
    template::{FillError, JsonTemplate, MAX_FILLED, Template, TooMuch, Variables, percent_encode},
};

pub(super) const EDGES: &[&str] = &["success", "fail"];
/// Requests of one call within [`WINDOW_MS`].
const MAX_REQUESTS: usize = 20;
const WINDOW_MS: i64 = 60_000;
/// Pause before a retry.
const RETRY_PAUSE_MS: i64 = 500;

/// Configuration of an `http` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Where to.
    pub url: Template,
    /// GET, POST, PUT, PATCH or DELETE.
    pub method: &'static str,
    /// Additional headers.
    pub headers: Vec<(String, Template)>,
    /// Additional query parameters.
    pub query: Vec<(String, Template)>,
    /// What is sent.
    pub body: Body,
    /// How long to wait for the whole answer, in milliseconds.
    pub timeout_ms: u32,
    /// How often to repeat on connect errors and 502, 503, 504.
    pub retries: u32,
    /// Variables and the JSON pointers of their values in the answer.
    pub save: Vec<(String, String)>,
    /// What the customer hears meanwhile.
    pub hold_music: Option<Music>,
}

/// A request's body.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// None.
    Empty,
    /// A JSON value.
    Json(JsonTemplate),
    /// A text in a format whose escaping is kept.
    Text(Template, Escaping),
}

/// How values are written into a text body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escaping {
    /// As they are.
    Plain,
    /// As the inside of a JSON string.
    Json,
    /// Percent-encoded.
    Form,
}

impl Http {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let methods = [("GET", "GET"), ("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH"), ("DELETE", "DELETE")];
        let headers = read_headers(fields);
        Self {
            url: fields.required("url", Fields::url),
            method: fields.choice("method", &methods, "GET"),
            query: fields.template_map("query"),
            body: read_body(fields, &headers),
            headers,
            timeout_ms: fields.seconds("timeout", 1.0..=30.0, 10.0),
            retries: fields.integer("retries", 0..=3, 0),
            save: read_save(fields),
            hold_music: Music::read(fields, "hold_music"),
        }
    }

    fn request(&self, variables: &Variables) -> Result<HttpRequest, FillError> {
        let mut url = self.url.url(variables)?;
        append_query(&mut url, &self.query, variables)?;
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            headers.push((name.clone(), value.header(variables)?));
        }
        let (body, content_type) = match &self.body {
            Body::Empty => (None, None),
            Body::Json(json) => (Some(json.fill(variables)?.to_string()), Some("application/json")),
            Body::Text(text, Escaping::Plain) => (Some(text.plain(variables)?), Some("text/plain; charset=utf-8")),
            Body::Text(text, Escaping::Json) => (Some(text.json_text(variables)?), Some("application/json")),
            Body::Text(text, Escaping::Form) => {
                (Some(text.form(variables)?), Some("application/x-www-form-urlencoded"))
            }
        };
        // Escapes make a JSON text longer than what was filled into it.
        if body.as_ref().is_some_and(|body| body.len() > MAX_FILLED) {
            return Err(FillError::TooLong(MAX_FILLED));
        }
        if let Some(content_type) = content_type
            && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            headers.push(("Content-Type".to_owned(), content_type.to_owned()));
        }
        Ok(HttpRequest { method: self.method, url, headers, body, timeout_ms: self.timeout_ms })
    }
}

fn append_query(url: &mut String, query: &[(String, Template)], variables: &Variables) -> Result<(), FillError> {
    let fragment = url.find('#').map(|at| url.split_off(at));
    for (name, value) in query {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&percent_encode(name));
        url.push('=');
        url.push_str(&percent_encode(&value.plain(variables)?));
        if url.len() > MAX_FILLED {
            return Err(FillError::TooLong(MAX_FILLED));
        }
    }
    url.extend(fragment);
    Ok(())
}

fn read_headers(fields: &mut Fields<'_>) -> Vec<(String, Template)> {
    let headers = fields.template_map("headers");
    for (name, value) in &headers {
        let token =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        let fits = value.sample("").chars().all(|c| !c.is_control() || c == '\t');
        let ours = FORBIDDEN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name));
        if !token || !fits || ours {
            let path = fields.path("headers").key(name);
            let why = if ours {
                "this header is written by the client alone"
            } else {
                "this is no header: a name and one line of text"
            };
            fields.found.report.error("out_of_range", path, why);
        }
    }
    headers
}

fn read_body(fields: &mut Fields<'_>, headers: &[(String, Template)]) -> Body {
    let json = fields.json("json");
    let text = fields.template("body");
    match (json, text) {
        (Some(_), Some(_)) => {
            fields.out_of_range("body", "give json or body, not both");
            Body::Empty
        }
        (Some(json), None) => Body::Json(json),
        (None, Some(text)) => {
            let escaping = escaping(&text, headers);
            Body::Text(text, escaping)
        }
        (None, None) => Body::Empty,
    }
}

/// By the content type that the author gives; without one, a body that looks like JSON is JSON.
fn escaping(text: &Template, headers: &[(String, Template)]) -> Escaping {
    let given = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    match given.map(|(_, value)| value.sample("").to_ascii_lowercase()) {
        Some(kind) if kind.contains("json") => Escaping::Json,
        Some(kind) if kind.contains("x-www-form-urlencoded") => Escaping::Form,
        Some(_) => Escaping::Plain,
        None if text.sample("").trim_start().starts_with(['{', '[']) => Escaping::Json,
        None => Escaping::Plain,
    }
}

fn read_save(fields: &mut Fields<'_>) -> Vec<(String, String)> {
    let save = fields.text_map("save");
    for (name, pointer) in &save {
        let path = fields.path("save").key(name);
        if fields.sets(name, path.clone()) && !(pointer.is_empty() || pointer.starts_with('/')) {
            fields.found.report.error("out_of_range", path, "a JSON pointer begins with /");
        }
    }
    save
}

pub(super) fn start(http: &Arc<Http>, context: &mut Context<'_>) -> Turn {
    let request = match http.request(context.variables) {
        Ok(request) => request,
        Err(error) => {
            context.variables.unset("http.status");
            context.variables.set("http.error", "template");
            return Turn::Done(Exit::failed("fail", error.to_string()));
        }
    };
    let mut asking = Asking {
        http: http.clone(),
        request,
        retries_left: http.retries,
        began_ms: context.now_ms,
        music: None,
        sounds: false,
        state: State::Pausing { until_ms: context.now_ms },
    };
    if let Some(exit) = asking.send(context) {
        return Turn::Done(exit);
    }
    asking.start_music(context);
    Turn::Wait(Box::new(asking))
}

struct Asking {
    http: Arc<Http>,
    request: HttpRequest,
    retries_left: u32,
    began_ms: i64,
    music: Option<Preparing>,
    sounds: bool,
    state: State,
}

enum State {
    Sent { request: u64 },
    Pausing { until_ms: i64 },
}

impl Asking {
    /// Sends the request, unless the call has asked too often.
    fn send(&mut self, context: &mut Context<'_>) -> Option<Exit> {
        let times = &mut *context.http_times;
        while times.front().is_some_and(|sent| context.now_ms - sent >= WINDOW_MS) {
            times.pop_front();
        }
        if times.len() >= MAX_REQUESTS {
            return Some(Exit {
                error: Some("more than 20 requests in a minute".to_owned()),
                ..Exit::last("fail", Cause::FlowLimit)
            });
        }
        times.push_back(context.now_ms);
        let request = context.token();
        context.push(Effect::Http { request, what: self.request.clone() });
        self.state = State::Sent { request };
        None
    }

    fn start_music(&mut self, context: &mut Context<'_>) {
        match &self.http.hold_music {
            None | Some(Music::Silence) => {}
            Some(Music::BuiltIn) => self.play(Sounding::HoldMusic, context),
            Some(Music::Ringback) => self.play(Sounding::Ringback, context),
            // Without its music the request goes on; silence is heard.
            Some(Music::Prompt(prompt)) => self.music = prompt.prepare(context).ok(),
        }
    }

    fn play(&mut self, what: Sounding, context: &mut Context<'_>) {
        let play = context.token();
        context.push(Effect::Play { play, what, loops: 0 });
        self.sounds = true;
    }

    fn answered(&mut self, answer: &Answer, context: &mut Context<'_>) -> Option<Exit> {
        if self.retries_left > 0 && is_worth_a_retry(answer) {
            self.retries_left -= 1;
            self.state = State::Pausing { until_ms: context.now_ms + RETRY_PAUSE_MS };
            return None;
        }
        Some(match self.note(answer, context) {
            Ok(true) => Exit::by("success"),
            Ok(false) => Exit::by("fail"),
            Err(too_much) => Exit::failed("fail", too_much.to_string()),
        })
    }

    /// Sets the variables and says so in an event; whether it is a success.
    fn note(&self, answer: &Answer, context: &mut Context<'_>) -> Result<bool, TooMuch> {
        let ms = context.now_ms - self.began_ms;
        let status = match answer {
            Answer::Response { status, .. } => Some(*status),
            Answer::Failure(_) => None,
        };
        let success = status.is_some_and(|status| (200..300).contains(&status));
        let kept = match answer {
            Answer::Response { body, .. } if success => save(&self.http.save, body, context.variables),
            Answer::Response { .. } | Answer::Failure(_) => Ok(()),
        };
        let error = match answer {
            Answer::Failure(failure) => Some(failure.as_str()),
            Answer::Response { .. } if kept.is_err() => Some(HttpFailure::TooLarge.as_str()),
            Answer::Response { .. } if success => None,
            Answer::Response { .. } => Some("status"),
        };
        match status {
            Some(status) => context.variables.set("http.status", status.to_string()),
            None => context.variables.unset("http.status"),
        }
        match error {
            Some(error) => context.variables.set("http.error", error),
            None => context.variables.unset("http.error"),
        }
        let mut data = json!({ "status": status, "ms": ms });
        if let (Some(error), Some(map)) = (error, data.as_object_mut()) {
            map.insert("error".to_owned(), Value::from(error));
        }
        context.emit("http.completed", data);
        kept.map(|()| success)
    }

    fn finish(&self, context: &mut Context<'_>) {
        if self.sounds {
            context.push(Effect::StopPlay);
        }
    }
}

/// Takes the wanted values out of a JSON answer, up to one that the run has no room for; texts as they are, everything
/// else as JSON.
fn save(wanted: &[(String, String)], body: &str, variables: &mut Variables) -> Result<(), TooMuch> {
    if wanted.is_empty() {
        return Ok(());
    }
    let Ok(answer) = serde_json::from_str::<Value>(body) else {
        return Ok(());
    };
    for (name, pointer) in wanted {
        match answer.pointer(pointer) {
            Some(Value::String(text)) => variables.keep(name, text.replace('\0', ""))?,
            Some(Value::Null) | None => variables.unset(name),
            Some(other) => variables.keep(name, other.to_string())?,
        }
    }
    Ok(())
}

fn is_worth_a_retry(answer: &Answer) -> bool {
    match answer {
        Answer::Response { status, .. } => matches!(status, 502..=504),
        Answer::Failure(failure) => matches!(failure, HttpFailure::Dns | HttpFailure::Connect),
    }
}

impl Running for Asking {
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        if let Some(music) = &mut self.music
            && let Some(prepared) = music.on(input, context)
        {
            self.music = None;
            if let Prepared::Ready(sound) = prepared {
                self.play(Sounding::Sound(sound), context);
            }
            return None;
        }
        let exit = match (&self.state, input) {
            (State::Sent { request }, Input::HttpDone { request: done, answer }) if request == done => {
                self.answered(answer, context)
            }
            (State::Pausing { until_ms }, _) if context.now_ms >= *until_ms => self.send(context),
            _ => None,
        }?;
        self.finish(context);
        Some(exit)
    }

    fn deadline(&self) -> Option<i64> {
        match self.state {
            State::Pausing { until_ms } => Some(until_ms),
            State::Sent { .. } => None,
        }
    }

    fn abandon(&mut self, context: &mut Context<'_>) {
        if let State::Sent { request } = self.state {
            context.push(Effect::CancelHttp { request });
        }
    }
}
