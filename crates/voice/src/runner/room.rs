//! A room: many legs of one thread, each of which hears all the others and not itself.
//!
//! The room knows nothing of sockets, codecs or time: a tick brings it each member's frame, and it gives each member's
//! mix back. Invariant: once its members are there and their rates known, a tick allocates nothing.

use media::frame::{self, MAX_FRAME_SAMPLES};
use media::mix::Mixer;
use media::resample::Resampler;

use super::handle::LegKey;
use super::recorder::{RecorderFeed, Tape};
use super::recording::Channel;
use crate::leg::{LegEvents, RecordCommand};

/// Names a room among the media threads; never used twice.
pub type RoomKey = u64;

/// Samples a second at which voices of different rates meet: what most of them are worth.
const MEETING_RATE: u32 = 16_000;

/// What a leg is in a room. Everybody hears the speakers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Is heard by all the others.
    Speaker,
    /// A speaker who talks with the other party of the room, as if they were bridged: each hears the other's keys too.
    Party,
    /// Is heard by nobody: muted, or there to listen.
    Listener,
    /// Is heard by one leg alone, named by [`crate::leg::Leg::media_key`].
    Whisperer(LegKey),
}

impl Part {
    /// Whether all the others hear it.
    const fn is_heard_by_all(self) -> bool {
        matches!(self, Self::Speaker | Self::Party)
    }
}

/// One room.
pub(super) struct Room {
    members: Vec<Member>,
    mixer: Mixer,
    rate: u32,
    recording: Option<RoomRecording>,
}

struct Member {
    slot: usize,
    key: LegKey,
    part: Part,
    /// What it said in this tick, at the room's rate.
    frame: Box<[i16]>,
    said: bool,
    /// From its rate to the room's.
    resampler: Option<(u32, Resampler)>,
}

/// The mix of a room on its way to a file: the same on both channels.
struct RoomRecording {
    tape: Tape,
    paused: bool,
    channel: Channel,
}

impl Room {
    /// An empty room.
    pub(super) fn new() -> Self {
        let mixer = Mixer::new(frame::samples(MEETING_RATE));
        Self { members: Vec::new(), mixer, rate: MEETING_RATE, recording: None }
    }

    /// A leg comes in.
    pub(super) fn admit(&mut self, slot: usize, key: LegKey, part: Part) {
        // One sample more than a frame: a resampler may need the room.
        let frame = vec![0; MAX_FRAME_SAMPLES + 1].into_boxed_slice();
        self.members.push(Member { slot, key, part, frame, said: false, resampler: None });
    }

    /// A leg that is here has another part from now on.
    pub(super) fn cast(&mut self, slot: usize, part: Part) {
        if let Some(member) = self.members.iter_mut().find(|member| member.slot == slot) {
            member.part = part;
        }
    }

    /// A leg goes.
    pub(super) fn release(&mut self, slot: usize) {
        self.members.retain(|member| member.slot != slot);
    }

    /// Where its members stand.
    pub(super) fn slots(&self) -> impl Iterator<Item = usize> {
        self.members.iter().map(|member| member.slot)
    }

    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Where the member of this index stands.
    pub(super) fn slot(&self, index: usize) -> Option<usize> {
        self.members.get(index).map(|member| member.slot)
    }

    /// Where the party stands to whom this one's keys go; nobody's, when it is no party itself.
    pub(super) fn other_party(&self, slot: usize) -> Option<usize> {
        let mut parties = self.members.iter().filter(|member| member.part == Part::Party);
        parties.clone().find(|member| member.slot == slot)?;
        parties.find(|member| member.slot != slot).map(|member| member.slot)
    }

    /// The rate at which members of these rates are mixed: their own, if they all have one.
    pub(super) fn rate_of(mut rates: impl Iterator<Item = u32>) -> u32 {
        let first = rates.next().unwrap_or(MEETING_RATE);
        if rates.all(|rate| rate == first) { first } else { MEETING_RATE }
    }

    /// Begins a tick at a rate.
    pub(super) fn begin(&mut self, rate: u32) {
        if rate == self.rate {
            self.mixer.clear();
        } else {
            self.rate = rate;
            self.mixer = Mixer::new(frame::samples(rate));
            self.members.iter_mut().for_each(|member| member.resampler = None);
        }
    }

    /// What the member of this index says in this tick, with its rate; nothing when it is silent.
    pub(super) fn hear(&mut self, index: usize, said: Option<(u32, &[i16])>) {
        let room_rate = self.rate;
        let Some(member) = self.members.get_mut(index) else { return };
        member.said = said.is_some() && member.part != Part::Listener;
        let Some((rate, pcm)) = said.filter(|_| member.said) else { return };
        if rate == room_rate {
            for (to, from) in member.frame.iter_mut().zip(pcm) {
                *to = *from;
            }
        } else {
            if member.resampler.as_ref().is_none_or(|(from, _)| *from != rate) {
                member.resampler = Some((rate, Resampler::new(rate, room_rate)));
            }
            if let Some((_, resampler)) = &mut member.resampler {
                resampler.process(pcm, &mut member.frame);
            }
        }
        if member.part.is_heard_by_all() {
            self.mixer.add(member.frame.get(..frame::samples(room_rate)).unwrap_or_default());
        }
    }

