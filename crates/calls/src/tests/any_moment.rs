//! T3 of docs/contracts/flows.md: whatever happens to a call, in whatever order, it has exactly one
//! call.completed, nothing but the fate of recordings follows it, and no leg is left behind.
//!
//! A call that is not over is either slow or stuck. The test tells them apart by the server's own
//! time: hours of it pass, each step after everything that was queued is written, so that a busy
//! machine only makes the test longer. `TANDEM_TEST_SEED` repeats a run.

use std::sync::Arc;
use std::time::Duration;

use media::play::Sound;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use tokio::sync::mpsc;
use voice::cause::Cause;
use voice::leg::{LegEvent, Playable, RecordCommand, RecordingId, Signal};
use voice::ports::BoxFuture;
use voice::runner::script::{Asked, ScriptedLeg};

use super::stage::*;
use crate::*;

const CASES: u32 = 160;
/// In `./test --full`.
const MANY_CASES: u32 = 2_500;
/// Steps of the server's time that a call gets to come to its end, once everybody has left, and how long each is.
const SETTLING_STEPS: usize = 1_500;
const SETTLING_STEP_MS: i64 = 5_000;
/// Names the seed of a run that is to be repeated.
const SEED_VARIABLE: &str = "TANDEM_TEST_SEED";

/// How a driver waits for news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Gives up after less than a millisecond and asks again: whatever was under way is cut short.
    Short,
    /// Waits until nothing more comes.
    Long,
}
const FLOW_NUMBER: &str = "+442071838750";

#[derive(Clone, Copy, Debug)]
enum Way {
    /// Placed to a person with two phones.
    Placed,
    /// From a trunk to a number bound to a flow.
    ToFlow,
    /// From a phone to a person: the router drives it.
    PhoneToPhone,
    /// From a phone to a number that nobody has.
    ToNobody,
}

#[derive(Clone, Debug)]
enum Action {
    Leg(usize, Happening),
    Verb(Verb),
    ApiHangup,
    Advance(i64),
    DropDriver,
}

#[derive(Clone, Debug)]
enum Happening {
    Ringing,
    EarlyMedia,
    Answered,
    Key(char),
    PlayEnded,
    Held(bool),
    Silence,
    Voice,
    Transfer(bool),
    Gone(Cause, Option<u16>),
}

#[derive(Clone, Debug)]
enum Verb {
    Answer,
    Play,
    Connect { to: Vec<&'static str>, sequential: bool, whisper: bool, key: bool, record: bool },
    CancelConnect,
    Transfer,
    Record(RecordAction),
    Sensitive(bool),
    Voicemail,
    Queue { team: &'static str, timeout_ms: i64 },
    LeaveQueue,
    SendDtmf,
    Emit,
    Hangup,
}

fn happening() -> impl Strategy<Value = Happening> {
    let gone = prop_oneof![
        Just(Happening::Gone(Cause::Normal, None)),
        Just(Happening::Gone(Cause::Busy, Some(486))),
        Just(Happening::Gone(Cause::Rejected, Some(603))),
        Just(Happening::Gone(Cause::Canceled, Some(487))),
        Just(Happening::Gone(Cause::MediaTimeout, None)),
    ];
    prop_oneof![
        3 => Just(Happening::Ringing),
        1 => Just(Happening::EarlyMedia),
        6 => Just(Happening::Answered),
        2 => prop::sample::select(vec!['1', '5', '#']).prop_map(Happening::Key),
        2 => Just(Happening::PlayEnded),
        1 => any::<bool>().prop_map(Happening::Held),
        1 => Just(Happening::Silence),
        1 => Just(Happening::Voice),
        1 => any::<bool>().prop_map(Happening::Transfer),
        3 => gone,
    ]
}

fn verb() -> impl Strategy<Value = Verb> {
    let targets =
        prop::collection::vec(prop::sample::select(vec!["1002", "1003", "5263", "5264", "+14155550100", "77"]), 1..3);
    let connect = (targets, any::<[bool; 4]>()).prop_map(|(to, [sequential, whisper, key, record])| Verb::Connect {
        to,
        sequential,
        whisper,
        key,
        record,
    });
    let actions = vec![RecordAction::Start, RecordAction::Stop, RecordAction::Pause, RecordAction::Resume];
    prop_oneof![
        2 => Just(Verb::Answer),
        1 => Just(Verb::Play),
        4 => connect,
        1 => Just(Verb::CancelConnect),
        1 => Just(Verb::Transfer),
        2 => prop::sample::select(actions).prop_map(Verb::Record),
        1 => any::<bool>().prop_map(Verb::Sensitive),
        1 => Just(Verb::Voicemail),
        4 => (prop::sample::select(vec!["5263", "5264"]), prop::sample::select(vec![5_000, 60_000]))
            .prop_map(|(team, timeout_ms)| Verb::Queue { team, timeout_ms }),
        1 => Just(Verb::LeaveQueue),
        1 => Just(Verb::SendDtmf),
        1 => Just(Verb::Emit),
        1 => Just(Verb::Hangup),
    ]
}

fn schedule() -> impl Strategy<Value = (Way, Vec<Action>)> {
    let action = prop_oneof![
        8 => (0usize..6, happening()).prop_map(|(leg, what)| Action::Leg(leg, what)),
        6 => verb().prop_map(Action::Verb),
        1 => Just(Action::ApiHangup),
        2 => prop::sample::select(vec![10i64, 5_000, 31_000, 70_000]).prop_map(Action::Advance),
        1 => Just(Action::DropDriver),
    ];
    let way = prop::sample::select(vec![Way::Placed, Way::Placed, Way::ToFlow, Way::PhoneToPhone, Way::ToNobody]);
    (way, prop::collection::vec(action, 0..14))
}

/// Hands calls to a flow number to the test.
struct ToTest(mpsc::Sender<Call>);

impl InboundHandler for ToTest {
    fn handle(&self, call: Call, _: InboundNumber) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _gone = self.0.send(call).await;
        })
    }
}

