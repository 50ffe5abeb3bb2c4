//! A party to a meeting at its page, in Chromium.

use serde_json::{Value, json};

use super::browser::Browser;
use super::ear::Heard;
use super::server::Server;
use super::web_phone::heard;

/// The party's browser, as wide as a telephone.
pub(crate) struct Visitor {
    browser: Browser,
}

impl Visitor {
    /// Signs in by a token. `more` adds to the task of party.mjs.
    pub(crate) async fn enter(server: &Server, token: &str, more: Value) -> Self {
        Self::follow(&format!("http://{}/sessions?acc_tok={token}", server.app.http()), more).await
    }

    /// Signs in by a link.
    pub(crate) async fn follow(link: &str, more: Value) -> Self {
        let mut task = json!({"url": link, "enter": link});
        for (name, value) in more.as_object().unwrap() {
            task[name] = value.clone();
        }
        let mut browser = Browser::start("party", &task);
        browser.expect("the own meetings", |event| event["event"] == "entered").await;
        Self { browser }
    }

    /// Presses a button by its words.
    pub(crate) async fn press(&mut self, name: &str) {
        self.browser.ask("press", json!({ "name": name })).await;
    }

    /// Opens what is folded, by its words.
    pub(crate) async fn unfold(&mut self, name: &str) {
        self.browser.ask("unfold", json!({ "name": name })).await;
    }

    /// Waits until something is seen, by its selector.
    pub(crate) async fn see(&mut self, what: &str) {
        self.browser.ask("see", json!({ "what": what })).await;
    }

    /// The words of the first of these.
    pub(crate) async fn text(&mut self, what: &str) -> String {
        self.browser.ask("text", json!({ "what": what })).await.as_str().unwrap().to_owned()
    }

    /// What stands in a field.
    pub(crate) async fn value(&mut self, what: &str) -> String {
        self.browser.ask("value", json!({ "what": what })).await.as_str().unwrap().to_owned()
    }

    /// What a script in the page gives.
    pub(crate) async fn run(&mut self, script: &str) -> Value {
        self.browser.ask("run", json!({ "script": script })).await
    }

    /// Loads the page anew.
    pub(crate) async fn reload(&mut self) {
        self.browser.ask("reload", json!({})).await;
    }

    /// Waits until the only call of its phone is in a state and sound has come.
    pub(crate) async fn until_it_is_heard(&mut self) {
        let is_heard = |view: &Value| view["calls"][0]["state"] == "up" && view["calls"][0]["sound"] == "now";
        self.browser.expect("a call with sound", |event| event["event"] == "change" && is_heard(&event["view"])).await;
    }

    /// What the server has sent to the page, by its way: `frames` of the WebSocket, `events` of the stream, other
    /// `answers`, and what stands in the `page`.
    pub(crate) async fn got(&mut self) -> Value {
        self.browser.ask("got", json!({})).await
    }

    /// Begins to listen to what the phone plays.
    pub(crate) async fn listen(&mut self) {
        self.browser.ask("listen", json!({})).await;
    }

    /// What was heard since.
    pub(crate) async fn heard(&mut self) -> Heard {
        heard(&self.browser.ask("heard", json!({})).await)
    }

    /// Ends it; the page's console must not have complained, but for what is expected.
    pub(crate) async fn finish(self, but: &[&str]) {
        self.browser.expect_no_complaints(but);
        self.browser.finish().await;
    }
}
