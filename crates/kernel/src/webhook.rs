//! What Standard Webhooks and the contract (flows.md, Signing and Delivery) say about one attempt: how it is signed,
//! and what follows from its answer.
//!
//! Invariant: pure. The same attempt and answer always lead to the same verdict; time and jitter are arguments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::ids::Ids;

/// Tries that hold the order of their key: at once, after 1 s, after 4 s (both counted from the first).
const FAST_WAITS_MS: [i64; 2] = [1_000, 3_000];
/// Waits of the slow queue; the last one repeats until the event expires.
const SLOW_WAITS_MS: [i64; 5] = [30_000, 120_000, 600_000, 3_600_000, 21_600_000];
/// Jitter adds up to this share of a slow wait, so that a receiver that comes back is not hit by all at once.
const JITTER_SHARE: f64 = 0.2;
/// A `Retry-After` longer than this gives up the order of its key.
const LONGEST_HOLD_MS: i64 = 10_000;
/// A `Retry-After` counts at most this much.
const LONGEST_PAUSE_MS: i64 = 21_600_000;
/// How long an event of a call's progress is worth delivering.
const PROGRESS_LIFE_MS: i64 = 5 * 60_000;
/// How long everything else is.
const LASTING_LIFE_MS: i64 = 24 * 3_600_000;
/// Kinds that are stale when the call has moved on.
const PROGRESS: [&str; 9] =
    ["call.", "step.", "dtmf", "input.", "http.", "connect.", "queue.", "conference.", "stream."];
/// Length of the secrets we make, in bytes.
const SECRET_BYTES: usize = 24;
/// Lengths we accept.
const SECRET_LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;
const SECRET_PREFIX: &str = "whsec_";

/// How long after its time an event of this type is still delivered, in milliseconds.
#[must_use]
pub fn lifetime_ms(kind: &str) -> i64 {
    let progress = PROGRESS.iter().any(|start| kind.starts_with(start)) && kind != "call.completed";
    if progress { PROGRESS_LIFE_MS } else { LASTING_LIFE_MS }
}

/// A signing secret, `whsec_` and base64. Its text is only ever shown on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// Why a text is no signing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is whsec_ and the base64 of 16 to 128 bytes")]
pub struct BadSigningKey;

impl SigningKey {
    /// A new random secret.
    #[must_use]
    pub fn random(ids: &Ids) -> Self {
        Self(ids.bytes::<SECRET_BYTES>().to_vec())
    }

    /// Reads `whsec_<base64>`.
    ///
    /// # Errors
    /// [`BadSigningKey`].
    pub fn parse(text: &str) -> Result<Self, BadSigningKey> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(BadSigningKey)?;
        let key = STANDARD.decode(encoded).map_err(|_| BadSigningKey)?;
        if SECRET_LENGTHS.contains(&key.len()) { Ok(Self(key)) } else { Err(BadSigningKey) }
    }

    /// The text that the receiver is given.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any key length");
        mac.update(format!("{id}.{timestamp_s}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The header `webhook-signature`: one signature for each secret that is live, separated by spaces.
#[must_use]
pub fn signature_header(keys: &[SigningKey], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    keys.iter().map(|key| key.sign(id, timestamp_s, body)).collect::<Vec<_>>().join(" ")
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A response.
    Status {
        /// Its code.
        code: u16,
        /// Its `Retry-After`, in milliseconds from now.
        retry_after_ms: Option<i64>,
    },
    /// No response: a refused connection, a time-out, a blocked address.
    Nothing,
}

/// Which line a delivery stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Holds the order of its key: later events wait.
    Fast,
    /// Later events pass it.
    Slow,
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx: done.
    Delivered,
    /// A 4xx that no repetition will change.
    Refused,
    /// 410: the receiver wants nothing any more.
    Gone,
    /// It would be stale before the next try.
    Expired,
    /// Try again.
    Retry {
        /// Not before this time.
        at_ms: i64,
        /// Holding the order or not.
        lane: Lane,
        /// The receiver asked for silence until then: all of its deliveries wait.
        pause: bool,
    },
}

/// Judges the `attempt`-th try (from 1) of a delivery that expires at `expires_ms`. `jitter` is in `0.0..1.0`.
#[must_use]
pub fn judge(answer: Answer, attempt: usize, now_ms: i64, expires_ms: i64, jitter: f64) -> Verdict {
    let asked_ms = match answer {
        Answer::Status { code: 200..=299, .. } => return Verdict::Delivered,
        Answer::Status { code: 410, .. } => return Verdict::Gone,
        Answer::Status { code: 429 | 503, retry_after_ms } => retry_after_ms,
        Answer::Status { code: 400..=499, .. } => return Verdict::Refused,
        Answer::Status { .. } | Answer::Nothing => None,
    };
    let (wait_ms, lane) = wait_after(attempt, jitter);
    let asked_ms = asked_ms.map(|asked| asked.clamp(0, LONGEST_PAUSE_MS));
    let wait_ms = wait_ms.max(asked_ms.unwrap_or(0));
    let at_ms = now_ms.saturating_add(wait_ms);
    if at_ms >= expires_ms {
        return Verdict::Expired;
    }
    let lane = if wait_ms > LONGEST_HOLD_MS { Lane::Slow } else { lane };
    Verdict::Retry { at_ms, lane, pause: asked_ms.is_some() }
}

/// The wait after the `attempt`-th try, and where it is spent.
fn wait_after(attempt: usize, jitter: f64) -> (i64, Lane) {
    let failures = attempt.max(1);
    if let Some(&wait_ms) = FAST_WAITS_MS.get(failures - 1) {
        return (wait_ms, Lane::Fast);
    }
    let rung = (failures - 1 - FAST_WAITS_MS.len()).min(SLOW_WAITS_MS.len() - 1);
    let wait_ms = SLOW_WAITS_MS.get(rung).copied().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "at most hours in milliseconds")]
    let spread_ms = (wait_ms as f64 * JITTER_SHARE * jitter.clamp(0.0, 1.0)) as i64;
    (wait_ms + spread_ms, Lane::Slow)
}

