//! Calls that are joined with others: by a connect step, by a transfer, or by the phone itself.

use media::play::Sound;
use serde_json::json;
use voice::cause::Cause;
use voice::leg::{LegEvent, Playable, RecordCommand, Signal};
use voice::runner::script::Asked;

use super::stage::*;
use crate::*;

#[tokio::test]
async fn connect_plays_ringback_then_bridges_then_gives_the_customer_back() {
    let mut stage = Stage::new().await;
    let (mut call, mut customer) = up(&mut stage).await;
    stage.person("1002", 1).await;
    call.at_step(Some(("4", "connect")));
    call.connect(Connect::to("1002"));
    let (event, target) = tokio::join!(next(&mut call), async {
        let dialled = stage.dialled().await;
        assert_eq!(dialled.order.from.number, "1001", "inside, the customer's number is shown");
        assert!(dialled.order.near.is_some());
        dialled.far.tell(LegEvent::Ringing);
        dialled.far
    });
    assert_eq!(event, CallEvent::Connect(ConnectEvent::Ringing { target: "1002".into() }));
    asked(&mut customer, |asked| matches!(asked, Asked::Play(_, Playable::Ringback, mode) if mode.loops == 0)).await;
    target.tell(answered());
    let answered = next(&mut call).await;
    assert_eq!(answered, CallEvent::Connect(ConnectEvent::Answered { target: "1002".into() }));
    let done = customer.asked();
    assert!(matches!(&done[..], [Asked::StopPlay, Asked::Bridge(id)] if id == target.id()), "{done:?}");

    stage.hand.advance(3_000);
    target.tell(remote_end(Cause::Normal, None));
    let over = ConnectEvent::Ended { status: ConnectStatus::Completed, cause: Cause::Normal };
    assert_eq!(next(&mut call).await, CallEvent::Connect(over));
    assert!(matches!(customer.asked()[..], [Asked::Unbridge, Asked::StopPlay]));
    let last = stage.event(&call.id, "connect.ended").await;
    assert_eq!(last["data"], json!({"status": "completed", "cause": "normal", "talk_s": 3.0}));
    assert_eq!(last["step"], json!({"id": "4", "type": "connect"}));
    assert_eq!(stage.event(&call.id, "connect.answered").await["leg"]["role"], "target");
}

#[tokio::test]
async fn the_customer_hangs_up_while_a_target_rings() {
    let mut stage = Stage::new().await;
    let (mut call, customer) = up(&mut stage).await;
    stage.person("1002", 1).await;
    call.connect(Connect::to("1002"));
    let (_, mut target) = tokio::join!(
        async {
            let waits = tokio::time::timeout(std::time::Duration::from_millis(50), call.next()).await;
            assert!(waits.is_err());
        },
        async { stage.dialled().await.far }
    );
    customer.tell(remote_end(Cause::Normal, None));
    assert_eq!(ended(&mut call).await, (Cause::Normal, EndedBy::Customer));
    asked_signal(&mut target, Signal::Hangup(Cause::Canceled)).await;
    let kinds = stage.kinds(&call.id).await;
    assert_eq!(kinds[3..], ["connect.ended", "call.completed"]);
    assert_eq!(stage.event(&call.id, "connect.ended").await["data"]["status"], "canceled");
}

