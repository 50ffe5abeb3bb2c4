//! T3 of docs/contracts/flows.md over the path that every POST takes: the launch of a run, its first party, its steps
//! with their HTTP requests. Whatever happens in whatever order, whoever posted having left or not: one call.completed.

use std::cell::RefCell;
use std::time::Duration;

use calls::{AgentState, NewTeam, create_team};
use futures_util::StreamExt as _;
use kernel::db::testing::TestDb;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use voice::cause::Cause;
use voice::leg::{LegEvent, Signal};
use voice::runner::script::{Asked, ScriptedLeg};

use super::stage::*;
use crate::flows::lenient::Reading;
use crate::flows::store::{self, Origin};
use crate::flows::{Launched, Order, Purpose};

const CASES: u32 = 96;
/// The queue's team.
const TEAM: &str = "5263";
/// Texts of the flow, spoken before the cases begin.
const TEXTS: [&str; 3] = ["One.", "Press a key.", "Again."];

#[derive(Clone, Debug)]
enum Action {
    Leg(usize, Happening),
    ApiHangup,
    Advance(i64),
}

#[derive(Clone, Debug)]
enum Happening {
    Ringing,
    Answered,
    Key(char),
    PlayEnded,
    Gone(Cause, Option<u16>),
}

fn schedule() -> impl Strategy<Value = (usize, bool, Vec<Action>)> {
    let gone = prop_oneof![
        Just(Happening::Gone(Cause::Normal, None)),
        Just(Happening::Gone(Cause::Busy, Some(486))),
        Just(Happening::Gone(Cause::NoAnswer, Some(480))),
    ];
    let happening = prop_oneof![
        2 => Just(Happening::Ringing),
        6 => Just(Happening::Answered),
        8 => prop::sample::select(vec!['1', '2', '3', '3', '4', '5', '5', '6', '9']).prop_map(Happening::Key),
        5 => Just(Happening::PlayEnded),
        2 => gone,
    ];
    let action = prop_oneof![
        12 => (0usize..4, happening).prop_map(|(leg, what)| Action::Leg(leg, what)),
        1 => Just(Action::ApiHangup),
        2 => prop::sample::select(vec![10i64, 6_000, 11_000, 31_000, 70_000]).prop_map(Action::Advance),
    ];
    // So often the poster looks for its answer before it leaves; from 8 on it stays.
    (1usize..12, any::<bool>(), prop::collection::vec(action, 0..24))
}

/// Every way out of every step leads on; key 3 books again and again.
fn flow(stub: &str, record: bool) -> Value {
    json!({"record": record, "flow": [
        {"id": "call", "type": "call", "number": "1001", "timeout": 30, "next_step": "say",
         "flow": {"busy": "lost", "no_answer": "lost"}},
        {"id": "say", "type": "play", "text": TEXTS[0], "next_step": "keys"},
        {"id": "keys", "type": "digits", "prompt": {"text": TEXTS[1]}, "timeout": 5,
         "flow": {"1": "now", "2": "join", "3": "book", "4": "never", "5": "wait", "6": "talk", "invalid": "say", "timeout": "say"}},
        {"id": "now", "type": "http", "url": format!("http://{stub}/now"), "next_step": "keys"},
        {"id": "never", "type": "http", "url": format!("http://{stub}/never"), "timeout": 30, "next_step": "keys"},
        {"id": "join", "type": "connect", "number": "1002", "timeout": 20, "next_step": "keys"},
        {"id": "wait", "type": "queue", "team": TEAM, "timeout": 20, "max_waiting": 2, "next_step": "keys"},
        {"id": "talk", "type": "stream", "url": format!("ws://{stub}/stream"), "next_step": "keys"},
        {"id": "book", "type": "callback", "date": "2030-01-01", "time": "10:00", "entity": "1002", "next_step": "say"},
        {"id": "lost", "type": "http", "url": format!("http://{stub}/never"), "timeout": 30},
    ]})
}

/// Answers `/now` at once, takes a stream and lets it go after its first frames, and answers nothing else, ever.
async fn stub() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::task::spawn_local(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(async move {
                let mut head = [0u8; 2_048];
                if socket.peek(&mut head).await.is_ok() && head.starts_with(b"GET /stream") {
                    if let Ok(mut stream) = tokio_tungstenite::accept_async(socket).await {
                        for _ in 0..2 {
                            let _hello = stream.next().await;
                        }
                        let _closed = stream.close(None).await;
                    }
                    return;
                }
                let read = socket.read(&mut head).await.unwrap_or(0);
                if head[..read].starts_with(b"GET /now") {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                    let _gone = socket.write_all(answer).await;
                } else {
                    // Until the other side gives up.
                    let _gone = socket.read(&mut head).await;
                }
            });
        }
    });
    address
}

