//! One party's connection as `calls` sees it: a handle to command it by, and the events it answers with.
//!
//! Nothing here says how the party is connected; SIP stands behind it now, a browser later.
//! Invariant: every leg sends exactly one [`LegEvent::Ended`], and nothing but the fate of its recording after it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use media::codec::CodecKind;
use media::play::Sound;
use tokio::sync::mpsc;

use crate::cause::Cause;
use crate::runner::{LegKey, MediaLeg};

mod outlet;

pub(crate) use outlet::Backlog;
pub use outlet::LegEvents;

pub use crate::runner::{Part, Room, RoomKey, TAP_FRAME_BYTES, TapEvent, TapFrame, TapTrack};

/// Signalling commands that may wait for a leg's task.
const SIGNAL_QUEUE: usize = 64;
/// Places of that queue that only a hang-up may take, so that it always finds room.
const HANGUP_RESERVE: usize = 8;

/// A leg's id, `leg_...`.
pub type LegId = Arc<str>;
/// Names a browser phone; unguessable, because whoever knows it may take its calls over.
pub type PhoneId = Arc<str>;
/// A recording's id, `rec_...`.
pub type RecordingId = Arc<str>;
/// Names one thing played (or one row of digits sent), so that its end is told from the end of what it replaced.
pub type PlayId = u64;
/// Where a leg's events go: one bounded channel a call. Voice waits for room, except with [`LegEvent::Dtmf`], which is dropped and counted.
pub type LegSink = mpsc::Sender<(LegId, LegEvent)>;

/// What happened to a leg.
#[derive(Clone, Debug)]
pub enum LegEvent {
    /// The party's phone rings.
    Ringing,
    /// The party sends audio before the answer.
    EarlyMedia,
    /// The party answered.
    Answered {
        /// What the leg speaks.
        codec: CodecKind,
    },
    /// A key press: one event per press, from RFC 4733, INFO or in-band tones.
    Dtmf {
        /// `0` to `9`, `A` to `D`, `*` or `#`.
        symbol: char,
        /// How long it was held, in milliseconds.
        duration_ms: u32,
    },
    /// What was played came to its end, or the digits are sent. Not sent for what was stopped or replaced.
    PlayEnded {
        /// Which.
        play: PlayId,
    },
    /// The party put us on hold.
    Held,
    /// The party took us off hold.
    Resumed,
    /// The party has been silent for as long as [`Leg::listen_silence`] asked.
    Silence,
    /// The party speaks: the first time since listening began, and after each [`LegEvent::Silence`].
    Voice,
    /// The party wants to be connected elsewhere (REFER); answer with [`Leg::accept_transfer`].
    TransferRequested {
        /// The Refer-To URI.
        to: String,
        /// The dialog to be replaced there, of an attended transfer.
        replaces: Option<Replaced>,
    },
    /// What became of the transfer that [`Leg::refer`] asked for: a final SIP status. After a 2xx the leg ends.
    TransferEnded {
        /// The status of the call that the party made, or of its refusal to.
        sip_code: u16,
    },
    /// A recording is complete on disk. May follow [`LegEvent::Ended`].
    RecordingReady {
        /// Which.
        id: RecordingId,
        /// Its length, in seconds.
        seconds: f64,
        /// Channels of the file.
        channels: u16,
        /// SHA-256 of the file, in lower-case hexadecimal.
        sha256: String,
        /// The file.
        path: PathBuf,
    },
    /// A recording could not be written. May follow [`LegEvent::Ended`].
    RecordingFailed {
        /// Which.
        id: RecordingId,
        /// Why, for a person to read.
        error: String,
    },
    /// The leg is over.
    Ended(LegEnd),
}

/// The dialog that somebody else is to take the place of (RFC 3891).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// That of this leg.
    Leg(LegId),
    /// One that is not ours, or not up any more.
    Stranger,
}

/// How a leg ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegEnd {
    /// Why.
    pub cause: Cause,
    /// Which side ended it.
    pub by: EndedBy,
    /// The final SIP status, where there was one.
    pub sip_code: Option<u16>,
    /// The Q.850 cause of the Reason header, where there was one.
    pub q850: Option<u8>,
}

