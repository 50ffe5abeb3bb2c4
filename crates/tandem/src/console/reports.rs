//! Reports: calls by hour, answer rate, waiting time, talk and what it cost; as charts, as a table, as CSV.
//!
//! Invariant: a chart shows the numbers of the table below it, and nothing else.

use askama::Template;
use axum::extract::State as Given;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use calls::statistics::{self, Figures};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, civil::Date, civil::date};
use kernel::http::Query;
use kernel::{Action, Kernel, Problem};
use serde::Deserialize;

use super::calls::duration;
use super::door::Doors;
use super::door::Needs::May;
use super::form::{Field, Form};
use super::page::{Page, show};
use super::visitor::Visitor;

const PATH: &str = "/console/reports";
/// Days of a report at most.
const MAX_DAYS: i64 = 92;
/// What a day may be: every zone knows when these begin and end.
const FIRST_DAY: Date = date(1970, 1, 2);
const LAST_DAY: Date = date(9998, 12, 31);
const HOUR_MS: i64 = 3_600_000;
/// A chart's height and the room of one hour, in pixels of its own.
const CHART: (i64, i64) = (120, 36);

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, May(Action::ReadReports), show_reports).get("/console/reports/csv", May(Action::ReadReports), csv)
}

#[derive(Debug, Default, Deserialize)]
struct Span {
    from: Option<String>,
    to: Option<String>,
}

/// A day of the organisation's zone, from its first moment to that of the day after the last.
struct Period {
    from: Date,
    to: Date,
    from_ms: i64,
    until_ms: i64,
    zone: TimeZone,
}

impl Period {
    /// What was asked for, else the last seven days; never longer than [`MAX_DAYS`].
    fn of(span: &Span, zone: &str, now_ms: i64) -> Result<Self, Problem> {
        let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
        let now = Timestamp::from_millisecond(now_ms).map_err(Problem::internal)?;
        let today = now.to_zoned(zone.clone()).date();
        let read = |text: &Option<String>| {
            let day = text.as_deref().and_then(|text| text.parse::<Date>().ok());
            day.map(|day| day.clamp(FIRST_DAY, LAST_DAY))
        };
        let to = read(&span.to).unwrap_or(today);
        let from = read(&span.from).unwrap_or_else(|| to.saturating_sub(6.days())).min(to);
        let from = from.max(to.saturating_sub((MAX_DAYS - 1).days()));
        let start = |date: Date| -> Result<i64, Problem> {
            let moment = date.to_zoned(zone.clone()).map_err(Problem::internal)?;
            Ok(moment.timestamp().as_millisecond())
        };
        Ok(Self { from_ms: start(from)?, until_ms: start(to.saturating_add(1.day()))?, from, to, zone })
    }

    /// The hour of the day, in the zone, of a moment.
    fn hour_of(&self, at_ms: i64) -> i64 {
        let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
        at.to_zoned(self.zone.clone()).hour().into()
    }

    /// When the hour of the zone began in which a moment lies, in UTC milliseconds.
    fn beginning_of_hour(&self, at_ms: i64) -> i64 {
        let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
        let offset_ms = i64::from(self.zone.to_offset(at).seconds()) * 1_000;
        at_ms - (at_ms + offset_ms).rem_euclid(HOUR_MS)
    }

    /// Quarters of an hour added up to hours of the zone, the oldest first.
    fn by_hour(&self, quarters: Vec<Figures>) -> Vec<Figures> {
        let mut hours: std::collections::BTreeMap<(i64, String), Figures> = std::collections::BTreeMap::new();
        for quarter in quarters {
            let at_ms = self.beginning_of_hour(quarter.at_ms);
            let hour = hours.entry((at_ms, quarter.direction.clone())).or_default();
            *hour = Figures {
                at_ms,
                direction: quarter.direction,
                calls: hour.calls + quarter.calls,
                answered: hour.answered + quarter.answered,
                waited_ms: hour.waited_ms + quarter.waited_ms,
                talked_ms: hour.talked_ms + quarter.talked_ms,
            };
        }
        hours.into_values().collect()
    }

    fn day_of(&self, at_ms: i64) -> Date {
        Timestamp::from_millisecond(at_ms).unwrap_or_default().to_zoned(self.zone.clone()).date()
    }
}

/// Figures that were added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    calls: i64,
    answered: i64,
    waited_ms: i64,
    talked_ms: i64,
    /// Of outgoing calls.
    paid_ms: i64,
}

impl Sum {
    fn add(&mut self, more: &Figures) {
        self.calls += more.calls;
        self.answered += more.answered;
        self.waited_ms += more.waited_ms;
        self.talked_ms += more.talked_ms;
        if more.direction == "outbound" {
            self.paid_ms += more.talked_ms;
        }
    }

    /// In per cent; none without a call.
    fn answer_rate(&self) -> Option<i64> {
        (self.calls > 0).then(|| self.answered * 100 / self.calls)
    }

