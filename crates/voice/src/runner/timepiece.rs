//! The media threads' clock: microseconds that never run backwards, the same on all threads, and the wall clock for RTCP.
//!
//! The kernel's clock counts milliseconds and is turned by hand in tests; the parts below the threads take `now` as an argument and are tested
//! with that. Only the threads themselves read this one.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clock of a set of threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timepiece {
    start: Instant,
}

impl Timepiece {
    /// Starts at zero.
    #[expect(clippy::disallowed_methods, reason = "frames are due at microseconds, which kernel::Clock does not count")]
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Microseconds since the start.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// That many microseconds after the start.
    pub(super) fn instant(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }

    /// The wall clock as NTP time, 32.32 bits (RFC 3550, section 4).
    #[expect(clippy::disallowed_methods, reason = "the wall clock of sender reports; nothing is decided by it")]
    pub(super) fn ntp() -> u64 {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        media::rtcp::ntp_time(u64::try_from(unix.as_micros()).unwrap_or_default())
    }
}