/// `Retry-After` (RFC 9110 §10.2.3) as milliseconds from now: seconds, or an HTTP date.
#[must_use]
pub fn parse_retry_after(value: &str, now_ms: i64) -> Option<i64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(i64::from(seconds) * 1_000);
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?;
    Some((date.timestamp().as_millisecond() - now_ms).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3_600_000;

    fn status(code: u16) -> Answer {
        Answer::Status { code, retry_after_ms: None }
    }

    /// The waits of a delivery that always fails, until its end.
    fn waits(answer: Answer, life_ms: i64) -> (Vec<(i64, Lane)>, Verdict) {
        let (mut now, mut attempt, mut waits) = (0, 1, Vec::new());
        loop {
            match judge(answer, attempt, now, life_ms, 0.0) {
                Verdict::Retry { at_ms, lane, .. } => {
                    waits.push((at_ms - now, lane));
                    now = at_ms;
                    attempt += 1;
                }
                end => return (waits, end),
            }
        }
    }

    #[test]
    fn the_ladder_is_the_contracts() {
        let (waits, end) = waits(status(500), DAY);
        let ladder: Vec<_> = waits.iter().map(|(wait, _)| wait / 1_000).collect();
        assert_eq!(ladder, [1, 3, 30, 120, 600, 3_600, 21_600, 21_600, 21_600]);
        assert!(waits.iter().take(2).all(|(_, lane)| *lane == Lane::Fast));
        assert!(waits.iter().skip(2).all(|(_, lane)| *lane == Lane::Slow));
        assert_eq!(end, Verdict::Expired);
    }

    #[test]
    fn progress_is_dropped_after_five_minutes_and_ends_are_kept_a_day() {
        let (progress, end) = waits(Answer::Nothing, lifetime_ms("call.ringing"));
        assert_eq!((progress.len(), end), (4, Verdict::Expired));
        for lasting in ["call.completed", "recording.ready", "callback.missed", "message.created", "meeting.ended"] {
            assert_eq!(lifetime_ms(lasting), DAY, "{lasting}");
        }
        for progress in ["call.answered", "step.started", "dtmf", "connect.ended", "stream.stopped"] {
            assert_eq!(lifetime_ms(progress), 300_000, "{progress}");
        }
    }

    #[test]
    fn each_kind_of_answer_has_its_verdict() {
        let judge = |code| judge(status(code), 1, 0, DAY, 0.0);
        for ok in [200, 201, 204, 299] {
            assert_eq!(judge(ok), Verdict::Delivered);
        }
        for refused in [400, 401, 404, 408, 422, 499] {
            assert_eq!(judge(refused), Verdict::Refused);
        }
        assert_eq!(judge(410), Verdict::Gone);
        for again in [301, 302, 304, 307, 429, 500, 502, 503, 504, 599, 100] {
            assert_eq!(judge(again), Verdict::Retry { at_ms: 1_000, lane: Lane::Fast, pause: false }, "{again}");
        }
    }

    #[test]
    fn retry_after_is_honoured_and_gives_up_the_order_when_it_is_long() {
        let asked = |code, ms| judge(Answer::Status { code, retry_after_ms: Some(ms) }, 1, 0, DAY, 0.0);
        assert_eq!(asked(429, 7_000), Verdict::Retry { at_ms: 7_000, lane: Lane::Fast, pause: true });
        assert_eq!(asked(503, 60_000), Verdict::Retry { at_ms: 60_000, lane: Lane::Slow, pause: true });
        assert_eq!(asked(503, 0), Verdict::Retry { at_ms: 1_000, lane: Lane::Fast, pause: true });
        assert_eq!(asked(503, i64::MAX), Verdict::Retry { at_ms: 21_600_000, lane: Lane::Slow, pause: true });
        assert_eq!(asked(500, 60_000), Verdict::Retry { at_ms: 1_000, lane: Lane::Fast, pause: false });
        assert_eq!(parse_retry_after("120", 0), Some(120_000));
        assert_eq!(parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 10_000), Some(50_000));
        assert_eq!(parse_retry_after("Thu, 01 Jan 1970 00:00:01 GMT", 10_000), Some(0));
        assert_eq!(parse_retry_after("soon", 0), None);
        assert_eq!(parse_retry_after("-5", 0), None);
    }

    #[test]
    fn jitter_only_stretches_slow_waits() {
        let at = |attempt, jitter| match judge(status(500), attempt, 0, DAY, jitter) {
            Verdict::Retry { at_ms, .. } => at_ms,
            other => panic!("{other:?}"),
        };
        assert_eq!(at(1, 0.99), 1_000);
        assert_eq!((at(3, 0.0), at(3, 0.5), at(3, 1.0)), (30_000, 33_000, 36_000));
    }

    /// The example of the Standard Webhooks specification and its reference libraries.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let other = SigningKey::random(&Ids::seeded(1));
        let both = signature_header(&[other.clone(), key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{}");
        assert_eq!(both.split(' ').count(), 2);
        assert_eq!(SigningKey::parse(&other.expose()), Ok(other.clone()));
        assert_eq!(format!("{other:?}"), "SigningKey(…)");
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_short", "whsec_AAAA", "whsec_ü"] {
            assert_eq!(SigningKey::parse(bad), Err(BadSigningKey), "{bad}");
        }
    }
}
