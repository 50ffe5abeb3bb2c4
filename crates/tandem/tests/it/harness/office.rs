//! An organisation that has been at work for a while: there is something on every page of the console.

use std::time::Duration;

use calls::NewUser;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kernel::app::NewApp;
use kernel::sign_in::Identity;
use kernel::{Role, Scope, Secret};
use serde_json::{Value, json};

use super::client::Client;
use super::crowd::{Act, Crowd};
use super::phone::Account;
use super::server::{Server, Tenant};
use super::stub::Stub;

/// The owner's own extension, and the phones of others: one that hangs up soon, two that stay.
const OWNER: &str = "1000";
const BRIEF: &str = "1001";
const PATIENT: [&str; 2] = ["1002", "1003"];
/// Nobody is registered there.
const NOBODY: &str = "1004";
const TEAM: &str = "5263";
const RECEPTION: &str = "+442071838750";
const SUPPORT: &str = "+442071838751";
/// The number that the two of a meeting see.
const POOL: &str = "+442071838752";
/// Longer than any test walks.
const FOR_EVER: Duration = Duration::from_secs(900);

/// The organisation, with calls that are up as long as this lives.
pub(crate) struct Office<'s> {
    server: &'s Server,
    pub(crate) tenant: Tenant<'s>,
    /// With the owner's token.
    pub(crate) owner: Client,
    /// What stands for the parameters of a page's path: the beginning of the template, and the name.
    things: Vec<(&'static str, String)>,
    /// A call that is up, with a flow that runs.
    pub(crate) live: String,
    crowd: Crowd,
}

/// How the phones behave.
fn manner(number: &str) -> Vec<Act> {
    let answered = |rest: &[Act]| [&[Act::Ring, Act::wait(80), Act::Answer, Act::Speak], rest].concat();
    match number {
        BRIEF => answered(&[Act::wait(1_500), Act::Hangup]),
        number if PATIENT.contains(&number) => answered(&[Act::Wait(FOR_EVER)]),
        _ => vec![Act::Ring, Act::wait(80), Act::Refuse(486)],
    }
}

