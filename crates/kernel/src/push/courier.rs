//! Carries what browsers are to be told to their push services: a few at once, again after a while what was not taken.
//!
//! Invariant: what became of an attempt is durable before the same row is looked at again. What was sent and not yet
//! marked when the server died is sent again, under the same topic, which replaces the first.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::cipher::{self, BrowserKeys, SALT_BYTES};
use super::{About, Composed, Composer, QUIET_MS, SEAL_PURPOSE, Sealed};
use crate::args;
use crate::db::{DbError, Row, Write};
use crate::egress::{EgressError, EgressRequest};
use crate::kernel::Kernel;
use crate::record::RecordError;
use crate::webhook::parse_retry_after;

/// Messages that are handed over at once.
const AT_ONCE: usize = 16;
/// Of them of one organisation: services that do not answer hold up nobody else's.
const AT_ONCE_OF_ORG: usize = 4;
/// Rows that are looked at for whoever has a place.
const LOOKED_AT: usize = 512;
/// How often the store is looked at for what nobody told us of (written by another process).
const LOOK_EVERY_MS: i64 = 10_000;
/// How often what is over is deleted.
const TIDY_EVERY_MS: i64 = 600_000;
/// Pause after the store failed us.
const AFTER_FAILURE_MS: i64 = 1_000;
/// Waits between the attempts, milliseconds; the last one again and again until the time is up.
const LADDER_MS: [i64; 6] = [10_000, 30_000, 120_000, 300_000, 900_000, 3_600_000];
/// A push service has so long to answer, milliseconds.
const TIMEOUT_MS: u64 = 10_000;
/// How long what is under way may take to end when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Bytes of a topic's hash: base64url writes them in the 32 characters that RFC 8030, section 5.4 allows.
const TOPIC_BYTES: usize = 24;

crate::statements! {
    DUE = "select org, subscription, topic, version, attempts, expires_at from push_message \
        where state = 'pending' and due_at <= $1 order by due_at, subscription, topic limit $2";
    NEXT_DUE = "select min(due_at) as due_at from push_message where state = 'pending' and due_at > $1";
    // A session that ended, a token that was taken back, a person who left: the browser is nobody's.
    LIVE = "select s.owner, s.sealed, s.locale, s.page from push_subscription s \
        where s.org = $1 and s.id = $2 and s.expires_at > $3 and (s.held_as = 'desk' \
        or exists (select 1 from person_session x join person p on p.id = x.person where s.held_as = 'session' \
            and x.id = s.held_by and x.org = s.org and x.expires_at > $3 and p.disabled_at is null) \
        or exists (select 1 from person_token x join person p on p.id = x.person where s.held_as = 'token' \
            and x.id = s.held_by and x.org = s.org and x.revoked_at is null and p.disabled_at is null))";
    SENT = "update push_message set sent_at = $5, attempts = 0, \
        state = case when version = $4 then 'sent' else 'pending' end, \
        due_at = case when version = $4 then due_at else $6 end \
        where org = $1 and subscription = $2 and topic = $3";
    LATER = "update push_message set due_at = $4, attempts = attempts + 1 \
        where org = $1 and subscription = $2 and topic = $3 and state = 'pending'";
    ASK_AGAIN = "update push_message set due_at = $4 \
        where org = $1 and subscription = $2 and topic = $3 and state = 'pending'";
    // What has come meanwhile is looked at anew.
    DROP = "delete from push_message where org = $1 and subscription = $2 and topic = $3 and version = $4";
    DROP_BROWSER = "delete from push_subscription where org = $1 and id = $2";
    DROP_MESSAGES = "delete from push_message where org = $1 and subscription = $2";
    TIDY_SENT = "delete from push_message where state = 'sent' and sent_at < $1";
    TIDY_BROWSERS = "delete from push_subscription where expires_at <= $1 \
        or (held_as = 'session' and not exists (select 1 from person_session x \
            join person p on p.id = x.person where x.id = push_subscription.held_by and x.expires_at > $1 \
            and p.disabled_at is null)) \
        or (held_as = 'token' and not exists (select 1 from person_token x \
            join person p on p.id = x.person where x.id = push_subscription.held_by and x.revoked_at is null \
            and p.disabled_at is null))";
    TIDY_LOST = "delete from push_message where not exists (select 1 from push_subscription s \
        where s.org = push_message.org and s.id = push_message.subscription)";
}

