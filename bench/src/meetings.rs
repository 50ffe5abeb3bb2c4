//! Ten thousand meetings that open within one minute: how late the latest is.
//!
//! Counted is from the moment that a meeting should open to the moment that a reader of the event log has
//! `meeting.opened` in hand: what was told is durable.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Options;
use crate::report::Row;
use crate::subject::{self, Subject};
use crate::web::Web;

/// Meetings of a full run.
const MEETINGS: usize = 10_000;
/// All of them open within this, in milliseconds.
const WITHIN_MS: i64 = 60_000;
/// Who posts them, at once.
const POSTERS: usize = 8;
/// A meeting opens so long before its start, in milliseconds (docs/contracts/meetings.md).
const OPEN_BEFORE_MS: i64 = 5 * 60_000;
/// What a poster manages in a second, at least: so long before the first one opens, posting begins.
const POSTED_A_SECOND: usize = 25;
/// Pause of the reader when there is nothing new.
const PAUSE: Duration = Duration::from_millis(5);
/// After the last one should have opened, the reader waits so long for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// The goal, in seconds.
const GOAL_S: f64 = 2.0;

type Done<T = ()> = Result<T, String>;

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn rfc3339(ms: i64) -> Done<String> {
    Timestamp::from_millisecond(ms).map(|time| time.to_string()).map_err(|error| error.to_string())
}

/// Posts every `POSTERS`-th order from `first` on; the meetings' ids and when each opens.
fn post(server: SocketAddr, key: &str, first: usize, orders: usize, opens_ms: i64) -> Done<Vec<(String, i64)>> {
    let mut web = Web::open(server, key)?;
    let mut posted = Vec::new();
    for order in (first..orders).step_by(POSTERS) {
        let offset = WITHIN_MS * i64::try_from(order).unwrap_or(0) / i64::try_from(orders).unwrap_or(1);
        let opens_ms = opens_ms + offset;
        let body = json!({
            "user": {"uid_caller": format!("c{order}"), "uid_receiver": format!("r{order}")},
            "meeting": {"order_id": order, "duration": 9, "start_at": rfc3339(opens_ms + OPEN_BEFORE_MS)?},
            "caller": {"name": "Ann", "number": format!("+4420718{order:05}"), "call_type": "Phone"},
            "receiver": {"name": "Bob", "call_type": "Browser"},
        });
        let answer = web.ask("POST", "/api/v1/meetings", Some(&body))?;
        let id = answer.get("meeting_id").map(Value::to_string).ok_or("no meeting_id")?;
        posted.push((id, opens_ms));
    }
    Ok(posted)
}

fn post_all(server: SocketAddr, key: &str, orders: usize, opens_ms: i64) -> Done<HashMap<String, i64>> {
    std::thread::scope(|scope| {
        let posters: Vec<_> =
            (0..POSTERS).map(|first| scope.spawn(move || post(server, key, first, orders, opens_ms))).collect();
        let mut all = HashMap::new();
        for poster in posters {
            all.extend(poster.join().map_err(|_| "a poster panicked".to_owned())??);
        }
        Ok(all)
    })
}

/// Reads the event log until every meeting has opened; how late each was, in milliseconds, sorted.
fn watch(server: SocketAddr, key: &str, mut expected: HashMap<String, i64>, until: Instant) -> Done<Vec<i64>> {
    let mut web = Web::open(server, key)?;
    let mut late = Vec::new();
    let mut cursor = String::new();
    while !expected.is_empty() {
        if Instant::now() > until {
            return Err(format!("{} meetings have not opened", expected.len()));
        }
        let page = web.ask("GET", &format!("/v1/events?limit=500&cursor={cursor}"), None)?;
        let now_ms = now_ms();
        let events = page.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
        for event in &events {
            let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
            if text("type") == "meeting.opened"
                && let Some(opens_ms) = expected.remove(text("key"))
            {
                late.push(now_ms - opens_ms);
            }
        }
        if events.is_empty() {
            std::thread::sleep(PAUSE);
        } else if let Some(next) = page.get("cursor").and_then(Value::as_str) {
            next.clone_into(&mut cursor);
        }
    }
    late.sort_unstable();
    Ok(late)
}

fn key_of(subject: &Subject) -> Done<String> {
    let made = subject.verb(&["app", "create", "bench", "--org", "bench"])?;
    made.get("api_key").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| "app create printed no key".to_owned())
}

/// Opens them and says how late they were.
///
/// # Errors
/// What went wrong.
pub(crate) fn opened(options: &Options) -> Done<Vec<Row>> {
    let orders = if options.quick { MEETINGS / 10 } else { MEETINGS };
    let trunk = ([127, 0, 0, 1], subject::free_port()?).into();
    let tandem = subject::tandem(&options.tandem, trunk)?;
    let server = tandem.http.ok_or("Tandem has an API")?;
    let key = key_of(&tandem)?;
    let posting = Duration::from_secs((orders / POSTED_A_SECOND / POSTERS) as u64 + 5);
    let opens_ms = now_ms() + i64::try_from(posting.as_millis()).unwrap_or(0);
    let begun = Instant::now();
    let expected = post_all(server, &key, orders, opens_ms)?;
    let posted_s = begun.elapsed().as_secs_f64();
    if now_ms() > opens_ms {
        return Err(format!("posting took {posted_s:.0} s, longer than it may"));
    }
    let until = Instant::now() + posting + Duration::from_millis(WITHIN_MS.unsigned_abs()) + PATIENCE;
    let before = tandem.cpu();
    let late = watch(server, &key, expected, until)?;
    let of = |part: usize| {
        late.get((late.len() * part / 1_000).min(late.len().saturating_sub(1))).copied().unwrap_or(0) as f64
    };
    let row = |unit: &str, goal, ms: f64| {
        Row::cost(&format!("{orders} meetings in a minute: {unit}"), goal).with("Tandem", ms)
    };
    Ok(vec![
        row("the latest opened late, s", Some(GOAL_S), of(1_000) / 1_000.0),
        row("99 of 100 opened late, ms", None, of(990)),
        row("half of them opened late, ms", None, of(500)),
        row("CPU each, reader included, ms", None, (tandem.cpu() - before).as_secs_f64() * 1_000.0 / orders as f64),
        Row::rate("orders of meetings posted, /s", None).with("Tandem", orders as f64 / posted_s),
    ])
}
