//! What is heard: a text to speak or a URL to fetch, the text standing in when the URL fails
//! (contracts/flows.md "play").

use super::Context;
use crate::flows::{
    check::fields::Fields,
    machine::{Effect, Input, Medium, Source},
    template::{FillError, Template},
};

/// A text, a URL or both.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    /// Spoken.
    pub text: Option<Template>,
    /// wav, mp3, ogg or opus.
    pub url: Option<Template>,
    /// A voice's name.
    pub voice: Option<String>,
    /// The text's language, such as `en` or `de-DE`.
    pub language: Option<String>,
}

impl Prompt {
    /// Reads `text`, `url`, `voice` and `language`; one of the first two must be there.
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let text = fields.spoken("text").filter(|text| text.fixed() != Some(""));
        let given = |value: Option<&serde_json::Value>| value.is_some_and(|value| value.as_str() != Some(""));
        let any_given = given(fields.value("text")) || fields.value("url").is_some();
        let prompt =
            Self { url: fields.url("url"), voice: fields.text("voice"), language: fields.text("language"), text };
        if !any_given {
            let path = fields.here();
            fields.found.report.error("text_or_url_required", path, "a text or a url must be there");
        }
        if prompt.text.is_some() && prompt.url.is_some() {
            let path = fields.path("text");
            fields.found.report.warn(
                "text_is_fallback",
                path,
                "the url is played; the text is spoken only when that fails",
            );
        }
        prompt
    }

    /// Reads a field that is a text to speak, or an object as [`Prompt::read`] takes it.
    pub(super) fn read_field(fields: &mut Fields<'_>, name: &'static str) -> Option<Self> {
        if fields.value(name)?.is_string() {
            let text = fields.spoken(name)?;
            return Some(Self { text: Some(text), ..Self::default() });
        }
        let mut inner = fields.inner(name)?;
        let prompt = Self::read(&mut inner);
        inner.finish();
        Some(prompt)
    }

    /// Asks for the sound. With a URL that cannot be filled the text is taken at once.
    pub(super) fn prepare(&self, context: &mut Context<'_>) -> Result<Preparing, FillError> {
        let url = self.url.as_ref().map(|url| url.url(context.variables));
        let text = self.text.as_ref().map(|text| self.spoken(text, context));
        let (first, fallback) = match (url, text) {
            (Some(Ok(url)), text) => (Source::Url(url), text),
            (Some(Err(error)), None) => return Err(error),
            (_, Some(text)) => (text, None),
            (None, None) => (Source::words(""), None),
        };
        let sound = context.token();
        context.push(Effect::Prepare { sound, source: first });
        Ok(Preparing { sound, fallback })
    }

    fn spoken(&self, text: &Template, context: &Context<'_>) -> Source {
        Source::Speech {
            text: match context.medium {
                Medium::Call => text.speech(context.variables),
                Medium::Chat => text.words(context.variables),
            },
            voice: self.voice.clone(),
            language: self.language.clone(),
        }
    }
}

/// A sound that was asked for.
#[derive(Debug)]
pub(super) struct Preparing {
    sound: u64,
    fallback: Option<Source>,
}

/// What became of a [`Preparing`].
pub(super) enum Prepared {
    Ready(u64),
    Failed(String),
}

impl Preparing {
    /// Takes an input in; none = not yet, or not about this sound.
    pub(super) fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Prepared> {
        match input {
            Input::SoundReady { sound } if *sound == self.sound => Some(Prepared::Ready(self.sound)),
            Input::SoundFailed { sound, error } if *sound == self.sound => match self.fallback.take() {
                None => Some(Prepared::Failed(error.clone())),
                Some(source) => {
                    self.sound = context.token();
                    context.push(Effect::Prepare { sound: self.sound, source });
                    None
                }
            },
            _ => None,
        }
    }
}

/// A sound that is left out when it cannot be had.
#[derive(Debug)]
pub(super) enum Piece {
    Preparing(Preparing),
    Ready(u64),
    Missing,
}

impl Piece {
    pub(super) fn ask(prompt: &Prompt, context: &mut Context<'_>) -> Self {
        prompt.prepare(context).map_or(Self::Missing, Self::Preparing)
    }

    /// The words for somebody who is going to be recorded, if there are any.
    pub(super) fn announcement(context: &mut Context<'_>) -> Option<Self> {
        let source = Source::words(context.announcement?);
        let sound = context.token();
        context.push(Effect::Prepare { sound, source });
        Some(Self::Preparing(Preparing { sound, fallback: None }))
    }

    /// Takes an input in; true = now it is ready.
    pub(super) fn on(&mut self, input: &Input, context: &mut Context<'_>) -> bool {
        let Self::Preparing(preparing) = self else { return false };
        match preparing.on(input, context) {
            Some(Prepared::Ready(sound)) => *self = Self::Ready(sound),
            Some(Prepared::Failed(_)) => *self = Self::Missing,
            None => {}
        }
        self.ready().is_some()
    }

    pub(super) fn is_settled(&self) -> bool {
        !matches!(self, Self::Preparing(_))
    }

    pub(super) fn ready(&self) -> Option<u64> {
        match self {
            Self::Ready(sound) => Some(*sound),
            Self::Preparing(_) | Self::Missing => None,
        }
    }
}

/// What somebody hears who waits.
#[derive(Debug, Clone, PartialEq)]
pub enum Music {
    /// The built-in music.
    BuiltIn,
    /// A ringing tone.
    Ringback,
    /// Comfort silence.
    Silence,
    /// A sound of the author's.
    Prompt(Prompt),
}

impl Music {
    /// Reads a field: `music`, `ringback`, `silence`, a URL, or an object with `url` or `text`.
    pub(super) fn read(fields: &mut Fields<'_>, name: &'static str) -> Option<Self> {
        let value = fields.value(name)?;
        Some(match value.as_str() {
            Some("music") => Self::BuiltIn,
            Some("ringback") => Self::Ringback,
            Some("silence") => Self::Silence,
            Some(_) => Self::Prompt(Prompt { url: fields.url(name), ..Prompt::default() }),
            None => Self::Prompt(Prompt::read_field(fields, name)?),
        })
    }
}
