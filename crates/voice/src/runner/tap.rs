//! A tap on one leg: what it says and is told as mu-law frames for a program, and what that program says to it.
//!
//! The media thread hands 20 ms frames over by a bounded channel and never waits: what finds no room is dropped and counted.
//! Invariant: while a tap is open each of its directions gives one frame a tick, silence where nothing came.

use std::collections::VecDeque;

use media::bridge::{Ear, Mouth};
use media::codec::{CodecKind, Decoder};
use media::rtp::Packet;
use tokio::sync::mpsc;

/// Bytes of a frame: 20 ms of mu-law at 8000 Hz.
pub const TAP_FRAME_BYTES: usize = 160;
/// Samples a second.
const RATE: u32 = 8_000;
/// Frames on their way to the program: a second of both directions.
const MAX_FRAMES: usize = 100;
/// What the program may say ahead of time, in bytes: two minutes.
const MAX_SPEECH_BYTES: usize = 120 * RATE as usize;
/// Marks that it may set in it.
const MAX_MARKS: usize = 1_024;

/// 20 ms of mu-law.
pub type TapFrame = [u8; TAP_FRAME_BYTES];

/// Which directions a tap copies, and whether the program is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapTrack {
    /// What the party says.
    Inbound,
    /// What the party is told.
    Outbound,
    /// Both of them.
    Both,
    /// What the party says; the party hears the program.
    Bidirectional,
}

/// What a tap gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapEvent {
    /// What the party said.
    Inbound(TapFrame),
    /// What the party was told.
    Outbound(TapFrame),
    /// Everything before this mark was heard, or cleared.
    Mark(u32),
}

/// What a tap is told.
#[derive(Debug)]
pub(super) enum TapOrder {
    Open(TapTrack, mpsc::Sender<TapEvent>),
    /// Mu-law at 8000 Hz, to be heard after what was said before.
    Say(Box<[u8]>),
    Mark(u32),
    /// Forget what is still to be heard.
    Clear,
    Close,
}

/// The near end of a tap's channel.
pub(super) fn channel() -> (mpsc::Sender<TapEvent>, mpsc::Receiver<TapEvent>) {
    mpsc::channel(MAX_FRAMES)
}

/// An open tap.
pub(super) struct Tap {
    track: TapTrack,
    events: mpsc::Sender<TapEvent>,
    inbound: Option<Mouth>,
    outbound: Option<Mouth>,
    /// Hears what the leg is sent.
    sent: Option<Ear>,
    decoder: Option<Decoder>,
    speech: VecDeque<u8>,
    /// Marks, and how many bytes are to be heard before each, counted from the first one ever.
    marks: VecDeque<(u64, u32)>,
    said: u64,
    heard: u64,
}

impl Tap {
    pub(super) fn new(track: TapTrack, events: mpsc::Sender<TapEvent>) -> Self {
        let mouth = |wanted: bool| wanted.then(|| Mouth::new(CodecKind::Pcmu).ok()).flatten();
        Self {
            track,
            events,
            inbound: mouth(track != TapTrack::Outbound),
            outbound: mouth(matches!(track, TapTrack::Outbound | TapTrack::Both)),
            sent: None,
            decoder: Decoder::new(CodecKind::Pcmu).ok().filter(|_| track == TapTrack::Bidirectional),
            speech: VecDeque::new(),
            marks: VecDeque::new(),
            said: 0,
            heard: 0,
        }
    }

    /// Takes what the program says.
    pub(super) fn say(&mut self, speech: &[u8]) {
        if self.track != TapTrack::Bidirectional {
            return;
        }
        let room = MAX_SPEECH_BYTES.saturating_sub(self.speech.len());
        let taken = speech.get(..room).unwrap_or(speech);
        if taken.len() < speech.len() {
            metrics::counter!("voice_stream_speech_dropped_total").increment(1);
        }
        self.speech.extend(taken);
        self.said += taken.len() as u64;
    }

    /// Tells when everything so far was heard.
    pub(super) fn mark(&mut self, mark: u32) {
        if self.marks.len() < MAX_MARKS {
            self.marks.push_back((self.said, mark));
        }
    }

    /// Forgets what is still to be heard; its marks are told.
    pub(super) fn clear(&mut self) {
        self.speech.clear();
        self.heard = self.said;
    }

