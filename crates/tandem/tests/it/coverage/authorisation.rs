//! Every operation of openapi.json with every role, with keys of applications, without a good
//! credential, with another organisation's. Who may do what stands here once more, by operation, as
//! contracts/platform.md has it: the table in the code is compared with it.

use kernel::{Role, Scope, role};
use reqwest::Method;
use serde_json::{Value, json};

use super::operations::{ENDLESS, Operation, operations};
use crate::harness::client::{Client, Reply};
use crate::harness::crowd::{Act, Crowd};
use crate::harness::server::{Plan, Server};

/// Who stays in a conference.
const STAYING: &str = "+442071838104";

/// What anybody may ask.
const PUBLIC: &[&str] = &[
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /v1/errors/{code}",
    // Document 002: what comes without a credential is a visitor's, and judged in d002_rules.
    "POST /api/v2/room-control/",
    "POST /api/v2/openChatRoom/",
    "POST /api/v2/login/",
    "POST /api/v2/extension/",
    "GET /api/v2/init/{org_id}/{product}/{id}/",
    "POST /api/v2/publicroom/",
    "GET /api/v2/publicroom/",
    "POST /api/v2/room-service/",
    "GET /api/v2/room-service/",
    // A visitor's page: judged in stories::widget.
    "GET /v1/chat/widget/{app}",
    "POST /v1/chat/widget/{app}/rooms",
    "POST /v1/chat/widget/{app}/offline",
    "PUT /v1/chat/uploads/{file}",
];

/// The lowest role that may, and whether it only reads, which the auditor may too. The own phone's
/// routes are open to all; they show each person its own.
#[derive(Clone, Copy, Debug)]
enum May {
    Read(Role),
    Change(Role),
    ReadOrRun,
    Own,
    ChangeOwn,
}

use May::{Change, ChangeOwn, Own, Read, ReadOrRun};
use Role::{Admin, Agent, Supervisor};

