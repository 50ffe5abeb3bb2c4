//! A call as its driver holds it: verbs to act with and one place to wait.
//!
//! Verbs never block; what they lead to comes out of [`Call::next`]. Invariant: a call that is
//! dropped ends (cause `flow_error`, unless an end was under way), so that there is exactly one
//! call.completed for each, whatever becomes of its driver.

use std::sync::Arc;

use kernel::db::Write;
use kernel::outbox::Target;
use media::play::Sound;
use serde_json::Value;
use voice::cause::Cause;
use voice::leg::{PlayId, Playable, TapTrack};

use crate::conferring::Leaving;
use crate::driver::{CallEvent, Connect, JoinConference, LeaveVoicemail, Queueing, RecordAction, Whisper};
use crate::live::Live;
use crate::model::{CallEnd, CallModel, EndedBy};
use crate::pairing::PartyDial;
use crate::queue::Left;
use crate::tap::Tap;

/// A live call. Owned by one driver; not shared.
pub struct Call {
    /// `call_...`
    pub id: Arc<str>,
    /// The organisation.
    pub org: Arc<str>,
    /// `None` only while the call is being dropped.
    live: Option<Box<Live>>,
}

impl Call {
    pub(crate) fn new(live: Live) -> Self {
        Self { id: live.model.id.clone(), org: live.model.org.clone(), live: Some(Box::new(live)) }
    }

    /// What is known of it now.
    pub fn model(&self) -> &CallModel {
        &self.live_ref().model
    }

    /// The next thing that happens: the one place where a driver waits. Safe to give up and ask
    /// again. After [`CallEvent::Ended`] it answers the same for ever.
    pub async fn next(&mut self) -> CallEvent {
        self.live().next().await
    }

    /// The number of whoever answered a call that was placed.
    pub fn party(&self) -> Option<&str> {
        let live = self.live_ref();
        let leg = live.standing.as_ref()?;
        live.model.legs.iter().find(|record| record.id == *leg).map(|record| record.to.as_str())
    }

    // ---------------------------------------------------------------- an unanswered inbound call

    /// Tells the caller that it rings.
    pub fn ring(&mut self) {
        self.live().ring();
    }

    /// Answers the caller; [`CallEvent::Answered`] follows.
    pub fn answer(&mut self) {
        self.live().answer();
    }

    // ---------------------------------------------------------------- what the customer hears

    /// Plays to the customer instead of what plays now; `loops` 0 is for ever. The end comes as
    /// [`CallEvent::PlayEnded`], unless it is stopped or replaced.
    pub fn play(&mut self, what: Playable, loops: u32) -> PlayId {
        self.live().play(what, loops)
    }

    /// Stops what plays.
    pub fn stop_play(&mut self) {
        self.live().stop_play();
    }

    /// Presses keys for the customer's ear (`0-9A-D*#`, `w` half a second and `W` a second of
    /// pause); the end comes as [`CallEvent::PlayEnded`].
    pub fn send_dtmf(&mut self, digits: &str) -> PlayId {
        self.live().send_dtmf(digits)
    }

    /// Asks for [`CallEvent::Silence`] after so many milliseconds of it; `None` stops listening.
    pub fn listen_silence(&mut self, after_ms: Option<u32>) {
        self.live().listen_silence(after_ms);
    }

    /// Looks for keys in the audio too.
    pub fn inband_dtmf(&mut self, on: bool) {
        self.live().inband_dtmf(on);
    }

    // ---------------------------------------------------------------- other parties

    /// Connects the customer with somebody else; progress and the end come as
    /// [`CallEvent::Connect`]. A connect that is under way is given up first.
    pub fn connect(&mut self, connect: Connect) {
        self.live().connect(connect);
    }

    /// Connects the customer with the second party of a pair, who sees no more than the caller id. The customer goes on
    /// hearing what he hears.
    pub(crate) fn connect_party(&mut self, connect: Connect, party: PartyDial) {
        self.live().connect_party(connect, party);
    }

    /// The second party of a pair is looked up or rung.
    pub(crate) fn is_ringing_party(&self) -> bool {
        self.live_ref().is_ringing_party()
    }

    /// Plays once to both who are connected; the end comes as [`CallEvent::PlayEnded`].
    pub(crate) fn announce(&mut self, what: Playable) -> PlayId {
        self.live().announce(what)
    }

    /// Makes the call a pair's: masked, at most so long, and neither party brings anybody else into it.
    pub(crate) fn keep_to_two(&mut self, longest_ms: i64) {
        self.live().keep_to_two(longest_ms);
    }

