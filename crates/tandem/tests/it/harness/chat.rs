//! Somebody in a chat: a WebSocket that speaks the frames of `/v1/chat/socket`.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kernel::Scope;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::client::Client;
use super::server::Tenant;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// An application with a chat, as its server knows it.
pub(crate) struct Shop {
    pub(crate) app: String,
    pub(crate) client: Client,
    pub(crate) key: String,
}

/// A room, and its visitor's token.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) room: String,
    pub(crate) token: String,
}

impl Tenant<'_> {
    /// Makes an application with a chat; its settings by name.
    pub(crate) async fn shop(&self, settings: &[(&str, &str)]) -> Shop {
        let kernel = self.kernel();
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let new = kernel::app::NewApp { name: "shop".to_owned(), scopes: vec![Scope::Chat], settings };
        let (app, key) = kernel.create_app(&self.org.id, new).await.unwrap();
        let key = key.expose().to_owned();
        Shop { app: app.id, client: self.bare().bearing(&key), key }
    }
}

impl Shop {
    /// Opens a room for a user.
    pub(crate) async fn room(&self, user: &str) -> Opened {
        opened(
            self.client
                .post("/v1/chat/rooms", &json!({"user_id": user, "product": "LOGOSCAN", "new": true}))
                .await
                .expect(201),
        )
    }
}

/// What a room was opened with.
pub(crate) fn opened(answer: Value) -> Opened {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    Opened { room: text(&answer["room"]["id"]), token: text(&answer["token"]) }
}

/// An open socket.
pub(crate) struct Line(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Line {
    /// Opens a socket with these headers beside the handshake's own.
    pub(crate) async fn open(
        server: SocketAddr,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{server}/v1/chat/socket{query}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Ok(Self(connect_async(request).await?.0))
    }

    /// Opens one and says hello with cursors; gives `ready` too.
    pub(crate) async fn hello(server: SocketAddr, token: &str, rooms: Value) -> (Self, Value) {
        let mut line = Self::open(server, "", &[]).await.unwrap();
        line.say(json!({"type": "hello", "token": token, "rooms": rooms})).await;
        let ready = line.next().await;
        assert_eq!(ready["type"], "ready", "{ready}");
        (line, ready)
    }

    pub(crate) async fn say(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Sends a text message under a name.
    pub(crate) async fn send(&mut self, room: &str, cid: &str, body: &str) {
        self.say(json!({"type": "send", "room": room, "cid": cid, "kind": "text", "body": body})).await;
    }

    /// Sends one and waits for its acknowledgement; what else comes meanwhile is skipped.
    pub(crate) async fn sent(&mut self, room: &str, cid: &str, body: &str) -> Value {
        self.send(room, cid, body).await;
        self.until(|frame| frame["type"] == "ack" && frame["cid"] == cid).await
    }

    /// The next frame, or the code of the close frame as `{"closed":CODE}`.
    pub(crate) async fn next(&mut self) -> Value {
        timeout(PATIENCE, self.hear()).await.expect("a frame comes")
    }

    /// The same, however long it takes: for a client among thousands, whose turn comes late.
    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(frame))) => return json!({"closed": frame.map(|frame| u16::from(frame.code))}),
                Some(Ok(_)) => {}
                other => return json!({ "closed": format!("{other:?}") }),
            }
        }
    }

    /// The next frame of a kind.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        self.until(|frame| frame["type"] == kind).await
    }

    /// The next frame that is so.
    pub(crate) async fn until(&mut self, good: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.next().await;
            if good(&frame) {
                return frame;
            }
            assert!(frame["closed"].is_null(), "it was closed: {frame}");
        }
    }
}

/// The numbers of the messages of a room among frames, as they came.
pub(crate) fn seqs(frames: &[Value], room: &str) -> Vec<i64> {
    let of_room = frames.iter().filter(|frame| frame["type"] == "msg" && frame["room"] == room);
    of_room.map(|frame| frame["seq"].as_i64().unwrap()).collect()
}