/// The flow that is drawn in most pictures.
fn reception() -> Value {
    json!([
        {"id": "welcome", "type": "play", "text": "Welcome to Acme.", "next_step": "choose"},
        {
            "id": "choose", "type": "menu", "text": "Press 1 for your order, or 2 for our support.", "timeout": 600,
            "flow": {"1": "order", "2": "support", "timeout": "message"},
        },
        {
            "id": "order", "type": "digits", "prompt": {"text": "Please enter the number of your order."}, "count": 4,
            "variable": "order", "flow": {"*": "ask", "timeout": "support"},
        },
        {
            "id": "ask", "type": "http", "url": "https://shop.example.com/orders/{{order}}",
            "flow": {"success": "tell", "fail": "support"},
        },
        {"id": "tell", "type": "play", "text": "Your order is on its way."},
        {"id": "support", "type": "queue", "team": TEAM, "flow": {"timeout": "message"}},
        {"id": "message", "type": "voicemail", "box": BRIEF},
    ])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl<'s> Office<'s> {
    /// Opens it: its server may reach `stub`.
    pub(crate) async fn open(server: &'s Server, stub: &Stub) -> Self {
        let crowd = Crowd::start(manner).await;
        crowd.meet(server.sip());
        let tenant = server.org_called("acme", "Acme Ltd").await;
        let (_, token) = tenant.hire("Olivia Brand", Role::Owner, Some(OWNER)).await;
        let owner = server.browser().bearing(&token);
        for (name, role, extension) in [
            ("Ann Carter", Role::Agent, BRIEF),
            ("Ben Okafor", Role::Agent, PATIENT[0]),
            ("Chloe Martin", Role::Supervisor, PATIENT[1]),
            ("David Ling", Role::Member, NOBODY),
        ] {
            let (account, _) = tenant.hire(name, role, Some(extension)).await;
            if extension != NOBODY {
                crowd.register(&account.unwrap()).await;
            }
        }
        tenant.trunk("Carrier", &[&crowd.address.to_string()], &[RECEPTION]).await;
        let team = json!({"name": "Support", "number": TEAM, "strategy": "longest_idle", "members": PATIENT});
        let team = text(&owner.post("/v1/teams", &team).await.expect(201)["id"]);
        owner.patch(&format!("/v1/extensions/{BRIEF}"), &json!({"voicemail": true})).await.expect(200);
        let mut office =
            Self { server, tenant, owner, things: vec![("/console/teams/{id}", team)], live: String::new(), crowd };
        office.programs(stub).await;
        office.papers().await;
        office.past().await;
        office.present().await;
        office.listen().await;
        office
    }

    /// Applications, keys and webhooks: one that is answered, one that is not.
    async fn programs(&mut self, stub: &Stub) {
        stub.answer("/hooks/down", 500, "{}");
        for (path, events) in [("/hooks/down", json!(["call.completed"])), ("/hooks/crm", json!([]))] {
            let hook = json!({"url": stub.url(path), "events": events});
            let made = self.owner.post("/v1/webhooks", &hook).await.expect(201);
            self.things.push(("/console/webhooks/{id}", text(&made["id"])));
        }
        let shop = NewApp {
            name: "Shop".to_owned(),
            scopes: vec![Scope::Flows, Scope::Meetings, Scope::Chat],
            ..NewApp::default()
        };
        let (app, _) = self.server.app.kernel.create_app(&self.tenant.org.id, shop).await.unwrap();
        let path = format!("/console/applications/{}", app.id);
        self.tenant.number(POOL, "meetings").await;
        let pool = format!("{POOL}, +442071838759");
        let settings = [("time_zone", "Europe/London"), ("number_pool", &*pool), ("talk_warning_s", "60")];
        let saved = self.owner.submit(&path, &format!("{path}/meetings"), &settings).await;
        assert_eq!(saved.status, 303, "{}", saved.text);
        self.meetings(&app.id).await;
        self.things.push(("/console/applications/{id}", app.id));
    }

    /// Meetings: one that is open, one of tomorrow by phone, one that was called off.
    async fn meetings(&mut self, app: &str) {
        let tomorrow = Timestamp::now().to_zoned(TimeZone::UTC).date().tomorrow().unwrap();
        let starts = format!("{tomorrow}T09:30");
        for (order, names, kind, starts) in [
            ("4711", ["Ann Carter", "Ben Okafor"], "browser", ""),
            ("4712", ["Chloe Martin", "David Ling"], "phone", &*starts),
            ("4713", ["Eve Novak", "Ann Carter"], "browser", &*starts),
        ] {
            let fields = [
                ("application", app),
                ("order_id", order),
                ("caller_name", names[0]),
                ("caller_uid", order),
                ("caller_type", kind),
                ("caller_number", if kind == "phone" { "+447700900301" } else { "" }),
                ("receiver_name", names[1]),
                ("receiver_uid", "2"),
                ("receiver_type", "browser"),
                ("starts", starts),
                ("duration", "30"),
            ];
            let made = self.owner.submit("/console/meetings/new", "/console/meetings/new", &fields).await;
            assert_eq!(made.status, 303, "{}", made.text);
            let path = made.headers["location"].to_str().unwrap().split('?').next().unwrap().to_owned();
            if order == "4713" {
                let off = self.owner.send(self.owner.post_page(&format!("{path}/cancel"), &[])).await;
                assert_eq!(off.status, 303, "{}", off.text);
            }
            if order == "4711" {
                self.things.push(("/console/meetings/{id}", path.rsplit('/').next().unwrap().to_owned()));
            }
        }
    }

    /// An invitation, settings.
    async fn papers(&self) {
        let invited = [("name", "Eve Novak"), ("email", "eve@acme.example"), ("role", "supervisor")];
        let sent = self.owner.send(self.owner.post_page("/console/people/new", &invited)).await;
        assert_eq!(sent.status, 200, "{}", sent.text);
        let settings = [("tariff", "0.02 EUR"), ("days_calls", "90"), ("do_not_call", "+447700900999")];
        let saved = self.owner.submit("/console/settings", "/console/settings", &settings).await;
        assert_eq!(saved.status, 303, "{}", saved.text);
    }

    /// Calls that were: with a recording, a message, nobody there, somebody busy.
    async fn past(&mut self) {
        let saved = self.owner.post("/v1/flows", &json!({"name": "Reception", "flow": reception()})).await.expect(201);
        self.things.push(("/console/flows/{id}", text(&saved["id"])));
        let message = json!([{"id": 1, "type": "voicemail", "box": BRIEF}]);
        let saved = self.owner.post("/v1/flows", &json!({"name": "After hours", "flow": message})).await.expect(201);
        self.tenant.number(RECEPTION, &format!("flow:{}", text(&saved["id"]))).await;
        let leaves = vec![Act::Established, Act::Speak, Act::wait(5_000), Act::Hangup];
        self.crowd.dial("+447700900123", RECEPTION, leaves);

        // One that has booked a callback, which comes.
        let booking = json!([
            {"id": 1, "type": "call", "number": BRIEF, "next_step": 2},
            {"id": 2, "type": "callback", "date": "2031-01-15", "time": "10:00", "entity": TEAM, "next_step": 3},
            {"id": 3, "type": "play", "text": "We will call you."},
        ]);
        self.owner.post("/api/v2/call/flow", &json!({ "flow": booking })).await.expect(201);

        let flow = json!([
            {"id": 1, "type": "call", "number": BRIEF, "next_step": 2},
            {"id": 2, "type": "play", "text": "Your parcel comes tomorrow between nine and ten.", "next_step": 3},
            {"id": 3, "type": "pause", "seconds": 30},
        ]);
        let ran = self.owner.post("/api/v2/call/flow", &json!({"flow": flow, "record": true})).await.expect(201);
        let (call, run) = (text(&ran["call_id"]), text(&ran["flow_run_id"]));
        for number in [NOBODY, "+447700900456"] {
            let flow = json!([{"id": 1, "type": "call", "number": number}]);
            self.owner.post("/api/v2/call/flow", &json!({ "flow": flow })).await.expect(201);
        }
        let ended = |list: &Value| list["calls"].as_array().unwrap().iter().all(|call| call["state"] == "completed");
        self.owner.until("/v1/calls", "all calls are over", ended).await;
        let booked = |list: &Value| list["callbacks"][0]["state"] == "scheduled";
        self.owner.until("/v1/callbacks?state=open", "the callback", booked).await;
        let recorded = |list: &Value| list["recordings"][0]["state"] == "ready";
        self.owner.until(&format!("/v1/calls/{call}/recordings"), "the recording", recorded).await;
        self.things.push(("/console/calls/{id}", call));
        self.things.push(("/console/runs/{id}", run));
    }

    /// Calls that are up: one in the drawn flow, one with an agent, one that waits.
    async fn present(&mut self) {
        let flow = self.things.iter().find(|(beginning, _)| *beginning == "/console/flows/{id}").unwrap().1.clone();
        let ran = self.owner.post(&format!("/v1/flows/{flow}/run"), &json!({"to": PATIENT[0]})).await.expect(201);
        self.live = text(&ran["call_id"]);
        let stands = |list: &Value| {
            let events = list["events"].as_array().unwrap();
            events.iter().any(|event| event["type"] == "step.started" && event["step"]["id"] == "choose")
        };
        self.owner.until(&format!("/v1/calls/{}/events", self.live), "the menu", stands).await;
        let queue = json!([{"id": 1, "type": "queue", "team": TEAM}]);
        let saved = self.owner.post("/v1/flows", &json!({"name": "Support line", "flow": queue})).await.expect(201);
        self.tenant.number(SUPPORT, &format!("flow:{}", text(&saved["id"]))).await;
        for (caller, waiting) in [("+447700900201", 0), ("+447700900202", 1)] {
            self.crowd.dial(caller, SUPPORT, vec![Act::Established, Act::Speak, Act::Wait(FOR_EVER)]);
            let events = if waiting == 0 { "connect.answered" } else { "queue.joined" };
            let came = |list: &Value| {
                let of = |event: &Value| event["type"] == events && event["call"]["from"] == caller;
                list["events"].as_array().unwrap().iter().any(of)
            };
            self.owner.until("/v1/events?limit=500", events, came).await;
        }
    }

    /// Somebody listens to what was recorded, which the audit shows.
    async fn listen(&mut self) {
        let (_, call) = self.things.iter().find(|(beginning, _)| *beginning == "/console/calls/{id}").unwrap();
        let list = self.owner.get(&format!("/v1/calls/{call}/recordings")).await.expect(200);
        self.owner.audio(&format!("/v1/recordings/{}/audio", text(&list["recordings"][0]["id"]))).await;
        self.things.push(("/console/people/{id}", self.tenant.people().await));
    }

    /// A page's path with names of things that are there; `None` when its template has a parameter that nothing is known
    /// for.
    pub(crate) fn path(&self, template: &str) -> Option<String> {
        if !template.contains('{') {
            return Some(template.to_owned());
        }
        let (_, name) = self.things.iter().find(|(beginning, _)| template.starts_with(beginning))?;
        let path = template.replace("{id}", name);
        (!path.contains('{')).then_some(path)
    }

    /// A link that signs somebody in.
    pub(crate) async fn link(&self, whose: &Identity) -> String {
        format!("/console/link/{}", self.server.app.kernel.create_link(whose).await.unwrap().expose())
    }

    /// A link that signs the person of a token in.
    pub(crate) async fn link_of(&self, token: &str) -> String {
        self.link(&self.server.identity(token).await).await
    }
}

impl Tenant<'_> {
    /// Makes a person with a name, and gives the account of the phone, if there is an extension, and the token.
    pub(crate) async fn hire(&self, name: &str, role: Role, extension: Option<&str>) -> (Option<Account>, String) {
        let mail = name.split(' ').next().unwrap_or_default().to_lowercase();
        let new = NewUser {
            name: name.to_owned(),
            email: Some(format!("{mail}@{}.example", self.org.slug)),
            role: Some(role),
            password: Some(Secret::new("correct horse")),
            extension: extension.map(str::to_owned),
        };
        self.settle(new).await
    }
}
