//! Settings of an application on their way into the store: what concerns meetings is checked, and the legacy secret
//! is sealed. Other names are free: what other desks, or the customer, keep there is none of ours.
//!
//! Invariant: what is stored was checked, and the secret of former tokens stands nowhere in the open.

use kernel::app::App;
use kernel::{Kernel, RecordError};

use super::model::{LEGACY_SECRET_PURPOSE, SETTING_NAMES, Settings};
use super::{jobs, store};

/// The one setting that is a secret.
pub const LEGACY_SECRET: &str = "legacy_verifier_secret";

/// Changes of an application's settings as they are to be stored. An empty value puts one back.
///
/// # Errors
/// The first one that is refused, by name.
pub fn checked_settings(kernel: &Kernel, changes: Vec<(String, String)>) -> Result<Vec<(String, String)>, RecordError> {
    changes.into_iter().map(|(name, value)| checked(kernel, name, value)).collect()
}

fn checked(kernel: &Kernel, name: String, value: String) -> Result<(String, String), RecordError> {
    if !SETTING_NAMES.contains(&name.as_str()) {
        return Ok((name, value));
    }
    let value = value.trim();
    if let Err(expected) = Settings::check(&name, value) {
        return Err(RecordError::Invalid { field: "settings", message: format!("{name}: {expected}") });
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
