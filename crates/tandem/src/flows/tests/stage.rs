//! A server without sockets, with the desk of flows on it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use calls::{CallFilter, CallState, CallView, Calls, Dialer, Directory, NewTrunk, NewUser, create_trunk, create_user};
use kernel::db::testing::TestDb;
use kernel::{Clock, ClockHand, Config, Ids, Job, Kernel, Org};
use kernel::{OrgSettings, org::NewOrg};
use media::codec::CodecKind;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use voice::cause::Cause;
use voice::leg::{EndedBy as Side, Leg, LegEnd, LegEvent, LegSink, PlayId, Playable, Room, Signal};
use voice::ports::{Binding, BindingChange, BoxFuture, Ports, Transport};
use voice::runner::script::{Asked, Script, ScriptedLeg};
use voice::speech::Speech;
use voice::{Incoming, Originate};

use crate::flows::{
    Flows,
    callbacks::JOB_KIND,
    machine::{Booking, Source},
    store::{self, Booker},
};

/// Where the fake clock stands at first: 2026-11-21T12:00:00Z.
pub(super) const NOON: i64 = 1_795_262_400_000;
pub(super) const MINUTE_MS: i64 = 60_000;
/// Registrations outlast every test.
const REGISTERED_MS: i64 = 400 * 24 * 3_600_000;

/// A leg that was dialled, and what for.
pub(super) struct Dialled {
    pub(super) order: Originate,
    pub(super) far: ScriptedLeg,
}

#[derive(Clone)]
struct FakeVoice {
    script: Script,
    dialled: mpsc::Sender<Dialled>,
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
        Box::pin(std::future::ready(()))
    }
}

/// A server without sockets.
pub(super) struct Stage {
    pub(super) kernel: Kernel,
    pub(super) calls: Calls,
    pub(super) flows: Flows,
    pub(super) hand: ClockHand,
    pub(super) org: Org,
    pub(super) db: TestDb,
    directory: Arc<Directory>,
    dialled: mpsc::Receiver<Dialled>,
    _incoming: mpsc::Sender<Incoming>,
    data: PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.kernel.stop.cancel();
        let _left = std::fs::remove_dir_all(&self.data);
    }
}

impl Stage {
    /// At noon, with jobs at work.
    pub(super) async fn new() -> Self {
        Self::on(TestDb::sqlite().await, NOON).await
    }

    /// On a store that another server may have used before.
    pub(super) async fn on(db: TestDb, now_ms: i64) -> Self {
        Self::reaching(db, now_ms, Vec::new()).await
    }

    /// The same; flows reach these addresses of this machine.
    pub(super) async fn reaching(db: TestDb, now_ms: i64, allowed: Vec<String>) -> Self {
        let (clock, hand) = Clock::fake(now_ms);
        let data = std::env::temp_dir().join(Ids::os().new("flows", 0));
        let mut config = Config { data: data.clone(), ..Config::default() };
        config.egress.allow = allowed;
        let kernel = Kernel::assemble(config, db.db.clone(), db.bus.clone(), clock, Ids::os()).unwrap();
        let directory = Directory::open(kernel.clone()).await.unwrap();
        let (sender, dialled) = mpsc::channel(1_000);
        let voice = FakeVoice { script: Script::new().unwrap(), dialled: sender };
        let (incoming, receiver) = mpsc::channel(16);
        let speech = Speech::new(&kernel.config.speech, data.clone());
        let calls = Calls::start(&kernel, directory.clone(), Arc::new(voice), speech.clone(), receiver);
        let flows = Flows::start(&kernel, &calls, &speech);
        calls.recover(|_, _| Vec::new()).await.unwrap();
        flows.recover().await.unwrap();
        let org = match kernel.org_by_slug("acme").await.unwrap() {
            Some(org) => org,
            None => kernel.create_org(NewOrg { name: "Acme".into(), ..NewOrg::default() }).await.unwrap(),
        };
        kernel.start();
        Self { kernel, calls, flows, hand, org, db, directory, dialled, _incoming: incoming, data }
    }

    /// Ends it as a planned stop would; its store can be opened again.
    pub(super) async fn stop(self) -> TestDb {
        self.kernel.stop.cancel();
        self.kernel.tasks.close();
        within(self.kernel.tasks.wait()).await;
        self.kernel.db.writer().flush().await.unwrap();
        self.db.clone()
    }

    /// A person with an extension and a registered phone.
    pub(super) async fn person(&self, extension: &str) {
        let new =
            NewUser { name: format!("Person {extension}"), extension: Some(extension.into()), ..NewUser::default() };
        create_user(&self.kernel, &self.org, new).await.unwrap();
        self.register(extension).await;
    }

