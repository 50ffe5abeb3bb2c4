//! `/v1/applications/{id}`: what an application decides about its meetings.
#![expect(unused_qualifications, reason = "utoipa's path macro repeats the types of the extractors")]

use axum::extract::State as Given;
use kernel::app::App;
use kernel::http::{Json, Path};
use kernel::time::rfc3339;
use kernel::{Action, Kernel, Principal, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::asker::app_of;
use crate::meetings::app_settings::{self, LEGACY_SECRET, change_settings};
use crate::meetings::model::Settings;

/// An application's id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ApplicationPath {
    /// `app_...`
    id: String,
}

/// What an application decides; durations end in their unit.
#[derive(Debug, Serialize, ToSchema)]
struct SettingsView {
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

/// An application.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApplicationView {
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
pub(super) struct ApplicationChange {
    /// Settings by name; they may also stand beside `settings`.
    #[schema(value_type = Object)]
    settings: Option<Value>,
    #[serde(flatten)]
    #[schema(ignore)]
    beside: Map<String, Value>,
}

impl ApplicationView {
    fn of(app: App) -> Self {
        let settings = Settings::read(&app.settings);
        Self {
            scopes: app.scopes.iter().map(|scope| scope.as_str()).collect(),
            created_at: rfc3339(app.created_at),
            settings: SettingsView {
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
            },
            id: app.id,
            name: app.name,
            publishable_key: app.publishable_key,
        }
    }
}

/// Read an application and what it decides about its meetings
#[utoipa::path(
    get,
    path = "/v1/applications/{id}",
    tag = "meetings",
    params(ApplicationPath),
    responses((status = 200, description = "The application", body = ApplicationView), (status = 404, description = "There is none")),
    security(("bearer" = []))
)]
pub(super) async fn read(
    Given(kernel): Given<Kernel>,
    principal: Principal,
    Path(path): Path<ApplicationPath>,
) -> Result<Json<ApplicationView>, Problem> {
    Ok(Json(ApplicationView::of(reach(&kernel, &principal, Action::ReadKeys, &path.id).await?)))
}

/// Change what an application decides about its meetings
#[utoipa::path(
    patch,
    path = "/v1/applications/{id}",
    tag = "meetings",
    params(ApplicationPath),
    request_body = ApplicationChange,
    responses((status = 200, description = "As it is now", body = ApplicationView), (status = 422, description = "A setting that there is not, or a value that is refused")),
    security(("bearer" = []))
)]
pub(super) async fn change(
    Given(kernel): Given<Kernel>,
    principal: Principal,
    Path(path): Path<ApplicationPath>,
    Json(request): Json<ApplicationChange>,
) -> Result<Json<ApplicationView>, Problem> {
    // What is not there is not judged.
    let app = reach(&kernel, &principal, Action::ManageKeys, &path.id).await?;
    let changes = changes(request, app.settings.contains_key(LEGACY_SECRET))?;
    Ok(Json(ApplicationView::of(change_settings(&kernel, principal.org(), &app.id, changes).await?)))
}

/// An application, if whoever asks may do this with it: a key reaches its own only.
async fn reach(kernel: &Kernel, principal: &Principal, action: Action, id: &str) -> Result<App, Problem> {
    let org = principal.authorize(action)?;
    if app_of(principal).is_some_and(|own| *own != *id) {
        return Err(Problem::not_found());
    }
    Ok(kernel.app(org, id).await?)
}

/// The settings as texts. `has_secret`: as the view tells of the legacy secret, so that what was read can be sent back.
fn changes(request: ApplicationChange, has_secret: bool) -> Result<Vec<(String, String)>, Problem> {
    let mut changes = Vec::new();
    let mut wrong: Option<Problem> = None;
    let mut note = |pointer: String, message: &str| {
        wrong = Some(match wrong.take() {
            Some(problem) => problem.and(pointer, "invalid", message),
            None => Problem::field(pointer, "invalid", message),
        });
    };
    let settings = match request.settings {
        None => Map::new(),
        Some(Value::Object(settings)) => settings,
        Some(_) => {
            note("/settings".to_owned(), "an object of settings by name");
            Map::new()
        }
    };
    let nested = settings.into_iter().map(|(name, value)| (format!("/settings/{name}"), name, value));
    let beside = request.beside.into_iter().map(|(name, value)| (format!("/{name}"), name, value));
    for (pointer, name, value) in nested.chain(beside) {
        match value.as_bool().filter(|_| name == LEGACY_SECRET) {
            Some(told) if told == has_secret => continue,
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
            Some(text) => match app_settings::check(&name, text.trim()) {
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
        read_with(body, false)
    }

    fn read_with(body: Value, has_secret: bool) -> Result<Vec<(String, String)>, Vec<String>> {
        let request = serde_json::from_value(body).unwrap();
        changes(request, has_secret)
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
    fn what_was_read_of_the_legacy_secret_changes_nothing() {
        for has_secret in [false, true] {
            let sent = |value: Value| read_with(json!({"settings": {"legacy_verifier_secret": value}}), has_secret);
            assert_eq!(sent(json!(has_secret)), Ok(Vec::new()));
            for bad in [json!(!has_secret), json!("true"), json!("false"), json!(1), json!("x".repeat(31))] {
                assert_eq!(sent(bad.clone()), Err(vec!["/settings/legacy_verifier_secret".to_owned()]), "{bad}");
            }
            let secret = "x".repeat(32);
            assert_eq!(sent(json!(secret)), Ok(vec![(LEGACY_SECRET.to_owned(), secret)]));
            assert_eq!(sent(json!("")), Ok(vec![(LEGACY_SECRET.to_owned(), String::new())]));
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
