//! What somebody who waits is told of his place, and how often. Pure.
//!
//! Invariant: nobody hears the same twice in a row, nor anything more often than every [`ANNOUNCE_EVERY_MS`].

/// The shortest time from one announcement to the next, in milliseconds.
pub const ANNOUNCE_EVERY_MS: i64 = 30_000;

/// What one caller has been told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Announcements {
    /// The position, and when, in milliseconds.
    told: Option<(usize, i64)>,
}

impl Announcements {
    /// Nothing has been told yet.
    #[must_use]
    pub fn are_to_begin(&self) -> bool {
        self.told.is_none()
    }

    /// When this position may be told; none when it is the last one that was.
    #[must_use]
    pub fn due_ms(&self, position: usize) -> Option<i64> {
        match self.told {
            None => Some(i64::MIN),
            Some((told, at_ms)) => (told != position).then_some(at_ms + ANNOUNCE_EVERY_MS),
        }
    }

    /// The position is told now.
    pub fn tell(&mut self, position: usize, now_ms: i64) {
        self.told = Some((position, now_ms));
    }
}

/// Where somebody stands (1 is next), and how long it is likely to take.
#[must_use]
pub fn position_words(position: usize, expected_ms: Option<i64>) -> String {
    let mut words = match position {
        1 => "You are next in the queue.".to_owned(),
        _ => format!("You are number {position} in the queue."),
    };
    if let Some(expected_ms) = expected_ms {
        words.push(' ');
        words.push_str(&expected_wait(expected_ms));
    }
    words
}

fn expected_wait(ms: i64) -> String {
    match (ms + 30_000) / 60_000 {
        0 => "You will wait less than a minute.".to_owned(),
        1 => "You will wait about one minute.".to_owned(),
        minutes => format!("You will wait about {minutes} minutes."),
    }
}
