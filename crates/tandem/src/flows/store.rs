//! All SQL of the flows desk: saved flows and runs here, callbacks in a file of their own. Every statement names the
//! organisation.

pub(crate) mod concerning;

use std::sync::Arc;

use kernel::retention::{RowSweep, Sweep};
use kernel::{Db, DbError, Kernel, Row, Write, args, secret::SecretError};
use serde_json::Value;
use voice::cause::Cause;

mod callbacks;

pub use callbacks::{
    Booker, Callback, CallbackFilter, callback, callback_write, callbacks, callbacks_ahead, callbacks_coming,
    has_open_callback,
};

/// Sorts after every id.
const AFTER_ALL: &str = "~";
/// Saved flows of one organisation, at most.
pub const MAX_FLOWS: i64 = 10_000;

kernel::statements! {
    FLOW_INSERT = "insert into flow (id, org, name, version, created_at, updated_at) values ($1, $2, $3, 1, $4, $4)";
    VERSION_INSERT = "insert into flow_version (flow, version, org, body, created_at) values ($1, $2, $3, $4, $5)";
    FLOW_UPDATE = "update flow set name = $3, version = version + 1, updated_at = $4 \
        where org = $1 and id = $2 and version = $5 and deleted_at is null";
    FLOW_DELETE = "update flow set deleted_at = $3 where org = $1 and id = $2 and deleted_at is null";
    FLOW_COUNT = "select count(*) as found from flow where org = $1 and deleted_at is null";
    FLOW_ONE = "select f.id, f.name, f.version, f.created_at, f.updated_at, v.body from flow f \
        join flow_version v on v.flow = f.id and v.version = f.version \
        where f.org = $1 and f.id = $2 and f.deleted_at is null";
    FLOW_BODY = "select body from flow_version where org = $1 and flow = $2 and version = $3";
    FLOW_LIST = "select id, name, version, created_at, updated_at from flow \
        where org = $1 and id > $2 and deleted_at is null order by id limit $3";
    FLOW_PRODUCTS = "select name from chat_product where org = $1 and flow = $2 order by name limit 20";
    FLOW_NUMBERS = "select e164 from number where org = $1 and kind = 'flow' and target = $2 order by e164 limit 20";
    RUN_INSERT = "insert into flow_run (id, org, call, flow, version, body, started_at) values ($1, $2, $3, $4, $5, $6, $7)";
    ROOM_RUN_INSERT = "insert into flow_run (id, org, call, room, flow, version, body, started_at) \
        values ($1, $2, '', $3, $4, $5, $6, $7)";
    RUN_ENDED = "update flow_run set cause = $3, ended_at = $4 where org = $1 and id = $2 and ended_at is null";
    END_LOST_RUNS = "update flow_run set cause = $1, ended_at = $2 where room is not null and ended_at is null";
    RUN_REFUSED = "insert into flow_run (id, org, call, flow, version, body, error, started_at) values ($1, $2, '', $3, $4, $5, $6, $7)";
    RUN_LIST = "select r.id, r.call, r.flow, r.version, r.error, r.started_at, f.name, c.state, \
        coalesce(c.cause, r.cause) as cause, c.direction, c.from_number, c.to_number, r.room, r.ended_at, \
        q.user_id from flow_run r \
        left join flow f on f.org = r.org and f.id = r.flow \
        left join call c on c.org = r.org and c.id = r.call \
        left join chat_room q on q.org = r.org and q.id = r.room \
        where r.org = $1 and r.id < $2 and (r.flow = $3 or $3 is null) order by r.id desc limit $4";
    VERSION_LIST = "select version, created_at from flow_version where org = $1 and flow = $2 \
        order by version desc limit $3";
    ERASE_RUN = "delete from flow_run where org = $1 and call = $2 and not exists \
        (select 1 from callback b where b.org = flow_run.org and b.run = flow_run.id and b.ended_at is null)";
    RUN_VARIABLES = "update flow_run set variables = $3 where org = $1 and id = $2";
    RUN_ONE = "select id, call, room, flow, version, body, variables, error, cause, started_at, ended_at from flow_run where org = $1 and id = $2";
    RUN_CALL = "select call from flow_run where org = $1 and id = $2";
    FORGET_CALLBACKS = "delete from callback where id in (select id from callback \
        where org = $1 and ended_at < $2 order by id limit 200)";
    FORGET_RUNS = "delete from flow_run where id in (select r.id from flow_run r where r.org = $1 and r.started_at < $2 \
        and r.room is null and not exists (select 1 from call c where c.org = r.org and c.id = r.call) \
        and not exists (select 1 from callback b where b.org = r.org and b.run = r.id and b.ended_at is null) \
        order by r.id limit 200)";
}

