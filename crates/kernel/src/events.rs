//! The event log: one append-only list per organisation, read by cursor or by key.
//!
//! Invariant: inside one key `seq` counts from 1 without holes; over the whole log `position` grows in the order of
//! commits, so that a reader who has seen a position has seen everything before it.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

use crate::args;
use crate::bus::{Bus, Subscription};
use crate::db::{Arg, Db, DbError, Row, Wake, Write};
use crate::time::rfc3339;

/// Version of the envelope.
const ENVELOPE_VERSION: u32 = 1;
/// Events in one answer, at most.
pub const MAX_PAGE: u32 = 500;
/// As [`Event::seq`]: the store gives the key's next number. For keys that nobody owns in memory.
pub const NEXT_SEQ: i64 = 0;

crate::statements! {
    INSERT = "insert into event (org, position, id, kind, key, seq, time_at, body) \
        values ($1, $2, $3, $4, $5, $6, $7, $8)";
    APPEND = "insert into event (org, position, id, kind, key, seq, time_at, body) \
        select $1, $2, $3, $4, $5, coalesce(max(seq), 0) + 1, $6, $7 from event where org = $1 and key = $5";
    AFTER = "select position, id, kind, key, seq, time_at, body, org from event \
        where org = $1 and position > $2 order by position limit $3";
    OF_KEY = "select position, id, kind, key, seq, time_at, body, org from event \
        where org = $1 and key = $2 and seq > $3 order by seq limit $4";
    LAST_SEQ = "select coalesce(max(seq), 0) as seq from event where org = $1 and key = $2";
    HEAD = "select coalesce(max(position), 0) as position from event where org = $1";
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `evt_…`; also the `webhook-id` of each attempt to deliver it.
    pub id: String,
    /// `call.answered` and so on: `type` on the wire.
    pub kind: String,
    /// When, in UTC milliseconds.
    pub time_ms: i64,
    /// The organisation.
    pub org: String,
    /// What it happened to: a call, a room, a meeting. Events of one key are delivered in order.
    pub key: String,
    /// From 1 in its key, or [`NEXT_SEQ`].
    pub seq: i64,
    /// The other fields of the envelope (`run_id`, `call`, `data` …): an object.
    pub body: Value,
}

/// The write that appends an event to the log and wakes the organisation's taps.
#[must_use]
pub fn event_write(event: &Event) -> Write {
    event_write_of(event, event.body.to_string())
}

/// The same with the text of a JSON object instead of `event.body`, for a hot path that has written it already.
#[must_use]
pub fn event_write_of(event: &Event, body: String) -> Write {
    let Event { org, id, kind, key, time_ms, .. } = event;
    let write = if event.seq == NEXT_SEQ {
        Write::new(APPEND, args![org, Arg::NextPosition, id, kind, key, *time_ms, body])
    } else {
        Write::new(INSERT, args![org, Arg::NextPosition, id, kind, key, event.seq, *time_ms, body])
    };
    write.waking(Wake::Events(Arc::from(event.org.as_str())))
}

/// An event as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its place in the log: the cursor after it.
    pub position: i64,
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Its key.
    pub key: String,
    /// Its number in the key.
    pub seq: i64,
    /// The envelope as JSON text, the same bytes at every reading.
    pub envelope: String,
}

impl Logged {
    /// Reads a row that has the columns of [`AFTER`].
    pub(crate) fn from_row(row: &Row) -> Result<Self, DbError> {
        let mut logged = Self {
            position: row.int("position")?,
            id: row.text("id")?,
            kind: row.text("kind")?,
            key: row.text("key")?,
            seq: row.int("seq")?,
            envelope: String::new(),
        };
        logged.envelope = envelope(&logged, &row.text("org")?, row.int("time_at")?, &row.text("body")?);
        Ok(logged)
    }
}