/// Names a row.
type Name = (String, String, String);

/// A row of [`DUE`].
struct Due {
    name: Name,
    version: i64,
    attempts: i64,
    expires_ms: i64,
}

impl Due {
    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            name: (row.text("org")?, row.text("subscription")?, row.text("topic")?),
            version: row.int("version")?,
            attempts: row.int("attempts")?,
            expires_ms: row.int("expires_at")?,
        })
    }
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The push service took it.
    Sent,
    /// There is nothing to tell any more.
    Nothing,
    /// The browser is not there any more.
    Gone,
    /// This message will never be taken.
    Dropped,
    /// It may be taken later, not before so many milliseconds.
    Later(i64),
    /// Whether it is to be told cannot be said for so many milliseconds: that is no failure, and what comes next waits no
    /// longer for it.
    Undecided(i64),
}

impl Outcome {
    /// What the status of an answer means; RFC 8030, sections 5 and 7.3.
    pub(super) fn of_status(status: u16, retry_after_ms: Option<i64>) -> Self {
        match status {
            200..=299 => Self::Sent,
            404 | 410 => Self::Gone,
            408 | 429 | 500..=599 => Self::Later(retry_after_ms.unwrap_or(0)),
            _ => Self::Dropped,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Nothing => "nothing",
            Self::Gone => "gone",
            Self::Dropped => "dropped",
            Self::Later(_) => "later",
            Self::Undecided(_) => "undecided",
        }
    }
}

/// See the module.
pub(super) struct Courier {
    kernel: Kernel,
    composer: Arc<dyn Composer>,
    under_way: HashSet<Name>,
    attempts: JoinSet<Name>,
    tidied_ms: i64,
}

impl Courier {
    pub(super) fn new(kernel: Kernel, composer: Arc<dyn Composer>) -> Self {
        Self { kernel, composer, under_way: HashSet::new(), attempts: JoinSet::new(), tidied_ms: 0 }
    }

    /// Works until `stop`; what is under way then may end.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // Subscribed before the first look: what is written in between is seen by one or the other.
        let mut news = self.kernel.bus.subscribe("push");
        let clock = self.kernel.clock.clone();
        while !stop.is_cancelled() {
            let now_ms = clock.now_ms();
            let next_ms = match self.look(now_ms).await {
                Ok(next_ms) => next_ms,
                Err(error) => {
                    tracing::error!(%error, "cannot look for what browsers are to be told");
                    now_ms + AFTER_FAILURE_MS
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock.sleep_until(next_ms) => {}
                message = news.next() => {
                    if message.is_none() {
                        break;
                    }
                    // One look serves all wake-ups that came before it.
                    while news.try_next().is_some() {}
                }
                Some(ended) = self.attempts.join_next() => self.ended(ended),
            }
            while let Some(ended) = self.attempts.try_join_next() {
                self.ended(ended);
            }
        }
        let finish = async { while self.attempts.join_next().await.is_some() {} };
        if timeout(STOP_GRACE, finish).await.is_err() {
            tracing::warn!("what browsers were being told may be sent again at the next start");
        }
    }

    fn ended(&mut self, name: Result<Name, JoinError>) {
        match name {
            Ok(name) => drop(self.under_way.remove(&name)),
            Err(error) => tracing::error!(%error, "the sending of a push message broke off"),
        }
    }

