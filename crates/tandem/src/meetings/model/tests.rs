//! Each sentence of the contract's "Behaviour"; `ends` has those of "When it ends".

mod any_moment;
mod ends;
mod plans;

use super::*;

/// When the meetings of these tests begin, UTC milliseconds.
const START: i64 = 1_795_305_600_000;
const MINUTE: i64 = 60_000;
/// How long their two may talk.
const LENGTH: i64 = 9 * MINUTE;

/// A meeting with its settings and its clock.
struct Stage {
    meeting: Meeting,
    settings: Settings,
    now: i64,
    /// What followed from the last input.
    effects: Vec<Effect>,
}

fn party(uid: &str, number: &str) -> Party {
    Party { uid: uid.into(), name: uid.into(), number: Some(number.into()), email: None, call_type: CallType::Phone }
}

fn new_meeting(starts_ms: i64) -> NewMeeting {
    NewMeeting {
        id: 5,
        org: "org_1".into(),
        app: "app_1".into(),
        order_id: "551".into(),
        caller: party("1222", "+447700900123"),
        receiver: party("56712", "+447700900456"),
        starts_ms,
        duration_ms: LENGTH,
        pins: Pins { caller: "00000001".into(), receiver: "00000002".into() },
        dial_in: None,
        call_back: false,
    }
}

impl Stage {
    /// A meeting that was ordered an hour before its start.
    fn scheduled(settings: Settings) -> Self {
        Self::ordered(settings, START - 60 * MINUTE)
    }

    fn ordered(settings: Settings, now: i64) -> Self {
        let (meeting, effects) = Meeting::schedule(new_meeting(START), &settings, now);
        Self { meeting, settings, now, effects }
    }

    /// The same at its start.
    fn open() -> Self {
        Self::open_with(Settings::default())
    }

    fn open_with(settings: Settings) -> Self {
        let mut stage = Self::scheduled(settings);
        stage.at(START, Input::Due);
        stage
    }

    /// The same with the two in talk since `START`.
    fn live() -> Self {
        Self::live_with(Settings::default())
    }

    fn live_with(settings: Settings) -> Self {
        let mut stage = Self::open_with(settings);
        stage.say(Input::Call { by: Role::Caller });
        stage.hear(News::FirstAnswered);
        stage.hear(News::Bridged);
        assert_eq!(stage.meeting.state, State::Live);
        stage
    }

    fn say(&mut self, input: Input) {
        self.effects = self.meeting.apply(input, &self.settings, self.now).unwrap();
    }

    fn at(&mut self, now: i64, input: Input) {
        self.now = now;
        self.say(input);
    }

    fn hear(&mut self, news: News) {
        self.say(Input::Heard { attempt: self.meeting.attempts, news });
    }

    fn unbridged(&mut self, why: Parting) {
        let talked_ms = self.now - self.meeting.live_since_ms.unwrap();
        self.hear(News::Unbridged { why, talked_ms });
    }

    fn refused(&mut self, input: Input) -> Refused {
        let before = self.meeting.clone();
        let refused = self.meeting.apply(input, &self.settings, self.now).unwrap_err();
        assert_eq!(self.meeting, before, "what was refused has changed nothing");
        refused
    }

    /// Sleeps until the meeting wants to be looked at; the time that was.
    fn wake(&mut self) -> i64 {
        let due = self.meeting.next_due_ms(&self.settings).expect("something is due");
        self.at(due.max(self.now), Input::Due);
        self.now
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.effects
            .iter()
            .filter_map(|effect| if let Effect::Event(event) = effect { Some(event.kind) } else { None })
            .collect()
    }

