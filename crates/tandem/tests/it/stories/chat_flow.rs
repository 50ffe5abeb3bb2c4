//! A saved flow answers the new rooms of a product: a visitor is asked, chooses, is asked again, gives up, is handed over,
//! and whoever answers may step in; the run's story can be read.

use kernel::Role;
use serde_json::{Value, json};

use crate::harness::chat::{Line, Opened, Shop};
use crate::harness::client::Client;
use crate::harness::server::{Plan, Server, Tenant};
use crate::harness::stub::Stub;

/// An organisation whose product LOGOSCAN is answered by a flow.
struct House<'a> {
    org: Tenant<'a>,
    shop: Shop,
    people: Client,
    flow: String,
}

impl<'a> House<'a> {
    async fn new(org: Tenant<'a>, flow: Value) -> Self {
        let (shop, people) = (org.shop(&[]).await, org.client());
        let saved = people.post("/v1/flows", &json!({"name": "Robot", "flow": flow})).await.expect(201);
        let flow = saved["id"].as_str().unwrap().to_owned();
        people.put("/v1/chat/products/LOGOSCAN", &json!({"flow_id": flow})).await.expect(200);
        Self { org, shop, people, flow }
    }

    fn server(&self) -> &'a Server {
        self.org.server
    }

    /// A visitor with a new room and a socket.
    async fn visitor(&self, user: &str) -> Guest {
        let ours = self.shop.room(user).await;
        let (line, ready) = Line::hello(self.server().app.http(), &ours.token, json!({ &ours.room: 0 })).await;
        let mut guest = Guest { line, ours, seq: 0, early: Vec::new() };
        guest.early = ready["missed"].as_array().unwrap().clone();
        guest.early.reverse();
        guest
    }

    async fn room(&self, guest: &Guest) -> Value {
        self.people.get(&format!("/v1/chat/rooms/{}", guest.ours.room)).await.expect(200)
    }

    /// The run of a room, once it is so.
    async fn run_of(&self, guest: &Guest, what: &str, good: impl Fn(&Value) -> bool) -> Value {
        let events = self.events(guest, "flow.completed").await;
        let run = events[0]["run_id"].as_str().unwrap().to_owned();
        let found = self.people.until(&format!("/api/v2/call/flow/{run}"), what, |run| good(&run["run"])).await;
        found["run"].clone()
    }

    /// The events of a room of one type, once there is one.
    async fn events(&self, guest: &Guest, kind: &str) -> Vec<Value> {
        let of_room = |page: &Value| -> Vec<Value> {
            let events = page["events"].as_array().unwrap().iter();
            events.filter(|event| event["key"] == guest.ours.room.as_str() && event["type"] == kind).cloned().collect()
        };
        let page = self.people.until("/v1/events?limit=500", kind, |page| !of_room(page).is_empty()).await;
        of_room(&page)
    }
}

/// A visitor in its room.
struct Guest {
    line: Line,
    ours: Opened,
    /// The newest message that was looked at.
    seq: i64,
    /// What had been said before it listened; the oldest is the last.
    early: Vec<Value>,
}

impl Guest {
    /// The next message of somebody else in the room.
    async fn hears(&mut self) -> Value {
        loop {
            let message = match self.early.pop() {
                Some(message) => message,
                None => self.line.expect("msg").await,
            };
            let seq = message["seq"].as_i64().unwrap();
            if seq > self.seq {
                self.seq = seq;
                if message["role"] != "visitor" {
                    return message;
                }
            }
        }
    }

    async fn is_told(&mut self, words: &str) {
        let message = self.hears().await;
        assert_eq!(
            (&message["body"], &message["role"], &message["author"]),
            (&json!(words), &json!("system"), &json!("Robot"))
        );
    }

    /// What comes of it is looked at later.
    async fn says(&mut self, words: &str) {
        self.line.send(&self.ours.room, words, words).await;
    }

    /// The same, and it is durable; nobody is expected to answer.
    async fn has_said(&mut self, words: &str) {
        self.line.sent(&self.ours.room, words, words).await;
    }
}

fn steps_of(run: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    run["visited"].as_array().unwrap().iter().map(|visit| (text(&visit["step_id"]), text(&visit["outcome"]))).collect()
}

