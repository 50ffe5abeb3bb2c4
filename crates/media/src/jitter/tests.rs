//! A sender, a network and a listener in simulated time: hours in milliseconds.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const TICK_US: u64 = FRAME_US;

/// A repeatable generator of randomness.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}

/// Packets on their way, by time of arrival.
#[derive(Default)]
struct Network {
    flying: BTreeMap<(u64, u64), Sent>,
    count: u64,
}

#[derive(Clone)]
struct Sent {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    /// What the payload says, so that the listener can tell the packets apart.
    number: u32,
    is_event: bool,
}

impl Network {
    fn deliver_at(&mut self, at_us: u64, sent: Sent) {
        self.count += 1;
        self.flying.insert((at_us, self.count), sent);
    }
}

/// What the listener heard in one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Number(u32),
    Lost { next_known: bool },
    Nothing,
}

struct Listener {
    buffer: JitterBuffer,
    heard: Vec<Heard>,
    /// Delay of each packet played, from when it was sent, in microseconds.
    delays_us: Vec<u64>,
    packet_us: u64,
}

impl Listener {
    fn new(packet_us: u64) -> Self {
        Self { buffer: JitterBuffer::new(CodecKind::Pcmu), heard: Vec::new(), delays_us: Vec::new(), packet_us }
    }

    /// Runs the network until `end_us`; the listener wants 20 ms of audio each tick.
    fn listen(&mut self, network: &mut Network, start_us: u64, end_us: u64) {
        let mut audio_us = 0;
        for now_us in (start_us..end_us).step_by(TICK_US as usize) {
            while let Some(entry) = network.flying.first_entry().filter(|entry| entry.key().0 <= now_us) {
                let arrived_us = entry.key().0;
                let sent = entry.remove();
                let payload = sent.number.to_be_bytes();
                let packet = Packet {
                    marker: false,
                    payload_type: 0,
                    sequence: sent.sequence,
                    timestamp: sent.timestamp,
                    ssrc: sent.ssrc,
                    payload: &payload,
                };
                match sent.is_event {
                    true => self.buffer.leave_out(arrived_us, &packet),
                    false => self.buffer.push(arrived_us, &packet),
                }
            }
            while audio_us < TICK_US {
                match self.buffer.pop(now_us) {
                    Popped::Packet { payload, .. } => {
                        let number = u32::from_be_bytes(payload.try_into().unwrap());
                        self.heard.push(Heard::Number(number));
                        self.delays_us.push(now_us.saturating_sub(u64::from(number) * self.packet_us));
                        audio_us += self.packet_us;
                    }
                    Popped::Lost { next } => {
                        self.heard.push(Heard::Lost { next_known: next.is_some() });
                        audio_us += TICK_US;
                    }
                    Popped::Empty => {
                        self.heard.push(Heard::Nothing);
                        audio_us += TICK_US;
                    }
                }
            }
            audio_us -= TICK_US;
        }
    }

    fn numbers(&self) -> Vec<u32> {
        self.heard
            .iter()
            .filter_map(|heard| if let Heard::Number(number) = heard { Some(*number) } else { None })
            .collect()
    }

    /// All packets were played in order.
    fn assert_whole(&self, packets: u32) {
        let numbers = self.numbers();
        let wrong = numbers.iter().zip(0..).find(|(number, expected)| **number != *expected);
        assert!(
            wrong.is_none() && numbers.len() == packets as usize,
            "{wrong:?} of {}, {:?}",
            numbers.len(),
            self.buffer.stats()
        );
    }

    fn count(&self, wanted: impl Fn(&Heard) -> bool) -> usize {
        self.heard.iter().filter(|heard| wanted(heard)).count()
    }
}

/// Sends `packets` packets of `packet_us`, each delayed as `delay_us` says (None = lost).
fn stream(packets: u32, packet_us: u64, first_sequence: u16, mut delay_us: impl FnMut(u32) -> Option<u64>) -> Network {
    let mut network = Network::default();
    for number in 0..packets {
        let sent_us = u64::from(number) * packet_us;
        if let Some(delay_us) = delay_us(number) {
            let sequence = first_sequence.wrapping_add(number as u16);
            let timestamp = (sent_us * 8 / 1_000) as u32;
            network.deliver_at(sent_us + delay_us, Sent { sequence, timestamp, ssrc: 1, number, is_event: false });
        }
    }
    network
}

