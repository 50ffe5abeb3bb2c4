//! What a chat costs: a durable message that is delivered, an idle socket, one message to many, the documented calls, and
//! thousands of clients that come back at once.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Options;
use crate::report::Row;
use crate::sockets::Sockets;
use crate::subject::{self, Subject};
use crate::web::Web;

/// Visitors who write at once.
const WRITERS: usize = 200;
/// Messages that one of them has on their way, when the server is to be saturated.
const AHEAD: usize = 4;
/// Messages a second of the paced run.
const PACE: f64 = 500.0;
/// Listeners to one message.
const LISTENERS: usize = 500;
/// Clients that come back at once.
const RESUMING: usize = 5_000;
/// Messages that each of them has missed.
const MISSED: i64 = 3;
/// Nothing takes longer than this.
const PATIENCE: Duration = Duration::from_secs(120);
/// One look at what came.
const LOOK: Duration = Duration::from_millis(50);

type Done<T = ()> = Result<T, String>;

/// A server with an application, and visitors with a room each.
struct Chat {
    tandem: Subject,
    server: SocketAddr,
    key: String,
    rooms: Vec<Room>,
}

struct Room {
    id: String,
    token: String,
}

fn text(value: &Value, name: &str) -> Done<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| format!("no {name} in {value}"))
}

impl Chat {
    fn start(options: &Options, rooms: usize) -> Done<Self> {
        let trunk = ([127, 0, 0, 1], subject::free_port()?).into();
        let tandem = subject::tandem(&options.tandem, trunk)?;
        let server = tandem.http.ok_or("Tandem has an API")?;
        let made = tandem.verb(&["app", "create", "bench", "--org", "bench"])?;
        let (app, key) = (text(&made, "id")?, text(&made, "api_key")?);
        let limits =
            ["limit_messages_per_minute=0", "limit_messages_burst=1000000", "limit_sockets=0", "identity=open"];
        tandem.verb(&[&["app", "set", &app][..], &limits].concat())?;
        let mut web = Web::open(server, &key)?;
        let open = |number: usize| -> Done<Room> {
            let ask = json!({"user_id": format!("v{number}"), "product": "LOGOSCAN", "new": true});
            let answer = web.ask("POST", "/v1/chat/rooms", Some(&ask))?;
            let room = answer.get("room").ok_or("no room")?;
            Ok(Room { id: text(room, "id")?, token: text(&answer, "token")? })
        };
        let rooms = (0..rooms).map(open).collect::<Done<Vec<Room>>>()?;
        Ok(Self { tandem, server, key, rooms })
    }

    /// Opens a socket and says hello; `ready` is still to be heard.
    fn hello(&self, sockets: &mut Sockets, token: &str, cursors: &Value) -> Done<usize> {
        let number = sockets.open(self.server, "/v1/chat/socket")?;
        sockets.say(number, &json!({"type": "hello", "token": token, "rooms": cursors}).to_string())?;
        Ok(number)
    }

    /// Sockets of every visitor, and of so many listeners that hear every room; all are ready.
    fn sockets(&self, listeners: usize) -> Done<Sockets> {
        let mut sockets = Sockets::new()?;
        let mut ready = 0;
        let tokens = self.rooms.iter().map(|room| room.token.as_str());
        for token in tokens.chain(std::iter::repeat_n(self.key.as_str(), listeners)) {
            self.hello(&mut sockets, token, &json!({}))?;
            sockets.hear(Duration::ZERO, |_, text| ready += usize::from(kind(text) == "ready"))?;
        }
        let until = Instant::now() + PATIENCE;
        while ready < sockets.len() {
            sockets.hear(LOOK, |_, text| ready += usize::from(kind(text) == "ready"))?;
            patience(until, "ready")?;
        }
        Ok(sockets)
    }