    /// What the member of this index hears in this tick, with its rate.
    pub(super) fn mix<'a>(&self, index: usize, out: &'a mut [i16]) -> (u32, &'a [i16]) {
        let samples = frame::samples(self.rate);
        let out = out.get_mut(..samples).unwrap_or_default();
        let Some(member) = self.members.get(index) else {
            return (self.rate, &[]);
        };
        let own = member.frame.get(..samples).filter(|_| member.said && member.part.is_heard_by_all());
        self.mixer.without(own.unwrap_or_default(), out);
        for whisperer in self.members.iter().filter(|other| other.said && other.part == Part::Whisperer(member.key)) {
            for (sample, whispered) in out.iter_mut().zip(&whisperer.frame) {
                *sample = sample.saturating_add(*whispered);
            }
        }
        (self.rate, out)
    }

    /// Starts, pauses, resumes or ends the recording of what all hear; what becomes of it is told to `events`.
    pub(super) fn record(&mut self, command: RecordCommand, events: LegEvents, feed: &mut RecorderFeed) {
        match command {
            RecordCommand::Start { id, path, rate } => {
                self.end_recording(feed);
                let tape = feed.begin(id, path, rate, events);
                self.recording = Some(RoomRecording { tape, paused: false, channel: Channel::new(rate) });
            }
            RecordCommand::Pause | RecordCommand::Resume => {
                if let Some(recording) = &mut self.recording {
                    recording.paused = matches!(command, RecordCommand::Pause);
                }
            }
            RecordCommand::Stop => self.end_recording(feed),
        }
    }

    /// Adds the tick to the recording.
    pub(super) fn record_tick(&mut self, feed: &mut RecorderFeed) {
        let Some(recording) = self.recording.as_mut().filter(|recording| !recording.paused) else { return };
        let mut all = [0; MAX_FRAME_SAMPLES];
        let all = all.get_mut(..frame::samples(self.rate)).unwrap_or_default();
        self.mixer.without(&[], all);
        let mix = recording.channel.convert(Some((self.rate, all)));
        feed.add(&mut recording.tape, mix, mix);
    }

    /// Completes the recording, if there is one.
    pub(super) fn end_recording(&mut self, feed: &mut RecorderFeed) {
        if let Some(recording) = self.recording.take() {
            feed.end(recording.tape);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 8_000;

    fn room(parts: &[Part]) -> Room {
        let mut room = Room::new();
        for (index, part) in parts.iter().enumerate() {
            room.admit(10 + index, 100 + index as u64, *part);
        }
        room
    }

    /// Every member says a frame of a level of its own: 1, 10, 100 and so on.
    fn tick(room: &mut Room, rates: &[u32]) -> Vec<i16> {
        room.begin(Room::rate_of(rates.iter().copied()));
        for (index, rate) in rates.iter().enumerate() {
            let pcm = vec![10_i16.pow(index as u32); frame::samples(*rate)];
            room.hear(index, Some((*rate, &pcm)));
        }
        let mut out = [0; MAX_FRAME_SAMPLES];
        (0..rates.len()).map(|index| room.mix(index, &mut out).1.last().copied().unwrap()).collect()
    }

    #[test]
    fn everybody_hears_all_others_and_not_oneself() {
        let mut room = room(&[Part::Speaker; 4]);
        assert_eq!(tick(&mut room, &[RATE; 4]), [1_110, 1_101, 1_011, 111]);
        room.release(11);
        assert_eq!(room.slots().collect::<Vec<_>>(), [10, 12, 13]);
        assert_eq!(tick(&mut room, &[RATE; 3]), [110, 101, 11]);
    }

    #[test]
    fn a_listener_hears_all_and_is_heard_by_nobody() {
        let mut room = room(&[Part::Speaker, Part::Listener, Part::Speaker]);
        assert_eq!(tick(&mut room, &[RATE; 3]), [100, 101, 1]);
        room.cast(11, Part::Speaker);
        assert_eq!(tick(&mut room, &[RATE; 3]), [110, 101, 11]);
        room.cast(10, Part::Listener);
        assert_eq!(tick(&mut room, &[RATE; 3]), [110, 100, 10], "who is muted still hears the others");
    }

    #[test]
    fn a_whisper_reaches_one_ear_alone() {
        // 0 is the customer, 1 the agent, 2 the supervisor.
        let mut room = room(&[Part::Speaker, Part::Speaker, Part::Whisperer(101)]);
        assert_eq!(tick(&mut room, &[RATE; 3]), [10, 101, 11]);
    }

    #[test]
    fn voices_of_one_rate_are_mixed_at_it_and_others_meet_at_sixteen_kilohertz() {
        let mut room = room(&[Part::Speaker; 3]);
        let mut out = [0; MAX_FRAME_SAMPLES];
        for (rates, expected) in
            [([8_000; 3], 8_000), ([48_000; 3], 48_000), ([8_000, 16_000, 48_000], 16_000), ([16_000; 3], 16_000)]
        {
            tick(&mut room, &rates);
            assert_eq!(room.mix(0, &mut out).0, expected);
            assert_eq!(room.mix(0, &mut out).1.len(), frame::samples(expected));
        }
    }

    #[test]
    fn a_voice_keeps_its_level_on_its_way_to_another_rate() {
        let mut room = room(&[Part::Speaker; 2]);
        let mut last = Vec::new();
        for _ in 0..10 {
            last = tick(&mut room, &[8_000, 48_000]);
        }
        assert_eq!(last, [10, 1]);
    }

    #[test]
    fn who_said_nothing_in_a_tick_is_not_heard_again() {
        let mut room = room(&[Part::Speaker; 2]);
        assert_eq!(tick(&mut room, &[RATE; 2]), [10, 1]);
        room.begin(RATE);
        room.hear(0, None);
        room.hear(1, None);
        let mut out = [9; MAX_FRAME_SAMPLES];
        assert!(room.mix(0, &mut out).1.iter().all(|sample| *sample == 0));
    }
}