/// What of flows grows old with the calls that they ran on: ended callbacks, and runs whose call is gone.
pub fn sweeps(kernel: &Kernel) -> Vec<Arc<dyn Sweep>> {
    // After the calls, whose rows hold their runs.
    [FORGET_CALLBACKS, FORGET_RUNS].map(|forget| Arc::new(RowSweep::new(kernel.clone(), "calls", forget)) as _).into()
}

/// A saved flow.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedFlow {
    /// `flow_...`
    pub id: String,
    /// The author's name for it.
    pub name: String,
    /// Its newest version.
    pub version: i64,
    /// UTC, milliseconds.
    pub created_ms: i64,
    /// UTC, milliseconds.
    pub updated_ms: i64,
    /// The newest version's body; absent in lists.
    pub body: Option<Value>,
}

impl SavedFlow {
    fn from_row(row: &Row, with_body: bool) -> Result<Self, DbError> {
        Ok(Self {
            id: row.text("id")?,
            name: row.text("name")?,
            version: row.int("version")?,
            created_ms: row.int("created_at")?,
            updated_ms: row.int("updated_at")?,
            body: if with_body { Some(row.json("body")?) } else { None },
        })
    }
}

/// Where the sealed publish secret of a saved flow stands in its body.
const SEALED: &str = "sealed_secret";
/// What it is sealed for.
const SEAL_PURPOSE: &str = "flow_version.body";

/// What of a body makes the flow; the rest is not kept.
const ESSENTIAL: [&str; 3] = ["record", "publish", "flow"];

/// A body to be shown or kept in the open: what makes the flow, without its publish secret.
#[must_use]
pub fn without_secrets(mut body: Value) -> Value {
    keep_essentials(&mut body);
    if let Some(publish) = body.get_mut("publish").and_then(Value::as_object_mut) {
        publish.shift_remove("secret");
        publish.shift_remove(SEALED);
    }
    body
}

fn keep_essentials(body: &mut Value) {
    if let Some(map) = body.as_object_mut() {
        map.retain(|name, _| ESSENTIAL.contains(&name.as_str()));
    }
}

/// A body to be saved or kept for a while: what makes the flow, its publish secret sealed.
///
/// # Errors
/// When the server's key does not seal.
pub fn sealed(kernel: &Kernel, mut body: Value) -> Result<Value, SecretError> {
    keep_essentials(&mut body);
    if let Some(publish) = body.get_mut("publish").and_then(Value::as_object_mut) {
        // A client that sends back what it read must not choose what is opened later.
        publish.shift_remove(SEALED);
        if let Some(Value::String(secret)) = publish.shift_remove("secret") {
            publish.insert(SEALED.to_owned(), kernel.secrets.seal(SEAL_PURPOSE, &secret)?.into());
        }
    }
    Ok(body)
}

/// Seals into a new body the publish secret of the body before it, when the new one names none and the same URL: whoever
/// sends back what it has read takes no secret away.
fn keep_secret(body: &mut Value, before: &Value) {
    let Some(before) = before.get("publish") else { return };
    let Some(publish) = body.get_mut("publish").and_then(Value::as_object_mut) else { return };
    if let (Some(secret), false) = (before.get(SEALED), publish.contains_key(SEALED))
        && publish.get("url") == before.get("url")
    {
        publish.insert(SEALED.to_owned(), secret.clone());
    }
}

/// Whether a saved body has a publish secret.
#[must_use]
pub fn has_secret(body: &Value) -> bool {
    body.pointer("/publish").is_some_and(|publish| publish.get(SEALED).is_some())
}

