//! Rooms on the patch bay's stage, and on real threads: who hears whom, and that nothing stays behind.

use media::codec::CodecKind;
use media::play::Sound;

use super::mailbox::{Order, RoomOrder};
use super::remote::Direction;
use super::room::Part;
use super::stage::{EVENTS, Phone, Sent, Stage, share, sine};
use crate::leg::{LegEvent, LegEvents, PlayMode, Playable, RecordCommand};

const ROOM: u64 = 900;
/// What a tone must have of a mix to be in it, and what it may have when it is not. Twenty tones have a twentieth each.
const PRESENT: f64 = 0.02;
const ABSENT: f64 = 0.002;

/// The tone of the phone of this number: whole hertz, so that a second of one has nothing of another.
fn tone(index: usize) -> f64 {
    300.0 + 150.0 * index as f64
}

/// A sine that twenty of do not overdrive.
fn soft(hz: f64, rate: u32) -> impl Fn(usize) -> i16 {
    let loud = sine(hz, rate);
    move |sample| loud(sample) / 18
}

fn open(stage: &mut Stage) {
    stage.bay.carry_out_in_room(stage.wire.now_us, ROOM, RoomOrder::Open);
}

fn enter(stage: &mut Stage, phone: &Phone, part: Part) {
    stage.bay.enter_room(stage.wire.now_us, phone.slot, ROOM, part);
    stage.bay.assert_well_joined();
}

/// Phones of these codecs in one room.
fn meeting(codecs: &[CodecKind]) -> (Stage, Vec<Phone>) {
    let mut stage = Stage::new();
    open(&mut stage);
    let phones: Vec<Phone> = codecs.iter().map(|codec| stage.leg(*codec)).collect();
    phones.iter().for_each(|phone| enter(&mut stage, phone, Part::Speaker));
    (stage, phones)
}

/// All talk for so many frames, each in its tone.
fn talk(stage: &mut Stage, phones: &mut [Phone], frames: usize) {
    for _ in 0..frames {
        for (index, phone) in phones.iter_mut().enumerate() {
            let rate = phone.remote.codec.sample_rate();
            stage.say(phone, soft(tone(index), rate));
        }
        stage.pass(20);
    }
}

/// The numbers of the tones that a phone has heard, of so many, in its last second.
fn tones(stage: &mut Stage, phone: &Phone, of: usize) -> Vec<usize> {
    let sent = stage.heard_by(phone);
    let pcm = phone.decode(&sent);
    let rate = phone.remote.codec.sample_rate();
    let last = &pcm[pcm.len() - rate as usize..];
    let share_of = |index: usize| share(last, tone(index), rate);
    let in_doubt: Vec<_> = (0..of).map(share_of).filter(|share| (ABSENT..PRESENT).contains(share)).collect();
    assert!(in_doubt.is_empty(), "{in_doubt:?}");
    (0..of).filter(|index| share_of(*index) >= PRESENT).collect()
}

/// All numbers below `of` without one.
fn without(of: usize, one: usize) -> Vec<usize> {
    (0..of).filter(|index| *index != one).collect()
}

#[test]
fn twenty_legs_of_four_codecs_hear_all_others_and_not_themselves() {
    let codecs: Vec<CodecKind> = CodecKind::ALL.into_iter().cycle().take(20).collect();
    let (mut stage, mut phones) = meeting(&codecs);
    talk(&mut stage, &mut phones, 100);
    for (index, phone) in phones.iter().enumerate() {
        assert_eq!(tones(&mut stage, phone, 20), without(20, index), "{index} {:?}", phone.remote.codec);
    }
}

#[test]
fn who_is_muted_or_listens_is_not_heard_and_hears() {
    let (mut stage, mut phones) = meeting(&[CodecKind::Pcmu; 3]);
    enter(&mut stage, &phones[1], Part::Listener);
    talk(&mut stage, &mut phones, 100);
    let heard = |stage: &mut Stage, phones: &[Phone]| -> Vec<Vec<usize>> {
        phones.iter().map(|phone| tones(stage, phone, 3)).collect()
    };
    assert_eq!(heard(&mut stage, &phones), [vec![2], vec![0, 2], vec![0]]);
    enter(&mut stage, &phones[1], Part::Speaker);
    talk(&mut stage, &mut phones, 100);
    assert_eq!(heard(&mut stage, &phones), [vec![1, 2], vec![0, 2], vec![0, 1]]);
    let agent = Part::Whisperer(stage.key(&phones[0]));
    enter(&mut stage, &phones[1], agent);
    talk(&mut stage, &mut phones, 100);
    assert_eq!(heard(&mut stage, &phones), [vec![1, 2], vec![0, 2], vec![0]]);
}

