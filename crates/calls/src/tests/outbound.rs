//! Calls that a driver places: events, rows and what legs are asked, from the first ring to the end.

use serde_json::json;
use voice::cause::Cause;
use voice::leg::{LegEvent, Signal};

use super::stage::*;
use crate::*;

#[tokio::test]
async fn a_call_is_told_row_by_row_and_event_by_event() {
    let mut stage = Stage::new().await;
    let (mut call, far) = up(&mut stage).await;
    let id = call.id.clone();
    let view = stage.view(&id).await;
    assert_eq!((view.state, view.legs.len()), (CallState::Answered, 1));
    assert_eq!(view.legs[0].codec.as_deref(), Some("PCMA"));

    stage.hand.advance(2_500);
    far.tell(remote_end(Cause::Normal, None));
    assert_eq!(next(&mut call).await, CallEvent::Ended { cause: Cause::Normal, by: EndedBy::Customer });
    drop(call);
    assert_eq!(stage.kinds(&id).await, ["call.initiated", "call.ringing", "call.answered", "call.completed"]);
    let completed = stage.event(&id, "call.completed").await;
    assert_eq!(
        completed["data"],
        json!({"cause": "normal", "ended_by": "customer", "sip_code": null, "q850": null,
               "ring_s": 0.0, "talk_s": 2.5, "total_s": 2.5})
    );
    assert_eq!(completed["call"]["state"], "completed");
    let view = stage.view(&id).await;
    assert_eq!((view.state, view.cause.as_deref(), view.talk_s), (CallState::Completed, Some("normal"), 2.5));
    assert_eq!(stage.calls.live(), 0);
}

#[tokio::test]
async fn who_cannot_be_reached_is_one_completed_call() {
    let mut stage = Stage::new().await;
    stage.person("1001", 0).await;
    for (number, cause) in [("1001", Cause::Unreachable), ("+14155550100", Cause::NoRoute)] {
        let mut call = stage.calls.place(stage.new_call(number)).await.unwrap();
        let id = call.id.clone();
        assert_eq!(ended(&mut call).await, (cause, EndedBy::System));
        drop(call);
        assert_eq!(stage.kinds(&id).await, ["call.initiated", "call.completed"]);
    }
    let refused = [("12", NumberError::Unknown), ("112", NumberError::NotAllowed), ("x1", NumberError::Invalid)];
    for (number, error) in refused {
        let placed = stage.calls.place(stage.new_call(number)).await;
        assert!(matches!(placed, Err(CallError::Number(e)) if e == error), "{number}");
    }
    assert!(stage.nobody_dialled());
}

#[tokio::test]
async fn busy_says_so_with_the_sip_status() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    let mut call = stage.calls.place(stage.new_call("1001")).await.unwrap();
    stage.dialled().await.far.tell(remote_end(Cause::Busy, Some(486)));
    assert_eq!(ended(&mut call).await, (Cause::Busy, EndedBy::Customer));
    let id = call.id.clone();
    drop(call);
    assert_eq!(stage.event(&id, "call.completed").await["data"]["sip_code"], 486);
}

#[tokio::test]
async fn nobody_answers_within_the_ring_time() {
    let mut stage = Stage::new().await;
    stage.person("1001", 2).await;
    let mut call = stage.calls.place(NewCall { timeout_ms: 5_000, ..stage.new_call("1001") }).await.unwrap();
    let (mut one, mut two) = (stage.dialled().await.far, stage.dialled().await.far);
    one.tell(LegEvent::Ringing);
    two.tell(LegEvent::Ringing);
    assert_eq!(next(&mut call).await, CallEvent::Ringing);
    stage.hand.advance(5_000);
    assert_eq!(ended(&mut call).await, (Cause::NoAnswer, EndedBy::System));
    asked_signal(&mut one, Signal::Hangup(Cause::NoAnswer)).await;
    asked_signal(&mut two, Signal::Hangup(Cause::NoAnswer)).await;
}

