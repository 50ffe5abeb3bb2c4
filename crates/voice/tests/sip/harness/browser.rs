//! A browser, as far as calls go: full ICE, DTLS and SRTP by str0m with its own session descriptions, over a socket of its
//! own; and the window beside it, in which the phone says and hears frames.
#![expect(clippy::disallowed_methods, reason = "a browser has a clock of its own")]

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use media::codec::{CodecKind, Decoder, Encoder};
use media::frame::MAX_PACKET_SAMPLES;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::{Codec, FormatParams};
use str0m::media::{Direction, Frequency, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use voice::leg::PhoneId;
use voice::ports::LineIdentity;
use voice::rtc::frame::{CallView, Down, Up};
use voice::rtc::{BrowserPhone, PhoneAccount, PhoneRights};

use super::{PATIENCE, Server};

/// A frame of audio.
const FRAME: Duration = Duration::from_millis(20);
/// The browser looks at its clock at least so often.
const TURN: Duration = Duration::from_millis(4);
const EVENTS_48000: u8 = 110;
const EVENTS_8000: u8 = 126;

/// An RTP packet that came in.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) payload_type: u8,
    pub(crate) sequence: u64,
    pub(crate) payload: Vec<u8>,
}

/// What the browser says, frame after frame.
pub(crate) enum Says {
    /// A sine of so many Hz.
    Tone(f64),
    /// This payload.
    Bytes(Vec<u8>),
}

/// A browser with one connection.
pub(crate) struct Browser {
    core: Arc<Mutex<Core>>,
    task: JoinHandle<()>,
}

struct Core {
    rtc: Rtc,
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    mid: Option<Mid>,
    pending: Option<SdpPendingOffer>,
    connected: bool,
    says: Option<Says>,
    next_frame: Instant,
    /// Packets that go out before audio does: keys.
    queue: VecDeque<(u8, bool, u32, Vec<u8>)>,
    sequence: u64,
    timestamp: u32,
    spoken: usize,
    encoder: Encoder,
    heard: Vec<Packet>,
    /// Where datagrams go.
    towards: Option<SocketAddr>,
    /// The last check that went out.
    check: Vec<u8>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Browser {
    pub(crate) async fn new() -> Self {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        let local = socket.local_addr().unwrap();
        let now = Instant::now();
        let mut config = Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, false);
        let codecs = config.codec_config();
        for (number, clock) in [(EVENTS_48000, Frequency::FORTY_EIGHT_KHZ), (EVENTS_8000, Frequency::EIGHT_KHZ)] {
            codecs.add_config(number.into(), None, Codec::Tele, clock, None, FormatParams::default());
        }
        codecs.enable_pcmu(true, false);
        codecs.enable_pcma(true, false);
        let mut rtc = config.build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp").unwrap());
        let core = Core {
            rtc,
            socket,
            local,
            mid: None,
            pending: None,
            connected: false,
            says: None,
            next_frame: now,
            queue: VecDeque::new(),
            sequence: 1_000,
            timestamp: 90_000,
            spoken: 0,
            encoder: Encoder::new(CodecKind::Opus).unwrap(),
            heard: Vec::new(),
            towards: None,
            check: Vec::new(),
        };
        let core = Arc::new(Mutex::new(core));
        let task = tokio::spawn(live(core.clone()));
        Self { core, task }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap()
    }

    /// The first offer.
    pub(crate) fn offer(&self) -> String {
        let mut core = self.core();
        let mut change = core.rtc.sdp_api();
        let mid = change.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let (offer, pending) = change.apply().unwrap();
        (core.mid, core.pending) = (Some(mid), Some(pending));
        offer.to_sdp_string()
    }

    /// An offer with an ICE restart.
    pub(crate) fn restart(&self) -> String {
        let mut core = self.core();
        let mut change = core.rtc.sdp_api();
        change.ice_restart(true);
        let (offer, pending) = change.apply().unwrap();
        core.pending = Some(pending);
        offer.to_sdp_string()
    }

