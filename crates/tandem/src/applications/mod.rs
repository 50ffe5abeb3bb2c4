//! `/v1/applications/{id}`: what an application decides about what it uses, desk by desk (`settings` checks it).
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

pub mod settings;

use axum::extract::{FromRef, State as Given};
use kernel::app::App;
use kernel::http::{Json, Path};
use kernel::time::rfc3339;
use kernel::{Action, Kernel, Principal, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::settings::{ChatSettings, IDENTITY_SECRETS};
use crate::meetings::model::Settings;

/// An application's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct ApplicationPath {
    /// `app_...`
    id: String,
}

/// The routes.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Kernel: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(read, change))
}

/// What an application decides; durations end in their unit.
#[derive(Debug, Serialize, ToSchema)]
struct SettingsView {
    #[serde(flatten)]
    meetings: MeetingSettingsView,
    #[serde(flatten)]
    chat: ChatSettingsView,
}

/// About its meetings.
#[derive(Debug, Serialize, ToSchema)]
struct MeetingSettingsView {
    /// The zone of a `start_at` that names none.
    time_zone: String,
    /// What `meeting[duration]` counts: `minutes` or `seconds`.
    duration_unit: &'static str,
    /// Whether the server calls both at the start.
    auto_start: bool,
    /// The two are warned so long before the talk limit; 0 = not.
    talk_warning_s: i64,
    /// By how much the two may extend a meeting themselves.
    extend_max_s: i64,
    /// How long either may call again after the line dropped; 0 = not.
    reconnect_s: i64,
    /// Whether calls are recorded, after an announcement.
    record: bool,
    /// Asked before each call; 403 blocks it.
    veto_url: Option<String>,
    /// Own numbers that the two see instead of each other's.
    number_pool: Vec<String>,
    /// Whether tokens of the former system are verified; the secret itself is never shown.
    legacy_verifier_secret: bool,
    /// The two are reminded so long before the start; absent = never.
    remind_before_s: Option<i64>,
}

/// About its chat.
#[derive(Debug, Serialize, ToSchema)]
struct ChatSettingsView {
    /// How a visitor is known: `open`, `token` or `verified`.
    identity: &'static str,
    /// In which shape the routes of document 002 answer: `documented` or `observed`.
    compat_shape: &'static str,
    /// Pages that may use the chat, beside our own.
    allowed_origins: Vec<String>,
    /// Whether it vouches for visitors; the secret itself is never shown.
    identity_secret: bool,
    /// The same of the secret that is to follow.
    identity_secret_next: bool,
    /// New visitors from one address; 0 = no limit, as with the other counts.
    limit_sessions_per_minute: u32,
    /// New rooms of one visitor.
    limit_conversations_per_hour: u32,
    /// Messages of one visitor in the long run.
    limit_messages_per_minute: u32,
    /// Messages of one visitor at once.
    limit_messages_burst: u32,
    /// Sockets of one visitor at once.
    limit_sockets: u32,
    /// Longest message, characters; at least 1.
    limit_characters: usize,
    /// Attachments of one visitor.
    limit_uploads_per_hour: u32,
    /// Largest attachment, bytes; at least 1.
    limit_upload_bytes: u64,
    /// Calls that one visitor asks for.
    limit_calls_per_hour: u32,
    /// Which calls may be begun in a chat: `off`, `browser`, `phone` or `both`.
    chat_calls: &'static str,
    /// Whether those are recorded, after an announcement.
    chat_record: bool,
    /// Whether visitors may hear the recordings.
    chat_record_shared: bool,
    /// Whether what browsers are told while no page is open holds the words of the message.
    chat_push_text: bool,
}

/// An application.
#[derive(Debug, Serialize, ToSchema)]
struct ApplicationView {
    /// `app_...`
    id: String,
    /// For people.
    name: String,
    /// What its key may do; empty = everything of the organisation.
    scopes: Vec<&'static str>,
    /// For pages in a browser.
    publishable_key: String,
    /// What it decides.
    settings: SettingsView,
    /// RFC 3339, UTC.
    created_at: String,
}

/// What is to change. Each setting is a text, or a number, a switch or a list where it is one; null puts one back.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct ApplicationChange {
    /// Settings by name; they may also stand beside `settings`.
    #[schema(value_type = Object)]
    settings: Option<Value>,
    #[serde(flatten)]
    #[schema(ignore)]
    beside: Map<String, Value>,
}

