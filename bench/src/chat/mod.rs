//! What a chat costs: a durable message that is delivered, an idle socket, one message to many, the documented calls, and
//! thousands of clients that come back at once. Beside socket.io and prosody, where they are installed.

mod prosody;
mod socketio;
mod talk;
mod tandem;

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::prosody::Prosody;
use self::socketio::SocketIo;
pub(crate) use self::socketio::is_installed as has_socketio;
use self::talk::{Done, Talk, WORDS};
use self::tandem::Tandem;
use crate::Options;
use crate::report::Row;
use crate::sockets::Sockets;
use crate::web::Web;

/// Visitors who write at once: as many as it takes to saturate the server within the frames that each of them may send.
const WRITERS: usize = 400;
/// Messages that one of them has on their way, when the server is to be saturated.
const AHEAD: usize = 2;
/// Messages of the saturated run, at most.
const MESSAGES: usize = 40_000;
/// How long a slower server says messages, when it is to be saturated.
const PERIOD: Duration = Duration::from_secs(10);
/// Messages a second of the paced run, and how many.
const PACE: f64 = 500.0;
const PACED: usize = 5_000;
/// Listeners to one message, and messages to them: as many as a visitor may send in one go.
const LISTENERS: usize = 500;
const TO_ALL: usize = 100;
/// Clients that come back at once.
const RESUMING: usize = 5_000;
/// Messages that stand in each of their rooms; they have seen the first.
const STANDING: i64 = 3;
/// Documented calls of each kind, and clients that make them at once.
const CALLS: usize = 6_400;
const CALLERS: usize = 32;
/// A quick run does so much less.
const QUICK: usize = 10;
/// Nothing takes longer than this.
const PATIENCE: Duration = Duration::from_secs(180);
/// One look at what came.
const LOOK: Duration = Duration::from_millis(50);
/// The same while messages are paced.
const SHORT_LOOK: Duration = Duration::from_millis(1);
/// Memory is read when what the hellos took has been given back.
const SETTLING: Duration = Duration::from_secs(3);

fn patience(until: Instant, what: &str) -> Done {
    if Instant::now() > until { Err(format!("not in time: {what}")) } else { Ok(()) }
}

fn scaled(options: &Options, count: usize) -> usize {
    if options.quick { count / QUICK } else { count }
}

/// Starts what else is installed, one at a time, and lets `measure` look at it.
fn beside(mut measure: impl FnMut(&dyn Talk) -> Done) -> Done {
    let mut look = |server: &dyn Talk| measure(server).map_err(|error| format!("{}: {error}", server.name()));
    if let Some(durable) = SocketIo::start(true)? {
        look(&durable)?;
    }
    if let Some(plain) = SocketIo::start(false)? {
        look(&plain)?;
    }
    if let Some(prosody) = Prosody::start()? {
        look(&prosody)?;
    }
    Ok(())
}

/// Sockets of so many visitors, and of so many listeners after them.
fn sockets(server: &dyn Talk, visitors: usize, listeners: usize) -> Done<Sockets> {
    let mut sockets = Sockets::new()?;
    (0..visitors).try_for_each(|room| server.enter(&mut sockets, room))?;
    (0..listeners).try_for_each(|_| server.listen(&mut sockets, visitors))?;
    Ok(sockets)
}

/// Messages that are said in a row.
#[derive(Clone, Copy)]
struct Run {
    /// Which of the runs on these sockets: no message is called as one of another run.
    number: usize,
    count: usize,
    /// Messages a second; none = as many as the server takes.
    pace: Option<f64>,
}

