//! Runs a machine on a call: what happens on the call goes in, effects are carried out.
//! Invariant: one task owns the call, the machine and everything that works for them; when the call is over, or the
//! task is dropped, all of it stops.

use std::{collections::HashSet, sync::Arc};

use calls::{
    Call, CallEvent, ConferenceEvent, Connect, ConnectEvent, Conversation as _, JoinConference, LeaveVoicemail, Left,
    QueueEvent, VoicemailEvent, Whisper,
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kernel::Job;
use media::play::Sound;
use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use voice::leg::{PlayId, Playable, TapTrack};

use super::{
    Flows,
    asking::Asking,
    callbacks::{JOB_KIND, entity_exists},
    machine::{
        Answer, Booked, Booking, Conference, ConferenceEnd, ConnectStatus, Connection, Effect, HttpRequest, Input,
        Machine, Message, QueueNews, RecordAction, Sounding, Source, Strategy, StreamNews, StreamOrder, StreamTrack,
    },
    port,
    step_sounds::StepSounds,
    store::{self, Booker},
    stream::{self, Hello},
};

/// Sample rate at which files are decoded for a G.711 party, and for all others.
const NARROW_BAND: u32 = 8_000;
const WIDE_BAND: u32 = 16_000;

/// Keys that may wait for the other side of a stream.
const STREAM_KEYS: usize = 64;

/// A run at work.
pub(super) struct Run {
    flows: Flows,
    org: Arc<str>,
    id: String,
    call: Call,
    machine: Machine,
    sounds: StepSounds,
    /// What plays: the call's name for it and the machine's.
    playing: Option<(PlayId, u64)>,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    requests: Asking,
    /// The caller's keys, for the stream that runs.
    stream_keys: Option<mpsc::Sender<char>>,
    /// Steps that have booked a callback.
    booked: HashSet<String>,
}

/// What came of a piece of work.
enum Done {
    Sound { sound: u64, result: Result<Sound, String> },
    Http { request: u64, answer: Answer },
    Checked { booking: Box<Booking>, refused: Option<&'static str> },
    StreamOpened { started: Option<String>, carried: JoinHandle<stream::Ended> },
    Stream(StreamNews),
    Nothing,
}

impl Run {
    /// Boxed: a future keeps several copies of what is moved through it, as long as the call lasts.
    pub(super) fn new(flows: Flows, id: String, call: Call, machine: Machine) -> Box<Self> {
        Box::new(Self {
            org: call.org.clone(),
            requests: Asking::by(flows.kernel().egress.clone()),
            flows,
            id,
            call,
            machine,
            sounds: StepSounds::default(),
            playing: None,
            work: FuturesUnordered::new(),
            stream_keys: None,
            booked: HashSet::new(),
        })
    }

    /// Drives a call that was placed.
    pub(super) async fn drive_outgoing(mut self: Box<Self>, first_words: Vec<Source>) {
        for source in first_words {
            self.warm(source);
        }
        let effects = self.machine.start(self.now_ms(), true);
        self.carry_out(effects);
        self.drive().await;
    }

    /// Drives a call that was placed for a flow without a `call` step: it begins with the answer.
    pub(super) async fn drive_when_answered(mut self: Box<Self>) {
        self.drive().await;
    }

    /// Drives a call that came in: answers it and begins.
    pub(super) async fn drive_inbound(mut self: Box<Self>) {
        self.call.answer();
        self.drive().await;
    }

    async fn drive(&mut self) {
        let clock = self.flows.kernel().clock.clone();
        while !self.machine.is_over() {
            let deadline = self.machine.deadline();
            let input = tokio::select! {
                event = self.call.next() => self.input_of(event),
                Some(done) = self.work.next(), if !self.work.is_empty() => self.input_of_work(done),
                () = clock.sleep_until(deadline.unwrap_or(i64::MAX)), if deadline.is_some() => Some(Input::Tick),
            };
            let Some(input) = input else { continue };
            let effects = self.machine.apply(&input, self.now_ms());
            self.carry_out(effects);
        }
    }

    fn now_ms(&self) -> i64 {
        self.flows.kernel().clock.now_ms()
    }

    /// Speaks a text into the cache while the phone rings.
    fn warm(&mut self, source: Source) {
        let sounds = self.flows.sounds().clone();
        self.work.push(
            async move {
                // Whatever goes wrong comes up again when the text is asked for.
                let _warmed = sounds.get(&source, NARROW_BAND).await;
                Done::Nothing
            }
            .boxed(),
        );
    }

    // ---------------------------------------------------------------- what happens

    fn input_of(&mut self, event: CallEvent) -> Option<Input> {
        Some(match event {
            CallEvent::Answered => Input::Answered,
            CallEvent::NotAnswered { cause } => Input::NotAnswered { cause },
            CallEvent::Dtmf { symbol, duration_ms } => {
                if let Some(keys) = &self.stream_keys {
                    // Whoever reads nothing loses keys as it loses audio.
                    let _lost = keys.try_send(symbol);
                }
                Input::Dtmf { symbol, duration_ms }
            }
            CallEvent::PlayEnded { play } => {
                let (_, token) = self.playing.take_if(|(playing, _)| *playing == play)?;
                Input::PlayEnded { play: token }
            }
            CallEvent::Connect(ConnectEvent::Ended { status, .. }) => {
                Input::ConnectEnded { status: connect_status(status) }
            }
            CallEvent::Conference(event) => match event {
                ConferenceEvent::Joined => return None,
                ConferenceEvent::Recorded => Input::ConferenceRecorded,
                ConferenceEvent::Ended => Input::ConferenceEnded(ConferenceEnd::Ended),
                ConferenceEvent::Full => Input::ConferenceEnded(ConferenceEnd::Full),
                ConferenceEvent::Failed => Input::ConferenceEnded(ConferenceEnd::Failed),
            },
            CallEvent::Voicemail(VoicemailEvent::Left { .. }) => Input::Message(Message::Left),
            CallEvent::Voicemail(VoicemailEvent::Nothing) => Input::Message(Message::Empty),
            CallEvent::Queue(event) => Input::Queue(queue_news(&event)?),
            CallEvent::Ended { .. } => Input::Ended,
            CallEvent::Ringing
            | CallEvent::EarlyMedia
            | CallEvent::Held
            | CallEvent::Resumed
            | CallEvent::PartyChanged
            | CallEvent::Silence
            | CallEvent::Connect(ConnectEvent::Ringing { .. } | ConnectEvent::Answered { .. })
            | CallEvent::Recording(_)
            | CallEvent::HangupRequested => return None,
        })
    }

    fn input_of_work(&mut self, done: Done) -> Option<Input> {
        match done {
            Done::Sound { sound, result: Ok(ready) } => {
                self.sounds.arrived(sound, ready).then_some(Input::SoundReady { sound })
            }
            Done::Sound { sound, result: Err(error) } => Some(Input::SoundFailed { sound, error }),
            Done::Http { request, answer } => {
                self.requests.done(request);
                Some(Input::HttpDone { request, answer })
            }
            // Nobody would be told: whoever left while it was looked up has no callback.
            Done::Checked { .. } if self.call.model().end.is_some() => None,
            Done::Checked { booking, refused } => Some(Input::Booked(match refused {
                Some(reason) => Booked::Refused(reason),
                None => self.book(&booking),
            })),
            Done::StreamOpened { started, carried } => {
                self.stream_opened(carried);
                if let Some(stream) = &started {
                    let over = json!({ "stream_sid": stream, "reason": "hangup" });
                    self.call.last_words(Some(("stream.stopped", over)));
                }
                started.map(|stream| Input::Stream(StreamNews::Started { stream }))
            }
            Done::Stream(news) => {
                self.stream_keys = None;
                self.call.last_words(None);
                Some(Input::Stream(news))
            }
            Done::Nothing => None,
        }
    }

    /// Adds the callback's rows to those of the event that tells of it.
    fn book(&mut self, booking: &Booking) -> Booked {
        if !self.booked.insert(booking.step.clone()) {
            return Booked::Before;
        }
        let now_ms = self.now_ms();
        let key = self.flows.kernel().ids.new("cb", now_ms);
        let by = Booker { org: &self.org, run: &self.id, call: &self.call.id };
        let job = Job::new(&self.org, JOB_KIND, &key, booking.due.at_ms, json!({}));
        self.call.with_writes(vec![store::callback_write(by, &key, booking, now_ms), job.schedule_once_write()]);
        Booked::Now { key }
    }

    // ---------------------------------------------------------------- what shall be done

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.carry_out_one(effect);
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        if matches!(effect, Effect::Enter { .. }) {
            self.sounds.forget();
        }
        let Some(effect) = port::give(&mut self.call, (&self.org, &self.id), effect) else { return };
        match effect {
            Effect::Prepare { sound, source } => self.prepare(sound, source),
            Effect::Release { sound } => self.sounds.release(sound),
            Effect::Play { play, what, loops } => {
                let what = self.playable(what);
                self.playing = Some((self.call.say(what, loops), play));
            }
            Effect::SendDtmf { play, digits } => self.playing = Some((self.call.send_dtmf(&digits), play)),
            Effect::StopPlay => {
                self.playing = None;
                self.call.stop_play();
            }
            Effect::Http { request, what } => self.ask(request, what),
            Effect::CancelHttp { request } => self.requests.cancel(request),
            Effect::Connect(connection) => self.connect(connection),
            Effect::Conference(Conference { room, record, muted, max, announced }) => {
                self.playing = None;
                self.call.join_conference(JoinConference { room, max, muted, record, announced });
            }
            Effect::Whisper(sounds) => {
                let sounds = sounds.into_iter().filter_map(|token| self.sounds.get(token)).collect();
                self.call.whisper(sounds);
            }
            Effect::HoldMusic(what) => self.call.hold_music(self.playable(what)),
            Effect::Stream(order) => self.stream(order),
            Effect::StopStream => self.stream_keys = None,
            Effect::LeaveQueue => self.call.leave_queue(Left::Callback),
            Effect::Record(action) => self.call.record(record_action(action)),
            Effect::Book(booking) => self.check(booking),
            Effect::Voicemail { mailbox, max_ms, silence_ms, beep } => {
                self.call.voicemail(LeaveVoicemail { extension: mailbox, max_ms: max_ms.into(), silence_ms, beep });
            }
            Effect::Transfer { to, whisper } => {
                let sounds = whisper.and_then(|token| self.sounds.get(token)).into_iter().collect();
                self.call.transfer(Connect { whisper: Whisper::of(sounds), ..Connect::to(to) });
            }
            // Given above: a chat takes them too.
            Effect::Enter { .. }
            | Effect::Emit { .. }
            | Effect::SaveVariables(_)
            | Effect::Queue(_)
            | Effect::Hangup { .. } => {}
        }
    }

    fn prepare(&mut self, sound: u64, source: Source) {
        let sounds = self.flows.sounds().clone();
        let rate = self.rate();
        self.sounds.expect(sound);
        self.work.push(
            async move {
                let result = sounds.get(&source, rate).await.map_err(|error| error.to_string());
                Done::Sound { sound, result }
            }
            .boxed(),
        );
    }

    /// The rate that the customer's codec is worth.
    fn rate(&self) -> u32 {
        let codec = self.call.model().legs.first().and_then(|leg| leg.codec.as_deref());
        if codec.is_some_and(|name| name.starts_with("PCM")) { NARROW_BAND } else { WIDE_BAND }
    }

    fn playable(&self, what: Sounding) -> Playable {
        match what {
            Sounding::Sound(token) => self.sounds.get(token).map_or(Playable::Silence, Playable::Sound),
            Sounding::HoldMusic => Playable::HoldMusic,
            Sounding::Ringback => Playable::Ringback,
            Sounding::Silence => Playable::Silence,
        }
    }

    fn ask(&mut self, request: u64, what: HttpRequest) {
        let done =
            |answered: Option<_>| answered.map_or(Done::Nothing, |(request, answer)| Done::Http { request, answer });
        self.work.push(self.requests.ask(request, what).map(done).boxed());
    }

    /// Takes the connection apart by name: a field that is forgotten here does not compile.
    fn connect(&mut self, connection: Connection) {
        let Connection {
            targets,
            caller_id,
            timeout_ms,
            time_limit_ms,
            strategy,
            whisper,
            accept_key,
            hold_music,
            record,
        } = connection;
        self.call.connect(Connect {
            targets,
            caller_id,
            timeout_ms: timeout_ms.into(),
            time_limit_ms: time_limit_ms.and_then(|ms| i64::try_from(ms).ok()),
            strategy: match strategy {
                Strategy::Simultaneous => calls::Strategy::Simultaneous,
                Strategy::Sequential => calls::Strategy::Sequential,
            },
            whisper: if whisper { Whisper::Coming } else { Whisper::None },
            accept_key,
            hold_music: hold_music.map(|what| self.playable(what)),
            record,
        });
    }

    /// Opens a stream on a task of its own: it says goodbye to the other side even when the call is over.
    fn stream(&mut self, order: StreamOrder) {
        let StreamOrder { url, track, params } = order;
        let track = match track {
            StreamTrack::Bidirectional => TapTrack::Bidirectional,
            StreamTrack::Inbound => TapTrack::Inbound,
            StreamTrack::Outbound => TapTrack::Outbound,
            StreamTrack::Both => TapTrack::Both,
        };
        let Some(tap) = self.call.tap(track) else {
            let news = StreamNews::Failed("the customer is not on the line".to_owned());
            return self.work.push(async move { Done::Stream(news) }.boxed());
        };
        let kernel = self.flows.kernel().clone();
        let stream = kernel.ids.new("stream", self.now_ms());
        let (keys, pressed) = mpsc::channel(STREAM_KEYS);
        let (opened, is_open) = oneshot::channel();
        let (org, call) = (self.org.to_string(), self.call.id.to_string());
        let hello = Hello { stream: stream.clone(), account: String::new(), call, track, params };
        let plan = stream::Plan { org, url, hello, tap, keys: pressed, opened };
        self.stream_keys = Some(keys);
        let carried = kernel.tasks.spawn(stream::carry(kernel.clone(), plan));
        self.work.push(
            async move {
                let started = is_open.await.is_ok().then_some(stream);
                Done::StreamOpened { started, carried }
            }
            .boxed(),
        );
    }

    /// Waits for the end of a stream that has begun, or never will.
    fn stream_opened(&mut self, carried: JoinHandle<stream::Ended>) {
        self.work.push(
            async move {
                Done::Stream(match carried.await {
                    Ok(stream::Ended::Closed) => StreamNews::Closed,
                    Ok(stream::Ended::Failed(error)) => StreamNews::Failed(error),
                    Err(error) => StreamNews::Failed(error.to_string()),
                })
            }
            .boxed(),
        );
    }

    /// Looks whether the callback's entity is there before it is booked.
    fn check(&mut self, booking: Box<Booking>) {
        let calls = self.flows.calls().clone();
        let org = self.org.clone();
        self.work.push(
            async move {
                let refused = match entity_exists(&calls, &org, &booking.entity).await {
                    Ok(true) => None,
                    Ok(false) => Some("unknown_entity"),
                    Err(error) => {
                        tracing::error!(%org, %error, "the entity of a callback could not be looked up");
                        Some("store")
                    }
                };
                Done::Checked { booking, refused }
            }
            .boxed(),
        );
    }
}

fn connect_status(status: calls::ConnectStatus) -> ConnectStatus {
    match status {
        calls::ConnectStatus::Completed => ConnectStatus::Completed,
        calls::ConnectStatus::Busy => ConnectStatus::Busy,
        calls::ConnectStatus::NoAnswer => ConnectStatus::NoAnswer,
        calls::ConnectStatus::Rejected => ConnectStatus::Rejected,
        calls::ConnectStatus::Failed => ConnectStatus::Failed,
        calls::ConnectStatus::Canceled => ConnectStatus::Canceled,
    }
}

fn queue_news(event: &QueueEvent) -> Option<QueueNews> {
    Some(match *event {
        QueueEvent::Joined { position, expected_ms } => QueueNews::Joined { position, expected_ms },
        QueueEvent::Moved { position, expected_ms } => QueueNews::Moved { position, expected_ms },
        QueueEvent::Bridged { .. } => QueueNews::Bridged,
        QueueEvent::Ended => QueueNews::Ended,
        QueueEvent::Left { why: Left::Timeout } => QueueNews::Timeout,
        QueueEvent::Left { why: Left::Full } => QueueNews::Full,
        // Said by whoever asked for it.
        QueueEvent::Left { why: Left::Bridged | Left::Callback | Left::Hangup } => return None,
    })
}

fn record_action(action: RecordAction) -> calls::RecordAction {
    match action {
        RecordAction::Start => calls::RecordAction::Start,
        RecordAction::Stop => calls::RecordAction::Stop,
        RecordAction::Pause => calls::RecordAction::Pause,
        RecordAction::Resume => calls::RecordAction::Resume,
    }
}