impl MeetingSettingsView {
    fn of(app: &App) -> Self {
        let settings = Settings::read(&app.settings);
        Self {
            time_zone: settings.time_zone,
            duration_unit: settings.duration_unit.as_str(),
            auto_start: settings.auto_start,
            talk_warning_s: settings.talk_warning_s,
            extend_max_s: settings.extend_max_s,
            reconnect_s: settings.reconnect_s,
            record: settings.record,
            veto_url: settings.veto_url,
            number_pool: settings.number_pool,
            legacy_verifier_secret: settings.legacy_verifier_secret.is_some(),
            remind_before_s: settings.remind_before_s,
        }
    }
}

impl ChatSettingsView {
    fn of(app: &App) -> Self {
        let ChatSettings {
            identity,
            compat_shape,
            allowed_origins,
            limits,
            calls,
            records_calls,
            shares_recordings,
            pushes_text,
            ..
        } = ChatSettings::read(&app.settings);
        let [identity_secret, identity_secret_next] = IDENTITY_SECRETS.map(|name| app.settings.contains_key(name));
        Self {
            identity: identity.as_str(),
            compat_shape: compat_shape.as_str(),
            allowed_origins,
            identity_secret,
            identity_secret_next,
            limit_sessions_per_minute: limits.sessions_per_minute,
            limit_conversations_per_hour: limits.conversations_per_hour,
            limit_messages_per_minute: limits.messages_per_minute,
            limit_messages_burst: limits.messages_burst,
            limit_sockets: limits.sockets,
            limit_characters: limits.characters,
            limit_uploads_per_hour: limits.uploads_per_hour,
            limit_upload_bytes: limits.upload_bytes,
            limit_calls_per_hour: limits.calls_per_hour,
            chat_calls: calls.as_str(),
            chat_record: records_calls,
            chat_record_shared: shares_recordings,
            chat_push_text: pushes_text,
        }
    }
}

impl ApplicationView {
    fn of(app: App) -> Self {
        let settings = SettingsView { meetings: MeetingSettingsView::of(&app), chat: ChatSettingsView::of(&app) };
        Self {
            scopes: app.scopes.iter().map(|scope| scope.as_str()).collect(),
            created_at: rfc3339(app.created_at),
            settings,
            id: app.id,
            name: app.name,
            publishable_key: app.publishable_key,
        }
    }
}

/// Read an application and what it decides
#[utoipa::path(
    get,
    path = "/v1/applications/{id}",
    tag = "applications",
    params(ApplicationPath),
    responses((status = 200, description = "The application", body = ApplicationView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
async fn read(
    Given(kernel): Given<Kernel>,
    principal: Principal,
    Path(path): Path<ApplicationPath>,
) -> Result<Json<ApplicationView>, Problem> {
    Ok(Json(ApplicationView::of(reach(&kernel, &principal, Action::ReadKeys, &path.id).await?)))
}

/// Change what an application decides
#[utoipa::path(
    patch,
    path = "/v1/applications/{id}",
    tag = "applications",
    params(ApplicationPath),
    request_body = ApplicationChange,
    responses((status = 200, description = "As it is now", body = ApplicationView), (status = 422, description = "A setting that there is not, or a value that is refused")),
    security(("bearer" = []))
)]
async fn change(
    Given(kernel): Given<Kernel>,
    principal: Principal,
    Path(path): Path<ApplicationPath>,
    Json(request): Json<ApplicationChange>,
) -> Result<Json<ApplicationView>, Problem> {
    // What is not there is not judged.
    let app = reach(&kernel, &principal, Action::ManageKeys, &path.id).await?;
    let changes = changes(request, &app)?;
    Ok(Json(ApplicationView::of(settings::change(&kernel, principal.org(), &app.id, changes).await?)))
}

/// An application, if whoever asks may do this with it: a key reaches its own only.
async fn reach(kernel: &Kernel, principal: &Principal, action: Action, id: &str) -> Result<App, Problem> {
    let org = principal.authorize(action)?;
    if let Principal::App { app, .. } = principal
        && **app != *id
    {
        return Err(Problem::not_found());
    }
    Ok(kernel.app(org, id).await?)
}

