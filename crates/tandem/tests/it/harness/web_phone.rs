//! `<tandem-phone>` in Chromium, and a person at it.

use serde_json::{Value, json};

use super::browser::Browser;
use super::ear::Heard;
use super::server::Server;

/// The rate at which a page listens, Hz.
const EAR_RATE: u32 = 16_000;

/// A browser phone.
pub(crate) struct WebPhone {
    browser: Browser,
}

impl WebPhone {
    /// Opens one for the person with this token and waits until it is online. `more` adds to the task of phone.mjs.
    pub(crate) async fn online(server: &Server, token: &str, more: Value) -> Self {
        let mut phone = Self::open(server, token, more);
        phone.until("online", |view| view["online"] == true).await;
        phone
    }

    /// Opens one.
    pub(crate) fn open(server: &Server, token: &str, more: Value) -> Self {
        let mut task = json!({"url": format!("http://{}", server.app.http()), "token": token});
        for (name, value) in more.as_object().unwrap() {
            task[name] = value.clone();
        }
        Self { browser: Browser::start("phone", &task) }
    }

    /// Waits for a change after which the phone is as it should be; earlier changes are forgotten.
    pub(crate) async fn until(&mut self, what: &str, good: impl Fn(&Value) -> bool) -> Value {
        loop {
            let change = self.browser.expect(what, |event| event["event"] == "change").await;
            if good(&change["view"]) {
                return change["view"].clone();
            }
        }
    }

    /// Waits until its only call is in a state.
    pub(crate) async fn until_call(&mut self, state: &str) -> Value {
        let view = self.until(&format!("a call that is {state}"), |view| view["calls"][0]["state"] == state).await;
        view["calls"][0].clone()
    }

    /// Waits until its only call has such a member.
    pub(crate) async fn until_it_has(&mut self, member: &str, value: &Value) {
        self.until(&format!("{member} of the call is {value}"), |view| view["calls"][0][member] == *value).await;
    }

    /// Waits for a call, answers it, and waits until both hear each other.
    pub(crate) async fn take_call(&mut self) {
        self.until_call("incoming").await;
        self.click("Answer").await;
        self.until_it_is_heard().await;
    }

    pub(crate) async fn call(&mut self, number: &str) {
        self.ask("fill", json!({"label": "Number", "text": number})).await;
        self.click("Call").await;
    }

    /// Waits until the call is answered and its sound comes through.
    pub(crate) async fn until_it_is_heard(&mut self) {
        let is_heard = |view: &Value| view["calls"][0]["state"] == "up" && view["calls"][0]["sound"] == "now";
        self.until("a call that is up and heard", is_heard).await;
    }

    /// Clicks the button with this name.
    pub(crate) async fn click(&mut self, name: &str) {
        self.ask("click", json!({ "name": name })).await;
    }

    /// Presses keys of the pad.
    pub(crate) async fn press(&mut self, keys: &str) {
        self.ask("press", json!({ "keys": keys })).await;
    }

    /// Everything that can be read on it.
    pub(crate) async fn text(&mut self) -> String {
        self.ask("text", json!({})).await.as_str().unwrap().to_owned()
    }

    /// Begins to listen to what it plays.
    pub(crate) async fn listen(&mut self) {
        self.ask("listen", json!({})).await;
    }

    /// What it has played since it was asked last.
    pub(crate) async fn heard(&mut self) -> Heard {
        let text = self.ask("heard", json!({})).await;
        heard(&text)
    }

    /// Does what phone.mjs knows to do.
    pub(crate) async fn ask(&mut self, command: &str, more: Value) -> Value {
        self.browser.ask(command, more).await
    }

    /// Ends it; its page's console must not have complained, but for what is expected.
    pub(crate) async fn finish(self, but: &[&str]) {
        self.browser.expect_no_complaints(but);
        self.browser.finish().await;
    }
}

/// What ear.mjs gives: 16-bit samples in base 64.
pub(crate) fn heard(text: &Value) -> Heard {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap();
    let samples = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    Heard { rate: EAR_RATE, samples }
}
