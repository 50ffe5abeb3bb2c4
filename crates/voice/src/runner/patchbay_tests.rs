//! The patch bay without sockets: what goes in and what comes out, to the microsecond.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use kernel::ids::Ids;
use media::codec::CodecKind;
use media::play::Sound;
use media::srtp::{Keys, SdesLine, Srtp, Suite};
use sha2::{Digest as _, Sha256};

use super::mailbox::Order;
use super::poll::Urgency;
use super::remote::{Direction, Protection, SrtpKeys};
use super::stage::{EVENTS, Phone, Sent, Stage, share, sine};
use super::{MediaConfig, MediaThreads};
use crate::leg::{Leg, LegEvent, LegEvents, PlayMode, Playable, RecordCommand, Signal};

const STRANGER: ([u8; 4], u16) = ([198, 51, 100, 9], 9_999);

fn quiet(_: usize) -> i16 {
    0
}

fn bridged(one: CodecKind, other: CodecKind) -> (Stage, Phone, Phone) {
    let mut stage = Stage::new();
    let (one, other) = (stage.leg(one), stage.leg(other));
    stage.bay.bridge(0, one.slot, other.slot);
    (stage, one, other)
}

/// One stream: one SSRC, no hole in the numbers, and the audio's time follows the clock.
fn assert_continuous(sent: &[Sent], clock_rate: u32) {
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

#[test]
fn packets_are_read_at_once_only_where_somebody_waits_for_them() {
    let mut stage = Stage::new();
    let (one, other) = (stage.leg(CodecKind::Pcmu), stage.leg(CodecKind::Pcmu));
    let mut last = std::collections::HashMap::new();
    let mut after = |stage: &mut Stage| {
        last.extend(std::iter::from_fn(|| stage.bay.next_change_of_urgency()));
        let told = |phone: &Phone| last.get(&phone.slot).copied().unwrap_or_default();
        // What was told is what holds.
        assert_eq!([told(&one), told(&other)], [stage.bay.urgency(one.slot), stage.bay.urgency(other.slot)]);
        [told(&one), told(&other)]
    };
    assert_eq!(after(&mut stage), [Urgency::Patient; 2]);
    let sound = Sound { rate: 8_000, pcm: Arc::from([500; 800]) };
    stage.order(&one, Order::Play(1, Playable::Sound(sound), PlayMode { loops: 0 }));
    assert_eq!(after(&mut stage), [Urgency::Patient; 2], "who is played to is heard by nobody");
    stage.bay.bridge(0, one.slot, other.slot);
    assert_eq!(after(&mut stage), [Urgency::Prompt; 2]);
    stage.bay.unbridge(0, one.slot);
    assert_eq!(after(&mut stage), [Urgency::Patient; 2]);
    stage.order(&other, Order::InbandDtmf(true));
    assert_eq!(after(&mut stage), [Urgency::Patient, Urgency::Prompt]);
    stage.order(&other, Order::InbandDtmf(false));
    assert_eq!(after(&mut stage), [Urgency::Patient; 2]);
}

#[test]
fn legs_of_one_codec_relay_every_packet_with_new_numbers() {
    let (mut stage, mut alice, mut bob) = bridged(CodecKind::Pcmu, CodecKind::Pcmu);
    for _ in 0..500 {
        stage.say(&mut alice, quiet);
        stage.say(&mut bob, quiet);
        stage.pass(20);
    }
    for phone in [&alice, &bob] {
        let heard = stage.heard_by(phone);
        assert_eq!(heard.len(), 500);
        assert!(heard.iter().all(|sent| sent.to == phone.address));
        assert!(!heard.iter().any(|sent| [alice.ssrc, bob.ssrc].contains(&sent.rtp().ssrc)));
        assert_continuous(&heard, 8_000);
    }
}

#[test]
fn payload_types_are_those_of_each_side() {
    let mut stage = Stage::new();
    let (mut alice, mut bob) = (stage.leg(CodecKind::Opus), stage.leg(CodecKind::Opus));
    bob.remote.payload_out = 96;
    stage.order(&bob, Order::Remote(Box::new(bob.remote.clone())));
    stage.bay.bridge(0, alice.slot, bob.slot);
    stage.say(&mut alice, quiet);
    stage.say(&mut bob, quiet);
    assert_eq!(stage.heard_by(&bob)[0].rtp().payload_type, 96);
    assert_eq!(stage.heard_by(&alice)[0].rtp().payload_type, 111);
}

#[test]
fn strangers_and_garbage_are_not_heard() {
    let (mut stage, mut alice, bob) = bridged(CodecKind::Pcmu, CodecKind::Pcmu);
    stage.talk(&mut alice, 5, quiet);
    stage.heard_by(&bob);
    let stranger = SocketAddr::from(STRANGER);
    for _ in 0..20 {
        let datagram = alice.frame(quiet);
        stage.deliver(alice.slot, stranger, &datagram);
    }
    for garbage in [&b""[..], b"\x80", b"GET / HTTP/1.0\r\n\r\n", &[0xff; 200], &[0x80; 11]] {
        stage.deliver(alice.slot, alice.address, garbage);
    }
    assert!(stage.heard_by(&bob).is_empty());
    stage.say(&mut alice, quiet);
    assert_eq!(stage.heard_by(&bob).len(), 1);
}

#[test]
fn a_phone_behind_a_router_is_answered_where_it_sends_from() {
    let (mut stage, mut alice, mut bob) = bridged(CodecKind::Pcmu, CodecKind::Pcmu);
    let outside = SocketAddr::from(STRANGER);
    alice.remote.signalling = Some(outside.ip());
    stage.order(&alice, Order::Remote(Box::new(alice.remote.clone())));
    for _ in 0..10 {
        let datagram = alice.frame(quiet);
        stage.deliver(alice.slot, outside, &datagram);
        stage.say(&mut bob, quiet);
        stage.pass(20);
    }
    assert_eq!(stage.heard_by(&alice).last().unwrap().to, outside);
}

#[test]
fn frames_play_20_ms_apart_and_the_end_is_told_once() {
    let mut stage = Stage::new();
    let alice = stage.leg(CodecKind::Pcmu);
    stage.pass(33);
    let sound = Sound { rate: 8_000, pcm: (0..8_000).map(sine(1_000.0, 8_000)).collect() };
    stage.order(&alice, Order::Play(9, Playable::Sound(sound), PlayMode { loops: 2 }));
    stage.pass(2_100);
    let heard = stage.heard_by(&alice);
    assert_eq!(heard.len(), 100);
    assert!(heard.windows(2).all(|pair| pair[1].at_us - pair[0].at_us == 20_000));
    assert_continuous(&heard, 8_000);
    assert!(share(&alice.decode(&heard), 1_000.0, 8_000) > 0.99);
    let told = stage.told();
    assert!(matches!(told[..], [(_, LegEvent::PlayEnded { play: 9 })]), "{told:?}");
}

#[test]
fn what_is_stopped_or_replaced_does_not_tell_an_end() {
    let mut stage = Stage::new();
    let alice = stage.leg(CodecKind::Pcmu);
    let sound = || Playable::Sound(Sound { rate: 8_000, pcm: Arc::from([500; 800]) });
    stage.order(&alice, Order::Play(1, sound(), PlayMode::FOREVER));
    stage.pass(1_000);
    stage.order(&alice, Order::Play(2, sound(), PlayMode::ONCE));
    stage.pass(1_000);
    stage.order(&alice, Order::Play(3, sound(), PlayMode::ONCE));
    stage.order(&alice, Order::StopPlay);
    stage.pass(1_000);
    let told = stage.told();
    assert!(matches!(told[..], [(_, LegEvent::PlayEnded { play: 2 })]), "{told:?}");
}

#[test]
fn prompt_bridge_prompt_is_one_stream() {
    let (mut stage, alice, mut bob) = bridged(CodecKind::Pcma, CodecKind::Pcma);
    let sound = || Playable::Sound(Sound { rate: 8_000, pcm: Arc::from([500; 1_600]) });
    stage.order(&alice, Order::Play(1, sound(), PlayMode::ONCE));
    stage.talk(&mut bob, 30, quiet);
    stage.order(&alice, Order::Play(2, sound(), PlayMode::ONCE));
    stage.talk(&mut bob, 30, quiet);
    let heard = stage.heard_by(&alice);
    assert!(heard.len() >= 58, "{}", heard.len());
    assert_continuous(&heard, 8_000);
}

#[test]
fn silence_never_lasts_a_second_for_who_listens() {
    for codec in CodecKind::ALL {
        let mut stage = Stage::new();
        let alice = stage.leg(codec);
        stage.pass(10_000);
        let heard = stage.heard_by(&alice);
        assert!(heard[0].at_us < 1_000_000);
        assert!(heard.windows(2).all(|pair| pair[1].at_us - pair[0].at_us < 1_000_000));
        assert!(heard.len() < 50, "but it costs little: {}", heard.len());
        let loudest = alice.decode(&heard).into_iter().map(i16::unsigned_abs).max();
        assert!(loudest < Some(64), "{codec:?}: {loudest:?}");
        assert_continuous(&heard, codec.clock_rate());
    }
}

#[test]
fn who_is_bridged_with_a_mute_phone_hears_silence_too() {
    let (mut stage, mut alice, bob) = bridged(CodecKind::Pcmu, CodecKind::Pcmu);
    stage.talk(&mut alice, 10, quiet);
    stage.pass(5_000);
    stage.talk(&mut alice, 10, quiet);
    let heard = stage.heard_by(&bob);
    assert!(heard.windows(2).all(|pair| pair[1].at_us - pair[0].at_us < 1_000_000));
    assert_continuous(&heard, 8_000);
}

#[test]
fn a_leg_on_hold_is_sent_nothing_and_its_peer_hears_music() {
    let (mut stage, mut alice, mut bob) = bridged(CodecKind::Pcmu, CodecKind::Pcmu);
    let mut hold = bob.remote.clone();
    hold.direction = Direction::RecvOnly;
    stage.order(&bob, Order::Remote(Box::new(hold)));
    stage.talk(&mut alice, 200, quiet);
    assert!(stage.heard_by(&bob).is_empty());
    let heard = stage.heard_by(&alice);
    assert!(heard.len() >= 199, "{}", heard.len());
    let music = alice.decode(&heard);
    assert!(media::frame::rms(&music) > 200, "{}", media::frame::rms(&music));

    stage.order(&bob, Order::Remote(Box::new(bob.remote.clone())));
    stage.talk(&mut bob, 50, quiet);
    let heard = stage.heard_by(&alice);
    assert_eq!(heard.len(), 50);
    assert!(media::frame::rms(&alice.decode(&heard)) < 10);
    assert_continuous(&heard, 8_000);
}

#[test]
fn a_press_that_comes_by_event_and_by_info_is_one() {
    let (mut stage, mut alice, _) = bridged(CodecKind::Pcmu, CodecKind::Pcmu);
    stage.talk(&mut alice, 5, quiet);
    let press = |stage: &mut Stage, alice: &mut Phone, info_first: bool| {
        let info = Order::Digit('5', 160);
        if info_first {
            stage.order(alice, info);
            for datagram in alice.key(5) {
                stage.deliver(alice.slot, alice.address, &datagram);
                stage.pass(20);
            }
        } else {
            for datagram in alice.key(5) {
                stage.deliver(alice.slot, alice.address, &datagram);
                stage.pass(20);
            }
            stage.order(alice, info);
        }
        stage.told().len()
    };
    for info_first in [true, false, false, true] {
        stage.talk(&mut alice, 5, quiet);
        assert_eq!(press(&mut stage, &mut alice, info_first), 1, "{info_first}");
    }
    // Two by the same way are two, and so are two that are far apart.
    stage.order(&alice, Order::Digit('7', 160));
    stage.order(&alice, Order::Digit('7', 160));
    assert_eq!(stage.told().len(), 2);
    stage.order(&alice, Order::Digit('5', 160));
    stage.pass(1_100);
    assert_eq!(press(&mut stage, &mut alice, false), 2);
}

#[test]
fn one_press_is_one_digit_here_and_one_new_event_there() {
    let (mut stage, mut alice, mut bob) = bridged(CodecKind::Pcmu, CodecKind::Pcmu);
    stage.talk(&mut alice, 5, quiet);
    for datagram in alice.key(5) {
        stage.deliver(alice.slot, alice.address, &datagram);
        stage.pass(20);
    }
    stage.talk(&mut alice, 25, quiet);
    stage.say(&mut bob, quiet);
    let told = stage.told();
    assert!(
        matches!(&told[..], [(leg, LegEvent::Dtmf { symbol: '5', duration_ms: 100 })] if *leg == alice.id),
        "{told:?}"
    );
    let heard = stage.heard_by(&bob);
    assert_continuous(&heard, 8_000);
    let events: Vec<&Sent> = heard.iter().filter(|sent| sent.rtp().payload_type == EVENTS).collect();
    let stamps: HashSet<u32> = events.iter().map(|sent| sent.rtp().timestamp).collect();
    assert_eq!(stamps.len(), 1, "one event");
    assert!(events[0].rtp().marker);
    assert!(events.iter().all(|sent| sent.rtp().payload[0] == 5));
    let ends = events.iter().filter(|sent| sent.rtp().payload[1] & 0x80 != 0).count();
    assert_eq!(ends, 3);
}

#[test]
fn digits_are_dialled_in_order_and_their_end_is_told() {
    let mut stage = Stage::new();
    let alice = stage.leg(CodecKind::Pcmu);
    stage.order(&alice, Order::SendDtmf("1w#D".into(), 4));
    stage.pass(3_000);
    let heard = stage.heard_by(&alice);
    let mut codes: Vec<(u8, u64)> = Vec::new();
    for sent in heard.iter().filter(|sent| sent.rtp().marker && sent.rtp().payload_type == EVENTS) {
        codes.push((sent.rtp().payload[0], sent.at_us));
    }
    assert_eq!(codes.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [1, 11, 15]);
    assert!(codes[1].1 - codes[0].1 >= 600_000, "the pause of w");
    let told = stage.told();
    assert!(matches!(told[..], [(_, LegEvent::PlayEnded { play: 4 })]), "{told:?}");
}

#[test]
fn a_phone_without_events_is_sent_tones() {
    let mut stage = Stage::new();
    let mut alice = stage.leg(CodecKind::Pcmu);
    alice.remote.events = None;
    stage.order(&alice, Order::Remote(Box::new(alice.remote.clone())));
    stage.order(&alice, Order::SendDtmf("5".into(), 4));
    stage.pass(300);
    let heard = stage.heard_by(&alice);
    let tone = alice.decode(&heard[..5]);
    assert!(share(&tone, 770.0, 8_000) > 0.3 && share(&tone, 1_336.0, 8_000) > 0.3);
    let told = stage.told();
    assert!(matches!(told[..], [(_, LegEvent::PlayEnded { play: 4 })]), "{told:?}");
}

#[test]
fn keys_in_the_audio_are_heard_when_asked() {
    for (on, expected) in [(false, 0), (true, 1)] {
        let mut stage = Stage::new();
        let mut alice = stage.leg(CodecKind::Pcmu);
        stage.order(&alice, Order::InbandDtmf(on));
        let (low, high) = (sine(852.0, 8_000), sine(1_477.0, 8_000));
        stage.talk(&mut alice, 10, |sample| low(sample) / 2 + high(sample) / 2);
        stage.talk(&mut alice, 20, quiet);
        let told = stage.told();
        assert_eq!(told.len(), expected, "{told:?}");
        assert!(told.iter().all(|(_, event)| matches!(event, LegEvent::Dtmf { symbol: '9', .. })));
    }
}

#[test]
fn a_tone_survives_transcoding_between_all_codecs() {
    for one in CodecKind::ALL {
        for other in CodecKind::ALL.into_iter().filter(|&other| other != one) {
            let (mut stage, mut alice, bob) = bridged(one, other);
            stage.talk(&mut alice, 100, sine(1_000.0, one.sample_rate()));
            stage.pass(200);
            let heard = stage.heard_by(&bob);
            assert!((95..=112).contains(&heard.len()), "{one:?} to {other:?}: {}", heard.len());
            assert_continuous(&heard, other.clock_rate());
            let pcm = bob.decode(&heard);
            let middle = &pcm[pcm.len() / 4..pcm.len() * 3 / 4];
            let share = share(middle, 1_000.0, other.sample_rate());
            assert!(share > 0.95, "{one:?} to {other:?}: {share}");
        }
    }
}

#[test]
fn silence_and_voice_are_told() {
    let mut stage = Stage::new();
    let mut alice = stage.leg(CodecKind::Pcmu);
    stage.order(&alice, Order::ListenSilence(Some(500)));
    stage.talk(&mut alice, 50, sine(300.0, 8_000));
    stage.pass(1_000);
    let told: Vec<LegEvent> = stage.told().into_iter().map(|(_, event)| event).collect();
    assert!(matches!(told[..], [LegEvent::Voice, LegEvent::Silence]), "{told:?}");
}

#[test]
fn reports_go_out_about_every_five_seconds() {
    let mut stage = Stage::new();
    let mut alice = stage.leg(CodecKind::Pcmu);
    stage.talk(&mut alice, 3_000, quiet);
    let reports: Vec<Sent> = stage.wire.sent.iter().filter(|sent| sent.is_rtcp).cloned().collect();
    assert!((7..=25).contains(&reports.len()), "{} in a minute", reports.len());
    assert!(reports.iter().all(|sent| sent.to.port() == alice.address.port() + 1));
    let mut blocks = 0;
    for report in &reports {
        media::rtcp::parse(&report.bytes, |told| {
            if let media::rtcp::Told::Received(block) = told {
                assert_eq!((block.ssrc, block.cumulative_lost), (alice.ssrc, 0));
                blocks += 1;
            }
        })
        .unwrap();
    }
    assert_eq!(blocks, reports.len());
}

#[test]
fn nothing_is_due_without_legs_and_no_frames_without_work() {
    let mut stage = Stage::new();
    assert_eq!(stage.bay.due_us(), None);
    let (alice, bob) = (stage.leg(CodecKind::Pcmu), stage.leg(CodecKind::Pcmu));
    stage.bay.bridge(0, alice.slot, bob.slot);
    assert!(stage.bay.due_us() >= Some(200_000), "a relayed bridge needs no ticks");
    stage.order(&alice, Order::Play(1, Playable::Silence, PlayMode::FOREVER));
    assert_eq!(stage.bay.due_us(), Some(0));
    stage.order(&alice, Order::StopPlay);
    assert!(stage.bay.due_us() >= Some(200_000));
    for phone in [&alice, &bob] {
        stage.bay.close(0, 0, phone.slot, &mut stage.wire);
    }
    assert_eq!(stage.bay.due_us(), None);
}

/// What a leg's signalling is told of its media.
fn signals_after(setup: impl FnOnce(&mut Stage, &mut Phone)) -> Vec<Signal> {
    let mut stage = Stage::new();
    let threads = MediaThreads::start(
        &MediaConfig { threads: 1, rtp_ports: (20_000, 20_001), rtc: Vec::new(), media_timeout_ms: 30_000 },
        Ids::seeded(1),
    )
    .unwrap();
    let events = LegEvents::new("leg_watched".into(), None);
    let (_leg, mut signals) = Leg::new(threads.leg(events.clone(), None), events.clone());
    let mut phone = stage.leg_with(CodecKind::Pcmu, events);
    setup(&mut stage, &mut phone);
    std::iter::from_fn(|| signals.try_recv()).collect()
}

#[test]
fn a_phone_that_vanishes_ends_its_leg_once() {
    let told = signals_after(|stage, phone| {
        stage.order(phone, Order::Established);
        stage.talk(phone, 100, quiet);
        stage.pass(29_500);
        assert_eq!(stage.wire.sent.iter().filter(|sent| sent.slot != phone.slot).count(), 0);
        stage.pass(60_000);
    });
    assert_eq!(told, [Signal::MediaTimeout]);
}

#[test]
fn who_talks_or_holds_or_has_not_answered_is_not_ended() {
    let talks = signals_after(|stage, phone| {
        stage.order(phone, Order::Established);
        for _ in 0..10 {
            stage.talk(phone, 1, quiet);
            stage.pass(29_000);
        }
    });
    let has_not_answered = signals_after(|stage, _| stage.pass(120_000));
    let reports = signals_after(|stage, phone| {
        stage.order(phone, Order::Established);
        for _ in 0..10 {
            stage.pass(20_000);
            let mut report = [0; 256];
            let len = media::rtcp::write_report(9, None, None, "me", false, &mut report).unwrap();
            let rtcp = SocketAddr::new(phone.address.ip(), phone.address.port() + 1);
            let now_us = stage.wire.now_us;
            stage.bay.receive_rtcp(now_us, phone.slot, rtcp, &mut report[..len]);
        }
    });
    let holds = signals_after(|stage, phone| {
        stage.order(phone, Order::Established);
        for direction in [Direction::RecvOnly, Direction::Inactive, Direction::SendOnly] {
            let mut hold = phone.remote.clone();
            hold.direction = direction;
            stage.order(phone, Order::Remote(Box::new(hold)));
            stage.pass(600_000);
        }
        // Back from hold it has its full time again.
        stage.order(phone, Order::Remote(Box::new(phone.remote.clone())));
        stage.pass(25_000);
    });
    for told in [talks, has_not_answered, reports, holds] {
        assert_eq!(told, []);
    }
}

#[test]
fn a_recording_holds_what_the_leg_sends_on_the_left_and_what_it_hears_on_the_right() {
    for (codec, other, rate) in [(CodecKind::Pcmu, CodecKind::Pcmu, 8_000), (CodecKind::G722, CodecKind::Pcma, 16_000)]
    {
        let (mut stage, mut alice, mut bob) = bridged(codec, other);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("call.wav");
        let start = RecordCommand::Start { id: "rec_1".into(), path: path.clone(), rate };
        stage.order(&alice, Order::Record(start));
        let (low, high) = (sine(500.0, codec.sample_rate()), sine(1_500.0, other.sample_rate()));
        let talk = |stage: &mut Stage, alice: &mut Phone, bob: &mut Phone, frames: usize| {
            for _ in 0..frames {
                stage.say(alice, &low);
                stage.say(bob, &high);
                stage.pass(20);
            }
        };
        talk(&mut stage, &mut alice, &mut bob, 100);
        stage.order(&alice, Order::Record(RecordCommand::Pause));
        talk(&mut stage, &mut alice, &mut bob, 100);
        stage.order(&alice, Order::Record(RecordCommand::Resume));
        talk(&mut stage, &mut alice, &mut bob, 50);
        let prompt = Sound { rate: 8_000, pcm: (0..8_000).map(sine(1_000.0, 8_000)).collect() };
        stage.order(&alice, Order::Play(1, Playable::Sound(prompt), PlayMode::ONCE));
        talk(&mut stage, &mut alice, &mut bob, 50);
        stage.order(&alice, Order::Record(RecordCommand::Stop));
        stage.told();

        let LegEvent::RecordingReady { id, seconds, channels, sha256, path: told } = stage.wait_told() else {
            panic!("no recording");
        };
        assert_eq!((&*id, channels, &told), ("rec_1", 2, &path));
        assert!((3.9..=4.1).contains(&seconds), "{seconds}");
        let bytes = std::fs::read(&path).unwrap();
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sha256, hash);
        let mut reader = hound::WavReader::open(&path).unwrap();
        assert_eq!(reader.spec().sample_rate, rate);
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        let channel = |index: usize| -> Vec<i16> { samples.iter().skip(index).step_by(2).copied().collect() };
        let (left, right) = (channel(0), channel(1));
        let second = rate as usize;
        let share_of = |pcm: &[i16], hz, from: usize| share(&pcm[from..from + second / 2], hz, rate);
        assert!(share_of(&left, 500.0, second) > 0.95);
        assert!(share_of(&right, 1_500.0, second) > 0.95);
        assert!(share_of(&left, 500.0, second * 13 / 4) > 0.95);
        assert!(share_of(&right, 1_000.0, second * 13 / 4) > 0.95, "the prompt is on the right");
    }
}

