//! T3 on the machine: thousands of random runs, hung up at random moments, and a week of time in each; a hang-up is
//! ordered at most once, every step that began has one end at most, and nothing comes after the end.
use proptest::prelude::*;

use super::*;
use crate::flows::machine::{Booked, ConnectStatus, HttpFailure, Message};

/// Every step type, in a circle that takes time.
fn flow() -> Value {
    json!({"record": true, "flow": [
        {"id": 0, "type": "call", "number": "5263", "next_step": 1, "flow": {"busy": 5, "failed": 8}},
        {"id": 1, "type": "play", "url": "http://h/x.mp3", "text": "hello", "bargein": true, "loop": 2, "next_step": 2},
        {"id": 2, "type": "digits", "count": 3, "tries": 2, "sensitive": true, "prompt": {"text": "pin"}, "variable": "pin", "flow": {"12": 3, "*": 4, "invalid": 9}, "next_step": 7},
        {"id": 3, "type": "http", "url": "http://h/{{digits}}", "retries": 1, "hold_music": "http://h/m.mp3", "flow": {"success": 4, "fail": 5}},
        {"id": 4, "type": "connect", "number": "5263", "whisper": "a call", "hold_music": "http://h/m.mp3", "record": true, "next_step": 6},
        {"id": 5, "type": "callback", "date": "2026-11-22", "time": "10:00", "entity": 5263, "next_step": 8},
        {"id": 6, "type": "voicemail", "box": 1001, "next_step": 10},
        {"id": 7, "type": "menu", "text": "again?", "flow": {"1": 1, "2": 11}, "next_step": 9},
        {"id": 8, "type": "set", "vars": {"a": "1"}, "next_step": 3},
        {"id": 9, "type": "send_dtmf", "digits": "1w2", "next_step": 12},
        {"id": 10, "type": "pause", "seconds": 600, "next_step": 2},
        {"id": 11, "type": "transfer", "to": "5263"},
        {"id": 12, "type": "branch", "variable": "digits", "op": "exists", "flow": {"true": 13}, "next_step": 1},
        {"id": 13, "type": "record", "action": "stop", "next_step": 14},
        {"id": 14, "type": "record", "action": "start", "next_step": 1},
    ]})
}

/// Something that may happen, whether the machine asked for it or not.
fn happening() -> impl Strategy<Value = (u8, u8, i64)> {
    (0_u8..24, any::<u8>(), prop_oneof![Just(0_i64), 0_i64..20_000, Just(86_400_000)])
}

fn input(kind: u8, choice: u8, run: &Run) -> Input {
    let token = u64::from(choice % 40);
    let newest = |pick: fn(&Effect) -> Option<u64>| run.log.iter().rev().find_map(pick).unwrap_or(token);
    match kind {
        0..=3 => Input::Answered,
        4 => Input::NotAnswered { cause: Cause::Busy },
        5..=8 => Input::Dtmf { symbol: ['1', '2', '*', '#'][usize::from(choice % 4)], duration_ms: 80 },
        9 | 10 => Input::SoundReady {
            sound: newest(|e| if let Effect::Prepare { sound, .. } = e { Some(*sound) } else { None }),
        },
        11 => Input::SoundFailed {
            sound: newest(|e| if let Effect::Prepare { sound, .. } = e { Some(*sound) } else { None }),
            error: "x".into(),
        },
        12..=14 => Input::PlayEnded {
            play: newest(|e| match e {
                Effect::Play { play, .. } | Effect::SendDtmf { play, .. } => Some(*play),
                _ => None,
            }),
        },
        15 | 16 => Input::HttpDone {
            request: newest(|e| if let Effect::Http { request, .. } = e { Some(*request) } else { None }),
            answer: if choice.is_multiple_of(2) {
                Answer::Response { status: 200, body: "{}".into() }
            } else {
                Answer::Failure(HttpFailure::Connect)
            },
        },
        17 => Input::ConnectEnded {
            status: if choice.is_multiple_of(2) { ConnectStatus::Completed } else { ConnectStatus::NoAnswer },
        },
        18 => Input::Booked(if choice.is_multiple_of(2) { Booked::Now { key: "cb_1".into() } } else { Booked::Before }),
        19 => Input::Message(Message::Left),
        20 => Input::Message(Message::Empty),
        21 => Input::PlayEnded { play: token },
        _ => Input::Tick,
    }
}

fn judge(run: &Run, announced: bool) {
    let hangups = run.all(|effect| matches!(effect, Effect::Hangup { .. }).then_some(())).len();
    assert!(hangups <= 1, "{hangups} hang-ups");
    let started = run.path().len();
    let ended = run.all(|effect| match effect {
        Effect::Emit { kind: "step.completed" | "step.failed", data, .. } if data.get("outcome").is_some() => Some(()),
        _ => None,
    });
    assert!(ended.len() == started || ended.len() + 1 == started, "{started} began, {} ended", ended.len());
    if announced {
        let told = run.log.iter().position(
            |effect| matches!(effect, Effect::Prepare { source, .. } if *source == speech("You are recorded.")),
        );
        let recorded = run.log.iter().position(|effect| *effect == Effect::Record(RecordAction::Start));
        let in_time = recorded.is_none_or(|recorded| told.is_some_and(|told| told < recorded));
        assert!(in_time, "recorded without a word");
    }
    assert!(!run.log.iter().any(|effect| matches!(effect, Effect::SaveVariables(map) if map.contains_key("pin"))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hangup_all_moments(happenings in prop::collection::vec(happening(), 1..60), moment in 0_usize..60, announced in any::<bool>()) {
        let announcement = announced.then(|| "You are recorded.".to_owned());
        let mut run = Run::new(flow(), Setup { announcement, ..Setup::default() });
        run.log.extend(run.machine.start(NOW, true));
        for (index, (kind, choice, ms)) in happenings.into_iter().enumerate() {
            if index == moment {
                break;
            }
            run.input(input(kind, choice, &run));
            run.wait(ms);
        }
        let waits_for_http = run.log.iter().rev().find_map(|effect| match effect {
            Effect::Http { request, .. } => Some(*request),
            _ => None,
        });
        let last = run.input(Input::Ended);
        let only_cancels = last.iter().all(|effect| matches!(effect, Effect::CancelHttp { request } if Some(*request) == waits_for_http));
        prop_assert!(only_cancels, "an ended call asks for {:?}", last);
        prop_assert!(run.machine.is_over());
        judge(&run, announced);
        let after = run.log.len();
        run.wait(7 * 86_400_000);
        run.input(Input::Answered);
        run.input(Input::Ended);
        prop_assert_eq!(run.log.len(), after);
    }
}
