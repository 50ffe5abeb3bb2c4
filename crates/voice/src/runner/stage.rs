//! A patch bay on a stage, for tests: a clock that is turned by hand, datagrams that are written down, phones that are played by the test.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use kernel::ids::Ids;
use media::codec::{CodecKind, Decoder, Encoder};
use media::frame::MAX_PACKET_SAMPLES;
use media::rtp::{self, Packet};
use tokio::sync::mpsc;

use super::browser::Site;
use super::identity::Identity;
use super::line::Wire;
use super::mailbox::Order;
use super::patchbay::Patchbay;
use super::recorder::Recorder;
use super::remote::{Direction, Protection, Remote, TelephoneEvents};
use crate::leg::{LegEvent, LegEvents, LegId};

/// The payload type that test phones use for `telephone-event`.
pub(super) const EVENTS: u8 = 101;

/// A datagram that went out.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) at_us: u64,
    pub(super) slot: usize,
    pub(super) to: SocketAddr,
    pub(super) is_rtcp: bool,
    pub(super) bytes: Vec<u8>,
}

impl Sent {
    /// Read as RTP.
    pub(super) fn rtp(&self) -> Packet<'_> {
        Packet::parse(&self.bytes).unwrap()
    }
}

/// Writes down what is sent.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) now_us: u64,
    pub(super) sent: Vec<Sent>,
}

impl Notes {
    fn note(&mut self, slot: usize, to: SocketAddr, is_rtcp: bool, datagram: &[u8]) {
        self.sent.push(Sent { at_us: self.now_us, slot, to, is_rtcp, bytes: datagram.to_vec() });
    }
}

impl Wire for Notes {
    fn rtp(&mut self, slot: usize, to: SocketAddr, datagram: &[u8]) {
        self.note(slot, to, rtp::is_rtcp(datagram), datagram);
    }

    fn rtcp(&mut self, slot: usize, to: SocketAddr, datagram: &[u8]) {
        self.note(slot, to, true, datagram);
    }

    fn shared(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.note(usize::MAX, to, rtp::is_rtcp(datagram), datagram);
    }
}

/// The patch bay and all around it.
pub(super) struct Stage {
    pub(super) bay: Patchbay,
    pub(super) wire: Notes,
    pub(super) recorder: Recorder,
    join: Option<JoinHandle<()>>,
    ids: Ids,
    next_key: u64,
    sink: mpsc::Sender<(LegId, LegEvent)>,
    events: mpsc::Receiver<(LegId, LegEvent)>,
}

impl Stage {
    /// With a media time-out of 30 s.
    pub(super) fn new() -> Self {
        let (recorder, join) = Recorder::start().unwrap();
        let (sink, events) = mpsc::channel(256);
        Self {
            bay: Patchbay::new(30_000_000, recorder.feed(), Site::closed()).unwrap(),
            wire: Notes::default(),
            recorder,
            join: Some(join),
            ids: Ids::seeded(7),
            next_key: 0,
            sink,
            events,
        }
    }

    /// A leg that has agreed on `codec` with a phone of its own.
    pub(super) fn leg(&mut self, codec: CodecKind) -> Phone {
        let id: LegId = Arc::from(format!("leg_{}", self.next_key));
        let events = LegEvents::new(id, Some(self.sink.clone()));
        self.leg_with(codec, events)
    }

    /// The same, with events of its own.
    pub(super) fn leg_with(&mut self, codec: CodecKind, events: LegEvents) -> Phone {
        let key = self.next_key;
        self.next_key += 1;
        let id = events.id().clone();
        let identity = Identity(self.ids.bytes());
        self.bay.add(self.wire.now_us, key, events, identity);
        let slot = self.bay.slot(key).unwrap();
        let phone = Phone::new(slot, id, codec);
        self.order(&phone, Order::Remote(Box::new(phone.remote.clone())));
        phone
    }

    /// Where the events of anything can go.
    pub(super) fn sink(&self) -> mpsc::Sender<(LegId, LegEvent)> {
        self.sink.clone()
    }

    /// The key of a phone's leg: legs were made in the order of their slots.
    pub(super) fn key(&self, phone: &Phone) -> u64 {
        self.bay.key(phone.slot).unwrap()
    }

    /// Tells a leg something.
    pub(super) fn order(&mut self, phone: &Phone, order: Order) {
        self.bay.carry_out(self.wire.now_us, phone.slot, order);
    }

