//! Meetings for tests: ordered as an application orders them, and the browsers of their two parties.

use kernel::Scope;
use kernel::app::NewApp;
use serde_json::{Value, json};

use super::client::{Client, Reply};
use super::server::{Server, Tenant};

/// An application, by its key.
pub(crate) struct Application {
    pub(crate) client: Client,
}

/// What an application got for its order.
pub(crate) struct Ordered {
    pub(crate) id: i64,
    /// The sign-in tokens.
    pub(crate) caller: String,
    pub(crate) receiver: String,
}

/// An order of two people who talk in their pages, with `more` in place of what it has.
pub(crate) fn order(more: Value) -> Value {
    let mut order = json!({
        "user": {"uid_caller": "ann", "uid_receiver": "tom"},
        "caller": {"name": "Ann Carter", "call_type": "Browser"},
        "receiver": {"name": "Tommy Lee", "call_type": "Browser"},
        "meeting": {"order_id": "551", "duration": 30},
    });
    merge(&mut order, more);
    order
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

impl Application {
    /// Makes one with these settings.
    pub(crate) async fn of(tenant: &Tenant<'_>, server: &Server, name: &str, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let new = NewApp { name: name.to_owned(), scopes: vec![Scope::Meetings], settings };
        let (_, key) = server.app.kernel.create_app(&tenant.org.id, new).await.unwrap();
        Self { client: server.client().bearing(key.expose()) }
    }

    /// Orders a meeting.
    pub(crate) async fn orders(&self, more: Value) -> Ordered {
        let answer = self.client.post("/api/v1/meetings", &order(more)).await.expect(200);
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Ordered {
            id: answer["meeting_id"].as_i64().unwrap(),
            caller: text("encrypted_caller_id"),
            receiver: text("encrypted_receiver_id"),
        }
    }
}

/// Posts a sign-in token as an application's page does.
pub(crate) async fn enter(browser: &Client, token: &str) -> Reply {
    browser.send(super::client::form(browser.request(reqwest::Method::POST, "/sessions"), &[("acc_tok", token)])).await
}

/// A browser in which a party has signed in.
pub(crate) async fn party(server: &Server, token: &str) -> Client {
    let browser = server.browser();
    let reply = enter(&browser, token).await;
    assert_eq!((reply.status, &reply.headers["location"]), (303, &"/meetings".parse().unwrap()), "{}", reply.text);
    browser
}