    /// The next 20 ms that the program says, into `frame`, with their rate; none when it is silent.
    pub(super) fn speech<'a>(&mut self, frame: &'a mut [i16]) -> Option<(u32, &'a [i16])> {
        if self.speech.is_empty() {
            return None;
        }
        let decoder = self.decoder.as_mut()?;
        let mut payload = [0xff; TAP_FRAME_BYTES];
        let taken = self.speech.len().min(TAP_FRAME_BYTES);
        for (to, from) in payload.iter_mut().zip(self.speech.drain(..taken)) {
            *to = from;
        }
        self.heard += taken as u64;
        let samples = decoder.decode(&payload, frame).ok()?;
        Some((RATE, frame.get(..samples)?))
    }

    /// Takes a packet that the leg is sent, in the clear.
    pub(super) fn sent(&mut self, now_us: u64, kind: CodecKind, packet: &[u8]) {
        if self.outbound.is_none() {
            return;
        }
        if self.sent.as_ref().is_none_or(|ear| ear.kind() != kind) {
            self.sent = Ear::new(kind).ok();
        }
        if let (Some(ear), Ok(packet)) = (&mut self.sent, Packet::parse(packet)) {
            ear.push(now_us, &packet);
        }
    }

    /// Hands this tick's frames over. `said` is what the leg said, with its rate.
    pub(super) fn tick(&mut self, now_us: u64, said: Option<(u32, &[i16])>) {
        if let Some(frame) = code(&mut self.inbound, said) {
            self.give(TapEvent::Inbound(frame));
        }
        let told = self.sent.as_mut().map(|ear| (ear.kind().sample_rate(), ear.pull(now_us)));
        if let Some(frame) = code(&mut self.outbound, told) {
            self.give(TapEvent::Outbound(frame));
        }
        while let Some((at, mark)) = self.marks.front().copied() {
            // A mark is told in the end, however full the channel is.
            if at > self.heard || self.events.try_send(TapEvent::Mark(mark)).is_err() {
                break;
            }
            self.marks.pop_front();
        }
    }

    fn give(&self, event: TapEvent) {
        if self.events.try_send(event).is_err() {
            metrics::counter!("voice_stream_frames_dropped_total").increment(1);
        }
    }
}

/// A direction's frame, if it is copied; silence when there was none.
fn code(mouth: &mut Option<Mouth>, pcm: Option<(u32, &[i16])>) -> Option<TapFrame> {
    const SILENCE: [i16; RATE as usize / 50] = [0; RATE as usize / 50];
    let mouth = mouth.as_mut()?;
    let (rate, pcm) = pcm.unwrap_or((RATE, &SILENCE));
    let mut frame = [0xff; TAP_FRAME_BYTES];
    mouth.speak(rate, pcm, &mut frame).ok()?;
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for a decoded frame.
    const SPEECH_SAMPLES: usize = media::frame::MAX_FRAME_SAMPLES;
    const LOUD: [i16; 160] = [8_000; 160];

    fn open(track: TapTrack) -> (Tap, mpsc::Receiver<TapEvent>) {
        let (sender, receiver) = channel();
        (Tap::new(track, sender), receiver)
    }

    fn told(events: &mut mpsc::Receiver<TapEvent>) -> Vec<TapEvent> {
        std::iter::from_fn(|| events.try_recv().ok()).collect()
    }

    #[test]
    fn each_tick_gives_a_frame_of_each_direction_that_is_copied() {
        for (track, inbound, outbound) in [
            (TapTrack::Inbound, 3, 0),
            (TapTrack::Outbound, 0, 3),
            (TapTrack::Both, 3, 3),
            (TapTrack::Bidirectional, 3, 0),
        ] {
            let (mut tap, mut events) = open(track);
            for tick in 0..3 {
                tap.tick(tick * 20_000, (tick == 1).then_some((8_000, &LOUD[..])));
            }
            let told = told(&mut events);
            let copied = |event: &&TapEvent| matches!(event, TapEvent::Inbound(_));
            assert_eq!(told.iter().filter(copied).count(), inbound, "{track:?}");
            assert_eq!(told.len() - inbound, outbound, "{track:?}");
        }
    }

    #[test]
    fn what_finds_no_room_is_dropped_but_no_mark() {
        let (mut tap, mut events) = open(TapTrack::Bidirectional);
        tap.mark(7);
        tap.events.try_send(TapEvent::Mark(0)).unwrap();
        for tick in 0..200 {
            tap.tick(tick * 20_000, None);
        }
        assert_eq!(told(&mut events).len(), MAX_FRAMES);
        tap.mark(8);
        tap.tick(0, None);
        assert!(told(&mut events).contains(&TapEvent::Mark(8)));
    }

    #[test]
    fn speech_is_heard_in_order_and_marks_tell_when() {
        let (mut tap, mut events) = open(TapTrack::Bidirectional);
        let mut frame = [0; SPEECH_SAMPLES];
        assert_eq!(tap.speech(&mut frame), None);
        tap.say(&[0x10; 240]);
        tap.mark(1);
        assert!(tap.speech(&mut frame).is_some_and(|(rate, pcm)| rate == 8_000 && pcm.len() == 160));
        tap.tick(0, None);
        assert!(!told(&mut events).contains(&TapEvent::Mark(1)), "half a frame is left");
        assert!(tap.speech(&mut frame).is_some_and(|(_, pcm)| pcm[0] != 0 && pcm[159] == 0));
        tap.tick(0, None);
        assert!(told(&mut events).contains(&TapEvent::Mark(1)));
        tap.say(&[0x10; 1_600]);
        tap.mark(2);
        tap.clear();
        assert_eq!(tap.speech(&mut frame), None);
        tap.tick(0, None);
        assert!(told(&mut events).contains(&TapEvent::Mark(2)), "what is cleared is told");
    }

    #[test]
    fn a_program_that_says_too_much_is_cut_short() {
        let (mut tap, _events) = open(TapTrack::Bidirectional);
        tap.say(&vec![0x10; MAX_SPEECH_BYTES + 5]);
        assert_eq!((tap.speech.len(), tap.said), (MAX_SPEECH_BYTES, MAX_SPEECH_BYTES as u64));
        let (mut deaf, _events) = open(TapTrack::Inbound);
        deaf.say(&[0x10; 160]);
        assert_eq!(deaf.speech(&mut [0; SPEECH_SAMPLES]), None, "a copy says nothing");
    }
}