/// `{id,type,version,time,seq,org,key,…body}`; the body is spliced in as it was stored, without reading it.
fn envelope(event: &Logged, org: &str, time_ms: i64, body: &str) -> String {
    let mut out = String::with_capacity(body.len() + 224);
    let quoted = |text: &str| Value::from(text).to_string();
    // Writing to a String cannot fail.
    let _infallible = write!(
        out,
        r#"{{"id":{},"type":{},"version":{ENVELOPE_VERSION},"time":"{}","seq":{},"org":{},"key":{}"#,
        quoted(&event.id),
        quoted(&event.kind),
        rfc3339(time_ms),
        event.seq,
        quoted(org),
        quoted(&event.key),
    );
    match body.strip_prefix('{') {
        Some(rest) if rest != "}" => {
            out.push(',');
            out.push_str(rest);
        }
        _ => out.push('}'),
    }
    out
}

/// Reads the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    db: Db,
    bus: Bus,
}

impl Events {
    /// The log of a store.
    #[must_use]
    pub fn new(db: Db, bus: Bus) -> Self {
        Self { db, bus }
    }

    /// An organisation's events after a cursor, oldest first. `limit` above [`MAX_PAGE`] counts as that.
    ///
    /// # Errors
    /// What the store says.
    pub async fn after(&self, org: &str, position: i64, limit: u32) -> Result<Vec<Logged>, DbError> {
        self.read(AFTER, args![org, position, limit.min(MAX_PAGE)]).await
    }

    /// The events of one key after a number, in order.
    ///
    /// # Errors
    /// What the store says.
    pub async fn of_key(&self, org: &str, key: &str, after_seq: i64, limit: u32) -> Result<Vec<Logged>, DbError> {
        self.read(OF_KEY, args![org, key, after_seq, limit.min(MAX_PAGE)]).await
    }

    /// The number of the key's newest event, 0 when it has none.
    ///
    /// # Errors
    /// What the store says.
    pub async fn last_seq(&self, org: &str, key: &str) -> Result<i64, DbError> {
        self.db.one(LAST_SEQ, args![org, key]).await?.map_or(Ok(0), |row| row.int("seq"))
    }

    /// The cursor after the organisation's newest event.
    ///
    /// # Errors
    /// What the store says.
    pub async fn head(&self, org: &str) -> Result<i64, DbError> {
        self.db.one(HEAD, args![org]).await?.map_or(Ok(0), |row| row.int("position"))
    }

    /// Follows an organisation's log from a cursor on.
    #[must_use]
    pub fn tap(&self, org: &str, position: i64) -> Tap {
        let news = self.bus.subscribe(&format!("events.{org}"));
        Tap { events: self.clone(), org: org.to_owned(), position, news }
    }

