//! What one party hears while prompts, keys and several sources take turns in its stream.

use super::*;
use crate::{
    dtmf::{Digit, EventSender},
    rtcp::{SenderInfo, ntp_time},
};
use proptest::prelude::*;
use std::net::SocketAddr;

const FRAME_US: u64 = 20_000;

fn packet(sequence: u16, timestamp: u32, ssrc: u32) -> Packet<'static> {
    Packet { marker: false, payload_type: 0, sequence, timestamp, ssrc, payload: &[0x55; 160] }
}

fn datagram(packet: &Packet<'_>) -> Vec<u8> {
    let mut out = vec![0; 400];
    let len = packet.write(&mut out).unwrap();
    out.truncate(len);
    out
}

/// The numbers of what went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Out {
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload_type: u8,
}

/// Everything that goes to one party.
struct Line {
    sender: Sender,
    sent: Vec<Out>,
}

impl Line {
    fn new() -> Self {
        Self { sender: Sender::new(0xcafe, 65_530, u32::MAX - 500, 8_000), sent: Vec::new() }
    }

    fn note(&mut self, bytes: &[u8]) {
        let packet = Packet::parse(bytes).unwrap();
        assert_eq!(packet.ssrc, 0xcafe, "one source for the whole call");
        let Packet { sequence, timestamp, marker, payload_type, .. } = packet;
        self.sent.push(Out { sequence, timestamp, marker, payload_type });
    }

    fn prompt(&mut self, now_us: u64) {
        let mut bytes = [0; 172];
        self.sender.frame(now_us, 0, 160, &mut bytes).unwrap();
        self.note(&bytes);
    }

    fn forward(&mut self, rewriter: &mut Rewriter, now_us: u64, packet: &Packet<'_>) -> Result<(), RtpError> {
        let mut bytes = datagram(packet);
        rewriter.rewrite(&mut self.sender, now_us, 8, &mut bytes)?;
        assert_eq!(Packet::parse(&bytes).unwrap().payload, packet.payload);
        self.note(&bytes);
        Ok(())
    }

    /// Sequence numbers from the first on, 0 being the first.
    fn sequences(&self) -> Vec<u16> {
        let first = self.sent[0].sequence;
        self.sent.iter().map(|out| out.sequence.wrapping_sub(first)).collect()
    }

    fn timestamps(&self) -> Vec<u32> {
        let first = self.sent[0].timestamp;
        self.sent.iter().map(|out| out.timestamp.wrapping_sub(first)).collect()
    }

    fn markers(&self) -> Vec<usize> {
        (0..self.sent.len()).filter(|&n| self.sent[n].marker).collect()
    }
}

