//! `digits` (`keypad`, `input`): gathers keys and goes where they say (contracts/flows.md "digits").
//! Which keys count and what they match is `calls::gather`'s; here are the prompt, the variable and the events.
//! Invariant: a sensitive input appears in no event and no row.

use std::sync::Arc;

use calls::gather;
use serde_json::{Value, json};
use voice::cause::Cause;

use super::{
    Context, Exit, Running, Turn,
    prompt::{Prepared, Preparing, Prompt},
};
use crate::flows::{
    check::fields::{Fields, is_key},
    machine::{Effect, Input, Medium, Sounding},
    model::Edges,
    template::{FillError, MAX_VALUE},
};

/// Most keys in one input.
const MAX_COUNT: u32 = 64;
/// Completes an input unless the author says otherwise.
const USUAL_FINISH: char = '#';
/// Who hears a question answers it within so long, in milliseconds, unless the author says otherwise.
const USUAL_TIMEOUT_MS: u32 = 10_000;
/// Who reads one has other things to do meanwhile, in milliseconds.
const WRITING_TIMEOUT_MS: u32 = 600_000;
/// The variable of the last input.
const LAST_INPUT: &str = "digits";
const TIMEOUT: &str = "timeout";
const INVALID: &str = "invalid";

/// Configuration of a `digits` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Digits {
    /// So many keys complete the input.
    pub count: usize,
    /// Fewer are invalid.
    pub min_digits: usize,
    /// How long to wait for the first key, or for what somebody writes, in milliseconds; none = as long as is usual.
    pub timeout_ms: Option<u32>,
    /// How long to wait for each further key, in milliseconds.
    pub inter_digit_ms: u32,
    /// The key that completes the input and is not part of it.
    pub finish_on_key: Finish,
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

/// Which key completes an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The author does not say: `#`, unless an edge waits for that key.
    Usual,
    /// This one.
    Key(char),
    /// None.
    Never,
}

impl Finish {
    fn key(self, edges: &Edges) -> Option<char> {
        match self {
            Self::Usual => {
                let waited_for = edges.named.iter().any(|(name, _)| name == "hash" || name.contains(USUAL_FINISH));
                (!waited_for).then_some(USUAL_FINISH)
            }
            Self::Key(key) => Some(key),
            Self::Never => None,
        }
    }
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
            None => Finish::Usual,
            Some(Some("")) => Finish::Never,
            Some(_) => fields.key("finish_on_key").map_or(Finish::Usual, Finish::Key),
        };
        Self {
            count: count as usize,
            min_digits: min_digits as usize,
            timeout_ms: fields.value("timeout").is_some().then(|| fields.seconds("timeout", 0.5..=600.0, 10.0)),
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
    matches!(name, TIMEOUT | INVALID | "star" | "hash")
        || (!name.is_empty() && name.trim_start_matches('\\').chars().all(is_key))
}

/// Whether an edge that no key leads to can be an outcome in a chat: any text that somebody may write.
pub(super) fn is_written_edge(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && name.len() <= MAX_VALUE
}

pub(super) fn start(digits: &Arc<Digits>, context: &mut Context<'_>) -> Turn {
    let gathering = Gathering {
        gather: gather::Machine::new(rules(digits, context.edges, context.medium)),
        digits: digits.clone(),
        prompt: State::Silent,
        sound: None,
    };
    gathering.begin(context)
}

fn rules(digits: &Digits, edges: &Edges, medium: Medium) -> gather::Rules {
    let usual_ms = match medium {
        Medium::Call => USUAL_TIMEOUT_MS,
        Medium::Chat => WRITING_TIMEOUT_MS,
    };
    let names = edges.named.iter().map(|(name, _)| name.clone());
    gather::Rules {
        count: digits.count,
        min_digits: digits.min_digits,
        first_timeout_ms: digits.timeout_ms.unwrap_or(usual_ms).into(),
        inter_digit_timeout_ms: digits.inter_digit_ms.into(),
        finish_on_key: digits.finish_on_key.key(edges),
        tries: digits.tries,
        prompt: digits.prompt.is_some(),
        bargein: digits.bargein,
        edges: names.filter(|name| name != TIMEOUT && name != INVALID).collect(),
    }
}

struct Gathering {
    digits: Arc<Digits>,
    gather: gather::Machine,
    prompt: State,
    /// The prompt, once it is there; later tries play it again.
    sound: Option<u64>,
}

enum State {
    Silent,
    Preparing(Preparing),
    Sounding { play: u64 },
}

impl Gathering {
    fn begin(mut self, context: &mut Context<'_>) -> Turn {
        match self.tell(gather::Input::Start, context) {
            Some(exit) => Turn::Done(exit),
            None => Turn::Wait(Box::new(self)),
        }
    }

