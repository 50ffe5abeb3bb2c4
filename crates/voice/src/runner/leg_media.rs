//! One leg's media, without sockets and without a clock: what it hears goes in as bytes, what it is sent comes out through a [`Wire`].
//!
//! What the leg is sent has one source at a time, the first of these that has something: keys, what plays, hold music while its peer holds, the
//! bridged peer or its room, and a frame of silence now and then when all are quiet.
//! Invariant: whatever the source, the leg is sent one RTP stream whose SSRC, numbers and time go on.

mod speaking;

use std::net::SocketAddr;
use std::sync::Arc;

use media::bridge::{Ear, Mouth};
use media::codec::{CodecKind, MAX_PAYLOAD_BYTES};
use media::dtmf::{Detector, Digit};
use media::rtp::{HEADER_BYTES, Rewriter};
use media::srtp::MAX_OVERHEAD_BYTES;

use super::bench::{Bench, Post};
use super::browser::{Opened, Site};
use super::handle::LegKey;
use super::identity::Identity;
use super::keys::Keys;
use super::line::{Heard, Line, Wire};
use super::poll::Urgency;
use super::recorder::RecorderFeed;
use super::recording::Recording;
use super::remote::{Direction, Remote};
use super::room::RoomKey;
use super::silence::{Change, SilenceWatch};
use super::tap::{Tap, TapOrder};
use super::tune::Tune;
use crate::leg::{LegEvent, LegEvents, PlayId, PlayMode, Playable, RecordCommand};

/// The first report follows the first agreement by at least this.
const FIRST_REPORT_US: u64 = 1_000_000;
/// And by at most this much more, so that legs do not report all at once.
const REPORT_SPREAD_US: u64 = 4_000_000;
/// A key that comes by two ways so close together is one press: some phones send each by RFC 4733 and INFO, or as a tone too.
const SAME_PRESS_US: u64 = 1_000_000;
/// Room for the largest packet that we make ourselves.
pub(super) const PACKET_BYTES: usize = HEADER_BYTES + MAX_PAYLOAD_BYTES + MAX_OVERHEAD_BYTES;

/// What a leg's peer means for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerView {
    /// What the peer speaks.
    pub(super) codec: CodecKind,
    /// Whether the peer can be sent audio now; if not, it holds.
    pub(super) listens: bool,
}

/// One leg's media.
pub(super) struct LegMedia {
    pub(super) key: LegKey,
    /// The leg it is bridged with, on the same thread.
    pub(super) peer: Option<usize>,
    /// The leg that was called here from another thread, to be bridged with.
    pub(super) awaits: Option<LegKey>,
    /// The room it is in, on the same thread.
    pub(super) room: Option<RoomKey>,
    /// Whether the thread ticks it.
    pub(super) is_active: bool,
    /// How soon its packets are read at present.
    pub(super) urgency: Urgency,
    events: LegEvents,
    identity: Identity,
    line: Option<Box<Line>>,
    /// Places the peer's packets in what we send.
    rewriter: Rewriter,
    /// Whether our packets go to the peer as they are.
    relays: bool,
    playing: Option<Box<(PlayId, Tune)>>,
    hold_music: Option<Box<Tune>>,
    keys: Option<Box<Keys>>,
    ear: Option<Box<Ear>>,
    mouth: Option<Box<Mouth>>,
    watch: Option<Box<SilenceWatch>>,
    detects_inband: bool,
    detector: Option<Box<Detector>>,
    recording: Option<Box<Recording>>,
    tap: Option<Box<Tap>>,
    /// The last key that was told: its way, itself, and when.
    last_key: Option<(KeyWay, char, u64)>,
    established: Option<Established>,
    next_report_us: u64,
}

/// By which way a key press came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyWay {
    /// RFC 4733.
    Event,
    /// INFO.
    Signalling,
}

#[derive(Clone, Copy)]
struct Established {
    at_us: u64,
    timed_out: bool,
}

