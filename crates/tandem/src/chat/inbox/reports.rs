//! Which days a report is of, and whose they are.

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use kernel::error::codes;
use kernel::{Problem, zones};
use serde_json::Value;

use super::report::{Place, Report};
use super::store::times;
use crate::chat::{Asker, ChatError, Chats, Wide};

/// Days of a report.
const MAX_DAYS: usize = 366;
/// Days of a report for which none were said, but the last one.
const DEFAULT_DAYS: i64 = 6;
/// What a day may be: every zone knows when these begin and end.
const DAYS: (Date, Date) = (date(1970, 1, 2), date(9998, 12, 30));

/// Days, and the zone in which they begin and end.
#[derive(Debug)]
pub(super) struct Span {
    from: Date,
    to: Date,
    zone: TimeZone,
    zone_name: String,
}

/// What is wrong with the days that were asked for: the parameter, and what is expected.
pub(super) type WrongSpan = (&'static str, String);

impl Span {
    /// Reads days; none = the last seven, in UTC.
    pub(super) fn read(
        from: Option<&str>,
        to: Option<&str>,
        zone: Option<&str>,
        now_ms: i64,
    ) -> Result<Self, WrongSpan> {
        let zone_name = zone.filter(|zone| !zone.is_empty()).unwrap_or("UTC");
        let known = zones::parse_zone(zone_name).ok_or_else(|| ("?zone", "a time zone: Europe/Berlin".to_owned()))?;
        let zone = known.time_zone();
        let read = |name: &'static str, text: Option<&str>| match text.filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => {
                let day = zones::parse_date(text).filter(|day| (DAYS.0..=DAYS.1).contains(day));
                day.map(Some).ok_or_else(|| (name, "a day: 2026-11-22".to_owned()))
            }
        };
        let today = Timestamp::from_millisecond(now_ms).unwrap_or_default().to_zoned(zone.clone()).date();
        let to = read("?to", to)?.unwrap_or(today);
        let from = read("?from", from)?.unwrap_or_else(|| to.saturating_sub(DEFAULT_DAYS.days()));
        let span = Self { from, to, zone, zone_name: zone_name.to_owned() };
        match span.days().len() {
            0 => Err(("?from", "a day not after the last one".to_owned())),
            days if days > MAX_DAYS => Err(("?from", format!("at most {MAX_DAYS} days"))),
            _ => Ok(span),
        }
    }

    fn days(&self) -> Vec<String> {
        let days = self.from.series(1.day()).take_while(|day| *day <= self.to);
        days.take(MAX_DAYS + 1).map(|day| day.to_string()).collect()
    }

    /// From the first moment of the first day until before that of the day after the last, UTC milliseconds.
    fn moments_ms(&self) -> (i64, i64) {
        let begin = |day: Date| {
            let moment = day.to_zoned(self.zone.clone()).map(|moment| moment.timestamp().as_millisecond());
            moment.unwrap_or_default()
        };
        (begin(self.from), begin(self.to.saturating_add(1.day())))
    }

    fn place(&self, at_ms: i64) -> Place {
        let at = Timestamp::from_millisecond(at_ms).unwrap_or_default().to_zoned(self.zone.clone());
        Place { day: at.date().to_string(), hour: usize::try_from(at.hour()).unwrap_or_default() }
    }
}

impl Chats {
    /// How chats went on these days.
    ///
    /// # Errors
    /// [`ChatError`].
    pub(super) async fn report(&self, asker: &Asker, span: &Span) -> Result<Report, ChatError> {
        self.may_everywhere(asker, Wide::SeeReports).await?;
        let (org, app) = (asker.org(), asker.app().map(|app| &**app));
        let (db, moments_ms) = (&self.kernel().db, span.moments_ms());
        let opened = times::opened(db, org, app, moments_ms).await?;
        let closed = times::closed(db, org, app, moments_ms).await?;
        let rated = times::rated(db, org, app, moments_ms).await?;
        let mut report = Report::of(&opened, &closed, &rated, &span.days(), |at_ms| span.place(at_ms));
        (report.from, report.to) = (span.from.to_string(), span.to.to_string());
        report.zone.clone_from(&span.zone_name);
        for part in &mut report.agents {
            if let Ok(person) = self.kernel().person(org, &part.person).await {
                part.name = person.name;
            }
        }
        Ok(report)
    }

    /// The same as a document, as the route answers it: for pages.
    ///
    /// # Errors
    /// 400 for days that are none, or what the desk says.
    pub(crate) async fn figures(
        &self,
        asker: &Asker,
        from: Option<&str>,
        to: Option<&str>,
        zone: &str,
    ) -> Result<Value, Problem> {
        let wrong = |(field, what): WrongSpan| Problem::new(codes::INVALID_REQUEST).and(field, "invalid", what);
        let span = Span::read(from, to, Some(zone), self.now_ms()).map_err(wrong)?;
        let report = self.report(asker, &span).await?;
        serde_json::to_value(report).map_err(Problem::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T23:30:00Z
    const LATE: i64 = 1_795_390_200_000;

    #[test]
    fn days_are_those_of_the_zone() {
        let span = Span::read(None, None, Some("Europe/Berlin"), LATE).unwrap();
        assert_eq!((span.from.to_string(), span.to.to_string()), ("2026-11-17".into(), "2026-11-23".into()));
        assert_eq!(span.days().len(), 7);
        assert_eq!(span.place(LATE), Place { day: "2026-11-23".into(), hour: 0 });
        let (from_ms, until_ms) = span.moments_ms();
        assert_eq!((until_ms - from_ms, LATE - (until_ms - 86_400_000)), (7 * 86_400_000, 30 * 60_000));
        // The clocks went back on 25 October: that day had 25 hours.
        let long = Span::read(Some("2026-10-25"), Some("2026-10-25"), Some("Europe/Berlin"), LATE).unwrap();
        let (from_ms, until_ms) = long.moments_ms();
        assert_eq!(until_ms - from_ms, 25 * 3_600_000);
    }

    #[test]
    fn days_that_are_none_are_refused() {
        let wrong =
            |from: &str, to: &str, zone: &str| Span::read(Some(from), Some(to), Some(zone), LATE).unwrap_err().0;
        assert_eq!(wrong("2026-02-30", "2026-11-22", ""), "?from");
        assert_eq!(wrong("2026-11-22", "tomorrow", "UTC"), "?to");
        assert_eq!(wrong("2026-11-23", "2026-11-22", "UTC"), "?from");
        assert_eq!(wrong("2020-01-01", "2026-11-22", "UTC"), "?from");
        assert_eq!(wrong("2026-11-22", "2026-11-22", "Mars/Base"), "?zone");
    }
}
