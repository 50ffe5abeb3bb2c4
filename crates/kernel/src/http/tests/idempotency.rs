//! Idempotency-Key: once run, whoever asks again and whatever died in between.

use tokio::task::JoinHandle;

use super::*;

#[tokio::test]
async fn the_same_key_and_body_get_the_same_answer_once_run() {
    for test in testing::each().await {
        let server = server(test);
        let (org, token) = server.owner("dev").await;
        let (_, other) = server.owner("acme").await;
        let first = server.post("/things", &token, "k1", r#"{"a":1}"#).await;
        assert_eq!((first.status, first.json()), (201, json!({"run": 1, "org": org})));
        let second = server.post("/things", &token, "k1", r#"{"a":1}"#).await;
        assert_eq!((second.status, &second.text), (201, &first.text));
        assert_eq!(second.header("location"), "/things/1");
        assert_eq!(second.header("content-type"), first.header("content-type"));
        assert_eq!((first.header("idempotency-replayed"), second.header("idempotency-replayed")), ("", "true"));

        let changed = server.post("/things", &token, "k1", r#"{"a":2}"#).await;
        assert_eq!((changed.status, &changed.json()["code"]), (409, &json!("idempotency_mismatch")));
        assert_eq!(server.post("/things?x=1", &token, "k1", r#"{"a":1}"#).await.status, 409, "another route");
        assert_eq!(server.post("/things", &other, "k1", r#"{"a":1}"#).await.json()["run"], 2, "another credential");
        assert_eq!(server.post("/things", &token, "k2", r#"{"a":1}"#).await.json()["run"], 3);

        server.test.hand.advance(24 * 3_600_000);
        assert_eq!(server.post("/things", &token, "k1", r#"{"a":2}"#).await.json()["run"], 4, "a day later it is free");
    }
}

#[tokio::test]
async fn a_session_has_a_memory_as_a_token_has() {
    for test in testing::each().await {
        let server = server(test);
        let (org, _) = server.owner("dev").await;
        let person = server.test.people(&org, "", 1).await.unwrap().remove(0).id;
        let open = async || server.test.create_session(&org, &person, "192.0.2.1", "Browser").await.unwrap();
        let (ann, elsewhere) = (open().await, open().await);
        let post = async |session: &crate::Secret, site: &str, key: &str, body: &str| {
            let request = Request::post("/things")
                .header("content-type", "application/json")
                .header("cookie", format!("{SESSION_COOKIE}={}", session.expose()))
                .header("sec-fetch-site", site)
                .header("idempotency-key", key);
            server.ask(request, body.to_owned()).await
        };
        assert_eq!(post(&ann, "cross-site", "k1", "{}").await.json()["code"], "foreign_origin");
        let first = post(&ann, "same-origin", "k1", "{}").await;
        assert_eq!((first.status, first.json()["run"].clone()), (201, json!(1)), "what was refused is not remembered");
        let second = post(&ann, "same-origin", "k1", "{}").await;
        assert_eq!((second.text.as_str(), second.header("idempotency-replayed")), (first.text.as_str(), "true"));
        assert_eq!(post(&ann, "same-origin", "k1", "[]").await.json()["code"], "idempotency_mismatch");
        assert_eq!(post(&ann, "cross-site", "k1", "{}").await.json()["code"], "foreign_origin", "nothing is replayed");
        assert_eq!(post(&elsewhere, "same-origin", "k1", "{}").await.json()["run"], 2, "another session");
        assert_eq!(server.runs(), 2);
        let nobody = crate::Secret::from("st_wrong".to_owned());
        assert_eq!(post(&nobody, "same-origin", "k1", "{}").await.status, 401);
    }
}

#[tokio::test]
async fn refusals_are_answers_failures_are_not() {
    let server = sqlite().await;
    let (_, token) = server.owner("dev").await;
    for expected in [1, 1] {
        let refused = server.post("/things", &token, "k1", r#"{"want":"422"}"#).await;
        assert_eq!((refused.status, refused.header("content-type")), (422, "application/problem+json"));
        assert_eq!(refused.json()["errors"][0]["message"], format!("run {expected}"));
    }
    for expected in [2, 3] {
        assert_eq!(server.post("/things", &token, "k2", r#"{"want":"500"}"#).await.status, 500);
        assert_eq!(server.runs(), expected, "a failure may be tried again");
    }
    assert_eq!(server.post("/things", "pt_wrong", "k3", "{}").await.status, 401);
    assert_eq!(server.post("/things", &token, "k3", "{}").await.status, 201);
    for bad in ["", "   ", &"k".repeat(256), "é"] {
        assert_eq!(server.post("/things", &token, bad, "{}").await.status, 400, "{bad:?}");
    }
    let too_large = "x".repeat(2 << 20);
    assert_eq!(server.post("/things", &token, "k4", &too_large).await.status, 413);
}

/// A request whose handler has begun and does not end while the gate is shut.
async fn stuck(server: &Arc<Server>, token: &str) -> JoinHandle<Answer> {
    let (asked, token) = (Arc::clone(server), token.to_owned());
    let request = tokio::spawn(async move { asked.post("/things", &token, "k1", "{}").await });
    while server.runs() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    request
}

#[tokio::test]
async fn two_at_once_run_once() {
    for test in testing::each().await {
        let server = Arc::new(server(test));
        let (_, token) = server.owner("dev").await;
        server.app.gate.forget_permits(1_000);
        let first = stuck(&server, &token).await;
        let second = server.post("/things", &token, "k1", "{}").await;
        assert_eq!((second.status, second.header("retry-after")), (409, "1"));
        assert_eq!(second.json()["code"], "idempotency_in_flight");
        assert_eq!(server.post("/things", &token, "k1", "[]").await.json()["code"], "idempotency_mismatch");

        // The client of the first gives up; its request ends all the same, and the answer waits.
        first.abort();
        server.app.gate.add_permits(1_000);
        let mut answer = server.post("/things", &token, "k1", "{}").await;
        while answer.status == 409 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            answer = server.post("/things", &token, "k1", "{}").await;
        }
        assert_eq!((answer.status, &answer.json()["run"], server.runs()), (201, &json!(1), 1));
    }
}

#[tokio::test]
async fn a_request_that_died_with_its_process_is_never_run_again() {
    for test in testing::each().await {
        let server = Arc::new(server(test));
        let (_, token) = server.owner("dev").await;
        server.app.gate.forget_permits(1_000);
        let first = stuck(&server, &token).await;
        // However long it takes, as when the store is stuck: this process knows that it runs.
        server.test.hand.advance(3_600_000);
        assert_eq!(server.post("/things", &token, "k1", "{}").await.json()["code"], "idempotency_in_flight");

        // The next process on the same store knows nothing of it.
        let restarted = router(&server.test.kernel, &server.app);
        for wait_ms in [0, 60_000, 3_600_000] {
            server.test.hand.advance(wait_ms);
            let answer = server.post_to(&restarted, "/things", &token, "k1", "{}").await;
            assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("idempotency_unknown")));
            assert!(answer.json()["detail"].as_str().unwrap().contains("2026-11-21T00:00:00.000Z"), "{}", answer.text);
            let other = server.post_to(&restarted, "/things", &token, "k1", "[]").await;
            assert_eq!(other.json()["code"], "idempotency_mismatch");
        }
        assert_eq!(server.runs(), 1);
        server.test.hand.advance(24 * 3_600_000);
        server.app.gate.add_permits(1_000);
        assert_eq!(server.post_to(&restarted, "/things", &token, "k1", "{}").await.json()["run"], 2);
        first.await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_could_not_be_noted_is_not_made_again() {
    let server = sqlite().await;
    let (_, token) = server.owner("dev").await;
    let lost = "create trigger lost before update on idempotency begin select raise(abort, 'no room'); end";
    server.test.db.run(lost, vec![]).await.unwrap();
    assert_eq!(server.post("/things", &token, "k1", "{}").await.status, 500);
    server.test.db.run("drop trigger lost", vec![]).await.unwrap();
    assert_eq!(server.post("/things", &token, "k1", "{}").await.json()["code"], "idempotency_unknown");
    assert_eq!(server.runs(), 1);
}

#[tokio::test]
async fn an_answer_that_is_too_long_to_keep_is_given_all_the_same() {
    let server = sqlite().await;
    let (_, token) = server.owner("dev").await;
    for runs in 1..=2 {
        let told = server.post("/told", &token, "k1", "{}").await;
        assert_eq!((told.status, told.text.len(), server.runs()), (200, TOLD_PIECES * 1024, runs));
    }
}

#[tokio::test]
async fn stored_answers_are_sealed() {
    let server = sqlite().await;
    let (org, token) = server.owner("dev").await;
    server.post("/things", &token, "k1", "{}").await;
    let rows = server.test.db.all("select answer from idempotency", vec![]).await.unwrap();
    let stored = rows[0].text("answer").unwrap();
    assert!(stored.starts_with("s1.") && !stored.contains(&org));
}

#[tokio::test]
async fn documented_routes_keep_their_envelope_and_their_credential_in_the_body() {
    let server = sqlite().await;
    let (_, token) = server.owner("dev").await;
    let (_, other) = server.owner("acme").await;
    let post = async |token: &str, key: &str, want: &str| {
        let body = json!({"auth_token": token, "want": want}).to_string();
        let request = Request::post("/documented").header("idempotency-key", key);
        server.ask(request.header("content-type", "application/json"), body).await
    };
    assert_eq!(post(&token, "k1", "").await.text, "run 1");
    assert_eq!(post(&token, "k1", "").await.text, "run 1");
    assert_eq!(post(&other, "k1", "").await.text, "run 2", "another organisation's key is another key");
    let envelope = |code: &str| json!({"status": "error", "code": code});
    let mismatch = post(&token, "k1", "other").await;
    assert_eq!((mismatch.status, mismatch.json()), (409, envelope("idempotency_mismatch")));
    for _ in 0..2 {
        let refused = post(&token, "k2", "422").await;
        assert_eq!((refused.status, refused.json()), (422, envelope("invalid_field")));
    }
    let wrong = post("pt_wrong", "k1", "").await;
    assert_eq!((wrong.status, wrong.json()), (401, envelope("unauthorized")));
    let unknown = server.get("/documented/nowhere").await;
    assert_eq!((unknown.status, unknown.json()), (404, envelope("not_found")));
}