    /// A message of one of the visitors.
    fn say(&self, sockets: &mut Sockets, writer: usize, count: usize) -> Done {
        let room = self.rooms.get(writer).map_or("", |room| &room.id);
        let body = "Where is my parcel, please? It should have been here on Monday.";
        sockets.say(
            writer,
            &format!(r#"{{"type":"send","room":"{room}","cid":"b{count}","kind":"text","body":"{body}"}}"#),
        )
    }
}

/// The word of a frame.
fn kind(text: &str) -> &str {
    text.split('"').nth(3).unwrap_or_default()
}

fn patience(until: Instant, what: &str) -> Done {
    if Instant::now() > until { Err(format!("not in time: {what}")) } else { Ok(()) }
}

/// CPU microseconds of a message that visitors send and one listener hears, and how many a second there were.
fn messages(chat: &Chat, sockets: &mut Sockets, count: usize, pace: Option<f64>) -> Done<(f64, f64)> {
    let listener = chat.rooms.len();
    let (mut said, mut acks, mut heard) = (0, 0, 0);
    let before = chat.tandem.cpu();
    let begun = Instant::now();
    let mut free: Vec<usize> = Vec::new();
    if pace.is_none() {
        free = (0..chat.rooms.len()).flat_map(|writer| std::iter::repeat_n(writer, AHEAD)).collect();
    }
    while acks < count || heard < count {
        let due = pace.map_or(count, |pace| ((begun.elapsed().as_secs_f64() * pace) as usize).min(count));
        while said < due {
            let writer = if pace.is_some() {
                said % chat.rooms.len()
            } else {
                match free.pop() {
                    Some(writer) => writer,
                    None => break,
                }
            };
            chat.say(sockets, writer, said)?;
            said += 1;
        }
        let wait = if pace.is_some() { Duration::from_millis(1) } else { LOOK };
        sockets.hear(wait, |number, text| match kind(text) {
            "ack" => {
                acks += 1;
                free.push(number);
            }
            "msg" if number == listener => heard += 1,
            _ => {}
        })?;
        patience(begun + PATIENCE, "messages")?;
    }
    let spent = (chat.tandem.cpu() - before).as_secs_f64();
    Ok((spent * 1e6 / count as f64, count as f64 / begun.elapsed().as_secs_f64()))
}

fn talk(options: &Options) -> Done<Vec<Row>> {
    let count = if options.quick { 5_000 } else { 50_000 };
    let chat = Chat::start(options, WRITERS)?;
    let mut sockets = chat.sockets(1)?;
    messages(&chat, &mut sockets, count / 10, None)?; // what the first ones set up for all
    let (saturated, rate) = messages(&chat, &mut sockets, count, None)?;
    let (paced, _) = messages(&chat, &mut sockets, count / 10, Some(PACE))?;
    Ok(vec![
        Row::cost("durable message delivered, saturated, us CPU", Some(40.0)).with("Tandem", saturated),
        Row::rate("  messages a second", None).with("Tandem", rate),
        Row::cost("durable message delivered, 500/s, us CPU", Some(200.0)).with("Tandem", paced),
    ])
}

fn fan_out(options: &Options) -> Done<Vec<Row>> {
    let count = if options.quick { 50 } else { 500 };
    let chat = Chat::start(options, 1)?;
    let mut sockets = chat.sockets(LISTENERS)?;
    let before = chat.tandem.cpu();
    let until = Instant::now() + PATIENCE;
    for round in 0..count {
        let mut heard = 0;
        chat.say(&mut sockets, 0, round)?;
        while heard < LISTENERS {
            sockets.hear(LOOK, |number, text| heard += usize::from(number > 0 && kind(text) == "msg"))?;
            patience(until, "a message to all")?;
        }
    }
    let each = (chat.tandem.cpu() - before).as_secs_f64() * 1e6 / (count * LISTENERS) as f64;
    Ok(vec![Row::cost("one message to 500, us CPU a delivery", Some(10.0)).with("Tandem", each)])
}

/// Idle sockets, then all of them gone and back at once with a cursor.
fn resume(options: &Options) -> Done<Vec<Row>> {
    let clients = if options.quick { RESUMING / 10 } else { RESUMING };
    let chat = Chat::start(options, clients)?;
    let idle = chat.tandem.memory();
    let sockets = chat.sockets(0)?;
    std::thread::sleep(Duration::from_secs(2));
    let each = (chat.tandem.memory() as f64 - idle as f64) / clients as f64 / 1_000.0;
    drop(sockets);
    let mut web = Web::open(chat.server, &chat.key)?;
    for room in &chat.rooms {
        for _ in 0..MISSED {
            web.ask("POST", &format!("/v1/chat/rooms/{}/messages", room.id), Some(&json!({"body": "missed"})))?;
        }
    }
    let begun = Instant::now();
    let mut sockets = Sockets::new()?;
    let mut heard: Vec<Vec<i64>> = vec![Vec::new(); clients];
    let ready = Cell::new(0);
    let mut take = |number: usize, text: &str| {
        let Ok(frame) = serde_json::from_str::<Value>(text) else { return };
        let missed = frame.get("missed").and_then(Value::as_array);
        ready.set(ready.get() + usize::from(missed.is_some()));
        let told = missed.into_iter().flatten().chain([&frame]);
        if let Some(heard) = heard.get_mut(number) {
            heard.extend(told.filter_map(|frame| frame.get("seq").and_then(Value::as_i64)));
        }
    };
    for room in &chat.rooms {
        chat.hello(&mut sockets, &room.token, &json!({ &room.id: 1 }))?;
        sockets.hear(Duration::ZERO, &mut take)?;
    }
    let until = Instant::now() + PATIENCE;
    loop {
        sockets.hear(LOOK, &mut take)?;
        patience(until, "everybody is back")?;
        if ready.get() >= clients {
            break;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let wanted: Vec<i64> = (2..=MISSED).collect();
    let wrong = heard.iter().filter(|heard| **heard != wanted).count();
    Ok(vec![
        Row::cost("idle socket, kB", Some(8.0)).with("Tandem", each),
        Row::cost(&format!("{clients} clients come back, s"), Some(5.0)).with("Tandem", took),
        Row::cost("  that lost a message or got one twice", Some(0.0)).with("Tandem", wrong as f64),
    ])
}

/// The calls of document 002, by HTTP.
fn documented(options: &Options) -> Done<Vec<Row>> {
    let count = if options.quick { 500 } else { 5_000 };
    let chat = Chat::start(options, 1)?;
    let room = chat.rooms.first().map_or("", |room| &room.id);
    let mut web = Web::open(chat.server, &chat.key)?;
    let ask = json!({"type": "create_message", "room_id": room, "message_data": "Where is my parcel?", "side": "false", "author": "client", "message_type": "text"});
    let mut cost = |method: &str, path: &str, body: Option<&Value>, count: usize| {
        let before = chat.tandem.cpu();
        for _ in 0..count {
            web.ask(method, path, body)?;
        }
        Ok::<f64, String>((chat.tandem.cpu() - before).as_secs_f64() * 1e6 / count as f64)
    };
    cost("POST", "/api/v2/room-service/", Some(&ask), 100)?;
    let get = cost("GET", &format!("/api/v2/room-service/?type=get_messages&room_id={room}&limit=100"), None, count)?;
    let post = cost("POST", "/api/v2/room-service/", Some(&ask), count)?;
    Ok(vec![
        Row::cost("documented POST of a message, us CPU", Some(80.0)).with("Tandem", post),
        Row::cost("documented GET of 100 messages, us CPU", Some(120.0)).with("Tandem", get),
    ])
}

/// All of it.
///
/// # Errors
/// What went wrong.
pub(crate) fn all(options: &Options) -> Done<Vec<Row>> {
    let mut rows = talk(options)?;
    rows.extend(fan_out(options)?);
    rows.extend(resume(options)?);
    rows.extend(documented(options)?);
    Ok(rows)
}
