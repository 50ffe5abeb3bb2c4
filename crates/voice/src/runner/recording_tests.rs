//! Recordings on the patch bay's stage: what is on which channel, and when.

use media::codec::CodecKind;
use media::play::Sound;
use sha2::{Digest as _, Sha256};

use super::mailbox::Order;
use super::stage::{Phone, Stage, bridged, share, sine};
use crate::leg::{LegEvent, PlayMode, Playable, RecordCommand};

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