    /// Mean seconds from the beginning to the answer.
    fn wait_s(&self) -> Option<f64> {
        (self.answered > 0).then(|| self.waited_ms as f64 / self.answered as f64 / 1000.0)
    }

    fn talk(&self) -> String {
        duration(self.talked_ms as f64 / 1000.0)
    }

    fn rate_text(&self) -> String {
        self.answer_rate().map_or_else(|| "–".to_owned(), |rate| format!("{rate} %"))
    }

    fn wait_text(&self) -> String {
        self.wait_s().map_or_else(|| "–".to_owned(), |wait| format!("{wait:.1} s"))
    }

    /// What outgoing talk cost, at so much a minute.
    fn cost(&self, tariff: Option<&(f64, String)>) -> Option<String> {
        tariff.map(|(price, currency)| format!("{:.2} {currency}", self.paid_ms as f64 / 60_000.0 * price))
    }
}

/// `0.012 EUR`
fn tariff(text: &str) -> Option<(f64, String)> {
    let (price, currency) = text.split_once(' ')?;
    Some((price.parse().ok()?, currency.to_owned()))
}

/// A bar of a chart.
struct Bar {
    x: i64,
    /// Height of all calls, and of those that were answered.
    all: i64,
    answered: i64,
    label: String,
    title: String,
}

impl Bar {
    fn top(&self) -> i64 {
        CHART.0 - self.all
    }

    fn answered_top(&self) -> i64 {
        CHART.0 - self.answered
    }
}

fn bars(hours: &[Sum; 24]) -> Vec<Bar> {
    let most = hours.iter().map(|sum| sum.calls).max().unwrap_or(0).max(1);
    let bar = |(hour, sum): (i64, &Sum)| Bar {
        x: hour * CHART.1,
        all: sum.calls * (CHART.0 - 4) / most,
        answered: sum.answered * (CHART.0 - 4) / most,
        label: format!("{hour:02}"),
        title: format!("{hour:02}:00: {} calls, {} answered", sum.calls, sum.answered),
    };
    (0..).zip(hours).map(bar).collect()
}

#[derive(Template)]
#[template(path = "console/reports.html")]
struct ReportsPage {
    page: Page,
    filter: Form,
    csv: String,
    total: Sum,
    cost: Option<String>,
    bars: Vec<Bar>,
    /// Day, its figures, its cost; the newest first.
    days: Vec<(String, Sum, Option<String>)>,
    zone: String,
}

impl ReportsPage {
    fn chart_size(&self) -> (i64, i64) {
        (24 * CHART.1, CHART.0 + 20)
    }
}

async fn show_reports(
    Given(kernel): Given<Kernel>,
    visitor: Visitor,
    Query(span): Query<Span>,
) -> Result<Response, Problem> {
    let org = visitor.org()?;
    let period = Period::of(&span, &org.zone, kernel.clock.now_ms())?;
    let figures = statistics::by_quarter(&kernel.db, &org.id, period.from_ms, period.until_ms).await;
    let figures = figures.map_err(Problem::internal)?;
    let tariff = org.settings.tariff.as_deref().and_then(tariff);
    let mut total = Sum::default();
    let mut by_hour = [Sum::default(); 24];
    let mut by_day: std::collections::BTreeMap<Date, Sum> = std::collections::BTreeMap::new();
    for quarter in &figures {
        total.add(quarter);
        by_day.entry(period.day_of(quarter.at_ms)).or_default().add(quarter);
        if let Some(sum) = usize::try_from(period.hour_of(quarter.at_ms)).ok().and_then(|hour| by_hour.get_mut(hour)) {
            sum.add(quarter);
        }
    }
    let (from, to) = (period.from.to_string(), period.to.to_string());
    let filter = Form::search(PATH, "Show")
        .with(Field::typed("from", "From", "date").optional().value(from.clone()))
        .with(Field::typed("to", "To", "date").optional().value(to.clone()));
    show(&ReportsPage {
        page: visitor.page("Reports", PATH),
        filter,
        csv: format!("{PATH}/csv?from={from}&to={to}"),
        cost: total.cost(tariff.as_ref()),
        total,
        bars: bars(&by_hour),
        days: by_day.into_iter().rev().map(|(day, sum)| (day.to_string(), sum, sum.cost(tariff.as_ref()))).collect(),
        zone: org.zone.clone(),
    })
}

/// The same by hour of the zone, for a spreadsheet: when each began in UTC, durations in seconds.
async fn csv(Given(kernel): Given<Kernel>, visitor: Visitor, Query(span): Query<Span>) -> Result<Response, Problem> {
    let org = visitor.org()?;
    let period = Period::of(&span, &org.zone, kernel.clock.now_ms())?;
    let figures = statistics::by_quarter(&kernel.db, &org.id, period.from_ms, period.until_ms).await;
    let hours = period.by_hour(figures.map_err(Problem::internal)?);
    let name = format!("attachment; filename=\"calls-{}-{}.csv\"", period.from, period.to);
    let headers = [(CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, name)];
    Ok((headers, csv_text(&hours)).into_response())
}

