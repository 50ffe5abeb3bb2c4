//! What to do with a callback when its job fires: pure rules over its row, the organisation's settings and the time
//! (contracts/flows.md "callback"). Invariant: a callback that was joined is never dialled again, one that was not is
//! dialled until it is joined or missed.

use kernel::zones::{self, Zone};

use super::steps::callback::{RETRY_MINUTES, when};

/// A server that was down dials a callback that is at most so late, in milliseconds.
pub const MAX_LATE_MS: i64 = 15 * 60_000;
const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: u32 = 24 * 60;

/// How far a callback is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for its time.
    Scheduled,
    /// The first party rings.
    Calling,
    /// The second party rings.
    Connecting,
    /// They talk.
    Connected,
    /// Over; they talked, or the second party did not answer.
    Completed,
    /// Over; nobody was rung, or the first party never answered.
    Missed,
}

impl State {
    const ALL: [Self; 6] =
        [Self::Scheduled, Self::Calling, Self::Connecting, Self::Connected, Self::Completed, Self::Missed];

    /// As its row says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Calling => "calling",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Completed => "completed",
            Self::Missed => "missed",
        }
    }

    /// Reads what [`State::as_str`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What the rules need of a callback's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// How far it is.
    pub state: State,
    /// Date, time and zone as the author wrote them.
    pub wall: (String, String, String),
    /// When it is due, in UTC milliseconds.
    pub due_ms: i64,
    /// Whether `due_ms` is no longer the wall time's: a retry, quiet hours, or "as soon as possible".
    pub moved: bool,
    /// Attempts so far.
    pub attempt: i64,
    /// Attempts in all.
    pub attempts: i64,
    /// The customer's number.
    pub customer: String,
}

/// What the rules need of the organisation.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Numbers never to be rung, E.164.
    pub do_not_call: Vec<String>,
    /// Minutes of the day from and to when callbacks wait, and the zone of that clock.
    pub quiet: Option<(u32, u32, Zone)>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Ring the first party now.
    Dial,
    /// Look again then. `moved` says that the time is not the wall time's any more.
    Wait {
        /// UTC, milliseconds.
        until_ms: i64,
        /// Whether the row shall remember this time as its own.
        moved: bool,
    },
    /// Event callback.missed with this reason.
    Miss(&'static str),
    /// Event callback.completed: the server was restarted while they talked.
    Interrupted,
    /// It is over already.
    Over,
}

/// Judges a callback whose job has fired and that nobody is carrying out.
#[must_use]
pub fn judge(facts: &Facts, rules: &Rules, now_ms: i64) -> Verdict {
    match facts.state {
        State::Completed | State::Missed => return Verdict::Over,
        State::Connected => return Verdict::Interrupted,
        State::Scheduled | State::Calling | State::Connecting => {}
    }
    let due_ms = recomputed(facts);
    if due_ms > now_ms {
        return Verdict::Wait { until_ms: due_ms, moved: facts.moved };
    }
    // Zone data may have moved the wall time to before the instant that the job waits for: it is late from then on.
    if now_ms - due_ms.max(facts.due_ms) > MAX_LATE_MS {
        return Verdict::Miss("late");
    }
    if rules.do_not_call.iter().any(|number| same_number(number, &facts.customer)) {
        return Verdict::Miss("do_not_call");
    }
    match quiet_until(rules, now_ms) {
        Some(until_ms) => Verdict::Wait { until_ms, moved: true },
        None => Verdict::Dial,
    }
}

/// The number of the attempt that is made now. One that a restart interrupted is made again.
#[must_use]
pub fn this_attempt(state: State, attempt: i64) -> i64 {
    match state {
        State::Calling | State::Connecting => attempt.max(1),
        State::Scheduled | State::Connected | State::Completed | State::Missed => attempt + 1,
    }
}

/// The wall time by today's zone data: it may have changed since the callback was booked.
#[must_use]
pub fn recomputed(facts: &Facts) -> i64 {
    if facts.moved {
        return facts.due_ms;
    }
    let (date, time, zone) = &facts.wall;
    when(date, time, zone).map_or(facts.due_ms, |due| due.at_ms)
}

/// When the next attempt is due after one that the first party did not answer; none = it was the last.
#[must_use]
pub fn retry_ms(attempt: i64, attempts: i64, now_ms: i64) -> Option<i64> {
    if attempt >= attempts {
        return None;
    }
    let minutes = usize::try_from(attempt - 1).ok().and_then(|index| RETRY_MINUTES.get(index))?;
    Some(now_ms + minutes * MINUTE_MS)
}

/// The end of the quiet hours that an instant lies in.
fn quiet_until(rules: &Rules, now_ms: i64) -> Option<i64> {
    let (from, to, zone) = rules.quiet.as_ref()?;
    let minute = zones::minute_of_day(now_ms, zone)?;
    let quiet = if from <= to { (*from..*to).contains(&minute) } else { minute >= *from || minute < *to };
    if !quiet {
        return None;
    }
    let left = (to + DAY_MINUTES - minute) % DAY_MINUTES;
    // To the beginning of that minute; over a change of clocks it is judged again when that comes.
    Some(now_ms - now_ms.rem_euclid(MINUTE_MS) + i64::from(left) * MINUTE_MS)
}