fn pairs(steps: &[(&str, &str)]) -> Vec<(String, String)> {
    steps.iter().map(|(id, outcome)| ((*id).to_owned(), (*outcome).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_is_walked_a_server_is_asked_and_a_team_takes_over() {
    let stub = Stub::start().await;
    stub.answer("/orders/4711", 200, r#"{"state": "on its way"}"#);
    let server = Plan::new().reaching(stub.address).start().await;
    let flow = json!([
        {"id": "hello", "type": "play", "text": "Good day.", "next_step": "menu"},
        {"id": "menu", "type": "digits", "tries": 2, "prompt": "1 = my order, people = a person", "flow":
            {"1": "number", "people": "team", "invalid": "team"}},
        {"id": "number", "type": "digits", "prompt": "Which number?", "variable": "order", "flow": {"*": "look"}},
        {"id": "look", "type": "http", "url": stub.url("/orders/{{order}}"), "save": {"state": "/state"},
            "flow": {"success": "say", "fail": "team"}},
        {"id": "say", "type": "play", "text": "It is {{state}}, {{call.from}}.", "next_step": "bye"},
        {"id": "bye", "type": "hangup"},
        {"id": "team", "type": "queue", "team": "5263"},
    ]);
    let org = server.org("shop").await;
    org.team("5263", &[]).await;
    let house = House::new(org, flow).await;

    let mut ann = house.visitor("ann").await;
    ann.is_told("Good day.").await;
    ann.is_told("1 = my order, people = a person").await;
    ann.says("what?").await;
    ann.is_told("1 = my order, people = a person").await;
    ann.says(" 1 ").await;
    ann.is_told("Which number?").await;
    ann.says("4711").await;
    ann.is_told("It is on its way, ann.").await;
    assert_eq!(ann.line.until(|frame| frame["type"] == "room").await["state"], "closed");
    let run = house.run_of(&ann, "its end", |run| run["state"] == "completed").await;
    let path = [
        ("hello", "completed"),
        ("menu", "1"),
        ("number", "*"),
        ("look", "success"),
        ("say", "completed"),
        ("bye", "completed"),
    ];
    assert_eq!(steps_of(&run), pairs(&path));
    assert_eq!(
        (&run["cause"], &run["room_id"], &run["call_id"]),
        (&json!("normal"), &json!(ann.ours.room), &json!(""))
    );
    assert_eq!(run["variables"], json!({"order": "4711", "state": "on its way"}));
    assert_eq!(stub.asked().len(), 1);

    // Another one wants a person, and what she writes then is for the people.
    let mut bea = house.visitor("bea").await;
    bea.is_told("Good day.").await;
    bea.is_told("1 = my order, people = a person").await;
    bea.says("people").await;
    let run = house.run_of(&bea, "its end", |run| run["state"] == "completed").await;
    assert_eq!((&run["cause"], steps_of(&run).pop()), (&json!("handed_over"), pairs(&[("team", "handed_over")]).pop()));
    let room = house.room(&bea).await;
    let teams = house.people.get("/v1/teams").await.expect(200);
    assert_eq!(
        (&room["state"], &room["team"], &room["assignee"]),
        (&json!("open"), &teams["teams"][0]["id"], &Value::Null)
    );
    bea.has_said("1").await;
    assert_eq!(house.room(&bea).await["seq_head"], 4, "nobody answers that but people");

    // The console shows the story, and whose it is.
    let console = server.signed_in(&server.identity(&house.org.token).await).await;
    let page = console.get(&format!("/console/runs/{}", run["id"].as_str().unwrap())).await;
    assert!(
        page.status == 200 && page.text.contains(&bea.ours.room) && page.text.contains("handed over"),
        "{}",
        page.text
    );
    let page = console.get("/console/runs").await;
    assert!(page.text.contains("ann") && page.text.contains("bea"), "{}", page.text);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_does_not_answer_is_asked_again_and_then_left_in_peace() {
    let server = Server::start().await;
    let flow = json!([
        {"id": 1, "type": "digits", "timeout": 0.5, "tries": 2, "prompt": "Are you there?", "flow": {"yes": 2, "timeout": 3}},
        {"id": 2, "type": "play", "text": "Fine."},
        {"id": 3, "type": "play", "text": "Write when you are back.", "next_step": 4},
        {"id": 4, "type": "hangup"},
    ]);
    let house = House::new(server.org("shop").await, flow).await;
    let mut ann = house.visitor("ann").await;
    for words in ["Are you there?", "Are you there?", "Write when you are back."] {
        ann.is_told(words).await;
    }
    let run = house.run_of(&ann, "its end", |run| run["state"] == "completed").await;
    assert_eq!(steps_of(&run), pairs(&[("1", "timeout"), ("3", "completed"), ("4", "completed")]));
    assert_eq!(house.room(&ann).await["state"], "closed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_a_call_fail_and_without_a_way_on_people_have_the_room() {
    let server = Server::start().await;
    let house = House::new(
        server.org("shop").await,
        json!([
            {"id": 1, "type": "connect", "number": "+442071838750", "flow": {"failed": 2}},
            {"id": 2, "type": "record", "action": "start", "next_step": 3},
            {"id": 3, "type": "play", "text": "One moment.", "next_step": 4},
            {"id": 4, "type": "send_dtmf", "digits": "1"},
        ]),
    )
    .await;
    let bound = house.people.put("/v1/chat/products/LOGOSCAN", &json!({"code": 19})).await.expect(200);
    assert_eq!((&bound["flow_id"], bound["warnings"].as_array().unwrap().len()), (&json!(house.flow), 3), "{bound}");
    let mut ann = house.visitor("ann").await;
    ann.is_told("One moment.").await;
    let run = house.run_of(&ann, "its end", |run| run["state"] == "completed").await;
    let path = [("1", "failed"), ("2", "fail"), ("3", "completed"), ("4", "fail")];
    assert_eq!((steps_of(&run), &run["cause"]), (pairs(&path), &json!("flow_error")));
    assert_eq!(house.room(&ann).await["state"], "open");

    // A flow that answers cannot be deleted; one that was taken away answers no more.
    let refused = house.people.delete(&format!("/v1/flows/{}", house.flow)).await.expect(409);
    assert_eq!(refused["detail"], "LOGOSCAN");
    house.people.put("/v1/chat/products/LOGOSCAN", &json!({"flow_id": null})).await.expect(200);
    house
        .people
        .send(house.people.request(reqwest::Method::DELETE, &format!("/v1/flows/{}", house.flow)))
        .await
        .expect(204);
    let bea = house.visitor("bea").await;
    assert!(bea.early.is_empty());
    assert_eq!(house.room(&bea).await["seq_head"], 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_who_steps_in_has_the_room_for_himself() {
    let server = Server::start().await;
    let flow = json!([
        {"id": 1, "type": "digits", "prompt": "Your name?", "variable": "name", "flow": {"*": 2}},
        {"id": 2, "type": "play", "text": "Thank you."},
    ]);
    let house = House::new(server.org("shop").await, flow).await;
    let agent = house.org.person(Role::Agent).await;
    let mut ann = house.visitor("ann").await;
    ann.is_told("Your name?").await;
    let (mut agent, _) = Line::hello(server.app.http(), &agent, json!({})).await;
    agent.sent(&ann.ours.room, "a1", "Hello, this is Tom.").await;
    assert_eq!(ann.hears().await["role"], "agent");
    let run = house.run_of(&ann, "its end", |run| run["state"] == "completed").await;
    assert_eq!((&run["cause"], steps_of(&run)), (&json!("taken_over"), pairs(&[("1", "hangup")])));
    ann.has_said("Ann").await;
    agent.sent(&ann.ours.room, "a2", "Good day, Ann.").await;
    assert_eq!(ann.hears().await["body"], "Good day, Ann.", "and nothing of the flow between");
    assert_eq!(house.room(&ann).await["seq_head"], 4);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_of_a_link_runs_nothing() {
    let server = Server::start().await;
    let house = House::new(
        server.org("shop").await,
        json!([{"id": 1, "type": "digits", "prompt": "Yes?", "flow": {"*": 2}},
        {"id": 2, "type": "play", "text": "Thank you."}]),
    )
    .await;
    let kept = house.org.kernel().app(&house.org.org.id, &house.shop.app).await.unwrap();
    // Somebody of whom nothing is known but the page: a preview, perhaps.
    let link = format!("/api/v2/init/label/LOGOSCAN/qr1/?api_key={}", kept.publishable_key);
    let looked = house.org.bare().get(&link).await.expect(200)["room"].clone();
    let (room, token) = (looked["inserted_id"].as_str().unwrap(), looked["token"].as_str().unwrap());
    let other = house.visitor("ann").await;
    house.events(&other, "step.started").await;
    let head = |room: Value| room["seq_head"].clone();
    assert_eq!(head(house.people.get(&format!("/v1/chat/rooms/{room}")).await.expect(200)), 0);
    // Somebody is there.
    let (mut line, _) = Line::hello(server.app.http(), token, json!({ room: 0 })).await;
    assert_eq!(line.expect("msg").await["body"], "Yes?");
    server.stop().await;
}
