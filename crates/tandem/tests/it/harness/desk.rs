//! Somebody who answers visitors at the console's inbox, in Chromium.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kernel::Role;
use serde_json::{Value, json};

use super::person::Person;
use super::server::{Server, Tenant};

/// The browser of somebody at the inbox.
pub(crate) struct Desk {
    pub(crate) person: Person,
}

impl Desk {
    /// Makes a person of a role and signs it in, by way of `address`.
    pub(crate) async fn of(server: &Server, tenant: &Tenant<'_>, name: &str, role: Role, address: SocketAddr) -> Self {
        let (_, token) = tenant.hire(name, role, None).await;
        let link = server.app.kernel.create_link(&server.identity(&token).await).await.unwrap();
        let (person, _) = Person::sign_in(address, &format!("/console/link/{}", link.expose())).await;
        let mut desk = Self { person };
        desk.go("/console/inbox").await;
        desk
    }

    /// Goes to a page of the inbox and waits until it hears.
    pub(crate) async fn go(&mut self, path: &str) {
        self.person.go(path).await;
        self.see("body.is-live").await;
    }

    /// Opens the room of a folder that shows these words.
    pub(crate) async fn open(&mut self, folder: &str, words: &str) {
        self.choose(&format!("[data-folder={folder}]")).await;
        self.choose(&format!("#rooms a:has-text('{words}')")).await;
        self.see("#conversation .message").await;
    }

    pub(crate) async fn see(&mut self, what: &str) {
        self.person.see(what).await;
    }

    pub(crate) async fn gone(&mut self, what: &str) {
        self.person.ask("gone", json!({ "what": what })).await;
    }

    /// Clicks what a selector finds.
    pub(crate) async fn choose(&mut self, what: &str) {
        self.person.ask("choose", json!({ "what": what })).await;
    }

    pub(crate) async fn fill(&mut self, what: &str, text: &str) {
        self.person.ask("fill", json!({ "what": what, "text": text })).await;
    }

    /// Presses keys, one after the other.
    pub(crate) async fn keys(&mut self, keys: &[&str]) {
        for key in keys {
            self.person.ask("key", json!({ "key": key })).await;
        }
    }

    pub(crate) async fn type_in(&mut self, text: &str) {
        self.person.ask("type", json!({ "text": text })).await;
    }

    /// Writes into the field and sends it.
    pub(crate) async fn say(&mut self, text: &str) {
        self.fill("#message", text).await;
        self.keys(&["Enter"]).await;
    }

    /// Attaches a file.
    pub(crate) async fn attach(&mut self, name: &str, kind: &str, content: &[u8]) {
        let file = json!({"what": "#files", "name": name, "kind": kind, "base64": STANDARD.encode(content)});
        self.person.ask("attach", file).await;
    }

    /// What the thread says, from the oldest to the newest, without what is on its way.
    pub(crate) async fn said(&mut self) -> Vec<String> {
        self.person.texts("#messages .message .content").await
    }

    /// What a script in the page gives.
    pub(crate) async fn run(&mut self, script: &str) -> Value {
        self.person.run(script).await
    }

    /// What is wrong with the page as it is.
    pub(crate) async fn look(&mut self, file: Option<std::path::PathBuf>) -> Vec<Value> {
        self.person.ask("look", json!({ "file": file })).await.as_array().unwrap().clone()
    }

    pub(crate) async fn finish(self, but: &[&str]) {
        self.person.finish(but).await;
    }
}