#[test]
fn channels_are_aligned_and_silent_where_nothing_came() {
    let (mut stage, mut alice, mut bob) = bridged(CodecKind::Pcmu, CodecKind::Pcmu);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("call.wav");
    let start = RecordCommand::Start { id: "rec_1".into(), path: path.clone(), rate: 8_000 };
    stage.order(&alice, Order::Record(start));
    stage.talk(&mut alice, 50, sine(500.0, 8_000));
    stage.pass(1_000);
    stage.talk(&mut bob, 50, sine(500.0, 8_000));
    stage.bay.close(stage.wire.now_us, 0, alice.slot, &mut stage.wire);
    stage.told();
    assert!(matches!(stage.wait_told(), LegEvent::RecordingReady { .. }));
    let samples: Vec<i16> = hound::WavReader::open(&path).unwrap().samples().map(Result::unwrap).collect();
    assert!((23_000..=25_000).contains(&(samples.len() / 2)), "{}", samples.len() / 2);
    let level = |channel: usize, from: usize, to: usize| {
        let pcm: Vec<i16> = samples.iter().skip(channel).step_by(2).copied().collect();
        media::frame::rms(&pcm[from..to])
    };
    assert!(level(0, 2_000, 7_000) > 5_000 && level(1, 2_000, 7_000) < 50);
    assert!(level(0, 10_000, 15_000) < 50 && level(1, 10_000, 15_000) < 50);
    assert!(level(0, 18_000, 23_000) < 50 && level(1, 18_000, 23_000) > 5_000);
}

