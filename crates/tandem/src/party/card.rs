//! One meeting as one of its two parties sees it: plain words for its state, and what the party can do now.
//!
//! Invariant: nothing on a card is the other party's but a name, and no name that holds a number is shown.

use std::fmt;

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::tz::TimeZone;

use super::words::{self, Moment};
use crate::meetings::model::{CallType, Cause, Meeting, ProposedTime, Role, Settings, State};

/// By how much a meeting can be extended with one press, in minutes.
const EXTENSIONS: [i64; 4] = [5, 10, 15, 30];
/// Digits of a PIN that are read in one go.
const PIN_GROUP: usize = 4;
const MINUTE_MS: i64 = 60_000;

/// What all cards of a page have in common.
pub(super) struct View<'a> {
    /// The application's settings.
    pub(super) settings: &'a Settings,
    /// Its zone.
    pub(super) zone: &'a TimeZone,
    /// UTC milliseconds.
    pub(super) now_ms: i64,
    /// Whom the page is made for.
    pub(super) mark: &'a str,
}

/// What is left until something, in words that the page's script says again.
pub(super) struct Left {
    /// UTC milliseconds.
    until_ms: i64,
    /// With `{}` for the time.
    words: &'static str,
    now_ms: i64,
}

impl Left {
    fn text(&self) -> String {
        self.words.replace("{}", &words::span(self.until_ms - self.now_ms))
    }
}

/// Another time that one of the two proposes.
struct Proposed {
    is_theirs: bool,
    words: String,
    /// What is said aloud when it comes.
    spoken: String,
    starts: Moment,
    length: String,
    time: ProposedTime,
}

impl Proposed {
    fn read_fields(&self) -> ReadFields {
        ReadFields(self.time)
    }
}

/// How to come in from any phone.
struct DialIn {
    number: String,
    pin: String,
    /// Whether the party's own number is recognised.
    is_known: bool,
}

/// A card, shown by naming it in a template.
#[derive(Template)]
#[template(path = "party/card.html")]
pub(super) struct Card {
    id: i64,
    /// Of its group: `now`, `next`, `past`.
    look: &'static str,
    /// What the script compares: a new word is told.
    phase: String,
    revision: i64,
    title: String,
    /// Whether the title is the other's name.
    has_name: bool,
    /// Who the other is, inside a sentence.
    peer: String,
    /// The same where a sentence begins.
    peer_at_beginning: String,
    /// Whether the other is written to about what changes.
    writes_peer: bool,
    starts: Moment,
    ends: Moment,
    zone: String,
    tone: &'static str,
    words: String,
    at: Option<Moment>,
    left: Option<Left>,
    hints: Vec<String>,
    proposal: Option<Proposed>,
    can_call: bool,
    call_type: &'static str,
    /// Whether the page is in the call already and the other is being rung.
    awaits: bool,
    /// Whether the page's phone has the call, unless another window or phone of the party has it.
    talks_here: bool,
    dial_in: Option<DialIn>,
    extensions: Vec<i64>,
    can_propose: bool,
    can_finish: bool,
    can_cancel: bool,
    has_more: bool,
    minutes: i64,
    mark: String,
}

/// Every value in it is escaped by its own template.
impl HtmlSafe for Card {}

/// The hidden field that says whom a form was made for.
struct MarkField<'a>(&'a str);

impl fmt::Display for MarkField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"<input type="hidden" name="for" value="{}">"#, self.0)
    }
}

/// A mark is hexadecimal.
impl HtmlSafe for MarkField<'_> {}

/// The hidden fields that say which proposal an answer is meant for: the one that stands on the page.
struct ReadFields(ProposedTime);

impl fmt::Display for ReadFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProposedTime { starts_ms, duration_ms } = self.0;
        write!(f, r#"<input type="hidden" name="proposed_start" value="{starts_ms}">"#)?;
        write!(f, r#"<input type="hidden" name="proposed_length" value="{duration_ms}">"#)
    }
}