/// The far side of one leg, and what it has been asked.
struct Far {
    leg: ScriptedLeg,
    gone: bool,
    asked_to_go: bool,
    plays: Vec<u64>,
    recordings: Vec<RecordingId>,
}

impl Far {
    fn new(leg: ScriptedLeg) -> Self {
        Self { leg, gone: false, asked_to_go: false, plays: Vec::new(), recordings: Vec::new() }
    }

    fn listen(&mut self) {
        for asked in self.leg.asked() {
            match asked {
                Asked::Signal(Signal::Hangup(_) | Signal::Reject(_)) => self.asked_to_go = true,
                Asked::Play(play, ..) | Asked::SendDtmf(_, play) => self.plays.push(play),
                Asked::Record(RecordCommand::Start { id, .. }) => self.recordings.push(id),
                _ => {}
            }
        }
    }

    fn happens(&mut self, what: &Happening) {
        self.listen();
        let event = match what {
            _ if self.gone => return,
            Happening::Ringing => LegEvent::Ringing,
            Happening::EarlyMedia => LegEvent::EarlyMedia,
            Happening::Answered => answered(),
            Happening::Key(symbol) => LegEvent::Dtmf { symbol: *symbol, duration_ms: 80 },
            Happening::PlayEnded => match self.plays.pop() {
                Some(play) => LegEvent::PlayEnded { play },
                None => return,
            },
            Happening::Held(true) => LegEvent::Held,
            Happening::Held(false) => LegEvent::Resumed,
            Happening::Silence => LegEvent::Silence,
            Happening::Voice => LegEvent::Voice,
            Happening::Transfer(attended) => LegEvent::TransferRequested {
                to: "sip:1003@127.0.0.1".into(),
                replaces: attended.then(|| voice::leg::Replaced::Leg("leg_x".into())),
            },
            Happening::Gone(cause, code) => {
                self.gone = true;
                remote_end(*cause, *code)
            }
        };
        self.leg.tell(event);
    }

    /// Does what a leg must: goes when it is asked to, and tells the fate of its recordings.
    fn obey(&mut self) {
        self.listen();
        if self.asked_to_go && !self.gone {
            self.gone = true;
            self.leg.tell(local_end(Cause::Normal));
        }
        if self.gone {
            for (nth, id) in std::mem::take(&mut self.recordings).into_iter().enumerate() {
                self.leg.tell(if nth % 2 == 0 {
                    LegEvent::RecordingReady {
                        id,
                        seconds: 1.5,
                        channels: 2,
                        sha256: "00".repeat(32),
                        path: "/nowhere".into(),
                    }
                } else {
                    LegEvent::RecordingFailed { id, error: "disk full".into() }
                });
            }
        }
    }
}

struct Case<'a> {
    stage: &'a mut Stage,
    call: Option<Call>,
    patience: Patience,
    id: String,
    legs: Vec<Far>,
}

