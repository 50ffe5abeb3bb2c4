//! `queue`: waits for somebody of a team, hears music and how long it may take, and may be called back instead
//! (contracts/flows.md "queue"). The call keeps the place; this step says what is heard meanwhile and where it leads.

use std::sync::Arc;

use calls::queue::announce::{Announcements, position_words};
use kernel::zones::{self, Due};
use serde_json::json;
use voice::cause::Cause;

use super::{
    Context, Exit, Running, Turn,
    prompt::{Music, Piece},
};
use crate::flows::{
    check::{Ask, Question, fields::Fields},
    machine::{Booked, Booking, Effect, Input, QueueNews, QueueOrder, Sounding, Source},
    steps::callback::Order,
    template::{is_number, is_sip_uri},
};

pub(super) const EDGES: &[&str] = &["bridged", "timeout", "full", "callback"];
/// Longest wait, in seconds.
const MAX_WAIT: f64 = 14_400.0;
/// Most callers who may wait for a team.
const MAX_WAITING: u32 = 1_000;
/// Attempts of a callback that is booked here.
const CALLBACK_ATTEMPTS: u32 = 3;
const CALLED_BACK: &str = "Thank you. You keep your place, and we will call you back when it is your turn.";

/// Configuration of a `queue` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// The number of a team.
    pub team: String,
    /// Longest wait, in milliseconds.
    pub timeout_ms: u32,
    /// So many may wait, the newcomer among them.
    pub max_waiting: u32,
    /// What is heard meanwhile.
    pub music: Music,
    /// Whether the caller is told where he stands.
    pub announce_position: bool,
    /// The key by which he asks to be called back.
    pub callback_key: Option<char>,
}

impl Queue {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let team = fields.required("team", Fields::integer_template);
        let team = team.fixed().unwrap_or_default().to_owned();
        let path = fields.path("team");
        if is_number(&team) {
            fields.found.questions.push(Question { path: path.into(), ask: Ask::Team(team.clone()) });
        } else if fields.value("team").is_some_and(|given| given.is_string() || given.is_i64()) {
            fields.found.report.error("unknown_entity", path, "team must be the number of a team");
        }
        Self {
            team,
            timeout_ms: fields.seconds("timeout", 1.0..=MAX_WAIT, 300.0),
            max_waiting: fields.integer("max_waiting", 1..=MAX_WAITING, 100),
            music: Music::read(fields, "music").unwrap_or(Music::BuiltIn),
            announce_position: fields.flag("announce_position", true),
            callback_key: fields.key("callback_key"),
        }
    }
}

pub(super) fn start(queue: &Arc<Queue>, context: &mut Context<'_>) -> Turn {
    let music = match &queue.music {
        Music::Prompt(prompt) => Piece::ask(prompt, context),
        _ => Piece::Missing,
    };
    let waiting = Waiting {
        queue: queue.clone(),
        music,
        joined_ms: context.now_ms,
        place: None,
        announcements: Announcements::default(),
        saying: Saying::Nothing,
        talking: false,
    };
    waiting.join(None, context);
    Turn::Wait(Box::new(waiting))
}

/// The wait that the step asks for; `joined_ms`: since when.
pub(super) fn order(queue: &Queue, joined_ms: Option<i64>) -> QueueOrder {
    QueueOrder { team: queue.team.clone(), timeout_ms: queue.timeout_ms, max_waiting: queue.max_waiting, joined_ms }
}

/// What the caller hears besides the music.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saying {
    Nothing,
    /// The words are being prepared.
    Coming {
        sound: u64,
        last: bool,
    },
    /// He hears them. `last`: the step ends with them.
    Spoken {
        play: u64,
        sound: u64,
        last: bool,
    },
    /// The callback is being booked.
    Booking,
}

struct Waiting {
    queue: Arc<Queue>,
    music: Piece,
    joined_ms: i64,
    /// Where he stands, and how long it may take.
    place: Option<(usize, Option<i64>)>,
    announcements: Announcements,
    saying: Saying,
    talking: bool,
}

impl Waiting {
    fn join(&self, joined_ms: Option<i64>, context: &mut Context<'_>) {
        context.push(Effect::Queue(order(&self.queue, joined_ms)));
    }

    fn play_music(&self, context: &mut Context<'_>) {
        let what = match &self.queue.music {
            Music::Ringback => Sounding::Ringback,
            Music::Silence => Sounding::Silence,
            Music::BuiltIn => Sounding::HoldMusic,
            Music::Prompt(_) => self.music.ready().map_or(Sounding::HoldMusic, Sounding::Sound),
        };
        let play = context.token();
        context.push(Effect::Play { play, what, loops: 0 });
    }

    fn say(&mut self, words: &str, last: bool, context: &mut Context<'_>) {
        let sound = context.token();
        context.push(Effect::Prepare { sound, source: Source::words(words) });
        self.saying = Saying::Coming { sound, last };
    }

    /// Tells him where he stands, if that is news and he has not heard it a moment ago.
    fn announce(&mut self, context: &mut Context<'_>) {
        let Some((position, expected_ms)) = self.place else { return };
        let wanted =
            self.queue.announce_position || (self.announcements.are_to_begin() && self.queue.callback_key.is_some());
        let due = self.announcements.due_ms(position).is_some_and(|due_ms| due_ms <= context.now_ms);
        if !wanted || !due || self.talking || self.saying != Saying::Nothing {
            return;
        }
        self.announcements.tell(position, context.now_ms);
        let words = self.words(position, expected_ms, context);
        if !words.is_empty() {
            self.say(&words, false, context);
        }
    }

