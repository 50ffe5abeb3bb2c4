//! Whatever happens in whatever order: a meeting ends once and with one cause, the two never talk longer than the limit,
//! and no state follows another but as the contract says.

use proptest::prelude::*;

use super::*;

/// What happens, and how long after the last thing, milliseconds.
type Step = (Happening, i64);

#[derive(Clone, Debug)]
enum Happening {
    Say(Input),
    /// News of the present attempt, or of one so many before it.
    Hear(News, u32),
    /// Sleeps until something is due.
    Wake,
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(Role::BOTH.to_vec())
}

fn actor() -> impl Strategy<Value = Actor> {
    prop_oneof![Just(Actor::Application), role().prop_map(Actor::Party)]
}

fn why() -> impl Strategy<Value = Parting> {
    prop_oneof![role().prop_map(Parting::HungUp), Just(Parting::Lost), Just(Parting::Limit), Just(Parting::Desk)]
}

fn news() -> impl Strategy<Value = News> {
    let miss = prop::sample::select(vec![Miss::NoAnswer, Miss::Busy, Miss::Failed, Miss::GaveUp]);
    prop_oneof![
        2 => Just(News::FirstAnswered),
        4 => Just(News::Bridged),
        2 => (role(), miss).prop_map(|(who, miss)| News::NotReached { who, miss }),
        3 => (why(), -1_000..20 * MINUTE).prop_map(|(why, talked_ms)| News::Unbridged { why, talked_ms }),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let start = START - 20 * MINUTE..START + 120 * MINUTE;
    let duration = prop::option::of(-MINUTE..20 * MINUTE);
    let change = (prop::option::of(start.clone()), duration.clone(), any::<bool>()).prop_map(
        |(starts_ms, duration_ms, other)| {
            let person = other.then(|| party("7", "+4915110000001"));
            let receiver = PartyChange { person, ..PartyChange::default() };
            Input::Change(Box::new(Change { receiver, starts_ms, duration_ms, ..Change::default() }))
        },
    );
    prop_oneof![
        3 => Just(Input::Due),
        6 => role().prop_map(|by| Input::Call { by }),
        2 => role().prop_map(|by| Input::DialIn { by }),
        1 => Just(Input::AutoStart),
        1 => prop::option::of(role()).prop_map(|by| Input::Vetoed { by }),
        2 => (actor(), -MINUTE..20 * MINUTE).prop_map(|(by, ms)| Input::Extend { by, ms }),
        1 => actor().prop_map(|by| Input::Finish { by }),
        1 => actor().prop_map(|by| Input::Cancel { by }),
        1 => (role(), start, duration).prop_map(|(by, starts_ms, duration_ms)| Input::Propose { by, starts_ms, duration_ms }),
        1 => role().prop_map(|by| Input::Confirm { by, to: None }),
        1 => role().prop_map(|by| Input::Decline { by, what: None }),
        1 => change,
        1 => (START..START + 60 * MINUTE).prop_map(|died_ms| Input::Restarted { died_ms }),
    ]
}

fn schedule() -> impl Strategy<Value = (i64, i64, bool, Vec<Step>)> {
    let happening = prop_oneof![
        5 => input().prop_map(Happening::Say),
        6 => (news(), 0u32..2).prop_map(|(news, before)| Happening::Hear(news, before)),
        2 => Just(Happening::Wake),
    ];
    let pause = prop::sample::select(vec![0, 1, 1_000, 30_000, MINUTE, 3 * MINUTE, 5 * MINUTE]);
    let reconnect_s = prop::sample::select(vec![0, 10, 180]);
    // Ordered so long before the start, or after it.
    (-10 * MINUTE..20 * MINUTE, reconnect_s, any::<bool>(), prop::collection::vec((happening, pause), 0..40))
}

/// The states from `before` to `after` by way of those that the events tell of: none may be left out.
fn path(before: State, effects: &[Effect], after: State) -> Vec<(State, State)> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Event(event) => State::parse(event.data["state"].as_str()?),
        _ => None,
    });
    let states: Vec<State> = std::iter::once(before).chain(told).chain([after]).collect();
    states.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Whether one state may follow another; only whoever moves a meeting puts it back to scheduled.