    /// A phone's datagram comes in.
    pub(super) fn deliver(&mut self, slot: usize, from: SocketAddr, datagram: &[u8]) {
        let mut buffer = [0; 2_048];
        buffer[..datagram.len()].copy_from_slice(datagram);
        let (now_us, len) = (self.wire.now_us, datagram.len());
        self.bay.receive(now_us, slot, from, &mut buffer, len, &mut self.wire);
    }

    /// Lets time pass up to `ms` milliseconds from now, doing what is due at its very microsecond.
    pub(super) fn pass(&mut self, ms: u64) {
        let end_us = self.wire.now_us + ms * 1_000;
        while let Some(due_us) = self.bay.due_us().filter(|&due| due <= end_us) {
            self.wire.now_us = self.wire.now_us.max(due_us);
            self.bay.advance(self.wire.now_us, 0, &mut self.wire);
        }
        self.wire.now_us = end_us;
    }

    /// The phone talks for `frames` frames of 20 ms; `pcm` says what, by sample number.
    pub(super) fn talk(&mut self, phone: &mut Phone, frames: usize, pcm: impl Fn(usize) -> i16) {
        for _ in 0..frames {
            self.say(phone, &pcm);
            self.pass(20);
        }
    }

    /// The phone sends one frame.
    pub(super) fn say(&mut self, phone: &mut Phone, pcm: impl Fn(usize) -> i16) {
        let datagram = phone.frame(pcm);
        self.deliver(phone.slot, phone.address, &datagram);
    }

    /// The RTP packets that a phone was sent, in order; forgets them.
    pub(super) fn heard_by(&mut self, phone: &Phone) -> Vec<Sent> {
        let (mine, others) = std::mem::take(&mut self.wire.sent)
            .into_iter()
            .partition(|sent: &Sent| sent.slot == phone.slot && !sent.is_rtcp);
        self.wire.sent = others;
        mine
    }

    /// The events told so far.
    pub(super) fn told(&mut self) -> Vec<(LegId, LegEvent)> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    /// Waits for the recorder's word; fails the test when none comes within 10 s.
    pub(super) fn wait_told(&mut self) -> LegEvent {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let wait = std::time::Duration::from_secs(10);
        runtime.block_on(async { tokio::time::timeout(wait, self.events.recv()).await }).unwrap().unwrap().1
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.recorder.stop();
        if let Some(join) = self.join.take() {
            join.join().unwrap();
        }
    }
}

/// The other side of a leg.
pub(super) struct Phone {
    pub(super) slot: usize,
    pub(super) id: LegId,
    pub(super) address: SocketAddr,
    pub(super) remote: Remote,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    encoder: Encoder,
    spoken: usize,
}

impl Phone {
    fn new(slot: usize, id: LegId, codec: CodecKind) -> Self {
        let address = SocketAddr::from(([192, 0, 2, 1], 4_000 + 2 * slot as u16));
        let remote = Remote {
            rtp: address,
            signalling: None,
            rtcp: None,
            rtcp_mux: false,
            codec,
            payload_in: codec.payload_type(),
            payload_out: codec.payload_type(),
            events: Some(TelephoneEvents { payload_in: EVENTS, payload_out: EVENTS, clock_rate: codec.clock_rate() }),
            direction: Direction::SendRecv,
            protection: Protection::None,
        };
        Self {
            slot,
            id,
            address,
            remote,
            sequence: 1_000 * (slot as u16 + 1),
            timestamp: 50_000 * (slot as u32 + 1),
            ssrc: 0xaa00 + slot as u32,
            encoder: Encoder::new(codec).unwrap(),
            spoken: 0,
        }
    }

    /// Speaks another codec from now on.
    pub(super) fn change(&mut self, codec: CodecKind) {
        self.encoder = Encoder::new(codec).unwrap();
        self.remote.codec = codec;
        (self.remote.payload_in, self.remote.payload_out) = (codec.payload_type(), codec.payload_type());
    }

    /// The next packet of a talking phone.
    pub(super) fn frame(&mut self, pcm: impl Fn(usize) -> i16) -> Vec<u8> {
        let samples = self.remote.codec.frame_samples();
        let pcm: Vec<i16> = (self.spoken..self.spoken + samples).map(pcm).collect();
        self.spoken += samples;
        let mut payload = [0; 1_500];
        let len = self.encoder.encode(&pcm, &mut payload).unwrap();
        let payload_type = self.remote.payload_in;
        let datagram = self.packet(false, payload_type, self.timestamp, &payload[..len]);
        self.timestamp = self.timestamp.wrapping_add(self.remote.codec.frame_ticks());
        datagram
    }

