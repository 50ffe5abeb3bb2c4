//! Somebody at the console in Chromium, with the phone in its pages.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::browser::Browser;
use super::ear::Heard;
use super::web_phone::heard;

/// The person's browser.
pub(crate) struct Person {
    browser: Browser,
}

impl Person {
    /// Follows a link that signs in; gives where it led.
    pub(crate) async fn sign_in(http: SocketAddr, link: &str) -> (Self, String) {
        let task = json!({"url": format!("http://{http}"), "link": link});
        let mut browser = Browser::start("console", &task);
        let told = browser.expect("the sign-in", |event| event["event"] == "signed in").await;
        (Self { browser }, told["path"].as_str().unwrap().to_owned())
    }

    /// Does what console.mjs knows to do.
    pub(crate) async fn ask(&mut self, command: &str, more: Value) -> Value {
        self.browser.ask(command, more).await
    }

    /// Goes to a page.
    pub(crate) async fn go(&mut self, path: &str) {
        self.ask("go", json!({ "path": path })).await;
    }

    /// Clicks a button by its words.
    pub(crate) async fn click(&mut self, name: &str) {
        self.ask("click", json!({ "name": name })).await;
    }

    /// Clicks a link by its words.
    pub(crate) async fn follow(&mut self, name: &str) {
        self.ask("click", json!({"role": "link", "name": name})).await;
    }

    /// Waits until something is seen, by its selector.
    pub(crate) async fn see(&mut self, what: &str) {
        self.ask("see", json!({ "what": what })).await;
    }

    /// The words of everything with this selector.
    pub(crate) async fn texts(&mut self, what: &str) -> Vec<String> {
        serde_json::from_value(self.ask("texts", json!({ "what": what })).await).unwrap()
    }

    /// Where it is.
    pub(crate) async fn path(&mut self) -> String {
        self.ask("path", json!({})).await.as_str().unwrap().to_owned()
    }

    /// What a script in the page gives.
    pub(crate) async fn run(&mut self, script: &str) -> Value {
        self.ask("run", json!({ "script": script })).await
    }

    /// What the phone has played since it was asked to listen, or asked this.
    pub(crate) async fn heard(&mut self) -> Heard {
        heard(&self.ask("heard", json!({})).await)
    }

    /// Ends it; the pages' consoles must not have complained, but for what is expected.
    pub(crate) async fn finish(self, but: &[&str]) {
        self.browser.expect_no_complaints(but);
        self.browser.finish().await;
    }
}
