//! The interpreter of a call flow, sans-IO: inputs and the time go in, effects come out.
//!
//! **Contract with the shell.** Call [`Machine::start`] once, then [`Machine::apply`] for each input in the order of
//! events, with a time that never runs backwards; carry the effects out in their order; send [`Input::Tick`] at
//! [`Machine::deadline`]. After [`Input::Ended`] only cancellations come out, and nothing after them.

use std::{collections::VecDeque, sync::Arc};

use serde_json::json;
use voice::cause::Cause;

pub use super::effect::*;
use super::{
    model::{Edges, Flow, Step},
    steps::{Context, Exit, Running, Turn, announcement::Announcing, written},
    template::Variables,
};

/// Visits of one step in one call.
pub const MAX_VISITS: u32 = 100;
/// Steps of one call.
pub const MAX_STEPS_RUN: u32 = 1_000;

/// By what somebody talks to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Medium {
    /// Sounds and keys.
    #[default]
    Call,
    /// Words that are written and read.
    Chat,
}

/// What the machine must know of the call, or of the chat.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Which of the two it is.
    pub medium: Medium,
    /// The call's id (`{{call.id}}`).
    pub call: String,
    /// `{{call.from}}`.
    pub from: String,
    /// `{{call.to}}`.
    pub to: String,
    /// The customer's number: `to` of a call that we place, `from` of one that we get.
    pub customer: String,
    /// Spoken to whoever is going to be recorded.
    pub announcement: Option<String>,
}

/// A run of a flow.
pub struct Machine {
    flow: Arc<Flow>,
    memory: Memory,
    state: State,
    /// Whether the customer is on the line.
    answered: bool,
    /// The cause that a call without its customer ends with.
    unanswered: Option<Cause>,
    visits: Vec<u32>,
    steps_run: u32,
}

/// What a run remembers from step to step.
struct Memory {
    medium: Medium,
    variables: Variables,
    next_token: u64,
    /// When the run's last requests went out.
    http_times: VecDeque<i64>,
    /// The customer's number.
    customer: String,
    /// Spoken to whoever is going to be recorded.
    announcement: Option<String>,
    /// Whether the flow has begun to record the call.
    recording: bool,
}

impl Memory {
    /// What a step sees of the run while it takes one input.
    fn context<'a>(
        &'a mut self,
        step: &'a StepRef,
        edges: &'a Edges,
        now_ms: i64,
        out: &'a mut Vec<Effect>,
    ) -> Context<'a> {
        Context {
            now_ms,
            medium: self.medium,
            step,
            edges,
            variables: &mut self.variables,
            out,
            next_token: &mut self.next_token,
            http_times: &mut self.http_times,
            customer: &self.customer,
            announcement: self.announcement.as_deref(),
            recording: &mut self.recording,
        }
    }
}

enum State {
    /// Not started.
    New,
    /// The announcement of a recorded call is being prepared or played; then the step is entered.
    Announcing { then: Option<usize>, announcing: Announcing },
    /// A step waits.
    Waiting { index: usize, running: Box<dyn Running> },
    /// The hang-up was ordered, or the call handed over.
    Leaving,
    /// The call is over.
    Over,
}

impl Machine {
    /// A run that has not begun.
    #[must_use]
    pub fn new(flow: Arc<Flow>, setup: Setup) -> Self {
        let mut variables = Variables::default();
        variables.set("call.id", setup.call.as_str());
        variables.set("call.from", setup.from.as_str());
        variables.set("call.to", setup.to.as_str());
        let visits = vec![0; flow.steps.len()];
        Self {
            flow,
            memory: Memory {
                medium: setup.medium,
                variables,
                next_token: 0,
                http_times: VecDeque::new(),
                customer: setup.customer,
                announcement: setup.announcement.filter(|words| !words.trim().is_empty()),
                recording: false,
            },
            state: State::New,
            answered: false,
            unanswered: None,
            visits,
            steps_run: 0,
        }
    }

