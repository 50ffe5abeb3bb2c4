//! A wall time in a zone as an instant, for callbacks and meetings (contracts/flows.md "callback", T7).
//! Invariant: a gap shifts forward by its own length, a fold means its first occurrence; no other reading exists.

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, Offset, TimeZone},
};

/// Abbreviations taken as fixed offsets, in hours; all others are refused, for they mean several places (`IST`).
const FIXED: [(&str, i8); 3] = [("EST", -5), ("MST", -7), ("HST", -10)];
/// Files of a zone database that are no zones of a place.
const NOT_PLACES: [&str; 6] = ["localtime", "posixrules", "factory", "leapseconds", "local", "unknown"];

/// A zone by name.
#[derive(Debug, Clone)]
pub struct Zone {
    zone: TimeZone,
    /// Whether it is an abbreviation that we take as a fixed offset (warning `fixed_offset_zone`).
    pub fixed_offset: bool,
}

impl Zone {
    /// Its rules.
    #[must_use]
    pub fn time_zone(self) -> TimeZone {
        self.zone
    }
}

/// What daylight saving did to a wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dst {
    /// The clocks skipped it; it was moved forward.
    Gap,
    /// It exists twice; the first one is meant.
    Fold,
}

impl Dst {
    /// As the event `callback.scheduled` carries it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Fold => "fold",
        }
    }
}

/// An instant with what led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// UTC, milliseconds.
    pub at_ms: i64,
    /// The offset in force then, in seconds east of Greenwich.
    pub offset_s: i32,
    /// Whether daylight saving moved or doubled the wall time.
    pub dst: Option<Dst>,
}

/// `YYYY-MM-DD`, a day of the calendar.
#[must_use]
pub fn parse_date(text: &str) -> Option<Date> {
    let [year, month, day] = split_digits(text, '-', [4, 2, 2])?;
    Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()
}

/// `HH:MM` or `HH:MM:SS`, 00:00:00 to 23:59:59.
#[must_use]
pub fn parse_time(text: &str) -> Option<Time> {
    let [hour, minute, second] = split_digits(text, ':', [2, 2, 2]).or_else(|| {
        let [hour, minute] = split_digits(text, ':', [2, 2])?;
        Some([hour, minute, 0])
    })?;
    Time::new(hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?, 0).ok()
}

/// An IANA name in any case, or one of three North American abbreviations.
#[must_use]
pub fn parse_zone(name: &str) -> Option<Zone> {
    if let Some((_, hours)) = FIXED.iter().find(|(fixed, _)| fixed.eq_ignore_ascii_case(name)) {
        return Some(Zone { zone: Offset::constant(*hours).to_time_zone(), fixed_offset: true });
    }
    let lower = name.to_ascii_lowercase();
    if NOT_PLACES.contains(&lower.as_str()) || lower.starts_with("posix/") || lower.starts_with("right/") {
        return None;
    }
    TimeZone::get(name).ok().map(|zone| Zone { zone, fixed_offset: false })
}

/// The instant of a wall time in a zone; none when it lies outside the calendar that computers keep.
#[must_use]
pub fn due(date: Date, time: Time, zone: &Zone) -> Option<Due> {
    let ambiguous = zone.zone.to_ambiguous_timestamp(DateTime::from_parts(date, time));
    let dst = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => None,
        AmbiguousOffset::Gap { .. } => Some(Dst::Gap),
        AmbiguousOffset::Fold { .. } => Some(Dst::Fold),
    };
    let instant = ambiguous.compatible().ok()?;
    Some(Due { at_ms: instant.as_millisecond(), offset_s: zone.zone.to_offset(instant).seconds(), dst })
}

/// An instant as the clocks of a zone show it, `2026-11-22 09:10`; `None` for one that no calendar has.
#[must_use]
pub fn minute_text(at_ms: i64, zone: &Zone) -> Option<String> {
    let at = Timestamp::from_millisecond(at_ms).ok()?.to_zoned(zone.zone.clone());
    Some(at.strftime("%Y-%m-%d %H:%M").to_string())
}

/// Minutes since midnight of an instant's wall clock in a zone, for quiet hours.
#[must_use]
pub fn minute_of_day(at_ms: i64, zone: &Zone) -> Option<u32> {
    let local = Timestamp::from_millisecond(at_ms).ok()?.to_zoned(zone.zone.clone());
    u32::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).ok()
}

