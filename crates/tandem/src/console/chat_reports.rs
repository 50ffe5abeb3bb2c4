//! Reports of the support chat: how soon visitors are answered, how long rooms take, how content they were.
//!
//! Invariant: a chart shows the numbers of the tables below it, and nothing else.

use askama::Template;
use axum::extract::State as Given;
use axum::response::Response;
use kernel::http::Query;
use kernel::{Action, Problem};
use serde::Deserialize;

use super::calls::duration;
use super::door::Doors;
use super::door::Needs::May;
use super::form::{Field, Form};
use super::page::{Page, show};
use super::visitor::Visitor;
use crate::chat::{Asker, Chats};

const PATH: &str = "/console/chat/reports";
/// A chart's height and the room of one bar, in pixels of its own.
const CHART: (i64, i64) = (120, 36);
/// Bars of days that are drawn: the last ones.
const MAX_DAYS: usize = 31;

pub(super) fn doors(doors: Doors) -> Doors {
    doors.get(PATH, May(Action::ReadReports), reports)
}

#[derive(Debug, Default, Deserialize)]
struct Span {
    from: Option<String>,
    to: Option<String>,
}

/// How long something took.
#[derive(Clone, Debug, Default, Deserialize)]
struct Took {
    count: i64,
    median_s: Option<i64>,
    p90_s: Option<i64>,
}

impl Took {
    fn words(seconds: Option<i64>) -> String {
        seconds.map_or_else(|| "–".to_owned(), |seconds| duration(seconds as f64))
    }

    fn median(&self) -> String {
        Self::words(self.median_s)
    }

    fn p90(&self) -> String {
        Self::words(self.p90_s)
    }
}

/// What visitors said.
#[derive(Clone, Debug, Default, Deserialize)]
struct Csat {
    count: i64,
    average: Option<f64>,
    scores: Vec<i64>,
}

impl Csat {
    fn words(&self) -> String {
        self.average.map_or_else(|| "–".to_owned(), |average| format!("{average:.1} of 5"))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
struct AgentPart {
    name: String,
    answered: i64,
    closed: i64,
    first_response: Took,
    resolution: Took,
    csat: Csat,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct DayPart {
    day: String,
    opened: i64,
    closed: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct HourPart {
    hour: i64,
    opened: i64,
}

/// The report as `/v1/chat/reports` answers it.
#[derive(Clone, Debug, Default, Deserialize)]
struct Figures {
    from: String,
    to: String,
    zone: String,
    opened: i64,
    closed: i64,
    first_response: Took,
    resolution: Took,
    csat: Csat,
    agents: Vec<AgentPart>,
    days: Vec<DayPart>,
    hours: Vec<HourPart>,
}

/// A bar of a chart.
struct Bar {
    x: i64,
    height: i64,
    label: String,
    title: String,
}

impl Bar {
    fn top(&self) -> i64 {
        CHART.0 - self.height
    }
}

/// A chart, and the sentence that says what it shows.
struct Chart {
    id: &'static str,
    title: &'static str,
    about: &'static str,
    bars: Vec<Bar>,
}

impl Chart {
    /// A bar for each label and value; `what` stands behind the value.
    fn of(id: &'static str, title: &'static str, about: &'static str, what: &str, values: Vec<(String, i64)>) -> Self {
        let most = values.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1);
        let bar = |(x, (label, value)): (i64, (String, i64))| Bar {
            x: x * CHART.1,
            height: value * (CHART.0 - 4) / most,
            title: format!("{label}: {value} {what}"),
            label,
        };
        Self { id, title, about, bars: (0..).zip(values).map(bar).collect() }
    }

    fn width(&self) -> i64 {
        i64::try_from(self.bars.len()).unwrap_or_default() * CHART.1
    }
}

impl Figures {
    fn charts(&self) -> Vec<Chart> {
        let hours = self.hours.iter().map(|part| (format!("{:02}", part.hour), part.opened)).collect();
        let skipped = self.days.len().saturating_sub(MAX_DAYS);
        let short = |day: &str| day.get(5..).unwrap_or(day).to_owned();
        let days = self.days.iter().skip(skipped).map(|part| (short(&part.day), part.opened)).collect();
        let scores = (1..).zip(&self.csat.scores).map(|(score, count)| (format!("{score}"), *count)).collect();
        vec![
            Chart::of("hours", "Rooms by hour of the day", "A bar for each hour", "rooms", hours),
            Chart::of("days", "Rooms by day", "A bar for each day, the last ones; all stand below", "rooms", days),
            Chart::of("scores", "What visitors said, 1 to 5", "A bar for each mark", "visitors", scores),
        ]
    }
}

#[derive(Template)]
#[template(path = "console/chat_reports.html")]
struct ReportsPage {
    page: Page,
    filter: Form,
    csv: String,
    charts: Vec<Chart>,
    figures: Figures,
}

impl ReportsPage {
    fn chart_height(&self) -> i64 {
        CHART.0 + 20
    }
}

async fn reports(Given(chats): Given<Chats>, visitor: Visitor, Query(span): Query<Span>) -> Result<Response, Problem> {
    let asker = Asker::of(visitor.principal()).ok_or_else(Problem::not_found)?;
    let zone = visitor.org()?.zone.clone();
    let document = chats.figures(&asker, span.from.as_deref(), span.to.as_deref(), &zone).await?;
    let figures: Figures = serde_json::from_value(document).map_err(Problem::internal)?;
    let filter = Form::search(PATH, "Show")
        .with(Field::typed("from", "From", "date").optional().value(figures.from.clone()))
        .with(Field::typed("to", "To", "date").optional().value(figures.to.clone()));
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("from", &figures.from), ("to", &figures.to), ("zone", &figures.zone)])
        .finish();
    show(&ReportsPage {
        page: visitor.page("Chat reports", PATH),
        filter,
        csv: format!("/v1/chat/reports.csv?{query}"),
        charts: figures.charts(),
        figures,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_part_of_the_highest() {
        let values = vec![("a".to_owned(), 4), ("b".to_owned(), 2), ("c".to_owned(), 0)];
        let chart = Chart::of("x", "X", "", "rooms", values);
        assert_eq!(chart.bars.iter().map(|bar| bar.height).collect::<Vec<_>>(), [116, 58, 0]);
        assert_eq!((chart.width(), chart.bars[1].top(), chart.bars[1].title.as_str()), (108, 62, "b: 2 rooms"));
    }

    #[test]
    fn times_are_words_and_nothing_is_a_dash() {
        let took = Took { count: 1, median_s: Some(75), p90_s: None };
        assert_eq!((took.median().as_str(), took.p90().as_str()), ("1:15", "–"));
        assert_eq!(Csat::default().words(), "–");
        assert_eq!(Csat { average: Some(4.25), ..Csat::default() }.words(), "4.2 of 5");
    }
}