/// Which side ended a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The party, or the network beyond it.
    Remote,
    /// We did.
    Local,
}

/// What a leg can be made to hear.
#[derive(Clone, Debug)]
pub enum Playable {
    /// A piece of audio.
    Sound(Sound),
    /// The ringing tone.
    Ringback,
    /// The busy tone.
    Busy,
    /// One short beep.
    Beep,
    /// The built-in music.
    HoldMusic,
    /// Nothing, as RTP.
    Silence,
}

/// How often to play it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayMode {
    /// Times; 0 plays until stopped. Tones, music and silence have no end of their own: for them only the beep's repetition counts.
    pub loops: u32,
}

impl PlayMode {
    /// Once.
    pub const ONCE: Self = Self { loops: 1 };
    /// Until stopped.
    pub const FOREVER: Self = Self { loops: 0 };
}

/// What to do about a leg's recording. A leg has at most one at a time: `Start` ends the one before it.
#[derive(Clone, Debug)]
pub enum RecordCommand {
    /// Begins a stereo WAV: left what this leg sends, right what it hears.
    Start {
        /// The recording's id, for its events.
        id: RecordingId,
        /// The file, which is created.
        path: PathBuf,
        /// Samples per second: 8000 or 16000.
        rate: u32,
    },
    /// Leaves out what follows.
    Pause,
    /// Goes on; the pause takes no time in the file.
    Resume,
    /// Ends it.
    Stop,
}

/// What the leg's signalling is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Say that it rings (180).
    Ring,
    /// Send audio before the answer (183 with SDP).
    EarlyMedia,
    /// Answer.
    Answer,
    /// Refuse with this SIP status.
    Reject(u16),
    /// End it: CANCEL, BYE or a final response, as the state demands.
    Hangup(Cause),
    /// Hold or resume the party.
    Hold(bool),
    /// Ask the party to go elsewhere.
    Refer(String),
    /// The answer to a [`LegEvent::TransferRequested`].
    AcceptTransfer(bool),
    /// Nothing was heard of the party for too long: end it with [`Cause::MediaTimeout`]. From the media thread.
    MediaTimeout,
}

/// A leg's handle: cheap to clone, never blocks, never fails; a leg that is over ignores it.
#[derive(Clone, Debug)]
pub struct Leg(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    signals: mpsc::Sender<Signal>,
    media: MediaLeg,
    events: LegEvents,
}