impl LegMedia {
    /// A leg of which nothing is agreed yet.
    pub(super) fn new(key: LegKey, events: LegEvents, identity: Identity) -> Self {
        Self {
            key,
            peer: None,
            awaits: None,
            room: None,
            is_active: false,
            urgency: Urgency::default(),
            events,
            identity,
            line: None,
            rewriter: Rewriter::new(),
            relays: false,
            playing: None,
            hold_music: None,
            keys: None,
            ear: None,
            mouth: None,
            watch: None,
            detects_inband: false,
            detector: None,
            recording: None,
            tap: None,
            last_key: None,
            established: None,
            next_report_us: 0,
        }
    }

    // --- what it hears

    /// Opens a datagram that came to the browsers' socket; see [`Line::open`].
    pub(super) fn open(
        &mut self,
        now_us: u64,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
        wire: &mut impl Wire,
    ) -> Opened {
        self.line.as_mut().map_or(Opened::Nothing, |line| line.open(now_us, from, buffer, len, wire))
    }

    /// Takes a datagram of the RTP port; audio is kept for whoever listens here, and told to be passed on.
    pub(super) fn hear(&mut self, now_us: u64, from: SocketAddr, datagram: &mut [u8]) -> Heard {
        let Some(line) = &mut self.line else {
            return Heard::Nothing;
        };
        if line.carries_rtcp(datagram) {
            line.hear_rtcp(now_us, from, datagram);
            return Heard::Nothing;
        }
        let ear = &mut self.ear;
        line.hear(now_us, from, datagram, self.urgency, |packet| {
            if let Some(ear) = ear {
                ear.push(now_us, packet);
            }
        })
    }

    /// Takes a datagram of the RTCP port.
    pub(super) fn hear_rtcp(&mut self, now_us: u64, from: SocketAddr, datagram: &mut [u8]) {
        if let Some(line) = &mut self.line {
            line.hear_rtcp(now_us, from, datagram);
        }
    }

    /// Tells of a key press; false when it has come by another way just now.
    pub(super) fn pressed(&mut self, now_us: u64, way: KeyWay, digit: Digit, post: &mut Post) -> bool {
        let is_same = |(last, symbol, at_us): (KeyWay, char, u64)| {
            last != way && symbol == digit.symbol && now_us.saturating_sub(at_us) < SAME_PRESS_US
        };
        if self.last_key.is_some_and(is_same) {
            return false;
        }
        self.last_key = Some((way, digit.symbol, now_us));
        post.tell(&self.events, LegEvent::Dtmf { symbol: digit.symbol, duration_ms: digit.duration_ms });
        true
    }

    /// The first half of a tick: decodes what was heard. A key press by event whose end was lost is given back, for the peer's sake.
    pub(super) fn listen<W: Wire>(&mut self, bench: &mut Bench<'_, W>) -> Option<Digit> {
        let now_us = bench.now_us;
        if let Some(ear) = &mut self.ear {
            let pcm = ear.pull(now_us);
            let change = self.watch.as_mut().and_then(|watch| watch.frame(pcm));
            let inband = self.detector.as_mut().and_then(|it| it.listen(pcm));
            match change {
                Some(Change::Voice) => bench.post.tell(&self.events, LegEvent::Voice),
                Some(Change::Silence) => bench.post.tell(&self.events, LegEvent::Silence),
                None => {}
            }
            let is_same = |(_, _, at_us)| now_us.saturating_sub(at_us) < SAME_PRESS_US;
            if let Some(digit) = inband.filter(|_| !self.last_key.is_some_and(is_same)) {
                let event = LegEvent::Dtmf { symbol: digit.symbol, duration_ms: digit.duration_ms };
                bench.post.tell(&self.events, event);
            }
        }
        self.line.as_mut()?.poll_digit(now_us)
    }

    /// The frame that this tick heard, with its rate.
    pub(super) fn heard(&self) -> Option<(u32, &[i16])> {
        let ear = self.ear.as_ref()?;
        ear.heard().then(|| (ear.kind().sample_rate(), ear.frame()))
    }

