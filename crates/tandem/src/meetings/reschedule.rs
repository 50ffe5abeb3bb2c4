//! What an application decides anew holds for meetings that it ordered before.

use kernel::app::App;
use kernel::{Kernel, RecordError};

use super::model::Settings;
use super::{jobs, store};

/// The meetings of an application that are not over are reminded of, and begin by themselves, as it wants it now.
///
/// # Errors
/// When the store fails; then it holds from the next change of each on.
pub(crate) async fn reschedule(kernel: &Kernel, app: &App) -> Result<(), RecordError> {
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
