//! Carries a stream: opens the WebSocket by the guarded client, sends what the tap hears, and has the caller hear what
//! the other side says. One task a stream. Invariant: a side that does not read costs frames of audio and nothing else.

use std::time::Duration;

use calls::Tap;
use futures_util::{SinkExt as _, StreamExt as _};
use kernel::{Clock, Kernel, egress::Channel};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use url::Url;
use voice::leg::TapEvent;

use super::allowance::Allowance;
use super::wire::{Hello, Way, Wire, Wish};

/// For the connection, TLS and the upgrade together.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A frame that is not taken within this time means that the other side is lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// For a goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// What a flooding bot still sends is read this slowly, and for so long.
const DRAIN_PAUSE: Duration = Duration::from_millis(2);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest message of the other side, in bytes: a minute of audio in base64.
const MAX_MESSAGE: usize = 1 << 20;
/// Events of the tap that may wait when the other side reads again, oldest dropped: half a second of both tracks.
const MAX_LATE: usize = 50;
/// What the other side of a stream is told that sends what nobody can ever hear.
const FLOOD: &str = "more audio or marks than can be heard";

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By the other side, or because the call is over.
    Closed,
    /// It was refused or lost.
    Failed(String),
}

/// What a stream needs.
pub(crate) struct Plan {
    pub(crate) org: String,
    pub(crate) url: String,
    pub(crate) hello: Hello,
    pub(crate) tap: Tap,
    /// The caller's keys; closed when the call needs the stream no more.
    pub(crate) keys: mpsc::Receiver<char>,
    /// Told when the other side has taken the stream.
    pub(crate) opened: oneshot::Sender<()>,
}

type Socket = WebSocketStream<Box<dyn Channel>>;

/// Carries a stream from its opening to its end.
pub(crate) async fn carry(kernel: Kernel, plan: Plan) -> Ended {
    let Plan { org, url, mut hello, tap, keys, opened } = plan;
    match kernel.org_by_id(&org).await {
        Ok(Some(org)) => hello.account = org.cloud_sid,
        Ok(None) => return Ended::Failed("the organisation is gone".to_owned()),
        Err(error) => return Ended::Failed(error.to_string()),
    }
    let mut wire = Wire::new(hello);
    let socket = match tokio::time::timeout(OPEN_TIMEOUT, Box::pin(open(&kernel, &url, &mut wire))).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Ended::Failed(error),
        Err(_) => return Ended::Failed("no stream in time".to_owned()),
    };
    // Nobody listens any more when the call is over.
    let _gone = opened.send(());
    let clock = kernel.clock.clone();
    let allowance = Allowance::new(clock.now_ms());
    let mut stream = Stream { socket, wire, tap, keys, clock, allowance };
    match stream.run().await {
        Ok(()) => Ended::Closed,
        Err(error) => Ended::Failed(error),
    }
}

async fn open(kernel: &Kernel, url: &str, wire: &mut Wire) -> Result<Socket, String> {
    let parsed = Url::parse(url).map_err(|error| error.to_string())?;
    let channel = kernel.egress.open(&parsed).await.map_err(|error| error.to_string())?;
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let opened = client_async_with_config(parsed.as_str(), channel, Some(config)).await;
    let (mut socket, _response) = opened.map_err(|error| error.to_string())?;
    for frame in wire.opening() {
        socket.send(Message::text(frame)).await.map_err(|error| error.to_string())?;
    }
    Ok(socket)
}

struct Stream {
    socket: Socket,
    wire: Wire,
    tap: Tap,
    keys: mpsc::Receiver<char>,
    clock: Clock,
    allowance: Allowance,
}

impl Stream {
    /// Until either side has enough.
    async fn run(&mut self) -> Result<(), String> {
        loop {
            // Whoever sends too fast finds that the socket is full.
            let read_ms = self.allowance.next_ms();
            let waits = read_ms > self.clock.now_ms();
            tokio::select! {
                key = self.keys.recv() => match key {
                    Some(symbol) => {
                        let frame = self.wire.dtmf(symbol);
                        self.send(frame).await?;
                    }
                    None => {
                        self.say_goodbye().await;
                        return Ok(());
                    }
                },
                event = self.tap.next() => match event {
                    Some(event) => {
                        self.skip_what_is_late();
                        self.tell(event).await?;
                    }
                    None => {
                        self.say_goodbye().await;
                        return Ok(());
                    }
                },
                message = self.socket.next(), if !waits => {
                    match message {
                        Some(Ok(Message::Text(text))) => self.heed(&text),
                        Some(Ok(Message::Close(_))) | None => return Ok(()),
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Err(error.to_string()),
                    }
                    self.allowance.read(self.clock.now_ms());
                    if self.allowance.is_flooded() {
                        self.close(CloseFrame { code: CloseCode::Policy, reason: FLOOD.into() }).await;
                        return Err(format!("the other side sends {FLOOD}"));
                    }
                },
                () = self.clock.sleep_until(read_ms), if waits => {}
            }
        }
    }

    async fn tell(&mut self, event: TapEvent) -> Result<(), String> {
        let frame = match event {
            TapEvent::Inbound(audio) => self.wire.media(Way::Inbound, &audio),
            TapEvent::Outbound(audio) => self.wire.media(Way::Outbound, &audio),
            TapEvent::Mark(mark) => match self.wire.mark(mark) {
                Some(frame) => frame,
                None => return Ok(()),
            },
        };
        self.send(frame).await
    }

    /// After a pause of the other side the newest audio matters; marks are told all the same.
    fn skip_what_is_late(&mut self) {
        let late = self.tap.waiting().saturating_sub(MAX_LATE);
        if late > 0 {
            self.tap.skip(late);
            tracing::debug!(late, "the other side of a stream reads too slowly");
        }
    }

    fn heed(&mut self, text: &str) {
        match self.wire.read(text) {
            Some(Wish::Say(speech)) => {
                if self.allowance.takes(speech.len(), self.clock.now_ms()) {
                    self.tap.say(speech.into());
                }
            }
            Some(Wish::TooMuch) => self.allowance.refuse(self.clock.now_ms()),
            Some(Wish::Mark(mark)) => self.tap.mark(mark),
            Some(Wish::Clear) => self.tap.clear(),
            None => tracing::debug!("a frame of a stream says nothing to us"),
        }
    }

    async fn send(&mut self, frame: String) -> Result<(), String> {
        match tokio::time::timeout(SEND_TIMEOUT, self.socket.send(Message::text(frame))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the other side takes nothing any more".to_owned()),
        }
    }

    /// Says why it is over. What the other side still sends is read and thrown away: a socket that is closed over unread
    /// bytes is reset, and the reason with it. It is read slowly: who floods without a pause comes to read the reason only
    /// when it has to wait.
    async fn close(&mut self, frame: CloseFrame) {
        let goodbye = async {
            if self.socket.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {
                    tokio::time::sleep(DRAIN_PAUSE).await;
                }
            }
        };
        let _late = tokio::time::timeout(DRAIN_TIMEOUT, goodbye).await;
    }

    /// The call is over, or needs the stream no more.
    async fn say_goodbye(&mut self) {
        let stop = self.wire.stop();
        let goodbye = async {
            // Whether it is heard or not: the stream is over.
            if self.socket.send(Message::text(stop)).await.is_ok() {
                let _closed = self.socket.close(None).await;
            }
        };
        let _late = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}
