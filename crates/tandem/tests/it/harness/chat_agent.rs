//! Somebody who answers chats and has a phone.

use calls::NewUser;
use kernel::Role;
use serde_json::Value;
use tandem::chat::model::Id;
use tandem::chat::{Asker, Change};

use super::client::Client;
use super::phone::Account;
use super::server::{Server, Tenant};

/// An agent with an extension.
pub(crate) struct Agent {
    pub(crate) account: Account,
    pub(crate) token: String,
    pub(crate) client: Client,
    pub(crate) person: String,
    org: Id,
}

impl Agent {
    /// Makes one.
    pub(crate) async fn of(tenant: &Tenant<'_>, server: &Server, extension: &str) -> Self {
        let (name, extension_of) = ("Fay".to_owned(), Some(extension.to_owned()));
        let new = NewUser { name, extension: extension_of, role: Some(Role::Agent), ..NewUser::default() };
        let (account, token) = tenant.settle(new).await;
        let kernel::sign_in::Identity::Person { org, person } = server.identity(&token).await else {
            panic!("an agent is a person")
        };
        let client = server.client().bearing(&token);
        Self { account: account.unwrap(), token, client, person: person.to_string(), org: org.into() }
    }

    /// Takes a room.
    pub(crate) async fn take(&self, server: &Server, room: &str) {
        let asker = Asker::Person { org: self.org.clone(), id: self.person.as_str().into(), role: Role::Agent };
        let change = Change::Assign(Some(self.person.as_str().into()));
        server.app.chats.change(&asker, room, &change, |_| Vec::new()).await.unwrap();
    }
}

/// The bodies of a room's messages that tell of calls, as they are now.
pub(crate) async fn calls_in(client: &Client, room: &str) -> Vec<Value> {
    let list = client.get(&format!("/v1/chat/rooms/{room}/messages")).await.expect(200);
    let told = list["messages"].as_array().unwrap().iter().filter(|message| message["kind"] == "call");
    told.map(|message| message["body"].clone()).collect()
}