/// The far side of one leg, and what it has been asked.
struct Far {
    leg: ScriptedLeg,
    gone: bool,
    asked_to_go: bool,
    plays: Vec<u64>,
}

impl Far {
    fn listen(&mut self) {
        for asked in self.leg.asked() {
            match asked {
                Asked::Signal(Signal::Hangup(_)) => self.asked_to_go = true,
                Asked::Play(play, ..) => self.plays.push(play),
                _ => {}
            }
        }
    }

    fn happens(&mut self, what: &Happening) {
        self.listen();
        let event = match what {
            _ if self.gone => return,
            Happening::Ringing => LegEvent::Ringing,
            Happening::Answered => answered(),
            Happening::Key(symbol) => LegEvent::Dtmf { symbol: *symbol, duration_ms: 80 },
            Happening::PlayEnded => match self.plays.pop() {
                Some(play) => LegEvent::PlayEnded { play },
                None => return,
            },
            Happening::Gone(cause, code) => {
                self.gone = true;
                remote_end(*cause, *code)
            }
        };
        self.leg.tell(event);
    }

    fn obey(&mut self) {
        self.listen();
        if self.asked_to_go && !self.gone {
            self.gone = true;
            self.leg.tell(local_end(Cause::Normal));
        }
    }
}

/// One run and everybody on it.
struct Case<'a> {
    stage: &'a mut Stage,
    call: String,
    legs: Vec<Far>,
}

impl Case<'_> {
    async fn moment(&mut self) {
        tokio::time::sleep(Duration::from_micros(400)).await;
        while let Some(dialled) = self.stage.try_dialled() {
            self.legs.push(Far { leg: dialled.far, gone: false, asked_to_go: false, plays: Vec::new() });
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
            Action::ApiHangup => self.stage.calls.hangup(&self.stage.org.id, &self.call).await.unwrap(),
            Action::Advance(ms) => self.stage.hand.advance(*ms),
        }
        self.moment().await;
    }

    /// Somebody hangs up at last, every leg does its duty, and time goes by.
    async fn settle(&mut self) -> bool {
        self.act(&Action::ApiHangup).await;
        let settled = tokio::time::timeout(Duration::from_secs(10), async {
            while self.stage.calls.live() > 0 || !self.stage.is_completed(&self.call).await {
                self.legs.iter_mut().for_each(Far::obey);
                self.stage.hand.advance(1_000);
                self.moment().await;
            }
        });
        settled.await.is_ok()
    }
}

/// Posts the flow and leaves after so many polls; a poster that stays gets the answer.
async fn post(stage: &Stage, body: &Value, polls: usize) -> Option<Launched> {
    let reading = Reading { value: body.clone(), lenient: false };
    let (flow, report) = stage.flows.judge(&stage.org.id, &reading, Purpose::Run).await.unwrap();
    let flow = flow.unwrap_or_else(|| panic!("{:?}", report.errors));
    let launch = stage.flows.launch(&stage.org, flow.into(), Order::of(Origin::Posted(body.clone())));
    let mut launch = std::pin::pin!(launch);
    let mut left = if polls < 8 { polls } else { usize::MAX };
    std::future::poll_fn(|cx| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        launch.as_mut().poll(cx).map(|launched| Some(launched.unwrap()))
    })
    .await
}

async fn begin<'a>(stage: &'a mut Stage, body: &Value, polls: usize) -> Case<'a> {
    let before = stage.newest_call().await.map(|call| call.id);
    let launched = post(stage, body, polls).await;
    let call = within(async {
        loop {
            match stage.newest_call().await.map(|call| call.id) {
                Some(id) if Some(&id) != before.as_ref() => break id,
                _ => nap().await,
            }
        }
    })
    .await;
    assert!(launched.is_none_or(|launched| launched.call == call));
    let mut case = Case { stage, call, legs: Vec::new() };
    case.moment().await;
    case
}