    /// Begins: an outgoing call enters its `call` step, and [`Input::Answered`] or [`Input::NotAnswered`] follows; an
    /// inbound one begins at the first other step when [`Input::Answered`] comes.
    pub fn start(&mut self, now_ms: i64, outgoing: bool) -> Vec<Effect> {
        let mut out = Vec::new();
        if outgoing && matches!(self.state, State::New) {
            self.go(Some(0), now_ms, &mut out);
        }
        out
    }

    /// Takes an input in.
    pub fn apply(&mut self, input: &Input, now_ms: i64) -> Vec<Effect> {
        let mut out = Vec::new();
        match input {
            Input::Ended => self.ended(now_ms, &mut out),
            _ if matches!(self.state, State::Leaving | State::Over) => {}
            Input::Answered => self.answer(now_ms, &mut out),
            Input::NotAnswered { cause } => {
                self.unanswered = Some(*cause);
                self.feed(input, now_ms, &mut out);
            }
            _ => self.feed(input, now_ms, &mut out),
        }
        out
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<i64> {
        match &self.state {
            State::Waiting { running, .. } => running.deadline(),
            _ => None,
        }
    }

    /// Whether the call is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The variables.
    #[must_use]
    pub fn variables(&self) -> &Variables {
        &self.memory.variables
    }

    fn answer(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        if self.answered {
            return;
        }
        self.answered = true;
        if matches!(self.state, State::New) {
            let first = self.flow.steps.iter().position(|step| step.kind.name() != "call");
            return self.announce(first, now_ms, out);
        }
        // Only the `call` step waits for an answer; what follows it begins behind the announcement.
        let Some(exit) = self.feed_running(&Input::Answered, now_ms, out) else {
            return;
        };
        let State::Waiting { index, .. } = self.state else {
            return;
        };
        let next = self.complete(index, &exit, out);
        match next {
            Next::Step(index) => self.announce(Some(index), now_ms, out),
            Next::End(cause) => self.hang_up(cause, out),
            Next::Leave => self.state = State::Leaving,
        }
    }

    /// Starts the recording of a recorded call, after its announcement if there is one, and goes on.
    fn announce(&mut self, then: Option<usize>, now_ms: i64, out: &mut Vec<Effect>) {
        if !self.flow.record || self.memory.medium == Medium::Chat {
            return self.go(then, now_ms, out);
        }
        let memory = &mut self.memory;
        match &memory.announcement {
            Some(words) => {
                let announcing = Announcing::begin(words, &mut memory.next_token, out);
                self.state = State::Announcing { then, announcing };
            }
            None => self.start_recording(then, now_ms, out),
        }
    }

    fn start_recording(&mut self, then: Option<usize>, now_ms: i64, out: &mut Vec<Effect>) {
        out.push(Effect::Record(RecordAction::Start));
        self.memory.recording = true;
        self.go(then, now_ms, out);
    }

    fn feed(&mut self, input: &Input, now_ms: i64, out: &mut Vec<Effect>) {
        if let State::Announcing { then, announcing } = self.state {
            if announcing.on(input, out) {
                self.start_recording(then, now_ms, out);
            }
            return;
        }
        let Some(exit) = self.feed_running(input, now_ms, out) else {
            return;
        };
        let State::Waiting { index, .. } = self.state else {
            return;
        };
        match self.complete(index, &exit, out) {
            Next::Step(next) => self.go(Some(next), now_ms, out),
            Next::End(cause) => self.hang_up(cause, out),
            Next::Leave => self.state = State::Leaving,
        }
    }

    fn feed_running(&mut self, input: &Input, now_ms: i64, out: &mut Vec<Effect>) -> Option<Exit> {
        let flow = self.flow.clone();
        let State::Waiting { index, running } = &mut self.state else {
            return None;
        };
        let step = flow.steps.get(*index)?;
        let reference = reference(step);
        running.on(input, &mut self.memory.context(&reference, &step.edges, now_ms, out))
    }

    /// Enters a step and all that follow it until one waits.
    fn go(&mut self, first: Option<usize>, now_ms: i64, out: &mut Vec<Effect>) {
        let flow = self.flow.clone();
        let mut next = first.map_or(Next::End(Cause::Normal), Next::Step);
        loop {
            let index = match next {
                Next::Step(index) => index,
                Next::End(cause) => return self.hang_up(cause, out),
                Next::Leave => return self.state = State::Leaving,
            };
            let Some(step) = flow.steps.get(index) else {
                return self.hang_up(Cause::FlowError, out);
            };
            if !self.may_visit(index) {
                return self.hang_up(Cause::FlowLimit, out);
            }
            match self.enter(step, now_ms, out) {
                Turn::Wait(running) => {
                    self.state = State::Waiting { index, running };
                    return;
                }
                Turn::Done(exit) => next = self.complete(index, &exit, out),
            }
        }
    }

    fn may_visit(&mut self, index: usize) -> bool {
        self.steps_run += 1;
        let Some(visits) = self.visits.get_mut(index) else {
            return false;
        };
        *visits += 1;
        *visits <= MAX_VISITS && self.steps_run <= MAX_STEPS_RUN
    }

    fn enter(&mut self, step: &Step, now_ms: i64, out: &mut Vec<Effect>) -> Turn {
        let reference = reference(step);
        out.push(Effect::Enter { step: reference.clone(), sensitive: step.kind.is_sensitive() });
        if let Some(cause) = self.unanswered
            && step.kind.needs_customer()
        {
            return Turn::Done(Exit {
                error: Some("this step needs the customer, who is not on the line".to_owned()),
                ..Exit::last("failed", cause)
            });
        }
        let mut context = self.memory.context(&reference, &step.edges, now_ms, out);
        match context.medium {
            Medium::Call => step.kind.start(&mut context),
            Medium::Chat => written::start(&step.kind, &mut context),
        }
    }

    /// Reports the end of a step and finds what follows.
    fn complete(&mut self, index: usize, exit: &Exit, out: &mut Vec<Effect>) -> Next {
        let flow = self.flow.clone();
        let Some(step) = flow.steps.get(index) else {
            return Next::End(Cause::FlowError);
        };
        let target = successor(&step.edges, exit);
        let outcome = if exit.hidden { "redacted" } else { &exit.outcome };
        let next_id = target.and_then(|target| flow.steps.get(target)).map(|step| step.id.as_str());
        if self.memory.variables.take_changed() {
            out.push(Effect::SaveVariables(self.memory.variables.public()));
        }
        let (kind, data) = match &exit.error {
            None => ("step.completed", json!({ "outcome": outcome, "next": next_id })),
            Some(error) => ("step.failed", json!({ "error": error, "outcome": outcome, "next": next_id })),
        };
        out.push(Effect::Emit { kind, step: reference(step), data });
        match target {
            Some(target) => Next::Step(target),
            // A call that its customer never answered ends with the reason for that, whatever the flow did since.
            None => match (self.unanswered, exit.cause) {
                (_, None) => Next::Leave,
                (Some(cause), Some(Cause::Normal)) => Next::End(cause),
                (_, Some(cause)) => Next::End(cause),
            },
        }
    }

    fn hang_up(&mut self, cause: Cause, out: &mut Vec<Effect>) {
        out.push(Effect::Hangup { cause });
        self.state = State::Leaving;
    }

    fn ended(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        let flow = self.flow.clone();
        let State::Waiting { index, mut running } = std::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        let Some(step) = flow.steps.get(index) else {
            return;
        };
        let reference = reference(step);
        running.abandon(&mut self.memory.context(&reference, &step.edges, now_ms, out));
    }
}

enum Next {
    Step(usize),
    End(Cause),
    /// Somebody else has the call now.
    Leave,
}

fn successor(edges: &Edges, exit: &Exit) -> Option<usize> {
    edges.named(&exit.outcome).or(if exit.falls_back { edges.next } else { None })
}

fn reference(step: &Step) -> StepRef {
    StepRef { id: step.id.clone(), kind: step.kind.name() }
}