/// A saved body to be run: its publish secret opened.
///
/// # Errors
/// When it was sealed with another key.
pub fn with_secrets(kernel: &Kernel, mut body: Value) -> Result<Value, SecretError> {
    if let Some(publish) = body.get_mut("publish").and_then(Value::as_object_mut)
        && let Some(Value::String(sealed)) = publish.shift_remove(SEALED)
    {
        let secret = kernel.secrets.open_sealed(SEAL_PURPOSE, &sealed)?;
        publish.insert("secret".to_owned(), secret.expose().into());
    }
    Ok(body)
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// `run_...`
    pub id: String,
    /// Its call; empty when it never began, or talks in a room.
    pub call: String,
    /// The room that it talks in.
    pub room: Option<String>,
    /// How a run in a room ended.
    pub cause: Option<String>,
    /// When it ended; UTC, milliseconds.
    pub ended_ms: Option<i64>,
    /// The flow as it was posted or saved.
    pub body: Value,
    /// The author's variables without the sensitive ones.
    pub variables: Value,
    /// Why it never began; it has no call then.
    pub error: Option<String>,
    /// UTC, milliseconds.
    pub started_ms: i64,
}

impl Run {
    /// The key of the events that tell its story: of its call, or of its room.
    #[must_use]
    pub fn key(&self) -> &str {
        self.room.as_deref().unwrap_or(&self.call)
    }
}

/// Why a flow could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The organisation has [`MAX_FLOWS`].
    #[error("the organisation has {MAX_FLOWS} flows already")]
    TooMany,
    /// Another version was saved in the same moment.
    #[error("the flow was changed by someone else in the same moment")]
    Conflict,
    /// The publish secret cannot be sealed.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Saves a new flow; the body was checked. Its publish secret is kept sealed.
///
/// # Errors
/// [`SaveError`].
pub async fn create(kernel: &Kernel, org: &str, name: &str, body: &Value) -> Result<SavedFlow, SaveError> {
    let found = kernel.db.one(FLOW_COUNT, args![org]).await?.map_or(Ok(0), |row| row.int("found"))?;
    if found >= MAX_FLOWS {
        return Err(SaveError::TooMany);
    }
    let body = sealed(kernel, body.clone())?;
    let now_ms = kernel.clock.now_ms();
    let id = kernel.ids.new("flow", now_ms);
    let writes = vec![
        Write::new(FLOW_INSERT, args![&id, org, name, now_ms]),
        Write::new(VERSION_INSERT, args![&id, 1_i64, org, &body, now_ms]),
    ];
    kernel.db.writer().commit(writes).await?;
    Ok(SavedFlow { id, name: name.to_owned(), version: 1, created_ms: now_ms, updated_ms: now_ms, body: Some(body) })
}

/// Saves a new version of a flow; none when there is no such flow. Whoever changed the flow as it was in a version that
/// it `seen` overwrites no later one. The publish secret, which is never shown, stays while its URL does.
///
/// # Errors
/// [`SaveError`].
pub async fn update(
    kernel: &Kernel,
    org: &str,
    id: &str,
    seen: Option<i64>,
    (name, body): (Option<&str>, &Value),
) -> Result<Option<SavedFlow>, SaveError> {
    let Some(before) = one(&kernel.db, org, id).await? else {
        return Ok(None);
    };
    if seen.is_some_and(|seen| seen != before.version) {
        return Err(SaveError::Conflict);
    }
    let mut body = sealed(kernel, body.clone())?;
    if let Some(before) = &before.body {
        keep_secret(&mut body, before);
    }
    let now_ms = kernel.clock.now_ms();
    let name = name.unwrap_or(&before.name).to_owned();
    let version = before.version + 1;
    let writes = vec![
        Write::guarded(FLOW_UPDATE, args![org, id, &name, now_ms, before.version]),
        Write::new(VERSION_INSERT, args![id, version, org, &body, now_ms]),
    ];
    match kernel.db.writer().commit(writes).await {
        Ok(_) => Ok(Some(SavedFlow { name, version, updated_ms: now_ms, body: Some(body), ..before })),
        Err(DbError::Conflict) => Err(SaveError::Conflict),
        Err(error) => Err(error.into()),
    }
}