#[test]
fn a_prompt_counts_by_frames_and_shows_its_pauses() {
    let mut line = Line::new();
    // The thread is a little late now and then; after frame 3 nothing is sent for two seconds.
    for now_us in [0, 21_000, 39_000, 65_000, 2_065_000, 2_085_000] {
        line.prompt(now_us);
    }
    assert_eq!(line.sequences(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(line.timestamps(), [0, 160, 320, 480, 480 + 16_000, 480 + 16_160]);
    assert_eq!(line.markers(), [0, 4], "the first of each talk spurt");
}

#[test]
fn a_source_takes_over_from_a_prompt_and_gives_back() {
    let mut line = Line::new();
    let mut rewriter = Rewriter::new();
    for frame in 0..5 {
        line.prompt(frame * FRAME_US);
    }
    for frame in 5..10_u64 {
        let packet = packet(40_000 + frame as u16, 900_000 + frame as u32 * 160, 7);
        line.forward(&mut rewriter, frame * FRAME_US, &packet).unwrap();
    }
    for frame in 10..15 {
        line.prompt(frame * FRAME_US);
    }
    for frame in 15..20_u64 {
        let packet = packet(40_000 + frame as u16, 900_000 + frame as u32 * 160, 7);
        line.forward(&mut rewriter, frame * FRAME_US, &packet).unwrap();
    }
    assert_eq!(line.sequences(), (0..20).collect::<Vec<_>>());
    assert_eq!(line.timestamps(), (0..20).map(|n| n * 160).collect::<Vec<_>>());
    assert_eq!(line.markers(), [0, 5, 15], "a marker where another voice begins");
    assert_eq!(line.sent[6].payload_type, 8);
}

#[test]
fn losses_stay_visible_and_late_packets_find_their_place() {
    let mut line = Line::new();
    let mut rewriter = Rewriter::new();
    let mut forward = |line: &mut Line, n: u16| {
        line.forward(&mut rewriter, u64::from(n) * FRAME_US, &packet(100 + n, u32::from(n) * 160, 7))
    };
    for n in [0, 1, 3, 2, 4, 7, 5] {
        forward(&mut line, n).unwrap();
    }
    assert_eq!(line.sequences(), [0, 1, 3, 2, 4, 7, 5]);
    assert_eq!(line.timestamps(), [0, 1, 3, 2, 4, 7, 5].map(|n| n * 160));
    assert_eq!(line.sender.packets(), 7);
}

#[test]
fn keys_are_taken_out_of_the_source_and_put_in_anew_without_a_hole() {
    let mut line = Line::new();
    let mut rewriter = Rewriter::new();
    let mut keys = EventSender::new(8_000);
    for n in 0..60_u16 {
        let now_us = u64::from(n) * FRAME_US;
        let incoming = packet(100 + n, u32::from(n) * 160, 7);
        if (10..20).contains(&n) {
            rewriter.leave_out(&mut line.sender, &incoming);
            if n == 19 {
                keys.push(Digit { symbol: '5', duration_ms: 100 });
            }
        } else {
            line.forward(&mut rewriter, now_us, &incoming).unwrap();
        }
        if let Some(event) = keys.tick() {
            let mut bytes = [0; 16];
            let len = line.sender.event(now_us, 101, &event, &mut bytes).unwrap();
            line.note(&bytes[..len]);
        }
    }
    assert_eq!(line.sequences(), (0..line.sent.len() as u16).collect::<Vec<_>>(), "no hole");
    let events: Vec<_> = line.sent.iter().filter(|out| out.payload_type == 101).collect();
    assert_eq!(events.len(), 8);
    assert!(events.iter().all(|out| out.timestamp == events[0].timestamp), "one timestamp for the whole event");
    let audio: Vec<_> = line.sent.iter().filter(|out| out.payload_type == 8).collect();
    let last = audio.last().unwrap().timestamp.wrapping_sub(audio[0].timestamp);
    assert_eq!(last, 59 * 160, "the audio keeps its own time");
}

#[test]
fn a_late_packet_from_before_an_event_is_dropped_not_doubled() {
    let mut line = Line::new();
    let mut rewriter = Rewriter::new();
    line.forward(&mut rewriter, 0, &packet(100, 0, 7)).unwrap();
    rewriter.leave_out(&mut line.sender, &packet(102, 320, 7));
    line.forward(&mut rewriter, 60_000, &packet(103, 480, 7)).unwrap();
    assert_eq!(line.forward(&mut rewriter, 61_000, &packet(101, 160, 7)), Err(RtpError::Late));
    assert_eq!(line.sequences(), [0, 2], "the lost 101 is a hole, the event is none");
}

#[test]
fn a_source_that_starts_anew_leaves_no_hole() {
    for (name, sequence, timestamp, ssrc) in [
        ("another ssrc", 9, 4_000_000_000_u32, 8),
        ("a jump of the sequence", 20_000, 160 * 50, 7),
        ("a jump of the timestamp", 150, 3_000_000_000, 7),
    ] {
        let mut line = Line::new();
        let mut rewriter = Rewriter::new();
        for n in 0..50_u16 {
            line.forward(&mut rewriter, u64::from(n) * FRAME_US, &packet(100 + n, u32::from(n) * 160, 7)).unwrap();
        }
        for n in 0..50_u16 {
            let packet = packet(sequence + n, timestamp.wrapping_add(u32::from(n) * 160), ssrc);
            line.forward(&mut rewriter, u64::from(50 + n) * FRAME_US, &packet).unwrap();
        }
        assert_eq!(line.sequences(), (0..100).collect::<Vec<_>>(), "{name}");
        assert_eq!(line.timestamps(), (0..100).map(|n| n * 160).collect::<Vec<_>>(), "{name}");
        assert_eq!(line.markers(), [0, 50], "{name}");
    }
}

#[test]
fn header_extensions_contributors_and_padding_stay_with_the_source() {
    // Version 2 with padding, an extension and one contributing source.
    let head = [0xb1, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 7, 1, 2, 3, 4, 0xbe, 0xde, 0, 1, 9, 9, 9, 9];
    let mut bytes = [&head[..], &[0x55, 0x56], &[8, 8, 8, 4]].concat();
    assert_eq!(header_bytes(&bytes), Some(24));
    let mut line = Line::new();
    let len = Rewriter::new().rewrite(&mut line.sender, 0, 3, &mut bytes).unwrap();
    let packet = Packet::parse(&bytes[..len]).unwrap();
    assert_eq!((packet.payload, packet.payload_type, packet.ssrc), (&[0x55, 0x56][..], 3, 0xcafe));
    assert_eq!((len, bytes[0]), (HEADER_BYTES + 2, 0x80), "twelve bytes, and what is said");
}

#[test]
fn rtcp_is_told_from_rtp_on_one_port() {
    assert!(is_rtcp(&[0x80, 200, 0, 6]));
    assert!(is_rtcp(&[0x81, 201, 0, 6]));
    assert!(!is_rtcp(&datagram(&Packet { marker: true, payload_type: 63, ..packet(1, 1, 1) })));
    assert!(!is_rtcp(&[0, 200]));
    assert!(!is_rtcp(&[]));
}

mod lock {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    /// Of a party whose signalling says no more than its SDP.
    const NEAR: Trust = Trust::Signalling(None);

    /// Lets an address send a stream, from a time on; the verdicts on its first packets.
    fn stream(lock: &mut SourceLock, now_us: u64, from: SocketAddr) -> [Verdict; 4] {
        [1, 2, 3, 4].map(|n| lock.judge(now_us + u64::from(n) * FRAME_US, from, &packet(n, 0, 1)))
    }

    #[test]
    fn a_stranger_never_gets_the_stream_however_silent_the_party_is() {
        let (router, stranger) = (SocketAddr::from(([198, 51, 100, 1], 7)), SocketAddr::from(([203, 0, 113, 1], 7)));
        let mut lock = SourceLock::new(Some(addr(1)), Trust::Signalling(Some(router.ip())));
        assert_eq!(stream(&mut lock, 0, stranger), [Verdict::Refuse; 4], "before the first packet");
        assert_eq!(stream(&mut lock, 0, router)[2], Verdict::Moved, "signalling comes from there");
        assert_eq!(stream(&mut lock, 60_000_000, stranger), [Verdict::Refuse; 4], "and after a minute of silence");
        assert_eq!(lock.destination(), Some(router));
        let mut keyed = SourceLock::new(Some(addr(1)), Trust::Keys);
        assert_eq!(stream(&mut keyed, 0, stranger)[2], Verdict::Moved, "a key is a proof");
    }

    #[test]
    fn the_announced_address_wins_at_once() {
        let mut lock = SourceLock::new(Some(addr(1)), NEAR);
        assert_eq!(stream(&mut lock, 0, addr(2))[3], Verdict::Accept);
        assert_eq!(lock.judge(90_000, addr(1), &packet(9, 0, 5)), Verdict::Moved);
        assert_eq!(lock.judge(90_001, addr(2), &packet(5, 0, 1)), Verdict::Refuse);
    }

    #[test]
    fn the_announced_address_is_believed_at_once() {
        let mut lock = SourceLock::new(Some(addr(1)), NEAR);
        assert_eq!(lock.destination(), Some(addr(1)));
        assert_eq!(lock.judge(0, addr(1), &packet(1, 0, 1)), Verdict::Accept);
    }

    #[test]
    fn a_phone_behind_a_router_is_found_after_three_packets() {
        let mut lock = SourceLock::new(Some(addr(1)), NEAR);
        let verdicts = [1, 2, 3, 4].map(|n| lock.judge(u64::from(n), addr(2), &packet(n, 0, 1)));
        assert_eq!(verdicts, [Verdict::Refuse, Verdict::Refuse, Verdict::Moved, Verdict::Accept]);
        assert_eq!(lock.destination(), Some(addr(2)));
    }

    #[test]
    fn nobody_speaks_in_the_place_of_a_locked_source() {
        let mut lock = SourceLock::new(Some(addr(1)), NEAR);
        for n in 0..1_000_u16 {
            let now_us = u64::from(n) * FRAME_US;
            assert_eq!(lock.judge(now_us, addr(1), &packet(n, 0, 1)), Verdict::Accept);
            assert_eq!(lock.judge(now_us + 1, addr(2), &packet(n, 0, 1)), Verdict::Refuse);
        }
        assert_eq!(lock.destination(), Some(addr(1)));
    }

    #[test]
    fn a_router_that_changed_its_port_is_followed_after_silence() {
        let mut lock = SourceLock::new(Some(addr(1)), NEAR);
        lock.judge(0, addr(1), &packet(1, 0, 1));
        let verdicts = [2, 3, 4].map(|n| lock.judge(3_000_000, addr(2), &packet(n, 0, 1)));
        assert_eq!(verdicts, [Verdict::Refuse, Verdict::Refuse, Verdict::Moved]);
    }

    #[test]
    fn scattered_packets_of_a_scanner_never_lock() {
        let mut lock = SourceLock::new(Some(addr(1)), NEAR);
        for n in 0..100_u16 {
            assert_eq!(lock.judge(u64::from(n), addr(2), &packet(n * 7, 0, u32::from(n))), Verdict::Refuse);
            assert_eq!(lock.judge(u64::from(n), addr(3), &packet(n, 0, 1)), Verdict::Refuse, "interrupted");
        }
    }

    #[test]
    fn a_new_announcement_is_learned_anew_and_the_same_changes_nothing() {
        let mut lock = SourceLock::new(Some(addr(1)), NEAR);
        for n in 1..=3 {
            lock.judge(0, addr(2), &packet(n, 0, 1));
        }
        lock.expect(addr(1), NEAR);
        assert_eq!(lock.destination(), Some(addr(2)), "a re-INVITE with the same address");
        lock.expect(addr(9), NEAR);
        assert_eq!(lock.destination(), Some(addr(9)));
        assert_eq!(lock.judge(1, addr(9), &packet(1, 0, 1)), Verdict::Accept);
    }
}

mod statistics {
    use super::*;

    #[test]
    fn losses_are_counted_over_the_wrap_and_by_interval() {
        let mut source = Source::new(8_000);
        for n in (0..1_000_u32).filter(|n| n % 4 != 3) {
            source.heard(u64::from(n) * FRAME_US, &packet(65_000_u16.wrapping_add(n as u16), n * 160, 5));
        }
        // The last packet that came is number 998.
        let block = source.report(20_000_000).unwrap();
        assert_eq!(block.highest_sequence, 65_000 + 998);
        assert_eq!(block.cumulative_lost, 249);
        assert_eq!(block.fraction_lost, (249 * 256 / 999) as u8);
        assert_eq!(source.totals(), (750, 249));
        for n in 999..1_999_u32 {
            source.heard(u64::from(n) * FRAME_US, &packet(65_000_u16.wrapping_add(n as u16), n * 160, 5));
        }
        let block = source.report(40_000_000).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 249), "nothing lost since");
    }

    #[test]
    fn duplicates_make_the_loss_negative_and_the_fraction_zero() {
        let mut source = Source::new(8_000);
        for n in 0..10 {
            source.heard(0, &packet(n, 0, 5));
            source.heard(0, &packet(n, 0, 5));
        }
        let block = source.report(0).unwrap();
        assert_eq!((block.cumulative_lost, block.fraction_lost), (-10, 0));
        assert_eq!(source.totals(), (20, 0));
    }

    #[test]
    fn jitter_settles_at_the_mean_deviation() {
        let mut source = Source::new(8_000);
        for n in 0..2_000_u32 {
            // Every second packet is 8 ms late: each transit differs by 64 ticks from the one before.
            let late_us = if n % 2 == 0 { 0 } else { 8_000 };
            source.heard(u64::from(n) * FRAME_US + late_us, &packet(n as u16, n * 160, 5));
        }
        assert!(source.jitter_us().abs_diff(8_000) < 300, "{}", source.jitter_us());
        let ticks = source.report(0).unwrap().jitter;
        assert!(ticks.abs_diff(64) < 3, "{ticks}");
    }

    #[test]
    fn a_packet_that_was_read_late_is_counted_and_says_nothing_about_jitter() {
        let mut source = Source::new(8_000);
        for n in 0..100_u32 {
            source.heard(u64::from(n) * FRAME_US, &packet(n as u16, n * 160, 5));
        }
        for n in 100..200_u32 {
            source.counted(u64::from(n / 7 * 7) * FRAME_US + 19_000, &packet(n as u16, n * 160, 5));
        }
        for n in 200..300_u32 {
            source.heard(u64::from(n) * FRAME_US, &packet(n as u16, n * 160, 5));
        }
        assert_eq!((source.totals(), source.jitter_us()), ((300, 0), 0));
    }

    #[test]
    fn a_restart_needs_two_packets_and_a_new_ssrc_none() {
        let mut source = Source::new(8_000);
        source.heard(0, &packet(10, 0, 5));
        source.heard(0, &packet(30_000, 0, 5));
        assert_eq!(source.totals().0, 1, "a stray packet");
        source.heard(0, &packet(30_001, 160, 5));
        assert_eq!(source.totals(), (1, 0), "counted anew");
        source.heard(0, &packet(9, 0, 6));
        assert_eq!((source.ssrc(), source.totals()), (Some(6), (1, 0)));
    }

    #[test]
    fn the_last_report_and_its_age_are_told() {
        let mut source = Source::new(8_000);
        source.heard(0, &packet(1, 0, 5));
        let info =
            SenderInfo { ssrc: 5, ntp: ntp_time(1_700_000_000_500_000), rtp_timestamp: 0, packets: 1, octets: 160 };
        source.reported(1_000_000, &info);
        source.reported(1_500_000, &SenderInfo { ssrc: 99, ..info });
        let block = source.report(3_000_000).unwrap();
        assert_eq!(block.last_report, (info.ntp >> 16) as u32);
        assert_eq!(block.delay_since_last_report, 2 * 65_536);
        assert_eq!(source.last_heard_us(), Some(1_500_000), "any report is a sign of life");
        assert_eq!(Source::new(8_000).report(0), None);
    }

    #[test]
    fn our_own_report_names_the_media_time_of_the_moment() {
        let mut line = Line::new();
        assert_eq!(line.sender.report(0, 1), None);
        line.prompt(1_000_000);
        let first = line.sent[0].timestamp;
        let info = line.sender.report(1_500_000, 77).unwrap();
        assert_eq!((info.ntp, info.packets, info.octets), (77, 1, 160));
        assert_eq!(info.rtp_timestamp, first.wrapping_add(4_000));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(marker: bool, payload_type in 0_u8..128, sequence: u16, timestamp: u32, ssrc: u32, payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let packet = Packet { marker, payload_type, sequence, timestamp, ssrc, payload: &payload };
        let bytes = datagram(&packet);
        prop_assert_eq!(Packet::parse(&bytes), Ok(packet));
        prop_assert_eq!(header_bytes(&bytes), Some(HEADER_BYTES));
    }

    #[test]
    fn garbage_never_panics_and_both_readers_agree(bytes in prop::collection::vec(any::<u8>(), 0..100), version_two: bool) {
        let mut bytes = bytes;
        if let (Some(first), true) = (bytes.first_mut(), version_two) {
            *first = *first & 0x3f | 0x80;
        }
        if let Ok(packet) = Packet::parse(&bytes) {
            let start = header_bytes(&bytes).unwrap();
            prop_assert_eq!(&bytes[start..start + packet.payload.len()], packet.payload);
        }
        let mut line = Line::new();
        let _ = Rewriter::new().rewrite(&mut line.sender, 0, 0, &mut bytes);
    }

    /// Prompts, sources, losses and keys in any order: never a number twice, never backwards in time.
    #[test]
    fn any_turn_taking_gives_one_clean_stream(turns in prop::collection::vec((0_u8..4, 1_u16..30, any::<u16>(), any::<u32>()), 1..20)) {
        let mut line = Line::new();
        let mut rewriters = [Rewriter::new(), Rewriter::new()];
        let mut keys = EventSender::new(8_000);
        let mut tick = 0_u64;
        for (who, ticks, sequence, timestamp) in turns {
            for n in 0..ticks {
                tick += 1;
                let now_us = tick * FRAME_US;
                match who {
                    0 | 1 => {
                        let incoming = packet(sequence.wrapping_add(n), timestamp.wrapping_add(u32::from(n) * 160), u32::from(who));
                        let lost = sequence % 7 == n % 7;
                        if !lost {
                            line.forward(&mut rewriters[usize::from(who)], now_us, &incoming).unwrap();
                        }
                    }
                    2 => line.prompt(now_us),
                    _ => {
                        keys.push(Digit { symbol: '1', duration_ms: 60 });
                        if let Some(event) = keys.tick() {
                            let mut bytes = [0; 16];
                            let len = line.sender.event(now_us, 101, &event, &mut bytes).unwrap();
                            line.note(&bytes[..len]);
                        }
                    }
                }
            }
        }
        for pair in line.sent.windows(2) {
            let step = pair[1].sequence.wrapping_sub(pair[0].sequence);
            prop_assert!((1..30).contains(&step), "{pair:?}");
            let time = pair[1].timestamp.wrapping_sub(pair[0].timestamp).cast_signed();
            prop_assert!(time >= 0 || pair[0].payload_type == 101 || pair[1].payload_type == 101, "{pair:?}");
        }
    }
}