    async fn read(&self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<Logged>, DbError> {
        self.db.all(sql, args).await?.iter().map(Logged::from_row).collect()
    }
}

/// A live reader of one organisation's log; what the WebSocket and the SSE tap are made of.
#[derive(Debug)]
pub struct Tap {
    events: Events,
    org: String,
    position: i64,
    news: Subscription,
}

impl Tap {
    /// The next events, at least one; waits for them. `None` when the server stops.
    ///
    /// # Errors
    /// What the store says.
    pub async fn next(&mut self) -> Result<Option<Vec<Logged>>, DbError> {
        loop {
            // One look serves all wake-ups that came before it.
            while self.news.try_next().is_some() {}
            let page = self.events.after(&self.org, self.position, MAX_PAGE).await?;
            if let Some(last) = page.last() {
                self.position = last.position;
                return Ok(Some(page));
            }
            if self.news.next().await.is_none() {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::TestDb;
    use serde_json::json;

    fn event(key: &str, seq: i64) -> Event {
        Event {
            id: format!("evt_{key}_{seq}"),
            kind: "call.ringing".into(),
            time_ms: 1_795_261_140_123,
            org: "org_1".into(),
            key: key.into(),
            seq,
            body: json!({"call": {"id": key}, "data": {"z": 1, "a": "ü\u{1}"}}),
        }
    }

    #[tokio::test]
    async fn the_log_is_read_by_cursor_and_by_key_on_both_engines() {
        for test in TestDb::each().await {
            assert_eq!(test.unpreparable(&[ALL]).await, Vec::<String>::new());
            let events = Events::new(test.db.clone(), test.bus.clone());
            let writes = [event("a", 1), event("b", 1), event("a", 2), event("a", NEXT_SEQ), event("c", NEXT_SEQ)];
            test.db.writer().commit(writes.iter().map(event_write).collect()).await.unwrap();

            let all = events.after("org_1", 0, 10).await.unwrap();
            let seen: Vec<_> = all.iter().map(|e| (e.position, e.key.as_str(), e.seq)).collect();
            assert_eq!(seen, [(1, "a", 1), (2, "b", 1), (3, "a", 2), (4, "a", 3), (5, "c", 1)]);
            assert_eq!(events.after("org_1", 2, 2).await.unwrap(), all[2..4]);
            assert_eq!(events.after("org_2", 0, 10).await.unwrap(), []);
            let of_a = events.of_key("org_1", "a", 1, 10).await.unwrap();
            assert_eq!(of_a.iter().map(|e| e.seq).collect::<Vec<_>>(), [2, 3]);
            assert_eq!(events.last_seq("org_1", "a").await.unwrap(), 3);
            assert_eq!(events.head("org_1").await.unwrap(), 5);

            let twice = test.db.writer().commit(vec![event_write(&event("a", 2))]).await;
            assert!(matches!(twice, Err(DbError::Duplicate(_))), "{twice:?}");
        }
    }

    #[test]
    fn a_body_that_is_written_already_makes_the_same_write() {
        let event = event("a", 1);
        let bare = Event { body: Value::Null, ..event.clone() };
        assert_eq!(event_write_of(&bare, event.body.to_string()), event_write(&event));
    }

    #[tokio::test]
    async fn the_envelope_keeps_the_order_and_the_text_of_its_body() {
        let test = TestDb::sqlite().await;
        test.db.writer().commit(vec![event_write(&event("a", 1))]).await.unwrap();
        let logged = Events::new(test.db, test.bus).after("org_1", 0, 1).await.unwrap();
        assert_eq!(
            logged[0].envelope,
            "{\"id\":\"evt_a_1\",\"type\":\"call.ringing\",\"version\":1,\"time\":\"2026-11-21T11:39:00.123Z\",\"seq\":1,\
             \"org\":\"org_1\",\"key\":\"a\",\"call\":{\"id\":\"a\"},\"data\":{\"z\":1,\"a\":\"ü\\u0001\"}}"
        );
        let empty = envelope(&logged[0], "o\"1", 0, "{}");
        assert_eq!(serde_json::from_str::<Value>(&empty).unwrap()["org"], "o\"1");
    }

    #[tokio::test]
    async fn a_tap_sees_each_event_once_whether_it_came_before_or_after() {
        for test in TestDb::each().await {
            let events = Events::new(test.db.clone(), test.bus.clone());
            test.db.writer().commit(vec![event_write(&event("a", 1))]).await.unwrap();
            let mut tap = events.tap("org_1", 0);
            assert_eq!(tap.next().await.unwrap().unwrap().len(), 1);
            let writer = test.db.writer().clone();
            let later = async {
                for seq in 2..=50 {
                    writer.submit(vec![event_write(&event("a", seq))]).await.unwrap();
                }
            };
            let mut seen = Vec::new();
            let watch = async {
                while seen.len() < 49 {
                    seen.extend(tap.next().await.unwrap().unwrap().into_iter().map(|event| event.seq));
                }
            };
            tokio::join!(later, watch);
            assert_eq!(seen, (2..=50).collect::<Vec<_>>());
        }
    }
}
