//! The demo's meeting: two people of an application "Demo", who talk in two browser windows.
//!
//! Invariant: at every start there is one such meeting, open for the whole day, and its two links are good.

use kernel::app::{App as Application, NewApp};
use kernel::{Kernel, Scope};

use super::CliError;
use crate::app::App;
use crate::meetings::model::{CallType, MAX_DURATION_MS, Party, Role};
use crate::meetings::{Order, tokens};

/// As long as a day's work, and an hour less than the longest: so that the two are offered more time.
const DURATION_MS: i64 = MAX_DURATION_MS - 3_600_000;
/// Who has hung up may call again all day.
const SETTINGS: [(&str, &str); 1] = [("reconnect_s", "28800")];
const APP: &str = "Demo";
/// The order, as the application would know it.
const ORDER: &str = "demo";
const CALLER: (&str, &str) = ("ann", "Ann");
const RECEIVER: (&str, &str) = ("ben", "Ben");
/// Applications among which it is looked for.
const MAX_APPS: i64 = 500;

/// The addresses of the meeting's page for the caller and the receiver.
pub(super) struct Links {
    pub(super) caller: String,
    pub(super) receiver: String,
}

/// Makes the meeting, or opens the one of an earlier start again.
///
/// # Errors
/// What the store says.
pub(super) async fn open(app: &App, org: &str) -> Result<Links, CliError> {
    let kernel = &app.kernel;
    let application = application(kernel, org).await?;
    let order = Order {
        order_id: ORDER.to_owned(),
        caller: party(CALLER),
        receiver: party(RECEIVER),
        starts_ms: Some(kernel.clock.now_ms()),
        duration_ms: DURATION_MS,
    };
    let meeting = app.meetings.schedule(org, &application.id, order).await.map_err(CliError::because)?.meeting;
    let token = |role: Role| tokens::issue(kernel, &meeting, role).map_err(CliError::because);
    let ((caller, one), (receiver, other)) = (token(Role::Caller)?, token(Role::Receiver)?);
    kernel.db.writer().commit(vec![one, other]).await.map_err(CliError::because)?;
    let link = |token: String| app.site().url(&format!("/sessions?acc_tok={token}"));
    Ok(Links { caller: link(caller), receiver: link(receiver) })
}

/// The application of an earlier start, or a new one. Nobody needs its key: the console makes another.
async fn application(kernel: &Kernel, org: &str) -> Result<Application, CliError> {
    let known = kernel.apps(org, "", MAX_APPS).await?;
    if let Some(known) = known.into_iter().find(|app| app.name == APP) {
        return Ok(known);
    }
    let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let new = NewApp { name: APP.to_owned(), scopes: vec![Scope::Meetings], settings };
    Ok(kernel.create_app(org, new).await?.0)
}

fn party((uid, name): (&str, &str)) -> Party {
    Party { uid: uid.to_owned(), name: name.to_owned(), number: None, email: None, call_type: CallType::Browser }
}
