//! `play`.
use super::*;
use crate::flows::machine::Sounding;

#[test]
fn field_text() {
    let mut run = Run::of(json!({"type": "say", "text": "Hi {{call.to}} {{nobody}}!", "next_step": "next"}));
    assert_eq!(run.sources(), [speech("Hi +917507161643 !")]);
    run.hear();
    assert_eq!((run.at(), run.outcome()), ("next".into(), json!("completed")));
}

#[test]
fn field_url() {
    let mut run =
        Run::of(json!({"type": "play", "url": "https://h/{{call.id}}.mp3", "text": "spoken", "next_step": "next"}));
    assert_eq!(run.sources(), [Source::Url("https://h/call_1.mp3".into())]);
    run.sound_failed();
    assert_eq!(run.sources()[1], speech("spoken"), "the text stands in for the URL");
    run.hear();
    assert_eq!(run.at(), "next");
    let missing = Run::of(json!({"type": "play", "url": "https://h/{{nobody}}", "text": "spoken"}));
    assert_eq!(missing.sources(), [speech("spoken")], "a URL without its value fails");
}

#[test]
fn field_voice() {
    let run = Run::of(json!({"type": "play", "text": "x", "voice": "rms"}));
    assert_eq!(run.sources(), [Source::Speech { text: "x".into(), voice: Some("rms".into()), language: None }]);
}

#[test]
fn field_language() {
    let run = Run::of(json!({"type": "play", "text": "x", "language": "de-DE"}));
    assert_eq!(run.sources(), [Source::Speech { text: "x".into(), voice: None, language: Some("de-DE".into()) }]);
}

#[test]
fn field_loop() {
    let mut run = Run::of(json!({"type": "play", "text": "x", "loop": 3}));
    run.sound_ready();
    let loops =
        run.find(
            |effect| {
                if let Effect::Play { loops, what: Sounding::Sound(_), .. } = effect { Some(*loops) } else { None }
            },
        );
    assert_eq!(loops, 3);
}

#[test]
fn field_bargein() {
    let mut run = Run::of(json!({"type": "play", "text": "x", "next_step": "next"}));
    run.sound_ready();
    assert!(run.keys("1").is_empty(), "by default keys do not stop it");
    let mut run = Run::of(json!({"type": "play", "text": "x", "bargein": true, "next_step": "next"}));
    run.sound_ready();
    assert_eq!(run.keys("1")[0], Effect::StopPlay);
    assert_eq!((run.at(), run.outcome()), ("next".into(), json!("bargein")));
}

#[test]
fn edge_next_step() {
    let mut run = Run::of(json!({"type": "play", "url": "https://h/x.mp3", "next_step": "next"}));
    run.sound_failed();
    assert_eq!(run.at(), "next", "without the edge fail the flow goes on");
    assert_eq!(run.events("step.failed")[0]["error"], json!("404"));
    let mut last = Run::of(json!({"type": "play", "text": "x"}));
    last.hear();
    assert_eq!(last.hung_up(), Some(Cause::Normal));
}

#[test]
fn edge_fail() {
    let mut run =
        Run::of(json!({"type": "play", "url": "https://h/x.mp3", "next_step": "next", "flow": {"fail": "a"}}));
    run.sound_failed();
    assert_eq!(run.at(), "a");
    let missing = Run::of(json!({"type": "play", "url": "https://h/{{nobody}}", "next_step": {"fail": "a"}}));
    assert_eq!(missing.at(), "a");
}

#[test]
fn a_stale_end_of_another_playback_is_ignored() {
    let mut run = Run::of(json!({"type": "play", "text": "x", "next_step": "next"}));
    run.sound_ready();
    run.input(Input::PlayEnded { play: 999 });
    run.input(Input::SoundReady { sound: 999 });
    assert_eq!(run.at(), "s");
}