/// Two numbers.
impl HtmlSafe for ReadFields {}

/// The words of a state.
#[derive(Default)]
struct Said {
    tone: &'static str,
    words: String,
    at: Option<i64>,
    left: Option<(i64, &'static str)>,
    hints: Vec<String>,
}

impl Said {
    fn of(tone: &'static str, words: impl Into<String>) -> Self {
        Self { tone, words: words.into(), ..Self::default() }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl Card {
    /// The card of a meeting for one of its two.
    pub(super) fn of(meeting: &Meeting, role: Role, view: &View<'_>) -> Self {
        let (own, other) = (meeting.party(role), meeting.party(role.other()));
        let peer = other.shown_name().unwrap_or("the other side").to_owned();
        let said = said(meeting, role, &peer, view);
        let (state, settings) = (meeting.state, view.settings);
        let is_over = state == State::Ended;
        let is_begun = matches!(state, State::Open | State::Connecting | State::Live);
        let extensions = if is_begun { extensions(meeting.extend_left_ms(settings)) } else { Vec::new() };
        let moment = |ms| Moment::new(ms, view.zone);
        let phase = match state {
            // Between two tries it says more than before.
            State::Open => format!("open-{}-{}", meeting.attempts, meeting.can_be_called(view.now_ms)),
            state => state.as_str().to_owned(),
        };
        Self {
            id: meeting.id,
            look: look(meeting, view.now_ms),
            phase,
            revision: meeting.revision,
            title: other.shown_name().unwrap_or("Your meeting").to_owned(),
            has_name: other.shown_name().is_some(),
            peer_at_beginning: other.shown_name().unwrap_or("The other side").to_owned(),
            writes_peer: settings.remind_before_s.is_some() && other.email.is_some(),
            peer,
            starts: moment(meeting.starts_ms),
            ends: moment(meeting.starts_ms.saturating_add(meeting.limit_ms())),
            zone: settings.time_zone.clone(),
            tone: said.tone,
            words: said.words,
            at: said.at.map(moment),
            left: said.left.map(|(until_ms, words)| Left { until_ms, words, now_ms: view.now_ms }),
            hints: said.hints,
            proposal: proposed(meeting, role, view).filter(|_| !is_over),
            can_call: meeting.can_be_called(view.now_ms),
            call_type: own.call_type.as_str(),
            awaits: awaits_peer(meeting, role),
            talks_here: state == State::Live && own.call_type == CallType::Browser,
            dial_in: dial_in(meeting, role).filter(|_| matches!(state, State::Scheduled | State::Open)),
            extensions,
            can_propose: matches!(state, State::Scheduled | State::Open) && meeting.proposal.is_none(),
            can_finish: is_begun,
            can_cancel: matches!(state, State::Scheduled | State::Open),
            has_more: !is_over,
            minutes: meeting.duration_ms / MINUTE_MS,
            mark: view.mark.to_owned(),
        }
    }

    /// `now`, `next` or `past`.
    pub(super) fn look(&self) -> &'static str {
        self.look
    }

    /// The meeting's id.
    pub(super) fn id(&self) -> i64 {
        self.id
    }

    /// When it begins, UTC milliseconds.
    pub(super) fn starts_ms(&self) -> i64 {
        self.starts.ms
    }

    fn mark_field(&self) -> MarkField<'_> {
        MarkField(&self.mark)
    }
}

fn look(meeting: &Meeting, now_ms: i64) -> &'static str {
    match meeting.state {
        State::Scheduled if !meeting.can_be_called(now_ms) => "next",
        State::Ended => "past",
        _ => "now",
    }
}

