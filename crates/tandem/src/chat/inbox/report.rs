//! How an organisation's chats went: pure sums over rooms and ratings.
//!
//! Invariant: every figure of a report is counted from the same rows; a room counts where it was opened, a closing on the
//! day on which the room was closed, a rating on the day on which it was given.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Hours of a day.
const HOURS: usize = 24;
/// Scores that a visitor can give.
const SCORES: usize = 5;

/// What is known of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RoomTimes {
    /// When it was opened, UTC milliseconds.
    pub(super) opened_ms: i64,
    /// When its visitor first wrote.
    pub(super) asked_ms: Option<i64>,
    /// When somebody first answered.
    pub(super) answered_ms: Option<i64>,
    /// The person that did.
    pub(super) answered_by: Option<String>,
    /// When it was closed.
    pub(super) closed_ms: Option<i64>,
    /// Who had it at last.
    pub(super) assignee: Option<String>,
}

/// A rating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rated {
    pub(super) score: i64,
    pub(super) person: Option<String>,
}

/// Where a moment lies in the zone of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `YYYY-MM-DD`
    pub(super) day: String,
    /// 0 to 23.
    pub(super) hour: usize,
}

/// How long something took, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Took {
    /// How often it was measured.
    count: usize,
    /// Half of them took at most so long.
    median_s: Option<i64>,
    /// Nine of ten took at most so long.
    p90_s: Option<i64>,
}

impl Took {
    fn of(mut times_ms: Vec<i64>) -> Self {
        times_ms.sort_unstable();
        let count = times_ms.len();
        // The smallest value that so many per cent do not exceed.
        let at = |percent: usize| times_ms.get((count * percent).div_ceil(100).saturating_sub(1)).map(|ms| ms / 1_000);
        Self { count, median_s: at(50), p90_s: at(90) }
    }
}

/// What visitors said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(super) struct Csat {
    /// How many said something.
    count: i64,
    /// Of 1 to 5, with two digits behind the point.
    average: Option<f64>,
    /// How many gave 1, 2, 3, 4, 5.
    scores: [i64; SCORES],
}

impl Csat {
    fn of<'a>(ratings: impl Iterator<Item = &'a Rated>) -> Self {
        let mut scores = [0; SCORES];
        let (mut count, mut sum) = (0, 0);
        for rated in ratings {
            let place = usize::try_from(rated.score - 1).ok().and_then(|at| scores.get_mut(at));
            if let Some(place) = place {
                *place += 1;
                count += 1;
                sum += rated.score;
            }
        }
        let average = (count > 0).then(|| (sum as f64 / count as f64 * 100.0).round() / 100.0);
        Self { count, average, scores }
    }
}

/// One person's part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(super) struct AgentPart {
    /// `per_…`
    pub(super) person: String,
    /// Name for people.
    pub(super) name: String,
    /// Rooms that the person answered first.
    answered: usize,
    /// Rooms that the person had when they were closed.
    closed: usize,
    first_response: Took,
    resolution: Took,
    csat: Csat,
}

/// A day's part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(super) struct DayPart {
    /// `YYYY-MM-DD`
    day: String,
    opened: i64,
    closed: i64,
    first_response: Took,
}

/// An hour's part, of all days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(super) struct HourPart {
    /// 0 to 23.
    hour: usize,
    opened: i64,
}

/// How chats went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(super) struct Report {
    /// First day, `YYYY-MM-DD`.
    pub(super) from: String,
    /// Last day.
    pub(super) to: String,
    /// Whose days they are.
    pub(super) zone: String,
    /// Rooms that were opened and written in.
    opened: usize,
    /// Rooms that were closed.
    closed: usize,
    /// From the visitor's first message to the first answer of a person or an application.
    first_response: Took,
    /// From the opening of a room to its end.
    resolution: Took,
    csat: Csat,
    /// By how many they answered.
    pub(super) agents: Vec<AgentPart>,
    /// Every day, the first one first.
    days: Vec<DayPart>,
    /// Every hour of the day.
    hours: Vec<HourPart>,
}

