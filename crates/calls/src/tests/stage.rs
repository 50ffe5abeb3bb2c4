//! A server without sockets: what the tests of whole calls stand on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kernel::db::testing::TestDb;
use kernel::org::NewOrg;
use kernel::{Clock, ClockHand, Config, Ids, Kernel, Org};
use media::codec::CodecKind;
use serde_json::Value;
use tokio::sync::mpsc;
use voice::cause::Cause;
use voice::leg::{EndedBy as Side, Leg, LegEnd, LegEvent, LegId, LegSink, Room, Signal};
use voice::ports::{Binding, BindingChange, BoxFuture, LineIdentity, Ports, Transport};
use voice::runner::script::{Asked, Script, ScriptedLeg};
use voice::speech::Speech;
use voice::{CallerId, Incoming, Originate, Source};

use crate::*;

/// Where the fake clock stands at first.
pub(super) const NOON: i64 = 1_795_262_400_000;

/// What the calls that come in may still travel.
pub(super) const HOPS_LEFT: u32 = 12;

/// A leg that was dialled, and what for.
pub(super) struct Dialled {
    pub(super) order: Originate,
    pub(super) far: ScriptedLeg,
}

/// Notes who is dialled.
#[derive(Clone)]
pub(super) struct FakeVoice {
    script: Script,
    dialled: mpsc::Sender<Dialled>,
    reloads: Arc<Mutex<usize>>,
}

impl Dialer for FakeVoice {
    fn originate(&self, order: Originate, events: LegSink) -> Leg {
        let (leg, far) = self.script.leg(order.leg.clone(), Some(events));
        let _gone = self.dialled.try_send(Dialled { order, far });
        leg
    }

    fn room(&self, _org: &str) -> Room {
        self.script.room()
    }

    fn reload_trunks(&self) -> BoxFuture<'_, ()> {
        *self.reloads.lock().unwrap() += 1;
        Box::pin(std::future::ready(()))
    }
}

/// A server without sockets.
pub(super) struct Stage {
    pub(super) kernel: Kernel,
    pub(super) calls: Calls,
    pub(super) directory: Arc<Directory>,
    pub(super) hand: ClockHand,
    pub(super) org: Org,
    pub(super) speech: Speech,
    script: Script,
    voice: FakeVoice,
    dialled: mpsc::Receiver<Dialled>,
    incoming: mpsc::Sender<Incoming>,
    reloads: Arc<Mutex<usize>>,
    data: PathBuf,
    _db: TestDb,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.kernel.stop.cancel();
        let _left = std::fs::remove_dir_all(&self.data);
    }
}

impl Stage {
    /// On SQLite.
    pub(super) async fn new() -> Self {
        Self::on(TestDb::sqlite().await).await
    }

    pub(super) async fn on(db: TestDb) -> Self {
        let (clock, hand) = Clock::fake(NOON);
        Self::with(db, clock, hand).await
    }

    pub(super) async fn with(db: TestDb, clock: Clock, hand: ClockHand) -> Self {
        Self::after(None, db, clock, hand).await
    }

    /// After another life that gave its last sign then, in ms.
    pub(super) async fn after(last_alive_ms: Option<i64>, db: TestDb, clock: Clock, hand: ClockHand) -> Self {
        let data = std::env::temp_dir().join(Ids::os().new("calls", 0));
        let config = Config { data: data.clone(), ..Config::default() };
        let kernel = Kernel::assemble(config, db.db.clone(), db.bus.clone(), clock, Ids::os()).unwrap();
        if let Some(then_ms) = last_alive_ms {
            kernel.pulse.beat(then_ms).unwrap();
        }
        let directory = Directory::open(kernel.clone()).await.unwrap();
        let script = Script::new().unwrap();
        let (sender, dialled) = mpsc::channel(1_000);
        let reloads = Arc::default();
        let voice = FakeVoice { script: script.clone(), dialled: sender, reloads: Arc::clone(&reloads) };
        let (incoming, receiver) = mpsc::channel(16);
        let speech = Speech::new(&kernel.config.speech, data.clone());
        let calls = Calls::start(&kernel, directory.clone(), Arc::new(voice.clone()), speech.clone(), receiver);
        let org = match kernel.org_by_slug("acme").await.unwrap() {
            Some(org) => org,
            None => kernel.create_org(NewOrg { name: "Acme".into(), ..NewOrg::default() }).await.unwrap(),
        };
        Self { kernel, calls, directory, hand, org, speech, script, voice, dialled, incoming, reloads, data, _db: db }
    }

    /// Calls anew on the same store, which remember nothing else.
    pub(super) fn restarted(&self) -> Calls {
        let (_nobody, incoming) = mpsc::channel(1);
        let voice = Arc::new(self.voice.clone());
        Calls::start(&self.kernel, self.directory.clone(), voice, self.speech.clone(), incoming)
    }

