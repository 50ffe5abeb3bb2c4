//! `voicemail`: records a message into the box of a person. `#`, silence or the longest time ends it.

use super::{Context, Exit, Running, Turn};
use crate::flows::{
    check::{Ask, Question, fields::Fields},
    machine::{Effect, Input, Message},
    template::is_number,
};

/// Longest message, in seconds.
const MAX_MESSAGE: f64 = 3_600.0;

/// Configuration of a `voicemail` step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voicemail {
    /// Whose box: the number of a person.
    pub mailbox: String,
    /// Longest message, in milliseconds.
    pub max_ms: u32,
    /// Silence that ends it, in milliseconds.
    pub silence_ms: u32,
    /// Whether a tone says when to speak.
    pub beep: bool,
}

impl Voicemail {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let mailbox = fields.required("box", Fields::integer_template);
        let mailbox = mailbox.fixed().unwrap_or_default().to_owned();
        let path = fields.path("box");
        if is_number(&mailbox) {
            fields.found.questions.push(Question { path: path.into(), ask: Ask::Mailbox(mailbox.clone()) });
        } else if fields.value("box").is_some_and(|given| given.is_string() || given.is_i64()) {
            fields.found.report.error("unknown_entity", path, "box must be the number of a person");
        }
        Self {
            mailbox,
            max_ms: fields.seconds("max", 1.0..=MAX_MESSAGE, 180.0),
            silence_ms: fields.seconds("silence", 1.0..=60.0, 5.0),
            beep: fields.flag("beep", true),
        }
    }

    pub(super) fn start(&self, context: &mut Context<'_>) -> Turn {
        context.push(Effect::Voicemail {
            mailbox: self.mailbox.clone(),
            max_ms: self.max_ms,
            silence_ms: self.silence_ms,
            beep: self.beep,
        });
        Turn::Wait(Box::new(Listening))
    }
}

struct Listening;

impl Running for Listening {
    fn on(&mut self, input: &Input, _context: &mut Context<'_>) -> Option<Exit> {
        match input {
            Input::Message(Message::Left) => Some(Exit::completed()),
            Input::Message(Message::Empty) => Some(Exit::by("empty")),
            _ => None,
        }
    }
}
