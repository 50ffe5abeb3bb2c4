//! The patch bay without sockets: what goes in and what comes out, to the microsecond.

use std::net::SocketAddr;
use std::sync::Arc;

use kernel::ids::Ids;
use media::codec::CodecKind;
use media::play::Sound;
use media::srtp::{Keys, SdesLine, Srtp, Suite};

use super::mailbox::Order;
use super::poll::Urgency;
use super::remote::{Direction, Protection, SrtpKeys};
use super::stage::{Phone, Sent, Stage, assert_continuous, bridged, quiet, share, sine};
use super::{MediaConfig, MediaThreads};
use crate::leg::{Leg, LegEvent, LegEvents, PlayMode, Playable, Signal};

const STRANGER: ([u8; 4], u16) = ([198, 51, 100, 9], 9_999);

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
