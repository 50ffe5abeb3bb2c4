//! When somebody is there to answer: hours of a week, in a zone.
//!
//! Invariant: a time is read in the zone's own clock, so that nine o'clock stays nine o'clock when the clocks are changed;
//! without hours it is always open.

use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, ToSpan};
use kernel::zones::{Zone, due, parse_time};

/// Windows that one setting may name.
const MAX_WINDOWS: usize = 50;
/// Days after which a week has begun again.
const WEEK: i32 = 7;
/// The end of a day, in minutes.
const MIDNIGHT: u32 = 24 * 60;

/// Names of days, from Monday.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// One stretch of time on a day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// From Monday = 0.
    day: usize,
    /// Minutes after midnight.
    from: u32,
    /// Minutes after midnight; not part of it.
    until: u32,
}

/// The hours of a week.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hours(Vec<Window>);

impl Hours {
    /// `mon-fri 09:00-17:30, sat 10:00-14:00`; empty = always.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut windows = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (days, times) = part.split_once(' ')?;
            let (from, until) = times.trim().split_once('-')?;
            let (from, until) = (minutes(from)?, minutes(until).map(|end| if end == 0 { MIDNIGHT } else { end })?);
            if from >= until {
                return None;
            }
            windows.extend(days_of(days)?.into_iter().map(|day| Window { day, from, until }));
        }
        (windows.len() <= MAX_WINDOWS).then_some(Self(windows))
    }

    /// Whether somebody is there at every time.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether somebody is there at a time (UTC milliseconds).
    #[must_use]
    pub fn is_open(&self, at_ms: i64, zone: &Zone) -> bool {
        if self.is_always() {
            return true;
        }
        let Ok(at) = Timestamp::from_millisecond(at_ms) else { return false };
        let local = at.to_zoned(zone.clone().time_zone());
        let minute = u32::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or_default();
        self.of_day(local.date()).any(|window| (window.from..window.until).contains(&minute))
    }

    /// When somebody is there again after a time (both UTC milliseconds); none when somebody always is.
    #[must_use]
    pub fn next_opening(&self, at_ms: i64, zone: &Zone) -> Option<i64> {
        let today = Timestamp::from_millisecond(at_ms).ok()?.to_zoned(zone.clone().time_zone()).date();
        // Today's window of a week hence comes after all others.
        let days = (0..=WEEK).filter_map(|ahead| today.checked_add(ahead.days()).ok());
        let openings = days.flat_map(|day| self.of_day(day).filter_map(move |window| begin(day, window, zone)));
        openings.filter(|opens_ms| *opens_ms > at_ms).min()
    }

    fn of_day(&self, day: Date) -> impl Iterator<Item = Window> + '_ {
        let place = place_of(day.weekday());
        self.0.iter().copied().filter(move |window| window.day == place)
    }
}

/// When a window begins on a day.
fn begin(day: Date, window: Window, zone: &Zone) -> Option<i64> {
    let time = parse_time(&format!("{:02}:{:02}", window.from / 60, window.from % 60))?;
    due(day, time, zone).map(|due| due.at_ms)
}

fn place_of(day: Weekday) -> usize {
    usize::try_from(day.to_monday_zero_offset()).unwrap_or_default()
}

/// `mon`, `mon-fri`, `sat-mon`.
fn days_of(text: &str) -> Option<Vec<usize>> {
    let place = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let Some((first, last)) = text.split_once('-') else { return place(text).map(|day| vec![day]) };
    let (first, last) = (place(first)?, place(last)?);
    let count = (last + DAYS.len() - first) % DAYS.len();
    Some((0..=count).map(|step| (first + step) % DAYS.len()).collect())
}

/// `HH:MM` as minutes after midnight; 24:00 is the end of the day.
fn minutes(text: &str) -> Option<u32> {
    if text == "24:00" {
        return Some(MIDNIGHT);
    }
    let time = parse_time(text)?;
    u32::try_from(i32::from(time.hour()) * 60 + i32::from(time.minute())).ok()
}

#[cfg(test)]
mod tests {
    use kernel::zones::parse_zone;

    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn hours_are_read_by_day_and_span_of_days() {
        let open = |hours: &str, at: &str| Hours::parse(hours).unwrap().is_open(ms(at), &parse_zone("UTC").unwrap());
        // 2026-11-23 is a Monday.
        assert!(open("", "2026-11-23T03:00:00Z"));
        for (at, expected) in [
            ("2026-11-23T08:59:59Z", false),
            ("2026-11-23T09:00:00Z", true),
            ("2026-11-23T17:29:59Z", true),
            ("2026-11-23T17:30:00Z", false),
            ("2026-11-28T09:30:00Z", false),
            ("2026-11-28T13:00:00Z", true),
            ("2026-11-29T13:00:00Z", false),
        ] {
            assert_eq!(open("mon-fri 09:00-17:30, Sat 10:00-14:00", at), expected, "{at}");
        }
        for (at, expected) in
            [("2026-11-29T23:59:00Z", true), ("2026-11-23T00:00:00Z", true), ("2026-11-25T12:00:00Z", false)]
        {
            assert_eq!(open("sat-mon 00:00-24:00", at), expected, "{at}");
        }
        for bad in [
            "mon",
            "mon 9-17",
            "mon 17:00-09:00",
            "mon 09:00-09:00",
            "day 09:00-10:00",
            "mon 09:00-25:00",
            "mon-fri-sat 09:00-10:00",
        ] {
            assert_eq!(Hours::parse(bad), None, "{bad}");
        }
        let many = ["mon-sun 09:00-10:00"; 8].join(",");
        assert_eq!(Hours::parse(&many), None, "56 windows");
    }

    #[test]
    fn the_next_opening_is_by_the_zone_s_own_clock() {
        let hours = Hours::parse("mon-fri 09:00-17:00").unwrap();
        let berlin = parse_zone("Europe/Berlin").unwrap();
        let next =
            |at: &str| Timestamp::from_millisecond(hours.next_opening(ms(at), &berlin).unwrap()).unwrap().to_string();
        assert_eq!(next("2026-11-23T07:00:00Z"), "2026-11-23T08:00:00Z");
        // While it is open, the next one is tomorrow's.
        assert_eq!(next("2026-11-23T08:00:00Z"), "2026-11-24T08:00:00Z");
        // Friday evening; on the Sunday between, the clocks go forward.
        assert_eq!(next("2026-03-27T17:00:00Z"), "2026-03-30T07:00:00Z");
        assert_eq!(Hours::default().next_opening(ms("2026-03-27T17:00:00Z"), &berlin), None);
        let weekly = Hours::parse("mon 09:00-10:00").unwrap();
        let after = weekly.next_opening(ms("2026-11-23T08:30:00Z"), &berlin).unwrap();
        assert_eq!(after, ms("2026-11-30T08:00:00Z"), "a week hence");
    }
}
