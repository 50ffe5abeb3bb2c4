//! Settings of an application on their way into the store: what concerns meetings is checked, and the legacy secret
//! is sealed. A name that no desk knows is refused, for it would decide nothing, in silence.
//!
//! Invariant: what is stored was checked, and the secret of former tokens stands nowhere in the open.

use kernel::app::App;
use kernel::{Kernel, RecordError};

use super::model::{LEGACY_SECRET_PURPOSE, SETTING_NAMES, Settings};
use super::{jobs, store};

/// What tells a good value of a setting: nothing, or what is expected.
type Check = fn(&str, &str) -> Result<(), &'static str>;

/// The settings that there are, desk by desk.
const DESKS: [(&[&str], Check); 1] = [(&SETTING_NAMES, Settings::check)];

/// The one setting that is a secret.
pub const LEGACY_SECRET: &str = "legacy_verifier_secret";

/// Every setting, by name.
#[must_use]
pub fn names() -> String {
    DESKS.map(|(names, _)| names.join(", ")).join(", ")
}

/// Whether `value` is one of the setting `name`; an empty value puts one back.
///
/// # Errors
/// What is expected, for people: of the value, or instead of the name.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    match DESKS.iter().find(|(names, _)| names.contains(&name)) {
        Some((_, check)) => check(name, value).map_err(str::to_owned),
        None => Err(format!("there is no such setting; there are {}", names())),
    }
}

/// Changes of an application's settings as they are to be stored. An empty value puts one back.
///
/// # Errors
/// The first one that is refused, by name.
pub fn checked_settings(kernel: &Kernel, changes: Vec<(String, String)>) -> Result<Vec<(String, String)>, RecordError> {
    changes.into_iter().map(|(name, value)| checked(kernel, name, value)).collect()
}

fn checked(kernel: &Kernel, name: String, value: String) -> Result<(String, String), RecordError> {
    let value = value.trim();
    // A name of before, when every one was free, may still be taken away.
    if !value.is_empty() {
        let wrong = |expected| RecordError::Invalid { field: "settings", message: format!("{name}: {expected}") };
        check(&name, value).map_err(wrong)?;
    }
    let value = match name.as_str() {
        LEGACY_SECRET if !value.is_empty() => kernel.secrets.seal(LEGACY_SECRET_PURPOSE, value)?,
        _ => value.to_owned(),
    };
    Ok((name, value))
}

/// Changes settings of an application.
///
/// # Errors
/// A setting that is refused, an application that is not there, or a change in the same moment.
pub async fn change_settings(
    kernel: &Kernel,
    org: &str,
    app: &str,
    changes: Vec<(String, String)>,
) -> Result<App, RecordError> {
    let app = kernel.set_app(org, app, checked_settings(kernel, changes)?).await?;
    reschedule(kernel, &app).await?;
    Ok(app)
}

/// Meetings that were ordered before are reminded of, and begin by themselves, as the application wants it now.
async fn reschedule(kernel: &Kernel, app: &App) -> Result<(), RecordError> {
    let settings = Settings::read(&app.settings);
    let mut after = 0;
    loop {
        let page = store::ahead_of(&kernel.db, &app.org, &app.id, after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        let writes = page.iter().map(|meeting| jobs::write(meeting, &settings)).collect();
        kernel.db.writer().commit(writes).await?;
    }
}