    /// The same as its part in a room: who holds us says nothing, for his music is not for the others.
    pub(super) fn says(&self) -> Option<(u32, &[i16])> {
        let talks = self.line.as_ref().is_some_and(|line| line.remote().direction == Direction::SendRecv);
        self.heard().filter(|_| talks)
    }

    // --- what it is told

    /// A new agreement with the other side.
    pub(super) fn agree(&mut self, now_us: u64, remote: Remote, site: &Arc<Site>) {
        match &mut self.line {
            Some(line) => line.renew(now_us, remote, site),
            None => {
                let spread_us = (u64::from(self.identity.phase()) * REPORT_SPREAD_US) >> 32;
                self.next_report_us = now_us + FIRST_REPORT_US + spread_us;
                self.line = Some(Box::new(Line::new(now_us, self.identity, remote, site)));
            }
        }
    }

    /// The leg is answered.
    pub(super) fn establish(&mut self, now_us: u64) {
        self.established.get_or_insert(Established { at_us: now_us, timed_out: false });
    }

    /// Plays instead of what plays.
    pub(super) fn play(&mut self, play: PlayId, what: Playable, mode: PlayMode) {
        let rate = self.rate();
        self.playing = Some(Box::new((play, Tune::new(what, mode, rate))));
    }

    /// Stops what plays.
    pub(super) fn stop_play(&mut self) {
        self.playing = None;
    }

    /// Queues digits.
    pub(super) fn dial(&mut self, digits: &str, play: PlayId, post: &mut Post) {
        match self.keys() {
            Some(keys) => keys.dial(digits, play),
            None => post.tell(&self.events, LegEvent::PlayEnded { play }),
        }
    }

    /// Queues a key that the peer pressed.
    pub(super) fn press(&mut self, digit: Digit) {
        if let Some(keys) = self.keys() {
            keys.press(digit);
        }
    }

    /// Watches for silence, or no longer.
    pub(super) fn listen_silence(&mut self, after_ms: Option<u32>) {
        self.watch = after_ms.map(|after_ms| Box::new(SilenceWatch::new(after_ms)));
    }

    /// Looks for keys in the audio, or no longer.
    pub(super) fn inband_dtmf(&mut self, on: bool) {
        self.detects_inband = on;
    }

    /// Starts, pauses, resumes or ends the recording.
    pub(super) fn record(&mut self, command: RecordCommand, feed: &mut RecorderFeed) {
        match command {
            RecordCommand::Start { id, path, rate } => {
                self.end_recording(feed);
                let tape = feed.begin(id, path, rate, self.events.clone());
                self.recording = Some(Box::new(Recording::new(tape, rate)));
            }
            RecordCommand::Pause | RecordCommand::Resume => {
                if let Some(recording) = &mut self.recording {
                    recording.pause(matches!(command, RecordCommand::Pause));
                }
            }
            RecordCommand::Stop => self.end_recording(feed),
        }
    }

    /// Opens the tap, closes it, or passes on what its program says.
    pub(super) fn tap(&mut self, order: TapOrder) {
        match (order, &mut self.tap) {
            (TapOrder::Open(track, events), tap) => *tap = Some(Box::new(Tap::new(track, events))),
            (TapOrder::Close, tap) => *tap = None,
            (TapOrder::Say(speech), Some(tap)) => tap.say(&speech),
            (TapOrder::Mark(mark), Some(tap)) => tap.mark(mark),
            (TapOrder::Clear, Some(tap)) => tap.clear(),
            (TapOrder::Say(_) | TapOrder::Mark(_) | TapOrder::Clear, None) => {}
        }
    }

    /// Says goodbye: the recording ends, the other side is told (RFC 3550, section 6.6).
    pub(super) fn close<W: Wire>(&mut self, ntp: u64, bench: &mut Bench<'_, W>) {
        self.end_recording(bench.recorder);
        if let Some(line) = &mut self.line {
            line.report(bench.now_us, ntp, self.identity, true, bench.slot, bench.wire);
        }
    }