#[test]
fn a_recording_that_cannot_be_written_says_so() {
    let mut stage = Stage::new();
    let alice = stage.leg(CodecKind::Pcmu);
    let start = RecordCommand::Start { id: "rec_1".into(), path: "/nowhere/at/all.wav".into(), rate: 8_000 };
    stage.order(&alice, Order::Record(start));
    stage.pass(1_000);
    stage.order(&alice, Order::Record(RecordCommand::Stop));
    let LegEvent::RecordingFailed { id, error } = stage.wait_told() else { panic!() };
    assert_eq!(&*id, "rec_1");
    assert!(!error.is_empty());
    assert_eq!(stage.recorder.open(), 0);
}

#[test]
fn srtp_is_opened_on_one_side_and_sealed_anew_on_the_other() {
    let (mut stage, alice, mut bob) = bridged(CodecKind::Pcmu, CodecKind::Pcmu);
    let line = |byte| SdesLine { tag: 1, suite: Suite::AesCm128HmacSha1_80, keys: Keys([byte; 30]) };
    let (ours, theirs) = (line(1), line(2));
    let mut remote = alice.remote.clone();
    remote.protection = Protection::Sdes(SrtpKeys { local: ours.clone(), remote: theirs.clone() });
    stage.order(&alice, Order::Remote(Box::new(remote)));
    let mut seal = Srtp::new(theirs.suite, &theirs.keys);
    let mut open = Srtp::new(ours.suite, &ours.keys);
    let mut alice = alice;
    for _ in 0..100 {
        let plain = alice.frame(sine(700.0, 8_000));
        let mut sealed = [0; 400];
        sealed[..plain.len()].copy_from_slice(&plain);
        let len = seal.protect(&mut sealed, plain.len()).unwrap();
        stage.deliver(alice.slot, alice.address, &plain);
        stage.deliver(alice.slot, alice.address, &sealed[..len]);
        stage.say(&mut bob, sine(900.0, 8_000));
        stage.pass(20);
    }
    let heard = stage.heard_by(&bob);
    assert_eq!(heard.len(), 100, "only what is authentic");
    assert!(share(&bob.decode(&heard), 700.0, 8_000) > 0.99);
    let mut heard = stage.heard_by(&alice);
    assert_eq!(heard.len(), 100);
    for sent in &mut heard {
        let len = open.unprotect(&mut sent.bytes).unwrap();
        sent.bytes.truncate(len);
    }
    assert!(share(&alice.decode(&heard), 900.0, 8_000) > 0.99);
    assert_continuous(&heard, 8_000);
}