#[test]
fn a_phone_that_holds_the_room_neither_speaks_nor_hears() {
    let (mut stage, mut phones) = meeting(&[CodecKind::Pcmu, CodecKind::Pcma, CodecKind::G722]);
    talk(&mut stage, &mut phones, 20);
    let mut held = phones[1].remote.clone();
    // Its hold music comes all the same.
    held.direction = Direction::RecvOnly;
    stage.order(&phones[1], Order::Remote(Box::new(held.clone())));
    stage.heard_by(&phones[1]);
    talk(&mut stage, &mut phones, 100);
    assert_eq!(tones(&mut stage, &phones[0], 3), [2]);
    assert!(stage.heard_by(&phones[1]).is_empty());
    held.direction = Direction::SendRecv;
    stage.order(&phones[1], Order::Remote(Box::new(held)));
    talk(&mut stage, &mut phones, 100);
    assert_eq!(tones(&mut stage, &phones[0], 3), [1, 2]);
    assert_eq!(tones(&mut stage, &phones[1], 3), [0, 2]);
}

#[test]
fn the_keys_of_two_parties_pass_between_them_and_nobody_elses_do() {
    let (mut stage, mut phones) = meeting(&[CodecKind::Pcmu, CodecKind::Pcma, CodecKind::Pcmu, CodecKind::Pcmu]);
    let mut pressed = |stage: &mut Stage, who: usize| -> Vec<usize> {
        stage.wire.sent.clear();
        for datagram in phones[who].key(5) {
            stage.deliver(phones[who].slot, phones[who].address, &datagram);
            stage.pass(20);
        }
        stage.pass(300);
        let is_key = |sent: &Sent| sent.rtp().payload_type == EVENTS && sent.rtp().payload[0] == 5;
        (0..4).filter(|other| stage.heard_by(&phones[*other]).iter().any(is_key)).collect()
    };
    assert_eq!(pressed(&mut stage, 0), [0; 0], "a conference keeps keys to itself");
    for party in 0..2 {
        stage.bay.enter_room(stage.wire.now_us, party, ROOM, Part::Party);
    }
    assert_eq!(pressed(&mut stage, 0), [1]);
    assert_eq!(pressed(&mut stage, 1), [0]);
    assert_eq!(pressed(&mut stage, 2), [0; 0], "whoever else is there presses for himself");
    let keys = stage.told().iter().filter(|(_, event)| matches!(event, LegEvent::Dtmf { symbol: '5', .. })).count();
    assert_eq!(keys, 4, "each is told once");
    talk(&mut stage, &mut phones, 100);
    assert_eq!(tones(&mut stage, &phones[0], 4), [1, 2, 3], "a party is heard as any speaker is");
}

#[test]
fn what_is_played_to_a_member_goes_before_the_room() {
    let (mut stage, mut phones) = meeting(&[CodecKind::Pcmu; 2]);
    let words = Sound { rate: 8_000, pcm: (0..16_000).map(soft(3_000.0, 8_000)).collect() };
    stage.order(&phones[0], Order::Play(7, Playable::Sound(words), PlayMode::ONCE));
    talk(&mut stage, &mut phones, 90);
    assert_eq!(tones(&mut stage, &phones[0], 2), [0; 0], "the words alone");
    assert_eq!(tones(&mut stage, &phones[1], 2), [0]);
    talk(&mut stage, &mut phones, 100);
    assert_eq!(tones(&mut stage, &phones[0], 2), [1]);
    assert!(stage.told().iter().any(|(_, event)| matches!(event, LegEvent::PlayEnded { play: 7 })));
}