impl Case<'_> {
    /// Lets everything run for a moment, the driver giving up its wait at the end.
    async fn moment(&mut self) {
        let over = async {
            match self.patience {
                Patience::Short => tokio::time::sleep(Duration::from_micros(400)).await,
                Patience::Long => written(&self.stage.kernel).await,
            }
        };
        match &mut self.call {
            Some(call) => tokio::select! {
                biased;
                () = drive(call) => {}
                () = over => {}
            },
            None => over.await,
        }
        while let Some(dialled) = self.stage.try_dialled() {
            self.legs.push(Far::new(dialled.far));
        }
    }

    async fn act(&mut self, action: &Action) {
        match action {
            Action::Leg(leg, what) => {
                let count = self.legs.len();
                if count > 0 {
                    self.legs[leg % count].happens(what);
                }
            }
            Action::Verb(verb) => {
                if let Some(call) = &mut self.call {
                    act(call, verb);
                }
            }
            Action::ApiHangup => self.api_hangup().await,
            Action::Advance(ms) => self.stage.hand.advance(*ms),
            Action::DropDriver => self.call = None,
        }
        self.moment().await;
    }

    async fn api_hangup(&self) {
        match self.stage.calls.hangup(&self.stage.org.id, &self.id).await {
            // An inbound call that is over already may not have reached the store yet.
            Ok(()) | Err(CallError::NotFound) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// The driver leaves, every leg does its duty, and the call is over.
    async fn settle(&mut self) -> bool {
        self.call = None;
        for _ in 0..SETTLING_STEPS {
            for leg in &mut self.legs {
                leg.obey();
            }
            self.moment().await;
            let gone = self.legs.iter().all(|leg| leg.gone);
            if gone && self.stage.calls.live() == 0 && self.stage.is_completed(&self.id).await {
                return true;
            }
            let router_waits = self.legs.iter().all(|leg| leg.gone || !leg.asked_to_go);
            if router_waits && !self.legs.is_empty() && self.stage.calls.live() > 0 {
                // A call that the router drives goes on for ever if nobody hangs up.
                self.api_hangup().await;
            }
            written(&self.stage.kernel).await;
            self.stage.hand.advance(SETTLING_STEP_MS);
        }
        false
    }
}

/// Takes a call's news for ever; safe to give up at any moment.
async fn drive(call: &mut Call) {
    while !matches!(call.next().await, CallEvent::Ended { .. }) {}
    std::future::pending().await
}

/// Returns when every task has had its turn and what was queued by then is in the store.
async fn written(kernel: &kernel::Kernel) {
    tokio::time::sleep(Duration::from_millis(1)).await;
    kernel.db.writer().flush().await.unwrap();
}

fn act(call: &mut Call, verb: &Verb) {
    match verb {
        Verb::Answer => call.answer(),
        Verb::Play => drop(call.play(Playable::HoldMusic, 0)),
        Verb::Connect { to, sequential, whisper, key, record } => call.connect(Connect {
            targets: to.iter().map(|&number| number.to_owned()).collect(),
            strategy: if *sequential { crate::Strategy::Sequential } else { crate::Strategy::Simultaneous },
            whisper: Whisper::of(vec![Sound { rate: 8_000, pcm: vec![0; 160].into() }; usize::from(*whisper)]),
            accept_key: key.then_some('1'),
            record: *record,
            time_limit_ms: Some(60_000),
            ..Connect::to("")
        }),
        Verb::CancelConnect => call.cancel_connect(),
        Verb::Transfer => call.transfer(Connect::to("1003")),
        Verb::Record(action) => call.record(*action),
        Verb::Sensitive(on) => call.sensitive(*on),
        Verb::Voicemail => {
            call.voicemail(LeaveVoicemail { extension: "1001".into(), max_ms: 30_000, silence_ms: 5_000, beep: true })
        }
        Verb::Queue { team, timeout_ms } => {
            call.queue(Queueing { team: (*team).to_owned(), timeout_ms: *timeout_ms, max_waiting: 3, joined_ms: None });
        }
        Verb::LeaveQueue => call.leave_queue(Left::Callback),
        Verb::SendDtmf => drop(call.send_dtmf("12#")),
        Verb::Emit => call.emit("step.started", Some(("1", "play")), json!({})),
        Verb::Hangup => call.hangup(Cause::Normal, EndedBy::System),
    }
}

async fn begin<'a>(stage: &'a mut Stage, way: Way, patience: Patience, to_test: &mut mpsc::Receiver<Call>) -> Case<'a> {
    let before = stage.newest_call().await;
    let mut legs = Vec::new();
    let call = match way {
        Way::Placed => Some(stage.calls.place(stage.new_call("1001")).await.unwrap()),
        Way::ToFlow => {
            legs.push(Far::new(stage.trunk_calls("+14155550123", FLOW_NUMBER).await));
            Some(within(to_test.recv()).await.unwrap())
        }
        Way::PhoneToPhone => {
            legs.push(Far::new(stage.phone_calls("1001", "1002").await));
            None
        }
        Way::ToNobody => {
            legs.push(Far::new(stage.phone_calls("1001", "4444").await));
            None
        }
    };
    let id = match &call {
        Some(call) => call.id.to_string(),
        None => {
            within(async {
                loop {
                    match stage.newest_call().await {
                        Some(id) if Some(&id) != before.as_ref() => break id,
                        _ => tokio::time::sleep(Duration::from_micros(200)).await,
                    }
                }
            })
            .await
        }
    };
    let mut case = Case { stage, call, patience, id, legs };
    case.moment().await;
    case
}

