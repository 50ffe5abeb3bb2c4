//! `digits` (`keypad`, `input`): gathers keys and goes where they say (contracts/flows.md "digits").
//! Invariant: keys pressed before this step began are never counted; the finishing key is never stored.

use std::sync::Arc;

use serde_json::{Value, json};
use voice::Cause;

use super::{
    Context, Exit, Running, Turn,
    prompt::{Prepared, Preparing, Prompt},
};
use crate::flows::{
    check::fields::{Fields, is_key},
    machine::{Effect, Input, Sounding},
    model::Edges,
};

/// Most keys in one input.
const MAX_COUNT: u32 = 64;
const TIMEOUT: &str = "timeout";
const INVALID: &str = "invalid";
const ANY: &str = "*";

/// Configuration of a `digits` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Digits {
    /// So many keys complete the input.
    pub count: usize,
    /// Fewer are invalid.
    pub min_digits: usize,
    /// How long to wait for the first key, in milliseconds.
    pub timeout_ms: u32,
    /// How long to wait for each further key, in milliseconds.
    pub inter_digit_ms: u32,
    /// This key completes the input and is not part of it.
    pub finish_on_key: Option<char>,
    /// How often the customer may try.
    pub tries: u32,
    /// What is heard first, at every try.
    pub prompt: Option<Prompt>,
    /// How often the prompt is heard in a row.
    pub loops: u32,
    /// Where the input goes.
    pub variable: Option<String>,
    /// Whether the input stays out of events, history and recording.
    pub sensitive: bool,
    /// Whether a key cuts the prompt short.
    pub bargein: bool,
}

impl Digits {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let prompt = Prompt::read_field(fields, "prompt");
        Self::read_with(fields, prompt)
    }

    /// Reads everything but the prompt.
    pub(super) fn read_with(fields: &mut Fields<'_>, prompt: Option<Prompt>) -> Self {
        let count = fields.integer("count", 1..=MAX_COUNT, 1);
        let min_digits = fields.integer("min_digits", 0..=MAX_COUNT, 1);
        if min_digits > count {
            fields.out_of_range("min_digits", "min_digits must not be above count");
        }
        let finish_on_key = match fields.value("finish_on_key").map(Value::as_str) {
            None => Some('#'),
            Some(Some("")) => None,
            Some(_) => fields.key("finish_on_key"),
        };
        Self {
            count: count as usize,
            min_digits: min_digits as usize,
            timeout_ms: fields.seconds("timeout", 0.5..=600.0, 10.0),
            inter_digit_ms: fields.seconds("inter_digit_timeout", 0.2..=60.0, 5.0),
            finish_on_key,
            tries: fields.integer("tries", 1..=10, 1),
            prompt,
            loops: 1,
            variable: fields.variable("variable"),
            sensitive: fields.flag("sensitive", false),
            bargein: fields.flag("bargein", true),
        }
    }
}

/// Whether a key of the map can ever be an outcome.
pub(super) fn is_edge(name: &str) -> bool {
    matches!(name, TIMEOUT | INVALID | "star" | "hash") || (!name.is_empty() && unescaped(name).chars().all(is_key))
}

fn unescaped(name: &str) -> String {
    name.replace('\\', "")
}

/// The edge for a non-empty input: the exact key, then an alias, then `*`.
fn choose<'e>(edges: &'e Edges, input: &str) -> Option<&'e str> {
    let names = || edges.named.iter().map(|(name, _)| name.as_str());
    names()
        .find(|name| *name == input && *name != ANY)
        .or_else(|| {
            names().find(|name| match *name {
                "star" => input == "*",
                "hash" => input == "#",
                name => name.contains('\\') && unescaped(name) == input,
            })
        })
        .or_else(|| names().find(|name| *name == ANY))
}

/// Whether the author lists inputs at all; if not, any input of the right length goes to `next_step`.
fn has_choices(edges: &Edges) -> bool {
    edges.named.iter().any(|(name, _)| name != TIMEOUT && name != INVALID)
}

pub(super) fn start(digits: &Arc<Digits>, context: &mut Context<'_>) -> Turn {
    if digits.sensitive {
        context.recorder.hide(true, context.out);
    }
    let mut gathering =
        Gathering { digits: digits.clone(), typed: String::new(), tries_left: digits.tries, sound: None, state: State::Collecting { until_ms: 0 } };
    gathering.prompt(context);
    Turn::Wait(Box::new(gathering))
}

struct Gathering {
    digits: Arc<Digits>,
    typed: String,
    /// This try included.
    tries_left: u32,
    /// The prompt, once it is there; later tries play it again.
    sound: Option<u64>,
    state: State,
}

enum State {
    Preparing(Preparing),
    Prompting { play: u64 },
    Collecting { until_ms: i64 },
}

/// How one try ended.
enum Try {
    Input,
    Timeout,
}

impl Gathering {
    /// Begins a try.
    fn prompt(&mut self, context: &mut Context<'_>) {
        self.typed.clear();
        if let Some(sound) = self.sound {
            return self.play(sound, context);
        }
        match self.digits.prompt.as_ref().map(|prompt| prompt.prepare(context)) {
            None => self.collect(context),
            Some(Ok(preparing)) => self.state = State::Preparing(preparing),
            Some(Err(error)) => self.prompt_failed(&error.to_string(), context),
        }
    }