#[tokio::test]
async fn whisper_accept_key_music_and_recording_of_a_connect() {
    let mut stage = Stage::new().await;
    let (mut call, mut customer) = up(&mut stage).await;
    stage.person("1002", 1).await;
    let sound = Sound { rate: 8_000, pcm: vec![0i16; 160].into() };
    call.connect(Connect {
        whisper: Whisper::of(vec![sound.clone()]),
        accept_key: Some('1'),
        hold_music: Some(Playable::HoldMusic),
        record: true,
        ..Connect::to("1002")
    });
    let (_, mut target) = tokio::join!(next(&mut call), async {
        let far = stage.dialled().await.far;
        far.tell(LegEvent::Ringing);
        far
    });
    asked(&mut customer, |asked| matches!(asked, Asked::Play(_, Playable::HoldMusic, _))).await;
    target.tell(answered());
    let play = tokio::select! {
        event = call.next() => panic!("nothing is bridged before the key: {event:?}"),
        Asked::Play(play, ..) = asked(&mut target, |asked| matches!(asked, Asked::Play(_, Playable::Sound(_), _))) => play,
    };
    target.tell(LegEvent::PlayEnded { play });
    target.tell(LegEvent::Dtmf { symbol: '2', duration_ms: 80 });
    target.tell(LegEvent::Dtmf { symbol: '1', duration_ms: 80 });
    let event = until(&mut call, |event| matches!(event, CallEvent::Connect(_))).await;
    assert_eq!(event, CallEvent::Connect(ConnectEvent::Answered { target: "1002".into() }));
    let CallEvent::Recording(RecordingEvent::Started { id }) = next(&mut call).await else { panic!("it records") };
    asked(&mut customer, |asked| matches!(asked, Asked::Record(RecordCommand::Start { .. }))).await;
    target.tell(remote_end(Cause::Normal, None));
    until(&mut call, |event| matches!(event, CallEvent::Connect(ConnectEvent::Ended { .. }))).await;
    asked(&mut customer, |asked| matches!(asked, Asked::Record(RecordCommand::Stop))).await;
    customer.tell(ready(&id, 4.5));
    let ready = next(&mut call).await;
    assert_eq!(ready, CallEvent::Recording(RecordingEvent::Ready { id: id.clone(), seconds: 4.5 }));
    let data = &stage.event(&call.id, "recording.ready").await["data"];
    let path = records::recording_path(&id);
    assert!(data["url"].as_str().unwrap().contains(&format!("{path}?expires=")), "{data}");
    let kept = records::recordings_of_call(&stage.kernel, &stage.org.id, &call.id).await.unwrap();
    assert_eq!((kept.len(), kept[0].state.as_str(), kept[0].seconds), (1, "ready", 4.5));
    assert_eq!(records::recordings_of_call(&stage.kernel, "org_other", &call.id).await.unwrap(), []);
}

#[tokio::test]
async fn a_whisper_may_follow_the_connect_and_have_parts() {
    let mut stage = Stage::new().await;
    let (mut call, mut customer) = up(&mut stage).await;
    stage.person("1002", 1).await;
    call.connect(Connect { whisper: Whisper::Coming, ..Connect::to("1002") });
    let (_, mut target) = tokio::join!(next(&mut call), async {
        let far = stage.dialled().await.far;
        far.tell(LegEvent::Ringing);
        far
    });
    asked(&mut customer, |asked| matches!(asked, Asked::Play(_, Playable::Ringback, _))).await;
    call.hold_music(Playable::HoldMusic);
    asked(&mut customer, |asked| matches!(asked, Asked::Play(_, Playable::HoldMusic, _))).await;
    target.tell(answered());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(20), call.next()).await.is_err());
    call.whisper((1..3).map(|n| Sound { rate: 8_000, pcm: vec![n; 160].into() }).collect());
    for n in 1..3 {
        let part = |asked: &Asked| matches!(asked, Asked::Play(_, Playable::Sound(sound), _) if sound.pcm[0] == n);
        let Asked::Play(play, ..) = asked(&mut target, part).await else { panic!("a part is played") };
        target.tell(LegEvent::PlayEnded { play });
        if n == 1 {
            assert!(tokio::time::timeout(std::time::Duration::from_millis(20), call.next()).await.is_err());
        }
    }
    let event = next(&mut call).await;
    assert_eq!(event, CallEvent::Connect(ConnectEvent::Answered { target: "1002".into() }));
    call.hold_music(Playable::HoldMusic);
    let played = customer.asked().into_iter().any(|asked| matches!(asked, Asked::Play(..)));
    assert!(!played, "who is connected hears no music");
}

