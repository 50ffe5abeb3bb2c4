//! The patch bay under orders in any sequence: whatever is asked of its legs, they stay well joined, and nothing is left of those that end.

use media::codec::CodecKind;
use media::dtmf::Digit;
use media::play::Sound;
use proptest::prelude::*;

use super::mailbox::Order;
use super::remote::Direction;
use super::stage::{Phone, Stage, sine};
use crate::leg::{PlayMode, Playable, RecordCommand};

const LEGS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Bridge(usize, usize),
    Unbridge(usize),
    Play(usize, u32),
    StopPlay(usize),
    Direct(usize, Direction),
    Speak(usize, CodecKind),
    Talk(usize),
    Key(usize),
    Dial(usize),
    Relay(usize),
    Listen(usize, bool),
    Record(usize, bool),
    End(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let leg = 0..LEGS;
    let direction = prop_oneof![
        Just(Direction::SendRecv),
        Just(Direction::SendOnly),
        Just(Direction::RecvOnly),
        Just(Direction::Inactive)
    ];
    let codec = prop_oneof![Just(CodecKind::Pcmu), Just(CodecKind::Pcma), Just(CodecKind::G722)];
    prop_oneof![
        4 => (leg.clone(), leg.clone()).prop_map(|(one, other)| Step::Bridge(one, other)),
        1 => leg.clone().prop_map(Step::Unbridge),
        2 => (leg.clone(), 0..3_u32).prop_map(|(leg, loops)| Step::Play(leg, loops)),
        1 => leg.clone().prop_map(Step::StopPlay),
        2 => (leg.clone(), direction).prop_map(|(leg, direction)| Step::Direct(leg, direction)),
        1 => (leg.clone(), codec).prop_map(|(leg, codec)| Step::Speak(leg, codec)),
        6 => leg.clone().prop_map(Step::Talk),
        2 => leg.clone().prop_map(Step::Key),
        1 => leg.clone().prop_map(Step::Dial),
        1 => leg.clone().prop_map(Step::Relay),
        1 => (leg.clone(), any::<bool>()).prop_map(|(leg, on)| Step::Listen(leg, on)),
        1 => (leg.clone(), any::<bool>()).prop_map(|(leg, on)| Step::Record(leg, on)),
        1 => leg.prop_map(Step::End),
    ]
}

fn take(stage: &mut Stage, phones: &mut [Phone], directory: &std::path::Path, step: Step) {
    let now_us = stage.wire.now_us;
    match step {
        Step::Bridge(one, other) => stage.bay.bridge(now_us, phones[one].slot, phones[other].slot),
        Step::Unbridge(leg) => stage.order(&phones[leg], Order::Unbridge),
        Step::Play(leg, loops) => {
            let sound = Sound { rate: 16_000, pcm: [700; 1_000].into() };
            stage.order(&phones[leg], Order::Play(1, Playable::Sound(sound), PlayMode { loops }));
        }
        Step::StopPlay(leg) => stage.order(&phones[leg], Order::StopPlay),
        Step::Direct(leg, direction) => {
            phones[leg].remote.direction = direction;
            let remote = phones[leg].remote.clone();
            stage.order(&phones[leg], Order::Remote(Box::new(remote)));
        }
        Step::Speak(leg, codec) => {
            phones[leg].change(codec);
            let remote = phones[leg].remote.clone();
            stage.order(&phones[leg], Order::Remote(Box::new(remote)));
        }
        Step::Talk(leg) => stage.talk(&mut phones[leg], 5, sine(440.0, 8_000)),
        Step::Key(leg) => {
            for datagram in phones[leg].key(7) {
                stage.deliver(phones[leg].slot, phones[leg].address, &datagram);
                stage.pass(20);
            }
        }
        Step::Dial(leg) => stage.order(&phones[leg], Order::SendDtmf("12w3".into(), 2)),
        Step::Relay(leg) => {
            let Digit { symbol, duration_ms } = Digit { symbol: '8', duration_ms: 160 };
            stage.order(&phones[leg], Order::Digit(symbol, duration_ms));
        }
        Step::Listen(leg, on) => {
            stage.order(&phones[leg], Order::ListenSilence(on.then_some(200)));
            stage.order(&phones[leg], Order::InbandDtmf(on));
        }
        Step::Record(leg, on) => {
            let path = directory.join(format!("{leg}.wav"));
            let start = RecordCommand::Start { id: "rec_1".into(), path, rate: 8_000 };
            let command = if on { start } else { RecordCommand::Stop };
            stage.order(&phones[leg], Order::Record(command));
        }
        Step::End(leg) => {
            stage.bay.close(now_us, 0, phones[leg].slot, &mut stage.wire);
            phones[leg] = stage.leg(CodecKind::Pcmu);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn legs_stay_well_joined_whatever_is_asked_of_them(steps in proptest::collection::vec(step(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let mut stage = Stage::new();
        let mut phones: Vec<Phone> = (0..LEGS).map(|_| stage.leg(CodecKind::Pcmu)).collect();
        for step in steps {
            take(&mut stage, &mut phones, directory.path(), step);
            stage.bay.assert_well_joined();
            stage.told();
        }
        // Of every stream the numbers go on: none is sent twice.
        for phone in &phones {
            let heard = stage.heard_by(phone);
            let numbers: std::collections::HashSet<(u32, u16)> =
                heard.iter().map(|sent| (sent.rtp().ssrc, sent.rtp().sequence)).collect();
            prop_assert_eq!(numbers.len(), heard.len());
        }
        for phone in &phones {
            stage.bay.close(stage.wire.now_us, 0, phone.slot, &mut stage.wire);
        }
        prop_assert_eq!(stage.bay.due_us(), None);
        stage.bay.assert_well_joined();
    }
}