    fn play(&mut self, sound: u64, context: &mut Context<'_>) {
        let play = context.token();
        context.push(Effect::Play { play, what: Sounding::Sound(sound), loops: self.digits.loops });
        self.state = State::Prompting { play };
    }

    /// Without its prompt the step still listens: the customer may know what to press.
    fn prompt_failed(&mut self, error: &str, context: &mut Context<'_>) {
        context.emit("step.failed", json!({ "error": format!("prompt: {error}") }));
        self.collect(context);
    }

    fn collect(&mut self, context: &Context<'_>) {
        let wait = if self.typed.is_empty() { self.digits.timeout_ms } else { self.digits.inter_digit_ms };
        self.state = State::Collecting { until_ms: context.now_ms + i64::from(wait) };
    }

    /// Takes a key; whether the input is complete.
    fn key(&mut self, symbol: char, context: &mut Context<'_>) -> bool {
        let listening = matches!(self.state, State::Collecting { .. });
        if !listening && self.digits.bargein {
            if matches!(self.state, State::Prompting { .. }) {
                context.push(Effect::StopPlay);
            }
        } else if !listening {
            self.typed.push(symbol);
            return false;
        }
        let complete = self.take(symbol);
        self.collect(context);
        complete
    }

    fn take(&mut self, symbol: char) -> bool {
        if Some(symbol) == self.digits.finish_on_key {
            return true;
        }
        self.typed.push(symbol);
        self.typed.chars().count() >= self.digits.count
    }

    /// The prompt is over: what was typed during it counts now.
    fn prompt_ended(&mut self, context: &mut Context<'_>) -> bool {
        let ahead = std::mem::take(&mut self.typed);
        let complete = ahead.chars().any(|symbol| self.take(symbol));
        self.collect(context);
        complete
    }

    fn step(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Try> {
        if let Input::Dtmf { symbol, .. } = input {
            return self.key(*symbol, context).then_some(Try::Input);
        }
        match &mut self.state {
            State::Preparing(preparing) => match preparing.on(input, context)? {
                Prepared::Ready(sound) => {
                    self.sound = Some(sound);
                    self.play(sound, context);
                    None
                }
                Prepared::Failed(error) => {
                    let typed = std::mem::take(&mut self.typed);
                    self.prompt_failed(&error, context);
                    self.typed = typed;
                    self.prompt_ended(context).then_some(Try::Input)
                }
            },
            State::Prompting { play } => match input {
                Input::PlayEnded { play: ended } if ended == play => self.prompt_ended(context).then_some(Try::Input),
                _ => None,
            },
            State::Collecting { until_ms } if context.now_ms >= *until_ms => {
                Some(if self.typed.is_empty() { Try::Timeout } else { Try::Input })
            }
            State::Collecting { .. } => None,
        }
    }

    /// The end of a try: an exit, or the next try.
    fn settle(&mut self, end: &Try, context: &mut Context<'_>) -> Option<Exit> {
        let (outcome, cause) = match end {
            Try::Timeout => (TIMEOUT, Cause::NoInput),
            Try::Input => match self.judge(context) {
                Some(exit) => return Some(exit),
                None => (INVALID, Cause::InvalidInput),
            },
        };
        self.tries_left = self.tries_left.saturating_sub(1);
        if self.tries_left > 0 {
            self.prompt(context);
            return None;
        }
        Some(Exit::by(outcome).or_cause(cause))
    }

    /// Stores the input and finds its edge; none = invalid.
    fn judge(&self, context: &mut Context<'_>) -> Option<Exit> {
        let long_enough = self.typed.len() >= self.digits.min_digits && !self.typed.is_empty();
        let edge = if long_enough { choose(context.edges, &self.typed).map(str::to_owned) } else { None };
        let free = long_enough && !has_choices(context.edges);
        self.store(context);
        let matched = match (&edge, free) {
            (Some(edge), _) => Value::from(edge.as_str()),
            (None, true) => Value::Null,
            (None, false) => Value::from(INVALID),
        };
        context.emit(
            "input.completed",
            if self.digits.sensitive {
                json!({ "redacted": true, "match": if free || edge.is_none() { matched } else { Value::from("redacted") } })
            } else {
                json!({ "value": self.typed, "match": matched })
            },
        );
        match edge {
            Some(edge) => Some(Exit::by(edge)),
            None if free => Some(Exit::completed()),
            None => None,
        }
    }

    fn store(&self, context: &mut Context<'_>) {
        let names = self.digits.variable.as_deref().into_iter().chain(["digits"]);
        for name in names {
            if self.digits.sensitive {
                context.variables.set_sensitive(name, self.typed.as_str());
            } else {
                context.variables.set(name, self.typed.as_str());
            }
        }
    }
}

impl Running for Gathering {
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        let end = self.step(input, context)?;
        let exit = self.settle(&end, context)?;
        if self.digits.sensitive {
            context.recorder.hide(false, context.out);
        }
        Some(exit)
    }

    fn deadline(&self) -> Option<i64> {
        match self.state {
            State::Collecting { until_ms } => Some(until_ms),
            State::Preparing(_) | State::Prompting { .. } => None,
        }
    }

    fn hides_digits(&self) -> bool {
        self.digits.sensitive
    }
}
