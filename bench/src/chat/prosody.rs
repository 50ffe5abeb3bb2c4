//! prosody (Debian): rooms of XEP-0045 whose messages are kept by muc_mam in SQLite, spoken to over its WebSocket
//! (RFC 7395).

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;

use super::talk::{Done, Talk, WORDS};
use crate::sockets::Sockets;
use crate::subject::{self, Subject};

const OPEN: &str = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>";

/// A server with a service of rooms.
pub(super) struct Prosody {
    subject: Subject,
    server: SocketAddr,
}

/// Nobody is told who comes and goes, anybody may come in by any password, and nothing is encrypted: what is measured
/// are the messages.
fn config(directory: &Path, port: u16) -> String {
    let directory = directory.display();
    format!(
        r#"
daemonize = false
run_as_root = true
pidfile = "{directory}/prosody.pid"
data_path = "{directory}"
log = {{ error = "{directory}/log" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{}}
http_ports = {{ {port} }}
https_ports = {{}}
http_default_host = "localhost"
consider_websocket_secure = true
modules_enabled = {{ "saslauth", "websocket" }}
modules_disabled = {{ "s2s", "offline" }}
authentication = "insecure"
insecure_open_authentication = "Yes please, I know what I'm doing!"
allow_unencrypted_plain_auth = true
c2s_require_encryption = false
storage = {{ muc_log = "sql" }}
sql = {{ driver = "SQLite3", database = "{directory}/archive.sqlite" }}
storage_archive_item_limit = 10000000
VirtualHost "localhost"
Component "rooms.localhost" "muc"
modules_enabled = {{ "muc_mam" }}
muc_room_locking = false
muc_room_default_presence_broadcast = {{ visitor = false; participant = false; moderator = false }}
"#
    )
}

impl Prosody {
    /// Starts it; none when it is not installed.
    ///
    /// # Errors
    /// What went wrong.
    pub(super) fn start() -> Done<Option<Self>> {
        let Some(prosody) = subject::find("prosody") else { return Ok(None) };
        let directory = subject::directory("prosody")?;
        let server: SocketAddr = ([127, 0, 0, 1], subject::free_port()?).into();
        let file = directory.join("prosody.cfg.lua");
        fs::write(&file, config(&directory, server.port())).map_err(|error| error.to_string())?;
        let mut command = subject::pinned(&prosody);
        command.arg("--config").arg(&file).arg("-F");
        let subject = Subject::on_http("prosody+SQLite", prosody, directory, command, server)?;
        Ok(Some(Self { subject, server }))
    }

    /// Logs in under a name of its own; the number of the socket.
    fn log_in(&self, sockets: &mut Sockets) -> Done<usize> {
        let number = sockets.open(self.server, "/xmpp-websocket", "Sec-WebSocket-Protocol: xmpp\r\n")?;
        sockets.say(number, OPEN)?;
        sockets.until(number, |text| text.contains("features"))?;
        let proof = base64::engine::general_purpose::STANDARD.encode(format!("\0u{number}\0secret"));
        let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>");
        sockets.say(number, &auth)?;
        sockets.until(number, |text| text.contains("<success"))?;
        sockets.say(number, OPEN)?;
        sockets.until(number, |text| text.contains("features"))?;
        let bind =
            "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
        sockets.say(number, bind)?;
        sockets.until(number, |text| text.contains("<jid>"))?;
        Ok(number)
    }

    fn join(sockets: &mut Sockets, number: usize, room: usize) -> Done {
        let presence = format!(
            "<presence xmlns='jabber:client' to='r{room}@rooms.localhost/u{number}'>\
             <x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>"
        );
        sockets.say(number, &presence)?;
        // The subject comes last (XEP-0045, section 7.2.15).
        sockets.until(number, |text| text.contains("<subject"))
    }
}

impl Talk for Prosody {
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
        let number = self.log_in(sockets)?;
        Self::join(sockets, number, room)
    }

    fn listen(&self, sockets: &mut Sockets, rooms: usize) -> Done {
        let number = self.log_in(sockets)?;
        (0..rooms).try_for_each(|room| Self::join(sockets, number, room))
    }

    fn say(&self, sockets: &mut Sockets, room: usize, count: usize) -> Done {
        let stanza = format!(
            "<message xmlns='jabber:client' type='groupchat' id='b{count}' to='r{room}@rooms.localhost'>\
             <body>{WORDS}</body></message>"
        );
        sockets.say(room, &stanza)
    }

    // The room's own copy is what tells the sender (XEP-0045, section 7.4).
    fn is_acknowledgement(&self, text: &str) -> bool {
        self.is_message(text)
    }

    fn is_message(&self, text: &str) -> bool {
        text.contains("<body>")
    }
}
