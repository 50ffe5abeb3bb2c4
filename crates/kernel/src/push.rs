//! Web push: browsers are told of news while no page of ours is open (RFC 8030, 8291, 8292).
//!
//! Invariant: that there is something to tell is written in the commit of what it tells about; what it says is made when
//! it is sent, so that nothing stale leaves and no words of people wait here. A browser's address and keys lie sealed and
//! are shown to nobody; they end with the credential that brought them.

mod cipher;
mod courier;
#[cfg(test)]
mod tests;
mod vapid;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use crate::args;
use crate::db::{DbError, Wake, Write};
use crate::kernel::Kernel;
use crate::record::RecordError;
use crate::secret::{SecretError, token_hash};

pub use cipher::{BadKey, BrowserKeys};
use courier::Courier;
use vapid::Vapid;

/// Browsers of one person; of more the one renewed longest ago goes.
pub const MAX_BROWSERS: i64 = 10;
/// The same of whoever is known to a desk alone: nobody vouches for what strangers name.
pub const MAX_BROWSERS_OF_DESK: i64 = 3;
/// A browser that does not come back to renew itself is forgotten after this, milliseconds (400 days).
const LONGEST_LIFE_MS: i64 = 400 * 86_400_000;
/// Longest address of a push service, bytes.
const MAX_ENDPOINT: usize = 2_000;
/// There is a point in telling for so long, milliseconds.
const LIFE_MS: i64 = 86_400_000;
/// A page that is being loaded anew, or a line that comes back, is given so long before its browser is told instead.
const REST_MS: i64 = 2_000;
/// A browser is told of one topic once in this time, milliseconds.
const QUIET_MS: i64 = 60_000;
/// So long it is believed that nobody of an organisation has a browser, milliseconds.
const NOBODY_FRESH_MS: i64 = 5_000;
/// Organisations of which that is remembered.
const MAX_REMEMBERED: usize = 10_000;
/// The server's key pair among the settings, and what it is sealed for.
const KEY_NAME: &str = "push_key";
/// What subscriptions are sealed for.
const SEAL_PURPOSE: &str = "push_subscription.sealed";

crate::statements! {
    KEY = "select value from setting where org = '' and name = $1";
    PUT_KEY = "insert into setting (org, name, value) values ('', $1, $2) on conflict (org, name) do nothing";
    SUBSCRIBE = "insert into push_subscription (org, id, owner, held_as, held_by, endpoint, sealed, locale, page, \
        renewed_at, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
        on conflict (org, owner, endpoint) do update set held_as = excluded.held_as, held_by = excluded.held_by, \
        sealed = excluded.sealed, locale = excluded.locale, page = excluded.page, renewed_at = excluded.renewed_at, \
        expires_at = excluded.expires_at";
    KEEP_NEWEST = "delete from push_subscription where org = $1 and owner = $2 and id not in \
        (select s.id from push_subscription s where s.org = $1 and s.owner = $2 \
        order by s.renewed_at desc, s.id desc limit $3)";
    // A browser tells the person who signed in last, not the one before as well.
    TAKE_OVER = "delete from push_subscription where org = $1 and endpoint = $2 and owner <> $3 and held_as <> 'desk'";
    UNSUBSCRIBE = "delete from push_subscription where org = $1 and owner = $2 and endpoint = $3";
    HAS_ANY = "select id from push_subscription where org = $1 limit 1";
    RENEWED = "select renewed_at from push_subscription where org = $1 and owner = $2 order by renewed_at limit 100";
    // One statement for all browsers of the owner: nobody waits for a look at them.
    TELL = "insert into push_message (org, subscription, topic, version, state, due_at, expires_at, attempts, sent_at) \
        select s.org, s.id, cast($3 as text), cast(1 as bigint), 'pending', cast($4 as bigint), cast($5 as bigint), \
        cast(0 as bigint), cast(0 as bigint) from push_subscription s \
        where s.org = $1 and s.owner = $2 and s.expires_at > $4 \
        on conflict (org, subscription, topic) do update set version = push_message.version + 1, state = 'pending', \
        expires_at = excluded.expires_at, \
        attempts = case when push_message.state = 'pending' then push_message.attempts else 0 end, \
        due_at = case when push_message.state = 'pending' then push_message.due_at \
            when push_message.sent_at + $6 > excluded.due_at then push_message.sent_at + $6 \
            else excluded.due_at end";
    FORGET_MESSAGES_OF = "delete from push_message where org = $1 and subscription in \
        (select s.id from push_subscription s where s.org = $1 and s.owner = $2)";
    FORGET_OWNER = "delete from push_subscription where org = $1 and owner = $2";
    FORGET_HOLDER = "delete from push_subscription where org = $1 and held_by = $2";
    FORGET_TOPIC = "delete from push_message where org = $1 and topic = $2";
    SLIDE = "update push_subscription set expires_at = $3 where org = $1 and held_by = $2 and expires_at < $3";
}