impl Leg {
    /// A leg over `media`; its signalling reads the second half.
    #[must_use]
    pub fn new(media: MediaLeg, events: LegEvents) -> (Self, Signals) {
        let (sender, receiver) = mpsc::channel(SIGNAL_QUEUE);
        events.tells_lost_media(&sender);
        let signals = Signals { receiver, events: events.clone() };
        (Self(Arc::new(Inner { signals: sender, media, events })), signals)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &LegId {
        self.0.events.id()
    }

    /// Gives an incoming leg its sink; what happened before is sent at once.
    pub fn attach(&self, sink: LegSink) {
        self.0.events.attach(sink);
    }

    /// Tells an unanswered caller that it rings.
    pub fn ring(&self) {
        self.signal(Signal::Ring);
    }

    /// Opens audio towards an unanswered caller.
    pub fn early_media(&self) {
        self.signal(Signal::EarlyMedia);
    }

    /// Answers a caller.
    pub fn answer(&self) {
        self.signal(Signal::Answer);
    }

    /// Refuses a caller with a final SIP status.
    pub fn reject(&self, sip_code: u16) {
        self.signal(Signal::Reject(sip_code));
    }

    /// Ends the leg in whatever state it is.
    pub fn hangup(&self, cause: Cause) {
        // A full queue holds an earlier hang-up: nothing else may take the reserve.
        let _ = self.0.signals.try_send(Signal::Hangup(cause));
    }

    /// Puts the party on hold or takes it off.
    pub fn hold(&self, on: bool) {
        self.signal(Signal::Hold(on));
    }

    /// Asks the party's phone to call someone else (REFER).
    pub fn refer(&self, to: &str) {
        self.signal(Signal::Refer(to.to_owned()));
    }

    /// Agrees to, or declines, the transfer that the party asked for.
    pub fn accept_transfer(&self, ok: bool) {
        self.signal(Signal::AcceptTransfer(ok));
    }

    /// Plays to the party, instead of whatever plays now. A bridge is heard again when it has ended.
    pub fn play(&self, play: PlayId, what: Playable, mode: PlayMode) {
        self.0.media.play(play, what, mode);
    }

    /// Stops what plays.
    pub fn stop_play(&self) {
        self.0.media.stop_play();
    }

    /// Joins two legs: each hears the other. Either's earlier bridge is dissolved.
    pub fn bridge(&self, other: &Self) {
        self.0.media.bridge(&other.0.media);
    }

    /// Parts the leg from the one it is bridged with.
    pub fn unbridge(&self) {
        self.0.media.unbridge();
    }

    /// Comes into a room, out of a bridge or another room; in the same room it plays another part from now on. What is
    /// played to the leg goes before what the room says.
    pub fn join_room(&self, room: &Room, part: Part) {
        self.0.media.join_room(room, part);
    }

    /// Leaves its room.
    pub fn leave_room(&self) {
        self.0.media.leave_room();
    }

    /// Starts, pauses, resumes or ends the recording of what all in a room hear, the same on both channels. What becomes
    /// of it is told as of a recording of this leg, whether the leg is in the room or not.
    pub fn record_room(&self, room: &Room, command: RecordCommand) {
        room.record(command, self.0.events.clone());
    }

    /// Its name for [`Part::Whisperer`].
    #[must_use]
    pub fn media_key(&self) -> LegKey {
        self.0.media.key()
    }

    /// Sends digits (`0-9A-D*#`, `w` half a second and `W` a second of pause) after those still under way; ends with [`LegEvent::PlayEnded`].
    pub fn send_dtmf(&self, digits: &str, play: PlayId) {
        self.0.media.send_dtmf(digits, play);
    }

    /// Starts, pauses, resumes or ends the recording.
    pub fn record(&self, command: RecordCommand) {
        self.0.media.record(command);
    }

    /// Watches for `after_ms` milliseconds of silence, or stops watching.
    pub fn listen_silence(&self, after_ms: Option<u32>) {
        self.0.media.listen_silence(after_ms);
    }

    /// Looks for keys in the audio too, for phones that cannot send them otherwise.
    pub fn inband_dtmf(&self, on: bool) {
        self.0.media.inband_dtmf(on);
    }

    /// Copies the leg's audio as mu-law to a program, and lets the party hear that program instead of a peer, as `track`
    /// says; replaces the tap before it. Ends when the leg does: then nothing more comes.
    #[must_use]
    pub fn tap(&self, track: TapTrack) -> mpsc::Receiver<TapEvent> {
        self.0.media.tap(track)
    }

    /// What the tap's program says, mu-law at 8000 Hz: heard after what it said before. Keys and what is played come first.
    pub fn tap_say(&self, speech: Box<[u8]>) {
        self.0.media.tap_say(speech);
    }

    /// Asks for [`TapEvent::Mark`] when everything so far was heard.
    pub fn tap_mark(&self, mark: u32) {
        self.0.media.tap_mark(mark);
    }

    /// Forgets what the program said and is still to be heard.
    pub fn tap_clear(&self) {
        self.0.media.tap_clear();
    }

    /// Closes the tap.
    pub fn close_tap(&self) {
        self.0.media.close_tap();
    }

    /// Where its audio is received, once a socket is open.
    #[must_use]
    pub fn media_address(&self) -> Option<SocketAddr> {
        self.0.media.local()
    }

    /// The media half, for a leg that is to be placed near this one.
    #[must_use]
    pub(crate) fn media(&self) -> &MediaLeg {
        &self.0.media
    }

    fn signal(&self, signal: Signal) {
        if self.0.signals.capacity() > HANGUP_RESERVE {
            let _ = self.0.signals.try_send(signal);
        }
    }
}

/// The signalling half of a leg. Dropped before the leg's end was told, it tells one, so that no call waits for ever.
#[derive(Debug)]
pub struct Signals {
    receiver: mpsc::Receiver<Signal>,
    events: LegEvents,
}

impl Signals {
    /// The next command; none once every handle is gone.
    pub async fn recv(&mut self) -> Option<Signal> {
        self.receiver.recv().await
    }