/// A flow with its newest body.
///
/// # Errors
/// What the store says.
pub async fn one(db: &Db, org: &str, id: &str) -> Result<Option<SavedFlow>, DbError> {
    let row = db.one(FLOW_ONE, args![org, id]).await?;
    row.map(|row| SavedFlow::from_row(&row, true)).transpose()
}

/// The body of one version.
///
/// # Errors
/// What the store says.
pub async fn version(db: &Db, org: &str, id: &str, version: i64) -> Result<Option<Value>, DbError> {
    let row = db.one(FLOW_BODY, args![org, id, version]).await?;
    row.map(|row| row.json("body")).transpose()
}

/// Flows in the order of their making, after an id.
///
/// # Errors
/// What the store says.
pub async fn list(db: &Db, org: &str, after: &str, limit: i64) -> Result<Vec<SavedFlow>, DbError> {
    db.all(FLOW_LIST, args![org, after, limit]).await?.iter().map(|row| SavedFlow::from_row(row, false)).collect()
}

/// Deletes a flow; false when there is none.
///
/// # Errors
/// What the store says.
pub async fn delete(kernel: &Kernel, org: &str, id: &str) -> Result<bool, DbError> {
    Ok(kernel.db.run(FLOW_DELETE, args![org, id, kernel.clock.now_ms()]).await? > 0)
}

/// The public numbers that lead to a flow.
///
/// # Errors
/// What the store says.
pub async fn numbers_of(db: &Db, org: &str, id: &str) -> Result<Vec<String>, DbError> {
    db.all(FLOW_NUMBERS, args![org, id]).await?.iter().map(|row| row.text("e164")).collect()
}

/// The products whose chats a flow answers.
///
/// # Errors
/// What the store says.
pub async fn products_of(db: &Db, org: &str, id: &str) -> Result<Vec<String>, DbError> {
    db.all(FLOW_PRODUCTS, args![org, id]).await?.iter().map(|row| row.text("name")).collect()
}

/// Where the flow of a run comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Posted: its body, without credentials and secrets.
    Posted(Value),
    /// A version of a saved flow.
    Saved {
        /// The flow.
        flow: String,
        /// The version.
        version: i64,
    },
}

impl Origin {
    fn columns(&self) -> (&str, i64, String) {
        match self {
            Self::Posted(body) => ("", 0, body.to_string()),
            Self::Saved { flow, version } => (flow, *version, String::new()),
        }
    }
}

/// The row of a new run; it goes with its call's.
#[must_use]
pub fn run_write(org: &str, id: &str, call: &str, origin: &Origin, now_ms: i64) -> Write {
    let (flow, version, body) = origin.columns();
    Write::new(RUN_INSERT, args![id, org, call, flow, version, body, now_ms])
}

/// The row of a new run that talks in a room.
#[must_use]
pub fn room_run_write(org: &str, id: &str, room: &str, origin: &Origin, now_ms: i64) -> Write {
    let (flow, version, body) = origin.columns();
    Write::new(ROOM_RUN_INSERT, args![id, org, room, flow, version, body, now_ms])
}

/// The end of a run that talked in a room.
#[must_use]
pub fn ended_run_write(org: &str, id: &str, cause: &str, at_ms: i64) -> Write {
    Write::new(RUN_ENDED, args![org, id, cause, at_ms])
}

/// Ends the runs in rooms that a stop or a crash of the server broke off; of all organisations.
///
/// # Errors
/// What the store says.
pub async fn end_lost_runs(kernel: &Kernel) -> Result<(), DbError> {
    let cause = Cause::ServerRestart.as_str();
    kernel.db.run(END_LOST_RUNS, args![cause, kernel.clock.now_ms()]).await.map(drop)
}

/// The row of a run that was promised and cannot begin.
#[must_use]
pub fn refused_run_write(org: &str, id: &str, origin: &Origin, error: &str, now_ms: i64) -> Write {
    let (flow, version, body) = origin.columns();
    Write::new(RUN_REFUSED, args![id, org, flow, version, body, error, now_ms])
}