    fn words(&self, position: usize, expected_ms: Option<i64>, context: &Context<'_>) -> String {
        let mut words = Vec::new();
        if self.queue.announce_position {
            words.push(position_words(position, expected_ms));
        }
        if let Some(key) = self.queue.callback_key.filter(|_| is_callable(context.customer)) {
            words.push(format!("To be called back instead of waiting, press {}.", spoken_key(key)));
        }
        words.join(" ")
    }

    fn on_news(&mut self, news: QueueNews, context: &mut Context<'_>) -> Option<Exit> {
        match news {
            QueueNews::Joined { position, expected_ms } => {
                self.talking = false;
                self.place = Some((position, expected_ms));
                self.play_music(context);
                self.announce(context);
                None
            }
            QueueNews::Moved { position, expected_ms } => {
                self.place = Some((position, expected_ms));
                self.announce(context);
                None
            }
            QueueNews::Bridged => {
                self.talking = true;
                // Nobody will hear it any more, and the talk may be long.
                if let Saying::Coming { sound, .. } | Saying::Spoken { sound, .. } = self.saying {
                    context.push(Effect::Release { sound });
                }
                self.saying = Saying::Nothing;
                // What got ready while the two were brought together must not be heard over the agent.
                context.push(Effect::StopPlay);
                None
            }
            QueueNews::Ended => Some(Exit::by("bridged")),
            QueueNews::Timeout => Some(self.sent_away("timeout", Cause::NoAnswer, context)),
            QueueNews::Full => Some(self.sent_away("full", Cause::Busy, context)),
        }
    }

    fn sent_away(&self, outcome: &'static str, cause: Cause, context: &mut Context<'_>) -> Exit {
        context.push(Effect::StopPlay);
        Exit::by(outcome).or_cause(cause)
    }

    /// He would rather be called: the place goes with him.
    fn book(&mut self, context: &mut Context<'_>) {
        let at = kernel::time::rfc3339(self.joined_ms);
        // 2026-11-21T00:00:00.000Z
        let (date, time) = at.split_once('T').unwrap_or_default();
        context.push(Effect::LeaveQueue);
        context.push(Effect::Book(Box::new(Booking {
            step: context.step.id.to_string(),
            date: date.to_owned(),
            time: time.chars().take("00:00:00".len()).collect(),
            zone: "UTC".to_owned(),
            due: Due { at_ms: context.now_ms, offset_s: 0, dst: None },
            asap: true,
            entity: self.queue.team.clone(),
            customer: context.customer.to_owned(),
            order: Order::InTurn,
            attempts: CALLBACK_ATTEMPTS,
        })));
        self.saying = Saying::Booking;
    }

    fn booked(&mut self, booked: &Booked, context: &mut Context<'_>) {
        match booked {
            Booked::Now { key } => {
                let at_utc = kernel::time::rfc3339(context.now_ms);
                let dst = None::<zones::Dst>.map(zones::Dst::as_str);
                context.emit("callback.scheduled", json!({ "callback": key, "at_utc": at_utc, "dst": dst }));
                self.say(CALLED_BACK, true, context);
            }
            Booked::Before => self.say(CALLED_BACK, true, context),
            Booked::Refused(_) => {
                self.saying = Saying::Nothing;
                self.join(Some(self.joined_ms), context);
            }
        }
    }

    /// What became of the words.
    fn on_words(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        let last = match (self.saying, input) {
            (Saying::Coming { sound, last }, Input::SoundReady { sound: ready }) if sound == *ready => {
                let play = context.token();
                context.push(Effect::Play { play, what: Sounding::Sound(sound), loops: 1 });
                self.saying = Saying::Spoken { play, sound, last };
                return None;
            }
            (Saying::Coming { sound, last }, Input::SoundFailed { sound: failed, .. }) if sound == *failed => last,
            (Saying::Spoken { play, sound, last }, Input::PlayEnded { play: ended }) if play == *ended => {
                // Whoever waits for an hour hears many.
                context.push(Effect::Release { sound });
                if !last {
                    self.play_music(context);
                }
                last
            }
            _ => return None,
        };
        self.saying = Saying::Nothing;
        last.then(|| self.sent_away("callback", Cause::Normal, context))
    }
}

impl Running for Waiting {
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        match input {
            Input::Queue(news) => self.on_news(*news, context),
            Input::Booked(booked) => {
                self.booked(booked, context);
                None
            }
            Input::Dtmf { symbol, .. }
                if self.queue.callback_key == Some(*symbol)
                    && !self.talking
                    && !self.is_leaving()
                    && is_callable(context.customer) =>
            {
                self.book(context);
                None
            }
            Input::Tick => {
                self.announce(context);
                None
            }
            _ => {
                if self.music.on(input, context) && !self.talking && self.saying == Saying::Nothing {
                    self.play_music(context);
                }
                self.on_words(input, context)
            }
        }
    }

    fn deadline(&self) -> Option<i64> {
        let (position, _) = self.place.filter(|_| self.queue.announce_position && !self.talking)?;
        self.announcements.due_ms(position).filter(|_| self.saying == Saying::Nothing)
    }
}

impl Waiting {
    /// He has asked to be called back.
    fn is_leaving(&self) -> bool {
        matches!(self.saying, Saying::Booking | Saying::Coming { last: true, .. } | Saying::Spoken { last: true, .. })
    }
}

/// A caller without a number cannot be called back.
fn is_callable(customer: &str) -> bool {
    is_number(customer) || is_sip_uri(customer)
}

fn spoken_key(key: char) -> String {
    match key {
        '*' => "star".to_owned(),
        '#' => "hash".to_owned(),
        digit => digit.to_string(),
    }
}
