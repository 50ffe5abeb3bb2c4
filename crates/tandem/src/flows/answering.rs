//! Lets a saved flow answer a conversation in writing: the machine's other driver, beside `run`, which has a call.
//! Invariant: one task owns the conversation, the machine and its requests; when the conversation is over, all stops.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use calls::{Answering, Correspondence, Fitness, Heard, Written};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kernel::DbError;
use voice::{cause::Cause, leg::PlayId};

use super::{
    Flows, Purpose,
    asking::Asking,
    check,
    machine::{Answer, Effect, Input, Machine, Medium, Setup, Sounding, Source},
    port,
    shelf::Ready,
    steps::written::unknown_steps,
    store::{self, Origin},
};

/// Why a file is not played.
const NO_SOUND: &str = "a chat plays no files";

impl Answering for Flows {
    fn fitness<'a>(&'a self, org: &'a str, flow: &'a str) -> BoxFuture<'a, Result<Option<Fitness>, DbError>> {
        async move {
            let Some(saved) = store::one(&self.kernel().db, org, flow).await? else { return Ok(None) };
            let body = saved.body.unwrap_or_default();
            let checked = check(&body, Purpose::Save, self.kernel().clock.now_ms());
            let warnings = match &checked.flow {
                Some(flow) => unknown_steps(flow).map(|(path, message)| format!("{path}: {message}")).collect(),
                None => vec!["the flow does not run any more: check it".to_owned()],
            };
            Ok(Some(Fitness { name: saved.name, warnings }))
        }
        .boxed()
    }

    fn answer(&self, flow: String, of: Correspondence, mut conversation: Box<dyn Written>) -> BoxFuture<'_, ()> {
        async move {
            match self.ready(&of.org, &flow, self.kernel().clock.now_ms()).await {
                Ok(Some(ready)) => return Talk::begin(self.clone(), flow, of, ready, conversation).drive().await,
                Ok(None) => {
                    tracing::warn!(org = %of.org, %flow, "the product leads to a flow that is gone or does not run")
                }
                Err(error) => {
                    tracing::error!(org = %of.org, %flow, %error, "a flow that answers chats could not be read")
                }
            }
            conversation.end(Cause::FlowError);
            while conversation.next().await != Heard::Over {}
        }
        .boxed()
    }
}

/// A run that talks to somebody in writing.
struct Talk {
    flows: Flows,
    org: Arc<str>,
    run: String,
    machine: Machine,
    conversation: Box<dyn Written>,
    /// The texts of the step that the run is in, by the machine's tokens.
    words: HashMap<u64, String>,
    /// What is being said: the conversation's name for it and the machine's.
    saying: Option<(PlayId, u64)>,
    requests: Asking,
    work: FuturesUnordered<BoxFuture<'static, Option<(u64, Answer)>>>,
}

impl Talk {
    fn begin(
        flows: Flows,
        flow: String,
        of: Correspondence,
        ready: Ready,
        mut conversation: Box<dyn Written>,
    ) -> Box<Self> {
        let kernel = flows.kernel();
        let now_ms = kernel.clock.now_ms();
        let run = kernel.ids.new("run", now_ms);
        let Correspondence { org, room, user_id, product } = of;
        let origin = Origin::Saved { flow, version: ready.version };
        let last_rows = {
            let (org, run) = (org.clone(), run.clone());
            move |cause: &str, at_ms: i64| vec![store::ended_run_write(&org, &run, cause, at_ms)]
        };
        conversation.driven_by(&run, &ready.name, Box::new(last_rows));
        conversation.keep(vec![store::room_run_write(&org, &run, &room, &origin, now_ms)]);
        let setup =
            Setup { medium: Medium::Chat, call: room.to_string(), from: user_id, to: product, ..Setup::default() };
        Box::new(Self {
            requests: Asking::by(kernel.egress.clone()),
            machine: Machine::new(ready.flow, setup),
            flows,
            org,
            run,
            conversation,
            words: HashMap::new(),
            saying: None,
            work: FuturesUnordered::new(),
        })
    }

    async fn drive(mut self: Box<Self>) {
        let clock = self.flows.kernel().clock.clone();
        self.take(Input::Answered);
        while !self.machine.is_over() {
            let deadline = self.machine.deadline();
            let input = tokio::select! {
                heard = self.conversation.next() => self.input_of(heard),
                Some(answered) = self.work.next(), if !self.work.is_empty() => self.answered(answered),
                () = clock.sleep_until(deadline.unwrap_or(i64::MAX)), if deadline.is_some() => Some(Input::Tick),
            };
            if let Some(input) = input {
                self.take(input);
            }
        }
    }

    fn input_of(&mut self, heard: Heard) -> Option<Input> {
        match heard {
            Heard::Said(play) => {
                let (_, token) = self.saying.take_if(|(saying, _)| *saying == play)?;
                Some(Input::PlayEnded { play: token })
            }
            Heard::Words(words) => Some(Input::Words(words)),
            Heard::Over => Some(Input::Ended),
        }
    }

    fn answered(&mut self, answered: Option<(u64, Answer)>) -> Option<Input> {
        let (request, answer) = answered?;
        self.requests.done(request);
        Some(Input::HttpDone { request, answer })
    }

    /// Takes an input in, and what follows from it at once.
    fn take(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.machine.apply(&input, self.flows.kernel().clock.now_ms()) {
                inputs.extend(self.carry_out(effect));
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        if matches!(effect, Effect::Enter { .. }) {
            self.words.clear();
        }
        match port::give(&mut *self.conversation, (&self.org, &self.run), effect)? {
            Effect::Prepare { sound, source: Source::Speech { text, .. } } => {
                self.words.insert(sound, text);
                return Some(Input::SoundReady { sound });
            }
            Effect::Prepare { sound, source: Source::Url(_) } => {
                return Some(Input::SoundFailed { sound, error: NO_SOUND.to_owned() });
            }
            Effect::Release { sound } => {
                self.words.remove(&sound);
            }
            Effect::Play { play, what: Sounding::Sound(sound), loops } => return self.say(play, sound, loops),
            Effect::Http { request, what } => self.work.push(self.requests.ask(request, what).boxed()),
            Effect::CancelHttp { request } => self.requests.cancel(request),
            // Music is for ears, what was written stays written, and the steps of a call order nothing here.
            _ => {}
        }
        None
    }

    fn say(&mut self, play: u64, sound: u64, times: u32) -> Option<Input> {
        let words = self.words.get(&sound).filter(|words| !words.trim().is_empty());
        match words {
            Some(words) => self.saying = Some((self.conversation.say(words.clone(), times), play)),
            // A text whose values are all missing: there is no empty message.
            None => return Some(Input::PlayEnded { play }),
        }
        None
    }
}