#[test]
fn exactly_one_call_completed_whatever_happens_to_a_run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let (stage, stub) = local.block_on(&runtime, async {
        let stub = stub().await;
        let stage = Stage::reaching(TestDb::sqlite().await, NOON, vec![stub.clone()]).await;
        stage.person("1001").await;
        stage.person("1002").await;
        stage.person("1003").await;
        let team = NewTeam {
            name: "Help".into(),
            number: TEAM.into(),
            strategy: Some("longest_idle".into()),
            members: vec!["1002".into(), "1003".into()],
            ..NewTeam::default()
        };
        create_team(&stage.kernel, &stage.org.id, team).await.unwrap();
        stage.warm(&TEXTS).await;
        (stage, stub)
    });
    let stage = RefCell::new(stage);
    // Cases share a server: what one has spoilt, a shorter one cannot show.
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let outcome = TestRunner::new(config).run(&schedule(), |(polls, record, actions)| {
        let stage = &mut *stage.borrow_mut();
        local.block_on(&runtime, async {
            // A new second, so that the organisation's rate has room.
            stage.hand.advance(1_000);
            let mut case = begin(stage, &flow(&stub, record), polls).await;
            for action in &actions {
                case.act(action).await;
            }
            let settled = case.settle().await;
            let call = case.call.clone();
            let kinds = stage.kinds(&call).await;
            prop_assert!(settled, "it is over in the end: {:?}", kinds);
            let ends: Vec<usize> = (0..kinds.len()).filter(|&at| kinds[at] == "call.completed").collect();
            prop_assert_eq!(ends.len(), 1, "{:?}", kinds);
            let after = &kinds[ends[0] + 1..];
            prop_assert!(after.iter().all(|kind| kind.starts_with("recording.")), "{:?}", kinds);
            prop_assert_eq!(kinds[0].as_str(), "call.initiated");
            let booked = kinds.iter().filter(|kind| *kind == "callback.scheduled").count();
            prop_assert!(booked <= 1, "one step of one run books once: {:?}", kinds);
            let view = stage.view(&call).await;
            let run = view.flow_run_id.unwrap_or_default();
            let row = store::run(&stage.kernel.db, &stage.org.id, &run).await.unwrap();
            prop_assert_eq!(row.map(|row| row.call), Some(call));
            let open = store::has_open_callback(&stage.kernel.db, &stage.org.id, &run).await.unwrap();
            prop_assert_eq!(open, booked == 1, "what was told as booked is booked");
            let count = |wanted: &str| kinds.iter().filter(|kind| *kind == wanted).count();
            prop_assert_eq!(count("queue.joined"), count("queue.left"), "who joins leaves: {:?}", kinds);
            prop_assert_eq!(count("stream.started"), count("stream.stopped"), "{:?}", kinds);
            let queue = stage.calls.queues(&stage.org.id.as_str().into()).await.unwrap().remove(0);
            let free = queue.agents.iter().all(|agent| agent.state == AgentState::Available);
            prop_assert!(free && queue.waiting == 0, "nobody is kept: {:?} {:?}", queue, kinds);
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[tokio::test]
async fn a_step_in_a_loop_books_one_callback() {
    let mut stage = Stage::new().await;
    stage.person("1001").await;
    stage.person("1002").await;
    let steps = json!([
        {"id": 0, "type": "call", "number": "1001", "next_step": 1},
        {"id": 1, "type": "callback", "date": "2030-01-01", "time": "10:00", "entity": "1002", "next_step": 2},
        {"id": 2, "type": "pause", "seconds": 1, "next_step": 1},
    ]);
    let launched = post(&stage, &json!({ "flow": steps }), usize::MAX).await.unwrap();
    let customer = stage.dialled().await.far;
    customer.tell(answered());
    let outcomes = within(async {
        loop {
            stage.hand.advance(1_000);
            nap().await;
            let events = stage.events(&launched.call).await;
            let of_step = |event: &&Value| event["type"] == "step.completed" && event["step"]["id"] == "1";
            let outcomes: Vec<Value> = events.iter().filter(of_step).map(|e| e["data"]["outcome"].clone()).collect();
            if outcomes.len() >= 3 {
                break outcomes;
            }
        }
    })
    .await;
    assert_eq!(outcomes[..3], [json!("scheduled"), json!("already_scheduled"), json!("already_scheduled")]);
    let kinds = stage.kinds(&launched.call).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "callback.scheduled").count(), 1);
    let ahead = store::callbacks_ahead(&stage.kernel.db, "", NOON, 10).await.unwrap();
    assert_eq!(ahead.len(), 1, "and one row");
}