    /// Tells the gathering what happened and carries out what it wants.
    fn tell(&mut self, input: gather::Input, context: &mut Context<'_>) -> Option<Exit> {
        let effects = self.gather.apply(input, context.now_ms);
        self.carry_out(effects, context)
    }

    /// Takes what somebody wrote as the whole input; what no variable can hold is no answer.
    fn read(&mut self, words: &str, context: &mut Context<'_>) -> Option<Exit> {
        let name = self.digits.variable.as_deref().unwrap_or(LAST_INPUT);
        let words = if context.variables.has_room(name, words).is_ok() { words } else { "" };
        let effects = self.gather.take_words(words, context.now_ms);
        self.carry_out(effects, context)
    }

    fn carry_out(&mut self, effects: Vec<gather::Effect>, context: &mut Context<'_>) -> Option<Exit> {
        let mut batches = vec![effects];
        while let Some(effects) = batches.pop() {
            for effect in effects {
                match effect {
                    gather::Effect::Prompt => {
                        // Without its prompt the step still listens: the customer may know what to press.
                        if let Err(error) = self.sound_prompt(context) {
                            context.emit("step.failed", json!({ "error": format!("prompt: {error}") }));
                            batches.push(self.gather.apply(gather::Input::PromptEnded, context.now_ms));
                        }
                    }
                    gather::Effect::StopPrompt => {
                        if let State::Sounding { .. } = std::mem::replace(&mut self.prompt, State::Silent) {
                            context.push(Effect::StopPlay);
                        }
                    }
                    gather::Effect::Done(outcome) => return Some(self.finish(&outcome, context)),
                }
            }
        }
        None
    }

    fn sound_prompt(&mut self, context: &mut Context<'_>) -> Result<(), FillError> {
        if let Some(sound) = self.sound {
            self.play(sound, context);
        } else if let Some(prompt) = &self.digits.prompt {
            self.prompt = State::Preparing(prompt.prepare(context)?);
        }
        Ok(())
    }

    fn play(&mut self, sound: u64, context: &mut Context<'_>) {
        let play = context.token();
        context.push(Effect::Play { play, what: Sounding::Sound(sound), loops: self.digits.loops });
        self.prompt = State::Sounding { play };
    }

    /// What an input means for the prompt; some = the gathering must know.
    fn prompt_on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<gather::Input> {
        match &mut self.prompt {
            State::Silent => None,
            State::Preparing(preparing) => match preparing.on(input, context)? {
                Prepared::Ready(sound) => {
                    self.sound = Some(sound);
                    self.play(sound, context);
                    None
                }
                Prepared::Failed(error) => {
                    context.emit("step.failed", json!({ "error": format!("prompt: {error}") }));
                    self.prompt = State::Silent;
                    Some(gather::Input::PromptEnded)
                }
            },
            State::Sounding { play } => {
                matches!(input, Input::PlayEnded { play: ended } if ended == play).then_some(gather::Input::PromptEnded)
            }
        }
    }

    fn finish(&self, outcome: &gather::Outcome, context: &mut Context<'_>) -> Exit {
        match outcome {
            gather::Outcome::Timeout => Exit::by(TIMEOUT).or_cause(Cause::NoInput),
            gather::Outcome::Invalid { digits } => {
                self.keep(digits, Some(INVALID), context);
                Exit::by(INVALID).or_cause(Cause::InvalidInput)
            }
            gather::Outcome::Matched { digits, edge } => {
                self.keep(digits, edge.as_deref(), context);
                match edge {
                    // A choice may be as secret as what was typed, and its edge says which it was.
                    Some(edge) => Exit::by(edge.clone()).hidden(self.digits.sensitive && edge != "*"),
                    None => Exit::completed(),
                }
            }
        }
    }

    /// Stores the input and says so.
    fn keep(&self, input: &str, matched: Option<&str>, context: &mut Context<'_>) {
        for name in self.digits.variable.as_deref().into_iter().chain([LAST_INPUT]) {
            if self.digits.sensitive {
                context.variables.set_sensitive(name, input);
            } else {
                context.variables.set(name, input);
            }
        }
        let data = match (self.digits.sensitive, matched) {
            (false, matched) => json!({ "value": input, "match": matched }),
            (true, None | Some("*" | INVALID)) => json!({ "redacted": true, "match": matched }),
            (true, Some(_)) => json!({ "redacted": true, "match": Value::Null }),
        };
        context.emit("input.completed", data);
    }
}

impl Running for Gathering {
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        let told = match input {
            Input::Words(words) => return self.read(words, context),
            Input::Dtmf { symbol, .. } => Some(gather::Input::Key(*symbol)),
            Input::Tick => Some(gather::Input::Tick),
            other => self.prompt_on(other, context),
        };
        self.tell(told?, context)
    }

    fn deadline(&self) -> Option<i64> {
        self.gather.deadline_ms()
    }
}