#[tokio::test]
async fn all_phones_of_a_person_ring_and_the_first_to_answer_has_the_call() {
    let mut stage = Stage::new().await;
    stage.person("1001", 2).await;
    let mut call = stage.calls.place(stage.new_call("1001")).await.unwrap();
    let (mut one, two) = (stage.dialled().await.far, stage.dialled().await.far);
    two.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    asked_signal(&mut one, Signal::Hangup(Cause::Canceled)).await;
    one.tell(local_end(Cause::Canceled));
    two.tell(LegEvent::Dtmf { symbol: '5', duration_ms: 90 });
    assert_eq!(next(&mut call).await, CallEvent::Dtmf { symbol: '5', duration_ms: 90 });
    assert_eq!(call.model().legs.iter().filter(|leg| leg.state == LegState::Answered).count(), 1);
}

#[tokio::test]
async fn a_hang_up_by_api_is_canceled_before_the_answer_and_normal_after_it() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    let mut call = stage.calls.place(stage.new_call("1001")).await.unwrap();
    let mut far = stage.dialled().await.far;
    assert!(matches!(stage.calls.hangup("org_other", &call.id).await, Err(CallError::NotFound)));
    stage.calls.hangup(&stage.org.id, &call.id).await.unwrap();
    assert_eq!(next(&mut call).await, CallEvent::HangupRequested);
    let waits = tokio::time::timeout(std::time::Duration::from_millis(20), call.next()).await;
    assert!(waits.is_err(), "call.completed waits for the CANCEL to finish");
    asked_signal(&mut far, Signal::Hangup(Cause::Canceled)).await;
    far.tell(remote_end(Cause::Canceled, Some(487)));
    assert_eq!(ended(&mut call).await, (Cause::Canceled, EndedBy::Api));
    stage.calls.hangup(&stage.org.id, &call.id).await.unwrap();

    let mut call = stage.calls.place(stage.new_call("1001")).await.unwrap();
    let far = stage.dialled().await.far;
    far.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    stage.calls.hangup(&stage.org.id, &call.id).await.unwrap();
    assert_eq!(next(&mut call).await, CallEvent::HangupRequested);
    far.tell(local_end(Cause::Normal));
    assert_eq!(ended(&mut call).await, (Cause::Normal, EndedBy::Api));
}

#[tokio::test]
async fn what_a_stop_of_the_server_ends_says_so() {
    let mut stage = Stage::new().await;
    let (mut talking, talker) = up(&mut stage).await;
    let mut ringing = stage.calls.place(stage.new_call("1001")).await.unwrap();
    let mut rung = stage.dialled().await.far;
    rung.tell(LegEvent::Ringing);
    assert_eq!(next(&mut ringing).await, CallEvent::Ringing);
    stage.calls.end_all();
    for (call, far) in [(&mut talking, &talker), (&mut ringing, &rung)] {
        let ends = ended(call);
        tokio::pin!(ends);
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), &mut ends).await;
        assert!(waits.is_err(), "call.completed waits for the leg");
        far.tell(local_end(Cause::ServerRestart));
        assert_eq!(within(ends).await, (Cause::ServerRestart, EndedBy::System));
    }
    asked_signal(&mut rung, Signal::Hangup(Cause::Canceled)).await;
    let completed = stage.event(&talking.id, "call.completed").await;
    assert_eq!(
        (&completed["data"]["cause"], &completed["data"]["ended_by"]),
        (&json!("server_restart"), &json!("system"))
    );
    let mut late = stage.calls.place(stage.new_call("1001")).await.unwrap();
    stage.dialled().await.far.tell(local_end(Cause::Canceled));
    assert_eq!(ended(&mut late).await, (Cause::ServerRestart, EndedBy::System), "who slipped in goes too");
}

