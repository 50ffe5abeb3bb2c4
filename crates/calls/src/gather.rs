//! The digits step as a pure machine: which keys count, when the input is complete, what it matches.
//!
//! Time and keys come in, prompts and one outcome go out. Invariant: exactly one
//! [`Effect::Done`] per machine, at the latest `tries` prompts plus their time-outs after the start.
//! Source: docs/contracts/flows.md, "digits".

/// What the step's author asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Complete when this many digits were pressed (1-64).
    pub count: usize,
    /// Fewer than this is invalid.
    pub min_digits: usize,
    /// Longest wait for the first digit after the prompt, in milliseconds.
    pub first_timeout_ms: i64,
    /// Longest wait for each further digit, in milliseconds.
    pub inter_digit_timeout_ms: i64,
    /// Completes the input and is never stored; `None` lets `#` be collected.
    pub finish_on_key: Option<char>,
    /// How often the prompt is played at most (1 = no repetition).
    pub tries: u32,
    /// A prompt is played before each try.
    pub prompt: bool,
    /// The first key stops the prompt; otherwise keys are kept until the prompt's end.
    pub bargein: bool,
    /// The keys of the step's edges without `timeout` and `invalid`, as the author wrote them.
    /// Empty: any input will do.
    pub edges: Vec<String>,
}

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The step begins.
    Start,
    /// The prompt was heard to its end (or could not be played).
    PromptEnded,
    /// A key was pressed.
    Key(char),
    /// Time has passed; see [`Machine::deadline_ms`].
    Tick,
}

/// What the machine wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Play the prompt from its beginning and report its end.
    Prompt,
    /// Stop the prompt; its end is no longer of interest.
    StopPrompt,
    /// The step is over.
    Done(Outcome),
}

/// How the step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The input is good.
    Matched {
        /// What was pressed, without the finish key.
        digits: String,
        /// The edge's key as the author wrote it; `None` when the step names no keys.
        edge: Option<String>,
    },
    /// The last try's input was too short or matches no edge.
    Invalid {
        /// What was pressed.
        digits: String,
    },
    /// Nothing was pressed in the last try.
    Timeout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Prompting,
    Listening,
    Done,
}

/// One run of the digits step.
#[derive(Debug)]
pub struct Machine {
    rules: Rules,
    phase: Phase,
    tries_left: u32,
    digits: String,
    finished: bool,
    deadline_ms: Option<i64>,
}

impl Machine {
    /// A machine that has not begun.
    pub fn new(rules: Rules) -> Self {
        let tries_left = rules.tries.max(1);
        Self { rules, phase: Phase::Idle, tries_left, digits: String::new(), finished: false, deadline_ms: None }
    }

    /// When [`Input::Tick`] is due next, in the clock's milliseconds.
    pub fn deadline_ms(&self) -> Option<i64> {
        self.deadline_ms
    }

    /// The step is over.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Takes one input at `now_ms` and says what is to be done.
    pub fn apply(&mut self, input: Input, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        match (input, self.phase) {
            (Input::Start, Phase::Idle) => self.begin_try(now_ms, &mut effects),
            (Input::PromptEnded, Phase::Prompting) => self.listen(now_ms, &mut effects),
            (Input::Key(key), Phase::Prompting) => {
                self.take(key);
                if self.rules.bargein {
                    effects.push(Effect::StopPrompt);
                    self.listen(now_ms, &mut effects);
                }
            }
            (Input::Key(key), Phase::Listening) => {
                self.take(key);
                self.listen(now_ms, &mut effects);
            }
            (Input::Tick, Phase::Listening) if self.deadline_ms.is_some_and(|at| at <= now_ms) => {
                self.complete(now_ms, &mut effects);
            }
            _ => {}
        }
        effects
    }

    /// Takes a whole input at once, as somebody writes it: neither a count of digits nor a finishing key applies. Before
    /// the prompt was read it is no answer.
    pub fn take_words(&mut self, words: &str, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.phase == Phase::Listening {
            self.digits = words.trim().to_owned();
            let outcome = self.judge_words();
            self.close(outcome, now_ms, &mut effects);
        }
        effects
    }

    fn begin_try(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        self.digits.clear();
        self.finished = false;
        self.deadline_ms = None;
        if self.rules.prompt {
            self.phase = Phase::Prompting;
            effects.push(Effect::Prompt);
        } else {
            self.listen(now_ms, effects);
        }
    }

    /// Waits for the next key, unless what was pressed so far already completes the input.
    fn listen(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        self.phase = Phase::Listening;
        if self.finished || self.digits.len() >= self.rules.count {
            return self.complete(now_ms, effects);
        }
        let wait_ms =
            if self.digits.is_empty() { self.rules.first_timeout_ms } else { self.rules.inter_digit_timeout_ms };
        self.deadline_ms = Some(now_ms + wait_ms);
    }

    fn take(&mut self, key: char) {
        let key = key.to_ascii_uppercase();
        let is_key = matches!(key, '0'..='9' | 'A'..='D' | '*' | '#');
        if !is_key || self.finished || self.digits.len() >= self.rules.count {
            return;
        }
        if self.rules.finish_on_key == Some(key) {
            self.finished = true;
        } else {
            self.digits.push(key);
        }
    }

    fn complete(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        let outcome = self.judge();
        self.close(outcome, now_ms, effects);
    }

    fn close(&mut self, outcome: Outcome, now_ms: i64, effects: &mut Vec<Effect>) {
        self.tries_left = self.tries_left.saturating_sub(1);
        let good = matches!(outcome, Outcome::Matched { .. });
        if good || self.tries_left == 0 {
            self.phase = Phase::Done;
            self.deadline_ms = None;
            effects.push(Effect::Done(outcome));
        } else {
            self.begin_try(now_ms, effects);
        }
    }

    fn judge(&self) -> Outcome {
        let digits = self.digits.clone();
        if digits.is_empty() && !self.finished {
            return Outcome::Timeout;
        }
        if digits.is_empty() || digits.len() < self.rules.min_digits {
            return Outcome::Invalid { digits };
        }
        self.match_edge(digits)
    }

    fn judge_words(&self) -> Outcome {
        let digits = self.digits.clone();
        if digits.is_empty() { Outcome::Invalid { digits } } else { self.match_edge(digits) }
    }

    fn match_edge(&self, digits: String) -> Outcome {
        if self.rules.edges.is_empty() {
            return Outcome::Matched { digits, edge: None };
        }
        match matching_edge(&self.rules.edges, &digits) {
            Some(edge) => Outcome::Matched { edge: Some(edge.to_owned()), digits },
            None => Outcome::Invalid { digits },
        }
    }
}

/// The edge that an input takes: the exact text, else its alias (`star`, `hash`, and `\*` for a
/// literal star), else `*` for any input that is not empty.
pub fn matching_edge<'a>(edges: &'a [String], digits: &str) -> Option<&'a str> {
    if digits.is_empty() {
        return None;
    }
    let find = |wanted: &str| edges.iter().map(String::as_str).find(|&edge| edge == wanted);
    let alias = match digits {
        "*" => find("star").or_else(|| find(r"\*")),
        "#" => find("hash"),
        _ => None,
    };
    // "*" is both a key and the word for "any": only an alias tells a pressed star apart.
    let exact = if digits == "*" { None } else { find(digits) };
    exact.or(alias).or_else(|| find("*"))
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