/// Reads digits of exactly these widths, parted by one character.
fn split_digits<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i16; N]> {
    let mut out = [0; N];
    let mut pieces = text.split(separator);
    for (value, width) in out.iter_mut().zip(widths) {
        let piece = pieces.next().filter(|p| p.len() == width && p.bytes().all(|b| b.is_ascii_digit()))?;
        *value = piece.parse().ok()?;
    }
    pieces.next().is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UTC instant in RFC 3339, the local offset in minutes, and what daylight saving did.
    fn at(date: &str, time: &str, zone: &str) -> (String, i32, Option<Dst>) {
        let due = due(parse_date(date).unwrap(), parse_time(time).unwrap(), &parse_zone(zone).unwrap()).unwrap();
        (Timestamp::from_millisecond(due.at_ms).unwrap().to_string(), due.offset_s / 60, due.dst)
    }

    #[test]
    fn t7_gaps_shift_forward_and_folds_are_the_first() {
        // 01:30 does not exist; 02:30+01:00 is 01:30Z.
        assert_eq!(at("2027-03-28", "01:30", "Europe/London"), ("2027-03-28T01:30:00Z".into(), 60, Some(Dst::Gap)));
        // 01:30 exists twice; the first is +01:00.
        assert_eq!(at("2027-10-31", "01:30", "Europe/London"), ("2027-10-31T00:30:00Z".into(), 60, Some(Dst::Fold)));
        // 02:30 does not exist; 03:30-04:00 is 07:30Z.
        assert_eq!(
            at("2027-03-14", "02:30", "America/New_York"),
            ("2027-03-14T07:30:00Z".into(), -240, Some(Dst::Gap))
        );
        // Lord Howe moves by 30 minutes: 02:00-02:30 does not exist on 2027-10-03; 02:15 becomes 02:45+11:00.
        assert_eq!(
            at("2027-10-03", "02:15", "Australia/Lord_Howe"),
            ("2027-10-02T15:45:00Z".into(), 660, Some(Dst::Gap))
        );
        assert_eq!(at("2027-10-03", "02:45", "Australia/Lord_Howe"), ("2027-10-02T15:45:00Z".into(), 660, None));
    }

    #[test]
    fn t7_ambiguous_and_made_up_zones_are_refused() {
        for bad in [
            "IST",
            "GMT+2",
            "CST",
            "UTC+5",
            "+05:30",
            "",
            "localtime",
            "posix/UTC",
            "Europe",
            "../etc/passwd",
            "EST5EDT,M3.2.0,M11.1.0",
            "PST",
        ] {
            assert!(parse_zone(bad).is_none(), "{bad}");
        }
        for good in ["UTC", "utc", "europe/LONDON", "Asia/Kolkata", "Asia/Calcutta", "Etc/GMT+2", "GMT"] {
            assert!(!parse_zone(good).unwrap().fixed_offset, "{good}");
        }
    }

    #[test]
    fn t7_est_is_a_fixed_offset() {
        assert!(parse_zone("est").unwrap().fixed_offset);
        assert_eq!(at("2027-07-01", "12:00", "EST"), ("2027-07-01T17:00:00Z".into(), -300, None));
        assert_eq!(at("2027-07-01", "12:00", "America/New_York"), ("2027-07-01T16:00:00Z".into(), -240, None));
    }

    #[test]
    fn t7_dates_and_times_are_strict() {
        for good in ["20:48", "20:48:00", "00:00:00", "23:59:59"] {
            assert!(parse_time(good).is_some(), "{good}");
        }
        for bad in [
            "24:00:00",
            "24:00",
            "23:60",
            "23:59:60",
            "8:30",
            "20:48:00.5",
            "20",
            "2048",
            "20:48:",
            "-1:00",
            "20:48Z",
            "２0:48",
        ] {
            assert!(parse_time(bad).is_none(), "{bad}");
        }
        for bad in [
            "2027-13-01",
            "2027-02-29",
            "2027-1-1",
            "27-01-01",
            "2027/01/01",
            "2027-00-10",
            "2027-01-32",
            "20270101",
            "2027-01-01T",
        ] {
            assert!(parse_date(bad).is_none(), "{bad}");
        }
        assert!(parse_date("2028-02-29").is_some());
        assert!(parse_date("2018-10-11").is_some());
    }

    #[test]
    fn quiet_hours_read_the_wall_clock() {
        let noon = Timestamp::UNIX_EPOCH.as_millisecond() + 12 * 3_600_000;
        assert_eq!(minute_of_day(noon, &parse_zone("UTC").unwrap()), Some(720));
        assert_eq!(minute_of_day(noon, &parse_zone("Asia/Kolkata").unwrap()), Some(720 + 330));
    }
}
