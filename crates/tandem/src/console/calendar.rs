//! The calendar of meetings: a month or a week, a day beside the other, as a table that is read like any table.
//!
//! Invariant: a meeting stands on the day on which it begins in the organisation's zone.

use std::borrow::Borrow;

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use kernel::http::Query;
use kernel::{Kernel, Problem};
use serde::Deserialize;

use super::meetings::{self, PATH, Shown};
use super::page::{Page, show};
use super::visitor::Visitor;
use crate::meetings::{MeetingFilter, Meetings};

pub(super) const CALENDAR: &str = "/console/meetings/calendar";
/// Meetings of one page at most.
const MAX_SHOWN: usize = 2_000;
/// Meetings that a day of a month shows; the rest stands in its week.
const MAX_OF_A_DAY: usize = 4;
/// What a day may be: every zone knows when these begin and end, and those around them.
pub(super) const FIRST_DAY: Date = date(1970, 3, 1);
pub(super) const LAST_DAY: Date = date(9998, 10, 31);

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Month,
    Week,
}

/// The days of a page: whole weeks, from Monday.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    view: View,
    /// The day that was asked for.
    day: Date,
    first: Date,
    weeks: usize,
}

impl Span {
    fn of(view: View, day: Date) -> Self {
        let day = day.clamp(FIRST_DAY, LAST_DAY);
        match view {
            View::Week => Self { view, day, first: monday(day), weeks: 1 },
            View::Month => {
                let (first, last) = (monday(day.first_of_month()), day.last_of_month());
                let days = usize::try_from((last - first).get_days()).unwrap_or_default();
                Self { view, day, first, weeks: days / 7 + 1 }
            }
        }
    }

    fn days(&self) -> impl Iterator<Item = Date> {
        self.first.series(1.day()).take(7 * self.weeks)
    }

    /// The day after the last.
    fn end(&self) -> Date {
        self.days().last().unwrap_or(self.first).saturating_add(1.day())
    }

    fn before(&self) -> Date {
        self.day.saturating_sub(if self.view == View::Week { 1.week() } else { 1.month() })
    }

    fn after(&self) -> Date {
        self.day.saturating_add(if self.view == View::Week { 1.week() } else { 1.month() })
    }

    fn title(&self) -> String {
        match self.view {
            View::Month => self.day.strftime("%B %Y").to_string(),
            View::Week => {
                let last = self.end().saturating_sub(1.day());
                format!("{} to {}", self.first.strftime("%-d %B"), last.strftime("%-d %B %Y"))
            }
        }
    }
}

fn monday(day: Date) -> Date {
    day.saturating_sub(i32::from(day.weekday().to_monday_zero_offset()).days())
}

/// When a day begins in a zone, in UTC milliseconds.
pub(super) fn beginning(day: Date, zone: &TimeZone) -> i64 {
    day.to_zoned(zone.clone()).map_or(0, |at| at.timestamp().as_millisecond())
}

/// The day of the organisation's zone on which a moment lies.
pub(super) fn day_of(at_ms: i64, zone: &TimeZone) -> Date {
    Timestamp::from_millisecond(at_ms).unwrap_or_default().to_zoned(zone.clone()).date()
}

/// A meeting in its day.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    path: String,
    /// In the organisation's zone.
    time: String,
    parties: String,
    word: &'static str,
    colour: &'static str,
}

/// A day.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Day {
    date: Date,
    is_today: bool,
    /// Of a month, whether it is another one's.
    is_outside: bool,
    items: Vec<Item>,
    /// Meetings that are not shown.
    hidden: usize,
}

impl Day {
    fn number(&self) -> String {
        self.date.strftime("%-d").to_string()
    }