    /// The next command, if one waits.
    pub fn try_recv(&mut self) -> Option<Signal> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let end = LegEnd { cause: Cause::FlowError, by: EndedBy::Local, sip_code: None, q850: None };
        let _ = self.events.offer(LegEvent::Ended(end));
    }
}

#[cfg(test)]
mod tests {
    use kernel::ids::Ids;

    use super::*;
    use crate::runner::{MediaConfig, MediaThreads};

    const END: LegEnd = LegEnd { cause: Cause::Busy, by: EndedBy::Remote, sip_code: Some(486), q850: None };

    fn leg(sink: Option<LegSink>) -> (Leg, Signals, LegEvents) {
        let config = MediaConfig { threads: 1, rtp_ports: (20_000, 20_001), rtc: Vec::new(), media_timeout_ms: 30_000 };
        let threads = MediaThreads::start(&config, Ids::seeded(1)).unwrap();
        let events = LegEvents::new("leg_1".into(), sink);
        let (leg, signals) = Leg::new(threads.leg(events.clone(), None), events.clone());
        (leg, signals, events)
    }

    fn told(events: &mut mpsc::Receiver<(LegId, LegEvent)>) -> Vec<LegEvent> {
        std::iter::from_fn(|| events.try_recv().ok()).map(|(_, event)| event).collect()
    }

    #[test]
    fn what_happens_before_a_sink_is_attached_is_told_then() {
        let (leg, _signals, events) = leg(None);
        events.offer(LegEvent::Ringing).unwrap();
        let (sink, mut receiver) = mpsc::channel(8);
        leg.attach(sink);
        events.offer(LegEvent::Held).unwrap();
        let told = told(&mut receiver);
        assert!(matches!(told[..], [LegEvent::Ringing, LegEvent::Held]), "{told:?}");
    }

    #[test]
    fn a_leg_ends_once_and_only_a_recording_speaks_after_it() {
        let (sink, mut receiver) = mpsc::channel(8);
        let (_leg, signals, events) = leg(Some(sink));
        events.offer(LegEvent::Ended(END)).unwrap();
        events.offer(LegEvent::Ended(END)).unwrap();
        events.offer(LegEvent::Held).unwrap();
        let failed = LegEvent::RecordingFailed { id: "rec_1".into(), error: "disk full".to_owned() };
        events.offer(failed).unwrap();
        drop(signals);
        let told = told(&mut receiver);
        assert!(
            matches!(
                &told[..],
                [LegEvent::Ended(end), LegEvent::RecordingFailed { .. }] if *end == END
            ),
            "{told:?}"
        );
    }

    #[test]
    fn a_leg_whose_signalling_vanishes_still_ends() {
        let (sink, mut receiver) = mpsc::channel(8);
        let (_leg, signals, _) = leg(Some(sink));
        drop(signals);
        let told = told(&mut receiver);
        assert!(matches!(&told[..], [LegEvent::Ended(end)] if end.cause == Cause::FlowError), "{told:?}");
    }

    #[test]
    fn an_end_that_found_no_room_can_be_told_again() {
        let (sink, mut receiver) = mpsc::channel(1);
        let (_leg, _signals, events) = leg(Some(sink));
        events.offer(LegEvent::Ringing).unwrap();
        let back = events.offer(LegEvent::Ended(END)).unwrap_err();
        receiver.try_recv().unwrap();
        events.offer(back).unwrap();
        assert!(matches!(told(&mut receiver)[..], [LegEvent::Ended(_)]));
    }

    #[test]
    fn a_flood_of_commands_leaves_room_for_the_hang_up() {
        let (leg, mut signals, _) = leg(None);
        (0..1_000).for_each(|_| leg.ring());
        leg.hangup(Cause::Normal);
        let mut last = None;
        while let Some(signal) = signals.try_recv() {
            last = Some(signal);
        }
        assert_eq!(last, Some(Signal::Hangup(Cause::Normal)));
    }
}
