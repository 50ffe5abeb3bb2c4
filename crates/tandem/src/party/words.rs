//! Plain words for times: how long something takes, what a clock shows in a zone. The script of the page
//! (web/assets/party.js) says the same words again as time goes on.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kernel::time::rfc3339;

const MINUTE_MS: i64 = 60_000;
const MINUTES_OF_HOUR: i64 = 60;
/// From so many hours on it is told in days.
const DAYS_FROM_HOURS: i64 = 48;
/// From so many hours on nobody counts the minutes.
const NO_MINUTES_FROM_HOURS: i64 = 12;

/// How long something still takes: rounded up, so that nothing is over before it is.
pub(super) fn span(ms: i64) -> String {
    if ms < MINUTE_MS {
        return "less than a minute".to_owned();
    }
    let minutes = (ms + MINUTE_MS - 1) / MINUTE_MS;
    if minutes < MINUTES_OF_HOUR {
        return counted(minutes, "minute");
    }
    let (hours, rest) = (minutes / MINUTES_OF_HOUR, minutes % MINUTES_OF_HOUR);
    if hours >= DAYS_FROM_HOURS {
        return counted((hours + 12) / 24, "day");
    }
    let words = counted(hours, "hour");
    if rest == 0 || hours >= NO_MINUTES_FROM_HOURS { words } else { format!("{words} {}", counted(rest, "minute")) }
}

/// How long something took: to the nearest minute.
pub(super) fn length(ms: i64) -> String {
    if ms < MINUTE_MS { "less than a minute".to_owned() } else { span((ms + MINUTE_MS / 2) / MINUTE_MS * MINUTE_MS) }
}

fn counted(count: i64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A moment as a page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// UTC milliseconds.
    pub(super) ms: i64,
    /// For programs.
    pub(super) iso: String,
    /// `Sunday 22 November 2026`, in the application's zone.
    pub(super) day: String,
    /// `17:00`, in the application's zone.
    pub(super) time: String,
    /// As a field for a date and a time has it, in the application's zone.
    pub(super) field: String,
}

impl Moment {
    /// A moment in a zone.
    pub(super) fn new(ms: i64, zone: &TimeZone) -> Self {
        let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone());
        Self {
            ms,
            iso: rfc3339(ms),
            day: at.strftime("%A %-d %B %Y").to_string(),
            time: at.strftime("%H:%M").to_string(),
            field: at.strftime("%Y-%m-%dT%H:%M").to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_as_people_tell_it() {
        let minutes = |minutes: i64| span(minutes * MINUTE_MS);
        assert_eq!(span(59_999), "less than a minute");
        assert_eq!(minutes(1), "1 minute");
        assert_eq!(span(61_000), "2 minutes", "nothing opens before it does");
        assert_eq!(minutes(12), "12 minutes");
        assert_eq!(minutes(60), "1 hour");
        assert_eq!(minutes(61), "1 hour 1 minute");
        assert_eq!(minutes(125), "2 hours 5 minutes");
        assert_eq!(minutes(13 * 60 + 5), "13 hours");
        assert_eq!(minutes(48 * 60), "2 days");
        assert_eq!(minutes(61 * 60), "3 days");
    }

    #[test]
    fn what_was_is_told_to_the_nearest_minute() {
        assert_eq!(length(20_000), "less than a minute");
        assert_eq!(length(8 * MINUTE_MS + 40_000), "9 minutes");
        assert_eq!(length(9 * MINUTE_MS + 10_000), "9 minutes");
    }

    #[test]
    fn a_moment_is_shown_in_a_zone() {
        let moment = Moment::new(1_795_280_400_000, &TimeZone::get("Europe/Kyiv").unwrap());
        assert_eq!((&*moment.day, &*moment.time), ("Saturday 21 November 2026", "19:00"));
        assert_eq!((&*moment.field, &*moment.iso), ("2026-11-21T19:00", "2026-11-21T17:00:00.000Z"));
    }
}