/// The state in plain words.
fn said(meeting: &Meeting, role: Role, peer: &str, view: &View<'_>) -> Said {
    match meeting.state {
        State::Ended => ended(meeting),
        State::Live => {
            let until_ms = meeting.live_since_ms.unwrap_or(view.now_ms).saturating_add(meeting.talk_left_ms());
            Said { left: Some((until_ms, ": {} left")), ..Said::of("good", "You are talking") }
        }
        State::Connecting => connecting(meeting, role, peer),
        State::Open | State::Scheduled if meeting.can_be_called(view.now_ms) => open(meeting, role, peer),
        State::Open => Said::of("", "Nobody can call any more"),
        State::Scheduled => {
            let left = Some((meeting.opens_ms(), ", in {}"));
            let said = Said { at: Some(meeting.opens_ms()), left, ..Said::of("", "Opens at") };
            if view.settings.auto_start { said.hint("It begins by itself: we call you both.") } else { said }
        }
    }
}

fn open(meeting: &Meeting, role: Role, peer: &str) -> Said {
    let mut said = match (meeting.talked, meeting.reconnect_until_ms) {
        (true, Some(until_ms)) => Said {
            left: Some((until_ms.min(meeting.ends_ms), ", for {} more")),
            ..Said::of("good", "The call has ended. You can call again")
        },
        _ => Said::of("good", "You can call now"),
    };
    let last = match meeting.last_attempt {
        Some(Cause::Busy) => Some("The last try was declined, or met a busy line."),
        Some(Cause::NoShow) => Some("At the last try nobody answered."),
        Some(Cause::Failed) => Some("The last try did not come through."),
        _ => None,
    };
    said.hints.extend(last.map(str::to_owned));
    match meeting.party(role).call_type {
        CallType::Browser => {
            said.hint(format!("You talk in this page. Leave it open: it rings here when {peer} calls."))
        }
        CallType::Phone => said.hint(format!("Your phone rings first. Answer it, and we call {peer}.")),
    }
}

fn connecting(meeting: &Meeting, role: Role, peer: &str) -> Said {
    let place = match meeting.party(role).call_type {
        CallType::Browser => "Answer in this page.",
        CallType::Phone => "Answer your phone when it rings.",
    };
    match meeting.initiator {
        Some(_) if awaits_peer(meeting, role) => {
            Said::of("busy", format!("Calling {peer}")).hint(format!("It begins as soon as {peer} answers."))
        }
        Some(by) if by == role => Said::of("busy", format!("Calling {peer}")).hint(place),
        Some(_) => Said::of("busy", format!("{peer} is calling you")).hint(place),
        None => Said::of("busy", "We are calling you both").hint(place),
    }
}

/// Whether the party's page is in the call already while the other is being rung.
fn awaits_peer(meeting: &Meeting, role: Role) -> bool {
    let is_first = meeting.state == State::Connecting && meeting.initiator == Some(role);
    is_first && meeting.party(role).call_type == CallType::Browser
}

fn ended(meeting: &Meeting) -> Said {
    let talked = || format!("Ended: you talked for {}", words::length(meeting.talked_ms));
    let words = match meeting.cause {
        Some(Cause::Cancelled) => "Cancelled".to_owned(),
        _ if meeting.talked => talked(),
        Some(Cause::NoShow) if meeting.attempts > 0 => "Ended: only one of you was there".to_owned(),
        Some(Cause::NoShow) => "Ended: no one was there".to_owned(),
        Some(Cause::Busy) => "Ended: the call was declined, or the line was busy".to_owned(),
        Some(Cause::Failed) => "Ended: the call did not come through".to_owned(),
        Some(Cause::Expired) => "Ended: nobody called".to_owned(),
        Some(Cause::Completed) | None => "Ended".to_owned(),
    };
    Said::of("", words)
}

fn proposed(meeting: &Meeting, role: Role, view: &View<'_>) -> Option<Proposed> {
    let proposal = meeting.proposal?;
    let is_theirs = proposal.by != role;
    let other = meeting.party(role.other());
    let (words, spoken) = if is_theirs {
        let who = other.shown_name().unwrap_or("The other side");
        (format!("{who} proposes another time:"), format!("{who} proposes another time."))
    } else {
        let who = other.shown_name().unwrap_or("the other side");
        (
            format!("You proposed another time, and {who} has not answered yet:"),
            format!("{who} is asked for another time."),
        )
    };
    let starts = Moment::new(proposal.starts_ms, view.zone);
    let length = words::length(proposal.duration_ms);
    Some(Proposed { is_theirs, words, spoken, starts, length, time: proposal.time() })
}