    fn event(&self, kind: &str) -> &serde_json::Value {
        let found = self.effects.iter().find_map(|effect| match effect {
            Effect::Event(event) if event.kind == kind => Some(&event.data),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no {kind} in {:?}", self.effects))
    }

    fn has(&self, effect: &Effect) -> bool {
        self.effects.contains(effect)
    }

    fn ended(&self) -> Option<Cause> {
        assert_eq!(self.meeting.state == State::Ended, self.meeting.cause.is_some());
        self.meeting.cause
    }
}

#[test]
fn it_opens_five_minutes_before_its_start() {
    let mut stage = Stage::scheduled(Settings::default());
    assert_eq!(stage.kinds(), ["meeting.scheduled"]);
    assert_eq!(stage.refused(Input::Call { by: Role::Caller }), Refused::TooEarly);
    assert_eq!(stage.wake(), START - 5 * MINUTE);
    assert_eq!((stage.meeting.state, stage.kinds()), (State::Open, vec!["meeting.opened"]));
    assert_eq!(stage.meeting.ends_ms, START + LENGTH);
}

#[test]
fn a_late_timer_changes_nothing() {
    let mut stage = Stage::scheduled(Settings::default());
    stage.at(START - 5 * MINUTE, Input::Call { by: Role::Receiver });
    assert_eq!(stage.kinds(), ["meeting.opened", "meeting.connecting"]);
    let mut stage = Stage::scheduled(Settings::default());
    stage.now = START + LENGTH;
    assert_eq!(stage.refused(Input::Call { by: Role::Caller }), Refused::Ended);
}

#[test]
fn a_past_start_is_open_at_once_for_its_length() {
    let late = START + 86_400_000;
    let stage = Stage::ordered(Settings::default(), late);
    assert_eq!(stage.kinds(), ["meeting.scheduled", "meeting.opened"]);
    assert_eq!((stage.meeting.starts_ms, stage.meeting.ends_ms), (START, late + LENGTH));
}

#[test]
fn who_calls_is_rung_first() {
    let mut stage = Stage::open();
    stage.say(Input::Call { by: Role::Receiver });
    let ring = Effect::Ring { first: Role::Receiver, dialled_in: false, attempt: 1, limit_ms: LENGTH };
    assert!(stage.has(&ring), "{:?}", stage.effects);
    assert_eq!(stage.refused(Input::Call { by: Role::Caller }), Refused::InCall);
    assert_eq!(stage.refused(Input::DialIn { by: Role::Caller }), Refused::InCall);
    stage.hear(News::Bridged);
    assert_eq!((stage.meeting.state, stage.kinds()), (State::Live, vec!["meeting.live"]));
    assert_eq!(stage.refused(Input::Call { by: Role::Caller }), Refused::InCall);
}

#[test]
fn who_dials_in_is_there_already() {
    let mut stage = Stage::open();
    stage.say(Input::DialIn { by: Role::Caller });
    let ring = Effect::Ring { first: Role::Caller, dialled_in: true, attempt: 1, limit_ms: LENGTH };
    assert!(stage.has(&ring), "{:?}", stage.effects);
}

#[test]
fn with_auto_start_the_server_calls_once_at_the_start() {
    let settings = Settings { auto_start: true, ..Settings::default() };
    let mut stage = Stage::scheduled(settings.clone());
    stage.wake();
    assert!(!stage.meeting.is_auto_start_due(&settings, stage.now));
    assert_eq!(stage.meeting.next_due_ms(&settings), Some(START));
    stage.now = START;
    assert!(stage.meeting.is_auto_start_due(&settings, START));
    stage.say(Input::AutoStart);
    assert!(stage.has(&Effect::Ring { first: Role::Caller, dialled_in: false, attempt: 1, limit_ms: LENGTH }));
    stage.hear(News::NotReached { who: Role::Caller, miss: Miss::NoAnswer });
    assert!(!stage.meeting.is_auto_start_due(&settings, stage.now), "once");
    stage.say(Input::AutoStart);
    assert_eq!((stage.meeting.state, stage.effects.len()), (State::Open, 0));
    assert_eq!(stage.meeting.next_due_ms(&settings), Some(START + LENGTH));
}

#[test]
fn a_party_that_was_quicker_takes_the_servers_call_from_it() {
    let settings = Settings { auto_start: true, ..Settings::default() };
    let mut stage = Stage::scheduled(settings.clone());
    stage.at(START - MINUTE, Input::Call { by: Role::Caller });
    stage.hear(News::NotReached { who: Role::Receiver, miss: Miss::Busy });
    assert!(!stage.meeting.is_auto_start_due(&settings, START));
}

#[test]
fn a_veto_keeps_from_calling_and_is_told() {
    let settings = Settings { auto_start: true, ..Settings::default() };
    let mut stage = Stage::open_with(settings.clone());
    stage.say(Input::Vetoed { by: Some(Role::Caller) });
    assert_eq!(stage.event("meeting.out_of_session")["reason"], "vetoed");
    assert!(stage.meeting.is_auto_start_due(&settings, stage.now), "the server's call was not meant");
    stage.say(Input::Vetoed { by: None });
    assert!(!stage.meeting.is_auto_start_due(&settings, stage.now));
    assert_eq!((stage.meeting.state, stage.meeting.attempts), (State::Open, 0));
}

#[test]
fn a_failed_attempt_leaves_it_open_and_its_cause_is_the_last() {
    for (miss, cause) in [
        (Miss::Busy, Cause::Busy),
        (Miss::Failed, Cause::Failed),
        (Miss::NoAnswer, Cause::NoShow),
        (Miss::GaveUp, Cause::NoShow),
    ] {
        let mut stage = Stage::open();
        stage.say(Input::Call { by: Role::Caller });
        stage.hear(News::NotReached { who: Role::Receiver, miss: Miss::Failed });
        stage.say(Input::Call { by: Role::Caller });
        stage.hear(News::FirstAnswered);
        stage.hear(News::NotReached { who: Role::Receiver, miss });
        assert_eq!(stage.meeting.state, State::Open);
        assert_eq!(stage.event("meeting.opened")["reason"], miss.as_str());
        assert_eq!(stage.kinds().contains(&"meeting.no_show"), miss == Miss::NoAnswer);
        assert_eq!(stage.wake(), START + LENGTH);
        assert_eq!(stage.ended(), Some(cause), "{miss:?}");
    }
}

#[test]
fn what_a_page_shows_as_callable_can_be_called() {
    let stage = Stage::scheduled(Settings::default());
    let callable = |at: i64| stage.meeting.can_be_called(at);
    let edges = [START - 5 * MINUTE - 1, START - 5 * MINUTE, START + LENGTH - 1, START + LENGTH];
    assert_eq!(edges.map(callable), [false, true, true, false]);
    assert!(!Stage::live().meeting.can_be_called(START));
}

#[test]
fn events_tell_numbers_by_their_last_two_digits() {
    let mut stage = Stage::live();
    stage.say(Input::Cancel { by: Actor::Application });
    let first = Stage::scheduled(Settings::default());
    for effect in stage.effects.iter().chain(&first.effects) {
        let Effect::Event(event) = effect else { continue };
        let text = event.data.to_string();
        assert!(!text.contains("7700900") && !text.contains("00000001"), "{text}");
        assert_eq!(event.data["meeting_id"], 5);
        assert_eq!((&event.data["caller"]["number"], &event.data["receiver"]["number"]), (&"23".into(), &"56".into()));
    }
}

#[test]
fn each_of_the_two_is_reminded_once_when_the_application_wants_it() {
    let settings = Settings { remind_before_s: Some(1_800), ..Settings::default() };
    let mut stage = Stage::scheduled(settings.clone());
    assert_eq!(stage.wake(), START - 30 * MINUTE);
    let reminders = Role::BOTH.map(|who| Effect::Notify { who, what: Notice::Reminder });
    assert_eq!(stage.effects, reminders);
    assert_eq!(stage.wake(), START - 5 * MINUTE);
    assert_eq!(stage.kinds().len(), stage.effects.len(), "no second reminder");
    let late = Stage::ordered(settings, START + MINUTE);
    assert!(!late.effects.iter().any(|effect| matches!(effect, Effect::Notify { .. })), "it has begun");
}

#[test]
fn a_stored_meeting_is_read_back() {
    let stage = Stage::live();
    let text = serde_json::to_string(&stage.meeting).unwrap();
    assert_eq!(serde_json::from_str::<Meeting>(&text).unwrap(), stage.meeting);
    for state in State::ALL {
        assert_eq!(State::parse(state.as_str()), Some(state));
    }
    for cause in Cause::ALL {
        assert_eq!(Cause::parse(cause.as_str()), Some(cause));
    }
}

#[test]
fn a_call_is_known_by_its_attempt() {
    let mut stage = Stage::open();
    for call in ["call_1", "call_2"] {
        stage.say(Input::Call { by: Role::Caller });
        stage.meeting.carried_by(call.into());
        stage.hear(News::NotReached { who: Role::Receiver, miss: Miss::Busy });
    }
    assert_eq!(stage.meeting.attempt_of("call_1"), Some(1));
    assert_eq!(stage.meeting.attempt_of("call_2"), Some(stage.meeting.attempts));
    assert_eq!(stage.meeting.attempt_of("call_3"), None);
}

#[test]
fn settings_are_read_as_they_are_stored() {
    let stored = |pairs: &[(&str, &str)]| {
        Settings::read(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    };
    assert_eq!(stored(&[]), Settings::default());
    let settings = stored(&[
        ("time_zone", "Europe/London"),
        ("duration_unit", "seconds"),
        ("auto_start", "true"),
        ("talk_warning_s", "5"),
        ("extend_max_s", "0"),
        ("reconnect_s", "2"),
        ("record", "true"),
        ("veto_url", "http://127.0.0.1:8000/veto"),
        ("number_pool", "+442071838750, +442071838751"),
        ("remind_before_s", "3600"),
        ("caller_id", "of another desk"),
    ]);
    assert_eq!((settings.duration_unit, settings.auto_start), (DurationUnit::Seconds, true));
    assert_eq!((settings.talk_warning_s, settings.extend_max_s, settings.reconnect_s), (5, 0, 2));
    assert_eq!(settings.number_pool, ["+442071838750", "+442071838751"]);
    for (name, bad) in [
        ("time_zone", "IST"),
        ("duration_unit", "hours"),
        ("auto_start", "yes"),
        ("talk_warning_s", "-1"),
        ("extend_max_s", "999999999"),
        ("reconnect_s", "1.5"),
        ("record", "1"),
        ("veto_url", "file:///etc/passwd"),
        ("number_pool", "+44 20,x"),
        ("legacy_verifier_secret", &"x".repeat(513)),
        ("legacy_verifier_secret", &"x".repeat(31)),
        ("legacy_verifier_secret", "true"),
        ("remind_before_s", "soon"),
        ("no_such", "1"),
    ] {
        assert!(Settings::check(name, bad).is_err(), "{name}={bad}");
    }
    for name in SETTING_NAMES {
        assert!(Settings::check(name, "").is_ok(), "{name} can be put back");
    }
}