    /// Takes the answer to the last offer.
    pub(crate) fn accept(&self, answer: &str) {
        let mut core = self.core();
        let pending = core.pending.take().expect("an offer");
        core.rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(answer).unwrap()).unwrap();
    }

    /// Answers an offer.
    pub(crate) fn answer(&self, offer: &str) -> String {
        let mut core = self.core();
        let answer = core.rtc.sdp_api().accept_offer(SdpOffer::from_sdp_string(offer).unwrap()).unwrap();
        answer.to_sdp_string()
    }

    /// Speaks from now on, or is silent.
    pub(crate) fn say(&self, what: Option<Says>) {
        let mut core = self.core();
        core.next_frame = Instant::now();
        core.says = what;
    }

    /// Presses a key for 100 ms: an event, its end said three times (RFC 4733).
    pub(crate) fn press(&self, code: u8) {
        let mut core = self.core();
        let timestamp = core.timestamp;
        let number = core.number(Codec::Tele);
        for (index, (frames, end)) in [(1, 0), (3, 0), (5, 0x80), (5, 0x80), (5, 0x80)].into_iter().enumerate() {
            let [high, low] = (960_u16 * frames).to_be_bytes();
            core.queue.push_back((number, index == 0, timestamp, vec![code, end | 10, high, low]));
        }
        core.timestamp = timestamp.wrapping_add(960 * 6);
    }

    /// Goes on from another address: another network.
    pub(crate) async fn wander(&self) {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        let mut core = self.core();
        let old = Candidate::host(core.local, "udp").unwrap();
        core.rtc.direct_api().invalidate_candidate(&old);
        core.local = socket.local_addr().unwrap();
        let local = core.local;
        core.rtc.add_local_candidate(Candidate::host(local, "udp").unwrap());
        core.socket = socket;
    }

    /// Its packets are numbered from here on.
    pub(crate) fn number_from(&self, sequence: u64) {
        self.core().sequence = sequence;
    }

    /// Does nothing any more, but its socket is still there; its last check.
    pub(crate) fn freeze(&self) -> Vec<u8> {
        self.task.abort();
        self.core().check.clone()
    }

    /// Sends a datagram as it is, from where the browser's come.
    pub(crate) async fn inject(&self, datagram: &[u8]) {
        let (socket, to) = {
            let core = self.core();
            (core.socket.clone(), core.towards.expect("a connection"))
        };
        socket.send_to(datagram, to).await.unwrap();
    }

    /// What has been heard since the last time.
    pub(crate) fn heard(&self) -> Vec<Packet> {
        std::mem::take(&mut self.core().heard)
    }

    /// Whether the handshake is through.
    pub(crate) fn is_connected(&self) -> bool {
        self.core().connected
    }

    /// The next so many audio packets from now on.
    pub(crate) async fn hear(&self, packets: usize) -> Vec<Packet> {
        self.heard();
        let mut all: Vec<Packet> = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while all.len() < packets {
            assert!(Instant::now() < deadline, "only {} of {packets} packets were heard", all.len());
            tokio::time::sleep(FRAME).await;
            all.extend(self.heard().into_iter().filter(|packet| !is_event(packet)));
        }
        all
    }

    /// The keys that were heard, by code: each event once.
    pub(crate) async fn keys(&self, count: usize) -> Vec<Packet> {
        let deadline = Instant::now() + PATIENCE;
        let mut ends: Vec<Packet> = Vec::new();
        while ends.len() < count * 3 {
            assert!(Instant::now() < deadline, "only {} ends of keys were heard", ends.len());
            tokio::time::sleep(FRAME).await;
            ends.extend(self.heard().into_iter().filter(|packet| is_event(packet) && packet.payload[1] & 0x80 != 0));
        }
        ends
    }
}

fn is_event(packet: &Packet) -> bool {
    packet.payload.len() == 4
}

/// What packets of a codec sound like.
pub(crate) fn decode(codec: CodecKind, packets: &[Packet]) -> Vec<i16> {
    let mut decoder = Decoder::new(codec).unwrap();
    let mut pcm = vec![0; MAX_PACKET_SAMPLES];
    let mut all = Vec::new();
    for packet in packets {
        let samples = decoder.decode(&packet.payload, &mut pcm).unwrap();
        all.extend_from_slice(&pcm[..samples]);
    }
    all
}

/// In how much of the time a sine of `hz` sounds, and nothing else. Each frame is looked at by itself: a frame that a busy
/// machine left out shifts those behind it.
pub(crate) fn share(pcm: &[i16], hz: f64, rate: u32) -> f64 {
    let frames: Vec<&[i16]> = pcm.chunks_exact(rate as usize / 50).collect();
    let tones = frames.iter().filter(|frame| purity(frame, hz, rate) > 0.8).count();
    tones as f64 / frames.len().max(1) as f64
}

/// How much of a frame is a sine of `hz`, by Goertzel's filter: 1 is all of it.
fn purity(pcm: &[i16], hz: f64, rate: u32) -> f64 {
    let coefficient = 2.0 * (hz * std::f64::consts::TAU / f64::from(rate)).cos();
    let (mut last, mut before, mut energy) = (0.0, 0.0, 0.0);
    for &sample in pcm {
        let sample = f64::from(sample);
        (last, before) = (sample + coefficient * last - before, last);
        energy += sample * sample;
    }
    let power = last * last + before * before - coefficient * last * before;
    if energy == 0.0 { 0.0 } else { 2.0 * power / (energy * pcm.len() as f64) }
}

/// 20 ms of a sine, from its sample `from` on.
pub(crate) fn sine(codec: CodecKind, hz: f64, from: usize) -> Vec<i16> {
    let rate = f64::from(codec.sample_rate());
    let sample = |index: usize| ((index as f64 * hz * std::f64::consts::TAU / rate).sin() * 12_000.0) as i16;
    (from..from + codec.frame_samples()).map(sample).collect()
}

