//! A visitor of a customer's page, with the chat in it, in Chromium.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use tokio::time::sleep;

use super::browser::Browser;
use super::ear::Heard;
use super::web_phone::heard;

/// How often it is looked whether a call is up, and how many times at most.
const LOOK: Duration = Duration::from_millis(200);
const MAX_LOOKS: usize = 200;

/// The visitor's browser.
pub(crate) struct Customer {
    browser: Browser,
}

impl Customer {
    /// Opens a page. `more` adds to the task of widget.mjs.
    pub(crate) async fn at(url: &str, more: Value) -> Self {
        let mut task = json!({"url": url});
        for (name, value) in more.as_object().unwrap() {
            task[name] = value.clone();
        }
        let mut browser = Browser::start("widget", &task);
        browser.expect("the page", |event| event["event"] == "entered").await;
        Self { browser }
    }

    /// A command of widget.mjs.
    pub(crate) async fn ask(&mut self, command: &str, more: Value) -> Value {
        self.browser.ask(command, more).await
    }

    /// Opens or closes the widget by its button.
    pub(crate) async fn launch(&mut self) {
        self.ask("launch", json!({})).await;
    }

    /// Waits until a call is up and sound has come.
    pub(crate) async fn until_it_is_heard(&mut self) {
        for _ in 0..MAX_LOOKS {
            let call = self.view().await["call"].clone();
            if call["phone"] == "up" && call["sound"] == "now" {
                return;
            }
            sleep(LOOK).await;
        }
        panic!("no call is heard: {}", self.view().await);
    }

    /// Begins to listen to what a call plays.
    pub(crate) async fn listen(&mut self) {
        self.ask("listen", json!({})).await;
    }

    /// What was heard since.
    pub(crate) async fn heard(&mut self) -> Heard {
        heard(&self.ask("heard", json!({})).await)
    }

    /// Presses a button of the chat by its words.
    pub(crate) async fn press(&mut self, name: &str) {
        self.ask("press", json!({"name": name})).await;
    }

    /// Waits until something is seen in the chat.
    pub(crate) async fn see(&mut self, what: &str) {
        self.ask("see", json!({"what": what})).await;
    }

    /// Writes a message and sends it.
    pub(crate) async fn say(&mut self, text: &str) {
        self.ask("say", json!({"text": text})).await;
    }

    /// The words of the first of these.
    pub(crate) async fn text(&mut self, what: &str) -> String {
        self.ask("text", json!({"what": what})).await.as_str().unwrap().to_owned()
    }

    /// The words of all of these.
    pub(crate) async fn texts(&mut self, what: &str) -> Vec<String> {
        let texts = self.ask("texts", json!({"what": what})).await;
        texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    }

    /// Attaches a file.
    pub(crate) async fn attach(&mut self, name: &str, kind: &str, content: &[u8]) {
        self.ask("attach", json!({"name": name, "kind": kind, "base64": STANDARD.encode(content)})).await;
    }

    /// What the chat is doing.
    pub(crate) async fn view(&mut self) -> Value {
        self.ask("view", json!({})).await
    }

    /// Ends it; the page's console must not have complained, but for what is expected.
    pub(crate) async fn finish(self, but: &[&str]) {
        self.browser.expect_no_complaints(but);
        self.browser.finish().await;
    }
}