fn run(packets: u32, packet_us: u64, delay_us: impl FnMut(u32) -> Option<u64>) -> Listener {
    let mut network = stream(packets, packet_us, 65_500, delay_us);
    let mut listener = Listener::new(packet_us);
    listener.listen(&mut network, 0, u64::from(packets) * packet_us + 1_000_000);
    listener
}

#[test]
fn an_even_stream_of_an_hour_is_played_whole_with_the_starting_delay() {
    let listener = run(180_000, 20_000, |_| Some(30_000));
    listener.assert_whole(180_000);
    let stats = listener.buffer.stats();
    assert_eq!((stats.lost, stats.late, stats.discarded), (0, 0, 0));
    let longest = listener.delays_us.iter().max().unwrap();
    assert!(*longest <= 30_000 + START_DELAY_US + TICK_US, "{longest}");
}

#[test]
fn packets_of_any_length_come_out_whole() {
    for packet_us in [10_000, 20_000, 30_000, 40_000, 60_000] {
        let listener = run(3_000, packet_us, |_| Some(10_000));
        listener.assert_whole(3_000);
    }
}

#[test]
fn reordering_within_the_delay_is_put_right() {
    let listener = run(10_000, 20_000, |number| Some(if number % 7 == 3 { 45_000 } else { 10_000 }));
    let numbers = listener.numbers();
    assert!(numbers.is_sorted());
    let missing = 10_000 - numbers.len();
    assert!(missing <= 2, "{missing} missing: the first late ones teach the delay");
}

#[test]
fn each_loss_is_one_concealed_frame_and_nothing_shifts() {
    let listener = run(5_000, 20_000, |number| (number % 10 != 5).then_some(10_000));
    assert_eq!(listener.numbers().len(), 4_500);
    assert_eq!(
        listener.count(|heard| *heard == Heard::Lost { next_known: true }),
        500,
        "the packet behind the hole is known"
    );
    assert_eq!(listener.buffer.stats().lost, 500);
    let (first, last) = (listener.delays_us[0], *listener.delays_us.last().unwrap());
    assert!(first.abs_diff(last) <= TICK_US, "the delay has not crept: {first} {last}");
}

#[test]
fn a_hole_of_several_packets_is_concealed_frame_by_frame() {
    for (packet_us, frames) in [(20_000, 3), (10_000, 2), (60_000, 9)] {
        let listener = run(100, packet_us, |number| (!(50..53).contains(&number)).then_some(5_000));
        let concealed = listener.count(|heard| matches!(heard, Heard::Lost { .. }));
        // What was found missing while waiting counts as concealed, too.
        let before_end = listener.heard.iter().position(|heard| *heard == Heard::Number(99)).unwrap();
        let start = listener.heard.iter().position(|heard| *heard == Heard::Number(0)).unwrap();
        let waited = listener.heard[start..before_end].iter().filter(|heard| **heard == Heard::Nothing).count();
        assert!((concealed + waited).abs_diff(frames) <= 1, "{packet_us}: {concealed} + {waited}");
        assert_eq!(listener.numbers().len(), 97);
    }
}

#[test]
fn jitter_up_to_the_limit_is_learned_and_then_harmless() {
    for spread_us in [20_000, 60_000, 120_000] {
        let mut dice = Dice(11);
        let listener = run(30_000, 20_000, |_| Some(20_000 + dice.below(spread_us)));
        let numbers = listener.numbers();
        assert!(numbers.is_sorted());
        // The first minute is for learning.
        let later = numbers.iter().filter(|number| **number >= 3_000).count();
        let missing = 27_000 - later;
        assert!(missing * 1_000 <= 27_000 * 3, "{spread_us}: {missing} of 27000 missing");
        let longest = listener.delays_us[3_000..].iter().max().unwrap();
        assert!(*longest <= 20_000 + spread_us + 120_000, "{spread_us}: {longest}");
    }
}

#[test]
fn the_delay_of_a_burst_goes_away_again() {
    // Half a second of network silence, then everything at once.
    let listener = run(3_000, 20_000, |number| {
        let sent_us = u64::from(number) * 20_000;
        let held = (10_000_000..10_500_000).contains(&sent_us);
        Some(if held { 10_500_000 - sent_us } else { 0 } + 10_000)
    });
    let in_the_end = *listener.delays_us.last().unwrap();
    assert!(in_the_end <= 100_000, "{in_the_end}");
    let discarded = listener.buffer.stats().discarded;
    assert!((1..=30).contains(&discarded), "{discarded}");
    assert!(listener.numbers().is_sorted());
}