impl Core {
    /// The number by which a codec is sent.
    fn number(&self, codec: Codec) -> u8 {
        let clock = Frequency::FORTY_EIGHT_KHZ;
        let found = self.rtc.codec_config().find(|it| it.spec().codec == codec && it.spec().clock_rate == clock);
        *found.expect("a codec").pt()
    }

    fn speak(&mut self, now: Instant) {
        if !self.connected || now < self.next_frame {
            return;
        }
        self.next_frame += FRAME;
        if let Some((number, marker, timestamp, payload)) = self.queue.pop_front() {
            return self.send(now, number, marker, timestamp, payload);
        }
        let payload = match &self.says {
            None => return,
            Some(Says::Bytes(bytes)) => bytes.clone(),
            Some(Says::Tone(hz)) => {
                let pcm = sine(CodecKind::Opus, *hz, self.spoken);
                self.spoken += pcm.len();
                let mut payload = [0; 1_500];
                let len = self.encoder.encode(&pcm, &mut payload).unwrap();
                payload[..len].to_vec()
            }
        };
        let (number, timestamp) = (self.number(Codec::Opus), self.timestamp);
        self.timestamp = timestamp.wrapping_add(960);
        self.send(now, number, false, timestamp, payload);
    }

    fn send(&mut self, now: Instant, number: u8, marker: bool, timestamp: u32, payload: Vec<u8>) {
        self.sequence += 1;
        let write = RtpWrite::new(number.into(), self.sequence.into(), timestamp, now, payload).marker(marker);
        let mid = self.mid.unwrap();
        self.rtc.direct_api().stream_tx_by_mid(mid, None).unwrap().write_rtp(write);
    }

    /// Lets time pass; the datagrams that go out.
    fn turn(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let now = Instant::now();
        self.speak(now);
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        let mut out = Vec::new();
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => return out,
                Output::Transmit(transmit) => {
                    // What goes out from an address that is no longer ours is lost.
                    if transmit.source == self.local {
                        self.towards = Some(transmit.destination);
                        if matches!(transmit.contents[..], [0, 1, ..]) {
                            self.check = transmit.contents.to_vec();
                        }
                        out.push((transmit.destination, transmit.contents.to_vec()));
                    }
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::MediaAdded(added)) => self.mid = Some(added.mid),
                Output::Event(Event::RtpPacket(packet)) => self.heard.push(Packet {
                    payload_type: *packet.header.payload_type,
                    sequence: *packet.seq_no,
                    payload: packet.payload.to_vec(),
                }),
                Output::Event(_) => {}
            }
        }
    }

    fn take(&mut self, from: SocketAddr, datagram: &[u8]) {
        let received = Receive::new(Protocol::Udp, from, self.local, datagram).unwrap();
        self.rtc.handle_input(Input::Receive(Instant::now(), received)).unwrap();
    }
}

async fn live(core: Arc<Mutex<Core>>) {
    let mut buffer = vec![0; 2_000];
    loop {
        let (socket, out) = {
            let mut core = core.lock().unwrap();
            let out = core.turn();
            (core.socket.clone(), out)
        };
        for (to, datagram) in out {
            let _ = socket.send_to(&datagram, to).await;
        }
        if let Ok(Ok((length, from))) = timeout(TURN, socket.recv_from(&mut buffer)).await {
            core.lock().unwrap().take(from, &buffer[..length]);
        }
    }
}

/// The window in which a phone is open: it says frames and is told some.
pub(crate) struct Window {
    pub(crate) phone: BrowserPhone,
    told: mpsc::Receiver<Down>,
}

/// The line of an extension's browser phones.
pub(crate) fn line(extension: &str) -> LineIdentity {
    LineIdentity {
        org: "org_1".into(),
        extension: extension.into(),
        person: Some(format!("per_{extension}").into()),
        line: "browser".into(),
    }
}

impl Window {
    /// Opens a phone of an extension, or the one that was open before; and the calls that it has.
    pub(crate) async fn open(server: &Server, extension: &str, was: Option<&PhoneId>) -> (Self, Vec<CallView>) {
        let account = PhoneAccount {
            line: line(extension),
            name: format!("P {extension}"),
            ice_servers: Vec::new(),
            rights: PhoneRights::All,
        };
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (phone, told) = server.voice.browser_phone(account, was, peer).unwrap();
        let mut window = Self { phone, told };
        let Down::Ready { phone, extension: ready, calls, .. } = window.next().await else { panic!("not ready") };
        assert_eq!((&phone, ready.as_str()), (window.phone.id(), extension));
        (window, calls)
    }

    pub(crate) async fn say(&self, frame: Up) {
        self.phone.say(frame).await;
    }

    pub(crate) async fn next(&mut self) -> Down {
        timeout(PATIENCE, self.told.recv()).await.expect("a frame").expect("a frame, not the end of them")
    }

    /// Whether the server closes it.
    pub(crate) async fn closes(&mut self) -> bool {
        timeout(PATIENCE, self.told.recv()).await.expect("an end").is_none()
    }
}