    /// Starts what is due and has a place, and says when to look again.
    async fn look(&mut self, now_ms: i64) -> Result<i64, DbError> {
        let db = self.kernel.db.clone();
        if now_ms - self.tidied_ms >= TIDY_EVERY_MS {
            tidy(&self.kernel, now_ms).await?;
            self.tidied_ms = now_ms;
        }
        let look_ms = now_ms + LOOK_EVERY_MS;
        if self.under_way.len() >= AT_ONCE {
            // The end of one of them brings us back here.
            return Ok(look_ms);
        }
        // What is under way is still pending and due.
        for row in db.all(DUE, args![now_ms, i64::try_from(LOOKED_AT).unwrap_or(i64::MAX)]).await? {
            let due = Due::read(&row)?;
            let of_org = self.under_way.iter().filter(|name| name.0 == due.name.0).count();
            let has_place = self.under_way.len() < AT_ONCE && of_org < AT_ONCE_OF_ORG;
            if has_place && self.under_way.insert(due.name.clone()) {
                let (kernel, composer) = (self.kernel.clone(), Arc::clone(&self.composer));
                self.attempts.spawn(attempt(kernel, composer, due));
            }
        }
        let next = db.one(NEXT_DUE, args![now_ms]).await?;
        let next = next.map(|row| row.opt_int("due_at")).transpose()?.flatten();
        Ok(next.map_or(look_ms, |next_ms| next_ms.min(look_ms)))
    }
}

/// Deletes what is over: what was told a while ago, browsers whose credential ended, and what was for them.
pub(super) async fn tidy(kernel: &Kernel, now_ms: i64) -> Result<(), DbError> {
    let writes = vec![
        Write::new(TIDY_SENT, args![now_ms - QUIET_MS]),
        Write::new(TIDY_BROWSERS, args![now_ms]),
        Write::new(TIDY_LOST, args![]),
    ];
    kernel.db.writer().commit(writes).await.map(drop)
}

/// One attempt: composed, sealed, handed over, and its outcome made durable. Gives back the row's name.
async fn attempt(kernel: Kernel, composer: Arc<dyn Composer>, due: Due) -> Name {
    let tried = AssertUnwindSafe(hand_over(&kernel, &*composer, &due)).catch_unwind().await;
    let outcome = match tried {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => {
            tracing::error!(%error, org = due.name.0, topic = due.name.2, "a browser is told later");
            Outcome::Later(0)
        }
        // What it was is in the log already.
        Err(_) => Outcome::Dropped,
    };
    metrics::counter!("tandem_push_total", "outcome" => outcome.word()).increment(1);
    tracing::debug!(org = due.name.0, topic = due.name.2, outcome = outcome.word(), "a push message was tried");
    record(&kernel, &due, outcome).await;
    due.name
}

/// Writes down what became of an attempt. The store may fail for a while: the row is not sent again meanwhile.
async fn record(kernel: &Kernel, due: &Due, outcome: Outcome) {
    loop {
        let writes = settle(due, outcome, kernel.clock.now_ms());
        match kernel.db.writer().commit(writes).await {
            Ok(_) | Err(DbError::Conflict | DbError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "what became of a push message cannot be written down yet");
                kernel.clock.sleep_until(kernel.clock.now_ms() + AFTER_FAILURE_MS).await;
            }
        }
    }
}

fn settle(due: &Due, outcome: Outcome, now_ms: i64) -> Vec<Write> {
    let (org, subscription, topic) = &due.name;
    let dropped = || Write::new(DROP, args![org, subscription, topic, due.version]);
    match outcome {
        Outcome::Sent => {
            vec![Write::new(SENT, args![org, subscription, topic, due.version, now_ms, now_ms + QUIET_MS])]
        }
        Outcome::Nothing | Outcome::Dropped => vec![dropped()],
        Outcome::Gone => vec![
            Write::new(DROP_BROWSER, args![org, subscription]),
            Write::new(DROP_MESSAGES, args![org, subscription]),
        ],
        Outcome::Later(least_ms) => {
            let again_ms = now_ms + wait_ms(due.attempts).max(least_ms);
            if again_ms >= due.expires_ms {
                vec![dropped()]
            } else {
                vec![Write::new(LATER, args![org, subscription, topic, again_ms])]
            }
        }
        Outcome::Undecided(for_ms) => vec![Write::new(ASK_AGAIN, args![org, subscription, topic, now_ms + for_ms])],
    }
}

/// The wait after an attempt, when there were so many before it.
pub(super) fn wait_ms(attempts_before: i64) -> i64 {
    let rung = usize::try_from(attempts_before).unwrap_or(0).min(LADDER_MS.len() - 1);
    LADDER_MS.get(rung).copied().unwrap_or(AFTER_FAILURE_MS)
}