const TABLE: &[(&str, May)] = &[
    ("POST /api/v2/call/flow", Change(Agent)),
    ("GET /api/v2/call/flow/{run_id}", ReadOrRun),
    ("POST /api/v2/call/{call_id}/hangup", Change(Supervisor)),
    ("POST /api/public/v1/call/flow", Change(Agent)),
    ("GET /api/public/v1/call/flow/{run_id}", ReadOrRun),
    ("POST /api/public/v1/call/{call_id}/hangup", Change(Supervisor)),
    ("POST /2010-04-01/Accounts/{account}/Calls/{call}", Change(Supervisor)),
    ("GET /api/v2/room-list/", ReadOrRun),
    ("GET /api/v2/get_QR_Id/{org_id}/", ReadOrRun),
    ("POST /api/v2/get_QR_Id/{org_id}/", ReadOrRun),
    ("POST /api/v2/create_master_link/", Change(Agent)),
    ("POST /v1/chat/qr", Change(Agent)),
    ("GET /v1/calls", Own),
    ("GET /v1/calls/{id}", Own),
    ("GET /v1/calls/{id}/events", Own),
    ("GET /v1/calls/{id}/recordings", Read(Agent)),
    ("POST /v1/calls/{id}/supervise", Change(Supervisor)),
    ("DELETE /v1/calls/{id}/supervise", Change(Supervisor)),
    ("GET /v1/callbacks", Read(Supervisor)),
    ("DELETE /v1/callbacks/{id}", Change(Supervisor)),
    ("GET /v1/conferences", Read(Supervisor)),
    ("GET /v1/conferences/{room}", Read(Supervisor)),
    ("DELETE /v1/conferences/{room}", Change(Supervisor)),
    ("PATCH /v1/conferences/{room}/members/{member}", Change(Supervisor)),
    ("DELETE /v1/conferences/{room}/members/{member}", Change(Supervisor)),
    ("PUT /v1/conferences/{room}/recording", Change(Supervisor)),
    ("DELETE /v1/conferences/{room}/recording", Change(Supervisor)),
    // An unknown recording is 404 before it is asked whose call it is of.
    ("GET /v1/recordings/{id}/audio", Own),
    ("GET /v1/voicemail", Own),
    ("GET /v1/voicemail/{id}", Own),
    ("GET /v1/voicemail/{id}/audio", Own),
    ("DELETE /v1/voicemail/{id}", ChangeOwn),
    ("GET /v1/events", Read(Supervisor)),
    ("GET /v1/tap", Read(Supervisor)),
    ("GET /v1/flows", Read(Supervisor)),
    ("POST /v1/flows", Change(Admin)),
    ("GET /v1/flows/{id}", Read(Supervisor)),
    ("PUT /v1/flows/{id}", Change(Admin)),
    ("DELETE /v1/flows/{id}", Change(Admin)),
    ("POST /v1/flows/{id}/run", Change(Agent)),
    ("GET /v1/numbers", Read(Supervisor)),
    ("GET /v1/numbers/{e164}", Read(Supervisor)),
    ("PUT /v1/numbers/{e164}", Change(Admin)),
    ("DELETE /v1/numbers/{e164}", Change(Admin)),
    ("GET /v1/extensions", Read(Supervisor)),
    ("POST /v1/extensions", Change(Admin)),
    ("PATCH /v1/extensions/{number}", Change(Admin)),
    ("GET /v1/teams", Read(Supervisor)),
    ("POST /v1/teams", Change(Admin)),
    ("GET /v1/teams/{id}", Read(Supervisor)),
    ("PATCH /v1/teams/{id}", Change(Admin)),
    ("GET /v1/teams/{id}/agents", ReadOrRun),
    ("GET /v1/queues", ReadOrRun),
    ("GET /v1/me/state", Change(Agent)),
    ("PUT /v1/me/state", Change(Agent)),
    ("GET /v1/org/settings", Read(Admin)),
    ("PATCH /v1/org/settings", Change(Admin)),
    ("GET /v1/applications/{id}", Read(Admin)),
    ("PATCH /v1/applications/{id}", Change(Admin)),
    ("GET /v1/meetings", Read(Supervisor)),
    ("POST /v1/meetings", Change(Supervisor)),
    ("GET /v1/meetings/{id}", Read(Supervisor)),
    ("PATCH /v1/meetings/{id}", Change(Supervisor)),
    ("POST /v1/meetings/{id}/call", Change(Supervisor)),
    ("POST /v1/meetings/{id}/extend", Change(Supervisor)),
    ("POST /v1/meetings/{id}/finish", Change(Supervisor)),
    ("POST /v1/meetings/{id}/cancel", Change(Supervisor)),
    ("POST /v1/meetings/{id}/links", Change(Supervisor)),
    ("GET /api/v1/meetings", Read(Supervisor)),
    ("POST /api/v1/meetings", Change(Supervisor)),
    ("GET /api/v1/meetings/{id}", Read(Supervisor)),
    ("PATCH /api/v1/meetings/{id}", Change(Supervisor)),
    ("POST /api/v1/meetings/{id}/call", Change(Supervisor)),
    ("POST /api/v1/meetings/{id}/extend", Change(Supervisor)),
    ("POST /api/v1/meetings/{id}/finish", Change(Supervisor)),
    ("POST /api/v1/meetings/{id}/cancel", Change(Supervisor)),
    ("POST /api/v1/meetings/{id}/links", Change(Supervisor)),
    ("GET /v1/chat/products", Read(Supervisor)),
    ("PUT /v1/chat/products/{name}", Change(Supervisor)),
    ("GET /v1/chat/push", Change(Agent)),
    ("POST /v1/chat/push", Change(Agent)),
    ("DELETE /v1/chat/push", Change(Agent)),
    ("GET /v1/chat/events", ReadOrRun),
    ("GET /v1/chat/rooms", ReadOrRun),
    ("POST /v1/chat/rooms", Change(Agent)),
    ("GET /v1/chat/inbox", ReadOrRun),
    // An unknown room is 404 before it is asked who may do what in it.
    ("GET /v1/chat/rooms/{room}", Own),
    ("GET /v1/chat/inbox/{room}", Own),
    ("GET /v1/chat/rooms/{room}/notes", Own),
    ("POST /v1/chat/rooms/{room}/notes", Own),
    ("POST /v1/chat/rooms/{room}/close", Own),
    ("POST /v1/chat/rooms/{room}/reopen", Own),
    ("POST /v1/chat/rooms/{room}/read", Own),
    ("GET /v1/chat/rooms/{room}/messages", Own),
    ("POST /v1/chat/rooms/{room}/messages", Own),
    ("PATCH /v1/chat/rooms/{room}/messages/{seq}", Own),
    ("DELETE /v1/chat/rooms/{room}/messages/{seq}", Own),
    ("GET /v1/chat/rooms/{room}/standing", Own),
    ("POST /v1/chat/rooms/{room}/end", Own),
    ("POST /v1/chat/rooms/{room}/rating", Own),
    ("POST /v1/chat/rooms/{room}/transcript", Own),
    ("GET /v1/chat/rooms/{room}/call", Own),
    ("POST /v1/chat/rooms/{room}/call", Own),
    ("POST /v1/chat/rooms/{room}/call/end", Own),
    ("POST /v1/chat/rooms/{room}/call/phone", Own),
    ("POST /v1/chat/rooms/{room}/call/recording", Own),
    ("POST /v1/chat/uploads", Own),
    ("GET /v1/chat/files/{file}", Own),
    ("GET /v1/chat/agents", ReadOrRun),
    ("PUT /v1/chat/agents/me", Change(Agent)),
    ("PUT /v1/chat/agents/{person}", Change(Supervisor)),
    ("GET /v1/chat/teams", ReadOrRun),
    ("POST /v1/chat/rooms/{room}/take", Own),
    ("POST /v1/chat/rooms/{room}/release", Own),
    ("POST /v1/chat/rooms/{room}/transfer", Own),
    ("GET /v1/chat/rooms/{room}/tags", Own),
    ("PUT /v1/chat/rooms/{room}/tags", Own),
    ("GET /v1/chat/rooms/{room}/visitor", Own),
    ("PATCH /v1/chat/rooms/{room}/visitor", Own),
    ("POST /v1/chat/rooms/{room}/macro", Own),
    ("GET /v1/chat/tags", ReadOrRun),
    ("DELETE /v1/chat/tags/{tag}", Change(Supervisor)),
    ("GET /v1/chat/canned", ReadOrRun),
    ("POST /v1/chat/canned", Change(Supervisor)),
    ("GET /v1/chat/canned/{id}", ReadOrRun),
    ("PATCH /v1/chat/canned/{id}", Change(Supervisor)),
    ("DELETE /v1/chat/canned/{id}", Change(Supervisor)),
    ("GET /v1/chat/macros", ReadOrRun),
    ("POST /v1/chat/macros", Change(Supervisor)),
    ("GET /v1/chat/macros/{id}", ReadOrRun),
    ("PATCH /v1/chat/macros/{id}", Change(Supervisor)),
    ("DELETE /v1/chat/macros/{id}", Change(Supervisor)),
    ("GET /v1/chat/search", ReadOrRun),
    ("GET /v1/chat/reports", Read(Supervisor)),
    ("GET /v1/chat/reports.csv", Read(Supervisor)),
    ("GET /v1/webhooks", Read(Admin)),
    ("POST /v1/webhooks", Change(Admin)),
    ("GET /v1/webhooks/{id}", Read(Admin)),
    ("DELETE /v1/webhooks/{id}", Change(Admin)),
    ("POST /v1/webhooks/{id}/enable", Change(Admin)),
    ("POST /v1/webhooks/{id}/disable", Change(Admin)),
    ("POST /v1/webhooks/{id}/rotate", Change(Admin)),
    ("GET /v1/webhooks/{id}/deliveries", Read(Admin)),
    ("POST /v1/webhooks/{id}/deliveries/{delivery}/replay", Change(Admin)),
    ("GET /v1/webhooks/secret", Change(Admin)),
    ("POST /v1/webhooks/secret/rotate", Change(Admin)),
];

