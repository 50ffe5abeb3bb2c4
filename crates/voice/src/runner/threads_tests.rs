//! The media threads on loopback: real sockets, so counts and order are asserted, not times.
#![expect(clippy::disallowed_methods, reason = "real sockets are waited for in real time")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use kernel::ids::Ids;
use media::codec::CodecKind;
use media::play::Sound;
use media::rtp::Packet;
use tokio::sync::mpsc;

use super::remote::{Direction, Protection, Remote, TelephoneEvents};
use super::{MediaConfig, MediaLeg, MediaStats, MediaThreads, Part};
use crate::leg::{LegEvent, LegEvents, LegId, PlayMode, Playable, RecordCommand};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(10);

/// Threads on a range of ports that no other test uses.
fn threads(count: usize, first_port: u16) -> MediaThreads {
    let config = MediaConfig {
        threads: count,
        rtp_ports: (first_port, first_port + 39),
        rtc: Vec::new(),
        media_timeout_ms: 30_000,
    };
    MediaThreads::start(&config, Ids::seeded(3)).unwrap()
}

struct Party {
    leg: MediaLeg,
    socket: UdpSocket,
    to: SocketAddr,
    sequence: u16,
    events: mpsc::Receiver<(LegId, LegEvent)>,
}

impl Party {
    fn new(threads: &MediaThreads, near: Option<&MediaLeg>) -> Self {
        let (sink, events) = mpsc::channel(64);
        let leg = threads.leg(LegEvents::new("leg_1".into(), Some(sink)), near);
        let to = leg.open(LOOPBACK).unwrap();
        let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        leg.set_remote(Remote {
            rtp: socket.local_addr().unwrap(),
            signalling: None,
            rtcp: None,
            rtcp_mux: false,
            codec: CodecKind::Pcmu,
            payload_in: 0,
            payload_out: 0,
            events: Some(TelephoneEvents { payload_in: 101, payload_out: 101, clock_rate: 8_000 }),
            direction: Direction::SendRecv,
            protection: Protection::None,
        });
        Self { leg, socket, to, sequence: 0, events }
    }

    /// Sends one packet whose payload carries its number.
    fn send(&mut self) {
        let mut payload = [0xff; 160];
        payload[..2].copy_from_slice(&self.sequence.to_be_bytes());
        let packet = Packet {
            marker: false,
            payload_type: 0,
            sequence: self.sequence,
            timestamp: u32::from(self.sequence) * 160,
            ssrc: 77,
            payload: &payload,
        };
        let mut datagram = [0; 172];
        packet.write(&mut datagram).unwrap();
        self.socket.send_to(&datagram, self.to).unwrap();
        self.sequence += 1;
    }

    /// Presses and releases a key: the end of the event, said three times (RFC 4733, section 2.5.1.4).
    fn press(&mut self, code: u8) {
        let timestamp = u32::from(self.sequence) * 160;
        for _ in 0..3 {
            let payload = &[code, 0x80 | 10, 3, 32];
            let sequence = self.sequence;
            let packet = Packet { marker: false, payload_type: 101, sequence, timestamp, ssrc: 77, payload };
            let mut datagram = [0; 16];
            packet.write(&mut datagram).unwrap();
            self.socket.send_to(&datagram, self.to).unwrap();
            self.sequence += 1;
        }
    }

    /// The number in the next relayed packet that comes within `patience`; comfort frames carry none.
    fn receive_within(&self, patience: Duration) -> Option<u16> {
        let mut datagram = [0; 400];
        let deadline = std::time::Instant::now() + patience;
        loop {
            let left = deadline.checked_duration_since(std::time::Instant::now())?;
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
            let len = self.socket.recv(&mut datagram).ok()?;
            let packet = Packet::parse(&datagram[..len]).unwrap();
            if packet.payload[2..4] == [0xff; 2] && packet.payload[..2] != [0xff; 2] {
                return Some(u16::from_be_bytes([packet.payload[0], packet.payload[1]]));
            }
        }
    }

    /// Whether something other than comfort is among what has come.
    fn hears_a_mix(&self) -> bool {
        self.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut datagram = [0; 400];
        let mut heard = false;
        for _ in 0..20 {
            let Ok(len) = self.socket.recv(&mut datagram) else { break };
            let packet = Packet::parse(&datagram[..len]).unwrap();
            heard |= packet.payload.iter().any(|byte| *byte != 0xff);
        }
        heard
    }

    /// The same, patiently.
    fn receive(&self) -> u16 {
        self.receive_within(PATIENCE).unwrap()
    }
}