#[test]
fn a_leg_is_in_one_place_at_a_time_and_a_room_that_closes_lets_all_go() {
    let (mut stage, mut phones) = meeting(&[CodecKind::Pcmu; 4]);
    stage.bay.bridge(0, phones[0].slot, phones[1].slot);
    stage.bay.assert_well_joined();
    talk(&mut stage, &mut phones, 100);
    let heard: Vec<_> = phones.iter().map(|phone| tones(&mut stage, phone, 4)).collect();
    assert_eq!(heard, [[1], [0], [3], [2]]);
    enter(&mut stage, &phones[0], Part::Speaker);
    talk(&mut stage, &mut phones, 100);
    assert_eq!(tones(&mut stage, &phones[3], 4), [0, 2]);
    stage.order(&phones[2], Order::LeaveRoom);
    stage.bay.assert_well_joined();
    stage.bay.close(stage.wire.now_us, 0, phones[3].slot, &mut stage.wire);
    stage.bay.assert_well_joined();
    stage.bay.carry_out_in_room(stage.wire.now_us, ROOM, RoomOrder::Close);
    stage.bay.assert_well_joined();
    enter(&mut stage, &phones[0], Part::Speaker);
    stage.pass(1_000);
    stage.heard_by(&phones[0]);
    for _ in 0..100 {
        stage.say(&mut phones[1], soft(500.0, 8_000));
        stage.pass(20);
    }
    let comfort = stage.heard_by(&phones[0]);
    assert!(comfort.len() < 10, "a closed room mixes for nobody: {}", comfort.len());
}

#[test]
fn the_leg_at_which_a_mix_fails_ends_alone() {
    let (mut stage, mut phones) = meeting(&[CodecKind::Pcmu; 3]);
    talk(&mut stage, &mut phones, 5);
    let evicted = stage.bay.evict(stage.wire.now_us).unwrap();
    stage.bay.assert_well_joined();
    phones.retain(|phone| phone.slot != evicted);
    assert_eq!(phones.len(), 2);
    talk(&mut stage, &mut phones, 100);
    assert_eq!(tones(&mut stage, &phones[0], 2), [1]);
    assert_eq!(tones(&mut stage, &phones[1], 2), [0]);
}

#[test]
fn a_room_is_recorded_as_all_hear_it_whoever_comes_and_goes() {
    let (mut stage, mut phones) = meeting(&[CodecKind::Pcmu, CodecKind::Opus, CodecKind::Pcma]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("room.wav");
    let record = |stage: &mut Stage, command| {
        let events = LegEvents::new("leg_9".into(), Some(stage.sink()));
        stage.bay.carry_out_in_room(stage.wire.now_us, ROOM, RoomOrder::Record(command, events));
    };
    record(&mut stage, RecordCommand::Start { id: "rec_1".into(), path: path.clone(), rate: 8_000 });
    talk(&mut stage, &mut phones, 100);
    record(&mut stage, RecordCommand::Pause);
    talk(&mut stage, &mut phones, 50);
    record(&mut stage, RecordCommand::Resume);
    stage.bay.close(stage.wire.now_us, 0, phones[0].slot, &mut stage.wire);
    let mut silenced = phones.split_off(1);
    for _ in 0..100 {
        for (index, phone) in silenced.iter_mut().enumerate() {
            let rate = phone.remote.codec.sample_rate();
            stage.say(phone, soft(tone(index + 1), rate));
        }
        stage.pass(20);
    }
    stage.bay.carry_out_in_room(stage.wire.now_us, ROOM, RoomOrder::Close);
    stage.told();
    let LegEvent::RecordingReady { id, seconds, channels, .. } = stage.wait_told() else { panic!("no recording") };
    assert_eq!((&*id, channels), ("rec_1", 2));
    assert!((3.9..=4.1).contains(&seconds), "{seconds}");
    let samples: Vec<i16> = hound::WavReader::open(&path).unwrap().samples().map(Result::unwrap).collect();
    let left: Vec<i16> = samples.iter().step_by(2).copied().collect();
    let right: Vec<i16> = samples.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(left, right);
    let present = |pcm: &[i16]| (0..3).filter(|index| share(pcm, tone(*index), 8_000) > PRESENT).collect::<Vec<_>>();
    assert_eq!(present(&left[7_000..15_000]), [0, 1, 2]);
    assert_eq!(present(&left[left.len() - 8_000..]), [1, 2]);
}