/// Rank on the ladder; the auditor stands beside it.
fn rank(role: Role) -> usize {
    role::ROLES.iter().position(|known| *known == role).unwrap()
}

fn allowed(may: May, role: Role) -> bool {
    let reaches = |lowest: Role| role != Role::Auditor && rank(role) <= rank(lowest);
    match may {
        Read(lowest) => role == Role::Auditor || reaches(lowest),
        Change(lowest) => reaches(lowest),
        ReadOrRun => role == Role::Auditor || reaches(Agent),
        Own => true,
        ChangeOwn => role != Role::Auditor,
    }
}

/// Whether a key that may do flows, and nothing else, may call it.
fn is_of_flows(name: &str) -> bool {
    let parts = [
        "/flow",
        "/call",
        "/conferences",
        "/recordings",
        "/voicemail",
        "/events",
        "/tap",
        "/queues",
        "/agents",
        "/Accounts/",
    ];
    parts.iter().any(|part| name.contains(part)) && !is_of_meetings(name) && !is_of_chat(name)
}

/// Whether it is of meetings, which have a scope of their own.
fn is_of_meetings(name: &str) -> bool {
    name.contains("/meetings")
}

/// Whether it is of support chat, which has a scope of its own.
fn is_of_chat(name: &str) -> bool {
    ["/v1/chat/", "/room-list/", "/get_QR_Id/", "/create_master_link/"].iter().any(|part| name.contains(part))
}

