//! Keys on the patch bay's stage: what a party presses, what it is sent, and what its peer hears of it.

use std::collections::HashSet;

use media::codec::CodecKind;

use super::mailbox::Order;
use super::stage::{EVENTS, Phone, Sent, Stage, assert_continuous, bridged, quiet, share, sine};
use crate::leg::LegEvent;

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
