//! Webhooks by API: made, signed so that a library that is not ours believes it, looked at, replayed.

use kernel::{Event, Outbox};
use serde_json::json;

use crate::harness::server::{Plan, Server, Tenant};
use crate::harness::stub::{Asked, Stub};

/// Events, one each half second, that may still be signed by the old secret alone.
const MOST_BEFORE_RENEWAL: i64 = 60;

/// Writes one event with its deliveries, as a desk would.
async fn tell(server: &Server, tenant: &Tenant<'_>, kind: &str, seq: i64) {
    let kernel = &server.app.kernel;
    let now_ms = kernel.clock.now_ms();
    let event = Event {
        id: kernel.ids.new("evt", now_ms),
        kind: kind.to_owned(),
        time_ms: now_ms,
        org: tenant.org.id.clone(),
        key: "call_1".to_owned(),
        seq,
        body: json!({"data": {"text": "ü"}}),
    };
    let targets = kernel.outbox.targets(&tenant.org.id).await.unwrap();
    kernel.db.writer().commit(Outbox::event_writes(&event, targets.iter())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_as_the_standard_says_and_can_be_replayed() {
    let receiver = Stub::start().await;
    let server = Plan::new().reaching(receiver.address).start().await;
    let mine = server.org("mine").await;
    let client = mine.client();
    let hook = json!({"url": receiver.url("/hook"), "events": ["call.completed"]});
    let made = client.post("/v1/webhooks", &hook).await.expect(201);
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());

    tell(&server, &mine, "call.ringing", 1).await;
    tell(&server, &mine, "call.completed", 2).await;
    receiver.event("call.completed").await;
    let asked = receiver.asked();
    assert_eq!(asked.len(), 1, "a type that nobody asked for was sent");
    let library = standardwebhooks::Webhook::new(secret).unwrap();
    library.verify(&asked[0].body, &asked[0].headers).unwrap();
    assert_eq!(asked[0].headers["webhook-id"], asked[0].json()["id"].as_str().unwrap());

    let path = format!("/v1/webhooks/{id}/deliveries");
    let listed = client.until(&path, "the delivery is done", |list| list["deliveries"][0]["state"] == "done").await;
    let delivery = &listed["deliveries"][0];
    assert_eq!(delivery["attempts"][0]["status"], 200);
    let replay = format!("{path}/{}/replay", delivery["id"].as_str().unwrap());
    assert_eq!(client.post(&replay, &json!({})).await.status, 202);
    let within = std::time::Duration::from_secs(10);
    let asked = receiver.until("the replay", within, |asked| asked.len() >= 2).await;
    assert_eq!(asked[0].headers["webhook-id"], asked[1].headers["webhook-id"], "the id is stable");

    // After a rotation both secrets are good: the old one all the time, the new one once the courier, which believes for
    // some seconds what it has read, has read it again.
    let rotated = client.post(&format!("/v1/webhooks/{id}/rotate"), &json!({})).await.expect(200);
    let renewed = standardwebhooks::Webhook::new(rotated["secret"].as_str().unwrap()).unwrap();
    for seq in 3.. {
        tell(&server, &mine, "call.completed", seq).await;
        let is_next = |asked: &&Asked| asked.json()["seq"] == json!(seq);
        let asked = receiver.until("the next", within, |asked| asked.iter().any(|asked| is_next(&asked))).await;
        let next = asked.iter().find(is_next).unwrap();
        library.verify(&next.body, &next.headers).unwrap();
        if renewed.verify(&next.body, &next.headers).is_ok() {
            break;
        }
        assert!(seq < MOST_BEFORE_RENEWAL, "the new secret never signs");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_webhook_is_refused_with_its_field() {
    let server = Server::start().await;
    let mine = server.org("mine").await;
    let client = mine.client();
    for (body, pointer) in [
        (json!({"url": "ftp://example.org"}), "/url"),
        (json!({"url": "http://user:pass@example.org"}), "/url"),
        (json!({"url": "http://127.0.0.1/"}), "/url"),
        (json!({"url": "http://[::ffff:10.0.0.1]/"}), "/url"),
        (json!({"url": 5}), "/url"),
        (json!({}), ""),
        (json!({"url": "http://example.org", "events": ["Call Completed"]}), "/events/0"),
        (json!({"url": "http://example.org", "secret": "x"}), ""),
    ] {
        let problem = client.post("/v1/webhooks", &body).await.expect(422);
        assert_eq!(
            problem["errors"][0]["pointer"].as_str().unwrap().split("/secret").next(),
            Some(pointer),
            "{body}: {problem}"
        );
    }
    assert_eq!(client.get("/v1/webhooks").await.expect(200)["webhooks"], json!([]), "nothing half-written stays");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_its_organisations_own() {
    let server = Server::start().await;
    let (mine, other) = (server.org("mine").await, server.org("other").await);
    let made = mine.client().post("/v1/webhooks", &json!({"url": "http://example.org"})).await.expect(201);
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    for client in [other.client()] {
        assert_eq!(client.get(&path).await.status, 404);
        assert_eq!(client.delete(&path).await.status, 404);
        assert_eq!(client.post(&format!("{path}/rotate"), &json!({})).await.status, 404);
        assert_eq!(client.post(&format!("{path}/disable"), &json!({})).await.status, 404);
        assert_eq!(client.get(&format!("{path}/deliveries")).await.status, 404);
    }
    let client = mine.client();
    assert_eq!(client.post(&format!("{path}/disable"), &json!({})).await.status, 204);
    assert!(client.get(&path).await.expect(200)["disabled_at"].is_string());
    assert_eq!(client.post(&format!("{path}/enable"), &json!({})).await.status, 204);
    assert!(client.get(&path).await.expect(200)["disabled_at"].is_null());
    assert_eq!(client.delete(&path).await.status, 204);
    assert_eq!(client.get(&path).await.status, 404);
    server.stop().await;
}
