//! `play` (`say`): speaks a text or plays a URL, some times over. A failure goes to `fail`, else on; the caller is
//! never dropped for it.

use std::sync::Arc;

use super::{
    Context, Exit, Running, Turn,
    prompt::{Prepared, Preparing, Prompt},
};
use crate::flows::{
    check::fields::Fields,
    machine::{Effect, Input, Sounding},
};

pub(super) const EDGES: &[&str] = &["fail"];

/// Configuration of a `play` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    /// What is heard.
    pub prompt: Prompt,
    /// How often, 1 to 20.
    pub loops: u32,
    /// Whether a key ends it.
    pub bargein: bool,
}

impl Play {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            prompt: Prompt::read(fields),
            loops: fields.integer("loop", 1..=20, 1),
            bargein: fields.flag("bargein", false),
        }
    }
}

pub(super) fn start(play: &Arc<Play>, context: &mut Context<'_>) -> Turn {
    match play.prompt.prepare(context) {
        Ok(preparing) => Turn::Wait(Box::new(Playing { play: play.clone(), state: State::Preparing(preparing) })),
        Err(error) => Turn::Done(Exit::failed("fail", error.to_string())),
    }
}

struct Playing {
    play: Arc<Play>,
    state: State,
}

enum State {
    Preparing(Preparing),
    Sounding { play: u64 },
}

impl Running for Playing {
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        if let Input::Dtmf { .. } = input
            && self.play.bargein
        {
            if let State::Sounding { .. } = self.state {
                context.push(Effect::StopPlay);
            }
            return Some(Exit::by("bargein"));
        }
        match &mut self.state {
            State::Preparing(preparing) => match preparing.on(input, context)? {
                Prepared::Failed(error) => Some(Exit::failed("fail", error)),
                Prepared::Ready(sound) => {
                    let play = context.token();
                    context.push(Effect::Play { play, what: Sounding::Sound(sound), loops: self.play.loops });
                    self.state = State::Sounding { play };
                    None
                }
            },
            State::Sounding { play } => {
                matches!(input, Input::PlayEnded { play: ended } if ended == play).then(Exit::completed)
            }
        }
    }
}
