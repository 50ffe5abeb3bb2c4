//! Transfer with consultation: which two are left, in which call, and that nobody is lost on the way.

use std::sync::Arc;

use tokio::sync::mpsc;
use voice::Target;
use voice::cause::Cause;
use voice::leg::{LegEvent, LegId, Replaced, Signal};
use voice::runner::script::{Asked, ScriptedLeg};

use super::stage::*;
use crate::*;

/// A number of the organisation's own.
const ROOM: &str = "+442071838750";

fn refers(to: &str, leg: &LegId) -> LegEvent {
    let to = format!("sip:{to}@127.0.0.1");
    LegEvent::TransferRequested { to, replaces: Some(Replaced::Leg(leg.clone())) }
}

/// 1001 calls somebody, as its phone does; both legs.
async fn talks(stage: &mut Stage, from: &str, to: &str) -> (ScriptedLeg, ScriptedLeg) {
    // Calls are listed by their time.
    stage.hand.advance(1_000);
    let mut caller = stage.phone_calls(from, to).await;
    let callee = stage.dialled().await.far;
    callee.tell(answered());
    asked(&mut caller, |asked| matches!(asked, Asked::Bridge(_))).await;
    caller.tell(answered());
    (caller, callee)
}

async fn people(stage: &Stage) {
    for extension in ["1001", "1002", "1003"] {
        stage.person(extension, 1).await;
    }
}

/// Both calls there are, the older first.
async fn two_calls(stage: &Stage) -> [String; 2] {
    stage.kernel.db.writer().flush().await.unwrap();
    let page = stage.calls.list(&stage.org.id, CallFilter::default(), 10).await.unwrap();
    let mut ids: Vec<String> = page.calls.into_iter().map(|call| call.id).collect();
    ids.reverse();
    ids.try_into().unwrap()
}