fn response_ms(room: &RoomTimes) -> Option<i64> {
    Some((room.answered_ms? - room.asked_ms?).max(0))
}

fn resolution_ms(room: &RoomTimes) -> Option<i64> {
    Some((room.closed_ms? - room.opened_ms).max(0))
}

impl Report {
    /// `opened` are the rooms that were opened in the days given, `closed` those that were closed in them.
    pub(super) fn of(
        opened: &[RoomTimes],
        closed: &[RoomTimes],
        ratings: &[Rated],
        days: &[String],
        place: impl Fn(i64) -> Place,
    ) -> Self {
        // A room that nobody wrote in is a page that was looked at.
        let opened: Vec<&RoomTimes> = opened.iter().filter(|room| room.asked_ms.is_some()).collect();
        let closed: Vec<&RoomTimes> = closed.iter().filter(|room| room.asked_ms.is_some()).collect();
        Self {
            opened: opened.len(),
            closed: closed.len(),
            first_response: Took::of(opened.iter().filter_map(|room| response_ms(room)).collect()),
            resolution: Took::of(closed.iter().filter_map(|room| resolution_ms(room)).collect()),
            csat: Csat::of(ratings.iter()),
            agents: agents(&opened, &closed, ratings),
            days: by_day(&opened, &closed, days, &place),
            hours: by_hour(&opened, &place),
            ..Self::default()
        }
    }

    /// A line a day, for a table.
    pub(super) fn csv(&self) -> String {
        let shown = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
        let mut text = "day,opened,closed,answered,first_response_median_s,first_response_p90_s\r\n".to_owned();
        for DayPart { day, opened, closed, first_response } in &self.days {
            let Took { count, median_s, p90_s } = first_response;
            text += &format!("{day},{opened},{closed},{count},{},{}\r\n", shown(*median_s), shown(*p90_s));
        }
        text
    }
}

fn agents(opened: &[&RoomTimes], closed: &[&RoomTimes], ratings: &[Rated]) -> Vec<AgentPart> {
    #[derive(Default)]
    struct Own<'a> {
        answered: Vec<i64>,
        closed: Vec<i64>,
        ratings: Vec<&'a Rated>,
    }
    let mut own: BTreeMap<&str, Own<'_>> = BTreeMap::new();
    for room in opened {
        if let (Some(person), Some(took)) = (room.answered_by.as_deref(), response_ms(room)) {
            own.entry(person).or_default().answered.push(took);
        }
    }
    for room in closed {
        if let (Some(person), Some(took)) = (room.assignee.as_deref(), resolution_ms(room)) {
            own.entry(person).or_default().closed.push(took);
        }
    }
    for rated in ratings {
        if let Some(person) = rated.person.as_deref() {
            own.entry(person).or_default().ratings.push(rated);
        }
    }
    let mut parts: Vec<AgentPart> = own
        .into_iter()
        .map(|(person, own)| AgentPart {
            person: person.to_owned(),
            name: String::new(),
            answered: own.answered.len(),
            closed: own.closed.len(),
            first_response: Took::of(own.answered),
            resolution: Took::of(own.closed),
            csat: Csat::of(own.ratings.into_iter()),
        })
        .collect();
    parts.sort_by(|a, b| (b.answered, &a.person).cmp(&(a.answered, &b.person)));
    parts
}

fn by_day(
    opened: &[&RoomTimes],
    closed: &[&RoomTimes],
    days: &[String],
    place: &impl Fn(i64) -> Place,
) -> Vec<DayPart> {
    let empty = |day: &String| (day.clone(), (0, 0, Vec::new()));
    let mut sums: BTreeMap<String, (i64, i64, Vec<i64>)> = days.iter().map(empty).collect();
    for room in opened {
        let sum = sums.entry(place(room.opened_ms).day).or_default();
        sum.0 += 1;
        sum.2.extend(response_ms(room));
    }
    for at_ms in closed.iter().filter_map(|room| room.closed_ms) {
        sums.entry(place(at_ms).day).or_default().1 += 1;
    }
    let part = |(day, (opened, closed, took))| DayPart { day, opened, closed, first_response: Took::of(took) };
    sums.into_iter().map(part).collect()
}