fn may_follow((before, after): (State, State), is_moved: bool) -> bool {
    use State::{Connecting, Ended, Live, Open, Scheduled};
    match (before, after) {
        (a, b) if a == b => true,
        (Ended, _) => false,
        (Open, Scheduled) => is_moved,
        (_, Ended) | (Scheduled | Connecting | Live, Open) | (Open, Connecting) | (Connecting, Live) => true,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn any_moment((early, reconnect_s, auto_start, steps) in schedule()) {
        let settings = Settings { reconnect_s, auto_start, extend_max_s: 600, remind_before_s: Some(300), ..Settings::default() };
        let mut now = START - early;
        let (mut meeting, first) = Meeting::schedule(new_meeting(START), &settings, now);
        let mut told = vec![first];
        // What a clock beside the line would have measured.
        let mut measured = 0;

        for (happening, pause) in steps {
            now += pause;
            let due = meeting.next_due_ms(&settings);
            prop_assert_eq!(due.is_none(), meeting.state == State::Ended);
            let input = match happening {
                Happening::Say(input) => input,
                Happening::Hear(news, before) => Input::Heard { attempt: meeting.attempts.saturating_sub(before), news },
                Happening::Wake => {
                    now = now.max(due.unwrap_or(now));
                    Input::Due
                }
            };
            let before = meeting.clone();
            match meeting.apply(input.clone(), &settings, now) {
                Err(_) => prop_assert_eq!(&meeting, &before, "refused, yet changed by {:?}", input),
                Ok(effects) => {
                    let is_moved = effects.iter().any(|effect| matches!(effect, Effect::Event(event) if event.kind == "meeting.rescheduled"));
                    for step in path(before.state, &effects, meeting.state) {
                        prop_assert!(may_follow(step, is_moved), "{:?}: {:?}", input, step);
                    }
                    if matches!(input, Input::Heard { attempt, .. } if attempt != before.attempts) {
                        let mut left_alone = before.clone();
                        let of_time = left_alone.apply(Input::Due, &settings, now).unwrap();
                        prop_assert_eq!((&meeting, &effects), (&left_alone, &of_time), "news of an older call");
                    }
                    if let (Some(since), None) = (before.live_since_ms, meeting.live_since_ms) {
                        measured += now - since;
                    }
                    if input == Input::Due && meeting.state != State::Ended && !meeting.is_auto_start_due(&settings, now) {
                        prop_assert!(meeting.next_due_ms(&settings).is_some_and(|next| next > now), "due again at once");
                    }
                    told.push(effects);
                }
            }

            // A shorter length may come too late for a talk that was longer; the limit is kept for what comes after.
            prop_assert!(meeting.talked_ms <= before.limit_ms().max(meeting.limit_ms()).max(before.talked_ms));
            prop_assert!(meeting.limit_ms() <= MAX_DURATION_MS);
            prop_assert_eq!(meeting.state == State::Live, meeting.live_since_ms.is_some());
            prop_assert_eq!(meeting.state == State::Connecting, meeting.connecting_since_ms.is_some());
            prop_assert_eq!(meeting.state == State::Ended, meeting.cause.is_some() && meeting.ended_ms.is_some());
            prop_assert!(meeting.talked || meeting.talked_ms == 0);
            prop_assert!(meeting.talked_ms <= measured + 20 * MINUTE * i64::from(meeting.attempts));
        }

        // Left alone, it ends.
        for _ in 0..20 {
            let Some(due) = meeting.next_due_ms(&settings) else { break };
            now = now.max(due);
            let input = if meeting.is_auto_start_due(&settings, now) { Input::AutoStart } else { Input::Due };
            told.push(meeting.apply(input, &settings, now).unwrap());
        }
        prop_assert_eq!(meeting.state, State::Ended);
        let ended: Vec<&Event> = told.iter().flatten().filter_map(|effect| match effect {
            Effect::Event(event) if event.kind == "meeting.ended" => Some(event),
            _ => None,
        }).collect();
        prop_assert_eq!(ended.len(), 1, "it ends once");
        prop_assert_eq!(ended[0].data["cause"].as_str(), meeting.cause.map(Cause::as_str));
        if meeting.talked {
            prop_assert!(matches!(meeting.cause, Some(Cause::Completed | Cause::Cancelled)), "{:?}", meeting.cause);
        }
        // Whoever reads the events alone knows when there was a talk: each begins with one, and none lasts for ever.
        let lives = told.iter().flatten().filter(|effect| matches!(effect, Effect::Event(event) if event.kind == "meeting.live")).count();
        prop_assert_eq!(lives > 0, meeting.talked);
        let rings = told.iter().flatten().filter(|effect| matches!(effect, Effect::Ring { .. })).count();
        prop_assert_eq!(u32::try_from(rings).unwrap(), meeting.attempts);
    }
}
