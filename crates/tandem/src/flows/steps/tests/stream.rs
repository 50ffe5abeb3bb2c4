//! `stream`.
use super::*;
use crate::flows::machine::{StreamNews, StreamOrder, StreamTrack};

fn step(fields: Value) -> Value {
    let edges = json!({"closed": "a", "failed": "b"});
    let mut step = json!({"type": "stream", "url": "wss://bot.test/x", "flow": edges});
    step.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    step
}

fn order(fields: Value) -> StreamOrder {
    let run = Run::of(step(fields));
    run.find(|effect| if let Effect::Stream(order) = effect { Some(order.clone()) } else { None })
}

#[test]
fn stream_url() {
    assert_eq!(order(json!({})).url, "wss://bot.test/x");
    assert_eq!(order(json!({"url": "ws://bot.test/{{call.id}}"})).url, "ws://bot.test/call_1");
    for (url, code) in [("https://bot.test/", "invalid_url"), ("wss://{{call.id}}/", "template_in_authority")] {
        let checked = check(&Run::body(step(json!({ "url": url }))), Purpose::Run, NOW);
        assert_eq!(checked.report.errors[0].code, code, "{url}");
    }
}

#[test]
fn stream_track() {
    for (word, track) in [
        (None, StreamTrack::Bidirectional),
        (Some("inbound"), StreamTrack::Inbound),
        (Some("outbound"), StreamTrack::Outbound),
        (Some("both_tracks"), StreamTrack::Both),
    ] {
        assert_eq!(order(word.map_or(json!({}), |word| json!({ "track": word }))).track, track);
    }
}

#[test]
fn stream_params() {
    assert_eq!(
        order(json!({"params": {"lane": "sales", "n": 1}})).params,
        [("lane".to_owned(), "sales".to_owned()), ("n".to_owned(), "1".to_owned()),]
    );
}

#[test]
fn every_edge_of_a_stream() {
    let started = || Input::Stream(StreamNews::Started { stream: "stream_1".into() });
    let mut run = Run::of(step(json!({})));
    run.input(started());
    assert_eq!(run.events("stream.started")[0]["stream_sid"], "stream_1");
    run.input(Input::Stream(StreamNews::Closed));
    assert_eq!((run.at().as_str(), run.outcome()), ("a", json!("closed")));
    assert_eq!(run.events("stream.stopped")[0], json!({"stream_sid": "stream_1", "reason": "closed"}));

    let mut refused = Run::of(step(json!({})));
    refused.input(Input::Stream(StreamNews::Failed("no connection".into())));
    assert_eq!((refused.at().as_str(), refused.events("stream.stopped").len()), ("b", 0), "it never began");
    assert_eq!(refused.events("step.failed")[0]["error"], "no connection");
}

#[test]
fn who_hangs_up_ends_the_stream() {
    let mut run = Run::of(step(json!({})));
    run.input(Input::Stream(StreamNews::Started { stream: "stream_1".into() }));
    run.input(Input::Ended);
    assert_eq!(run.all(|effect| matches!(effect, Effect::StopStream).then_some(())).len(), 1);
}
