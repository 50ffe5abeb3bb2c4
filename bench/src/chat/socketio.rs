//! socket.io (npm), with bench/peers/socketio.js as the server, spoken to over WebSocket: protocol 5, Engine.IO 4.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::talk::{Done, Talk, WORDS};
use crate::sockets::Sockets;
use crate::subject::{self, Subject};

/// Where `npm ci` put it.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// The number of an event whose acknowledgement is that of a join.
const JOINED: &str = "430[";

/// Whether bench/run has installed it.
pub(crate) fn is_installed() -> bool {
    Path::new(FOLDER).join("node_modules/socket.io").is_dir()
}

/// A server on socket.io.
pub(super) struct SocketIo {
    subject: Subject,
    server: SocketAddr,
}

impl SocketIo {
    /// Starts it; `is_durable`: each message is inserted into SQLite before it is passed on. None when it is not
    /// installed.
    ///
    /// # Errors
    /// What went wrong.
    pub(super) fn start(is_durable: bool) -> Done<Option<Self>> {
        let (Some(node), true) = (subject::find("node"), is_installed()) else { return Ok(None) };
        let name = if is_durable { "socket.io+SQLite" } else { "socket.io" };
        let directory = subject::directory("socketio")?;
        let server: SocketAddr = ([127, 0, 0, 1], subject::free_port()?).into();
        let mut command: Command = subject::pinned(&node);
        command.arg(Path::new(FOLDER).join("socketio.js")).arg(server.port().to_string());
        if is_durable {
            command.arg(directory.join("messages.db"));
        }
        let subject = Subject::on_http(name, node, directory, command, server)?;
        Ok(Some(Self { subject, server }))
    }

    fn join(&self, sockets: &mut Sockets, room: &str) -> Done {
        let number = sockets.open(self.server, "/socket.io/?EIO=4&transport=websocket", "")?;
        sockets.until(number, |text| text.starts_with('0'))?;
        sockets.say(number, "40")?;
        sockets.until(number, |text| text.starts_with("40"))?;
        sockets.say(number, &format!(r#"420["join","{room}"]"#))?;
        sockets.until(number, |text| text.starts_with(JOINED))
    }
}

impl Talk for SocketIo {
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
        self.join(sockets, &format!("r{room}"))
    }

    fn listen(&self, sockets: &mut Sockets, _rooms: usize) -> Done {
        self.join(sockets, "all")
    }

    fn say(&self, sockets: &mut Sockets, room: usize, count: usize) -> Done {
        sockets.say(room, &format!(r#"42{}["send","r{room}","{WORDS}"]"#, count + 1))
    }

    fn is_acknowledgement(&self, text: &str) -> bool {
        text.starts_with("43")
    }

    fn is_message(&self, text: &str) -> bool {
        text.starts_with(r#"42["msg""#)
    }
}