#[tokio::test]
async fn a_phone_hands_the_customer_on() {
    let mut stage = Stage::new().await;
    let (mut call, _customer) = up(&mut stage).await;
    stage.person("1002", 1).await;
    stage.person("1003", 1).await;
    call.connect(Connect::to("1002"));
    let (_, mut target) =
        tokio::join!(until(&mut call, |e| matches!(e, CallEvent::Connect(ConnectEvent::Answered { .. }))), async {
            let far = stage.dialled().await.far;
            far.tell(answered());
            far
        });
    target.tell(LegEvent::TransferRequested { to: "sip:1003@127.0.0.1".into(), replaces: None });
    let (event, third) = tokio::join!(until(&mut call, |e| matches!(e, CallEvent::Connect(_))), async {
        let far = stage.dialled().await.far;
        far.tell(answered());
        far
    });
    assert_eq!(event, CallEvent::Connect(ConnectEvent::Answered { target: "1003".into() }));
    let done = target.asked();
    let agreed = done.iter().any(|asked| matches!(asked, Asked::Signal(Signal::AcceptTransfer(true))));
    assert!(agreed, "{done:?}");
    target.tell(remote_end(Cause::Normal, None));
    third.tell(remote_end(Cause::Normal, None));
    let over = ConnectEvent::Ended { status: ConnectStatus::Completed, cause: Cause::Normal };
    assert_eq!(until(&mut call, |e| matches!(e, CallEvent::Connect(_))).await, CallEvent::Connect(over));
    // Nobody to hand over: declined.
    let far = _customer;
    far.tell(LegEvent::TransferRequested { to: "sip:1003@127.0.0.1".into(), replaces: None });
    let mut far = far;
    tokio::select! {
        event = call.next() => panic!("{event:?}"),
        () = asked_signal(&mut far, Signal::AcceptTransfer(false)) => {}
    }
}

#[tokio::test]
async fn a_transfer_tells_how_it_went() {
    let mut stage = Stage::new().await;
    stage.person("1002", 1).await;
    for (to, wanted) in
        [("1002", ["transfer.started", "transfer.completed"]), ("1009", ["transfer.started", "transfer.failed"])]
    {
        let (mut call, mut customer) = up_to(&mut stage, &format!("2{to}")).await;
        call.transfer(Connect::to(to));
        let over = async {
            if to == "1002" {
                let far = stage.dialled().await.far;
                far.tell(answered());
                far.tell(remote_end(Cause::Normal, None));
            }
            asked(&mut customer, |asked| matches!(asked, Asked::Signal(Signal::Hangup(_)))).await;
            customer.tell(local_end(Cause::Normal));
        };
        tokio::join!(ended(&mut call), over);
        let kinds = stage.kinds(&call.id).await;
        let told: Vec<&String> = kinds.iter().filter(|kind| kind.starts_with("transfer.")).collect();
        assert_eq!(told, wanted);
        assert_eq!(stage.event(&call.id, "transfer.started").await["data"]["to"], to);
    }
}

#[tokio::test]
async fn a_carrier_s_wish_to_transfer_is_declined() {
    let mut stage = Stage::new().await;
    stage.trunk("+442071838751").await;
    let (mut call, _agent) = up(&mut stage).await;
    call.connect(Connect::to("+442071838750"));
    let (_, mut outside) =
        tokio::join!(until(&mut call, |e| matches!(e, CallEvent::Connect(ConnectEvent::Answered { .. }))), async {
            let far = stage.dialled().await.far;
            far.tell(answered());
            far
        });
    outside.tell(LegEvent::TransferRequested { to: "sip:+4490012345678@127.0.0.1".into(), replaces: None });
    tokio::select! {
        event = call.next() => panic!("{event:?}"),
        () = asked_signal(&mut outside, Signal::AcceptTransfer(false)) => {}
    }
}
