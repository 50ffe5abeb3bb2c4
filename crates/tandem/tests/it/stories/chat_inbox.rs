//! Agents share the rooms of a chat: who is free gets the next one, who waits knows its place, and all of it survives a
//! kill -9.

use kernel::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::chat::{Line, Shop, opened};
use crate::harness::client::Client;
use crate::harness::process::Tandem;
use crate::harness::server::{Server, Tenant};

/// An agent at a page, who takes so many chats.
struct Agent {
    client: Client,
    person: String,
    line: Line,
}

async fn agent(server: &Server, org: &Tenant<'_>, capacity: u32) -> Agent {
    let token = org.person(Role::Agent).await;
    let (line, ready) = Line::hello(server.app.http(), &token, json!({})).await;
    let client = server.client().bearing(&token);
    let said = client.put("/v1/chat/agents/me", &json!({"state": "available", "capacity": capacity})).await.expect(200);
    assert_eq!((&said["state"], &said["online"]), (&json!("available"), &json!(true)));
    Agent { client, person: ready["you"]["id"].as_str().unwrap().to_owned(), line }
}

async fn assignee(client: &Client, room: &str) -> Value {
    client.get(&format!("/v1/chat/rooms/{room}")).await.expect(200)["assignee"].clone()
}

async fn is_given(client: &Client, room: &str, to: &str) {
    let path = format!("/v1/chat/rooms/{room}");
    client.until(&path, "the room is given away", |room| room["assignee"] == to).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_go_round_and_who_waits_knows_its_place() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[]).await;
    let (mut ann, mut bob) = (agent(&server, &org, 1).await, agent(&server, &org, 1).await);
    let http = server.app.http();
    let mut rooms = Vec::new();
    for (n, user) in ["one", "two", "three"].into_iter().enumerate() {
        let ours = shop.room(user).await;
        let (mut line, _) = Line::hello(http, &ours.token, json!({})).await;
        line.sent(&ours.room, "c1", "Hello, where is my parcel?").await;
        if let Some(agent) = [&ann, &bob].get(n) {
            is_given(&shop.client, &ours.room, &agent.person).await;
        }
        rooms.push((ours, line));
    }
    let first = json!(rooms[0].0.room);
    ann.line.until(|frame| (&frame["room"], &frame["assignee"]) == (&first, &json!(ann.person))).await;

    // The third one waits, and is told so; a page that comes back is told again.
    let (waits, line) = &mut rooms[2];
    assert_eq!(line.expect("queue").await["position"], 1);
    let (mut again, _) = Line::hello(http, &waits.token, json!({})).await;
    assert_eq!(again.expect("queue").await["position"], 1);
    let whole = shop.client.get(&format!("/v1/chat/rooms/{}", waits.room)).await.expect(200);
    assert_eq!((&whole["assignee"], &whole["queue_position"]), (&json!(null), &json!(1)));
    let waiting = ann.client.get("/v1/chat/agents").await.expect(200);
    assert_eq!((&waiting["waiting"][0]["rooms"], &waiting["waiting"][0]["team"]), (&json!(1), &json!(null)));

    // Bob's room is over: he gets the next one.
    bob.client.post(&format!("/v1/chat/rooms/{}/close", rooms[1].0.room), &json!({})).await.expect(200);
    let (waits, line) = &mut rooms[2];
    is_given(&shop.client, &waits.room, &bob.person).await;
    assert_eq!(line.expect("queue").await["position"], 0);
    bob.line.until(|frame| frame["type"] == "room" && frame["assignee"] == bob.person.as_str()).await;

    // He hands it over, with a note that the visitor does not hear.
    let transfer = json!({"person": ann.person, "note": "she knows parcels"});
    let room = waits.room.clone();
    let path = format!("/v1/chat/rooms/{room}");
    bob.client.post(&format!("{path}/transfer"), &transfer).await.expect(200);
    assert_eq!(assignee(&shop.client, &room).await, ann.person.as_str());
    assert_eq!(ann.line.expect("note").await["text"], "she knows parcels");
    line.say(json!({"type": "ping"})).await;
    loop {
        let frame = line.next().await;
        assert!(frame["type"] != "note" && frame["type"] != "tags", "{frame}");
        if frame["type"] == "pong" {
            break;
        }
    }
    // Whose it is not any more may read it, and not answer.
    let words = json!({"body": "wait"});
    assert_eq!(bob.client.post(&format!("{path}/messages"), &words).await.status, 403);
    assert_eq!(bob.client.post(&format!("{path}/take"), &json!({})).await.status, 403);
    ann.client.post(&format!("{path}/messages"), &words).await.expect(201);
    assert_eq!(line.until(|frame| frame["type"] == "msg" && frame["role"] == "agent").await["body"], "wait");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organisation_finds_and_changes_nothing() {
    let server = Server::start().await;
    let (mine, other) = (server.org("mine").await, server.org("other").await);
    let shop = mine.shop(&[]).await;
    let ours = shop.room("ann").await;
    let (mut line, _) = Line::hello(server.app.http(), &ours.token, json!({})).await;
    line.sent(&ours.room, "c1", "My secret Käsekuchen").await;
    let boss = mine.client();
    let path = format!("/v1/chat/rooms/{}", ours.room);
    boss.put(&format!("{path}/tags"), &json!({"tags": ["VIP"]})).await.expect(200);
    let found = boss.get("/v1/chat/search?q=kasekuchen").await.expect(200);
    assert_eq!(
        (&found["hits"][0]["text"], &found["hits"][0]["role"]),
        (&json!("My secret Käsekuchen"), &json!("visitor"))
    );
    assert_eq!(boss.get("/v1/chat/tags").await.expect(200), json!({"tags": [{"tag": "vip", "rooms": 1}]}));
    let card = boss.patch(&format!("{path}/visitor"), &json!({"name": "Ann", "email": "ann@example.org"})).await;
    assert_eq!(card.expect(200)["name"], "Ann");

    let stranger = other.client();
    assert_eq!(stranger.get("/v1/chat/search?q=kasekuchen").await.expect(200)["hits"], json!([]));
    assert_eq!(stranger.get("/v1/chat/tags").await.expect(200)["tags"], json!([]));
    assert_eq!(stranger.delete("/v1/chat/tags/vip").await.status, 404);
    let agent = server.client().bearing(&mine.person(Role::Agent).await);
    assert_eq!(agent.delete("/v1/chat/tags/vip").await.status, 403);
    assert_eq!(boss.delete("/v1/chat/tags/vip").await.status, 204);
    assert_eq!(boss.delete("/v1/chat/tags/vip").await.status, 404, "no room has it");
    assert_eq!(boss.get(&format!("{path}/tags")).await.expect(200), json!({"tags": []}));
    let audit = server.browser().bearing(&mine.token).get("/console/audit").await.text;
    assert!(audit.contains("chat tag remove"), "{audit}");
    assert_eq!(stranger.get("/v1/chat/reports").await.expect(200)["opened"], 0);
    assert_eq!(boss.get("/v1/chat/reports").await.expect(200)["opened"], 1);
    let table = boss.get("/v1/chat/reports.csv").await;
    assert_eq!((table.status, table.text.lines().count()), (200, 8), "{}", table.text);
    for (method, end) in [("GET", "visitor"), ("GET", "tags"), ("POST", "take"), ("POST", "release")] {
        let request = stranger.request(method.parse::<Method>().unwrap(), &format!("{path}/{end}"));
        assert_eq!(stranger.send(request.json(&json!({}))).await.status, 404, "{method} {end}");
    }
    // The visitor neither.
    let visitor = server.client().bearing(&ours.token);
    for end in ["/v1/chat/search?q=a", "/v1/chat/agents", "/v1/chat/canned", "/v1/chat/tags", &format!("{path}/tags")] {
        assert_eq!(visitor.get(end).await.status, 403, "{end}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canned_reply_speaks_by_name_and_supervisors_keep_them() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let Shop { client: shop, .. } = org.shop(&[]).await;
    let ours = opened(shop.post("/v1/chat/rooms", &json!({"user_id": "ann"})).await.expect(201));
    let agent = server.client().bearing(&org.person(Role::Agent).await);
    let boss = server.client().bearing(&org.person(Role::Supervisor).await);
    let hi = json!({"shortcut": "hi", "title": "Greeting", "text": "Hello {visitor.name|there}, {agent.name} here."});
    assert_eq!(agent.post("/v1/chat/canned", &hi).await.status, 403);
    let made = boss.post("/v1/chat/canned", &hi).await.expect(201);
    assert_eq!(boss.post("/v1/chat/canned", &hi).await.status, 409);
    let listed = agent.get(&format!("/v1/chat/canned?room={}", ours.room)).await.expect(200);
    assert_eq!(listed["canned"][0]["filled"], "Hello there, agent here.");
    let path = format!("/v1/chat/canned/{}", made["id"].as_str().unwrap());
    let changed = boss.patch(&path, &json!({"shortcut": "hello"})).await.expect(200);
    assert_eq!((&changed["shortcut"], &changed["title"]), (&json!("hello"), &json!("Greeting")));
    assert_eq!(boss.patch(&path, &json!({"team": "team_none"})).await.status, 422);
    boss.delete(&path).await.expect(204);
    assert_eq!(boss.delete(&path).await.status, 404);
    let steps = json!([{"do": "assign", "person": "me"}, {"do": "reply", "text": "Bye"}, {"do": "close"}]);
    let bye = boss.post("/v1/chat/macros", &json!({"name": "Bye", "steps": steps})).await.expect(201);
    let run = agent.post(&format!("/v1/chat/rooms/{}/macro", ours.room), &json!({"macro": bye["id"]})).await;
    assert_eq!(run.expect(200), json!({"done": 3, "failed": null}));
    assert_eq!(shop.get(&format!("/v1/chat/rooms/{}", ours.room)).await.expect(200)["state"], "closed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_people_are_as_they_were_and_rooms_wait_in_their_order() {
    let data = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(data.path());
    tandem.json(&["org", "create", "Shop", "--slug", "shop"]).await;
    let made = tandem.json(&["app", "create", "shop", "--org", "shop"]).await;
    let key = made["api_key"].as_str().unwrap().to_owned();
    let made = tandem.json(&["user", "create", "Ann", "--org", "shop"]).await;
    let token = made["auth_token"].as_str().unwrap().to_owned();
    let running = tandem.start("serve", &[]).await;
    let (shop, ann): (Client, Client) = (running.client().bearing(&key), running.client().bearing(&token));
    ann.put("/v1/chat/agents/me", &json!({"state": "available", "capacity": 1})).await.expect(200);
    let mut rooms = Vec::new();
    for user in ["one", "two", "three"] {
        let ours = opened(shop.post("/v1/chat/rooms", &json!({"user_id": user, "new": true})).await.expect(201));
        let (mut line, _) = Line::hello(running.http, &ours.token, json!({})).await;
        line.sent(&ours.room, "c1", "Hello").await;
        rooms.push(ours.room);
    }
    let given = |room: &Value| room["assignee"].is_string();
    let person =
        shop.until(&format!("/v1/chat/rooms/{}", rooms[0]), "the first is given", given).await["assignee"].clone();
    let second = |room: &Value| room["queue_position"] == 2;
    shop.until(&format!("/v1/chat/rooms/{}", rooms[2]), "the third waits", second).await;
    let (http, sip) = (running.http, running.sip);
    running.kill().await;

    let running = tandem.start_at("serve", http, sip, &[]).await;
    let (shop, ann): (Client, Client) = (running.client().bearing(&key), running.client().bearing(&token));
    shop.until(&format!("/v1/chat/rooms/{}", rooms[2]), "the third waits still", second).await;
    let agents = ann.get("/v1/chat/agents").await.expect(200);
    let me = agents["agents"].as_array().unwrap().iter().find(|agent| agent["person"] == person).unwrap();
    assert_eq!((&me["state"], &me["capacity"], &me["load"]), (&json!("available"), &json!(1), &json!(1)));
    // Ann's page comes back; one room over, the next one hers.
    let _page = Line::hello(http, &token, json!({})).await;
    for pair in rooms.windows(2) {
        ann.post(&format!("/v1/chat/rooms/{}/close", pair[0]), &json!({})).await.expect(200);
        let next = |room: &Value| room["assignee"] == person;
        shop.until(&format!("/v1/chat/rooms/{}", pair[1]), "the next is given", next).await;
    }
    running.kill().await;
}