#[test]
fn a_clock_that_drifts_neither_starves_nor_floods() {
    for (name, sender_us) in [("fast", 19_990), ("slow", 20_010)] {
        // Packets of 20 ms, sent every `sender_us`: 500 ppm off, for an hour.
        let mut network = Network::default();
        for number in 0..180_000_u32 {
            let sent = Sent { sequence: number as u16, timestamp: number * 160, ssrc: 1, number, is_event: false };
            network.deliver_at(u64::from(number) * sender_us, sent);
        }
        let mut listener = Listener::new(sender_us);
        listener.listen(&mut network, 0, 3_600_000_000);
        let longest = listener.delays_us.iter().max().unwrap();
        assert!(*longest < 150_000, "{name}: {longest}");
        let stats = listener.buffer.stats();
        // 500 ppm of an hour are 90 packets.
        assert!(stats.discarded + stats.lost < 150, "{name}: {stats:?}");
        assert!(listener.numbers().len() > 179_000, "{name}");
        let gaps = listener.count(|heard| *heard == Heard::Nothing);
        assert!(gaps < 200, "{name}: {gaps}");
    }
}

#[test]
fn duplicates_are_played_once() {
    let mut network = stream(1_000, 20_000, 0, |_| Some(0));
    for (key, sent) in network.flying.clone() {
        network.deliver_at(key.0 + 5_000, sent.clone());
        network.deliver_at(key.0 + 90_000, sent);
    }
    let mut listener = Listener::new(20_000);
    listener.listen(&mut network, 0, 21_000_000);
    listener.assert_whole(1_000);
    assert_eq!(listener.buffer.stats().duplicate, 2_000);
}

#[test]
fn silence_between_talk_spurts_is_silence() {
    let mut network = Network::default();
    // One second of talk, two of silence: the sequence goes on, the timestamp jumps.
    for number in 0..500_u32 {
        let spurt = u64::from(number / 50);
        let sent_us = spurt * 3_000_000 + u64::from(number % 50) * 20_000;
        let sent =
            Sent { sequence: number as u16, timestamp: (sent_us / 125) as u32, ssrc: 1, number, is_event: false };
        network.deliver_at(sent_us + 1_000, sent);
    }
    let mut listener = Listener::new(20_000);
    listener.listen(&mut network, 0, 31_000_000);
    listener.assert_whole(500);
    assert_eq!(listener.buffer.stats().lost, 0);
    assert_eq!(listener.buffer.target_us(), START_DELAY_US, "silence is no lateness");
}

#[test]
fn events_between_audio_are_no_losses() {
    let mut network = Network::default();
    for number in 0..1_000_u32 {
        let is_event = number % 100 < 8;
        let sent = Sent { sequence: number as u16, timestamp: number * 160, ssrc: 1, number, is_event };
        network.deliver_at(u64::from(number) * 20_000, sent);
    }
    let mut listener = Listener::new(20_000);
    listener.listen(&mut network, 0, 21_000_000);
    assert_eq!(listener.numbers().len(), 920);
    assert_eq!(listener.buffer.stats().lost, 0);
    assert_eq!(listener.count(|heard| matches!(heard, Heard::Lost { .. })), 0);
}

#[test]
fn a_new_source_and_a_restarted_one_are_followed_at_once() {
    for (name, ssrc, sequence) in
        [("new ssrc", 2, 5_000), ("same ssrc, far ahead", 1, 30_000), ("same ssrc, far behind", 1, 40_000)]
    {
        let mut network = stream(100, 20_000, 50_000, |_| Some(0));
        for number in 100..200_u32 {
            let sequence = (number as u16 - 100).wrapping_add(sequence);
            let sent = Sent {
                sequence,
                timestamp: number.wrapping_mul(160).wrapping_add(777_777),
                ssrc,
                number,
                is_event: false,
            };
            network.deliver_at(u64::from(number) * 20_000, sent);
        }
        let mut listener = Listener::new(20_000);
        listener.listen(&mut network, 0, 5_000_000);
        let numbers = listener.numbers();
        let second = numbers.iter().filter(|number| **number >= 100).count();
        assert!(second >= 99, "{name}: {second}");
        assert!(numbers.is_sorted(), "{name}");
    }
}