/// CPU microseconds of a message that visitors send and one listener hears, and how many a second there were.
fn messages(server: &dyn Talk, sockets: &mut Sockets, run: Run) -> Done<(f64, f64)> {
    let Run { number, count, pace } = run;
    let (writers, listener) = (sockets.len() - 1, sockets.len() - 1);
    let (mut said, mut acknowledged, mut heard) = (0, 0, 0);
    let mut free: Vec<usize> = (0..writers * AHEAD).map(|place| place % writers).collect();
    let (before, begun) = (server.cpu(), Instant::now());
    let mut is_over = false;
    while !is_over || acknowledged < said || heard < said {
        let due = pace.map_or(count, |pace| ((begun.elapsed().as_secs_f64() * pace) as usize).min(count));
        is_over = said >= count || pace.is_none() && begun.elapsed() > PERIOD;
        while !is_over && said < due {
            let Some(writer) = (if pace.is_some() { Some(said % writers) } else { free.pop() }) else { break };
            server.say(sockets, writer, number * MESSAGES + said)?;
            said += 1;
        }
        sockets.hear(if pace.is_some() { SHORT_LOOK } else { LOOK }, |number, text| {
            if number == listener {
                heard += usize::from(server.is_message(text));
            } else if server.is_acknowledgement(text) {
                acknowledged += 1;
                free.push(number);
            }
        })?;
        patience(begun + PATIENCE, "messages")?;
    }
    let spent = (server.cpu() - before).as_secs_f64();
    Ok((spent * 1e6 / said as f64, said as f64 / begun.elapsed().as_secs_f64()))
}

/// Messages that are said, kept and heard: as many as the server takes, and at a pace.
///
/// # Errors
/// What went wrong.
pub(crate) fn talk(options: &Options) -> Done<Vec<Row>> {
    let mut saturated = Row::cost("durable message delivered, saturated, us CPU", Some(40.0));
    let mut rates = Row::rate("  messages a second", None);
    let mut paced = Row::cost("durable message delivered, 500/s, us CPU", Some(200.0));
    let mut measure = |server: &dyn Talk| {
        let mut sockets = sockets(server, WRITERS, 1)?;
        let mut run = |number, count, pace| messages(server, &mut sockets, Run { number, count, pace });
        run(0, WRITERS, None)?; // what the first ones set up for all
        let (cost, rate) = run(1, scaled(options, MESSAGES), None)?;
        saturated.add(server.name(), cost);
        rates.add(server.name(), rate);
        paced.add(server.name(), run(2, scaled(options, PACED), Some(PACE))?.0);
        Ok(())
    };
    measure(&Tandem::start(options, WRITERS)?)?;
    beside(measure)?;
    Ok(vec![saturated, rates, paced])
}

/// CPU microseconds of one delivery, when one message goes to many.
fn to_all(server: &dyn Talk, count: usize) -> Done<f64> {
    let mut sockets = sockets(server, 1, LISTENERS)?;
    let (before, until) = (server.cpu(), Instant::now() + PATIENCE);
    for round in 0..count {
        let mut heard = 0;
        server.say(&mut sockets, 0, round)?;
        while heard < LISTENERS {
            sockets.hear(LOOK, |number, text| heard += usize::from(number > 0 && server.is_message(text)))?;
            patience(until, "a message to all")?;
        }
    }
    Ok((server.cpu() - before).as_secs_f64() * 1e6 / (count * LISTENERS) as f64)
}

/// One message to many.
///
/// # Errors
/// What went wrong.
pub(crate) fn fan_out(options: &Options) -> Done<Vec<Row>> {
    let count = scaled(options, TO_ALL);
    let mut row = Row::cost("one message to 500, us CPU a delivery", Some(10.0));
    let mut measure = |server: &dyn Talk| {
        row.add(server.name(), to_all(server, count)?);
        Ok(())
    };
    measure(&Tandem::start(options, 1)?)?;
    beside(measure)?;
    Ok(vec![row])
}

/// Kilobytes that a server has more for each visitor who is there and says nothing.
fn idle(server: &dyn Talk, visitors: usize) -> Done<f64> {
    let before = server.memory();
    let _open = sockets(server, visitors, 0)?;
    std::thread::sleep(SETTLING);
    Ok((server.memory() as f64 - before as f64) / visitors as f64 / 1_000.0)
}