    async fn register(&self, extension: &str) {
        let binding = Binding {
            org: self.org.id.as_str().into(),
            extension: extension.into(),
            line: "line_1".into(),
            contact: format!("sip:{extension}@192.0.2.1:5060"),
            instance: None,
            call_id: "abc".into(),
            cseq: 1,
            q: 1000,
            expires_at_ms: self.kernel.clock.now_ms() + REGISTERED_MS,
            transport: Transport::Udp,
            source: "192.0.2.1:5060".parse().unwrap(),
            local: "192.0.2.200:5060".parse().unwrap(),
            path: Vec::new(),
            user_agent: "test".into(),
            srtp: false,
        };
        let change = BindingChange { save: vec![binding], remove: Vec::new() };
        Ports::change_bindings(&*self.directory, &self.org.id, extension, change).await.unwrap();
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

    pub(super) async fn settings(&self, settings: &OrgSettings) {
        let settings = serde_json::to_value(settings).unwrap();
        self.kernel.change_org_settings(&self.org.id, settings.as_object().unwrap()).await.unwrap();
    }

    /// Speaks texts into the cache, so that they are ready at once later on.
    pub(super) async fn warm(&self, texts: &[&str]) {
        for text in texts {
            let source = Source::Speech { text: (*text).to_owned(), voice: None, language: None };
            self.flows.sounds().get(&source, 16_000).await.unwrap();
        }
    }

    /// Books a callback as a run's step does; gives its key.
    pub(super) async fn book(&self, booking: &Booking) -> String {
        let now_ms = self.kernel.clock.now_ms();
        let key = self.kernel.ids.new("cb", now_ms);
        let by = Booker { org: &self.org.id, run: &key, call: "call_that_booked" };
        let job = Job::new(&self.org.id, JOB_KIND, &key, booking.due.at_ms, json!({}));
        let writes = vec![store::callback_write(by, &key, booking, now_ms), job.schedule_once_write()];
        self.kernel.db.writer().commit(writes).await.unwrap();
        key
    }

    pub(super) async fn callback(&self, key: &str) -> store::Callback {
        self.kernel.db.writer().flush().await.unwrap();
        store::callback(&self.kernel.db, &self.org.id, key).await.unwrap().unwrap()
    }

    /// Waits until a callback's row is as it should be.
    pub(super) async fn until_callback(&self, key: &str, fits: impl Fn(&store::Callback) -> bool) -> store::Callback {
        within(async {
            loop {
                let callback = self.callback(key).await;
                if fits(&callback) {
                    return callback;
                }
                nap().await;
            }
        })
        .await
    }

    /// The next leg that is dialled.
    pub(super) async fn dialled(&mut self) -> Dialled {
        within(self.dialled.recv()).await.unwrap()
    }

    pub(super) fn try_dialled(&mut self) -> Option<Dialled> {
        self.dialled.try_recv().ok()
    }

    /// The newest call of the organisation.
    pub(super) async fn newest_call(&self) -> Option<CallView> {
        self.kernel.db.writer().flush().await.unwrap();
        self.calls.list(&self.org.id, CallFilter::default(), 1).await.unwrap().calls.pop()
    }

    /// Nobody is dialled, although everything that is due has had its time.
    pub(super) async fn nobody_dialled(&mut self) -> bool {
        tokio::time::sleep(Duration::from_millis(60)).await;
        self.dialled.try_recv().is_err()
    }

    /// The types of a key's events, in order.
    pub(super) async fn kinds(&self, key: &str) -> Vec<String> {
        self.events(key).await.into_iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// A key's envelopes, in order, numbered from 1 without holes.
    pub(super) async fn events(&self, key: &str) -> Vec<Value> {
        self.kernel.db.writer().flush().await.unwrap();
        let logged = self.kernel.events.of_key(&self.org.id, key, 0, 500).await.unwrap();
        let seqs: Vec<i64> = logged.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>());
        logged.iter().map(|event| serde_json::from_str(&event.envelope).unwrap()).collect()
    }

    pub(super) async fn view(&self, call: &str) -> CallView {
        self.kernel.db.writer().flush().await.unwrap();
        self.calls.get(&self.org.id, call).await.unwrap().unwrap()
    }

    pub(super) async fn is_completed(&self, call: &str) -> bool {
        self.view(call).await.state == CallState::Completed
    }
}

/// Ten seconds are for ever in a test.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it happens within ten seconds")
}

pub(super) async fn nap() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub(super) fn answered() -> LegEvent {
    LegEvent::Answered { codec: CodecKind::Pcma }
}

pub(super) fn remote_end(cause: Cause, sip_code: Option<u16>) -> LegEvent {
    LegEvent::Ended(LegEnd { cause, by: Side::Remote, sip_code, q850: None })
}

pub(super) fn local_end(cause: Cause) -> LegEvent {
    LegEvent::Ended(LegEnd { cause, by: Side::Local, sip_code: None, q850: None })
}

/// Keeps asking a leg until it was asked something that fits.
pub(super) async fn asked<T>(far: &mut ScriptedLeg, fits: impl Fn(Asked) -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(found) = far.asked().into_iter().find_map(&fits) {
                return found;
            }
            nap().await;
        }
    })
    .await
}

/// Waits until a leg is told to hang up, and does.
pub(super) async fn hangs_up(far: &mut ScriptedLeg) {
    let cause = asked(far, |asked| match asked {
        Asked::Signal(Signal::Hangup(cause)) => Some(cause),
        _ => None,
    })
    .await;
    far.tell(local_end(cause));
}

/// Waits until a leg plays a sentence; gives its length in samples, and says that it was heard.
pub(super) async fn hears(far: &mut ScriptedLeg) -> usize {
    let (play, samples) = asked(far, sentence).await;
    far.tell(LegEvent::PlayEnded { play });
    samples
}

fn sentence(asked: Asked) -> Option<(PlayId, usize)> {
    match asked {
        Asked::Play(play, Playable::Sound(sound), _) => Some((play, sound.pcm.len())),
        _ => None,
    }
}