    pub(super) fn org(&self) -> Arc<str> {
        self.org.id.as_str().into()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    pub(super) fn reloads(&self) -> usize {
        *self.reloads.lock().unwrap()
    }

    /// A person with an extension and so many registered phones.
    pub(super) async fn person(&self, extension: &str, phones: usize) {
        let new =
            NewUser { name: format!("Person {extension}"), extension: Some(extension.into()), ..NewUser::default() };
        create_user(&self.kernel, &self.org, new).await.unwrap();
        for phone in 0..phones {
            self.register(extension, phone).await;
        }
    }

    pub(super) async fn register(&self, extension: &str, phone: usize) {
        let change = BindingChange { save: vec![self.binding(extension, phone)], remove: Vec::new() };
        Ports::change_bindings(&*self.directory, &self.org.id, extension, change).await.unwrap();
    }

    pub(super) fn binding(&self, extension: &str, phone: usize) -> Binding {
        Binding {
            org: self.org(),
            extension: extension.into(),
            line: "line_1".into(),
            contact: format!("sip:{extension}@192.0.2.{phone}:5060"),
            instance: None,
            call_id: "abc".into(),
            cseq: 1,
            q: 1000,
            expires_at_ms: self.kernel.clock.now_ms() + 3_600_000,
            transport: Transport::Udp,
            source: format!("192.0.2.{phone}:5060").parse().unwrap(),
            local: "192.0.2.200:5060".parse().unwrap(),
            path: Vec::new(),
            user_agent: "test".into(),
            srtp: false,
        }
    }

    pub(super) async fn trunk(&self, caller_id: &str) {
        let new = NewTrunk {
            name: "carrier".into(),
            targets: vec!["192.0.2.250".into()],
            caller_ids: vec![caller_id.into()],
            ..NewTrunk::default()
        };
        create_trunk(&self.kernel, &self.org.id, new).await.unwrap();
    }

    pub(super) fn new_call(&self, number: &str) -> NewCall {
        NewCall::new(self.calls.new_call_id(), self.org(), number)
    }

    /// The next leg that is dialled.
    pub(super) async fn dialled(&mut self) -> Dialled {
        within(self.dialled.recv()).await.unwrap()
    }

    /// Nobody else is dialled.
    pub(super) fn nobody_dialled(&mut self) -> bool {
        self.dialled.try_recv().is_err()
    }

    pub(super) fn try_dialled(&mut self) -> Option<Dialled> {
        self.dialled.try_recv().ok()
    }

    /// The id of the newest call.
    pub(super) async fn newest_call(&self) -> Option<String> {
        self.kernel.db.writer().flush().await.unwrap();
        let page = self.calls.list(&self.org.id, CallFilter::default(), 1).await.unwrap();
        page.calls.first().map(|call| call.id.clone())
    }

    pub(super) async fn is_completed(&self, call: &str) -> bool {
        self.view(call).await.state == CallState::Completed && !self.has_open_files().await
    }

    /// A recording or message whose row still says that it is being written.
    pub(super) async fn has_open_files(&self) -> bool {
        let open = "select id from recording where state = 'recording' union all select id from voicemail where state = 'recording'";
        !self.kernel.db.all(open, Vec::new()).await.unwrap().is_empty()
    }

    /// A call of a registered phone.
    pub(super) async fn phone_calls(&self, extension: &str, to: &str) -> ScriptedLeg {
        let line = LineIdentity { org: self.org(), extension: extension.into(), person: None, line: "line_1".into() };
        self.comes_in(extension, to, Source::Line(line)).await
    }

    /// A call by a trunk.
    pub(super) async fn trunk_calls(&self, from: &str, to: &str) -> ScriptedLeg {
        let source = Source::Trunk { trunk: "trunk_1".into(), org: self.org() };
        self.comes_in(from, to, source).await
    }

    /// A call of a registered phone for another leg's place.
    pub(super) async fn phone_replaces(&self, extension: &str, leg: &LegId) -> ScriptedLeg {
        let line = LineIdentity { org: self.org(), extension: extension.into(), person: None, line: "line_1".into() };
        self.arrives(extension, extension, Source::Line(line), Some(leg.clone())).await
    }

    /// The call that a complete recording belongs to.
    pub(super) async fn has_ready(&self, recording: &str) -> Option<String> {
        self.kernel.db.writer().flush().await.unwrap();
        let found = records::recording(&self.kernel, &self.org.id, recording).await.unwrap();
        found.filter(|found| found.state == "ready").map(|found| found.call_id)
    }

    async fn comes_in(&self, from: &str, to: &str, source: Source) -> ScriptedLeg {
        self.arrives(from, to, source, None).await
    }

    async fn arrives(&self, from: &str, to: &str, source: Source, replaces: Option<LegId>) -> ScriptedLeg {
        let (leg, far) = self.script.leg(self.kernel.ids.new("leg", NOON).into(), None);
        let incoming = Incoming {
            leg,
            from: CallerId { number: from.into(), ..CallerId::default() },
            to_user: to.into(),
            to_domain: "127.0.0.1".into(),
            source,
            call_id: "call-id".into(),
            replaces,
            hops_left: HOPS_LEFT,
        };
        self.incoming.send(incoming).await.unwrap();
        far
    }

    /// The types of a key's events, in order.
    pub(super) async fn kinds(&self, key: &str) -> Vec<String> {
        self.events(key).await.into_iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// A key's envelopes, in order.
    pub(super) async fn events(&self, key: &str) -> Vec<Value> {
        self.kernel.db.writer().flush().await.unwrap();
        let logged = self.kernel.events.of_key(&self.org.id, key, 0, 500).await.unwrap();
        let events: Vec<Value> = logged.iter().map(|event| serde_json::from_str(&event.envelope).unwrap()).collect();
        let seqs: Vec<i64> = logged.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>(), "seq counts from 1 without holes");
        events
    }

    pub(super) async fn event(&self, key: &str, kind: &str) -> Value {
        let events = self.events(key).await;
        events.into_iter().find(|event| event["type"] == kind).unwrap_or_else(|| panic!("no {kind} of {key}"))
    }

    pub(super) async fn view(&self, call: &str) -> CallView {
        self.kernel.db.writer().flush().await.unwrap();
        self.calls.get(&self.org.id, call).await.unwrap().unwrap()
    }

    /// The only call there is, by its id.
    pub(super) async fn only_call(&self) -> String {
        self.kernel.db.writer().flush().await.unwrap();
        let page = self.calls.list(&self.org.id, CallFilter::default(), 10).await.unwrap();
        assert_eq!(page.calls.len(), 1);
        page.calls[0].id.clone()
    }

    /// Waits until nothing is up and nothing is being finished.
    pub(super) async fn quiet(&self) {
        within(async {
            while self.calls.live() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

/// Whoever drives the calls to a number: the test.
pub(super) struct Desk(pub(super) mpsc::Sender<(Call, InboundNumber)>);

impl InboundHandler for Desk {
    fn handle(&self, call: Call, number: InboundNumber) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.0.send((call, number)).await.unwrap() })
    }
}

/// Five seconds are for ever in a test.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), future).await.expect("it happens within five seconds")
}

/// What happens next on a call.
pub(super) async fn next(call: &mut Call) -> CallEvent {
    within(call.next()).await
}

/// Reads a call's news until one that fits.
pub(super) async fn until(call: &mut Call, fits: impl Fn(&CallEvent) -> bool) -> CallEvent {
    loop {
        let event = next(call).await;
        if fits(&event) {
            return event;
        }
        assert!(!matches!(event, CallEvent::Ended { .. }), "the call ended instead: {event:?}");
    }
}

pub(super) async fn ended(call: &mut Call) -> (Cause, EndedBy) {
    loop {
        if let CallEvent::Ended { cause, by } = next(call).await {
            return (cause, by);
        }
    }
}

pub(super) fn remote_end(cause: Cause, sip_code: Option<u16>) -> LegEvent {
    LegEvent::Ended(LegEnd { cause, by: Side::Remote, sip_code, q850: None })
}

pub(super) fn local_end(cause: Cause) -> LegEvent {
    LegEvent::Ended(LegEnd { cause, by: Side::Local, sip_code: None, q850: None })
}

pub(super) fn answered() -> LegEvent {
    LegEvent::Answered { codec: CodecKind::Pcma }
}

/// Keeps asking a leg until it was asked something that fits.
pub(super) async fn asked(far: &mut ScriptedLeg, fits: impl Fn(&Asked) -> bool) -> Asked {
    within(async {
        loop {
            if let Some(asked) = far.asked().into_iter().find(&fits) {
                return asked;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

pub(super) async fn asked_signal(far: &mut ScriptedLeg, wanted: Signal) {
    asked(far, |asked| matches!(asked, Asked::Signal(signal) if *signal == wanted)).await;
}

/// A call to 1001 that is up.
pub(super) async fn up(stage: &mut Stage) -> (Call, ScriptedLeg) {
    up_to(stage, "1001").await
}

/// A call to a new person that is up.
pub(super) async fn up_to(stage: &mut Stage, extension: &str) -> (Call, ScriptedLeg) {
    stage.person(extension, 1).await;
    let mut call = stage.calls.place(stage.new_call(extension)).await.unwrap();
    let far = stage.dialled().await.far;
    far.tell(LegEvent::Ringing);
    far.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Ringing);
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    (call, far)
}

/// A recording is whole.
pub(super) fn ready(id: &str, seconds: f64) -> LegEvent {
    LegEvent::RecordingReady { id: id.into(), seconds, channels: 2, sha256: "00".repeat(32), path: "/nowhere".into() }
}