#[tokio::test]
async fn a_caller_who_consults_leaves_the_other_two_together() {
    let mut stage = Stage::new().await;
    people(&stage).await;
    // 1001 calls 1002, then asks 1003, then lets the two talk.
    let (mut first, mut callee) = talks(&mut stage, "1001", "1002").await;
    let (mut second, consulted) = talks(&mut stage, "1001", "1003").await;
    let [kept, given] = two_calls(&stage).await;
    first.tell(refers("1003", second.id()));
    asked_signal(&mut first, Signal::AcceptTransfer(true)).await;
    asked_signal(&mut second, Signal::Hangup(Cause::Normal)).await;
    let mut heir = consulted;
    asked(&mut heir, |asked| matches!(asked, Asked::Bridge(id) if id == callee.id())).await;
    first.tell(local_end(Cause::Normal));
    second.tell(local_end(Cause::Normal));
    within(async {
        while !stage.is_completed(&given).await {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    let over = stage.view(&given).await;
    assert_eq!((over.cause.as_deref(), over.ended_by.as_deref()), (Some("normal"), Some("customer")));
    let kinds = stage.kinds(&given).await;
    assert_eq!(kinds[kinds.len() - 2..], ["connect.ended", "call.completed"]);
    assert!(!stage.is_completed(&kept).await, "the two talk on");
    let kinds = stage.kinds(&kept).await;
    assert_eq!(kinds[kinds.len() - 2..], ["transfer.started", "transfer.completed"]);
    assert_eq!(stage.event(&kept, "transfer.completed").await["data"]["to"], "1003");

    // What he does now is that call's business: it stands on him.
    heir.tell(LegEvent::Held);
    within(async {
        while stage.kinds(&kept).await.last().is_none_or(|kind| kind != "call.held") {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    heir.tell(remote_end(Cause::Normal, None));
    asked_signal(&mut callee, Signal::Hangup(Cause::Normal)).await;
    callee.tell(local_end(Cause::Normal));
    stage.quiet().await;
    let view = stage.view(&kept).await;
    assert_eq!((view.state, view.cause.as_deref()), (CallState::Completed, Some("normal")));
    for extension in ["1001", "1002", "1003"] {
        assert!(!stage.calls.presence(&stage.org.id, extension).busy, "{extension}");
    }
}

#[tokio::test]
async fn an_agent_who_consults_gives_the_customer_on_and_the_flow_goes_on_with_him() {
    let mut stage = Stage::new().await;
    people(&stage).await;
    stage.trunk("+442071838000").await;
    let mut call = stage.calls.place(stage.new_call("+442071838111")).await.unwrap();
    let mut customer = stage.dialled().await.far;
    customer.tell(answered());
    assert_eq!(next(&mut call).await, CallEvent::Answered);
    call.connect(Connect::to("1001"));
    let (_, mut agent) = tokio::join!(next(&mut call), async {
        let far = stage.dialled().await.far;
        far.tell(answered());
        far
    });
    let (mut second, mut consulted) = talks(&mut stage, "1001", "1003").await;
    agent.tell(refers("1003", second.id()));
    let waits = tokio::time::timeout(std::time::Duration::from_millis(100), call.next()).await;
    assert!(waits.is_err(), "{waits:?}");
    asked_signal(&mut agent, Signal::AcceptTransfer(true)).await;
    asked(&mut customer, |asked| matches!(asked, Asked::Bridge(id) if id == consulted.id())).await;
    asked_signal(&mut second, Signal::Hangup(Cause::Normal)).await;
    agent.tell(local_end(Cause::Normal));
    second.tell(local_end(Cause::Normal));
    assert!(consulted.asked().iter().all(|asked| !matches!(asked, Asked::Signal(Signal::Hangup(_)))));
    consulted.tell(remote_end(Cause::Normal, None));
    let over = ConnectEvent::Ended { status: ConnectStatus::Completed, cause: Cause::Normal };
    assert_eq!(next(&mut call).await, CallEvent::Connect(over), "the flow goes on with the customer");
    assert_eq!(stage.kinds(&call.id).await.iter().filter(|kind| kind.starts_with("transfer.")).count(), 2);
}

#[tokio::test]
async fn what_cannot_be_transferred_is_declined_and_goes_on() {
    let mut stage = Stage::new().await;
    people(&stage).await;
    let (mut first, callee) = talks(&mut stage, "1001", "1002").await;
    let strangers = Replaced::Stranger;
    first.tell(LegEvent::TransferRequested { to: "sip:1003@127.0.0.1".into(), replaces: Some(strangers) });
    asked_signal(&mut first, Signal::AcceptTransfer(false)).await;
    // A leg of the same call, and one that nobody has.
    for leg in [callee.id().clone(), "leg_none".into()] {
        first.tell(refers("1003", &leg));
        asked_signal(&mut first, Signal::AcceptTransfer(false)).await;
    }
    // The consulted one still rings.
    stage.hand.advance(1_000);
    let mut second = stage.phone_calls("1001", "1003").await;
    let ringing = stage.dialled().await.far;
    ringing.tell(LegEvent::Ringing);
    asked_signal(&mut second, Signal::Ring).await;
    first.tell(refers("1003", second.id()));
    asked_signal(&mut first, Signal::AcceptTransfer(false)).await;
    let [kept, _] = two_calls(&stage).await;
    let kinds = stage.kinds(&kept).await;
    assert_eq!(kinds[kinds.len() - 2..], ["transfer.started", "transfer.failed"]);
    assert_eq!(stage.calls.live(), 2);
}

/// A number of the organisation's that leads into a conference; the calls that came there.
async fn meeting_room(stage: &Stage) -> mpsc::Receiver<(Call, InboundNumber)> {
    bind_number(&stage.kernel, &stage.org.id, ROOM, &Bound::Flow("flow_7".into())).await.unwrap();
    let (sender, desk) = mpsc::channel(1);
    stage.calls.on_inbound(InboundKind::Flow, Arc::new(Desk(sender)));
    desk
}

/// Who was sent to the room's number reaches it: the call that is dialled goes there.
async fn is_sent_to_the_room(stage: &mut Stage) {
    let dialled = stage.dialled().await;
    assert!(matches!(&dialled.order.target, Target::Own { number, .. } if number == ROOM), "{:?}", dialled.order);
}

#[tokio::test]
async fn a_caller_is_sent_into_a_conference_blindly_or_by_whoever_is_in_it() {
    let mut stage = Stage::new().await;
    people(&stage).await;
    let mut desk = meeting_room(&stage).await;
    // Blindly.
    let (caller, mut callee) = talks(&mut stage, "1001", "1002").await;
    callee.tell(LegEvent::TransferRequested { to: format!("sip:{ROOM}@127.0.0.1"), replaces: None });
    asked_signal(&mut callee, Signal::AcceptTransfer(true)).await;
    is_sent_to_the_room(&mut stage).await;
    let blind = stage.newest_call().await.unwrap();
    let started = stage.event(&blind, "transfer.started").await;
    assert_eq!(started["data"]["to"], ROOM);
    callee.tell(local_end(Cause::Normal));
    caller.tell(remote_end(Cause::Normal, None));

    // By one who is in the conference.
    let (mut first, mut callee) = talks(&mut stage, "1001", "1003").await;
    stage.hand.advance(1_000);
    let mut second = stage.phone_calls("1001", ROOM).await;
    let (mut inside, _) = within(desk.recv()).await.unwrap();
    inside.answer();
    asked_signal(&mut second, Signal::Answer).await;
    second.tell(answered());
    assert_eq!(next(&mut inside).await, CallEvent::Answered);
    let wish = JoinConference { room: "sales".into(), max: 5, muted: false, record: false, announced: false };
    inside.join_conference(wish);
    assert_eq!(next(&mut inside).await, CallEvent::Conference(ConferenceEvent::Joined));
    first.tell(refers(ROOM, second.id()));
    let driven = async {
        asked_signal(&mut second, Signal::Hangup(Cause::Normal)).await;
        second.tell(local_end(Cause::Normal));
    };
    let (over, ()) = tokio::join!(ended(&mut inside), driven);
    assert_eq!(over, (Cause::Normal, EndedBy::Customer));
    asked_signal(&mut first, Signal::AcceptTransfer(true)).await;
    is_sent_to_the_room(&mut stage).await;
    assert!(callee.asked().iter().all(|asked| !matches!(asked, Asked::Signal(Signal::Hangup(_)))));
}

#[tokio::test]
async fn a_phone_that_calls_for_a_place_gets_it_and_no_call_of_its_own() {
    let mut stage = Stage::new().await;
    people(&stage).await;
    let (mut caller, mut callee) = talks(&mut stage, "1001", "1002").await;
    let call = stage.only_call().await;
    // 1003 takes the place of 1002's phone.
    let mut heir = stage.phone_replaces("1003", callee.id()).await;
    asked_signal(&mut heir, Signal::Answer).await;
    asked_signal(&mut callee, Signal::Hangup(Cause::Normal)).await;
    asked(&mut caller, |asked| matches!(asked, Asked::Bridge(id) if id == heir.id())).await;
    heir.tell(answered());
    callee.tell(local_end(Cause::Normal));
    assert_eq!(stage.only_call().await, call);
    let mut late = stage.phone_replaces("1003", callee.id()).await;
    asked_signal(&mut late, Signal::Reject(481)).await;
    heir.tell(remote_end(Cause::Normal, None));
    asked_signal(&mut caller, Signal::Hangup(Cause::Normal)).await;
    caller.tell(local_end(Cause::Normal));
    stage.quiet().await;
    assert_eq!(stage.view(&call).await.ended_by.as_deref(), Some("target"));
    assert!(!stage.calls.presence(&stage.org.id, "1003").busy);
}

#[tokio::test]
async fn a_driver_hears_that_somebody_else_is_its_party() {
    for consults in [true, false] {
        let mut stage = Stage::new().await;
        let (mut call, first) = up(&mut stage).await;
        for extension in ["1002", "1003"] {
            stage.person(extension, 1).await;
        }
        call.connect(Connect::to("1002"));
        let (_, other) = tokio::join!(next(&mut call), async {
            let other = stage.dialled().await.far;
            other.tell(answered());
            other
        });
        assert_eq!(call.party(), Some("1001"));
        let mut consulted = None;
        let replaces = if consults {
            let (second, _) = consulted.insert(talks(&mut stage, "1001", "1003").await);
            Some(Replaced::Leg(second.id().clone()))
        } else {
            None
        };
        first.tell(LegEvent::TransferRequested { to: "sip:1003@127.0.0.1".into(), replaces });
        assert_eq!(next(&mut call).await, CallEvent::PartyChanged, "consults: {consults}");
        assert_ne!(call.party(), Some("1001"));
        drop((other, consulted));
    }
}
