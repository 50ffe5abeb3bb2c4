//! Tandem's own chat: `/v1/chat/socket`.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::talk::{Done, Talk, WORDS};
use crate::Options;
use crate::sockets::Sockets;
use crate::subject::{self, Subject};
use crate::web::Web;

/// A server with an application, and visitors with a room each.
pub(super) struct Tandem {
    subject: Subject,
    pub(super) server: SocketAddr,
    /// The application's.
    pub(super) key: String,
    pub(super) rooms: Vec<Room>,
}

/// A room, and its visitor's token.
pub(super) struct Room {
    pub(super) id: String,
    pub(super) token: String,
}

/// A member of what the server answered.
pub(super) fn text(value: &Value, name: &str) -> Done<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| format!("no {name} in {value}"))
}

/// The word of a frame.
fn kind(text: &str) -> &str {
    text.split('"').nth(3).unwrap_or_default()
}

impl Tandem {
    /// Starts it, with so many rooms.
    ///
    /// # Errors
    /// What went wrong.
    pub(super) fn start(options: &Options, rooms: usize) -> Done<Self> {
        let trunk = ([127, 0, 0, 1], subject::free_port()?).into();
        let subject = subject::tandem(&options.tandem, trunk)?;
        let server = subject.http.ok_or("Tandem has an API")?;
        let made = subject.verb(&["app", "create", "bench", "--org", "bench"])?;
        let (app, key) = (text(&made, "id")?, text(&made, "api_key")?);
        let limits = ["limit_messages_per_minute=0", "limit_sockets=0"];
        subject.verb(&[&["app", "set", &app][..], &limits].concat())?;
        let mut web = Web::open(server, &key)?;
        let mut open = |number: usize| -> Done<Room> {
            let ask = json!({"user_id": format!("v{number}"), "product": "LOGOSCAN", "new": true});
            let answer = web.ask("POST", "/v1/chat/rooms", Some(&ask))?;
            let room = answer.get("room").ok_or("no room")?;
            Ok(Room { id: text(room, "id")?, token: text(&answer, "token")? })
        };
        let rooms = (0..rooms).map(&mut open).collect::<Done<Vec<Room>>>()?;
        Ok(Self { subject, server, key, rooms })
    }

    /// Opens a socket and says hello; `ready` is still to be heard.
    ///
    /// # Errors
    /// What went wrong.
    pub(super) fn hello(&self, sockets: &mut Sockets, token: &str, cursors: &Value) -> Done<usize> {
        let number = sockets.open(self.server, "/v1/chat/socket", "")?;
        sockets.say(number, &json!({"type": "hello", "token": token, "rooms": cursors}).to_string())?;
        Ok(number)
    }

    fn come_in(&self, sockets: &mut Sockets, token: &str) -> Done {
        let number = self.hello(sockets, token, &json!({}))?;
        sockets.until(number, |text| kind(text) == "ready")
    }

    fn room(&self, room: usize) -> Done<&Room> {
        self.rooms.get(room).ok_or_else(|| format!("there is no room {room}"))
    }
}

impl Talk for Tandem {
    fn name(&self) -> &'static str {
        self.subject.name
    }

    fn cpu(&self) -> Duration {
        self.subject.cpu()
    }

    fn memory(&self) -> u64 {
        self.subject.memory()
    }

    fn enter(&self, sockets: &mut Sockets, room: usize) -> Done {
        self.come_in(sockets, &self.room(room)?.token)
    }

    // An application's socket hears every room.
    fn listen(&self, sockets: &mut Sockets, _rooms: usize) -> Done {
        self.come_in(sockets, &self.key)
    }

    fn say(&self, sockets: &mut Sockets, room: usize, count: usize) -> Done {
        let id = &self.room(room)?.id;
        let frame = format!(r#"{{"type":"send","room":"{id}","cid":"b{count}","kind":"text","body":"{WORDS}"}}"#);
        sockets.say(room, &frame)
    }

    fn is_acknowledgement(&self, text: &str) -> bool {
        kind(text) == "ack"
    }

    fn is_message(&self, text: &str) -> bool {
        kind(text) == "msg"
    }
}
