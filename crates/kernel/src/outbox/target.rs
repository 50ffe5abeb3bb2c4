//! Who is told: an organisation's webhooks and the publish URL of a flow run, with their signing secrets.
//!
//! Invariant: a secret is stored sealed, and two of an owner are live at most: the current one, and the one before it
//! until its day is over.

use std::sync::Arc;

use url::Url;

use super::{Outbox, OutboxError};
use crate::args;
use crate::db::{Arg, DbError, Row, Write};
use crate::webhook::SigningKey;

/// How long the secret before a rotation stays valid.
const OLD_SECRET_LIFE_MS: i64 = 24 * 3_600_000;
/// What the secrets are sealed for.
const SEAL_PURPOSE: &str = "signing_secret.sealed";
/// Webhooks of one organisation, at most.
pub const MAX_WEBHOOKS: i64 = 50;

crate::statements! {
    ADD = "insert into webhook (id, org, run, url, host, method, events, created_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8)";
    OF_RUN = "select id, org, run, url, host, method, events, created_at, disabled_at from webhook \
        where org = $1 and run = $2 order by id";
    ONE = "select id, org, run, url, host, method, events, created_at, disabled_at from webhook \
        where org = $1 and id = $2";
    COUNT = "select count(*) as found from webhook where org = $1 and run = ''";
    DISABLE = "update webhook set disabled_at = $3 where org = $1 and id = $2 and disabled_at is null";
    ENABLE = "update webhook set disabled_at = null, paused_until_at = 0 where org = $1 and id = $2";
    REMOVE = "delete from webhook where org = $1 and id = $2";
    DROP_OPEN = "update delivery set state = 'dropped' \
        where webhook = $2 and org = $1 and state in ('fast', 'slow')";
    LOCK_ORG = "update org set id = id where id = $1";
    ADD_KEY = "insert into signing_secret (id, org, owner, sealed, created_at) values ($1, $2, $3, $4, $5)";
    LIVE_KEYS = "select sealed from signing_secret where org = $1 and owner = $2 \
        and (retires_at is null or retires_at > $3) order by created_at desc, id desc limit 2";
    RETIRE_KEYS = "update signing_secret set retires_at = $3 \
        where org = $1 and owner = $2 and retires_at is null";
    REMOVE_KEYS = "delete from signing_secret where org = $1 and owner = $2";
    REMOVE_OLD_KEYS = "delete from signing_secret where org = $1 and owner = $2 and retires_at <= $3";
}

/// Somebody an event may have to be delivered to. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The webhook's id.
    pub id: Arc<str>,
    /// `https://host:port`.
    pub host: Arc<str>,
    /// Types it wants, exact or `call.*`; empty for all.
    kinds: Arc<[String]>,
}

impl Target {
    /// Whether events of this type are for it.
    #[must_use]
    pub fn wants(&self, kind: &str) -> bool {
        let matches = |wanted: &String| match wanted.strip_suffix('*') {
            Some(start) => kind.starts_with(start),
            None => wanted == kind,
        };
        self.kinds.is_empty() || self.kinds.iter().any(matches)
    }
}

/// A webhook as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// `wh_…`
    pub id: String,
    /// The organisation.
    pub org: String,
    /// The flow run whose publish URL it is; empty for a webhook of the organisation.
    pub run: String,
    /// Where it is sent.
    pub url: String,
    /// `POST` or `PUT`.
    pub method: String,
    /// Types it wants; empty for all.
    pub events: Vec<String>,
    /// When it was made.
    pub created_ms: i64,
    /// When it answered 410 or was switched off.
    pub disabled_ms: Option<i64>,
}

impl Webhook {
    fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.text("id")?,
            org: row.text("org")?,
            run: row.text("run")?,
            url: row.text("url")?,
            method: row.text("method")?,
            events: row.json("events")?,
            created_ms: row.int("created_at")?,
            disabled_ms: row.opt_int("disabled_at")?,
        })
    }
}

/// How a new webhook or publish URL is made.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Where to.
    pub url: Url,
    /// `POST` or `PUT`.
    pub method: &'static str,
    /// Types, exact or `call.*`; empty for all.
    pub events: Vec<String>,
}