    /// For who does not see the column.
    fn name(&self) -> String {
        self.date.strftime("%a %-d %b").to_string()
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct CalendarQuery {
    view: Option<String>,
    day: Option<String>,
}

#[derive(Template)]
#[template(path = "console/calendar.html")]
struct CalendarPage {
    page: Page,
    span: Span,
    weeks: Vec<Vec<Day>>,
    zone: String,
    /// Whether there are more meetings than are shown.
    is_cut: bool,
    has_any: bool,
    may_make: bool,
    today: Date,
}

impl CalendarPage {
    fn path(&self, view: &str, day: impl Borrow<Date>) -> String {
        format!("{CALENDAR}?view={view}&day={}", day.borrow())
    }

    fn view(&self) -> &'static str {
        match self.span.view {
            View::Month => "month",
            View::Week => "week",
        }
    }

    fn is_month(&self) -> bool {
        self.span.view == View::Month
    }
}

/// The days with what happens on each.
fn weeks(span: &Span, today: Date, zone: &TimeZone, shown: &[Shown]) -> Vec<Vec<Day>> {
    let most = if span.view == View::Month { MAX_OF_A_DAY } else { MAX_SHOWN };
    let day = |date: Date| {
        let of_day: Vec<&Shown> = shown.iter().filter(|one| day_of(one.starts_ms, zone) == date).collect();
        let item = |one: &&Shown| Item {
            path: one.path.clone(),
            time: Timestamp::from_millisecond(one.starts_ms)
                .unwrap_or_default()
                .to_zoned(zone.clone())
                .strftime("%H:%M")
                .to_string(),
            parties: one.parties.clone(),
            word: one.word,
            colour: one.colour,
        };
        Day {
            date,
            is_today: date == today,
            is_outside: span.view == View::Month && date.month() != span.day.month(),
            items: of_day.iter().take(most).map(item).collect(),
            hidden: of_day.len().saturating_sub(most),
        }
    };
    let days: Vec<Day> = span.days().map(day).collect();
    days.chunks(7).map(<[Day]>::to_vec).collect()
}

pub(super) async fn show_calendar(
    Given(kernel): Given<Kernel>,
    Given(desk): Given<Meetings>,
    visitor: Visitor,
    Query(query): Query<CalendarQuery>,
) -> Result<Response, Problem> {
    let zone_name = visitor.org()?.zone.clone();
    let zone = TimeZone::get(&zone_name).unwrap_or(TimeZone::UTC);
    let today = day_of(kernel.clock.now_ms(), &zone);
    let view = if query.view.as_deref() == Some("week") { View::Week } else { View::Month };
    let day = query.day.as_deref().and_then(|text| text.parse().ok()).unwrap_or(today);
    let span = Span::of(view, day);
    let filter = MeetingFilter {
        from_ms: Some(beginning(span.first, &zone)),
        to_ms: Some(beginning(span.end(), &zone)),
        ..MeetingFilter::default()
    };
    let (found, is_cut) = meetings::all(&desk, visitor.org_id(), filter, MAX_SHOWN).await?;
    let mut shown: Vec<Shown> = found.iter().map(Shown::of).collect();
    shown.sort_by_key(|one| one.starts_ms);
    show(&CalendarPage {
        page: visitor.page(span.title(), PATH),
        weeks: weeks(&span, today, &zone, &shown),
        has_any: !shown.is_empty(),
        may_make: visitor.may(kernel::Action::ManageMeetings),
        zone: zone_name,
        span,
        is_cut,
        today,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dates(view: View, day: Date) -> (String, String, usize) {
        let span = Span::of(view, day);
        (span.first.to_string(), span.end().to_string(), span.weeks)
    }

    #[test]
    fn a_page_has_whole_weeks_from_monday() {
        let owned = |first: &str, end: &str, weeks| (first.to_owned(), end.to_owned(), weeks);
        // 1 November 2026 is a Sunday, 1 February 2027 a Monday and the month four weeks long.
        assert_eq!(dates(View::Month, date(2026, 11, 22)), owned("2026-10-26", "2026-12-07", 6));
        assert_eq!(dates(View::Month, date(2027, 2, 28)), owned("2027-02-01", "2027-03-01", 4));
        assert_eq!(dates(View::Week, date(2026, 11, 22)), owned("2026-11-16", "2026-11-23", 1));
        assert_eq!(Span::of(View::Week, date(2026, 12, 30)).title(), "28 December to 3 January 2027");
    }

    #[test]
    fn a_month_after_the_31st_is_the_next_month() {
        let span = Span::of(View::Month, date(2026, 10, 31));
        assert_eq!((span.after(), span.before()), (date(2026, 11, 30), date(2026, 9, 30)));
        for far in [date(-9999, 1, 1), date(9999, 12, 31)] {
            let span = Span::of(View::Month, far);
            assert!(span.days().count() >= 28 && beginning(span.first, &TimeZone::UTC) > 0, "{span:?}");
        }
    }

    fn shown(starts: &str, parties: &str) -> Shown {
        Shown {
            path: String::new(),
            starts_ms: starts.parse::<Timestamp>().unwrap().as_millisecond(),
            parties: parties.to_owned(),
            word: "scheduled",
            colour: "plain",
        }
    }

    #[test]
    fn a_meeting_stands_on_its_day_in_the_zone() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let late = shown("2026-11-23T02:30:00Z", "Ann and Ben");
        let days = weeks(&Span::of(View::Week, date(2026, 11, 22)), date(2026, 11, 22), &zone, &[late]).concat();
        let sunday = days.last().unwrap();
        assert_eq!((sunday.items.len(), sunday.items[0].time.as_str(), sunday.is_today), (1, "21:30", true));
        assert!(days[..6].iter().all(|day| day.items.is_empty()));
    }

    #[test]
    fn a_full_day_of_a_month_says_what_it_does_not_show() {
        let many: Vec<Shown> = (0..7).map(|hour| shown(&format!("2026-11-05T0{hour}:00:00Z"), "A and B")).collect();
        let month = weeks(&Span::of(View::Month, date(2026, 11, 1)), date(2026, 11, 1), &TimeZone::UTC, &many).concat();
        let full = month.iter().find(|day| day.date == date(2026, 11, 5)).unwrap();
        assert_eq!((full.items.len(), full.hidden, full.is_outside), (MAX_OF_A_DAY, 3, false));
        assert!(month[0].is_outside);
    }
}
