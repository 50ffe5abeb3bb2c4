//! Just enough of RFC 6455 for a phone that talks to the server under test: text frames both ways, none of them split.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;

/// How long the handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// An open socket.
pub(crate) struct WebSocket {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl WebSocket {
    /// Opens a path of a server; `headers` are lines of the handshake beside those that every one has.
    ///
    /// # Errors
    /// A sentence that says what went wrong.
    pub(crate) fn open(server: SocketAddr, path: &str, headers: &str) -> Result<Self, String> {
        let fail = |error: std::io::Error| format!("{path}: {error}");
        let mut stream = TcpStream::connect(server).map_err(fail)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
        let key = base64::engine::general_purpose::STANDARD.encode([7; 16]);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).map_err(fail)?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).map_err(fail)?;
            head.extend_from_slice(&byte);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(format!("{path}: {}", String::from_utf8_lossy(&head).lines().next().unwrap_or_default()));
        }
        stream.set_nonblocking(true).map_err(fail)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Says a frame.
    ///
    /// # Errors
    /// When the server has gone.
    pub(crate) fn say(&mut self, frame: &Value) -> Result<(), String> {
        self.send(TEXT, frame.to_string().as_bytes())
    }

    /// The next frame, if one has come.
    ///
    /// # Errors
    /// When the server has gone.
    pub(crate) fn hear(&mut self) -> Result<Option<Value>, String> {
        let mut buffer = [0; 16_384];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the server has closed the socket".to_owned()),
            Ok(length) => self.unread.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
        while let Some((kind, payload)) = self.take() {
            match kind {
                TEXT => return serde_json::from_slice(&payload).map(Some).map_err(|error| error.to_string()),
                PING => self.send(PONG, &payload)?,
                _ => {}
            }
        }
        Ok(None)
    }

    /// Says a text.
    ///
    /// # Errors
    /// When the server has gone.
    pub(crate) fn say_text(&mut self, text: &str) -> Result<(), String> {
        self.send(TEXT, text.as_bytes())
    }

    /// Gives every text that has come to `take`.
    ///
    /// # Errors
    /// When the server has gone.
    pub(crate) fn hear_texts(&mut self, mut take: impl FnMut(&str)) -> Result<(), String> {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the server has closed the socket".to_owned()),
            Ok(length) => self.unread.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        let unread = std::mem::take(&mut self.unread);
        let mut rest = unread.as_slice();
        while let Some((kind, length, payload)) = frame(rest) {
            match kind {
                TEXT => take(std::str::from_utf8(payload).map_err(|error| error.to_string())?),
                PING => self.send(PONG, payload)?,
                CLOSE => return Err(format!("the server has closed the socket: {}", closing_words(payload))),
                _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        self.unread = rest.to_vec();
        Ok(())
    }

    /// Takes a whole frame out of what has been read: its kind and what it carries.
    fn take(&mut self) -> Option<(u8, Vec<u8>)> {
        let (kind, length, payload) = frame(&self.unread)?;
        let payload = payload.to_vec();
        self.unread.drain(..length);
        Some((kind, payload))
    }

    /// For waiting on it.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    fn send(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        let mut frame = vec![0x80 | kind];
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(length), _) if length < 126 => frame.push(0x80 | length),
            (_, Ok(length)) => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&length.to_be_bytes());
            }
            _ => return Err("too much for one frame".to_owned()),
        }
        // A mask of zeros changes nothing (section 5.3 asks for one; it protects proxies, of which there is none here).
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        // Frames are small and the socket's buffer is not: it takes them whole.
        self.stream.write_all(&frame).map_err(|error| error.to_string())
    }
}

/// The code and the reason of a close frame.
fn closing_words(payload: &[u8]) -> String {
    let code = payload.get(..2).and_then(|code| code.try_into().ok()).map_or(0, u16::from_be_bytes);
    format!("{code} {}", String::from_utf8_lossy(payload.get(2..).unwrap_or_default()))
}

/// The first whole frame: its kind, its length with its head, and what it carries.
fn frame(bytes: &[u8]) -> Option<(u8, usize, &[u8])> {
    let (kind, short) = (bytes.first()? & 0x0f, *bytes.get(1)?);
    let (head, length) = match short {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    Some((kind, head + length, bytes.get(head..head + length)?))
}
