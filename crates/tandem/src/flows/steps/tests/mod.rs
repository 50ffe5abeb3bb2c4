//! Each field and each edge of the contract's step table, on the machine alone. A file a step type; a test
//! `field_NAME` or `edge_NAME` fails when that field or edge is ignored; `coverage` compares them with the table.

mod call;
mod callback;
mod conference;
mod connect;
pub(in crate::flows) mod coverage;
mod digits;
mod hangups;
mod http;
mod limits;
mod play;
mod queue;
mod small;
mod stream;
mod written;

use std::sync::Arc;

use serde_json::{Value, json};
use voice::cause::Cause;

use crate::flows::{
    Purpose, check,
    machine::{Answer, Effect, Input, Machine, RecordAction, Setup, Source},
};

/// 2026-11-21T00:00:00Z
pub(super) const NOW: i64 = 1_795_219_200_000;

/// A run on a call that lasts as long as the test likes.
pub(super) struct Run {
    pub(super) machine: Machine,
    pub(super) now_ms: i64,
    /// Every effect so far.
    pub(super) log: Vec<Effect>,
}

impl Run {
    /// A call, the step `s` under test, and the landing places `next`, `a`, `b` and `c`. The call has been answered.
    pub(super) fn of(step: Value) -> Self {
        let mut run = Self::dialling(Self::body(step));
        run.input(Input::Answered);
        run
    }

    pub(super) fn body(mut step: Value) -> Value {
        step["id"] = json!("s");
        let landing = |id: &str| json!({"id": id, "type": "pause", "seconds": 600});
        json!({"flow": [
            {"id": "call", "type": "call", "number": "917507161643", "next_step": "s"},
            step, landing("next"), landing("a"), landing("b"), landing("c"),
        ]})
    }

    /// A run whose phone rings.
    pub(super) fn dialling(body: Value) -> Self {
        let mut run = Self::new(body, Setup::default());
        run.log.extend(run.machine.start(NOW, true));
        run
    }

    pub(super) fn new(body: Value, setup: Setup) -> Self {
        let checked = check(&body, Purpose::Save, NOW);
        let flow = checked.flow.unwrap_or_else(|| panic!("{:?}", checked.report.errors));
        let setup = Setup {
            call: "call_1".into(),
            from: "+442071838750".into(),
            to: "+917507161643".into(),
            customer: if setup.customer.is_empty() { "+917507161643".into() } else { setup.customer },
            ..setup
        };
        Self { machine: Machine::new(Arc::new(flow), setup), now_ms: NOW, log: Vec::new() }
    }

    /// Takes an input in and returns what came of it.
    pub(super) fn input(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.machine.apply(&input, self.now_ms);
        self.log.extend(effects.clone());
        effects
    }

    pub(super) fn keys(&mut self, keys: &str) -> Vec<Effect> {
        keys.chars().flat_map(|symbol| self.input(Input::Dtmf { symbol, duration_ms: 100 })).collect()
    }

    /// Lets time pass, ticking at every deadline.
    pub(super) fn wait(&mut self, ms: i64) -> Vec<Effect> {
        let end = self.now_ms + ms;
        let mut effects = Vec::new();
        while let Some(at) = self.machine.deadline().filter(|at| *at <= end) {
            self.now_ms = at.max(self.now_ms);
            effects.extend(self.input(Input::Tick));
        }
        self.now_ms = end;
        effects
    }

    /// The sound that was asked for last is there.
    pub(super) fn sound_ready(&mut self) -> Vec<Effect> {
        let sound = self.find(|effect| if let Effect::Prepare { sound, .. } = effect { Some(*sound) } else { None });
        self.input(Input::SoundReady { sound })
    }

    pub(super) fn sound_failed(&mut self) -> Vec<Effect> {
        let sound = self.find(|effect| if let Effect::Prepare { sound, .. } = effect { Some(*sound) } else { None });
        self.input(Input::SoundFailed { sound, error: "404".into() })
    }

    /// What plays, or the keys being sent, come to their end.
    pub(super) fn play_ended(&mut self) -> Vec<Effect> {
        let play = self.find(|effect| match effect {
            Effect::Play { play, .. } | Effect::SendDtmf { play, .. } => Some(*play),
            _ => None,
        });
        self.input(Input::PlayEnded { play })
    }

    /// A sound is fetched and played to its end.
    pub(super) fn hear(&mut self) {
        self.sound_ready();
        self.play_ended();
    }

    pub(super) fn http_done(&mut self, answer: Answer) -> Vec<Effect> {
        let request = self.find(|effect| if let Effect::Http { request, .. } = effect { Some(*request) } else { None });
        self.input(Input::HttpDone { request, answer })
    }

    pub(super) fn respond(&mut self, status: u16, body: &str) -> Vec<Effect> {
        self.http_done(Answer::Response { status, body: body.into() })
    }

    /// The newest effect of a kind.
    #[track_caller]
    pub(super) fn find<T>(&self, pick: impl FnMut(&Effect) -> Option<T>) -> T {
        self.log.iter().rev().find_map(pick).expect("no such effect")
    }

    pub(super) fn all<T>(&self, pick: impl FnMut(&Effect) -> Option<T>) -> Vec<T> {
        self.log.iter().filter_map(pick).collect()
    }

    /// Ids of the steps entered.
    pub(super) fn path(&self) -> Vec<String> {
        self.all(|effect| if let Effect::Enter { step, .. } = effect { Some(step.id.to_string()) } else { None })
    }

    /// Where it is.
    pub(super) fn at(&self) -> String {
        self.path().pop().unwrap_or_default()
    }

    /// The events of a type.
    pub(super) fn events(&self, wanted: &str) -> Vec<Value> {
        self.all(|effect| match effect {
            Effect::Emit { kind, data, .. } if *kind == wanted => Some(data.clone()),
            _ => None,
        })
    }

    /// Outcome of the step under test.
    pub(super) fn outcome(&self) -> Value {
        let done = self.all(|effect| match effect {
            Effect::Emit { kind: "step.completed" | "step.failed", step, data }
                if step.id.as_str() == "s" && data.get("outcome").is_some() =>
            {
                Some(data["outcome"].clone())
            }
            _ => None,
        });
        done.last().cloned().unwrap_or_default()
    }

    pub(super) fn hung_up(&self) -> Option<Cause> {
        self.all(|effect| if let Effect::Hangup { cause } = effect { Some(*cause) } else { None }).first().copied()
    }

    pub(super) fn plays(&self) -> usize {
        self.all(|effect| matches!(effect, Effect::Play { .. }).then_some(())).len()
    }

    pub(super) fn sources(&self) -> Vec<Source> {
        self.all(|effect| if let Effect::Prepare { source, .. } = effect { Some(source.clone()) } else { None })
    }

    pub(super) fn recordings(&self) -> Vec<RecordAction> {
        self.all(|effect| if let Effect::Record(action) = effect { Some(*action) } else { None })
    }

    pub(super) fn saved(&self) -> Value {
        self.all(|effect| if let Effect::SaveVariables(map) = effect { Some(Value::Object(map.clone())) } else { None })
            .pop()
            .unwrap_or_default()
    }
}

pub(super) fn speech(text: &str) -> Source {
    Source::Speech { text: text.into(), voice: None, language: None }
}