#[test]
fn a_jump_of_the_timestamp_alone_changes_nothing() {
    let mut network = Network::default();
    for number in 0..1_000_u32 {
        let timestamp = number * 160 + if number >= 500 { 1_000_000_000 } else { 0 };
        network.deliver_at(
            u64::from(number) * 20_000,
            Sent { sequence: number as u16, timestamp, ssrc: 1, number, is_event: false },
        );
    }
    let mut listener = Listener::new(20_000);
    listener.listen(&mut network, 0, 21_000_000);
    listener.assert_whole(1_000);
}

#[test]
fn a_listener_that_sleeps_finds_the_newest_packets_only() {
    let mut network = stream(500, 20_000, 0, |_| Some(0));
    let mut listener = Listener::new(20_000);
    listener.listen(&mut network, 0, 1_000_000);
    // Four seconds without a pop, then on.
    listener.listen(&mut network, 5_000_000, 10_500_000);
    let numbers = listener.numbers();
    assert!(numbers.is_sorted());
    let first_after = numbers.iter().find(|number| **number >= 60).unwrap();
    assert!(*first_after >= 250 - u32::from(SLOTS), "{first_after}");
    assert_eq!(numbers.last(), Some(&499));
}

#[test]
fn a_payload_too_long_or_empty_is_left_out_without_a_hole() {
    let mut buffer = JitterBuffer::new(CodecKind::Pcmu);
    let long = [0; 2_000];
    for (sequence, payload) in [(1, &[1, 2][..]), (2, &[]), (3, &long[..]), (4, &[3])] {
        let packet =
            Packet { marker: false, payload_type: 0, sequence, timestamp: u32::from(sequence) * 160, ssrc: 1, payload };
        buffer.push(0, &packet);
    }
    let mut played = Vec::new();
    for now_us in (40_000..200_000).step_by(20_000) {
        if let Popped::Packet { payload, .. } = buffer.pop(now_us) {
            played.push(payload.to_vec());
        }
    }
    assert_eq!(played, [vec![1, 2], vec![3]]);
    assert_eq!(buffer.stats().lost, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the network does: order, no repetition, no runaway delay, and no loop without end.
    #[test]
    fn any_network_gives_an_ordered_stream(
        seed: u64,
        loss in 0_u64..40,
        doubled in 0_u64..40,
        spread_us in 0_u64..400_000,
        packet_us in prop::sample::select(vec![10_000_u64, 20_000, 30_000, 60_000]),
        first_sequence: u16,
    ) {
        let mut dice = Dice(seed);
        let mut network = stream(1_000, packet_us, first_sequence, |_| None);
        for number in 0..1_000_u32 {
            let sent_us = u64::from(number) * packet_us;
            let sent = Sent { sequence: first_sequence.wrapping_add(number as u16), timestamp: (sent_us * 8 / 1_000) as u32, ssrc: 1, number, is_event: dice.below(50) == 0 };
            if dice.below(100) >= loss {
                network.deliver_at(sent_us + dice.below(spread_us), sent.clone());
                if dice.below(100) < doubled {
                    network.deliver_at(sent_us + dice.below(spread_us), sent);
                }
            }
        }
        let mut listener = Listener::new(packet_us);
        listener.listen(&mut network, 0, 1_000 * packet_us + 2_000_000);
        let numbers = listener.numbers();
        prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(listener.delays_us.iter().all(|delay| *delay < 2_500_000));
        if loss < 10 && spread_us < 40_000 {
            prop_assert!(numbers.len() > 800, "{} played", numbers.len());
        }
    }

    /// Headers from an attacker.
    #[test]
    fn any_packets_are_survived(packets in prop::collection::vec((any::<u16>(), any::<u32>(), 0_u32..3, 0_usize..1_400, 0_u64..100_000), 0..300)) {
        let payload = [0; 1_400];
        let mut buffer = JitterBuffer::new(CodecKind::Opus);
        let mut now_us = 0;
        for (sequence, timestamp, ssrc, len, pause_us) in packets {
            now_us += pause_us;
            buffer.push(now_us, &Packet { marker: false, payload_type: 1, sequence, timestamp, ssrc, payload: &payload[..len] });
            for _ in 0..3 {
                let _ = buffer.pop(now_us);
            }
        }
    }
}
