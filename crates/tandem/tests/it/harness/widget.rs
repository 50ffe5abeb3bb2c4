//! A customer's page with the widget on it, for tests: an application with a chat, its visitors by HTTP, and a web site of
//! another origin whose pages hold the script.

use kernel::Scope;
use kernel::app::NewApp;
use serde_json::{Value, json};

use super::client::{Client, Reply};
use super::server::{Server, Tenant};
use super::stub::Stub;

/// An application with a chat.
pub(crate) struct Shop {
    pub(crate) id: String,
    /// With the application's key: as its server.
    pub(crate) client: Client,
    /// Without a credential: as a stranger's page.
    pub(crate) stranger: Client,
}

/// A visitor of a shop, with a room.
pub(crate) struct Guest {
    pub(crate) client: Client,
    pub(crate) room: String,
    pub(crate) token: String,
}

impl Shop {
    /// Makes one with these settings, which are checked as `tandem app set` checks them.
    pub(crate) async fn of(tenant: &Tenant<'_>, server: &Server, settings: &[(&str, &str)]) -> Self {
        let new = NewApp { name: "Shop".to_owned(), scopes: vec![Scope::Chat], settings: Vec::new() };
        let kernel = &server.app.kernel;
        let (app, key) = kernel.create_app(&tenant.org.id, new).await.unwrap();
        let shop = Self { id: app.id, client: server.client().bearing(key.expose()), stranger: server.client() };
        shop.set(tenant, server, settings).await;
        shop
    }

    /// Changes settings.
    pub(crate) async fn set(&self, tenant: &Tenant<'_>, server: &Server, settings: &[(&str, &str)]) {
        let kernel = &server.app.kernel;
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let checked = tandem::applications::settings::checked(kernel, settings).unwrap();
        kernel.set_app(&tenant.org.id, &self.id, checked).await.unwrap();
    }

    /// The key that its pages show to everybody.
    pub(crate) async fn publishable_key(&self, tenant: &Tenant<'_>) -> String {
        tenant.kernel().app(&tenant.org.id, &self.id).await.unwrap().publishable_key
    }

    /// The path of something of its widget.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/chat/widget/{}{rest}", self.id)
    }

    /// Asks for a room as a page does, perhaps as a visitor that is known.
    pub(crate) async fn open(&self, token: Option<&str>, wish: Value) -> Reply {
        let client = token.map_or(self.stranger.clone(), |token| self.stranger.clone().bearing(token));
        client.post(&self.path("/rooms"), &wish).await
    }

    /// A new visitor in a new room.
    pub(crate) async fn guest(&self) -> Guest {
        let opened = self.open(None, json!({})).await.expect(201);
        let token = opened["token"].as_str().unwrap().to_owned();
        let room = opened["room"]["id"].as_str().unwrap().to_owned();
        Guest { client: self.stranger.clone().bearing(&token), room, token }
    }
}

impl Guest {
    /// The path of something of its room.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/chat/rooms/{}{rest}", self.room)
    }

    /// Asks for a place for a file of so many bytes.
    pub(crate) async fn announce(&self, name: &str, kind: &str, size: usize) -> Reply {
        let file = json!({"room": self.room, "name": name, "type": kind, "size": size});
        self.client.post("/v1/chat/uploads", &file).await
    }

    /// Brings a file, and gives what the server calls it.
    pub(crate) async fn bring(&self, name: &str, kind: &str, content: &[u8]) -> Value {
        let place = self.announce(name, kind, content.len()).await.expect(201);
        let url = place["upload_url"].as_str().unwrap();
        put(&self.client, url, content).await.expect(200)
    }
}

/// Puts bytes as they are.
pub(crate) async fn put(client: &Client, path: &str, content: &[u8]) -> Reply {
    client.send(client.request(reqwest::Method::PUT, path).body(content.to_vec())).await
}

/// A web site of another origin; each of its pages holds the widget of a shop.
pub(crate) async fn site(script: &str, attributes: &str) -> Stub {
    let stub = Stub::start().await;
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Shop</title></head><body><main><h1>Shop</h1>\
         <p>Buy things.</p><label>Search <input></label></main><script src=\"{script}\" {attributes}></script></body></html>"
    );
    stub.serve("/", 200, "text/html; charset=utf-8", page.as_bytes(), std::time::Duration::ZERO);
    stub
}