/// Whether it is for people: an application takes no rooms, is neither here nor away, and leaves what belongs to those
/// who answer to them.
fn is_for_people(name: &str) -> bool {
    let parts = ["/take", "/agents/", "/canned", "/macros", "/reports", "/chat/push", "/chat/tags/"];
    parts.iter().any(|part| name.contains(part)) && is_of_chat(name)
}

async fn ask(client: &Client, operation: &Operation) -> u16 {
    let request = client.request(operation.method.clone(), &operation.path("1234"));
    let request = if operation.takes_body() { request.json(&good_body(operation)) } else { request };
    // Only the head: the tap has no end.
    request.send().await.unwrap().status().as_u16()
}

/// The operations that need a credential.
fn guarded() -> impl Iterator<Item = Operation> {
    operations().into_iter().filter(|operation| !operation.is_public)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_public_is_listed_here_and_marked_in_the_document() {
    let marked: Vec<String> =
        operations().into_iter().filter(|operation| operation.is_public).map(|operation| operation.name).collect();
    let mut listed = PUBLIC.to_vec();
    listed.sort_unstable();
    let mut marked: Vec<&str> = marked.iter().map(String::as_str).collect();
    marked.sort_unstable();
    assert_eq!(marked, listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_operation_is_401_without_a_good_credential() {
    let server = Server::start().await;
    for operation in guarded() {
        assert_eq!(ask(&server.client(), &operation).await, 401, "{} without a credential", operation.name);
    }
    let wrong = server.client().bearing("pt_wrong");
    for operation in guarded() {
        let status = ask(&wrong, &operation).await;
        assert!(matches!(status, 401 | 429), "{} with a wrong credential: {status}", operation.name);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_call_what_its_table_says_and_nothing_else() {
    let mut listed: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    let mut there: Vec<String> = guarded().map(|operation| operation.name).collect();
    listed.sort_unstable();
    there.sort_unstable();
    assert_eq!(there, listed, "the table and the document name the same operations");

    let server = Server::start().await;
    let acme = server.org("acme").await;
    for role in role::ROLES {
        let client = server.client().bearing(&acme.person(role).await);
        for operation in guarded() {
            let (_, may) = TABLE.iter().find(|(name, _)| *name == operation.name).unwrap();
            let status = ask(&client, &operation).await;
            assert_ne!(status, 401, "{} as {role}", operation.name);
            assert_eq!(status != 403, allowed(*may, role), "{} as {role}: {status}", operation.name);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_an_application_reaches_as_far_as_its_scopes() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let client = |key: &str| server.client().bearing(key);
    let (all, flows, meetings, chat) = (
        client(&acme.app_key(&[]).await),
        client(&acme.app_key(&[Scope::Flows]).await),
        client(&acme.app_key(&[Scope::Meetings]).await),
        client(&acme.app_key(&[Scope::Chat]).await),
    );
    for operation in guarded() {
        let name = &operation.name;
        if is_for_people(name) {
            assert_eq!(ask(&all, &operation).await, 403, "{name} without scopes");
            continue;
        }
        assert!(!matches!(ask(&all, &operation).await, 401 | 403), "{name} without scopes");
        let status = ask(&flows, &operation).await;
        assert_eq!(status != 403, is_of_flows(name), "{name} with the scope flows: {status}");
        let status = ask(&meetings, &operation).await;
        // The log shows such a key its own meetings alone.
        let is_of_log = matches!(name.as_str(), "GET /v1/events" | "GET /v1/tap");
        let as_it_should = match is_of_meetings(name) || is_of_log {
            true => !matches!(status, 401 | 403),
            false => matches!(status, 403 | 404),
        };
        assert!(as_it_should, "{name} with the scope meetings: {status}");
        // An unknown recording is unknown to everybody.
        let status = ask(&chat, &operation).await;
        let as_it_should = match is_of_chat(name) {
            true => !matches!(status, 401 | 403),
            false => matches!(status, 403 | 404),
        };
        assert!(as_it_should, "{name} with the scope chat: {status}");
    }
    server.stop().await;
}

/// Things of one organisation, by the part of a path that names them.
struct Things(Vec<(&'static str, String)>);

impl Things {
    fn id(&self, template: &str) -> &str {
        let found = self.0.iter().find(|(part, _)| template.contains(part));
        &found.unwrap_or_else(|| panic!("nothing for {template}")).1
    }
}

/// A body that the operation would take from its own organisation.
fn good_body(operation: &Operation) -> Value {
    let flow = json!([{"id": 1, "type": "call", "number": "+442071838103"}]);
    match operation.template.as_str() {
        "/v1/numbers/{e164}" => json!({"to": "person:1001"}),
        "/v1/flows/{id}" => json!({"name": "f", "flow": flow}),
        "/v1/webhooks" => json!({"url": "http://hooks.example.org/"}),
        "/v1/extensions" => json!({"extension": "1002", "person": "per_none"}),
        "/v1/extensions/{number}" => json!({"voicemail": true}),
        "/v1/teams" => json!({"name": "Help", "number": "5263"}),
        "/v1/me/state" => json!({"state": "away"}),
        "/v1/chat/qr" => json!({"count": 1}),
        "/v1/calls/{id}/supervise" => json!({"mode": "listen", "extension": "1001"}),
        "/v1/conferences/{room}/members/{member}" => json!({"muted": true}),
        "/v1/chat/rooms/{room}/messages" | "/v1/chat/rooms/{room}/messages/{seq}" => json!({"body": "words"}),
        "/v1/chat/rooms/{room}/notes" => json!({"text": "words"}),
        "/v1/chat/rooms/{room}/call" => json!({"mode": "browser"}),
        "/v1/chat/rooms/{room}/call/recording" => json!({"call": "call_none"}),
        "/v1/chat/rooms/{room}/rating" => json!({"score": 5}),
        "/v1/chat/rooms/{room}/transcript" => json!({"email": "ann@example.org"}),
        "/v1/chat/agents/me" | "/v1/chat/agents/{person}" => json!({"state": "away"}),
        "/v1/chat/rooms/{room}/transfer" => json!({"team": null}),
        "/v1/chat/rooms/{room}/tags" => json!({"tags": ["vip"]}),
        "/v1/chat/rooms/{room}/macro" => json!({"macro": "mac_1"}),
        "/v1/chat/canned" => json!({"shortcut": "hi", "title": "Greeting", "text": "Hello"}),
        "/v1/chat/macros" => json!({"name": "Spam", "steps": [{"do": "close"}]}),
        "/v1/chat/uploads" => json!({"room": "1234", "name": "a.txt", "size": 1}),
        _ => json!({}),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_organisation_has_is_not_found_and_not_shown() {
    let crowd = Crowd::start(|number| match number {
        STAYING => vec![Act::Ring, Act::Answer, Act::wait(600_000)],
        _ => vec![Act::Ring, Act::Answer, Act::Speak, Act::wait(1_500), Act::Hangup],
    })
    .await;
    let server = Plan::new().start().await;
    crowd.meet(server.sip());
    let (mine, other) = (server.org("mine").await, server.org("other").await);
    mine.trunk("crowd", &[&crowd.address.to_string()], &["+442071838000"]).await;
    mine.phone("1001").await;
    mine.number("+442071838999", "person:1001").await;
    let client = mine.client();
    let text = |value: &Value| value.as_str().unwrap().to_owned();

    // One of everything, and a message in a box.
    let call = json!({"id": 1, "type": "call", "number": "+442071838103", "next_step": 2});
    let call = [
        call,
        json!({"id": 2, "type": "callback", "date": "2099-01-01", "time": "10:00", "entity": "1001", "next_step": 3}),
    ];
    let flow = json!([call[0], call[1], {"id": 3, "type": "voicemail", "box": "1001"}]);
    let saved = client.post("/v1/flows", &json!({"name": "f", "flow": flow})).await.expect(201);
    let hook = client.post("/v1/webhooks", &json!({"url": "http://hooks.example.org/"})).await.expect(201);
    let run = client.post("/api/v2/call/flow", &json!({"flow": flow, "record": true})).await.expect(201);
    let call = text(&run["call_id"]);
    client.until(&format!("/v1/calls/{call}"), "its end", |call| call["state"] == "completed").await;
    let ready = |list: &Value| list["recordings"][0]["state"] == "ready";
    let recordings = client.until(&format!("/v1/calls/{call}/recordings"), "the recording", ready).await;
    let messages = client.until("/v1/voicemail?box=1001", "a message", |list| list["messages"][0].is_object()).await;
    let callbacks = client.get("/v1/callbacks").await.expect(200);
    let meet = json!([{"id": 1, "type": "call", "number": STAYING, "next_step": 2},
        {"id": 2, "type": "conference", "room": "mine"}]);
    client.post("/api/v2/call/flow", &json!({"flow": meet})).await.expect(201);
    client.until("/v1/conferences", "a conference", |list| list["conferences"][0].is_object()).await;
    let hook_id = text(&hook["id"]);
    let team = client.post("/v1/teams", &json!({"name": "Help", "number": "5263"})).await.expect(201);
    let order = json!({"user": {"uid_caller": "1", "uid_receiver": "2"}, "meeting": {"order_id": "1", "duration": 9}});
    let key = server.client().bearing(&mine.app_key(&[Scope::Meetings]).await);
    let meeting = key.post("/api/v1/meetings", &order).await.expect(200)["meeting_id"].to_string();
    let (application, ..) = mine.more().await;
    let chat = server.client().bearing(&mine.app_key(&[Scope::Chat]).await);
    chat.put("/v1/chat/products/MINE", &json!({"code": 77})).await.expect(200);
    let room = chat.post("/v1/chat/rooms", &json!({"user_id": "ann"})).await.expect(201);
    let upload = json!({"room": room["room"]["id"], "name": "a.txt", "size": 1});
    let place = chat.post("/v1/chat/uploads", &upload).await.expect(201);
    chat.send(chat.request(Method::PUT, &text(&place["upload_url"])).body("x")).await.expect(200);
    let canned = json!({"shortcut": "hi", "title": "Greeting", "text": "Hello"});
    let canned = client.post("/v1/chat/canned", &canned).await.expect(201);
    let spam = client.post("/v1/chat/macros", &json!({"name": "Spam", "steps": [{"do": "close"}]})).await.expect(201);
    let tags = format!("/v1/chat/rooms/{}/tags", text(&room["room"]["id"]));
    client.put(&tags, &json!({"tags": ["mine"]})).await.expect(200);
    mine.person(Agent).await;
    let things = Things(vec![
        ("/chat/agents/", mine.people().await),
        ("/chat/tags/", "mine".to_owned()),
        ("/chat/canned/", text(&canned["id"])),
        ("/chat/macros/", text(&spam["id"])),
        ("/chat/rooms/", text(&room["room"]["id"])),
        ("/call/flow/", text(&run["flow_run_id"])),
        ("/call/", call.clone()),
        ("/Accounts/", call.clone()),
        ("/calls/", call),
        ("/flows/", text(&saved["id"])),
        ("/webhooks/", hook_id),
        ("/recordings/", text(&recordings["recordings"][0]["id"])),
        ("/voicemail/", text(&messages["messages"][0]["id"])),
        ("/numbers/", "+442071838999".to_owned()),
        ("/extensions/", "1001".to_owned()),
        ("/teams/", text(&team["id"])),
        ("/conferences/", "mine".to_owned()),
        ("/chat/inbox/", text(&room["room"]["id"])),
        ("/chat/files/", text(&place["file"])),
        ("/chat/products/", "MINE".to_owned()),
        ("/meetings/", meeting),
        ("/applications/", application),
        ("/callbacks/", text(&callbacks["callbacks"][0]["id"])),
    ]);

    let stranger = other.client();
    // What stands in the path of QR ids is a label, which anybody may choose: the list is the own one, and empty.
    assert_eq!(stranger.get("/api/v2/get_QR_Id/label/").await.expect(200), json!({"qr_id_list": []}));
    let named = |operation: &Operation| operation.has_parameters() && !operation.template.contains("get_QR_Id");
    for operation in guarded().filter(named) {
        let path = operation.path(things.id(&operation.template));
        let request = stranger.request(operation.method.clone(), &path);
        let request = if operation.takes_body() { request.json(&good_body(&operation)) } else { request };
        let reply: Reply = stranger.send(request).await;
        // A number that leads to a person it does not have is refused for that.
        let binds = operation.name == "PUT /v1/numbers/{e164}" && matches!(reply.status, 409 | 422);
        assert!(reply.status == 404 || binds, "{}: {} {}", operation.name, reply.status, reply.text);
        let own = mine.client().request(Method::GET, &path).send().await.unwrap().status().as_u16();
        assert!(operation.method != Method::GET || own == 200, "{} by its own: {own}", operation.name);
    }
    for operation in guarded().filter(|operation| operation.method == Method::GET && !operation.has_parameters()) {
        if ENDLESS.contains(&operation.template.as_str()) {
            continue;
        }
        let shown = stranger.get(&operation.template).await.text;
        for (_, id) in &things.0 {
            assert!(!shown.contains(&format!("\"{id}\"")), "{} shows {id}: {shown}", operation.name);
        }
    }
    server.stop().await;
}