fn csv_text(figures: &[Figures]) -> String {
    let mut text = "hour_utc,direction,calls,answered,waited_s,talked_s\r\n".to_owned();
    for hour in figures {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        text += &format!(
            "{},{},{},{},{:.1},{:.1}\r\n",
            kernel::time::rfc3339(hour.at_ms),
            hour.direction,
            hour.calls,
            hour.answered,
            seconds(hour.waited_ms),
            seconds(hour.talked_ms),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(direction: &str, calls: i64, answered: i64) -> Figures {
        let (waited_ms, talked_ms) = (answered * 5_000, answered * 60_000);
        Figures { at_ms: 1_795_219_200_000, direction: direction.to_owned(), calls, answered, waited_ms, talked_ms }
    }

    #[test]
    fn sums_are_rates_means_and_costs() {
        let mut sum = Sum::default();
        assert_eq!((sum.rate_text().as_str(), sum.wait_text().as_str()), ("–", "–"));
        sum.add(&hour("inbound", 3, 1));
        sum.add(&hour("outbound", 1, 1));
        assert_eq!((sum.rate_text().as_str(), sum.wait_text().as_str()), ("50 %", "5.0 s"));
        assert_eq!((sum.talk().as_str(), sum.cost(tariff("0.25 EUR").as_ref())), ("2:00", Some("0.25 EUR".to_owned())));
        assert_eq!(sum.cost(None), None);
    }

    #[test]
    fn a_period_is_whole_days_of_the_zone_and_has_an_end() {
        let span = |from: &str, to: &str| Span { from: Some(from.to_owned()), to: Some(to.to_owned()) };
        // London goes to summer time: that day has 23 hours.
        let day = Period::of(&span("2027-03-28", "2027-03-28"), "Europe/London", 0).unwrap();
        assert_eq!(day.until_ms - day.from_ms, 23 * 3_600_000);
        let long = Period::of(&span("2000-01-01", "2027-03-28"), "UTC", 0).unwrap();
        assert_eq!(long.until_ms - long.from_ms, MAX_DAYS * 86_400_000);
        let turned = Period::of(&span("2027-03-28", "2027-03-01"), "UTC", 0).unwrap();
        assert_eq!(turned.from, turned.to);
        let unsaid = Period::of(&Span::default(), "UTC", 1_795_219_200_000).unwrap();
        assert_eq!((unsaid.from.to_string(), unsaid.to.to_string()), ("2026-11-15".into(), "2026-11-21".into()));
    }

    #[test]
    fn the_ends_of_the_calendar_are_days_too() {
        let span = |from: &str, to: &str| Span { from: Some(from.to_owned()), to: Some(to.to_owned()) };
        for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"] {
            for (from, to) in [("9999-12-31", "9999-12-31"), ("-009999-01-01", "-009999-01-01"), ("", "9999-12-31")] {
                let period = Period::of(&span(from, to), zone, 1_795_219_200_000).unwrap();
                assert!(period.from_ms < period.until_ms, "{zone} {from} {to}");
            }
        }
    }

    #[test]
    fn an_hour_is_one_of_the_zone() {
        let span = Span { from: Some("2026-11-21".to_owned()), to: Some("2026-11-21".to_owned()) };
        // Midnight UTC is 5:30 in India: 5:45 and 6:00 are two hours there, 6:00 and 6:45 one.
        let at = |minutes: i64| Figures { at_ms: 1_795_219_200_000 + minutes * 60_000, ..hour("inbound", 2, 1) };
        let quarters = vec![at(15), at(30), at(75)];
        let india = Period::of(&span, "Asia/Kolkata", 0).unwrap();
        assert_eq!([15, 30, 75].map(|minutes| india.hour_of(at(minutes).at_ms)), [5, 6, 6]);
        let hours = india.by_hour(quarters.clone());
        let counts = |hours: &[Figures]| {
            let text = csv_text(hours);
            text.lines().skip(1).map(|line| line.get(11..36).unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(counts(&hours), ["23:30:00.000Z,inbound,2,1", "00:30:00.000Z,inbound,4,2"]);
        let utc = Period::of(&span, "UTC", 0).unwrap().by_hour(quarters);
        assert_eq!(counts(&utc), ["00:00:00.000Z,inbound,4,2", "01:00:00.000Z,inbound,2,1"]);
    }

    #[test]
    fn csv_has_a_line_an_hour() {
        let text = csv_text(&[hour("inbound", 3, 1)]);
        assert_eq!(text.lines().nth(1), Some("2026-11-21T00:00:00.000Z,inbound,3,1,5.0,60.0"));
    }
}