impl Outbox {
    /// Adds a webhook of the organisation and returns it with its secret, which is shown only now.
    ///
    /// # Errors
    /// [`OutboxError::TooMany`] above [`MAX_WEBHOOKS`]; what the store says.
    pub async fn add_webhook(&self, org: &str, new: NewWebhook) -> Result<(Webhook, SigningKey), OutboxError> {
        let found = self.db.one(COUNT, args![org]).await?.map_or(Ok(0), |row| row.int("found"))?;
        if found >= MAX_WEBHOOKS {
            return Err(OutboxError::TooMany);
        }
        let key = SigningKey::random(&self.ids);
        let (target, writes) = self.target_writes(org, "", &new, Some(&key))?;
        self.db.writer().commit(writes).await?;
        self.forget_targets(org);
        let webhook = self.webhook(org, &target.id).await?.ok_or(OutboxError::NotFound)?;
        Ok((webhook, key))
    }

    /// The publish URL of a flow run: the target, and the writes that go with the run's own. Without a key its events
    /// are signed with the organisation's secret.
    ///
    /// # Errors
    /// When the secret cannot be sealed.
    pub fn run_target(
        &self,
        org: &str,
        run: &str,
        new: &NewWebhook,
        key: Option<&SigningKey>,
    ) -> Result<(Target, Vec<Write>), OutboxError> {
        self.target_writes(org, run, new, key)
    }

    fn target_writes(
        &self,
        org: &str,
        run: &str,
        new: &NewWebhook,
        key: Option<&SigningKey>,
    ) -> Result<(Target, Vec<Write>), OutboxError> {
        let now_ms = self.clock.now_ms();
        let id = self.ids.new("wh", now_ms);
        let host = new.url.origin().ascii_serialization();
        let kinds = serde_json::json!(new.events);
        let add = args![&id, org, run, new.url.as_str(), &host, new.method, &kinds, now_ms];
        let mut writes = vec![Write::new(ADD, add)];
        if let Some(key) = key {
            writes.push(self.key_write(org, &id, key, now_ms)?);
        }
        let target = Target { id: id.into(), host: host.into(), kinds: new.events.clone().into() };
        Ok((target, writes))
    }

    /// The publish URL of a run that another process or an earlier start began.
    ///
    /// # Errors
    /// What the store says.
    pub async fn targets_of_run(&self, org: &str, run: &str) -> Result<Vec<Target>, DbError> {
        self.db.all(OF_RUN, args![org, run]).await?.iter().filter_map(|row| live_target(row).transpose()).collect()
    }

    /// The organisation's webhooks.
    ///
    /// # Errors
    /// What the store says.
    pub async fn webhooks(&self, org: &str) -> Result<Vec<Webhook>, DbError> {
        self.db.all(OF_RUN, args![org, ""]).await?.iter().map(Webhook::from_row).collect()
    }

    /// One webhook or publish URL.
    ///
    /// # Errors
    /// What the store says.
    pub async fn webhook(&self, org: &str, id: &str) -> Result<Option<Webhook>, DbError> {
        self.db.one(ONE, args![org, id]).await?.map(|row| Webhook::from_row(&row)).transpose()
    }

    /// Deletes a webhook; what was on its way to it is dropped. False when there is none.
    ///
    /// # Errors
    /// What the store says.
    pub async fn remove_webhook(&self, org: &str, id: &str) -> Result<bool, DbError> {
        self.guarded(vec![
            Write::guarded(REMOVE, args![org, id]),
            Write::new(REMOVE_KEYS, args![org, id]),
            Write::new(DROP_OPEN, args![org, id]),
        ])
        .await
        .inspect(|_| self.forget_targets(org))
    }

    /// Switches a webhook off; what was on its way to it is dropped. False when it is off or there is none.
    ///
    /// # Errors
    /// What the store says.
    pub async fn disable_webhook(&self, org: &str, id: &str) -> Result<bool, DbError> {
        self.guarded(vec![
            Write::guarded(DISABLE, args![org, id, self.clock.now_ms()]),
            Write::new(DROP_OPEN, args![org, id]),
        ])
        .await
        .inspect(|_| self.forget_targets(org))
    }

    /// Switches a webhook on again. False when there is none.
    ///
    /// # Errors
    /// What the store says.
    pub async fn enable_webhook(&self, org: &str, id: &str) -> Result<bool, DbError> {
        self.guarded(vec![Write::guarded(ENABLE, args![org, id])]).await.inspect(|_| self.forget_targets(org))
    }