#[test]
fn a_leg_that_fails_inside_is_ended_alone() {
    let told = signals_after(|stage, phone| {
        let (bob, mut carol) = (stage.leg(CodecKind::Pcmu), stage.leg(CodecKind::Pcmu));
        stage.bay.bridge(0, phone.slot, bob.slot);
        stage.say(&mut carol, quiet);
        stage.say(phone, quiet);
        // As after a panic in the packet just handled.
        assert_eq!(stage.bay.evict(stage.wire.now_us), Some(phone.slot));
        assert_eq!(stage.bay.evict(stage.wire.now_us), None);
        stage.heard_by(&bob);
        stage.pass(1_000);
        assert!(!stage.heard_by(&bob).is_empty(), "its peer lives on");
        assert!(!stage.heard_by(&carol).is_empty());
    });
    assert_eq!(told, [Signal::MediaTimeout]);
}

#[test]
fn a_new_agreement_keeps_the_stream_and_follows_the_codec() {
    let (mut stage, alice, mut bob) = bridged(CodecKind::Pcmu, CodecKind::Pcmu);
    stage.talk(&mut bob, 50, sine(600.0, 8_000));
    let before = stage.heard_by(&alice);
    let mut wide = alice.remote.clone();
    wide.codec = CodecKind::G722;
    (wide.payload_in, wide.payload_out) = (9, 9);
    stage.order(&alice, Order::Remote(Box::new(wide)));
    stage.talk(&mut bob, 50, sine(600.0, 8_000));
    let after = stage.heard_by(&alice);
    assert!(after.iter().all(|sent| sent.rtp().payload_type == 9));
    assert!(after.len() >= 45, "{}", after.len());
    let all: Vec<Sent> = before.into_iter().chain(after).collect();
    assert_continuous(&all, 8_000);
}