/// The variables of a run as they are now.
#[must_use]
pub fn variables_write(org: &str, id: &str, variables: serde_json::Map<String, Value>) -> Write {
    Write::new(RUN_VARIABLES, args![org, id, &Value::Object(variables)])
}

/// A run with its flow.
///
/// # Errors
/// What the store says.
pub async fn run(db: &Db, org: &str, id: &str) -> Result<Option<Run>, DbError> {
    let Some(row) = db.one(RUN_ONE, args![org, id]).await? else {
        return Ok(None);
    };
    let flow = row.text("flow")?;
    let body = if flow.is_empty() {
        row.json("body")?
    } else {
        version(db, org, &flow, row.int("version")?).await?.unwrap_or_default()
    };
    Ok(Some(Run {
        id: row.text("id")?,
        call: row.text("call")?,
        room: row.opt_text("room")?,
        cause: row.opt_text("cause")?,
        ended_ms: row.opt_int("ended_at")?,
        body,
        variables: row.json("variables")?,
        error: Some(row.text("error")?).filter(|error| !error.is_empty()),
        started_ms: row.int("started_at")?,
    }))
}

/// Erases the run of a call, which holds what its flow knew; one with an open callback stays.
#[must_use]
pub fn erase_run_write(org: &str, call: &str) -> Write {
    Write::new(ERASE_RUN, args![org, call])
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLine {
    /// `run_...`
    pub id: String,
    /// Its call; empty when it never began, or talks in a room.
    pub call: String,
    /// Of a saved flow: its id, version and name.
    pub flow: Option<(String, i64, String)>,
    /// `running`, else how its call ended.
    pub cause: Option<String>,
    /// Whether its call is up, or it talks in a room.
    pub is_running: bool,
    /// The other party's number, or the visitor as the customer's own books name it.
    pub customer: String,
    /// Why it never began.
    pub error: Option<String>,
    /// UTC, milliseconds.
    pub started_ms: i64,
}

/// Runs of an organisation, or of one of its flows, newest first, from before an id.
///
/// # Errors
/// What the store says.
pub async fn runs(
    db: &Db,
    org: &str,
    before: Option<&str>,
    flow: Option<&str>,
    limit: i64,
) -> Result<Vec<RunLine>, DbError> {
    let rows = db.all(RUN_LIST, args![org, before.unwrap_or(AFTER_ALL), flow, limit]).await?;
    rows.iter()
        .map(|row| {
            let (flow, error) = (row.text("flow")?, row.text("error")?);
            let number =
                if row.opt_text("direction")?.as_deref() == Some("inbound") { "from_number" } else { "to_number" };
            Ok(RunLine {
                id: row.text("id")?,
                call: row.text("call")?,
                flow: if flow.is_empty() {
                    None
                } else {
                    Some((flow, row.int("version")?, row.opt_text("name")?.unwrap_or_default()))
                },
                cause: row.opt_text("cause")?,
                is_running: match row.opt_text("room")? {
                    Some(_) => row.opt_int("ended_at")?.is_none(),
                    None => row.opt_text("state")?.is_some_and(|state| state != "completed"),
                },
                customer: row.opt_text(number)?.or(row.opt_text("user_id")?).unwrap_or_default(),
                error: Some(error).filter(|error| !error.is_empty()),
                started_ms: row.int("started_at")?,
            })
        })
        .collect()
}

/// The versions of a flow, newest first: number, and when it was saved in UTC milliseconds.
///
/// # Errors
/// What the store says.
pub async fn versions(db: &Db, org: &str, flow: &str, limit: i64) -> Result<Vec<(i64, i64)>, DbError> {
    let rows = db.all(VERSION_LIST, args![org, flow, limit]).await?;
    rows.iter().map(|row| Ok((row.int("version")?, row.int("created_at")?))).collect()
}

/// The call of a run.
///
/// # Errors
/// What the store says.
pub async fn call_of_run(db: &Db, org: &str, run: &str) -> Result<Option<String>, DbError> {
    db.one(RUN_CALL, args![org, run]).await?.map(|row| row.text("call")).transpose()
}

#[cfg(test)]
mod tests;
