//! A SIP phone beside a browser, for calls between the two; and browsers' calls that are up.
#![expect(clippy::disallowed_methods, reason = "a test's phone is a task of its own")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use media::codec::{CodecKind, Encoder};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use voice::cause::Cause;
use voice::leg::{Leg, LegEvent};
use voice::rtc::frame::{Caller, Down, Up};
use voice::{Originate, Source, Target, VoiceConfig};

use super::browser::{Browser, Packet, Says, Window, decode, share, sine};
use super::{Events, Msg, Phone, Server, config};

/// A SIP phone's audio: it speaks a codec from its own socket and keeps what it hears.
pub(crate) struct Sound {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<Packet>>>,
    pub(crate) pressed: Arc<Mutex<Option<u8>>>,
    task: Option<JoinHandle<()>>,
    socket: Arc<UdpSocket>,
}

impl Drop for Sound {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

impl Sound {
    pub(crate) async fn new() -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        Self { address, heard: Arc::default(), pressed: Arc::default(), task: None, socket }
    }

    /// Speaks a tone to where the server's description says, as `codec` under `number`.
    pub(crate) fn speak(&mut self, server: &Msg, codec: CodecKind, number: u8, hz: f64) {
        let port = server.body().split("m=audio ").nth(1).unwrap().split(' ').next().unwrap();
        let to: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
        let (socket, heard, pressed) = (self.socket.clone(), self.heard.clone(), self.pressed.clone());
        self.task = Some(tokio::spawn(async move {
            let mut encoder = Encoder::new(codec).unwrap();
            let mut buffer = [0; 2_000];
            for index in 0_u16.. {
                let mut payload = [0; 1_500];
                let pcm = sine(codec, hz, usize::from(index) * codec.frame_samples());
                let mut len = encoder.encode(&pcm, &mut payload).unwrap();
                let mut number = number;
                if let Some(code) = pressed.lock().unwrap().take() {
                    payload[..4].copy_from_slice(&[code, 0x8a, 3, 32]);
                    (number, len) = (101, 4);
                }
                let mut datagram = vec![0x80, number];
                datagram.extend_from_slice(&index.to_be_bytes());
                datagram.extend_from_slice(&(u32::from(index) * codec.frame_ticks()).to_be_bytes());
                datagram.extend_from_slice(&[0, 0, 0, 9]);
                datagram.extend_from_slice(&payload[..len]);
                socket.send_to(&datagram, to).await.unwrap();
                let tick = tokio::time::sleep(Duration::from_millis(20));
                tokio::pin!(tick);
                loop {
                    tokio::select! {
                        () = &mut tick => break,
                        received = socket.recv_from(&mut buffer) => {
                            let (length, _) = received.unwrap();
                            let payload_type = buffer[1] & 0x7f;
                            if (64..96).contains(&payload_type) {
                                continue;
                            }
                            let sequence = u64::from(u16::from_be_bytes([buffer[2], buffer[3]]));
                            let payload = buffer[12..length].to_vec();
                            heard.lock().unwrap().push(Packet { payload_type, sequence, payload });
                        }
                    }
                }
            }
        }));
    }

    /// The next so many packets of a payload type.
    pub(crate) async fn hear(&self, number: u8, packets: usize) -> Vec<Packet> {
        self.heard.lock().unwrap().clear();
        for _ in 0..500 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let heard = self.heard.lock().unwrap();
            let fitting: Vec<_> = heard.iter().filter(|packet| packet.payload_type == number).cloned().collect();
            if fitting.len() >= packets {
                return fitting;
            }
        }
        panic!("{packets} packets of type {number} did not come");
    }
}

pub(crate) fn description(sound: &Sound, codec: CodecKind) -> String {
    let formats = match codec {
        CodecKind::Opus => "97 101\r\na=rtpmap:97 opus/48000/2\r\na=rtpmap:101 telephone-event/48000\r\n",
        _ => "8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n",
    };
    let port = sound.address.port();
    format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}")
}

/// A SIP phone that we have dialled, and that has answered.
pub(crate) struct Desk {
    pub(crate) leg: Leg,
    pub(crate) events: Events,
    pub(crate) sound: Sound,
    pub(crate) phone: Phone,
}

impl Desk {
    pub(crate) async fn answering(server: &Server, codec: CodecKind, near: Option<Leg>) -> Self {
        let phone = server.phone("1001").await;
        let (sink, mut events) = Events::new();
        let mut order = order(server, Target::Uri(format!("sip:1001@{}", phone.addr)));
        order.near = near;
        let leg = server.voice.originate(order, sink);
        let invite = phone.expect_method("INVITE").await;
        let mut sound = Sound::new().await;
        phone.send(&phone.respond(&invite, "200 OK", "", &description(&sound, codec))).await;
        phone.expect_method("ACK").await;
        assert!(matches!(events.next().await, LegEvent::Answered { codec: spoken } if spoken == codec));
        // By the number of our offer; it hears by the number of its answer.
        sound.speak(&invite, codec, if codec == CodecKind::Opus { 96 } else { 8 }, 1_000.0);
        Self { leg, events, sound, phone }
    }