/// What a browser's subscription ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A person's session, by its id.
    Session(String),
    /// A personal token, by its id.
    Token(String),
    /// A credential of a desk's own, by whatever the desk calls it, until a time (UTC milliseconds): the desk forgets it
    /// by [`forget_push_holder_write`].
    Desk(String, i64),
}

impl Holder {
    fn stored(&self) -> (&'static str, &str) {
        match self {
            Self::Session(id) => ("session", id),
            Self::Token(id) => ("token", id),
            Self::Desk(id, _) => ("desk", id),
        }
    }
}

/// A browser that wants to be told.
#[derive(Clone)]
pub struct NewSubscription {
    /// A person, or whom a desk knows.
    pub owner: String,
    /// With what it ends.
    pub holder: Holder,
    /// Where its push service takes messages for it.
    pub endpoint: String,
    /// By which it reads them.
    pub keys: BrowserKeys,
    /// When the browser itself ends it, UTC milliseconds.
    pub until_ms: Option<i64>,
    /// Its language.
    pub locale: String,
    /// The path of the page that asked, to come back to; empty = the desk knows.
    pub page: String,
}

/// As it lies sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    endpoint: String,
    p256dh: String,
    auth: String,
}

/// What a browser may have to be told about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The organisation.
    pub org: Arc<str>,
    /// Whose browser it is.
    pub owner: Arc<str>,
    /// About what.
    pub topic: Arc<str>,
    /// The browser's language.
    pub locale: String,
    /// The page to come back to; empty = the desk knows.
    pub page: String,
}

/// What a browser is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Composed {
    /// This, in JSON.
    Told(Value),
    /// There is nothing to tell any more.
    Nothing,
    /// That cannot be said yet: to be asked again after so many milliseconds.
    Undecided(i64),
}

/// Makes what is told. The desk that has something to tell gives it.
pub trait Composer: Send + Sync + 'static {
    /// What there is to tell by now.
    fn compose<'a>(&'a self, about: &'a About) -> BoxFuture<'a, Result<Composed, DbError>>;
}

/// What a node remembers: its key pair, and which organisations have nobody to tell.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    vapid: OnceCell<Arc<Vapid>>,
    /// When it was looked, and whether there was anybody; UTC milliseconds.
    looked: Mutex<HashMap<Arc<str>, (i64, bool)>>,
}

/// The write that says that there is something to tell `owner` about `topic`, wherever it has a browser.
#[must_use]
pub fn push_write(org: &str, owner: &str, topic: &str, now_ms: i64) -> Write {
    let args = args![org, owner, topic, now_ms + REST_MS, now_ms + LIFE_MS, QUIET_MS];
    Write::new(TELL, args).waking(Wake::Push)
}

/// The writes that forget all browsers of somebody.
#[must_use]
pub fn forget_push_owner_writes(org: &str, owner: &str) -> [Write; 2] {
    [Write::new(FORGET_MESSAGES_OF, args![org, owner]), Write::new(FORGET_OWNER, args![org, owner])]
}

/// The write that forgets the browsers that came with a credential.
#[must_use]
pub fn forget_push_holder_write(org: &str, holder: &str) -> Write {
    Write::new(FORGET_HOLDER, args![org, holder])
}

/// The write that forgets what was still to be told about something.
#[must_use]
pub fn forget_push_topic_write(org: &str, topic: &str) -> Write {
    Write::new(FORGET_TOPIC, args![org, topic])
}

/// The write that lets the browsers of a credential live as long as it does now.
#[must_use]
pub fn slide_push_write(org: &str, holder: &str, until_ms: i64) -> Write {
    Write::new(SLIDE, args![org, holder, until_ms])
}

impl Kernel {
    /// What browsers are given as `applicationServerKey`, base64url: one for all nodes, made at the first need.
    ///
    /// # Errors
    /// When the store or the server's key fails.
    pub async fn push_public_key(&self) -> Result<String, RecordError> {
        Ok(self.vapid().await?.public_key())
    }

    async fn vapid(&self) -> Result<Arc<Vapid>, RecordError> {
        let found = self.push.vapid.get_or_try_init(|| async {
            if self.db.one(KEY, args![KEY_NAME]).await?.is_none() {
                let new = Vapid::generate().map_err(|_| SecretError::Randomness)?;
                let sealed = self.secrets.seal(KEY_NAME, new.expose())?;
                // Another node may have been faster: the one that is there counts.
                self.db.run(PUT_KEY, args![KEY_NAME, sealed]).await?;
            }
            let row = self.db.one(KEY, args![KEY_NAME]).await?.ok_or(DbError::Conflict)?;
            let kept = self.secrets.open_sealed(KEY_NAME, &row.text("value")?)?;
            Ok::<_, RecordError>(Arc::new(Vapid::read(&kept).map_err(|_| SecretError::Sealed)?))
        });
        found.await.cloned()
    }

