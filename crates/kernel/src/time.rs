//! The clock: UTC milliseconds, and sleeping until one of them.
//!
//! Invariant: nothing above asks the system for the time; a fake clock moved by its hand therefore moves the whole
//! server, and a callback next Tuesday runs now.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

/// A long sleep looks at the wall clock this often, since an operator or NTP may set it.
const LONGEST_NAP_MS: u64 = 30_000;

/// What time it is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    System,
    Fake(watch::Receiver<i64>),
}

/// Moves a fake clock; every sleeper whose time has come wakes.
#[derive(Clone, Debug)]
pub struct ClockHand {
    now: Arc<watch::Sender<i64>>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { kind: Kind::System }
    }

    /// A clock that stands at `start_ms` until its hand moves it.
    #[must_use]
    pub fn fake(start_ms: i64) -> (Self, ClockHand) {
        let (now, watcher) = watch::channel(start_ms);
        (Self { kind: Kind::Fake(watcher) }, ClockHand { now: Arc::new(now) })
    }

    /// UTC milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match &self.kind {
            Kind::Fake(now) => *now.borrow(),
            Kind::System => system_now_ms(),
        }
    }

    /// Returns once `now_ms() >= at_ms`. Holds when the wall clock is set forwards or backwards meanwhile.
    pub async fn sleep_until(&self, at_ms: i64) {
        match &self.kind {
            Kind::Fake(now) => {
                let mut now = now.clone();
                if now.wait_for(|now| *now >= at_ms).await.is_err() {
                    // The hand is gone: this time never comes.
                    std::future::pending::<()>().await;
                }
            }
            Kind::System => {
                while let Some(left_ms) = u64::try_from(at_ms - system_now_ms()).ok().filter(|&left| left > 0) {
                    tokio::time::sleep(Duration::from_millis(left_ms.min(LONGEST_NAP_MS))).await;
                }
            }
        }
    }

    /// Sleeps for `ms` milliseconds of this clock.
    pub async fn sleep(&self, ms: u64) {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        self.sleep_until(self.now_ms().saturating_add(ms)).await;
    }
}

impl ClockHand {
    /// Moves the clock by `ms`.
    pub fn advance(&self, ms: i64) {
        self.now.send_modify(|now| *now += ms);
    }

    /// Sets the clock to `at_ms`.
    pub fn set(&self, at_ms: i64) {
        self.now.send_replace(at_ms);
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
fn system_now_ms() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

/// `2026-11-21T11:39:00.123Z`: how a time is written at the edge (RFC 3339, UTC, milliseconds).
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

/// The milliseconds of an RFC 3339 time, with any offset; `None` when it is none.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_261_140_123), "2026-11-21T11:39:00.123Z");
        assert_eq!(parse_rfc3339("2026-11-21T12:39:00.123+01:00"), Some(1_795_261_140_123));
        assert_eq!(parse_rfc3339("tomorrow"), None);
    }

    #[tokio::test]
    async fn a_fake_sleep_ends_when_the_hand_passes_it_and_not_before() {
        let (clock, hand) = Clock::fake(1_000);
        let sleep = clock.sleep(500);
        tokio::pin!(sleep);
        let nap = Duration::from_millis(1);
        assert!(tokio::time::timeout(nap, &mut sleep).await.is_err());
        hand.advance(499);
        assert!(tokio::time::timeout(nap, &mut sleep).await.is_err());
        hand.advance(1);
        sleep.await;
        assert_eq!(clock.now_ms(), 1_500);
    }

    #[tokio::test]
    async fn a_time_that_has_passed_is_not_waited_for() {
        Clock::system().sleep_until(5).await;
        Clock::fake(10).0.sleep_until(10).await;
    }
}