    /// Says what the whisper is that the connect under way announced as [`Whisper::Coming`]; no sound at all means
    /// that it cannot be had.
    ///
    /// [`Whisper::Coming`]: crate::Whisper::Coming
    pub fn whisper(&mut self, sounds: Vec<Sound>) {
        self.live().whisper_is(Whisper::of(sounds));
    }

    /// Plays something else to the customer who waits to be connected; nothing happens once he is.
    pub fn hold_music(&mut self, what: Playable) {
        self.live().hold_music(what);
    }

    /// Gives the connect up: whoever rings or talks is hung up, the customer stays.
    pub fn cancel_connect(&mut self) {
        self.live().cancel_connect();
    }

    /// Connects the customer for good: the call ends when that is over.
    pub fn transfer(&mut self, connect: Connect) {
        self.live().transfer(connect);
    }

    /// Waits in a team's queue from now on, hearing what plays; news come as [`CallEvent::Queue`].
    pub fn queue(&mut self, queueing: Queueing) {
        self.live().queue(queueing);
    }

    /// Leaves the queue, unless an agent has taken the call.
    pub fn leave_queue(&mut self, why: Left) {
        self.live().give_seat_up(why);
    }

    /// Brings the customer into a conference; how it goes comes as [`CallEvent::Conference`]. A connect that is under
    /// way is given up first.
    pub fn join_conference(&mut self, conference: JoinConference) {
        self.live().join_conference(conference);
    }

    /// Takes the customer out of the conference.
    pub fn leave_conference(&mut self) {
        self.live().leave_conference(Leaving::Left);
    }

    /// Somebody is being looked up, rung or talked to.
    pub fn is_connecting(&self) -> bool {
        self.live_ref().is_connecting()
    }

    /// Copies the customer's audio to a program, and lets him hear it, as `track` says; none when he is not on the line.
    pub fn tap(&self, track: TapTrack) -> Option<Tap> {
        self.live_ref().tap(track)
    }

    // ---------------------------------------------------------------- what is kept

    /// Starts, pauses, resumes or ends the recording of the call.
    pub fn record(&mut self, action: RecordAction) {
        self.live().record(action);
    }

    /// What the customer presses now is secret: keys are left out of events and the recording
    /// pauses until it is over.
    pub fn sensitive(&mut self, on: bool) {
        self.live().sensitive(on);
    }

    /// Takes a message; [`CallEvent::Voicemail`] follows when it is over.
    pub fn voicemail(&mut self, voicemail: LeaveVoicemail) {
        self.live().voicemail(voicemail);
    }

    // ---------------------------------------------------------------- events and rows

    /// The step that the call's own events belong to from now on: its id and type.
    pub fn at_step(&mut self, step: Option<(&str, &str)>) {
        self.live().at_step(step);
    }

    /// Adds an event to the call's log and to its webhooks, in order.
    pub fn emit(&mut self, kind: &'static str, step: Option<(&str, &str)>, data: Value) {
        self.live().emit_step(kind, step, data);
    }

    /// What the call is to tell, in the step that it is in, before it is completed: what only its end ends.
    pub fn last_words(&mut self, event: Option<(&'static str, Value)>) {
        self.live().last_words = event;
    }

    /// The driver's own rows, committed in order with the call's events.
    pub fn with_writes(&mut self, writes: Vec<Write>) {
        self.live().with_writes(writes);
    }

    /// Rows to be committed together with call.completed, made when the end is known; the second
    /// argument is the time in UTC milliseconds.
    pub fn at_end(&mut self, writes: impl FnOnce(&CallEnd, i64) -> Vec<Write> + Send + 'static) {
        self.live().at_end(Box::new(writes));
    }

    /// The flow run that drives the call from now on, and its publish URL, which gets the events.
    pub fn driven_by(&mut self, run: impl Into<String>, publish: Option<Target>) {
        self.live().driven_by(run.into(), publish);
    }

    // ---------------------------------------------------------------- the end

    /// Ends the call in whatever state it is; [`CallEvent::Ended`] follows. The first reason given
    /// stands.
    pub fn hangup(&mut self, cause: Cause, by: EndedBy) {
        self.live().hangup(cause, by);
    }

    #[expect(clippy::expect_used, reason = "taken only by Drop, after which nobody can call")]
    fn live(&mut self) -> &mut Live {
        self.live.as_mut().expect("a call that is not being dropped")
    }

    #[expect(clippy::expect_used, reason = "taken only by Drop, after which nobody can call")]
    fn live_ref(&self) -> &Live {
        self.live.as_ref().expect("a call that is not being dropped")
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            Live::finish(live);
        }
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("id", &self.id).field("org", &self.org).finish_non_exhaustive()
    }
}