/// The settings as texts. What was read of a secret, whether it is set, can be sent back and changes nothing.
fn changes(request: ApplicationChange, app: &App) -> Result<Vec<(String, String)>, Problem> {
    let mut changes = Vec::new();
    let mut wrong: Option<Problem> = None;
    let mut note = |pointer: String, message: &str| {
        wrong = Some(match wrong.take() {
            Some(problem) => problem.and(pointer, "invalid", message),
            None => Problem::field(pointer, "invalid", message),
        });
    };
    let nested = match request.settings {
        None => Map::new(),
        Some(Value::Object(settings)) => settings,
        Some(_) => {
            note("/settings".to_owned(), "an object of settings by name");
            Map::new()
        }
    };
    let nested = nested.into_iter().map(|(name, value)| (format!("/settings/{name}"), name, value));
    let beside = request.beside.into_iter().map(|(name, value)| (format!("/{name}"), name, value));
    for (pointer, name, value) in nested.chain(beside) {
        match value.as_bool().filter(|_| settings::is_secret(&name)) {
            Some(told) if told == app.settings.contains_key(&name) => continue,
            Some(true) => {
                note(pointer, "the secret itself, which is never shown");
                continue;
            }
            Some(false) => {
                note(pointer, "an empty text removes the secret");
                continue;
            }
            None => {}
        }
        match text_of(&value) {
            Some(text) => match settings::check(&name, text.trim()) {
                Ok(()) => changes.push((name, text)),
                Err(expected) => note(pointer, &expected),
            },
            None => note(pointer, "a text, a number, true or false, a list of texts, or null"),
        }
    }
    wrong.map_or(Ok(changes), Err)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(switch) => Some(switch.to_string()),
        Value::Array(list) => {
            let texts: Option<Vec<String>> = list.iter().map(|one| one.as_str().map(str::to_owned)).collect();
            texts.map(|texts| texts.join(","))
        }
        Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Vec<(String, String)>, Vec<String>> {
        read_with(body, &[])
    }

    /// What an application that has these secrets is asked to change.
    fn read_with(body: Value, secrets: &[&str]) -> Result<Vec<(String, String)>, Vec<String>> {
        let app = App {
            id: "app_1".to_owned(),
            org: "org_1".to_owned(),
            name: "Shop".to_owned(),
            scopes: Vec::new(),
            publishable_key: String::new(),
            settings: secrets.iter().map(|name| ((*name).to_owned(), "sealed".to_owned())).collect(),
            version: 1,
            created_at: 0,
        };
        changes(serde_json::from_value(body).unwrap(), &app)
            .map_err(|problem| problem.errors.iter().map(|error| error.pointer.clone()).collect())
    }

    #[test]
    fn settings_are_texts_numbers_switches_or_lists_nested_or_beside() {
        let nested = read(json!({"settings": {"auto_start": true, "number_pool": ["+442071838750", "+442071838751"]}}));
        let texts = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(nested, Ok(texts(&[("auto_start", "true"), ("number_pool", "+442071838750,+442071838751")])));
        let beside = read(json!({"reconnect_s": 0, "talk_warning_s": "30", "veto_url": null}));
        assert_eq!(beside, Ok(texts(&[("reconnect_s", "0"), ("talk_warning_s", "30"), ("veto_url", "")])));
    }

    #[test]
    fn what_was_read_of_a_secret_changes_nothing() {
        for (name, least) in [("legacy_verifier_secret", 32), ("identity_secret", 16), ("identity_secret_next", 16)] {
            for has_secret in [false, true] {
                let secrets: &[&str] = if has_secret { &[name] } else { &[] };
                let sent = |value: Value| read_with(json!({"settings": {name: value}}), secrets);
                assert_eq!(sent(json!(has_secret)), Ok(Vec::new()));
                for bad in [json!(!has_secret), json!("true"), json!("false"), json!(1), json!("x".repeat(least - 1))] {
                    assert_eq!(sent(bad.clone()), Err(vec![format!("/settings/{name}")]), "{bad}");
                }
                let secret = "x".repeat(least);
                assert_eq!(sent(json!(secret)), Ok(vec![(name.to_owned(), secret)]));
                assert_eq!(sent(json!("")), Ok(vec![(name.to_owned(), String::new())]));
            }
        }
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let wrong =
            read(json!({"settings": {"colour": "red", "auto_start": "perhaps"}, "record": {}, "time_zone": "Moon"}));
        assert_eq!(
            wrong,
            Err(["/settings/colour", "/settings/auto_start", "/record", "/time_zone"].map(str::to_owned).into())
        );
        assert_eq!(read(json!({"settings": []})), Err(vec!["/settings".to_owned()]));
    }
}