/// Idle sockets; then all of Tandem's are gone, and back at once with a cursor.
///
/// # Errors
/// What went wrong.
pub(crate) fn resume(options: &Options) -> Done<Vec<Row>> {
    let clients = scaled(options, RESUMING);
    let mut row = Row::cost("idle socket, kB", Some(8.0));
    let chat = Tandem::start(options, clients)?;
    row.add(chat.name(), idle(&chat, clients)?);
    let mut rows = come_back(&chat)?;
    drop(chat);
    beside(|server| {
        row.add(server.name(), idle(server, clients)?);
        Ok(())
    })?;
    rows.insert(0, row);
    Ok(rows)
}

fn come_back(chat: &Tandem) -> Done<Vec<Row>> {
    let clients = chat.rooms.len();
    let mut web = Web::open(chat.server, &chat.key)?;
    for room in &chat.rooms {
        for _ in 0..STANDING {
            web.ask("POST", &format!("/v1/chat/rooms/{}/messages", room.id), Some(&json!({"body": "missed"})))?;
        }
    }
    let (before, begun) = (chat.cpu(), Instant::now());
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
    while ready.get() < clients {
        sockets.hear(LOOK, &mut take)?;
        patience(begun + PATIENCE, "everybody is back")?;
    }
    let took = begun.elapsed().as_secs_f64();
    let spent = (chat.cpu() - before).as_secs_f64();
    // What was told twice may come late.
    sockets.hear(LOOK, &mut take)?;
    let wanted: Vec<i64> = (2..=STANDING).collect();
    let wrong = heard.iter().filter(|heard| **heard != wanted).count();
    if wrong > 0 {
        return Err(format!("{wrong} of {clients} clients that came back lost a message or got one twice"));
    }
    Ok(vec![
        Row::cost(&format!("{clients} clients come back, none loses or doubles, s"), Some(5.0)).with(chat.name(), took),
        Row::cost("  us CPU each", None).with(chat.name(), spent * 1e6 / clients as f64),
    ])
}

/// The calls of document 002, by HTTP, of many clients at once: they share commits, as in a full server.
///
/// # Errors
/// What went wrong.
pub(crate) fn documented(options: &Options) -> Done<Vec<Row>> {
    let count = scaled(options, CALLS) / CALLERS;
    let chat = Tandem::start(options, CALLERS)?;
    let cost = |count: usize, call: fn(&mut Web, &str) -> Done<Value>| {
        let before = chat.cpu();
        std::thread::scope(|scope| {
            let callers: Vec<_> = (chat.rooms.iter())
                .map(|room| scope.spawn(|| call_again(Web::open(chat.server, &chat.key)?, &room.id, count, call)))
                .collect();
            callers.into_iter().try_for_each(|caller| caller.join().map_err(|_| "a caller panicked".to_owned())?)
        })?;
        Ok::<f64, String>((chat.cpu() - before).as_secs_f64() * 1e6 / (count * CALLERS) as f64)
    };
    cost(100, post)?; // what the others read
    let read = cost(count, get)?;
    let posted = cost(count, post)?;
    Ok(vec![
        Row::cost("documented POST of a message, us CPU", Some(80.0)).with(chat.name(), posted),
        Row::cost("documented GET of 100 messages, us CPU", Some(120.0)).with(chat.name(), read),
    ])
}

fn call_again(mut web: Web, room: &str, count: usize, call: fn(&mut Web, &str) -> Done<Value>) -> Done {
    (0..count).try_for_each(|_| call(&mut web, room).map(drop))
}

fn post(web: &mut Web, room: &str) -> Done<Value> {
    let message = json!({
        "type": "create_message", "room_id": room, "message_data": WORDS, "side": "true", "author": "support",
        "message_type": "text",
    });
    web.ask("POST", "/api/v2/room-service/", Some(&message))
}

fn get(web: &mut Web, room: &str) -> Done<Value> {
    web.ask("GET", &format!("/api/v2/room-service/?type=get_messages&room_id={room}&limit=100"), None)
}
