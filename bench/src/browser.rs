//! Browsers as load: each has a WebSocket, a UDP socket and a connection by ICE, DTLS and SRTP, and calls another one.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::audio::PTIME;
use crate::subject::Subject;
use crate::websocket::WebSocket;

/// How long all may take to be connected.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often each browser looks at its sockets.
const TURN: Duration = Duration::from_millis(1);
/// What is said: as long as 20 ms of Opus. Between browsers nobody decodes it.
const PAYLOAD: [u8; 80] = [0x5a; 80];
/// The extension of the first one.
const FIRST: usize = 2_000;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Browsers that are online.
pub(crate) struct Browsers(Vec<Browser>);

struct Browser {
    line: WebSocket,
    socket: UdpSocket,
    local: SocketAddr,
    rtc: Rtc,
    mid: Option<Mid>,
    pending: Option<SdpPendingOffer>,
    ready: bool,
    connected: bool,
    sequence: u64,
    heard: u64,
}

impl Browsers {
    /// So many of them, of as many people.
    ///
    /// # Errors
    /// A sentence that says what went wrong.
    pub(crate) fn open(subject: &Subject, count: usize) -> Result<Self, String> {
        let http = subject.http.ok_or("no API")?;
        let mut browsers = Self(Vec::with_capacity(count));
        for index in 0..count {
            let token = subject.person(&(FIRST + index).to_string())?;
            browsers.0.push(Browser::open(http, &token)?);
        }
        browsers.until("online", |browser| browser.ready)?;
        Ok(browsers)
    }

    /// Each even one calls the next, which answers.
    ///
    /// # Errors
    /// When they are not all connected in time.
    pub(crate) fn call_in_pairs(&mut self) -> Result<(), String> {
        for (index, browser) in self.0.iter_mut().enumerate().step_by(2) {
            let mut change = browser.rtc.sdp_api();
            browser.mid = Some(change.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None));
            let (offer, pending) = change.apply().ok_or("nothing to offer")?;
            browser.pending = Some(pending);
            let to = (FIRST + index + 1).to_string();
            browser.line.say(&json!({"type": "call", "id": "c1", "to": to, "sdp": offer.to_sdp_string()}))?;
        }
        self.until("connected", |browser| browser.connected)
    }

    /// All talk for a while; how many packets were sent, and heard.
    ///
    /// # Errors
    /// When a connection fails.
    pub(crate) fn talk(&mut self, duration: Duration) -> Result<(u64, u64), String> {
        self.0.iter_mut().for_each(|browser| browser.heard = 0);
        let start = Instant::now();
        let mut sent = 0;
        for number in 0_u32.. {
            let due = PTIME * number;
            if due >= duration {
                break;
            }
            for browser in &mut self.0 {
                browser.speak(start + due)?;
                sent += 1;
            }
            self.turn_until(start + due + PTIME)?;
        }
        // What is still on its way.
        self.turn_until(Instant::now() + Duration::from_millis(300))?;
        Ok((sent, self.0.iter().map(|browser| browser.heard).sum()))
    }

    fn until(&mut self, what: &str, good: impl Fn(&Browser) -> bool) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while !self.0.iter().all(&good) {
            if Instant::now() > until {
                let missing = self.0.iter().filter(|browser| !good(browser)).count();
                return Err(format!("{missing} of {} browsers are not {what}", self.0.len()));
            }
            self.turn_until(Instant::now() + TURN)?;
        }
        Ok(())
    }

    fn turn_until(&mut self, until: Instant) -> Result<(), String> {
        loop {
            self.0.iter_mut().try_for_each(Browser::turn)?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(TURN));
        }
    }
}

impl Browser {
    fn open(http: SocketAddr, token: &str) -> Result<Self, String> {
        let mut line = WebSocket::open(http, "/v1/rtc", "")?;
        line.say(&json!({"type": "hello", "token": token}))?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
        socket.set_nonblocking(true).map_err(text)?;
        let local = socket.local_addr().map_err(text)?;
        let mut rtc = Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, false).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, Protocol::Udp).map_err(text)?);
        let (ready, connected) = (false, false);
        Ok(Self { line, socket, local, rtc, mid: None, pending: None, ready, connected, sequence: 0, heard: 0 })
    }

    /// Does what there is to do.
    fn turn(&mut self) -> Result<(), String> {
        while let Some(frame) = self.line.hear()? {
            self.told(&frame)?;
        }
        let mut buffer = [0; 2_048];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    let received = Receive::new(Protocol::Udp, from, self.local, datagram).map_err(text)?;
                    self.rtc.handle_input(Input::Receive(Instant::now(), received)).map_err(text)?;
                    self.drain()?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(text(error)),
            }
        }
        self.rtc.handle_input(Input::Timeout(Instant::now())).map_err(text)?;
        self.drain()
    }

    /// What the server says.
    fn told(&mut self, frame: &Value) -> Result<(), String> {
        let member = |name: &str| frame.get(name).and_then(Value::as_str).unwrap_or_default();
        match member("type") {
            "ready" => self.ready = true,
            "answer" => {
                let answer = SdpAnswer::from_sdp_string(member("sdp")).map_err(text)?;
                let pending = self.pending.take().ok_or("an answer to nothing")?;
                self.rtc.sdp_api().accept_answer(pending, answer).map_err(text)?;
            }
            "incoming" => {
                let offer = SdpOffer::from_sdp_string(member("sdp")).map_err(text)?;
                let answer = self.rtc.sdp_api().accept_offer(offer).map_err(text)?;
                self.line.say(&json!({"type": "answer", "id": member("id"), "sdp": answer.to_sdp_string()}))?;
            }
            "error" | "ended" => return Err(format!("a browser was told {frame}")),
            _ => {}
        }
        Ok(())
    }

    /// Says 20 ms.
    fn speak(&mut self, now: Instant) -> Result<(), String> {
        let mid = self.mid.ok_or("no media")?;
        self.sequence += 1;
        let opus = self.rtc.codec_config().find(|codec| codec.spec().clock_rate.get() == 48_000);
        let number = opus.ok_or("no Opus")?.pt();
        let timestamp = u32::try_from((self.sequence * 960) & 0xffff_ffff).unwrap_or(0);
        let write = RtpWrite::new(number, self.sequence.into(), timestamp, now, PAYLOAD.to_vec());
        let mut direct = self.rtc.direct_api();
        direct.stream_tx_by_mid(mid, None).ok_or("no stream")?.write_rtp(write);
        Ok(())
    }

    fn drain(&mut self) -> Result<(), String> {
        loop {
            match self.rtc.poll_output().map_err(text)? {
                Output::Timeout(_) => return Ok(()),
                Output::Transmit(transmit) => {
                    let _sent = self.socket.send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::MediaAdded(added)) => self.mid = Some(added.mid),
                // What is no voice of a browser's is silence by the server, before the two were bridged.
                Output::Event(Event::RtpPacket(packet)) => self.heard += u64::from(packet.payload[..] == PAYLOAD),
                Output::Event(_) => {}
            }
        }
    }
}
