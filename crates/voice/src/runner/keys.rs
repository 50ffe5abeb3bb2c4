//! Keys that a leg is being sent: as RFC 4733 events where the other side takes them, as tones where not.
//!
//! Invariant: whoever asked for digits to be sent is told once, when all that was asked for until then is out.

use std::collections::VecDeque;

use media::dtmf::{Digit, EventPacket, EventSender};
use media::frame::{FRAME_MS, MAX_FRAME_SAMPLES};
use media::tone::{Generator, Tone};

use super::remote::Remote;
use crate::leg::PlayId;

/// How long a key of [`Keys::dial`] is held, in milliseconds.
const KEY_MS: u32 = 100;
/// Silence after a key that is sent as a tone, in milliseconds.
const TONE_GAP_MS: u32 = 80;
/// The pause of a `w`, in milliseconds.
const SHORT_PAUSE_MS: u32 = 500;
/// The pause of a `W`, in milliseconds.
const LONG_PAUSE_MS: u32 = 1_000;
/// Tones and pauses that may wait: the contract's 32 digits, each with its gap, twice over.
const MAX_TONES: usize = 128;

/// Keys under way to one leg.
#[derive(Debug)]
pub(super) struct Keys {
    manner: Manner,
    plays: Vec<PlayId>,
}

#[derive(Debug)]
enum Manner {
    Events(EventSender),
    Tones(Tones),
}

/// What a tick asks to be sent.
pub(super) enum KeyTick<'a> {
    /// Nothing: audio goes on.
    Audio,
    /// Nothing, and audio is silent: a key sounds.
    Hush,
    /// This packet, instead of audio.
    Event(EventPacket),
    /// This frame, instead of other audio.
    Tone(&'a [i16]),
}

impl Keys {
    /// For the other side as agreed.
    pub(super) fn new(remote: &Remote) -> Self {
        let manner = match remote.events {
            Some(events) => Manner::Events(EventSender::new(events.clock_rate)),
            None => Manner::Tones(Tones::new(remote.codec.sample_rate())),
        };
        Self { manner, plays: Vec::new() }
    }

    /// Queues digits and pauses; other characters are left out.
    pub(super) fn dial(&mut self, digits: &str, play: PlayId) {
        for symbol in digits.chars() {
            match symbol {
                'w' => self.pause(SHORT_PAUSE_MS),
                'W' => self.pause(LONG_PAUSE_MS),
                symbol => self.press(Digit { symbol, duration_ms: KEY_MS }),
            }
        }
        self.plays.push(play);
    }

    /// Queues one key.
    pub(super) fn press(&mut self, digit: Digit) {
        match &mut self.manner {
            Manner::Events(sender) => {
                sender.push(digit);
            }
            Manner::Tones(tones) => tones.press(digit),
        }
    }

    /// Moves on by 20 ms.
    pub(super) fn tick(&mut self) -> KeyTick<'_> {
        match &mut self.manner {
            Manner::Events(sender) => match sender.tick() {
                Some(event) => KeyTick::Event(event),
                None if sender.is_sounding() => KeyTick::Hush,
                None => KeyTick::Audio,
            },
            Manner::Tones(tones) => tones.tick().map_or(KeyTick::Audio, KeyTick::Tone),
        }
    }

    /// Whether a key sounds now, so that audio from elsewhere is left out.
    pub(super) fn is_sounding(&self) -> bool {
        match &self.manner {
            Manner::Events(sender) => sender.is_sounding(),
            Manner::Tones(tones) => tones.current.is_some(),
        }
    }

    /// Whether all is out.
    pub(super) fn is_idle(&self) -> bool {
        match &self.manner {
            Manner::Events(sender) => sender.is_idle(),
            Manner::Tones(tones) => tones.current.is_none() && tones.queue.is_empty(),
        }
    }

    /// Who is to be told, once idle.
    pub(super) fn into_plays(self) -> Vec<PlayId> {
        self.plays
    }

    fn pause(&mut self, ms: u32) {
        match &mut self.manner {
            Manner::Events(sender) => {
                sender.pause(ms);
            }
            Manner::Tones(tones) => tones.push(Sounding::Pause, ms),
        }
    }
}

/// Keys as tones.
#[derive(Debug)]
struct Tones {
    rate: u32,
    queue: VecDeque<(Sounding, u32)>,
    current: Option<(Option<Generator>, u32)>,
    frame: Box<[i16]>,
}

#[derive(Clone, Copy, Debug)]
enum Sounding {
    Key(char),
    Pause,
}

impl Tones {
    fn new(rate: u32) -> Self {
        let frame = vec![0; media::frame::samples(rate).min(MAX_FRAME_SAMPLES)].into_boxed_slice();
        Self { rate, queue: VecDeque::new(), current: None, frame }
    }

    fn press(&mut self, digit: Digit) {
        if media::dtmf::tone_pair(digit.symbol).is_some() {
            self.push(Sounding::Key(digit.symbol), digit.duration_ms.clamp(KEY_MS, 1_000));
            self.push(Sounding::Pause, TONE_GAP_MS);
        }
    }

    fn push(&mut self, what: Sounding, ms: u32) {
        if self.queue.len() < MAX_TONES {
            self.queue.push_back((what, ms.div_ceil(FRAME_MS)));
        }
    }

    fn tick(&mut self) -> Option<&[i16]> {
        if self.current.is_none() {
            let (what, frames) = self.queue.pop_front()?;
            let generator = match what {
                Sounding::Key(symbol) => Some(Generator::new(Tone::Key(symbol), self.rate)),
                Sounding::Pause => None,
            };
            self.current = Some((generator, frames));
        }
        let (generator, frames) = self.current.as_mut()?;
        match generator {
            Some(generator) => {
                generator.fill(&mut self.frame);
            }
            None => self.frame.fill(0),
        }
        *frames = frames.saturating_sub(1);
        if *frames == 0 {
            self.current = None;
        }
        Some(&self.frame)
    }
}