    pub(crate) async fn hang_up(&mut self) {
        self.leg.hangup(Cause::Normal);
        let bye = self.phone.expect_method("BYE").await;
        self.phone.send(&self.phone.respond(&bye, "200 OK", "", "")).await;
        assert_eq!(self.events.end().await.cause, Cause::Normal);
    }
}

pub(crate) fn order(server: &Server, target: Target) -> Originate {
    Originate {
        leg: server.ids.new("leg", 0).into(),
        target,
        from: voice::CallerId { number: "2000".to_owned(), display: Some("Bob".to_owned()), anonymous: false },
        to_user: "1001".to_owned(),
        near: None,
        prefer: None,
        max_forwards: voice::MAX_FORWARDS,
        ring_timeout_ms: 30_000,
    }
}

/// A browser's call that has come in and is answered: the window, the browser, and the call's side.
pub(crate) async fn call_in(server: &mut Server, extension: &str) -> (Window, Browser, Leg, Events) {
    let (mut window, calls) = Window::open(server, extension, None).await;
    assert!(calls.is_empty());
    let browser = Browser::new().await;
    window.say(Up::Call { id: "c1".into(), to: "1002".into(), sdp: browser.offer() }).await;
    let (incoming, mut events) = server.next_call().await;
    assert_eq!((incoming.to_user.as_str(), incoming.from.number.as_str()), ("1002", extension));
    assert!(matches!(&incoming.source, Source::Line(line) if *line.extension == *extension));
    let Down::Answer { id, sdp } = window.next().await else { panic!("no answer") };
    assert_eq!(id, "c1");
    browser.accept(&sdp);
    incoming.leg.ring();
    assert_eq!(window.next().await, Down::Ringing { id: "c1".into() });
    incoming.leg.early_media();
    assert_eq!(window.next().await, Down::EarlyMedia { id: "c1".into() });
    incoming.leg.answer();
    assert!(matches!(events.next().await, LegEvent::Answered { codec: CodecKind::Opus }));
    assert_eq!(window.next().await, Down::Answered { id: "c1".into() });
    (window, browser, incoming.leg.clone(), events)
}

/// A browser that we call, and that answers.
pub(crate) async fn call_out(server: &Server, extension: &str) -> (Window, Browser, Leg, Events) {
    let (mut window, _) = Window::open(server, extension, None).await;
    let (sink, mut events) = Events::new();
    let leg = server.voice.originate(order(server, Target::Browser { phone: window.phone.id().clone() }), sink);
    let Down::Incoming { id, from, sdp } = window.next().await else { panic!("it does not ring") };
    assert_eq!(from, Caller { number: "2000".to_owned(), name: Some("Bob".to_owned()) });
    assert_eq!(*id, **leg.id());
    window.say(Up::Ringing { id: id.clone() }).await;
    assert!(matches!(events.next().await, LegEvent::Ringing));
    let browser = Browser::new().await;
    window.say(Up::Answer { id: id.clone(), sdp: browser.answer(&sdp) }).await;
    assert!(matches!(events.next().await, LegEvent::Answered { codec: CodecKind::Opus }));
    assert_eq!(window.next().await, Down::Answered { id });
    (window, browser, leg, events)
}

pub(crate) fn two_threads() -> VoiceConfig {
    VoiceConfig { media_threads: 2, ..config() }
}

/// Both hear each other's tone: the browser says 440 Hz, the desk 1000 Hz.
pub(crate) async fn both_hear(browser: &Browser, desk: &Desk) {
    browser.say(Some(Says::Tone(440.0)));
    browser.hear(25).await;
    let to_browser = decode(CodecKind::Opus, &browser.hear(50).await);
    assert!(share(&to_browser, 1_000.0, 48_000) > 0.6, "{}", share(&to_browser, 1_000.0, 48_000));
    let to_desk = decode(CodecKind::Pcma, &desk.sound.hear(8, 50).await);
    assert!(share(&to_desk, 440.0, 8_000) > 0.6, "{}", share(&to_desk, 440.0, 8_000));
}

pub(crate) async fn is_left_empty(server: &Server) {
    server.settle().await;
    for _ in 0..200 {
        if server.voice.stats().browser_phones == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a phone is held: {:?}", server.voice.stats());
}
