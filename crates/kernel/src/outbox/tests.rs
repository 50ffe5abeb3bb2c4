//! Stories of delivery, with receivers that answer by a rule and a clock that is moved by hand.

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::db::testing::TestDb;
use crate::webhook::SigningKey;
use stage::*;

#[tokio::test]
async fn every_statement_is_understood_by_both_engines() {
    for test in TestDb::each().await {
        let stores = [ALL, target::ALL, courier::ALL, dispatch::ALL];
        assert_eq!(test.unpreparable(&stores).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn subscribers_get_what_they_want_in_order_and_signed() {
    for test in TestDb::each().await {
        let stage = stage(&test, &Receivers::new(|_, _| OK)).await;
        let (all, key) = stage.webhook("all.example", &[]).await;
        let (ends, _) = stage.webhook("ends.example", &["call.completed", "recording.*"]).await;
        stage.emit("c1", "call.ringing", 1..=3).await;
        stage.emit("c1", "call.completed", [4]).await;
        stage.emit("c1", "recording.ready", [5]).await;
        stage.emit("c2", "call.completed", [1]).await;
        assert_eq!(stage.settled(&all).await, ["done"; 6]);
        assert_eq!(stage.settled(&ends).await, ["done"; 3]);
        let got = stage.got(9).await;
        let to_all: Vec<_> = got.iter().filter(|got| got.host == "all.example" && got.key == "c1").collect();
        assert_eq!(to_all.iter().map(|got| got.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        for got in to_all {
            assert_eq!(got.header("webhook-id"), got.id);
            let timestamp: i64 = got.header("webhook-timestamp").parse().unwrap();
            assert_eq!(timestamp, NOW / 1_000);
            assert_eq!(got.header("webhook-signature"), key.sign(&got.id, timestamp, &got.body));
            assert_eq!(got.header("content-type"), "application/json");
        }
        stage.end().await;
    }
}

#[tokio::test]
async fn nobody_subscribed_means_no_rows() {
    let test = TestDb::sqlite().await;
    let stage = stage(&test, &Receivers::new(|_, _| OK)).await;
    stage.emit("c1", "call.ringing", 1..=3).await;
    let row = test.db.one("select count(*) as n from delivery", args![]).await.unwrap().unwrap();
    assert_eq!(row.int("n").unwrap(), 0);
    stage.end().await;
}

#[tokio::test]
async fn a_failing_receiver_is_tried_along_the_ladder_and_holds_order_only_on_its_fast_part() {
    for test in TestDb::each().await {
        let stage = stage(&test, &Receivers::new(|got, _| if got.seq == 1 { status(500) } else { OK })).await;
        let (webhook, _) = stage.webhook("a.example", &[]).await;
        stage.emit("c1", "call.completed", 1..=2).await;
        let mut waits = Vec::new();
        for attempt in 1..=3 {
            let first = stage.after_attempts(&webhook, attempt).await.remove(0);
            let wait = first.due_ms - first.attempts[attempt - 1].at;
            waits.push((first.state.clone(), wait));
            if attempt < 3 {
                // Not a moment earlier, and the second event waits behind.
                stage.hand.set(first.due_ms - 1);
                a_moment().await;
                assert_eq!(stage.got(attempt).await.len(), attempt);
                stage.hand.set(first.due_ms);
            }
        }
        assert_eq!(waits[..2], [("fast".to_owned(), 1_000), ("fast".to_owned(), 3_000)]);
        assert!(waits[2].0 == "slow" && (30_000..=36_000).contains(&waits[2].1), "{waits:?}");
        // Now the second passes.
        let both = stage.after_attempts(&webhook, 4).await;
        assert_eq!((both[0].state.as_str(), both[1].state.as_str()), ("slow", "done"));
        stage.receivers.turn(|_, _| OK);
        stage.hand.set(both[0].due_ms);
        assert_eq!(stage.settled(&webhook).await, ["done", "done"]);
        let got = stage.receivers.got();
        assert_eq!(got.iter().map(|got| got.seq).collect::<Vec<_>>(), [1, 1, 1, 2, 1]);
        assert!(got.iter().filter(|got| got.seq == 1).all(|got| got.body == stage.receivers.got()[0].body));
        stage.end().await;
    }
}

#[tokio::test]
async fn refusals_end_a_delivery_and_410_ends_the_webhook() {
    for test in TestDb::each().await {
        let stage = stage(&test, &Receivers::new(|_, _| status(404))).await;
        let (webhook, _) = stage.webhook("a.example", &[]).await;
        stage.emit("c1", "call.completed", 1..=2).await;
        assert_eq!(stage.settled(&webhook).await, ["refused", "refused"]);
        stage.receivers.turn(|_, _| status(410));
        stage.emit("c1", "call.completed", 3..=6).await;
        assert_eq!(stage.settled(&webhook).await[2..], ["dropped"; 4]);
        assert_eq!(stage.receivers.got().len(), 3);
        let disabled = stage.outbox.webhook(ORG, &webhook.id).await.unwrap().unwrap();
        assert_eq!(disabled.disabled_ms, Some(NOW));
        assert!(stage.outbox.targets(ORG).await.unwrap().is_empty());
        assert!(stage.outbox.enable_webhook(ORG, &webhook.id).await.unwrap());
        assert_eq!(stage.outbox.targets(ORG).await.unwrap().len(), 1);
        stage.end().await;
    }
}

#[tokio::test]
async fn retry_after_silences_the_whole_webhook_for_that_long() {
    for test in TestDb::each().await {
        let busy = Answer::Status { code: 503, retry_after_ms: Some(60_000) };
        let stage = stage(&test, &Receivers::new(move |_, _| Some(busy))).await;
        let (webhook, _) = stage.webhook("a.example", &[]).await;
        stage.emit("c1", "call.completed", [1]).await;
        let first = stage.after_attempts(&webhook, 1).await.remove(0);
        assert_eq!((first.state.as_str(), first.due_ms), ("slow", NOW + 60_000));
        stage.receivers.turn(|_, _| OK);
        stage.emit("c1", "call.completed", [2]).await;
        stage.emit("c2", "call.completed", [1]).await;
        stage.hand.set(NOW + 59_999);
        a_moment().await;
        assert_eq!(stage.receivers.got().len(), 1);
        stage.hand.set(NOW + 60_000);
        assert_eq!(stage.settled(&webhook).await, ["done"; 3]);
        stage.end().await;
    }
}

#[tokio::test]
async fn stale_progress_is_dropped_and_the_end_of_the_call_is_not() {
    let test = TestDb::sqlite().await;
    let stage = stage(&test, &Receivers::new(|_, _| None)).await;
    let (webhook, _) = stage.webhook("a.example", &[]).await;
    let row = "update webhook set paused_until_at = $1";
    test.db.run(row, args![NOW + 300_000]).await.unwrap();
    stage.receivers.turn(|_, _| OK);
    stage.emit("c1", "call.ringing", 1..=5).await;
    stage.emit("c1", "call.completed", [6]).await;
    a_moment().await;
    stage.hand.set(NOW + 300_000);
    let states = stage.settled(&webhook).await;
    assert_eq!(states, ["expired", "expired", "expired", "expired", "expired", "done"]);
    stage.end().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    let test = TestDb::sqlite().await;
    let hangs = |got: &Got, _| if got.host == "slow.example" { None } else { OK };
    let stage = stage(&test, &Receivers::new(hangs)).await;
    let (slow, _) = stage.webhook("slow.example", &[]).await;
    let (quick, _) = stage.webhook("quick.example", &[]).await;
    for call in 0..100 {
        stage.emit(&format!("c{call}"), "call.completed", 1..=2).await;
    }
    assert_eq!(stage.settled(&quick).await, ["done"; 200]);
    let under_way: BTreeSet<_> =
        stage.receivers.got().into_iter().filter(|got| got.host == "slow.example").map(|got| got.id).collect();
    assert_eq!(under_way.len(), 32);
    assert!(stage.all(&slow).await.iter().all(|delivery| delivery.state == "fast"));
    stage.end().await;
}

#[tokio::test]
async fn a_run_has_its_own_publish_url_signed_with_its_secret_or_the_organisations() {
    for test in TestDb::each().await {
        let stage = stage(&test, &Receivers::new(|_, _| OK)).await;
        let own = SigningKey::random(&Ids::os());
        let mut signed = Vec::new();
        for (run, key) in [("run_1", Some(&own)), ("run_2", None)] {
            let new = NewWebhook {
                url: Url::parse(&format!("http://{}.example:8080/x", run.replace('_', "-"))).unwrap(),
                method: "PUT",
                events: vec![],
            };
            let (target, mut writes) = stage.outbox.run_target(ORG, run, &new, key).unwrap();
            let event = Event {
                id: format!("evt_{run}"),
                kind: "call.completed".into(),
                time_ms: NOW,
                org: ORG.into(),
                key: run.into(),
                seq: 1,
                body: json!({}),
            };
            writes.extend(Outbox::event_writes(&event, [&target]));
            test.db.writer().commit(writes).await.unwrap();
            assert_eq!(stage.outbox.targets_of_run(ORG, run).await.unwrap(), [target]);
            let expected = match key {
                Some(key) => key.clone(),
                None => stage.outbox.org_secret(ORG).await.unwrap(),
            };
            signed.push(expected);
        }
        assert!(stage.outbox.targets(ORG).await.unwrap().is_empty(), "a run's URL is not the organisation's");
        for got in stage.got(2).await {
            let key = &signed[usize::from(got.key == "run_2")];
            assert_eq!(got.header("webhook-signature"), key.sign(&got.id, NOW / 1_000, &got.body));
        }
        assert_eq!(stage.outbox.org_secret(ORG).await.unwrap(), signed[1]);
        stage.end().await;
    }
}

#[tokio::test]
async fn many_first_uses_make_one_secret() {
    for test in TestDb::each().await {
        let stage = stage(&test, &Receivers::new(|_, _| OK)).await;
        // Several rounds: in the first one PostgreSQL's connections are still being made, one after the other.
        for round in 0..6 {
            let org = format!("org_first_{round}");
            let sql = "insert into org (id, slug, name, cloud_sid, zone, created_at) values ($1, $1, $1, $1, 'UTC', 0)";
            test.db.run(sql, args![&org]).await.unwrap();
            let asks = (0..8).map(|_| stage.outbox.org_secret(&org));
            let keys: Vec<_> = futures_util::future::join_all(asks).await.into_iter().map(Result::unwrap).collect();
            assert!(keys.iter().all(|key| *key == keys[0]), "{}", test.db.engine_name());
            assert_eq!(stage.outbox.live_keys(&org, &org).await.unwrap().len(), 1);
        }
        stage.end().await;
    }
}

#[tokio::test]
async fn two_secrets_sign_during_a_rotation_and_one_a_day_later() {
    for test in TestDb::each().await {
        let stage = stage(&test, &Receivers::new(|_, _| OK)).await;
        let (webhook, old) = stage.webhook("a.example", &[]).await;
        stage.hand.advance(1_000);
        let new = stage.outbox.rotate_secret(ORG, &webhook.id).await.unwrap();
        stage.emit("c1", "call.completed", [1]).await;
        let got = stage.got(1).await.remove(0);
        let at = NOW / 1_000 + 1;
        let both = format!("{} {}", new.sign(&got.id, at, &got.body), old.sign(&got.id, at, &got.body));
        assert_eq!(got.header("webhook-signature"), both);
        stage.hand.advance(DAY);
        stage.emit("c1", "call.completed", [2]).await;
        let got = stage.got(2).await.remove(1);
        assert_eq!(got.header("webhook-signature"), new.sign(&got.id, at + DAY / 1_000, &got.body));
        assert!(matches!(stage.outbox.rotate_secret(ORG, "wh_none").await, Err(OutboxError::NotFound)));
        stage.end().await;
    }
}

#[tokio::test]
async fn a_replay_goes_out_again_under_its_old_id() {
    for test in TestDb::each().await {
        let stage = stage(&test, &Receivers::new(|_, before| if before == 0 { status(400) } else { OK })).await;
        let (webhook, _) = stage.webhook("a.example", &[]).await;
        stage.emit("c1", "call.completed", [1]).await;
        assert_eq!(stage.settled(&webhook).await, ["refused"]);
        let position = stage.all(&webhook).await[0].position;
        assert!(!stage.outbox.replay("org_2", &webhook.id, position).await.unwrap());
        assert!(stage.outbox.replay(ORG, &webhook.id, position).await.unwrap());
        let got = stage.got(2).await;
        assert_eq!((&got[0].id, &got[0].body), (&got[1].id, &got[1].body));
        assert_eq!(stage.settled(&webhook).await, ["done"]);
        let statuses: Vec<_> = stage.all(&webhook).await[0].attempts.iter().map(|attempt| attempt.status).collect();
        assert_eq!(statuses, [Some(400), Some(200)]);
        stage.end().await;
    }
}

#[tokio::test]
async fn a_deleted_webhook_gets_nothing_more_and_belongs_to_its_organisation_alone() {
    for test in TestDb::each().await {
        let stage = stage(&test, &Receivers::new(|_, _| status(500))).await;
        let (webhook, _) = stage.webhook("a.example", &[]).await;
        assert!(stage.outbox.webhook("org_2", &webhook.id).await.unwrap().is_none());
        assert!(!stage.outbox.remove_webhook("org_2", &webhook.id).await.unwrap());
        assert!(!stage.outbox.disable_webhook("org_2", &webhook.id).await.unwrap());
        let stale = stage.outbox.targets(ORG).await.unwrap();
        stage.emit("c1", "call.completed", [1]).await;
        stage.after_attempts(&webhook, 1).await;
        assert!(stage.outbox.remove_webhook(ORG, &webhook.id).await.unwrap());
        // An event that was written with yesterday's knowledge finds nobody.
        let event = Event {
            id: "evt_late".into(),
            kind: "call.completed".into(),
            time_ms: NOW,
            org: ORG.into(),
            key: "c2".into(),
            seq: 1,
            body: json!({}),
        };
        test.db.writer().commit(Outbox::event_writes(&event, stale.iter())).await.unwrap();
        assert_eq!(stage.settled(&webhook).await, ["dropped", "dropped"]);
        stage.hand.advance(DAY / 2);
        a_moment().await;
        assert_eq!(stage.receivers.got().len(), 1);
        stage.end().await;
    }
}

/// Random receivers that fail, hang up and answer late, and a server that dies at random moments: whatever happens, each
/// event that was logged arrives, under one id and with one body; and as long as a key's receiver fails no event more
/// than twice in a row, they are accepted in order.
#[tokio::test]
async fn nothing_is_lost_and_order_holds_over_crashes() {
    for seed in 0..8 {
        // Mostly on SQLite, which is faster; the last two on PostgreSQL when it is at hand.
        let test = if seed < 6 { TestDb::sqlite().await } else { TestDb::each().await.pop().unwrap() };
        let chance = Ids::seeded(seed);
        let flaky = chance.clone();
        // An event's first two arrivals may fail: the fast tries then still hold its key.
        let receivers =
            Receivers::new(move |_, before| if before < 2 && flaky.below(3) == 0 { status(500) } else { OK });
        let mut sent: BTreeMap<String, i64> = BTreeMap::new();
        let mut now_ms = NOW;
        for life in 0..4 {
            let stage = stage_at(&test, &receivers, now_ms).await;
            if life == 0 {
                stage.webhook("a.example", &[]).await;
            }
            for _ in 0..chance.below(12) {
                let key = format!("c{}", chance.below(4));
                let seq = sent.entry(key.clone()).or_default();
                let more = i64::try_from(1 + chance.below(3)).unwrap();
                stage.emit(&key, "call.completed", *seq + 1..=*seq + more).await;
                *seq += more;
                stage.hand.advance(700);
            }
            if life == 3 {
                // The last life is long enough for all.
                let hand = stage.hand.clone();
                let all_done = async {
                    let open = "select count(*) as n from delivery where state in ('fast', 'slow')";
                    while test.db.one(open, args![]).await.unwrap().unwrap().int("n").unwrap() > 0 {
                        hand.advance(500);
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(30), all_done).await.unwrap();
            } else {
                tokio::time::sleep(Duration::from_micros(chance.below(15_000))).await;
            }
            now_ms = stage.outbox.clock.now_ms();
            stage.end().await;
        }
        let mut first: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
        let mut bodies: BTreeMap<String, Bytes> = BTreeMap::new();
        for got in receivers.got() {
            let seqs = first.entry((got.host, got.key)).or_default();
            if got.accepted && !seqs.contains(&got.seq) {
                seqs.push(got.seq);
            }
            assert_eq!(*bodies.entry(got.id).or_insert(got.body.clone()), got.body, "seed {seed}");
        }
        for (key, last) in sent {
            let seqs = first.remove(&("a.example".to_owned(), key.clone())).unwrap_or_default();
            assert_eq!(seqs, (1..=last).collect::<Vec<_>>(), "seed {seed} key {key}");
        }
    }
}

/// Over the guarded client and a real socket: a redirect is a failure and is not followed, a large answer does not
/// matter, and what nobody answers ends after five seconds.
#[tokio::test]
async fn deliveries_go_through_the_guarded_client() {
    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::{any, post, put};

    type Seen = Arc<Mutex<Vec<(String, String)>>>;
    async fn take(State(seen): State<Seen>, headers: HeaderMap, body: String) -> (StatusCode, String) {
        let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        seen.lock().unwrap().push((id.to_owned(), body));
        (StatusCode::OK, "x".repeat(1_000_000))
    }
    let seen = Seen::default();
    let app = axum::Router::new()
        .route("/post", post(take))
        .route("/put", put(take))
        .route("/away", any(|| async { (StatusCode::TEMPORARY_REDIRECT, [("location", "/post")]) }))
        .route("/hang", any(std::future::pending::<()>))
        .with_state(Arc::clone(&seen));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let tasks = TaskTracker::new();
    tasks.spawn(async move { axum::serve(listener, app).await });

    let test = TestDb::sqlite().await;
    let config = crate::config::EgressConfig { allow: vec!["127.0.0.1".into()], ..Default::default() };
    let egress = Egress::new(&config).unwrap();
    let (db, bus) = (test.db.clone(), test.bus.clone());
    let secrets = Secrets::from_key(&[7; 32]);
    let outbox = Outbox::new(db, bus, Clock::system(), Ids::os(), secrets, Arc::new(egress));
    let stop = CancellationToken::new();
    outbox.start(&tasks, stop.clone());
    let mut webhooks = Vec::new();
    for (path, method) in [("post", "POST"), ("put", "PUT"), ("away", "POST"), ("hang", "POST")] {
        let url = Url::parse(&format!("{base}/{path}")).unwrap();
        let (target, mut writes) =
            outbox.run_target(ORG, path, &NewWebhook { url, method, events: vec![] }, None).unwrap();
        webhooks.push(target.id.clone());
        let event = Event {
            id: format!("evt_{path}"),
            kind: "call.completed".into(),
            time_ms: outbox.clock.now_ms(),
            org: ORG.into(),
            key: path.into(),
            seq: 1,
            body: json!({}),
        };
        writes.push(Write::new(
            "insert into org (id, slug, name, cloud_sid, zone, created_at) values ($1, $1, $1, $1, 'UTC', 0) \
             on conflict (id) do nothing",
            args![ORG],
        ));
        writes.rotate_right(1);
        writes.extend(Outbox::event_writes(&event, [&target]));
        test.db.writer().commit(writes).await.unwrap();
    }
    let outcome = async |n: usize| {
        let first = eventually(async || {
            let delivery = outbox.deliveries(ORG, &webhooks[n], None, 1).await.unwrap().remove(0);
            (!delivery.attempts.is_empty()).then_some(delivery)
        })
        .await;
        (first.state, first.attempts[0].status, first.attempts[0].ms)
    };
    for (n, expected) in [("done", Some(200)), ("done", Some(200)), ("fast", Some(307))].into_iter().enumerate() {
        let (state, status, _) = outcome(n).await;
        assert_eq!((state.as_str(), status), expected, "{n}");
    }
    let (state, status, ms) = outcome(3).await;
    assert_eq!((state.as_str(), status), ("fast", None));
    assert!((4_900..7_000).contains(&ms), "{ms} ms");
    let ids: BTreeSet<_> = seen.lock().unwrap().iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids, BTreeSet::from(["evt_post".to_owned(), "evt_put".to_owned()]));
    stop.cancel();
}
