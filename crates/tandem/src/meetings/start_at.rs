//! When a meeting starts, as an application writes it: `31-12-2014 5:00 PM`, `31-12-2014 21:30`, or RFC 3339.
//! Invariant: the day comes first; a wall time means its zone, with the same reading of gaps and folds as callbacks.
//! Source: docs/contracts/meetings.md, "Behaviour".

use jiff::{
    Timestamp,
    civil::{Date, Time},
};
use kernel::zones::{self, Dst, Zone};

/// What a text that is none of the three is told.
pub const EXPECTED: &str = "31-12-2014 5:00 PM, 31-12-2014 21:30 (the day first), or RFC 3339 with its offset";

/// An instant with what daylight saving did to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartAt {
    /// UTC milliseconds.
    pub at_ms: i64,
    /// Whether the wall time was skipped (and moved forward) or exists twice (and the first is meant).
    pub dst: Option<Dst>,
}

/// Reads a start; a wall time is one of `zone`. None when it is none of the three forms, or no such day or time.
#[must_use]
pub fn read(text: &str, zone: &Zone) -> Option<StartAt> {
    let text = text.trim();
    if let Some(at_ms) = instant(text) {
        return Some(StartAt { at_ms, dst: None });
    }
    let (date, time) = text.split_once([' ', '\t'])?;
    let due = zones::due(day_first(date)?, wall_time(time)?, zone)?;
    Some(StartAt { at_ms: due.at_ms, dst: due.dst })
}

/// RFC 3339. A form that was not encoded carries the `+` of an offset as a space.
fn instant(text: &str) -> Option<i64> {
    let (date, _) = text.split_once(['T', 't'])?;
    zones::parse_date(date)?;
    let mended = text.rsplit_once(' ').map(|(wall, offset)| format!("{wall}+{offset}"));
    let instant: Timestamp = mended.as_deref().unwrap_or(text).parse().ok()?;
    Some(instant.as_millisecond())
}

/// `31-12-2014`; a leading zero may be missing.
fn day_first(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (day, month, year) = (digits(parts.next()?, 1..=2)?, digits(parts.next()?, 1..=2)?, parts.next()?);
    let year = digits(year, 4..=4)?;
    if parts.next().is_some() {
        return None;
    }
    Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()
}

/// `21:30`, `5:00 PM`, `5:00pm`; seconds may follow the minutes.
fn wall_time(text: &str) -> Option<Time> {
    let upper = text.trim().to_ascii_uppercase();
    let half = [("AM", 0), ("PM", 12)].into_iter().find_map(|(mark, hours)| Some((upper.strip_suffix(mark)?, hours)));
    let (clock, half) = half.map_or((upper.as_str(), None), |(clock, hours)| (clock.trim_end(), Some(hours)));
    let mut parts = clock.split(':');
    let (hour, minute) = (digits(parts.next()?, 1..=2)?, digits(parts.next()?, 2..=2)?);
    let second = parts.next().map_or(Some(0), |second| digits(second, 2..=2))?;
    if parts.next().is_some() {
        return None;
    }
    let hour = match half {
        None => hour,
        // 12 AM is midnight, 12 PM is noon.
        Some(hours) if (1..=12).contains(&hour) => hour % 12 + hours,
        Some(_) => return None,
    };
    Time::new(hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?, 0).ok()
}

fn digits(text: &str, width: std::ops::RangeInclusive<usize>) -> Option<i16> {
    let good = width.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if good { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use kernel::time::rfc3339;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str, zone: &str) -> Option<(String, Option<Dst>)> {
        let start = read(text, &zones::parse_zone(zone).unwrap())?;
        Some((rfc3339(start.at_ms), start.dst))
    }

    fn utc(text: &str) -> Option<String> {
        at(text, "UTC").map(|(at, _)| at)
    }

    #[test]
    fn the_three_forms_are_read() {
        let evening = Some("2014-12-31T17:00:00.000Z".to_owned());
        for same in [
            "31-12-2014 5:00 PM",
            "31-12-2014 5:00pm",
            "31-12-2014 05:00 PM",
            "31-12-2014 17:00",
            "31-12-2014 17:00:00",
            " 31-12-2014  17:00 ",
            "2014-12-31T17:00:00Z",
            "2014-12-31T18:00:00+01:00",
            "2014-12-31T18:00:00 01:00",
            "2014-12-31T12:00:00.000-05:00",
        ] {
            assert_eq!(utc(same), evening, "{same}");
        }
        assert_eq!(utc("31-12-2014 21:30").unwrap(), "2014-12-31T21:30:00.000Z");
        assert_eq!(utc("31-12-2014 12:00 AM").unwrap(), "2014-12-31T00:00:00.000Z");
        assert_eq!(utc("31-12-2014 12:30 PM").unwrap(), "2014-12-31T12:30:00.000Z");
    }

    #[test]
    fn the_day_comes_first() {
        assert_eq!(utc("03-04-2027 10:00").unwrap(), "2027-04-03T10:00:00.000Z");
        assert_eq!(utc("3-4-2027 10:00").unwrap(), "2027-04-03T10:00:00.000Z");
        assert_eq!(utc("12-31-2014 10:00"), None, "there is no month 31");
    }

    #[test]
    fn a_wall_time_is_one_of_its_zone_and_an_instant_is_not() {
        assert_eq!(at("31-12-2014 5:00 PM", "Asia/Kolkata").unwrap().0, "2014-12-31T11:30:00.000Z");
        assert_eq!(at("2014-12-31T17:00:00Z", "Asia/Kolkata").unwrap().0, "2014-12-31T17:00:00.000Z");
        // As callbacks: a skipped hour moves forward, of a doubled one the first is meant.
        assert_eq!(
            at("28-03-2027 1:30", "Europe/London").unwrap(),
            ("2027-03-28T01:30:00.000Z".into(), Some(Dst::Gap))
        );
        assert_eq!(
            at("31-10-2027 1:30 AM", "Europe/London").unwrap(),
            ("2027-10-31T00:30:00.000Z".into(), Some(Dst::Fold))
        );
    }

    #[test]
    fn nothing_else_is_a_start() {
        for bad in [
            "",
            "tomorrow",
            "31-12-2014",
            "17:00",
            "31-12-2014 25:00",
            "31-12-2014 0:30 PM",
            "31-12-2014 13:00 PM",
            "31-02-2014 10:00",
            "31/12/2014 10:00",
            "31-12-14 10:00",
            "2014-12-31 10:00",
            "2014-12-31T10:00:00",
            "2014-02-30T10:00:00Z",
            "31-12-2014 1٢:00",
            "31-12-2014-1 10:00",
            "31-12-2014 10:00:00:00",
            "31-12-2014 10:00 XM",
        ] {
            assert_eq!(utc(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = utc(&text);
        }

        #[test]
        fn what_the_document_writes_is_read_back(
            day in 1u8..=28, month in 1u8..=12, year in 1971i16..2100, hour in 0u8..24, minute in 0u8..60,
        ) {
            let (half, twelve) = (if hour < 12 { "AM" } else { "PM" }, if hour % 12 == 0 { 12 } else { hour % 12 });
            let wanted = Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:00.000Z"));
            prop_assert_eq!(utc(&format!("{day}-{month}-{year} {twelve}:{minute:02} {half}")), wanted.clone());
            prop_assert_eq!(utc(&format!("{day:02}-{month:02}-{year} {hour}:{minute:02}")), wanted);
        }
    }
}