    /// The leg failed inside: its recording ends, and its signalling hears of lost media.
    pub(super) fn give_up(&mut self, feed: &mut RecorderFeed) {
        self.end_recording(feed);
        self.events.media_timeout();
    }

    fn end_recording(&mut self, feed: &mut RecorderFeed) {
        if let Some(recording) = self.recording.take() {
            feed.end(recording.into_tape());
        }
    }

    fn keys(&mut self) -> Option<&mut Keys> {
        let line = self.line.as_ref()?;
        Some(self.keys.get_or_insert_with(|| Box::new(Keys::new(line.remote()))))
    }

    /// Samples a second of its codec.
    pub(super) fn rate(&self) -> u32 {
        self.line.as_ref().map_or(8_000, |line| line.remote().codec.sample_rate())
    }

    // --- what follows from it

    /// The name by which a browser's checks know this leg.
    pub(super) fn ufrag(&self) -> Option<&Arc<str>> {
        self.line.as_ref()?.ufrag()
    }

    /// What this leg means for its peer; none before the first agreement.
    pub(super) fn view(&self) -> Option<PeerView> {
        self.line.as_ref().map(|line| PeerView { codec: line.remote().codec, listens: line.sends() })
    }

    /// Takes note of who the peer is now; numbers are taken anew when it is another one.
    pub(super) fn join(&mut self, peer: Option<usize>) {
        if self.peer != peer {
            self.peer = peer;
            self.rewriter = Rewriter::new();
        }
    }

    /// Sets up what the present state needs, frees what it does not, and says whether the leg needs ticks. To be called after every change.
    pub(super) fn settle(&mut self, peer: Option<PeerView>) -> bool {
        let codec = self.line.as_ref().map(|line| line.remote().codec);
        let bridged = peer.zip(codec);
        self.relays = bridged.is_some_and(|(peer, codec)| peer.codec == codec);
        let transcodes = bridged.is_some_and(|(peer, codec)| peer.codec != codec);

        let mixed = self.room.is_some();
        let hears = transcodes
            || mixed
            || self.watch.is_some()
            || self.detects_inband
            || self.recording.is_some()
            || self.tap.is_some();
        self.ear = match codec.filter(|_| hears) {
            None => None,
            Some(codec) => match self.ear.take() {
                Some(ear) if ear.kind() == codec => Some(ear),
                _ => Ear::new(codec).ok().map(Box::new),
            },
        };
        let rate = self.rate();
        match (self.detects_inband && self.ear.is_some(), &self.detector) {
            (false, _) => self.detector = None,
            (true, None) => self.detector = Some(Box::new(Detector::new(rate))),
            (true, Some(_)) => {}
        }
        let holds = peer.is_some_and(|peer| !peer.listens);
        match (holds, &self.hold_music) {
            (false, _) => self.hold_music = None,
            (true, None) => {
                let music = Tune::new(Playable::HoldMusic, PlayMode::FOREVER, rate);
                self.hold_music = Some(Box::new(music));
            }
            (true, Some(_)) => {}
        }
        let tapped = self.tap.is_some();
        if !transcodes
            && !mixed
            && !tapped
            && self.playing.is_none()
            && self.hold_music.is_none()
            && self.keys.is_none()
        {
            self.mouth = None;
        }
        self.needs_ticks(transcodes)
    }

    fn needs_ticks(&self, transcodes: bool) -> bool {
        let says = self.playing.is_some() || self.hold_music.is_some() || self.keys.is_some();
        let is_pressed = self.line.as_ref().is_some_and(|line| line.is_pressed());
        transcodes || says || is_pressed || self.ear.is_some() || self.recording.is_some() || self.tap.is_some()
    }

    /// How soon its packets should be read: at once where somebody waits for them. An ear learns its delay from the times of arrival.
    pub(super) fn demands(&self) -> Urgency {
        if self.relays || self.ear.is_some() { Urgency::Prompt } else { Urgency::Patient }
    }

    /// Whether our audio packets go to the peer as they are.
    pub(super) fn relays(&self) -> bool {
        self.relays
    }
}
