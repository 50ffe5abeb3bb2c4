//! Settings of an application on their way into the store: each desk says what its own may be. A name that no desk knows
//! is refused, for it would decide nothing, in silence.
//!
//! Invariant: what is stored was checked, and no secret stands in the open.

use std::collections::BTreeMap;

use kernel::app::App;
use kernel::{Kernel, RecordError};

use crate::chat::settings as chat;
use crate::chat::visit::settings as widget;
use crate::meetings::{self, model};

/// What tells a good value of a setting: nothing, or what is expected.
type Check = fn(&str, &str) -> Result<(), &'static str>;

/// What a desk lets its applications decide.
struct Desk {
    names: &'static [&'static str],
    check: Check,
    /// Those that are secrets, and what they are sealed for.
    secrets: &'static [&'static str],
    purpose: &'static str,
}

const DESKS: [Desk; 3] = [
    Desk {
        names: &model::SETTING_NAMES,
        check: model::Settings::check,
        secrets: &[model::LEGACY_SECRET],
        purpose: model::LEGACY_SECRET_PURPOSE,
    },
    Desk {
        names: &chat::SETTING_NAMES,
        check: chat::ChatSettings::check,
        secrets: &chat::IDENTITY_SECRETS,
        purpose: chat::IDENTITY_SECRET_PURPOSE,
    },
    Desk {
        names: &widget::SETTING_NAMES,
        check: widget::WidgetSettings::check,
        secrets: &[],
        // Never asked for: there is no secret.
        purpose: "",
    },
];

/// Every setting, by name.
#[must_use]
pub fn names() -> String {
    DESKS.map(|desk| desk.names.join(", ")).join(", ")
}

/// Whether `value` is one of the setting `name`; an empty value puts one back.
///
/// # Errors
/// What is expected, for people: of the value, or instead of the name.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    match DESKS.iter().find(|desk| desk.names.contains(&name)) {
        Some(desk) => (desk.check)(name, value).map_err(str::to_owned),
        None => Err(format!("there is no such setting; there are {}", names())),
    }
}

/// Whether a setting is a secret, which is stored sealed and never shown.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    DESKS.iter().any(|desk| desk.secrets.contains(&name))
}

/// The settings of an application for whoever may see them: of a secret only that it is set.
#[must_use]
pub fn shown(app: &App) -> BTreeMap<String, String> {
    let show = |(name, value): (&String, &String)| {
        let value = if is_secret(name) { "set".to_owned() } else { value.clone() };
        (name.clone(), value)
    };
    app.settings.iter().map(show).collect()
}

/// Changes of an application's settings as they are to be stored. An empty value puts one back.
///
/// # Errors
/// The first one that is refused, by name.
pub fn checked(kernel: &Kernel, changes: Vec<(String, String)>) -> Result<Vec<(String, String)>, RecordError> {
    changes.into_iter().map(|(name, value)| checked_one(kernel, name, value)).collect()
}

fn checked_one(kernel: &Kernel, name: String, value: String) -> Result<(String, String), RecordError> {
    let value = value.trim();
    // A name of before, when every one was free, may still be taken away.
    if value.is_empty() {
        return Ok((name, String::new()));
    }
    let wrong = |expected| RecordError::Invalid { field: "settings", message: format!("{name}: {expected}") };
    check(&name, value).map_err(wrong)?;
    let value = match DESKS.iter().find(|desk| desk.secrets.contains(&name.as_str())) {
        Some(desk) => kernel.secrets.seal(desk.purpose, value)?,
        None => value.to_owned(),
    };
    Ok((name, value))
}

/// Changes settings of an application.
///
/// # Errors
/// A setting that is refused, an application that is not there, or a change in the same moment.
pub async fn change(kernel: &Kernel, org: &str, app: &str, changes: Vec<(String, String)>) -> Result<App, RecordError> {
    let app = kernel.set_app(org, app, checked(kernel, changes)?).await?;
    meetings::reschedule(kernel, &app).await?;
    for warning in chat::ChatSettings::read(&app.settings).warnings() {
        tracing::warn!(app = app.id, "{warning}");
    }
    Ok(app)
}
