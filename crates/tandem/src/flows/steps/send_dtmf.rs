//! `send_dtmf`: sends keys to the customer's side, as an answering system asks for them.

use super::{Context, Exit, Running, Turn};
use crate::flows::{
    check::fields::{Fields, is_key},
    machine::{Effect, Input},
};

/// Most keys in one step.
const MAX_DIGITS: usize = 32;

/// Configuration of a `send_dtmf` step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendDtmf {
    /// Keys, with `w` for half a second of pause and `W` for a whole one.
    pub digits: String,
}

impl SendDtmf {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let digits = fields.required_text("digits").unwrap_or_default();
        let known = digits.chars().all(|c| is_key(c) || c == 'w' || c == 'W');
        if fields.value("digits").is_some_and(serde_json::Value::is_string)
            && (!known || !(1..=MAX_DIGITS).contains(&digits.chars().count()))
        {
            fields.out_of_range("digits", format!("digits must be 1 to {MAX_DIGITS} of 0-9, A-D, *, #, w and W"));
        }
        Self { digits }
    }

    pub(super) fn start(&self, context: &mut Context<'_>) -> Turn {
        let play = context.token();
        context.push(Effect::SendDtmf { play, digits: self.digits.clone() });
        Turn::Wait(Box::new(Sending { play }))
    }
}

struct Sending {
    play: u64,
}

impl Running for Sending {
    fn on(&mut self, input: &Input, _context: &mut Context<'_>) -> Option<Exit> {
        matches!(input, Input::PlayEnded { play } if *play == self.play).then(Exit::completed)
    }
}
