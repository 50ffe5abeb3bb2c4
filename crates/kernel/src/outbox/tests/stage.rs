//! An outbox on a database, a clock that is turned by hand, and receivers that answer as a test wants.

use std::time::Duration;

use serde_json::json;

use super::super::*;
use crate::db::testing::TestDb;
use crate::time::ClockHand;
use crate::webhook::SigningKey;

pub(super) const NOW: i64 = 1_795_261_140_000;
pub(super) const ORG: &str = "org_1";
pub(super) const DAY: i64 = 24 * 3_600_000;

/// What a receiver got.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Got {
    pub(super) host: String,
    pub(super) id: String,
    pub(super) key: String,
    pub(super) seq: i64,
    pub(super) parcel_headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) accepted: bool,
}

impl Got {
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.parcel_headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

type Rule = Box<dyn Fn(&Got, usize) -> Option<Answer> + Send + Sync>;

/// Receivers of every host: remember what came and answer by a rule that knows how often this event came before.
/// `None` never answers.
pub(super) struct Receivers {
    pub(super) rule: Mutex<Rule>,
    pub(super) got: Mutex<Vec<Got>>,
}

pub(super) const OK: Option<Answer> = status(200);

pub(super) const fn status(code: u16) -> Option<Answer> {
    Some(Answer::Status { code, retry_after_ms: None })
}

impl Receivers {
    pub(super) fn new(rule: impl Fn(&Got, usize) -> Option<Answer> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { rule: Mutex::new(Box::new(rule)), got: Mutex::default() })
    }

    pub(super) fn turn(&self, rule: impl Fn(&Got, usize) -> Option<Answer> + Send + Sync + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    pub(super) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

impl Post for Receivers {
    fn post(&self, parcel: Parcel, _: i64) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let envelope: serde_json::Value = serde_json::from_slice(&parcel.body).unwrap();
            let got = Got {
                host: parcel.url.host_str().unwrap().to_owned(),
                id: envelope["id"].as_str().unwrap().to_owned(),
                key: envelope["key"].as_str().unwrap().to_owned(),
                seq: envelope["seq"].as_i64().unwrap(),
                parcel_headers: parcel.headers,
                body: parcel.body,
                accepted: false,
            };
            let (before, place) = {
                let mut all = self.got.lock().unwrap();
                let same = |known: &&Got| (&known.host, &known.id) == (&got.host, &got.id);
                let before = all.iter().filter(same).count();
                all.push(got.clone());
                (before, all.len() - 1)
            };
            let answer = (self.rule.lock().unwrap())(&got, before);
            self.got.lock().unwrap()[place].accepted = answer == OK;
            // A receiver takes its time, so that attempts overlap.
            tokio::task::yield_now().await;
            match answer {
                Some(answer) => Reply { answer, error: None },
                None => std::future::pending().await,
            }
        })
    }
}

/// An outbox at work on a database.
pub(super) struct Stage {
    pub(super) outbox: Outbox,
    pub(super) receivers: Arc<Receivers>,
    pub(super) hand: ClockHand,
    pub(super) test: TestDb,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

pub(super) async fn stage(test: &TestDb, receivers: &Arc<Receivers>) -> Stage {
    stage_at(test, receivers, NOW).await
}

pub(super) async fn stage_at(test: &TestDb, receivers: &Arc<Receivers>, now_ms: i64) -> Stage {
    let row = args![ORG, ORG, ORG, ORG, "UTC", NOW];
    let sql = "insert into org (id, slug, name, cloud_sid, zone, created_at) values ($1, $2, $3, $4, $5, $6) \
        on conflict (id) do nothing";
    test.db.run(sql, row).await.unwrap();
    let (clock, hand) = Clock::fake(now_ms);
    let stage = Stage {
        outbox: Outbox::new(
            test.db.clone(),
            test.bus.clone(),
            clock,
            Ids::os(),
            Secrets::from_key(&[7; 32]),
            Arc::clone(receivers) as Arc<dyn Post>,
        ),
        receivers: Arc::clone(receivers),
        hand,
        test: test.clone(),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    };
    stage.outbox.start(&stage.tasks, stage.stop.clone());
    stage
}

impl Stage {
    pub(super) async fn webhook(&self, host: &str, events: &[&str]) -> (Webhook, SigningKey) {
        let new = NewWebhook {
            url: Url::parse(&format!("https://{host}/hook")).unwrap(),
            method: "POST",
            events: events.iter().map(|&kind| kind.to_owned()).collect(),
        };
        self.outbox.add_webhook(ORG, new).await.unwrap()
    }

    /// Logs events of a key and owes them to all who want them.
    pub(super) async fn emit(&self, key: &str, kind: &str, seqs: impl IntoIterator<Item = i64>) {
        let targets = self.outbox.targets(ORG).await.unwrap();
        let mut writes = Vec::new();
        for seq in seqs {
            let event = Event {
                id: format!("evt_{key}_{seq}"),
                kind: kind.to_owned(),
                time_ms: self.outbox.clock.now_ms(),
                org: ORG.to_owned(),
                key: key.to_owned(),
                seq,
                body: json!({"data": {"n": seq}}),
            };
            writes.extend(Outbox::event_writes(&event, targets.iter()));
        }
        self.test.db.writer().commit(writes).await.unwrap();
    }

    pub(super) async fn got(&self, count: usize) -> Vec<Got> {
        eventually(async || Some(self.receivers.got()).filter(|got| got.len() >= count)).await
    }

    pub(super) async fn all(&self, webhook: &Webhook) -> Vec<Delivery> {
        let mut all = self.outbox.deliveries(ORG, &webhook.id, None, 200).await.unwrap();
        all.reverse();
        all
    }

    /// The deliveries to a webhook once that many attempts are on record.
    pub(super) async fn after_attempts(&self, webhook: &Webhook, attempts: usize) -> Vec<Delivery> {
        eventually(async || {
            let all = self.all(webhook).await;
            let tried: usize = all.iter().map(|delivery| delivery.attempts.len()).sum();
            (tried >= attempts).then_some(all)
        })
        .await
    }

    /// The states of all deliveries to a webhook once none is on its way.
    pub(super) async fn settled(&self, webhook: &Webhook) -> Vec<String> {
        eventually(async || {
            let states: Vec<_> = self.all(webhook).await.into_iter().map(|delivery| delivery.state).collect();
            let open = states.iter().any(|state| state == "fast" || state == "slow");
            (!open).then_some(states)
        })
        .await
    }

    /// Dies: what is under way is forgotten.
    pub(super) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

pub(super) async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..5_000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("this never happened");
}

pub(super) async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(40)).await;
}
