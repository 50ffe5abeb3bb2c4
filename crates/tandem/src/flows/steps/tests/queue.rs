//! `queue`.
use super::*;
use crate::flows::machine::{Booked, Booking, QueueNews, QueueOrder, Sounding};

fn step(fields: Value) -> Value {
    let edges = json!({"bridged": "a", "timeout": "b", "full": "c", "callback": "next"});
    let mut step = json!({"type": "queue", "team": "5263", "flow": edges});
    step.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    step
}

fn order(fields: Value) -> QueueOrder {
    Run::of(step(fields)).orders().remove(0)
}

fn joined(position: usize, expected_ms: Option<i64>) -> Input {
    Input::Queue(QueueNews::Joined { position, expected_ms })
}

impl Run {
    fn orders(&self) -> Vec<QueueOrder> {
        self.all(|effect| if let Effect::Queue(order) = effect { Some(order.clone()) } else { None })
    }

    /// What was played, oldest first.
    fn heard(&self) -> Vec<Sounding> {
        self.all(|effect| if let Effect::Play { what, .. } = effect { Some(*what) } else { None })
    }

    /// The words that were prepared, oldest first.
    fn words(&self) -> Vec<String> {
        self.all(|effect| match effect {
            Effect::Prepare { source: Source::Speech { text, .. }, .. } => Some(text.clone()),
            _ => None,
        })
    }

    fn bookings(&self) -> Vec<Booking> {
        self.all(|effect| if let Effect::Book(booking) = effect { Some((**booking).clone()) } else { None })
    }
}

#[test]
fn queue_team() {
    assert_eq!(order(json!({})).team, "5263");
    assert_eq!(order(json!({"team": 5263})).team, "5263");
    let checked = check(&Run::body(step(json!({"team": "a team"}))), Purpose::Run, NOW);
    assert_eq!(checked.report.errors[0].code, "unknown_entity");
}

#[test]
fn queue_timeout() {
    assert_eq!(order(json!({})).timeout_ms, 300_000);
    assert_eq!(order(json!({"timeout": 7})).timeout_ms, 7_000);
}

#[test]
fn queue_max_waiting() {
    assert_eq!(order(json!({})).max_waiting, 100);
    assert_eq!(order(json!({"max_waiting": 3})).max_waiting, 3);
}

#[test]
fn queue_music() {
    for (music, expected) in
        [(None, Sounding::HoldMusic), (Some("ringback"), Sounding::Ringback), (Some("silence"), Sounding::Silence)]
    {
        let mut run = Run::of(step(music.map_or(json!({}), |music| json!({ "music": music }))));
        assert_eq!(run.heard(), [], "who finds it full hears nothing of it");
        run.input(joined(1, None));
        assert_eq!(run.heard(), [expected]);
    }
    let mut run = Run::of(step(json!({"music": "https://music.test/a.wav", "announce_position": false})));
    let sound = run.all(|e| if let Effect::Prepare { sound, .. } = e { Some(*sound) } else { None })[0];
    run.input(joined(1, None));
    run.input(Input::SoundReady { sound });
    assert_eq!(run.heard(), [Sounding::HoldMusic, Sounding::Sound(sound)], "the built-in one until it is there");
}

#[test]
fn queue_announce_position() {
    let mut run = Run::of(step(json!({})));
    run.input(joined(3, Some(150_000)));
    assert_eq!(run.words(), ["You are number 3 in the queue. You will wait about 3 minutes."]);
    run.hear();
    assert_eq!(run.heard().last(), Some(&Sounding::HoldMusic), "the music goes on");
    let moved = |position| Input::Queue(QueueNews::Moved { position, expected_ms: Some(20_000) });
    run.input(moved(2));
    assert_eq!(run.words().len(), 1, "he has just heard where he stands");
    run.input(moved(1));
    run.wait(30_000);
    assert_eq!(run.words().last().unwrap(), "You are next in the queue. You will wait less than a minute.");
    run.hear();
    run.wait(600_000);
    assert_eq!(run.words().len(), 2, "nothing has changed");

    let mut silent = Run::of(step(json!({"announce_position": false})));
    silent.input(joined(3, None));
    assert_eq!((silent.words().len(), silent.heard().len()), (0, 1));
}