    /// A packet with the phone's next sequence number.
    pub(super) fn packet(&mut self, marker: bool, payload_type: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0; 12 + payload.len()];
        let packet = Packet { marker, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc, payload };
        packet.write(&mut datagram).unwrap();
        self.sequence = self.sequence.wrapping_add(1);
        datagram
    }

    /// The packets of one key press of 100 ms, its end said three times (RFC 4733, section 2.5.1.4).
    pub(super) fn key(&mut self, code: u8) -> Vec<Vec<u8>> {
        let ticks = self.remote.codec.frame_ticks() as u16;
        let timestamp = self.timestamp;
        let steps = [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0x80), (5, 0x80), (5, 0x80)];
        let packets = steps
            .iter()
            .enumerate()
            .map(|(index, (frames, end))| {
                let [high, low] = (ticks * frames).to_be_bytes();
                self.packet(index == 0, EVENTS, timestamp, &[code, end | 10, high, low])
            })
            .collect();
        self.timestamp = timestamp.wrapping_add(u32::from(ticks) * 7);
        packets
    }

    /// What packets of the leg's codec sound like, gaps left out.
    pub(super) fn decode(&self, sent: &[Sent]) -> Vec<i16> {
        let mut decoder = Decoder::new(self.remote.codec).unwrap();
        let mut pcm = vec![0; MAX_PACKET_SAMPLES];
        let mut all = Vec::new();
        for sent in sent {
            let packet = sent.rtp();
            if packet.payload_type == self.remote.payload_out {
                let samples = decoder.decode(packet.payload, &mut pcm).unwrap();
                all.extend_from_slice(&pcm[..samples]);
            }
        }
        all
    }
}

/// A sine of `hz` at `rate`, half of full scale.
pub(super) fn sine(hz: f64, rate: u32) -> impl Fn(usize) -> i16 {
    move |sample| {
        let phase = sample as f64 * hz * std::f64::consts::TAU / f64::from(rate);
        (phase.sin() * 16_000.0) as i16
    }
}

/// How much of the sound is a sine of `hz`, by Goertzel's filter: 1 is all of it.
pub(super) fn share(pcm: &[i16], hz: f64, rate: u32) -> f64 {
    let coefficient = 2.0 * (hz * std::f64::consts::TAU / f64::from(rate)).cos();
    let (mut last, mut before, mut energy) = (0.0, 0.0, 0.0);
    for &sample in pcm {
        let sample = f64::from(sample);
        (last, before) = (sample + coefficient * last - before, last);
        energy += sample * sample;
    }
    let power = last * last + before * before - coefficient * last * before;
    if energy == 0.0 {
        return 0.0;
    }
    2.0 * power / (energy * pcm.len() as f64)
}

/// Silence.
pub(super) fn quiet(_: usize) -> i16 {
    0
}

/// Two phones that are bridged.
pub(super) fn bridged(one: CodecKind, other: CodecKind) -> (Stage, Phone, Phone) {
    let mut stage = Stage::new();
    let (one, other) = (stage.leg(one), stage.leg(other));
    stage.bay.bridge(0, one.slot, other.slot);
    (stage, one, other)
}

/// One stream: one SSRC, no hole in the numbers, and the audio's time follows the clock.
pub(super) fn assert_continuous(sent: &[Sent], clock_rate: u32) {
    let ssrcs: HashSet<u32> = sent.iter().map(|sent| sent.rtp().ssrc).collect();
    assert_eq!(ssrcs.len(), 1);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].rtp().sequence, pair[0].rtp().sequence.wrapping_add(1));
    }
    let audio: Vec<&Sent> = sent.iter().filter(|sent| sent.rtp().payload_type != EVENTS).collect();
    for pair in audio.windows(2) {
        let (before, after) = (pair[0].rtp(), pair[1].rtp());
        let ticks = i64::from(after.timestamp.wrapping_sub(before.timestamp).cast_signed());
        let real = (pair[1].at_us - pair[0].at_us) as i64 * i64::from(clock_rate) / 1_000_000;
        let frame = i64::from(clock_rate / 50);
        assert!((ticks - real).abs() <= 2 * frame, "{ticks} ticks for {real}");
    }
}