fn dial_in(meeting: &Meeting, role: Role) -> Option<DialIn> {
    let own = meeting.party(role);
    let pin: Vec<char> = meeting.pins.of(role).chars().collect();
    let groups: Vec<String> = pin.chunks(PIN_GROUP).map(|group| group.iter().collect()).collect();
    let is_known = meeting.call_back && own.number.is_some();
    meeting.dial_in.clone().map(|number| DialIn { number, pin: groups.join(" "), is_known })
}

fn extensions(left_ms: i64) -> Vec<i64> {
    EXTENSIONS.into_iter().filter(|minutes| minutes * MINUTE_MS <= left_ms).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meetings::model::{NewMeeting, Party, Pins, Proposal};

    /// 2026-11-21T17:00:00Z.
    const STARTS_MS: i64 = 1_795_280_400_000;

    fn party(uid: &str, name: &str, number: Option<&str>) -> Party {
        let call_type = if number.is_some() { CallType::Phone } else { CallType::Browser };
        Party { uid: uid.to_owned(), name: name.to_owned(), number: number.map(str::to_owned), email: None, call_type }
    }

    fn meeting() -> Meeting {
        let new = NewMeeting {
            id: 5,
            org: "org_1".to_owned(),
            app: "app_1".to_owned(),
            order_id: "551".to_owned(),
            caller: party("ann", "Ann", Some("+41446681801")),
            receiver: party("tom", "Tommy <b>", None),
            starts_ms: STARTS_MS,
            duration_ms: 30 * MINUTE_MS,
            pins: Pins { caller: "12345678".to_owned(), receiver: "87654321".to_owned() },
            dial_in: Some("+442071838750".to_owned()),
            call_back: true,
        };
        Meeting::schedule(new, &Settings::default(), STARTS_MS - 60 * MINUTE_MS).0
    }

    fn card(meeting: &Meeting, role: Role, now_ms: i64) -> Card {
        let settings = Settings { time_zone: "Europe/Kyiv".to_owned(), ..Settings::default() };
        let zone = TimeZone::get("Europe/Kyiv").unwrap();
        Card::of(meeting, role, &View { settings: &settings, zone: &zone, now_ms, mark: "ab12" })
    }

    /// The state as it is read.
    fn state(meeting: &Meeting, role: Role, now_ms: i64) -> String {
        let card = card(meeting, role, now_ms);
        let at = card.at.map(|at| format!(" {}", at.time)).unwrap_or_default();
        let left = card.left.map(|left| left.text()).unwrap_or_default();
        format!("{}{at}{left}", card.words)
    }

    fn ended(cause: Cause, change: impl FnOnce(&mut Meeting)) -> String {
        let mut meeting = Meeting { state: State::Ended, cause: Some(cause), ..meeting() };
        change(&mut meeting);
        state(&meeting, Role::Caller, STARTS_MS)
    }

    #[test]
    fn every_state_has_plain_words() {
        let mut meeting = meeting();
        let before = STARTS_MS - 17 * MINUTE_MS;
        assert_eq!(state(&meeting, Role::Caller, before), "Opens at 18:55, in 12 minutes");
        meeting.state = State::Open;
        assert_eq!(state(&meeting, Role::Caller, STARTS_MS), "You can call now");
        meeting.state = State::Connecting;
        meeting.initiator = Some(Role::Caller);
        assert_eq!(state(&meeting, Role::Caller, STARTS_MS), "Calling Tommy <b>");
        assert_eq!(state(&meeting, Role::Receiver, STARTS_MS), "Ann is calling you");
        let hint = |meeting: &Meeting, role| card(meeting, role, STARTS_MS).hints.concat();
        assert_eq!(hint(&meeting, Role::Caller), "Answer your phone when it rings.");
        assert_eq!(hint(&meeting, Role::Receiver), "Answer in this page.");
        meeting.initiator = Some(Role::Receiver);
        assert_eq!(hint(&meeting, Role::Receiver), "It begins as soon as Ann answers.");
        meeting.initiator = None;
        assert_eq!(state(&meeting, Role::Receiver, STARTS_MS), "We are calling you both");
        meeting.state = State::Live;
        meeting.live_since_ms = Some(STARTS_MS);
        meeting.talked_ms = 10 * MINUTE_MS;
        assert_eq!(state(&meeting, Role::Caller, STARTS_MS + MINUTE_MS), "You are talking: 19 minutes left");
        meeting.state = State::Open;
        meeting.talked = true;
        meeting.reconnect_until_ms = Some(STARTS_MS + 3 * MINUTE_MS);
        let parted = state(&meeting, Role::Caller, STARTS_MS + MINUTE_MS);
        assert_eq!(parted, "The call has ended. You can call again, for 2 minutes more");
    }

    #[test]
    fn every_end_has_plain_words() {
        let talked = |meeting: &mut Meeting| (meeting.talked, meeting.talked_ms) = (true, 9 * MINUTE_MS);
        assert_eq!(ended(Cause::Completed, talked), "Ended: you talked for 9 minutes");
        assert_eq!(ended(Cause::Completed, |_| {}), "Ended");
        assert_eq!(ended(Cause::NoShow, |_| {}), "Ended: no one was there");
        assert_eq!(ended(Cause::NoShow, |meeting| meeting.attempts = 1), "Ended: only one of you was there");
        assert_eq!(ended(Cause::Busy, |_| {}), "Ended: the call was declined, or the line was busy");
        assert_eq!(ended(Cause::Failed, |_| {}), "Ended: the call did not come through");
        assert_eq!(ended(Cause::Expired, |_| {}), "Ended: nobody called");
        assert_eq!(ended(Cause::Cancelled, |_| {}), "Cancelled");
    }

    #[test]
    fn a_card_offers_what_can_be_done_and_escapes_what_others_wrote() {
        let mut meeting = meeting();
        let html = card(&meeting, Role::Caller, STARTS_MS).render().unwrap();
        assert!(html.contains("Call Tommy &#60;b&#62;") && !html.contains("<b>"), "{html}");
        assert!(html.contains("1234 5678") && !html.contains("8765"), "the own code alone: {html}");
        assert!(html.contains("+442071838750") && html.contains("no code is needed"), "{html}");
        assert!(!html.contains("668"), "not even the own number: {html}");
        assert_eq!(html.matches("<form method=\"post\"").count(), html.matches("name=\"for\" value=\"ab12\"").count());

        meeting.proposal =
            Some(Proposal { by: Role::Receiver, starts_ms: STARTS_MS + 60 * MINUTE_MS, duration_ms: 20 * MINUTE_MS });
        let (theirs, own) = (card(&meeting, Role::Caller, STARTS_MS), card(&meeting, Role::Receiver, STARTS_MS));
        assert!(theirs.render().unwrap().contains("/meetings/5/confirm"));
        assert!(!own.render().unwrap().contains("/meetings/5/confirm") && !own.can_propose);

        let over = Meeting { state: State::Ended, cause: Some(Cause::Expired), ..meeting };
        assert!(!card(&over, Role::Caller, STARTS_MS).render().unwrap().contains("<form"), "nothing is left to do");
    }

    #[test]
    fn more_time_is_offered_as_far_as_there_is_some() {
        assert_eq!(extensions(3_600_000), [5, 10, 15, 30]);
        assert_eq!(extensions(12 * MINUTE_MS), [5, 10]);
        assert!(extensions(4 * MINUTE_MS).is_empty());
    }
}