#[tokio::test]
async fn a_call_whose_asker_left_at_any_await_is_placed_and_ended() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    let mut placed = None;
    for polls in 1..=64 {
        let new = stage.new_call("1001");
        let id = new.id.clone();
        placed = polled(stage.calls.place(new), polls).await.map(drop);
        // The leg does its duty as soon as there is one.
        stage.dialled().await.far.tell(local_end(Cause::FlowError));
        stage.quiet().await;
        assert_eq!(stage.kinds(&id).await, ["call.initiated", "call.completed"], "left after {polls} polls");
        assert_eq!(stage.view(&id).await.state, CallState::Completed);
        if placed.is_some() {
            break;
        }
    }
    assert!(placed.is_some(), "the last asker stayed to the end");
}

/// Polls a future so many times, each time when it was woken, and drops it.
async fn polled<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_leg_that_never_tells_its_end_does_not_keep_the_call() {
    let mut stage = Stage::new().await;
    let (mut call, _far) = up(&mut stage).await;
    call.hangup(Cause::Normal, EndedBy::System);
    stage.hand.advance(40_000);
    assert_eq!(ended(&mut call).await, (Cause::Normal, EndedBy::System));
}

#[tokio::test]
async fn a_call_has_a_time_limit() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    let mut call = stage.calls.place(NewCall { time_limit_ms: 60_000, ..stage.new_call("1001") }).await.unwrap();
    let mut far = stage.dialled().await.far;
    far.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    stage.hand.advance(60_000);
    let end = tokio::join!(ended(&mut call), async {
        asked_signal(&mut far, Signal::Hangup(Cause::TimeLimit)).await;
        far.tell(local_end(Cause::TimeLimit));
    });
    assert_eq!(end.0, (Cause::TimeLimit, EndedBy::System));
}

#[tokio::test]
async fn a_dropped_call_is_ended_for_its_driver() {
    let mut stage = Stage::new().await;
    let (call, mut far) = up(&mut stage).await;
    let id = call.id.clone();
    drop(call);
    asked_signal(&mut far, Signal::Hangup(Cause::FlowError)).await;
    far.tell(local_end(Cause::FlowError));
    stage.quiet().await;
    assert_eq!(stage.event(&id, "call.completed").await["data"]["cause"], "flow_error");
}

#[tokio::test]
async fn limits_refuse_and_leave_no_trace() {
    let stage = Stage::new().await;
    stage.person("1001", 1).await;
    let limit = stage.kernel.config.limits.calls_per_second;
    let mut kept = Vec::new();
    let refused = loop {
        match stage.calls.place(stage.new_call("1001")).await {
            Ok(call) => kept.push(call),
            Err(error) => break error,
        }
        assert!(kept.len() <= limit as usize);
    };
    assert!(matches!(refused, CallError::Limit(wait) if wait.seconds >= 1));
    assert_eq!(stage.calls.live(), kept.len());
    stage.calls.drain();
    assert!(matches!(stage.calls.place(stage.new_call("1001")).await, Err(CallError::Draining)));
}

#[tokio::test]
async fn rows_of_the_driver_are_committed_with_the_call() {
    let mut stage = Stage::new().await;
    stage.person("1001", 1).await;
    let row = |name: &str| {
        kernel::Write::new("insert into setting (org, name, value) values ($1, $2, 'x')", kernel::args!["org_x", name])
    };
    let mut new = stage.new_call("1001");
    new.writes = vec![row("first")];
    let mut call = stage.calls.place(new).await.unwrap();
    call.at_end(move |end, now_ms| {
        assert_eq!((end.cause, now_ms), (Cause::Rejected, NOON));
        vec![row("last")]
    });
    call.emit("step.started", Some(("1", "play")), json!({"n": 1}));
    stage.dialled().await.far.tell(remote_end(Cause::Rejected, Some(603)));
    ended(&mut call).await;
    let started = stage.event(&call.id, "step.started").await;
    assert_eq!((&started["step"], &started["data"]), (&json!({"id": "1", "type": "play"}), &json!({"n": 1})));
    let rows = stage.kernel.db.all("select name from setting where org = 'org_x' order by name", vec![]).await.unwrap();
    assert_eq!(rows.len(), 2);
}