    /// Gives a webhook (or, with the organisation's id as `owner`, the organisation) a new secret. The one before it
    /// signs too for another day.
    ///
    /// # Errors
    /// [`OutboxError::NotFound`] when `owner` is neither; what the store says.
    pub async fn rotate_secret(&self, org: &str, owner: &str) -> Result<SigningKey, OutboxError> {
        if owner != org && self.webhook(org, owner).await?.is_none() {
            return Err(OutboxError::NotFound);
        }
        let now_ms = self.clock.now_ms();
        let key = SigningKey::random(&self.ids);
        let writes = vec![
            Write::new(REMOVE_OLD_KEYS, args![org, owner, now_ms]),
            Write::new(RETIRE_KEYS, args![org, owner, now_ms + OLD_SECRET_LIFE_MS]),
            self.key_write(org, owner, &key, now_ms)?,
        ];
        self.db.writer().commit(writes).await?;
        Ok(key)
    }

    /// The organisation's own signing secret, made when it is first asked for.
    ///
    /// # Errors
    /// What the store says.
    pub async fn org_secret(&self, org: &str) -> Result<SigningKey, OutboxError> {
        if let Some(key) = self.live_keys(org, org).await?.into_iter().next() {
            return Ok(key);
        }
        let now_ms = self.clock.now_ms();
        let mut tx = self.db.begin().await?;
        tx.lock_row(LOCK_ORG, args![org]).await?;
        // Looked at again under the lock: two first deliveries must not make two secrets.
        if let Some(row) = tx.one(LIVE_KEYS, args![org, org, now_ms]).await? {
            return self.open_key(&row);
        }
        let key = SigningKey::random(&self.ids);
        let write = self.key_write(org, org, &key, now_ms)?;
        tx.run(write.sql, write.args).await?;
        tx.commit().await?;
        Ok(key)
    }

    /// The secrets that sign for an owner now, newest first.
    pub(super) async fn live_keys(&self, org: &str, owner: &str) -> Result<Vec<SigningKey>, OutboxError> {
        let rows = self.db.all(LIVE_KEYS, args![org, owner, self.clock.now_ms()]).await?;
        rows.iter().map(|row| self.open_key(row)).collect()
    }

    fn open_key(&self, row: &Row) -> Result<SigningKey, OutboxError> {
        let text = self.secrets.open_sealed(SEAL_PURPOSE, &row.text("sealed")?)?;
        SigningKey::parse(text.expose()).map_err(|_| OutboxError::Secret(crate::secret::SecretError::Sealed))
    }

    fn key_write(&self, org: &str, owner: &str, key: &SigningKey, now_ms: i64) -> Result<Write, OutboxError> {
        let sealed = self.secrets.seal(SEAL_PURPOSE, &key.expose())?;
        Ok(Write::new(ADD_KEY, args![self.ids.new("sec", now_ms), org, owner, sealed, now_ms]))
    }

    async fn guarded(&self, writes: Vec<Write>) -> Result<bool, DbError> {
        match self.db.writer().commit(writes).await {
            Ok(_) => Ok(true),
            Err(DbError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The target of a webhook's row, unless it is disabled.
pub(super) fn live_target(row: &Row) -> Result<Option<Target>, DbError> {
    if row.opt_int("disabled_at")?.is_some() {
        return Ok(None);
    }
    let kinds: Vec<String> = row.json("events")?;
    Ok(Some(Target { id: row.text("id")?.into(), host: row.text("host")?.into(), kinds: kinds.into() }))
}

/// The writes that end a webhook which answered 410.
pub(super) fn gone_writes(org: &str, id: &str, now_ms: i64) -> Vec<Write> {
    vec![Write::new(DISABLE, args![org, id, now_ms]), Write::new(DROP_OPEN, args![org, id])]
}

/// The targets of an organisation's own webhooks.
pub(super) async fn load_targets(outbox: &Outbox, org: &str) -> Result<Arc<[Target]>, DbError> {
    let rows = outbox.db.all(OF_RUN, vec![Arg::from(org), Arg::from("")]).await?;
    let targets: Result<Vec<_>, _> = rows.iter().filter_map(|row| live_target(row).transpose()).collect();
    Ok(targets?.into())
}