#[test]
fn exactly_one_call_completed_whatever_happens() {
    whatever_happens(Patience::Short);
}

#[test]
fn exactly_one_call_completed_for_a_driver_that_never_gives_up_waiting() {
    whatever_happens(Patience::Long);
}

/// A new seed each run, unless one is to be repeated.
fn seed() -> u64 {
    match std::env::var(SEED_VARIABLE) {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from_le_bytes(kernel::Ids::os().bytes()),
    }
}

fn whatever_happens(patience: Patience) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (sender, receiver) = mpsc::channel(4);
    let stage = runtime.block_on(async {
        let stage = Stage::new().await;
        stage.person("1001", 2).await;
        stage.person("1002", 1).await;
        stage.person("1003", 2).await;
        stage.trunk("+442071838751").await;
        for (number, strategy) in [("5263", "ring_all"), ("5264", "longest_idle")] {
            let team = NewTeam {
                name: "Help".into(),
                number: number.into(),
                strategy: Some(strategy.into()),
                members: vec!["1002".into(), "1003".into()],
                ..NewTeam::default()
            };
            create_team(&stage.kernel, &stage.org.id, team).await.unwrap();
        }
        bind_number(&stage.kernel, &stage.org.id, FLOW_NUMBER, &Bound::Flow("flow_1".into())).await.unwrap();
        set_voicemail(&stage.kernel, &stage.org.id, "1002", true).await.unwrap();
        stage.calls.on_inbound(InboundKind::Flow, Arc::new(ToTest(sender)));
        stage
    });
    let world = std::cell::RefCell::new((stage, receiver));
    let is_full = std::env::var_os("TANDEM_TEST_FULL").is_some_and(|value| value == "1");
    let config = Config {
        cases: if is_full { MANY_CASES } else { CASES },
        failure_persistence: None,
        // Cases share a server: what one has spoilt, a shorter one cannot show.
        max_shrink_iters: 0,
        ..Config::default()
    };
    let seed = seed();
    let bytes = [seed.to_le_bytes(); 4].concat();
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&schedule(), |(way, actions)| {
        let (stage, to_test) = &mut *world.borrow_mut();
        runtime.block_on(async {
            // A new second, so that the organisation's rate has room; registrations never lapse.
            stage.hand.advance(1_000);
            for (extension, phone) in [("1001", 0), ("1001", 1), ("1002", 0), ("1003", 0), ("1003", 1)] {
                stage.register(extension, phone).await;
            }
            let mut case = begin(stage, way, patience, to_test).await;
            for action in &actions {
                case.act(action).await;
            }
            let settled = case.settle().await;
            let legs: Vec<_> = case.legs.iter().map(|leg| (leg.gone, leg.asked_to_go)).collect();
            let id = case.id.clone();
            let kinds = stage.kinds(&id).await;
            prop_assert!(settled, "it is over in the end: {:?}, legs (gone, asked to go) {:?}", kinds, legs);
            let at = kinds.iter().position(|kind| kind == "call.completed");
            prop_assert_eq!(kinds.iter().filter(|kind| *kind == "call.completed").count(), 1, "{:?}", kinds);
            let after = &kinds[at.unwrap() + 1..];
            prop_assert!(after.iter().all(|kind| kind.starts_with("recording.")), "{:?}", kinds);
            prop_assert_eq!(kinds[0].as_str(), "call.initiated");
            let started = kinds.iter().filter(|kind| *kind == "recording.started").count();
            let told =
                kinds.iter().filter(|kind| ["recording.ready", "recording.failed"].contains(&kind.as_str())).count();
            prop_assert_eq!(started, told, "every recording has a fate: {:?}", kinds);
            let view = stage.view(&id).await;
            prop_assert_eq!(view.state, CallState::Completed);
            prop_assert!(view.cause.is_some() && view.ended_at.is_some());
            prop_assert!(view.legs.iter().all(|leg| leg.state == LegState::Ended));
            prop_assert!(!stage.has_open_files().await, "no row stays open");
            let joined = kinds.iter().filter(|kind| *kind == "queue.joined").count();
            let left = stage.events(&id).await.into_iter();
            let left = left.filter(|event| event["type"] == "queue.left" && event["data"]["reason"] != "full").count();
            prop_assert_eq!(joined, left, "who joins leaves: {:?}", kinds);
            for queue in stage.calls.queues(&stage.org()).await.unwrap() {
                prop_assert_eq!(queue.waiting, 0, "{:?}", kinds);
                let free = queue.agents.iter().all(|agent| agent.state == AgentState::Available);
                prop_assert!(free, "nobody is kept: {:?} {:?}", queue.agents, kinds);
            }
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{SEED_VARIABLE}={seed} repeats it: {error}");
    }
}