fn same_number(listed: &str, dialled: &str) -> bool {
    listed.trim_start_matches('+') == dialled.trim_start_matches('+')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2027-03-28T01:30:00Z
    const DUE: i64 = 1_806_197_400_000;

    fn facts() -> Facts {
        Facts {
            state: State::Scheduled,
            wall: ("2027-03-28".into(), "01:30".into(), "UTC".into()),
            due_ms: DUE,
            moved: false,
            attempt: 0,
            attempts: 3,
            customer: "+917507161643".into(),
        }
    }

    fn quiet(from: u32, to: u32, zone: &str) -> Rules {
        Rules { quiet: Some((from, to, zones::parse_zone(zone).unwrap())), ..Rules::default() }
    }

    #[test]
    fn a_callback_is_dialled_at_its_time_and_at_most_15_minutes_late() {
        let none = Rules::default();
        assert_eq!(judge(&facts(), &none, DUE - 1), Verdict::Wait { until_ms: DUE, moved: false });
        assert_eq!(judge(&facts(), &none, DUE), Verdict::Dial);
        assert_eq!(judge(&facts(), &none, DUE + MAX_LATE_MS), Verdict::Dial);
        assert_eq!(judge(&facts(), &none, DUE + MAX_LATE_MS + 1), Verdict::Miss("late"));
    }

    #[test]
    fn the_wall_time_counts_not_the_instant_that_was_computed_once() {
        let zone_data_changed = Facts { due_ms: DUE - 3_600_000, ..facts() };
        assert_eq!(
            judge(&zone_data_changed, &Rules::default(), DUE - 3_600_000),
            Verdict::Wait { until_ms: DUE, moved: false }
        );
        let an_hour_earlier = Facts { due_ms: DUE + 3_600_000, ..facts() };
        assert_eq!(
            judge(&an_hour_earlier, &Rules::default(), DUE + 3_600_000),
            Verdict::Dial,
            "it could not be sooner"
        );
        assert_eq!(judge(&an_hour_earlier, &Rules::default(), DUE + 2 * 3_600_000), Verdict::Miss("late"));
        let retry = Facts { due_ms: DUE + 120_000, moved: true, ..facts() };
        assert_eq!(judge(&retry, &Rules::default(), DUE), Verdict::Wait { until_ms: DUE + 120_000, moved: true });
    }

    #[test]
    fn what_a_crash_interrupted_is_dialled_again_unless_they_talked() {
        let at = |state| judge(&Facts { state, ..facts() }, &Rules::default(), DUE + 20_000);
        assert_eq!(at(State::Calling), Verdict::Dial);
        assert_eq!(at(State::Connecting), Verdict::Dial);
        assert_eq!(at(State::Connected), Verdict::Interrupted);
        assert_eq!(at(State::Completed), Verdict::Over);
        assert_eq!(at(State::Missed), Verdict::Over);
    }

    #[test]
    fn numbers_on_the_list_are_never_rung() {
        let rules = Rules { do_not_call: vec!["917507161643".into()], ..Rules::default() };
        assert_eq!(judge(&facts(), &rules, DUE), Verdict::Miss("do_not_call"));
    }

    #[test]
    fn quiet_hours_move_a_callback_to_their_end() {
        // 01:30 UTC is 07:00 in Kolkata.
        let until = |rules: Rules| judge(&facts(), &rules, DUE + 30_000);
        assert_eq!(
            until(quiet(21 * 60, 8 * 60, "UTC")),
            Verdict::Wait { until_ms: DUE + 6 * 3_600_000 + 30 * 60_000, moved: true }
        );
        assert_eq!(until(quiet(60, 120, "UTC")), Verdict::Wait { until_ms: DUE + 30 * 60_000, moved: true });
        assert_eq!(until(quiet(8 * 60, 21 * 60, "UTC")), Verdict::Dial);
        assert_eq!(until(quiet(21 * 60, 7 * 60, "Asia/Kolkata")), Verdict::Dial);
        assert_eq!(
            until(quiet(21 * 60, 8 * 60, "Asia/Kolkata")),
            Verdict::Wait { until_ms: DUE + 3_600_000, moved: true }
        );
        // Moved by seven hours, it is not late when the quiet hours are over.
        let moved = Facts { due_ms: DUE + 3_600_000, moved: true, ..facts() };
        assert_eq!(judge(&moved, &quiet(21 * 60, 8 * 60, "Asia/Kolkata"), DUE + 3_600_000), Verdict::Dial);
    }

    #[test]
    fn retries_come_after_two_five_and_fifteen_minutes() {
        let minutes = |attempt, attempts| retry_ms(attempt, attempts, 0).map(|ms| ms / 60_000);
        assert_eq!([minutes(1, 4), minutes(2, 4), minutes(3, 4), minutes(4, 4)], [Some(2), Some(5), Some(15), None]);
        assert_eq!([minutes(1, 1), minutes(3, 3)], [None, None]);
    }

    /// A week of callbacks, one a minute, none answered at first: each is dialled exactly as often as it may be.
    #[test]
    fn a_week_of_callbacks() {
        let rules = quiet(22 * 60, 6 * 60, "Europe/London");
        let mut dialled = 0_i64;
        for booked in 0..7 * 24 * 60_i64 {
            let mut row = Facts { due_ms: DUE + booked * 60_000, moved: true, attempts: 4, ..facts() };
            let mut now_ms = row.due_ms;
            loop {
                match judge(&row, &rules, now_ms) {
                    Verdict::Dial => {
                        dialled += 1;
                        row.attempt += 1;
                        let Some(at_ms) = retry_ms(row.attempt, row.attempts, now_ms) else {
                            break;
                        };
                        (row.due_ms, row.moved) = (at_ms, true);
                    }
                    Verdict::Wait { until_ms, moved } => {
                        assert!(until_ms > now_ms && moved);
                        now_ms = until_ms;
                        row.due_ms = until_ms;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(dialled, 7 * 24 * 60 * 4);
    }
}