/// Sends until the other one hears: the bridge stands, and nothing is under way on it. On a busy machine a packet may
/// come after the next was sent; from the first that comes on, all come.
fn meet(from: &mut Party, to: &Party) {
    for _ in 0..500 {
        from.send();
        if let Some(mut heard) = to.receive_within(Duration::from_millis(20)) {
            while heard + 1 != from.sequence {
                heard = to.receive();
            }
            return;
        }
    }
    panic!("no bridge came about");
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not come about");
}

#[test]
fn a_bridge_loses_none_of_5000_packets_and_keeps_their_order() {
    let threads = threads(1, 21_000);
    let (mut alice, bob) = (Party::new(&threads, None), Party::new(&threads, None));
    alice.leg.bridge(&bob.leg);
    meet(&mut alice, &bob);
    for _ in 0..5_000 {
        alice.send();
        assert_eq!(bob.receive(), alice.sequence - 1);
    }
}

#[test]
fn keys_are_heard_while_nothing_plays_and_after_every_pause() {
    let threads = threads(1, 21_320);
    let mut alice = Party::new(&threads, None);
    for code in 0..6_u8 {
        alice.press(code);
        let (_, event) = alice.events.blocking_recv().unwrap();
        assert!(
            matches!(event, LegEvent::Dtmf { symbol, .. } if symbol == char::from(b'0' + code)),
            "{code}: {event:?}"
        );
        // The thread looks a few times more, then sleeps until it is woken; keys come in either state.
        std::thread::sleep(Duration::from_millis(u64::from(code) * 12));
    }
    assert!(alice.events.try_recv().is_err(), "one event a key");
}

#[test]
fn bursts_are_relayed_whole() {
    let threads = threads(1, 21_040);
    let (mut alice, bob) = (Party::new(&threads, None), Party::new(&threads, None));
    alice.leg.bridge(&bob.leg);
    meet(&mut alice, &bob);
    for _ in 0..10 {
        let first = alice.sequence;
        (0..100).for_each(|_| alice.send());
        for index in 0..100 {
            assert_eq!(bob.receive(), first + index);
        }
    }
}

#[test]
fn a_leg_moves_to_its_peers_thread_and_orders_follow_it() {
    let threads = threads(2, 21_080);
    for round in 0..20_u64 {
        let (mut alice, mut bob) = (Party::new(&threads, None), Party::new(&threads, None));
        let mut carol = Party::new(&threads, None);
        // Alice and Carol share a thread, or Bob and Carol do; each bridge but one moves a leg.
        alice.leg.bridge(&bob.leg);
        bob.leg.play(round, Playable::Beep, PlayMode::ONCE);
        bob.leg.stop_play();
        meet(&mut alice, &bob);
        carol.leg.bridge(&alice.leg);
        carol.leg.bridge(&bob.leg);
        meet(&mut bob, &carol);
        meet(&mut carol, &bob);
        alice.send();
        assert_eq!(bob.receive_within(Duration::from_millis(20)), None, "they are parted");
        alice.leg.close();
        bob.leg.close();
        carol.leg.close();
    }
    wait_until("the end of all legs", || threads.stats() == MediaStats::default());
}

#[test]
fn legs_of_all_threads_come_to_a_room_and_leave_nothing_behind() {
    let threads = threads(2, 21_360);
    for round in 0..10 {
        let room = threads.room(&format!("org_{round}"));
        let (sink, mut events) = mpsc::channel(8);
        let told = LegEvents::new("leg_1".into(), Some(sink));
        let mut parties: Vec<Party> = (0..4).map(|_| Party::new(&threads, None)).collect();
        parties.iter().for_each(|party| party.leg.join_room(&room, Part::Speaker));
        parties[1].leg.join_room(&room, Part::Listener);
        parties[2].leg.play(1, Playable::Beep, PlayMode::ONCE);
        parties[2].leg.stop_play();
        wait_until("all of them in the room", || {
            // Who is heard by all others is there, and so is everybody who hears it.
            (0..5).for_each(|_| parties[0].send());
            parties[1..].iter().all(Party::hears_a_mix)
        });
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("room.wav");
        room.record(RecordCommand::Start { id: "rec_1".into(), path, rate: 8_000 }, told);
        match round % 3 {
            0 => parties.iter().for_each(|party| party.leg.leave_room()),
            1 => parties.iter().for_each(|party| party.leg.close()),
            _ => parties.clear(),
        }
        drop(room);
        let (_, told) = events.blocking_recv().unwrap();
        assert!(matches!(told, LegEvent::RecordingReady { .. }), "{told:?}");
        assert!(events.blocking_recv().is_none(), "the room is gone");
        parties.clear();
        wait_until("the end of all legs", || threads.stats() == MediaStats::default());
    }
}