    /// Takes a browser up; one that is known is renewed.
    ///
    /// # Errors
    /// [`RecordError::Invalid`] for an address that cannot be called; what the store says.
    pub async fn subscribe_push(&self, org: &str, new: NewSubscription) -> Result<(), RecordError> {
        let now_ms = self.clock.now_ms();
        self.check_endpoint(&new.endpoint)?;
        let (p256dh, auth) = new.keys.as_text();
        let hash = token_hash(&new.endpoint);
        let sealed = serde_json::to_string(&Sealed { endpoint: new.endpoint, p256dh, auth }).unwrap_or_default();
        let held_ms = match &new.holder {
            Holder::Desk(_, until_ms) => *until_ms,
            Holder::Session(_) | Holder::Token(_) => now_ms + LONGEST_LIFE_MS,
        };
        let expires_ms = new.until_ms.map_or(held_ms, |until_ms| until_ms.min(held_ms));
        if expires_ms <= now_ms {
            return Err(RecordError::invalid("expirationTime", "a time to come, in milliseconds"));
        }
        let most = if matches!(new.holder, Holder::Desk(..)) { MAX_BROWSERS_OF_DESK } else { MAX_BROWSERS };
        let (held_as, held_by) = new.holder.stored();
        let take_over = Write::new(TAKE_OVER, args![org, &hash, &new.owner]);
        let args = args![
            org,
            self.ids.new("psub", now_ms),
            &new.owner,
            held_as,
            held_by,
            hash,
            self.secrets.seal(SEAL_PURPOSE, &sealed)?,
            new.locale,
            new.page,
            now_ms,
            expires_ms
        ];
        let mut writes = vec![Write::new(SUBSCRIBE, args), Write::new(KEEP_NEWEST, args![org, &new.owner, most])];
        if held_as != "desk" {
            writes.push(take_over);
        }
        self.db.writer().commit(writes).await?;
        self.push.looked.lock().unwrap_or_else(PoisonError::into_inner).remove(org);
        Ok(())
    }

    /// What can be said of an address before it is called.
    fn check_endpoint(&self, endpoint: &str) -> Result<(), RecordError> {
        let refused = |why: String| RecordError::invalid("endpoint", why);
        let url = Some(endpoint).filter(|text| text.len() <= MAX_ENDPOINT).and_then(|text| Url::parse(text).ok());
        let url = url.filter(|url| url.scheme() == "https").ok_or_else(|| refused("an https address".to_owned()))?;
        self.egress.judge_literal(&url).map_err(|error| refused(error.to_string()))
    }

    /// Forgets one of somebody's browsers, if it is there.
    ///
    /// # Errors
    /// What the store says.
    pub async fn unsubscribe_push(&self, org: &str, owner: &str, endpoint: &str) -> Result<(), DbError> {
        // What was still to be told goes when it is looked at.
        self.db.run(UNSUBSCRIBE, args![org, owner, token_hash(endpoint)]).await.map(drop)
    }

    /// When each browser of somebody last said that it wants to be told, UTC milliseconds: all that is shown of them.
    ///
    /// # Errors
    /// What the store says.
    pub async fn push_browsers(&self, org: &str, owner: &str) -> Result<Vec<i64>, DbError> {
        self.db.all(RENEWED, args![org, owner]).await?.iter().map(|row| row.int("renewed_at")).collect()
    }

    /// Whether anybody of an organisation may have to be told: asked before each message, so it is remembered for a
    /// moment.
    ///
    /// # Errors
    /// What the store says.
    pub async fn has_push(&self, org: &Arc<str>) -> Result<bool, DbError> {
        let now_ms = self.clock.now_ms();
        let remembered = || self.push.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |looked_ms: i64| (0..NOBODY_FRESH_MS).contains(&(now_ms - looked_ms));
        let known = remembered().get(org).copied();
        if let Some((_, has)) = known.filter(|(looked_ms, _)| is_fresh(*looked_ms)) {
            return Ok(has);
        }
        let has = self.db.one(HAS_ANY, args![org]).await?.is_some();
        let mut looked = remembered();
        if looked.len() >= MAX_REMEMBERED {
            looked.retain(|_, (looked_ms, _)| is_fresh(*looked_ms));
        }
        if looked.len() < MAX_REMEMBERED {
            looked.insert(Arc::clone(org), (now_ms, has));
        }
        Ok(has)
    }

    /// Sets the courier to work; it ends with the server.
    pub fn start_push(&self, composer: Arc<dyn Composer>) {
        self.tasks.spawn(Courier::new(self.clone(), composer).run(self.stop.clone()));
    }

    /// Where the operator of a push service reaches the one of this server.
    fn push_contact(&self) -> Option<String> {
        let url = self.config.public_url.clone().filter(|url| url.starts_with("https://"));
        let mail = || {
            let sender = crate::notice::read_sender(self.config.mail.from.as_deref()?)?;
            Some(format!("mailto:{}", sender.email))
        };
        url.or_else(mail)
    }
}