async fn hand_over(kernel: &Kernel, composer: &dyn Composer, due: &Due) -> Result<Outcome, RecordError> {
    let (org, subscription, topic) = &due.name;
    let now_ms = kernel.clock.now_ms();
    if due.expires_ms <= now_ms {
        return Ok(Outcome::Nothing);
    }
    let Some(row) = kernel.db.one(LIVE, args![org, subscription, now_ms]).await? else {
        return Ok(Outcome::Gone);
    };
    let about = About {
        org: org.as_str().into(),
        owner: row.text("owner")?.into(),
        topic: topic.as_str().into(),
        locale: row.text("locale")?,
        page: row.text("page")?,
    };
    let told = match composer.compose(&about).await? {
        Composed::Told(told) => told,
        Composed::Nothing => return Ok(Outcome::Nothing),
        Composed::Undecided(for_ms) => return Ok(Outcome::Undecided(for_ms)),
    };
    // What another key sealed is as good as gone.
    let Ok(sealed) = kernel.secrets.open_sealed(SEAL_PURPOSE, &row.text("sealed")?) else { return Ok(Outcome::Gone) };
    let Ok(Sealed { endpoint, p256dh, auth }) = serde_json::from_str(sealed.expose()) else {
        return Ok(Outcome::Gone);
    };
    let (Ok(url), Ok(keys)) = (Url::parse(&endpoint), BrowserKeys::read(&p256dh, &auth)) else {
        return Ok(Outcome::Gone);
    };
    let message = Message { topic, text: told.to_string(), left_ms: due.expires_ms - now_ms };
    post(kernel, url, &keys, message).await
}

/// What is handed over.
struct Message<'a> {
    topic: &'a str,
    text: String,
    /// So long there is a point in telling it, milliseconds.
    left_ms: i64,
}

/// Hands a message over to the push service of a browser, sealed for that browser.
async fn post(kernel: &Kernel, url: Url, keys: &BrowserKeys, message: Message<'_>) -> Result<Outcome, RecordError> {
    let Message { topic, text, left_ms } = message;
    let now_ms = kernel.clock.now_ms();
    let mut salt = [0; SALT_BYTES];
    let fresh = getrandom::fill(&mut salt).is_ok();
    let body = PrivateKey::generate(&ECDH_P256).and_then(|own| cipher::seal(keys, &own, salt, text.as_bytes()));
    let origin = url.origin().ascii_serialization();
    let signed = kernel.vapid().await?.authorization(&origin, kernel.push_contact().as_deref(), now_ms);
    let (true, Ok(body), Ok(signed)) = (fresh, body, signed) else { return Ok(Outcome::Dropped) };
    let digest = Sha256::digest(topic.as_bytes());
    let topic = URL_SAFE_NO_PAD.encode(digest.get(..TOPIC_BYTES).unwrap_or_default());
    let headers = [
        ("authorization", signed),
        ("content-encoding", "aes128gcm".to_owned()),
        ("content-type", "application/octet-stream".to_owned()),
        ("ttl", (left_ms.max(0) / 1_000).to_string()),
        ("urgency", "high".to_owned()),
        ("topic", topic),
    ];
    let request = EgressRequest {
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        body: body.into(),
        timeout_ms: TIMEOUT_MS,
        max_body: 0,
        ..EgressRequest::new(Method::POST, url)
    };
    Ok(match kernel.egress.send(request).await {
        Ok(answer) => {
            let retry_after = answer.header("retry-after").and_then(|value| parse_retry_after(value, now_ms));
            let outcome = Outcome::of_status(answer.status, retry_after);
            if outcome == Outcome::Dropped {
                tracing::warn!(status = answer.status, origin, "a push service does not take a message");
            }
            outcome
        }
        Err(error @ (EgressError::Url(_) | EgressError::Blocked { .. } | EgressError::Header(_))) => {
            // It will not be called the next time either.
            tracing::debug!(%error, origin, "a push service is not called");
            Outcome::Gone
        }
        Err(_) => Outcome::Later(0),
    })
}