#[test]
fn ports_return_when_legs_end_in_whatever_way() {
    let threads = threads(2, 21_120);
    assert_eq!(threads.port_pairs(), 20);
    for round in 0..10 {
        let mut parties: Vec<Party> = (0..20).map(|_| Party::new(&threads, None)).collect();
        assert_eq!((threads.stats().legs, threads.stats().ports_in_use), (20, 20));
        let (sink, _events) = mpsc::channel(1);
        let one_more = threads.leg(LegEvents::new("leg_1".into(), Some(sink)), None);
        assert!(one_more.open(LOOPBACK).is_err(), "the range is exhausted");
        drop(one_more);
        for pair in parties.chunks(2) {
            pair[0].leg.bridge(&pair[1].leg);
        }
        if round % 2 == 0 {
            parties.iter().for_each(|party| party.leg.close());
        }
        parties.clear();
        wait_until("the return of all ports", || threads.stats() == MediaStats::default());
    }
}

#[test]
fn ports_that_another_process_holds_are_passed_over() {
    let threads = threads(1, 21_280);
    // All pairs but one lack a port, RTP's or RTCP's.
    let ports = (21_280..21_320).step_by(2).filter(|port| *port != 21_300).map(|port| port + u16::from(port % 4 == 0));
    let held: Vec<UdpSocket> = ports.map(|port| UdpSocket::bind((LOOPBACK, port)).unwrap()).collect();
    let party = Party::new(&threads, None);
    assert_eq!(party.to.port(), 21_300);
    assert_eq!(threads.stats().ports_in_use, 1, "what could not be bound is not lent");
    drop(held);
}

#[test]
fn a_sound_reaches_the_socket_and_its_end_the_call() {
    let threads = threads(1, 21_160);
    let mut alice = Party::new(&threads, None);
    let sound = Sound { rate: 8_000, pcm: Arc::from([1_000; 1_600]) };
    alice.leg.play(5, Playable::Sound(sound), PlayMode::ONCE);
    let mut frames = 0;
    while frames < 10 {
        let mut datagram = [0; 400];
        let len = alice.socket.recv(&mut datagram).unwrap();
        let packet = Packet::parse(&datagram[..len]).unwrap();
        frames += usize::from(packet.payload[0] != 0xff);
    }
    let (_, told) = alice.events.blocking_recv().unwrap();
    assert!(matches!(told, LegEvent::PlayEnded { play: 5 }));
}

#[test]
fn garbage_on_every_port_disturbs_nobody() {
    let threads = threads(1, 21_200);
    let (mut alice, bob) = (Party::new(&threads, None), Party::new(&threads, None));
    alice.leg.bridge(&bob.leg);
    meet(&mut alice, &bob);
    let stranger = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    for index in 0..2_000_u32 {
        let garbage: Vec<u8> = (0..index % 300).map(|at| (at * 31 + index * 7) as u8).collect();
        let port = alice.to.port() + (index % 2) as u16;
        let _ = stranger.send_to(&garbage, (LOOPBACK, port));
        if index % 20 == 0 {
            let _ = alice.socket.send_to(&garbage, (LOOPBACK, alice.to.port() + 1));
        }
        if index % 100 == 0 {
            // What does not fit the socket's buffer is dropped by the kernel, garbage or not.
            meet(&mut alice, &bob);
        }
    }
    meet(&mut alice, &bob);
    while bob.receive_within(Duration::from_millis(100)).is_some() {}
    for _ in 0..50 {
        alice.send();
        assert_eq!(bob.receive(), alice.sequence - 1);
    }
}

#[test]
fn a_recording_is_whole_while_it_is_being_written() {
    let threads = threads(1, 21_240);
    let alice = Party::new(&threads, None);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("call.wav");
    alice.leg.record(RecordCommand::Start { id: "rec_1".into(), path: path.clone(), rate: 8_000 });
    wait_until("a second of recording", || {
        hound::WavReader::open(&path).is_ok_and(|reader| reader.duration() >= 8_000)
    });
    let samples = hound::WavReader::open(&path).unwrap().into_samples::<i16>();
    assert!(samples.map(Result::unwrap).count() >= 16_000);
    assert_eq!(threads.stats().recordings, 1);
    // The threads complete it even when they are stopped in the middle.
    let mut events = alice.events;
    threads.stop();
    let told: Vec<LegEvent> = std::iter::from_fn(|| events.try_recv().ok()).map(|(_, event)| event).collect();
    assert!(matches!(told[..], [LegEvent::RecordingReady { .. }]), "{told:?}");
    assert_eq!(threads.stats(), MediaStats::default());
}