fn by_hour(opened: &[&RoomTimes], place: &impl Fn(i64) -> Place) -> Vec<HourPart> {
    let mut hours: Vec<HourPart> = (0..HOURS).map(|hour| HourPart { hour, opened: 0 }).collect();
    for room in opened {
        if let Some(part) = hours.get_mut(place(room.opened_ms).hour) {
            part.opened += 1;
        }
    }
    hours
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn place(at_ms: i64) -> Place {
        Place { day: format!("day {}", at_ms / (24 * HOUR_MS)), hour: usize::try_from(at_ms / HOUR_MS % 24).unwrap() }
    }

    fn room(opened_ms: i64, answered_after_s: Option<i64>, closed_after_s: Option<i64>, person: &str) -> RoomTimes {
        RoomTimes {
            opened_ms,
            asked_ms: Some(opened_ms + 1_000),
            answered_ms: answered_after_s.map(|s| opened_ms + 1_000 + s * 1_000),
            answered_by: answered_after_s.map(|_| person.to_owned()),
            closed_ms: closed_after_s.map(|s| opened_ms + s * 1_000),
            assignee: Some(person.to_owned()),
        }
    }

    #[test]
    fn figures_are_counted_from_rooms_and_ratings() {
        let mut rooms: Vec<RoomTimes> = (1..=9).map(|s| room(HOUR_MS, Some(s), Some(10 * s), "ann")).collect();
        rooms.push(room(25 * HOUR_MS, Some(100), Some(7_200), "bob"));
        rooms.push(room(25 * HOUR_MS, None, None, "bob"));
        rooms.push(RoomTimes { opened_ms: HOUR_MS, ..RoomTimes::default() });
        let closed: Vec<RoomTimes> = rooms.iter().filter(|room| room.closed_ms.is_some()).cloned().collect();
        let rated = |score, person: &str| Rated { score, person: Some(person.to_owned()) };
        let ratings = [rated(5, "ann"), rated(4, "ann"), rated(1, "bob"), Rated { score: 5, person: None }];
        let days: Vec<String> = (0..3).map(|day| format!("day {day}")).collect();
        let report = Report::of(&rooms, &closed, &ratings, &days, place);
        assert_eq!((report.opened, report.closed), (11, 10));
        assert_eq!(report.first_response, Took { count: 10, median_s: Some(5), p90_s: Some(9) });
        assert_eq!(report.resolution, Took { count: 10, median_s: Some(50), p90_s: Some(90) });
        assert_eq!(report.csat, Csat { count: 4, average: Some(3.75), scores: [1, 0, 0, 1, 2] });
        let names: Vec<(&str, usize, usize)> =
            report.agents.iter().map(|part| (part.person.as_str(), part.answered, part.closed)).collect();
        assert_eq!(names, [("ann", 9, 9), ("bob", 1, 1)]);
        assert_eq!(report.agents[0].csat.average, Some(4.5));
        assert_eq!(
            report.days.iter().map(|day| (day.opened, day.closed)).collect::<Vec<_>>(),
            [(9, 9), (2, 1), (0, 0)]
        );
        assert_eq!((report.hours[1].opened, report.hours.len()), (11, 24));
        let csv = report.csv();
        assert_eq!(csv.lines().nth(1), Some("day 0,9,9,9,5,9"), "{csv}");
        assert_eq!(csv.lines().nth(3), Some("day 2,0,0,0,,"));
    }

    #[test]
    fn nothing_happened() {
        let report = Report::of(&[], &[], &[], &[], place);
        assert_eq!((report.opened, report.csat.average, report.first_response.median_s), (0, None, None));
    }
}