#[test]
fn queue_callback_key() {
    let mut run = Run::of(step(json!({"callback_key": "1", "announce_position": false})));
    run.input(joined(2, None));
    assert_eq!(run.words(), ["To be called back instead of waiting, press 1."]);
    run.hear();
    run.keys("2");
    assert_eq!(run.bookings(), []);
    run.wait(90_000);
    run.keys("1");
    let booking = run.bookings().remove(0);
    assert_eq!((booking.entity.as_str(), booking.customer.as_str(), booking.asap), ("5263", "+917507161643", true));
    assert_eq!(
        (booking.date.as_str(), booking.time.as_str()),
        ("2026-11-21", "00:00:00"),
        "the place of who joined then"
    );
    assert_eq!(run.all(|e| matches!(e, Effect::LeaveQueue).then_some(())).len(), 1);
    run.input(Input::Booked(Booked::Now { key: "cb_1".into() }));
    assert_eq!(run.events("callback.scheduled")[0]["callback"], "cb_1");
    assert!(run.words().last().unwrap().contains("call you back"));
    run.hear();
    assert_eq!(run.at(), "next");
}

#[test]
fn a_refused_callback_keeps_the_place() {
    let mut run = Run::of(step(json!({"callback_key": "*"})));
    run.input(joined(2, None));
    run.wait(1_000);
    run.keys("*");
    run.input(Input::Booked(Booked::Refused("store")));
    let again = run.orders().pop().unwrap();
    assert_eq!((again.joined_ms, run.orders().len(), run.at().as_str()), (Some(NOW), 2, "s"));
}

#[test]
fn every_edge_of_a_queue() {
    let ends = [
        (vec![QueueNews::Bridged, QueueNews::Ended], "a", Cause::Normal),
        (vec![QueueNews::Timeout], "b", Cause::NoAnswer),
        (vec![QueueNews::Full], "c", Cause::Busy),
    ];
    for (news, edge, cause) in ends {
        let mut run = Run::of(step(json!({})));
        let mut bare = Run::of(json!({"type": "queue", "team": "5263"}));
        for run in [&mut run, &mut bare] {
            run.input(joined(1, None));
            for news in &news {
                run.input(Input::Queue(*news));
            }
        }
        assert_eq!((run.at().as_str(), bare.hung_up()), (edge, Some(cause)));
    }
}

#[test]
fn whoever_talks_hears_nothing_of_the_queue_until_the_agent_is_lost() {
    let mut run = Run::of(step(json!({"callback_key": "1"})));
    run.input(joined(1, None));
    let sound = run.all(|e| if let Effect::Prepare { sound, .. } = e { Some(*sound) } else { None })[0];
    run.input(Input::Queue(QueueNews::Bridged));
    run.input(Input::SoundReady { sound });
    run.keys("1");
    run.wait(60_000);
    assert_eq!((run.heard().len(), run.bookings().len()), (1, 0));
    run.input(joined(1, None));
    assert_eq!(run.heard(), [Sounding::HoldMusic, Sounding::HoldMusic]);
}

#[test]
fn words_that_nobody_will_hear_are_let_go() {
    let released = |run: &Run| run.all(|e| if let Effect::Release { sound } = e { Some(*sound) } else { None });
    for spoken in [false, true] {
        let mut run = Run::of(step(json!({})));
        run.input(joined(1, None));
        let sound = run.all(|e| if let Effect::Prepare { sound, .. } = e { Some(*sound) } else { None })[0];
        if spoken {
            run.input(Input::SoundReady { sound });
        }
        run.input(Input::Queue(QueueNews::Bridged));
        assert_eq!(released(&run), [sound]);
    }
}

#[test]
fn who_cannot_be_called_back_is_not_offered_it() {
    let anonymous = Setup { customer: "anonymous".into(), ..Setup::default() };
    let mut run = Run::new(Run::body(step(json!({"callback_key": "1", "announce_position": false}))), anonymous);
    run.log.extend(run.machine.start(NOW, true));
    run.input(Input::Answered);
    run.input(joined(2, None));
    assert_eq!(run.words(), Vec::<String>::new(), "not even by silence");
}
